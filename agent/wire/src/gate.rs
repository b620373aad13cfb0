//! When a duty may be spoken of: not too far ahead, and not after its deadline (`cluster-wire.md` sections 5.1 and 5.2).

use holdfast_types::{ChainSpec, DutyId, DutyKind, Epoch, Millis};

/// Whether a duty is near enough to be spoken of: at most two epochs ahead. Past duties always are; their deadline is
/// another matter.
#[must_use]
pub fn duty_in_gate(duty: DutyId, spec: &ChainSpec, now: Millis) -> bool {
    let current = spec.slot_at(now).map_or(Epoch(0), |slot| spec.epoch_of(slot));
    spec.epoch_of(duty.slot).0 <= current.0.saturating_add(2)
}

/// The time after which a duty is over; `None` for exits and builder registrations, which never are.
///
/// Kinds that no node does (the deprecated builder proposal, bare signatures) end with their slot, as in the table.
#[must_use]
pub fn duty_deadline(duty: DutyId, spec: &ChainSpec) -> Option<Millis> {
    let slot_ms = spec.slot_ms;
    let epoch_ms = spec.slots_per_epoch.saturating_mul(slot_ms);
    let lasts_ms = match duty.kind {
        DutyKind::Exit | DutyKind::BuilderRegistration => return None,
        DutyKind::Proposer | DutyKind::Randao => slot_ms / 3,
        DutyKind::Attester | DutyKind::Aggregator => epoch_ms,
        DutyKind::PrepareAggregator | DutyKind::PrepareSyncContribution => epoch_ms.saturating_mul(2),
        DutyKind::Signature
        | DutyKind::BuilderProposer
        | DutyKind::SyncMessage
        | DutyKind::SyncContribution
        | DutyKind::InfoSync => slot_ms,
    };
    Some(spec.slot_start(duty.slot).plus(lasts_ms.saturating_add(slot_ms / 12)))
}

#[cfg(test)]
mod tests {
    use holdfast_types::{ForkVersion, Root, Slot};

    use super::*;

    fn spec() -> ChainSpec {
        ChainSpec {
            genesis_time_s: 1000,
            genesis_validators_root: Root::default(),
            genesis_fork_version: ForkVersion::default(),
            slot_ms: 12_000,
            slots_per_epoch: 32,
            forks: vec![],
        }
    }

    #[test]
    fn the_gate_is_two_epochs_ahead_and_open_to_the_past() {
        let spec = spec();
        let now = spec.slot_start(Slot(40));
        assert!(duty_in_gate(DutyId::attester(Slot(0)), &spec, now));
        assert!(duty_in_gate(DutyId::attester(Slot(127)), &spec, now));
        assert!(!duty_in_gate(DutyId::attester(Slot(128)), &spec, now));
        assert!(!duty_in_gate(DutyId::attester(Slot(u64::MAX)), &spec, now));
        assert!(duty_in_gate(DutyId::attester(Slot(95)), &spec, Millis(0)), "before genesis it is epoch 0");
    }

    /// `cluster-wire.md` section 14.5.
    #[test]
    fn deadlines_are_those_of_the_specification() {
        let spec = spec();
        let known = [
            (DutyKind::Proposer, 5),
            (DutyKind::Randao, 5),
            (DutyKind::SyncMessage, 13),
            (DutyKind::SyncContribution, 13),
            (DutyKind::InfoSync, 13),
            (DutyKind::Attester, 385),
            (DutyKind::Aggregator, 385),
            (DutyKind::PrepareAggregator, 769),
            (DutyKind::PrepareSyncContribution, 769),
        ];
        for (kind, seconds) in known {
            let duty = DutyId { slot: Slot(7), kind };
            assert_eq!(duty_deadline(duty, &spec), Some(spec.slot_start(Slot(7)).plus(1000 * seconds)), "{kind}");
        }
        for kind in [DutyKind::Exit, DutyKind::BuilderRegistration] {
            assert_eq!(duty_deadline(DutyId { slot: Slot(7), kind }, &spec), None);
        }
    }
}
