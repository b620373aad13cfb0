//! What the TPM's register 11 will hold: systemd-stub extends it by the sections of the UKI, PID 1 by the phases of the boot
//! (systemd's UAPI.4 and UAPI.5, `systemd-stub(7)`, `systemd-pcrphase.service(8)`). SHA-256 bank.

use anyhow::Context;
use object::read::pe::PeFile64;
use object::{Object as _, ObjectSection as _};
use sha2::{Digest as _, Sha256};

/// The phases up to which shares open.
pub(crate) const PHASES: &[&str] = &["enter-initrd", "leave-initrd", "sysinit"];

/// The sections that are measured, in the order in which that is done.
const SECTIONS: &[&str] = &[
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey", ".profile",
    ".dtbauto", ".hwids", ".efifw",
];

/// Register 11 after a boot of this UKI and these phases.
pub(crate) fn register_11(uki: &[u8], phases: &[&str]) -> anyhow::Result<[u8; 32]> {
    let file = PeFile64::parse(uki).context("the UKI is no PE file")?;
    let mut register = [0; 32];
    for name in SECTIONS {
        let Some(section) = file.section_by_name(name) else { continue };
        let data = section.data().with_context(|| format!("cannot read section {name}"))?;
        // What lies in the file is padded; what is loaded is as long as the section says.
        let size = usize::try_from(section.size()).context("a section is too long")?.min(data.len());
        register = extended(register, format!("{name}\0").as_bytes());
        register = extended(register, &data[..size]);
    }
    Ok(phases.iter().fold(register, |register, phase| extended(register, phase.as_bytes())))
}

/// `TPM2_PCR_Extend` with the digest of some bytes.
fn extended(register: [u8; 32], bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(register).chain_update(Sha256::digest(bytes)).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_extended_as_the_tpm_does_it() {
        // `register = sha256(register || sha256(phase))` from zero, calculated by another program.
        let expected = "4a73d241786e2f9180042d04408fb12589af0477533df6c1d832d8b7f4724504";
        let register = PHASES.iter().fold([0; 32], |register, phase| extended(register, phase.as_bytes()));
        assert_eq!(hex::encode(register), expected);
    }

    #[test]
    fn what_is_no_uki_is_said_to_be_none() {
        let error = register_11(b"MZ is not enough", PHASES).unwrap_err();
        assert_eq!(error.to_string(), "the UKI is no PE file");
    }
}
