//! Domains and signing roots (consensus-specs phase0, `compute_domain` and `compute_signing_root`).
//!
//! Which object is signed under which domain and at which epoch's fork is `cluster-wire.md` section 9.4.

use ethereum_hashing::hash32_concat;
use holdfast_types::{ChainSpec, Epoch, ForkVersion, Root, SigningRoot, Slot, ValidatorIndex};

use crate::attestation::{AttestationData, uint64_leaf};

/// What a signature is for, so that one made for one purpose is worthless for another.
///
/// All that the consensus and builder specifications know, in the order of their bytes; those that nothing here signs
/// as well, so that it can be tested that nothing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DomainType {
    /// A block (phase0/beacon-chain.md, "Domain types").
    BeaconProposer,
    /// A registration with builders (builder-specs, bellatrix/builder.md, "Domain types").
    ApplicationBuilder,
    /// An attestation (phase0).
    BeaconAttester,
    /// The reveal for a proposal's randomness (phase0).
    Randao,
    /// A deposit into the validator set (phase0).
    Deposit,
    /// A voluntary exit (phase0).
    VoluntaryExit,
    /// The proof of having been selected as aggregator (phase0).
    SelectionProof,
    /// An aggregate of attestations with its proof (phase0).
    AggregateAndProof,
    /// A sync committee message (altair/beacon-chain.md, "Domain types").
    SyncCommittee,
    /// The proof of having been selected as sync contributor (altair).
    SyncCommitteeSelectionProof,
    /// A sync contribution with its proof (altair).
    ContributionAndProof,
    /// The change of withdrawal credentials from a BLS key to an address (capella/beacon-chain.md, "Domain types").
    BlsToExecutionChange,
    /// A builder's bid and its payload; the proposer's own when it builds itself (gloas/beacon-chain.md, "Domain types").
    BeaconBuilder,
    /// A request to a builder, by a proposer (builder-specs, gloas/builder.md, "Constants").
    BuilderRequestAuth,
    /// A vote on the timeliness of a payload (gloas).
    PtcAttester,
    /// What a proposer wants of builders (gloas).
    ProposerPreferences,
    /// A deposit into the set of builders (gloas).
    BuilderDeposit,
    /// A proof of an execution payload (_features/eip8025/beacon-chain.md, "Domains").
    ExecutionProof,
    /// An inclusion list (heze/beacon-chain.md, "Domains").
    InclusionListCommittee,
}

impl DomainType {
    /// Each of them, in the order of their bytes.
    pub const ALL: [Self; 19] = [
        Self::BeaconProposer,
        Self::ApplicationBuilder,
        Self::BeaconAttester,
        Self::Randao,
        Self::Deposit,
        Self::VoluntaryExit,
        Self::SelectionProof,
        Self::AggregateAndProof,
        Self::SyncCommittee,
        Self::SyncCommitteeSelectionProof,
        Self::ContributionAndProof,
        Self::BlsToExecutionChange,
        Self::BeaconBuilder,
        Self::BuilderRequestAuth,
        Self::PtcAttester,
        Self::ProposerPreferences,
        Self::BuilderDeposit,
        Self::ExecutionProof,
        Self::InclusionListCommittee,
    ];

    /// The four bytes at the start of the domain.
    #[must_use]
    pub const fn bytes(self) -> [u8; 4] {
        match self {
            Self::BeaconProposer => [0x00, 0, 0, 0],
            Self::ApplicationBuilder => [0x00, 0, 0, 1],
            Self::BeaconAttester => [0x01, 0, 0, 0],
            Self::Randao => [0x02, 0, 0, 0],
            Self::Deposit => [0x03, 0, 0, 0],
            Self::VoluntaryExit => [0x04, 0, 0, 0],
            Self::SelectionProof => [0x05, 0, 0, 0],
            Self::AggregateAndProof => [0x06, 0, 0, 0],
            Self::SyncCommittee => [0x07, 0, 0, 0],
            Self::SyncCommitteeSelectionProof => [0x08, 0, 0, 0],
            Self::ContributionAndProof => [0x09, 0, 0, 0],
            Self::BlsToExecutionChange => [0x0a, 0, 0, 0],
            Self::BeaconBuilder => [0x0b, 0, 0, 0],
            Self::BuilderRequestAuth => [0x0b, 0, 0, 1],
            Self::PtcAttester => [0x0c, 0, 0, 0],
            Self::ProposerPreferences => [0x0d, 0, 0, 0],
            Self::BuilderDeposit => [0x0e, 0, 0, 0],
            Self::ExecutionProof => [0x0f, 0, 0, 0],
            Self::InclusionListCommittee => [0x10, 0, 0, 0],
        }
    }
}

/// The domain of a purpose on one fork of one chain.
#[must_use]
pub fn domain(domain_type: DomainType, version: ForkVersion, genesis_validators_root: Root) -> [u8; 32] {
    let mut version_leaf = [0; 32];
    version_leaf[..4].copy_from_slice(&version.0);
    let fork_data_root = hash32_concat(&version_leaf, &genesis_validators_root.0);
    let mut domain = [0; 32];
    domain[..4].copy_from_slice(&domain_type.bytes());
    domain[4..].copy_from_slice(&fork_data_root[..28]);
    domain
}

/// The signing root of an object's root under a domain (`SigningData`).
#[must_use]
pub fn signing_root(object: Root, domain: &[u8; 32]) -> SigningRoot {
    SigningRoot(hash32_concat(&object.0, domain))
}

/// The signing root of an object under a purpose, by the fork in force at an epoch.
///
/// Not for exits and builder registrations, whose fork does not follow from an epoch.
#[must_use]
pub fn signing_root_at(spec: &ChainSpec, domain_type: DomainType, epoch: Epoch, object: Root) -> SigningRoot {
    signing_root(object, &domain(domain_type, spec.fork_version_at(epoch), spec.genesis_validators_root))
}

/// The signing root of an attestation: the fork is that of its target epoch.
#[must_use]
pub fn attestation_signing_root(spec: &ChainSpec, data: &AttestationData) -> SigningRoot {
    signing_root_at(spec, DomainType::BeaconAttester, data.target.epoch, data.hash_tree_root())
}

/// The signing root of a block's root.
#[must_use]
pub fn block_signing_root(spec: &ChainSpec, slot: Slot, block: Root) -> SigningRoot {
    signing_root_at(spec, DomainType::BeaconProposer, spec.epoch_of(slot), block)
}

/// The signing root of a RANDAO reveal.
#[must_use]
pub fn randao_signing_root(spec: &ChainSpec, epoch: Epoch) -> SigningRoot {
    signing_root_at(spec, DomainType::Randao, epoch, epoch_root(epoch))
}

/// The signing root of an aggregator's selection proof.
#[must_use]
pub fn selection_signing_root(spec: &ChainSpec, slot: Slot) -> SigningRoot {
    signing_root_at(spec, DomainType::SelectionProof, spec.epoch_of(slot), slot_root(slot))
}

/// The signing root of a sync committee message.
#[must_use]
pub fn sync_message_signing_root(spec: &ChainSpec, slot: Slot, block: Root) -> SigningRoot {
    signing_root_at(spec, DomainType::SyncCommittee, spec.epoch_of(slot), block)
}

/// The signing root of a sync contributor's selection proof.
#[must_use]
pub fn sync_selection_signing_root(spec: &ChainSpec, slot: Slot, subcommittee: u64) -> SigningRoot {
    let object = sync_selection_root(slot, subcommittee);
    signing_root_at(spec, DomainType::SyncCommitteeSelectionProof, spec.epoch_of(slot), object)
}

/// The signing root of a voluntary exit.
///
/// `version` is the network's Capella version whatever the epoch (EIP-7044).
#[must_use]
pub fn exit_signing_root(
    version: ForkVersion,
    genesis_validators_root: Root,
    epoch: Epoch,
    validator: ValidatorIndex,
) -> SigningRoot {
    let domain = domain(DomainType::VoluntaryExit, version, genesis_validators_root);
    signing_root(exit_root(epoch, validator), &domain)
}

/// The hash-tree root of an epoch: the object of a RANDAO reveal.
#[must_use]
pub fn epoch_root(epoch: Epoch) -> Root {
    Root(uint64_leaf(epoch.0))
}

/// The hash-tree root of a slot: the object of an aggregator's selection proof.
#[must_use]
pub fn slot_root(slot: Slot) -> Root {
    Root(uint64_leaf(slot.0))
}

/// The hash-tree root of a `VoluntaryExit`.
#[must_use]
pub fn exit_root(epoch: Epoch, validator: ValidatorIndex) -> Root {
    Root(hash32_concat(&uint64_leaf(epoch.0), &uint64_leaf(validator.0)))
}

/// The hash-tree root of a `SyncAggregatorSelectionData`.
#[must_use]
pub fn sync_selection_root(slot: Slot, subcommittee: u64) -> Root {
    Root(hash32_concat(&uint64_leaf(slot.0), &uint64_leaf(subcommittee)))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn captured() -> Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/wire/parsigex.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn spec(captured: &Value) -> ChainSpec {
        let network = &captured["network"];
        ChainSpec {
            genesis_time_s: network["genesis_time"].as_u64().unwrap(),
            genesis_validators_root: network["genesis_validators_root"].as_str().unwrap().parse().unwrap(),
            genesis_fork_version: ForkVersion::default(),
            slot_ms: 1000 * network["slot_seconds"].as_u64().unwrap(),
            slots_per_epoch: network["slots_per_epoch"].as_u64().unwrap(),
            forks: vec![holdfast_types::Fork {
                epoch: Epoch(0),
                version: network["fork_version_used_for_domains"].as_str().unwrap().parse().unwrap(),
            }],
        }
    }

    fn number(value: &Value) -> u64 {
        value.as_str().unwrap().parse().unwrap()
    }

    /// The roots that we compute for what was captured; `None` for kinds whose containers are tested elsewhere.
    fn roots(spec: &ChainSpec, kind: u64, payload: &str) -> Option<(Root, SigningRoot)> {
        if kind == 2 {
            let data = AttestationData::from_ssz(&hex::decode(payload).unwrap()[24..152]).unwrap();
            return Some((data.hash_tree_root(), attestation_signing_root(spec, &data)));
        }
        let json: Value = serde_json::from_str(payload).ok()?;
        let slot = || Slot(number(&json["slot"]));
        Some(match kind {
            4 => {
                let (message, fork) = (&json["message"], spec.forks[0].version);
                let (epoch, who) =
                    (Epoch(number(&message["epoch"])), ValidatorIndex(number(&message["validator_index"])));
                (exit_root(epoch, who), exit_signing_root(fork, spec.genesis_validators_root, epoch, who))
            }
            7 => {
                let epoch = Epoch(number(&json["epoch"]));
                (epoch_root(epoch), randao_signing_root(spec, epoch))
            }
            8 => (slot_root(slot()), selection_signing_root(spec, slot())),
            11 => {
                let subcommittee = number(&json["subcommittee_index"]);
                (sync_selection_root(slot(), subcommittee), sync_selection_signing_root(spec, slot(), subcommittee))
            }
            _ => return None,
        })
    }

    #[test]
    fn roots_are_those_of_the_captured_partial_signatures() {
        let captured = captured();
        let spec = spec(&captured);
        let mut checked = 0;
        for message in captured["messages"].as_array().unwrap() {
            let kind = message["duty"]["type"].as_u64().unwrap();
            for partial in message["set"].as_object().unwrap().values() {
                let Some(payload) = partial["data"].as_str() else { continue };
                let Some((object, signing)) = roots(&spec, kind, payload) else { continue };
                assert_eq!(object, partial["object_root"].as_str().unwrap().parse().unwrap());
                assert_eq!(signing, partial["signing_root"].as_str().unwrap().parse().unwrap());
                checked += 1;
            }
        }
        assert_eq!(checked, 18, "attestations, exits, reveals and selections in the vectors");
    }

    #[test]
    fn the_list_of_domain_types_is_whole_and_each_has_bytes_of_its_own() {
        // A kind that the list lacks would leave a gap between the ends of the derived order.
        let count = DomainType::InclusionListCommittee as usize + 1;
        assert_eq!(DomainType::ALL.map(|kind| kind as usize).to_vec(), (0..count).collect::<Vec<_>>());
        assert!(DomainType::ALL.is_sorted_by(|one, other| one.bytes() < other.bytes()));
    }

    /// phase0/beacon-chain.md, `DOMAIN_APPLICATION_MASK`: what applications sign never counts on the chain.
    #[test]
    fn only_what_applications_sign_meets_the_mask() {
        let applications = [DomainType::ApplicationBuilder, DomainType::BuilderRequestAuth];
        for kind in DomainType::ALL {
            assert_eq!(kind.bytes()[3] & 1 != 0, applications.contains(&kind), "{kind:?}");
        }
    }

    #[test]
    fn blocks_and_sync_messages_have_their_own_domains() {
        let spec = spec(&captured());
        let (slot, object) = (Slot(26_567_426), Root([1; 32]));
        assert_ne!(block_signing_root(&spec, slot, object), sync_message_signing_root(&spec, slot, object));
        let captured_block = "d19dc602b70a5a5703c3353cf30b73d148de9aee34122b85b71172cc9849b2d1".parse().unwrap();
        let expected = "7f669b09ee5c84ca323623dc38e8a98347202d8ec6e061d1b614dbde4f436aac".parse().unwrap();
        assert_eq!(block_signing_root(&spec, slot, captured_block), expected);
    }
}
