//! The far future: whoever has it signed, imported or put on the clock bars a validator until then, so it is refused.

use std::path::Path;

use anyhow::{Context as _, ensure};
use holdfast_evidence::HistoryClaim;
use holdfast_types::{AttestationMark, BlockMark, Epoch, HistoryMarks, Slot, ValidatorMarks};
use holdfast_vault_client::{ClosedId, Request};

use crate::asking::{Answer, Network};
use crate::lease_rows::expect_refused;
use crate::rig::Rig;

const MONTH_AND_A_DAY_S: i64 = 31 * 24 * 60 * 60;

pub(crate) fn is_refused(dir: &Path) -> anyhow::Result<()> {
    let mut rig = Rig::new(dir, Network::slow(), 8)?;
    rig.start()?;
    let present = rig.epoch();
    let (pins, mut vault) = (rig.pins(), rig.client()?);
    rig.operator.own(&mut vault)?;
    for epoch in [present.0 - 2, present.0 + 2, u64::MAX] {
        let refused = rig.operator.set_network(&mut vault, pins.clone(), Epoch(epoch));
        expect_refused("a network with an epoch that is not the present", refused, "is outside")?;
    }
    rig.operator.set_network(&mut vault, pins, rig.epoch()).context("the network was not pinned")?;
    imports(&rig)?;
    rig.import(HistoryClaim::NeverSigned)?;
    signing(&rig)?;
    clock(&mut rig)
}

/// A history from the future.
fn imports(rig: &Rig) -> anyhow::Result<()> {
    let (validator, present) = (rig.keys[0].public, rig.epoch());
    let vote = |source, target| Some(AttestationMark { source: Epoch(source), target: Epoch(target), root: None });
    let block = |slot| Some(BlockMark { slot: Slot(slot), root: None });
    let first_slot = |epoch: u64| rig.network.spec.first_slot(Epoch(epoch)).0;
    let futures = [
        (vote(present.0, present.0 + 3), None),
        (vote(0, u64::MAX), None),
        (vote(u64::MAX, u64::MAX), None),
        (vote(u64::MAX, 10), None),
        (None, block(first_slot(present.0 + 3))),
        (None, block(u64::MAX)),
    ];
    for (attestation, block) in futures {
        let genesis_validators_root = rig.network.spec.genesis_validators_root;
        let validators = vec![ValidatorMarks { validator, attestation, block }];
        let marks = HistoryMarks { genesis_validators_root, validators };
        let refused = rig.operator.import_history(&mut rig.client()?, marks);
        expect_refused("a history from the future", refused, "future")?;
    }
    let kept = rig.client()?.history_backup(None)?.validators;
    ensure!(kept.is_empty(), "a refused history left a trace: {kept:?}");
    Ok(())
}

/// Signatures of the future, and nothing of them stays.
fn signing(rig: &Rig) -> anyhow::Result<()> {
    let (epoch, slot) = (rig.epoch().0, rig.slot().0);
    let far = "is outside what may be signed now";
    for target in [epoch + 2, epoch + 1_000, u64::MAX / 32] {
        let refused = rig.refuses_vote("of the future", 0, (target - 1, target, 0x11))?;
        ensure!(refused.contains(far), "saw: {refused}");
    }
    for slot in [slot + 3, slot + 100_000, u64::MAX] {
        let refused = rig.refuses_block("of the future", 0, slot, 0x66)?;
        ensure!(refused.contains(far), "saw: {refused}");
    }
    let key = &rig.keys[0];
    for epoch in [epoch + 4, u64::MAX] {
        let request = Request::SignRandao { epoch: Epoch(epoch), validators: vec![key.public] };
        let answer = rig.one(&request, key, holdfast_types::SigningRoot([0; 32]))?;
        let refused = matches!(&answer, Answer::Refused(refused) if refused.to_string().contains(far));
        ensure!(refused, "expected the reveal of epoch {epoch} to be refused, saw {answer:?}");
    }
    let kept = rig.client()?.history_backup(None)?.validators;
    ensure!(kept.is_empty(), "a refused signature left a trace: {kept:?}");
    for target in [epoch + 226, epoch + 1_000_000, u64::MAX] {
        let refused = rig.operator.new_counter(&mut rig.client()?, Epoch(target));
        expect_refused("a floor of the far future", refused, "is outside")?;
    }
    rig.votes("of the present", 0, epoch - 1, epoch).map(drop)
}

/// A clock that is wrong by a month.
fn clock(rig: &mut Rig) -> anyhow::Result<()> {
    let last = rig.last_epoch()?;
    rig.stop()?;
    rig.clock_ahead_s = MONTH_AND_A_DAY_S;
    rig.start()?;
    rig.expect_closed("with a clock a month ahead", ClosedId::CatchingUp, "check the clock")?;
    rig.stop()?;
    rig.clock_ahead_s = 0;
    rig.start()?;
    rig.expect_open("once the clock is right")?;
    let (now, epoch) = (rig.last_epoch()?, rig.epoch().0);
    ensure!(now.0 <= last.0 + 8, "the wrong clock ran the lease from {last} to {now}");
    rig.votes("once the clock is right", 1, epoch - 1, epoch).map(drop)
}
