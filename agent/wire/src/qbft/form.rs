//! How a signer wrote a QBFT message, as far as the message itself does not say it. The signature depends on it, so it is
//! kept for passing the message on as it was signed.

use prost::Message as _;

use super::{Msg, MsgRejected, ValueHash, duty_to_proto};
use crate::hash::hash_canonical;
use crate::proto::{self, for_each_field, put_field, unknown_fields};

/// The form of a message. Ours is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Form {
    /// A hash that is null was left out; usually it is written as zeros.
    value_absent: bool,
    prepared_value_absent: bool,
    unknown: Unknown,
}

/// The fields of a later version that a message carries: first those of the duty, then those of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Unknown {
    bytes: [u8; UNKNOWN_LEN_MAX],
    of_duty_len: u8,
    len: u8,
}

impl Form {
    /// The form of a message that was decoded from `raw`.
    pub(super) fn of(proto: &proto::QbftMsg, raw: &[u8]) -> Result<Self, MsgRejected> {
        Ok(Self {
            value_absent: proto.value_hash.is_empty(),
            prepared_value_absent: proto.prepared_value_hash.is_empty(),
            unknown: Unknown::of(raw)?,
        })
    }

    /// What is signed (section 7.4).
    pub(super) fn digest(&self, msg: Msg) -> [u8; 32] {
        hash_canonical(&self.encode(msg, &[]))
    }

    /// The canonical bytes (section 3.1); an empty signature is left out.
    pub(super) fn encode(&self, msg: Msg, signature: &[u8]) -> Vec<u8> {
        let field = |hash: Option<ValueHash>, absent: bool| match hash {
            Some(hash) => hash.0.to_vec(),
            None if absent => Vec::new(),
            None => vec![0; 32],
        };
        let mut bytes = proto::QbftMsg { kind: i64::from(msg.kind as u8), ..Default::default() }.encode_to_vec();
        let mut duty = duty_to_proto(msg.duty).encode_to_vec();
        duty.extend_from_slice(self.unknown.of_duty());
        put_field(&mut bytes, 2, &duty);
        let rest = proto::QbftMsg {
            kind: 0,
            duty: None,
            peer_idx: i64::from(msg.peer.0),
            round: i64::try_from(msg.round).expect("rounds are counted from 1"),
            prepared_round: i64::try_from(msg.prepared_round).expect("rounds are counted from 1"),
            signature: signature.to_vec(),
            value_hash: field(msg.value, self.value_absent),
            prepared_value_hash: field(msg.prepared_value, self.prepared_value_absent),
        };
        rest.encode(&mut bytes).expect("a vector grows as needed");
        bytes.extend_from_slice(self.unknown.of_message());
        bytes
    }
}

impl Unknown {
    fn of(raw: &[u8]) -> Result<Self, MsgRejected> {
        let mut unknown = Vec::new();
        let mut duties = Vec::new();
        for_each_field(raw, |field| {
            if field.number == 2 {
                duties.push(field.content);
            }
        })?;
        for duty in duties {
            unknown.extend(unknown_fields(duty, &KNOWN_OF_DUTY)?);
        }
        let of_duty_len = unknown.len();
        unknown.extend(unknown_fields(raw, &KNOWN)?);
        let found = unknown.len();
        let mut bytes = [0; UNKNOWN_LEN_MAX];
        let too_many = MsgRejected::UnknownFields { found, max: UNKNOWN_LEN_MAX };
        bytes.get_mut(..found).ok_or(too_many)?.copy_from_slice(&unknown);
        // Both are at most `UNKNOWN_LEN_MAX`, which fits a byte.
        Ok(Self { bytes, of_duty_len: of_duty_len as u8, len: found as u8 })
    }

    fn of_duty(&self) -> &[u8] {
        &self.bytes[..usize::from(self.of_duty_len)]
    }

    fn of_message(&self) -> &[u8] {
        &self.bytes[usize::from(self.of_duty_len)..usize::from(self.len)]
    }
}

impl Default for Unknown {
    fn default() -> Self {
        Self { bytes: [0; UNKNOWN_LEN_MAX], of_duty_len: 0, len: 0 }
    }
}

/// The fields of `QBFTMsg` and of `Duty` (sections 7.1 and 4).
const KNOWN: [u64; 8] = [1, 2, 3, 4, 6, 8, 11, 12];
const KNOWN_OF_DUTY: [u64; 2] = [1, 2];

/// Room for a hash and a few numbers. Messages are held by the hundred, so it is not more.
const UNKNOWN_LEN_MAX: usize = 64;
