//! A bus that breaks off: the confined vault comes back to its TPM by itself, and goes on where it was.

use std::path::Path;

use anyhow::{Context as _, ensure};
use holdfast_vault_client::{ClientError, Rejection};

use crate::asking::Network;
use crate::rig::Rig;

pub(crate) fn is_joined_again(dir: &Path) -> anyhow::Result<()> {
    let mut rig = Rig::signing(dir, Network::slow(), 8)?;
    let counter = rig.counter()?;
    for cut in 1..=3 {
        rig.bus()?.meddle(Box::new(|_, _| None));
        let lost = rig.client()?.challenge();
        ensure!(
            matches!(lost, Err(ClientError::Rejected { rejection: Rejection::Tpm(_), .. })),
            "expected the vault to say that its TPM is gone, saw {lost:?}"
        );
        rig.bus()?.pass_on();
        rig.client()?.challenge().with_context(|| format!("the TPM is there again after cut {cut}"))?;
    }
    // It seals anew, and has the TPM count.
    rig.operator.retire(&mut rig.client()?, vec![rig.keys[1].public]).context("no order after the cuts")?;
    rig.expect_open("after the cuts")?;
    ensure!(rig.counter()? == counter, "the lease began anew: from {counter} to {}", rig.counter()?);
    rig.votes("after the cuts", 0, 48, 50)?;
    rig.check()
}
