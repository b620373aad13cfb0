//! Whoever floods the API of one box from many addresses: half-open connections, bodies that trickle, what is too large,
//! readers that read nothing, and pairing codes. Bounded in number and time, and only on this machine.

use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use holdfast_api::{ProblemId, Role};
use holdfast_provisioning::authority::Authority;
use holdfast_provisioning::client::{PairingClient, Target, Timeouts};
use holdfast_provisioning::code::{CodeKind, PairingCode};
use holdfast_provisioning::tls::{BoxJudge, Expected, TlsKey, client_config, pairing_client_config};
use holdfast_tests::now;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rand::rngs::OsRng;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// In everything that the attacker sends as text, and in nothing else.
pub(crate) const MARK: &str = "mark5b1dd0c4e7";

/// An attack that goes on until it is stopped.
pub(crate) struct Attack {
    tally: Arc<Tally>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<()>>,
}

/// What was tried, and what came back.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Connections that stayed half-open.
    pub(crate) half_open: AtomicU64,
    /// Most of them at a time, as seen from here: the box has closed most of them.
    pub(crate) held: AtomicU64,
    /// Bodies that came one byte a second.
    pub(crate) slow_bodies: AtomicU64,
    /// Bodies and headers above the bounds.
    pub(crate) oversized: AtomicU64,
    /// Event streams and answers that nobody read.
    pub(crate) stalled: AtomicU64,
    /// Of these, those that the box gave up.
    pub(crate) cut_off: AtomicU64,
    /// Tries to pair the box.
    pub(crate) codes: AtomicU64,
    /// Of these, those that were told that the box has an owner.
    pub(crate) codes_refused: AtomicU64,
    /// Answers that named the bound that was broken.
    pub(crate) named: AtomicU64,
    /// The beginning of everything that the box said to strangers.
    heard: Mutex<Vec<u8>>,
}

struct Attacker {
    box_at: SocketAddr,
    stranger: Arc<ClientConfig>,
    reader: Arc<ClientConfig>,
    tally: Arc<Tally>,
}

impl Attack {
    /// Begins an attack on the API at this address, with the certificate of a reader where one is needed.
    pub(crate) fn start(box_at: SocketAddr, authority: &Authority) -> anyhow::Result<Self> {
        allow_open_files(HELD_MAX as u64 + 2_000)?;
        let key = TlsKey::random(&mut OsRng);
        let certificate = authority.issue_client("stalled", Role::Reader, &key.public(), now(), &mut OsRng)?;
        let judge = BoxJudge::new(authority.certificate().clone(), Expected::default(), now)?;
        let tally = Arc::new(Tally::default());
        let attacker = Arc::new(Attacker {
            box_at,
            stranger: pairing_client_config()?,
            reader: client_config(Arc::new(judge), Some((&key, certificate)))?,
            tally: Arc::clone(&tally),
        });
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(attacker.attack(stopped));
            runtime.shutdown_timeout(Duration::from_secs(5));
            Ok(())
        });
        Ok(Self { tally, stop, thread })
    }

    /// Ends it, closes every connection, and says what was done.
    pub(crate) fn stop(self) -> anyhow::Result<Arc<Tally>> {
        // It may have ended by itself, and says why.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| anyhow!("the attacker panicked"))??;
        Ok(self.tally)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(f, "{} half-open connections, {} at a time, ", of(&self.half_open), of(&self.held))?;
        write!(
            f,
            "{} slow bodies, {} oversized ({} named), ",
            of(&self.slow_bodies),
            of(&self.oversized),
            of(&self.named)
        )?;
        write!(f, "{} stalled readers ({} cut off), ", of(&self.stalled), of(&self.cut_off))?;
        write!(f, "{} codes ({} refused)", of(&self.codes), of(&self.codes_refused))
    }
}

impl Tally {
    /// What the box said to strangers.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hear(&self, bytes: &[u8]) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let room = HEARD_MAX.saturating_sub(heard.len());
        heard.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl Attacker {
    async fn attack(self: Arc<Self>, stopped: oneshot::Receiver<()>) {
        let mut tasks = JoinSet::new();
        let spawned = [
            (HALF_OPENERS, Tactic::HalfOpen),
            (SLOW_BODIES, Tactic::SlowBody),
            (OVERSIZERS, Tactic::Oversized),
            (EVENT_READERS, Tactic::StalledEvents),
            (ANSWER_READERS, Tactic::StalledAnswers),
            (GUESSERS, Tactic::Codes),
        ];
        for (many, tactic) in spawned {
            for number in 0..many {
                let attacker = Arc::clone(&self);
                tasks.spawn(async move { attacker.go_on(tactic, number).await });
            }
        }
        // Both ends are the same: the attack is over.
        let _ = stopped.await;
        tasks.shutdown().await;
    }

    /// Repeats a tactic until it is aborted. That the box hangs up in the middle is what we want.
    async fn go_on(&self, tactic: Tactic, number: u32) {
        if tactic == Tactic::HalfOpen {
            return self.half_open(number).await;
        }
        for round in 0_u32.. {
            let source = source(number * 31 + round);
            let _ = match tactic {
                Tactic::HalfOpen => Ok(()),
                Tactic::SlowBody => self.slow_body(source).await,
                Tactic::Oversized => self.oversized(source, round).await,
                Tactic::StalledEvents => self.stalled(source, "GET /v1/events HTTP/1.1\r\nhost: box\r\n\r\n", 1).await,
                Tactic::StalledAnswers => {
                    self.stalled(source, "GET /v1/openapi.json HTTP/1.1\r\nhost: box\r\n\r\n", 64).await
                }
                Tactic::Codes => self.try_code().await,
            };
            sleep(PAUSE).await;
        }
    }

    /// Opens connections in bursts until as many are held as this process may, then replaces the oldest.
    async fn half_open(&self, first: u32) {
        let mut held = VecDeque::new();
        for number in first.. {
            if held.len() >= HELD_MAX {
                held.pop_front();
            }
            // One that is refused was handled.
            if let Ok(stream) = tcp(self.box_at, source(number)).await {
                if number % 2 == 0 {
                    let _ = stream.try_write(HALF_A_HELLO);
                }
                held.push_back(stream);
            }
            self.tally.half_open.fetch_add(1, Ordering::Relaxed);
            self.tally.held.fetch_max(held.len() as u64, Ordering::Relaxed);
            if number % BURST == 0 {
                sleep(if held.len() < HELD_MAX { BURST_EVERY } else { 10 * BURST_EVERY }).await;
            }
        }
    }

    async fn slow_body(&self, source: Ipv4Addr) -> anyhow::Result<()> {
        let mut stream = self.tls(&self.stranger, source).await?;
        self.tally.slow_bodies.fetch_add(1, Ordering::Relaxed);
        stream.write_all(head("content-length: 4000").as_bytes()).await?;
        for byte in MARK.bytes().cycle().take(4_000) {
            stream.write_all(&[byte]).await?;
            stream.flush().await?;
            if let Ok(end) = timeout(Duration::from_secs(1), self.listen(&mut stream)).await {
                return end;
            }
        }
        Ok(())
    }

    async fn oversized(&self, source: Ipv4Addr, round: u32) -> anyhow::Result<()> {
        let mut stream = self.tls(&self.stranger, source).await?;
        self.tally.oversized.fetch_add(1, Ordering::Relaxed);
        let long = format!("x-mark: {}", MARK.repeat(40_000 / MARK.len()));
        let request = match round % 3 {
            0 => head(&long),
            1 => head("content-length: 2000000"),
            _ => format!("{}{:x}\r\n", head("transfer-encoding: chunked"), 2_000_000),
        };
        stream.write_all(request.as_bytes()).await?;
        let body = MARK.repeat(2_000_000 / MARK.len());
        if !round.is_multiple_of(3) {
            // It hangs up before it has all of it.
            let _ = stream.write_all(body.as_bytes()).await;
        }
        self.listen(&mut stream).await
    }

    /// Asks, with a certificate, and reads nothing of the answers.
    async fn stalled(&self, source: Ipv4Addr, request: &str, many: usize) -> anyhow::Result<()> {
        let mut stream = self.tls(&self.reader, source).await?;
        self.tally.stalled.fetch_add(1, Ordering::Relaxed);
        stream.write_all(request.repeat(many).as_bytes()).await?;
        stream.flush().await?;
        // Nothing is read, so that only a reset of the connection tells that the box has given it up.
        let (raw, _) = stream.get_ref();
        while raw.take_error()?.is_none() {
            sleep(Duration::from_secs(1)).await;
        }
        self.tally.cut_off.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn try_code(&self) -> anyhow::Result<()> {
        let target: Target = self.box_at.to_string().parse()?;
        let mut client = PairingClient::connect(target, Timeouts::default()).await?;
        self.tally.codes.fetch_add(1, Ordering::Relaxed);
        let answer = client.pair(&PairingCode::random(CodeKind::Screen, &mut OsRng)).await;
        let problem = answer.err().and_then(|error| error.problem()?.id());
        if problem == Some(ProblemId::Owned) {
            self.tally.codes_refused.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Keeps what the box says until it hangs up.
    async fn listen(&self, stream: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<()> {
        let mut buffer = [0; 4_096];
        loop {
            let len = timeout(Duration::from_secs(60), stream.read(&mut buffer)).await??;
            let heard = buffer.get(..len).unwrap_or_default();
            self.tally.hear(heard);
            if heard.starts_with(b"HTTP/1.1 413") || heard.starts_with(b"HTTP/1.1 431") {
                self.tally.named.fetch_add(1, Ordering::Relaxed);
            }
            if len == 0 {
                return Ok(());
            }
        }
    }

    async fn tls(&self, config: &Arc<ClientConfig>, source: Ipv4Addr) -> anyhow::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("box.local")?;
        let stream = tcp(self.box_at, source).await?;
        Ok(timeout(Duration::from_secs(30), TlsConnector::from(Arc::clone(config)).connect(name, stream)).await??)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tactic {
    Codes,
    HalfOpen,
    Oversized,
    SlowBody,
    StalledAnswers,
    StalledEvents,
}

async fn tcp(box_at: SocketAddr, source: Ipv4Addr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // A small window, so that who reads nothing is felt soon.
    socket.set_recv_buffer_size(4_096)?;
    socket.bind((source, 0).into())?;
    timeout(Duration::from_secs(5), socket.connect(box_at)).await?
}

/// One of the loopback addresses, the operator's own among them.
fn source(number: u32) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, u8::try_from(number % SOURCES + 1).unwrap_or(1))
}

fn head(header: &str) -> String {
    format!(
        "POST /v1/pairing/start?{MARK} HTTP/1.1\r\nhost: {MARK}\r\nuser-agent: {MARK}\r\ncontent-type: application/json\r\n{header}\r\n\r\n"
    )
}

/// Raises the bound on open files to what is needed.
fn allow_open_files(needed: u64) -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(hard >= needed, "{needed} open files are needed and {hard} allowed: raise it with `ulimit -Hn {needed}`");
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, needed, hard).context("cannot raise the bound on open files")?;
    }
    Ok(())
}

/// Connections that are held half-open at a time.
pub(crate) const HELD_MAX: usize = 10_000;
/// The beginning of a TLS record that never ends.
const HALF_A_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0];
/// Addresses that the attacker has: more than a stage of connections that say nothing has places.
const SOURCES: u32 = 250;
/// So many connections at once.
const BURST: u32 = 100;
const BURST_EVERY: Duration = Duration::from_millis(100);
const HALF_OPENERS: u32 = 1;
const SLOW_BODIES: u32 = 24;
const OVERSIZERS: u32 = 3;
/// More than there are places for readers of events.
const EVENT_READERS: u32 = 40;
const ANSWER_READERS: u32 = 8;
const GUESSERS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
const HEARD_MAX: usize = 1 << 20;
