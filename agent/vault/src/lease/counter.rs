//! The TPM's counter as one process moves it.
//!
//! What the TPM answers to the increment decides nothing, it can be lost or made up; only what is read back, over a
//! session salted to the pinned storage root, says whether the tick happened.

use holdfast_hal::tpm::{NvIndex, Resets, Tpm, TpmError};
use holdfast_types::Epoch;
use holdfast_vault_client::ClosedId;

use super::terms::Terms;
use crate::state::StateError;

/// Where the lease is kept: its counter, and the code of its record.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) terms: Terms,
    pub(crate) index: NvIndex,
    /// The Name of our counter: something else at the index has another one.
    pub(crate) name: &'a [u8],
    /// The key of the record's code.
    pub(crate) record_key: &'a [u8; 32],
}

/// The value that this process last read, and whether it has tried to add one since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Counter {
    pub(super) value: u64,
    pub(super) tried: bool,
    pub(super) resets: Resets,
}

/// Why there was no tick, or none that counts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TickError {
    /// Ticking now would run the lease ahead of time.
    #[error("the lease is ahead of time: its counter goes on from epoch {from}")]
    Ahead { from: Epoch },
    /// The counter is as it was.
    #[error("the TPM's counter stayed at {value}: asked again later")]
    NotTicked {
        value: u64,
        #[source]
        err: Option<TpmError>,
    },
    /// Something else is at the counter's index, or nothing.
    #[error("the TPM's counter at {:#010x} is not the one of this box: order a new counter", index.0)]
    Replaced { index: NvIndex },
    /// The TPM was switched off and on under us.
    #[error("the TPM was reset while the vault ran: start the box again")]
    Reset,
    /// The counter has a value that this process did not bring it to.
    #[error("the TPM's counter is {found} where {expected} was expected: something else moved it; start the box again")]
    RolledBack { expected: u64, found: u64 },
    /// The TPM does not say what the counter is, so whether it ticked is not known yet.
    #[error("the TPM does not answer: asked again later")]
    Unanswered(#[source] TpmError),
    /// The record could not be written where it stands, so there was no tick.
    #[error("the record of the lease could not be written now: free the disk; asked again later")]
    Unready(#[source] StateError),
    /// The counter has ticked, and the record of it is not known to be on the disk.
    #[error("the record of the lease cannot be written")]
    Unwritten(#[source] StateError),
}

impl TickError {
    /// Why the vault must sign nothing more; `None` when it signs on up to where its lease reaches, and tries again.
    pub(crate) fn closes(&self) -> Option<ClosedId> {
        match self {
            Self::Ahead { .. } | Self::NotTicked { .. } | Self::Unanswered(_) | Self::Unready(_) => None,
            Self::Replaced { .. } => Some(ClosedId::TpmReplaced),
            Self::Reset | Self::RolledBack { .. } => Some(ClosedId::TpmRolledBack),
            Self::Unwritten(_) => Some(ClosedId::HistoryUnusable),
        }
    }
}

impl Counter {
    /// Reads the counter at the start; `None` when what is at its index, if anything, is not ours.
    ///
    /// # Errors
    /// When the TPM does not say: that decides nothing, it may pass.
    pub(crate) fn read(tpm: &mut dyn Tpm, place: &Place<'_>) -> Result<Option<Self>, TpmError> {
        let resets = tpm.resets()?;
        Ok(read_value(tpm, place)?.map(|value| Self { value, tried: false, resets }))
    }

    /// The value, as last read.
    pub(crate) fn value(&self) -> u64 {
        self.value
    }

    /// Adds one. When this returns, the TPM has the value that is one higher, and this process brought it there: nobody
    /// else will ever hold a lease at that value.
    ///
    /// # Errors
    /// When it did not happen, when it is not known whether it did, or when the counter is not where it was left.
    pub(super) fn tick(&mut self, tpm: &mut dyn Tpm, place: &Place<'_>, now: Epoch) -> Result<(), TickError> {
        if !place.terms.may_tick(self.value, now) {
            return Err(TickError::Ahead { from: place.terms.tick_from(self.value) });
        }
        // An earlier try may have gone through after all; another increment would then skip a value.
        if self.tried && self.has_ticked(tpm, place)? {
            return Ok(());
        }
        self.tried = true;
        let answer = tpm.counter_increment(place.index);
        if self.has_ticked(tpm, place)? {
            return Ok(());
        }
        Err(TickError::NotTicked { value: self.value, err: answer.err() })
    }

    fn has_ticked(&mut self, tpm: &mut dyn Tpm, place: &Place<'_>) -> Result<bool, TickError> {
        let found = read_value(tpm, place).map_err(TickError::Unanswered)?;
        let found = found.ok_or(TickError::Replaced { index: place.index })?;
        if tpm.resets().map_err(TickError::Unanswered)? != self.resets {
            return Err(TickError::Reset);
        }
        let expected = self.value.saturating_add(1);
        match found {
            _ if found == self.value => Ok(false),
            _ if found == expected => {
                *self = Self { value: found, tried: false, ..*self };
                Ok(true)
            }
            _ => Err(TickError::RolledBack { expected, found }),
        }
    }
}

fn read_value(tpm: &mut dyn Tpm, place: &Place<'_>) -> Result<Option<u64>, TpmError> {
    match tpm.counter_read(place.index) {
        Ok(reading) if reading.name.0 == place.name => Ok(Some(reading.value)),
        Ok(_) | Err(TpmError::CounterMissing(_) | TpmError::NotACounter(_)) => Ok(None),
        Err(err) => Err(err),
    }
}
