use holdfast_evidence::{Endorsement, ImportSecret};
use holdfast_types::P256Signature;
use holdfast_vault_client::{EvidenceBody, Rejection, Tier, VaultStatus};

use super::*;
use crate::ask::InProcess;

const BOX: BoxName = BoxName([1; 32]);
const PCR_7: [u8; 32] = [77; 32];

/// What stands in for a vault: it answers honestly, carries out nothing and keeps the orders.
struct Stub {
    secret: ImportSecret,
    challenge: Challenge,
    orders: Vec<SignedOrder>,
    refuses: Option<Rejection>,
}

impl Stub {
    fn new() -> Self {
        let secret = ImportSecret::random(&mut StdRng::seed_from_u64(3));
        Self { secret, challenge: Challenge([9; 32]), orders: Vec::new(), refuses: None }
    }

    fn answer(&mut self, request: Request) -> Response {
        match request {
            Request::Status => Response::Status(Box::new(status())),
            Request::Challenge => Response::Challenge(self.challenge),
            Request::Evidence { kind, .. } => Response::Evidence(Box::new(self.evidence(kind))),
            Request::Order(order) => {
                self.orders.push(order);
                match &self.refuses {
                    Some(rejection) => Response::Rejected(rejection.clone()),
                    None => Response::OrderDone(OrderOutcome::Done),
                }
            }
            _ => Response::Done,
        }
    }

    fn evidence(&self, kind: EvidenceKind) -> Evidence {
        let import_key = (kind == EvidenceKind::ImportKey).then(|| self.secret.public());
        Evidence {
            body: EvidenceBody {
                box_name: BOX,
                version: "0".into(),
                tier: Tier::C,
                authority: None,
                box_key: P256Public([2; 33]),
                import_key,
                custody: None,
            },
            registers: vec![0, 7, 11],
            values: vec![[0; 32], PCR_7, [11; 32]],
            quote: Vec::new(),
            signature: P256Signature([0; 64]),
            attestation_key: Vec::new(),
            counter: None,
            endorsement: Endorsement { public: Vec::new(), certificate: None },
        }
    }
}

fn status() -> VaultStatus {
    VaultStatus {
        version: "0".into(),
        box_name: BOX,
        authority: None,
        lock_hash: None,
        validators: Vec::new(),
        share_index: None,
        tier: Tier::C,
        tier_reason: String::new(),
        memory: "mlock".into(),
        generation: None,
        level: None,
        lease: None,
        orders_logged: 0,
        orders_head: [0; 32],
        closed: None,
    }
}

/// What the stub got after `gives`, checked to be the operator's for its box and challenge.
fn order_of(
    gives: impl FnOnce(
        &mut Operator,
        &mut InProcess<&mut dyn FnMut(Request) -> Response>,
    ) -> Result<OrderOutcome, OperatorError>,
) -> (Order, Stub) {
    let (mut operator, mut stub) = (Operator::from_seed(1), Stub::new());
    let mut answer = |request| stub.answer(request);
    gives(&mut operator, &mut InProcess(&mut answer)).unwrap();
    let text = stub.orders[0].verify(&operator.public()).unwrap();
    assert_eq!((text.to, text.challenge), (BOX, stub.challenge));
    (text.order, stub)
}

#[test]
fn owning_approves_the_quoted_register() {
    let (order, _) = order_of(|operator, vault| operator.own(vault));
    let Order::Own { authority, firmware } = order else { panic!("another order: {order:?}") };
    let operator = Operator::from_seed(1);
    assert_eq!(authority, operator.public());
    assert_eq!(firmware, Approval::of_firmware(&operator.authority, PCR_7));
}

#[test]
fn shares_come_in_order_in_an_envelope_for_this_box() {
    let secrets = vec![(ValidatorPublic([5; 48]), [50; 32]), (ValidatorPublic([4; 48]), [40; 32])];
    let shares = Shares {
        lock_hash: LockHash([2; 32]),
        share_index: ShareIndex(3),
        genesis_fork_version: ForkVersion([0; 4]),
        epoch: Epoch(6),
        history: HistoryClaim::NeverSigned,
        secrets,
    };
    let (order, stub) = order_of(|operator, vault| operator.import(vault, &shares));
    let Order::Import(import) = order else { panic!("another order: {order:?}") };
    assert_eq!(import.validators, [ValidatorPublic([4; 48]), ValidatorPublic([5; 48])]);
    let purpose = ImportOrder::purpose(
        &shares.lock_hash,
        shares.share_index,
        shares.genesis_fork_version,
        &shares.history,
        &import.validators,
    );
    assert_eq!(**stub.secret.open(BOX, &purpose, &import.shares).unwrap(), [[40; 32], [50; 32]].concat());
}

#[test]
fn an_identity_comes_in_an_envelope_for_this_box() {
    let (order, stub) = order_of(|operator, vault| operator.import_identity(vault, &[6; 32]));
    let Order::Identity(IdentityOrder::Imported(envelope)) = order else { panic!("another order: {order:?}") };
    assert_eq!(**stub.secret.open(BOX, IdentityOrder::PURPOSE, &envelope).unwrap(), [6; 32]);
}

#[test]
fn a_refusal_reaches_the_test_as_the_vault_said_it() {
    let (operator, mut stub) = (Operator::from_seed(1), Stub::new());
    let said = Rejection::Order { kind: "Reset".into(), reason: "no".into() };
    stub.refuses = Some(said.clone());
    let refused = operator.reset(&mut InProcess(|request| stub.answer(request))).unwrap_err();
    assert_eq!(refused.refusal(), Some(&said));
    assert_eq!(Operator::from_seed(1).public(), operator.public());
    assert_ne!(Operator::from_seed(2).public(), operator.public());
}
