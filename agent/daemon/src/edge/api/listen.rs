//! Accepting connections: from the first byte over the handshake to HTTP/1.1.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::Either;
use holdfast_provisioning::certificate::parse_client;
use holdfast_provisioning::tls::binding;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::Api;
use super::answer::Body;
use super::connection::{Connection, Phase, Watched};
use super::hall::{Stage, Ticket};
use super::limits::{HEADER_LEN_MAX, HEADERS_MAX};
use super::metrics;
use super::serve::serve;

/// What is behind an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Api,
    Metrics,
}

/// Accepts until it is aborted, and ends its connections with it.
pub(super) async fn accept(api: Arc<Api>, listener: TcpListener, door: Door) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let ticket = api.hall.enter(address);
                    connections.spawn(attend(Arc::clone(&api), stream, address, ticket, door));
                }
                Err(error) => {
                    // Mostly that there are no more file descriptors: those that end give some back.
                    tracing::warn!(%error, "the API cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn attend(api: Arc<Api>, stream: TcpStream, address: SocketAddr, ticket: Ticket, door: Door) {
    let opened = tokio::select! {
        opened = open(&api, stream, address, &ticket) => opened,
        () = ticket.taken() => return,
    };
    let Some(opened) = opened else { return };
    let Opened { stream, certificate, binding } = opened;
    let connection = Arc::new(Connection::new(address, certificate, binding, ticket));
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&connection.pulse)));
    let service = service_fn({
        let (api, connection) = (Arc::clone(&api), Arc::clone(&connection));
        move |request| {
            connection.pulse.enter(Phase::Answering);
            let pulse = Arc::clone(&connection.pulse);
            let served = served(Arc::clone(&api), Arc::clone(&connection), request, door);
            async move {
                served.await.map(|(response, phase)| {
                    pulse.enter(phase);
                    response
                })
            }
        }
    });
    let mut http = http1::Builder::new();
    // The watch over the connection knows an idle client from a slow one, which this does not.
    http.header_read_timeout(None).max_headers(HEADERS_MAX).max_buf_size(HEADER_LEN_MAX);
    let mut served = http.serve_connection(io, service);
    tokio::select! {
        served = &mut served => {
            if let Err(error) = served {
                tracing::debug!(%address, %error, "a connection of the API ended");
            }
        }
        () = connection.overdue(&api.limits) => tracing::debug!(%address, "a connection of the API was overdue"),
        () = connection.ticket.taken() => tracing::debug!(%address, "a connection of the API made room for others"),
    }
    if connection.pulse.is_stuck() {
        served.into_parts().io.into_inner().reset();
    }
}

/// What changes something begins at once, and goes on to its end and into the audit log also when the asker hangs up.
fn served(
    api: Arc<Api>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
    door: Door,
) -> impl Future<Output = Result<(Response<Body>, Phase), JoinError>> {
    let changes = door == Door::Api && request.method() != Method::GET;
    let serving = async move {
        match door {
            Door::Api => serve(&api, &connection, request).await,
            Door::Metrics => metrics::serve(&api, &connection, request).await,
        }
    };
    if changes { Either::Left(tokio::spawn(serving)) } else { Either::Right(serving.map(Ok)) }
}

struct Opened {
    stream: tokio_rustls::server::TlsStream<TcpStream>,
    certificate: Option<rustls::pki_types::CertificateDer<'static>>,
    binding: holdfast_provisioning::pake::Binding,
}

async fn open(api: &Api, stream: TcpStream, address: SocketAddr, ticket: &Ticket) -> Option<Opened> {
    // Small answers are not held back.
    let _ = stream.set_nodelay(true);
    let mut first = [0];
    match tokio::time::timeout(api.limits.handshake, stream.peek(&mut first)).await {
        Ok(Ok(1..)) => {}
        _ => return None,
    }
    ticket.advance(Stage::Handshaking, None);
    let acceptor = TlsAcceptor::from(api.tls.config());
    let stream = match tokio::time::timeout(api.limits.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "a handshake with the API failed");
            return None;
        }
        Err(_) => return None,
    };
    let (_, tls) = stream.get_ref();
    let certificate = tls.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.clone().into_owned());
    let binding = binding(tls).ok()?;
    let serial = certificate.as_deref().and_then(|leaf| parse_client(leaf).ok()).map(|client| client.serial);
    match serial {
        Some(serial) => ticket.advance(Stage::Client, Some(&serial)),
        None => ticket.advance(Stage::Stranger, None),
    }
    Some(Opened { stream, certificate, binding })
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
