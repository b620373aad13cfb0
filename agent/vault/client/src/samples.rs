//! One request of each kind and an answer that fits, for the tests. Adding a kind without a sample does not compile.

use holdfast_eth::{AttestationData, BeaconBlockHeader, Checkpoint};
use holdfast_evidence::{
    Approval, CertifiedCounter, Credential, Endorsement, Evidence, EvidenceBody, EvidenceKind, LoggedOrder, Order,
    OrderText, SignedOrder, SigningKey, Tier,
};
use holdfast_types::{
    BoxName, Challenge, Epoch, HistoryMarks, P256Public, P256Signature, PartialSignature, PolicyDigest, Root, Slot,
    ValidatorPublic,
};

use crate::message::{
    AttestationToSign, BlockToSign, IdentityKey, OrderOutcome, Request, Response, RootToSign, VaultStatus,
};

pub(crate) const VALIDATOR: ValidatorPublic = ValidatorPublic([0xff; 48]);

/// Every kind of request, in the order of the tags, with the longest numbers that there are.
pub(crate) fn requests() -> Vec<Request> {
    let mut requests = vec![Request::Status];
    while let Some(next) = requests.last().and_then(after) {
        requests.push(next);
    }
    requests
}

fn after(request: &Request) -> Option<Request> {
    let (slot, epoch, root) = (Slot(u64::MAX), Epoch(u64::MAX), Root([0xff; 32]));
    Some(match request {
        Request::Status => Request::HistoryBackup { after: Some(VALIDATOR) },
        Request::HistoryBackup { .. } => Request::IdentityKey,
        Request::IdentityKey => Request::CertifyTlsKey { key: P256Public([0xff; 33]) },
        Request::CertifyTlsKey { .. } => Request::Evidence { kind: EvidenceKind::ImportKey, nonce: [0xff; 32] },
        Request::Evidence { .. } => Request::RaiseLevel,
        Request::RaiseLevel => Request::ApproveFirmware(approval()),
        Request::ApproveFirmware(_) => Request::SignAttestations(vec![attestation()]),
        Request::SignAttestations(_) => Request::SignBlock(block()),
        Request::SignBlock(_) => Request::SignRandao { epoch, validators: vec![VALIDATOR] },
        Request::SignRandao { .. } => Request::SignSelection { slot, validators: vec![VALIDATOR] },
        Request::SignSelection { .. } => Request::SignSyncSelection { slot, selections: vec![(VALIDATOR, u64::MAX)] },
        Request::SignSyncSelection { .. } => {
            Request::SignSyncMessage { slot, block_root: root, validators: vec![VALIDATOR] }
        }
        Request::SignSyncMessage { .. } => Request::SignAggregate(vec![root_to_sign()]),
        Request::SignAggregate(_) => Request::SignContribution(vec![root_to_sign()]),
        Request::SignContribution(_) => Request::Challenge,
        Request::Challenge => Request::Order(order()),
        Request::Order(_) => Request::OrderLog { after: u64::MAX },
        Request::OrderLog { .. } => Request::ActivateCredential(credential()),
        Request::ActivateCredential(_) => return None,
    })
}

/// An answer of the kind that a request asks for.
pub(crate) fn fitting(request: &Request) -> Response {
    let signatures = |count| Response::Signatures(vec![Ok(PartialSignature([1; 96])); count]);
    match request {
        Request::Status => Response::Status(Box::new(status())),
        Request::HistoryBackup { .. } => Response::History(HistoryMarks::default()),
        Request::IdentityKey => Response::IdentityKey(IdentityKey([7; 32])),
        Request::CertifyTlsKey { .. } => Response::TlsCertificate(vec![0x30, 0]),
        Request::Evidence { .. } => Response::Evidence(Box::new(evidence())),
        Request::RaiseLevel | Request::ApproveFirmware(_) => Response::Done,
        Request::SignAttestations(batch) => signatures(batch.len()),
        Request::SignBlock(_) => signatures(1),
        Request::SignRandao { validators, .. }
        | Request::SignSelection { validators, .. }
        | Request::SignSyncMessage { validators, .. } => signatures(validators.len()),
        Request::SignSyncSelection { selections, .. } => signatures(selections.len()),
        Request::SignAggregate(batch) | Request::SignContribution(batch) => signatures(batch.len()),
        Request::Challenge => Response::Challenge(Challenge([3; 32])),
        Request::Order(_) => Response::OrderDone(OrderOutcome::Done),
        Request::OrderLog { .. } => Response::OrderLog(vec![logged()]),
        Request::ActivateCredential(_) => Response::Activated([9; 32]),
    }
}

pub(crate) fn attestation() -> AttestationToSign {
    let checkpoint = Checkpoint { epoch: Epoch(u64::MAX), root: Root([0xff; 32]) };
    AttestationToSign {
        validator: VALIDATOR,
        data: AttestationData {
            slot: Slot(u64::MAX),
            index: u64::MAX,
            beacon_block_root: Root([0xff; 32]),
            source: checkpoint,
            target: checkpoint,
        },
    }
}

pub(crate) fn block() -> BlockToSign {
    let root = Root([0xff; 32]);
    let (parent_root, state_root, body_root) = (root, root, root);
    let (slot, proposer_index) = (Slot(u64::MAX), u64::MAX);
    BlockToSign {
        validator: VALIDATOR,
        header: BeaconBlockHeader { slot, proposer_index, parent_root, state_root, body_root },
    }
}

pub(crate) fn root_to_sign() -> RootToSign {
    RootToSign { validator: VALIDATOR, slot: Slot(u64::MAX), root: Root([0xff; 32]) }
}

pub(crate) fn approval() -> Approval {
    Approval { policy: PolicyDigest([1; 32]), policy_ref: "box/1".into(), signature: P256Signature([2; 64]) }
}

pub(crate) fn order() -> SignedOrder {
    signed(Order::Reset)
}

pub(crate) fn signed(order: Order) -> SignedOrder {
    let key = SigningKey::from_bytes(&[1; 32]).unwrap();
    SignedOrder::sign(&OrderText { to: BoxName([2; 32]), challenge: Challenge([3; 32]), order }, &key)
}

pub(crate) fn evidence_body() -> EvidenceBody {
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
        body: evidence_body(),
        registers: vec![7],
        values: vec![[4; 32]],
        quote: vec![5; 140],
        signature: P256Signature([6; 64]),
        attestation_key: vec![7; 88],
        counter: Some(CertifiedCounter { statement: vec![5; 140], signature: P256Signature([6; 64]) }),
        endorsement: Endorsement { public: vec![7; 314], certificate: Some(vec![8; 1_000]) },
    }
}

pub(crate) fn credential() -> Credential {
    Credential { id_object: vec![1; 68], secret: vec![2; 256] }
}

pub(crate) fn logged() -> LoggedOrder {
    LoggedOrder { number: 1, at_ms: 2, kind: "Own".into(), order: [3; 32], refused: None, hash: [4; 32] }
}

fn status() -> VaultStatus {
    VaultStatus {
        version: "1.2.3".into(),
        box_name: BoxName([2; 32]),
        authority: None,
        lock_hash: None,
        validators: vec![],
        share_index: None,
        tier: Tier::C,
        tier_reason: "emulated".into(),
        memory: "mlock".into(),
        generation: None,
        level: None,
        lease: None,
        orders_logged: 0,
        orders_head: [0; 32],
        closed: None,
    }
}
