//! Partial signatures: collect them per duty, validator and share, have them checked in batches, and take what combines.
//!
//! Of each share the first partial of a duty stays; a second, different one is a fault of its sender. A peer speaks for
//! its own share only. All cryptography is in [`BlsJob`], which runs elsewhere; a duty has at most one job under way.

mod job;

use std::collections::BTreeMap;

use holdfast_eth::{AttestationData, domain};
use holdfast_types::{
    DutyId, Epoch, Millis, OperatorIndex, PartialSignature, Root, ShareIndex, Signature, SigningRoot, ValidatorIndex,
    ValidatorPublic,
};
use holdfast_wire::parsigex::{PartialAttestation, PartialSet, Payload};

pub use self::job::{BlsDone, BlsJob};
use self::job::{Combined, Fresh, Group, Verdict};
use crate::alarm::PeerFault;
use crate::setup::Cluster;

/// The partial signatures of all duties that are not over.
#[derive(Debug, Default)]
pub(crate) struct PartialStore {
    duties: BTreeMap<DutyId, OfDuty>,
    held: BTreeMap<OperatorIndex, usize>,
}

#[derive(Debug, Default)]
struct OfDuty {
    validators: BTreeMap<ValidatorPublic, OfValidator>,
    in_flight: bool,
    /// How many partials nobody checked yet.
    fresh: usize,
    /// Whether something came since somebody last looked if there is work. Every input of the node looks at every duty, and
    /// thousands of validators are not to be gone through for each.
    changed: bool,
}

#[derive(Debug, Default)]
struct OfValidator {
    partials: BTreeMap<OperatorIndex, Held>,
    /// A group signature was made, or cannot be made.
    settled: bool,
}

#[derive(Debug)]
struct Held {
    partial: PartialAttestation,
    object: Root,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Bad,
    Checking,
    Fresh,
    Good,
}

/// What came of a job.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Whose partials verified, for which validators.
    pub(crate) good: BTreeMap<OperatorIndex, Vec<ValidatorPublic>>,
    /// Whose did not.
    pub(crate) bad: BTreeMap<OperatorIndex, Vec<ValidatorPublic>>,
    /// Whole attestations.
    pub(crate) combined: Vec<Whole>,
    /// Validators whose verified partials do not combine.
    pub(crate) failed: Vec<ValidatorPublic>,
}

/// An attestation with its verified group signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) validator: ValidatorPublic,
    pub(crate) data: AttestationData,
    pub(crate) signature: Signature,
    /// Which attester and which committee, where some partial names them. Nobody vouches for it.
    pub(crate) said: Option<(ValidatorIndex, u64)>,
}

impl PartialStore {
    /// Takes a peer's partials, each on its own: one that is wrong does not spoil the others.
    pub(crate) fn add(&mut self, cluster: &Cluster, from: OperatorIndex, set: PartialSet) -> Vec<PeerFault> {
        let duty = set.duty;
        let mut faults = Vec::new();
        for (validator, partial) in set.partials {
            let added = attestation(cluster, duty, validator, from, partial.share, partial.payload)
                .and_then(|partial| self.insert(cluster, duty, validator, from, partial));
            if let Err(fault) = added
                && !faults.contains(&fault)
                && faults.len() < FAULTS_TOLD_MAX
            {
                faults.push(fault);
            }
        }
        faults
    }

    /// Takes our own partials and gives the set to send to the peers; `None` when there is nothing new to send.
    pub(crate) fn add_own(
        &mut self,
        cluster: &Cluster,
        duty: DutyId,
        signed: Vec<(ValidatorPublic, PartialAttestation)>,
    ) -> Option<PartialSet> {
        let share = cluster.own.share();
        let mut set = PartialSet { duty, partials: BTreeMap::new() };
        for (validator, partial) in signed {
            if self.insert(cluster, duty, validator, cluster.own, partial.clone()).is_ok() {
                let payload = Payload::Attestation(partial);
                set.partials.insert(validator, holdfast_wire::parsigex::Partial { share, payload });
            }
        }
        (!set.partials.is_empty()).then_some(set)
    }

    fn insert(
        &mut self,
        cluster: &Cluster,
        duty: DutyId,
        validator: ValidatorPublic,
        operator: OperatorIndex,
        partial: PartialAttestation,
    ) -> Result<(), PeerFault> {
        let object = partial.data.hash_tree_root();
        let known =
            self.duties.get(&duty).and_then(|of_duty| of_duty.validators.get(&validator)?.partials.get(&operator));
        if let Some(known) = known {
            let same = known.object == object && known.partial.signature == partial.signature;
            return if same { Ok(()) } else { Err(PeerFault::ConflictingPartial { duty, validator }) };
        }
        let held = self.held.entry(operator).or_default();
        if *held >= held_per_operator_max(cluster) {
            return Err(PeerFault::Flood { duty });
        }
        *held += 1;
        let of_duty = self.duties.entry(duty).or_default();
        of_duty.fresh += 1;
        of_duty.changed = true;
        let of_validator = of_duty.validators.entry(validator).or_default();
        of_validator.partials.insert(operator, Held { partial, object, state: State::Fresh });
        Ok(())
    }

    /// The next work on a duty, when it is worth doing. When the patience is over, a partial that completes nothing is
    /// checked as well: nobody is waited for.
    pub(crate) fn take_job(&mut self, cluster: &Cluster, duty: DutyId, now: Millis) -> Option<BlsJob> {
        let of_duty = self.duties.get_mut(&duty)?;
        if of_duty.in_flight || !of_duty.is_worth_checking(cluster, now >= cluster.patience_end(duty)) {
            return None;
        }
        of_duty.in_flight = true;
        of_duty.fresh = 0;
        let groups: Vec<Group> =
            of_duty.validators.iter_mut().flat_map(|(validator, held)| held.groups(cluster, *validator)).collect();
        Some(BlsJob { duty, threshold: cluster.threshold, groups })
    }

    /// Takes what came of a job.
    pub(crate) fn finish(&mut self, done: BlsDone) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(of_duty) = self.duties.get_mut(&done.duty) else { return outcome };
        of_duty.in_flight = false;
        of_duty.changed = true;
        for verdict in done.groups {
            if let Some(of_validator) = of_duty.validators.get_mut(&verdict.validator) {
                of_validator.take_verdict(&verdict, &mut outcome);
            }
        }
        outcome
    }

    /// The duties that wait for partials that may never come, with the time at which the waiting ends.
    pub(crate) fn next_wake(&self, cluster: &Cluster) -> Option<Millis> {
        let waiting = self.duties.iter().filter(|(_, of_duty)| !of_duty.in_flight && of_duty.fresh > 0);
        waiting.map(|(duty, _)| cluster.patience_end(*duty)).min()
    }

    /// The duties with partials, to look for work.
    pub(crate) fn duties(&self) -> Vec<DutyId> {
        self.duties.keys().copied().collect()
    }

    /// Forgets duties that are over.
    pub(crate) fn drop_expired(&mut self, cluster: &Cluster, now: Millis) {
        let held = &mut self.held;
        self.duties.retain(|duty, of_duty| {
            let keep = cluster.duty_end(*duty) >= now;
            if !keep {
                for operator in of_duty.validators.values().flat_map(|of_validator| of_validator.partials.keys()) {
                    let count = held.entry(*operator).or_default();
                    *count = count.saturating_sub(1);
                }
            }
            keep
        });
    }

    /// How many partials are held, for the memory bound.
    pub(crate) fn len(&self) -> usize {
        self.held.values().sum()
    }
}

impl OfDuty {
    /// A batch is closed when it completes a group signature, when nobody is left to wait for, or when the patience is over.
    fn is_worth_checking(&mut self, cluster: &Cluster, patience_over: bool) -> bool {
        let changed = std::mem::take(&mut self.changed);
        if self.fresh == 0 || !(changed || patience_over) {
            return false;
        }
        let all_in = || self.validators.values().all(|held| held.partials.len() == cluster.operators.count());
        patience_over || self.validators.values().any(|held| held.completes(cluster.threshold)) || all_in()
    }
}

impl OfValidator {
    /// Whether the fresh partials, if they are good, make a group signature.
    fn completes(&self, threshold: usize) -> bool {
        let mut by_object: BTreeMap<Root, usize> = BTreeMap::new();
        for held in self.partials.values().filter(|held| matches!(held.state, State::Fresh | State::Good)) {
            *by_object.entry(held.object).or_default() += 1;
        }
        !self.settled && by_object.values().any(|count| *count >= threshold)
    }

    /// Everything fresh, by what it signs, with the good ones beside it.
    fn groups(&mut self, cluster: &Cluster, validator: ValidatorPublic) -> Vec<Group> {
        let wanted = !self.settled;
        let mut groups: BTreeMap<Root, Group> = BTreeMap::new();
        for (operator, held) in &mut self.partials {
            let Some(public) = cluster.share(&validator, *operator) else { continue };
            let group = groups.entry(held.object).or_insert_with(|| Group {
                validator,
                object: held.object,
                root: signing_root(cluster, &held.partial.data),
                wanted,
                verified: Vec::new(),
                fresh: Vec::new(),
            });
            match held.state {
                State::Bad | State::Checking => {}
                State::Good => group.verified.push((*operator, held.partial.signature)),
                State::Fresh => {
                    held.state = State::Checking;
                    group.fresh.push(Fresh { operator: *operator, public, signature: held.partial.signature });
                }
            }
        }
        groups.into_values().filter(|group| !group.fresh.is_empty()).collect()
    }

    fn take_verdict(&mut self, verdict: &Verdict, outcome: &mut Outcome) {
        for (operator, good) in &verdict.fresh {
            if let Some(held) = self.partials.get_mut(operator) {
                held.state = if *good { State::Good } else { State::Bad };
            }
            let side = if *good { &mut outcome.good } else { &mut outcome.bad };
            side.entry(*operator).or_default().push(verdict.validator);
        }
        if self.settled {
            return;
        }
        match verdict.combined {
            Combined::No => {}
            Combined::Invalid => {
                self.settled = true;
                outcome.failed.push(verdict.validator);
            }
            Combined::Good(signature) => {
                self.settled = true;
                outcome.combined.extend(self.whole(verdict, signature));
            }
        }
    }

    fn whole(&self, verdict: &Verdict, signature: Signature) -> Option<Whole> {
        let mut good = self.partials.values().filter(|held| held.object == verdict.object && held.state == State::Good);
        let data = good.clone().next()?.partial.data;
        let said = good.find_map(|held| held.partial.validator.zip(held.partial.committee));
        Some(Whole { validator: verdict.validator, data, signature, said })
    }
}

/// What is signed when an attestation is.
fn signing_root(cluster: &Cluster, data: &AttestationData) -> SigningRoot {
    domain::attestation_signing_root(&cluster.chain, data)
}

/// Our own partial signature in the form that peers get.
pub(crate) fn own_partial(
    cluster: &Cluster,
    data: AttestationData,
    duty: Option<(ValidatorIndex, u64)>,
    signature: PartialSignature,
) -> PartialAttestation {
    PartialAttestation {
        version: cluster.fork_number(data.target.epoch),
        validator: duty.map(|(validator, _)| validator),
        committee: duty.map(|(_, committee)| committee),
        data,
        signature,
    }
}

/// The attestation in a peer's partial, when it is one of that peer's share for that duty.
fn attestation(
    cluster: &Cluster,
    duty: DutyId,
    validator: ValidatorPublic,
    from: OperatorIndex,
    share: ShareIndex,
    payload: Payload,
) -> Result<PartialAttestation, PeerFault> {
    if !cluster.has_validator(&validator) {
        return Err(PeerFault::UnknownValidator { duty, validator });
    }
    if share != from.share() {
        return Err(PeerFault::ForeignShare { duty, share });
    }
    let Payload::Attestation(partial) = payload else { return Err(PeerFault::WrongPayload { duty, validator }) };
    let target: Epoch = cluster.chain.epoch_of(duty.slot);
    if partial.data.slot == duty.slot && partial.data.target.epoch == target {
        Ok(partial)
    } else {
        Err(PeerFault::WrongPayload { duty, validator })
    }
}

/// A validator attests once an epoch. Alive are the duties of the epoch before this one, of this one, and, because the
/// gate lets them pass, of the two after it.
fn held_per_operator_max(cluster: &Cluster) -> usize {
    4 * cluster.validator_count()
}

/// One set can hold a wrong partial for every validator; three of them say it all.
const FAULTS_TOLD_MAX: usize = 3;

#[cfg(test)]
mod tests;
