//! A node's disk beside another TPM: a thief with an image of the disk, or an operator who moves it to a new machine.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use holdfast_eth::{AttestationData, Checkpoint};
use holdfast_tests::kit::{NodeBox, Place, history};
use holdfast_types::{Epoch, Mode, Slot};
use holdfast_vault_client::{AttestationToSign, ClientError, ClosedId, Rejection};

use super::bench::{Bench, READY_MAX, Running};

const OPERATOR: usize = 3;

/// The stable name of the reason, as the daemon and its endpoints have it.
const OTHER_TPM: &str = "other-machine";

pub(crate) fn signs_nothing(bench: &mut Bench) -> anyhow::Result<()> {
    let dir = bench.new_dir("copied-disk")?;
    let running = bench.cluster()?;
    running.cluster.boxes[OPERATOR].cut_power();
    copy_disk(running.cluster.boxes[OPERATOR].dir(), &dir)?;
    let http_port = Place::here().free_port(0)?;
    let mut copy = NodeBox::new(OPERATOR as u8, Place::here(), &dir, http_port)?;
    let mut configuration = copy.configuration()?;
    configuration.metrics.listen = format!("127.0.0.1:{http_port}");
    configuration.api.listen = format!("127.0.0.1:{}", Place::here().free_port(0)?);
    copy.write_configuration(&configuration)?;
    copy.start_vault()?;
    let before = history(&copy.vault_dir())?;
    ensure!(!before.is_empty(), "expected the copied disk to hold records, saw none: it would prove nothing");
    expect_refusals(running, &copy)?;

    copy.start_daemon()?;
    let status = copy.wait_for("waiting for its vault", Duration::from_secs(20), |status| {
        status.mode == Mode::Maintenance && status.reason.contains(OTHER_TPM)
    })?;
    println!("  the daemon says: {}", status.reason);
    let (code, body) = copy.get("/readyz")?;
    ensure!(code == 503 && body.contains(OTHER_TPM), "expected /readyz 503 with the TPM named, saw {code}: {body}");
    expect_refusals(running, &copy)?;
    copy.stop()?;
    let after = history(&copy.vault_dir())?;
    ensure!(after == before, "expected no new record on the copied disk, saw {after:?} after {before:?}");

    // The disk was only copied: the box itself goes on.
    running.cluster.boxes[OPERATOR].start_vouched()?;
    running.cluster.boxes[OPERATOR].wait_for("ready", READY_MAX, |status| status.mode == Mode::Ready)?;
    Ok(())
}

/// The vault says why it is closed, gives no key away, and signs nothing for any validator.
fn expect_refusals(running: &Running, copy: &NodeBox) -> anyhow::Result<()> {
    let mut client = copy.vault()?;
    let status = client.status()?;
    let id = status.closed.as_ref().map(|closed| closed.id);
    let named = id == Some(ClosedId::OtherMachine);
    ensure!(named, "expected a vault that is closed and names the TPM, saw {:?}", status.closed);
    let slot = Slot(running.now());
    let epoch = Epoch(slot.0 / running.cluster.spec.slots_per_epoch);
    let checkpoint = |epoch| Checkpoint { epoch, root: Default::default() };
    let data = AttestationData {
        slot,
        source: checkpoint(Epoch(epoch.0.saturating_sub(1))),
        target: checkpoint(epoch),
        ..AttestationData::default()
    };
    let validators = running.cluster.keys.lock.validators();
    let batch = validators.map(|validator| AttestationToSign { validator: validator.public, data }).collect();
    match client.sign_attestations(batch) {
        Err(ClientError::Rejected { rejection: Rejection::Closed(closed), .. })
            if closed.id == ClosedId::OtherMachine => {}
        other => bail!("expected the whole batch to be refused with the TPM named, saw {other:?}"),
    }
    match client.identity_key() {
        Err(ClientError::Rejected { rejection: Rejection::Closed(closed), .. })
            if closed.id == ClosedId::OtherMachine =>
        {
            Ok(())
        }
        other => bail!("expected the identity key to be refused with the TPM named, saw {other:?}"),
    }
}

/// Copies what lies on the disk: everything but the TPM's own state, which is a chip in a real box, and sockets.
fn copy_disk(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() && entry.file_name() != "tpm" {
            fs::create_dir_all(&target)?;
            copy_disk(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
