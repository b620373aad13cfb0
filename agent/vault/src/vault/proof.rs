//! What the TPM signs about the box: evidence, and the certificate of the daemon's TLS key.
//!
//! Neither needs the shares, so both work while the vault is closed. What is signed is always of the vault's own making.

use holdfast_evidence::{
    CertifiedCounter, Credential, Custody, Endorsement, Evidence, EvidenceBody, EvidenceKind, HeldShares, ImportSecret,
    Origin, QUOTED_REGISTERS,
};
use holdfast_hal::tpm::{EndorsementKey, PcrIndex, Quote, Statement, TpmError};
use holdfast_types::P256Public;
use holdfast_vault_client::Rejection;
use rand_core::OsRng;

use super::standing::Standing;
use super::{Vault, in_full};
use crate::certificate::TlsCertificate;
use crate::sealed::counter::LEASE_COUNTER;

impl Vault {
    pub(super) fn evidence(&mut self, kind: EvidenceKind, nonce: &[u8; 32]) -> Result<Evidence, Rejection> {
        let import_key = (kind == EvidenceKind::ImportKey).then(|| Box::new(ImportSecret::random(&mut OsRng)));
        let custody = if kind == EvidenceKind::Custody { Some(self.custody()?) } else { None };
        let body = EvidenceBody {
            box_name: self.box_name,
            version: env!("CARGO_PKG_VERSION").into(),
            tier: self.machine.tier,
            authority: self.standing.authority(),
            box_key: self.tpm.box_key().map_err(failed)?,
            import_key: import_key.as_ref().map(|key| key.public()),
            custody,
        };
        let registers = QUOTED_REGISTERS.map(PcrIndex);
        let qualifying = body.qualifying(kind, nonce);
        let (values, quote) = self.quoted(&registers, &qualifying).map_err(failed)?;
        let counter = match self.tpm.certify_counter(LEASE_COUNTER, &qualifying) {
            Ok(Statement { message, signature }) => Some(CertifiedCounter { statement: message, signature }),
            Err(TpmError::CounterMissing(_) | TpmError::NotACounter(_)) => None,
            Err(error) => return Err(failed(error)),
        };
        let EndorsementKey { public, certificate } = self.tpm.endorsement_key().map_err(failed)?;
        if import_key.is_some() {
            self.import_key = import_key;
        }
        Ok(Evidence {
            body,
            registers: QUOTED_REGISTERS.to_vec(),
            values,
            quote: quote.message,
            signature: quote.signature,
            attestation_key: quote.key,
            counter,
            endorsement: Endorsement { public, certificate },
        })
    }

    /// The registers and a quote of them. They are extended while the boot goes on: then the values are not those of the
    /// quote, and both are taken anew.
    fn quoted(&mut self, registers: &[PcrIndex], qualifying: &[u8; 32]) -> Result<(Vec<[u8; 32]>, Quote), TpmError> {
        let mut before = self.tpm.read_pcrs(registers)?;
        for _ in 0..QUOTE_TRIES {
            let quote = self.tpm.quote(registers, qualifying)?;
            let after = self.tpm.read_pcrs(registers)?;
            if after == before {
                return Ok((before, quote));
            }
            before = after;
        }
        Err(TpmError::Refused { operation: "quote", err: "the registers change faster than they are read".into() })
    }

    /// What it holds, as far as that is known: not while something is sealed that does not open.
    fn custody(&self) -> Result<Custody, Rejection> {
        let pins = match &self.standing {
            Standing::Unowned { .. } => None,
            standing => standing.owned().ok_or_else(|| self.rejected())?.keys.pins(),
        };
        let shares = pins.map(|pins| HeldShares {
            lock_hash: pins.lock_hash,
            share_index: pins.share_index,
            validators: pins.validators.iter().map(|validator| (*validator, Origin::Imported)).collect(),
        });
        let (orders_logged, orders_head) = self.log_head();
        Ok(Custody { shares, orders_logged, orders_head })
    }

    /// The TPM gives out only what was encrypted to its endorsement key for the Name of this attestation key: nothing that
    /// the vault holds can be had by it.
    pub(super) fn activate(&mut self, credential: &Credential) -> Result<[u8; 32], Rejection> {
        let opened = self.tpm.activate_credential(&credential.id_object, &credential.secret);
        let opened = opened.map_err(|error| match error {
            TpmError::NotOurs => Rejection::Credential,
            error => failed(error),
        })?;
        opened[..].try_into().map_err(|_| Rejection::Credential)
    }

    pub(super) fn certify(&mut self, key: &P256Public) -> Result<Vec<u8>, Rejection> {
        let now = self.now();
        let box_key = self.tpm.box_key().map_err(failed)?;
        let tpm = &mut self.tpm;
        let certificate = TlsCertificate { box_name: &self.box_name, box_key: &box_key, tls_key: key, now };
        certificate
            .signed(|digest| tpm.sign_with_box_key(digest))
            .map_err(|error| Rejection::Malformed(in_full(&error)))
    }
}

fn failed(error: TpmError) -> Rejection {
    Rejection::Tpm(in_full(&error))
}

/// As often as a policy is tried when registers change under it.
const QUOTE_TRIES: usize = 10;
