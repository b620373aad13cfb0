//! Which of our validators attest when: asks the beacon node an epoch at a time, and again when the chain says otherwise.
//!
//! It knows duties, and nothing of what becomes of them.

use std::collections::BTreeMap;

use holdfast_types::{Epoch, Millis, Root, Slot, ValidatorIndex, ValidatorPublic};

use crate::io::{AttesterDuties, AttesterDuty, BeaconFailure, Effect, HeadEvent};
use crate::retry::Retry;
use crate::setup::Cluster;

/// The duties of a slot, by validator.
pub(crate) type SlotDuties = BTreeMap<ValidatorPublic, AttesterDuty>;

/// The duties of this epoch and, near its end, of the next.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    epochs: BTreeMap<Epoch, OfEpoch>,
    /// When the next slot begins; past as long as nobody told us the time.
    next_slot: Millis,
}

#[derive(Debug)]
struct OfEpoch {
    validators: Retry,
    duties: Retry,
    active: BTreeMap<ValidatorIndex, ValidatorPublic>,
    /// What the duties that we have depend on; `None` while we have none.
    dependent_root: Option<Root>,
    /// What they should depend on by the last head event that said so.
    named_root: Option<Root>,
    /// How often the duties were asked again because of `named_root`.
    chases: u8,
    by_slot: BTreeMap<Slot, SlotDuties>,
}

impl Schedule {
    /// Asks for what is missing, and forgets what is past.
    pub(crate) fn on_time(&mut self, cluster: &Cluster, now: Millis, out: &mut Vec<Effect>) {
        let slot = cluster.slot_now(now);
        let epoch = cluster.chain.epoch_of(slot);
        self.next_slot = match cluster.chain.slot_at(now) {
            Some(slot) => cluster.chain.slot_start(Slot(slot.0.saturating_add(1))),
            None => cluster.chain.slot_start(Slot(0)),
        };
        self.epochs.retain(|of, _| (epoch.0..=epoch.0.saturating_add(1)).contains(&of.0));
        self.want(cluster, epoch, now);
        if slot >= lookahead_from(cluster, epoch) {
            self.want(cluster, Epoch(epoch.0.saturating_add(1)), now);
        }
        for (epoch, of_epoch) in &mut self.epochs {
            if of_epoch.validators.take_due(now) {
                out.push(Effect::FetchValidators(*epoch));
            }
            if of_epoch.duties.take_due(now) {
                let validators = of_epoch.active.keys().copied().collect();
                out.push(Effect::FetchAttesterDuties { epoch: *epoch, validators });
            }
        }
    }

    fn want(&mut self, cluster: &Cluster, epoch: Epoch, now: Millis) {
        self.epochs.entry(epoch).or_insert_with(|| {
            let question = Retry::new(RESOLVE_AGAIN_MS, cluster.chain.slot_ms);
            let mut validators = question;
            validators.ask_at(now);
            OfEpoch {
                validators,
                duties: question,
                active: BTreeMap::new(),
                dependent_root: None,
                named_root: None,
                chases: 0,
                by_slot: BTreeMap::new(),
            }
        });
    }

    /// The beacon node is there again: what waits for another try is asked now.
    pub(crate) fn hurry(&mut self, now: Millis) {
        for question in self.epochs.values_mut().flat_map(|of| [&mut of.validators, &mut of.duties]) {
            if question.wake().is_some() {
                question.ask_at(now);
            }
        }
    }

    /// The beacon node has caught up: what it answered before may be as old as it was. Where it knew none of our
    /// validators it is asked once more; where it knew them, the head events tell what changed.
    pub(crate) fn ask_again_for_nobody(&mut self, now: Millis) {
        for of_epoch in self.epochs.values_mut().filter(|of| of.active.is_empty()) {
            of_epoch.validators.ask_at(now);
        }
    }

    /// Takes the active validators; strangers among them are left out.
    pub(crate) fn take_validators(
        &mut self,
        cluster: &Cluster,
        epoch: Epoch,
        result: Result<Vec<(ValidatorPublic, ValidatorIndex)>, BeaconFailure>,
        now: Millis,
    ) {
        let Some(of_epoch) = self.epochs.get_mut(&epoch) else { return };
        match result {
            Ok(active) => {
                let ours = active.into_iter().filter(|(public, _)| cluster.has_validator(public));
                of_epoch.active = ours.map(|(public, index)| (index, public)).collect();
                of_epoch.validators.succeeded();
                if !of_epoch.active.is_empty() {
                    of_epoch.duties.ask_at(now);
                }
            }
            Err(failure) => {
                tracing::debug!(%epoch, %failure, "active validators are not known");
                of_epoch.validators.failed(now);
            }
        }
    }

    /// Takes the duties of an epoch; `true` when they replace others or are the first.
    pub(crate) fn take_duties(
        &mut self,
        cluster: &Cluster,
        epoch: Epoch,
        result: Result<AttesterDuties, BeaconFailure>,
        now: Millis,
    ) -> bool {
        let Some(of_epoch) = self.epochs.get_mut(&epoch) else { return false };
        match result {
            Ok(duties) => {
                of_epoch.replace(cluster, epoch, duties);
                of_epoch.duties.succeeded();
                of_epoch.chase(now);
                true
            }
            Err(failure) => {
                tracing::debug!(%epoch, %failure, "attester duties are not known");
                of_epoch.duties.failed(now);
                false
            }
        }
    }

    /// Asks again for the duties that a head event shows to be others (`head` event of the Beacon API).
    pub(crate) fn on_head(&mut self, cluster: &Cluster, head: &HeadEvent, now: Millis) {
        let epoch = cluster.chain.epoch_of(head.slot);
        // The attester duties of an epoch depend on the end of the epoch before the last: for the epoch of the head
        // that is its "previous" root, and for the next epoch its "current" one.
        let next = Epoch(epoch.0.saturating_add(1));
        for (epoch, root) in [(epoch, head.previous_dependent_root), (next, head.current_dependent_root)] {
            let Some((of_epoch, root)) = self.epochs.get_mut(&epoch).zip(root) else { continue };
            if of_epoch.named_root != Some(root) {
                of_epoch.named_root = Some(root);
                of_epoch.chases = 0;
                of_epoch.chase(now);
            }
        }
    }

    /// The duties of a slot, as known now; `None` while the beacon node has not told those of its epoch.
    pub(crate) fn duties_at(&self, cluster: &Cluster, slot: Slot) -> Option<SlotDuties> {
        let of_epoch = self.epochs.get(&cluster.chain.epoch_of(slot))?;
        of_epoch.dependent_root.map(|_| of_epoch.by_slot.get(&slot).cloned().unwrap_or_default())
    }

    /// Whether one of our validators attests in a slot, as known now.
    pub(crate) fn has_duty(&self, cluster: &Cluster, slot: Slot) -> bool {
        self.epochs.get(&cluster.chain.epoch_of(slot)).is_some_and(|of_epoch| of_epoch.by_slot.contains_key(&slot))
    }

    pub(crate) fn next_wake(&self) -> Option<Millis> {
        let questions = self.epochs.values().flat_map(|of| [of.validators.wake(), of.duties.wake()]);
        questions.flatten().chain([self.next_slot]).min()
    }
}

impl OfEpoch {
    fn replace(&mut self, cluster: &Cluster, epoch: Epoch, duties: AttesterDuties) {
        self.dependent_root = Some(duties.dependent_root);
        self.by_slot.clear();
        for duty in duties.duties {
            let ours = self.active.get(&duty.index) == Some(&duty.validator);
            if ours && cluster.chain.epoch_of(duty.slot) == epoch {
                self.by_slot.entry(duty.slot).or_default().insert(duty.validator, duty);
            }
        }
    }

    /// Asks again while our duties depend on another root than the head does, but not for ever: a beacon node can
    /// contradict itself.
    fn chase(&mut self, now: Millis) {
        let (Some(ours), Some(named)) = (self.dependent_root, self.named_root) else { return };
        if ours == named || self.chases == CHASES_MAX {
            return;
        }
        let wait_ms = if self.chases == 0 { 0 } else { RESOLVE_AGAIN_MS };
        self.chases += 1;
        self.duties.ask_at(now.plus(wait_ms));
    }
}

/// The next epoch's duties are settled when this one begins; asking in its last eighth leaves time for many failures.
fn lookahead_from(cluster: &Cluster, epoch: Epoch) -> Slot {
    let slots = cluster.chain.slots_per_epoch;
    let ahead = (slots / 8).max(1);
    Slot(cluster.chain.first_slot(epoch).0.saturating_add(slots - ahead))
}

const RESOLVE_AGAIN_MS: u64 = 500;

/// A beacon node that named a root has usually followed it by its next answer.
const CHASES_MAX: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::tests::cluster;

    /// Ten milliseconds into a slot.
    fn at(slot: u64) -> Millis {
        Millis(1_000_010 + 12_000 * slot)
    }

    fn public(number: u8) -> ValidatorPublic {
        ValidatorPublic([number; 48])
    }

    fn duty(number: u8, slot: u64) -> AttesterDuty {
        AttesterDuty {
            validator: public(number),
            index: ValidatorIndex(u64::from(number)),
            slot: Slot(slot),
            committee_index: 1,
            committee_length: 2,
            committees_at_slot: 3,
            position: 0,
        }
    }

    fn duties(root: u8, duties: &[AttesterDuty]) -> Result<AttesterDuties, BeaconFailure> {
        Ok(AttesterDuties { dependent_root: Root([root; 32]), duties: duties.to_vec() })
    }

    fn head(slot: u64, previous: u8, current: u8) -> HeadEvent {
        let [previous_dependent_root, current_dependent_root] = [previous, current].map(|root| Some(Root([root; 32])));
        HeadEvent { slot: Slot(slot), block: Root::default(), current_dependent_root, previous_dependent_root }
    }

    fn asked(schedule: &mut Schedule, now: Millis) -> Vec<String> {
        let mut out = Vec::new();
        schedule.on_time(&cluster(2), now, &mut out);
        out.iter()
            .map(|effect| match effect {
                Effect::FetchValidators(epoch) => format!("validators {epoch}"),
                Effect::FetchAttesterDuties { epoch, validators } => format!("duties {epoch} of {}", validators.len()),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn resolved(root: u8) -> Schedule {
        let mut schedule = Schedule::default();
        assert_eq!(asked(&mut schedule, at(3)), ["validators 0"]);
        let active =
            vec![(public(1), ValidatorIndex(1)), (public(2), ValidatorIndex(2)), (public(9), ValidatorIndex(9))];
        schedule.take_validators(&cluster(2), Epoch(0), Ok(active), at(3));
        assert_eq!(asked(&mut schedule, at(3)), ["duties 0 of 2"]);
        assert!(schedule.take_duties(&cluster(2), Epoch(0), duties(root, &[duty(1, 5), duty(2, 5)]), at(3)));
        schedule
    }

    #[test]
    fn an_epoch_is_resolved_in_two_questions_without_strangers() {
        let schedule = resolved(1);
        assert_eq!(schedule.duties_at(&cluster(2), Slot(5)).unwrap().len(), 2);
        assert_eq!(schedule.duties_at(&cluster(2), Slot(6)), Some(SlotDuties::new()), "nobody attests then");
        assert_eq!(schedule.duties_at(&cluster(2), Slot(32)), None, "that epoch was not asked for");
    }

    #[test]
    fn duties_that_are_not_ours_or_of_another_epoch_are_left_out() {
        let mut schedule = resolved(1);
        let mut stolen = duty(1, 6);
        stolen.index = ValidatorIndex(2);
        schedule.take_duties(&cluster(2), Epoch(0), duties(1, &[stolen, duty(9, 7), duty(1, 40)]), at(3));
        assert!(schedule.epochs[&Epoch(0)].by_slot.is_empty());
    }

    #[test]
    fn a_failure_is_asked_again_later_and_at_once_when_the_node_is_back() {
        let mut schedule = Schedule::default();
        asked(&mut schedule, at(3));
        assert!(asked(&mut schedule, at(3)).is_empty(), "never twice at a time");
        schedule.take_validators(&cluster(2), Epoch(0), Err(BeaconFailure("500".into())), at(3));
        assert!(asked(&mut schedule, at(3)).is_empty());
        assert_eq!(schedule.next_wake(), Some(at(3).plus(500)));
        schedule.hurry(at(3));
        assert_eq!(asked(&mut schedule, at(3)), ["validators 0"]);
    }

    #[test]
    fn a_node_that_knew_no_validator_is_asked_again_when_it_has_caught_up() {
        let mut schedule = Schedule::default();
        asked(&mut schedule, at(3));
        schedule.take_validators(&cluster(2), Epoch(0), Ok(Vec::new()), at(3));
        schedule.hurry(at(4));
        assert!(asked(&mut schedule, at(4)).is_empty());
        schedule.ask_again_for_nobody(at(4));
        assert_eq!(asked(&mut schedule, at(4)), ["validators 0"]);
        let mut schedule = resolved(1);
        schedule.ask_again_for_nobody(at(4));
        assert!(asked(&mut schedule, at(4)).is_empty());
    }

    #[test]
    fn the_next_epoch_is_looked_up_in_the_last_slots_and_old_ones_are_forgotten() {
        let mut schedule = resolved(1);
        assert!(asked(&mut schedule, at(27)).is_empty());
        assert_eq!(asked(&mut schedule, at(28)), ["validators 1"]);
        asked(&mut schedule, at(32));
        assert_eq!(schedule.epochs.keys().collect::<Vec<_>>(), [&Epoch(1)]);
    }

    #[test]
    fn another_dependent_root_asks_again_and_the_old_duties_stay_until_then() {
        let mut schedule = resolved(1);
        schedule.on_head(&cluster(2), &head(4, 1, 1), at(4));
        assert!(asked(&mut schedule, at(4)).is_empty());
        schedule.on_head(&cluster(2), &head(4, 2, 1), at(4));
        assert_eq!(asked(&mut schedule, at(4)), ["duties 0 of 2"]);
        assert!(schedule.has_duty(&cluster(2), Slot(5)));
        schedule.take_duties(&cluster(2), Epoch(0), duties(2, &[duty(1, 6)]), at(4));
        assert!(!schedule.has_duty(&cluster(2), Slot(5)));
        assert!(asked(&mut schedule, at(4)).is_empty());
    }

    #[test]
    fn a_node_that_contradicts_itself_is_not_asked_for_ever() {
        let mut schedule = resolved(1);
        schedule.on_head(&cluster(2), &head(4, 2, 1), at(4));
        let mut questions = 0;
        for step in 0..20 {
            let now = at(4).plus(step * RESOLVE_AGAIN_MS);
            questions += asked(&mut schedule, now).len();
            schedule.take_duties(&cluster(2), Epoch(0), duties(1, &[]), now);
        }
        assert_eq!(questions, usize::from(CHASES_MAX));
    }
}
