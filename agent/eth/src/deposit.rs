//! Deposits into the validator set (consensus-specs phase0 `DepositMessage`, `DepositData`; `cluster-files.md` section 7.1).

use holdfast_types::{ForkVersion, Root, Signature, SigningRoot, ValidatorPublic};

use crate::chunks::{Chunk, container, raw, uint64_leaf};
use crate::domain::{DomainType, domain, signing_root};

/// One ether in Gwei.
pub const GWEI_PER_ETH: u64 = 1_000_000_000;

/// What the validator key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepositMessage {
    /// The validator key.
    pub pubkey: ValidatorPublic,
    /// Where the money goes in the end.
    pub withdrawal_credentials: [u8; 32],
    /// The amount in Gwei.
    pub amount_gwei: u64,
}

/// A deposit with its signature. Nothing is known of its validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepositData {
    /// What is signed.
    pub message: DepositMessage,
    /// The signature under the validator key.
    pub signature: Signature,
}

impl DepositMessage {
    /// The hash-tree root.
    #[must_use]
    pub fn hash_tree_root(&self) -> Root {
        Root(container(&self.chunks()))
    }

    /// What is signed: the domain has the genesis fork and a zero root, so that the deposit is valid on every fork.
    #[must_use]
    pub fn signing_root(&self, genesis_fork_version: ForkVersion) -> SigningRoot {
        signing_root(self.hash_tree_root(), &domain(DomainType::Deposit, genesis_fork_version, Root::default()))
    }

    fn chunks(&self) -> [Chunk; 3] {
        [public_root(&self.pubkey), self.withdrawal_credentials, uint64_leaf(self.amount_gwei)]
    }
}

impl DepositData {
    /// The hash-tree root.
    #[must_use]
    pub fn hash_tree_root(&self) -> Root {
        let [pubkey, credentials, amount] = self.message.chunks();
        Root(container(&[pubkey, credentials, amount, signature_root(&self.signature)]))
    }
}

/// The credentials for withdrawals to an address: type 0x02 when the validator compounds, otherwise 0x01.
#[must_use]
pub fn withdrawal_credentials(address: [u8; 20], compounding: bool) -> [u8; 32] {
    let mut credentials = [0; 32];
    credentials[0] = if compounding { 2 } else { 1 };
    credentials[12..].copy_from_slice(&address);
    credentials
}

pub(crate) fn public_root(public: &ValidatorPublic) -> Chunk {
    raw(&public.0).expect("a key is not empty")
}

pub(crate) fn signature_root(signature: &Signature) -> Chunk {
    raw(&signature.0).expect("a signature is not empty")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_those_of_a_captured_deposit() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/live-cluster-a/deposit-data.json");
        let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let entries = file.as_array().unwrap();
        assert_eq!(entries.len(), 3);
        for entry in entries {
            let text = |key: &str| entry[key].as_str().unwrap().to_owned();
            let credentials: Root = text("withdrawal_credentials").parse().unwrap();
            let message = DepositMessage {
                pubkey: text("pubkey").parse().unwrap(),
                withdrawal_credentials: credentials.0,
                amount_gwei: entry["amount"].as_u64().unwrap(),
            };
            assert_eq!(message.hash_tree_root(), text("deposit_message_root").parse().unwrap());
            let deposit = DepositData { message, signature: text("signature").parse().unwrap() };
            assert_eq!(deposit.hash_tree_root(), text("deposit_data_root").parse().unwrap());
        }
    }

    #[test]
    fn credentials_name_their_type() {
        assert_eq!(withdrawal_credentials([7; 20], false)[..13], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(withdrawal_credentials([7; 20], true)[0], 2);
    }
}
