//! Node records (EIP-778, scheme v4) as far as a definition uses them: they carry the node key and prove it.
//!
//! `cluster-files.md` section 1.2. Addresses in a record are not read; records of circuit relays come with the relays.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::ecdsa::{Signature, VerifyingKey};

use crate::identity::NodeKey;
use crate::k1::{compressed, keccak256};

/// A node record whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enr {
    text: String,
    public: [u8; 33],
}

/// Why a text is no node record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrError {
    /// The part after the prefix is no base64.
    #[error("the record is not unpadded base64url")]
    Base64,
    /// The key is there twice.
    #[error("the record has a key twice")]
    DuplicateKey,
    /// The list has too few or an odd number of elements.
    #[error("the record is not a signature, a number and pairs of key and value")]
    Elements,
    /// Not the prefix of a record.
    #[error("the record does not begin with enr:")]
    Prefix,
    /// Not a list of byte strings.
    #[error("the record is not an RLP list of byte strings")]
    Rlp,
    /// Not the v4 scheme.
    #[error("the record's id is not v4")]
    Scheme,
    /// The signature is not by the key in the record.
    #[error("the record's signature is not by its own key")]
    Signature,
    /// Longer than a definition takes.
    #[error("the record is longer than {ENR_LEN_MAX} characters")]
    TooLong,
    /// No key, or no point.
    #[error("the record has no valid secp256k1 key")]
    Key,
}

impl Enr {
    /// Reads a record and checks its signature.
    ///
    /// # Errors
    ///
    /// When it is no record, or its signature is not by its own key.
    pub fn parse(text: &str) -> Result<Self, EnrError> {
        if text.len() > ENR_LEN_MAX {
            return Err(EnrError::TooLong);
        }
        let body = text.strip_prefix("enr:").ok_or(EnrError::Prefix)?;
        let bytes = URL_SAFE_NO_PAD.decode(body.trim_end_matches('=')).map_err(|_| EnrError::Base64)?;
        let elements = decode_list(&bytes).ok_or(EnrError::Rlp)?;
        let [signature, content @ ..] = elements.as_slice() else { return Err(EnrError::Elements) };
        if content.len() < 3 || content.len().is_multiple_of(2) {
            return Err(EnrError::Elements);
        }
        let pairs: Vec<_> = content[1..].chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let is_again = |(at, pair): (usize, &(&[u8], &[u8]))| pairs[..at].iter().any(|earlier| earlier.0 == pair.0);
        if pairs.iter().enumerate().any(is_again) {
            return Err(EnrError::DuplicateKey);
        }
        let value = |key: &[u8]| pairs.iter().find(|pair| pair.0 == key).map(|pair| pair.1);
        if value(b"id").is_some_and(|id| id != b"v4") {
            return Err(EnrError::Scheme);
        }
        let public: [u8; 33] = value(b"secp256k1").and_then(|key| key.try_into().ok()).ok_or(EnrError::Key)?;
        let key = VerifyingKey::from_sec1_bytes(&public).map_err(|_| EnrError::Key)?;
        let signature = Signature::from_slice(signature).map_err(|_| EnrError::Signature)?;
        let signature = signature.normalize_s().unwrap_or(signature);
        let digest = keccak256(&[&encode_list(content)]);
        key.verify_prehash(&digest, &signature).map_err(|_| EnrError::Signature)?;
        Ok(Self { text: text.to_owned(), public: compressed(&key) })
    }

    /// The record of a node: its key, without addresses, always the same.
    #[must_use]
    pub fn make(key: &NodeKey) -> Self {
        let public = key.public();
        let content: [&[u8]; 5] = [b"", b"id", b"v4", b"secp256k1", &public];
        let signature = key.sign_hash(&keccak256(&[&encode_list(&content)]));
        let elements = [[&signature[..64]].as_slice(), &content].concat();
        Self { text: format!("enr:{}", URL_SAFE_NO_PAD.encode(encode_list(&elements))), public }
    }

    /// The record as text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The node's compressed public key.
    #[must_use]
    pub const fn public(&self) -> [u8; 33] {
        self.public
    }
}

/// The byte strings of an RLP list; what follows the list is ignored.
fn decode_list(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let (&first, rest) = bytes.split_first()?;
    let (mut list, _) = split_payload(first.checked_sub(0xc0)?, rest)?;
    let mut items = Vec::new();
    while let Some((&first, rest)) = list.split_first() {
        let (item, after) = match first {
            0x00..0x80 => (&list[..1], rest),
            0x80..0xc0 => split_payload(first - 0x80, rest)?,
            0xc0.. => return None,
        };
        items.push(item);
        list = after;
    }
    Some(items)
}

/// Splits off a payload whose length is `short`, or, from 56 on, in the `short - 55` bytes that come first.
fn split_payload(short: u8, rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let Some(len_of_len) = short.checked_sub(55).filter(|len| *len > 0) else {
        return rest.split_at_checked(usize::from(short));
    };
    let (len_be, rest) = rest.split_at_checked(usize::from(len_of_len))?;
    let len = len_be.iter().try_fold(0_usize, |len, byte| len.checked_mul(256)?.checked_add(usize::from(*byte)))?;
    rest.split_at_checked(len)
}

fn encode_list(items: &[&[u8]]) -> Vec<u8> {
    let mut payload = Vec::new();
    for item in items {
        if !matches!(item, [0x00..0x80]) {
            payload.extend(prefix(0x80, item.len()));
        }
        payload.extend_from_slice(item);
    }
    [prefix(0xc0, payload.len()), payload].concat()
}

fn prefix(offset: u8, len: usize) -> Vec<u8> {
    match u8::try_from(len) {
        Ok(short) if short < 56 => vec![offset + short],
        _ => {
            let len_be: Vec<u8> = len.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            let count = u8::try_from(len_be.len()).expect("a length has at most 8 bytes");
            [vec![offset + 55 + count], len_be].concat()
        }
    }
}

/// What the hash of a definition takes of a record.
const ENR_LEN_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "enr:-HW4QPHZNaODpI1XnPx6L9IGtvrNcfCH262PMtQpSWBESMd3VzMHFtkX5DBH__CVr7EjuLHUHRGz4dsKvkWc9C8s-_uAgmlkgnY0iXNlY3AyNTZrMaECoZZgxlYRUyWcAfP7FITpfsehOSNOI_EOQd2YYqtTbs8";

    fn key() -> NodeKey {
        NodeKey::parse("cdca78f7ae22e24fd95d330255fc03b7d813dd5031fcf82bcbbbcd230fe6e8b5").unwrap()
    }

    /// A record over these elements, signed by `key()`.
    fn signed(content: &[&[u8]]) -> String {
        let signature = key().sign_hash(&keccak256(&[&encode_list(content)]));
        let elements = [[&signature[..64]].as_slice(), content].concat();
        format!("enr:{}", URL_SAFE_NO_PAD.encode(encode_list(&elements)))
    }

    #[test]
    fn a_key_makes_the_record_that_the_reference_made() {
        assert_eq!(Enr::make(&key()).text(), TEXT);
        assert_eq!(Enr::parse(TEXT).unwrap(), Enr::make(&key()));
        assert_eq!(Enr::parse(&format!("{TEXT}=")).unwrap().public(), key().public());
    }

    #[test]
    fn what_is_no_record_is_refused_by_name() {
        let public = key().public();
        let refused = |text: &str| Enr::parse(text).unwrap_err();
        assert_eq!(refused(&TEXT[4..]), EnrError::Prefix);
        assert_eq!(refused("enr:***"), EnrError::Base64);
        assert_eq!(refused("enr:gA"), EnrError::Rlp);
        assert_eq!(refused(&TEXT.replace("PHZ", "PHa")), EnrError::Signature);
        assert_eq!(refused(&"x".repeat(1025)), EnrError::TooLong);
        assert_eq!(refused(&signed(&[b"", b"id", b"v5", b"secp256k1", &public])), EnrError::Scheme);
        assert_eq!(refused(&signed(&[b"", b"secp256k1", &public, b"secp256k1", &public])), EnrError::DuplicateKey);
        assert_eq!(refused(&signed(&[b"", b"id", b"v4"])), EnrError::Key);
        assert_eq!(refused(&signed(&[b"", b"secp256k1"])), EnrError::Elements);
    }

    #[test]
    fn records_with_more_keys_or_none_but_the_key_are_taken() {
        let public = key().public();
        let long = [7; 80];
        assert!(Enr::parse(&signed(&[b"\x05", b"zz", &long, b"secp256k1", &public])).is_ok());
        assert!(Enr::parse(&signed(&[b"", b"secp256k1", &public])).is_ok());
    }
}
