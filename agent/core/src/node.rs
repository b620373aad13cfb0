//! The node: takes one input at a time, hands it to the part that it is for, and then does what has become due.
//!
//! It holds the parts together and decides nothing that one part can decide alone.

use std::collections::BTreeMap;

use holdfast_types::{DutyId, DutyKind, Millis, Mode, OperatorIndex, PartialSignature, ValidatorPublic};
use holdfast_wire::parsigex::PartialSet;
use holdfast_wire::qbft::ConsensusMsg;

use crate::alarm::{Alarm, PeerFault};
use crate::consensus::{Consensus, Decision};
use crate::duty::attester::AttesterRun;
use crate::io::{BeaconFailure, BeaconStatus, Effect, HeadEvent, Input, VaultFailure};
use crate::partials::{BlsDone, PartialStore};
use crate::readiness::Readiness;
use crate::schedule::Schedule;
use crate::setup::{Cluster, Setup, SetupError};
use crate::tracker::Tracker;

/// One operator's node, without I/O, clock, randomness or secrets.
///
/// Every effect that names an answer gets exactly one, however late and also when it failed; without it the node waits.
#[derive(Debug)]
pub struct Node {
    cluster: Cluster,
    readiness: Readiness,
    schedule: Schedule,
    runs: BTreeMap<DutyId, AttesterRun>,
    consensus: Consensus,
    partials: PartialStore,
    tracker: Tracker,
}

/// How much the node holds at present, for metrics and for the tests of its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Duties that are not over.
    pub duties: usize,
    /// Instances of consensus.
    pub instances: usize,
    /// Bytes of values that peers brought.
    pub value_bytes: usize,
    /// Partial signatures.
    pub partials: usize,
}

impl Node {
    /// A node that knows its cluster and nothing of the world.
    ///
    /// # Errors
    ///
    /// When the setup contradicts itself.
    pub fn new(setup: Setup) -> Result<Self, SetupError> {
        Ok(Self {
            cluster: Cluster::new(setup)?,
            readiness: Readiness::new(),
            schedule: Schedule::default(),
            runs: BTreeMap::new(),
            consensus: Consensus::default(),
            partials: PartialStore::default(),
            tracker: Tracker::default(),
        })
    }

    /// Takes an input and appends what is to be done about it, in the order in which it is to be done.
    pub fn handle(&mut self, now: Millis, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::BeaconStatus(status) => self.on_beacon_status(status, now),
            Input::PeerUp(peer) => self.readiness.peer_up(&self.cluster, peer),
            Input::PeerDown(peer) => self.readiness.peer_down(peer),
            Input::Vault(state) => self.readiness.vault(state),
            Input::Drain if self.readiness.is_halted() => {
                self.readiness.drain();
                self.readiness.drained();
            }
            // A halted node keeps an eye on the world, and does nothing more.
            _ if self.readiness.is_halted() => {}
            Input::Wake => {}
            Input::Validators { epoch, result } => self.schedule.take_validators(&self.cluster, epoch, result, now),
            Input::AttesterDuties { epoch, result } => {
                if self.schedule.take_duties(&self.cluster, epoch, result, now) {
                    self.refresh_runs(now);
                }
            }
            Input::Head(head) => self.on_head(&head, now),
            Input::AttestationData { slot, result } => self.on_data(DutyId::attester(slot), result, now, out),
            Input::Consensus { from, message } => self.on_consensus(from, message, now, out),
            Input::Partials { from, set } => self.on_partials(from, set, now, out),
            Input::AttestationsSigned { duty, results } => self.on_signed(duty, results, now, out),
            Input::BlsDone(done) => self.on_bls_done(done, now, out),
            Input::Submitted { duty, result } => self.on_submitted(duty, result, now, out),
            Input::Drain => {
                self.readiness.drain();
                self.consensus.drop_unstarted();
                self.runs.retain(|_, run| run.has_begun());
            }
        }
        if !self.readiness.is_halted() {
            self.on_time(now, out);
        }
        self.readiness.update(&self.cluster, out);
        if !self.readiness.is_halted() {
            self.ask_vault(now, out);
        }
    }

    /// When to hand in [`Input::Wake`], if nothing else comes before. May be past already.
    #[must_use]
    pub fn next_wake(&self) -> Option<Millis> {
        if self.readiness.is_halted() {
            return None;
        }
        let runs = self.runs.iter().flat_map(|(duty, run)| [run.next_wake(), self.begins(*duty, run)]);
        let others = [
            self.schedule.next_wake(),
            self.consensus.next_wake(),
            self.partials.next_wake(&self.cluster),
            self.tracker.next_wake(&self.cluster),
        ];
        runs.chain(others).flatten().min()
    }

    /// The mode the node is in.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.readiness.mode()
    }

    /// Why it is in that mode, and what to do, in words for the operator.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.readiness.reason()
    }

    /// Whether a drain was asked for and everything under way is finished.
    #[must_use]
    pub fn has_drained(&self) -> bool {
        self.readiness.has_drained()
    }

    /// How much the node holds.
    #[must_use]
    pub fn load(&self) -> Load {
        let (instances, value_bytes) = self.consensus.load();
        Load { duties: self.runs.len(), instances, value_bytes, partials: self.partials.len() }
    }

    fn on_beacon_status(&mut self, status: BeaconStatus, now: Millis) {
        if status == BeaconStatus::Synced {
            self.schedule.hurry(now);
            if !self.readiness.is_synced() {
                self.schedule.ask_again_for_nobody(now);
            }
        }
        self.readiness.beacon(status);
    }

    fn on_head(&mut self, head: &HeadEvent, now: Millis) {
        self.schedule.on_head(&self.cluster, head, now);
        if let Some(run) = self.runs.get_mut(&DutyId::attester(head.slot)) {
            run.on_head(now);
        }
    }

    fn on_data(
        &mut self,
        duty: DutyId,
        result: Result<holdfast_eth::AttestationData, BeaconFailure>,
        now: Millis,
        out: &mut Vec<Effect>,
    ) {
        let Some(run) = self.runs.get_mut(&duty) else { return };
        match result {
            Err(failure) => {
                run.data_failed(now);
                self.tracker.data_failed(duty, failure.to_string());
            }
            Ok(data) => match run.take_data(&self.cluster, data, now) {
                Ok(()) => self.tracker.data_fetched(&self.cluster, duty, now, out),
                Err(rule) => self.tracker.data_failed(duty, format!("its data is of no use: {rule}")),
            },
        }
    }

    fn on_consensus(&mut self, from: OperatorIndex, message: ConsensusMsg, now: Millis, out: &mut Vec<Effect>) {
        let msg = *message.msg.msg();
        let duty = msg.duty;
        if !self.is_current(from, duty, now, out) {
            return;
        }
        if from != self.cluster.own
            && let Some(alarm) = self.consensus.find_twin(&self.cluster, &message)
        {
            self.halt(alarm, out);
            return;
        }
        // Whoever joins late runs through every round that is past, aloud: for a duty that is worth little by now that
        // is a flood which one small message sets off.
        let joins = !self.readiness.is_draining() && now <= self.cluster.patience_end(duty);
        let refused = !joins && !self.consensus.hosts(duty);
        if refused || !does_consensus(duty.kind) || !self.cluster.takes_part(duty) {
            return;
        }
        match self.consensus.receive(&self.cluster, from, message, now, out) {
            Ok(decision) => {
                self.tracker.heard(duty, msg.peer);
                self.on_decisions(decision, now, out);
            }
            Err(fault) => tell_fault(&self.cluster, from, fault, out),
        }
    }

    fn on_decisions(&mut self, decisions: impl IntoIterator<Item = Decision>, now: Millis, out: &mut Vec<Effect>) {
        for Decision { duty, round, value } in decisions {
            let begins = self.may_begin(duty, now);
            let run = open(&mut self.runs, &self.schedule, &self.cluster, duty, begins);
            if let Some(resolved) = self.schedule.duties_at(&self.cluster, duty.slot) {
                run.resolve(&self.cluster, resolved);
            }
            run.decide(&self.cluster, &value);
            let validators = run.decided_validators();
            let refused = run.take_refused();
            self.tracker.decided(&self.cluster, duty, round, validators, now, out);
            if let Some(refused) = refused {
                self.tracker.signed(&self.cluster, duty, 0, refused, now, out);
            }
        }
    }

    fn on_partials(&mut self, from: OperatorIndex, set: PartialSet, now: Millis, out: &mut Vec<Effect>) {
        let ours = from == self.cluster.own || !self.cluster.operators.contains(from);
        if ours || !self.is_current(from, set.duty, now, out) || set.duty.kind != DutyKind::Attester {
            return;
        }
        for fault in self.partials.add(&self.cluster, from, set) {
            tell_fault(&self.cluster, from, fault, out);
        }
    }

    fn on_signed(
        &mut self,
        duty: DutyId,
        results: Vec<(ValidatorPublic, Result<PartialSignature, VaultFailure>)>,
        now: Millis,
        out: &mut Vec<Effect>,
    ) {
        let Some(run) = self.runs.get_mut(&duty) else { return };
        let (signed, refused) = run.take_signed(&self.cluster, results);
        self.tracker.signed(&self.cluster, duty, signed.len(), refused, now, out);
        out.extend(self.partials.add_own(&self.cluster, duty, signed).map(Effect::SendPartials));
    }

    fn on_bls_done(&mut self, done: BlsDone, now: Millis, out: &mut Vec<Effect>) {
        let duty = done.duty();
        let outcome = self.partials.finish(done);
        for (operator, validators) in &outcome.good {
            self.tracker.partials_from(&self.cluster, duty, *operator, validators, now, out);
        }
        for (operator, validators) in outcome.bad {
            let Some(first) = validators.first().copied() else { continue };
            if operator == self.cluster.own {
                out.push(Effect::Alarm(Alarm::OwnPartialInvalid { duty, validator: first }));
            } else {
                let fault = PeerFault::InvalidPartial { duty, count: validators.len(), first };
                tell_fault(&self.cluster, operator, fault, out);
            }
        }
        let failed = outcome.failed.into_iter().map(|validator| Alarm::CombineFailed { duty, validator });
        out.extend(failed.map(Effect::Alarm));
        if outcome.combined.is_empty() {
            return;
        }
        let validators: Vec<ValidatorPublic> = outcome.combined.iter().map(|whole| whole.validator).collect();
        self.tracker.combined(&self.cluster, duty, validators, now, out);
        let begins = self.may_begin(duty, now);
        let run = open(&mut self.runs, &self.schedule, &self.cluster, duty, begins);
        let placeless = run.take_whole(outcome.combined, now);
        if !placeless.is_empty() {
            self.tracker.not_taken(duty, format!("the committee of {} validators is not known", placeless.len()));
        }
    }

    fn on_submitted(&mut self, duty: DutyId, result: Result<(), BeaconFailure>, now: Millis, out: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(&duty) else { return };
        let attestations = run.submitted(result.is_ok(), now);
        match result {
            Ok(()) => self.tracker.broadcast(&self.cluster, duty, attestations, now, out),
            Err(failure) => self.tracker.not_taken(duty, failure.to_string()),
        }
    }

    /// What has become due, whatever the input was.
    fn on_time(&mut self, now: Millis, out: &mut Vec<Effect>) {
        self.schedule.on_time(&self.cluster, now, out);
        self.begin_duties(now, out);
        for run in self.runs.values_mut() {
            run.on_time(now, out);
        }
        let decisions = self.consensus.on_time(&self.cluster, now, out);
        self.on_decisions(decisions, now, out);
        for duty in self.partials.duties() {
            out.extend(self.partials.take_job(&self.cluster, duty, now).map(Effect::Bls));
        }
        self.tracker.on_time(&self.cluster, now, out);
        if self.tracker.is_quiet() {
            self.readiness.drained();
        }
        self.consensus.drop_expired(&self.cluster, now);
        self.partials.drop_expired(&self.cluster, now);
        self.runs.retain(|duty, _| self.cluster.duty_end(*duty) >= now);
    }

    /// Opens the duty of this slot, and begins those whose time has come. Slots that were slept through are not made up for.
    fn begin_duties(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let duty = DutyId::attester(self.cluster.slot_now(now));
        let has_duty = self.schedule.has_duty(&self.cluster, duty.slot);
        let begins = self.may_begin(duty, now);
        if has_duty && begins {
            open(&mut self.runs, &self.schedule, &self.cluster, duty, begins);
        }
        let due: Vec<DutyId> = self
            .runs
            .iter()
            .filter(|(duty, run)| self.begins(**duty, run).is_some_and(|at| at <= now))
            .map(|(duty, _)| *duty)
            .collect();
        let mut decisions = Vec::new();
        for duty in due {
            let Some(run) = self.runs.get_mut(&duty) else { continue };
            if run.begin() {
                self.tracker.started(&self.cluster, duty, run.resolved_validators(), now, out);
            }
            decisions.extend(self.consensus.participate(&self.cluster, duty, now, out));
            if let Some(value) = run.take_proposal(&self.cluster, now) {
                decisions.extend(self.consensus.propose(&self.cluster, duty, value, now, out));
            }
        }
        self.on_decisions(decisions, now, out);
    }

    /// Whether a duty that is new to us is still to begin: not while draining, and neither what was slept through nor
    /// what an earlier run of this node may have begun.
    fn may_begin(&self, duty: DutyId, now: Millis) -> bool {
        let in_time = duty.slot >= self.cluster.slot_now(now) && self.cluster.takes_part(duty);
        in_time && !self.readiness.is_draining() && !self.consensus.has_forgotten(duty)
    }

    /// When a duty of ours has something to begin: itself, or its proposal.
    fn begins(&self, duty: DutyId, run: &AttesterRun) -> Option<Millis> {
        run.has_to_begin().then(|| self.cluster.duty_start(duty))
    }

    /// Has the vault sign what was decided, when the mode allows it.
    fn ask_vault(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let may_sign = self.readiness.may_sign(&self.cluster);
        for (duty, run) in self.runs.iter_mut().filter(|(_, run)| run.waits_for_vault()) {
            if may_sign {
                run.ask_vault(out);
            } else {
                self.tracker.withheld(&self.cluster, *duty, self.readiness.reason(), now, out);
            }
        }
    }

    /// The duties may be others now. Those that we proposed for stay as they are.
    fn refresh_runs(&mut self, now: Millis) {
        let current = self.cluster.slot_now(now);
        for (duty, run) in self.runs.iter_mut().filter(|(duty, _)| duty.slot >= current) {
            if let Some(resolved) = self.schedule.duties_at(&self.cluster, duty.slot) {
                run.resolve(&self.cluster, resolved);
            }
        }
    }

    /// Whether a duty is in the gate and not over. The first is the sender's fault, the second may be ours.
    fn is_current(&self, from: OperatorIndex, duty: DutyId, now: Millis, out: &mut Vec<Effect>) -> bool {
        if !self.cluster.passes_gate(duty, now) {
            tell_fault(&self.cluster, from, PeerFault::OutsideGate { duty }, out);
            return false;
        }
        self.cluster.duty_end(duty) >= now && !self.consensus.has_forgotten(duty)
    }

    fn halt(&mut self, alarm: Alarm, out: &mut Vec<Effect>) {
        out.push(Effect::Alarm(alarm.clone()));
        self.readiness.halt(alarm);
        // Nothing that was begun is to go on when a halted node is looked at later.
        self.runs.clear();
        self.consensus = Consensus::default();
        self.partials = PartialStore::default();
        self.tracker = Tracker::default();
    }
}

/// The duty of a slot as it is, or as the schedule has it. Whether it is still to begin counts only when it is new.
fn open<'a>(
    runs: &'a mut BTreeMap<DutyId, AttesterRun>,
    schedule: &Schedule,
    cluster: &Cluster,
    duty: DutyId,
    begins: bool,
) -> &'a mut AttesterRun {
    runs.entry(duty).or_insert_with(|| {
        let resolved = schedule.duties_at(cluster, duty.slot);
        AttesterRun::new(cluster, duty, resolved, begins)
    })
}

/// The kinds of duty on whose value this node agrees with its peers.
const fn does_consensus(kind: DutyKind) -> bool {
    matches!(kind, DutyKind::Attester)
}

fn tell_fault(cluster: &Cluster, peer: OperatorIndex, fault: PeerFault, out: &mut Vec<Effect>) {
    if peer != cluster.own {
        out.push(Effect::Fault { peer, fault });
    }
}

#[cfg(test)]
mod tests;
