//! What a peer can do wrong on a stream. Each is the peer's doing, costs it nothing but the stream, and is told.

use std::time::Duration;

use holdfast_types::DutyId;
use holdfast_wire::NotProtobuf;
use holdfast_wire::frame::FrameError;
use holdfast_wire::parsigex::PartialsRejected;
use holdfast_wire::protocol::Protocol;
use holdfast_wire::qbft::ConsensusRejected;

/// A fault of a peer. The text continues "peer …".
#[derive(Debug, thiserror::Error)]
pub enum PeerFault {
    /// A consensus message that does not hold.
    #[error("sent a consensus message that is refused")]
    Consensus(#[source] ConsensusRejected),
    /// A duty beyond the gate of section 5.2.
    #[error("spoke on {} of duty {duty}, which is more than two epochs ahead", protocol.id())]
    FarFuture {
        /// Where.
        protocol: Protocol,
        /// Of which.
        duty: DutyId,
    },
    /// A frame that is too long, malformed or cut off.
    #[error("sent a wrong frame on {}", protocol.id())]
    Frame {
        /// Where.
        protocol: Protocol,
        /// What is wrong with it.
        #[source]
        err: FrameError,
    },
    /// A stream on which no whole frame came in time.
    #[error("opened a stream for {} and sent no whole frame within {limit:?}", protocol.id())]
    Idle {
        /// Where.
        protocol: Protocol,
        /// How long we waited.
        limit: Duration,
    },
    /// A set of partial signatures that does not hold.
    #[error("sent partial signatures that are refused")]
    Partials(#[source] PartialsRejected),
    /// A peerinfo request or answer that does not decode.
    #[error("sent a peerinfo message that is refused")]
    PeerInfo(#[source] NotProtobuf),
    /// More streams at once than a peer may have.
    #[error("opened one more stream than the {max} it may have, for {}", protocol.id())]
    TooManyStreams {
        /// Where.
        protocol: Protocol,
        /// How many it may have.
        max: usize,
    },
}

impl PeerFault {
    /// The protocol on which it happened.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Consensus(_) => Protocol::Qbft,
            Self::Partials(_) => Protocol::ParSigEx,
            Self::PeerInfo(_) => Protocol::PeerInfo,
            Self::FarFuture { protocol, .. }
            | Self::Frame { protocol, .. }
            | Self::Idle { protocol, .. }
            | Self::TooManyStreams { protocol, .. } => *protocol,
        }
    }
}
