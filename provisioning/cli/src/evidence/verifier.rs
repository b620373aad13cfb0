//! The judge: `holdfast_evidence`'s verifier, with the TPM makers that this machine believes.

use std::path::{Path, PathBuf};

use holdfast_api::EvidenceKind as Asked;
use holdfast_evidence::areas::name as name_of_key;
use holdfast_evidence::verifier::{Expected, ImageVerdict, TpmVerdict, Verified, verify};
use holdfast_evidence::{Custody, Evidence, EvidenceKind, Unproven, VendorRoots};
use holdfast_provisioning::context::SeenAtPairing;
use holdfast_types::{Millis, Root};
use rand_core::OsRng;

use super::{Judge, Judged, Question, Shown, Tpm};
use crate::exit::Failure;
use crate::files;

/// Verifies evidence.
pub(crate) struct Verifier {
    vendors: PathBuf,
}

impl Verifier {
    /// Believes the makers whose certificates (DER) lie in this folder: roots as `NAME.der`, what lies between them and a TPM
    /// as `NAME.intermediate.der`. None when there is no such folder.
    pub(crate) const fn at(vendors: PathBuf) -> Self {
        Self { vendors }
    }
}

impl Judge for Verifier {
    fn judge(&self, bytes: &[u8], question: &Question, now: Millis) -> Result<Judged, Failure> {
        let because = |err: Box<dyn std::error::Error + Send + Sync>| Failure::Denied {
            what: "the evidence of the box proves nothing, so nothing is sent".to_owned(),
            err,
        };
        let evidence = Evidence::from_bytes(bytes).map_err(|err| because(err.into()))?;
        let vendors = vendors(&self.vendors)?;
        let expected = Expected {
            nonce: question.nonce,
            kind: match question.kind {
                Asked::Boot => EvidenceKind::Boot,
                Asked::Custody => EvidenceKind::Custody,
                Asked::ImportKey => EvidenceKind::ImportKey,
            },
            box_name: Some(question.known.box_name),
            vendors: &vendors,
            releases: None,
            now,
        };
        let verified = verify(&evidence, &expected).map_err(|err| because(err.into()))?;
        let endorsement_key = hex(&name_of_key(&evidence.endorsement.public));
        if verified.tpm != TpmVerdict::Unproven(Unproven::NotActivated) {
            return Ok(Judged::Shown(Box::new(shown(&verified, endorsement_key))));
        }
        let challenge = verified.challenge(&mut OsRng).map_err(|err| because(err.into()))?;
        let credential = challenge.credential.to_bytes();
        let then = move |inside: &[u8; 32]| {
            let verified = verified.activated(&challenge, inside).map_err(|err| because(err.into()))?;
            Ok(shown(&verified, endorsement_key))
        };
        Ok(Judged::Challenge { credential, then: Box::new(then) })
    }
}

fn shown(verified: &Verified, endorsement_key: String) -> Shown {
    let (tpm, tpm_told) = match &verified.tpm {
        TpmVerdict::Genuine(model) => (Tpm::Genuine, format!("{model}, endorsement certificate ok")),
        TpmVerdict::Unproven(why) => (Tpm::Unproven, format!("not proved to be one: {why}")),
        TpmVerdict::Emulated(why) => (Tpm::Emulated, format!("emulated: {why}")),
    };
    let image = match &verified.image {
        ImageVerdict::Released { board, level } => format!("release of level {level} for {board}"),
        ImageVerdict::Unknown => "none of the releases that are known here".to_owned(),
        ImageVerdict::Unchecked => format!("{} as it says, held against no release", verified.version),
    };
    let tier = verified.tier.to_string();
    Shown {
        box_name: verified.box_name,
        box_key: verified.box_key,
        tier: tier.clone(),
        tpm,
        tpm_told,
        image,
        pcr_7: verified.register(7).map(Root),
        import_key: verified.import_key,
        custody: verified.custody.as_ref().map(held).unwrap_or_default(),
        holds: verified.custody.clone(),
        seen: SeenAtPairing { endorsement_key, attestation_key: hex(&verified.attestation_key), tier },
    }
}

/// Which shares it holds, a line each.
fn held(custody: &Custody) -> Vec<String> {
    let Some(held) = &custody.shares else { return vec!["no shares".to_owned()] };
    let validators = held.validators.iter().map(|(validator, origin)| format!("{validator} {origin:?}").to_lowercase());
    let lock = format!("share {} of lock {}", held.share_index, held.lock_hash);
    [lock].into_iter().chain(validators).collect()
}

/// The makers of a folder.
fn vendors(folder: &Path) -> Result<VendorRoots, Failure> {
    let (mut roots, mut intermediates) = (Vec::new(), Vec::new());
    if folder.exists() {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(Failure::read(folder))?.take(CERTIFICATES_MAX) {
            paths.push(entry.map_err(Failure::read(folder))?.path());
        }
        paths.sort_unstable();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "der")) {
            let between = path.to_string_lossy().ends_with(".intermediate.der");
            let certificate = files::read(path, CERTIFICATE_BYTES_MAX)?.to_vec();
            if between { intermediates.push(certificate) } else { roots.push(certificate) }
        }
    }
    let what = || format!("the TPM makers in {} cannot be used", folder.display());
    VendorRoots::new(roots, intermediates).map_err(|err| Failure::because(what(), err))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// There are some twenty makers with a few certificates each.
const CERTIFICATES_MAX: usize = 1_000;
const CERTIFICATE_BYTES_MAX: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    use holdfast_types::BoxName;

    use super::*;
    use crate::evidence::Known;
    use crate::exit::Exit;

    fn judge(verifier: &Verifier, bytes: &[u8]) -> Failure {
        let known = Known { box_name: BoxName([1; 32]), box_key: None, seen: None };
        let judged = verifier.judge(bytes, &Question::new(Asked::Boot, known), Millis(0));
        judged.err().expect("no such bytes prove anything")
    }

    #[test]
    fn bytes_that_are_no_evidence_are_refused() {
        let verifier = Verifier::at("/nowhere".into());
        for bytes in [&[][..], &[0; 64], &[0xff; 4_096], &vec![0; 1 << 20]] {
            let failure = judge(&verifier, bytes);
            assert_eq!(failure.exit(), Exit::Refused);
            assert!(failure.told().starts_with("the evidence of the box proves nothing, so nothing is sent: "));
        }
    }

    #[test]
    fn a_maker_that_is_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(vendors(dir.path()).is_ok());
        std::fs::write(dir.path().join("README"), "not looked at").unwrap();
        assert!(vendors(dir.path()).is_ok());
        std::fs::write(dir.path().join("maker.der"), "no certificate").unwrap();
        let told = vendors(dir.path()).unwrap_err().told();
        assert!(told.contains("certificate 0 of the TPM makers"), "{told}");
    }
}
