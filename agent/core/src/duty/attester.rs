//! The attester duty of one slot (`duties.md` section 4.1): get data, agree, have it signed, submit what combines.
//!
//! Whether the node may sign at all is the business of `readiness`, consensus that of `qbft`, partials that of `partials`.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_eth::AttestationData;
use holdfast_types::{DutyId, Epoch, Millis, PartialSignature, Slot, ValidatorIndex, ValidatorPublic};
use holdfast_wire::attester::{AttesterDuty as WireDuty, AttesterValue};
use holdfast_wire::parsigex::PartialAttestation;
use holdfast_wire::qbft::Value;

use crate::io::{AttesterDuty, Effect, SingleAttestation, VaultFailure};
use crate::partials::{Whole, own_partial};
use crate::retry::Retry;
use crate::setup::Cluster;

/// Why attestation data, or a decided value, is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecidedFault {
    /// It contradicts itself or the duty.
    #[error("attestation data of validator {} does not fit the slot: {rule}", validator.short())]
    Data {
        /// The validator.
        validator: ValidatorPublic,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// It says something else about a validator's duty than our beacon node does.
    #[error("the duty of validator {} is another by our own beacon node", validator.short())]
    Duty {
        /// The validator.
        validator: ValidatorPublic,
    },
    /// It is for a validator that does not attest in this slot.
    #[error("validator {} has no duty in this slot by our own beacon node", validator.short())]
    NoDuty {
        /// The validator.
        validator: ValidatorPublic,
    },
    /// It is no value of an attester duty.
    #[error("it does not decode as a set of attester values")]
    NotAttester,
    /// It is for a validator that is not in the lock.
    #[error("validator {0} is not in the cluster lock")]
    UnknownValidator(ValidatorPublic),
}

/// The attester duty of one slot.
#[derive(Debug)]
pub(crate) struct AttesterRun {
    duty: DutyId,
    /// The duties of our validators as our own beacon node has them.
    resolved: BTreeMap<ValidatorPublic, AttesterDuty>,
    /// Whether our own beacon node told; without it `resolved` is empty and says nothing.
    is_resolved: bool,
    takes_part: bool,
    begun: bool,
    fetch: Retry,
    data: Option<AttestationData>,
    proposed: bool,
    decided: Option<BTreeMap<ValidatorPublic, AttesterValue>>,
    /// Why other entries of the decision are not signed.
    refused: Vec<String>,
    /// What the vault was asked for, and has not answered.
    signing: BTreeMap<ValidatorPublic, AttestationData>,
    asked: bool,
    submit: Retry,
    ready: Vec<SingleAttestation>,
    /// How many of the ready ones are under way.
    under_way: usize,
}

impl AttesterRun {
    /// A duty that has not begun. With `takes_part` it begins in time, and without it others do it: their decisions are
    /// signed and their partials combined. `resolved` is `None` while our own beacon node has not told the duties.
    pub(crate) fn new(
        cluster: &Cluster,
        duty: DutyId,
        resolved: Option<BTreeMap<ValidatorPublic, AttesterDuty>>,
        takes_part: bool,
    ) -> Self {
        let is_resolved = resolved.is_some();
        let resolved = resolved.unwrap_or_default();
        let longest_ms = cluster.chain.slot_ms;
        let mut fetch = Retry::new(FETCH_AGAIN_MS, longest_ms);
        if takes_part && !resolved.is_empty() {
            fetch.ask_at(cluster.duty_start(duty));
        }
        Self {
            duty,
            resolved,
            is_resolved,
            takes_part,
            begun: false,
            fetch,
            data: None,
            proposed: false,
            decided: None,
            refused: Vec::new(),
            signing: BTreeMap::new(),
            asked: false,
            submit: Retry::new(SUBMIT_AGAIN_MS, longest_ms),
            ready: Vec::new(),
            under_way: 0,
        }
    }

    /// The validators that have this duty by our own beacon node.
    pub(crate) fn resolved_validators(&self) -> BTreeSet<ValidatorPublic> {
        self.resolved.keys().copied().collect()
    }

    /// Takes the duties as they are now, before or after a change of the chain; not once we proposed.
    pub(crate) fn resolve(&mut self, cluster: &Cluster, resolved: BTreeMap<ValidatorPublic, AttesterDuty>) {
        if self.proposed || self.decided.is_some() {
            return;
        }
        self.resolved = resolved;
        self.is_resolved = true;
        if self.takes_part && !self.resolved.is_empty() && self.data.is_none() && self.fetch.is_idle() {
            self.fetch.ask_at(cluster.duty_start(self.duty));
        }
    }

    /// Whether, from its start on, there is something to begin: the duty, or the proposal for it.
    pub(crate) fn has_to_begin(&self) -> bool {
        let open = !self.begun || (self.data.is_some() && !self.proposed);
        self.takes_part && self.decided.is_none() && !self.resolved.is_empty() && open
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Begins the duty; `true` the first time.
    pub(crate) fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
    }

    /// The head moved to this very slot: there is nothing better to wait for.
    ///
    /// The first question fixes the answer of some beacon nodes for the whole slot, so it is asked here or at the
    /// duty's start, and once it was answered never again.
    pub(crate) fn on_head(&mut self, now: Millis) {
        if self.takes_part && !self.resolved.is_empty() && self.data.is_none() && self.decided.is_none() {
            self.fetch.ask_at(now);
        }
    }

    /// Asks for what is due.
    pub(crate) fn on_time(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if self.decided.is_none() && self.fetch.take_due(now) {
            out.push(Effect::FetchAttestationData(self.duty.slot));
        }
        if self.submit.take_due(now) {
            self.under_way = self.ready.len();
            out.push(Effect::SubmitAttestations { duty: self.duty, attestations: self.ready.clone() });
        }
    }

    /// Takes the beacon node's data. When it is of no use it is asked for again; the error is the rule that it breaks.
    pub(crate) fn take_data(
        &mut self,
        cluster: &Cluster,
        data: AttestationData,
        now: Millis,
    ) -> Result<(), &'static str> {
        match check_data(cluster, self.duty.slot, &data) {
            Ok(()) => {
                self.fetch.succeeded();
                self.data.get_or_insert(data);
                Ok(())
            }
            Err(rule) => {
                self.fetch.failed(now);
                Err(rule)
            }
        }
    }

    /// The data could not be had; it is asked for again.
    pub(crate) fn data_failed(&mut self, now: Millis) {
        if self.data.is_none() {
            self.fetch.failed(now);
        }
    }

    /// The value to propose, once, when there is data and the duty has begun.
    pub(crate) fn take_proposal(&mut self, cluster: &Cluster, now: Millis) -> Option<Value> {
        let data = self.data.filter(|_| !self.proposed && now >= cluster.duty_start(self.duty))?;
        self.proposed = true;
        let entry = |duty: &AttesterDuty| (duty.validator, AttesterValue { data, duty: to_wire(duty) }.encode());
        Some(Value::DataSet(self.resolved.values().map(entry).collect()))
    }

    /// Takes what the cluster decided. What may be signed of it waits for the vault, the rest is refused.
    ///
    /// Consensus does not look into values, so one bad leader is enough for a bad one. Each entry is judged on its own:
    /// validators do not suffer for each other.
    pub(crate) fn decide(&mut self, cluster: &Cluster, value: &Value) {
        if self.decided.is_none() {
            let resolved = self.is_resolved.then_some(&self.resolved);
            let (good, faults) = check_value(cluster, self.duty.slot, value, resolved);
            self.decided = Some(good);
            self.refused = faults.iter().map(ToString::to_string).collect();
        }
    }

    /// The refusals that no answer of the vault will carry, because there is nothing to ask it for.
    pub(crate) fn take_refused(&mut self) -> Option<Vec<String>> {
        let nothing_to_sign = self.decided.as_ref().is_some_and(BTreeMap::is_empty);
        (nothing_to_sign && !self.refused.is_empty()).then(|| std::mem::take(&mut self.refused))
    }

    /// The validators that the decision is about.
    pub(crate) fn decided_validators(&self) -> BTreeSet<ValidatorPublic> {
        self.decided.iter().flat_map(|decided| decided.keys().copied()).collect()
    }

    /// Has the vault sign what was decided; once per duty.
    pub(crate) fn ask_vault(&mut self, out: &mut Vec<Effect>) {
        let Some(decided) = self.decided.as_ref().filter(|decided| !self.asked && !decided.is_empty()) else { return };
        self.asked = true;
        self.signing = decided.iter().map(|(validator, value)| (*validator, value.data)).collect();
        let batch = self.signing.iter().map(|(validator, data)| (*validator, *data)).collect();
        out.push(Effect::SignAttestations { duty: self.duty, batch });
    }

    /// Whether something was decided that the vault was not asked for yet.
    pub(crate) fn waits_for_vault(&self) -> bool {
        !self.asked && self.decided.as_ref().is_some_and(|decided| !decided.is_empty())
    }

    /// Takes the vault's answers: our partials, and the refusals in words.
    pub(crate) fn take_signed(
        &mut self,
        cluster: &Cluster,
        results: Vec<(ValidatorPublic, Result<PartialSignature, VaultFailure>)>,
    ) -> (Vec<(ValidatorPublic, PartialAttestation)>, Vec<String>) {
        let (mut signed, mut refused) = (Vec::new(), std::mem::take(&mut self.refused));
        for (validator, result) in results {
            let Some(data) = self.signing.remove(&validator) else { continue };
            match result {
                Ok(signature) => {
                    let place = self.place(&validator);
                    signed.push((validator, own_partial(cluster, data, place, signature)));
                }
                Err(reason) => refused.push(format!("validator {}: {reason}", validator.short())),
            }
        }
        self.signing.clear();
        (signed, refused)
    }

    /// Takes whole attestations to submit; gives the validators whose place in the committees nobody knows.
    pub(crate) fn take_whole(&mut self, whole: Vec<Whole>, now: Millis) -> Vec<ValidatorPublic> {
        let mut placeless = Vec::new();
        for Whole { validator, data, signature, said } in whole {
            match self.place(&validator).or(said) {
                Some((attester_index, committee_index)) => {
                    self.ready.push(SingleAttestation { committee_index, attester_index, data, signature });
                }
                None => placeless.push(validator),
            }
        }
        if self.ready.len() > self.under_way {
            self.submit_soon(now);
        }
        placeless
    }

    /// Takes the beacon node's answer to a submission; gives how many attestations it took.
    pub(crate) fn submitted(&mut self, taken: bool, now: Millis) -> usize {
        if !taken {
            self.under_way = 0;
            self.submit.failed(now);
            return 0;
        }
        let done = self.ready.drain(..self.under_way.min(self.ready.len())).count();
        self.under_way = 0;
        self.submit.succeeded();
        if !self.ready.is_empty() {
            self.submit_soon(now);
        }
        done
    }

    pub(crate) fn next_wake(&self) -> Option<Millis> {
        let fetch = self.fetch.wake().filter(|_| self.decided.is_none());
        fetch.into_iter().chain(self.submit.wake()).min()
    }

    /// A retry that waits is not hurried by what combines meanwhile.
    fn submit_soon(&mut self, now: Millis) {
        if self.submit.is_idle() {
            self.submit.ask_at(now);
        }
    }

    /// Attester and committee: by our own beacon node, or by what the cluster decided.
    fn place(&self, validator: &ValidatorPublic) -> Option<(ValidatorIndex, u64)> {
        let decided = || self.decided.as_ref()?.get(validator).map(|value| value.duty);
        let resolved = self.resolved.get(validator).map(|duty| (duty.index, duty.committee_index));
        resolved.or_else(|| decided().map(|duty| (duty.validator_index, duty.committee_index)))
    }
}

/// Sorts a decided value's entries into those to sign and the faults of the others.
fn check_value(
    cluster: &Cluster,
    slot: Slot,
    value: &Value,
    resolved: Option<&BTreeMap<ValidatorPublic, AttesterDuty>>,
) -> (BTreeMap<ValidatorPublic, AttesterValue>, Vec<DecidedFault>) {
    let Some(set) = value.data_set() else { return (BTreeMap::new(), vec![DecidedFault::NotAttester]) };
    let (mut good, mut faults) = (BTreeMap::new(), Vec::new());
    for (validator, bytes) in set {
        match check_entry(cluster, slot, *validator, bytes, resolved) {
            Ok(value) => {
                good.insert(*validator, value);
            }
            Err(fault) => faults.push(fault),
        }
    }
    (good, faults)
}

fn check_entry(
    cluster: &Cluster,
    slot: Slot,
    validator: ValidatorPublic,
    bytes: &[u8],
    resolved: Option<&BTreeMap<ValidatorPublic, AttesterDuty>>,
) -> Result<AttesterValue, DecidedFault> {
    if !cluster.has_validator(&validator) {
        return Err(DecidedFault::UnknownValidator(validator));
    }
    let value = AttesterValue::decode(bytes).map_err(|_| DecidedFault::NotAttester)?;
    check_data(cluster, slot, &value.data).map_err(|rule| DecidedFault::Data { validator, rule })?;
    let of_this = value.duty.validator == validator && value.duty.slot == slot;
    // A validator attests once an epoch: one that is signed for in a slot that is not its own has lost its own slot to
    // the slashing protection. One bad leader could do that to all of them.
    let own = resolved.map(|resolved| resolved.get(&validator));
    if own == Some(None) {
        Err(DecidedFault::NoDuty { validator })
    } else if of_this && own.flatten().is_none_or(|own| to_wire(own) == value.duty) {
        Ok(value)
    } else {
        Err(DecidedFault::Duty { validator })
    }
}

/// What data must be for a slot, whoever says it (consensus-specs phase0, `process_attestation`, and electra for the index).
fn check_data(cluster: &Cluster, slot: Slot, data: &AttestationData) -> Result<(), &'static str> {
    if data.slot != slot {
        Err("it is of another slot")
    } else if data.index != 0 {
        Err("the committee index is not 0, as it must be since Electra")
    } else if data.target.epoch != cluster.chain.epoch_of(slot) {
        Err("the target is not the epoch of the slot")
    } else if data.source.epoch >= data.target.epoch && data.target.epoch != Epoch(0) {
        Err("the source is not before the target")
    } else if data.source.epoch > data.target.epoch {
        Err("the source is after the target")
    } else {
        Ok(())
    }
}

fn to_wire(duty: &AttesterDuty) -> WireDuty {
    WireDuty {
        validator: duty.validator,
        slot: duty.slot,
        validator_index: duty.index,
        committee_index: duty.committee_index,
        committee_length: duty.committee_length,
        committees_at_slot: duty.committees_at_slot,
        validator_committee_index: duty.position,
    }
}

/// Data is worth most at once, so the first retry comes soon.
const FETCH_AGAIN_MS: u64 = 100;

/// `duties.md` section 10.
const SUBMIT_AGAIN_MS: u64 = 250;

#[cfg(test)]
mod tests;
