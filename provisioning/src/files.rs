//! Small files that are read and written whole: never larger than a bound, never half written, for their owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        err: io::Error,
    },
    /// It is larger than anything that was written there.
    #[error("{} is larger than {len_max} bytes: it is not what was written there", path.display())]
    TooLarge {
        /// Which one.
        path: PathBuf,
        /// The bound.
        len_max: u64,
    },
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        err: io::Error,
    },
}

/// The file's bytes; `None` when there is none.
///
/// # Errors
/// When it cannot be read, or is larger than the bound.
pub fn read_bounded(path: &Path, len_max: u64) -> Result<Option<Vec<u8>>, FileError> {
    let failed = |err| FileError::Read { path: path.to_owned(), err };
    let file = match File::open(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(len_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > len_max {
        return Err(FileError::TooLarge { path: path.to_owned(), len_max });
    }
    Ok(Some(bytes))
}

/// Replaces the file: after this, and after a power cut at any moment, it holds these bytes or the ones before.
///
/// # Errors
/// When it cannot be written; the file is as it was, or as it should be, but may not be on disk.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, bytes).map_err(|err| FileError::Write { path: path.to_owned(), err })
}

/// Removes the file, on disk too. That there is none is fine.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(path: &Path) -> Result<(), FileError> {
    let removed = match fs::remove_file(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(err),
        Ok(()) => sync_folder(path),
    };
    removed.map_err(|err| FileError::Write { path: path.to_owned(), err })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // What an earlier attempt left may have other permissions.
    match fs::remove_file(&new) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        assert!(read_bounded(&path, 10).unwrap().is_none());
        fs::write(folder.path().join("a.json.new"), "left by a power cut").unwrap();
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(read_bounded(&path, 3).unwrap().unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(matches!(read_bounded(&path, 2), Err(FileError::TooLarge { .. })));
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_cannot_be_written_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/a.json");
        assert_eq!(write_whole(&path, b"").unwrap_err().to_string(), format!("cannot write {}", path.display()));
    }
}
