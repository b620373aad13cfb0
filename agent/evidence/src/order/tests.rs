//! Orders as they travel: what is read, what is refused, and that nothing panics.

use holdfast_types::{AttestationMark, BlockMark, Fork, Root, SigningRoot, Slot, ValidatorMarks};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;
use crate::ImportSecret;

fn authority() -> SigningKey {
    SigningKey::from_bytes(&[1; 32]).unwrap()
}

fn text(order: Order) -> OrderText {
    OrderText { to: BoxName([1; 32]), challenge: Challenge([2; 32]), order }
}

fn signed(order: Order) -> SignedOrder {
    SignedOrder::sign(&text(order), &authority())
}

/// What the vault makes of an order that the authority signed.
fn read(order: &Order) -> Result<OrderText, OrderError> {
    signed(order.clone()).verify(&authority().public())
}

fn validators(count: usize) -> Vec<ValidatorPublic> {
    let mut keys = vec![ValidatorPublic([0xff; 48]); count];
    for (number, key) in (0u32..).zip(&mut keys) {
        key.0[..4].copy_from_slice(&number.to_be_bytes());
    }
    keys
}

/// The marks that take the most bytes.
fn history(validators: Vec<ValidatorPublic>) -> HistoryMarks {
    let (epoch, root) = (Epoch(u64::MAX), Some(SigningRoot([0xff; 32])));
    let attestation = Some(AttestationMark { source: epoch, target: epoch, root });
    let block = Some(BlockMark { slot: Slot(u64::MAX), root });
    let validators = validators.into_iter().map(|validator| ValidatorMarks { validator, attestation, block }).collect();
    HistoryMarks { genesis_validators_root: Root([0xff; 32]), validators }
}

fn envelope(len: usize) -> Envelope {
    let mut rng = StdRng::seed_from_u64(1);
    let key = ImportSecret::random(&mut rng).public();
    Envelope::seal(BoxName([1; 32]), key, b"", &vec![7; len], &mut rng).unwrap()
}

fn import(validators: Vec<ValidatorPublic>) -> Order {
    Order::Import(ImportOrder {
        lock_hash: LockHash([3; 32]),
        share_index: ShareIndex(4),
        genesis_fork_version: ForkVersion([0; 4]),
        epoch: Epoch(u64::MAX),
        history: HistoryClaim::Imported(HistoryDigest([5; 32])),
        shares: envelope(32 * validators.len()),
        validators,
    })
}

/// One of each kind.
fn orders() -> Vec<Order> {
    let firmware = Approval::of_firmware(&authority(), [7; 32]);
    let chain = ChainSpec {
        genesis_time_s: 1,
        genesis_validators_root: Root([7; 32]),
        genesis_fork_version: ForkVersion([0; 4]),
        slot_ms: 12_000,
        slots_per_epoch: 32,
        forks: vec![Fork { epoch: Epoch(0), version: ForkVersion([0; 4]) }],
    };
    vec![
        Order::Own { authority: authority().public(), firmware: firmware.clone() },
        Order::ChangeAuthority { authority: authority().public(), firmware },
        Order::Reset,
        Order::Identity(IdentityOrder::MadeHere),
        import(validators(2)),
        Order::ImportHistory(history(validators(2))),
        Order::Retire(validators(2)),
        Order::Exit { validator: ValidatorPublic([1; 48]), validator_index: ValidatorIndex(2), epoch: Epoch(3) },
        Order::Register {
            validator: ValidatorPublic([1; 48]),
            fee_recipient: [2; 20],
            gas_limit: 36_000_000,
            timestamp_s: 1_700_000_000,
        },
        Order::SetNetwork { network: NetworkPins { chain, exit_fork_version: ForkVersion([3; 4]) }, epoch: Epoch(4) },
        Order::AcceptFloor { epoch: Epoch(5) },
        Order::VouchDisk,
        Order::NewCounter { epoch: Epoch(6) },
        Order::Downgrade { version: "0.1.0".into() },
    ]
}

#[test]
fn every_kind_of_order_arrives_as_it_was_signed_under_its_own_number_and_name() {
    let mut names = std::collections::BTreeSet::new();
    for (number, order) in (0u8..).zip(orders()) {
        assert_eq!(read(&order), Ok(text(order.clone())));
        // Box and challenge take 33 bytes each; a number that moved would turn one signed order into another.
        assert_eq!(signed(order.clone()).text[66], number, "{}", order.kind());
        names.insert(order.kind());
    }
    assert_eq!(names.len(), 14);
}

#[test]
fn every_changed_byte_of_text_or_signature_fails() {
    for order in orders() {
        let order = signed(order);
        for at in 0..order.text.len() {
            let mut changed = order.clone();
            changed.text[at] ^= 1;
            assert_eq!(changed.verify(&authority().public()), Err(OrderError::Signature), "text byte {at}");
            assert_ne!(changed.digest(), order.digest());
        }
    }
    let order = signed(Order::Reset);
    for at in 0..P256Signature::LEN {
        let mut changed = order.clone();
        changed.signature.0[at] ^= 1;
        assert_eq!(changed.verify(&authority().public()), Err(OrderError::Signature), "signature byte {at}");
    }
}

#[test]
fn only_the_key_that_signed_it_verifies_an_order() {
    let other = SigningKey::from_bytes(&[2; 32]).unwrap().public();
    assert_eq!(signed(Order::Reset).verify(&other), Err(OrderError::Signature));
    assert_eq!(signed(Order::Reset).verify(&P256Public([0; 33])), Err(OrderError::Signature));
}

#[test]
fn a_signature_over_the_bare_text_is_no_order() {
    let mut order = signed(Order::Reset);
    order.signature = authority().sign(&order.text);
    assert_eq!(order.verify(&authority().public()), Err(OrderError::Signature));
    assert_eq!(order.unverified(), Ok(text(Order::Reset)));
}

#[test]
fn bytes_that_are_missing_or_left_over_are_no_order_even_when_they_are_signed() {
    for order in orders() {
        let bytes = signed(order).text;
        let longer = [bytes.as_slice(), &[0]].concat();
        for text in (0..bytes.len()).map(|len| &bytes[..len]).chain([longer.as_slice()]) {
            let order = SignedOrder { text: text.to_vec(), signature: authority().sign(&signed_bytes(text)) };
            assert_eq!(order.unverified(), Err(OrderError::Form));
            assert_eq!(order.verify(&authority().public()), Err(OrderError::Form));
        }
    }
}

#[test]
fn the_largest_orders_fit_and_a_longer_text_is_refused_before_it_is_read() {
    for order in [Order::ImportHistory(history(validators(1_000))), import(validators(1_000))] {
        assert_eq!(read(&order), Ok(text(order)));
    }
    let order = |len| SignedOrder { text: vec![0xff; len], signature: P256Signature::default() };
    let len = ORDER_LEN_MAX + 1;
    assert_eq!(order(len).unverified(), Err(OrderError::TooLong { len }));
    assert_eq!(order(len).verify(&authority().public()), Err(OrderError::TooLong { len }));
    assert_eq!(order(ORDER_LEN_MAX).unverified(), Err(OrderError::Form));
}

#[test]
fn lists_are_ascending_without_repeats_and_at_most_a_thousand() {
    let listing: [fn(Vec<ValidatorPublic>) -> Order; 3] =
        [import, |list| Order::ImportHistory(history(list)), Order::Retire];
    for order in listing {
        for count in [0, 1, 1_000] {
            assert!(read(&order(validators(count))).is_ok());
        }
        assert_eq!(read(&order(validators(1_001))), Err(OrderError::ManyValidators { len: 1_001 }));
        let (mut swapped, mut repeated) = (validators(3), validators(3));
        swapped.swap(1, 2);
        repeated[2] = repeated[1];
        for list in [swapped, repeated] {
            assert_eq!(read(&order(list.clone())), Err(OrderError::Unordered));
            assert_eq!(signed(order(list)).unverified(), Err(OrderError::Unordered));
        }
    }
}

#[test]
fn a_purpose_changes_with_everything_that_it_binds() {
    type Said = (LockHash, ShareIndex, ForkVersion, HistoryClaim, Vec<ValidatorPublic>);
    let said: Said = (LockHash([1; 32]), ShareIndex(1), ForkVersion([1; 4]), HistoryClaim::NeverSigned, validators(2));
    let others: [Said; 6] = [
        (LockHash([2; 32]), said.1, said.2, said.3, said.4.clone()),
        (said.0, ShareIndex(2), said.2, said.3, said.4.clone()),
        (said.0, said.1, ForkVersion([2; 4]), said.3, said.4.clone()),
        (said.0, said.1, said.2, HistoryClaim::Lost { first: Epoch(1) }, said.4.clone()),
        (said.0, said.1, said.2, HistoryClaim::Imported(HistoryDigest([1; 32])), said.4.clone()),
        (said.0, said.1, said.2, said.3, validators(3)),
    ];
    let purpose = |said: &Said| ImportOrder::purpose(&said.0, said.1, said.2, &said.3, &said.4);
    for other in &others {
        assert_ne!(purpose(other), purpose(&said), "{other:?}");
    }
    assert_ne!(purpose(&said), IdentityOrder::PURPOSE);
}

#[test]
fn a_history_is_known_by_every_mark() {
    let marks = history(validators(2));
    let digest = history_digest(&marks);
    assert_eq!(history_digest(&marks), digest);
    let mut others = vec![marks.clone(); 4];
    others[0].genesis_validators_root.0[0] ^= 1;
    others[1].validators[1].block = None;
    others[2].validators[0].attestation.as_mut().unwrap().source.0 -= 1;
    others[3].validators.pop();
    for other in &others {
        assert_ne!(history_digest(other), digest, "{other:?}");
    }
}

fn any_order() -> impl Strategy<Value = Order> {
    proptest::sample::select(orders())
}

proptest! {
    #[test]
    fn garbage_is_an_error_and_never_more(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        let order = SignedOrder { text, signature: P256Signature([1; 64]) };
        prop_assert!(order.verify(&authority().public()).is_err());
        // Random bytes that begin with two good lengths may be a short order; what matters is an answer.
        if let Ok(text) = order.unverified() {
            prop_assert_eq!(text.order.check_form(), Ok(()));
        }
    }

    #[test]
    fn a_damaged_order_is_read_in_good_form_or_not_at_all(
        order in any_order(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut order = signed(order);
        for (at, byte) in damage {
            let at = at.index(order.text.len());
            order.text[at] = byte;
        }
        if let Ok(text) = order.unverified() {
            prop_assert_eq!(text.order.check_form(), Ok(()));
        }
    }
}
