//! What the operator orders meanwhile. He is honest: he vouches only for a disk that was not restored, and the epochs that he
//! names are those that he sees.

use holdfast_evidence::{HistoryClaim, Order};
use holdfast_test_operator::{InProcess, OperatorError};
use holdfast_types::{AttestationMark, BlockMark, Epoch, HistoryMarks, ValidatorMarks};
use holdfast_vault::clock::Clock as _;
use holdfast_vault_client::OrderOutcome;

use super::log::Event;
use super::run::Run;
use super::{Process, Subject};

impl<S: Subject> Run<'_, S> {
    pub(super) fn order(&mut self) {
        self.may_step_ahead();
        match self.rng.below(10) {
            0..3 if !self.tampered => self.give(Order::VouchDisk),
            0..5 => {
                let first = Epoch(self.furthest.0 + self.rng.between(2, 4));
                self.accept_floor(first)
            }
            5 => {
                let validator = self.any_validator();
                self.give(Order::Retire(vec![validator]))
            }
            6 | 7 => self.import_again(),
            _ => self.import_history(),
        };
    }

    /// Accepts that what was signed before is not known. The epoch is later than all that the box may have signed.
    pub(super) fn accept_floor(&mut self, epoch: Epoch) -> bool {
        let done = self.give(Order::AcceptFloor { epoch });
        if done {
            self.furthest = self.furthest.max(epoch);
        }
        done
    }

    pub(super) fn import_again(&mut self) -> bool {
        let epoch = self.world.epoch_at(self.clock.now());
        let mut shares = self.world.shares.clone();
        let first = Epoch(self.furthest.0 + 2);
        shares.epoch = epoch;
        shares.history = if self.rng.one_in(2) { HistoryClaim::NeverSigned } else { HistoryClaim::Lost { first } };
        let Some(process) = &mut self.process else { return false };
        let came = self.operator.import(&mut InProcess(|request| process.answer(request)), &shares);
        let done = self.ordered("Import", &came);
        if done {
            self.furthest = self.furthest.max(first);
        }
        done
    }

    /// A history that may be above or below what the box signed itself.
    fn import_history(&mut self) -> bool {
        let target = Epoch(self.furthest.0.saturating_sub(self.rng.below(4)));
        let source = Epoch(target.0.saturating_sub(self.rng.between(1, 3)));
        let slot = self.world.chain.first_slot(target);
        let marks = |validator| ValidatorMarks {
            validator,
            attestation: Some(AttestationMark { source, target, root: None }),
            block: Some(BlockMark { slot, root: None }),
        };
        let mut validators: Vec<ValidatorMarks> = self.world.validators().map(marks).collect();
        validators.sort_unstable_by_key(|marks| marks.validator);
        let genesis_validators_root = self.world.chain.genesis_validators_root;
        self.give(Order::ImportHistory(HistoryMarks { genesis_validators_root, validators }))
    }

    /// To be given only for a disk that was not tampered with.
    pub(super) fn vouch_disk(&mut self) {
        self.may_step_ahead();
        self.give(Order::VouchDisk);
    }

    /// What helps when the approval on the disk is damaged. It takes effect at the next start.
    pub(super) fn approve_firmware(&mut self) {
        let Some(process) = &mut self.process else { return };
        let asked = self.operator.approve_firmware(&mut InProcess(|request| process.answer(request)), MEASURED);
        let done = asked.is_ok();
        self.stats.count(if done { "ordered" } else { "order no" }, "ApproveFirmware");
        self.events.push(Event::Ordered { kind: "ApproveFirmware", done });
    }

    fn give(&mut self, order: Order) -> bool {
        let kind = order.kind();
        let Some(process) = &mut self.process else { return false };
        let came = self.operator.order(&mut InProcess(|request| process.answer(request)), order);
        self.ordered(kind, &came)
    }

    fn ordered(&mut self, kind: &'static str, came: &Result<OrderOutcome, OperatorError>) -> bool {
        let done = came.is_ok() && !self.disk.is_off();
        self.stats.count(if done { "ordered" } else { "order no" }, kind);
        self.events.push(Event::Ordered { kind, done });
        done
    }
}

/// Register 7 of the simulated TPM, into which nothing is measured.
const MEASURED: [u8; 32] = [0; 32];
