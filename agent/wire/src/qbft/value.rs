//! The values that consensus is about (`cluster-wire.md` section 7.3).

use std::collections::BTreeMap;

use holdfast_types::ValidatorPublic;
use prost::Message as _;

use crate::hash::hash_canonical;
use crate::parsigex::{BadValidatorKey, validator_key};
use crate::proto::{self, NotProtobuf, occurrences, put_field, unknown_fields};

/// The hash of a value (`hashProto` of the inner message). All zero on the wire means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueHash(pub [u8; 32]);

/// A value that consensus is about, in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// What the validators of a duty are to sign: encoded unsigned data per validator (section 8).
    DataSet(BTreeMap<ValidatorPublic, Vec<u8>>),
    /// The same from a node of a later version, with fields beside the set that we do not know. They are hashed along.
    LaterDataSet {
        /// As in [`Value::DataSet`].
        set: BTreeMap<ValidatorPublic, Vec<u8>>,
        /// The fields as they came.
        unknown: Vec<u8>,
    },
    /// The canonical bytes of a `PriorityResult`.
    PriorityResult(Vec<u8>),
}

/// What is wrong with a value. Each is a peer's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// A type that cannot be resolved.
    #[error("has the unknown type {0:?}")]
    UnknownType(String),
    /// Bytes that are not of the type.
    #[error("does not decode")]
    NotProtobuf(#[from] NotProtobuf),
    /// A key that is no validator's key.
    #[error("has an entry for no validator")]
    Key(#[from] BadValidatorKey),
    /// More than a value may have.
    #[error("has {what} beyond the limit: {found} of at most {max}")]
    TooLarge {
        /// Entries or bytes.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
}

impl Value {
    /// The hash that messages name the value by. Costs one SHA-256 over the whole value.
    #[must_use]
    pub fn hash(&self) -> ValueHash {
        ValueHash(hash_canonical(&self.canonical()))
    }

    /// The canonical bytes: entries in order of their keys, each with key and value even when empty.
    pub(crate) fn canonical(&self) -> Vec<u8> {
        let (set, unknown) = match self {
            Self::PriorityResult(bytes) => return bytes.clone(),
            Self::DataSet(set) => (set, &[][..]),
            Self::LaterDataSet { set, unknown } => (set, &unknown[..]),
        };
        let mut bytes = Vec::new();
        for (key, data) in set {
            let mut entry = Vec::with_capacity(ENTRY_OVERHEAD + data.len());
            put_field(&mut entry, 1, key.to_string().as_bytes());
            put_field(&mut entry, 2, data);
            put_field(&mut bytes, 1, &entry);
        }
        bytes.extend_from_slice(unknown);
        bytes
    }

    /// What the validators are to sign, when it is such a value.
    #[must_use]
    pub const fn data_set(&self) -> Option<&BTreeMap<ValidatorPublic, Vec<u8>>> {
        match self {
            Self::DataSet(set) | Self::LaterDataSet { set, .. } => Some(set),
            Self::PriorityResult(_) => None,
        }
    }

    pub(crate) fn to_any(&self) -> proto::Any {
        let name = match self {
            Self::DataSet(_) | Self::LaterDataSet { .. } => DATA_SET,
            Self::PriorityResult(_) => PRIORITY_RESULT,
        };
        proto::Any { type_url: format!("{TYPE_URL_PREFIX}{name}"), value: self.canonical() }
    }

    pub(crate) fn from_any(any: proto::Any) -> Result<Self, BadValue> {
        match any.type_url.rsplit('/').next().unwrap_or_default() {
            DATA_SET => Self::decode_set(&any.value),
            PRIORITY_RESULT => Self::priority_result(&any.value),
            _ => Err(BadValue::UnknownType(any.type_url.chars().take(80).collect())),
        }
    }

    fn decode_set(bytes: &[u8]) -> Result<Self, BadValue> {
        bounded("entries", occurrences(bytes, 1)?, DATA_SET_ENTRIES_MAX)?;
        let decoded = proto::UnsignedDataSet::decode(bytes).map_err(NotProtobuf::from)?;
        let mut set = BTreeMap::new();
        for (key, data) in decoded.set {
            set.insert(validator_key(&key)?, data);
        }
        let unknown = unknown_fields(bytes, &[1])?;
        bounded("bytes of unknown fields", unknown.len(), UNKNOWN_LEN_MAX)?;
        Ok(if unknown.is_empty() { Self::DataSet(set) } else { Self::LaterDataSet { set, unknown } })
    }

    fn priority_result(bytes: &[u8]) -> Result<Self, BadValue> {
        bounded("bytes", bytes.len(), PRIORITY_RESULT_LEN_MAX)?;
        let decoded = proto::PriorityResult::decode(bytes).map_err(NotProtobuf::from)?;
        Ok(Self::PriorityResult(decoded.encode_to_vec()))
    }
}

fn bounded(what: &'static str, found: usize, max: usize) -> Result<(), BadValue> {
    if found <= max { Ok(()) } else { Err(BadValue::TooLarge { what, found, max }) }
}

/// The key's text and what it and the data take beside themselves.
const ENTRY_OVERHEAD: usize = 2 + 2 * ValidatorPublic::LEN + 16;

/// Room for what a later version may add; it is not ours to look into.
const UNKNOWN_LEN_MAX: usize = 1024;

const TYPE_URL_PREFIX: &str = "type.googleapis.com/";
const DATA_SET: &str = "core.corepb.v1.UnsignedDataSet";
const PRIORITY_RESULT: &str = "core.corepb.v1.PriorityResult";

/// The validators of one duty: a slot holds a 32nd of the cluster's validators, so this is room for 131072 of them.
const DATA_SET_ENTRIES_MAX: usize = 4096;

/// The messages of 32 nodes are under 100 KB. An empty list element takes 2 bytes here and 48 in memory.
const PRIORITY_RESULT_LEN_MAX: usize = 1 << 20;
