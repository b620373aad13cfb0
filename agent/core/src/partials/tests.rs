//! The store with made-up verdicts, and the job with real keys.

use holdfast_bls::{ShareSecret, ValidatorSecret};
use holdfast_eth::Checkpoint;
use holdfast_types::Slot;
use holdfast_wire::parsigex::{Partial, PartialRandao};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::setup::tests::{cluster, setup};
use crate::setup::{Setup, ValidatorShares};

const DUTY: DutyId = DutyId::attester(Slot(40));

fn data(head: u8) -> AttestationData {
    AttestationData {
        slot: Slot(40),
        index: 0,
        beacon_block_root: Root([head; 32]),
        source: Checkpoint::default(),
        target: Checkpoint { epoch: Epoch(1), root: Root([7; 32]) },
    }
}

fn validator(number: u8) -> ValidatorPublic {
    ValidatorPublic([number; 48])
}

fn partial(operator: u8, data: AttestationData) -> Partial {
    let partial = PartialAttestation {
        version: 6,
        validator: Some(ValidatorIndex(5)),
        committee: Some(2),
        data,
        signature: PartialSignature([operator; 96]),
    };
    Partial { share: OperatorIndex(operator).share(), payload: Payload::Attestation(partial) }
}

fn set<const N: usize>(partials: [(ValidatorPublic, Partial); N]) -> PartialSet {
    PartialSet { duty: DUTY, partials: BTreeMap::from(partials) }
}

/// A store in which these operators' partials for validator 1 are.
fn store(operators: &[u8]) -> (Cluster, PartialStore) {
    let (cluster, mut store) = (cluster(2), PartialStore::default());
    for operator in operators {
        let faults = store.add(&cluster, OperatorIndex(*operator), set([(validator(1), partial(*operator, data(1)))]));
        assert_eq!(faults, []);
    }
    (cluster, store)
}

fn add(store: &mut PartialStore, cluster: &Cluster, operator: u8, set: PartialSet) -> Vec<PeerFault> {
    store.add(cluster, OperatorIndex(operator), set)
}

/// The answer to a job in which everything is good, but for the partials of one operator.
fn verdict(job: &BlsJob, bad: Option<u8>, combined: Combined) -> BlsDone {
    let judge = |group: &Group| Verdict {
        validator: group.validator,
        object: group.object,
        fresh: group.fresh.iter().map(|fresh| (fresh.operator, Some(fresh.operator.0) != bad)).collect(),
        combined,
    };
    BlsDone { duty: job.duty, groups: job.groups.iter().map(judge).collect() }
}

#[test]
fn what_is_not_the_senders_to_say_is_refused_by_name() {
    let (cluster, mut store) = store(&[]);
    let refused = |store: &mut PartialStore, entry| add(store, &cluster, 1, set([entry])).pop().unwrap();
    assert_eq!(
        refused(&mut store, (validator(9), partial(1, data(1)))),
        PeerFault::UnknownValidator { duty: DUTY, validator: validator(9) }
    );
    assert_eq!(
        refused(&mut store, (validator(1), partial(2, data(1)))),
        PeerFault::ForeignShare { duty: DUTY, share: ShareIndex(3) }
    );
    let wrong = PeerFault::WrongPayload { duty: DUTY, validator: validator(1) };
    let other_slot = AttestationData { slot: Slot(41), ..data(1) };
    assert_eq!(refused(&mut store, (validator(1), partial(1, other_slot))), wrong);
    let mut other_target = data(1);
    other_target.target.epoch = Epoch(2);
    assert_eq!(refused(&mut store, (validator(1), partial(1, other_target))), wrong);
    let mut other_kind = partial(1, data(1));
    other_kind.payload = Payload::Randao(PartialRandao { epoch: Epoch(1), signature: PartialSignature([1; 96]) });
    assert_eq!(refused(&mut store, (validator(1), other_kind)), wrong);
    assert_eq!(store.len(), 0);
}

#[test]
fn the_first_partial_of_a_share_stays_and_the_rest_of_the_set_is_taken() {
    let (cluster, mut store) = store(&[1]);
    assert_eq!(add(&mut store, &cluster, 1, set([(validator(1), partial(1, data(1)))])), [], "the same again");
    let second = set([(validator(1), partial(1, data(2))), (validator(2), partial(1, data(1)))]);
    let conflict = PeerFault::ConflictingPartial { duty: DUTY, validator: validator(1) };
    assert_eq!(add(&mut store, &cluster, 1, second), [conflict]);
    assert_eq!(store.len(), 2);
}

#[test]
fn a_batch_waits_for_the_threshold_and_one_is_under_way_at_a_time() {
    let (cluster, mut store) = store(&[0, 1]);
    let start = cluster.duty_start(DUTY);
    assert!(store.take_job(&cluster, DUTY, start).is_none());
    add(&mut store, &cluster, 2, set([(validator(1), partial(2, data(1)))]));
    let job = store.take_job(&cluster, DUTY, start).unwrap();
    assert_eq!(job.len(), 3);
    add(&mut store, &cluster, 3, set([(validator(1), partial(3, data(1)))]));
    assert!(store.take_job(&cluster, DUTY, start).is_none());
    let outcome = store.finish(verdict(&job, None, Combined::Good(Signature([9; 96]))));
    assert_eq!(outcome.combined.len(), 1);
    assert_eq!(outcome.combined[0].said, Some((ValidatorIndex(5), 2)));
    let rest = store.take_job(&cluster, DUTY, start).unwrap();
    assert_eq!((rest.len(), rest.groups[0].wanted), (1, false), "everyone is there, and nothing is left to combine");
}

#[test]
fn partials_of_different_roots_do_not_complete_each_other() {
    let (cluster, mut store) = store(&[0, 1]);
    add(&mut store, &cluster, 2, set([(validator(1), partial(2, data(2)))]));
    assert!(store.take_job(&cluster, DUTY, cluster.duty_start(DUTY)).is_none());
    add(&mut store, &cluster, 3, set([(validator(1), partial(3, data(1)))]));
    let job = store.take_job(&cluster, DUTY, cluster.duty_start(DUTY)).unwrap();
    assert_eq!(job.groups.iter().map(|group| group.fresh.len()).sum::<usize>(), 4);
    assert_eq!(job.groups.len(), 2);
}

#[test]
fn after_a_slot_nobody_is_waited_for() {
    let (cluster, mut store) = store(&[1]);
    let ends = store.next_wake(&cluster).unwrap();
    assert_eq!(ends, cluster.duty_start(DUTY).plus(12_000));
    assert!(store.take_job(&cluster, DUTY, Millis(ends.0 - 1)).is_none());
    assert_eq!(store.take_job(&cluster, DUTY, ends).unwrap().len(), 1);
    assert_eq!(store.next_wake(&cluster), None);
}

#[test]
fn a_bad_partial_is_its_senders_and_stays_out_of_later_batches() {
    let (cluster, mut store) = store(&[0, 1, 2]);
    let start = cluster.duty_start(DUTY);
    let job = store.take_job(&cluster, DUTY, start).unwrap();
    let outcome = store.finish(verdict(&job, Some(1), Combined::No));
    assert_eq!(outcome.bad, BTreeMap::from([(OperatorIndex(1), vec![validator(1)])]));
    assert_eq!(outcome.good.len(), 2);
    assert!(store.take_job(&cluster, DUTY, start).is_none());
    add(&mut store, &cluster, 3, set([(validator(1), partial(3, data(1)))]));
    let job = store.take_job(&cluster, DUTY, start).unwrap();
    assert_eq!((job.len(), job.groups[0].verified.len()), (1, 2));
}

#[test]
fn a_job_that_is_lost_blames_nobody_and_does_not_hold_up_the_next() {
    let (cluster, mut store) = store(&[0, 1, 2]);
    let start = cluster.duty_start(DUTY);
    let job = store.take_job(&cluster, DUTY, start).unwrap();
    let outcome = store.finish(BlsJob::lost(job.duty()));
    assert!(outcome.good.is_empty() && outcome.bad.is_empty() && outcome.failed.is_empty());
    assert!(store.take_job(&cluster, DUTY, start).is_none(), "what broke a job once is not tried for ever");
    add(&mut store, &cluster, 3, set([(validator(1), partial(3, data(1)))]));
    assert_eq!(store.take_job(&cluster, DUTY, cluster.patience_end(DUTY)).unwrap().len(), 1);
}

#[test]
fn a_peer_can_fill_its_own_room_only_and_it_is_freed_when_duties_end() {
    let (cluster, mut store) = (cluster(1), PartialStore::default());
    let mut faults = Vec::new();
    for slot in 32..42 {
        let duty = DutyId::attester(Slot(slot));
        let partials = BTreeMap::from([(validator(1), partial(1, AttestationData { slot: Slot(slot), ..data(1) }))]);
        faults.extend(add(&mut store, &cluster, 1, PartialSet { duty, partials }));
    }
    assert_eq!(store.len(), held_per_operator_max(&cluster));
    assert_eq!(faults.len(), 10 - store.len());
    assert!(matches!(faults[0], PeerFault::Flood { .. }));
    assert_eq!(add(&mut store, &cluster, 2, set([(validator(1), partial(2, data(1)))])), []);
    store.drop_expired(&cluster, cluster.duty_end(DutyId::attester(Slot(42))));
    assert_eq!((store.len(), store.duties().len()), (0, 0));
}

/// Four real shares of one validator, and the cluster that they belong to.
fn dealt(seed: u64) -> (Cluster, ValidatorPublic, Vec<ShareSecret>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let secret = ValidatorSecret::random(&mut rng);
    let shares: Vec<ShareSecret> = secret.split(3, 4, &mut rng).unwrap().into_iter().map(|(_, share)| share).collect();
    let validators =
        vec![ValidatorShares { public: secret.public(), shares: shares.iter().map(ShareSecret::public).collect() }];
    (Cluster::new(Setup { validators, ..setup(0) }).unwrap(), secret.public(), shares)
}

/// Runs a real job over partials of the first `count` operators, of whom one may sign something else.
fn outcome_of(
    (cluster, public, shares): &(Cluster, ValidatorPublic, Vec<ShareSecret>),
    count: u8,
    bad: Option<u8>,
) -> Outcome {
    let mut store = PartialStore::default();
    for operator in 0..count {
        let signed = if bad == Some(operator) { data(2) } else { data(1) };
        let signature = shares[usize::from(operator)].sign(signing_root(cluster, &signed));
        let partial = own_partial(cluster, data(1), None, signature);
        store.insert(cluster, DUTY, *public, OperatorIndex(operator), partial).unwrap();
    }
    let job = store.take_job(cluster, DUTY, cluster.patience_end(DUTY)).unwrap();
    store.finish(job.run([3; 32]))
}

#[test]
fn a_real_job_combines_what_the_group_key_verifies() {
    let dealt = dealt(1);
    for count in [3, 4] {
        let outcome = outcome_of(&dealt, count, None);
        assert_eq!((outcome.good.len(), outcome.bad.len()), (usize::from(count), 0));
        let whole = outcome.combined[0];
        assert_eq!((whole.validator, whole.data, whole.said), (dealt.1, data(1), None));
        holdfast_bls::verify_group(&dealt.1, signing_root(&dealt.0, &data(1)), &whole.signature).unwrap();
    }
}

#[test]
fn a_real_job_finds_the_bad_one_and_combines_the_others() {
    let dealt = dealt(2);
    let outcome = outcome_of(&dealt, 4, Some(2));
    assert_eq!(outcome.bad.keys().collect::<Vec<_>>(), [&OperatorIndex(2)]);
    assert_eq!(outcome.combined.len(), 1);
    let outcome = outcome_of(&dealt, 3, Some(2));
    assert!(outcome.combined.is_empty() && outcome.failed.is_empty());
}

#[test]
fn shares_of_another_key_are_a_failure_of_the_lock_and_not_of_a_peer() {
    let (cluster, public, shares) = dealt(3);
    let (_, other, _) = dealt(4);
    let publics: Vec<_> = cluster.all_operators().filter_map(|operator| cluster.share(&public, operator)).collect();
    let validators = vec![ValidatorShares { public: other, shares: publics }];
    let outcome = outcome_of(&(Cluster::new(Setup { validators, ..setup(0) }).unwrap(), other, shares), 4, None);
    assert_eq!((outcome.failed, outcome.combined.len(), outcome.bad.len()), (vec![other], 0, 0));
}
