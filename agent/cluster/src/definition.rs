//! The check of a definition: hashes, signatures of operators and creator, node records (`cluster-files.md` section 2.5).

use holdfast_eth::{AddressText, ClusterDefinition, HashError};
use holdfast_types::{ForkVersion, OperatorIndex, Root};

use crate::eip712;
use crate::enr::{Enr, EnrError};
use crate::k1;
use crate::network::{Network, Networks};

/// A definition in which everything holds. Only the check makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedDefinition {
    definition: ClusterDefinition,
    checked: Checked,
}

/// What the check of a definition finds out beside that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) network: Network,
    pub(crate) enrs: Vec<Enr>,
    pub(crate) threshold: u8,
}

/// Which signature of an operator or the creator is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignaturePart {
    /// `config_signature`: of what is agreed.
    Config,
    /// `enr_signature`: of the operator's node record.
    Enr,
}

/// Why a definition does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The stored config hash is not that of the content.
    #[error("config_hash is {stored}, and the content hashes to {computed}: the definition was changed")]
    ConfigHash {
        /// What the file says.
        stored: Root,
        /// What is right.
        computed: Root,
    },
    /// The creator's signature is not by its address.
    #[error(
        "creator.config_signature is not by {address}; contract wallets (ERC-1271) are not supported: sign with a plain key"
    )]
    CreatorSignature {
        /// The address in the file.
        address: String,
    },
    /// The creator has an address and no signature.
    #[error("creator.config_signature is missing")]
    CreatorSignatureMissing,
    /// The operators signed, and the creator is empty.
    #[error("the operators signed and the creator did not")]
    CreatorUnsigned,
    /// The stored definition hash is not that of the content.
    #[error("definition_hash is {stored}, and the content hashes to {computed}: the definition was changed")]
    DefinitionHash {
        /// What the file says.
        stored: Root,
        /// What is right.
        computed: Root,
    },
    /// Two operators have one node key.
    #[error("operators[{second}].enr has the node key of operators[{first}]")]
    DuplicateNode {
        /// The earlier operator.
        first: OperatorIndex,
        /// The later operator.
        second: OperatorIndex,
    },
    /// A node record does not hold.
    #[error("operators[{operator}].enr is no valid node record")]
    Enr {
        /// Whose record.
        operator: OperatorIndex,
        /// Why.
        #[source]
        err: EnrError,
    },
    /// Something does not fit, so that there is no hash.
    #[error("the definition cannot be hashed")]
    Hash(#[source] HashError),
    /// A validator lacks an address, so that no deposit or registration can be made for it.
    #[error("validators[{validator}] lacks its fee recipient or withdrawal address")]
    NoAddress {
        /// The position of the validator.
        validator: usize,
    },
    /// An operator's signature is not by the operator's address.
    #[error("operators[{operator}].{} is not by {address}; contract wallets (ERC-1271) are not supported: sign with a plain key", part.key())]
    OperatorSignature {
        /// Whose signature.
        operator: OperatorIndex,
        /// Which one.
        part: SignaturePart,
        /// The address in the file.
        address: String,
    },
    /// An operator with an address or one signature lacks the other signature.
    #[error("operators[{operator}].{} is missing", part.key())]
    OperatorSignatureMissing {
        /// Whose signature.
        operator: OperatorIndex,
        /// Which one.
        part: SignaturePart,
    },
    /// Some operators signed and some did not.
    #[error("operators[{operator}] did not sign, others did")]
    OperatorUnsigned {
        /// The first who did not.
        operator: OperatorIndex,
    },
    /// The threshold does not fit the operators.
    #[error("threshold is {threshold}: it must be at least 2 and at most the {operators} operators")]
    Threshold {
        /// The threshold in the file.
        threshold: u64,
        /// How many operators there are.
        operators: usize,
    },
    /// No network with this fork version is known.
    #[error(
        "fork_version {fork_version} is of no known network: configure it as a custom network with its chain id and genesis time"
    )]
    UnknownNetwork {
        /// The genesis fork version in the file.
        fork_version: ForkVersion,
    },
}

impl SignaturePart {
    /// The key in the file.
    const fn key(self) -> &'static str {
        match self {
            Self::Config => "config_signature",
            Self::Enr => "enr_signature",
        }
    }
}

impl VerifiedDefinition {
    /// Checks a definition in full.
    ///
    /// # Errors
    ///
    /// When anything in it does not hold.
    pub fn verify(definition: ClusterDefinition, networks: &Networks) -> Result<Self, DefinitionError> {
        check_hashes(&definition)?;
        let checked = check_rest(&definition, networks)?;
        Ok(Self { definition, checked })
    }

    /// The definition.
    #[must_use]
    pub const fn definition(&self) -> &ClusterDefinition {
        &self.definition
    }

    /// The network that its fork version names.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.checked.network
    }

    /// The node records in the order of the operators.
    #[must_use]
    pub fn enrs(&self) -> &[Enr] {
        &self.checked.enrs
    }
}

/// The cheap part of the check: whether the stored hashes are those of the content.
pub(crate) fn check_hashes(definition: &ClusterDefinition) -> Result<(), DefinitionError> {
    let (stored, computed) = (definition.config_hash, definition.compute_config_hash().map_err(DefinitionError::Hash)?);
    if stored != computed {
        return Err(DefinitionError::ConfigHash { stored, computed });
    }
    let stored = definition.definition_hash;
    let computed = definition.compute_definition_hash().map_err(DefinitionError::Hash)?;
    if stored == computed { Ok(()) } else { Err(DefinitionError::DefinitionHash { stored, computed }) }
}

/// Everything but the hashes.
pub(crate) fn check_rest(definition: &ClusterDefinition, networks: &Networks) -> Result<Checked, DefinitionError> {
    let fork_version = definition.fork_version;
    let network = networks.find(fork_version).ok_or(DefinitionError::UnknownNetwork { fork_version })?;
    let threshold = check_threshold(definition)?;
    let lacks = |one: &holdfast_eth::ValidatorAddresses| one.fee_recipient.is_empty() || one.withdrawal.is_empty();
    if let Some(validator) = definition.validators.iter().position(lacks) {
        return Err(DefinitionError::NoAddress { validator });
    }
    let enrs = check_enrs(definition)?;
    check_signatures(definition, network.chain_id)?;
    Ok(Checked { network: network.clone(), enrs, threshold })
}

fn check_threshold(definition: &ClusterDefinition) -> Result<u8, DefinitionError> {
    let (threshold, operators) = (definition.threshold, definition.operators.len());
    let small = u8::try_from(threshold).ok().filter(|small| (2..=operators).contains(&usize::from(*small)));
    small.ok_or(DefinitionError::Threshold { threshold, operators })
}

fn check_enrs(definition: &ClusterDefinition) -> Result<Vec<Enr>, DefinitionError> {
    let mut enrs: Vec<Enr> = Vec::with_capacity(definition.operators.len());
    for (operator, entry) in operators(definition) {
        let enr = Enr::parse(&entry.enr).map_err(|err| DefinitionError::Enr { operator, err })?;
        if let Some((first, _)) =
            (0..).map(OperatorIndex).zip(&enrs).find(|(_, earlier)| earlier.public() == enr.public())
        {
            return Err(DefinitionError::DuplicateNode { first, second: operator });
        }
        enrs.push(enr);
    }
    Ok(enrs)
}

fn check_signatures(definition: &ClusterDefinition, chain_id: u64) -> Result<(), DefinitionError> {
    let config_hash = definition.config_hash.to_string();
    let config_digest = eip712::operator_config(chain_id, &config_hash);
    let mut unsigned = Vec::new();
    for (operator, entry) in operators(definition) {
        if entry.address.is_empty() && entry.config_signature.is_empty() && entry.enr_signature.is_empty() {
            unsigned.push(operator);
            continue;
        }
        let signatures = [
            (SignaturePart::Enr, &entry.enr_signature, eip712::enr(chain_id, &entry.enr)),
            (SignaturePart::Config, &entry.config_signature, config_digest),
        ];
        if let Some((part, ..)) = signatures.iter().find(|(_, signature, _)| signature.is_empty()) {
            return Err(DefinitionError::OperatorSignatureMissing { operator, part: *part });
        }
        if let Some((part, ..)) =
            signatures.iter().find(|(_, signature, digest)| !is_by(&entry.address, signature, digest))
        {
            let address = entry.address.as_str().to_owned();
            return Err(DefinitionError::OperatorSignature { operator, part: *part, address });
        }
    }
    match unsigned.first() {
        Some(&operator) if unsigned.len() < definition.operators.len() => {
            Err(DefinitionError::OperatorUnsigned { operator })
        }
        _ => check_creator(definition, chain_id, &config_hash, unsigned.is_empty()),
    }
}

fn check_creator(
    definition: &ClusterDefinition,
    chain_id: u64,
    config_hash: &str,
    operators_signed: bool,
) -> Result<(), DefinitionError> {
    let creator = &definition.creator;
    match (creator.address.is_empty(), creator.config_signature.is_empty()) {
        (true, true) if operators_signed => Err(DefinitionError::CreatorUnsigned),
        (true, true) => Ok(()),
        (false, true) => Err(DefinitionError::CreatorSignatureMissing),
        (_, false) => {
            let digest = eip712::creator_config(chain_id, config_hash);
            if is_by(&creator.address, &creator.config_signature, &digest) {
                return Ok(());
            }
            Err(DefinitionError::CreatorSignature { address: creator.address.as_str().to_owned() })
        }
    }
}

fn is_by(address: &AddressText, signature: &[u8], digest: &[u8; 32]) -> bool {
    let signer = k1::recover(digest, signature).map(|key| k1::address(&key));
    signer.is_some() && signer == address.bytes()
}

fn operators(definition: &ClusterDefinition) -> impl Iterator<Item = (OperatorIndex, &holdfast_eth::Operator)> {
    (0..).map(OperatorIndex).zip(&definition.operators)
}
