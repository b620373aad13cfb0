//! The counter of the generations, and the patience that a TPM needs.
//!
//! Only a read-back decides whether the counter has moved: an answer can get lost, and a second increment on top of one
//! that happened would leave nothing that opens.

use holdfast_hal::tpm::{CounterReading, NvIndex, Tpm, TpmError};

use super::error::SealError;

/// Repeats what the TPM refused, which may be for the moment only. Nothing that counts is to be asked this way.
pub(crate) fn patiently<T>(
    tpm: &mut dyn Tpm,
    mut ask: impl FnMut(&mut dyn Tpm) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    for _ in 1..TPM_TRIES {
        match ask(tpm) {
            Err(TpmError::Refused { operation, err }) => {
                tracing::warn!(operation, error = %err, "the TPM refused, trying again");
                tpm.wait();
            }
            decided => return decided,
        }
    }
    ask(tpm)
}

/// The generation counter as it is.
pub(super) fn read(tpm: &mut dyn Tpm) -> Result<CounterReading, TpmError> {
    patiently(tpm, |tpm| tpm.counter_read(GENERATION_COUNTER))
}

/// Brings the generation counter from `from` to the next value.
///
/// After [`SealError::NotCounted`] it is where it was; after [`SealError::Undecided`] only the next start can tell.
pub(super) fn advance(tpm: &mut dyn Tpm, from: u64) -> Result<(), SealError> {
    let mut refusal = None;
    for _ in 0..TPM_TRIES {
        let asked = tpm.counter_increment(GENERATION_COUNTER);
        let found = read(tpm).map_err(SealError::Undecided)?.value;
        match asked {
            _ if Some(found) == from.checked_add(1) => return Ok(()),
            Err(err) if found == from => {
                tracing::warn!(error = %err, "the TPM did not count, trying again");
                refusal = Some(err);
                tpm.wait();
            }
            _ => return Err(SealError::CounterMoved { expected: from.saturating_add(1), found }),
        }
    }
    Err(SealError::NotCounted(refusal.expect("each try that goes on was refused")))
}

/// Where the lease counts.
pub(crate) const LEASE_COUNTER: NvIndex = NvIndex(holdfast_evidence::LEASE_COUNTER_INDEX);
/// Where the generations are counted.
pub(crate) const GENERATION_COUNTER: NvIndex = NvIndex(0x0180_4802);
/// For a TPM that is busy; what ends a policy session at boot is repeated below this already.
pub(super) const TPM_TRIES: usize = 3;
