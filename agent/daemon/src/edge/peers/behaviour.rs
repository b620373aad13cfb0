//! The stream behaviour: opens a stream to a peer on the best of its connections and hands inbound streams on.
//!
//! It knows connections and names of protocols. What is said on a stream is not its business, and it holds no queue: a
//! request for a stream goes straight to a connection, or is answered with a failure.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, Stream, StreamProtocol, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use super::handler::Handler;

/// Takes the inbound streams. Called on the task of the connection, so it must not block.
pub(crate) trait Accept: Send + Sync + 'static {
    /// Takes one stream, on which the peer opened `protocol`.
    fn accept(&self, peer: PeerId, protocol: StreamProtocol, stream: Stream);
}

/// The wish for a stream to a peer.
#[derive(Debug)]
pub(crate) struct Open {
    /// To whom.
    pub(crate) peer: PeerId,
    /// For what.
    pub(crate) protocol: StreamProtocol,
    /// Where the stream goes. Dropped without an answer when the connection breaks meanwhile.
    pub(crate) reply: oneshot::Sender<Result<Stream, OpenError>>,
}

/// Why there is no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// The connection broke while the stream was being opened.
    #[error("the connection broke while a stream was being opened")]
    Lost,
    /// There is no connection.
    #[error("the peer is not connected")]
    NotConnected,
    /// The peer does not serve the protocol.
    #[error("the peer does not serve the protocol")]
    Refused,
    /// The peer did not answer in time.
    #[error("the peer did not answer the opening of a stream in time")]
    TimedOut,
}

/// See the head of this file.
pub(crate) struct Behaviour {
    served: Arc<[StreamProtocol]>,
    accept: Arc<dyn Accept>,
    opens: mpsc::Receiver<Open>,
    /// Only connections that are fit for use, oldest first. Bounded by the connection limits.
    connections: BTreeMap<PeerId, Vec<Connection>>,
}

#[derive(Clone, Copy)]
struct Connection {
    id: ConnectionId,
    relayed: bool,
}

impl Behaviour {
    /// Serves `served`, gives their streams to `accept`, and opens streams as `opens` asks for them.
    pub(crate) fn new(served: Vec<StreamProtocol>, accept: Arc<dyn Accept>, opens: mpsc::Receiver<Open>) -> Self {
        Self { served: served.into(), accept, opens, connections: BTreeMap::new() }
    }

    /// Whether the peer has a connection that is fit for use.
    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connections.contains_key(peer)
    }

    /// Uses a connection no more: it is closed, or it no longer answers.
    pub(crate) fn forget(&mut self, peer: &PeerId, id: ConnectionId) {
        if let Some(connections) = self.connections.get_mut(peer) {
            connections.retain(|connection| connection.id != id);
            if connections.is_empty() {
                self.connections.remove(peer);
            }
        }
    }

    /// A direct connection before a relayed one, then the youngest: an older one may be dead without our knowing.
    fn best(&self, peer: &PeerId) -> Option<ConnectionId> {
        let connections = self.connections.get(peer)?;
        connections.iter().rfind(|connection| !connection.relayed).or_else(|| connections.last()).map(|best| best.id)
    }

    fn handler(&self, peer: PeerId) -> Handler {
        Handler::new(peer, self.served.clone(), self.accept.clone())
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, endpoint, .. }) => {
                let connection = Connection { id: connection_id, relayed: endpoint.is_relayed() };
                self.connections.entry(peer_id).or_default().push(connection);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                self.forget(&peer_id, connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while let Poll::Ready(Some(open)) = self.opens.poll_recv(cx) {
            let Some(connection) = self.best(&open.peer) else {
                // The asker may have given up, which needs no answer.
                let _ = open.reply.send(Err(OpenError::NotConnected));
                continue;
            };
            return Poll::Ready(ToSwarm::NotifyHandler {
                peer_id: open.peer,
                handler: NotifyHandler::One(connection),
                event: open,
            });
        }
        Poll::Pending
    }
}
