//! The JSON forms of definition and lock, versions v1.10 and v1.11 (`cluster-files.md` sections 2.1 and 3.1).
//!
//! Reading checks the form and what the reference checks while it parses; hashes and signatures are checked elsewhere.
//! Unknown keys are ignored; known ones must be there, except those that the reference leaves out when empty.

use std::borrow::Cow;
use std::fmt;

use holdfast_eth::{
    AddressText, BuilderRegistration, ClusterDefinition, ClusterLock, Creator, DefinitionVersion, DepositData,
    DepositMessage, DistributedValidator, GWEI_PER_ETH, Operator, SignedRegistration, ValidatorAddresses, VersionError,
};
use holdfast_types::{ForkVersion, LockHash, OPERATORS_MAX, Root, SharePublic, Signature, ValidatorPublic};
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::go_json::to_go_json;

/// The most bytes of a definition file: what the reference takes when it downloads one.
pub const DEFINITION_BYTES_MAX: usize = 16 << 20;

/// The most bytes of a lock file. A validator of ten operators takes about 3 KiB, so 20 000 of them fit, more than one
/// node signs for in a slot; parsed it takes less memory than the text.
pub const LOCK_BYTES_MAX: usize = 64 << 20;

/// Why a file is no definition or lock.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The deposit amounts break a rule.
    #[error("deposit_amounts of the definition")]
    Amounts(#[source] AmountsError),
    /// Not JSON, or a field is missing or malformed.
    #[error("the cluster {what} is not in the form of v1.10 or v1.11")]
    Form {
        /// Definition or lock.
        what: &'static str,
        /// What is wrong, with line and column.
        #[source]
        err: serde_json::Error,
    },
    /// The number of validators contradicts their list.
    #[error("num_validators is {stated}, and validators has {entries} entries")]
    NumValidators {
        /// The number.
        stated: u64,
        /// The length of the list.
        entries: usize,
    },
    /// More operators than a cluster may have here.
    #[error("the definition has {count} operators, at most {OPERATORS_MAX} are supported")]
    Operators {
        /// How many there are.
        count: usize,
    },
    /// Too large to be read.
    #[error("the cluster {what} has {len} bytes, at most {max} are read")]
    TooLarge {
        /// Definition or lock.
        what: &'static str,
        /// How many bytes there are.
        len: usize,
        /// How many are read.
        max: usize,
    },
    /// A version of the format that this build does not read.
    #[error(transparent)]
    Version(#[from] VersionError),
}

/// A rule about deposit amounts that is broken (`cluster-files.md` section 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountsError {
    /// One is larger than a validator of this kind takes.
    #[error("{gwei} Gwei is more than the {max} Gwei that one deposit may have")]
    TooLarge {
        /// The amount.
        gwei: u64,
        /// The most it may be.
        max: u64,
    },
    /// One is less than a deposit must be.
    #[error("{gwei} Gwei is less than the one ether that a deposit must have")]
    TooSmall {
        /// The amount.
        gwei: u64,
    },
    /// All together do not make a validator.
    #[error("{sum} Gwei together are less than the 32 ether of a validator; an amount may be repeated")]
    Sum {
        /// The sum in Gwei.
        sum: u64,
    },
}

/// Reads a definition.
///
/// # Errors
///
/// When it is too large, of another version, or not in its form.
pub fn read_definition(bytes: &[u8]) -> Result<ClusterDefinition, FileError> {
    check_size("definition", bytes, DEFINITION_BYTES_MAX)?;
    let raw: RawDefinition = parse("definition", bytes, |probe: VersionProbe| probe.version)?;
    raw.typed()
}

/// Reads a lock.
///
/// # Errors
///
/// When it is too large, of another version, or not in its form.
pub fn read_lock(bytes: &[u8]) -> Result<ClusterLock, FileError> {
    check_size("lock", bytes, LOCK_BYTES_MAX)?;
    let raw: RawLock = parse("lock", bytes, |probe: LockProbe| probe.cluster_definition.version)?;
    raw.typed()
}

/// The file of a definition, with its hashes as stored.
#[must_use]
pub fn write_definition(definition: &ClusterDefinition) -> String {
    to_go_json(&RawDefinition::from(definition))
}

/// The file of a lock; a lock that the reference wrote comes out byte for byte.
#[must_use]
pub fn write_lock(lock: &ClusterLock) -> String {
    to_go_json(&RawLock::from(lock))
}

pub(crate) fn check_amounts(gwei: &[u64], compounding: bool) -> Result<(), AmountsError> {
    let max = GWEI_PER_ETH * if compounding { 2048 } else { 32 };
    for &gwei in gwei {
        if gwei < GWEI_PER_ETH {
            return Err(AmountsError::TooSmall { gwei });
        }
        if gwei > max {
            return Err(AmountsError::TooLarge { gwei, max });
        }
    }
    let sum = gwei.iter().fold(0_u64, |sum, one| sum.saturating_add(*one));
    if gwei.is_empty() || sum >= 32 * GWEI_PER_ETH { Ok(()) } else { Err(AmountsError::Sum { sum }) }
}

fn check_size(what: &'static str, bytes: &[u8], max: usize) -> Result<(), FileError> {
    if bytes.len() <= max { Ok(()) } else { Err(FileError::TooLarge { what, len: bytes.len(), max }) }
}

/// Parses; a file of another version fails as such, not for its other layout.
fn parse<T: DeserializeOwned, P: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
    version: impl Fn(P) -> String,
) -> Result<T, FileError> {
    serde_json::from_slice(bytes).map_err(|err| {
        let version = serde_json::from_slice(bytes).ok().map(version);
        match version.and_then(|text| text.parse::<DefinitionVersion>().err()) {
            Some(error) => error.into(),
            None => FileError::Form { what, err },
        }
    })
}

#[derive(Deserialize)]
struct VersionProbe {
    version: String,
}

#[derive(Deserialize)]
struct LockProbe {
    cluster_definition: VersionProbe,
}

#[derive(Serialize, Deserialize)]
struct RawDefinition {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    creator: RawCreator,
    operators: Vec<RawOperator>,
    uuid: String,
    version: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    timestamp: String,
    num_validators: u64,
    threshold: u64,
    validators: Vec<RawAddresses>,
    dkg_algorithm: String,
    fork_version: ForkVersion,
    #[serde(deserialize_with = "Option::deserialize")]
    deposit_amounts: Option<Vec<Quoted>>,
    consensus_protocol: String,
    target_gas_limit: u64,
    compounding: bool,
    config_hash: Root,
    definition_hash: Root,
}

#[derive(Serialize, Deserialize)]
struct RawCreator {
    address: RawAddress,
    config_signature: HexBytes,
}

#[derive(Serialize, Deserialize)]
struct RawOperator {
    address: RawAddress,
    enr: String,
    config_signature: HexBytes,
    enr_signature: HexBytes,
}

#[derive(Serialize, Deserialize)]
struct RawAddresses {
    fee_recipient_address: RawAddress,
    withdrawal_address: RawAddress,
}

#[derive(Serialize, Deserialize)]
struct RawLock {
    cluster_definition: RawDefinition,
    distributed_validators: Vec<RawValidator>,
    signature_aggregate: HexBytes,
    lock_hash: LockHash,
    node_signatures: Vec<HexBytes>,
}

#[derive(Serialize, Deserialize)]
struct RawValidator {
    distributed_public_key: ValidatorPublic,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    public_shares: Vec<SharePublic>,
    builder_registration: RawRegistration,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    partial_deposit_data: Vec<RawDeposit>,
}

#[derive(Serialize, Deserialize)]
struct RawRegistration {
    message: RawRegistrationMessage,
    signature: Signature,
}

#[derive(Serialize, Deserialize)]
struct RawRegistrationMessage {
    fee_recipient: HexArray<20>,
    gas_limit: u64,
    timestamp: u64,
    pubkey: ValidatorPublic,
}

#[derive(Serialize, Deserialize)]
struct RawDeposit {
    pubkey: ValidatorPublic,
    withdrawal_credentials: HexArray<32>,
    amount: Quoted,
    signature: Signature,
}

impl RawDefinition {
    fn typed(self) -> Result<ClusterDefinition, FileError> {
        let version = self.version.parse()?;
        if self.operators.len() > OPERATORS_MAX {
            return Err(FileError::Operators { count: self.operators.len() });
        }
        if self.num_validators != self.validators.len() as u64 {
            return Err(FileError::NumValidators { stated: self.num_validators, entries: self.validators.len() });
        }
        let deposit_amounts: Option<Vec<u64>> =
            self.deposit_amounts.map(|amounts| amounts.into_iter().map(|amount| amount.0).collect());
        check_amounts(deposit_amounts.as_deref().unwrap_or_default(), self.compounding).map_err(FileError::Amounts)?;
        let operator = |raw: RawOperator| Operator {
            address: raw.address.0,
            enr: raw.enr,
            config_signature: raw.config_signature.0,
            enr_signature: raw.enr_signature.0,
        };
        let addresses = |raw: RawAddresses| ValidatorAddresses {
            fee_recipient: raw.fee_recipient_address.0,
            withdrawal: raw.withdrawal_address.0,
        };
        Ok(ClusterDefinition {
            name: self.name,
            creator: Creator { address: self.creator.address.0, config_signature: self.creator.config_signature.0 },
            operators: self.operators.into_iter().map(operator).collect(),
            uuid: self.uuid,
            version,
            timestamp: self.timestamp,
            num_validators: self.num_validators,
            threshold: self.threshold,
            validators: self.validators.into_iter().map(addresses).collect(),
            dkg_algorithm: self.dkg_algorithm,
            fork_version: self.fork_version,
            deposit_amounts,
            consensus_protocol: self.consensus_protocol,
            target_gas_limit: self.target_gas_limit,
            compounding: self.compounding,
            config_hash: self.config_hash,
            definition_hash: self.definition_hash,
        })
    }
}

impl RawLock {
    fn typed(self) -> Result<ClusterLock, FileError> {
        Ok(ClusterLock {
            definition: self.cluster_definition.typed()?,
            validators: self.distributed_validators.into_iter().map(RawValidator::typed).collect(),
            signature_aggregate: self.signature_aggregate.0,
            lock_hash: self.lock_hash,
            node_signatures: self.node_signatures.into_iter().map(|signature| signature.0).collect(),
        })
    }
}

impl RawValidator {
    fn typed(self) -> DistributedValidator {
        let RawRegistration { message, signature } = self.builder_registration;
        let deposit = |raw: RawDeposit| DepositData {
            message: DepositMessage {
                pubkey: raw.pubkey,
                withdrawal_credentials: raw.withdrawal_credentials.0,
                amount_gwei: raw.amount.0,
            },
            signature: raw.signature,
        };
        DistributedValidator {
            public: self.distributed_public_key,
            shares: self.public_shares,
            registration: SignedRegistration {
                message: BuilderRegistration {
                    fee_recipient: message.fee_recipient.0,
                    gas_limit: message.gas_limit,
                    timestamp_s: message.timestamp,
                    pubkey: message.pubkey,
                },
                signature,
            },
            deposits: self.partial_deposit_data.into_iter().map(deposit).collect(),
        }
    }
}

impl From<&ClusterDefinition> for RawDefinition {
    fn from(typed: &ClusterDefinition) -> Self {
        let operator = |operator: &Operator| RawOperator {
            address: RawAddress(operator.address.clone()),
            enr: operator.enr.clone(),
            config_signature: HexBytes(operator.config_signature.clone()),
            enr_signature: HexBytes(operator.enr_signature.clone()),
        };
        let addresses = |addresses: &ValidatorAddresses| RawAddresses {
            fee_recipient_address: RawAddress(addresses.fee_recipient.clone()),
            withdrawal_address: RawAddress(addresses.withdrawal.clone()),
        };
        let amounts = typed.deposit_amounts.as_ref();
        Self {
            name: typed.name.clone(),
            creator: RawCreator {
                address: RawAddress(typed.creator.address.clone()),
                config_signature: HexBytes(typed.creator.config_signature.clone()),
            },
            operators: typed.operators.iter().map(operator).collect(),
            uuid: typed.uuid.clone(),
            version: typed.version.to_string(),
            timestamp: typed.timestamp.clone(),
            num_validators: typed.num_validators,
            threshold: typed.threshold,
            validators: typed.validators.iter().map(addresses).collect(),
            dkg_algorithm: typed.dkg_algorithm.clone(),
            fork_version: typed.fork_version,
            deposit_amounts: amounts.map(|amounts| amounts.iter().map(|gwei| Quoted(*gwei)).collect()),
            consensus_protocol: typed.consensus_protocol.clone(),
            target_gas_limit: typed.target_gas_limit,
            compounding: typed.compounding,
            config_hash: typed.config_hash,
            definition_hash: typed.definition_hash,
        }
    }
}

impl From<&ClusterLock> for RawLock {
    fn from(typed: &ClusterLock) -> Self {
        Self {
            cluster_definition: RawDefinition::from(&typed.definition),
            distributed_validators: typed.validators.iter().map(RawValidator::from).collect(),
            signature_aggregate: HexBytes(typed.signature_aggregate.clone()),
            lock_hash: typed.lock_hash,
            node_signatures: typed.node_signatures.iter().map(|signature| HexBytes(signature.clone())).collect(),
        }
    }
}

impl From<&DistributedValidator> for RawValidator {
    fn from(typed: &DistributedValidator) -> Self {
        let SignedRegistration { message, signature } = typed.registration;
        let deposit = |deposit: &DepositData| RawDeposit {
            pubkey: deposit.message.pubkey,
            withdrawal_credentials: HexArray(deposit.message.withdrawal_credentials),
            amount: Quoted(deposit.message.amount_gwei),
            signature: deposit.signature,
        };
        Self {
            distributed_public_key: typed.public,
            public_shares: typed.shares.clone(),
            builder_registration: RawRegistration {
                message: RawRegistrationMessage {
                    fee_recipient: HexArray(message.fee_recipient),
                    gas_limit: message.gas_limit,
                    timestamp: message.timestamp_s,
                    pubkey: message.pubkey,
                },
                signature,
            },
            partial_deposit_data: typed.deposits.iter().map(deposit).collect(),
        }
    }
}

/// An address as text, kept as it is spelled.
struct RawAddress(AddressText);

/// Bytes as hex; none are an empty text, or null when read.
struct HexBytes(Vec<u8>);

/// A fixed number of bytes as hex.
struct HexArray<const N: usize>([u8; N]);

/// A number as decimal text; a bare number is refused, as the reference does.
struct Quoted(u64);

impl Serialize for RawAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for RawAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <Cow<'de, str>>::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() { serializer.serialize_str("") } else { serializer.collect_str(&Prefixed(&self.0)) }
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrNull;
        impl Visitor<'_> for TextOrNull {
            type Value = HexBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes as hex, or null")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<HexBytes, E> {
                let digits = text.strip_prefix("0x").unwrap_or(text);
                let mut bytes = vec![0; digits.len() / 2];
                hex::decode_to_slice(digits, &mut bytes).map_err(E::custom)?;
                Ok(HexBytes(bytes))
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<HexBytes, E> {
                Ok(HexBytes(Vec::new()))
            }
        }
        // Asked for an option, serde would take a missing key for null.
        deserializer.deserialize_any(TextOrNull)
    }
}

impl<const N: usize> Serialize for HexArray<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Prefixed(&self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for HexArray<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = HexBytes::deserialize(deserializer)?.0;
        let len = bytes.len();
        bytes.try_into().map(Self).map_err(|_| D::Error::custom(format_args!("expected {N} bytes as hex, found {len}")))
    }
}

impl Serialize for Quoted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quoted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        number.map(Self).ok_or_else(|| D::Error::custom("expected a decimal number in quotes"))
    }
}

struct Prefixed<'a>(&'a [u8]);

impl fmt::Display for Prefixed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}
