//! What was asked: query and body, read strictly and within bounds.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Query;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::{ProblemId, Role};
use holdfast_provisioning::certificate::ClientIdentity;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap};
use hyper::{Method, Uri};
use serde::de::DeserializeOwned;

use super::answer::Fail;
use super::connection::Connection;

/// A request that may be answered: its route was found, and its caller has the role for it.
pub(super) struct Asked {
    pub(super) connection: Arc<Connection>,
    /// `None` on the routes of pairing.
    pub(super) client: Option<ClientIdentity>,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) parameter: String,
    pub(super) body: Bytes,
}

impl Asked {
    /// The query; a parameter that the route does not have is an error.
    pub(super) fn query<T: DeserializeOwned>(&self) -> Result<T, Fail> {
        let query = Query::try_from_uri(&self.uri);
        query.map(|Query(query)| query).map_err(|error| {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Fail::bad_request(format!("the query cannot be read: {}", readable(&cause)))
        })
    }

    /// That there is no query.
    pub(super) fn no_query(&self) -> Result<(), Fail> {
        match self.uri.query() {
            None | Some("") => Ok(()),
            Some(_) => Err(Fail::bad_request("this resource takes no query parameters")),
        }
    }

    /// That there is no body.
    pub(super) fn no_body(&self) -> Result<(), Fail> {
        if self.body.is_empty() { Ok(()) } else { Err(Fail::bad_request("this request takes no body")) }
    }

    /// The body; a field that the route does not have is an error.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Fail> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Fail::bad_request(format!("the body cannot be read: {}", readable(&error.to_string()))))
    }

    /// A header that may be there once.
    pub(super) fn header(&self, name: &str) -> Result<Option<&str>, Fail> {
        once(&self.headers, name)
    }

    /// Who asks, as the audit log and operations name him.
    pub(super) fn by(&self) -> String {
        self.client.as_ref().map_or_else(|| NOBODY.to_owned(), |client| client.name.clone())
    }

    pub(super) fn role(&self) -> Option<Role> {
        self.client.as_ref().map(|client| client.role)
    }

    pub(super) fn address(&self) -> IpAddr {
        self.connection.address.ip()
    }
}

/// A header that may be there once.
pub(super) fn once<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Fail> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(Fail::bad_request(format!("the header {name} is there more than once")));
    }
    value
        .map(|value| value.to_str().map_err(|_| Fail::bad_request(format!("the header {name} is not plain text"))))
        .transpose()
}

/// The whole body, within these bounds.
pub(super) async fn read<B>(body: B, len_max: usize, within: Duration) -> Result<Bytes, Fail>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let too_large = || Fail::new(ProblemId::BodyTooLarge, format!("the body has more than {len_max} bytes"));
    if body.size_hint().lower() > len_max as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(within, Limited::new(body, len_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Fail::bad_request("the body ended before its end")),
        Err(_) => Err(Fail::bad_request(format!("the body did not come within {} s", within.as_secs()))),
    }
}

/// That the body says that it is JSON.
pub(super) fn is_json(headers: &HeaderMap) -> Result<(), Fail> {
    let kind = once(headers, header::CONTENT_TYPE.as_str())?.unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Fail::new(ProblemId::UnsupportedMediaType, "the body must be of the type application/json"))
}

/// Bytes that travel in base64.
pub(super) fn base64(field: &str, text: &str) -> Result<Vec<u8>, Fail> {
    STANDARD.decode(text).map_err(|_| Fail::bad_request(format!("the field {field} is not padded base64")))
}

/// At most as many entries as were asked for.
pub(super) fn limit(asked: Option<u16>) -> Result<usize, Fail> {
    match asked.unwrap_or(100) {
        limit @ 1..=500 => Ok(usize::from(limit)),
        _ => Err(Fail::bad_request("the limit is a number from 1 to 500")),
    }
}

/// Words of a parser, which may quote what it was given: short, and without control characters.
fn readable(text: &str) -> String {
    text.chars().filter(|at| !at.is_control()).take(200).collect()
}

/// Who has shown no certificate.
pub(super) const NOBODY: &str = "nobody";
