//! The two files that an image brings for the vault: the key that approves images, and the approvals of this one.
//!
//! The key lies in the measured image. The approvals lie beside it, where anybody may write: the TPM judges them, and a
//! list that makes no sense is as good as none.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use holdfast_evidence::Approval;
use holdfast_types::{P256Public, ParseHexError};

use crate::boot::Options;
use crate::vault::Release;

/// Why a file of the image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The key's file cannot be read.
    #[error("cannot read the release key {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        err: io::Error,
    },
    /// The key's file holds something else.
    #[error("{} holds no release key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        err: ParseHexError,
    },
}

/// Reads both files.
///
/// # Errors
/// When there is no key. Approvals that are missing only keep the vault closed, which then says so.
pub(crate) fn release(options: &Options) -> Result<Release, ImageError> {
    let path = &options.release_key;
    let text = bounded(path, KEY_TEXT_LEN_MAX).map_err(|err| ImageError::Read { path: path.clone(), err })?;
    let text = String::from_utf8_lossy(&text);
    let key: P256Public = text.trim().parse().map_err(|err| ImageError::Key { path: path.clone(), err })?;
    let approvals = approvals(&options.release_approvals);
    Ok(Release { key, board: options.board.clone(), approvals, lease_epochs: options.lease_epochs.max(1) })
}

fn approvals(path: &Path) -> Vec<Approval> {
    let read = bounded(path, APPROVALS_LEN_MAX).map(|bytes| postcard::from_bytes(&bytes));
    match read {
        Ok(Ok(approvals)) => approvals,
        Ok(Err(error)) => {
            tracing::warn!(%error, path = %path.display(), "the approvals of the image make no sense");
            Vec::new()
        }
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "cannot read the approvals of the image");
            Vec::new()
        }
    }
}

/// The bytes of a file, refused when there are more than `len_max`.
fn bounded(path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(len_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > len_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than any file of its kind"));
    }
    Ok(bytes)
}

/// 33 bytes as hex, `0x` and a line's end.
const KEY_TEXT_LEN_MAX: u64 = 128;
/// An approval needs about 130 bytes; a release has one for each level so far.
const APPROVALS_LEN_MAX: u64 = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &[u8], approvals: &[u8]) -> Result<Release, ImageError> {
        let place = tempfile::tempdir().unwrap();
        let (release_key, release_approvals) = (place.path().join("key"), place.path().join("approvals"));
        std::fs::write(&release_key, key).unwrap();
        std::fs::write(&release_approvals, approvals).unwrap();
        release(&Options {
            state: place.path().into(),
            socket: place.path().into(),
            tpm: String::new(),
            allowed_uid: 0,
            release_key,
            release_approvals,
            board: "test".into(),
            tier_c: false,
            lease_epochs: 8,
        })
    }

    #[test]
    fn a_key_and_its_approvals_are_read() {
        let signer = holdfast_evidence::SigningKey::from_bytes(&[1; 32]).unwrap();
        let approvals = vec![Approval::of_image(&signer, "test", 1, [0; 32])];
        let text = format!("{}\n", signer.public());
        let release = read(text.as_bytes(), &postcard::to_allocvec(&approvals).unwrap()).unwrap();
        assert_eq!((release.key, release.approvals), (signer.public(), approvals));
    }

    #[test]
    fn no_key_is_an_error_and_no_approvals_are_none() {
        let error = read(b"0x1234", b"").unwrap_err();
        assert!(error.to_string().ends_with("holds no release key"), "{error}");
        let text = P256Public([2; 33]).to_string();
        for garbage in [&b""[..], &[0xff; 40], &vec![1; 300_000]] {
            assert!(read(text.as_bytes(), garbage).unwrap().approvals.is_empty());
        }
    }
}
