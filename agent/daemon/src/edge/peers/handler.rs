//! One connection's side of the stream behaviour: negotiates names, nothing else.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::PeerId;
use libp2p::core::upgrade::{InboundUpgrade, ReadyUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol,
};
use tokio::sync::oneshot;

use super::behaviour::{Accept, Open, OpenError};

/// The handler of one connection.
pub(crate) struct Handler {
    peer: PeerId,
    served: Arc<[StreamProtocol]>,
    accept: Arc<dyn Accept>,
    /// Bounded by the askers: each of them has a fixed number of streams under way.
    pending: VecDeque<Open>,
}

impl Handler {
    /// A handler for a connection to `peer`.
    pub(crate) fn new(peer: PeerId, served: Arc<[StreamProtocol]>, accept: Arc<dyn Accept>) -> Self {
        Self { peer, served, accept, pending: VecDeque::new() }
    }
}

/// An inbound upgrade that agrees on one of several names and leaves the stream as it is.
#[derive(Clone)]
pub(crate) struct Names(Vec<StreamProtocol>);

impl UpgradeInfo for Names {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Names {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Infallible;
    type InboundProtocol = Names;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = oneshot::Sender<Result<Stream, OpenError>>;

    fn listen_protocol(&self) -> SubstreamProtocol<Names> {
        SubstreamProtocol::new(Names(self.served.to_vec()), ()).with_timeout(NEGOTIATION_LIMIT)
    }

    /// The cluster's connections stay, however little is said on them.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Infallible>> {
        // The swarm polls again after each event of the behaviour, so nothing needs to be woken here.
        match self.pending.pop_front() {
            Some(open) => Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(ReadyUpgrade::new(open.protocol), open.reply)
                    .with_timeout(NEGOTIATION_LIMIT),
            }),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, open: Open) {
        self.pending.push_back(open);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Names, Self::OutboundProtocol, (), Self::OutboundOpenInfo>,
    ) {
        // Whoever asked for a stream may have given up: then the answer goes nowhere and the stream is reset.
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (stream, name), .. }) => {
                self.accept.accept(self.peer, name, stream);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info: reply }) => {
                let _ = reply.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: reply, error }) => {
                let _ = reply.send(Err(match error {
                    StreamUpgradeError::NegotiationFailed => OpenError::Refused,
                    StreamUpgradeError::Timeout => OpenError::TimedOut,
                    StreamUpgradeError::Io(_) => OpenError::Lost,
                    StreamUpgradeError::Apply(never) => match never {},
                }));
            }
            _ => {}
        }
    }
}

/// Time to agree on a protocol (`cluster-wire.md` section 2.2).
const NEGOTIATION_LIMIT: Duration = Duration::from_secs(10);
