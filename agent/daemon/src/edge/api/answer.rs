//! What goes back: JSON, a problem, or events as they happen; and the text of metrics. Nothing else leaves this API.

use std::convert::Infallible;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use holdfast_api::{Problem, ProblemId};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::folder::FolderError;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An answer, as its route made it.
pub(super) enum Answer {
    /// All of it.
    Whole(Whole),
    /// Events, as long as there is a reader.
    Events(BoxStream<'static, Bytes>),
}

/// An answer that is kept for whoever asks again with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) status: StatusCode,
    pub(super) json: Bytes,
    pub(super) etag: Option<String>,
    /// A name to save it under.
    pub(super) file: Option<&'static str>,
}

/// Why a request is not answered as it was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fail {
    pub(super) id: ProblemId,
    pub(super) detail: String,
    /// When to ask again.
    pub(super) retry_after: Option<Duration>,
    /// The methods that the resource has.
    pub(super) allow: Option<String>,
}

impl Answer {
    /// JSON with this status.
    pub(super) fn with(status: StatusCode, value: &impl Serialize) -> Result<Self, Fail> {
        let json = serde_json::to_vec(value).map_err(|error| Fail::internal(&error))?;
        Ok(Self::Whole(Whole { status, json: json.into(), etag: None, file: None }))
    }

    /// JSON.
    pub(super) fn json(value: &impl Serialize) -> Result<Self, Fail> {
        Self::with(StatusCode::OK, value)
    }

    /// It was done, and there is nothing to tell.
    pub(super) fn done() -> Self {
        Self::Whole(Whole { status: StatusCode::NO_CONTENT, json: Bytes::new(), etag: None, file: None })
    }

    /// What is JSON already.
    pub(super) fn raw(json: impl Into<Bytes>) -> Self {
        Self::Whole(Whole { status: StatusCode::OK, json: json.into(), etag: None, file: None })
    }

    /// With the tag of what it shows.
    pub(super) fn tagged(mut self, etag: &str) -> Self {
        if let Self::Whole(whole) = &mut self {
            whole.etag = Some(etag.to_owned());
        }
        self
    }

    /// To be saved under this name.
    pub(super) fn named(mut self, file: &'static str) -> Self {
        if let Self::Whole(whole) = &mut self {
            whole.file = Some(file);
        }
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Whole(whole) => whole.status,
            Self::Events(_) => StatusCode::OK,
        }
    }

    pub(super) fn into_response(self, request_id: &str) -> Response<Body> {
        match self {
            Self::Whole(whole) => {
                let mut response = response(whole.status, "application/json", full(whole.json), request_id);
                if whole.status == StatusCode::NO_CONTENT {
                    response.headers_mut().remove(header::CONTENT_TYPE);
                }
                if let Some(etag) = whole.etag.and_then(|etag| HeaderValue::from_str(&etag).ok()) {
                    response.headers_mut().insert(header::ETAG, etag);
                }
                if let Some(file) = whole.file {
                    let value = format!("attachment; filename=\"{file}\"");
                    let value = HeaderValue::from_str(&value).expect("names of files are ours");
                    response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
                }
                response
            }
            Self::Events(events) => {
                let body = StreamBody::new(frames(events)).boxed_unsync();
                response(StatusCode::OK, "text/event-stream", body, request_id)
            }
        }
    }
}

impl Fail {
    pub(super) fn new(id: ProblemId, detail: impl Into<String>) -> Self {
        Self { id, detail: detail.into(), retry_after: None, allow: None }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ProblemId::BadRequest, detail)
    }

    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(ProblemId::Conflict, detail)
    }

    pub(super) fn too_many(what: &str, wait: Duration) -> Self {
        let seconds = wait.as_secs() + 1;
        let detail = format!("too many {what}: ask again in {seconds} s");
        Self { retry_after: Some(wait), ..Self::new(ProblemId::TooManyRequests, detail) }
    }

    /// Ours, not the asker's. What it was is for the log alone.
    pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = chain(error), "a request of the API failed by our own fault");
        Self::new(ProblemId::Internal, "the box made a mistake, which its log has under this request's id")
    }

    pub(super) fn into_response(self, request_id: &str) -> Response<Body> {
        let problem = Problem::new(self.id, self.detail, request_id);
        let json = serde_json::to_vec(&problem).expect("a problem has a form in JSON");
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = response(status, "application/problem+json", full(json.into()), request_id);
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        if self.id == ProblemId::CertificateRevoked {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::from_str(&allow).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        response
    }
}

impl From<FolderError> for Fail {
    fn from(error: FolderError) -> Self {
        tracing::error!(error = chain(&error), "the API cannot keep or read what it is asked for");
        // Its text names a file and the remedy.
        Self::new(ProblemId::Internal, error.to_string())
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text.push_str(": ");
        text.push_str(&deeper.to_string());
        cause = deeper.source();
    }
    text
}

fn frames(events: impl Stream<Item = Bytes> + Send) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    events.map(|bytes| Ok(Frame::data(bytes)))
}

/// Words of another type than JSON.
pub(super) fn text(status: StatusCode, kind: &'static str, words: String, request_id: &str) -> Response<Body> {
    response(status, kind, full(words.into()), request_id)
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).boxed_unsync()
}

fn response(status: StatusCode, kind: &'static str, body: Body, request_id: &str) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// The same as the problem's `instance`, and as in the log.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
