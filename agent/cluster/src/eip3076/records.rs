//! The records of a history file as they stand in it, for reading and for writing.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use holdfast_types::{AttestationMark, BlockMark, Epoch, Root, SigningRoot, Slot, ValidatorPublic};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize)]
pub(super) struct File {
    pub(super) metadata: Metadata,
    pub(super) data: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Metadata {
    pub(super) interchange_format_version: String,
    pub(super) genesis_validators_root: Root,
}

#[derive(Serialize)]
pub(super) struct Entry {
    pub(super) pubkey: ValidatorPublic,
    pub(super) signed_blocks: Vec<Block>,
    pub(super) signed_attestations: Vec<Attestation>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Block {
    pub(super) slot: Number,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) signing_root: Option<SigningRoot>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Attestation {
    pub(super) source_epoch: Number,
    pub(super) target_epoch: Number,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) signing_root: Option<SigningRoot>,
}

/// Takes an object only: a derived form would take a list of the fields' values as well.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

impl From<BlockMark> for Block {
    fn from(mark: BlockMark) -> Self {
        Self { slot: Number(mark.slot.0), signing_root: mark.root }
    }
}

impl From<Block> for BlockMark {
    fn from(block: Block) -> Self {
        Self { slot: Slot(block.slot.0), root: block.signing_root }
    }
}

impl From<AttestationMark> for Attestation {
    fn from(mark: AttestationMark) -> Self {
        let (source_epoch, target_epoch) = (Number(mark.source.0), Number(mark.target.0));
        Self { source_epoch, target_epoch, signing_root: mark.root }
    }
}

impl From<Attestation> for AttestationMark {
    fn from(vote: Attestation) -> Self {
        let (source, target) = (Epoch(vote.source_epoch.0), Epoch(vote.target_epoch.0));
        if source > target {
            return Self { source, target: source, root: None };
        }
        Self { source, target, root: vote.signing_root }
    }
}

/// A number as the format has it: decimal digits in quotes, nothing before or between them.
#[derive(Clone, Copy)]
pub(super) struct Number(pub(super) u64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        // `parse` would take a sign as well.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits).map(Self).ok_or_else(|| {
            let found: String = text.chars().take(24).collect();
            D::Error::custom(format_args!("expected a number of 64 bits as a decimal string, found {found:?}"))
        })
    }
}
