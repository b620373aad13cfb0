//! The node key: the secp256k1 key that a node is known by, and its file (`cluster-files.md` section 1.1).

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use k256::ecdsa::SigningKey;
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use crate::k1;

/// The name of the key's file in a data directory.
pub(crate) const KEY_FILE: &str = "charon-enr-private-key";

/// A node's private key; wiped when dropped.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The text is no key.
    #[error("a node key is the hex of 32 bytes, without 0x, not 0 and below the order of secp256k1")]
    Form,
    /// The file cannot be read.
    #[error("cannot read node key {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        err: io::Error,
    },
    /// The file cannot be written; an existing one is never replaced.
    #[error("cannot write node key {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        err: io::Error,
    },
}

impl NodeKey {
    /// A new key from the randomness given.
    pub fn random(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        Self(SigningKey::random(rng))
    }

    /// The key with these big-endian bytes; `None` for 0 and for numbers not below the order.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        SigningKey::from_slice(bytes).ok().map(Self)
    }

    /// Reads the text of a key file.
    ///
    /// # Errors
    ///
    /// When it is no key.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), bytes.as_mut_slice()).map_err(|_| KeyFileError::Form)?;
        Self::from_bytes(&bytes).ok_or(KeyFileError::Form)
    }

    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// When there is none, or it holds no key.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let text = fs::read_to_string(path).map_err(|err| KeyFileError::Read { path: path.to_owned(), err })?;
        Self::parse(&Zeroizing::new(text))
    }

    /// Writes a key file, readable for its owner only.
    ///
    /// # Errors
    ///
    /// When it exists, whatever it holds, or cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), KeyFileError> {
        let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        open.and_then(|mut file| {
            file.write_all(self.text().as_bytes())?;
            file.sync_all()
        })
        .map_err(|err| KeyFileError::Write { path: path.to_owned(), err })
    }

    /// The text of the key file.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.expose()))
    }

    /// The big-endian bytes; wiped when dropped.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    /// The compressed public key.
    #[must_use]
    pub fn public(&self) -> [u8; 33] {
        k1::compressed(self.0.verifying_key())
    }

    /// Signs a digest as it is; 65 bytes R, S, V with V 0 or 1, always the same (`cluster-files.md` section 1.6).
    #[must_use]
    pub fn sign_hash(&self, hash: &[u8; 32]) -> [u8; 65] {
        k1::sign(&self.0, hash)
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hex_of_a_scalar_is_a_key() {
        let one = format!("{:064x}", 1);
        assert_eq!(*NodeKey::parse(&format!(" {one}\n")).unwrap().text(), one);
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        for wrong in ["", "01", &format!("0x{one}"), &"0".repeat(64), order, &format!("{one}00")] {
            assert!(matches!(NodeKey::parse(wrong), Err(KeyFileError::Form)), "{wrong:?} was taken");
        }
    }

    #[test]
    fn a_key_file_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(KEY_FILE);
        let key = NodeKey::from_bytes(&[7; 32]).unwrap();
        key.write(&path).unwrap();
        assert_eq!(*NodeKey::read(&path).unwrap().expose(), [7; 32]);
        assert!(matches!(key.write(&path), Err(KeyFileError::Write { .. })));
    }
}
