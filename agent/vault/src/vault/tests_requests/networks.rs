//! The network is the pinned one, whatever the daemon thinks: no request says anything about it.

use holdfast_eth::domain::signing_root_at;
use holdfast_evidence::{HistoryClaim, NetworkPins};
use holdfast_test_operator::InProcess;
use holdfast_types::{Fork, ForkVersion, Millis};
use holdfast_vault_client::codec::{self, CodecError, HEADER_LEN};

use super::domains::verifies;
use super::*;

/// A box on a network, with the share of [`VALIDATOR`], in slot 100.
fn on(network: NetworkPins) -> (TestBox, Vault) {
    let mut place = TestBox::new();
    let chain = network.chain.clone();
    place.clock.set(chain.slot_start(Slot(100)));
    let mut vault = place.start();
    let epoch = chain.epoch_of(Slot(100));
    let mut ask = InProcess(|request| vault.answer(request));
    place.operator.own(&mut ask).unwrap();
    place.operator.set_network(&mut ask, network, epoch).unwrap();
    place.operator.import(&mut ask, &shares(epoch, HistoryClaim::NeverSigned)).unwrap();
    settle(&mut vault);
    (place, vault)
}

fn with(change: impl FnOnce(&mut ChainSpec)) -> NetworkPins {
    let mut network = network();
    change(&mut network.chain);
    network
}

/// Networks that differ from that of the tests in one thing each.
fn others() -> [NetworkPins; 3] {
    let fork = |epoch, version| Fork { epoch: Epoch(epoch), version: ForkVersion(version) };
    [
        with(|chain| chain.genesis_validators_root = Root([8; 32])),
        with(|chain| chain.forks[1].version = ForkVersion([0x66, 0, 0, 1])),
        with(|chain| chain.forks.push(fork(3, [0x67, 0, 0, 1]))),
    ]
}

#[test]
fn the_same_bytes_are_signed_for_the_pinned_network_only() {
    let all: Vec<NetworkPins> = [network()].into_iter().chain(others()).collect();
    for (pinned_at, pinned) in all.iter().enumerate() {
        let (_place, mut vault) = on(pinned.clone());
        for kind in Kind::ALL {
            let asked = Asked::new(kind, 100, &chain());
            let partial = asked.of(&mut vault).unwrap();
            for (at, network) in all.iter().enumerate() {
                let root = signing_root_at(&network.chain, kind.domain(), Epoch(3), asked.object());
                assert_eq!(verifies(root, &partial).is_ok(), at == pinned_at, "{kind:?} on {pinned_at}, under {at}");
            }
        }
    }
}

#[test]
fn an_epoch_is_as_long_as_the_pinned_network_has_it() {
    let halves = with(|chain| {
        chain.slots_per_epoch = 16;
        chain.forks[1].epoch = Epoch(5);
    });
    let (_place, mut vault) = on(halves.clone());
    // A daemon that counts 32 slots to an epoch has slot 100 in epoch 3.
    let refused = Asked::new(Kind::Attestation, 100, &chain()).of(&mut vault).unwrap_err();
    assert!(refused.to_string().ends_with("the slot is in epoch 6"), "{refused}");
    assert!(Asked::new(Kind::Randao, 100, &chain()).of(&mut vault).is_err());
    for kind in Kind::ALL {
        let asked = Asked::new(kind, 100, &halves.chain);
        let partial = asked.of(&mut vault).unwrap();
        // Of epoch 6 and after the fork at epoch 5; in the daemon's epoch 3 it would be before.
        let root = |epoch| signing_root_at(&halves.chain, kind.domain(), Epoch(epoch), asked.object());
        assert_eq!(
            (verifies(root(6), &partial).is_ok(), verifies(root(3), &partial).is_ok()),
            (true, false),
            "{kind:?}"
        );
    }
}

#[test]
fn a_slot_is_as_long_as_the_pinned_network_has_it() {
    let slow = with(|chain| chain.slot_ms = 4_000);
    let (place, mut vault) = on(slow);
    // By slots of two seconds this were slot 200.
    assert_eq!(place.now(), Millis(1_000_000 + 100 * 4_000));
    assert!(Asked::new(Kind::Block, 102, &chain()).of(&mut vault).is_err());
    assert!(Asked::new(Kind::Block, 101, &chain()).of(&mut vault).is_ok());
}

#[test]
fn a_request_with_anything_added_is_none() {
    for kind in Kind::ALL {
        let frame = codec::encode_request(&Asked::new(kind, 100, &chain()).request()).unwrap();
        let message = &frame[HEADER_LEN..];
        assert_eq!(codec::decode_request(message).ok().as_ref().and_then(Kind::of), Some(kind));
        // A fork version, or slots per epoch.
        for claimed in [&[6, 0, 0, 1][..], &[32], &[16, 0, 0, 0, 0, 0, 0, 0]] {
            let longer = [message, claimed].concat();
            let extra = claimed.len();
            let refused = codec::decode_request(&longer).unwrap_err();
            assert_eq!(refused, CodecError::TrailingBytes { extra }, "{kind:?}");
        }
    }
}
