//! QBFT messages (`cluster-wire.md` sections 7.1 to 7.5).
//!
//! What is decided here needs the message and the cluster's keys only. Whether the duty is in the gate or over is for
//! [`crate::gate`], and what the message means is for the core.

mod form;
mod message;
mod value;

use crate::k1::{BadSignature, K1Signature, NodeKey, NodePublic};
use crate::proto::{self, NotProtobuf};
use holdfast_types::{DutyId, DutyKind, OperatorIndex, Slot, UnknownDutyKind};

use form::Form;

pub use message::{ConsensusMsg, ConsensusRejected};
pub use value::{BadValue, Value, ValueHash};

/// The type of a QBFT message, with its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MsgKind {
    /// The leader's proposal.
    PrePrepare = 1,
    /// A vote for the proposal.
    Prepare = 2,
    /// A vote to decide.
    Commit = 3,
    /// A vote for another round.
    RoundChange = 4,
    /// A decision with its proof.
    Decided = 5,
}

/// What a QBFT message says, without its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Msg {
    /// The type.
    pub kind: MsgKind,
    /// The instance.
    pub duty: DutyId,
    /// The signer.
    pub peer: OperatorIndex,
    /// The round, from 1.
    pub round: u64,
    /// The round that the signer prepared; 0 for none.
    pub prepared_round: u64,
    /// The value that the message is about.
    pub value: Option<ValueHash>,
    /// The value that the signer prepared.
    pub prepared_value: Option<ValueHash>,
}

/// A QBFT message whose signature holds. Made only by verifying or by signing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignedMsg {
    msg: Msg,
    signature: K1Signature,
    form: Form,
}

/// What is wrong with a single QBFT message. Each is a peer's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MsgRejected {
    /// No duty.
    #[error("names no duty")]
    NoDuty,
    /// A number that is no type.
    #[error("has the unknown type {0}")]
    UnknownKind(i64),
    /// A number that is no duty.
    #[error("is for no known duty")]
    UnknownDuty(#[from] UnknownDutyKind),
    /// A round that cannot be.
    #[error("is for round {0}; rounds begin at 1")]
    Round(i64),
    /// A prepared round that cannot be.
    #[error("claims the prepared round {0}")]
    PreparedRound(i64),
    /// A signer who is not in the cluster.
    #[error("claims to be signed by peer {0}, which the cluster does not have")]
    UnknownPeer(i64),
    /// A hash field that is neither a hash nor absent; what was signed could not be passed on.
    #[error("has a value hash of {0} bytes")]
    HashLength(usize),
    /// The fields cannot be told apart.
    #[error("does not decode")]
    NotProtobuf(#[from] NotProtobuf),
    /// More of what we do not know than is kept for passing the message on.
    #[error("carries {found} bytes of unknown fields; {max} are allowed")]
    UnknownFields {
        /// How many bytes they have.
        found: usize,
        /// How many they may have.
        max: usize,
    },
    /// A signature that does not hold.
    #[error("is not signed by peer {peer}")]
    Signature {
        /// The peer that it claims to be signed by.
        peer: OperatorIndex,
        /// What is wrong with the signature.
        #[source]
        err: BadSignature,
    },
}

impl TryFrom<i64> for MsgKind {
    type Error = MsgRejected;

    fn try_from(number: i64) -> Result<Self, MsgRejected> {
        Ok(match number {
            1 => Self::PrePrepare,
            2 => Self::Prepare,
            3 => Self::Commit,
            4 => Self::RoundChange,
            5 => Self::Decided,
            other => return Err(MsgRejected::UnknownKind(other)),
        })
    }
}

impl Msg {
    /// The digest that is signed (section 7.4).
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Form::default().digest(*self)
    }

    /// Signs the message. The key must be that of `self.peer`, or peers will refuse the result.
    #[must_use]
    pub fn sign(self, key: &NodeKey) -> SignedMsg {
        SignedMsg { msg: self, signature: key.sign(&self.digest()), form: Form::default() }
    }
}

impl SignedMsg {
    /// What it says.
    #[must_use]
    pub const fn msg(&self) -> &Msg {
        &self.msg
    }

    /// The signer's signature.
    #[must_use]
    pub const fn signature(&self) -> &K1Signature {
        &self.signature
    }

    /// Everything of section 7.5 step 1 but the signature. `raw` is the message as it came.
    fn parse(proto: &proto::QbftMsg, raw: &[u8], keys: &[NodePublic]) -> Result<(Msg, Form), MsgRejected> {
        let duty = proto.duty.ok_or(MsgRejected::NoDuty)?;
        let kind = MsgKind::try_from(proto.kind)?;
        let duty = duty_from_proto(duty)?;
        let round =
            u64::try_from(proto.round).ok().filter(|&round| round > 0).ok_or(MsgRejected::Round(proto.round))?;
        let prepared_round =
            u64::try_from(proto.prepared_round).map_err(|_| MsgRejected::PreparedRound(proto.prepared_round))?;
        let peer = u8::try_from(proto.peer_idx)
            .ok()
            .filter(|&index| usize::from(index) < keys.len())
            .ok_or(MsgRejected::UnknownPeer(proto.peer_idx))?;
        let msg = Msg {
            kind,
            duty,
            peer: OperatorIndex(peer),
            round,
            prepared_round,
            value: ValueHash::from_field(&proto.value_hash)?,
            prepared_value: ValueHash::from_field(&proto.prepared_value_hash)?,
        };
        Ok((msg, Form::of(proto, raw)?))
    }

    /// Verifies the signature of a parsed message.
    fn verify(msg: Msg, form: Form, signature: &[u8], keys: &[NodePublic]) -> Result<Self, MsgRejected> {
        let failed = |err| MsgRejected::Signature { peer: msg.peer, err };
        let key = keys.get(usize::from(msg.peer.0)).ok_or(MsgRejected::UnknownPeer(i64::from(msg.peer.0)))?;
        let signature = K1Signature::from_slice(signature).map_err(failed)?;
        key.verify(&form.digest(msg), &signature).map_err(failed)?;
        Ok(Self { msg, signature, form })
    }

    /// The bytes of the message, as its signer wrote them.
    fn encode(&self) -> Vec<u8> {
        self.form.encode(self.msg, &self.signature.0)
    }
}

impl ValueHash {
    fn from_field(bytes: &[u8]) -> Result<Option<Self>, MsgRejected> {
        match <[u8; 32]>::try_from(bytes) {
            Ok(hash) => Ok((hash != [0; 32]).then_some(Self(hash))),
            Err(_) if bytes.is_empty() => Ok(None),
            Err(_) => Err(MsgRejected::HashLength(bytes.len())),
        }
    }
}

pub(crate) fn duty_from_proto(duty: proto::Duty) -> Result<DutyId, UnknownDutyKind> {
    Ok(DutyId { slot: Slot(duty.slot), kind: DutyKind::try_from(duty.kind)? })
}

pub(crate) fn duty_to_proto(duty: DutyId) -> proto::Duty {
    proto::Duty { slot: duty.slot.0, kind: i32::from(duty.kind.number()) }
}

#[cfg(test)]
mod tests;
