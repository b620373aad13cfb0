//! A whole cluster in one thread: real nodes, real keys and signatures, a made-up clock, network, vault and beacon node.
//!
//! One seed gives one run. After every event the invariants are checked: no node and no two nodes sign two roots for one
//! validator and target, nobody signs in a mode that does not, beacon nodes are asked when they may be, memory is bounded.

pub(crate) mod chain;
pub(crate) mod vault;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_bls::{ShareSecret, ValidatorSecret};
use holdfast_core::io::{
    AttesterDuties, BeaconFailure, BeaconStatus, DutyStep, Effect, HeadEvent, Input, VaultFailure, VaultState,
};
use holdfast_core::{Node, Setup, ValidatorShares};
use holdfast_eth::domain::attestation_signing_root;
use holdfast_types::{DutyId, Epoch, Millis, Mode, OperatorIndex, Slot, ValidatorPublic};
use holdfast_wire::k1::NodeKey;
use holdfast_wire::parsigex::{PartialSet, Payload};
use holdfast_wire::qbft::ConsensusMsg;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::chain::Chain;
use self::vault::{SignedRoots, Vault};

pub(crate) const OPERATORS: usize = 4;
pub(crate) const THRESHOLD: usize = 3;

/// What a peer with a mind of its own does with its partial signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misdeed {
    /// Signs something else than it says.
    Garbage,
    /// Sends a second set that signs something else.
    Equivocation,
}

/// How a node's beacon node behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beacon {
    pub(crate) up: bool,
    pub(crate) data_after_ms: u64,
    pub(crate) takes_submissions: bool,
}

pub(crate) struct Operator {
    pub(crate) node: Option<Node>,
    pub(crate) vault: Vault,
    pub(crate) beacon: Beacon,
    pub(crate) misdeed: Option<Misdeed>,
    /// What the node told, in order: modes, duties, faults, alarms.
    pub(crate) told: Vec<(Millis, Effect)>,
    key: NodeKey,
    boots: u64,
    /// Slots whose data this boot has, so that it must not ask again; and slots whose head it was told.
    has_data: BTreeSet<Slot>,
    has_head: BTreeSet<Slot>,
}

enum Event {
    Input { to: usize, boot: u64, input: Box<Input> },
    Block(Slot),
}

pub(crate) struct Sim {
    pub(crate) now: Millis,
    pub(crate) chain: Chain,
    pub(crate) operators: Vec<Operator>,
    /// Who submitted which attestation.
    pub(crate) submitted: BTreeMap<(Slot, ValidatorPublic), BTreeSet<usize>>,
    /// Every consensus message that was sent, for replays.
    pub(crate) sent: Vec<ConsensusMsg>,
    pub(crate) rng: StdRng,
    /// Pairs that do not reach each other, lower index first.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    signed: SignedRoots,
    setup: Vec<ValidatorShares>,
    queue: BTreeMap<(Millis, u64), Event>,
    sequence: u64,
    steps_now: u32,
}

impl Sim {
    /// A cluster with this many validators, ten seconds before genesis, everyone up.
    pub(crate) fn new(seed: u64, validators: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut setup = Vec::new();
        let mut shares: Vec<BTreeMap<ValidatorPublic, ShareSecret>> = (0..OPERATORS).map(|_| BTreeMap::new()).collect();
        for _ in 0..validators {
            let secret = ValidatorSecret::random(&mut rng);
            let dealt = secret.split(THRESHOLD as u8, OPERATORS as u8, &mut rng).expect("a threshold below the number");
            let publics = dealt.iter().map(|(_, share)| share.public()).collect();
            setup.push(ValidatorShares { public: secret.public(), shares: publics });
            for ((_, share), of_operator) in dealt.into_iter().zip(&mut shares) {
                of_operator.insert(secret.public(), share);
            }
        }
        let chain = Chain::new(setup.iter().map(|validator| validator.public).collect());
        let operators = shares.into_iter().enumerate().map(|(index, shares)| Operator {
            node: None,
            vault: Vault::new(shares),
            beacon: Beacon { up: true, data_after_ms: 20, takes_submissions: true },
            misdeed: None,
            told: Vec::new(),
            key: NodeKey::from_bytes(&[index as u8 + 1; 32]).expect("a small scalar"),
            boots: 0,
            has_data: BTreeSet::new(),
            has_head: BTreeSet::new(),
        });
        let genesis = chain.spec.slot_start(Slot(0));
        let mut sim = Self {
            now: Millis(genesis.0 - 10_000),
            operators: operators.collect(),
            submitted: BTreeMap::new(),
            sent: Vec::new(),
            rng,
            cut: BTreeSet::new(),
            signed: SignedRoots::default(),
            setup,
            queue: BTreeMap::new(),
            sequence: 0,
            steps_now: 0,
            chain,
        };
        sim.push(sim.chain.block_time(Slot(0)), Event::Block(Slot(0)));
        (0..OPERATORS).for_each(|index| sim.start(index));
        sim
    }

    pub(crate) fn node(&self, index: usize) -> &Node {
        self.operators[index].node.as_ref().expect("the test looks at a node that is up")
    }

    pub(crate) fn key(&self, index: usize) -> &NodeKey {
        &self.operators[index].key
    }

    /// Starts a node that is down, with nothing but its vault.
    pub(crate) fn start(&mut self, index: usize) {
        let setup = Setup {
            chain: self.chain.spec.clone(),
            own: OperatorIndex(index as u8),
            operators: OPERATORS,
            threshold: THRESHOLD,
            validators: self.setup.clone(),
            boot: self.now,
        };
        let operator = &mut self.operators[index];
        operator.boots += 1;
        operator.node = Some(Node::new(setup).expect("the setup is consistent"));
        operator.has_data.clear();
        operator.has_head.clear();
        let up = operator.beacon.up;
        self.input(index, Input::Vault(VaultState::Open));
        self.tell_beacon(index, up);
        for peer in 0..OPERATORS {
            self.connect(index, peer);
        }
    }

    /// Ends a node without a word.
    pub(crate) fn kill(&mut self, index: usize) {
        self.operators[index].node = None;
        for peer in 0..OPERATORS {
            self.input(peer, Input::PeerDown(OperatorIndex(index as u8)));
        }
    }

    /// Cuts or mends the line between two nodes.
    pub(crate) fn set_line(&mut self, a: usize, b: usize, mended: bool) {
        let pair = (a.min(b), a.max(b));
        if mended && self.cut.remove(&pair) {
            self.connect(a, b);
        } else if !mended && self.cut.insert(pair) {
            self.input(a, Input::PeerDown(OperatorIndex(b as u8)));
            self.input(b, Input::PeerDown(OperatorIndex(a as u8)));
        }
    }

    pub(crate) fn set_beacon(&mut self, index: usize, up: bool) {
        self.operators[index].beacon.up = up;
        self.tell_beacon(index, up);
    }

    fn tell_beacon(&mut self, index: usize, up: bool) {
        let unreachable = BeaconStatus::Unreachable { reason: "connection refused".to_owned() };
        self.input(index, Input::BeaconStatus(if up { BeaconStatus::Synced } else { unreachable }));
    }

    fn connect(&mut self, a: usize, b: usize) {
        let up = |index: usize| self.operators[index].node.is_some();
        if a != b && up(a) && up(b) && self.reaches(a, b) {
            self.input(a, Input::PeerUp(OperatorIndex(b as u8)));
            self.input(b, Input::PeerUp(OperatorIndex(a as u8)));
        }
    }

    fn reaches(&self, a: usize, b: usize) -> bool {
        !self.cut.contains(&(a.min(b), a.max(b)))
    }

    /// Lets everything happen until a slot begins.
    pub(crate) fn run_to_slot(&mut self, slot: u64) {
        self.run_to(self.chain.spec.slot_start(Slot(slot)));
    }

    pub(crate) fn run_to(&mut self, end: Millis) {
        while let Some(at) = self.next_time().filter(|at| *at <= end) {
            self.steps_now = if at > self.now { 0 } else { self.steps_now + 1 };
            assert!(self.steps_now < 5000, "the clock stands still at {}", self.now);
            self.now = self.now.max(at);
            self.step();
        }
        self.now = end;
    }

    fn next_time(&self) -> Option<Millis> {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let wakes = self.operators.iter().filter_map(|operator| operator.node.as_ref()?.next_wake());
        queued.into_iter().chain(wakes).min()
    }

    fn step(&mut self) {
        if let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            match entry.remove() {
                Event::Block(slot) => self.block(slot),
                Event::Input { to, boot, input } if boot == self.operators[to].boots => self.input(to, *input),
                Event::Input { .. } => {}
            }
            return;
        }
        let is_due =
            |operator: &Operator| operator.node.as_ref().and_then(Node::next_wake).is_some_and(|at| at <= self.now);
        if let Some(index) = self.operators.iter().position(is_due) {
            self.input(index, Input::Wake);
        }
    }

    fn push(&mut self, at: Millis, event: Event) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), event);
    }

    fn answer(&mut self, to: usize, after_ms: u64, input: Input) {
        let boot = self.operators[to].boots;
        self.push(self.now.plus(after_ms), Event::Input { to, boot, input: Box::new(input) });
    }

    fn block(&mut self, slot: Slot) {
        self.chain.head = slot;
        let next = Slot(slot.0 + 1);
        self.push(self.chain.block_time(next), Event::Block(next));
        let epoch = self.chain.spec.epoch_of(slot);
        let head = HeadEvent {
            slot,
            block: self.chain.block(slot),
            current_dependent_root: Some(self.chain.dependent_root(Epoch(epoch.0 + 1))),
            previous_dependent_root: Some(self.chain.dependent_root(epoch)),
        };
        for index in (0..OPERATORS).filter(|index| self.operators[*index].beacon.up).collect::<Vec<_>>() {
            self.operators[index].has_head.insert(slot);
            self.answer(index, 5, Input::Head(head));
        }
    }

    /// Hands a node an input, and does what it wants.
    pub(crate) fn input(&mut self, index: usize, input: Input) {
        let (now, mut out) = (self.now, Vec::new());
        let operator = &mut self.operators[index];
        let Some(node) = operator.node.as_mut() else { return };
        if let Input::AttestationData { slot, result: Ok(_) } = &input {
            operator.has_data.insert(*slot);
        }
        node.handle(now, input, &mut out);
        self.check_bounds(index);
        for effect in out {
            self.perform(index, effect);
        }
    }

    fn check_bounds(&self, index: usize) {
        let load = self.node(index).load();
        let slots = self.chain.spec.slots_per_epoch as usize;
        assert!(load.duties <= slots + 3 && load.instances <= 4 * slots, "{load:?}");
        assert!(load.partials <= OPERATORS * 4 * self.setup.len(), "{load:?}");
    }

    fn perform(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::FetchValidators(epoch) => {
                let result = self.ask_beacon(index).map(|()| self.chain.active());
                self.answer(index, 10, Input::Validators { epoch, result });
            }
            Effect::FetchAttesterDuties { epoch, validators } => {
                let result = self.ask_beacon(index).map(|()| AttesterDuties {
                    dependent_root: self.chain.dependent_root(epoch),
                    duties: self
                        .chain
                        .duties(epoch)
                        .into_iter()
                        .filter(|duty| validators.contains(&duty.index))
                        .collect(),
                });
                self.answer(index, 10, Input::AttesterDuties { epoch, result });
            }
            Effect::FetchAttestationData(slot) => self.fetch_data(index, slot),
            Effect::SignConsensus(outgoing) => {
                let signed = outgoing.msg.sign(&self.operators[index].key);
                let message = ConsensusMsg::new(signed, outgoing.justification, outgoing.values);
                self.sent.push(message.clone());
                let from = OperatorIndex(index as u8);
                self.answer(index, 0, Input::Consensus { from, message: message.clone() });
                self.spread(index, |_| Input::Consensus { from, message: message.clone() });
            }
            Effect::SignAttestations { duty, batch } => {
                let mode = self.node(index).mode();
                assert!(matches!(mode, Mode::Ready | Mode::Draining), "asked the vault to sign while {mode}");
                assert!(batch.iter().all(|(_, data)| data.slot == duty.slot));
                let results = batch
                    .iter()
                    .map(|(validator, data)| {
                        self.signed.check(*validator, data);
                        let answer = self.operators[index].vault.sign(&self.chain.spec, validator, data);
                        (*validator, answer.map_err(VaultFailure))
                    })
                    .collect();
                self.answer(index, 3, Input::AttestationsSigned { duty, results });
            }
            Effect::SendPartials(set) => self.send_partials(index, set),
            Effect::Bls(job) => {
                let done = job.run(self.rng.r#gen());
                self.answer(index, 2, Input::BlsDone(done));
            }
            Effect::SubmitAttestations { duty, attestations } => {
                let refused = BeaconFailure("400".to_owned());
                let takes = self.operators[index].beacon.takes_submissions;
                let result = self.ask_beacon(index).and(if takes { Ok(()) } else { Err(refused) });
                if result.is_ok() {
                    for attestation in attestations {
                        let validator = self.chain.check(&attestation);
                        self.submitted.entry((duty.slot, validator)).or_default().insert(index);
                    }
                }
                self.answer(index, 15, Input::Submitted { duty, result });
            }
            told => self.operators[index].told.push((self.now, told)),
        }
    }

    fn ask_beacon(&self, index: usize) -> Result<(), BeaconFailure> {
        if self.operators[index].beacon.up { Ok(()) } else { Err(BeaconFailure("connection refused".to_owned())) }
    }

    fn fetch_data(&mut self, index: usize, slot: Slot) {
        let operator = &self.operators[index];
        let third = self.chain.spec.slot_start(slot).plus(self.chain.spec.slot_ms / 3);
        assert!(self.now >= third || operator.has_head.contains(&slot), "data of slot {slot} was asked for too early");
        assert!(!operator.has_data.contains(&slot), "data of slot {slot} was asked for again");
        let after_ms = operator.beacon.data_after_ms;
        let result = self.ask_beacon(index).map(|()| self.chain.data(slot));
        self.answer(index, after_ms, Input::AttestationData { slot, result });
    }

    fn send_partials(&mut self, index: usize, mut set: PartialSet) {
        let from = OperatorIndex(index as u8);
        match self.operators[index].misdeed {
            None => {}
            Some(Misdeed::Garbage) => self.sign_otherwise(index, &mut set, false),
            Some(Misdeed::Equivocation) => {
                let mut second = set.clone();
                self.sign_otherwise(index, &mut second, true);
                for peer in (0..OPERATORS).filter(|peer| *peer != index) {
                    self.answer(peer, 200, Input::Partials { from, set: second.clone() });
                }
            }
        }
        self.spread(index, |_| Input::Partials { from, set: set.clone() });
    }

    /// Makes the partials sign another head; with `say_so` the data tells it.
    fn sign_otherwise(&self, index: usize, set: &mut PartialSet, say_so: bool) {
        for (validator, partial) in &mut set.partials {
            let Payload::Attestation(partial) = &mut partial.payload else { panic!("an attestation") };
            let mut data = partial.data;
            data.beacon_block_root.0[0] ^= 0xff;
            let root = attestation_signing_root(&self.chain.spec, &data);
            partial.signature = self.operators[index].vault.share(validator).sign(root);
            if say_so {
                partial.data = data;
            }
        }
    }

    fn spread(&mut self, from: usize, input: impl Fn(usize) -> Input) {
        for peer in 0..OPERATORS {
            if peer != from && self.reaches(from, peer) {
                let after_ms = self.rng.gen_range(5..60);
                self.answer(peer, after_ms, input(peer));
            }
        }
    }

    /// The attestations of these slots that not all of `by` submitted.
    pub(crate) fn lacking(&self, slots: std::ops::Range<u64>, by: &[usize]) -> Vec<(Slot, ValidatorPublic)> {
        let expected = slots.flat_map(|slot| self.chain.duties_at(Slot(slot)));
        let done = |key: &(Slot, ValidatorPublic)| {
            self.submitted.get(key).is_some_and(|nodes| by.iter().all(|index| nodes.contains(index)))
        };
        expected.map(|duty| (duty.slot, duty.validator)).filter(|key| !done(key)).collect()
    }

    /// The round in which a node saw each duty decided.
    pub(crate) fn rounds(&self, index: usize) -> BTreeMap<DutyId, u64> {
        let events = self.operators[index].told.iter().filter_map(|(_, effect)| match effect {
            Effect::Duty(event) => Some(event),
            _ => None,
        });
        events
            .filter_map(|event| match event.step {
                DutyStep::Decided { round } => Some((event.duty, round)),
                _ => None,
            })
            .collect()
    }

    /// Faults, alarms and missed duties that a node told, as text.
    pub(crate) fn complaints(&self, index: usize) -> Vec<String> {
        let text = |effect: &Effect| match effect {
            Effect::Fault { peer, fault } => Some(format!("operator {peer} {fault}")),
            Effect::Alarm(alarm) => Some(alarm.to_string()),
            Effect::Duty(event) => match &event.step {
                DutyStep::Missed { why, .. } => Some(format!("missed {}: {why}", event.duty)),
                _ => None,
            },
            _ => None,
        };
        self.operators[index].told.iter().filter_map(|(_, effect)| text(effect)).collect()
    }
}
