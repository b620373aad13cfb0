//! Slashing history that comes by order (EIP-3076): what may be signed at each of its bounds, that nothing lowers it, and
//! that no other share of the same validator gets around it.

use holdfast_eth::BeaconBlockHeader;
use holdfast_eth::domain::{attestation_signing_root, block_signing_root};
use holdfast_evidence::HistoryClaim;
use holdfast_evidence::order::history_digest;
use holdfast_types::{PartialSignature, Root, ShareIndex, SigningRoot};
use holdfast_vault_client::{AttestationToSign, BlockToSign, SigningRefused, SlashingRefusal};

use super::*;

/// A box whose network is fixed, in slot 100 of epoch 3, on which this history was imported, and then the share.
fn with_history(history: &HistoryMarks) -> (TestBox, Vault) {
    let (mut place, mut vault) = Situation::WithoutShares.set_up();
    order(&place, &mut vault, Order::ImportHistory(history.clone())).unwrap();
    import(&mut place, &mut vault, 1, HistoryClaim::Imported(history_digest(history))).unwrap();
    (place, vault)
}

/// Imports the share with this index of [`VALIDATOR`].
fn import(place: &mut TestBox, vault: &mut Vault, index: u8, history: HistoryClaim) -> Result<OrderOutcome, String> {
    let mut shares = shares(place.present(), history);
    shares.share_index = ShareIndex(index);
    shares.secrets = vec![(VALIDATOR, [6 + index; 32])];
    let given = place.operator.import_order(&mut InProcess(|request| vault.answer(request)), &shares).unwrap();
    order(place, vault, Order::Import(given))
}

fn vote(vault: &mut Vault, slot: u64, source: u64) -> Result<PartialSignature, SigningRefused> {
    sign(vault, attestation(slot, source))
}

fn header(slot: u64) -> BeaconBlockHeader {
    let root = Root([3; 32]);
    BeaconBlockHeader { slot: Slot(slot), proposer_index: 8, parent_root: root, state_root: root, body_root: root }
}

fn block(vault: &mut Vault, header: BeaconBlockHeader) -> Result<PartialSignature, SigningRefused> {
    match vault.answer(Request::SignBlock(BlockToSign { validator: VALIDATOR, header })) {
        Response::Signatures(mut answers) => answers.remove(0),
        other => panic!("{other:?}"),
    }
}

fn slashable<T: std::fmt::Debug>(answer: Result<T, SigningRefused>) -> SlashingRefusal {
    match answer {
        Err(SigningRefused::Slashable(refusal)) => refusal,
        other => panic!("expected a slashing rule, saw {other:?}"),
    }
}

fn root_of_vote(slot: u64, source: u64) -> SigningRoot {
    attestation_signing_root(&chain(), &attestation(slot, source))
}

/// A vote (1, 2) and a block of slot 70, with the roots of [`attestation`] and [`header`].
fn known() -> ValidatorMarks {
    let mut marks = mark_of(VALIDATOR, (1, 2), 70);
    marks.attestation.as_mut().unwrap().root = Some(root_of_vote(64, 1));
    marks.block.as_mut().unwrap().root = Some(block_signing_root(&chain(), Slot(70), header(70).hash_tree_root()));
    marks
}

#[test]
fn votes_at_below_and_above_each_bound_of_an_imported_history() {
    let history = marks(&[mark_of(VALIDATOR, (1, 2), 70)]);
    let double = SlashingRefusal::DoubleVote { target: Epoch(2), signed: None };
    let below = |target| SlashingRefusal::TargetTooLow { target: Epoch(target), highest_target: Epoch(2) };
    let surround = SlashingRefusal::SourceTooLow { source_epoch: Epoch(0), highest_source: Epoch(1) };
    let (_place, mut vault) = with_history(&history);
    for (slot, source, refusal) in [
        (32, 0, below(1)),
        (63, 1, below(1)),
        (0, 0, below(0)),
        (64, 1, double),
        (64, 2, double),
        (95, 0, double),
        (96, 0, surround),
        (100, 0, surround),
    ] {
        assert_eq!(slashable(vote(&mut vault, slot, source)), refusal, "slot {slot}, source {source}");
    }
    let upside_down = SlashingRefusal::SourceAboveTarget { source_epoch: Epoch(4), target: Epoch(3) };
    assert_eq!(slashable(vote(&mut vault, 100, 4)), upside_down);
    assert_eq!(history_of(&mut vault), history, "what is refused leaves no mark");
    // At the bound of the source, and above it.
    for source in [1, 2] {
        let (_place, mut vault) = with_history(&history);
        vote(&mut vault, 96, source).unwrap();
    }
}

#[test]
fn blocks_at_below_and_above_the_bound_of_an_imported_history() {
    let (_place, mut vault) = with_history(&marks(&[mark_of(VALIDATOR, (1, 2), 70)]));
    let low = |slot| SlashingRefusal::SlotTooLow { slot: Slot(slot), highest_slot: Slot(70) };
    let double = SlashingRefusal::DoubleProposal { slot: Slot(70), signed: None };
    for (slot, refusal) in [(0, low(0)), (69, low(69)), (70, double)] {
        assert_eq!(slashable(block(&mut vault, header(slot))), refusal, "slot {slot}");
    }
    block(&mut vault, header(71)).unwrap();
    block(&mut vault, header(71)).unwrap();
    assert!(matches!(slashable(block(&mut vault, header(70))), SlashingRefusal::SlotTooLow { .. }));
}

#[test]
fn what_was_signed_elsewhere_may_be_signed_again_and_nothing_beside_it() {
    let history = marks(&[known()]);
    let (_place, mut vault) = with_history(&history);
    let mut other = attestation(64, 1);
    other.beacon_block_root.0[0] ^= 1;
    let signed = Some(Root(root_of_vote(64, 1).0));
    assert_eq!(slashable(sign(&mut vault, other)), SlashingRefusal::DoubleVote { target: Epoch(2), signed });
    let other = BeaconBlockHeader { proposer_index: 9, ..header(70) };
    assert!(matches!(slashable(block(&mut vault, other)), SlashingRefusal::DoubleProposal { signed: Some(_), .. }));
    vote(&mut vault, 64, 1).unwrap();
    block(&mut vault, header(70)).unwrap();
    assert_eq!(history_of(&mut vault), history);
}

#[test]
fn a_history_only_raises_each_bound_on_its_own() {
    let (place, mut vault) = with_history(&marks(&[mark_of(VALIDATOR, (1, 2), 70)]));
    let mut take = |vote, slot| {
        order(&place, &mut vault, Order::ImportHistory(marks(&[mark_of(VALIDATOR, vote, slot)]))).unwrap();
        history_of(&mut vault).validators
    };
    assert_eq!(take((0, 1), 10), [mark_of(VALIDATOR, (1, 2), 70)]);
    assert_eq!(take((0, 3), 10), [mark_of(VALIDATOR, (1, 3), 70)]);
    assert_eq!(take((2, 2), 71), [mark_of(VALIDATOR, (2, 3), 71)]);
    assert_eq!(take((0, 0), 0), [mark_of(VALIDATOR, (2, 3), 71)]);
    let nothing = ValidatorMarks { validator: VALIDATOR, attestation: None, block: None };
    order(&place, &mut vault, Order::ImportHistory(marks(&[nothing]))).unwrap();
    assert_eq!(history_of(&mut vault).validators, [mark_of(VALIDATOR, (2, 3), 71)]);
}

#[test]
fn a_root_is_forgotten_when_another_history_has_another() {
    let (place, mut vault) = with_history(&marks(&[known()]));
    let mut other = known();
    other.attestation.as_mut().unwrap().root = Some(SigningRoot([9; 32]));
    order(&place, &mut vault, Order::ImportHistory(marks(&[other]))).unwrap();
    assert_eq!(slashable(vote(&mut vault, 64, 1)), SlashingRefusal::DoubleVote { target: Epoch(2), signed: None });
    block(&mut vault, header(70)).unwrap();
}

#[test]
fn a_history_of_the_future_or_of_another_network_is_refused_whole() {
    let future = "the import cannot be used: the history reaches into the future: check it, and the box's clock";
    let foreign = "the network cannot be used: the history is of another network than the box";
    let elsewhere = HistoryMarks { genesis_validators_root: Root([8; 32]), ..marks(&[mark_of(SECOND, (0, 1), 0)]) };
    let good = mark_of(VALIDATOR, (1, 2), 70);
    let with = |bad: ValidatorMarks| marks(&[good, bad]);
    let (place, mut vault) = Situation::Open.set_up();
    // In epoch 3 a validator may have signed for epoch 4, which ends with slot 159.
    for (history, reason) in [
        (with(mark_of(SECOND, (3, 5), 0)), future),
        (with(mark_of(SECOND, (0, u64::MAX), 0)), future),
        (with(mark_of(SECOND, (u64::MAX, u64::MAX), 0)), future),
        (with(mark_of(SECOND, (3, 2), 0)), future),
        (with(mark_of(SECOND, (0, 0), 160)), future),
        (with(mark_of(SECOND, (0, 0), u64::MAX)), future),
        (elsewhere, foreign),
    ] {
        let refused = order(&place, &mut vault, Order::ImportHistory(history.clone())).unwrap_err();
        assert_eq!(refused, reason, "{history:?}");
        assert_eq!(history_of(&mut vault), marks(&[]), "nothing of it is taken: {history:?}");
        let claim = HistoryClaim::Imported(history_digest(&history));
        assert!(import_second(&place, &mut vault, claim).is_err(), "nor does an import find it: {history:?}");
    }
    let last = with(mark_of(SECOND, (4, 4), 159));
    order(&place, &mut vault, Order::ImportHistory(last.clone())).unwrap();
    assert_eq!(history_of(&mut vault), last);
    vote(&mut vault, 100, 2).unwrap();
}

/// Imports a share of [`SECOND`] beside the one that is there.
fn import_second(place: &TestBox, vault: &mut Vault, history: HistoryClaim) -> Result<OrderOutcome, String> {
    let mut shares = shares(place.present(), history);
    shares.secrets = vec![(SECOND, [8; 32])];
    let mut operator = Operator::from_seed(1);
    let given = operator.import_order(&mut InProcess(|request| vault.answer(request)), &shares).unwrap();
    order(place, vault, Order::Import(given))
}

#[test]
fn an_import_finds_only_the_history_that_was_imported_before_it() {
    let history = marks(&[mark_of(SECOND, (1, 2), 70)]);
    let claim = HistoryClaim::Imported(history_digest(&history));
    let (place, mut vault) = Situation::Open.set_up();
    let refused = import_second(&place, &mut vault, claim).unwrap_err();
    assert_eq!(
        refused,
        "the import cannot be used: the history that it counts on was not imported: order ImportHistory first"
    );
    order(&place, &mut vault, Order::ImportHistory(history)).unwrap();
    let other = HistoryClaim::Imported(history_digest(&marks(&[mark_of(SECOND, (0, 2), 70)])));
    assert_eq!(import_second(&place, &mut vault, other).unwrap_err(), refused);
    import_second(&place, &mut vault, claim).unwrap();
    assert_eq!(status(&mut vault).validators, [VALIDATOR, SECOND]);
}

#[test]
fn another_share_of_the_same_validator_finds_what_the_first_one_signed() {
    for history in [HistoryClaim::NeverSigned, HistoryClaim::Lost { first: Epoch(5) }] {
        let (mut place, mut vault) = Situation::Open.set_up();
        vote(&mut vault, 100, 2).unwrap();
        block(&mut vault, header(100)).unwrap();
        let reason = import(&mut place, &mut vault, 2, history).unwrap_err();
        assert!(reason.ends_with("retire those first"), "one index on a box: {reason}");
        order(&place, &mut vault, Order::Retire(vec![VALIDATOR])).unwrap();
        import(&mut place, &mut vault, 2, history).unwrap();
        assert_eq!(status(&mut vault).share_index, Some(ShareIndex(2)));
        let mut other = attestation(100, 2);
        other.beacon_block_root.0[0] ^= 1;
        slashable(sign(&mut vault, other));
        slashable(block(&mut vault, BeaconBlockHeader { proposer_index: 9, ..header(100) }));
        // The history of the other share is taken for lost, so the validator begins two epochs on.
        place.clock.set_slot(159);
        settle(&mut vault);
        slashable(vote(&mut vault, 159, 3));
        slashable(block(&mut vault, header(159)));
        place.clock.set_slot(160);
        settle(&mut vault);
        slashable(vote(&mut vault, 160, 2));
        vote(&mut vault, 160, 3).unwrap();
        block(&mut vault, header(160)).unwrap();
    }
}

#[test]
fn a_validator_that_never_signed_begins_at_once() {
    let (place, mut vault) = Situation::Open.set_up();
    vote(&mut vault, 100, 2).unwrap();
    import_second(&place, &mut vault, HistoryClaim::NeverSigned).unwrap();
    let asked = AttestationToSign { validator: SECOND, data: attestation(100, 2) };
    let answer = vault.answer(Request::SignAttestations(vec![asked]));
    assert!(
        matches!(answer, Response::Signatures(answers) if answers[0].is_ok()),
        "the lease is the first of this TPM"
    );
}

#[test]
fn another_share_with_its_history_goes_on_where_the_first_one_ended() {
    let (mut place, mut vault) = Situation::Open.set_up();
    vote(&mut vault, 100, 2).unwrap();
    block(&mut vault, header(100)).unwrap();
    let backup = history_of(&mut vault);
    order(&place, &mut vault, Order::Retire(vec![VALIDATOR])).unwrap();
    assert_eq!(history_of(&mut vault), backup, "a share that is gone leaves its marks");
    order(&place, &mut vault, Order::ImportHistory(backup.clone())).unwrap();
    import(&mut place, &mut vault, 2, HistoryClaim::Imported(history_digest(&backup))).unwrap();
    let mut other = attestation(101, 2);
    other.beacon_block_root.0[0] ^= 1;
    assert!(matches!(slashable(sign(&mut vault, other)), SlashingRefusal::DoubleVote { signed: Some(_), .. }));
    assert!(matches!(slashable(block(&mut vault, header(99))), SlashingRefusal::SlotTooLow { .. }));
    vote(&mut vault, 100, 2).unwrap();
    block(&mut vault, header(101)).unwrap();
}

#[test]
fn a_lost_history_begins_two_epochs_on_and_within_two_leases() {
    let (mut place, mut vault) = Situation::WithoutShares.set_up();
    for first in [0, 3, 4, 3 + 2 * 8 + 1, u64::MAX] {
        let refused = import(&mut place, &mut vault, 1, HistoryClaim::Lost { first: Epoch(first) }).unwrap_err();
        let words = format!("epoch {first} is outside 5 to 19: check the clocks of this machine and of the box");
        assert_eq!(refused, words);
    }
    for first in [5, 3 + 2 * 8] {
        let (mut place, mut vault) = Situation::WithoutShares.set_up();
        import(&mut place, &mut vault, 1, HistoryClaim::Lost { first: Epoch(first) }).unwrap();
        let [marks] = <[_; 1]>::try_from(history_of(&mut vault).validators).unwrap();
        assert_eq!(marks.attestation.unwrap().target, Epoch(first - 1));
        assert_eq!(marks.block.unwrap().slot, Slot(first * 32 - 1));
    }
}

#[test]
fn a_history_that_lists_a_validator_twice_or_out_of_order_is_no_order() {
    let (place, mut vault) = Situation::Open.set_up();
    let (one, two) = (mark_of(VALIDATOR, (1, 2), 70), mark_of(SECOND, (1, 2), 70));
    for list in [vec![one, one], vec![two, one]] {
        let refused = order(&place, &mut vault, Order::ImportHistory(marks(&list))).unwrap_err();
        assert!(refused.ends_with("each once: sort them"), "{refused}");
    }
    assert_eq!(history_of(&mut vault), marks(&[]));
}

fn history_of(vault: &mut Vault) -> HistoryMarks {
    match vault.answer(Request::HistoryBackup { after: None }) {
        Response::History(marks) => marks,
        other => panic!("{other:?}"),
    }
}
