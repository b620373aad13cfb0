//! Every kind of order: one that is replayed, not signed, for another box or by another authority is refused, and every
//! refusal is in the vault's log, whose hash chain ends in the head that the status has.
//!
//! An order that comes too late needs a clock that can be moved on; the vault's own tests have that one.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use holdfast_evidence::log::check_log;
use holdfast_evidence::{Approval, HistoryClaim, IdentityOrder, Order, SignedOrder, SigningKey};
use holdfast_test_operator::Operator;
use holdfast_types::{BoxName, Epoch, HistoryMarks, ValidatorIndex};
use holdfast_vault_client::{LoggedOrder, Rejection, Request, Response};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::asking::Network;
use crate::rig::Rig;

/// Every kind of order that there is.
const KINDS: usize = 14;

pub(crate) fn refused_unless_they_count(dir: &Path) -> anyhow::Result<()> {
    let mut empty = Rig::new(&dir.join("empty"), Network::slow(), 8)?;
    empty.start()?;
    let own = own_order(&empty, &empty.operator)?;
    let mut desk = Desk { rig: &empty, stranger: Operator::from_seed(99), logged: 0 };
    desk.check_kind(own.clone())?;
    desk.check_log()?;

    let mut rig = Rig::signing(&dir.join("owned"), Network::slow(), 8)?;
    let orders = one_of_each(&mut rig, own)?;
    let kinds: BTreeSet<&str> = orders.iter().map(Order::kind).collect();
    ensure!(kinds.len() == KINDS, "{} kinds of orders are tried, {KINDS} exist: {kinds:?}", kinds.len());
    let logged = usize::try_from(rig.status()?.orders_logged)?;
    let mut desk = Desk { rig: &rig, stranger: Operator::from_seed(99), logged };
    for order in orders {
        desk.check_kind(order)?;
    }
    desk.check_log()?;
    println!("  {} orders and refusals logged", desk.logged);
    Ok(())
}

/// A box to which orders are given that do not count.
struct Desk<'a> {
    rig: &'a Rig,
    stranger: Operator,
    /// How many orders and refusals the vault has logged by our count.
    logged: usize,
}

impl Desk<'_> {
    fn check_kind(&mut self, order: Order) -> anyhow::Result<()> {
        let kind = order.kind();
        let name = self.rig.status()?.box_name;
        let challenge = self.rig.client()?.challenge()?;
        let unsigned = with_other_signature(&self.rig.operator, name, &order)?;
        self.refused(kind, "without its signature", unsigned, "sign")?;

        let elsewhere = self.rig.operator.sign(BoxName([9; 32]), self.rig.client()?.challenge()?, order.clone());
        self.refused(kind, "for another box", elsewhere, "another box")?;

        let strangers = self.stranger.sign(name, self.rig.client()?.challenge()?, order.clone());
        self.refused(kind, "by another authority", strangers, "sign")?;

        let old = self.rig.operator.sign(name, challenge, order.clone());
        self.refused(kind, "for a challenge of before", old, "challenge")?;

        let replayed = self.rig.operator.sign(name, self.rig.client()?.challenge()?, order);
        // What the order does the first time depends on its kind, and is shown elsewhere.
        self.give(&replayed)?;
        self.logged += 1;
        self.refused(kind, "that was given before", replayed, "challenge")
    }

    fn refused(&mut self, kind: &str, what: &str, order: SignedOrder, words: &str) -> anyhow::Result<()> {
        let before = self.rig.status()?;
        let answer = self.give(&order)?;
        self.logged += 1;
        let words = match (kind, before.authority) {
            ("Own", Some(_)) => "has an authority already",
            ("Reset", None) => "the first order is Own",
            _ => words,
        };
        match answer {
            Response::Rejected(Rejection::Order { kind: of, reason }) if of == kind && reason.contains(words) => {}
            other => bail!("expected {kind} {what} to be refused with {words:?}, saw {other:?}"),
        }
        let after = self.rig.status()?;
        let same = (before.generation, &before.authority, &before.validators)
            == (after.generation, &after.authority, &after.validators);
        ensure!(same, "{kind} {what} changed something: {before:?} and {after:?}");
        ensure!(after.orders_logged == before.orders_logged + 1, "{kind} {what} was not logged");
        ensure!(after.orders_head != before.orders_head, "{kind} {what} did not move the head of the log");
        Ok(())
    }

    fn give(&self, order: &SignedOrder) -> anyhow::Result<Response> {
        Ok(self.rig.client()?.call(&Request::Order(order.clone()))?)
    }

    /// The log has every order, in a chain of hashes from nothing to the head.
    fn check_log(&self) -> anyhow::Result<()> {
        let (mut vault, status) = (self.rig.client()?, self.rig.status()?);
        let mut entries: Vec<LoggedOrder> = Vec::new();
        loop {
            let page = vault.order_log(entries.last().map_or(0, |entry| entry.number))?;
            if page.is_empty() {
                break;
            }
            entries.extend(page);
        }
        ensure!(entries.len() == self.logged, "{} entries are in the log, not {}", entries.len(), self.logged);
        ensure!(entries.first().is_some_and(|first| first.number == 1), "the log does not begin with its first entry");
        check_log(&entries, status.orders_logged, &status.orders_head)?;
        ensure!(entries.iter().any(|entry| entry.refused.is_some()), "no refusal was logged");
        Ok(())
    }
}

/// The order under the signature of another one.
fn with_other_signature(operator: &Operator, to: BoxName, order: &Order) -> anyhow::Result<SignedOrder> {
    let sign = |challenge| serde_json::to_value(operator.sign(to, challenge, order.clone()));
    let (mut order, other) = (sign(Default::default())?, sign(holdfast_types::Challenge([1; 32]))?);
    let signature = order.get_mut("signature").context("a signed order has a signature")?;
    *signature = other["signature"].clone();
    Ok(serde_json::from_value(order)?)
}

fn own_order(rig: &Rig, operator: &Operator) -> anyhow::Result<Order> {
    let key = SigningKey::random(&mut StdRng::seed_from_u64(1));
    let firmware = Approval::of_firmware(&key, crate::rig::register(rig.firmware));
    ensure!(key.public() == operator.public(), "the approval must be of the operator's own key");
    Ok(Order::Own { authority: key.public(), firmware })
}

/// One order of each kind, of which a box that signs carries out as few as can be.
fn one_of_each(rig: &mut Rig, own: Order) -> anyhow::Result<Vec<Order>> {
    let (epoch, validator, first) = (rig.epoch(), rig.keys[0].public, Epoch(rig.epoch().0 + 2));
    let Order::Own { authority, firmware } = own.clone() else { bail!("not an order Own") };
    let shares = rig.shares(HistoryClaim::NeverSigned);
    let import = rig.operator.import_order(&mut rig.client()?, &shares)?;
    let marks =
        HistoryMarks { genesis_validators_root: rig.network.spec.genesis_validators_root, validators: Vec::new() };
    Ok(vec![
        own,
        Order::ChangeAuthority { authority, firmware },
        Order::Identity(IdentityOrder::MadeHere),
        Order::Import(import),
        Order::ImportHistory(marks),
        Order::Retire(Vec::new()),
        Order::Exit { validator, validator_index: ValidatorIndex(3), epoch },
        Order::Register { validator, fee_recipient: [1; 20], gas_limit: 60_000_000, timestamp_s: rig.now().0 / 1_000 },
        Order::SetNetwork { network: rig.pins(), epoch },
        Order::AcceptFloor { epoch: first },
        Order::VouchDisk,
        Order::NewCounter { epoch: first },
        Order::Downgrade { version: "1.0.0".into() },
        // Carried out when it comes to be replayed, so it is the last.
        Order::Reset,
    ])
}
