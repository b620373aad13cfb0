//! A box that speaks TLS and HTTP for real and is otherwise a script, and the certificates around it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use holdfast_api::{Problem, ProblemId};
use holdfast_evidence::names::{common_name, key_id};
use holdfast_provisioning::authority::Authority;
use holdfast_provisioning::client::Target;
use holdfast_provisioning::pake::Binding;
use holdfast_provisioning::tls::{self, TlsKey};
use holdfast_types::{BoxName, Millis};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub(crate) const NOW: Millis = Millis(1_795_779_617_000);
pub(crate) const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
pub(crate) const BOX_NAME: BoxName = BoxName([0x7f; 32]);

pub(crate) fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Who is at the other end of a connection, as the box sees it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) binding: Binding,
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// The number of the connection, from 0.
    pub(crate) number: usize,
}

/// A box, until it is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) fn target(&self) -> Target {
        self.address.to_string().parse().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) type Reply = Response<Full<Bytes>>;

/// Serves HTTP over TLS on loopback.
pub(crate) async fn serve<Answering: Future<Output = Reply> + Send + 'static>(
    config: Arc<ServerConfig>,
    answer: impl Fn(Peer, Request<Incoming>) -> Answering + Clone + Send + Sync + 'static,
) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        for number in 0.. {
            let (tcp, _) = listener.accept().await.unwrap();
            let (acceptor, answer) = (TlsAcceptor::from(Arc::clone(&config)), answer.clone());
            tokio::spawn(async move {
                // Who is refused is told so by TLS, and it is his test that looks at it.
                let Ok(stream) = acceptor.accept(tcp).await else { return };
                let tls = stream.get_ref().1;
                let certificate = tls.peer_certificates().map(|chain| chain[0].clone().into_owned());
                let peer = Peer { binding: tls::binding(tls).unwrap(), certificate, number };
                let service = service_fn(move |request| {
                    let reply = answer(peer.clone(), request);
                    async move { Ok::<_, std::convert::Infallible>(reply.await) }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Served { address, task }
}

pub(crate) fn reply(status: u16, kind: &str, body: impl Into<Bytes>) -> Reply {
    Response::builder().status(status).header("content-type", kind).body(Full::new(body.into())).unwrap()
}

pub(crate) fn json(value: &impl serde::Serialize) -> Reply {
    reply(200, "application/json", serde_json::to_vec(value).unwrap())
}

pub(crate) fn problem(id: ProblemId) -> Reply {
    let problem = Problem::new(id, "because", "7");
    reply(id.status(), "application/problem+json", serde_json::to_vec(&problem).unwrap())
}

pub(crate) fn authority(seed: u64) -> Authority {
    Authority::create(&mut rng(seed)).unwrap()
}

/// The keys of a box.
pub(crate) struct BoxKeys {
    pub(crate) box_key: TlsKey,
    pub(crate) tls_key: TlsKey,
}

impl BoxKeys {
    pub(crate) fn new(seed: u64) -> Self {
        Self { box_key: TlsKey::random(&mut rng(seed)), tls_key: TlsKey::random(&mut rng(seed + 1_000)) }
    }

    /// The box's chain as the vault and the authority make it, with a leaf of these dates.
    pub(crate) fn chain(&self, authority: &Authority, from: Millis, until: Millis) -> Vec<CertificateDer<'static>> {
        let box_certificate = authority.issue_box(&BOX_NAME, &self.box_key.public(), NOW, &mut rng(9)).unwrap();
        vec![self.leaf(from, until, |_| {}), box_certificate]
    }

    /// A leaf for the TLS key by the box key.
    pub(crate) fn leaf(
        &self,
        from: Millis,
        until: Millis,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let mut leaf = CertificateParams::new(vec!["box-7f7f.local".to_owned()]).unwrap();
        leaf.distinguished_name.push(DnType::CommonName, common_name(&BOX_NAME));
        leaf.not_before = moment(from);
        leaf.not_after = moment(until);
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        change(&mut leaf);
        let (issuer, issuer_key) = self.issuer();
        leaf.signed_by(&pair(&self.tls_key), &issuer, &issuer_key).unwrap().der().clone()
    }

    /// The box key as a certificate library wants it.
    fn issuer(&self) -> (rcgen::Certificate, KeyPair) {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, common_name(&BOX_NAME));
        let id = key_id(&self.box_key.public()).unwrap();
        parameters.key_identifier_method = KeyIdMethod::PreSpecified(id.to_vec());
        let key = pair(&self.box_key);
        (parameters.self_signed(&key).unwrap(), key)
    }
}

pub(crate) fn pair(key: &TlsKey) -> KeyPair {
    KeyPair::from_pem(&key.to_pem().unwrap()).unwrap()
}

pub(crate) fn moment<Time>(at: Millis) -> Time
where
    SystemTime: Into<Time>,
{
    (SystemTime::UNIX_EPOCH + Duration::from_millis(at.0)).into()
}
