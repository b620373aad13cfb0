//! Every kind of order: carried out once with the right papers, and with wrong ones refused, whatever they lack.

use std::time::Duration;

use holdfast_bls::{public_of, verify_partial};
use holdfast_eth::BuilderRegistration;
use holdfast_eth::domain::exit_signing_root;

use super::*;

const ELEVEN_MINUTES: Duration = Duration::from_secs(11 * 60);
const OTHER_BOX: &str = "the order is for another box: this one is ";
const NOT_SIGNED: &str = "the order is not signed by the authority of this box";
const NO_CHALLENGE: &str =
    "the order answers no challenge of this vault, or an old one: ask for a new challenge and sign again";
const EXPIRED: &str = "the challenge is older than ten minutes: ask for a new one and sign again";

/// A box on which orders are refused, and everything about it at first.
struct Desk {
    place: TestBox,
    vault: Vault,
    before: Seen,
    tried: u64,
}

impl Desk {
    fn new(kind: Kind) -> Self {
        let (place, mut vault) = kind.situation().set_up();
        let before = seen(&place, &mut vault);
        Self { place, vault, before, tried: 0 }
    }

    /// Gives an order that does not count: it is refused in these words, changes nothing, and is logged.
    fn refuses(&mut self, what: &str, order: &SignedOrder, words: &str) {
        let before = status(&mut self.vault);
        let reason = give(&mut self.vault, order).expect_err(what);
        assert!(reason.starts_with(words), "{what}: {reason}");
        let after = status(&mut self.vault);
        assert_eq!(after.orders_logged, before.orders_logged + 1, "{what} is logged");
        assert_ne!(after.orders_head, before.orders_head, "{what}");
        let Response::OrderLog(page) = self.vault.answer(Request::OrderLog { after: before.orders_logged }) else {
            panic!("{what}: no page of the log");
        };
        let [entry] = page.as_slice() else { panic!("{what}: {page:?}") };
        assert_eq!(entry.hash, entry.hash_after(&before.orders_head), "{what}");
        assert_eq!(entry.hash, after.orders_head, "{what}");
        assert_eq!((entry.order, entry.refused.as_deref()), (order.digest(), Some(reason.as_str())), "{what}");
        self.is_unchanged(what);
        self.tried += 1;
    }

    fn is_unchanged(&mut self, what: &str) {
        assert_eq!(seen(&self.place, &mut self.vault), self.before, "{what} changed something");
    }
}

/// Gives an order with everything wrong that can be, one after the other.
fn wrong_papers(desk: &mut Desk, order: &Order) {
    let older = challenge(&mut desk.vault);
    let present = challenge(&mut desk.vault);
    let (name, operator) = (desk.before.status.box_name, Operator::from_seed(1));
    let sign = |challenge| operator.sign(name, challenge, order.clone());

    desk.refuses("an order for an older challenge", &sign(older), NO_CHALLENGE);
    desk.refuses("an order for a challenge of somebody's own", &sign(Challenge([1; 32])), NO_CHALLENGE);
    let elsewhere = operator.sign(BoxName([9; 32]), present, order.clone());
    desk.refuses("an order for another box", &elsewhere, &format!("{OTHER_BOX}{name}"));
    let strangers = Operator::from_seed(99).sign(name, present, order.clone());
    desk.refuses("an order of another authority", &strangers, NOT_SIGNED);

    desk.place.clock.pass(ELEVEN_MINUTES);
    desk.refuses("an order that comes too late", &sign(present), EXPIRED);
    desk.refuses("an order that came too late, once more", &sign(present), NO_CHALLENGE);
}

#[test]
fn every_kind_is_refused_with_wrong_papers() {
    for kind in Kind::ALL {
        let mut desk = Desk::new(kind);
        let order = kind.order(&mut desk.place, &mut desk.vault);
        desk.before = seen(&desk.place, &mut desk.vault);
        wrong_papers(&mut desk, &order);
        assert_eq!(desk.tried, 6);
        // It was the papers: with the right ones the same order is carried out.
        let right = signed(&desk.place, &mut desk.vault, order);
        give(&mut desk.vault, &right).unwrap_or_else(|reason| panic!("{kind:?}: {reason}"));
    }
}

/// The bytes of an order with some of them changed, where that is an order still.
fn changed(order: &SignedOrder, change: impl FnOnce(&mut Vec<u8>)) -> Option<SignedOrder> {
    let mut bytes = postcard::to_allocvec(order).unwrap();
    change(&mut bytes);
    postcard::from_bytes(&bytes).ok()
}

#[test]
fn no_byte_of_the_signature_can_be_another() {
    for kind in Kind::ALL {
        let mut desk = Desk::new(kind);
        let order = kind.order(&mut desk.place, &mut desk.vault);
        let order = signed(&desk.place, &mut desk.vault, order);
        desk.before = seen(&desk.place, &mut desk.vault);
        let len = postcard::to_allocvec(&order).unwrap().len();
        for place in len - SIGNATURE_LEN..len {
            for bits in [0x01, 0x80, 0xff] {
                let forged = changed(&order, |bytes| bytes[place] ^= bits).unwrap();
                assert_eq!(give(&mut desk.vault, &forged).unwrap_err(), NOT_SIGNED, "{kind:?} {place} {bits}");
            }
        }
        for bytes in [[0; SIGNATURE_LEN], [0xff; SIGNATURE_LEN]] {
            let forged = changed(&order, |order| order[len - SIGNATURE_LEN..].copy_from_slice(&bytes)).unwrap();
            assert_eq!(give(&mut desk.vault, &forged).unwrap_err(), NOT_SIGNED, "{kind:?}");
        }
        desk.is_unchanged("an order that is not signed");
        // Nothing of that has used up the challenge.
        give(&mut desk.vault, &order).unwrap_or_else(|reason| panic!("{kind:?}: {reason}"));
    }
}

#[test]
fn no_byte_of_the_text_can_be_another() {
    for kind in Kind::ALL {
        let mut desk = Desk::new(kind);
        let order = kind.order(&mut desk.place, &mut desk.vault);
        let order = signed(&desk.place, &mut desk.vault, order);
        desk.before = seen(&desk.place, &mut desk.vault);
        let len = postcard::to_allocvec(&order).unwrap().len();
        let mut tried = 0;
        for place in (0..len - SIGNATURE_LEN).step_by(3) {
            let Some(forged) = changed(&order, |bytes| bytes[place] ^= 0x55) else { continue };
            assert!(give(&mut desk.vault, &forged).is_err(), "{kind:?} {place}");
            tried += 1;
        }
        assert!(tried >= 20, "{kind:?}: {tried} were orders still");
        desk.is_unchanged("an order of which the text was changed");
        give(&mut desk.vault, &order).unwrap_or_else(|reason| panic!("{kind:?}: {reason}"));
    }
}

#[test]
fn an_order_in_its_tenth_minute_counts() {
    let (place, mut vault) = Situation::Open.set_up();
    let order = signed(&place, &mut vault, Order::Downgrade { version: "1.0.0".into() });
    place.clock.pass(Duration::from_secs(10 * 60));
    give(&mut vault, &order).unwrap();
    let order = signed(&place, &mut vault, Order::Downgrade { version: "1.0.0".into() });
    place.clock.pass(Duration::from_millis(10 * 60 * 1_000 + 1));
    assert_eq!(give(&mut vault, &order).unwrap_err(), EXPIRED);
}

/// What the same order is answered that was carried out before.
fn replayed(kind: Kind) -> &'static str {
    match kind {
        Kind::Own => "this box has an authority already: only its Reset or ChangeAuthority changes that",
        Kind::ChangeAuthority => NOT_SIGNED,
        Kind::Reset => "nobody owns this box: the first order is Own",
        _ => NO_CHALLENGE,
    }
}

#[test]
fn every_kind_is_carried_out_once_and_what_it_did_outlives_a_restart() {
    for kind in Kind::ALL {
        let mut desk = Desk::new(kind);
        let order = kind.order(&mut desk.place, &mut desk.vault);
        let right = signed(&desk.place, &mut desk.vault, order);
        let logged = status(&mut desk.vault).orders_logged;
        let outcome = give(&mut desk.vault, &right).unwrap_or_else(|reason| panic!("{kind:?}: {reason}"));
        assert_eq!(status(&mut desk.vault).orders_logged, logged + 1, "{kind:?} is logged");
        settle(&mut desk.vault);
        let after = seen(&desk.place, &mut desk.vault);
        effect(kind, &desk, &after, &outcome);

        desk.before = after;
        desk.refuses("an order that was given before", &right, replayed(kind));
        let _ = challenge(&mut desk.vault);
        desk.refuses("an order that was given before, under a new challenge", &right, replayed(kind));

        let Desk { place, vault, before, .. } = desk;
        vault.stop().unwrap();
        // Such a lease is ahead by what was barred, and a start goes on with it when that is near.
        match kind {
            Kind::AcceptFloor => place.clock.set_epoch(48),
            Kind::NewCounter => place.clock.set_epoch(16),
            _ => {}
        }
        let mut vault = place.start();
        let reason = give(&mut vault, &right).expect_err("an order that was given before the restart");
        assert_eq!(reason, replayed(kind), "{kind:?}");
        let after = seen(&place, &mut vault);
        assert_eq!(without_lease(after), without_lease(before), "{kind:?} after a restart");
    }
}

/// Each start moves the lease on, and its record with it.
fn without_lease(seen: Seen) -> Seen {
    let lease =
        seen.status.lease.map(|lease| holdfast_vault_client::LeaseStatus { counter: 0, last_epoch: Epoch(0), ..lease });
    let mut files = seen.files;
    files.remove(crate::lease::RECORD_FILE);
    let status = VaultStatus { lease, ..seen.status };
    Seen { status, files, counters: [None, seen.counters[1]], ..seen }
}

/// What an order of each kind has to have changed, and what it must have left alone.
fn effect(kind: Kind, desk: &Desk, after: &Seen, outcome: &OrderOutcome) {
    let (before, now) = (&desk.before.status, &after.status);
    let generations = after.counters[1].unwrap_or(0) - desk.before.counters[1].unwrap_or(0);
    let expected = match kind {
        Kind::ImportHistory | Kind::Exit | Kind::Register | Kind::VouchDisk | Kind::Downgrade => 0,
        Kind::Own => 2,
        _ => 1,
    };
    assert_eq!(generations, expected, "{kind:?}: the generation counter");
    let first_epoch = now.lease.map(|lease| lease.first_epoch);
    match kind {
        Kind::Own => {
            assert_eq!((now.authority, now.level), (Some(desk.place.operator.public()), Some(2)));
            assert_eq!(now.generation, after.counters[1]);
        }
        Kind::ChangeAuthority => {
            let expected = VaultStatus { authority: Some(next_operator().public()), ..before.clone() };
            assert_eq!(*now, VaultStatus { generation: now.generation, ..expected });
        }
        Kind::Reset => {
            assert_eq!((now.authority, now.generation, now.lease, &after.identity), (None, None, None, &None));
            assert!(now.validators.is_empty() && now.share_index.is_none() && now.lock_hash.is_none());
        }
        Kind::Identity => assert!(after.identity.is_some() && desk.before.identity.is_none()),
        Kind::Import => assert_eq!(now.validators, [VALIDATOR, SECOND]),
        Kind::ImportHistory => {
            let marks = &after.history.as_ref().unwrap().validators;
            assert_eq!(marks.as_slice(), [mark_of(SECOND, (1, 2), 70)]);
        }
        Kind::Retire => assert!(now.validators.is_empty() && now.share_index.is_none()),
        Kind::Exit | Kind::Register => {
            let OrderOutcome::Signed(partial) = outcome else { panic!("{outcome:?}") };
            let root = if kind == Kind::Exit { exit_root(&desk.place) } else { registration_root(&desk.place) };
            assert_eq!(verify_partial(&public_of(&SECRET).unwrap(), root, partial), Ok(()), "{kind:?}");
            assert_eq!(now, before);
        }
        Kind::SetNetwork => assert!(before.lease.is_none() && now.lease.is_some()),
        // The order named epoch 5. The lease of before reached further: to epoch 3 at its first value, 8 more with each.
        Kind::AcceptFloor => assert_eq!((&now.closed, first_epoch), (&None, Some(Epoch(3 + 6 * 8 + 1)))),
        // The counter that was made anew stands for one lease more.
        Kind::NewCounter => assert_eq!((&now.closed, first_epoch), (&None, Some(Epoch(3 + 2 * 8 + 1)))),
        Kind::VouchDisk => assert_eq!((&now.closed, first_epoch), (&None, Some(Epoch(0)))),
        Kind::Downgrade => assert_eq!(after.files["downgrade-permit"], b"1.0.0"),
    }
    let signs = matches!(kind, Kind::Exit | Kind::Register);
    assert_eq!(matches!(outcome, OrderOutcome::Signed(_)), signs, "{kind:?}");
}

fn exit_root(place: &TestBox) -> holdfast_types::SigningRoot {
    let root = chain().genesis_validators_root;
    exit_signing_root(network().exit_fork_version, root, place.present(), ValidatorIndex(8))
}

fn registration_root(place: &TestBox) -> holdfast_types::SigningRoot {
    let timestamp_s = place.now().0 / 1_000;
    BuilderRegistration { fee_recipient: [2; 20], gas_limit: 60_000_000, timestamp_s, pubkey: VALIDATOR }
        .signing_root(chain().genesis_fork_version)
}

/// What stands at the end of an order as it travels.
const SIGNATURE_LEN: usize = 64;
