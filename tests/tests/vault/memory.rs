//! What the memory of a running vault holds outside of the room for its keys: no share and no identity, in no form, after
//! all that it does with them.
//!
//! The halves and the wrapping key are not known to a test; they go the same ways as what is looked for here.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, ensure};
use holdfast_evidence::HistoryClaim;
use holdfast_tests::scan::{Form, Needles, Part};

use crate::asking::Network;
use crate::rig::{IDENTITY, Rig};

pub(crate) fn holds_secrets_in_their_room_only(dir: &Path) -> anyhow::Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "only root can look into the vault's memory: run this as root");
    let mut rig = Rig::new(dir, Network::slow(), 8)?;
    rig.start()?;
    rig.own()?;
    rig.import(HistoryClaim::NeverSigned)?;
    look(&rig, "after an import")?;
    rig.wait_until_open(crate::rig::OPEN_MAX)?;
    rig.votes("after the import", 0, 48, 50)?;
    look(&rig, "after signatures")?;
    let given = rig.client()?.identity_key()?;
    ensure!(given.0 == IDENTITY, "the vault gave another identity than it took");
    look(&rig, "after the daemon fetched its identity")?;

    rig.restart()?;
    rig.wait_until_open(crate::rig::OPEN_MAX)?;
    look(&rig, "after a start")?;
    let retired = rig.keys.remove(0);
    let mut vault = rig.client()?;
    rig.operator.retire(&mut vault, vec![retired.public]).context("the share was not retired")?;
    drop(vault);
    look(&rig, "after one share was retired")?;
    let report = Needles::of(&[retired.secret]).scan_process(rig.vault_pid()?)?;
    ensure!(report.findings.is_empty(), "a retired share is still there: {:?}", report.findings);
    Ok(())
}

/// Looks through everything that root can read. Where the kernel has no secret memory, each key is found once, and all of
/// them in one place.
fn look(rig: &Rig, when: &str) -> anyhow::Result<()> {
    let secrets: Vec<[u8; 32]> = rig.keys.iter().map(|key| key.secret).chain([IDENTITY]).collect();
    let report = Needles::of(&secrets).scan_process(rig.vault_pid()?)?;
    ensure!(report.bytes_read > 1_000_000, "hardly anything could be read {when}: {} bytes", report.bytes_read);
    if rig.status()?.memory == "memfd_secret" {
        let hidden = report.unread.iter().any(|unread| unread.what.contains("secretmem"));
        ensure!(hidden, "the room for the keys is not hidden {when}: {:?}", report.unread);
        ensure!(report.findings.is_empty(), "outside of their room {when}: {:?}", report.findings);
        return Ok(());
    }
    let known: Vec<_> = report.findings.iter().collect();
    let as_kept = |found: &&holdfast_tests::scan::Finding| found.form == Form::Raw && found.part == Part::Whole;
    ensure!(known.iter().all(as_kept) && known.len() == secrets.len(), "not just once each {when}: {known:?}");
    let found: BTreeSet<usize> = known.iter().map(|found| found.secret).collect();
    ensure!(found.len() == secrets.len(), "not each of them {when}: {known:?}");
    Ok(())
}
