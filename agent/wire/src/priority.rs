//! What nodes prefer, signed (`cluster-wire.md` section 10.1).
//!
//! Topics and priorities stay in the form in which they came, because their hashes and the signature depend on it.

use holdfast_types::{DutyId, OperatorIndex, UnknownDutyKind};
use prost::Message as _;

use crate::hash::hash_canonical;
use crate::k1::{BadSignature, K1Signature, NodeKey, NodePublic};
use crate::proto::{self, NotProtobuf};
use crate::qbft::{duty_from_proto, duty_to_proto};

/// A name of a topic or of a priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(proto::Any);

/// What a node prefers in one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The topic.
    pub topic: Label,
    /// Most preferred first.
    pub priorities: Vec<Label>,
}

/// A node's preferences whose signature holds. Made only by verifying or by signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPriority {
    duty: DutyId,
    peer: OperatorIndex,
    peer_id: String,
    topics: Vec<Topic>,
    signature: K1Signature,
}

/// Why a priority message was refused. Each is a peer's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriorityRejected {
    /// The bytes are no such message.
    #[error("priority message does not decode")]
    NotProtobuf(#[from] NotProtobuf),
    /// More topics and priorities than any node has.
    #[error("priority message has {found} topics and priorities; there can be at most {LABELS_MAX}")]
    TooMany {
        /// How many it has.
        found: usize,
    },
    /// A part that must be there is not.
    #[error("priority message has no {0}")]
    Absent(&'static str),
    /// A number that is no duty.
    #[error("priority message is for no known duty")]
    UnknownDuty(#[from] UnknownDutyKind),
    /// It names another peer than the one that sent it, or one that is not in the cluster.
    #[error("priority message of peer {from} names the peer id {found:?}")]
    OtherPeer {
        /// Whose stream it came on.
        from: OperatorIndex,
        /// The peer id in it.
        found: String,
    },
    /// A signature that does not hold.
    #[error("priority message is not signed by peer {from}")]
    Signature {
        /// Whose stream it came on.
        from: OperatorIndex,
        /// What is wrong with the signature.
        #[source]
        err: BadSignature,
    },
}

impl Label {
    /// A label of a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let value = proto::StringValue { string_value: Some(text.to_owned()) }.encode_to_vec();
        Self(proto::Any { type_url: TYPE_URL.to_owned(), value })
    }

    /// The text; `None` when a peer wrapped something else.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let is_value = self.0.type_url.rsplit('/').next() == Some(TYPE);
        let value = is_value.then(|| proto::StringValue::decode(&self.0.value[..]).ok())??;
        value.string_value
    }

    /// The hash that identifies the label.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        hash_canonical(&self.0.encode_to_vec())
    }
}

impl SignedPriority {
    /// Signs what a node prefers. `peer` is the node's own index and `key` its key.
    #[must_use]
    pub fn new(duty: DutyId, peer: OperatorIndex, topics: Vec<Topic>, key: &NodeKey) -> Self {
        let mut message = Self { duty, peer, peer_id: key.public().peer_id(), topics, signature: K1Signature([0; 65]) };
        message.signature = key.sign(&message.digest());
        message
    }

    /// Decodes the message of the peer `from`, whose stream it came on, and checks what needs no clock: sections 2.3
    /// and 10.3. `keys` are the cluster's, in the order of the lock.
    ///
    /// # Errors
    ///
    /// [`PriorityRejected`] names the rule that the peer broke.
    pub fn decode(bytes: &[u8], from: OperatorIndex, keys: &[NodePublic]) -> Result<Self, PriorityRejected> {
        // Before anything is allocated for them: two bytes make a label of 48.
        let found = proto::occurrences(bytes, 2)? + proto::occurrences_within(bytes, 2, 2)?;
        if found > LABELS_MAX {
            return Err(PriorityRejected::TooMany { found });
        }
        let proto = proto::PriorityMsg::decode(bytes).map_err(NotProtobuf::from)?;
        let duty = proto.duty.ok_or(PriorityRejected::Absent("duty"))?;
        let mut topics = Vec::with_capacity(proto.topics.len());
        for one in proto.topics {
            let topic = Label(one.topic.ok_or(PriorityRejected::Absent("topic"))?);
            topics.push(Topic { topic, priorities: one.priorities.into_iter().map(Label).collect() });
        }
        let duty = duty_from_proto(duty)?;
        let other = |found: &str| PriorityRejected::OtherPeer { from, found: found.chars().take(60).collect() };
        let key = keys.get(usize::from(from.0)).ok_or_else(|| other(&proto.peer_id))?;
        if key.peer_id() != proto.peer_id {
            return Err(other(&proto.peer_id));
        }
        let failed = |err| PriorityRejected::Signature { from, err };
        let signature = K1Signature::from_slice(&proto.signature).map_err(failed)?;
        let message = Self { duty, peer: from, peer_id: proto.peer_id, topics, signature };
        key.verify(&message.digest(), &signature).map_err(failed)?;
        Ok(message)
    }

    /// The bytes of the message, without the length that frames them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        proto::PriorityMsg { signature: self.signature.0.to_vec(), ..self.unsigned() }.encode_to_vec()
    }

    /// The digest that is signed.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        hash_canonical(&self.unsigned().encode_to_vec())
    }

    /// The duty: the info sync of a slot, unless a peer has other ideas.
    #[must_use]
    pub const fn duty(&self) -> DutyId {
        self.duty
    }

    /// Whose preferences these are.
    #[must_use]
    pub const fn peer(&self) -> OperatorIndex {
        self.peer
    }

    /// The preferences.
    #[must_use]
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// The signature.
    #[must_use]
    pub const fn signature(&self) -> &K1Signature {
        &self.signature
    }

    fn unsigned(&self) -> proto::PriorityMsg {
        let topic = |one: &Topic| proto::PriorityTopicProposal {
            topic: Some(one.topic.0.clone()),
            priorities: one.priorities.iter().map(|label| label.0.clone()).collect(),
        };
        proto::PriorityMsg {
            duty: Some(duty_to_proto(self.duty)),
            topics: self.topics.iter().map(topic).collect(),
            peer_id: self.peer_id.clone(),
            signature: Vec::new(),
        }
    }
}

/// Topics and priorities of one message together. A topic has fewer than 1000 priorities, and there are three topics
/// (`cluster-wire.md` sections 10.4 and 10.5).
const LABELS_MAX: usize = 3 * 1000;
const TYPE: &str = "google.protobuf.Value";
const TYPE_URL: &str = "type.googleapis.com/google.protobuf.Value";

#[cfg(test)]
mod tests {
    use holdfast_types::{DutyKind, Slot};

    use super::*;

    fn key(byte: u8) -> NodeKey {
        NodeKey::from_bytes(&[byte; 32]).unwrap()
    }

    fn keys() -> Vec<NodePublic> {
        (1..=4).map(|byte| key(byte).public()).collect()
    }

    /// The message of `cluster-wire.md` section 14.9.
    fn golden() -> SignedPriority {
        let topic = |name: &str, priorities: &[&str]| Topic {
            topic: Label::new(name),
            priorities: priorities.iter().map(|text| Label::new(text)).collect(),
        };
        let topics = vec![
            topic("version", &["v1.11", "v1.10"]),
            topic("protocol", &["/charon/consensus/qbft/2.0.0"]),
            topic("proposal", &["full"]),
        ];
        SignedPriority::new(DutyId { slot: Slot(127), kind: DutyKind::InfoSync }, OperatorIndex(0), topics, &key(1))
    }

    #[test]
    fn labels_have_the_specified_bytes_and_hashes() {
        let known = [
            ("version", "fc6c5aeac574e59cc0b99caeb3b61e67a98f3ff95ed50970b078d76d8c95ac08"),
            ("protocol", "67aaa9d88ac4e24101807e80d8b8850cb5e9cc7ee23ace6bac5e1491c1184452"),
            ("proposal", "8292ad78318516a0cbac37ea56f9e270cd55e41b912174022fddbf6bfc32ead8"),
        ];
        for (text, hash) in known {
            assert_eq!(hex::encode(Label::new(text).hash()), hash);
            assert_eq!(Label::new(text).text().as_deref(), Some(text));
        }
        assert_eq!(Label(proto::Any::default()).text(), None);
    }

    #[test]
    fn the_message_has_the_specified_hash_and_signature() {
        assert_eq!(golden().unsigned().encode_to_vec().len(), 477);
        assert_eq!(hex::encode(golden().digest()), "874e4a76c51f5ae185ff3b74e2330c41abd6e2927ddcfd3df1c1fc7de14662cf");
        assert_eq!(
            hex::encode(golden().signature().0),
            "e374ed95cbe68ce39e5720d3765c681de5f01b4252133a16aebe1d431b35451847fbc305e49b0c3b3a061a9acf6dc60516c7f29dc3\
             ded8c0a6e84490ab09d23600"
        );
        assert_eq!(SignedPriority::decode(&golden().encode(), OperatorIndex(0), &keys()), Ok(golden()));
    }

    #[test]
    fn every_fault_is_named() {
        let altered = |alter: &dyn Fn(&mut proto::PriorityMsg), from: u8| {
            let mut proto = proto::PriorityMsg::decode(&golden().encode()[..]).unwrap();
            alter(&mut proto);
            SignedPriority::decode(&proto.encode_to_vec(), OperatorIndex(from), &keys()).unwrap_err()
        };
        assert_eq!(altered(&|proto| proto.duty = None, 0), PriorityRejected::Absent("duty"));
        assert_eq!(altered(&|proto| proto.topics[1].topic = None, 0), PriorityRejected::Absent("topic"));
        assert!(matches!(altered(&|proto| proto.duty = Some(Default::default()), 0), PriorityRejected::UnknownDuty(_)));
        assert!(matches!(altered(&|_| (), 1), PriorityRejected::OtherPeer { .. }));
        assert!(matches!(altered(&|_| (), 9), PriorityRejected::OtherPeer { .. }));
        let fault = altered(&|proto| proto.topics.swap(0, 1), 0);
        assert_eq!(fault, PriorityRejected::Signature { from: OperatorIndex(0), err: BadSignature::OtherKey });
        let many = |topics: usize, priorities: usize| {
            altered(
                &|proto| {
                    proto.topics = vec![
                        proto::PriorityTopicProposal {
                            topic: None,
                            priorities: vec![Default::default(); priorities]
                        };
                        topics
                    ]
                },
                0,
            )
        };
        assert_eq!(many(LABELS_MAX + 1, 0), PriorityRejected::TooMany { found: LABELS_MAX + 1 });
        assert_eq!(many(2, LABELS_MAX / 2), PriorityRejected::TooMany { found: 2 + LABELS_MAX });
        assert_eq!(many(3, LABELS_MAX / 3 - 1), PriorityRejected::Absent("topic"));
        let fault = SignedPriority::decode(&[0xff; 20], OperatorIndex(0), &keys()).unwrap_err();
        assert!(matches!(fault, PriorityRejected::NotProtobuf(_)));
    }
}
