//! A whole cluster in one thread: delays, losses, reordering, crashes and liars, all from one seed.
//!
//! Two things must hold in every run: nobody decides differently from anybody else, and with at most F faulty operators
//! everybody who is honest decides once messages arrive again. A failure prints its seed; `HOLDFAST_SIM_SEED=7` runs
//! that one alone, `HOLDFAST_SIM_RUNS=2` the first two of each kind.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

mod qbft_liar;
mod qbft_support;
mod sim_runs;

use std::collections::BTreeMap;

use holdfast_core::qbft::{Instance, Output};
use holdfast_types::{Millis, OperatorIndex};
use holdfast_wire::qbft::{MsgKind, SignedMsg, ValueHash};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use qbft_liar::Liar;
use qbft_support::{Cluster, DUTY_MS, START_MS, after_start, hash, name};

#[test]
fn honest_operators_never_decide_differently_and_all_decide() {
    for seed in seeds(0..150) {
        for n in 1..=10 {
            Sim::new(n, seed, Faults::UpToF).run();
        }
    }
}

/// More liars than the algorithm is made for: nothing is promised, but nothing may panic or grow without bound.
#[test]
fn too_many_liars_do_no_harm_to_the_process() {
    for seed in seeds(0..20) {
        let mut sim = Sim::new(4, seed, Faults::Liars(3));
        sim.run_until(after_start(60_000));
        assert!(sim.held_values() <= 4 * 100 * 9, "seed {seed}: values held without bound");
    }
}

fn seeds(all: std::ops::Range<u64>) -> std::ops::Range<u64> {
    match std::env::var("HOLDFAST_SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => sim_runs::first(all),
    }
}

enum Faults {
    UpToF,
    Liars(usize),
}

/// One operator of the simulated cluster.
enum Node {
    Honest { instance: Box<Instance>, crashes_at: Option<Millis>, decided: Option<(ValueHash, u64)> },
    Liar(Box<Liar>),
}

enum Event {
    Start(u8),
    Input(u8),
    Deliver { to: u8, msg: Box<SignedMsg>, justification: Vec<SignedMsg> },
}

struct Sim {
    seed: u64,
    cluster: Cluster,
    rng: StdRng,
    now: Millis,
    nodes: Vec<Node>,
    /// By time and then by number, so that runs repeat exactly.
    events: BTreeMap<(Millis, u64), Event>,
    event_count: u64,
    /// Until then messages may be lost and may take seconds.
    calm_at: Millis,
    loss: f64,
    /// Until then only this operator hears of COMMITs of the first two rounds, and nobody hears that it decided. That is
    /// what justifications are for, and what blind chance hardly ever does.
    lucky: Option<u8>,
    log: Vec<String>,
}

impl Sim {
    fn new(n: usize, seed: u64, faults: Faults) -> Self {
        let cluster = Cluster::new(n);
        let mut rng = StdRng::seed_from_u64(seed * 100 + n as u64);
        let (liars, crashes) = match faults {
            Faults::Liars(liars) => (liars, 0),
            Faults::UpToF => {
                let faulty = rng.gen_range(0..=cluster.operators.faulty());
                let liars = rng.gen_range(0..=faulty);
                (liars, faulty - liars)
            }
        };
        let calm_at = after_start(rng.gen_range(0..9000));
        let loss = [0.0, 0.2, 0.6][rng.gen_range(0..3)];
        let lucky = rng.gen_bool(0.5).then(|| rng.gen_range(0..n) as u8);
        let mut sim = Self {
            seed,
            rng,
            now: Millis(START_MS),
            nodes: Vec::new(),
            events: BTreeMap::new(),
            event_count: 0,
            calm_at,
            loss,
            lucky,
            log: vec![format!(
                "{n} operators, {liars} liars, {crashes} crashes, loss {loss}, {lucky:?} until {calm_at}"
            )],
            cluster,
        };
        sim.add_nodes(n, liars, crashes);
        sim
    }

    fn add_nodes(&mut self, n: usize, liars: usize, crashes: usize) {
        // The faulty ones follow one another from a random place on, so every leader is faulty in some run.
        let first_faulty = self.rng.gen_range(0..n);
        for index in 0..n {
            let own = index as u8;
            let place = (index + n - first_faulty) % n;
            if place < liars {
                self.nodes.push(Node::Liar(Box::new(Liar::new(own))));
            } else {
                let crashes_at = (place < liars + crashes).then(|| after_start(self.rng.gen_range(0..4000)));
                let instance = Box::new(self.cluster.instance(own));
                self.nodes.push(Node::Honest { instance, crashes_at, decided: None });
            }
            let started_ms = if self.rng.gen_bool(0.1) { 5000 } else { self.rng.gen_range(0..300) };
            self.push(started_ms, Event::Start(own));
            let input_ms = if self.rng.gen_bool(0.1) { 3000 } else { self.rng.gen_range(0..600) };
            self.push(input_ms, Event::Input(own));
        }
    }

    fn run(&mut self) {
        self.run_until(after_start(DUTY_MS));
        for (index, node) in self.nodes.iter().enumerate() {
            if let Node::Honest { crashes_at: None, decided: None, .. } = node {
                self.fail(&format!("operator {index} did not decide"));
            }
        }
    }

    fn run_until(&mut self, end: Millis) {
        while let Some(next) = self.next_time().filter(|next| *next <= end) {
            assert!(next >= self.now, "time runs forward");
            self.now = next;
            match self.events.first_entry().filter(|event| event.key().0 == next).map(|event| event.remove()) {
                Some(event) => self.happen(event),
                None => self.ring(),
            }
            self.check();
        }
    }

    /// The next event or timer.
    fn next_time(&self) -> Option<Millis> {
        let deadlines = self.nodes.iter().filter_map(|node| match node {
            Node::Honest { instance, crashes_at, .. } => {
                instance.deadline().filter(|deadline| crashes_at.is_none_or(|crash| *deadline < crash))
            }
            Node::Liar(_) => None,
        });
        let next = deadlines.chain(self.events.keys().next().map(|(at, _)| *at)).min();
        next.map(|next| next.max(self.now))
    }

    fn happen(&mut self, event: Event) {
        let (Event::Start(to) | Event::Input(to) | Event::Deliver { to, .. }) = event;
        let now = self.now;
        let mut out = Vec::new();
        match &mut self.nodes[usize::from(to)] {
            Node::Honest { crashes_at: Some(crash), .. } if *crash <= now => return,
            Node::Honest { instance, .. } => match event {
                Event::Start(_) => instance.start(now, &mut out),
                Event::Input(_) => instance.set_input(hash(100 + to), now, &mut out),
                Event::Deliver { msg, justification, .. } => {
                    let judged = instance.on_message(&msg, &justification, now, &mut out);
                    let (from, kind, round) = (msg.msg().peer, name(msg.msg().kind), msg.msg().round);
                    self.log.push(format!("{now} {to} <- {from} {kind} {round} {judged:?}"));
                }
            },
            Node::Liar(liar) => {
                let heard = match event {
                    Event::Deliver { msg, justification, .. } => Some((*msg, justification)),
                    Event::Start(_) | Event::Input(_) => None,
                };
                for (to, msg, justification) in liar.act(heard, &self.cluster, &mut self.rng) {
                    self.send(to, msg, justification);
                }
            }
        }
        self.perform(to, out);
    }

    /// Lets every timer that is due run out.
    fn ring(&mut self) {
        for index in 0..self.nodes.len() {
            let mut out = Vec::new();
            if let Node::Honest { instance, crashes_at, .. } = &mut self.nodes[index]
                && crashes_at.is_none_or(|crash| self.now < crash)
            {
                instance.on_time(self.now, &mut out);
                assert!(instance.deadline().is_none_or(|deadline| deadline > self.now), "timers that are due ran out");
            }
            self.perform(index as u8, out);
        }
    }

    fn perform(&mut self, own: u8, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Broadcast { msg, justification } => {
                    assert!(justification.len() <= 2 * self.nodes.len(), "no peer would take this justification");
                    let signed = self.cluster.sign(msg);
                    for to in (0..self.nodes.len() as u8).filter(|to| *to != own) {
                        self.send(to, signed, justification.clone());
                    }
                    // Signing takes its time too, and meanwhile the instance goes on.
                    let signing_ms = self.rng.gen_range(0..50);
                    self.push_from_now(signing_ms, Event::Deliver { to: own, msg: signed.into(), justification });
                }
                Output::Decided { value, round, commits } => self.note_decision(own, value, round, &commits),
            }
        }
    }

    fn note_decision(&mut self, own: u8, new: ValueHash, round: u64, commits: &[SignedMsg]) {
        self.log.push(format!("{} {own} decided {} in round {round}", self.now, new.0[0]));
        let proves = |commit: &&SignedMsg| commit.msg().round == round && commit.msg().value == Some(new);
        let sources: std::collections::BTreeSet<OperatorIndex> =
            commits.iter().filter(proves).map(|commit| commit.msg().peer).collect();
        if sources.len() < self.cluster.operators.quorum() || sources.len() < commits.len() {
            self.fail(&format!("operator {own} decided without proof"));
        }
        let Node::Honest { decided, .. } = &mut self.nodes[usize::from(own)] else { return };
        if decided.replace((new, round)).is_some() {
            self.fail(&format!("operator {own} decided twice"));
        }
    }

    fn send(&mut self, to: u8, msg: SignedMsg, justification: Vec<SignedMsg>) {
        let delay_max_ms = match self.lucky {
            _ if self.now >= self.calm_at => 150,
            Some(lucky) => {
                let early_commit = msg.msg().kind == MsgKind::Commit && msg.msg().round <= 2 && to != lucky;
                if early_commit || msg.msg().kind == MsgKind::Decided {
                    return;
                }
                150
            }
            None if self.rng.gen_bool(self.loss) => return,
            None => 3000,
        };
        let delay_ms = self.rng.gen_range(1..delay_max_ms);
        self.push_from_now(delay_ms, Event::Deliver { to, msg: msg.into(), justification });
    }

    fn push(&mut self, ms: u64, event: Event) {
        self.event_count += 1;
        self.events.insert((after_start(ms), self.event_count), event);
    }

    fn push_from_now(&mut self, ms: u64, event: Event) {
        self.push(self.now.since(Millis(START_MS)) + ms, event);
    }

    /// Nobody decides differently from anybody else. Operators that crash later count too.
    fn check(&self) {
        let mut values = self.nodes.iter().filter_map(|node| match node {
            Node::Honest { decided, .. } => decided.map(|(value, _)| value),
            Node::Liar(_) => None,
        });
        if let Some(first) = values.next()
            && values.any(|other| other != first)
        {
            self.fail("two decisions");
        }
    }

    fn held_values(&self) -> usize {
        let held = self.nodes.iter().map(|node| match node {
            Node::Honest { instance, .. } => instance.values_in_use().len(),
            Node::Liar(_) => 0,
        });
        held.max().unwrap_or(0)
    }

    fn fail(&self, what: &str) -> ! {
        for line in &self.log {
            eprintln!("{line}");
        }
        panic!(
            "seed {}, {} operators: {what}; HOLDFAST_SIM_SEED={} repeats it",
            self.seed,
            self.nodes.len(),
            self.seed
        );
    }
}
