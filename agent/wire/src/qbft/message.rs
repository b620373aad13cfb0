//! The whole message on a stream: a signed message, what justifies it, and the values (`cluster-wire.md` section 7.5).

use std::collections::BTreeMap;

use holdfast_types::DutyId;
use prost::Message as _;

use super::{BadValue, MsgRejected, SignedMsg, Value, ValueHash};
use crate::k1::NodePublic;
use crate::proto::{self, NotProtobuf, for_each_field, occurrences, put_field};

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

/// Why a consensus message was refused. Each is a peer's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsensusRejected {
    /// The bytes are no such message.
    #[error("consensus message does not decode")]
    NotProtobuf(#[from] NotProtobuf),
    /// There is nothing in it.
    #[error("consensus message has no inner message")]
    NoMsg,
    /// The message itself is wrong.
    #[error("consensus message is refused")]
    Msg(#[from] MsgRejected),
    /// More messages than can justify anything.
    #[error("consensus message carries {found} justifications; {max} are allowed")]
    TooManyJustifications {
        /// How many it carries.
        found: usize,
        /// Two per node.
        max: usize,
    },
    /// More values than its hashes can name.
    #[error("consensus message carries {found} values; {max} are allowed")]
    TooManyValues {
        /// How many it carries.
        found: usize,
        /// Two per message in it.
        max: usize,
    },
    /// A justification is wrong.
    #[error("justification {index} of the consensus message is refused")]
    Justification {
        /// Its position, from 0.
        index: usize,
        /// What is wrong.
        #[source]
        err: MsgRejected,
    },
    /// A justification is of another instance.
    #[error("justification {index} of the consensus message is for duty {found} instead of {expected}")]
    OtherDuty {
        /// Its position, from 0.
        index: usize,
        /// Its duty.
        found: DutyId,
        /// The message's duty.
        expected: DutyId,
    },
    /// A value is wrong.
    #[error("value {index} of the consensus message is refused")]
    Value {
        /// Its position, from 0.
        index: usize,
        /// What is wrong.
        #[source]
        err: BadValue,
    },
    /// A hash names a value that did not come along.
    #[error("value {} is named in the consensus message but not carried by it", hex::encode(.0.0))]
    ValueMissing(ValueHash),
}

impl ConsensusMsg {
    /// Puts a message together for sending. `values` must hold the value of every hash in `msg` and `justification`,
    /// or peers will refuse it; others are left out.
    #[must_use]
    pub fn new(msg: SignedMsg, justification: Vec<SignedMsg>, values: Vec<Value>) -> Self {
        let mut message = Self { msg, justification, values: BTreeMap::new() };
        let named: Vec<ValueHash> = message.named().collect();
        message.values =
            values.into_iter().map(|value| (value.hash(), value)).filter(|(hash, _)| named.contains(hash)).collect();
        message
    }

    /// Decodes a message of a peer and checks all that needs neither a clock nor the state of an instance: section 2.3
    /// and steps 1 and 3 to 6 of section 7.5. `keys` are the cluster's, in the order of the lock.
    ///
    /// What is cheap is checked before what is not, so several faults at once may be named in another order than the
    /// specification's. Values that no hash names are dropped.
    ///
    /// # Errors
    ///
    /// [`ConsensusRejected`] names the rule that the peer broke.
    pub fn decode(bytes: &[u8], keys: &[NodePublic]) -> Result<Self, ConsensusRejected> {
        check_counts(bytes, keys.len())?;
        let proto = proto::QbftConsensusMsg::decode(bytes).map_err(NotProtobuf::from)?;
        let msg = proto.msg.as_ref().ok_or(ConsensusRejected::NoMsg)?;
        let (raw_msg, raw_justification) = raw_messages(bytes)?;
        let (parsed, form) = SignedMsg::parse(msg, &raw_msg, keys)?;
        let mut pending = Vec::with_capacity(proto.justification.len());
        for (index, (one, raw)) in proto.justification.iter().zip(raw_justification).enumerate() {
            let (found, form) =
                SignedMsg::parse(one, raw, keys).map_err(|err| ConsensusRejected::Justification { index, err })?;
            if found.duty != parsed.duty {
                return Err(ConsensusRejected::OtherDuty { index, found: found.duty, expected: parsed.duty });
            }
            pending.push((found, form, &one.signature));
        }
        let msg = SignedMsg::verify(parsed, form, &msg.signature, keys)?;
        let mut justification = Vec::with_capacity(pending.len());
        for (index, (parsed, form, signature)) in pending.into_iter().enumerate() {
            let signed = SignedMsg::verify(parsed, form, signature, keys);
            justification.push(signed.map_err(|err| ConsensusRejected::Justification { index, err })?);
        }
        let mut values = Vec::with_capacity(proto.values.len());
        for (index, any) in proto.values.into_iter().enumerate() {
            values.push(Value::from_any(any).map_err(|err| ConsensusRejected::Value { index, err })?);
        }
        let message = Self::new(msg, justification, values);
        let missing = message.named().find(|hash| !message.values.contains_key(hash));
        missing.map_or(Ok(message), |hash| Err(ConsensusRejected::ValueMissing(hash)))
    }

    /// The bytes of the message, without the length that frames them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_field(&mut bytes, 1, &self.msg.encode());
        for one in &self.justification {
            put_field(&mut bytes, 2, &one.encode());
        }
        for value in self.values.values() {
            put_field(&mut bytes, 3, &value.to_any().encode_to_vec());
        }
        bytes
    }

    /// Every hash in the message and its justification.
    fn named(&self) -> impl Iterator<Item = ValueHash> {
        std::iter::once(&self.msg)
            .chain(&self.justification)
            .flat_map(|one| [one.msg().value, one.msg().prepared_value])
            .flatten()
    }
}

/// The message and those that justify it, as they came. A message that comes in parts is one message.
fn raw_messages(bytes: &[u8]) -> Result<(Vec<u8>, Vec<&[u8]>), NotProtobuf> {
    let (mut msg, mut justification) = (Vec::new(), Vec::new());
    for_each_field(bytes, |field| match field.number {
        1 => msg.extend_from_slice(field.content),
        2 => justification.push(field.content),
        _ => {}
    })?;
    Ok((msg, justification))
}

/// Section 7.5 step 3, before anything is allocated for what is counted.
fn check_counts(bytes: &[u8], nodes: usize) -> Result<(), ConsensusRejected> {
    let (found, max) = (occurrences(bytes, 2)?, 2 * nodes);
    if found > max {
        return Err(ConsensusRejected::TooManyJustifications { found, max });
    }
    let (found, max) = (occurrences(bytes, 3)?, 2 * (found + 1));
    if found > max {
        return Err(ConsensusRejected::TooManyValues { found, max });
    }
    Ok(())
}
