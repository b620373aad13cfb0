//! Orders to whole vaults: one of every kind, given rightly and wrongly, in every situation.

mod interchange;
mod logged;
mod papers;
mod signed;
mod situations;

use std::collections::BTreeMap;
use std::fs;

use holdfast_evidence::{IdentityOrder, NetworkPins, Order, SignedOrder};
use holdfast_test_operator::{InProcess, Operator};
use holdfast_types::{
    AttestationMark, BlockMark, BoxName, Challenge, Epoch, Fork, ForkVersion, HistoryMarks, Slot, ValidatorIndex,
    ValidatorMarks, ValidatorPublic,
};
use holdfast_vault_client::{OrderOutcome, Rejection, Request, Response, VaultStatus};

use crate::testing::situations::{Situation, counters};
use crate::testing::*;
use crate::vault::Vault;

/// Every kind of order. A new kind does not compile until [`Kind::of`] has it, and is tried once it is in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Own,
    ChangeAuthority,
    Reset,
    Identity,
    Import,
    ImportHistory,
    Retire,
    Exit,
    Register,
    SetNetwork,
    AcceptFloor,
    VouchDisk,
    NewCounter,
    Downgrade,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::Own,
        Self::ChangeAuthority,
        Self::Reset,
        Self::Identity,
        Self::Import,
        Self::ImportHistory,
        Self::Retire,
        Self::Exit,
        Self::Register,
        Self::SetNetwork,
        Self::AcceptFloor,
        Self::VouchDisk,
        Self::NewCounter,
        Self::Downgrade,
    ];

    fn of(order: &Order) -> Self {
        match order {
            Order::Own { .. } => Self::Own,
            Order::ChangeAuthority { .. } => Self::ChangeAuthority,
            Order::Reset => Self::Reset,
            Order::Identity(_) => Self::Identity,
            Order::Import(_) => Self::Import,
            Order::ImportHistory(_) => Self::ImportHistory,
            Order::Retire(_) => Self::Retire,
            Order::Exit { .. } => Self::Exit,
            Order::Register { .. } => Self::Register,
            Order::SetNetwork { .. } => Self::SetNetwork,
            Order::AcceptFloor { .. } => Self::AcceptFloor,
            Order::VouchDisk => Self::VouchDisk,
            Order::NewCounter { .. } => Self::NewCounter,
            Order::Downgrade { .. } => Self::Downgrade,
        }
    }

    /// One that a box carries out in the right situation.
    fn order(self, place: &mut TestBox, vault: &mut Vault) -> Order {
        let (now, present) = (place.now(), place.present());
        let mut ask = InProcess(|request| vault.answer(request));
        match self {
            Self::Own => {
                let firmware = place.operator.approve_present(&mut ask).unwrap();
                Order::Own { authority: place.operator.public(), firmware }
            }
            Self::ChangeAuthority => {
                let mut next = next_operator();
                let firmware = next.approve_present(&mut ask).unwrap();
                Order::ChangeAuthority { authority: next.public(), firmware }
            }
            Self::Reset => Order::Reset,
            Self::Identity => Order::Identity(IdentityOrder::MadeHere),
            Self::Import => {
                let mut shares = shares(present, holdfast_evidence::HistoryClaim::NeverSigned);
                shares.secrets = vec![(SECOND, [8; 32])];
                Order::Import(place.operator.import_order(&mut ask, &shares).unwrap())
            }
            Self::ImportHistory => Order::ImportHistory(marks(&[mark_of(SECOND, (1, 2), 70)])),
            Self::Retire => Order::Retire(vec![VALIDATOR]),
            Self::Exit => Order::Exit { validator: VALIDATOR, validator_index: ValidatorIndex(8), epoch: present },
            Self::Register => Order::Register {
                validator: VALIDATOR,
                fee_recipient: [2; 20],
                gas_limit: 60_000_000,
                timestamp_s: now.0 / 1_000,
            },
            Self::SetNetwork => Order::SetNetwork { network: forked_network(), epoch: present },
            Self::AcceptFloor => Order::AcceptFloor { epoch: Epoch(present.0 + 2) },
            Self::VouchDisk => Order::VouchDisk,
            Self::NewCounter => Order::NewCounter { epoch: Epoch(present.0 + 2) },
            Self::Downgrade => Order::Downgrade { version: "1.0.0".into() },
        }
    }

    /// Where a box carries it out, and what it does can be seen.
    fn situation(self) -> Situation {
        match self {
            Self::Own => Situation::Empty,
            Self::SetNetwork => Situation::Owned,
            Self::AcceptFloor => Situation::DiskBehind,
            Self::VouchDisk => Situation::Killed,
            Self::NewCounter => Situation::CounterGone,
            _ => Situation::Open,
        }
    }
}

#[test]
fn the_list_of_kinds_is_whole_and_each_has_an_order() {
    let count = Kind::Downgrade as usize + 1;
    assert_eq!(Kind::ALL.map(|kind| kind as usize).to_vec(), (0..count).collect::<Vec<_>>());
    let (mut place, mut vault) = Situation::Open.set_up();
    for kind in Kind::ALL {
        let order = kind.order(&mut place, &mut vault);
        assert_eq!((Kind::of(&order), order.kind()), (kind, format!("{kind:?}").as_str()));
    }
}

/// To whom the box is handed.
fn next_operator() -> Operator {
    Operator::from_seed(2)
}

/// The network of the tests with one fork more, far ahead.
fn forked_network() -> NetworkPins {
    let mut network = network();
    network.chain.forks.push(Fork { epoch: Epoch(90_000), version: ForkVersion([0x60, 0, 0, 1]) });
    network
}

/// The history of some validators on the network of the tests.
fn marks(validators: &[ValidatorMarks]) -> HistoryMarks {
    let genesis_validators_root = chain().genesis_validators_root;
    HistoryMarks { genesis_validators_root, validators: validators.to_vec() }
}

/// A validator that signed a vote (source, target) and a block, with roots that are not known.
fn mark_of(validator: ValidatorPublic, vote: (u64, u64), slot: u64) -> ValidatorMarks {
    let attestation = AttestationMark { source: Epoch(vote.0), target: Epoch(vote.1), root: None };
    let block = BlockMark { slot: Slot(slot), root: None };
    ValidatorMarks { validator, attestation: Some(attestation), block: Some(block) }
}

fn challenge(vault: &mut Vault) -> Challenge {
    match vault.answer(Request::Challenge) {
        Response::Challenge(challenge) => challenge,
        other => panic!("{other:?}"),
    }
}

fn name(vault: &mut Vault) -> BoxName {
    status(vault).box_name
}

/// An order with the right papers, not given yet.
fn signed(place: &TestBox, vault: &mut Vault, order: Order) -> SignedOrder {
    let challenge = challenge(vault);
    place.operator.sign(name(vault), challenge, order)
}

/// Gives an order; the reason when it is refused.
fn give(vault: &mut Vault, order: &SignedOrder) -> Result<OrderOutcome, String> {
    match vault.answer(Request::Order(order.clone())) {
        Response::OrderDone(outcome) => Ok(outcome),
        Response::Rejected(Rejection::Order { reason, .. }) => Err(reason),
        other => panic!("{other:?}"),
    }
}

/// Gives an order with the right papers, and lets the vault do what is due then.
fn order(place: &TestBox, vault: &mut Vault, order: Order) -> Result<OrderOutcome, String> {
    let signed = signed(place, vault, order);
    let given = give(vault, &signed);
    settle(vault);
    given
}

/// Everything about a box that an order may change, but for the log of orders.
#[derive(Debug, PartialEq)]
struct Seen {
    status: VaultStatus,
    history: Option<HistoryMarks>,
    identity: Option<[u8; 32]>,
    files: BTreeMap<String, Vec<u8>>,
    counters: [Option<u64>; 2],
}

fn seen(place: &TestBox, vault: &mut Vault) -> Seen {
    let history = match vault.answer(Request::HistoryBackup { after: None }) {
        Response::History(marks) => Some(marks),
        _ => None,
    };
    let identity = match vault.answer(Request::IdentityKey) {
        Response::IdentityKey(key) => Some(key.0),
        _ => None,
    };
    let files = fs::read_dir(place.state()).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    });
    // What of the history counts is in the status and in its marks; the file changes with each entry of the log.
    let files = files.filter(|(name, _)| !name.starts_with(crate::vault::HISTORY_FILE)).collect();
    let status = VaultStatus { orders_logged: 0, orders_head: [0; 32], ..status(vault) };
    Seen { status, history, identity, files, counters: counters(place) }
}

/// The share of [`SECOND`] is that of [`Kind::Import`].
const SECOND: ValidatorPublic = ValidatorPublic([5; 48]);
