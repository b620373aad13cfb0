//! What the TPM signs about the box: evidence, and the certificate of the daemon's TLS key.
//!
//! Neither needs the shares, so both work while the vault is closed. What is signed is always of the vault's own making.

use holdfast_evidence::ImportSecret;
use holdfast_hal::tpm::PcrIndex;
use holdfast_types::P256Public;
use holdfast_vault_client::{Evidence, EvidenceBody, EvidenceKind, Rejection};
use rand_core::OsRng;

use super::{Vault, in_full};
use crate::certificate::TlsCertificate;

impl Vault {
    pub(super) fn evidence(&mut self, kind: EvidenceKind, nonce: &[u8; 32]) -> Result<Evidence, Rejection> {
        let import_key = (kind == EvidenceKind::ImportKey).then(|| Box::new(ImportSecret::random(&mut OsRng)));
        let body = EvidenceBody {
            box_name: self.box_name,
            version: env!("CARGO_PKG_VERSION").into(),
            tier: self.machine.tier,
            authority: self.standing.authority(),
            import_key: import_key.as_ref().map(|key| key.public()),
        };
        let registers = QUOTED.map(PcrIndex);
        let refused = |error: holdfast_hal::tpm::TpmError| Rejection::Tpm(in_full(&error));
        let values = self.tpm.read_pcrs(&registers).map_err(refused)?;
        let quote = self.tpm.quote(&registers, &body.qualifying(kind, nonce)).map_err(refused)?;
        if import_key.is_some() {
            self.import_key = import_key;
        }
        Ok(Evidence {
            body,
            registers: QUOTED.to_vec(),
            values,
            quote: quote.message,
            signature: quote.signature,
            attestation_key: quote.key,
        })
    }

    pub(super) fn certify(&mut self, key: &P256Public) -> Result<Vec<u8>, Rejection> {
        let now = self.now();
        let box_key = self.tpm.box_key().map_err(|error| Rejection::Tpm(in_full(&error)))?;
        let tpm = &mut self.tpm;
        let certificate = TlsCertificate { box_name: &self.box_name, box_key: &box_key, tls_key: key, now };
        certificate
            .signed(|digest| tpm.sign_with_box_key(digest))
            .map_err(|error| Rejection::Malformed(in_full(&error)))
    }
}

/// The firmware and its settings, and the image with what must stay zero beside it.
const QUOTED: [u8; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13];
