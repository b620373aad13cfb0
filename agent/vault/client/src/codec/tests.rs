use holdfast_evidence::{Envelope, HistoryClaim, ImportOrder, ImportSecret, LoggedOrder, Order};
use holdfast_types::{
    AttestationMark, BlockMark, BoxName, Epoch, ForkVersion, HistoryDigest, HistoryMarks, LockHash, PartialSignature,
    Root, ShareIndex, SigningRoot, Slot, ValidatorMarks, ValidatorPublic,
};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::message::{IdentityKey, Rejection, SigningRefused, SlashingRefusal};
use crate::samples;

/// The length of an answer with one refusal, less what stands before its entries.
fn refusal_len(refused: SigningRefused) -> usize {
    encode_response(&Response::Signatures(vec![Err(refused)])).unwrap().len() - HEADER_LEN - 2
}

fn marks() -> ValidatorMarks {
    let root = Some(SigningRoot([0xff; 32]));
    ValidatorMarks {
        validator: samples::VALIDATOR,
        attestation: Some(AttestationMark { source: Epoch(u64::MAX), target: Epoch(u64::MAX), root }),
        block: Some(BlockMark { slot: Slot(u64::MAX), root }),
    }
}

fn history() -> HistoryMarks {
    HistoryMarks { genesis_validators_root: Root([0xff; 32]), validators: vec![marks(); HISTORY_PAGE_LEN] }
}

/// An import of as many shares as a vault may hold, with the longest of everything else.
fn import() -> ImportOrder {
    let mut rng = StdRng::seed_from_u64(7);
    let key = ImportSecret::random(&mut rng).public();
    let plain = vec![0xff; 32 * BATCH_LEN_MAX];
    ImportOrder {
        lock_hash: LockHash([0xff; 32]),
        share_index: ShareIndex(u8::MAX),
        genesis_fork_version: ForkVersion([0xff; 4]),
        epoch: Epoch(u64::MAX),
        history: HistoryClaim::Imported(HistoryDigest([0xff; 32])),
        validators: vec![samples::VALIDATOR; BATCH_LEN_MAX],
        shares: Envelope::seal(BoxName([0xff; 32]), key, b"", &plain, &mut rng).unwrap(),
    }
}

/// Everything that may have a thousand entries, and how many bytes the arithmetic of [`FRAME_LEN_MAX`] gives each.
#[test]
fn the_largest_messages_fit_and_the_arithmetic_holds() {
    let root = samples::root_to_sign();
    let validators = vec![samples::VALIDATOR; BATCH_LEN_MAX];
    let requests = [
        ("attestations", 188, Request::SignAttestations(vec![samples::attestation(); BATCH_LEN_MAX])),
        ("aggregates", 92, Request::SignAggregate(vec![root; BATCH_LEN_MAX])),
        ("contributions", 92, Request::SignContribution(vec![root; BATCH_LEN_MAX])),
        ("reveals", 49, Request::SignRandao { epoch: Epoch(u64::MAX), validators }),
        ("shares", 81, Request::Order(samples::signed(Order::Import(import())))),
        ("watermarks", 149, Request::Order(samples::signed(Order::ImportHistory(history())))),
    ];
    for (what, each, request) in requests {
        let frame = encode_request(&request).unwrap();
        let len = frame.len() - HEADER_LEN;
        assert!(len >= each * BATCH_LEN_MAX && len < each * BATCH_LEN_MAX + 1_000, "{what}: {len} bytes");
        let again = encode_request(&decode_request(&frame[HEADER_LEN..]).unwrap()).unwrap();
        assert_eq!(again, frame, "{what}");
    }
    let refused = SigningRefused::OutOfRange { what: "x".repeat(100), reason: "x".repeat(REFUSAL_LEN_MAX - 105) };
    assert_eq!(refusal_len(refused.clone()), REFUSAL_LEN_MAX);
    let answers = [
        ("signatures", 98, Response::Signatures(vec![Ok(PartialSignature([0xff; 96])); BATCH_LEN_MAX])),
        ("refusals", REFUSAL_LEN_MAX, Response::Signatures(vec![Err(refused); BATCH_LEN_MAX])),
        ("history", 149, Response::History(history())),
    ];
    for (what, each, answer) in answers {
        let len = encode_response(&answer).unwrap().len() - HEADER_LEN;
        assert!(len >= each * BATCH_LEN_MAX && len < each * BATCH_LEN_MAX + 1_000, "{what}: {len} bytes");
    }
}

#[test]
fn a_page_of_the_log_fits_with_long_words() {
    let words = |len| "x".repeat(len);
    let (kind, refused) = (words(100), Some(words(3_600)));
    let entry = LoggedOrder { number: u64::MAX, at_ms: u64::MAX, kind, refused, ..samples::logged() };
    let page = Response::OrderLog(vec![entry; ORDER_LOG_PAGE_LEN]);
    assert!(encode_response(&page).is_ok());
}

#[test]
fn every_slashing_refusal_is_within_the_bound() {
    let (epoch, slot, root) = (Epoch(u64::MAX), Slot(u64::MAX), Some(Root([0xff; 32])));
    let refusals = [
        SlashingRefusal::DoubleVote { target: epoch, signed: root },
        SlashingRefusal::TargetTooLow { target: epoch, highest_target: epoch },
        SlashingRefusal::SourceTooLow { source_epoch: epoch, highest_source: epoch },
        SlashingRefusal::SourceAboveTarget { source_epoch: epoch, target: epoch },
        SlashingRefusal::DoubleProposal { slot, signed: root },
        SlashingRefusal::SlotTooLow { slot, highest_slot: slot },
        SlashingRefusal::BelowFloor { up_to: epoch },
    ];
    for refusal in refusals {
        assert!(refusal_len(refusal.into()) < REFUSAL_LEN_MAX, "{refusal}");
    }
    assert!(refusal_len(SigningRefused::UnknownValidator(samples::VALIDATOR)) < REFUSAL_LEN_MAX);
}

#[test]
fn a_message_over_the_bound_is_not_sent() {
    let request = Request::SignAttestations(vec![samples::attestation(); 3 * BATCH_LEN_MAX]);
    assert_eq!(encode_request(&request).unwrap_err(), CodecError::MessageTooLong);
}

#[test]
fn a_length_over_the_bound_is_refused_before_its_bytes() {
    assert_eq!(frame_len(393_216u32.to_be_bytes()), Ok(FRAME_LEN_MAX));
    assert_eq!(frame_len(393_217u32.to_be_bytes()), Err(CodecError::FrameTooLong { found: 393_217 }));
    assert!(frame_len([0xff; 4]).is_err());
}

#[test]
fn bytes_after_a_message_are_refused() {
    for request in samples::requests() {
        let mut frame = encode_request(&request).unwrap();
        frame.push(0);
        let refused = decode_request(&frame[HEADER_LEN..]).unwrap_err();
        assert_eq!(refused, CodecError::TrailingBytes { extra: 1 }, "{request:?}");
    }
}

#[test]
fn a_message_that_is_cut_is_refused() {
    for request in samples::requests() {
        let frame = encode_request(&request).unwrap();
        for len in 0..frame.len() - HEADER_LEN {
            let refused = decode_request(&frame[HEADER_LEN..HEADER_LEN + len]).unwrap_err();
            assert_eq!(refused, CodecError::Undecodable, "{len} bytes of {request:?}");
        }
    }
}

/// A tag as it travels: a varint, seven bits to a byte.
fn tagged(mut tag: u32, bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    while tag >= 0x80 {
        message.push(tag as u8 | 0x80);
        tag >>= 7;
    }
    message.push(tag as u8);
    message.extend(bytes);
    message
}

#[test]
fn only_the_listed_requests_decode() {
    let listed = samples::requests();
    assert_eq!(listed.len(), 19, "a request was added: is it in the list of architecture.md, section 2.1?");
    for (tag, request) in (0u8..).zip(&listed) {
        let frame = encode_request(request).unwrap();
        assert_eq!(frame[HEADER_LEN], tag, "{request:?}");
        assert_eq!(encode_request(&decode_request(&frame[HEADER_LEN..]).unwrap()).unwrap(), frame);
    }
    // Nothing else does, whatever follows the tag: zeros, or all that a listed one may carry.
    let bodies: Vec<Vec<u8>> =
        listed.iter().map(|request| encode_request(request).unwrap()[HEADER_LEN + 1..].to_vec()).collect();
    for tag in (19..=300).chain([0xffff, 0x0010_0000, u32::MAX]) {
        assert_eq!(decode_request(&tagged(tag, &[0; 200])).unwrap_err(), CodecError::Undecodable, "request tag {tag}");
        for body in &bodies {
            assert_eq!(decode_request(&tagged(tag, body)).unwrap_err(), CodecError::Undecodable, "request tag {tag}");
        }
    }
}

#[test]
fn answers_come_back_whole() {
    for request in samples::requests() {
        let frame = encode_response(&samples::fitting(&request)).unwrap();
        let again = encode_response(&decode_response(&frame[HEADER_LEN..]).unwrap()).unwrap();
        assert_eq!(again, frame, "the answer to {request:?}");
    }
    let refusal = SlashingRefusal::DoubleVote { target: Epoch(7), signed: Some(Root([3; 32])) };
    let frame = encode_response(&Response::Signatures(vec![Err(refusal.into())])).unwrap();
    let Response::Signatures(answers) = decode_response(&frame[HEADER_LEN..]).unwrap() else {
        panic!("another response");
    };
    assert_eq!(answers, vec![Err(SigningRefused::Slashable(refusal))]);

    let frame = encode_response(&Response::IdentityKey(IdentityKey([9; 32]))).unwrap();
    let Response::IdentityKey(key) = decode_response(&frame[HEADER_LEN..]).unwrap() else {
        panic!("another response");
    };
    assert_eq!(key.0, [9; 32]);

    let rejection = Rejection::TooLarge { found: 1_001, allowed: 1_000 };
    let frame = encode_response(&Response::Rejected(rejection.clone())).unwrap();
    let Response::Rejected(again) = decode_response(&frame[HEADER_LEN..]).unwrap() else {
        panic!("another response");
    };
    assert_eq!(again, rejection);
}

#[test]
fn a_length_that_no_bytes_follow_allocates_nothing() {
    // A batch that claims 2^32 - 1 validators.
    let mut message = encode_request(&Request::SignRandao { epoch: Epoch(0), validators: vec![] }).unwrap().to_vec();
    let header = message.len() - 1;
    message.truncate(header);
    message.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert_eq!(decode_request(&message[HEADER_LEN..]).unwrap_err(), CodecError::Undecodable);
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoders_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(request) = decode_request(&bytes) {
            prop_assert!(encode_request(&request).is_ok());
        }
        if let Ok(response) = decode_response(&bytes) {
            prop_assert!(encode_response(&response).is_ok());
        }
    }

    #[test]
    fn no_body_makes_a_listed_request_panic(
        tag in 0u32..19,
        body in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        if let Ok(request) = decode_request(&tagged(tag, &body)) {
            prop_assert!(encode_request(&request).is_ok());
        }
    }
}

#[test]
fn validators_travel_as_their_bytes() {
    let frame =
        encode_request(&Request::SignRandao { epoch: Epoch(1), validators: vec![ValidatorPublic([5; 48])] }).unwrap();
    assert_eq!(frame[HEADER_LEN..], [[9, 1, 1, 48].as_slice(), &[5; 48]].concat());
}
