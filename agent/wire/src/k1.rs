//! Node signatures: recoverable ECDSA over secp256k1 (`cluster-wire.md` section 3.2).

/// A 65-byte node signature: R, S, V. Nothing is known of its validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct K1Signature(pub [u8; 65]);
