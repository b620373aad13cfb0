//! A beacon node as small as an HTTP server can be, strict like the strictest make, that does what a test tells it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the node was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) accept: String,
    pub(crate) content_type: String,
    pub(crate) fork: String,
    pub(crate) body: String,
    /// How often the same path was asked before.
    pub(crate) before: usize,
}

/// What the node does.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Status, content type, body.
    Answer(u16, &'static str, String),
    /// Answers after a while.
    After(Duration, Box<Reply>),
    /// 200, then bytes for ever.
    Endless(&'static str),
    /// A status line, more of the body promised than sent, and the connection closed.
    BreaksOff(u16, String),
    /// Nothing, and the connection stays open.
    Never,
    /// Bytes that are no HTTP.
    NoHttp,
    /// An event stream that sends this and then ends.
    Events(String),
    /// An event stream that sends this and then nothing, for ever.
    EventsThenSilence(String),
}

pub(crate) fn json_answer(value: &Value) -> Reply {
    Reply::Answer(200, "application/json", value.to_string())
}

pub(crate) fn text(status: u16, body: &str) -> Reply {
    Reply::Answer(status, "text/plain; charset=utf-8", body.to_owned())
}

pub(crate) fn error(status: u16, message: &str) -> Reply {
    Reply::Answer(status, "application/json", json!({ "message": message, "code": status }).to_string())
}

pub(crate) struct FakeNode {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    sent: Arc<AtomicU64>,
}

impl FakeNode {
    /// A node that does what `reply` says.
    pub(crate) async fn start(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, sent) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<AtomicU64>::default());
        let (log, counter, reply) = (asked.clone(), sent.clone(), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, counter, reply) = (log.clone(), counter.clone(), reply.clone());
                tokio::spawn(async move { serve(stream, &log, &counter, &*reply).await });
            }
        });
        Self { port, asked, sent }
    }

    /// A node that answers everything as it should.
    pub(crate) async fn good() -> Self {
        Self::start(good).await
    }

    /// A node that is good but for the calls whose path contains `call`.
    pub(crate) async fn good_but(call: &'static str, reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(move |asked| if asked.path.contains(call) { reply(asked) } else { good(asked) }).await
    }

    pub(crate) fn url(&self) -> Url {
        format!("http://127.0.0.1:{}", self.port).parse().unwrap()
    }

    /// How errors name this node.
    pub(crate) fn name(&self) -> String {
        format!("beacon node 127.0.0.1:{}", self.port)
    }

    /// What was asked of it on paths that contain `call`.
    pub(crate) fn asked(&self, call: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path.contains(call)).cloned().collect()
    }

    /// The bytes that it could send so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

async fn serve(stream: TcpStream, log: &Mutex<Vec<Asked>>, sent: &AtomicU64, reply: &(dyn Fn(&Asked) -> Reply + Sync)) {
    let mut stream = BufReader::new(stream);
    let Some(mut asked) = read_request(&mut stream).await else { return };
    let reply = {
        let mut log = log.lock().unwrap();
        asked.before = log.iter().filter(|earlier| earlier.path == asked.path).count();
        log.push(asked.clone());
        reply(&asked)
    };
    // The daemon may hang up at any time: that is its right.
    let _ = send(&mut stream.into_inner(), reply, sent).await;
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let mut words = line.split(' ');
    let mut asked = Asked { method: words.next()?.into(), path: words.next()?.into(), ..Asked::default() };
    let mut len = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? <= 2 {
            break;
        }
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "accept" => asked.accept = value.into(),
            "content-type" => asked.content_type = value.into(),
            "eth-consensus-version" => asked.fork = value.into(),
            "content-length" => len = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await.ok()?;
    asked.body = String::from_utf8(body).ok()?;
    Some(asked)
}

async fn send(stream: &mut TcpStream, reply: Reply, sent: &AtomicU64) -> std::io::Result<()> {
    let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    match reply {
        Reply::Answer(status, kind, body) => {
            let len = body.len();
            let place = if status / 100 == 3 { "Location: /elsewhere\r\n" } else { "" };
            let head = format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n{place}");
            stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).await
        }
        Reply::After(wait, reply) => {
            tokio::time::sleep(wait).await;
            Box::pin(send(stream, *reply, sent)).await
        }
        Reply::Endless(start) => {
            stream.write_all(format!("{events}{start}").as_bytes()).await?;
            loop {
                sent.fetch_add(stream.write(&[b'x'; 64 * 1024]).await? as u64, Ordering::Relaxed);
            }
        }
        Reply::BreaksOff(status, body) => {
            let head = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n");
            stream.write_all(format!("{head}{body}").as_bytes()).await
        }
        Reply::Never => std::future::pending().await,
        Reply::NoHttp => stream.write_all(b"\x15\x03\x03\x00\x02\x02\x28 what is this\r\n\r\n").await,
        Reply::Events(body) => stream.write_all(format!("{events}{body}").as_bytes()).await,
        Reply::EventsThenSilence(body) => {
            stream.write_all(format!("{events}{body}").as_bytes()).await?;
            std::future::pending().await
        }
    }
}

/// What a good node answers, and what a strict one refuses.
pub(crate) fn good(asked: &Asked) -> Reply {
    let path = asked.path.split('?').next().unwrap_or_default();
    if path == "/eth/v1/events" {
        let fits = ["", "*/*", "text/event-stream"].contains(&asked.accept.as_str());
        return if fits { Reply::EventsThenSilence(":\n\n".into()) } else { text(406, "Not Acceptable") };
    }
    let Some((method, answer)) = good_answer(path, asked) else { return text(404, "404 page not found") };
    if asked.method != method {
        return text(405, "Method Not Allowed");
    }
    if !asked.accept.contains("application/json") {
        return text(406, "Not Acceptable");
    }
    if method == "POST" {
        if asked.content_type.split(';').next() != Some("application/json") {
            return text(415, "Unsupported Media Type");
        }
        if asked.body == "[]" || asked.body == r#"{"ids":[]}"# {
            return error(400, "No data submitted");
        }
    }
    answer
}

fn good_answer(path: &str, asked: &Asked) -> Option<(&'static str, Reply)> {
    let root = format!("0x{}", "11".repeat(32));
    Some(match path {
        "/eth/v1/beacon/genesis" => (
            "GET",
            json_answer(&json!({ "data": {
                "genesis_time": "1700000000", "genesis_validators_root": root, "genesis_fork_version": GENESIS_FORK,
            }})),
        ),
        "/eth/v1/config/spec" => ("GET", json_answer(&spec())),
        "/eth/v1/config/fork_schedule" => (
            "GET",
            json_answer(&json!({ "data": [
                { "previous_version": GENESIS_FORK, "current_version": GENESIS_FORK, "epoch": "0" },
                { "previous_version": GENESIS_FORK, "current_version": "0x70000910", "epoch": "0" },
                { "previous_version": "0x70000910", "current_version": "0x80000910", "epoch": "18446744073709551615" },
            ]})),
        ),
        "/eth/v1/node/syncing" => ("GET", syncing("0", false, false, false)),
        "/eth/v1/beacon/states/head/validators" => ("POST", json_answer(&validators())),
        "/eth/v1/validator/attestation_data" => ("GET", json_answer(&attestation_data(SLOT, "22"))),
        "/eth/v2/beacon/pool/attestations" if asked.fork.is_empty() => {
            ("POST", error(400, "Eth-Consensus-Version header is required"))
        }
        "/eth/v2/beacon/pool/attestations" => ("POST", Reply::Answer(200, "application/json", String::new())),
        _ if path.starts_with("/eth/v1/validator/duties/attester/") => match duties(&asked.body) {
            Some(duties) => ("POST", json_answer(&duties)),
            None => ("POST", error(400, "Could not decode request body: validator indices are strings")),
        },
        _ => return None,
    })
}

/// The genesis fork of the test cluster's network.
pub(crate) const GENESIS_FORK: &str = "0x10000910";

/// The slot that a good node has attestation data for.
pub(crate) const SLOT: u64 = 9;

/// 32 slots of 10 ms: an epoch, which is what an event stream may be silent, is 320 ms.
pub(crate) fn spec() -> Value {
    json!({ "data": {
        "SLOT_DURATION_MS": "10", "SECONDS_PER_SLOT": "12", "SLOTS_PER_EPOCH": "32", "BLOB_SCHEDULE": [],
        "GENESIS_FORK_VERSION": GENESIS_FORK, "FULU_FORK_VERSION": "0x70000910", "GLOAS_FORK_VERSION": "0x80000910",
    }})
}

pub(crate) fn syncing(distance: &str, is_syncing: bool, is_optimistic: bool, el_offline: bool) -> Reply {
    json_answer(&json!({ "data": {
        "head_slot": "9", "sync_distance": distance, "is_syncing": is_syncing,
        "is_optimistic": is_optimistic, "el_offline": el_offline,
    }}))
}

/// Data of a slot whose head block is `byte` again and again.
pub(crate) fn attestation_data(slot: u64, byte: &str) -> Value {
    let root = format!("0x{}", byte.repeat(32));
    json!({ "data": {
        "slot": slot.to_string(), "index": "0", "beacon_block_root": root,
        "source": { "epoch": "0", "root": root }, "target": { "epoch": "0", "root": root },
    }})
}

pub(crate) fn pubkey() -> String {
    format!("0x{}", "b3".repeat(48))
}

fn validators() -> Value {
    json!({ "execution_optimistic": false, "finalized": false, "data": [
        { "index": "7", "balance": "32000000000", "status": "active_ongoing", "validator": {
            "pubkey": pubkey(), "activation_epoch": "0", "exit_epoch": "18446744073709551615", "slashed": false,
        }},
    ]})
}

fn duties(body: &str) -> Option<Value> {
    let asked: Vec<String> = serde_json::from_str(body).ok()?;
    let duty = |index: String| {
        json!({
            "pubkey": pubkey(), "validator_index": index, "committee_index": "3", "committee_length": "128",
            "committees_at_slot": "64", "validator_committee_index": "25", "slot": SLOT.to_string(),
        })
    };
    let duties: Vec<Value> = asked.into_iter().map(duty).collect();
    Some(json!({ "execution_optimistic": true, "dependent_root": format!("0x{}", "33".repeat(32)), "data": duties }))
}
