//! Partial signatures that peers exchange (`cluster-wire.md` section 9).
//!
//! BLS is not verified here, and nothing is looked up in the lock: whether the validator and the share exist is for
//! whoever has it.

mod payload;

use std::collections::BTreeMap;

use holdfast_types::{DutyId, OPERATORS_MAX, ShareIndex, UnknownDutyKind, ValidatorPublic};
use prost::Message as _;

use crate::proto::{self, NotProtobuf, occurrences_within};
use crate::qbft::{duty_from_proto, duty_to_proto};

pub use payload::{
    BadPayload, PartialAggregate, PartialAttestation, PartialExit, PartialProposal, PartialRandao, PartialSelection,
    PartialSyncSelection, Payload, Signed, SignedAt,
};

/// The partial signatures of one share for one duty. Decoded and bounded; the BLS signatures are not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialSet {
    /// The duty.
    pub duty: DutyId,
    /// What the share signed, per validator.
    pub partials: BTreeMap<ValidatorPublic, Partial>,
}

/// One partial signature with what it signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The signer's share.
    pub share: ShareIndex,
    /// What is signed, and the signature.
    pub payload: Payload,
}

/// A text that is not the one form of a validator's key on the wire: `0x` and 96 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key {0:?} is not 0x and 96 lower-case hex digits")]
pub struct BadValidatorKey(pub String);

/// Why a set of partial signatures was refused. Each is a peer's fault; one bad entry refuses the whole set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartialsRejected {
    /// The bytes are no such message.
    #[error("set of partial signatures does not decode")]
    NotProtobuf(#[from] NotProtobuf),
    /// A part that must be there is not.
    #[error("set of partial signatures has no {0}")]
    Absent(&'static str),
    /// A number that is no duty.
    #[error("set of partial signatures is for no known duty")]
    UnknownDuty(#[from] UnknownDutyKind),
    /// No entries.
    #[error("set of partial signatures is empty")]
    Empty,
    /// More entries than the cluster has validators.
    #[error("set of partial signatures has {found} entries; the cluster has {max} validators")]
    TooMany {
        /// How many it has.
        found: usize,
        /// How many it may have.
        max: usize,
    },
    /// An entry is for no validator.
    #[error("set of partial signatures has an entry for no validator")]
    Key(#[from] BadValidatorKey),
    /// An entry names no share.
    #[error("partial signature for {} is of share {found}; shares are 1 to {OPERATORS_MAX}", validator.short())]
    Share {
        /// The entry.
        validator: ValidatorPublic,
        /// The share it names.
        found: i32,
    },
    /// An entry's payload is wrong.
    #[error("partial signature for {} is refused", validator.short())]
    Payload {
        /// The entry.
        validator: ValidatorPublic,
        /// What is wrong.
        #[source]
        err: BadPayload,
    },
}

impl PartialSet {
    /// Decodes a set of at most `entries_max` entries (the cluster's number of validators) and checks section 2.3 and
    /// step 2 of section 9.4.
    ///
    /// # Errors
    ///
    /// [`PartialsRejected`] names the rule that the peer broke.
    pub fn decode(bytes: &[u8], entries_max: usize) -> Result<Self, PartialsRejected> {
        // Before anything is allocated for them. A data set that comes in parts is one set.
        let found = occurrences_within(bytes, 2, 1)?;
        if found > entries_max {
            return Err(PartialsRejected::TooMany { found, max: entries_max });
        }
        let proto = proto::ParSigExMsg::decode(bytes).map_err(NotProtobuf::from)?;
        let duty = duty_from_proto(proto.duty.ok_or(PartialsRejected::Absent("duty"))?)?;
        let set = proto.data_set.ok_or(PartialsRejected::Absent("data set"))?.set;
        if set.is_empty() {
            return Err(PartialsRejected::Empty);
        }
        let mut partials = BTreeMap::new();
        for (key, entry) in set {
            let validator = validator_key(&key)?;
            let share = u8::try_from(entry.share_idx)
                .ok()
                .filter(|&index| (1..=OPERATORS_MAX).contains(&usize::from(index)))
                .ok_or(PartialsRejected::Share { validator, found: entry.share_idx })?;
            let payload =
                Payload::decode(duty.kind, &entry.data).map_err(|err| PartialsRejected::Payload { validator, err })?;
            partials.insert(validator, Partial { share: ShareIndex(share), payload });
        }
        Ok(Self { duty, partials })
    }

    /// The bytes of the message, without the length that frames them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let entry = |partial: &Partial| proto::ParSignedData {
            data: partial.payload.encode(),
            signature: partial.payload.signature().0.to_vec(),
            share_idx: i32::from(partial.share.0),
        };
        let set = self.partials.iter().map(|(validator, partial)| (validator.to_string(), entry(partial))).collect();
        proto::ParSigExMsg { duty: Some(duty_to_proto(self.duty)), data_set: Some(proto::ParSignedDataSet { set }) }
            .encode_to_vec()
    }
}

/// Reads a validator's key in the one form that the wire has.
pub(crate) fn validator_key(text: &str) -> Result<ValidatorPublic, BadValidatorKey> {
    let bad = || BadValidatorKey(text.chars().take(100).collect());
    let key: ValidatorPublic = text.parse().map_err(|_| bad())?;
    if key.to_string() == text { Ok(key) } else { Err(bad()) }
}
