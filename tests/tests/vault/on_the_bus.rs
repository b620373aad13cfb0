//! What crosses the bus between a vault and its TPM while it takes shares and while it opens them: no secret, in no form.
//!
//! The halves of the wrapping key are not known to a test; that what is sealed and unsealed does not cross the bus is
//! shown for secrets that are, in the suite `tpm`.

use std::fs;
use std::path::Path;

use anyhow::ensure;
use holdfast_evidence::HistoryClaim;
use holdfast_tests::bus::command::{self, UNSEAL};
use holdfast_tests::scan::Needles;

use crate::asking::Network;
use crate::rig::{IDENTITY, Rig};

pub(crate) fn sees_no_secret(dir: &Path) -> anyhow::Result<()> {
    let mut rig = Rig::new(dir, Network::slow(), 8)?;
    rig.start()?;
    rig.own()?;
    rig.bus()?.record();
    rig.import(HistoryClaim::NeverSigned)?;
    let importing = rig.bus()?.recorded();
    look(&rig, "while it took shares", &importing)?;
    rig.stop()?;

    rig.bus()?.record();
    rig.start()?;
    rig.votes("after the recorded start", 0, 48, 50)?;
    let starting = rig.bus()?.recorded();
    let unseals = messages(&starting).filter(|message| command::code(message) == UNSEAL).count();
    ensure!(unseals == 2, "a start unseals two halves, {unseals} were on the bus");
    look(&rig, "while it opened them", &starting)
}

/// Looks for the shares and the identity in every form, and shows that the look finds what is there.
fn look(rig: &Rig, when: &str, recorded: &[u8]) -> anyhow::Result<()> {
    let secrets: Vec<[u8; 32]> = rig.keys.iter().map(|key| key.secret).chain([IDENTITY]).collect();
    let needles = Needles::of(&secrets);
    let file = rig.dir().join("bus");
    fs::write(&file, recorded)?;
    let report = needles.scan_file(&file)?;
    ensure!(report.bytes_read > 1_000, "hardly anything crossed the bus {when}: {} bytes", report.bytes_read);
    ensure!(report.findings.is_empty(), "secrets crossed the bus {when}: {:?}", report.findings);
    for secret in secrets {
        fs::write(&file, [&recorded[..500], &secret, &recorded[500..]].concat())?;
        ensure!(!needles.scan_file(&file)?.findings.is_empty(), "a secret that is there was not found");
    }
    fs::remove_file(&file)?;
    Ok(())
}

/// The commands and answers in what was recorded, one after the other.
fn messages(mut recorded: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let len = u32::from_be_bytes(recorded.get(2..6)?.try_into().ok()?);
        let (message, rest) = recorded.split_at_checked(usize::try_from(len).ok()?)?;
        recorded = rest;
        Some(message)
    })
}
