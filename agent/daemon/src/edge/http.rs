//! The loopback listener: `/livez`, `/readyz`, `/metrics`, and the read-only part of the API.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use holdfast_api::{DutyList, DutyQuery, Status};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::board::{Board, readiness};
use crate::metrics::{CONTENT_TYPE, Metrics};

/// Why the listener cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for health and metrics: is another daemon running, or the port taken")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub err: io::Error,
}

/// What is served; dropping it ends it.
#[derive(Debug)]
pub struct Listener {
    /// Where it was told to listen.
    pub configured: SocketAddr,
    /// Where it listens, a port of 0 resolved.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts to serve.
///
/// # Errors
/// When the address is taken.
pub async fn start(address: SocketAddr, board: Arc<Board>, metrics: Arc<Metrics>) -> Result<Listener, ListenError> {
    let listener = TcpListener::bind(address).await.map_err(|err| ListenError { address, err })?;
    let bound = listener.local_addr().map_err(|err| ListenError { address, err })?;
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(text_metrics))
        .route("/v1/status", get(status))
        .route("/v1/duties", get(duties))
        .with_state(Shared { board, metrics });
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the health listener ended");
        }
    });
    Ok(Listener { configured: address, address: bound, task })
}

#[derive(Clone)]
struct Shared {
    board: Arc<Board>,
    metrics: Arc<Metrics>,
}

/// 200 while the node does its duties, 503 with the reason otherwise.
async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    let (ready, text) = readiness(&shared.board.status());
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

async fn text_metrics(State(shared): State<Shared>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], shared.metrics.text())
}

async fn status(State(shared): State<Shared>) -> Json<Status> {
    Json(shared.board.status())
}

#[derive(Debug, Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn duties(State(shared): State<Shared>, Query(query): Query<After>) -> Json<DutyList> {
    Json(shared.board.duties(&DutyQuery { after: query.after, ..DutyQuery::default() }, usize::MAX))
}
