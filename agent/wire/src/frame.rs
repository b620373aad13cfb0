//! Frames: a length as a varint, then that many bytes (`cluster-wire.md` sections 2.1 and 2.2).
//!
//! The length is checked before anything is allocated for the frame.

use crate::protocol::Protocol;

/// A frame that is refused by its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than the protocol allows.
    #[error("frame of {len} bytes is longer than the limit of {max}")]
    TooLong {
        /// The length it announces.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// A length with needless bytes.
    #[error("length of the frame is not written in its shortest form")]
    NotMinimal,
    /// A length of more than 63 bits.
    #[error("length of the frame takes more than {LENGTH_LEN_MAX} bytes")]
    LengthTooLong,
    /// The stream ended early.
    #[error("stream ended inside the frame")]
    Truncated,
}

/// Reads the length of a frame byte by byte, as they come from a stream.
#[derive(Clone, Copy, Debug)]
pub struct LengthDecoder {
    max: usize,
    value: u64,
    bytes: u32,
}

impl LengthDecoder {
    /// A decoder for the frames of one protocol.
    #[must_use]
    pub const fn new(protocol: Protocol) -> Self {
        Self { max: protocol.frame_len_max(), value: 0, bytes: 0 }
    }

    /// Takes the next byte. `Some` is the length of the frame, in bytes, and within the protocol's limit; after it the
    /// decoder is done with.
    ///
    /// # Errors
    ///
    /// [`FrameError`] when the length is malformed or too large; nothing more of the stream should be read.
    pub fn push(&mut self, byte: u8) -> Result<Option<usize>, FrameError> {
        if self.bytes == LENGTH_LEN_MAX {
            return Err(FrameError::LengthTooLong);
        }
        self.value |= u64::from(byte & 0x7f) << (7 * self.bytes);
        self.bytes += 1;
        if byte & 0x80 != 0 {
            return if self.bytes == LENGTH_LEN_MAX { Err(FrameError::LengthTooLong) } else { Ok(None) };
        }
        if byte == 0 && self.bytes > 1 {
            return Err(FrameError::NotMinimal);
        }
        match usize::try_from(self.value) {
            Ok(len) if len <= self.max => Ok(Some(len)),
            _ => Err(FrameError::TooLong { len: self.value, max: self.max }),
        }
    }
}

/// Puts the length before a message.
#[must_use]
pub fn encode(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(message.len() + 10);
    prost::encode_length_delimiter(message.len(), &mut frame).expect("a vector grows as needed");
    frame.extend_from_slice(message);
    frame
}

/// The message of a frame that is wholly in memory. Bytes after it are ignored, as on a stream.
///
/// # Errors
///
/// [`FrameError`] when there is no whole frame within the protocol's limit.
pub fn split(protocol: Protocol, frame: &[u8]) -> Result<&[u8], FrameError> {
    let mut decoder = LengthDecoder::new(protocol);
    for (at, &byte) in frame.iter().enumerate() {
        if let Some(len) = decoder.push(byte)? {
            return frame[at + 1..].get(..len).ok_or(FrameError::Truncated);
        }
    }
    Err(FrameError::Truncated)
}

const LENGTH_LEN_MAX: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn length(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let mut decoder = LengthDecoder::new(Protocol::Qbft);
        let mut last = Ok(None);
        for &byte in bytes {
            last = decoder.push(byte);
            if last != Ok(None) {
                break;
            }
        }
        last
    }

    #[test]
    fn lengths_are_minimal_short_and_bounded() {
        assert_eq!(length(&[0]), Ok(Some(0)));
        assert_eq!(length(&[0xa4, 0x04]), Ok(Some(548)));
        assert_eq!(length(&[0x80]), Ok(None));
        assert_eq!(length(&[0x83, 0x00]), Err(FrameError::NotMinimal));
        assert_eq!(length(&[0x80, 0x80, 0x80, 0x10]), Ok(Some(32 << 20)));
        assert_eq!(length(&[0x81, 0x80, 0x80, 0x10]), Err(FrameError::TooLong { len: (32 << 20) + 1, max: 32 << 20 }));
        assert_eq!(length(&[0xff; 20]), Err(FrameError::LengthTooLong));
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(length(&largest), Err(FrameError::TooLong { len: u64::MAX >> 1, max: 32 << 20 }));
    }

    #[test]
    fn a_frame_gives_back_its_message() {
        for len in [0, 1, 127, 128, 20_000] {
            let message = vec![7; len];
            let mut frame = encode(&message);
            assert_eq!(split(Protocol::Qbft, &frame), Ok(&message[..]));
            frame.push(1);
            assert_eq!(split(Protocol::Qbft, &frame), Ok(&message[..]), "what follows is ignored");
            if len > 0 {
                assert_eq!(split(Protocol::Qbft, &frame[..frame.len() - 2]), Err(FrameError::Truncated));
            }
        }
        assert_eq!(split(Protocol::Qbft, &[]), Err(FrameError::Truncated));
    }
}
