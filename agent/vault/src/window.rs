//! Which attestations belong to the present: the vault's own clock bounds what it signs.
//!
//! So nobody can have it sign far into the future, which would bar the validator from its duties until then.

use holdfast_eth::AttestationData;
use holdfast_types::{ChainSpec, Millis, Slot};
use holdfast_vault_client::SigningRefused;

/// Checks that the target is the slot's epoch, and that neither is more than one ahead of the clock.
pub(crate) fn check(chain: &ChainSpec, now: Millis, data: &AttestationData) -> Result<(), SigningRefused> {
    let refused =
        |reason: String| Err(SigningRefused::OutOfRange { slot: data.slot.0, target: data.target.epoch.0, reason });
    let epoch = chain.epoch_of(data.slot);
    if data.target.epoch != epoch {
        return refused(format!("the slot is in epoch {epoch}"));
    }
    let Some(present) = chain.slot_at(now) else {
        return refused("the vault's clock is before genesis".into());
    };
    let last = Slot(present.0.saturating_add(1));
    if data.slot > last {
        return refused(format!("the vault's clock is at slot {present}, the last it signs is {last}"));
    }
    // With the slot the target is bounded too: one slot ahead is at most one epoch ahead.
    Ok(())
}

#[cfg(test)]
mod tests {
    use holdfast_types::Epoch;

    use super::*;
    use crate::testing::{attestation, chain};

    /// Slot 100 of a chain of 2 s slots that began at second 1,000; epoch 3 ends with slot 127.
    const NOW: Millis = Millis(1_000_000 + 100 * 2_000);

    fn reason(now: Millis, data: AttestationData) -> Option<String> {
        match check(&chain(), now, &data) {
            Ok(()) => None,
            Err(SigningRefused::OutOfRange { reason, .. }) => Some(reason),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn one_slot_ahead_is_the_last() {
        for slot in [0, 99, 100, 101] {
            assert_eq!(reason(NOW, attestation(slot, 0)), None, "slot {slot}");
        }
        let ahead = "the vault's clock is at slot 100, the last it signs is 101";
        for slot in [102, 127, 128, u64::MAX] {
            assert_eq!(reason(NOW, attestation(slot, 0)).as_deref(), Some(ahead), "slot {slot}");
        }
        let just_before = Millis(NOW.0 - 1);
        assert!(reason(just_before, attestation(101, 0)).is_some());
        assert_eq!(reason(just_before, attestation(100, 0)), None);
    }

    #[test]
    fn the_target_is_the_epoch_of_the_slot() {
        for target in [0, 2, 4, u64::MAX] {
            let mut data = attestation(100, 0);
            data.target.epoch = Epoch(target);
            assert_eq!(reason(NOW, data).as_deref(), Some("the slot is in epoch 3"), "target {target}");
        }
    }

    #[test]
    fn nothing_is_signed_before_genesis() {
        let early = reason(Millis(999_999), attestation(0, 0));
        assert_eq!(early.as_deref(), Some("the vault's clock is before genesis"));
        assert_eq!(reason(Millis(1_000_000), attestation(1, 0)), None);
    }
}
