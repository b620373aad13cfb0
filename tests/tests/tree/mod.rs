//! The files of this repository, as the tests of its shape read them: line by line as rustfmt lays them out, no parser.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The manifest of each member of the workspace, by its folder.
pub(crate) fn manifests() -> BTreeMap<String, toml::Table> {
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap().parse::<toml::Table>().unwrap();
    let members = read(root().join("Cargo.toml"))["workspace"]["members"].as_array().unwrap().clone();
    let folder = |member: &toml::Value| member.as_str().unwrap().to_owned();
    members.iter().map(|member| (folder(member), read(root().join(folder(member)).join("Cargo.toml")))).collect()
}

/// The `.rs` files below a crate's `src`, or below the `src` that is given, without those that a `#[cfg(test)] mod name;`
/// brings in and without inner crates.
pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let start = if folder.ends_with("src") { folder.to_owned() } else { folder.join("src") };
    let mut files = rust_files(&start);
    let tests: Vec<String> =
        files.iter().flat_map(|file| test_modules(&std::fs::read_to_string(file).unwrap())).collect();
    files.retain(|file| {
        let mut parts = file.strip_prefix(&start).unwrap().iter();
        !parts.any(|part| tests.iter().any(|test| Path::new(part).file_stem() == Some(test.as_ref())))
    });
    files
}

/// Every `.rs` file below a folder, in order.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The names in `#[cfg(test)] mod name;`.
fn test_modules(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let name = |pair: &[&str]| {
        let declared = pair[1].trim_start_matches("pub(crate) ").strip_prefix("mod ")?.strip_suffix(';')?;
        (pair[0] == "#[cfg(test)]").then(|| declared.to_owned())
    };
    lines.windows(2).filter_map(name).collect()
}

/// Blanks comments, and the items under a `#[cfg(test)]` that stands at the left edge; lines keep their numbers.
pub(crate) fn without_tests_and_comments(text: &str) -> String {
    let mut in_tests = false;
    let mut code = String::with_capacity(text.len());
    for line in text.lines() {
        in_tests |= line == "#[cfg(test)]";
        if !in_tests {
            code.push_str(line.split("//").next().unwrap_or(""));
        }
        code.push('\n');
        let item_ends = line == "}" || (line.ends_with(';') && !line.starts_with(' '));
        in_tests &= !item_ends;
    }
    code
}
