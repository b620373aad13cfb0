//! What a box says about itself, as its TPM signed it. How much of that is proved, [`verifier`](crate::verifier) says.

use std::fmt;

use holdfast_types::{BoxName, ImportKey, LockHash, P256Public, P256Signature, ShareIndex, ValidatorPublic};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What evidence is about. The order of the kinds is their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EvidenceKind {
    /// The boot state: [`QUOTED_REGISTERS`].
    Boot,
    /// A one-time key for an import, made for this request. The key that was asked for last counts.
    ImportKey,
    /// The shares that the vault holds.
    Custody,
}

/// What the TPM signed about this box.
///
/// The quote's qualifying data, and that of the counter's certificate, is SHA-256 over `"holdfast evidence 1"`, the kind
/// (one byte, in the order of [`EvidenceKind`]), the body as it travels and the nonce: never bytes of the caller's choice.
/// That is [`EvidenceBody::qualifying`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What the vault says.
    pub body: EvidenceBody,
    /// The registers of the quote.
    pub registers: Vec<u8>,
    /// Their values.
    pub values: Vec<[u8; 32]>,
    /// The marshalled `TPMS_ATTEST`.
    pub quote: Vec<u8>,
    /// The attestation key's signature over its SHA-256.
    pub signature: P256Signature,
    /// The marshalled public area of the attestation key.
    pub attestation_key: Vec<u8>,
    /// The counter of the lease; `None` while there is none.
    pub counter: Option<CertifiedCounter>,
    /// The key that the TPM's maker put in.
    pub endorsement: Endorsement,
}

/// What the vault says in an evidence. The quote covers all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceBody {
    /// The box.
    pub box_name: BoxName,
    /// The vault's version.
    pub version: String,
    /// The tier of the machine.
    pub tier: Tier,
    /// The authority; `None` while nobody owns the box.
    pub authority: Option<P256Public>,
    /// The key by which the box certifies its daemon's.
    pub box_key: P256Public,
    /// The one-time key, for [`EvidenceKind::ImportKey`].
    pub import_key: Option<ImportKey>,
    /// What the vault holds, for [`EvidenceKind::Custody`].
    pub custody: Option<Custody>,
}

/// Which shares a vault holds, and where its log of orders ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Custody {
    /// `None` while it holds none.
    pub shares: Option<HeldShares>,
    /// How many entries the log of orders has had.
    pub orders_logged: u64,
    /// The hash of the last of them, zero before the first: what [`check_log`](crate::log::check_log) wants.
    pub orders_head: [u8; 32],
}

/// Shares of one lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldShares {
    /// The lock.
    pub lock_hash: LockHash,
    /// Their index in it.
    pub share_index: ShareIndex,
    /// Whose shares, in ascending order of the keys, each once, and how each came.
    pub validators: Vec<(ValidatorPublic, Origin)>,
}

/// How a share came into a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// By an import, so it may exist elsewhere.
    Imported,
}

/// The counter of the lease, as the attestation key certified it (`TPM2_NV_Certify`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedCounter {
    /// The marshalled `TPMS_ATTEST`.
    pub statement: Vec<u8>,
    /// The attestation key's signature over its SHA-256.
    pub signature: P256Signature,
}

/// The endorsement key. No signature covers it: that it is in the same TPM as the attestation key, only a credential
/// proves ([`Credential`](crate::Credential)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endorsement {
    /// The marshalled public area, by the default template for P-256 or for RSA with 2,048 bits.
    pub public: Vec<u8>,
    /// The maker's certificate of it as it lies in the TPM; `None` when there is none.
    pub certificate: Option<Vec<u8>>,
}

/// What the seal means on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Tier {
    /// Verified and measured boot, and a TPM that is a part of the machine: this box, this software.
    A,
    /// A TPM without a verified boot chain: this TPM, whatever software boots beside it.
    B,
    /// No TPM or an emulated one: nothing.
    C,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl EvidenceBody {
    /// The qualifying data of the quote, as [`Evidence`] says.
    #[must_use]
    pub fn qualifying(&self, kind: EvidenceKind, nonce: &[u8; 32]) -> [u8; 32] {
        let kind = match kind {
            EvidenceKind::Boot => 0u8,
            EvidenceKind::ImportKey => 1,
            EvidenceKind::Custody => 2,
        };
        let body = postcard::to_allocvec(self).expect("a body has a fixed form");
        let hash = Sha256::new_with_prefix(b"holdfast evidence 1").chain_update([kind]).chain_update(body);
        hash.chain_update(nonce).finalize().into()
    }
}

/// The firmware and its settings, and the image with what must stay zero beside it.
pub const QUOTED_REGISTERS: [u8; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13];
/// The NV index of the lease's counter, in the owner's range.
pub const LEASE_COUNTER_INDEX: u32 = 0x0180_4801;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::samples;

    #[test]
    fn what_a_quote_qualifies_is_what_the_format_says() {
        let says = samples::body();
        let body = [[32].as_slice(), &[2; 32], &[5], b"1.2.3", &[0, 0, 33], &[8; 33], &[0, 0]].concat();
        for (number, kind) in [(0, EvidenceKind::Boot), (1, EvidenceKind::ImportKey), (2, EvidenceKind::Custody)] {
            let expected = Sha256::digest([b"holdfast evidence 1", [number].as_slice(), &body, &[9; 32]].concat());
            assert_eq!(says.qualifying(kind, &[9; 32]), <[u8; 32]>::from(expected), "{kind:?}");
        }
    }

    #[test]
    fn nothing_of_a_body_can_be_changed() {
        let body = samples::body();
        let held = |validators| HeldShares { lock_hash: LockHash([1; 32]), share_index: ShareIndex(1), validators };
        let custody = |shares| Some(Custody { shares, orders_logged: 0, orders_head: [0; 32] });
        let one = vec![(ValidatorPublic([1; 48]), Origin::Imported)];
        let bodies = [
            EvidenceBody { box_name: BoxName([3; 32]), ..body.clone() },
            EvidenceBody { version: "1.2.4".into(), ..body.clone() },
            EvidenceBody { tier: Tier::B, ..body.clone() },
            EvidenceBody { authority: Some(P256Public([1; 33])), ..body.clone() },
            EvidenceBody { box_key: P256Public([9; 33]), ..body.clone() },
            EvidenceBody { import_key: Some(ImportKey([1; 32])), ..body.clone() },
            EvidenceBody { custody: custody(None), ..body.clone() },
            EvidenceBody { custody: custody(Some(held(one.clone()))), ..body.clone() },
            EvidenceBody { custody: custody(None).map(|one| Custody { orders_logged: 1, ..one }), ..body.clone() },
            EvidenceBody { custody: custody(None).map(|one| Custody { orders_head: [1; 32], ..one }), ..body.clone() },
            EvidenceBody {
                custody: custody(Some(HeldShares { share_index: ShareIndex(2), ..held(one) })),
                ..body.clone()
            },
        ];
        let mut seen: BTreeSet<_> = bodies.iter().map(|body| body.qualifying(EvidenceKind::Boot, &[9; 32])).collect();
        for kind in [EvidenceKind::Boot, EvidenceKind::ImportKey, EvidenceKind::Custody] {
            seen.insert(body.qualifying(kind, &[9; 32]));
        }
        seen.insert(body.qualifying(EvidenceKind::Boot, &[8; 32]));
        assert_eq!(seen.len(), bodies.len() + 4);
    }
}
