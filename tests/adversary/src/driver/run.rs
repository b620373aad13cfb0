//! One run: the box, the program on it, and the actions that are drawn for it. What befalls the box is in `faults`.

use holdfast_eth::domain::{attestation_signing_root, block_signing_root};
use holdfast_hal_sim::SimTpm;
use holdfast_test_operator::Operator;
use holdfast_types::{Epoch, Millis, PartialSignature, Root, Slot, ValidatorPublic};
use holdfast_vault::clock::Clock as _;
use holdfast_vault_client::{
    AttestationToSign, BlockToSign, ClosedId, Rejection, Request, Response, RootToSign, SigningRefused,
};

use super::asks::{View, any_block, any_vote};
use super::log::{Asked, Came, Event, Failure};
use super::stats::{Stats, rule};
use super::{Base, Process, Subject, World};
use crate::checker::{Checker, Proposal, Signed, Vote};
use crate::disk::{SimDisk, Snapshot};
use crate::place::{Place, SimClock};
use crate::rng::Rng;

/// A run that is played.
pub(super) struct Run<'a, S: Subject> {
    pub(super) subject: &'a S,
    pub(super) world: &'a World,
    pub(super) operator: &'a mut Operator,
    pub(super) stats: &'a mut Stats,
    pub(super) rng: Rng,
    pub(super) disk: SimDisk,
    pub(super) tpm: SimTpm,
    pub(super) clock: SimClock,
    /// The true time; the box's clock may show another.
    pub(super) present: Millis,
    /// The latest epoch that the box may have taken for the present, or that an order barred.
    pub(super) furthest: Epoch,
    /// How often the lease may have gone a step ahead under a clock that was years ahead.
    pub(super) steps_ahead: u64,
    pub(super) view: View,
    pub(super) process: Option<S::Process>,
    /// Older copies of the disk.
    pub(super) copies: Vec<Snapshot>,
    /// Whether anything on the disk was brought back, or lost after the disk had said that it was kept.
    pub(super) tampered: bool,
    /// Whether bits were flipped.
    pub(super) corrupted: bool,
    pub(super) events: Vec<Event>,
    pub(super) checker: Checker,
    /// Every so many signatures are verified, counted from the seed on: a run is short.
    verify_one_in: u64,
    seed: u64,
}

impl<'a, S: Subject> Run<'a, S> {
    pub(super) fn new(
        subject: &'a S,
        world: &'a World,
        base: &Base,
        operator: &'a mut Operator,
        stats: &'a mut Stats,
        (seed, verify_one_in): (u64, u64),
    ) -> Self {
        let (disk, tpm, clock) = (SimDisk::new(), SimTpm::new(seed), SimClock::default());
        disk.restore(&base.disk);
        tpm.restore(&base.tpm);
        clock.set(base.now);
        let mut view = View { justified: Epoch(0), stalled: false };
        view.follow(world.epoch_at(base.now));
        Self {
            subject,
            world,
            operator,
            stats,
            rng: Rng::new(seed),
            disk,
            tpm,
            clock,
            present: base.now,
            furthest: world.epoch_at(base.now),
            steps_ahead: 0,
            view,
            process: None,
            copies: vec![base.disk.clone()],
            tampered: false,
            corrupted: false,
            events: Vec::with_capacity(32),
            checker: Checker::default(),
            verify_one_in,
            seed,
        }
    }

    /// Plays the whole run.
    pub(super) fn play(&mut self) -> Result<(), Failure> {
        self.start();
        for _ in 0..self.rng.between(ACTIONS_MIN, ACTIONS_MAX) {
            self.act()?;
            self.come_back();
            self.copy_now_and_then();
        }
        self.settle()
    }

    fn act(&mut self) -> Result<(), Failure> {
        match self.rng.below(100) {
            0..42 => return self.attest(),
            42..49 => return self.propose(),
            49 => return self.smuggle(),
            50..61 => self.let_time_pass(),
            61..65 => self.set_clock(),
            65..72 => self.plan_disk_fault(),
            72..78 => self.cut_a_renewal(),
            78..81 => self.plan_tpm_fault(),
            81..83 => self.stall(),
            83..96 => return self.befall(),
            _ => self.order(),
        }
        Ok(())
    }

    fn attest(&mut self) -> Result<(), Failure> {
        let slot = self.slot_shown();
        let batch: Vec<AttestationToSign> = (0..self.rng.between(1, 3))
            .map(|_| AttestationToSign {
                validator: self.any_validator(),
                data: any_vote(&self.world.chain, &self.view, slot, &mut self.rng),
            })
            .collect();
        self.ask_votes(batch).map(drop)
    }

    fn propose(&mut self) -> Result<(), Failure> {
        let slot = self.slot_shown();
        let validator = self.any_validator();
        let header = any_block(&self.world.chain, slot, &mut self.rng);
        let root = block_signing_root(&self.world.chain, header.slot, header.hash_tree_root());
        let signed = Signed::Block(Proposal { slot: header.slot, root });
        self.ask(Request::SignBlock(BlockToSign { validator, header }), &[(validator, signed)]).map(drop)
    }

    /// Asks for a vote under the name of something that nobody is slashed for. What comes is no vote, or it counts as one.
    fn smuggle(&mut self) -> Result<(), Failure> {
        let (slot, validator) = (self.slot_shown(), self.any_validator());
        let data = any_vote(&self.world.chain, &self.view, slot, &mut self.rng);
        let signing = attestation_signing_root(&self.world.chain, &data);
        let root = Root(signing.0);
        let asked = vec![RootToSign { validator, slot, root }];
        let request = match self.rng.below(3) {
            0 => Request::SignAggregate(asked),
            1 => Request::SignContribution(asked),
            _ => Request::SignSyncMessage { slot, block_root: root, validators: vec![validator] },
        };
        let Some(process) = &mut self.process else { return Ok(()) };
        let Response::Signatures(answers) = process.answer(request) else { return Ok(()) };
        if self.disk.is_off() {
            return Ok(());
        }
        for signature in answers.iter().flatten() {
            self.stats.count("released", "harmless");
            if self.subject.is_signature(validator, signing, signature) {
                return Err(Failure::Smuggled);
            }
        }
        Ok(())
    }

    /// Asks for a batch of attestations. How many were signed.
    pub(super) fn ask_votes(&mut self, batch: Vec<AttestationToSign>) -> Result<u64, Failure> {
        let signed = |AttestationToSign { validator, data }: &AttestationToSign| {
            let root = attestation_signing_root(&self.world.chain, data);
            let vote = Vote { source: data.source.epoch, target: data.target.epoch, root };
            (*validator, Signed::Attestation(vote))
        };
        let wanted: Vec<_> = batch.iter().map(signed).collect();
        self.ask(Request::SignAttestations(batch), &wanted)
    }

    /// Asks, and judges whatever is released. How much was.
    fn ask(&mut self, request: Request, wanted: &[(ValidatorPublic, Signed)]) -> Result<u64, Failure> {
        let Some(process) = &mut self.process else { return Ok(0) };
        let response = process.answer(request);
        if self.disk.is_off() {
            self.note(wanted, |_| Came::Unheard);
            return Ok(0);
        }
        match response {
            Response::Signatures(answers) if answers.len() == wanted.len() => {
                self.note(wanted, |at| {
                    answers[at].as_ref().map_or_else(|refused| Came::Refused(rule(refused)), |_| Came::Signed)
                });
                self.judge(wanted, &answers)
            }
            Response::Rejected(rejection) => {
                let name = rejection_name(&rejection);
                self.stats.count("rejected", name);
                self.note(wanted, |_| Came::Rejected(name));
                Ok(0)
            }
            Response::Signatures(_) => Err(Failure::WrongAnswer("not one answer for each of a batch")),
            _ => Err(Failure::WrongAnswer("no signatures")),
        }
    }

    fn judge(
        &mut self,
        wanted: &[(ValidatorPublic, Signed)],
        answers: &[Result<PartialSignature, SigningRefused>],
    ) -> Result<u64, Failure> {
        let mut released = 0;
        for ((validator, signed), answer) in wanted.iter().zip(answers) {
            let signature = match answer {
                Err(refused) => {
                    self.stats.count("refused", rule(refused));
                    continue;
                }
                Ok(signature) => signature,
            };
            let (kind, root) = match signed {
                Signed::Attestation(vote) => ("attestations", vote.root),
                Signed::Block(block) => ("blocks", block.root),
            };
            self.stats.count("released", kind);
            released += 1;
            self.checker.released(*validator, *signed).map_err(Failure::Slashable)?;
            if self.checker.count().wrapping_add(self.seed).is_multiple_of(self.verify_one_in) {
                self.stats.count("released", "verified");
                if !self.subject.is_signature(*validator, root, signature) {
                    return Err(Failure::NotASignature);
                }
            }
        }
        Ok(released)
    }

    fn note(&mut self, wanted: &[(ValidatorPublic, Signed)], came: impl Fn(usize) -> Came) {
        for (at, (validator, signed)) in wanted.iter().enumerate() {
            let validator = self.world.validators().position(|known| known == *validator).unwrap_or(usize::MAX);
            let what = match *signed {
                Signed::Attestation(Vote { source, target, root }) => {
                    Asked::Attestation { validator, source, target, root }
                }
                Signed::Block(Proposal { slot, root }) => Asked::Block { validator, slot, root },
            };
            self.events.push(Event::Asked { what, came: came(at) });
        }
    }

    /// Starts the program, unless it runs, and notes how it began.
    pub(super) fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.may_step_ahead();
        self.process = self.subject.start(Place::new(&self.disk, &self.tpm, &self.clock));
        if self.process.is_none() {
            self.stats.count("starts", "ended at once");
            self.events.push(Event::StartFailed);
            return;
        }
        let closed = self.closed();
        self.stats.count("starts", closed.map_or("open", ClosedId::name));
        self.events.push(Event::Started { closed });
        self.maintain(MAINTENANCE);
    }

    /// Lets the program do its upkeep, for as long as it goes on.
    pub(super) fn maintain(&mut self, times: u32) {
        for _ in 0..times {
            self.may_step_ahead();
            let goes_on = self.process.as_mut().is_some_and(Process::maintain);
            if !goes_on {
                if self.process.is_some() {
                    self.events.push(Event::Ended);
                    self.stats.count("program", "ended by itself");
                    self.kill();
                }
                return;
            }
        }
    }

    /// Before anything in which the program may renew its lease.
    pub(super) fn may_step_ahead(&mut self) {
        self.steps_ahead += u64::from(self.world.epoch_at(self.clock.now()) > self.furthest);
    }

    /// Why the program signs nothing, if it says so.
    pub(super) fn closed(&mut self) -> Option<ClosedId> {
        let Response::Status(status) = self.process.as_mut()?.answer(Request::Status) else { return None };
        status.closed.map(|closed| closed.id)
    }

    pub(super) fn kill(&mut self) {
        // Dead before it is dropped: what a program does when it is dropped, a killed one does not do.
        self.disk.kill();
        self.process = None;
    }

    pub(super) fn slot_shown(&self) -> Slot {
        self.world.chain.slot_at(self.clock.now()).unwrap_or_default()
    }

    pub(super) fn any_validator(&mut self) -> ValidatorPublic {
        let validators = &self.world.shares.secrets;
        self.rng.pick(validators).expect("a world has validators").0
    }
}

fn rejection_name(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::Closed(closed) => closed.id.name(),
        Rejection::Credential => "credential",
        Rejection::Malformed(_) => "malformed",
        Rejection::NoIdentity => "no identity",
        Rejection::Order { .. } => "order",
        Rejection::TooLarge { .. } => "too large",
        Rejection::Tpm(_) => "TPM",
    }
}

const ACTIONS_MIN: u64 = 6;
const ACTIONS_MAX: u64 = 14;
/// Enough for a lease that is a little behind.
const MAINTENANCE: u32 = 3;
