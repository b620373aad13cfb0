//! The record R beside the history: to which value of the counter the vault ticked, what it may sign there, and whether
//! it ended in order.
//!
//! Its code (HMAC-SHA256 under a sealed key) says that a vault of this box wrote it, not that it is the newest: only the
//! TPM's counter says that.

use hmac::{Hmac, Mac};
use holdfast_types::Epoch;
use sha2::Sha256;

use crate::state::{Disk, StateError};

/// R.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    /// The counter's value `N`.
    pub(crate) counter: u64,
    /// `S`, the highest source that may be signed at that value.
    pub(crate) source: Epoch,
    /// Whether the vault that ticked to `N` has ended in order.
    pub(crate) state: RecordState,
    /// The id of the sealed file that was open.
    pub(crate) seal: [u8; 32],
}

/// How far the vault came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum RecordState {
    /// It ended in order, and the history had this digest.
    Clean { digest: [u8; 32] },
    /// It signs, or was cut off.
    Open,
}

/// What is on the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum RecordFound {
    /// Not a record of this box: another form, or another code.
    Damaged,
    /// One that a vault of this box wrote, at some time.
    Found(Record),
    /// There is no file.
    Missing,
}

impl RecordFound {
    /// Reads the record.
    ///
    /// # Errors
    /// When the file is there and the disk does not give it: that decides nothing, it may pass.
    pub(crate) fn read(disk: &dyn Disk, key: &[u8; 32]) -> Result<Self, StateError> {
        match disk.read(FILE) {
            Ok(None) => Ok(Self::Missing),
            Ok(Some(bytes)) => Ok(Record::from_bytes(&bytes, key).map_or(Self::Damaged, Self::Found)),
            Err(StateError::TooLong { .. }) => Ok(Self::Damaged),
            Err(err) => Err(err),
        }
    }
}

impl Record {
    /// Puts this record in the place of the one before. It is on the disk when this returns.
    ///
    /// # Errors
    /// When it is not known to be.
    pub(crate) fn write(&self, disk: &dyn Disk, key: &[u8; 32]) -> Result<(), StateError> {
        disk.replace(FILE, &self.to_bytes(key))
    }

    fn to_bytes(&self, key: &[u8; 32]) -> Vec<u8> {
        let (state, digest) = match &self.state {
            RecordState::Clean { digest } => (CLEAN, *digest),
            RecordState::Open => (OPEN, [0; 32]),
        };
        let mut bytes = Vec::with_capacity(BODY_LEN + 32);
        bytes.extend_from_slice(&self.counter.to_be_bytes());
        bytes.extend_from_slice(&self.source.0.to_be_bytes());
        bytes.push(state);
        bytes.extend_from_slice(&digest);
        bytes.extend_from_slice(&self.seal);
        let code = code_over(&bytes, key).finalize().into_bytes();
        bytes.extend_from_slice(&code);
        bytes
    }

    fn from_bytes(bytes: &[u8], key: &[u8; 32]) -> Option<Self> {
        let (body, code) = bytes.split_last_chunk::<32>()?;
        code_over(body, key).verify_slice(code).ok()?;
        let (counter, rest) = body.split_first_chunk::<8>()?;
        let (source, rest) = rest.split_first_chunk::<8>()?;
        let (state, rest) = rest.split_first_chunk::<1>()?;
        let (digest, rest) = rest.split_first_chunk::<32>()?;
        let state = match *state {
            [CLEAN] => RecordState::Clean { digest: *digest },
            [OPEN] => RecordState::Open,
            _ => return None,
        };
        Some(Self {
            counter: u64::from_be_bytes(*counter),
            source: Epoch(u64::from_be_bytes(*source)),
            state,
            seal: rest.try_into().ok()?,
        })
    }
}

/// Writes what is there once more, whatever it is: so a disk that takes nothing is noticed while nothing depends on it.
pub(super) fn write_again(disk: &dyn Disk) -> Result<(), StateError> {
    match disk.read(FILE)? {
        Some(bytes) => disk.replace(FILE, &bytes),
        None => Ok(()),
    }
}

fn code_over(body: &[u8], key: &[u8; 32]) -> Hmac<Sha256> {
    let mut code = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    code.update(PURPOSE);
    code.update(body);
    code
}

/// The record's file.
pub(crate) const FILE: &str = "lease";
/// Keeps this code apart from any other under the same key, and from later forms of the record.
const PURPOSE: &[u8] = b"holdfast lease record 1";
const CLEAN: u8 = 1;
const OPEN: u8 = 2;
/// Counter, source, state, digest, seal.
const BODY_LEN: usize = 8 + 8 + 1 + 32 + 32;
