//! Orders: what only the operator decides, signed by the authority for one box and one challenge of its vault.
//!
//! A signature covers the exact bytes that travel; they are decoded only after it was checked, but for `Own`, which
//! brings the key that it is signed with. What they list is bounded and ordered; whether a box can carry an order out,
//! its vault says.

#[cfg(test)]
mod tests;

use holdfast_types::{
    BoxName, ChainSpec, Challenge, Epoch, ForkVersion, HistoryDigest, HistoryMarks, LockHash, P256Public,
    P256Signature, ShareIndex, ValidatorIndex, ValidatorPublic,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::approval::Approval;
use crate::envelope::Envelope;
use crate::key::{SigningKey, verify};

/// One decision of the operator. Ceremonies get theirs when they exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Gives an empty box its authority.
    Own {
        /// The authority's key, which signs this order too.
        authority: P256Public,
        /// Its approval of the boot state that the box is in.
        firmware: Approval,
    },
    /// Hands the box to another authority; signed by the present one.
    ChangeAuthority {
        /// The next authority.
        authority: P256Public,
        /// The next authority's approval of the boot state that the box is in.
        firmware: Approval,
    },
    /// Erases shares, identity and authority. The watermarks stay.
    Reset,
    /// Gives the box its node identity.
    Identity(IdentityOrder),
    /// Takes shares.
    Import(ImportOrder),
    /// Merges slashing history; never lowers a watermark.
    ImportHistory(HistoryMarks),
    /// Erases the shares of these validators, in ascending order of their keys, each once. Their watermarks stay.
    Retire(Vec<ValidatorPublic>),
    /// Signs a voluntary exit of a validator (consensus-specs phase0, `VoluntaryExit`).
    Exit {
        /// The validator.
        validator: ValidatorPublic,
        /// Its index.
        validator_index: ValidatorIndex,
        /// The earliest epoch of the exit.
        epoch: Epoch,
    },
    /// Signs a builder registration of a validator (builder-specs, `ValidatorRegistrationV1`).
    Register {
        /// The validator.
        validator: ValidatorPublic,
        /// Who gets the fees.
        fee_recipient: [u8; 20],
        /// The gas limit that builders aim at.
        gas_limit: u64,
        /// The Unix time in seconds that all operators put in.
        timestamp_s: u64,
    },
    /// Pins a network that is not built in, before shares come.
    SetNetwork {
        /// The network.
        network: NetworkPins,
        /// The operator's present epoch.
        epoch: Epoch,
    },
    /// Accepts that the history is older than what was signed, or gone: nothing before the epoch is signed any more.
    AcceptFloor {
        /// The first epoch that may be signed.
        epoch: Epoch,
    },
    /// The operator vouches that this disk was not restored from an older copy.
    VouchDisk,
    /// Begins a new lease on the counter of this TPM, which is made anew when it is gone.
    NewCounter {
        /// The first epoch that may be signed.
        epoch: Epoch,
    },
    /// Lets the helper install an older release.
    Downgrade {
        /// The version.
        version: String,
    },
}

/// Where the node identity comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdentityOrder {
    /// The vault makes one.
    MadeHere,
    /// 32 bytes, big-endian, sealed with the purpose [`IdentityOrder::PURPOSE`].
    Imported(Envelope),
}

/// Shares for a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportOrder {
    /// The lock that the shares belong to.
    pub lock_hash: LockHash,
    /// The index of the shares in it.
    pub share_index: ShareIndex,
    /// The network, by the genesis fork version of the lock: built in, or pinned by `SetNetwork` before.
    pub genesis_fork_version: ForkVersion,
    /// The operator's present epoch.
    pub epoch: Epoch,
    /// What is known of what these validators signed.
    pub history: HistoryClaim,
    /// The validators, in ascending order of their keys, each once.
    pub validators: Vec<ValidatorPublic>,
    /// Their shares in the same order, 32 bytes big-endian each, sealed with [`ImportOrder::purpose`].
    pub shares: Envelope,
}

/// What the operator says about the history of shares that he imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HistoryClaim {
    /// It is what an `ImportHistory` with this digest brought.
    Imported(HistoryDigest),
    /// It is lost: nothing before the epoch is signed, which is two or more after the present one, and no more than two
    /// leases after it.
    Lost {
        /// The first epoch that may be signed.
        first: Epoch,
    },
    /// The validators never signed. Believed only when this TPM never held a lease; otherwise they begin two epochs on.
    NeverSigned,
}

/// The facts of a network that the vault signs by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPins {
    /// Time base, genesis and forks.
    pub chain: ChainSpec,
    /// The fork version under which exits are signed for ever: that of Capella (EIP-7044).
    pub exit_fork_version: ForkVersion,
}

/// An order to one box, for one challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderText {
    /// The box.
    pub to: BoxName,
    /// The vault's challenge.
    pub challenge: Challenge,
    /// The decision.
    pub order: Order,
}

/// An order as it travels. Nothing is known of its signature.
///
/// A signature has a second form that counts as well, so an order is known by its text alone, and what keeps it from
/// being carried out twice is its challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOrder {
    text: Vec<u8>,
    signature: P256Signature,
}

/// Why bytes are no order of the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The bytes are no order of this version.
    #[error("the order is none that this version knows: use a command of the box's release")]
    Form,
    /// It lists more than one order may.
    #[error("the order lists {len} validators, at most {VALIDATORS_MAX} are allowed: split it into several")]
    ManyValidators {
        /// How many.
        len: usize,
    },
    /// The signature is not the authority's.
    #[error("the order is not signed by the authority of this box")]
    Signature,
    /// Its text is longer than any order.
    #[error("the order has {len} bytes, at most {ORDER_LEN_MAX} are allowed: split it into several")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// A list is not in order, or names a validator twice.
    #[error("the order does not list its validators in ascending order, each once: sort them")]
    Unordered,
}

impl Order {
    /// The name of its kind, as the log and refusals have it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Own { .. } => "Own",
            Self::ChangeAuthority { .. } => "ChangeAuthority",
            Self::Reset => "Reset",
            Self::Identity(_) => "Identity",
            Self::Import(_) => "Import",
            Self::ImportHistory(_) => "ImportHistory",
            Self::Retire(_) => "Retire",
            Self::Exit { .. } => "Exit",
            Self::Register { .. } => "Register",
            Self::SetNetwork { .. } => "SetNetwork",
            Self::AcceptFloor { .. } => "AcceptFloor",
            Self::VouchDisk => "VouchDisk",
            Self::NewCounter { .. } => "NewCounter",
            Self::Downgrade { .. } => "Downgrade",
        }
    }

    /// Checks what it lists: not too much, in ascending order, nothing twice. A [`SignedOrder`] is read only when this
    /// holds.
    ///
    /// # Errors
    /// [`OrderError::ManyValidators`] or [`OrderError::Unordered`].
    pub fn check_form(&self) -> Result<(), OrderError> {
        match self {
            Self::Import(import) => ascending(&import.validators, |validator| validator),
            Self::ImportHistory(marks) => ascending(&marks.validators, |marks| &marks.validator),
            Self::Retire(validators) => ascending(validators, |validator| validator),
            Self::Own { .. }
            | Self::ChangeAuthority { .. }
            | Self::Reset
            | Self::Identity(_)
            | Self::Exit { .. }
            | Self::Register { .. }
            | Self::SetNetwork { .. }
            | Self::AcceptFloor { .. }
            | Self::VouchDisk
            | Self::NewCounter { .. }
            | Self::Downgrade { .. } => Ok(()),
        }
    }
}

impl IdentityOrder {
    /// What the envelope of an identity is bound to.
    pub const PURPOSE: &[u8] = b"identity";
}

impl ImportOrder {
    /// What the envelope of shares is bound to: everything that the order says about them.
    #[must_use]
    pub fn purpose(
        lock_hash: &LockHash,
        share_index: ShareIndex,
        genesis_fork_version: ForkVersion,
        history: &HistoryClaim,
        validators: &[ValidatorPublic],
    ) -> Vec<u8> {
        let said = (lock_hash, share_index, genesis_fork_version, history, validators);
        postcard::to_allocvec(&said).expect("these have a fixed form")
    }
}

impl SignedOrder {
    /// Signs an order.
    #[must_use]
    pub fn sign(text: &OrderText, authority: &SigningKey) -> Self {
        let text = postcard::to_allocvec(text).expect("an order has a fixed form");
        let signature = authority.sign(&signed_bytes(&text));
        Self { text, signature }
    }

    /// The order, when the authority signed it.
    ///
    /// # Errors
    /// [`OrderError::Signature`] before anything is decoded, then as [`SignedOrder::unverified`].
    pub fn verify(&self, authority: &P256Public) -> Result<OrderText, OrderError> {
        self.check_len()?;
        if !verify(authority, &signed_bytes(&self.text), &self.signature) {
            return Err(OrderError::Signature);
        }
        self.unverified()
    }

    /// What it says, whoever signed it: only to name it, or to find the key of an `Own`.
    ///
    /// # Errors
    /// [`OrderError::TooLong`] before anything is decoded, then [`OrderError::Form`] and as [`Order::check_form`].
    pub fn unverified(&self) -> Result<OrderText, OrderError> {
        self.check_len()?;
        let (text, rest) = postcard::take_from_bytes::<OrderText>(&self.text).map_err(|_| OrderError::Form)?;
        if !rest.is_empty() {
            return Err(OrderError::Form);
        }
        text.order.check_form()?;
        Ok(text)
    }

    fn check_len(&self) -> Result<(), OrderError> {
        let len = self.text.len();
        if len > ORDER_LEN_MAX { Err(OrderError::TooLong { len }) } else { Ok(()) }
    }

    /// By what the log knows it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.text).into()
    }
}

/// The digest by which an imported history is known.
#[must_use]
pub fn history_digest(marks: &HistoryMarks) -> HistoryDigest {
    let bytes = postcard::to_allocvec(marks).expect("watermarks have a fixed form");
    HistoryDigest(Sha256::new_with_prefix(b"holdfast history 1").chain_update(bytes).finalize().into())
}

fn ascending<T>(list: &[T], key: impl Fn(&T) -> &ValidatorPublic) -> Result<(), OrderError> {
    if list.len() > VALIDATORS_MAX {
        return Err(OrderError::ManyValidators { len: list.len() });
    }
    if list.is_sorted_by(|one, next| key(one) < key(next)) { Ok(()) } else { Err(OrderError::Unordered) }
}

/// No other signature of an authority is over bytes that begin so: an approval begins with a digest, a certificate with
/// the tag of a DER sequence.
fn signed_bytes(text: &[u8]) -> Vec<u8> {
    [b"holdfast order 1".as_slice(), text].concat()
}

/// The most bytes of an order's text: the marks of [`VALIDATORS_MAX`] validators need at most 149 each, their shares
/// 81.
pub const ORDER_LEN_MAX: usize = 192 * 1024;
/// As many as one box may hold shares of; a longer history is imported in several orders.
const VALIDATORS_MAX: usize = 1_000;
