use std::collections::BTreeMap;

use holdfast_eth::DomainType;
use holdfast_eth::domain::{domain, epoch_root, exit_root, signing_root, slot_root, sync_selection_root};
use proptest::prelude::*;

use super::*;

/// The one domain that a kind of request stands for.
fn own_domain(kind: Kind) -> DomainType {
    match kind {
        Kind::Attestation => DomainType::BeaconAttester,
        Kind::Block => DomainType::BeaconProposer,
        Kind::Randao => DomainType::Randao,
        Kind::Selection => DomainType::SelectionProof,
        Kind::SyncSelection => DomainType::SyncCommitteeSelectionProof,
        Kind::SyncMessage => DomainType::SyncCommittee,
        Kind::Aggregate => DomainType::AggregateAndProof,
        Kind::Contribution => DomainType::ContributionAndProof,
        Kind::Exit => DomainType::VoluntaryExit,
        Kind::Registration => DomainType::ApplicationBuilder,
    }
}

/// The root of the object itself, without a domain.
fn object(asked: &Asked) -> Root {
    match asked.kind {
        Kind::Attestation => asked.data().hash_tree_root(),
        Kind::Block => asked.header().hash_tree_root(),
        Kind::Randao => epoch_root(asked.epoch),
        Kind::Selection => slot_root(asked.slot),
        Kind::SyncSelection => sync_selection_root(asked.slot, asked.subcommittee),
        Kind::SyncMessage | Kind::Aggregate | Kind::Contribution => asked.root,
        Kind::Exit => exit_root(asked.epoch, ValidatorIndex(8)),
        Kind::Registration => asked.registration().hash_tree_root(),
    }
}

/// The fork version and the root of genesis that belong to a kind at an epoch.
fn own_fork(kind: Kind, epoch: Epoch) -> (ForkVersion, Root) {
    let network = network();
    let root = network.chain.genesis_validators_root;
    match kind {
        Kind::Exit => (network.exit_fork_version, root),
        Kind::Registration => (network.chain.genesis_fork_version, Root::default()),
        _ => (network.chain.fork_version_at(epoch), root),
    }
}

/// Each signing root under every domain of the specifications, every version of the network and both roots.
fn every_domain(object: Root) -> Vec<((DomainType, ForkVersion, Root), SigningRoot)> {
    let network = network();
    let forks = network.chain.forks.iter().map(|fork| fork.version);
    let versions: Vec<_> = forks.chain([network.exit_fork_version, ForkVersion([0; 4])]).collect();
    let mut all = Vec::new();
    for kind in DomainType::ALL {
        for &version in &versions {
            for root in [network.chain.genesis_validators_root, Root::default()] {
                all.push(((kind, version, root), signing_root(object, &domain(kind, version, root))));
            }
        }
    }
    all
}

#[test]
fn a_request_is_signed_under_its_own_domain_and_under_no_other() {
    let mut pairs = 0;
    for kind in Kind::ALL {
        let asked = asked(kind);
        let signed = asked.at(NOW).unwrap();
        let (version, root) = own_fork(kind, Epoch(3));
        let own = (own_domain(kind), version, root);
        for (which, under) in every_domain(object(&asked)) {
            assert_eq!(signed == under, which == own, "{kind:?} under {which:?}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, 10 * 19 * 4 * 2, "kinds of requests, domains, fork versions, roots of genesis");
}

/// What is signed by no request at all: deposits are made in a ceremony, the rest nowhere.
#[test]
fn some_domains_belong_to_no_request() {
    let own: Vec<_> = Kind::ALL.map(own_domain).to_vec();
    let nobodys: Vec<_> = DomainType::ALL.into_iter().filter(|kind| !own.contains(kind)).collect();
    let expected = [
        DomainType::Deposit,
        DomainType::BlsToExecutionChange,
        DomainType::BeaconBuilder,
        DomainType::BuilderRequestAuth,
        DomainType::PtcAttester,
        DomainType::ProposerPreferences,
        DomainType::BuilderDeposit,
        DomainType::ExecutionProof,
        DomainType::InclusionListCommittee,
    ];
    assert_eq!(nobodys, expected);
    assert_eq!(nobodys.len() + own.len(), DomainType::ALL.len());
}

/// Asks for an opaque root by the three requests that take one. None may equal what another kind signs.
fn opaque(root: Root) -> [(Kind, SigningRoot); 3] {
    Kind::OPAQUE.map(|kind| (kind, Asked { root, ..asked(kind) }.at(NOW).unwrap()))
}

#[test]
fn an_opaque_root_never_becomes_what_another_request_signs() {
    let signed: BTreeMap<Kind, SigningRoot> =
        Kind::ALL.iter().map(|kind| (*kind, asked(*kind).at(NOW).unwrap())).collect();
    let mut compared = 0;
    for kind in Kind::ALL {
        // The object of the other request, and what is finally signed of it, given in as an opaque root.
        for root in [object(&asked(kind)), Root(signed[&kind].0)] {
            for (by, claimed) in opaque(root) {
                for (other, legitimate) in &signed {
                    let same_request = by == *other && root == object(&asked(*other));
                    assert_eq!(claimed == *legitimate, same_request, "{kind:?} as {by:?} equals {other:?}");
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 10 * 2 * 3 * 10);
}

#[test]
fn the_fork_follows_the_epoch_of_the_slot() {
    // Epoch 2 begins a fork with slot 64. The clock is at its first slot, so that both sides of it are in the window.
    let at_fork = network().chain.slot_start(Slot(64));
    for kind in Kind::ALL {
        let mut seen = Vec::new();
        for slot in [63, 64] {
            let epoch = Epoch(slot / 32);
            let asked = Asked { slot: Slot(slot), epoch, ..asked(kind) };
            let (version, root) = own_fork(kind, epoch);
            let expected = signing_root(object(&asked), &domain(own_domain(kind), version, root));
            assert_eq!(asked.at(at_fork), Ok(expected), "{kind:?} of slot {slot}");
            seen.push(version);
        }
        let fixed = matches!(kind, Kind::Exit | Kind::Registration);
        assert_eq!(seen[0] == seen[1], fixed, "{kind:?}");
    }
}

#[test]
fn each_network_has_roots_of_its_own() {
    let other =
        NetworkPins { chain: ChainSpec { genesis_validators_root: Root([8; 32]), ..network().chain }, ..network() };
    for kind in Kind::ALL {
        // Registrations have no chain in them (builder-specs).
        let same = asked(kind).at(NOW) == asked(kind).on(&other, NOW);
        assert_eq!(same, kind == Kind::Registration, "{kind:?}");
    }
}

proptest! {
    /// For one root, whatever it is, every kind of request yields another signing root.
    #[test]
    fn one_root_gives_as_many_signing_roots_as_kinds(root in any::<[u8; 32]>()) {
        let signed = Kind::ALL.map(|kind| Asked { root: Root(root), ..asked(kind) }.at(NOW).unwrap());
        for (at, one) in signed.iter().enumerate() {
            prop_assert!(!signed[..at].contains(one), "{:?}", Kind::ALL[at]);
            prop_assert_ne!(one.0, root);
        }
        for (kind, opaque) in opaque(Root(root)) {
            for (which, under) in every_domain(Root(root)) {
                prop_assert_eq!(opaque == under, which == (own_domain(kind), ForkVersion([6, 0, 0, 1]), Root([7; 32])));
            }
        }
    }
}
