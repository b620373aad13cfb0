//! Reading one frame of a stream (section 2.1), never more than is allowed.

use std::io;
use std::sync::Arc;

use futures::{AsyncRead, AsyncReadExt as _};
use holdfast_wire::frame::{FrameError, LengthDecoder};
use holdfast_wire::protocol::Protocol;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A message with the part of its peer's budget that it takes up while it is held.
#[derive(Debug)]
pub(super) struct Received {
    /// The message, without its length.
    pub(super) message: Vec<u8>,
    /// Given back when the message is let go.
    pub(super) budget: OwnedSemaphorePermit,
}

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The length is malformed or too large, or the stream ended early.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream or its connection broke.
    #[error("cannot read the stream")]
    Io(#[source] io::Error),
}

/// Reads one frame.
///
/// The length is checked against the protocol's limit and taken from `budget` before anything is allocated; when other
/// frames of the peer use up the budget this waits for them. Memory grows only as bytes arrive, so a length that is
/// merely announced costs none.
pub(super) async fn read<S>(stream: &mut S, protocol: Protocol, budget: &Arc<Semaphore>) -> Result<Received, ReadError>
where
    S: AsyncRead + Unpin,
{
    let len = read_length(stream, protocol).await?;
    let permits = u32::try_from(len).expect("every protocol's limit is far below 4 GiB");
    let budget = budget.clone().acquire_many_owned(permits).await.expect("budgets are never closed");
    let mut message = Vec::new();
    while message.len() < len {
        let start = message.len();
        let chunk = (len - start).min(start.max(FIRST_CHUNK_LEN));
        message.reserve_exact(chunk);
        message.resize(start + chunk, 0);
        read_exact(stream, &mut message[start..]).await?;
    }
    Ok(Received { message, budget })
}

async fn read_length<S: AsyncRead + Unpin>(stream: &mut S, protocol: Protocol) -> Result<usize, ReadError> {
    let mut decoder = LengthDecoder::new(protocol);
    loop {
        let mut byte = [0];
        read_exact(stream, &mut byte).await?;
        if let Some(len) = decoder.push(byte[0])? {
            return Ok(len);
        }
    }
}

async fn read_exact<S: AsyncRead + Unpin>(stream: &mut S, into: &mut [u8]) -> Result<(), ReadError> {
    stream.read_exact(into).await.map_err(|err| match err.kind() {
        io::ErrorKind::UnexpectedEof => ReadError::Frame(FrameError::Truncated),
        _ => ReadError::Io(err),
    })
}

/// Most messages are smaller; the buffer of a larger one doubles as it fills.
const FIRST_CHUNK_LEN: usize = 4096;

#[cfg(test)]
mod tests {
    use holdfast_wire::frame::encode;

    use super::*;

    async fn read_all(bytes: &[u8]) -> Result<Vec<u8>, ReadError> {
        let budget = Arc::new(Semaphore::new(1 << 20));
        read(&mut &*bytes, Protocol::Qbft, &budget).await.map(|received| received.message)
    }

    #[tokio::test]
    async fn frames_of_every_size_are_read_whole() {
        for len in [0, 1, 127, 128, 4095, 4096, 4097, 16_384, 300_000] {
            let message: Vec<u8> = (0..len).map(|index| index as u8).collect();
            assert_eq!(read_all(&encode(&message)).await.unwrap(), message);
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_frame_is_named() {
        let error = async |bytes: &[u8]| match read_all(bytes).await {
            Err(ReadError::Frame(error)) => error,
            other => panic!("{bytes:x?} gave {other:?}"),
        };
        let quintillion = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];
        assert_eq!(error(&quintillion).await, FrameError::TooLong { len: 1 << 60, max: 32 << 20 });
        assert_eq!(error(&[0x83, 0x00, 1, 2, 3]).await, FrameError::NotMinimal);
        assert_eq!(error(&[0xff; 12]).await, FrameError::LengthTooLong);
        for truncated in [&[][..], &[0x80], &[5, 1, 2]] {
            assert_eq!(error(truncated).await, FrameError::Truncated);
        }
    }

    #[tokio::test]
    async fn a_frame_waits_for_its_peers_budget_and_gives_it_back() {
        let budget = Arc::new(Semaphore::new(10));
        let bytes = encode(&[7; 6]);
        let first = read(&mut &*bytes, Protocol::Qbft, &budget).await.unwrap();
        assert_eq!(budget.available_permits(), 4);
        let mut source = &*bytes;
        let second = read(&mut source, Protocol::Qbft, &budget);
        futures::pin_mut!(second);
        assert!(futures::poll!(second.as_mut()).is_pending(), "only 4 bytes of the budget are left");
        drop(first.budget);
        assert_eq!(second.await.unwrap().message, [7; 6]);
        assert_eq!(budget.available_permits(), 10);
    }
}
