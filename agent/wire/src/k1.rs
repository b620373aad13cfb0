//! Node keys and node signatures: recoverable ECDSA over secp256k1 (`cluster-wire.md` sections 1.1 and 3.2).

use std::fmt;

use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};

/// A 65-byte node signature: R, S, V. Nothing is known of its validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct K1Signature(pub [u8; 65]);

/// A node signature that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// The signature has another length.
    #[error("node signature has {0} bytes instead of 65")]
    Length(usize),
    /// The last byte names no recovery id.
    #[error("node signature ends with the recovery id {0}, which is none of 0, 1, 27 and 28")]
    RecoveryId(u8),
    /// No key can have made it.
    #[error("node signature does not recover to a key")]
    NotRecoverable,
    /// Another key made it, or it is of other bytes.
    #[error("node signature is not by the expected key")]
    OtherKey,
}

/// Bytes that are no key of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNodeKey {
    /// Not a secret scalar.
    #[error("node key is not a secp256k1 secret: it is zero or not below the order of the curve")]
    Secret,
    /// Not a compressed point.
    #[error("node public key is not a compressed secp256k1 point")]
    Public,
}

/// A node's secret key. Zeroized when dropped; not printable.
pub struct NodeKey(SigningKey);

/// A node's public key, compressed; a point of the curve.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodePublic([u8; 33]);

impl K1Signature {
    /// Takes the bytes when there are 65.
    ///
    /// # Errors
    ///
    /// [`BadSignature::Length`] otherwise.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, BadSignature> {
        bytes.try_into().map(Self).map_err(|_| BadSignature::Length(bytes.len()))
    }

    /// The key that made this signature over a digest.
    ///
    /// A high S is accepted, as the reference does: refusing it would let one peer make us drop what the others take.
    ///
    /// # Errors
    ///
    /// [`BadSignature`] when there is no such key.
    pub fn recover(&self, digest: &[u8; 32]) -> Result<NodePublic, BadSignature> {
        let (body, v) = self.0.split_at(64);
        let odd = match v[0] {
            0 | 27 => false,
            1 | 28 => true,
            other => return Err(BadSignature::RecoveryId(other)),
        };
        let signature = Signature::from_slice(body).map_err(|_| BadSignature::NotRecoverable)?;
        let (signature, odd) = match signature.normalize_s() {
            Some(low) => (low, !odd),
            None => (signature, odd),
        };
        VerifyingKey::recover_from_prehash(digest, &signature, RecoveryId::new(odd, false))
            .map(|key| NodePublic::from(&key))
            .map_err(|_| BadSignature::NotRecoverable)
    }
}

impl NodeKey {
    /// Takes the 32 bytes of a secret key, big-endian. The caller wipes its own copy.
    ///
    /// # Errors
    ///
    /// [`BadNodeKey::Secret`] when they are no scalar of the curve.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, BadNodeKey> {
        SigningKey::from_bytes(secret.into()).map(Self).map_err(|_| BadNodeKey::Secret)
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> NodePublic {
        NodePublic::from(self.0.verifying_key())
    }

    /// Signs a digest as it is: nonce by RFC 6979, low S, V of 0 or 1.
    ///
    /// # Panics
    ///
    /// Never for a 32-byte digest; a nonce that gives no signature has a probability of 2^-127.
    #[must_use]
    pub fn sign(&self, digest: &[u8; 32]) -> K1Signature {
        let (signature, recovery_id) =
            self.0.sign_prehash_recoverable(digest).expect("a digest of 32 bytes can always be signed");
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = recovery_id.to_byte();
        K1Signature(bytes)
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

impl NodePublic {
    /// Takes a compressed point.
    ///
    /// # Errors
    ///
    /// [`BadNodeKey::Public`] when the bytes are none.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, BadNodeKey> {
        let compressed: [u8; 33] = bytes.try_into().map_err(|_| BadNodeKey::Public)?;
        VerifyingKey::from_sec1_bytes(&compressed).map(|_| Self(compressed)).map_err(|_| BadNodeKey::Public)
    }

    /// The compressed point.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }

    /// Checks a signature over a digest.
    ///
    /// # Errors
    ///
    /// [`BadSignature`] says what is wrong with it.
    pub fn verify(&self, digest: &[u8; 32], signature: &K1Signature) -> Result<(), BadSignature> {
        if signature.recover(digest)? == *self { Ok(()) } else { Err(BadSignature::OtherKey) }
    }

    /// The bytes of the libp2p peer ID: the identity multihash of the protobuf public key.
    #[must_use]
    pub fn peer_id_bytes(&self) -> [u8; 39] {
        let mut bytes = [0; 39];
        bytes[..6].copy_from_slice(&[0x00, 0x25, 0x08, 0x02, 0x12, 0x21]);
        bytes[6..].copy_from_slice(&self.0);
        bytes
    }

    /// The text of the libp2p peer ID, in base58.
    #[must_use]
    pub fn peer_id(&self) -> String {
        base58(&self.peer_id_bytes())
    }
}

impl From<&VerifyingKey> for NodePublic {
    fn from(key: &VerifyingKey) -> Self {
        let point = key.to_encoded_point(true);
        Self(point.as_bytes().try_into().expect("a compressed point has 33 bytes"))
    }
}

impl fmt::Display for NodePublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for NodePublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodePublic({self})")
    }
}

/// Base58 with the alphabet of Bitcoin; quadratic, so only for short strings such as ours.
fn base58(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut digits: Vec<u8> = Vec::new();
    for &byte in bytes {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).map(|_| 0);
    zeros.chain(digits.into_iter().rev()).map(|digit| char::from(ALPHABET[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> NodeKey {
        NodeKey::from_bytes(&[byte; 32]).unwrap()
    }

    /// `cluster-wire.md` section 14, keys 0 to 3.
    #[test]
    fn keys_and_peer_ids_are_those_of_the_specification() {
        let known = [
            (
                "031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f",
                "16Uiu2HAmEWQnHq2jLKJypwVnVoQeFCULuyop6atvq2eWjYSUjzNi",
            ),
            (
                "024d4b6cd1361032ca9bd2aeb9d900aa4d45d9ead80ac9423374c451a7254d0766",
                "16Uiu2HAkzdQ5Y9SYT91K1ue5SxXwgmajXntfScGnLYeip5hHyWmT",
            ),
            (
                "02531fe6068134503d2723133227c867ac8fa6c83c537e9a44c3c5bdbdcb1fe337",
                "16Uiu2HAm12A2heuphsgWqFjE3jcHVXNBfte9HU1fuQYRSKh6JSpN",
            ),
            (
                "03462779ad4aad39514614751a71085f2f10e1c7a593e4e030efb5b8721ce55b0b",
                "16Uiu2HAmHNqoSvjy1LSi5cMFrgZy87n43okaH9MD9Q4wP1oEzf6S",
            ),
        ];
        for (byte, (public, peer_id)) in (1..).zip(known) {
            assert_eq!(key(byte).public().to_string(), public);
            assert_eq!(key(byte).public().peer_id(), peer_id);
        }
    }

    #[test]
    fn all_four_recovery_ids_are_accepted_and_no_other() {
        let digest = [7; 32];
        let mut signature = key(1).sign(&digest);
        let parity = signature.0[64];
        signature.0[64] = parity + 27;
        assert_eq!(key(1).public().verify(&digest, &signature), Ok(()));
        signature.0[64] = 1 - parity;
        assert!(key(1).public().verify(&digest, &signature).is_err());
        for v in [2, 3, 26, 29, 255] {
            signature.0[64] = v;
            assert_eq!(signature.recover(&digest), Err(BadSignature::RecoveryId(v)));
        }
    }

    #[test]
    fn a_signature_with_the_other_s_recovers_to_the_same_key() {
        let digest = [9; 32];
        let low = key(2).sign(&digest);
        let signature = Signature::from_slice(&low.0[..64]).unwrap();
        let high = Signature::from_scalars(*signature.r(), -*signature.s()).unwrap();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&high.to_bytes());
        bytes[64] = 1 - low.0[64];
        assert_eq!(K1Signature(bytes).recover(&digest), Ok(key(2).public()));
    }

    #[test]
    fn what_is_no_key_and_no_signature_is_refused() {
        assert_eq!(NodeKey::from_bytes(&[0; 32]).unwrap_err(), BadNodeKey::Secret);
        assert_eq!(NodeKey::from_bytes(&[255; 32]).unwrap_err(), BadNodeKey::Secret);
        assert_eq!(NodePublic::from_slice(&[2; 32]), Err(BadNodeKey::Public));
        assert_eq!(NodePublic::from_slice(&[0; 33]), Err(BadNodeKey::Public));
        assert_eq!(K1Signature::from_slice(&[0; 64]), Err(BadSignature::Length(64)));
        assert_eq!(K1Signature([0; 65]).recover(&[1; 32]), Err(BadSignature::NotRecoverable));
        assert_eq!(key(1).public().verify(&[1; 32], &key(2).sign(&[1; 32])), Err(BadSignature::OtherKey));
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", key(1)), "NodeKey(..)");
    }
}
