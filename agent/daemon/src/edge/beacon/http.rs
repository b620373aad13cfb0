//! One beacon node over HTTP: bounded answers, time limits, errors that name the node and the call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, StatusCode, Url, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::json::BatchRefusal;
use super::standing::Standing;
use super::tokens::Tokens;

/// The largest answer that is read: 1,000 validators with all their fields are about 500 kB as JSON.
pub const ANSWER_LEN_MAX: usize = 8 * 1024 * 1024;

/// How much of a refusal is read: a batch of 1,000 attestations may have as many failures.
const REFUSAL_LEN_MAX: usize = 512 * 1024;

/// How much of what a node said is passed on in an error, in characters.
const ERROR_TEXT_MAX: usize = 300;

/// One beacon node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    base: Url,
    client: reqwest::Client,
    limit: Duration,
    standing: Arc<Standing>,
    tokens: Tokens,
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
    /// A node whose calls may take `limit`.
    pub(super) fn new(base: Url, limit: Duration) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // What the daemon connects to is in its configuration, not in its environment.
            .no_proxy()
            .connect_timeout(limit)
            .build()?;
        let tokens = Tokens::of(&base);
        Ok(Self { base, client, limit, standing: Arc::default(), tokens })
    }

    /// What is known of this node; shared by its clones.
    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        let request = self.request(Method::GET, path).timeout(self.limit);
        self.parse(path, &self.read(path, request).await?)
    }

    /// Posts `body`, and takes any 2xx with an answer that is `T`. A call that is known to take long has at least `limit`.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        limit: Duration,
    ) -> Result<T, CallError> {
        let request = self.request(Method::POST, path).json(body).timeout(self.limit.max(limit));
        self.parse(path, &self.read(path, request).await?)
    }

    /// Posts `body` with the name of the fork it belongs to, and takes any 2xx. Every node of the cluster submits the
    /// same, so that a refusal of what is known already is success.
    pub(super) async fn submit(&self, path: &str, fork: &str, body: &impl Serialize) -> Result<(), CallError> {
        let request = self.request(Method::POST, path).header("Eth-Consensus-Version", fork).json(body);
        match self.exchange(path, request.timeout(self.limit)).await? {
            (status, _) if status.is_success() => Ok(()),
            (StatusCode::BAD_REQUEST, body) if all_known(&body) => Ok(()),
            (status, body) => Err(self.refused(path, status, &body)),
        }
    }

    /// Opens an event stream; it has no time limit of its own.
    pub(super) async fn events(&self, path: &str) -> Result<reqwest::Response, CallError> {
        let request = self.client.get(self.url(path)).header(header::ACCEPT, "text/event-stream");
        let response = request.send().await.map_err(|err| self.no_answer(path, &err))?;
        let status = response.status();
        if status.is_success() { Ok(response) } else { Err(self.refused(path, status, &refusal(response).await)) }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path)).header(header::ACCEPT, "application/json")
    }

    fn url(&self, path: &str) -> Url {
        // A base may have a path of its own (`https://host/some/prefix`), which `Url::join` would drop.
        let mut url = self.base.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        // So may its query, which is where some providers want their token.
        let queries: Vec<&str> = self.base.query().into_iter().chain(query).collect();
        url.set_query((!queries.is_empty()).then(|| queries.join("&")).as_deref());
        url
    }

    async fn read(&self, call: &str, request: reqwest::RequestBuilder) -> Result<Vec<u8>, CallError> {
        let (status, body) = self.exchange(call, request).await?;
        if status.is_success() { Ok(body) } else { Err(self.refused(call, status, &body)) }
    }

    async fn exchange(&self, call: &str, request: reqwest::RequestBuilder) -> Result<(StatusCode, Vec<u8>), CallError> {
        let mut response = request.send().await.map_err(|err| self.no_answer(call, &err))?;
        let status = response.status();
        if !status.is_success() {
            return Ok((status, refusal(response).await));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|err| self.no_answer(call, &err))? {
            if body.len() + chunk.len() > ANSWER_LEN_MAX {
                return Err(CallError::TooLarge { node: self.to_string(), call: call.to_owned() });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }

    fn parse<T: DeserializeOwned>(&self, call: &str, body: &[u8]) -> Result<T, CallError> {
        serde_json::from_slice(body).map_err(|err| self.garbled(call, &err))
    }

    pub(super) fn garbled(&self, call: &str, err: &dyn fmt::Display) -> CallError {
        CallError::Garbled { node: self.to_string(), call: call.to_owned(), err: self.told(&err.to_string()) }
    }

    pub(super) fn no_answer(&self, call: &str, err: &reqwest::Error) -> CallError {
        // reqwest's own text repeats the whole URL, which may carry a password.
        let err = if err.is_timeout() {
            "time limit reached".to_owned()
        } else {
            let mut cause: &dyn std::error::Error = err;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            self.told(&cause.to_string())
        };
        CallError::NoAnswer { node: self.to_string(), call: call.to_owned(), err }
    }

    fn refused(&self, call: &str, status: StatusCode, body: &[u8]) -> CallError {
        let text = self.told(&String::from_utf8_lossy(body));
        CallError::Refused { node: self.to_string(), call: call.to_owned(), status, text }
    }

    /// What a node said, for people, and without what only the two of us know.
    fn told(&self, text: &str) -> String {
        short(&self.tokens.hidden(text))
    }
}

/// What a node says about why it refuses, as far as it is read. The status counts even if the rest breaks off.
async fn refusal(mut response: reqwest::Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(REFUSAL_LEN_MAX - body.len())]);
        if body.len() == REFUSAL_LEN_MAX {
            break;
        }
    }
    body
}

/// What a node said, for people: its start, on one line, without what could move a terminal's cursor.
fn short(text: &str) -> String {
    text.trim().chars().take(ERROR_TEXT_MAX).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// Whether a refusal is about nothing but what the node knew before.
fn all_known(refusal: &[u8]) -> bool {
    match serde_json::from_slice::<BatchRefusal>(refusal) {
        Ok(BatchRefusal { failures }) => {
            !failures.is_empty() && failures.iter().all(|failure| is_known(&failure.message))
        }
        // A list of failures that was cut or is not understood may hold others.
        Err(_) => {
            let text = String::from_utf8_lossy(refusal);
            !text.contains("\"failures\"") && is_known(&text)
        }
    }
}

/// Lodestar's `ATTESTATION_ERROR_…_ALREADY_KNOWN`, Lighthouse's `PriorAttestationKnown`, and plain words.
fn is_known(message: &str) -> bool {
    let message: String = message.chars().filter(|char| char.is_alphanumeric()).collect();
    let message = message.to_ascii_lowercase();
    message.contains("alreadyknown") || message.contains("priorattestationknown")
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
        let node = Node::new("https://user:secret@host.example:5052/api/".parse().unwrap(), Duration::ZERO).unwrap();
        assert_eq!(node.url("/eth/v1/x?a=1").as_str(), "https://user:secret@host.example:5052/api/eth/v1/x?a=1");
        assert_eq!(node.to_string(), "host.example:5052");
        let node = Node::new("https://host.example/?key=secret".parse().unwrap(), Duration::ZERO).unwrap();
        assert_eq!(node.url("/eth/v1/x?a=1").as_str(), "https://host.example/eth/v1/x?key=secret&a=1");
        assert_eq!(node.url("/eth/v1/x").as_str(), "https://host.example/eth/v1/x?key=secret");
    }

    #[test]
    fn a_refusal_that_repeats_the_url_tells_no_token() {
        let node = Node::new("http://host.example/token77/?key=secret".parse().unwrap(), Duration::ZERO).unwrap();
        let body = br#"{"message":"Route GET:/token77/eth/v1/x?key=secret not found"}"#;
        let error = node.refused("/eth/v1/x", StatusCode::NOT_FOUND, body).to_string();
        assert!(error.contains("Route GET:/…/eth/v1/x?key=… not found"), "{error}");
    }

    #[test]
    fn only_a_refusal_of_nothing_but_known_attestations_is_success() {
        let failures = |messages: &[&str]| {
            let failures: Vec<_> =
                messages.iter().map(|message| format!(r#"{{"index":0,"message":"{message}"}}"#)).collect();
            format!(r#"{{"code":400,"message":"x","failures":[{}]}}"#, failures.join(","))
        };
        let (lighthouse, lodestar) =
            ("PriorAttestationKnown { epoch: 1 }", "ATTESTATION_ERROR_ATTESTATION_ALREADY_KNOWN");
        assert!(all_known(failures(&[lighthouse, lodestar]).as_bytes()));
        assert!(all_known(br#"{"code":400,"message":"attestation is already known"}"#));
        let many_known = [lighthouse; 50];
        let one_bad = [many_known.as_slice(), &["bad signature"]].concat();
        assert!(!all_known(failures(&one_bad).as_bytes()), "also when it is the last of many");
        assert!(!all_known(failures(&[]).as_bytes()));
        assert!(!all_known(&failures(&many_known).as_bytes()[..400]), "cut");
        assert!(!all_known(b"bad request"));
    }

    #[test]
    fn what_a_node_says_is_cut_and_moves_no_cursor() {
        assert_eq!(short("  a\u{1b}[2Jb\nc "), "a [2Jb c");
        assert_eq!(short(&"x".repeat(100_000)).len(), ERROR_TEXT_MAX);
    }
}
