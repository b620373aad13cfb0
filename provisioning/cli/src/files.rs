//! Files of the operator: read within bounds, written whole or not at all, never over one that is there.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::exit::Failure;

/// The content, at most so many bytes; `-` is standard input. Wiped after use, since it may be a secret.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(bytes_max + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
    };
    read.map_err(Failure::read(path))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Failure::unfit(format!(
            "{} has more than {bytes_max} bytes: this is no such file",
            path.display()
        )));
    }
    Ok(bytes)
}

/// The first line of a short text file, without its end.
pub(crate) fn read_line(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let bytes = read(path, LINE_BYTES_MAX)?;
    let text =
        std::str::from_utf8(&bytes).map_err(|err| Failure::because(format!("{} is no text", path.display()), err))?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().trim_end_matches('\r').to_owned()))
}

/// Writes a file that must not be there yet.
pub(crate) fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    let open = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    open.and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    })
    .map_err(Failure::write(path))
}

/// Makes a folder that only its owner may enter, with those above it.
pub(crate) fn make_private_dir(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Failure::write(path))
}

/// A passphrase or a code.
const LINE_BYTES_MAX: u64 = 4 << 10;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_file_is_written_once_and_read_within_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_new(&path, b"secret\r\nmore", 0o600).unwrap();
        assert!(matches!(write_new(&path, b"other", 0o600), Err(Failure::Write { .. })));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(*read_line(&path).unwrap(), "secret");
        assert_eq!(read(&path, 12).unwrap().len(), 12);
        assert!(matches!(read(&path, 11), Err(Failure::Unfit { .. })));
    }
}
