//! Registrations with builders (builder-specs `ValidatorRegistrationV1`; `cluster-files.md` section 7.2).

use holdfast_types::{ForkVersion, Root, Signature, SigningRoot, ValidatorPublic};

use crate::chunks::{container, uint64_leaf};
use crate::deposit::public_root;
use crate::domain::{DomainType, domain, signing_root};

/// What a validator tells builders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuilderRegistration {
    /// Where the fees go.
    pub fee_recipient: [u8; 20],
    /// The gas limit that the validator votes for.
    pub gas_limit: u64,
    /// The Unix time of the registration in seconds; a later one replaces an earlier one.
    pub timestamp_s: u64,
    /// The validator key.
    pub pubkey: ValidatorPublic,
}

/// A registration with its signature. Nothing is known of its validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedRegistration {
    /// What is signed.
    pub message: BuilderRegistration,
    /// The signature under the validator key.
    pub signature: Signature,
}

impl BuilderRegistration {
    /// The hash-tree root.
    #[must_use]
    pub fn hash_tree_root(&self) -> Root {
        let mut fee_recipient = [0; 32];
        fee_recipient[..20].copy_from_slice(&self.fee_recipient);
        Root(container(&[
            fee_recipient,
            uint64_leaf(self.gas_limit),
            uint64_leaf(self.timestamp_s),
            public_root(&self.pubkey),
        ]))
    }

    /// What is signed: the domain has the genesis fork and a zero root on every fork.
    #[must_use]
    pub fn signing_root(&self, genesis_fork_version: ForkVersion) -> SigningRoot {
        let domain = domain(DomainType::ApplicationBuilder, genesis_fork_version, Root::default());
        signing_root(self.hash_tree_root(), &domain)
    }
}
