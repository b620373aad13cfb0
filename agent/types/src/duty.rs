//! What a cluster does in a slot, and who does it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Slot;

/// The most operators that a cluster may have here.
pub const OPERATORS_MAX: usize = 32;

/// A kind of duty, with its number on the wire (`cluster-wire.md` section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum DutyKind {
    /// Propose a block.
    Proposer = 1,
    /// Attest to the head of the chain.
    Attester = 2,
    /// A bare signature; only in ceremonies.
    Signature = 3,
    /// Leave the validator set.
    Exit = 4,
    /// Deprecated; always refused.
    BuilderProposer = 5,
    /// Register with builders.
    BuilderRegistration = 6,
    /// Sign the epoch for a proposal.
    Randao = 7,
    /// Prove the selection as aggregator.
    PrepareAggregator = 8,
    /// Aggregate the attestations of a committee.
    Aggregator = 9,
    /// Sign the head for light clients.
    SyncMessage = 10,
    /// Prove the selection as sync contributor.
    PrepareSyncContribution = 11,
    /// Aggregate sync messages of a subcommittee.
    SyncContribution = 12,
    /// Agree on versions and protocols.
    InfoSync = 13,
}

/// A number on the wire that is no duty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown duty type {0}")]
pub struct UnknownDutyKind(pub i32);

impl DutyKind {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The name in protocol text, logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proposer => "proposer",
            Self::Attester => "attester",
            Self::Signature => "signature",
            Self::Exit => "exit",
            Self::BuilderProposer => "builder_proposer",
            Self::BuilderRegistration => "builder_registration",
            Self::Randao => "randao",
            Self::PrepareAggregator => "prepare_aggregator",
            Self::Aggregator => "aggregator",
            Self::SyncMessage => "sync_message",
            Self::PrepareSyncContribution => "prepare_sync_contribution",
            Self::SyncContribution => "sync_contribution",
            Self::InfoSync => "info_sync",
        }
    }
}

impl TryFrom<i32> for DutyKind {
    type Error = UnknownDutyKind;

    fn try_from(number: i32) -> Result<Self, UnknownDutyKind> {
        Ok(match number {
            1 => Self::Proposer,
            2 => Self::Attester,
            3 => Self::Signature,
            4 => Self::Exit,
            5 => Self::BuilderProposer,
            6 => Self::BuilderRegistration,
            7 => Self::Randao,
            8 => Self::PrepareAggregator,
            9 => Self::Aggregator,
            10 => Self::SyncMessage,
            11 => Self::PrepareSyncContribution,
            12 => Self::SyncContribution,
            13 => Self::InfoSync,
            other => return Err(UnknownDutyKind(other)),
        })
    }
}

impl fmt::Display for DutyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One duty of the cluster: all its validators with this kind of work in this slot share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DutyId {
    /// The slot that the duty belongs to.
    pub slot: Slot,
    /// The kind of work.
    pub kind: DutyKind,
}

impl DutyId {
    /// The attester duty of a slot.
    #[must_use]
    pub const fn attester(slot: Slot) -> Self {
        Self { slot, kind: DutyKind::Attester }
    }
}

impl fmt::Display for DutyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.slot, self.kind)
    }
}

/// The position of an operator in the lock, from 0. On the wire: the peer index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperatorIndex(pub u8);

impl OperatorIndex {
    /// The index of this operator's shares.
    #[must_use]
    pub const fn share(self) -> ShareIndex {
        ShareIndex(self.0 + 1)
    }
}

impl fmt::Display for OperatorIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The index of a share, from 1: the x coordinate at which the secret polynomial was evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShareIndex(pub u8);

impl ShareIndex {
    /// The operator who holds this share; `None` for the index 0, which no share has.
    #[must_use]
    pub const fn operator(self) -> Option<OperatorIndex> {
        match self.0.checked_sub(1) {
            Some(index) => Some(OperatorIndex(index)),
            None => None,
        }
    }
}

impl fmt::Display for ShareIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The index of a validator on the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ValidatorIndex(pub u64);

impl fmt::Display for ValidatorIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_wire_maps_to_one_kind_and_back() {
        for number in 1..=13 {
            assert_eq!(i32::from(DutyKind::try_from(number).unwrap().number()), number);
        }
        assert_eq!(DutyKind::try_from(0), Err(UnknownDutyKind(0)));
        assert_eq!(DutyKind::try_from(14), Err(UnknownDutyKind(14)));
    }
}
