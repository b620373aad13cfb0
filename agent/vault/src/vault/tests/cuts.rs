//! The process is killed at each moment of each change, and the TPM fails at each command that counts. Whatever is left
//! is then the old or the new, whole; it signs again by itself or by the order that its status names, and together with
//! the copy of before nothing slashable.

use std::cell::Cell;
use std::rc::Rc;

use holdfast_eth::AttestationData;
use holdfast_evidence::{IdentityOrder, Order};
use holdfast_hal_sim::{Fault, Operation};
use holdfast_types::{P256Public, ValidatorPublic};

use super::adversity::{other_vote, signs, vote};
use super::*;
use crate::sealed::counter::LEASE_COUNTER;
use crate::sealed::tests::watched::Watched;
use crate::state::StateFolder;
use crate::testing::images::{Image, kept_while, start_watched};
use crate::vault::Vault;

/// A change of a box: how the box is prepared, and what is done with the vault on it.
struct Change {
    name: &'static str,
    set_up: fn() -> TestBox,
    make: fn(&mut TestBox, &mut Vault),
}

/// What a change is about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    authority: Option<P256Public>,
    validators: Vec<ValidatorPublic>,
    level: Option<u64>,
    has_identity: bool,
}

impl View {
    fn of(vault: &mut Vault) -> Self {
        let has_identity = matches!(vault.answer(Request::IdentityKey), Response::IdentityKey(_));
        let status = status(vault);
        Self { authority: status.authority, validators: status.validators, level: status.level, has_identity }
    }
}

fn give(place: &TestBox, vault: &mut Vault, order: Order) {
    let _ = place.operator.order(&mut InProcess(|request| vault.answer(request)), order);
}

/// A box that signed a vote of source 2 and target 3, stopped in order.
fn stopped() -> TestBox {
    let (place, mut vault) = TestBox::with_share();
    assert!(signs(&mut vault, VALIDATOR, vote(2, 3)));
    vault.stop().unwrap();
    place
}

fn killed() -> TestBox {
    let (place, mut vault) = TestBox::with_share();
    assert!(signs(&mut vault, VALIDATOR, vote(2, 3)));
    place
}

fn empty() -> TestBox {
    let place = TestBox::new();
    drop(place.start());
    place
}

fn owned() -> TestBox {
    let mut place = TestBox::new();
    let mut vault = place.start();
    place.operator.own(&mut InProcess(|request| vault.answer(request))).unwrap();
    place
}

/// It ran under a clock that was ahead.
fn ahead() -> TestBox {
    let (place, mut vault) = TestBox::with_share();
    assert!(signs(&mut vault, VALIDATOR, vote(2, 3)));
    for epoch in 4..100 {
        place.clock.set_epoch(epoch);
        settle(&mut vault);
    }
    vault.stop().unwrap();
    place.clock.set_epoch(5);
    place
}

fn without_record() -> TestBox {
    let place = stopped();
    fs::remove_file(place.state().join("lease")).unwrap();
    place
}

fn without_counter() -> TestBox {
    let place = stopped();
    place.tpm.remove_index(LEASE_COUNTER);
    place
}

fn of_a_lower_level() -> TestBox {
    let mut place = TestBox::new();
    let all = std::mem::take(&mut place.release.approvals);
    place.release.approvals = all[..1].to_vec();
    let mut vault = place.start();
    place.import(&mut vault);
    assert!(signs(&mut vault, VALIDATOR, vote(2, 3)));
    vault.stop().unwrap();
    place.release.approvals = all;
    place
}

const SECOND: ValidatorPublic = ValidatorPublic([5; 48]);

const CHANGES: [Change; 19] = [
    Change {
        name: "own",
        set_up: empty,
        make: |place, vault| {
            let _ = place.operator.own(&mut InProcess(|request| vault.answer(request)));
        },
    },
    Change {
        name: "set network",
        set_up: owned,
        make: |place, vault| {
            give(place, vault, Order::SetNetwork { network: network(), epoch: Epoch(3) });
        },
    },
    Change {
        name: "add a fork",
        set_up: stopped,
        make: |place, vault| {
            let mut network = network();
            let version = holdfast_types::ForkVersion([0x60, 0, 0, 1]);
            network.chain.forks.push(holdfast_types::Fork { epoch: Epoch(900), version });
            give(place, vault, Order::SetNetwork { network, epoch: Epoch(3) });
        },
    },
    Change {
        name: "import",
        set_up: stopped,
        make: |place, vault| {
            let mut second = shares(Epoch(3), HistoryClaim::Lost { first: Epoch(6) });
            second.secrets = vec![(SECOND, [8; 32])];
            let _ = place.operator.import(&mut InProcess(|request| vault.answer(request)), &second);
        },
    },
    Change {
        name: "import after a cut",
        set_up: killed,
        make: |place, vault| {
            let mut second = shares(Epoch(3), HistoryClaim::NeverSigned);
            second.secrets = vec![(SECOND, [8; 32])];
            let _ = place.operator.import(&mut InProcess(|request| vault.answer(request)), &second);
        },
    },
    Change {
        name: "identity",
        set_up: stopped,
        make: |place, vault| {
            give(place, vault, Order::Identity(IdentityOrder::MadeHere));
        },
    },
    Change {
        name: "retire",
        set_up: stopped,
        make: |place, vault| {
            give(place, vault, Order::Retire(vec![VALIDATOR]));
        },
    },
    Change {
        name: "retire after a cut",
        set_up: killed,
        make: |place, vault| {
            give(place, vault, Order::Retire(vec![VALIDATOR]));
        },
    },
    Change {
        name: "hand over",
        set_up: stopped,
        make: |place, vault| {
            let mut next = holdfast_test_operator::Operator::from_seed(2);
            let _ = place.operator.hand_over(&mut InProcess(|request| vault.answer(request)), &mut next);
        },
    },
    Change {
        name: "new counter",
        set_up: stopped,
        make: |place, vault| {
            give(place, vault, Order::NewCounter { epoch: Epoch(6) });
        },
    },
    Change {
        name: "new counter after a cut",
        set_up: killed,
        make: |place, vault| {
            give(place, vault, Order::NewCounter { epoch: Epoch(6) });
        },
    },
    Change {
        name: "new counter of a lease ahead",
        set_up: ahead,
        make: |place, vault| {
            give(place, vault, Order::NewCounter { epoch: Epoch(7) });
        },
    },
    Change {
        name: "new counter where it is gone",
        set_up: without_counter,
        make: |place, vault| {
            give(place, vault, Order::NewCounter { epoch: Epoch(6) });
        },
    },
    Change {
        name: "accept a floor",
        set_up: without_record,
        make: |place, vault| {
            give(place, vault, Order::AcceptFloor { epoch: Epoch(6) });
        },
    },
    Change { name: "vouch", set_up: killed, make: |place, vault| give(place, vault, Order::VouchDisk) },
    Change { name: "reset", set_up: stopped, make: |place, vault| give(place, vault, Order::Reset) },
    Change {
        name: "raise the level",
        set_up: of_a_lower_level,
        make: |_, vault| {
            vault.answer(Request::RaiseLevel);
        },
    },
    Change {
        name: "renew",
        set_up: stopped,
        make: |place, vault| {
            let last = status(vault).lease.map_or(11, |lease| lease.last_epoch.0);
            place.clock.set_epoch(last);
            for _ in 0..5 {
                vault.maintain();
            }
        },
    },
    Change {
        name: "end a wait",
        set_up: killed,
        make: |place, vault| {
            place.clock.set_epoch(30);
            for _ in 0..5 {
                vault.maintain();
            }
        },
    },
];

/// Whether a validator is slashed for the two.
fn slashable(one: &AttestationData, two: &AttestationData) -> bool {
    let surrounds = |one: &AttestationData, two: &AttestationData| {
        one.source.epoch < two.source.epoch && two.target.epoch < one.target.epoch
    };
    one != two && (one.target.epoch == two.target.epoch || surrounds(one, two) || surrounds(two, one))
}

/// All votes of [`VALIDATOR`] that were signed.
struct Released(Vec<AttestationData>);

impl Released {
    /// Asks for what would contradict what was signed, and for a new vote; whether the new one is signed.
    fn ask(&mut self, place: &TestBox, vault: &mut Vault) -> bool {
        let now = place.present().0;
        let (targets, fresh): (Vec<u64>, _) =
            (self.0.iter().map(|vote| vote.target.epoch.0).collect(), vote(now - 1, now));
        let doubles = targets.into_iter().map(|target| other_vote(target - 1, target));
        for asked in doubles.chain([vote(1, now), fresh, other_vote(now - 1, now)]) {
            if signs(vault, VALIDATOR, asked) {
                self.0.push(asked);
            }
        }
        self.0.contains(&fresh)
    }

    fn judge(&self, at: &str) {
        for (number, one) in self.0.iter().enumerate() {
            for two in &self.0[..number] {
                assert!(!slashable(one, two), "{one:?} and {two:?}, {at}");
            }
        }
    }
}

/// Brings a box to where it has nothing to wait for, by time or by the order that its status names.
fn brought_back(place: &TestBox, vault: &mut Vault, at: &str) {
    for _ in 0..40 {
        settle(vault);
        let Some(found) = status(vault).closed else { return };
        let next = Epoch(place.present().0 + 2);
        let order = match found.id {
            ClosedId::NoShares | ClosedId::NotOwned => return,
            ClosedId::LeaseUnclean | ClosedId::CatchingUp if !found.reason.contains("order AcceptFloor") => {
                place.clock.set_epoch(place.present().0 + 4);
                continue;
            }
            _ if found.reason.contains("order AcceptFloor") => Order::AcceptFloor { epoch: next },
            _ if found.reason.contains("order NewCounter") => Order::NewCounter { epoch: next },
            _ => panic!("{found}, {at}"),
        };
        let done = place.operator.order(&mut InProcess(|request| vault.answer(request)), order);
        done.unwrap_or_else(|error| panic!("{found}: {}, {at}", crate::vault::in_full(&error)));
    }
    panic!("{:?}, {at}", status(vault).closed);
}

/// Looks at what is left of a box, and then at the copy of before on the same TPM.
fn check(place: &TestBox, before: &Image, views: &[View; 2], at: &str) {
    let had_shares = views[0].validators.contains(&VALIDATOR);
    let mut released = Released(if had_shares { vec![vote(2, 3)] } else { Vec::new() });
    let mut vault = place.start();
    brought_back(place, &mut vault, at);
    let found = View::of(&mut vault);
    assert!(views.contains(&found), "{found:?} is neither of {views:?}, {at}");
    let mut alive = !found.validators.contains(&VALIDATOR);
    for _ in 0..24 {
        alive |= released.ask(place, &mut vault);
        place.clock.set_epoch(place.present().0 + 4);
        settle(&mut vault);
    }
    assert!(alive, "it never signs again: {:?}, {at}", status(&mut vault).closed);
    let last = place.present();
    drop(vault);
    // The copy starts while the clock is where it was, and goes through the same time once more.
    place.clock.set_epoch(5);
    before.put_files(place, |_| true);
    let mut vault = place.start();
    while place.present() < last {
        released.ask(place, &mut vault);
        place.clock.set_epoch(place.present().0 + 8);
        settle(&mut vault);
    }
    released.judge(at);
}

/// Kills the process at each moment of each change, and lets each counting command to the TPM fail.
fn sweep(changes: &[Change]) {
    for change in changes {
        let mut place = (change.set_up)();
        let (before, time) = (Image::of(&place), place.present());
        let mut vault = start_watched(&place);
        let old = View::of(&mut vault);
        let images = kept_while(place.state(), place.tpm.clone(), || (change.make)(&mut place, &mut vault));
        let views = [old, View::of(&mut vault)];
        drop(vault);
        assert!(images.len() >= 3, "{}: {} images", change.name, images.len());
        for (number, image) in images.iter().enumerate() {
            image.put(&place);
            place.clock.set_epoch(time.0);
            check(&place, &before, &views, &format!("{}, cut {number} of {}", change.name, images.len()));
        }
        for how in [Failure::Refuses, Failure::LosesAnswers, Failure::Dies] {
            let struck = fail(&mut place, &before, time, &views, change, how);
            assert!(struck >= 2, "{}: {struck} commands", change.name);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Failure {
    /// It refuses one command.
    Refuses,
    /// It does one command, and the answer is lost.
    LosesAnswers,
    /// It answers nothing from one command on.
    Dies,
}

/// Lets each counting command fail in turn. Returns how many there were.
fn fail(place: &mut TestBox, before: &Image, time: Epoch, views: &[View; 2], change: &Change, how: Failure) -> usize {
    for step in 0.. {
        before.put(place);
        place.clock.set_epoch(time.0);
        let asked = Rc::new(Cell::new(None));
        let at = Rc::clone(&asked);
        let tpm = Watched::new(&place.tpm, move |operation, _| {
            let number: usize = at.get().filter(|_| COUNTING.contains(&operation))?;
            at.set(Some(number + 1));
            match how {
                Failure::Refuses if number == step => Some(Fault::Refused),
                Failure::LosesAnswers if number == step => Some(Fault::AnswerLost),
                Failure::Dies if number >= step => Some(Fault::Refused),
                _ => None,
            }
        });
        let mut vault = place.start_on(Box::new(StateFolder::open(&place.state()).unwrap()), Box::new(tpm));
        settle(&mut vault);
        asked.set(Some(0));
        (change.make)(place, &mut vault);
        let done = asked.take().unwrap() <= step;
        drop(vault);
        check(place, before, views, &format!("{}, {how:?} at {step}", change.name));
        if done {
            return step;
        }
    }
    unreachable!("a change ends")
}

/// The commands by which something is counted.
const COUNTING: [Operation; 3] = [Operation::CounterDefine, Operation::CounterIncrement, Operation::CounterRead];

#[test]
fn a_new_owner_is_there_or_not() {
    sweep(&CHANGES[..3]);
}

#[test]
fn shares_and_identity_come_and_go_whole() {
    sweep(&CHANGES[3..8]);
}

#[test]
fn another_authority_has_the_box_or_not() {
    sweep(&CHANGES[8..9]);
}

#[test]
fn a_new_lease_begins_or_the_old_one_is_as_it_was() {
    sweep(&CHANGES[9..15]);
}

#[test]
fn what_comes_by_itself_may_be_cut_as_well() {
    sweep(&CHANGES[15..]);
}
