//! The cluster definition: what the operators agreed to before keys existed, and its hashes.
//!
//! Of the format's versions only v1.10 and v1.11 are here. The JSON form and the checks of signatures are in
//! `holdfast-cluster`.

use std::fmt;
use std::str::FromStr;

use holdfast_types::{ForkVersion, Root};

use crate::chunks::{
    Chunk, boolean, bytes_list, container, k1_signature_list, left_padded, list, uint64_leaf, uint64_list,
};

/// A cluster definition. Nothing is known of its hashes and signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDefinition {
    /// The cluster's name for humans; may be empty.
    pub name: String,
    /// Who made the definition.
    pub creator: Creator,
    /// The operators; their order gives the share indices.
    pub operators: Vec<Operator>,
    /// A random identifier, as text.
    pub uuid: String,
    /// The version of the format.
    pub version: DefinitionVersion,
    /// When it was made, RFC 3339, hashed as text; may be empty.
    pub timestamp: String,
    /// How many validators the cluster gets.
    pub num_validators: u64,
    /// How many shares make a group signature.
    pub threshold: u64,
    /// The addresses of each validator.
    pub validators: Vec<ValidatorAddresses>,
    /// The ceremony that makes the keys: `default`, `frost` or `pedersen`.
    pub dkg_algorithm: String,
    /// The genesis fork version, which names the network.
    pub fork_version: ForkVersion,
    /// The deposits in Gwei; `None` leaves the choice to the ceremony.
    pub deposit_amounts: Option<Vec<u64>>,
    /// The preferred consensus protocol; may be empty.
    pub consensus_protocol: String,
    /// The gas limit for builder registrations.
    pub target_gas_limit: u64,
    /// Whether the validators compound.
    pub compounding: bool,
    /// The hash over what is agreed, without signatures and ENRs, as stored.
    pub config_hash: Root,
    /// The hash over everything, as stored.
    pub definition_hash: Root,
}

/// The maker of a definition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Creator {
    /// The account that signed; may be empty.
    pub address: AddressText,
    /// The EIP-712 signature of the config hash; may be empty.
    pub config_signature: Vec<u8>,
}

/// A party named in the definition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operator {
    /// The account that signed; may be empty.
    pub address: AddressText,
    /// The node record with the key of the operator's node; empty until the operator joins.
    pub enr: String,
    /// The EIP-712 signature of the config hash; may be empty.
    pub config_signature: Vec<u8>,
    /// The EIP-712 signature of the node record; may be empty.
    pub enr_signature: Vec<u8>,
}

/// Where a validator's money goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidatorAddresses {
    /// The fee recipient of its blocks.
    pub fee_recipient: AddressText,
    /// The address of its withdrawals.
    pub withdrawal: AddressText,
}

/// The versions of the format that this build knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DefinitionVersion {
    /// Operators sign with one plain key.
    V1_10,
    /// Operators may sign with several, for contract wallets.
    V1_11,
}

/// A version of the format that this build cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// A version from before v1.10.
    #[error(
        "version {version} of the cluster files is older than this build reads (v1.10.0 and v1.11.0); recreate the lock with a current version"
    )]
    Old {
        /// What the file says.
        version: String,
    },
    /// Not a version that this build knows.
    #[error(
        "version {version:?} of the cluster files is unknown to this build (it reads v1.10.0 and v1.11.0); update Holdfast"
    )]
    Unknown {
        /// The start of what the file says.
        version: String,
    },
}

impl DefinitionVersion {
    /// The text in files and hashes.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::V1_10 => "v1.10.0",
            Self::V1_11 => "v1.11.0",
        }
    }
}

impl fmt::Display for DefinitionVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl FromStr for DefinitionVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let is_old = || (0..10).any(|minor| text == format!("v1.{minor}.0"));
        match text {
            "v1.10.0" => Ok(Self::V1_10),
            "v1.11.0" => Ok(Self::V1_11),
            _ if is_old() => Err(VersionError::Old { version: text.to_owned() }),
            _ => Err(VersionError::Unknown { version: text.chars().take(24).collect() }),
        }
    }
}

/// An address of the execution layer as a file spells it: `0x` and letter case are kept, and mean nothing.
///
/// It is empty, or 20 bytes of hex. Equal when the bytes are.
#[derive(Clone, Default)]
pub struct AddressText {
    text: String,
    bytes: Option<[u8; 20]>,
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no address: expected 20 bytes as hex, with or without 0x")]
pub struct AddressError {
    /// The start of the text.
    pub found: String,
}

impl AddressText {
    /// The 20 bytes; `None` when empty.
    #[must_use]
    pub const fn bytes(&self) -> Option<[u8; 20]> {
        self.bytes
    }

    /// The text as the file has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether there is no address.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_none()
    }

    /// The chunk in a container: zeros when empty.
    fn chunk(&self) -> Chunk {
        let mut chunk = [0; 32];
        chunk[..20].copy_from_slice(&self.bytes.unwrap_or_default());
        chunk
    }
}

impl FromStr for AddressText {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut bytes = [0; 20];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)
            .map_err(|_| AddressError { found: text.chars().take(48).collect() })?;
        Ok(Self { text: text.to_owned(), bytes: Some(bytes) })
    }
}

impl PartialEq for AddressText {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for AddressText {}

impl fmt::Debug for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AddressText({})", self.text)
    }
}

/// Something does not fit into its place, so that there is no hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Signatures are 65 bytes each.
    #[error("{part} has {len} bytes: a signature has 65, and v1.11 takes up to 32 of them side by side")]
    SignatureLength {
        /// The place in the file.
        part: String,
        /// The bytes that are there.
        len: usize,
    },
    /// More bytes or items than the format takes.
    #[error("{part} has {len} bytes or entries, at most {max} fit")]
    TooLong {
        /// The place in the file.
        part: String,
        /// How many there are.
        len: usize,
        /// How many fit.
        max: usize,
    },
}

impl ClusterDefinition {
    /// The hash over what is agreed, computed (section 2.3).
    ///
    /// # Errors
    ///
    /// When something does not fit into its place.
    pub fn compute_config_hash(&self) -> Result<Root, HashError> {
        Ok(Root(container(&self.chunks(Scope::Config)?)))
    }

    /// The hash over everything, the stored config hash included, computed (section 2.3).
    ///
    /// # Errors
    ///
    /// When something does not fit into its place.
    pub fn compute_definition_hash(&self) -> Result<Root, HashError> {
        let mut chunks = self.chunks(Scope::Definition)?;
        chunks.push(self.config_hash.0);
        Ok(Root(container(&chunks)))
    }

    /// Stores both hashes anew.
    ///
    /// # Errors
    ///
    /// When something does not fit into its place.
    pub fn store_hashes(&mut self) -> Result<(), HashError> {
        self.config_hash = self.compute_config_hash()?;
        self.definition_hash = self.compute_definition_hash()?;
        Ok(())
    }

    fn chunks(&self, scope: Scope) -> Result<Vec<Chunk>, HashError> {
        let operators = self.operators.iter().enumerate();
        let operators = operators.map(|(at, operator)| self.operator_root(scope, at, operator));
        let operators = operators.collect::<Result<Vec<_>, _>>()?;
        let validators = self.validators.iter();
        let validators: Vec<_> =
            validators.map(|one| container(&[one.fee_recipient.chunk(), one.withdrawal.chunk()])).collect();
        let amounts = self.deposit_amounts.as_deref().unwrap_or_default();
        let mut fork_version = [0; 32];
        fork_version[..4].copy_from_slice(&self.fork_version.0);
        Ok(vec![
            text(&self.uuid, 64, || "uuid".into())?,
            text(&self.name, 256, || "name".into())?,
            text(self.version.text(), 16, || "version".into())?,
            text(&self.timestamp, 32, || "timestamp".into())?,
            uint64_leaf(self.num_validators),
            uint64_leaf(self.threshold),
            text(&self.dkg_algorithm, 32, || "dkg_algorithm".into())?,
            fork_version,
            fit(list(&operators, 256), operators.len(), 256, || "operators".into())?,
            self.creator_root(scope)?,
            fit(list(&validators, 65_536), validators.len(), 65_536, || "validators".into())?,
            fit(uint64_list(amounts, 256), amounts.len(), 256, || "deposit_amounts".into())?,
            text(&self.consensus_protocol, 256, || "consensus_protocol".into())?,
            uint64_leaf(self.target_gas_limit),
            boolean(self.compounding),
        ])
    }

    fn operator_root(&self, scope: Scope, at: usize, operator: &Operator) -> Result<Chunk, HashError> {
        let address = operator.address.chunk();
        Ok(match scope {
            Scope::Config => address,
            Scope::Definition => container(&[
                address,
                text(&operator.enr, 1024, || format!("operators[{at}].enr"))?,
                self.signature(&operator.config_signature, || format!("operators[{at}].config_signature"))?,
                self.signature(&operator.enr_signature, || format!("operators[{at}].enr_signature"))?,
            ]),
        })
    }

    fn creator_root(&self, scope: Scope) -> Result<Chunk, HashError> {
        let address = self.creator.address.chunk();
        Ok(match scope {
            Scope::Config => address,
            Scope::Definition => {
                let part = || "creator.config_signature".into();
                container(&[address, self.signature(&self.creator.config_signature, part)?])
            }
        })
    }

    fn signature(&self, bytes: &[u8], part: impl FnOnce() -> String) -> Result<Chunk, HashError> {
        match self.version {
            // A short one would be padded and then mean another signature, so only none or a whole one is taken.
            DefinitionVersion::V1_10 if bytes.is_empty() || bytes.len() == 65 => left_padded(bytes, 65),
            DefinitionVersion::V1_10 => None,
            DefinitionVersion::V1_11 => k1_signature_list(bytes),
        }
        .ok_or_else(|| HashError::SignatureLength { part: part(), len: bytes.len() })
    }
}

/// What a hash covers.
#[derive(Clone, Copy)]
enum Scope {
    Config,
    Definition,
}

fn text(text: &str, max: usize, part: impl FnOnce() -> String) -> Result<Chunk, HashError> {
    fit(bytes_list(text.as_bytes(), max), text.len(), max, part)
}

/// Names the place when there is no root because a limit was exceeded.
pub(crate) fn fit(
    root: Option<Chunk>,
    len: usize,
    max: usize,
    part: impl FnOnce() -> String,
) -> Result<Chunk, HashError> {
    root.ok_or_else(|| HashError::TooLong { part: part(), len, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_cannot_be_read_say_what_to_do() {
        let told = |text: &str| text.parse::<DefinitionVersion>().unwrap_err().to_string();
        assert!(told("v1.7.0").contains("v1.7.0 of the cluster files is older"));
        assert!(told("v1.12.0").contains("update Holdfast"));
        assert_eq!("v1.10.0".parse(), Ok(DefinitionVersion::V1_10));
    }

    #[test]
    fn addresses_keep_their_text_and_compare_by_bytes() {
        let mixed: AddressText = "0x000000000000000000000000000000000000dEaD".parse().unwrap();
        let plain: AddressText = "000000000000000000000000000000000000dead".parse().unwrap();
        assert_eq!(mixed, plain);
        assert_eq!(mixed.as_str(), "0x000000000000000000000000000000000000dEaD");
        assert!("".parse::<AddressText>().unwrap().is_empty());
        assert!("0x00".parse::<AddressText>().is_err());
    }
}
