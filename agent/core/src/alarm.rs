//! What a peer must not do, and what cannot happen, in the words that the operator reads.

use holdfast_types::{DutyId, DutyKind, OperatorIndex, ShareIndex, ValidatorPublic};
use holdfast_wire::qbft::MsgKind;

use crate::qbft::Refused;

/// What a peer did that no honest peer does. Its message, or the part of it that is wrong, was dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// A share signed two different things in one duty.
    #[error("sent a second, different partial signature for validator {} in duty {duty}; the first one stays", validator.short())]
    ConflictingPartial {
        /// The duty.
        duty: DutyId,
        /// The validator.
        validator: ValidatorPublic,
    },
    /// A consensus message that is not to be believed.
    #[error("sent a consensus message for duty {duty} that was refused: {refused}")]
    Consensus {
        /// The duty.
        duty: DutyId,
        /// Why.
        refused: Refused,
    },
    /// More for later duties than any honest peer has to say.
    #[error("sent more for duty {duty} than there is room for; its message was dropped")]
    Flood {
        /// The duty at which the room ended.
        duty: DutyId,
    },
    /// A partial signature of somebody else's share.
    #[error("sent a partial signature of share {share} in duty {duty}, which is not its own")]
    ForeignShare {
        /// The duty.
        duty: DutyId,
        /// The share.
        share: ShareIndex,
    },
    /// Partial signatures that do not verify.
    #[error("sent {count} partial signatures in duty {duty} that do not verify, the first for validator {}", first.short())]
    InvalidPartial {
        /// The duty.
        duty: DutyId,
        /// How many.
        count: usize,
        /// The first validator with one.
        first: ValidatorPublic,
    },
    /// A duty that is too far in the future.
    #[error("sent a message for duty {duty}, which is more than two epochs ahead")]
    OutsideGate {
        /// The duty.
        duty: DutyId,
    },
    /// A validator that is not in the lock.
    #[error("sent a partial signature for {validator} in duty {duty}, which is no validator of this cluster")]
    UnknownValidator {
        /// The duty.
        duty: DutyId,
        /// The validator.
        validator: ValidatorPublic,
    },
    /// A value that no validator of ours could sign.
    #[error("sent a value for duty {duty} that is none for that kind of duty, or larger than the cluster needs")]
    UnusableValue {
        /// The duty.
        duty: DutyId,
    },
    /// A partial signature over something that is not this duty's.
    #[error("sent a partial signature for validator {} in duty {duty} that signs something else", validator.short())]
    WrongPayload {
        /// The duty.
        duty: DutyId,
        /// The validator.
        validator: ValidatorPublic,
    },
}

/// What cannot happen, and did. The duty is given up or the node halts; the process goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// Enough verified partial signatures combined to an invalid group signature.
    ///
    /// Reason: each partial was verified against the lock, so the lock itself must be inconsistent.
    #[error("duty {duty}: verified partial signatures of validator {} do not combine; the cluster lock is inconsistent", validator.short())]
    CombineFailed {
        /// The duty.
        duty: DutyId,
        /// The validator.
        validator: ValidatorPublic,
    },
    /// Our own partial signature does not verify.
    ///
    /// Reason: the vault checks its shares at import, so its share and the lock must have parted since.
    #[error("duty {duty}: our own partial signature for validator {} does not verify under the cluster lock; check that the vault holds the shares of this cluster", validator.short())]
    OwnPartialInvalid {
        /// The duty.
        duty: DutyId,
        /// The validator.
        validator: ValidatorPublic,
    },
    /// Somebody else signs with our node key.
    ///
    /// Reason: the key is in one vault only, so a second box, or a copy of this one, runs with it.
    #[error(
        "a twin is alive: operator {operator} (this node's own key) signed a {kind:?} of round {round} for duty {duty} that this node did not send; find the other machine that runs with this node's key and stop it, then restart this one"
    )]
    Twin {
        /// Ourselves.
        operator: OperatorIndex,
        /// The duty.
        duty: DutyId,
        /// The type of the message.
        kind: MsgKind,
        /// Its round.
        round: u64,
    },
}

impl Alarm {
    /// The duty that it is about.
    #[must_use]
    pub const fn duty(&self) -> DutyId {
        match self {
            Self::CombineFailed { duty, .. } | Self::OwnPartialInvalid { duty, .. } | Self::Twin { duty, .. } => *duty,
        }
    }

    /// The kind of duty that it is about, for metrics.
    #[must_use]
    pub const fn kind(&self) -> DutyKind {
        self.duty().kind
    }
}
