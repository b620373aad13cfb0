//! Partial signatures that peers exchange (`cluster-wire.md` section 9).

use std::collections::BTreeMap;

use holdfast_eth::AttestationData;
use holdfast_types::{DutyId, PartialSignature, ShareIndex, ValidatorIndex, ValidatorPublic};

/// The partial signatures of one share for one duty. Decoded and bounded; the BLS signatures are not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialSet {
    /// The duty.
    pub duty: DutyId,
    /// What the share signed, per validator.
    pub partials: BTreeMap<ValidatorPublic, Partial>,
}

/// One partial signature with what it signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The signer's share.
    pub share: ShareIndex,
    /// What is signed, and the signature.
    pub payload: Payload,
}

/// What a partial signature signs, by kind of duty. Kinds that the node does not do yet are carried undecoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Duty type 2 (section 9.3), Electra and later.
    Attestation(PartialAttestation),
    /// Any other kind: the bytes as they came.
    Other(Vec<u8>),
}

/// A partially signed attestation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialAttestation {
    /// The fork's number (section 8: electra 5, fulu 6).
    pub version: u64,
    /// The attester, where the payload names it.
    pub validator: Option<ValidatorIndex>,
    /// The committee whose bit is set.
    pub committee: Option<u64>,
    /// What is attested.
    pub data: AttestationData,
    /// The partial signature.
    pub signature: PartialSignature,
}
