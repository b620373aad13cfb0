//! A small box for pairing: TLS and the key exchange are real, the vault is played.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::{Problem, ProblemId};
use holdfast_evidence::SignedOrder;
use holdfast_evidence::names::{common_name, key_id};
use holdfast_provisioning::code::PairingCode;
use holdfast_provisioning::pake::{BoxExchange, Verifier};
use holdfast_provisioning::tls::{BoxClock, ClientJudge, TlsKey, binding, server_config};
use holdfast_provisioning::words::four_words;
use holdfast_types::Challenge;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::*;
use crate::evidence::played::{answer_of, opened};

/// The code on its screen.
pub(super) const CODE: &str = "0000-0014-U";

/// What is wrong with the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tampering {
    /// Its evidence is forged.
    Evidence,
    /// Its vault refuses to be owned.
    NeverOwned,
    /// Nothing.
    None,
    /// It does not know the code.
    OtherCode,
}

impl Played {
    /// The certificate of the TLS key, as the vault makes it.
    fn leaf(&self) -> CertificateDer<'static> {
        let pair = |key: &TlsKey| KeyPair::from_pem(&key.to_pem().unwrap()).unwrap();
        let mut issuer = CertificateParams::default();
        issuer.distinguished_name = DistinguishedName::new();
        issuer.distinguished_name.push(DnType::CommonName, common_name(&BOX));
        issuer.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        issuer.key_identifier_method = KeyIdMethod::PreSpecified(key_id(&self.box_key.public()).unwrap().to_vec());
        let issuer_key = pair(&self.box_key);
        let issuer = issuer.self_signed(&issuer_key).unwrap();
        let mut leaf = CertificateParams::new(vec!["box-0707.local".to_owned()]).unwrap();
        leaf.distinguished_name.push(DnType::CommonName, common_name(&BOX));
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        leaf.signed_by(&pair(&self.tls), &issuer, &issuer_key).unwrap().der().clone()
    }
}

/// A box that serves until the test is over.
pub(super) struct Server {
    pub(super) address: String,
    pub(super) box_name: BoxName,
    pub(super) owned: Receiver<Owned>,
}

/// What the box learned when it was owned.
pub(super) struct Owned {
    pub(super) authority: P256Public,
    pub(super) words: String,
}

struct Played {
    tampering: Tampering,
    tpm: Tpm,
    tls: TlsKey,
    box_key: TlsKey,
    owned: SyncSender<Owned>,
}

type Stream = BufReader<StreamOwned<ServerConnection, TcpStream>>;

pub(super) fn serve(tampering: Tampering, tpm: Tpm) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (send, owned) = sync_channel(1);
    let played =
        Played { tampering, tpm, tls: TlsKey::random(&mut OsRng), box_key: TlsKey::random(&mut OsRng), owned: send };
    thread::spawn(move || {
        let own = vec![played.tls.self_signed().unwrap()];
        let mut config = server_config(&played.tls, own, None).unwrap();
        while let Ok((tcp, _)) = listener.accept() {
            if let Some(next) = played.converse(tcp, &config) {
                config = next;
            }
        }
    });
    Server { address, box_name: BOX, owned }
}

impl Played {
    /// Answers until the command hangs up. A box that is owned now serves with other certificates from then on.
    fn converse(&self, tcp: TcpStream, config: &Arc<ServerConfig>) -> Option<Arc<ServerConfig>> {
        let connection = ServerConnection::new(Arc::clone(config)).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(connection, tcp));
        let (mut exchange, mut words, mut next) = (None, String::new(), None);
        while let Some((path, body)) = read_request(&mut stream) {
            let text = |field: &str| STANDARD.decode(body[field].as_str().unwrap()).unwrap();
            let (status, answer) = match path.as_str() {
                "/v1/pairing/start" => {
                    let bound = binding(&stream.get_ref().conn).unwrap();
                    let (started, ke2) =
                        BoxExchange::answer(&self.verifier(), &text("message"), &bound, &mut OsRng).unwrap();
                    exchange = Some(started);
                    (200, json!({"message": STANDARD.encode(ke2), "triesLeft": 4}))
                }
                "/v1/pairing/finish" => {
                    words = four_words(&exchange.take().unwrap().finish(&text("message")).unwrap());
                    (200, json!({"boxName": BOX, "boxKey": self.box_key.public(), "challenge": CHALLENGE}))
                }
                "/v1/pairing/evidence" if self.tampering == Tampering::Evidence => {
                    (200, json!({"evidence": STANDARD.encode("forged")}))
                }
                "/v1/pairing/evidence" => (200, answer_of(self.tpm, self.box_key.public())),
                "/v1/pairing/credential" => (200, opened()),
                "/v1/pairing/own" if self.tampering == Tampering::NeverOwned => {
                    (422, json!(Problem::new(ProblemId::OrderRefused, "the vault is not empty", "7")))
                }
                "/v1/pairing/own" => {
                    next = Some(self.own(&body, &words));
                    (204, Value::Null)
                }
                "/v1/version" => (200, json!({"version": "0.3.0", "board": "x86-64-uefi"})),
                other => panic!("nobody expected {other}"),
            };
            write_answer(&mut stream, status, &answer)?;
        }
        next
    }

    fn verifier(&self) -> Verifier {
        let code = if self.tampering == Tampering::OtherCode {
            PairingCode::random(holdfast_provisioning::code::CodeKind::Screen, &mut OsRng)
        } else {
            CODE.parse().unwrap()
        };
        Verifier::new(&code, &mut OsRng)
    }

    /// Checks the order as a vault does, and takes the certificates as a daemon does.
    fn own(&self, body: &Value, words: &str) -> Arc<ServerConfig> {
        let bytes = |field: &str| STANDARD.decode(body[field].as_str().unwrap()).unwrap();
        let signed: SignedOrder = SignedOrder::from_bytes(&bytes("order")).unwrap();
        let Order::Own { authority, firmware } = signed.unverified().unwrap().order else {
            panic!("not the order Own")
        };
        let text = signed.verify(&authority).unwrap();
        assert_eq!((text.to, text.challenge), (BOX, CHALLENGE));
        firmware.verify(&authority).unwrap();
        let certificate = bytes("authorityCertificate");
        assert_eq!(holdfast_provisioning::certificate::public_key(&certificate).unwrap(), authority);
        let chain = vec![self.leaf(), bytes("boxCertificate").into()];
        let judge = ClientJudge::new(certificate.into(), Arc::default(), || BoxClock::Synchronised(now())).unwrap();
        let _ = self.owned.send(Owned { authority, words: words.to_owned() });
        server_config(&self.tls, chain, Some(Arc::new(judge))).unwrap()
    }
}

fn read_request(stream: &mut Stream) -> Option<(String, Value)> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.to_lowercase());
    }
    let length = head.iter().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let path = head[0].split(' ').nth(1).unwrap().to_owned();
    Some((path, serde_json::from_slice(&body).unwrap_or_default()))
}

fn write_answer(stream: &mut Stream, status: u16, answer: &Value) -> Option<()> {
    let body = if answer.is_null() { String::new() } else { answer.to_string() };
    let length = body.len();
    let kind = if status < 400 { "application/json" } else { "application/problem+json" };
    let stream = stream.get_mut();
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}").ok()?;
    stream.flush().ok()
}

const BOX: BoxName = BoxName([7; 32]);
const CHALLENGE: Challenge = Challenge([9; 32]);
