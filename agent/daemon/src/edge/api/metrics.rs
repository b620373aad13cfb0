//! Metrics and liveness on an address of their own, for monitors elsewhere in the network: over the API's TLS, with its
//! judgement of certificates and within its bounds. A reader's certificate is enough. The rest of the API is not here.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use holdfast_api::{ProblemId, Role};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

use super::Api;
use super::answer::{Body, Fail, text};
use super::connection::{Connection, Phase};
use super::serve::{Caller, admit, judge, take_turn};
use crate::board::readiness;
use crate::metrics::CONTENT_TYPE;

/// Answers one request. Its body is not read.
pub(super) async fn serve(
    api: &Arc<Api>,
    connection: &Connection,
    request: Request<Incoming>,
) -> (Response<Body>, Phase) {
    let number = api.requests.fetch_add(1, Ordering::Relaxed);
    let id = format!("{:08x}-{number}", api.started);
    let response = match answer(api, connection, &request) {
        Ok((status, kind, words)) => text(status, kind, words, &id),
        Err(fail) => fail.into_response(&id),
    };
    (response, Phase::Waiting)
}

fn answer(
    api: &Api,
    connection: &Connection,
    request: &Request<Incoming>,
) -> Result<(StatusCode, &'static str, String), Fail> {
    let judged = judge(api, connection);
    take_turn(api, connection, judged.as_ref().ok().and_then(Option::as_ref))?;
    admit(api, Some(Role::Reader), connection.certificate.as_deref(), judged, &mut Caller::default())?;
    let (status, kind, words) = match request.uri().path() {
        "/livez" => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
        "/readyz" => {
            let (ready, words) = readiness(&api.host.seen().status());
            (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, PLAIN, words)
        }
        "/metrics" => (StatusCode::OK, CONTENT_TYPE, api.host.metrics()),
        _ => return Err(Fail::new(ProblemId::NotFound, "here are /livez, /readyz and /metrics, and nothing else")),
    };
    if request.method() != Method::GET {
        let detail = "this resource has the method GET and no other";
        return Err(Fail { allow: Some("GET".to_owned()), ..Fail::new(ProblemId::MethodNotAllowed, detail) });
    }
    Ok((status, kind, words))
}

const PLAIN: &str = "text/plain; charset=utf-8";
