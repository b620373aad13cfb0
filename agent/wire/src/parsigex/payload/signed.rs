//! What the signature of a payload is over (`cluster-wire.md` section 9.4).

use holdfast_eth::domain::{self, DomainType};
use holdfast_types::{ChainSpec, Epoch, ForkVersion, Root, SigningRoot, Slot};

use super::{PartialAggregate, Payload};

/// The object that a payload signs, and the domain that it does so under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The object's root.
    pub object: Root,
    /// The purpose.
    pub domain: DomainType,
    /// When, which decides on the fork.
    pub at: SignedAt,
}

/// The time of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedAt {
    /// It names an epoch.
    Epoch(Epoch),
    /// It names a slot.
    Slot(Slot),
}

impl Signed {
    /// The signing root that the partial signature has to hold for.
    ///
    /// `exit_version` is the fork version of exits: the network's Capella version on every real network (EIP-7044).
    #[must_use]
    pub fn signing_root(&self, spec: &ChainSpec, exit_version: ForkVersion) -> SigningRoot {
        let version = match self.domain {
            DomainType::VoluntaryExit => exit_version,
            DomainType::ApplicationBuilder => spec.genesis_fork_version,
            _ => spec.fork_version_at(match self.at {
                SignedAt::Epoch(epoch) => epoch,
                SignedAt::Slot(slot) => spec.epoch_of(slot),
            }),
        };
        let validators_root = match self.domain {
            DomainType::ApplicationBuilder => Root::default(),
            _ => spec.genesis_validators_root,
        };
        domain::signing_root(self.object, &domain::domain(self.domain, version, validators_root))
    }
}

impl Payload {
    /// What the signature is over. Hashes the object, which for a block with many transactions takes milliseconds.
    #[must_use]
    pub fn signed(&self) -> Signed {
        let (object, domain, at) = match self {
            Self::Proposal(proposal) => {
                let block = &proposal.proposal;
                (block.block_root(), DomainType::BeaconProposer, SignedAt::Slot(block.slot()))
            }
            Self::Attestation(attestation) => {
                let data = &attestation.data;
                (data.hash_tree_root(), DomainType::BeaconAttester, SignedAt::Epoch(data.target.epoch))
            }
            Self::Exit(exit) => {
                (domain::exit_root(exit.epoch, exit.validator), DomainType::VoluntaryExit, SignedAt::Epoch(exit.epoch))
            }
            Self::Registration(registration) => {
                let object = registration.message.hash_tree_root();
                (object, DomainType::ApplicationBuilder, SignedAt::Epoch(Epoch(0)))
            }
            Self::Randao(randao) => {
                (domain::epoch_root(randao.epoch), DomainType::Randao, SignedAt::Epoch(randao.epoch))
            }
            Self::Selection(selection) => {
                (domain::slot_root(selection.slot), DomainType::SelectionProof, SignedAt::Slot(selection.slot))
            }
            Self::Aggregate(PartialAggregate::Phase0 { signed, .. }) => {
                let message = &signed.message;
                let slot = message.aggregate.data.slot;
                (message.hash_tree_root(), DomainType::AggregateAndProof, SignedAt::Slot(slot))
            }
            Self::Aggregate(PartialAggregate::Electra { signed, .. }) => {
                let message = &signed.message;
                let slot = message.aggregate.data.slot;
                (message.hash_tree_root(), DomainType::AggregateAndProof, SignedAt::Slot(slot))
            }
            Self::SyncMessage(message) => {
                (Root(message.beacon_block_root), DomainType::SyncCommittee, SignedAt::Slot(Slot(message.slot)))
            }
            Self::SyncSelection(selection) => {
                let object = domain::sync_selection_root(selection.slot, selection.subcommittee);
                (object, DomainType::SyncCommitteeSelectionProof, SignedAt::Slot(selection.slot))
            }
            Self::Contribution(contribution) => {
                let message = &contribution.message;
                let slot = Slot(message.contribution.slot);
                (message.hash_tree_root(), DomainType::ContributionAndProof, SignedAt::Slot(slot))
            }
        };
        Signed { object, domain, at }
    }
}
