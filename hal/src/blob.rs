//! How a sealed blob is stored: a small format of its own, versioned and bounded, with one encoding for each blob.
//!
//! Nothing here is secret and nothing is authenticated: the TPM checks both parts when it loads them.

use crate::tpm::{SealedBlob, TpmName};

impl SealedBlob {
    /// The stored form of this blob; [`SealedBlob::from_bytes`] reads it back.
    ///
    /// # Panics
    /// When a part is longer than any TPM makes it: the parts come from [`crate::tpm::Tpm::seal`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_part(&mut out, &self.storage_root.0, NAME_LEN_MAX);
        put_part(&mut out, &self.public, PUBLIC_LEN_MAX);
        put_part(&mut out, &self.private, PRIVATE_LEN_MAX);
        out
    }

    /// Reads what [`SealedBlob::to_bytes`] wrote, and nothing else: no other order, no bytes behind the end.
    ///
    /// # Errors
    /// [`BlobError`] when the bytes are not one whole blob of this format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlobError> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(BlobError::Unknown)?;
        let storage_root = TpmName(take_part(&mut rest, NAME_LEN_MAX, "storage root name")?);
        let public = take_part(&mut rest, PUBLIC_LEN_MAX, "public area")?;
        let private = take_part(&mut rest, PRIVATE_LEN_MAX, "private area")?;
        if !rest.is_empty() {
            return Err(BlobError::Trailing { len: rest.len() });
        }
        Ok(Self { public, private, storage_root })
    }
}

/// Why bytes are not a stored sealed blob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The bytes end inside a part.
    #[error("sealed blob ends inside its {part}: the file was cut short, restore it or import again")]
    Cut {
        /// The part that is not whole.
        part: &'static str,
    },
    /// A part is longer than any TPM makes it.
    #[error("sealed blob has a {part} of {len} bytes, at most {len_max}")]
    TooLong {
        /// The part that is too long.
        part: &'static str,
        /// The length it claims, in bytes.
        len: usize,
        /// The most that is accepted, in bytes.
        len_max: usize,
    },
    /// There are bytes behind the end.
    #[error("sealed blob has {len} bytes behind its end")]
    Trailing {
        /// How many.
        len: usize,
    },
    /// The first bytes are not those of this format.
    #[error("not a sealed blob of a version that this build knows")]
    Unknown,
}

fn put_part(out: &mut Vec<u8>, part: &[u8], len_max: usize) {
    assert!(part.len() <= len_max, "a TPM makes no part longer than {len_max} bytes");
    let len = u16::try_from(part.len()).expect("every bound is below 2^16");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(part);
}

fn take_part(rest: &mut &[u8], len_max: usize, part: &'static str) -> Result<Vec<u8>, BlobError> {
    let (len, after) = rest.split_first_chunk::<2>().ok_or(BlobError::Cut { part })?;
    let len = usize::from(u16::from_be_bytes(*len));
    if len > len_max {
        return Err(BlobError::TooLong { part, len, len_max });
    }
    let (taken, after) = after.split_at_checked(len).ok_or(BlobError::Cut { part })?;
    *rest = after;
    Ok(taken.to_vec())
}

/// The format's name and its version.
const MAGIC: &[u8] = b"HFSEAL\x00\x02";
/// SHA-512 and the two bytes of its algorithm (TPM 2.0 Library Part 1, 16 "Names").
const NAME_LEN_MAX: usize = 66;
/// `TPM2B_PUBLIC` of a sealed object is 80 bytes here; a wider policy hash needs some more.
const PUBLIC_LEN_MAX: usize = 256;
/// `TPM2B_PRIVATE` with [`crate::tpm::SEAL_LEN_MAX`] bytes inside, its auth value, seed, integrity and lengths.
const PRIVATE_LEN_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn blob() -> SealedBlob {
        SealedBlob { public: vec![1; 80], private: vec![2; 160], storage_root: TpmName(vec![3; 34]) }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = blob().to_bytes();
        assert_eq!(bytes.len(), 8 + 3 * 2 + 34 + 80 + 160);
        assert_eq!(SealedBlob::from_bytes(&bytes), Ok(blob()));
    }

    #[test]
    fn every_shorter_or_longer_input_is_refused() {
        let mut bytes = blob().to_bytes();
        for len in 0..bytes.len() {
            assert!(SealedBlob::from_bytes(&bytes[..len]).is_err(), "accepted {len} of {} bytes", bytes.len());
        }
        bytes.push(0);
        assert_eq!(SealedBlob::from_bytes(&bytes), Err(BlobError::Trailing { len: 1 }));
    }

    #[test]
    fn an_oversized_part_is_refused_before_it_is_copied() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[0xff, 0xff]);
        let refused = SealedBlob::from_bytes(&bytes);
        assert_eq!(refused, Err(BlobError::TooLong { part: "storage root name", len: 65535, len_max: NAME_LEN_MAX }));
    }

    #[test]
    fn another_version_is_refused() {
        let mut other = blob().to_bytes();
        other[7] = 1;
        assert_eq!(SealedBlob::from_bytes(&other), Err(BlobError::Unknown));
    }
}
