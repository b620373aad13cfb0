use holdfast_vault_client::codec::{HEADER_LEN, REFUSAL_LEN_MAX, encode_response};
use holdfast_vault_client::{Request, Response};
use proptest::prelude::*;

use super::*;

/// Exits and registrations come one by one, and so do blocks.
const BATCHES: [Kind; 7] = [
    Kind::Attestation,
    Kind::Randao,
    Kind::Selection,
    Kind::SyncSelection,
    Kind::SyncMessage,
    Kind::Aggregate,
    Kind::Contribution,
];

#[test]
fn a_batch_has_at_most_a_thousand_entries() {
    for kind in BATCHES {
        let answers = asked(kind).batch(&network(), NOW, 1_000).unwrap();
        assert!(answers.len() == 1_000 && answers.iter().all(Result::is_ok), "{kind:?}");
        assert_eq!(asked(kind).batch(&network(), NOW, 0), Ok(vec![]), "{kind:?}");
        for count in [1_001, 5_000] {
            let rejection = asked(kind).batch(&network(), NOW, count).unwrap_err();
            assert_eq!(rejection, Rejection::TooLarge { found: count as u64, allowed: 1_000 }, "{kind:?}");
        }
    }
}

#[test]
fn no_share_no_signature() {
    for kind in Kind::ALL {
        let stranger = Asked { validator: STRANGER, ..asked(kind) };
        assert_eq!(stranger.at(NOW), Err(SigningRefused::UnknownValidator(STRANGER)), "{kind:?}");
    }
}

#[test]
fn answers_stand_in_the_order_of_the_batch() {
    let network = network();
    let ahead = |slot| {
        Err(SigningRefused::OutOfRange {
            what: format!("aggregate of slot {slot}"),
            reason: "the vault's clock is at slot 100, the last it signs is 101".into(),
        })
    };
    let entry = |validator, slot, root| RootToSign { validator, slot: Slot(slot), root: Root([root; 32]) };
    let batch = [entry(VALIDATOR, 100, 1), entry(STRANGER, 100, 2), entry(VALIDATOR, 102, 3), entry(VALIDATOR, 101, 4)];
    let answers = aggregate(&network, NOW, holds, &batch).unwrap();
    let roots: Vec<_> = answers.into_iter().map(|one| one.map(|one| (*one.validator(), one.root()))).collect();
    let alone = |slot, root| {
        let asked = Asked { slot: Slot(slot), root: Root([root; 32]), ..asked(Kind::Aggregate) };
        Ok((VALIDATOR, asked.at(NOW).unwrap()))
    };
    assert_eq!(roots, [alone(100, 1), Err(SigningRefused::UnknownValidator(STRANGER)), ahead(102), alone(101, 4)]);

    let validators = [STRANGER, VALIDATOR, STRANGER];
    let reveals = randao(&network, NOW, holds, Epoch(3), &validators).unwrap();
    assert_eq!(reveals.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false]);
}

/// The bound of a frame counts on it.
#[test]
fn a_refusal_has_few_words_whatever_is_asked() {
    let far = NetworkPins { chain: ChainSpec { slot_ms: 1, genesis_time_s: 0, ..network().chain }, ..network() };
    let mut longest = 0;
    for kind in Kind::ALL {
        let most = Asked {
            slot: Slot(u64::MAX),
            epoch: Epoch(u64::MAX),
            subcommittee: u64::MAX,
            timestamp_s: u64::MAX,
            gas_limit: u64::MAX,
            ..asked(kind)
        };
        for now in [Millis(0), NOW, Millis(u64::MAX / 2)] {
            let Err(refused) = most.on(&far, now) else { panic!("{kind:?} is signed") };
            let answer = Response::Signatures(vec![Err(refused)]);
            longest = longest.max(encode_response(&answer).unwrap().len() - HEADER_LEN - 2);
        }
    }
    assert!(longest > 100 && longest <= REFUSAL_LEN_MAX, "{longest} bytes");
}

/// Fork data, domains and the length of an epoch cannot be claimed: no request carries a field that is not listed here.
#[test]
fn a_request_for_a_signature_carries_no_fact_of_the_network() {
    fn signs(request: &Request) -> bool {
        match request {
            Request::SignAttestations(batch) => batch.iter().all(|AttestationToSign { validator: _, data }| {
                let AttestationData { slot: _, index: _, beacon_block_root: _, source: _, target: _ } = data;
                true
            }),
            Request::SignBlock(BlockToSign { validator: _, header }) => {
                let BeaconBlockHeader { slot: _, proposer_index: _, parent_root: _, state_root: _, body_root: _ } =
                    header;
                true
            }
            Request::SignRandao { epoch: _, validators: _ }
            | Request::SignSelection { slot: _, validators: _ }
            | Request::SignSyncSelection { slot: _, selections: _ }
            | Request::SignSyncMessage { slot: _, block_root: _, validators: _ } => true,
            Request::SignAggregate(batch) | Request::SignContribution(batch) => {
                batch.iter().all(|RootToSign { validator: _, slot: _, root: _ }| true)
            }
            Request::Status
            | Request::HistoryBackup { .. }
            | Request::IdentityKey
            | Request::CertifyTlsKey { .. }
            | Request::Evidence { .. }
            | Request::RaiseLevel
            | Request::ApproveFirmware(_)
            | Request::Challenge
            | Request::Order(_)
            | Request::OrderLog { .. }
            | Request::ActivateCredential(_) => false,
        }
    }
    assert!(signs(&Request::SignRandao { epoch: Epoch(0), validators: vec![] }));
    assert!(!signs(&Request::Status));
}

proptest! {
    /// Whatever the clock shows and whatever is asked on whatever network: an answer, within the windows.
    #[test]
    fn no_numbers_panic_or_wrap(
        kind in proptest::sample::select(Kind::ALL.to_vec()),
        numbers in proptest::array::uniform8(prop_oneof![any::<u64>(), 0..1_000u64, (u64::MAX - 1_000)..=u64::MAX]),
        slot_ms in prop_oneof![Just(1u64), 1..60_000u64],
        slots_per_epoch in 1..1_024u64,
    ) {
        let [now, genesis_time_s, slot, epoch, subcommittee, timestamp_s, gas_limit, fork] = numbers;
        let mut network = network();
        network.chain = ChainSpec { genesis_time_s, slot_ms, slots_per_epoch, ..network.chain };
        network.chain.forks[1].epoch = Epoch(fork);
        let (slot, epoch) = (Slot(slot), Epoch(epoch));
        let asked = Asked { slot, epoch, subcommittee, timestamp_s, gas_limit, ..asked(kind) };
        if asked.on(&network, Millis(now)).is_ok() {
            let present = network.chain.slot_at(Millis(now)).unwrap();
            if !matches!(kind, Kind::Randao | Kind::Selection | Kind::SyncSelection | Kind::Exit | Kind::Registration) {
                prop_assert!(slot.0 <= present.0.saturating_add(1));
            }
            if matches!(kind, Kind::Randao | Kind::Exit) {
                prop_assert!(epoch.0 <= network.chain.epoch_of(present).0.saturating_add(2));
            }
        }
    }
}
