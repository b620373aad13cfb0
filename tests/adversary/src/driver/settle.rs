//! The end of a run: all faults are over, the clock is right, time passes. Then the vault signs, or has a reason not to.

use holdfast_hal_sim::SimTpm;
use holdfast_types::Epoch;
use holdfast_vault_client::{AttestationToSign, ClosedId, Request, Response};

use super::asks::honest_vote;
use super::log::{Event, Failure};
use super::run::Run;
use super::{Process, Subject};

impl<S: Subject> Run<'_, S> {
    pub(super) fn settle(&mut self) -> Result<(), Failure> {
        self.events.push(Event::Settling);
        self.make_whole();
        if self.signs_in_the_end()? {
            self.stats.count("settled", "signs");
            return Ok(());
        }
        // What the operator can do for a vault that lost its history, and he need not know whether it did.
        let first = Epoch(self.furthest.max(self.world.epoch_at(self.present)).0 + 2);
        let has_reason = self.tampered || self.may_be_two_behind();
        if has_reason && self.accept_floor(first) && self.signs_in_the_end()? {
            self.stats.count("settled", "signs after AcceptFloor");
            return Ok(());
        }
        let reasons = if self.corrupted {
            DAMAGED
        } else if self.tampered {
            FOR_GOOD
        } else {
            TWO_BEHIND
        };
        match self.closed() {
            Some(id) if has_reason && reasons.contains(&id) => {
                self.stats.count("settled", id.name());
                Ok(())
            }
            _ => Err(Failure::NotAlive { says: self.says() }),
        }
    }

    /// Whether a record could twice in a row be lost after its tick: then it looks as if an older disk had been restored.
    fn may_be_two_behind(&self) -> bool {
        let tally = self.disk.tally();
        let cuts: u64 = tally.cuts.iter().sum();
        cuts + tally.failed_syncs + tally.full + tally.read_only >= 2
    }

    /// Ends all faults and starts the program anew.
    fn make_whole(&mut self) {
        self.kill();
        self.disk.unplan();
        self.disk.mend();
        if self.disk.is_off() || self.rng.one_in(2) {
            self.reboot();
        }
        // Another handle to the same memory: faults that were planned are left behind.
        let tpm = SimTpm::new(self.rng.next());
        tpm.restore(&self.tpm.snapshot());
        self.tpm = tpm;
        self.view.stalled = false;
        self.clock.set(self.present);
        self.start();
        if self.tampered && self.closed() == Some(ClosedId::PolicyFailed) {
            self.approve_firmware();
            self.kill();
            self.start();
        }
    }

    /// Lets time pass until every epoch that could be barred is over, and asks for honest attestations.
    fn signs_in_the_end(&mut self) -> Result<bool, Failure> {
        let lease = self.world.lease_epochs;
        let last = Epoch(self.furthest.0 + (4 + self.steps_ahead) * lease);
        loop {
            if self.process.is_none() {
                self.start();
            }
            if self.ask_honestly()? {
                return Ok(true);
            }
            let present = self.world.epoch_at(self.present);
            if present > last {
                return Ok(false);
            }
            let epochs = (last.0 + 1 - present.0).min(2 * lease).max(1);
            self.advance_to_settle(epochs * self.world.chain.slots_per_epoch);
        }
    }

    /// As [`Run::pass`], but `furthest` stays: the time that passes here is what everything is to be over after.
    fn advance_to_settle(&mut self, slots: u64) {
        let furthest = self.furthest;
        self.pass(slots);
        self.furthest = furthest;
        self.maintain(UPKEEP);
    }

    /// Whether any validator's honest vote is signed; also that none is left that could sign.
    fn ask_honestly(&mut self) -> Result<bool, Failure> {
        let data = honest_vote(&self.world.chain, &self.view, self.slot_shown());
        let batch: Vec<AttestationToSign> =
            self.world.validators().map(|validator| AttestationToSign { validator, data }).collect();
        let signed = self.ask_votes(batch)?;
        Ok(signed > 0 || self.holds_nothing())
    }

    /// Whether the operator retired all shares.
    fn holds_nothing(&mut self) -> bool {
        let Some(process) = &mut self.process else { return false };
        let Response::Status(status) = process.answer(Request::Status) else { return false };
        status.closed.is_none_or(|closed| closed.id == ClosedId::NoShares)
            && status.authority.is_some()
            && status.validators.is_empty()
    }

    fn says(&mut self) -> String {
        let Some(process) = &mut self.process else { return "the program ends at its start".into() };
        match process.answer(Request::Status) {
            Response::Status(status) => {
                format!("tampered {}, lease {:?}, closed {:?}", self.tampered, status.lease, status.closed)
            }
            _ => "no status".into(),
        }
    }
}

/// What a disk that was tampered with may lead to, and no order lifts.
const FOR_GOOD: &[ClosedId] = &[
    ClosedId::HistoryLost,
    ClosedId::HistoryRolledBack,
    ClosedId::HistoryUnusable,
    ClosedId::SealDamaged,
    ClosedId::NotOwned,
];
/// What flipped bits may lead to besides: what lies in the clear in a sealed file is believed until it does not open.
const DAMAGED: &[ClosedId] = &[
    ClosedId::HistoryLost,
    ClosedId::HistoryRolledBack,
    ClosedId::HistoryUnusable,
    ClosedId::NotOwned,
    ClosedId::OtherMachine,
    ClosedId::PolicyFailed,
    ClosedId::SealDamaged,
    ClosedId::TpmFailed,
    ClosedId::TpmReplaced,
];
/// What two records lost in a row lead to.
const TWO_BEHIND: &[ClosedId] = &[ClosedId::HistoryRolledBack];
/// Enough for a lease that is as far behind as one step of the settling brings it.
const UPKEEP: u32 = 8;
