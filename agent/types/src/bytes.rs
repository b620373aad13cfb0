//! Fixed-size byte strings with a name each, so that a root is never taken for a key.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A hex text that does not have the form of the type that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} bytes as hex, with or without 0x, found {found:?}")]
pub struct ParseHexError {
    /// How many bytes the type has.
    pub expected: usize,
    /// The start of the text that was given.
    pub found: String,
}

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The length in bytes.
            pub const LEN: usize = $len;

            /// Takes the bytes when there are exactly as many as the type has.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self([0; $len])
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        /// Lower-case hex with `0x`, the form of the Beacon API and of the cluster wire protocol.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "0x{}", hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let digits = text.strip_prefix("0x").unwrap_or(text);
                let mut bytes = [0; $len];
                hex::decode_to_slice(digits, &mut bytes).map_err(|_| ParseHexError {
                    expected: $len,
                    found: text.chars().take(24).collect(),
                })?;
                Ok(Self(bytes))
            }
        }

        /// Hex text in human-readable formats, the bare bytes elsewhere.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                    text.parse().map_err(D::Error::custom)
                } else {
                    struct Bytes;
                    impl<'de> serde::de::Visitor<'de> for Bytes {
                        type Value = $name;
                        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                            write!(f, "{} bytes", $len)
                        }
                        fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<$name, E> {
                            $name::from_slice(bytes).ok_or_else(|| E::invalid_length(bytes.len(), &self))
                        }
                    }
                    deserializer.deserialize_bytes(Bytes)
                }
            }
        }
    };
}

fixed_bytes!(
    /// A hash-tree root of the consensus specification; also a block root or a state root.
    Root, 32
);
fixed_bytes!(
    /// What is signed: the root of an object together with its domain.
    SigningRoot, 32
);
fixed_bytes!(
    /// The hash that identifies a cluster lock.
    LockHash, 32
);
fixed_bytes!(
    /// A fork version of the consensus specification.
    ForkVersion, 4
);
fixed_bytes!(
    /// The group public key that the chain knows, compressed.
    ValidatorPublic, 48
);
fixed_bytes!(
    /// The public key of one share, compressed.
    SharePublic, 48
);
fixed_bytes!(
    /// A signature made with one share, compressed. Nothing is known of its validity.
    PartialSignature, 96
);
fixed_bytes!(
    /// A signature under a group key, compressed. Nothing is known of its validity.
    Signature, 96
);

fixed_bytes!(
    /// A point on P-256 in SEC1 compressed form: the operator's authority, the release key, a key of the TPM.
    P256Public, 33
);
fixed_bytes!(
    /// An ECDSA P-256 signature over SHA-256, `r` then `s`, each 32 bytes big-endian. Nothing is known of its validity.
    P256Signature, 64
);
fixed_bytes!(
    /// The name of one box: a hash of the Name of its TPM's attestation key.
    BoxName, 32
);
fixed_bytes!(
    /// A one-time number of a vault, which one order to it carries.
    Challenge, 32
);
fixed_bytes!(
    /// A TPM 2.0 policy digest, SHA-256 (Library Part 1, 19.7 "Enhanced Authorization").
    PolicyDigest, 32
);
fixed_bytes!(
    /// A one-time X25519 key of a vault, to which an import is encrypted.
    ImportKey, 32
);
fixed_bytes!(
    /// What an import of slashing history is known by: a hash over its watermarks.
    HistoryDigest, 32
);

impl ValidatorPublic {
    /// The short form that operators see: `0x93a1…7fce`.
    #[must_use]
    pub fn short(&self) -> String {
        format!("0x{}…{}", hex::encode(&self.0[..2]), hex::encode(&self.0[46..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_text_round_trips_with_and_without_prefix() {
        let root: Root = "0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff".parse().unwrap();
        assert_eq!(root.to_string().parse::<Root>().unwrap(), root);
        assert_eq!(root.to_string()[2..].parse::<Root>().unwrap(), root);
    }

    #[test]
    fn a_wrong_length_is_named() {
        let error = "0x0011".parse::<Root>().unwrap_err();
        assert_eq!(error.to_string(), "expected 32 bytes as hex, with or without 0x, found \"0x0011\"");
    }
}
