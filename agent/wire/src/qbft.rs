//! QBFT messages (`cluster-wire.md` section 7.1 to 7.5).

use holdfast_types::{DutyId, OperatorIndex, ValidatorPublic};
use std::collections::BTreeMap;

use crate::k1::K1Signature;

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

/// The hash of a value (`hashProto` of the inner message). All zero on the wire means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueHash(pub [u8; 32]);

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
}

/// A value that consensus is about, in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// What the validators of a duty are to sign: encoded unsigned data per validator (section 8).
    DataSet(BTreeMap<ValidatorPublic, Vec<u8>>),
    /// The canonical bytes of a `PriorityResult`.
    PriorityResult(Vec<u8>),
}

/// A whole consensus message: every signature in it holds, and every hash in it has its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsensusMsg {
    /// The message itself.
    pub msg: SignedMsg,
    /// Messages that justify it.
    pub justification: Vec<SignedMsg>,
    /// The values of all hashes in the message and its justification.
    pub values: BTreeMap<ValueHash, Value>,
}
