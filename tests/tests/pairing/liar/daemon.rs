//! The daemon in the attacker's hand. It has all that a daemon has: the vault's socket, a TLS key that the box key certified,
//! the owner's certificates on the disk. It ends the command's TLS, keeps every byte that it hears, and plays one lie.
//!
//! What it does not lie about the real `holdfastd` behind it answers, so that everything else is as in a box; the client
//! certificate for that hop is borrowed from the operator's desk, which stands for the daemon calling its own code.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::{EvidenceAnswer, EvidenceKind as Asked, EvidenceRequest};
use holdfast_evidence::{Evidence, EvidenceKind};
use holdfast_provisioning::client::{Call, Client, ClientError, Target};
use holdfast_provisioning::context::{Context, Contexts};
use holdfast_provisioning::tls::{BoxJudge, Expected, TlsKey, client_config, server_config};
use holdfast_tests::kit::NodeBox;
use holdfast_vault_client::Client as Vault;
use rand::rngs::OsRng;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// What it heard: one request.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// `GET` and so on.
    pub(super) method: String,
    /// The path with its query.
    pub(super) path: String,
    /// The `ETag` of what is replaced.
    if_match: Option<String>,
    /// The body.
    pub(super) body: Vec<u8>,
}

/// What it says.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    status: u16,
    etag: Option<String>,
    /// The body.
    pub(super) body: Vec<u8>,
}

/// One lie: `None` where the truth is told.
pub(super) type Lie = Box<dyn FnMut(&Heard, &Honest) -> anyhow::Result<Option<Reply>> + Send>;

/// The liar, as long as it is kept.
pub(super) struct Liar {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
    address: std::net::SocketAddr,
}

struct State {
    tls: Arc<ServerConfig>,
    honest: Honest,
    lie: Mutex<Lie>,
    heard: Mutex<Vec<u8>>,
    over: AtomicBool,
}

/// What a daemon would truly answer.
pub(super) struct Honest {
    socket: std::path::PathBuf,
    target: Target,
    identity: Arc<rustls::ClientConfig>,
}

impl Reply {
    /// A success with this answer.
    pub(super) fn of(answer: &Value) -> Self {
        Self { status: 200, etag: None, body: answer.to_string().into_bytes() }
    }

    /// Evidence as the API carries it.
    pub(super) fn of_evidence(evidence: &Evidence) -> anyhow::Result<Self> {
        Ok(Self::of(&serde_json::to_value(EvidenceAnswer { evidence: STANDARD.encode(evidence.to_bytes()) })?))
    }
}

impl Liar {
    /// Takes the place of a paired box's daemon: from now on the desk reaches the liar by the name `context`.
    pub(super) fn instead_of(node: &NodeBox, home: &Path, context: &str) -> anyhow::Result<Self> {
        let key = TlsKey::random(&mut OsRng);
        let leaf = node.vault()?.certify_tls_key(key.public()).context("the vault certifies no TLS key")?;
        let box_certificate = std::fs::read(node.state_dir().join("owner/box.der"))?;
        let tls = server_config(&key, vec![leaf.into(), box_certificate.into()], None)?;
        let contexts_path = home.join("contexts.json");
        let mut contexts = Contexts::load(&contexts_path)?;
        let known = contexts.get(context)?.clone();
        let honest = Honest { socket: node.socket(), target: known.address.clone(), identity: identity(home, &known)? };
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        contexts.put(Context { address: address.to_string().parse()?, ..known })?;
        contexts.save(&contexts_path)?;
        let state = Arc::new(State {
            tls,
            honest,
            lie: Mutex::new(Box::new(|_, _| Ok(None))),
            heard: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for tcp in listener.incoming() {
                if serving.over.load(Ordering::Acquire) {
                    break;
                }
                let Ok(tcp) = tcp else { continue };
                let serving = Arc::clone(&serving);
                // A connection ends with the command that made it.
                std::thread::spawn(move || {
                    if let Err(error) = serving.serve(tcp) {
                        println!("  the liar stumbled: {error:#}");
                    }
                });
            }
        });
        Ok(Self { state, thread: Some(thread), address })
    }

    /// Plays this lie from now on.
    pub(super) fn plays(&self, lie: Lie) {
        *self.state.lie.lock().unwrap_or_else(PoisonError::into_inner) = lie;
    }

    /// Every byte of every request so far.
    pub(super) fn heard(&self) -> Vec<u8> {
        self.state.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Release);
        // It waits for a connection, so it gets one.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl State {
    fn serve(&self, tcp: TcpStream) -> anyhow::Result<()> {
        tcp.set_read_timeout(Some(WAIT_MAX))?;
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&self.tls))?, tcp);
        while let Some((raw, heard)) = read_request(&mut stream)? {
            self.heard.lock().unwrap_or_else(PoisonError::into_inner).extend(raw);
            let lied = (self.lie.lock().unwrap_or_else(PoisonError::into_inner))(&heard, &self.honest)?;
            let reply = match lied {
                Some(reply) => reply,
                None => self.honest.answer(&heard)?,
            };
            write_reply(&mut stream, &reply)?;
        }
        Ok(())
    }
}

impl Honest {
    /// The vault of this box.
    pub(super) fn vault(&self) -> anyhow::Result<Vault> {
        Ok(Vault::connect(&self.socket)?)
    }

    /// What the real daemon answers. Evidence comes from the vault itself: the real daemon's limit of questions is not the
    /// liar's.
    pub(super) fn answer(&self, heard: &Heard) -> anyhow::Result<Reply> {
        if heard.path == EVIDENCE {
            let (kind, nonce) = heard.question()?;
            return Reply::of_evidence(&self.vault()?.evidence(kind, nonce)?);
        }
        let mut call = match heard.method.as_str() {
            "GET" => Call::get(&heard.path),
            "POST" => Call::post(&heard.path),
            _ => Call::put(&heard.path),
        };
        if !heard.body.is_empty() {
            call = call.body(heard.body.clone());
        }
        if let Some(etag) = &heard.if_match {
            call = call.if_match(etag);
        }
        let client = Client::new(self.target.clone(), Arc::clone(&self.identity));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match runtime.block_on(client.call(call)) {
            Ok(answer) => Ok(Reply {
                status: answer.status(),
                etag: answer.etag().map(str::to_owned),
                body: answer.body().to_vec(),
            }),
            Err(ClientError::Problem(problem)) => {
                Ok(Reply { status: problem.status, etag: None, body: serde_json::to_vec(&problem)? })
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Heard {
    /// What evidence was asked for.
    pub(super) fn question(&self) -> anyhow::Result<(EvidenceKind, [u8; 32])> {
        let asked: EvidenceRequest = serde_json::from_slice(&self.body)?;
        let kind = match asked.kind {
            Asked::Boot => EvidenceKind::Boot,
            Asked::Custody => EvidenceKind::Custody,
            Asked::ImportKey => EvidenceKind::ImportKey,
        };
        let mut nonce = [0; 32];
        hex::decode_to_slice(asked.nonce.trim_start_matches("0x"), &mut nonce)?;
        Ok((kind, nonce))
    }
}

/// The desk's client certificate for this box.
fn identity(home: &Path, known: &Context) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let key = TlsKey::from_pem(&std::fs::read_to_string(home.join(&known.client_key))?)?;
    let certificate = std::fs::read(home.join(&known.client_certificate))?;
    let authority = std::fs::read(home.join("authority.der"))?;
    let judge = BoxJudge::new(authority.into(), Expected::default(), holdfast_tests::now)?;
    Ok(client_config(Arc::new(judge), Some((&key, certificate.into())))?)
}

/// One request as it came, and read; `None` when the command has hung up.
fn read_request(stream: &mut impl Read) -> anyhow::Result<Option<(Vec<u8>, Heard)>> {
    let mut raw = Vec::new();
    while !raw.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => raw.push(byte[0]),
            // A command that ends does not say so first.
            Err(_) if raw.is_empty() => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        if raw.len() > HEAD_LEN_MAX {
            bail!("the head of a request does not end");
        }
    }
    let head = String::from_utf8(raw.clone())?;
    let field = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let mut words = head.split_whitespace();
    let (method, path) = (words.next().context("no method")?, words.next().context("no path")?);
    let len: usize = field("content-length").map_or(Ok(0), |len| len.parse())?;
    if len > BODY_LEN_MAX {
        bail!("a body of {len} bytes");
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body)?;
    let heard = Heard { method: method.into(), path: path.into(), if_match: field("if-match"), body };
    raw.extend(&heard.body);
    Ok(Some((raw, heard)))
}

fn write_reply(stream: &mut impl Write, reply: &Reply) -> anyhow::Result<()> {
    let kind = if reply.status < 400 { "application/json" } else { "application/problem+json" };
    let etag = reply.etag.as_ref().map(|etag| format!("etag: {etag}\r\n")).unwrap_or_default();
    let (status, len) = (reply.status, reply.body.len());
    let head = format!("HTTP/1.1 {status} So\r\ncontent-type: {kind}\r\n{etag}content-length: {len}\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&reply.body)?;
    Ok(stream.flush()?)
}

/// Where evidence is asked for.
pub(super) const EVIDENCE: &str = "/v1/vault/evidence";
const WAIT_MAX: Duration = Duration::from_secs(60);
const HEAD_LEN_MAX: usize = 64 << 10;
const BODY_LEN_MAX: usize = 16 << 20;
