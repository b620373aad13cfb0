//! Evidence of every kind of part, for the tests of its form. None of it verifies.

use holdfast_types::{BoxName, ImportKey, LockHash, P256Public, P256Signature, ShareIndex, ValidatorPublic};

use crate::evidence::{
    CertifiedCounter, Custody, Endorsement, Evidence, EvidenceBody, HeldShares, Origin, QUOTED_REGISTERS, Tier,
};

pub(crate) fn body() -> EvidenceBody {
    EvidenceBody {
        box_name: BoxName([2; 32]),
        version: "1.2.3".into(),
        tier: Tier::A,
        authority: None,
        box_key: P256Public([8; 33]),
        import_key: None,
        custody: None,
    }
}

pub(crate) fn evidence() -> Evidence {
    Evidence {
        body: body(),
        registers: vec![7],
        values: vec![[4; 32]],
        quote: vec![5; 140],
        signature: P256Signature([6; 64]),
        attestation_key: vec![7; 88],
        counter: Some(CertifiedCounter { statement: vec![5; 150], signature: P256Signature([6; 64]) }),
        endorsement: Endorsement { public: vec![7; 122], certificate: Some(vec![8; 1_000]) },
    }
}

/// A thousand shares, and certificates and statements as long as they get.
pub(crate) fn longest_evidence() -> Evidence {
    let validators = (0..1_000u16).map(|number| {
        let mut validator = ValidatorPublic([0xff; 48]);
        validator.0[..2].copy_from_slice(&number.to_be_bytes());
        (validator, Origin::Imported)
    });
    let shares = HeldShares {
        lock_hash: LockHash([0xff; 32]),
        share_index: ShareIndex(u8::MAX),
        validators: validators.collect(),
    };
    let body = EvidenceBody {
        authority: Some(P256Public([0xff; 33])),
        import_key: Some(ImportKey([0xff; 32])),
        custody: Some(Custody { shares: Some(shares), orders_logged: u64::MAX, orders_head: [0xff; 32] }),
        ..body()
    };
    let endorsement = Endorsement { public: vec![7; 314], certificate: Some(vec![8; 2_048]) };
    Evidence { body, registers: QUOTED_REGISTERS.to_vec(), values: vec![[4; 32]; 11], endorsement, ..evidence() }
}
