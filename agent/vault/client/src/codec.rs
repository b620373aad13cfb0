//! The bytes on the socket: a big-endian `u32` length, then one message in postcard.
//!
//! Both ways are bounded before anything is allocated. The functions are pure, so that any loop can drive them; they
//! hand out wiped buffers, because an identity key or a share may be in them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::message::{Request, Response};

/// The most attestations in one batch, and the most shares in one vault.
///
/// An epoch's duties of the largest cluster in the field, 1,000 validators, fit into one slot's batch even if a network
/// were to give all of them the same slot.
pub const BATCH_LEN_MAX: usize = 1_000;

/// The most bytes of one message.
///
/// A full batch of attestations needs at most 188 bytes for each of [`BATCH_LEN_MAX`] entries, its answer at most 240
/// (a refusal with its words); an import needs 81. What is longer is no message of ours.
pub const FRAME_LEN_MAX: usize = 256 * 1024;

/// The most validators in one page of a history: a validator's watermarks need at most 170 bytes.
pub const HISTORY_PAGE_LEN: usize = 1_000;

/// The most entries in one page of the log of orders.
pub const ORDER_LOG_PAGE_LEN: usize = 100;

/// The bytes of the length in front of a message.
pub const HEADER_LEN: usize = 4;

/// Why bytes are no message, or a message does not become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The frame announces more than the bound.
    #[error("a frame of {found} bytes, at most {FRAME_LEN_MAX} are allowed")]
    FrameTooLong {
        /// What it announces.
        found: usize,
    },
    /// The message to be sent does not fit into one frame.
    #[error("the message does not fit into {FRAME_LEN_MAX} bytes")]
    MessageTooLong,
    /// The message is whole, and bytes follow it.
    #[error("{extra} bytes follow the message")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
    /// The bytes are no message of this version and build.
    #[error("the bytes are no message of this version")]
    Undecodable,
}

/// The length of the message that follows a header.
///
/// # Errors
/// [`CodecError::FrameTooLong`] when it is over the bound.
pub fn frame_len(header: [u8; HEADER_LEN]) -> Result<usize, CodecError> {
    // A length that does not fit into usize is over the bound as well.
    let found = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
    if found > FRAME_LEN_MAX { Err(CodecError::FrameTooLong { found }) } else { Ok(found) }
}

/// A request with its header.
///
/// # Errors
/// [`CodecError::MessageTooLong`].
pub fn encode_request(request: &Request) -> Result<Zeroizing<Vec<u8>>, CodecError> {
    encode(request)
}

/// A response with its header.
///
/// # Errors
/// [`CodecError::MessageTooLong`].
pub fn encode_response(response: &Response) -> Result<Zeroizing<Vec<u8>>, CodecError> {
    encode(response)
}

/// Reads a request from a frame without its header.
///
/// # Errors
/// [`CodecError::Undecodable`] and [`CodecError::TrailingBytes`].
pub fn decode_request(message: &[u8]) -> Result<Request, CodecError> {
    decode(message)
}

/// Reads a response from a frame without its header.
///
/// # Errors
/// [`CodecError::Undecodable`] and [`CodecError::TrailingBytes`].
pub fn decode_response(message: &[u8]) -> Result<Response, CodecError> {
    decode(message)
}

fn encode<T: Serialize>(message: &T) -> Result<Zeroizing<Vec<u8>>, CodecError> {
    // One buffer of the full length: a vector that grows leaves copies of a key behind.
    let mut frame = Zeroizing::new(vec![0; HEADER_LEN + FRAME_LEN_MAX]);
    let len = postcard::to_slice(message, &mut frame[HEADER_LEN..]).map_err(|_| CodecError::MessageTooLong)?.len();
    let header = u32::try_from(len).expect("the bound of a frame fits into four bytes").to_be_bytes();
    frame[..HEADER_LEN].copy_from_slice(&header);
    frame.truncate(HEADER_LEN + len);
    Ok(frame)
}

fn decode<T: DeserializeOwned>(message: &[u8]) -> Result<T, CodecError> {
    match postcard::take_from_bytes(message) {
        Ok((decoded, [])) => Ok(decoded),
        Ok((_, rest)) => Err(CodecError::TrailingBytes { extra: rest.len() }),
        Err(_) => Err(CodecError::Undecodable),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_eth::{AttestationData, Checkpoint};
    use holdfast_types::{Epoch, PartialSignature, Root, Slot, ValidatorPublic};
    use proptest::prelude::*;

    use super::*;
    use crate::message::{AttestationRefusal, AttestationToSign, IdentityKey, SigningRefused};

    fn largest() -> AttestationToSign {
        let checkpoint = Checkpoint { epoch: Epoch(u64::MAX), root: Root([0xff; 32]) };
        AttestationToSign {
            validator: ValidatorPublic([0xff; 48]),
            data: AttestationData {
                slot: Slot(u64::MAX),
                index: u64::MAX,
                beacon_block_root: Root([0xff; 32]),
                source: checkpoint,
                target: checkpoint,
            },
        }
    }

    #[test]
    fn the_largest_batch_and_its_answers_fit() {
        let request = Request::SignAttestations(vec![largest(); BATCH_LEN_MAX]);
        let frame = encode_request(&request).unwrap();
        let Request::SignAttestations(batch) = decode_request(&frame[HEADER_LEN..]).unwrap() else {
            panic!("another request");
        };
        assert_eq!(batch, vec![largest(); BATCH_LEN_MAX]);

        let signed = Ok(PartialSignature([0xff; 96]));
        let refused = Err(SigningRefused::OutOfRange { slot: u64::MAX, target: u64::MAX, reason: "x".repeat(200) });
        for answer in [signed, refused] {
            assert!(encode_response(&Response::Attestations(vec![answer; BATCH_LEN_MAX])).is_ok());
        }
    }

    #[test]
    fn a_message_over_the_bound_is_not_sent() {
        let request = Request::SignAttestations(vec![largest(); 2 * BATCH_LEN_MAX]);
        assert_eq!(encode_request(&request).unwrap_err(), CodecError::MessageTooLong);
    }

    #[test]
    fn a_length_over_the_bound_is_refused_before_its_bytes() {
        assert_eq!(frame_len(262_144u32.to_be_bytes()), Ok(FRAME_LEN_MAX));
        assert_eq!(frame_len(262_145u32.to_be_bytes()), Err(CodecError::FrameTooLong { found: 262_145 }));
        assert!(frame_len([0xff; 4]).is_err());
    }

    #[test]
    fn bytes_after_a_message_are_refused() {
        let mut frame = encode_request(&Request::Status).unwrap();
        frame.push(0);
        let refused = decode_request(&frame[HEADER_LEN..]).unwrap_err();
        assert_eq!(refused, CodecError::TrailingBytes { extra: 1 });
    }

    #[test]
    fn only_the_listed_requests_decode() {
        let listed = if cfg!(feature = "danger_emulated_tpm") { 4 } else { 3 };
        for tag in listed..=300u32 {
            // A tag is a varint: seven bits to a byte.
            let mut message = if tag < 128 { vec![tag as u8] } else { vec![tag as u8 | 0x80, (tag >> 7) as u8] };
            message.extend([0; 200]);
            assert_eq!(decode_request(&message).unwrap_err(), CodecError::Undecodable, "request tag {tag}");
        }
    }

    #[test]
    fn refusals_and_keys_come_back_whole() {
        let refusal = AttestationRefusal::DoubleVote { target: Epoch(7), signed: Root([3; 32]) };
        let frame = encode_response(&Response::Attestations(vec![Err(refusal.into())])).unwrap();
        let Response::Attestations(answers) = decode_response(&frame[HEADER_LEN..]).unwrap() else {
            panic!("another response");
        };
        assert_eq!(answers, vec![Err(SigningRefused::Slashable(refusal))]);

        let frame = encode_response(&Response::IdentityKey(IdentityKey([9; 32]))).unwrap();
        let Response::IdentityKey(key) = decode_response(&frame[HEADER_LEN..]).unwrap() else {
            panic!("another response");
        };
        assert_eq!(key.0, [9; 32]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoders_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(request) = decode_request(&bytes) {
                prop_assert!(encode_request(&request).is_ok());
            }
            if let Ok(response) = decode_response(&bytes) {
                prop_assert!(encode_response(&response).is_ok());
            }
        }
    }
}
