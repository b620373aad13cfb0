//! A real server, a real client over TLS, and around them a daemon and a vault that are played.

pub(crate) mod host;
pub(crate) mod vault;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_api::{Problem, ProblemId, Role};
use holdfast_provisioning::authority::Authority;
use holdfast_provisioning::certificate::parse_client;
use holdfast_provisioning::client::{Client, ClientError, Target};
use holdfast_provisioning::desk::CodeDesk;
use holdfast_provisioning::tls::{self, BoxJudge, Expected, TlsKey};
use holdfast_types::P256Public;
use holdfastd::clock::now;
use holdfastd::daemon::Daemon;
use holdfastd::edge::api::{self, Limits, Parts, Server};
use holdfastd::folder::Owner;
use holdfastd::host::Host;
use holdfastd::pairing::Pairing;
use rand::rngs::OsRng;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use vault::{BOX_NAME, FakeVault};

/// A box whose API is served.
pub(crate) struct Bench {
    pub(crate) server: Server,
    pub(crate) daemon: Arc<Daemon>,
    pub(crate) host: Arc<Host>,
    pub(crate) vault: FakeVault,
    pub(crate) pairing: Pairing,
    pub(crate) authority: Authority,
    _folder: TempDir,
}

/// A certificate with its key.
pub(crate) struct Identity {
    pub(crate) key: TlsKey,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Bench {
    /// One that nobody owns.
    pub(crate) async fn free() -> Self {
        Self::with(Limits::default(), false).await
    }

    /// One with an owner.
    pub(crate) async fn owned() -> Self {
        Self::with(Limits::default(), true).await
    }

    pub(crate) async fn with(limits: Limits, owned: bool) -> Self {
        let bench = Self::start(limits, owned, |_, _| {}).await;
        if owned {
            bench.until_certified().await;
        }
        bench
    }

    /// One with an owner, whose vault does not answer.
    pub(crate) async fn owned_without_vault() -> Self {
        Self::start(Limits::default(), true, |vault, _| std::fs::remove_file(&vault.socket).unwrap()).await
    }

    /// One with an owner that is started in the state which `before` makes.
    pub(crate) async fn owned_after(before: impl FnOnce(&FakeVault, &Daemon)) -> Self {
        Self::start(Limits::default(), true, before).await
    }

    async fn start(limits: Limits, owned: bool, before: impl FnOnce(&FakeVault, &Daemon)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vault = FakeVault::start(folder.path());
        let daemon = host::daemon(&folder.path().join("state"), &vault);
        let host = host::host(&daemon, &vault);
        let authority = Authority::create(&mut OsRng).unwrap();
        if owned {
            let box_key = vault.sealed().box_key.public();
            vault.sealed().authority = Some(authority.public());
            daemon.folder.keep_owner(&certificates(&authority, &box_key)).unwrap();
        }
        before(&vault, &daemon);
        let pairing = Pairing::new(CodeDesk::open(folder.path().join("pairing.json")).unwrap());
        let parts = Parts { host: Arc::clone(&host), vault: vault.socket.clone(), pairing: pairing.clone(), limits };
        let server = api::start(parts, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        Self { server, daemon, host, vault, pairing, authority, _folder: folder }
    }

    /// Waits until the vault has certified the daemon's key.
    pub(crate) async fn until_certified(&self) {
        for _ in 0..2_000 {
            if TlsConnector::from(self.tls(None)).connect(name(), self.tcp().await).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the key of the API is not certified");
    }

    pub(crate) fn target(&self) -> Target {
        self.server.address().to_string().parse().unwrap()
    }

    pub(crate) fn identity(&self, role: Role) -> Identity {
        identity_of(&self.authority, role)
    }

    pub(crate) fn tls(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        Self::tls_by(&self.authority, identity)
    }

    /// As who knows the box by this authority.
    pub(crate) fn client_by(&self, authority: &Authority, role: Role) -> Client {
        Client::new(self.target(), Self::tls_by(authority, Some(&identity_of(authority, role))))
    }

    fn tls_by(authority: &Authority, identity: Option<&Identity>) -> Arc<ClientConfig> {
        let judge = BoxJudge::new(authority.certificate().clone(), Expected::default(), now).unwrap();
        let identity = identity.map(|identity| (&identity.key, identity.certificate.clone()));
        tls::client_config(Arc::new(judge), identity).unwrap()
    }

    /// A client with a new certificate of this role.
    pub(crate) fn client(&self, role: Role) -> Client {
        self.client_of(Some(&self.identity(role)))
    }

    pub(crate) fn client_of(&self, identity: Option<&Identity>) -> Client {
        Client::new(self.target(), self.tls(identity))
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.server.address()).await.unwrap()
    }

    /// The same to a box whose certificate is not looked at.
    pub(crate) async fn raw_unjudged(&self, identity: Option<&Identity>) -> Raw {
        let mut config = Arc::unwrap_or_clone(tls::pairing_client_config().unwrap());
        if let Some(identity) = identity {
            let showing = self.tls(Some(identity));
            config.client_auth_cert_resolver = Arc::clone(&showing.client_auth_cert_resolver);
        }
        let connector = TlsConnector::from(Arc::new(config));
        Raw(connector.connect(name(), self.tcp().await).await.unwrap())
    }

    /// The same to a reader for whom the system keeps little that he does not read.
    pub(crate) async fn raw_narrow(&self, identity: &Identity) -> Raw {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let tcp = socket.connect(self.server.address()).await.unwrap();
        Raw(TlsConnector::from(self.tls(Some(identity))).connect(name(), tcp).await.unwrap())
    }

    /// A connection over which a test writes what it likes.
    pub(crate) async fn raw(&self, identity: Option<&Identity>) -> Raw {
        self.raw_at(self.server.address(), identity).await
    }

    /// The same to another address of the box.
    pub(crate) async fn raw_at(&self, address: SocketAddr, identity: Option<&Identity>) -> Raw {
        let tcp = TcpStream::connect(address).await.unwrap();
        Raw(TlsConnector::from(self.tls(identity)).connect(name(), tcp).await.unwrap())
    }
}

impl Identity {
    pub(crate) fn serial(&self) -> String {
        parse_client(&self.certificate).unwrap().serial_text()
    }
}

/// What a box keeps of its owner.
pub(crate) fn certificates(authority: &Authority, box_key: &P256Public) -> Owner {
    let of_box = authority.issue_box(&BOX_NAME, box_key, now(), &mut OsRng).unwrap();
    Owner { authority: authority.certificate().to_vec(), box_certificate: of_box.to_vec() }
}

pub(crate) fn identity_of(authority: &Authority, role: Role) -> Identity {
    let key = TlsKey::random(&mut OsRng);
    let certificate = authority.issue_client("ada", role, &key.public(), now(), &mut OsRng).unwrap();
    Identity { key, certificate }
}

/// A connection over which a test writes what it likes.
pub(crate) struct Raw(pub(crate) TlsStream<TcpStream>);

/// What came back over one.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl RawAnswer {
    pub(crate) fn problem(&self) -> ProblemId {
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem: Problem = serde_json::from_value(self.body.clone()).unwrap();
        assert_eq!(problem.status, self.status);
        assert!(self.head.contains(&format!("x-request-id: {}", problem.instance)), "{self:?}");
        problem.id().unwrap()
    }
}

impl Raw {
    pub(crate) async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Sends a request with these header lines and this body.
    pub(crate) async fn ask(&mut self, line: &str, headers: &[&str], body: &str) -> RawAnswer {
        let mut text = format!("{line} HTTP/1.1\r\nhost: box\r\ncontent-length: {}\r\n", body.len());
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.push_str(body);
        self.write(&text).await;
        self.answer().await
    }

    /// The next answer, by its length.
    pub(crate) async fn answer(&mut self) -> RawAnswer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let len = head.split("content-length: ").nth(1).map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        let mut body = vec![0; len];
        self.0.read_exact(&mut body).await.unwrap();
        let text = String::from_utf8_lossy(&body).into_owned();
        RawAnswer { status, head, body: serde_json::from_slice(&body).unwrap_or(Value::Null), text }
    }

    /// Waits until the other side closes.
    pub(crate) async fn closed(mut self) {
        let mut rest = Vec::new();
        // An end without TLS's farewell is an end too.
        let _ =
            tokio::time::timeout(Duration::from_secs(20), self.0.read_to_end(&mut rest)).await.expect("it stays open");
    }
}

pub(crate) fn name() -> ServerName<'static> {
    ServerName::try_from("box.local").unwrap()
}

/// The problem that an answer was.
#[track_caller]
pub(crate) fn problem<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> ProblemId {
    let error = answer.unwrap_err();
    error.problem().unwrap_or_else(|| panic!("no problem: {error:?}")).id().unwrap()
}
