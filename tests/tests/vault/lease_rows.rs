//! The table of the lease (`ARCHITECTURE.md`, "The lease"), row by row on an emulated TPM: what the vault does, what it says,
//! and what lifts it.
//!
//! Where a row ends by itself, the network here has epochs of seconds, and the row is waited out.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use holdfast_test_operator::OperatorError;
use holdfast_tests::bus::Meddle;
use holdfast_tests::bus::command::{self, NV_INCREMENT};
use holdfast_types::Epoch;
use holdfast_vault_client::{ClosedId, Rejection};

use crate::asking::Network;
use crate::copies;
use crate::rig::{GENERATION_COUNTER, LEASE_COUNTER, OPEN_MAX, Rig};

/// Slots of an epoch where epochs are waited for: two seconds.
const SHORT: u64 = 4;
/// The most that a row here waits.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The lease's record.
const RECORD: &str = "lease";
/// The history, with what SQLite has beside it.
const HISTORY: &str = "history.sqlite";
/// `TPM_RC_FAILURE`.
const GENERAL_FAILURE: u32 = 0x101;
const DAY_S: i64 = 24 * 60 * 60;

/// N, clean: signs at once, exactly where it was. Far ahead of time: waits, and `NewCounter` lifts it.
pub(crate) fn clean(dir: &Path) -> anyhow::Result<()> {
    let mut rig = Rig::signing(&dir.join("exact"), Network::slow(), 8)?;
    let signed = rig.votes("at first", 0, 48, 50)?;
    rig.proposes("at first", 0, 1_605)?;
    rig.restart()?;
    rig.expect_open("at once after a clean restart")?;
    ensure!(rig.votes("again after a clean restart", 0, 48, 50)? == signed, "the same vote has the same root");
    let refused = rig.refuses_vote("after a clean restart", 0, (48, 50, 0xee))?;
    ensure!(refused.starts_with("double vote: target epoch 50"), "saw: {refused}");
    let refused = rig.refuses_block("after a clean restart", 0, 1_605, 0xee)?;
    ensure!(refused.starts_with("double proposal: slot 1605"), "saw: {refused}");
    rig.votes("right above what was signed", 0, 50, 51)?;
    rig.reboot()?;
    rig.expect_open("at once after a reboot in order")?;

    let mut rig = Rig::signing(&dir.join("ahead"), Network::fast(2 * SHORT), 1)?;
    run_ahead(&mut rig)?;
    rig.wait_until_open(WAIT_MAX)?;
    rig.votes("once the time has come", 0, 48, 50)?;
    run_ahead(&mut rig)?;
    let first = Epoch(rig.epoch().0 + 2);
    rig.operator.new_counter(&mut rig.client()?, first).context("NewCounter did not lift it")?;
    expect_floor(&mut rig, first, "after NewCounter")
}

/// Restarts until the counter is ahead of time.
fn run_ahead(rig: &mut Rig) -> anyhow::Result<()> {
    for _ in 0..5 {
        rig.restart()?;
        if rig.status()?.closed.is_some() {
            let when = "when the counter is ahead of time";
            rig.expect_closed(when, ClosedId::LeaseAhead, "signing goes on at epoch")?;
            let refused = rig.operator.vouch_disk(&mut rig.client()?);
            return expect_refused("a vouched disk that needs none", refused, "nothing to lift");
        }
    }
    anyhow::bail!("expected five restarts in a row to bring the counter ahead of time")
}

/// N, open, and N - 1: waits for H(N) without a tick and a write, and begins above it. `VouchDisk` lifts it.
pub(crate) fn unclean(dir: &Path) -> anyhow::Result<()> {
    let mut rig = Rig::signing(&dir.join("by-itself"), Network::fast(SHORT), 2)?;
    rig.votes("at first", 0, 48, 50)?;
    let last = rig.last_epoch()?;
    rig.kill();
    ensure!(last.0 >= rig.epoch().0 + 2, "a lease of two epochs ends in {last}, and the present is {}", rig.epoch());
    let before = rig.copy_disk("killed")?;
    rig.start()?;
    rig.expect_closed("after kill -9", ClosedId::LeaseUnclean, "order VouchDisk")?;
    let waiting = rig.copy_disk("waiting")?;
    ensure!(before.read(RECORD) == waiting.read(RECORD), "a vault that waits must not write its record");
    rig.wait_until_open(WAIT_MAX)?;
    ensure!(rig.epoch() >= last, "it opened in epoch {}, before {last} was reached", rig.epoch());
    expect_floor(&mut rig, Epoch(last.0 + 1), "after kill -9")?;

    let mut rig = Rig::signing(&dir.join("vouched"), Network::slow(), 8)?;
    let signed = rig.votes("at first", 0, 48, 50)?;
    for (what, cut) in [("kill -9", Rig::kill as fn(&mut Rig)), ("a power cut", Rig::cut_power)] {
        cut(&mut rig);
        rig.start()?;
        rig.expect_closed(&format!("after {what}"), ClosedId::LeaseUnclean, "signs from epoch")?;
        rig.operator.vouch_disk(&mut rig.client()?).context("VouchDisk did not lift it")?;
        rig.expect_open(&format!("after {what} and VouchDisk"))?;
        ensure!(rig.votes("again after a vouched disk", 0, 48, 50)? == signed, "the same vote has the same root");
        let refused = rig.refuses_vote("after a vouched disk", 0, (48, 50, 0xee))?;
        ensure!(refused.starts_with("double vote: target epoch 50"), "saw: {refused}");
    }

    let mut rig = Rig::signing(&dir.join("one-step"), Network::slow(), 8)?;
    rig.stop()?;
    let clean = rig.copy_disk("clean")?;
    rig.start()?;
    let last = rig.last_epoch()?;
    rig.votes("under the next value", 0, 48, 50)?;
    rig.kill();
    clean.put_only(&rig.state(), RECORD)?;
    rig.start()?;
    let closed = rig.expect_closed("with the record of one step before", ClosedId::LeaseUnclean, "order VouchDisk")?;
    ensure!(closed.reason.contains(&last.to_string()), "expected it to wait for epoch {last}: {closed}");
    rig.kill();
    clean.put(&rig.state())?;
    rig.start()?;
    rig.expect_closed("with the whole disk of one step before", ClosedId::LeaseUnclean, &last.to_string()).map(drop)
}

/// At most N - 2, missing, damaged, or of another history: refused, and `AcceptFloor` lifts it.
pub(crate) fn older_and_damaged(dir: &Path) -> anyhow::Result<()> {
    let mut rig = Rig::signing(dir, Network::fast(SHORT), 1)?;
    rig.votes("at first", 0, 48, 50)?;
    rig.stop()?;
    let old = rig.copy_disk("old")?;
    for target in [51, 52] {
        rig.start()?;
        rig.wait_until_open(OPEN_MAX)?;
        rig.votes("meanwhile", 0, target - 1, target)?;
        rig.stop()?;
    }
    let real = rig.copy_disk("real")?;
    type Harm = fn(&Path, &copies::Copy, &copies::Copy) -> anyhow::Result<()>;
    let (rolled_back, lost) = (ClosedId::HistoryRolledBack, ClosedId::HistoryLost);
    let harms: &[(&str, ClosedId, Harm)] = &[
        ("an older disk", rolled_back, |state, old, _| old.put(state)),
        ("an older record", rolled_back, |state, old, _| old.put_only(state, RECORD)),
        ("no record", lost, |state, _, _| copies::remove(state, RECORD)),
        ("an empty record", lost, |state, _, _| Ok(std::fs::write(state.join(RECORD), [])?)),
        ("a record cut short", lost, |state, _, real| {
            let bytes = real.read(RECORD).context("there is a record")?;
            Ok(std::fs::write(state.join(RECORD), &bytes[..bytes.len() - 1])?)
        }),
        ("a record with a changed byte", lost, |state, _, real| {
            let mut bytes = real.read(RECORD).context("there is a record")?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            Ok(std::fs::write(state.join(RECORD), bytes)?)
        }),
        ("no history", lost, |state, _, _| copies::remove(state, HISTORY)),
        ("the history of before", lost, |state, old, _| old.put_only(state, HISTORY)),
        ("a row that is gone", lost, |state, _, _| forget_a_row(state)),
    ];
    for (what, id, harm) in harms {
        real.put(&rig.state())?;
        harm(&rig.state(), &old, &real)?;
        rig.start()?;
        rig.expect_closed(&format!("with {what}"), *id, "order AcceptFloor")?;
        rig.kill();
    }
    real.put(&rig.state())?;
    rig.start()?;
    rig.wait_until_open(WAIT_MAX).context("with its own disk again")?;
    rig.stop()?;

    for (what, id, harm) in [harms[0], harms[2]] {
        let before = rig.copy_disk("before")?;
        harm(&rig.state(), &old, &before)?;
        rig.start()?;
        rig.expect_closed(&format!("with {what}"), id, "order AcceptFloor")?;
        for early in [0, 1] {
            let epoch = Epoch(rig.epoch().0 + early);
            let refused = rig.operator.accept_floor(&mut rig.client()?, epoch);
            expect_refused("a floor that is not two epochs ahead", refused, "is outside")?;
        }
        let first = Epoch(rig.epoch().0 + 2);
        rig.operator.accept_floor(&mut rig.client()?, first).context("AcceptFloor did not lift it")?;
        // All that the lease before allowed is barred too, which may reach further than the order.
        let lease = rig.client()?.status()?.lease.context("AcceptFloor began no lease")?;
        ensure!(lease.first_epoch >= first, "signs from {} on, ordered was {first}", lease.first_epoch);
        expect_floor(&mut rig, lease.first_epoch, "after AcceptFloor")?;
        rig.stop()?;
    }
    Ok(())
}

/// The counter is lower than the record, gone, something else, or moved by somebody.
pub(crate) fn other_counters(dir: &Path) -> anyhow::Result<()> {
    let mut rig = Rig::signing(dir, Network::fast(SHORT), 1)?;
    rig.votes("at first", 0, 48, 50)?;
    rig.shut_down()?;
    let tpm = rig.copy_tpm("tpm")?;
    rig.start()?;
    rig.wait_until_open(OPEN_MAX)?;
    let last = rig.last_epoch()?;
    rig.shut_down()?;
    tpm.put(&rig.tpm_state())?;
    rig.start()?;
    rig.expect_closed("with the TPM's state of before", ClosedId::TpmRolledBack, "order NewCounter")?;
    let refused = rig.operator.accept_floor(&mut rig.client()?, Epoch(rig.epoch().0 + 2));
    expect_refused("AcceptFloor where NewCounter is needed", refused, "tpm-rolled-back")?;
    lift_by_new_counter(&mut rig, last, "after the TPM's state was restored")?;

    for by in [1, 2] {
        for _ in 0..by {
            rig.bus()?.send(&command::increment(LEASE_COUNTER))?;
        }
        wait_for_close(&mut rig, ClosedId::TpmRolledBack)?;
        let last = rig.epoch();
        lift_by_new_counter(&mut rig, last, "after somebody else counted")?;
    }

    rig.stop()?;
    rig.bus()?.send(&command::undefine(LEASE_COUNTER))?;
    rig.start()?;
    rig.expect_closed("without its counter", ClosedId::TpmReplaced, "order NewCounter")?;
    let last = rig.epoch();
    lift_by_new_counter(&mut rig, last, "without its counter")?;

    rig.stop()?;
    rig.bus()?.send(&command::undefine(LEASE_COUNTER))?;
    rig.bus()?.send(&command::define_ordinary(LEASE_COUNTER))?;
    rig.bus()?.send(&command::write(LEASE_COUNTER, 1))?;
    rig.start()?;
    rig.expect_closed("with an ordinary index in its counter's place", ClosedId::TpmReplaced, "order NewCounter")?;
    let refused = rig.operator.new_counter(&mut rig.client()?, Epoch(rig.epoch().0 + 2));
    expect_refused("NewCounter while something else is in its place", refused, "take it away with `tpm2_nvundefine")?;
    rig.bus()?.send(&command::undefine(LEASE_COUNTER))?;
    lift_by_new_counter(&mut rig, Epoch(0), "once the other index is gone")?;

    rig.stop()?;
    rig.bus()?.send(&command::undefine(GENERATION_COUNTER))?;
    rig.start()?;
    rig.expect_closed("without the counter of generations", ClosedId::TpmReplaced, "")?;
    let refused = rig.operator.new_counter(&mut rig.client()?, Epoch(rig.epoch().0 + 2));
    expect_refused("NewCounter where what is sealed cannot be opened", refused, "tpm-replaced")
}

fn lift_by_new_counter(rig: &mut Rig, last: Epoch, when: &str) -> anyhow::Result<()> {
    let first = Epoch(rig.epoch().0 + 2);
    rig.operator
        .new_counter(&mut rig.client()?, first)
        .with_context(|| format!("NewCounter did not lift it {when}"))?;
    // Whoever brought the counter to its value may have signed up to where it reaches: that is barred as well.
    let begins = rig.status()?.lease.context("there is no lease")?.first_epoch;
    ensure!(begins >= first.max(Epoch(last.0 + 1)), "the floor is too low {when}: {begins}");
    expect_floor(rig, begins, when)
}

fn wait_for_close(rig: &mut Rig, id: ClosedId) -> anyhow::Result<()> {
    let began = std::time::Instant::now();
    while rig.status()?.closed.is_none_or(|closed| closed.id != id) {
        rig.check()?;
        ensure!(began.elapsed() < WAIT_MAX, "expected {id} within {WAIT_MAX:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    rig.expect_closed("after somebody else counted", id, "order NewCounter").map(drop)
}

/// While ticks fail it signs on up to where its lease reaches, and goes on when they succeed again. One whose answer was
/// lost has succeeded: what is read back decides.
pub(crate) fn failing_ticks(dir: &Path) -> anyhow::Result<()> {
    let mut rig = Rig::signing(dir, Network::fast(SHORT), 2)?;
    /// What it does, whether the counter moves, how it is done.
    type Lie = (&'static str, bool, fn() -> Meddle);
    let lies: [Lie; 3] = [
        ("that say they are done", true, || answers_increments(command::done())),
        ("that are refused", true, || answers_increments(command::refusal(GENERAL_FAILURE))),
        ("whose answers are lost", false, || {
            Box::new(|tpm, command| {
                let answer = tpm.send(command).ok()?;
                (command::code(command) != NV_INCREMENT).then_some(answer)
            })
        }),
    ];
    for (what, fails, lie) in lies {
        rig.wait_until_open(OPEN_MAX)?;
        rig.bus()?.meddle(lie());
        let last = rig.last_epoch()?;
        let present = rig.epoch().0;
        rig.votes(&format!("before its lease ends, with ticks {what}"), 0, present - 1, present)?;
        rig.wait_for_epoch(Epoch(last.0 + 1))?;
        let when = format!("once its lease would have ended, with ticks {what}");
        if fails {
            rig.expect_closed(&when, ClosedId::CatchingUp, "")?;
        } else {
            rig.expect_open(&when)?;
        }
        rig.bus()?.pass_on();
        rig.wait_until_open(OPEN_MAX).with_context(|| format!("after ticks {what}"))?;
        let present = rig.epoch().0;
        rig.votes(&format!("after ticks {what}"), 0, present - 1, present)?;
    }
    Ok(())
}

fn answers_increments(answer: Vec<u8>) -> Meddle {
    Box::new(
        move |tpm, command| {
            if command::code(command) == NV_INCREMENT { Some(answer.clone()) } else { tpm.send(command).ok() }
        },
    )
}

/// Another TPM, or the same one cleared: nothing opens, and no order helps.
pub(crate) fn other_machine(dir: &Path) -> anyhow::Result<()> {
    let mut rig = Rig::signing(dir, Network::slow(), 8)?;
    rig.votes("at first", 0, 48, 50)?;
    rig.shut_down()?;
    let (disk, tpm) = (rig.copy_disk("disk")?, rig.copy_tpm("tpm")?);
    std::fs::remove_dir_all(rig.tpm_state())?;
    rig.start()?;
    rig.expect_closed("on another TPM", ClosedId::OtherMachine, "")?;
    no_order_helps(&rig, "other-machine")?;
    rig.cut_power();
    for name in copies::names(&rig.state(), "")? {
        let same = disk.read(&name) == std::fs::read(rig.state().join(&name)).ok();
        ensure!(same || name.starts_with(HISTORY), "a start on another TPM changed {name}");
    }

    tpm.put(&rig.tpm_state())?;
    rig.start()?;
    rig.expect_open("on its own TPM again")?;
    rig.stop()?;
    rig.bus()?.send(&command::clear())?;
    rig.start()?;
    rig.expect_closed("on its own TPM after it was cleared", ClosedId::OtherMachine, "")?;
    no_order_helps(&rig, "other-machine")
}

/// A clock far ahead needs an order, one a day ahead is caught up with, and one behind waits.
pub(crate) fn clocks(dir: &Path) -> anyhow::Result<()> {
    let mut rig = Rig::signing(dir, Network::slow(), 8)?;
    let counter = rig.counter()?;
    rig.stop()?;
    rig.clock_ahead_s = 31 * DAY_S;
    rig.start()?;
    rig.expect_closed("after 31 days", ClosedId::CatchingUp, "order AcceptFloor")?;
    rig.stop()?;

    rig.clock_ahead_s = -DAY_S;
    rig.start()?;
    rig.expect_closed("with a clock a day behind", ClosedId::LeaseAhead, "signing goes on at epoch")?;
    rig.stop()?;

    rig.clock_ahead_s = DAY_S;
    rig.start()?;
    rig.wait_until_open(WAIT_MAX).context("a day is caught up with")?;
    let epochs = u64::try_from(DAY_S)? / (32 * 12);
    let ticks = rig.counter()? - counter;
    ensure!((epochs / 8..=epochs / 8 + 3).contains(&ticks), "{epochs} epochs of catching up took {ticks} ticks");
    let epoch = rig.epoch().0;
    rig.votes("a day later", 0, epoch - 1, epoch)?;
    rig.stop()?;

    rig.clock_ahead_s = 40 * DAY_S;
    rig.start()?;
    rig.expect_closed("after 39 more days", ClosedId::CatchingUp, "order AcceptFloor")?;
    let first = Epoch(rig.epoch().0 + 2);
    rig.operator.accept_floor(&mut rig.client()?, first).context("AcceptFloor did not lift it")?;
    rig.expect_open("after AcceptFloor")?;
    let refused = rig.refuses_vote("below the accepted floor", 0, (first.0 - 3, first.0 - 2, 0x11))?;
    ensure!(refused.contains("floor"), "saw: {refused}");
    Ok(())
}

/// From `first` on it signs; below nothing, and the voter waits for it.
fn expect_floor(rig: &mut Rig, first: Epoch, when: &str) -> anyhow::Result<()> {
    rig.expect_open(when)?;
    rig.reveals(when)?;
    let below = rig.epoch().0.min(first.0 - 1);
    let refused = rig.refuses_vote(when, 1, (below - 1, below, 0x11))?;
    ensure!(refused.contains("floor"), "expected a refusal below the floor {when}, saw: {refused}");
    rig.wait_for_epoch(first)?;
    // At the turn of an epoch the lease may be a tick behind.
    rig.wait_until_open(OPEN_MAX)?;
    rig.votes(when, 1, first.0 - 1, first.0)?;
    let slot = rig.network.spec.first_slot(first).0;
    let refused = rig.refuses_block(when, 1, slot - 1, 0x66)?;
    ensure!(refused.contains("floor"), "expected no block below the floor {when}, saw: {refused}");
    rig.proposes(when, 1, slot).map(drop)
}

fn no_order_helps(rig: &Rig, reason: &str) -> anyhow::Result<()> {
    let (mut vault, first) = (rig.client()?, Epoch(rig.epoch().0 + 2));
    expect_refused("VouchDisk", rig.operator.vouch_disk(&mut vault), reason)?;
    expect_refused("AcceptFloor", rig.operator.accept_floor(&mut vault, first), reason)?;
    expect_refused("NewCounter", rig.operator.new_counter(&mut vault, first), reason)
}

/// An order was refused, for a reason with these words.
pub(crate) fn expect_refused<T: std::fmt::Debug>(
    what: &str,
    answer: Result<T, OperatorError>,
    words: &str,
) -> anyhow::Result<()> {
    let refusal = answer.as_ref().err().and_then(OperatorError::refusal);
    let as_expected = matches!(refusal, Some(Rejection::Order { reason, .. }) if reason.contains(words));
    ensure!(as_expected, "expected {what} to be refused with {words:?}, saw {answer:?}");
    Ok(())
}

/// Takes a watermark out, as somebody does who has the disk and knows SQLite.
fn forget_a_row(state: &Path) -> anyhow::Result<()> {
    let database = rusqlite::Connection::open(state.join(HISTORY))?;
    let gone = database.execute("DELETE FROM validators", [])?;
    ensure!(gone > 0, "there was nothing to forget");
    Ok(())
}
