//! The life of one box, from its first start to its reset; after every step each older copy of its disk is tried on the
//! same TPM.
//!
//! The vault's clock is moved on by one lease at each start, so that nothing here waits.

use std::path::Path;

use anyhow::{Context as _, ensure};
use holdfast_evidence::HistoryClaim;
use holdfast_test_operator::Operator;
use holdfast_types::Epoch;
use holdfast_vault_client::ClosedId;

use crate::asking::Network;
use crate::copies::Copy;
use crate::lease_rows::expect_refused;
use crate::rig::{OPEN_MAX, Rig};

const LEASE_EPOCHS: u64 = 8;
const LEASE_S: i64 = LEASE_EPOCHS as i64 * 32 * 12;

/// A box with all disks that it ever had.
struct Life {
    rig: Rig,
    older: Vec<Older>,
    /// The target of the next vote.
    target: u64,
    tried: usize,
}

/// A disk of before.
struct Older {
    disk: Copy,
    step: &'static str,
    /// The generation that is sealed on it.
    generation: Option<u64>,
    /// The value of the lease's counter that its record is of.
    counter: Option<u64>,
}

pub(crate) fn every_older_disk_is_refused(dir: &Path) -> anyhow::Result<()> {
    let mut life = Life { rig: Rig::new(dir, Network::slow(), LEASE_EPOCHS)?, older: Vec::new(), target: 50, tried: 0 };
    life.first_start_and_owner()?;
    life.network_and_shares()?;
    life.reboots()?;
    life.operating_system_update()?;
    life.firmware_change()?;
    life.higher_level()?;
    life.next_authority()?;
    life.retired_share()?;
    life.reset()?;
    println!("  {} starts on an older disk", life.tried);
    ensure!(life.tried >= 50, "only {} older disks were tried", life.tried);
    Ok(())
}

impl Life {
    fn first_start_and_owner(&mut self) -> anyhow::Result<()> {
        self.rig.start()?;
        self.rig.expect_closed("at its first start", ClosedId::NotOwned, "nobody owns this box")?;
        self.end_step("an empty disk")?;
        let mut vault = self.rig.client()?;
        let imported = self.rig.operator.make_identity(&mut vault);
        expect_refused("an identity before there is an owner", imported, "the first order is Own")?;
        self.rig.operator.own(&mut vault).context("the box was not owned")?;
        self.rig.expect_closed("once it is owned", ClosedId::NoShares, "import a cluster")?;
        self.end_step("an owned box")
    }

    fn network_and_shares(&mut self) -> anyhow::Result<()> {
        let (epoch, pins) = (self.rig.epoch(), self.rig.pins());
        let mut vault = self.rig.client()?;
        self.rig.operator.set_network(&mut vault, pins, epoch).context("the network was not pinned")?;
        self.end_step("a box with its network")?;
        self.rig.import(HistoryClaim::NeverSigned)?;
        self.rig.expect_open("once it has shares")?;
        self.signs_on("once it has shares")?;
        self.end_step("a box with its shares")
    }

    fn reboots(&mut self) -> anyhow::Result<()> {
        self.later();
        self.rig.reboot()?;
        self.rig.expect_open("after a reboot")?;
        self.signs_on("after a reboot")?;
        self.end_step("a reboot in order")?;
        self.rig.cut_power();
        self.rig.start()?;
        self.rig.expect_closed("after a power cut", ClosedId::LeaseUnclean, "order VouchDisk")?;
        self.rig.operator.vouch_disk(&mut self.rig.client()?).context("the vouched disk was not taken")?;
        self.signs_on("after a power cut")?;
        self.end_step("a power cut")
    }

    fn operating_system_update(&mut self) -> anyhow::Result<()> {
        let other = Some([0x0b; 32]);
        self.rig.shut_down()?;
        self.later();
        self.rig.image = other;
        self.rig.start()?;
        let approvals = "no release approval";
        let closed = self.rig.status()?.closed.context("an image that nobody approved must not open it")?;
        ensure!(closed.id == ClosedId::PolicyFailed && closed.reason.contains("11"), "{approvals}: saw {closed}");
        self.rig.signs_nothing("under an image that nobody approved", ClosedId::PolicyFailed)?;
        self.rig.shut_down()?;
        self.rig.approved.0 = other;
        self.rig.start()?;
        self.rig.expect_open("under another approved image")?;
        self.signs_on("under another approved image")?;
        self.end_step("an update of the operating system")
    }

    fn firmware_change(&mut self) -> anyhow::Result<()> {
        let other = Some([0x07; 32]);
        self.rig.shut_down()?;
        self.later();
        self.rig.firmware = other;
        self.rig.start()?;
        self.rig.expect_closed("after a firmware change", ClosedId::PolicyFailed, "register 7")?;
        let mut vault = self.rig.client()?;
        let stranger = Operator::from_seed(99).approve_firmware(&mut vault, crate::rig::register(other));
        expect_refused("a stranger's approval", stranger, "not the authority's")?;
        self.rig.operator.approve_firmware(&mut vault, crate::rig::register(other)).context("approval not taken")?;
        self.rig.expect_closed("until the next boot", ClosedId::PolicyFailed, "")?;
        self.rig.reboot()?;
        self.rig.expect_open("once the firmware is approved")?;
        self.signs_on("once the firmware is approved")?;
        self.end_step("a change of the firmware")
    }

    fn higher_level(&mut self) -> anyhow::Result<()> {
        self.rig.approved.1 = 1..=2;
        self.later();
        self.rig.restart()?;
        let before = self.rig.status()?;
        self.rig.client()?.raise_level().context("the level was not raised")?;
        let after = self.rig.status()?;
        let levels = (before.level, after.level);
        ensure!(levels == (Some(1), Some(2)) && after.generation > before.generation, "{before:?} and {after:?}");
        self.signs_on("at a higher level")?;
        self.end_step("a raised level")?;
        self.rig.stop()?;
        self.later();
        self.rig.approved.1 = 1..=1;
        self.rig.start()?;
        self.rig.expect_closed("under a release of a revoked level", ClosedId::PolicyFailed, "")?;
        self.rig.stop()?;
        self.rig.approved.1 = 1..=2;
        self.rig.start()?;
        self.rig.expect_open("under a release of the level again")
    }

    fn next_authority(&mut self) -> anyhow::Result<()> {
        let mut vault = self.rig.client()?;
        let mut next = Operator::from_seed(2);
        self.rig.operator.hand_over(&mut vault, &mut next).context("the authority was not changed")?;
        let before = std::mem::replace(&mut self.rig.operator, next);
        expect_refused("an order of the authority before", before.reset(&mut vault), "not signed by the authority")?;
        self.signs_on("under another authority")?;
        self.end_step("another authority")?;
        self.signs_on("under another authority after a restart")
    }

    fn retired_share(&mut self) -> anyhow::Result<()> {
        let (gone, mut vault) = (self.rig.keys[1].public, self.rig.client()?);
        self.rig.operator.retire(&mut vault, vec![gone]).context("the share was not retired")?;
        self.target += 1;
        let refused = self.rig.refuses_vote("once its share is retired", 1, (self.target - 1, self.target, 0x11))?;
        ensure!(refused.starts_with("no share of validator"), "saw: {refused}");
        self.signs_on_with("beside a retired share", &[0])?;
        let kept = vault.history_backup(None)?.validators;
        ensure!(kept.iter().any(|marks| marks.validator == gone), "the watermarks of a retired share must stay");
        self.rig.keys.truncate(1);
        self.end_step("a retired share")
    }

    fn reset(&mut self) -> anyhow::Result<()> {
        let mut vault = self.rig.client()?;
        self.rig.operator.reset(&mut vault).context("the box was not reset")?;
        self.rig.expect_closed("after a reset", ClosedId::NotOwned, "")?;
        let status = self.rig.status()?;
        ensure!(status.authority.is_none() && status.validators.is_empty(), "a reset leaves nothing: {status:?}");
        ensure!(!vault.history_backup(None)?.validators.is_empty(), "the watermarks must outlive a reset");
        self.end_step("a reset")
    }

    /// Signs what comes next with every key, and refuses what contradicts it.
    fn signs_on(&mut self, when: &str) -> anyhow::Result<()> {
        let all: Vec<usize> = (0..self.rig.keys.len()).collect();
        self.signs_on_with(when, &all)
    }

    fn signs_on_with(&mut self, when: &str, keys: &[usize]) -> anyhow::Result<()> {
        self.target += 1;
        for &key in keys {
            self.rig.votes(when, key, self.target - 1, self.target)?;
            let refused = self.rig.refuses_vote(when, key, (self.target - 1, self.target, 0xee))?;
            ensure!(refused.starts_with("double vote"), "saw: {refused}");
        }
        self.rig.reveals(when)
    }

    /// The clock goes on by one lease, so that a clean restart signs at once.
    fn later(&mut self) {
        self.rig.clock_ahead_s += LEASE_S;
    }

    /// Tries every disk of before, keeps the present one, and goes on with it.
    fn end_step(&mut self, step: &'static str) -> anyhow::Result<()> {
        let status = self.rig.status()?;
        let (generation, counter) = (status.generation, status.lease.map(|lease| lease.counter));
        self.rig.stop()?;
        let disk = self.rig.copy_disk(&format!("{}-{}", self.older.len(), step.replace(' ', "-")))?;
        for older in &self.older {
            older.disk.put(&self.rig.state())?;
            // Whoever brings an old disk brings the approvals of the present boot state too.
            disk.put_only(&self.rig.state(), "firmware-approvals")?;
            self.rig.start().with_context(|| format!("after {step}, on the disk of {}", older.step))?;
            refuses(&self.rig, older, generation, counter, step)?;
            self.rig.kill();
            self.tried += 1;
        }
        disk.put(&self.rig.state())?;
        self.older.push(Older { disk, step, generation, counter });
        self.later();
        self.rig.start()?;
        if counter.is_some() && generation.is_some() && !status.validators.is_empty() {
            self.rig.wait_until_open(OPEN_MAX).with_context(|| format!("after {step}, on its own disk again"))?;
        }
        Ok(())
    }
}

/// What an older disk does on the TPM that has gone on since.
fn refuses(rig: &Rig, older: &Older, generation: Option<u64>, counter: Option<u64>, step: &str) -> anyhow::Result<()> {
    let when = format!("after {step}, on the disk of {}", older.step);
    let Some(sealed) = older.generation else {
        return rig.expect_closed(&when, ClosedId::NotOwned, "").map(drop);
    };
    if generation != Some(sealed) {
        rig.expect_closed(&when, ClosedId::HistoryRolledBack, "")?;
        let (mut vault, first) = (rig.client()?, Epoch(rig.epoch().0 + 2));
        expect_refused(&when, rig.operator.vouch_disk(&mut vault), "")?;
        expect_refused(&when, rig.operator.accept_floor(&mut vault, first), "")?;
        expect_refused(&when, rig.operator.new_counter(&mut vault, first), "")?;
        return rig.expect_closed(&when, ClosedId::HistoryRolledBack, "").map(drop);
    }
    match (older.counter, counter) {
        (Some(then), Some(now)) if now == then + 1 => rig.expect_closed(&when, ClosedId::LeaseUnclean, "")?,
        (Some(then), Some(now)) if now > then + 1 => {
            rig.expect_closed(&when, ClosedId::HistoryRolledBack, "order AcceptFloor")?
        }
        (None, None) => rig.expect_closed(&when, ClosedId::NoShares, "")?,
        other => anyhow::bail!("{when}: the lease went from {other:?}"),
    };
    Ok(())
}
