//! The bytes on the socket: a big-endian `u16` length, then one message in postcard, bounded before anything is read.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes of the length in front of a message.
pub const HEADER_LEN: usize = 2;

/// The most bytes of a message: the longest answer of today needs seven.
pub const MESSAGE_LEN_MAX: usize = 64;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The length is over the bound.
    #[error("a message of {found} bytes, at most {MESSAGE_LEN_MAX} are allowed")]
    TooLong {
        /// What the header says.
        found: usize,
    },
    /// They are no message of this version, or others follow it.
    #[error("the bytes are no message of this version")]
    Undecodable,
}

/// The length of the message that follows a header.
///
/// # Errors
/// [`CodecError::TooLong`].
pub fn message_len(header: [u8; HEADER_LEN]) -> Result<usize, CodecError> {
    let found = usize::from(u16::from_be_bytes(header));
    if found > MESSAGE_LEN_MAX { Err(CodecError::TooLong { found }) } else { Ok(found) }
}

/// A message with its header.
///
/// # Panics
/// When a kind of message does not fit into the bound, which a test tries for every one.
#[must_use]
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut buffer = [0; MESSAGE_LEN_MAX];
    let message = postcard::to_slice(message, &mut buffer).expect("every message fits into the bound");
    let len = u16::try_from(message.len()).expect("the bound fits into two bytes");
    [&len.to_be_bytes()[..], message].concat()
}

/// Reads a message from its bytes without the header.
///
/// # Errors
/// [`CodecError::Undecodable`].
pub fn decode<T: DeserializeOwned>(message: &[u8]) -> Result<T, CodecError> {
    match postcard::take_from_bytes(message) {
        Ok((decoded, [])) => Ok(decoded),
        Ok(_) | Err(_) => Err(CodecError::Undecodable),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Refusal, Request, Response};

    #[test]
    fn every_message_fits_and_comes_back() {
        for request in Request::ALL {
            let bytes = encode(&request);
            assert_eq!(message_len([bytes[0], bytes[1]]), Ok(bytes.len() - HEADER_LEN));
            assert_eq!(decode::<Request>(&bytes[HEADER_LEN..]), Ok(request));
        }
        let refusals = [
            Refusal::Failed { errno: i32::MIN },
            Refusal::NoServiceManager,
            Refusal::TooMany { wait_ms: u32::MAX },
            Refusal::Unknown,
        ];
        for response in refusals.map(Response::Refused).into_iter().chain([Response::Done]) {
            assert_eq!(decode::<Response>(&encode(&response)[HEADER_LEN..]), Ok(response));
        }
    }

    #[test]
    fn only_the_listed_requests_exist() {
        let known: Vec<u8> = (0..=u8::MAX).filter(|kind| decode::<Request>(&[*kind]).is_ok()).collect();
        assert_eq!(known, [0, 1]);
        assert_eq!(decode::<Request>(&[1, 0]), Err(CodecError::Undecodable), "a byte more is another message");
        assert_eq!(decode::<Request>(&[]), Err(CodecError::Undecodable));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(header: [u8; HEADER_LEN], bytes: Vec<u8>) {
            let bounded = message_len(header).is_ok_and(|len| len <= MESSAGE_LEN_MAX);
            prop_assert_eq!(bounded, usize::from(u16::from_be_bytes(header)) <= MESSAGE_LEN_MAX);
            let _ = (decode::<Request>(&bytes), decode::<Response>(&bytes));
        }
    }
}
