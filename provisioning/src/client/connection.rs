//! One connection: TCP, TLS, HTTP/1.1, each with its bounds.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderMap};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{ANSWER_LEN_MAX, Call, ClientError, Target, Timeouts};
use crate::pake::Binding;
use crate::tls;

/// A connection to a box.
pub(super) struct Connection {
    target: Target,
    sender: SendRequest<Full<Bytes>>,
    binding: Binding,
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    target: Target,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// How sending failed.
pub(super) enum Sent {
    /// The box has not seen the request.
    Never(ClientError),
    /// It may have.
    Perhaps(ClientError),
}

impl Connection {
    pub(super) async fn open(
        target: &Target,
        tls: &Arc<ClientConfig>,
        timeouts: &Timeouts,
    ) -> Result<Self, ClientError> {
        let opened = timeout(timeouts.connect, Self::open_now(target, tls)).await;
        opened.map_err(|_| timed_out(target, timeouts.connect))?
    }

    async fn open_now(target: &Target, tls: &Arc<ClientConfig>) -> Result<Self, ClientError> {
        let failed = |err| ClientError::of_io(target, err);
        let tcp = TcpStream::connect((target.host(), target.port())).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let name = ServerName::try_from(NAME).expect("it is a name");
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.map_err(failed)?;
        let binding = tls::binding(stream.get_ref().1)?;
        let http = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_LEN_MAX)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) = http.map_err(|err| ClientError::of_hyper(target, err))?;
        // It ends with the sender; how it ended, the request that it carried says.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { target: target.clone(), sender, binding })
    }

    /// What ties a pairing to this connection.
    pub(super) const fn binding(&self) -> &Binding {
        &self.binding
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a request and takes its whole answer.
    pub(super) async fn send(&mut self, call: &Call, timeouts: &Timeouts) -> Result<Answer, Sent> {
        let response = self.begin(call, timeouts).await?;
        self.whole(response, timeouts).await.map_err(Sent::Perhaps)
    }

    /// Sends a request and takes the beginning of its answer.
    pub(super) async fn begin(&mut self, call: &Call, timeouts: &Timeouts) -> Result<Response<Incoming>, Sent> {
        let request = request(call, &self.target).map_err(Sent::Never)?;
        let late = |_| Sent::Perhaps(timed_out(&self.target, timeouts.answer));
        self.sender.ready().await.map_err(|err| Sent::Never(ClientError::of_hyper(&self.target, err)))?;
        let sent = timeout(timeouts.answer, self.sender.try_send_request(request)).await.map_err(late)?;
        sent.map_err(|mut failed| {
            let never = failed.take_message().is_some();
            let error = ClientError::of_hyper(&self.target, failed.into_error());
            if never { Sent::Never(error) } else { Sent::Perhaps(error) }
        })
    }

    pub(super) async fn whole(&self, response: Response<Incoming>, timeouts: &Timeouts) -> Result<Answer, ClientError> {
        let (head, mut incoming) = response.into_parts();
        let mut body = Vec::new();
        while let Some(data) = next_data(&mut incoming, &self.target, timeouts.idle).await? {
            if body.len() + data.len() > ANSWER_LEN_MAX {
                return Err(ClientError::AnswerTooLarge { len_max: ANSWER_LEN_MAX });
            }
            body.extend_from_slice(&data);
        }
        Ok(Answer { target: self.target.clone(), status: head.status, headers: head.headers, body: body.into() })
    }
}

/// The next bytes of a body; `None` at its end.
pub(super) async fn next_data(
    body: &mut Incoming,
    target: &Target,
    idle: Duration,
) -> Result<Option<Bytes>, ClientError> {
    loop {
        let frame = timeout(idle, body.frame()).await.map_err(|_| timed_out(target, idle))?;
        let Some(frame) = frame else { return Ok(None) };
        let frame = frame.map_err(|err| ClientError::of_hyper(target, err))?;
        // What is no data is a trailer, of which there is no use.
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

impl Sent {
    /// Whether sending once more, on a new connection, does it once.
    pub(super) fn may_repeat(&self, call: &Call) -> bool {
        match self {
            Self::Never(ClientError::Interrupted { .. }) => true,
            Self::Perhaps(ClientError::Interrupted { .. }) => call.repeats(),
            Self::Never(_) | Self::Perhaps(_) => false,
        }
    }

    pub(super) fn into_error(self) -> ClientError {
        match self {
            Self::Never(error) | Self::Perhaps(error) => error,
        }
    }
}

impl Answer {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The entity tag, if it has one.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.headers.get(header::ETAG).and_then(|value| value.to_str().ok())
    }

    /// The body.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body, read.
    ///
    /// # Errors
    /// When it is another.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        let body = if self.body.is_empty() { b"null" } else { &self.body[..] };
        serde_json::from_slice(body).map_err(|err| ClientError::Answer { what: err.to_string() })
    }

    /// Itself, or else the problem that it tells.
    pub(super) fn or_problem(self) -> Result<Self, ClientError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("application/problem+json")) {
            return Err(ClientError::Problem(Box::new(self.json()?)));
        }
        Err(ClientError::Answer { what: format!("{} answers {} without saying why", self.target, self.status) })
    }
}

fn request(call: &Call, target: &Target) -> Result<Request<Full<Bytes>>, ClientError> {
    let mut builder = Request::builder().method(call.method.clone()).uri(&call.path);
    builder = builder.header(header::HOST, target.for_http());
    for (name, value) in &call.headers {
        builder = builder.header(*name, value);
    }
    let body = match &call.body {
        Some((kind, bytes)) => {
            builder = builder.header(header::CONTENT_TYPE, *kind);
            bytes.clone()
        }
        None => Bytes::new(),
    };
    builder.body(Full::new(body)).map_err(|err| ClientError::Request { err: err.into() })
}

fn timed_out(target: &Target, after: Duration) -> ClientError {
    ClientError::TimedOut { target: target.clone(), after }
}

/// Nobody looks at it: boxes are known by their key.
const NAME: &str = "holdfast-box.local";
const HEADERS_MAX: usize = 64;
const BUFFER_LEN_MAX: usize = 64 * 1024;
