//! Small files of the kernel, read with bounds. A recorded machine is a stranger's folder: what is absent, unreadable, too
//! long or in a form that we don't know is not present.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The text of a file.
pub(crate) fn text(path: &Path) -> Option<String> {
    // A named pipe would wait for a writer for ever.
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The only word of a file. Device trees end theirs with a zero.
pub(crate) fn word(path: &Path) -> Option<String> {
    let text = text(path)?;
    let word = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!word.is_empty() && word.len() <= WORD_BYTES_MAX).then(|| word.to_owned())
}

/// The only number of a file.
pub(crate) fn number<T: FromStr>(path: &Path) -> Option<T> {
    word(path)?.parse().ok()
}

/// The only number of a file, with or without `0x` before it.
pub(crate) fn hex_number(path: &Path) -> Option<u64> {
    let word = word(path)?;
    word.strip_prefix("0x").map_or_else(|| word.parse().ok(), |digits| u64::from_str_radix(digits, 16).ok())
}

/// What is in a folder and begins with `prefix`, by name.
pub(crate) fn entries(folder: &Path, prefix: &str) -> Vec<(String, PathBuf)> {
    let Ok(listing) = fs::read_dir(folder) else { return Vec::new() };
    let named = listing.take(ENTRIES_MAX).filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        name.starts_with(prefix).then(|| (name, entry.path()))
    });
    let mut found: Vec<_> = named.collect();
    found.sort();
    found
}

/// The sum of numbers, as far as they are present; `None` when none is.
pub(crate) fn sum(numbers: impl IntoIterator<Item = Option<u64>>) -> Option<u64> {
    numbers.into_iter().flatten().reduce(u64::saturating_add)
}

/// Far more than the kernel shows in any of these files.
const FILE_BYTES_MAX: u64 = 64 * 1024;
const WORD_BYTES_MAX: usize = 256;
/// More than a small server has processors, sensors or ports.
const ENTRIES_MAX: usize = 1024;
