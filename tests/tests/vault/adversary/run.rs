//! One run: a box that signs, and an adversary that does what it likes with it.
//!
//! The operator is honest and present: he vouches for a disk only while it is the one that the last vault wrote, and lifts
//! what he may lift. Two things no vault can know, so the adversary leaves them: that the operator lies, and that TPM and
//! disk are restored together. The state of the TPM is restored at most once, at the end, and no disk after it.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use holdfast_adversary::checker::{Checker, Proposal, Signed, Vote};
use holdfast_adversary::rng::Rng;
use holdfast_test_operator::OperatorError;
use holdfast_types::{Epoch, Slot};
use holdfast_vault_client::{ClientError, ClosedId};

use super::lies::Lie;
use super::tally::Tally;
use crate::asking::{Answer, Network};
use crate::copies::Copy;
use crate::rig::Rig;

/// A run under way.
pub(crate) struct Run {
    pub(crate) tally: Tally,
    rig: Rig,
    rng: Rng,
    checker: Checker,
    /// By which key what was signed.
    signed: Vec<(usize, Asked)>,
    began: Instant,
    journal: String,
    /// Older disks, whole or caught in the middle.
    disks: Vec<Copy>,
    /// The disk as the last vault that signed left it, while another one is in its place.
    own: Option<Copy>,
    tpm: Option<Copy>,
    copies: u32,
    lying: bool,
    /// Whether the disk is the one that the last vault that signed wrote.
    genuine: bool,
    /// Whether the vault was seen open since its start.
    was_open: bool,
    /// Whether somebody changed the disk since the vault started.
    touched: bool,
}

/// What a signature was asked for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Block { slot: u64 },
    Vote { source: u64, target: u64 },
}

type Action = fn(&mut Run) -> anyhow::Result<()>;

/// What may happen next, by how often it does.
const ACTIONS: &[(u64, &str, Action)] = &[
    (6, "patience", Run::patience),
    (4, "kill -9", Run::kill),
    (2, "clean restart", Run::restart),
    (2, "power cut", Run::cut_power),
    (1, "shutdown", Run::shut_down),
    (4, "copy of the disk", Run::copy_disk),
    (3, "older disk", Run::older_disk),
    (3, "mixed disk", Run::mixed_disk),
    (2, "own disk again", Run::own_disk),
    (1, "files changed under the vault", Run::change_under),
    (1, "another TPM", Run::other_tpm),
    (4, "lies on the bus", Run::lie),
    (1, "wrong clock", Run::wrong_clock),
    (6, "operator", Run::operator),
];

impl Run {
    /// A box that signs, and nothing done to it yet.
    pub(crate) fn begin(seed: u64, dir: &Path) -> anyhow::Result<Self> {
        let rig = Rig::signing(dir, Network::fast(1), LEASE_EPOCHS)?;
        let first = rig.copy_disk("disk-0")?;
        Ok(Self {
            tally: Tally::default(),
            rig,
            rng: Rng::new(seed),
            checker: Checker::default(),
            signed: Vec::new(),
            began: Instant::now(),
            journal: String::new(),
            disks: vec![first],
            own: None,
            tpm: None,
            copies: 0,
            lying: false,
            genuine: true,
            was_open: true,
            touched: false,
        })
    }

    /// Everything that was done and answered, in order.
    pub(crate) fn journal(&self) -> String {
        self.journal.clone()
    }

    pub(crate) fn play(&mut self) -> anyhow::Result<()> {
        let all: u64 = ACTIONS.iter().map(|(weight, ..)| weight).sum();
        self.ask_some()?;
        for _ in 0..ACTIONS_OF_A_RUN {
            let mut drawn = self.rng.below(all);
            let chosen = ACTIONS.iter().find(|(weight, ..)| {
                let here = drawn < *weight;
                drawn = drawn.saturating_sub(*weight);
                here
            });
            let (_, what, action) = chosen.context("the weights add up")?;
            self.note(what);
            self.tally.did(what);
            action(self).with_context(|| format!("{what} failed"))?;
            self.ask_some()?;
            if self.lying && self.rng.one_in(3) {
                self.tell_the_truth()?;
            }
        }
        if self.rng.one_in(3) {
            self.restore_tpm()?;
            self.ask_some()?;
        }
        self.rig.cut_power();
        Ok(())
    }

    /// Waits until the vault signs, if it does so by itself, and some time more.
    fn patience(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let patience = Duration::from_millis(self.rng.between(500, 3_000));
        while began.elapsed() < patience {
            let Some(status) = self.survived(self.rig.status())? else { return Ok(()) };
            self.was_open |= status.closed.is_none();
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.end();
        self.start()
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.start()
    }

    fn cut_power(&mut self) -> anyhow::Result<()> {
        self.end();
        self.switch_off();
        self.keep_tpm()?;
        self.start()
    }

    fn shut_down(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.rig.bus()?.send(&holdfast_tests::bus::command::shutdown())?;
        self.switch_off();
        self.keep_tpm()?;
        self.start()
    }

    fn copy_disk(&mut self) -> anyhow::Result<()> {
        let copy = self.copy()?;
        self.disks.push(copy);
        Ok(())
    }

    fn older_disk(&mut self) -> anyhow::Result<()> {
        self.replace_disk("")
    }

    /// Only the record, the history or what is sealed is from another time.
    fn mixed_disk(&mut self) -> anyhow::Result<()> {
        let part = self.part();
        self.replace_disk(part)
    }

    fn replace_disk(&mut self, part: &str) -> anyhow::Result<()> {
        self.end();
        if self.own.is_none() {
            self.own = Some(self.copy()?);
        }
        let Some(disk) = self.rng.pick(&self.disks) else { return self.start() };
        if part.is_empty() {
            disk.put(&self.rig.state())?
        } else {
            disk.put_only(&self.rig.state(), part)?
        }
        self.genuine = false;
        self.start()
    }

    fn own_disk(&mut self) -> anyhow::Result<()> {
        self.end();
        if let Some(own) = self.own.take() {
            own.put(&self.rig.state())?;
            self.genuine = false;
        }
        self.start()
    }

    fn change_under(&mut self) -> anyhow::Result<()> {
        let part = self.part();
        let Some(disk) = self.rng.pick(&self.disks) else { return Ok(()) };
        disk.put_only(&self.rig.state(), part)?;
        self.touched = true;
        Ok(())
    }

    fn part(&mut self) -> &'static str {
        self.rng.pick(&["lease", "history", "sealed"]).copied().unwrap_or("lease")
    }

    /// The same disk on another TPM signs nothing at all.
    fn other_tpm(&mut self) -> anyhow::Result<()> {
        self.end();
        self.switch_off();
        let (tpm, aside) = (self.rig.tpm_state(), self.rig.dir().join("tpm-aside"));
        fs::rename(&tpm, &aside)?;
        self.start()?;
        let signed = self.checker.count();
        self.ask_some()?;
        if self.checker.count() != signed {
            bail!("a vault signed on a TPM that never saw its shares");
        }
        self.rig.cut_power();
        fs::remove_dir_all(&tpm)?;
        fs::rename(&aside, &tpm)?;
        self.start()
    }

    fn lie(&mut self) -> anyhow::Result<()> {
        let lie = *self.rng.pick(&Lie::ALL).context("there are lies")?;
        self.note(&format!("{lie:?}"));
        let rng = Rng::new(self.rng.next());
        self.rig.bus()?.meddle(lie.teller(rng));
        self.lying = true;
        if self.rng.one_in(2) { self.kill() } else { Ok(()) }
    }

    fn tell_the_truth(&mut self) -> anyhow::Result<()> {
        self.lying = false;
        self.rig.bus()?.pass_on();
        Ok(())
    }

    fn wrong_clock(&mut self) -> anyhow::Result<()> {
        self.end();
        self.rig.clock_ahead_s =
            *self.rng.pick(&[0, 0, 0, 1, 2, 5, 60, -1, -2, -5, -60]).context("there are clocks")?;
        self.note(&format!("{} s ahead", self.rig.clock_ahead_s));
        self.start()
    }

    /// The operator lifts what is to be lifted, and now and then begins anew without need.
    fn operator(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.survived(self.rig.status())? else { return Ok(()) };
        let first = Epoch(self.rig.epoch().0 + self.rng.between(2, 4));
        let Ok(mut vault) = self.rig.client() else { return Ok(()) };
        let closed = status.closed.map(|closed| closed.id);
        let operator = &self.rig.operator;
        let (what, answer) = match closed {
            Some(ClosedId::LeaseUnclean) if self.genuine => ("VouchDisk", operator.vouch_disk(&mut vault)),
            Some(ClosedId::CatchingUp | ClosedId::HistoryLost | ClosedId::HistoryRolledBack) => {
                ("AcceptFloor", operator.accept_floor(&mut vault, first))
            }
            Some(ClosedId::LeaseAhead | ClosedId::TpmReplaced | ClosedId::TpmRolledBack) => {
                ("NewCounter", operator.new_counter(&mut vault, first))
            }
            Some(ClosedId::TpmFailed) => {
                self.tell_the_truth()?;
                return self.kill();
            }
            None if self.rng.one_in(6) => ("NewCounter", operator.new_counter(&mut vault, first)),
            _ => return Ok(()),
        };
        self.note(&format!("{what} from epoch {first} when {closed:?}: {answer:?}"));
        match answer {
            Ok(_) => {
                self.tally.did(what);
                Ok(())
            }
            Err(OperatorError::NoAnswer(error)) => self.survived(Err::<(), _>(unanswered(error))).map(drop),
            Err(_) => {
                self.tally.did("order refused");
                // Nothing lifts that disk; the operator has his own again.
                if closed == Some(ClosedId::HistoryRolledBack) { self.own_disk() } else { Ok(()) }
            }
        }
    }

    /// The state of the TPM alone is of before. The disk is then the one that the last vault that signed wrote: with an older
    /// one beside it, both would have been restored together.
    fn restore_tpm(&mut self) -> anyhow::Result<()> {
        let Some(tpm) = self.tpm.take() else { return Ok(()) };
        self.end();
        match self.own.take() {
            Some(own) => own.put(&self.rig.state())?,
            None if !self.genuine => return self.start(),
            None => {}
        }
        self.note("older TPM");
        self.tally.did("older TPM");
        self.switch_off();
        tpm.put(&self.rig.tpm_state())?;
        self.start()?;
        self.ask_some()?;
        self.operator()
    }

    /// Asks for what is of the present, and for what contradicts what was signed before.
    fn ask_some(&mut self) -> anyhow::Result<()> {
        for _ in 0..self.rng.between(4, 8) {
            let (key, asked) = match self.rng.pick(&self.signed).copied() {
                Some((key, before)) if self.rng.one_in(2) => (key, self.against(before)),
                _ => (usize::from(self.rng.one_in(2)), self.of_the_present()),
            };
            let other = u8::try_from(self.rng.below(3))?;
            self.note(&format!("{asked:?} {other} of {key}"));
            let answer = match asked {
                Asked::Block { slot } => self.rig.block(key, slot, other),
                Asked::Vote { source, target } => self.rig.vote(key, source, target, other),
            };
            let Some(answer) = self.survived(answer)? else { return Ok(()) };
            self.note(&format!("  {answer:?}"));
            self.judge(key, &answer, asked)?;
        }
        Ok(())
    }

    fn of_the_present(&mut self) -> Asked {
        if self.rng.one_in(3) {
            return Asked::Block { slot: (self.rig.slot().0 + 2).saturating_sub(self.rng.below(6)) };
        }
        let target = (self.rig.epoch().0 + 2).saturating_sub(self.rng.below(6));
        Asked::Vote { source: target.saturating_sub(self.rng.below(4)), target }
    }

    /// The same again, what surrounds it, what lies within it, and what is just below and above.
    fn against(&mut self, signed: Asked) -> Asked {
        let mut near = |number: u64| (number + self.rng.below(3)).saturating_sub(1);
        match signed {
            Asked::Block { slot } => Asked::Block { slot: near(slot) },
            Asked::Vote { source, target } => Asked::Vote { source: near(source), target: near(target) },
        }
    }

    fn judge(&mut self, key: usize, answer: &Answer, asked: Asked) -> anyhow::Result<()> {
        let root = match answer {
            Answer::Closed(id) => {
                self.tally.closed(*id);
                return Ok(());
            }
            Answer::Refused(refused) => {
                self.tally.refused(refused);
                return Ok(());
            }
            Answer::Signed(root) => *root,
        };
        self.tally.signed();
        self.signed.push((key, asked));
        self.was_open = true;
        let signed = match asked {
            Asked::Block { slot } => Signed::Block(Proposal { slot: Slot(slot), root }),
            Asked::Vote { source, target } => {
                Signed::Attestation(Vote { source: Epoch(source), target: Epoch(target), root })
            }
        };
        let judged = self.checker.released(self.rig.keys[key].public, signed);
        judged.map_err(|found| anyhow::anyhow!("a slashable pair was released: {found}"))
    }

    /// The answer, if the vault lives. One that does not answer in time hangs, which no vault may; one that is gone is
    /// started anew.
    fn survived<T>(&mut self, answer: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        let error = match answer {
            Ok(answer) => return Ok(Some(answer)),
            Err(error) => error,
        };
        let hangs = matches!(error.downcast_ref(), Some(ClientError::TimedOut { .. }));
        let talked = error.downcast_ref::<ClientError>().is_some();
        if hangs || !talked {
            return Err(error);
        }
        if self.rig.check().is_ok() {
            return Err(error.context("the vault lives and does not answer"));
        }
        self.note(&format!("the vault ended by itself: {error:#}"));
        self.tally.did("vault ended by itself");
        self.end();
        self.start()?;
        Ok(None)
    }

    fn start(&mut self) -> anyhow::Result<()> {
        if let Err(error) = self.rig.start() {
            if !self.lying {
                return Err(error);
            }
            self.note(&format!("a lie spoilt the start: {error:#}"));
            self.tally.did("start spoilt by a lie");
            self.tell_the_truth()?;
            self.rig.start()?;
        }
        (self.was_open, self.touched) = (false, false);
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let stopped = self.rig.stop();
        self.ended();
        match stopped {
            // The stop may need the disk that was changed under it, and then it says so.
            Err(error) if self.touched || self.lying => {
                self.note(&format!("no clean stop: {error:#}"));
                Ok(())
            }
            stopped => stopped,
        }
    }

    /// Ends the vault without a warning.
    fn end(&mut self) {
        self.rig.kill();
        self.ended();
    }

    /// Whatever a vault that signed wrote is the disk of this box from then on.
    fn ended(&mut self) {
        if self.touched {
            self.genuine = false;
            // What it signed is on no copy.
            self.own.take_if(|_| self.was_open);
        } else if self.was_open {
            self.genuine = true;
            self.own = None;
        }
        self.was_open = false;
    }

    fn switch_off(&mut self) {
        self.rig.cut_power();
        self.lying = false;
    }

    fn keep_tpm(&mut self) -> anyhow::Result<()> {
        if self.tpm.is_none() {
            self.tpm = Some(self.rig.copy_tpm("tpm")?);
        }
        Ok(())
    }

    fn copy(&mut self) -> anyhow::Result<Copy> {
        self.copies += 1;
        self.rig.copy_disk(&format!("disk-{}", self.copies))
    }

    fn note(&mut self, what: &str) {
        let at_ms = self.began.elapsed().as_millis();
        // Writing to a string does not fail.
        let _ = writeln!(self.journal, "{at_ms:>6} {what}");
    }
}

/// The client's own error, which says whether the vault hangs or is gone.
fn unanswered(error: Box<dyn Error + Send + Sync>) -> anyhow::Error {
    match error.downcast::<ClientError>() {
        Ok(error) => anyhow::Error::new(*error),
        Err(error) => anyhow::anyhow!(error),
    }
}

/// A lease of two seconds: it is renewed, runs out and is waited for many times in a run, and a busy machine keeps up.
const LEASE_EPOCHS: u64 = 4;
const ACTIONS_OF_A_RUN: usize = 12;
