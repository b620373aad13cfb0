use holdfast_eth::networks;

use super::*;

fn public(name: &str) -> NetworkPins {
    let facts = networks::all().find(|network| network.name == name).unwrap();
    NetworkPins { chain: facts.chain, exit_fork_version: facts.exit_fork_version }
}

fn with(change: impl FnOnce(&mut NetworkPins)) -> Result<(), UnsoundNetwork> {
    let mut network = network();
    change(&mut network);
    check_network(&network)
}

#[test]
fn what_the_arithmetic_cannot_work_with_is_refused() {
    assert_eq!(check_network(&network()), Ok(()));
    for slot_ms in [0, 60_001, u64::MAX] {
        assert_eq!(with(|network| network.chain.slot_ms = slot_ms), Err(UnsoundNetwork::SlotLength));
    }
    for slots in [0, 1_025, u64::MAX] {
        assert_eq!(with(|network| network.chain.slots_per_epoch = slots), Err(UnsoundNetwork::SlotsPerEpoch));
    }
    assert_eq!(with(|network| network.chain.forks.clear()), Err(UnsoundNetwork::Forks));
    assert_eq!(with(|network| network.chain.forks.reverse()), Err(UnsoundNetwork::Forks));
    assert_eq!(with(|network| network.chain.forks[0].epoch = Epoch(1)), Err(UnsoundNetwork::Forks));
    let last = network().chain.forks[1];
    assert_eq!(with(|network| network.chain.forks.resize(64, last)), Ok(()));
    assert_eq!(with(|network| network.chain.forks.resize(65, last)), Err(UnsoundNetwork::Forks));
}

#[test]
fn a_public_network_is_pinned_with_its_own_facts_only() {
    let mut names = 0;
    for networks::NetworkFacts { name, .. } in networks::all() {
        names += 1;
        assert_eq!(check_network(&public(name)), Ok(()), "{name}");
        let changes: [fn(&mut NetworkPins); 8] = [
            |network| network.chain.genesis_time_s -= 12,
            |network| network.chain.genesis_validators_root = Root([1; 32]),
            |network| network.chain.genesis_fork_version = ForkVersion([1; 4]),
            |network| network.chain.slot_ms = 1_000,
            |network| network.chain.slots_per_epoch = 8,
            |network| network.chain.forks[4].version = ForkVersion([1; 4]),
            |network| network.chain.forks.truncate(6),
            |network| network.exit_fork_version = ForkVersion([1; 4]),
        ];
        for (at, change) in changes.iter().enumerate() {
            let mut changed = public(name);
            change(&mut changed);
            assert_eq!(check_network(&changed), Err(UnsoundNetwork::NotThePublicOne { name }), "{name}, change {at}");
        }
    }
    assert_eq!(names, 5);
}

#[test]
fn a_fork_after_the_release_can_be_added() {
    let mut network = public("mainnet");
    network.chain.forks.push(Fork { epoch: Epoch(500_000), version: ForkVersion([7, 0, 0, 0]) });
    assert_eq!(check_network(&network), Ok(()));
}
