//! The instances of consensus, one per duty, with the values that they are about and the record of what we said.
//!
//! An instance works on hashes; here they get their values back. What a peer can make us hold is bounded per peer, and a
//! message of our own key that is not in the record shows a twin.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{DutyId, Millis, OperatorIndex, ValidatorPublic};
use holdfast_wire::qbft::{ConsensusMsg, Msg, SignedMsg, Value, ValueHash};

use crate::alarm::{Alarm, PeerFault};
use crate::io::{Effect, OutgoingConsensus};
use crate::qbft::{Instance, Output, Params, Refused};
use crate::setup::Cluster;

/// All instances that are not over.
#[derive(Debug, Default)]
pub(crate) struct Consensus {
    hosted: BTreeMap<DutyId, Hosted>,
    /// The bytes of values that each peer brought.
    brought: BTreeMap<OperatorIndex, usize>,
    /// The last duties that are over and in which we said something.
    forgotten: BTreeSet<DutyId>,
}

#[derive(Debug)]
struct Hosted {
    instance: Instance,
    start: Millis,
    started: bool,
    values: BTreeMap<ValueHash, HeldValue>,
    sent: BTreeSet<Msg>,
}

#[derive(Debug)]
struct HeldValue {
    value: Value,
    brought_by: OperatorIndex,
}

/// What the cluster decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) duty: DutyId,
    pub(crate) round: u64,
    pub(crate) value: Value,
}

impl Consensus {
    /// Takes part in a duty that has begun, with or without a value.
    pub(crate) fn participate(
        &mut self,
        cluster: &Cluster,
        duty: DutyId,
        now: Millis,
        out: &mut Vec<Effect>,
    ) -> Option<Decision> {
        let hosted = self.host(cluster, duty);
        if hosted.started {
            return None;
        }
        hosted.started = true;
        let mut outputs = Vec::new();
        hosted.instance.start(now, &mut outputs);
        self.perform(duty, outputs, out)
    }

    /// Proposes our own value wherever we lead.
    pub(crate) fn propose(
        &mut self,
        cluster: &Cluster,
        duty: DutyId,
        value: Value,
        now: Millis,
        out: &mut Vec<Effect>,
    ) -> Option<Decision> {
        let hosted = self.host(cluster, duty);
        let (hash, mut outputs) = (value.hash(), Vec::new());
        hosted.values.entry(hash).or_insert(HeldValue { value, brought_by: cluster.own });
        hosted.instance.set_input(hash, now, &mut outputs);
        self.perform(duty, outputs, out)
    }

    /// Takes a verified message of a duty that is in the gate and not over.
    ///
    /// # Errors
    ///
    /// What the sender did wrong; the message is dropped.
    pub(crate) fn receive(
        &mut self,
        cluster: &Cluster,
        from: OperatorIndex,
        message: ConsensusMsg,
        now: Millis,
        out: &mut Vec<Effect>,
    ) -> Result<Option<Decision>, PeerFault> {
        let ConsensusMsg { msg, justification, values } = message;
        let duty = msg.msg().duty;
        if !values.values().all(|value| is_usable(cluster, value)) {
            return Err(PeerFault::UnusableValue { duty });
        }
        let fresh = self.hold(cluster, duty, from, values)?;
        let (hosted, mut outputs) = (self.host(cluster, duty), Vec::new());
        let taken = hosted.instance.on_message(&msg, &justification, now, &mut outputs);
        let decision = self.perform(duty, outputs, out);
        if !fresh.is_empty() {
            self.let_go_unused(duty);
        }
        match taken {
            // Late is not wrong.
            Ok(()) | Err(Refused::Over { .. }) => Ok(decision),
            Err(refused) => Err(PeerFault::Consensus { duty, refused }),
        }
    }

    /// Starts the instances that peers began for duties that we did not know, and ends rounds.
    pub(crate) fn on_time(&mut self, cluster: &Cluster, now: Millis, out: &mut Vec<Effect>) -> Vec<Decision> {
        let due: Vec<DutyId> = self
            .hosted
            .iter()
            .filter(|(_, hosted)| hosted.wake().is_some_and(|at| at <= now))
            .map(|(duty, _)| *duty)
            .collect();
        let mut decisions = Vec::new();
        for duty in due {
            decisions.extend(self.participate(cluster, duty, now, out));
            let mut outputs = Vec::new();
            self.host(cluster, duty).instance.on_time(now, &mut outputs);
            decisions.extend(self.perform(duty, outputs, out));
        }
        decisions
    }

    pub(crate) fn next_wake(&self) -> Option<Millis> {
        self.hosted.values().filter_map(Hosted::wake).min()
    }

    /// Forgets duties that are over.
    pub(crate) fn drop_expired(&mut self, cluster: &Cluster, now: Millis) {
        let over =
            self.hosted.iter().filter(|(duty, hosted)| cluster.duty_end(**duty) < now && !hosted.sent.is_empty());
        self.forgotten.extend(over.map(|(duty, _)| *duty));
        while self.forgotten.len() > FORGOTTEN_MAX {
            self.forgotten.pop_first();
        }
        self.drop_unless(|duty, _| cluster.duty_end(*duty) >= now);
    }

    /// Forgets duties that did not begin, so that they never do.
    pub(crate) fn drop_unstarted(&mut self) {
        self.drop_unless(|_, hosted| hosted.started);
    }

    pub(crate) fn hosts(&self, duty: DutyId) -> bool {
        self.hosted.contains_key(&duty)
    }

    /// Whether what we said about a duty is forgotten, and the duty over for good: also when the clock was set back, and
    /// by it there is time left. To begin it again would contradict what we said, and our own echo would look like a twin.
    pub(crate) fn has_forgotten(&self, duty: DutyId) -> bool {
        self.forgotten.contains(&duty)
    }

    /// The alarm, when a peer's message carries one that our key signed and that we did not send.
    ///
    /// Not for duties of before this boot and its first slot: what an earlier run of this node said is not in our record.
    pub(crate) fn find_twin(&self, cluster: &Cluster, message: &ConsensusMsg) -> Option<Alarm> {
        let duty = message.msg.msg().duty;
        if cluster.chain.slot_start(duty.slot) < cluster.boot.plus(cluster.chain.slot_ms) {
            return None;
        }
        let sent = self.hosted.get(&duty).map(|hosted| &hosted.sent);
        let ours = |signed: &&SignedMsg| {
            let msg = signed.msg();
            msg.peer == cluster.own && msg.duty == duty && !sent.is_some_and(|sent| sent.contains(msg))
        };
        let twin = std::iter::once(&message.msg).chain(&message.justification).find(ours)?.msg();
        Some(Alarm::Twin { operator: cluster.own, duty, kind: twin.kind, round: twin.round })
    }

    /// The instances and the bytes of peers' values, for the memory bound.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.hosted.len(), self.brought.values().sum())
    }

    fn host(&mut self, cluster: &Cluster, duty: DutyId) -> &mut Hosted {
        self.hosted.entry(duty).or_insert_with(|| {
            let (start, end) = (cluster.duty_start(duty), cluster.duty_end(duty));
            let params = Params { operators: cluster.operators, own: cluster.own, duty, start, end };
            Hosted {
                instance: Instance::new(params),
                start,
                started: false,
                values: BTreeMap::new(),
                sent: BTreeSet::new(),
            }
        })
    }

    /// Holds the values that are new; gives their hashes. A value that a peer brought is on that peer's account.
    fn hold(
        &mut self,
        cluster: &Cluster,
        duty: DutyId,
        from: OperatorIndex,
        values: BTreeMap<ValueHash, Value>,
    ) -> Result<Vec<ValueHash>, PeerFault> {
        let known = self.hosted.get(&duty).map(|hosted| &hosted.values);
        let is_new = |hash: &ValueHash| known.is_none_or(|known| !known.contains_key(hash));
        let fresh: Vec<(ValueHash, Value)> = values.into_iter().filter(|(hash, _)| is_new(hash)).collect();
        let size: usize = fresh.iter().map(|(_, value)| size_of_value(value)).sum();
        let brought = self.brought.entry(from).or_default();
        if from != cluster.own && *brought + size > brought_bytes_max(cluster) {
            return Err(PeerFault::Flood { duty });
        }
        *brought += size;
        let hashes = fresh.iter().map(|(hash, _)| *hash).collect();
        let held = fresh.into_iter().map(|(hash, value)| (hash, HeldValue { value, brought_by: from }));
        self.host(cluster, duty).values.extend(held);
        Ok(hashes)
    }

    fn perform(&mut self, duty: DutyId, outputs: Vec<Output>, out: &mut Vec<Effect>) -> Option<Decision> {
        let hosted = self.hosted.get_mut(&duty)?;
        let mut decision = None;
        for output in outputs {
            match output {
                Output::Broadcast { msg, justification } => out.extend(hosted.broadcast(msg, justification)),
                Output::Decided { value, round, .. } => {
                    let held = hosted.values.get(&value).map(|held| held.value.clone());
                    decision = held.map(|value| Decision { duty, round, value });
                }
            }
        }
        if decision.is_some() {
            self.let_go_unused(duty);
        }
        decision
    }

    /// Lets go of the values that no later message of ours can need.
    fn let_go_unused(&mut self, duty: DutyId) {
        let Some(hosted) = self.hosted.get_mut(&duty) else { return };
        let in_use = hosted.instance.values_in_use();
        let brought = &mut self.brought;
        hosted.values.retain(|hash, held| {
            let keep = in_use.contains(hash);
            if !keep {
                release(brought, held);
            }
            keep
        });
    }

    fn drop_unless(&mut self, keep: impl Fn(&DutyId, &Hosted) -> bool) {
        let brought = &mut self.brought;
        self.hosted.retain(|duty, hosted| {
            let keep = keep(duty, hosted);
            if !keep {
                hosted.values.values().for_each(|held| release(brought, held));
            }
            keep
        });
    }
}

impl Hosted {
    fn wake(&self) -> Option<Millis> {
        if self.started { self.instance.deadline() } else { Some(self.start) }
    }

    /// The message with its values, and a record of it; `None` when there were too many already.
    fn broadcast(&mut self, msg: Msg, justification: Vec<SignedMsg>) -> Option<Effect> {
        let all = std::iter::once(&msg).chain(justification.iter().map(SignedMsg::msg));
        let hashes: BTreeSet<ValueHash> = all.flat_map(|msg| [msg.value, msg.prepared_value]).flatten().collect();
        let held = hashes.iter().map(|hash| self.values.get(hash).map(|held| held.value.clone()));
        let Some(values) = held.collect::<Option<Vec<Value>>>() else {
            tracing::debug!(duty = %msg.duty, "a message is not sent, because a value in it is not held any more");
            return None;
        };
        if self.sent.len() >= SENT_PER_DUTY_MAX {
            return None;
        }
        self.sent.insert(msg);
        Some(Effect::SignConsensus(OutgoingConsensus { msg, justification, values }))
    }
}

/// Takes a value off the account of whoever brought it.
fn release(brought: &mut BTreeMap<OperatorIndex, usize>, held: &HeldValue) {
    let bytes = brought.entry(held.brought_by).or_default();
    *bytes = bytes.saturating_sub(size_of_value(&held.value));
}

/// Whether a value can be one of an attester duty of this cluster: nothing else may take room.
fn is_usable(cluster: &Cluster, value: &Value) -> bool {
    value.data_set().is_some_and(|set| {
        !set.is_empty()
            && set.len() <= cluster.validator_count()
            && set.values().all(|entry| entry.len() <= ENTRY_LEN_MAX)
    })
}

fn size_of_value(value: &Value) -> usize {
    let sum = |set: &BTreeMap<ValidatorPublic, Vec<u8>>| -> usize {
        set.values().map(|entry| ValidatorPublic::LEN + entry.len()).sum()
    };
    match value {
        Value::PriorityResult(bytes) => bytes.len(),
        Value::DataSet(set) => sum(set),
        Value::LaterDataSet { set, unknown } => sum(set) + unknown.len(),
    }
}

/// Room for the values of every leader in all duties of an epoch, in which each validator attests once, and the same
/// again for an epoch that overlaps.
fn brought_bytes_max(cluster: &Cluster) -> usize {
    2 * cluster.operators.count() * cluster.validator_count() * (ValidatorPublic::LEN + ENTRY_LEN_MAX)
}

/// An attester value has 232 bytes, and as JSON less than a thousand.
const ENTRY_LEN_MAX: usize = 1024;

/// A node says at most four things a round and answers each peer 16 times; a duty ends after one epoch, which is fewer
/// than 400 rounds.
const SENT_PER_DUTY_MAX: usize = 4 * 400 + 16 * 32;

/// The attester duties of four epochs: more than are alive at any time, so more than a clock that jumps can end at once.
const FORGOTTEN_MAX: usize = 128;

#[cfg(test)]
mod tests;
