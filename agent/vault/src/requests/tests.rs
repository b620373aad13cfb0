//! A small network, and one asker of every kind of request, for the tests of this folder.

mod bounds;
mod domains;
mod networks;
mod windows;

use holdfast_eth::{AttestationData, BeaconBlockHeader, BuilderRegistration, Checkpoint};
use holdfast_evidence::NetworkPins;
use holdfast_types::{
    ChainSpec, Epoch, Fork, ForkVersion, Millis, Root, SigningRoot, Slot, ValidatorIndex, ValidatorPublic,
};
use holdfast_vault_client::{AttestationToSign, BlockToSign, Rejection, RootToSign, SigningRefused};

use super::*;

const VALIDATOR: ValidatorPublic = ValidatorPublic([4; 48]);
const STRANGER: ValidatorPublic = ValidatorPublic([5; 48]);

/// Slot 100 of the network; epoch 3 begins with slot 96 and ends with 127.
const NOW: Millis = Millis(1_000_000 + 100 * 2_000);

/// 2 s slots, 32 to an epoch, from second 1,000 on; a fork at epoch 2, and one for exits that never was in force.
fn network() -> NetworkPins {
    let fork = |epoch, version| Fork { epoch: Epoch(epoch), version: ForkVersion(version) };
    NetworkPins {
        chain: ChainSpec {
            genesis_time_s: 1_000,
            genesis_validators_root: Root([7; 32]),
            genesis_fork_version: ForkVersion([0, 0, 0, 1]),
            slot_ms: 2_000,
            slots_per_epoch: 32,
            forks: vec![fork(0, [0, 0, 0, 1]), fork(2, [6, 0, 0, 1])],
        },
        exit_fork_version: ForkVersion([3, 0, 0, 1]),
    }
}

fn holds(validator: &ValidatorPublic) -> bool {
    *validator == VALIDATOR
}

/// A kind of request, as one function asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Attestation,
    Block,
    Randao,
    Selection,
    SyncSelection,
    SyncMessage,
    Aggregate,
    Contribution,
    Exit,
    Registration,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Attestation,
        Self::Block,
        Self::Randao,
        Self::Selection,
        Self::SyncSelection,
        Self::SyncMessage,
        Self::Aggregate,
        Self::Contribution,
        Self::Exit,
        Self::Registration,
    ];
    /// Those whose object root the asker chooses.
    const OPAQUE: [Self; 3] = [Self::SyncMessage, Self::Aggregate, Self::Contribution];
}

/// One request of some kind, with everything in it that an asker may choose.
#[derive(Clone, Copy, Debug)]
struct Asked {
    kind: Kind,
    validator: ValidatorPublic,
    slot: Slot,
    /// Of a reveal, an exit and a target.
    epoch: Epoch,
    root: Root,
    subcommittee: u64,
    /// Of a registration.
    timestamp_s: u64,
    gas_limit: u64,
}

/// A request for the present slot of [`NOW`].
fn asked(kind: Kind) -> Asked {
    Asked {
        kind,
        validator: VALIDATOR,
        slot: Slot(100),
        epoch: Epoch(3),
        root: Root([9; 32]),
        subcommittee: 2,
        timestamp_s: 1_200,
        gas_limit: 60_000_000,
    }
}

impl Asked {
    fn data(&self) -> AttestationData {
        AttestationData {
            slot: self.slot,
            index: 0,
            beacon_block_root: self.root,
            source: Checkpoint { epoch: Epoch(self.epoch.0.saturating_sub(1)), root: self.root },
            target: Checkpoint { epoch: self.epoch, root: self.root },
        }
    }

    fn header(&self) -> BeaconBlockHeader {
        let (parent_root, state_root, body_root) = (self.root, self.root, self.root);
        BeaconBlockHeader { slot: self.slot, proposer_index: 8, parent_root, state_root, body_root }
    }

    fn registration(&self) -> BuilderRegistration {
        let Self { gas_limit, timestamp_s, .. } = *self;
        BuilderRegistration { fee_recipient: [2; 20], gas_limit, timestamp_s, pubkey: self.validator }
    }

    /// Asks for a batch of `count` of it.
    fn batch(&self, network: &NetworkPins, now: Millis, count: usize) -> Result<Vec<Signed>, Rejection> {
        let Self { validator, slot, epoch, root, .. } = *self;
        let (validators, roots) = (vec![validator; count], vec![RootToSign { validator, slot, root }; count]);
        let of_admitted = |answers: Answers| answers.into_iter().map(|one| one.map(|one| one.root())).collect();
        let answers = match self.kind {
            Kind::Attestation => {
                let batch = vec![AttestationToSign { validator, data: self.data() }; count];
                let triage = attestations(network, now, holds, &batch)?;
                return Ok(triage.into_iter().map(|one| one.map(root_of)).collect());
            }
            Kind::Block => {
                return Ok(vec![
                    block(network, now, holds, &BlockToSign { validator, header: self.header() }).map(root_of),
                ]);
            }
            Kind::Randao => randao(network, now, holds, epoch, &validators)?,
            Kind::Selection => selection(network, now, holds, slot, &validators)?,
            Kind::SyncSelection => {
                sync_selection(network, now, holds, slot, &vec![(validator, self.subcommittee); count])?
            }
            Kind::SyncMessage => sync_message(network, now, holds, slot, root, &validators)?,
            Kind::Aggregate => aggregate(network, now, holds, &roots)?,
            Kind::Contribution => contribution(network, now, holds, &roots)?,
            Kind::Exit => vec![exit(network, now, holds, validator, ValidatorIndex(8), epoch)],
            Kind::Registration => vec![registration(network, now, holds, &self.registration())],
        };
        Ok(of_admitted(answers))
    }

    /// Asks for one.
    fn on(&self, network: &NetworkPins, now: Millis) -> Signed {
        self.batch(network, now, 1).expect("one is no batch too long").remove(0)
    }

    /// Asks for one on the network of the tests.
    fn at(&self, now: Millis) -> Signed {
        self.on(&network(), now)
    }

    /// Why it is refused at [`NOW`]; `None` when it is not.
    fn refused(&self) -> Option<String> {
        match self.at(NOW) {
            Ok(_) => None,
            Err(SigningRefused::OutOfRange { reason, .. }) => Some(reason),
            Err(other) => panic!("{other}"),
        }
    }
}

/// What would be signed, or why nothing would be.
type Signed = Result<SigningRoot, SigningRefused>;

fn root_of(candidate: Candidate) -> SigningRoot {
    match candidate {
        Candidate::Attestation { root, .. } | Candidate::Block { root, .. } => root,
    }
}
