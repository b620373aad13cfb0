//! What operators and the creator sign with their accounts (`cluster-files.md` section 2.4, EIP-712).

use crate::k1::keccak256;

/// The digest of one text field under a type, in the domain of a chain.
fn digest(chain_id: u64, type_string: &str, value: &str) -> [u8; 32] {
    let chain = [[0; 24].as_slice(), &chain_id.to_be_bytes()].concat();
    let text = |text: &str| keccak256(&[text.as_bytes()]);
    let domain = keccak256(&[
        &text("EIP712Domain(string name,string version,uint256 chainId)"),
        &text("Obol"),
        &text("1"),
        &chain,
    ]);
    keccak256(&[&[0x19, 0x01], &domain, &keccak256(&[&text(type_string), &text(value)])])
}

/// What an operator signs about the definition; `config_hash` is its text with `0x`.
pub(crate) fn operator_config(chain_id: u64, config_hash: &str) -> [u8; 32] {
    digest(chain_id, "OperatorConfigHash(string operator_config_hash)", config_hash)
}

/// What the creator signs about the definition.
pub(crate) fn creator_config(chain_id: u64, config_hash: &str) -> [u8; 32] {
    digest(chain_id, "CreatorConfigHash(string creator_config_hash)", config_hash)
}

/// What an operator signs about the node.
pub(crate) fn enr(chain_id: u64, enr: &str) -> [u8; 32] {
    digest(chain_id, "ENR(string enr)", enr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_known_answer() {
        let digest = creator_config(11_155_111, "0xe57f66637bdfa05cce6a78e8cf4120d67d305b485367a69baa5f738436533bcb");
        assert_eq!(hex::encode(digest), "7c8fe012e2f872ca7ec870164184f57b921166f80565ff74af7bee5796f973e4");
    }
}
