//! A vault that answers over its real socket and protocol, and seals nothing.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use holdfast_evidence::names::{common_name, key_id};
use holdfast_evidence::{Endorsement, Evidence, EvidenceBody, Order, SignedOrder, Tier};
use holdfast_provisioning::tls::TlsKey;
use holdfast_types::{BoxName, Challenge, HistoryMarks, LockHash, P256Public, P256Signature, Root};
use holdfast_vault_client::{IdentityKey, OrderOutcome, Rejection, Request, Response, VaultStatus, codec};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use rand::rngs::OsRng;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm,
};

pub(crate) const BOX_NAME: BoxName = BoxName([0x7f; 32]);
pub(crate) const CHALLENGE: Challenge = Challenge([0xc4; 32]);

/// What the vault has.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub(crate) authority: Option<P256Public>,
    pub(crate) lock_hash: Option<LockHash>,
    pub(crate) identity: Option<[u8; 32]>,
    pub(crate) orders: Vec<&'static str>,
    pub(crate) box_key: Arc<TlsKey>,
}

/// The vault, as long as this is kept.
#[derive(Clone)]
pub(crate) struct FakeVault {
    pub(crate) socket: PathBuf,
    sealed: Arc<Mutex<Sealed>>,
}

impl FakeVault {
    pub(crate) fn start(folder: &Path) -> Self {
        let socket = folder.join("vault.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let sealed = Sealed {
            authority: None,
            lock_hash: None,
            identity: None,
            orders: Vec::new(),
            box_key: Arc::new(TlsKey::random(&mut OsRng)),
        };
        let vault = Self { socket, sealed: Arc::new(Mutex::new(sealed)) };
        let serving = vault.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (serving, stream) = (serving.clone(), stream.unwrap());
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        vault
    }

    pub(crate) fn sealed(&self) -> MutexGuard<'_, Sealed> {
        self.sealed.lock().unwrap()
    }

    pub(crate) fn status(&self) -> VaultStatus {
        let sealed = self.sealed();
        VaultStatus {
            version: "1.2.3".to_owned(),
            box_name: BOX_NAME,
            authority: sealed.authority,
            lock_hash: sealed.lock_hash,
            validators: Vec::new(),
            share_index: None,
            tier: Tier::C,
            tier_reason: "the TPM is emulated".to_owned(),
            memory: "mlock".to_owned(),
            generation: None,
            level: None,
            lease: None,
            orders_logged: 0,
            orders_head: [0; 32],
            closed: None,
        }
    }

    fn serve(&self, mut stream: UnixStream) {
        loop {
            let mut header = [0; codec::HEADER_LEN];
            if stream.read_exact(&mut header).is_err() {
                return;
            }
            let mut message = vec![0; codec::frame_len(header).unwrap()];
            stream.read_exact(&mut message).unwrap();
            let answer = self.answer(codec::decode_request(&message).unwrap());
            // Whoever hung up does not read it.
            let _ = stream.write_all(&codec::encode_response(&answer).unwrap());
        }
    }

    fn answer(&self, request: Request) -> Response {
        match request {
            Request::Status => Response::Status(Box::new(self.status())),
            Request::IdentityKey => match self.sealed().identity {
                Some(key) => Response::IdentityKey(IdentityKey(key)),
                None => Response::Rejected(Rejection::NoIdentity),
            },
            Request::CertifyTlsKey { key } => Response::TlsCertificate(self.leaf(&key)),
            Request::Evidence { .. } => Response::Evidence(Box::new(self.evidence())),
            Request::ActivateCredential(_) => Response::Activated([9; 32]),
            Request::Challenge => Response::Challenge(CHALLENGE),
            Request::Order(order) => self.order(&order),
            Request::OrderLog { .. } => Response::OrderLog(Vec::new()),
            Request::HistoryBackup { .. } => {
                Response::History(HistoryMarks { genesis_validators_root: Root([1; 32]), validators: Vec::new() })
            }
            Request::RaiseLevel | Request::ApproveFirmware(_) => Response::Done,
            _ => Response::Rejected(Rejection::Malformed("this vault signs nothing".to_owned())),
        }
    }

    fn order(&self, order: &SignedOrder) -> Response {
        let text = order.unverified().unwrap();
        let kind = text.order.kind();
        let mut sealed = self.sealed();
        sealed.orders.push(kind);
        match text.order {
            Order::Own { authority, .. } if order.verify(&authority).is_ok() => sealed.authority = Some(authority),
            Order::ChangeAuthority { authority, .. }
                if sealed.authority.is_some_and(|present| order.verify(&present).is_ok()) =>
            {
                sealed.authority = Some(authority);
            }
            Order::Reset => sealed.authority = None,
            _ => {
                let refusal = Rejection::Order { kind: kind.to_owned(), reason: "not today".to_owned() };
                return Response::Rejected(refusal);
            }
        }
        Response::OrderDone(OrderOutcome::Done)
    }

    /// What the operator's command takes apart, and this API only carries.
    fn evidence(&self) -> Evidence {
        Evidence {
            body: EvidenceBody {
                box_name: BOX_NAME,
                version: "1.2.3".to_owned(),
                tier: Tier::C,
                authority: None,
                box_key: self.sealed().box_key.public(),
                import_key: None,
                custody: None,
            },
            registers: vec![0],
            values: vec![[0; 32]],
            quote: vec![1, 2, 3],
            signature: P256Signature([0; 64]),
            attestation_key: vec![4, 5, 6],
            counter: None,
            endorsement: Endorsement { public: vec![7], certificate: None },
        }
    }

    /// The week's certificate for the daemon's key, as a vault makes it.
    fn leaf(&self, key: &P256Public) -> Vec<u8> {
        let box_key = Arc::clone(&self.sealed().box_key);
        let issuer_key = KeyPair::from_pem(&box_key.to_pem().unwrap()).unwrap();
        let mut issuer = CertificateParams::default();
        issuer.distinguished_name = DistinguishedName::new();
        issuer.distinguished_name.push(DnType::CommonName, common_name(&BOX_NAME));
        issuer.key_identifier_method = KeyIdMethod::PreSpecified(key_id(&box_key.public()).unwrap().to_vec());
        let issuer = issuer.self_signed(&issuer_key).unwrap();
        let mut leaf = CertificateParams::new(vec!["box-7f7f.local".to_owned()]).unwrap();
        leaf.distinguished_name.push(DnType::CommonName, common_name(&BOX_NAME));
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        leaf.signed_by(&Point::of(key), &issuer, &issuer_key).unwrap().der().to_vec()
    }
}

struct Point(Vec<u8>);

impl Point {
    fn of(key: &P256Public) -> Self {
        let key = p256::PublicKey::from_sec1_bytes(key.as_bytes()).unwrap();
        Self(key.to_encoded_point(false).as_bytes().to_vec())
    }
}

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}
