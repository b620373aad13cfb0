//! What a vault proves about itself, over its socket and with a TPM that is a process of its own.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use holdfast_evidence::verifier::{Expected, ImageVerdict, KnownImage, KnownReleases, TpmVerdict, verify};
use holdfast_evidence::{Approval, Emulated, Evidence, EvidenceKind, Origin, Tier, VendorRoots};
use holdfast_test_operator::{Release, ReleaseFiles};
use holdfast_vault_client::{ClientError, Rejection};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::asking::Network;
use crate::rig::{BOARD, Rig};

const KINDS: [EvidenceKind; 3] = [EvidenceKind::Boot, EvidenceKind::ImportKey, EvidenceKind::Custody];

/// Every kind verifies as it travels, for its own nonce, kind and box only.
pub(crate) fn proves_what_the_vault_says(dir: &Path) -> anyhow::Result<()> {
    let rig = Rig::signing(&dir.join("one"), Network::slow(), 8)?;
    let mut other = Rig::new(&dir.join("other"), Network::slow(), 8)?;
    other.start()?;
    let mut rng = StdRng::seed_from_u64(1);
    let vendors = VendorRoots::default();
    let releases = released();
    let (status, other_name) = (rig.status()?, other.status()?.box_name);
    for kind in KINDS {
        let nonce = rng.r#gen();
        let evidence = Evidence::from_bytes(&rig.client()?.evidence(kind, nonce)?.to_bytes())?;
        let right = Expected {
            nonce,
            kind,
            box_name: Some(status.box_name),
            vendors: &vendors,
            releases: Some(&releases),
            now: holdfast_tests::now(),
        };
        let proved = verify(&evidence, &right).with_context(|| format!("{kind:?} does not verify"))?;
        ensure!(proved.authority == Some(rig.operator.public()), "{kind:?} names another authority");
        ensure!(proved.counter == Some(rig.counter()?), "the counter is not that of the status");
        ensure!(proved.tpm == TpmVerdict::Emulated(Emulated::BoxSays) && proved.tier == Tier::C, "{:?}", proved.tpm);
        ensure!(matches!(proved.image, ImageVerdict::Released { level: 1, .. }), "{:?}", proved.image);
        ensure!(proved.import_key.is_some() == (kind == EvidenceKind::ImportKey), "an import key with {kind:?}");
        if let Some(custody) = proved.custody {
            let held = custody.shares.context("the vault says that it holds nothing")?;
            ensure!(Some(held.lock_hash) == status.lock_hash, "of another lock");
            let validators: Vec<_> = held.validators.iter().map(|(validator, _)| *validator).collect();
            ensure!(validators == status.validators, "of other validators");
            ensure!(held.validators.iter().all(|(_, origin)| *origin == Origin::Imported), "they were imported");
        }
        let wrong = [
            Expected { nonce: rng.r#gen(), ..right },
            Expected { kind: if kind == KINDS[0] { KINDS[1] } else { KINDS[0] }, ..right },
            Expected { box_name: Some(other_name), ..right },
        ];
        for expected in wrong {
            ensure!(verify(&evidence, &expected).is_err(), "{kind:?} was taken for {expected:?}");
        }
    }
    a_credential_opens_here_only(&rig, &other)
}

fn a_credential_opens_here_only(rig: &Rig, other: &Rig) -> anyhow::Result<()> {
    let (vendors, nonce, kind) = (VendorRoots::default(), [9; 32], EvidenceKind::Boot);
    let evidence = rig.client()?.evidence(kind, nonce)?;
    let now = holdfast_tests::now();
    let expected = Expected { nonce, kind, box_name: None, vendors: &vendors, releases: None, now };
    let proved = verify(&evidence, &expected)?;
    let challenge = proved.challenge(&mut StdRng::seed_from_u64(1))?;
    match other.client()?.activate_credential(challenge.credential.clone()) {
        Err(ClientError::Rejected { rejection: Rejection::Credential, .. }) => {}
        answer => bail!("another box opened it, or said: {answer:?}"),
    }
    let answer = rig.client()?.activate_credential(challenge.credential.clone())?;
    ensure!(proved.clone().activated(&challenge, &[0; 32]).is_err(), "any answer is taken");
    proved.activated(&challenge, &answer)?;
    Ok(())
}

/// The release that the boxes of this suite run, whose image measures nothing.
fn released() -> KnownReleases {
    let release = Release::from_seed(ReleaseFiles::SEED);
    let image = |approval: Approval| KnownImage { pcr_11: [0; 32], approval };
    let images = release.approve(BOARD, 1..=1, [0; 32]).into_iter().map(image).collect();
    KnownReleases { key: release.public(), images }
}
