//! A release: its key, what it approves, and the files that a vault is started with.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use holdfast_evidence::{Approval, SigningKey};
use holdfast_types::P256Public;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Who makes releases. The same seed makes the same key.
#[derive(Debug)]
pub struct Release(SigningKey);

/// The files of a release, as the flags of the vault name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseFiles {
    /// For `--release-key`.
    pub key: PathBuf,
    /// For `--release-approvals`.
    pub approvals: PathBuf,
}

impl Release {
    /// The release key of this seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self(SigningKey::random(&mut StdRng::seed_from_u64(seed)))
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> P256Public {
        self.0.public()
    }

    /// Approves the image that measures to `pcr_11`, on a kind of board, for each level.
    #[must_use]
    pub fn approve(&self, board: &str, levels: RangeInclusive<u64>, pcr_11: [u8; 32]) -> Vec<Approval> {
        levels.map(|level| Approval::of_image(&self.0, board, level, pcr_11)).collect()
    }
}

impl ReleaseFiles {
    /// The key of the usual test release.
    pub const SEED: u64 = 0x7265_6c65_6173_6500;

    /// Writes the files of the usual test release into `dir`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(dir: &Path, board: &str, levels: RangeInclusive<u64>, pcr_11: [u8; 32]) -> io::Result<Self> {
        let release = Release::from_seed(Self::SEED);
        Self::write_of(dir, release.public(), &release.approve(board, levels, pcr_11))
    }

    /// Writes files with this key and these approvals, whether they fit each other or not.
    ///
    /// # Errors
    /// When they cannot be written.
    ///
    /// # Panics
    /// Never: approvals have a fixed form.
    pub fn write_of(dir: &Path, key: P256Public, approvals: &[Approval]) -> io::Result<Self> {
        let files = Self { key: dir.join("release-key"), approvals: dir.join("release-approvals") };
        fs::write(&files.key, format!("{}\n", hex::encode(key.0)))?;
        fs::write(&files.approvals, postcard::to_allocvec(approvals).expect("approvals have a fixed form"))?;
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_hold_the_key_and_its_approvals() {
        let dir = tempfile::tempdir().unwrap();
        let files = ReleaseFiles::write(dir.path(), "test", 1..=3, [7; 32]).unwrap();
        let text = fs::read_to_string(&files.key).unwrap();
        let (line, rest) = text.split_once('\n').unwrap();
        assert_eq!((line.len(), rest), (66, ""));
        let key: P256Public = line.parse().unwrap();
        let approvals: Vec<Approval> = postcard::from_bytes(&fs::read(&files.approvals).unwrap()).unwrap();
        let refs: Vec<&str> = approvals.iter().map(|approval| approval.policy_ref.as_str()).collect();
        assert_eq!(refs, ["os/test/1", "os/test/2", "os/test/3"]);
        for approval in approvals {
            assert_eq!(approval.verify(&key), Ok(()));
        }
    }
}
