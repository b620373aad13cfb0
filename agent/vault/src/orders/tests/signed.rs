//! The two signatures that only an order gets: exits and builder registrations, within their windows.

use holdfast_bls::{VerifyError, public_of, verify_partial};
use holdfast_eth::BuilderRegistration;
use holdfast_eth::domain::{DomainType, domain, exit_root, signing_root};
use holdfast_types::{Root, SigningRoot};

use super::*;

/// The domain of each purpose under every version of the network and both roots of genesis, which is many more than a
/// signature may count under.
fn every_root(object: Root) -> Vec<SigningRoot> {
    let NetworkPins { chain, exit_fork_version } = network();
    let mut versions: Vec<ForkVersion> = chain.forks.iter().map(|fork| fork.version).collect();
    versions.extend([exit_fork_version, ForkVersion::default()]);
    let roots = [chain.genesis_validators_root, Root::default()];
    let each = |kind| versions.iter().flat_map(move |version| roots.map(|root| domain(kind, *version, root)));
    DomainType::ALL.into_iter().flat_map(each).map(|domain| signing_root(object, &domain)).collect()
}

/// Says that a signature counts under `own`, and under no other root that the object has.
fn counts_only_under(outcome: &OrderOutcome, own: SigningRoot, object: Root) {
    let OrderOutcome::Signed(partial) = outcome else { panic!("{outcome:?}") };
    let public = public_of(&SECRET).unwrap();
    let roots = every_root(object);
    assert_eq!(roots.iter().filter(|root| **root == own).count(), 1);
    for root in roots {
        let expected = if root == own { Ok(()) } else { Err(VerifyError::Mismatch) };
        assert_eq!(verify_partial(&public, root, partial), expected, "{root:?}");
    }
}

fn exit(epoch: u64) -> Order {
    Order::Exit { validator: VALIDATOR, validator_index: ValidatorIndex(8), epoch: Epoch(epoch) }
}

fn register(timestamp_s: u64, gas_limit: u64) -> Order {
    Order::Register { validator: VALIDATOR, fee_recipient: [2; 20], gas_limit, timestamp_s }
}

#[test]
fn an_exit_counts_under_the_fork_version_for_exits_and_nothing_else() {
    let (place, mut vault) = Situation::Open.set_up();
    for epoch in [0, 3, 5] {
        let outcome = order(&place, &mut vault, exit(epoch)).unwrap();
        let object = exit_root(Epoch(epoch), ValidatorIndex(8));
        let NetworkPins { chain, exit_fork_version } = network();
        let own = domain(DomainType::VoluntaryExit, exit_fork_version, chain.genesis_validators_root);
        counts_only_under(&outcome, signing_root(object, &own), object);
    }
}

#[test]
fn a_registration_counts_under_the_genesis_fork_without_a_root_and_nothing_else() {
    let (place, mut vault) = Situation::Open.set_up();
    let present_s = place.now().0 / 1_000;
    for timestamp_s in [0, present_s, present_s + 24 * 60 * 60] {
        let outcome = order(&place, &mut vault, register(timestamp_s, 60_000_000)).unwrap();
        let asked =
            BuilderRegistration { fee_recipient: [2; 20], gas_limit: 60_000_000, timestamp_s, pubkey: VALIDATOR };
        let own = domain(DomainType::ApplicationBuilder, chain().genesis_fork_version, Root::default());
        let object = asked.hash_tree_root();
        // The genesis version is that of the first fork as well, so only the root of zero tells them apart.
        counts_only_under(&outcome, signing_root(object, &own), object);
    }
}

#[test]
fn what_is_outside_the_windows_is_refused_and_says_so() {
    let (place, mut vault) = Situation::Open.set_up();
    let present_s = place.now().0 / 1_000;
    let last_s = present_s + 24 * 60 * 60;
    let time = format!("the vault's clock is at {present_s} s, the last time it signs is {last_s} s");
    let gas = "a gas limit is from 5000 to 1000000000";
    let unknown = format!("no share of validator {SECOND} in this vault");
    let strange = |order: Order| match order {
        Order::Exit { validator_index, epoch, .. } => Order::Exit { validator: SECOND, validator_index, epoch },
        Order::Register { fee_recipient, gas_limit, timestamp_s, .. } => {
            Order::Register { validator: SECOND, fee_recipient, gas_limit, timestamp_s }
        }
        other => other,
    };
    for (given, reason) in [
        (exit(6), "the vault's clock is in epoch 3, the last it signs is 5"),
        (exit(u64::MAX), "the vault's clock is in epoch 3, the last it signs is 5"),
        (register(last_s + 1, 60_000_000), time.as_str()),
        (register(u64::MAX, 60_000_000), time.as_str()),
        (register(present_s, 4_999), gas),
        (register(present_s, 1_000_000_001), gas),
        (strange(exit(3)), unknown.as_str()),
        (strange(register(present_s, 60_000_000)), unknown.as_str()),
    ] {
        let refused = order(&place, &mut vault, given.clone()).unwrap_err();
        assert!(refused.ends_with(reason), "{given:?}: {refused}");
    }
    for given in [exit(5), register(last_s, 5_000), register(last_s, 1_000_000_000)] {
        assert!(order(&place, &mut vault, given).is_ok());
    }
}
