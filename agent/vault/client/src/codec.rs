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

/// The most bytes of one message: 393,216. What is longer is no message of ours.
///
/// For each of 1,000 entries an attestation needs at most 188 bytes, an object root 92, a share in an import 81 (its key
/// 49, encrypted 32), a validator's watermarks 149 (in an order as in a page), a partial signature 98 and a refusal
/// [`REFUSAL_LEN_MAX`]. So the longest is an answer that refuses a whole batch, with 380,000 bytes; what surrounds the
/// entries takes less than 1,000.
pub const FRAME_LEN_MAX: usize = 384 * 1024;

/// The most bytes of one refused signature, words included.
pub const REFUSAL_LEN_MAX: usize = 380;

/// The most validators in one page of a history, and in one import of one.
pub const HISTORY_PAGE_LEN: usize = 1_000;

/// The most entries in one page of the log of orders: each may need 3,900 bytes, and its words are a few hundred.
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
mod tests;
