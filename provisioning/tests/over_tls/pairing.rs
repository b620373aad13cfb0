//! Both sides of a pairing over TLS on loopback, and who is between them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::support::{Peer, Reply, Served, json, problem, rng, serve};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::{PairingFinish, PairingFinished, PairingStart, PairingStarted, ProblemId};
use holdfast_provisioning::client::{Client, ClientError, PairingClient, Timeouts};
use holdfast_provisioning::code::{CodeKind, PairingCode};
use holdfast_provisioning::desk::{CodeDesk, TRIES_MAX, Try};
use holdfast_provisioning::pake::{BoxExchange, PakeError};
use holdfast_provisioning::tls::{TlsKey, pairing_client_config, server_config};
use holdfast_provisioning::words::four_words;
use holdfast_types::Millis;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use rand::rngs::OsRng;
use rustls_pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const NOW: Millis = Millis(1_000);

/// A box that nobody owns.
struct EmptyBox {
    _folder: tempfile::TempDir,
    desk: Mutex<CodeDesk>,
    /// By connection.
    exchanges: Mutex<HashMap<usize, (BoxExchange, Try)>>,
    words: Mutex<Option<String>>,
    /// What came in, as someone may have recorded it who has broken TLS.
    bodies: Mutex<Vec<Vec<u8>>>,
    /// Whether a code is crossed out when it was right. Without that, only the exchange itself is between a replay and us.
    crosses_out: bool,
}

impl EmptyBox {
    fn new(crosses_out: bool) -> (Arc<Self>, PairingCode) {
        let folder = tempfile::tempdir().unwrap();
        let mut desk = CodeDesk::open(folder.path().join("pairing.json")).unwrap();
        let code = desk.show(NOW, &mut rng(1)).unwrap().code.unwrap();
        let empty = Self {
            _folder: folder,
            desk: Mutex::new(desk),
            exchanges: Mutex::default(),
            words: Mutex::default(),
            bodies: Mutex::default(),
            crosses_out,
        };
        (Arc::new(empty), code)
    }

    async fn serve(self: &Arc<Self>) -> Served {
        let key = TlsKey::random(&mut rng(2));
        let config = server_config(&key, vec![key.self_signed().unwrap()], None).unwrap();
        let the_box = Arc::clone(self);
        serve(config, move |peer, request| Arc::clone(&the_box).answer(peer, request)).await
    }

    async fn answer(self: Arc<Self>, peer: Peer, request: Request<Incoming>) -> Reply {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        self.bodies.lock().unwrap().push(body.to_vec());
        match &path[..] {
            "/v1/pairing/start" => self.start(&peer, &serde_json::from_slice(&body).unwrap()),
            "/v1/pairing/finish" => self.finish(&peer, &serde_json::from_slice(&body).unwrap()),
            _ => problem(ProblemId::NotFound),
        }
    }

    fn start(&self, peer: &Peer, start: &PairingStart) -> Reply {
        let Ok(the_try) = self.desk.lock().unwrap().take_try(NOW) else { return problem(ProblemId::PairingExpired) };
        let ke1 = STANDARD.decode(&start.message).unwrap();
        let Ok((exchange, ke2)) = BoxExchange::answer(&the_try.verifier, &ke1, &peer.binding, &mut OsRng) else {
            return problem(ProblemId::PairingFailed);
        };
        let tries_left = the_try.tries_left;
        self.exchanges.lock().unwrap().insert(peer.number, (exchange, the_try));
        json(&PairingStarted { message: STANDARD.encode(ke2), tries_left })
    }

    fn finish(&self, peer: &Peer, finish: &PairingFinish) -> Reply {
        let Some((exchange, the_try)) = self.exchanges.lock().unwrap().remove(&peer.number) else {
            return problem(ProblemId::Conflict);
        };
        let Ok(key) = exchange.finish(&STANDARD.decode(&finish.message).unwrap()) else {
            return problem(ProblemId::PairingFailed);
        };
        if self.crosses_out && self.desk.lock().unwrap().used(&the_try, NOW).is_err() {
            return problem(ProblemId::PairingExpired);
        }
        *self.words.lock().unwrap() = Some(four_words(&key));
        let (box_name, box_key, challenge) = ("0x01".to_owned(), "0x02".to_owned(), "0x03".to_owned());
        json(&PairingFinished { box_name, box_key, challenge })
    }

    fn words(&self) -> Option<String> {
        self.words.lock().unwrap().clone()
    }
}

async fn connect(served: &Served) -> PairingClient {
    PairingClient::connect(served.target(), Timeouts::default()).await.unwrap()
}

#[track_caller]
fn assert_problem(error: &ClientError, id: ProblemId) {
    assert_eq!(error.problem().and_then(holdfast_api::Problem::id), Some(id), "{error:?}");
}

#[tokio::test]
async fn the_right_code_pairs_once_and_both_sides_show_the_same_words() {
    let (the_box, code) = EmptyBox::new(true);
    let served = the_box.serve().await;
    let paired = connect(&served).await.pair(&code).await.unwrap();
    assert_eq!(Some(paired.words), the_box.words());
    assert_eq!(paired.said.challenge, "0x03");
    let again = connect(&served).await.pair(&code).await.unwrap_err();
    assert_problem(&again, ProblemId::PairingExpired);
}

#[tokio::test]
async fn a_wrong_code_costs_a_try_each_and_five_of_them_all() {
    let (the_box, code) = EmptyBox::new(true);
    let served = the_box.serve().await;
    let wrong = PairingCode::random(CodeKind::Screen, &mut rng(99));
    for tries in (0..TRIES_MAX).rev() {
        match connect(&served).await.pair(&wrong).await.unwrap_err() {
            ClientError::Pairing { source: PakeError::Failed, tries_left } => assert_eq!(tries_left, tries),
            other => panic!("{other:?}"),
        }
    }
    let late = connect(&served).await.pair(&code).await.unwrap_err();
    assert_problem(&late, ProblemId::PairingExpired);
    assert_eq!(the_box.words(), None);
}

#[tokio::test]
async fn a_slip_of_the_hand_is_followed_by_the_right_code_on_the_same_connection() {
    let (the_box, code) = EmptyBox::new(true);
    let served = the_box.serve().await;
    let mut client = connect(&served).await;
    client.pair(&PairingCode::random(CodeKind::Screen, &mut rng(99))).await.unwrap_err();
    client.pair(&code).await.unwrap();
}

/// He has a certificate of his own towards each side and passes on every byte that is inside.
#[tokio::test]
async fn a_man_in_the_middle_fails_even_when_he_changes_nothing() {
    let (the_box, code) = EmptyBox::new(true);
    let served = the_box.serve().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let key = TlsKey::random(&mut rng(66));
    let accept = TlsAcceptor::from(server_config(&key, vec![key.self_signed().unwrap()], None).unwrap());
    let behind = served.address;
    let relay = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut operator = accept.accept(tcp).await.unwrap();
        let connector = TlsConnector::from(pairing_client_config().unwrap());
        let tcp = TcpStream::connect(behind).await.unwrap();
        let mut the_box = connector.connect(ServerName::try_from("box").unwrap(), tcp).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut operator, &mut the_box).await;
    });
    let mut client = PairingClient::connect(address.to_string().parse().unwrap(), Timeouts::default()).await.unwrap();
    match client.pair(&code).await.unwrap_err() {
        ClientError::Pairing { source: PakeError::Failed, tries_left } => assert_eq!(tries_left, TRIES_MAX - 1),
        other => panic!("{other:?}"),
    }
    assert_eq!(the_box.bodies.lock().unwrap().len(), 1, "the message that would prove the code was never sent");
    drop(client);
    relay.await.unwrap();
    // The box is still there for who comes without him.
    connect(&served).await.pair(&code).await.unwrap();
}

#[tokio::test]
async fn a_recorded_pairing_is_worth_nothing_on_another_connection() {
    let (the_box, code) = EmptyBox::new(false);
    let served = the_box.serve().await;
    connect(&served).await.pair(&code).await.unwrap();
    let words = the_box.words();
    let recorded = std::mem::take(&mut *the_box.bodies.lock().unwrap());
    let replay = Client::new(served.target(), pairing_client_config().unwrap());
    let start: PairingStart = serde_json::from_slice(&recorded[0]).unwrap();
    let finish: PairingFinish = serde_json::from_slice(&recorded[1]).unwrap();
    let _: PairingStarted = replay.post("/v1/pairing/start", &start).await.unwrap();
    let refused = replay.post::<PairingFinished>("/v1/pairing/finish", &finish).await.unwrap_err();
    assert_problem(&refused, ProblemId::PairingFailed);
    assert_eq!(the_box.words(), words, "no other words came on the screen");
}

#[tokio::test]
async fn who_ends_an_exchange_without_having_begun_it_is_refused() {
    let (the_box, _) = EmptyBox::new(true);
    let served = the_box.serve().await;
    let client = Client::new(served.target(), pairing_client_config().unwrap());
    let finish = PairingFinish { message: STANDARD.encode([0; 64]) };
    let refused = client.post::<PairingFinished>("/v1/pairing/finish", &finish).await.unwrap_err();
    assert_problem(&refused, ProblemId::Conflict);
}

#[tokio::test]
async fn of_two_exchanges_with_the_right_code_one_pairs() {
    let (the_box, code) = EmptyBox::new(true);
    let served = the_box.serve().await;
    let (mut one, mut other) = (connect(&served).await, connect(&served).await);
    let (first, second) = tokio::join!(one.pair(&code), other.pair(&code));
    assert_eq!(usize::from(first.is_ok()) + usize::from(second.is_ok()), 1, "{first:?} {second:?}");
}
