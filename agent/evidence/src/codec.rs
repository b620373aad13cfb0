//! The bytes in which evidence, orders, approvals and credentials travel and are kept: postcard, bounded, and nothing
//! behind the end.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::approval::Approval;
use crate::credential::Credential;
use crate::evidence::Evidence;
use crate::order::{ORDER_LEN_MAX, SignedOrder};

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BytesError {
    /// They are of another version, or of something else.
    #[error("the bytes are no {what} that this version knows: use a command of the box's release")]
    Form {
        /// What they should be.
        what: &'static str,
    },
    /// There are more than one of these may have.
    #[error("the {what} has {len} bytes, at most {len_max} are allowed")]
    TooLong {
        /// What they should be.
        what: &'static str,
        /// How many there are.
        len: usize,
        /// How many there may be.
        len_max: usize,
    },
}

/// Gives a type its form as bytes: type, name, bound.
macro_rules! travels {
    ($type:ty, $what:literal, $len_max:expr) => {
        impl $type {
            /// The bytes in which it travels.
            #[must_use]
            pub fn to_bytes(&self) -> Vec<u8> {
                encode(self)
            }

            /// Reads it from all of the bytes. Nothing of what it says is checked.
            ///
            /// # Errors
            /// [`BytesError`] when there are too many, or they have another form.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, BytesError> {
                decode($what, $len_max, bytes)
            }
        }
    };
}

travels!(Approval, "approval", APPROVAL_LEN_MAX);
travels!(Credential, "credential", CREDENTIAL_LEN_MAX);
travels!(Evidence, "evidence", EVIDENCE_LEN_MAX);
travels!(SignedOrder, "order", SIGNED_ORDER_LEN_MAX);

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("whatever travels has a fixed form")
}

fn decode<T: DeserializeOwned>(what: &'static str, len_max: usize, bytes: &[u8]) -> Result<T, BytesError> {
    // Before anything is allocated: no list in them is longer than they are.
    if bytes.len() > len_max {
        return Err(BytesError::TooLong { what, len: bytes.len(), len_max });
    }
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(BytesError::Form { what }),
    }
}

/// The most bytes of an evidence: the custody of 1,000 shares needs 50 each, certificates and statements below 8,000.
pub const EVIDENCE_LEN_MAX: usize = 64 * 1024;
/// Two digests and a purpose.
const APPROVAL_LEN_MAX: usize = 512;
/// What an RSA key of 2,048 bits encrypts, and two digests.
const CREDENTIAL_LEN_MAX: usize = 512;
/// The text, its signature and their lengths.
const SIGNED_ORDER_LEN_MAX: usize = ORDER_LEN_MAX + 128;

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use holdfast_types::{BoxName, Challenge};
    use proptest::prelude::*;

    use super::*;
    use crate::order::{Order, OrderText};
    use crate::{SigningKey, samples};

    fn approval() -> Approval {
        Approval::of_firmware(&SigningKey::from_bytes(&[1; 32]).unwrap(), [7; 32])
    }

    fn order() -> SignedOrder {
        let text = OrderText { to: BoxName([1; 32]), challenge: Challenge([2; 32]), order: Order::VouchDisk };
        SignedOrder::sign(&text, &SigningKey::from_bytes(&[1; 32]).unwrap())
    }

    fn credential() -> Credential {
        Credential { id_object: vec![1; 68], secret: vec![2; 256] }
    }

    fn holds<T: PartialEq + Debug>(value: &T, bytes: &[u8], read: fn(&[u8]) -> Result<T, BytesError>, len_max: usize) {
        assert!(bytes.len() <= len_max, "{} bytes", bytes.len());
        assert_eq!(read(bytes).as_ref(), Ok(value));
        for len in 0..bytes.len() {
            assert!(matches!(read(&bytes[..len]), Err(BytesError::Form { .. })), "accepted {len} bytes");
        }
        let longer = [bytes, &[0]].concat();
        assert!(matches!(read(&longer), Err(BytesError::Form { .. })), "accepted a byte behind the end");
        let flood = vec![0xff; len_max + 1];
        assert!(matches!(read(&flood), Err(BytesError::TooLong { .. })), "read more than the bound");
    }

    #[test]
    fn what_is_written_is_read_and_nothing_shorter_or_longer() {
        holds(&approval(), &approval().to_bytes(), Approval::from_bytes, APPROVAL_LEN_MAX);
        holds(&credential(), &credential().to_bytes(), Credential::from_bytes, CREDENTIAL_LEN_MAX);
        holds(&order(), &order().to_bytes(), SignedOrder::from_bytes, SIGNED_ORDER_LEN_MAX);
        let evidence = samples::evidence();
        holds(&evidence, &evidence.to_bytes(), Evidence::from_bytes, EVIDENCE_LEN_MAX);
    }

    #[test]
    fn the_longest_evidence_fits() {
        let len = samples::longest_evidence().to_bytes().len();
        assert!((50_000..EVIDENCE_LEN_MAX - 4_096).contains(&len), "{len} bytes");
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            if let Ok(evidence) = Evidence::from_bytes(&bytes) {
                prop_assert_eq!(Evidence::from_bytes(&evidence.to_bytes()), Ok(evidence));
            }
            let _ = (Approval::from_bytes(&bytes), Credential::from_bytes(&bytes), SignedOrder::from_bytes(&bytes));
        }
    }
}
