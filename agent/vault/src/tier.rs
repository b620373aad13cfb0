//! What the seal means on this machine.
//!
//! The tier is told to the operator at pairing and pinned with the keys. It is what the machine says of itself: a lie here
//! needs other software, which the seal of a tier A box does not open for.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use holdfast_hal::tpm::{PcrIndex, Tpm, TpmError, TpmKind};
use holdfast_vault_client::Tier;

/// The machine as far as it bears on the seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// What the seal means here.
    pub tier: Tier,
    /// Why it is no better one, in words.
    pub reason: String,
}

impl Machine {
    /// Looks below `root` and at the TPM.
    ///
    /// # Errors
    /// When the TPM does not say what was measured.
    pub fn look(root: &Path, tpm: &mut dyn Tpm) -> Result<Self, TpmError> {
        let is = |tier, reason: &str| Ok(Self { tier, reason: reason.into() });
        let secure_boot = secure_boot(root);
        let measured = !tpm.read_pcrs(&[PcrIndex(7), PcrIndex(11)])?.contains(&[0; 32]);
        match (tpm.kind(), secure_boot, measured) {
            (TpmKind::Emulated, true, true) => {
                is(Tier::C, "the TPM is emulated; Secure Boot is on and the boot is measured")
            }
            (TpmKind::Emulated, ..) => is(Tier::C, "the TPM is emulated"),
            (_, false, _) => {
                is(Tier::B, "Secure Boot is off or not there: other software can boot on this machine and use its TPM")
            }
            (_, _, false) => {
                is(Tier::B, "the boot is not measured into the TPM: registers 7 and 11 do not both have a value")
            }
            (_, true, true) => is(Tier::A, "TPM, Secure Boot and measured boot"),
        }
    }
}

/// The firmware's variable: four bytes of attributes, then 1 when Secure Boot is enforced (UEFI 2.10, 3.3).
fn secure_boot(root: &Path) -> bool {
    let mut variable = Vec::new();
    let read = File::open(root.join(SECURE_BOOT)).and_then(|file| file.take(6).read_to_end(&mut variable));
    read.is_ok() && variable.len() == 5 && variable[4] == 1
}

const SECURE_BOOT: &str = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

#[cfg(test)]
mod tests {
    use holdfast_hal_sim::SimTpm;

    use super::*;

    fn look(variable: Option<&[u8]>, measured: bool, tpm: SimTpm) -> Tier {
        let root = tempfile::tempdir().unwrap();
        if let Some(variable) = variable {
            let path = root.path().join(SECURE_BOOT);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, variable).unwrap();
        }
        if measured {
            tpm.set_pcr(PcrIndex(7), [7; 32]);
            tpm.set_pcr(PcrIndex(11), [11; 32]);
        }
        let machine = Machine::look(root.path(), &mut tpm.clone()).unwrap();
        assert!(!machine.reason.is_empty());
        machine.tier
    }

    #[test]
    fn each_tier_has_its_machine() {
        let chip = || SimTpm::new(1).as_device();
        assert_eq!(look(Some(&[6, 0, 0, 0, 1]), true, chip()), Tier::A);
        assert_eq!(look(Some(&[6, 0, 0, 0, 1]), false, chip()), Tier::B);
        for off in [None, Some(&[6, 0, 0, 0, 0][..]), Some(&[1]), Some(&[]), Some(&[6, 0, 0, 0, 1, 1])] {
            assert_eq!(look(off, true, chip()), Tier::B, "{off:?}");
        }
    }

    #[test]
    fn an_emulated_tpm_is_always_tier_c() {
        assert_eq!(look(Some(&[6, 0, 0, 0, 1]), true, SimTpm::new(1)), Tier::C);
    }
}
