//! What befalls the box: cuts, kills, clocks, faults, older disks, another TPM.

use holdfast_hal::tpm::{NvIndex, Tpm as _};
use holdfast_hal_sim::{Fault as TpmFault, Operation, SimTpm};
use holdfast_types::Millis;
use holdfast_vault::clock::Clock as _;
use holdfast_vault_client::{AttestationToSign, ClosedId};

use super::asks::{honest_vote, other_vote};
use super::log::{Event, Failure};
use super::run::Run;
use super::{Process, Subject};
use crate::disk::{Fault, Snapshot};

impl<S: Subject> Run<'_, S> {
    /// Brings power and program back, mostly.
    pub(super) fn come_back(&mut self) {
        if self.disk.is_off() {
            self.events.push(Event::PowerCut);
            self.reboot();
        }
        if self.process.is_none() && !self.rng.one_in(8) {
            self.start();
            if self.closed() == Some(ClosedId::LeaseUnclean) {
                self.shorten_wait();
            }
        }
    }

    /// Most of a run would otherwise be spent waiting for the lease.
    fn shorten_wait(&mut self) {
        match self.rng.below(4) {
            0 if !self.tampered => self.vouch_disk(),
            0 => {}
            _ => {
                self.pass(2 * self.world.lease_epochs * self.world.chain.slots_per_epoch);
                // What was barred by the unclean start must outlive a clean stop.
                if self.rng.one_in(4) {
                    self.stop();
                    self.start();
                }
            }
        }
    }

    pub(super) fn let_time_pass(&mut self) {
        let epoch = self.world.chain.slots_per_epoch;
        let slots = match self.rng.below(8) {
            0..3 => self.rng.between(1, 4),
            3..6 => self.rng.between(1, epoch),
            6 => self.rng.between(epoch, 3 * epoch),
            _ => self.rng.between(1, 3) * epoch * self.world.lease_epochs,
        };
        self.pass(slots);
    }

    /// Lets slots pass, with the upkeep that a program does in that time.
    pub(super) fn pass(&mut self, slots: u64) {
        let ms = slots * self.world.chain.slot_ms;
        self.present = self.present.plus(ms);
        self.clock.pass(ms);
        self.view.follow(self.world.epoch_at(self.present));
        self.furthest = self.furthest.max(self.world.epoch_at(self.present));
        self.saw_clock();
        self.events.push(Event::TimePassed { slots });
        self.maintain(2);
    }

    pub(super) fn set_clock(&mut self) {
        let epochs = self.rng.between(1, CLOCK_OFF_MAX) * self.world.epoch_ms();
        let to = match self.rng.below(6) {
            0 | 1 => self.present,
            2 => Millis(self.present.0.saturating_sub(epochs)),
            3 => Millis(self.present.0.saturating_sub(TEN_YEARS_MS)),
            4 => self.present.plus(epochs),
            _ => self.present.plus(TEN_YEARS_MS),
        };
        self.clock.set(to);
        self.saw_clock();
        self.events.push(Event::ClockSet { to: self.world.epoch_at(to), shown_at: self.present });
        self.stats.count("clock", if to < self.present { "set back" } else { "set forward or right" });
        self.maintain(2);
    }

    /// A clock that is years ahead leads to no lease, so nothing has to wait for it to be reached.
    fn saw_clock(&mut self) {
        let shown = self.world.epoch_at(self.clock.now());
        if self.clock.now().since(self.present) < TEN_YEARS_MS / 2 {
            self.furthest = self.furthest.max(shown);
        }
    }

    pub(super) fn plan_disk_fault(&mut self) {
        let after = if self.rng.one_in(2) { self.rng.below(3) } else { self.rng.below(14) };
        let fault = match self.rng.below(16) {
            0..10 => Fault::Cut { after: self.rng.one_in(2) },
            10 => Fault::Full,
            11 => Fault::ReadOnly,
            12 | 13 => Fault::SyncFails { forgets: true },
            14 => Fault::SyncFails { forgets: false },
            _ => Fault::SyncLies,
        };
        // From the moment on in which it may lie, nobody can vouch for the disk.
        self.tampered |= fault == Fault::SyncLies;
        self.disk.plan(after, fault);
        self.events.push(Event::DiskFault { after, fault });
    }

    /// The power goes while the lease is renewed, or begun, or ended in order.
    pub(super) fn cut_a_renewal(&mut self) {
        let (after, happens) = (self.rng.below(7), self.rng.one_in(2));
        let at_tick = self.rng.one_in(4);
        let fault = if at_tick { Fault::CutAtTick { after: happens } } else { Fault::Cut { after: happens } };
        let plan = |run: &mut Self| {
            run.disk.plan(after, fault);
            run.events.push(Event::DiskFault { after, fault });
        };
        match self.rng.below(4) {
            0 => {
                self.stop();
                plan(self);
                self.start();
            }
            1 => {
                plan(self);
                self.stop();
            }
            _ => {
                plan(self);
                self.pass(self.world.lease_epochs * self.world.chain.slots_per_epoch);
            }
        }
    }

    pub(super) fn plan_tpm_fault(&mut self) {
        let (operation, fault) = match self.rng.below(10) {
            0 | 1 => (Operation::CounterIncrement, TpmFault::Refused),
            2 | 3 => (Operation::CounterIncrement, TpmFault::AnswerLost),
            4 | 5 => (Operation::CounterIncrement, TpmFault::Lied),
            6 => (Operation::CounterRead, TpmFault::Refused),
            7 => (Operation::Unseal, TpmFault::Refused),
            8 => (Operation::Seal, TpmFault::Refused),
            _ => (Operation::Resets, TpmFault::Refused),
        };
        self.tpm.fail_next(operation, fault);
        self.stats.count("tpm", "faults planned");
        self.events.push(Event::TpmFault { operation, fault });
    }

    pub(super) fn stall(&mut self) {
        self.view.stalled = !self.view.stalled;
        self.view.follow(self.world.epoch_at(self.present));
        self.events.push(Event::Stalled { on: self.view.stalled });
    }

    /// The program or the machine goes down, in one way or another.
    pub(super) fn befall(&mut self) -> Result<(), Failure> {
        match self.rng.below(28) {
            0..4 => {
                self.disk.cut();
                self.come_back();
            }
            4..8 => {
                self.events.push(Event::Killed);
                self.stats.count("program", "killed");
                self.kill();
            }
            8..13 => self.stop(),
            13..19 => self.restore(),
            19 | 20 => return self.mix(),
            21 => self.forge(),
            22..24 => self.swap(),
            24 => self.corrupt(),
            25 => return self.move_box(),
            _ => {
                self.tpm.power_cycle();
                self.stats.count("tpm", "reset under the program");
                self.events.push(Event::PowerCycledTpm);
                self.maintain(2);
            }
        }
        Ok(())
    }

    /// Ends the program in order, and often the machine with it.
    fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop();
            self.events.push(Event::Stopped);
            self.stats.count("program", "stopped in order");
            self.disk.kill();
        }
        if self.rng.one_in(2) {
            self.reboot();
        }
    }

    pub(super) fn reboot(&mut self) {
        self.kill();
        let seed = self.rng.next();
        self.disk.reboot(seed);
        if self.rng.one_in(2) {
            self.disk.mend();
        }
        self.tpm.power_cycle();
        self.events.push(Event::Rebooted { seed });
    }

    /// An older disk is put into the machine.
    fn restore(&mut self) {
        self.go_down();
        let number = self.any_copy();
        self.disk.restore(&self.copies[number]);
        self.tpm.power_cycle();
        self.tampered = true;
        self.stats.count("restored", "whole disks");
        self.events.push(Event::Restored { number });
    }

    /// A disk is put into the machine of which some files are older than others.
    fn mix(&mut self) -> Result<(), Failure> {
        // Often an older history beside the record of an orderly end: that it does not fit, only its digest says.
        let forgets = self.rng.one_in(3);
        if forgets {
            self.stop()
        } else {
            self.go_down()
        }
        let (of, with) = (self.any_copy(), self.any_copy());
        let now = self.disk.snapshot();
        let older = if forgets || self.rng.one_in(2) { &now } else { &self.copies[of] };
        let (files, takes) = if forgets { HISTORY } else { *self.rng.pick(FILES).expect("there are some") };
        let mixed = older.with(&self.copies[with], takes);
        self.disk.restore(&mixed);
        self.tampered = true;
        self.stats.count("restored", "mixed disks");
        self.events.push(Event::Mixed { of, with, files });
        if forgets { self.contradict() } else { Ok(()) }
    }

    /// Asks at once for other votes of the present epoch than an honest daemon's.
    fn contradict(&mut self) -> Result<(), Failure> {
        self.start();
        let data = other_vote(&self.world.chain, &self.view, self.slot_shown());
        let validators = self.world.validators();
        self.ask_votes(validators.map(|validator| AttestationToSign { validator, data }).collect()).map(drop)
    }

    /// An older disk is put into the machine, its record of the lease written over to name the counter's present value.
    fn forge(&mut self) {
        self.go_down();
        let number = self.any_copy();
        let (copy, counter) = (&self.copies[number], self.tpm.counter_read(LEASE_COUNTER));
        let (Some(mut record), Ok(counter)) = (copy.file("lease"), counter) else { return };
        if let Some(field) = record.first_chunk_mut() {
            *field = counter.value.to_be_bytes();
        }
        self.disk.restore(&copy.with_file("lease", &record));
        self.tpm.power_cycle();
        self.tampered = true;
        self.stats.count("restored", "with a forged record");
        self.events.push(Event::Forged { number });
    }

    /// Files are exchanged under the running program: by others of their names, or by writing over them.
    fn swap(&mut self) {
        let number = self.any_copy();
        let (files, takes) = *self.rng.pick(FILES).expect("there are some");
        let other = &self.copies[number];
        if self.rng.one_in(3) {
            for name in other.names().filter(|name| takes(name)) {
                self.disk.overwrite(other, name);
            }
        } else {
            self.disk.swap(&self.disk.copy().with(other, takes));
        }
        self.tampered = true;
        self.stats.count("restored", "under the program");
        self.events.push(Event::Swapped { number, files });
    }

    fn corrupt(&mut self) {
        let seed = self.rng.next();
        let copy = self.disk.copy();
        let names: Vec<&str> = copy.names().collect();
        let found = self.rng.pick(&names).is_some_and(|name| self.disk.corrupt(name, seed));
        (self.tampered, self.corrupted) = (true, true);
        self.stats.count("disk", "corrupted");
        self.events.push(Event::Corrupted { found });
    }

    /// The disk is put into another machine for a while: the same software, another TPM.
    fn move_box(&mut self) -> Result<(), Failure> {
        self.kill();
        let elsewhere = SimTpm::new(self.rng.next());
        let own = std::mem::replace(&mut self.tpm, elsewhere);
        self.events.push(Event::BoxMoved);
        self.stats.count("tpm", "of another machine");
        self.start();
        let (slot, validator) = (self.slot_shown(), self.any_validator());
        let data = honest_vote(&self.world.chain, &self.view, slot);
        let signed = self.ask_votes(vec![AttestationToSign { validator, data }])?;
        self.kill();
        self.tpm = own;
        if signed == 0 { Ok(()) } else { Err(Failure::SignedElsewhere) }
    }

    fn go_down(&mut self) {
        match self.rng.below(3) {
            0 => self.stop(),
            1 => self.kill(),
            _ => {
                self.disk.cut();
                self.reboot();
            }
        }
    }

    pub(super) fn copy_now_and_then(&mut self) {
        if self.disk.is_off() || self.rng.one_in(2) {
            return;
        }
        let running = self.rng.one_in(2);
        let copy: Snapshot = if running { self.disk.copy() } else { self.disk.snapshot() };
        let number = if self.copies.len() < COPIES_MAX {
            self.copies.push(copy);
            self.copies.len() - 1
        } else {
            let number = self.any_copy();
            self.copies[number] = copy;
            number
        };
        self.events.push(Event::Copied { number, running });
    }

    fn any_copy(&mut self) -> usize {
        usize::try_from(self.rng.below(self.copies.len() as u64)).unwrap_or(0)
    }
}

/// Which files are exchanged together: name and choice.
type Files = (&'static str, fn(&str) -> bool);

const HISTORY: Files = ("history", |name| name.starts_with("history"));
const FILES: &[Files] = &[
    HISTORY,
    ("history without its log", |name| name == "history.sqlite"),
    ("the history's log", |name| name == "history.sqlite-wal"),
    ("lease", |name| name.starts_with("lease")),
    ("sealed", |name| name.starts_with("sealed")),
    ("all but the lease", |name| !name.starts_with("lease")),
    ("all but the history", |name| !name.starts_with("history")),
    ("all but what is sealed", |name| !name.starts_with("sealed")),
];

/// Where the lease counts.
const LEASE_COUNTER: NvIndex = NvIndex(0x0180_4801);
/// How far the clock is set wrong, in epochs; further off is ten years.
const CLOCK_OFF_MAX: u64 = 40;
const TEN_YEARS_MS: u64 = 10 * 365 * 24 * 3600 * 1000;
/// A run is short: from these, any disk of it can be mixed.
const COPIES_MAX: usize = 8;
