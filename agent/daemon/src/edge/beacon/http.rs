//! One beacon node over HTTP: bounded answers, time limits, errors that name the node and the call.

use std::fmt;
use std::time::Duration;

use reqwest::{Method, StatusCode, Url, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest answer that is read: 1,000 validators with all their fields are about 500 kB as JSON.
const ANSWER_LEN_MAX: usize = 8 * 1024 * 1024;

/// How much of a node's error text is passed on.
const ERROR_TEXT_MAX: usize = 300;

/// The usual time limit of a call (`duties.md` section 13.2).
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(2);

/// One beacon node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    base: Url,
    client: reqwest::Client,
}

/// Why a call to a beacon node failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The node cannot be reached, or did not answer in time.
    #[error("beacon node {node} does not answer {call}: {err}")]
    NoAnswer {
        /// Which node.
        node: String,
        /// Which call.
        call: String,
        /// What went wrong.
        err: String,
    },
    /// The node answered with an error of its own.
    #[error("beacon node {node} refused {call} with {status}: {text}")]
    Refused {
        /// Which node.
        node: String,
        /// Which call.
        call: String,
        /// The HTTP status.
        status: StatusCode,
        /// The start of what it said.
        text: String,
    },
    /// The answer is larger than any that we ask for.
    #[error("beacon node {node} answered {call} with more than {ANSWER_LEN_MAX} bytes")]
    TooLarge {
        /// Which node.
        node: String,
        /// Which call.
        call: String,
    },
    /// The answer is not what the Beacon API says.
    #[error("beacon node {node} answered {call} with something else than the Beacon API says: {err}")]
    Garbled {
        /// Which node.
        node: String,
        /// Which call.
        call: String,
        /// What was wrong.
        err: String,
    },
}

impl Node {
    pub(super) fn new(base: Url) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CALL_LIMIT)
            .build()?;
        Ok(Self { base, client })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        let request = self.request(Method::GET, path).timeout(CALL_LIMIT);
        self.parse(path, &self.read(path, request).await?)
    }

    /// Posts `body`, and takes any 2xx with an answer that is `T`.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        limit: Duration,
    ) -> Result<T, CallError> {
        let request = self.request(Method::POST, path).json(body).timeout(limit);
        self.parse(path, &self.read(path, request).await?)
    }

    /// Posts `body` with the name of the fork it belongs to, and takes any 2xx.
    pub(super) async fn submit(&self, path: &str, fork: &str, body: &impl Serialize) -> Result<(), CallError> {
        let request = self.request(Method::POST, path).header("Eth-Consensus-Version", fork).json(body);
        self.read(path, request.timeout(CALL_LIMIT)).await.map(drop)
    }

    /// Opens an event stream; it has no time limit of its own.
    pub(super) async fn events(&self, path: &str) -> Result<reqwest::Response, CallError> {
        let request = self.client.get(self.url(path)).header(header::ACCEPT, "text/event-stream");
        let response = request.send().await.map_err(|err| self.no_answer(path, &err))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = self.body(path, response).await.unwrap_or_default();
        Err(self.refused(path, status, &text))
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path)).header(header::ACCEPT, "application/json")
    }

    fn url(&self, path: &str) -> Url {
        // A base may have a path of its own (`https://host/some/prefix`), which `Url::join` would drop.
        let mut url = self.base.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(query);
        url
    }

    async fn read(&self, call: &str, request: reqwest::RequestBuilder) -> Result<Vec<u8>, CallError> {
        let response = request.send().await.map_err(|err| self.no_answer(call, &err))?;
        let status = response.status();
        let body = self.body(call, response).await?;
        if status.is_success() { Ok(body) } else { Err(self.refused(call, status, &body)) }
    }

    async fn body(&self, call: &str, mut response: reqwest::Response) -> Result<Vec<u8>, CallError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|err| self.no_answer(call, &err))? {
            if body.len() + chunk.len() > ANSWER_LEN_MAX {
                return Err(CallError::TooLarge { node: self.to_string(), call: call.to_owned() });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn parse<T: DeserializeOwned>(&self, call: &str, body: &[u8]) -> Result<T, CallError> {
        serde_json::from_slice(body).map_err(|err| self.garbled(call, &err))
    }

    pub(super) fn garbled(&self, call: &str, err: &dyn fmt::Display) -> CallError {
        CallError::Garbled { node: self.to_string(), call: call.to_owned(), err: err.to_string() }
    }

    fn no_answer(&self, call: &str, err: &reqwest::Error) -> CallError {
        // reqwest's own text repeats the whole URL, which may carry a password.
        let err = if err.is_timeout() {
            "time limit reached".to_owned()
        } else {
            let mut cause: &dyn std::error::Error = err;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            cause.to_string()
        };
        CallError::NoAnswer { node: self.to_string(), call: call.to_owned(), err }
    }

    fn refused(&self, call: &str, status: StatusCode, body: &[u8]) -> CallError {
        let text: String = String::from_utf8_lossy(body).chars().take(ERROR_TEXT_MAX).collect();
        CallError::Refused { node: self.to_string(), call: call.to_owned(), status, text }
    }
}

/// Host and port: the URL may carry a password.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.base.host_str().unwrap_or("?"))?;
        self.base.port().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_of_the_base_stays_and_a_password_is_never_shown() {
        let node = Node::new("https://user:secret@host.example:5052/api/".parse().unwrap()).unwrap();
        assert_eq!(node.url("/eth/v1/x?a=1").as_str(), "https://user:secret@host.example:5052/api/eth/v1/x?a=1");
        assert_eq!(node.to_string(), "host.example:5052");
    }
}
