//! Slashing history files (EIP-3076, "Slashing Protection Interchange Format", version 5): read into watermarks, and
//! written in the minimal form.
//!
//! A file is folded while it is parsed, so a complete history of a million records takes no more memory than its
//! validators. Nothing is merged into a history here; the vault does that.

mod parse;
mod records;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use holdfast_types::{
    AttestationMark, BlockMark, Epoch, HistoryMarks, Root, SigningRoot, Slot, ValidatorMarks, ValidatorPublic,
};

use self::records::{Attestation, Block, Entry, File, Metadata};
use crate::lock::VerifiedLock;

/// The most bytes of a history file: about five years of one validator in the complete form, or all validators of the
/// largest lock in the minimal one.
pub const HISTORY_BYTES_MAX: usize = 64 << 20;

/// The most entries of `data`: five times the validators that a lock may have, since a key may be in several entries.
pub const HISTORY_ENTRIES_MAX: usize = 100_000;

/// What a history file must fit to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// The network.
    pub genesis_validators_root: Root,
    /// The last epoch that can have been signed by now.
    pub last_epoch: Epoch,
    /// The last slot that can have been signed by now.
    pub last_slot: Slot,
}

/// Why a history file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum HistoryFileError {
    /// Not JSON, or a field is missing or malformed.
    #[error("{place} is not in the form of EIP-3076: export the history again with the client that signed")]
    Form {
        /// Where, as a JSON path.
        place: String,
        /// What is wrong, with line and column.
        #[source]
        err: serde_json::Error,
    },
    /// A record of the future would bar its validator until then.
    #[error(
        "{place} of validator {validator} is {found}, and the last that can have been signed by now is {last}: \
         check the clocks of this machine and of the client that signed; taken as it is, the record would bar the \
         validator until then"
    )]
    Future {
        /// Where, as a JSON path.
        place: String,
        /// Whose.
        validator: ValidatorPublic,
        /// The epoch or slot.
        found: u64,
        /// The bound.
        last: u64,
    },
    /// The history of another network.
    #[error(
        "metadata.genesis_validators_root is {found}, and the network of this cluster has {expected}: \
         take the history of the same network"
    )]
    OtherNetwork {
        /// The root in the file.
        found: Root,
        /// The root that is expected.
        expected: Root,
    },
    /// More entries than are read.
    #[error("data has more than {HISTORY_ENTRIES_MAX} entries: export the history of this cluster's validators only")]
    TooMany,
    /// Too large to be read.
    #[error(
        "the history file has {len} bytes, at most {HISTORY_BYTES_MAX} are read: \
         export it in the minimal form, or of this cluster's validators only"
    )]
    TooLarge {
        /// How many bytes there are.
        len: usize,
    },
    /// A version of the format that this build does not read.
    #[error(
        "metadata.interchange_format_version is {found:?}, only \"{VERSION}\" is read: export it with a newer client"
    )]
    Version {
        /// The start of the version in the file.
        found: String,
    },
}

/// The part of a history that is about one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterHistory {
    /// The watermarks by the validators' own keys.
    pub marks: HistoryMarks,
    /// The keys of the file that are neither a validator's nor a share's of the cluster.
    pub others: Vec<ValidatorPublic>,
}

/// Reads a history file, complete or minimal, into watermarks by the keys that stand in it.
///
/// A root is kept when everything at the highest target or slot has it. A vote with its source above its target, which
/// nobody can have signed honestly, counts as one for its source, so that it bars at least what it says.
///
/// # Errors
/// When the file is too large, of another version or network, not in its form, or from the future.
pub fn read_history(bytes: &[u8], limits: &HistoryLimits) -> Result<HistoryMarks, HistoryFileError> {
    if bytes.len() > HISTORY_BYTES_MAX {
        return Err(HistoryFileError::TooLarge { len: bytes.len() });
    }
    let validators = parse::fold(bytes, limits)?.into_values().collect();
    Ok(HistoryMarks { genesis_validators_root: limits.genesis_validators_root, validators })
}

/// Writes watermarks as a history file in the minimal form. The same watermarks make the same bytes.
///
/// # Panics
/// Never: watermarks have a fixed form.
#[must_use]
pub fn write_history(marks: &HistoryMarks) -> String {
    let metadata = Metadata {
        interchange_format_version: VERSION.to_owned(),
        genesis_validators_root: marks.genesis_validators_root,
    };
    let data = marks.validators.iter().map(|of| Entry {
        pubkey: of.validator,
        signed_blocks: of.block.map(Block::from).into_iter().collect(),
        signed_attestations: of.attestation.map(Attestation::from).into_iter().collect(),
    });
    let file = File { metadata, data: data.collect() };
    let mut text = serde_json::to_string_pretty(&file).expect("watermarks have a fixed form");
    text.push('\n');
    text
}

/// Brings a history to the validators' own keys. A validator client beside a middleware signs with shares, and its
/// history has their keys; what any share of a validator signed, the validator signed.
#[must_use]
pub fn history_of_cluster(marks: &HistoryMarks, lock: &VerifiedLock) -> ClusterHistory {
    let mut names = BTreeMap::new();
    for validator in lock.validators() {
        names.insert(validator.public, validator.public);
        names.extend(validator.shares.iter().map(|share| (ValidatorPublic(share.0), validator.public)));
    }
    let mut of_cluster = BTreeMap::new();
    let mut others = Vec::new();
    for of in &marks.validators {
        match names.get(&of.validator) {
            Some(&validator) => raise(&mut of_cluster, ValidatorMarks { validator, ..*of }),
            None => others.push(of.validator),
        }
    }
    let validators = of_cluster.into_values().collect();
    let genesis_validators_root = marks.genesis_validators_root;
    ClusterHistory { marks: HistoryMarks { genesis_validators_root, validators }, others }
}

/// Merges into the watermarks of that validator; nothing is lowered.
fn raise(marks: &mut BTreeMap<ValidatorPublic, ValidatorMarks>, of: ValidatorMarks) {
    let none = ValidatorMarks { validator: of.validator, attestation: None, block: None };
    let before = marks.entry(of.validator).or_insert(none);
    before.attestation = match (before.attestation, of.attestation) {
        (Some(one), Some(two)) => Some(higher_vote(one, two)),
        (one, two) => one.or(two),
    };
    before.block = match (before.block, of.block) {
        (Some(one), Some(two)) => Some(higher_block(one, two)),
        (one, two) => one.or(two),
    };
}

fn higher_vote(one: AttestationMark, two: AttestationMark) -> AttestationMark {
    let (target, root) = higher((one.target, one.root), (two.target, two.root));
    AttestationMark { source: one.source.max(two.source), target, root }
}

fn higher_block(one: BlockMark, two: BlockMark) -> BlockMark {
    let (slot, root) = higher((one.slot, one.root), (two.slot, two.root));
    BlockMark { slot, root }
}

/// The higher of two with its root; of two at the same height the root, if they agree.
fn higher<H: Ord>(one: (H, Option<SigningRoot>), two: (H, Option<SigningRoot>)) -> (H, Option<SigningRoot>) {
    match one.0.cmp(&two.0) {
        Ordering::Less => two,
        Ordering::Greater => one,
        Ordering::Equal => (one.0, one.1.filter(|_| one.1 == two.1)),
    }
}

const VERSION: &str = "5";
