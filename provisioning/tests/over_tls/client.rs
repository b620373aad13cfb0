//! The client against answers as they should be and as they should not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_api::{Event, EventKind, Gap, ProblemId, Timestamp, Version};
use holdfast_provisioning::client::{ANSWER_LEN_MAX, Call, Client, ClientError, Timeouts};
use holdfast_provisioning::tls::{TlsKey, pairing_client_config, server_config};
use hyper::Request;
use hyper::body::Incoming;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{Reply, Served, json, problem, reply, rng, serve};

fn config() -> Arc<ServerConfig> {
    let key = TlsKey::random(&mut rng(1));
    server_config(&key, vec![key.self_signed().unwrap()], None).unwrap()
}

fn client(target: &str) -> Client {
    Client::new(target.parse().unwrap(), pairing_client_config().unwrap())
}

async fn answering(answer: impl Fn(&Request<Incoming>) -> Reply + Send + Sync + 'static) -> (Served, Client) {
    let answer = Arc::new(answer);
    let served = serve(config(), move |_, request| std::future::ready(answer(&request))).await;
    let client = client(&served.address.to_string());
    (served, client)
}

/// A box that writes these bytes on its connections, one after the other, and then closes; what it is asked is kept.
async fn scripted(replies: &'static [&'static [u8]]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(config());
        for bytes in replies {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(tcp).await.unwrap();
            let mut request = vec![0; 4096];
            let len = stream.read(&mut request).await.unwrap();
            kept.lock().unwrap().push(String::from_utf8_lossy(&request[..len]).into_owned());
            // Who has enough hangs up in the middle.
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, asked)
}

const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull";

#[tokio::test]
async fn an_answer_is_typed_and_a_problem_is_an_error() {
    let (_served, client) = answering(|request| match request.uri().path() {
        "/v1/version" => json(&Version { version: "0.1.0".to_owned(), board: "x".to_owned() }),
        "/v1/nothing" => reply(204, "text/plain", ""),
        "/v1/html" => reply(502, "text/html", "<h1>Bad Gateway</h1>"),
        "/v1/other" => json(&[1, 2]),
        _ => problem(ProblemId::Owned),
    })
    .await;
    let version: Version = client.get("/v1/version").await.unwrap();
    assert_eq!(version.version, "0.1.0");
    client.get::<()>("/v1/nothing").await.unwrap();
    let refused = client.post_nothing::<()>("/v1/pairing/start").await.unwrap_err();
    assert_eq!(refused.problem().unwrap().id(), Some(ProblemId::Owned));
    assert_eq!(refused.to_string(), "because");
    for path in ["/v1/html", "/v1/other"] {
        assert!(matches!(client.get::<Version>(path).await, Err(ClientError::Answer { .. })), "{path}");
    }
    assert!(matches!(client.get::<()>("no path").await, Err(ClientError::Request { .. })));
}

#[tokio::test]
async fn what_is_asked_carries_its_headers() {
    let (_served, client) = answering(|request| {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        json(&(request.method().as_str(), header("idempotency-key"), header("if-match"), header("content-type")))
    })
    .await;
    type Seen = (String, Option<String>, Option<String>, Option<String>);
    let post = Call::post("/v1/a");
    let (one, other): (Seen, Seen) =
        tokio::join!(async { client.call(post.clone()).await.unwrap().json().unwrap() }, async {
            client.call(Call::post("/v1/a")).await.unwrap().json().unwrap()
        },);
    assert_eq!(one.1.as_ref().unwrap().len(), 32);
    assert_ne!(one.1, other.1, "each request has a key of its own");
    let named: Seen = client.call(post.idempotency_key("mine")).await.unwrap().json().unwrap();
    assert_eq!(named.1.as_deref(), Some("mine"));
    let put = Call::put("/v1/a").json(&1).unwrap().if_match("\"7\"");
    let put: Seen = client.call(put).await.unwrap().json().unwrap();
    assert_eq!(put, ("PUT".to_owned(), None, Some("\"7\"".to_owned()), Some("application/json".to_owned())));
}

#[tokio::test]
async fn one_connection_serves_and_is_made_anew_when_the_box_has_closed_it() {
    let connections = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&connections);
    let served = serve(config(), move |peer, request| {
        seen.fetch_max(peer.number + 1, Ordering::Relaxed);
        let mut reply = json(&());
        if request.uri().path() == "/v1/last" {
            reply.headers_mut().insert("connection", "close".parse().unwrap());
        }
        std::future::ready(reply)
    })
    .await;
    let client = client(&served.address.to_string());
    for (path, expected) in [("/v1/a", 1), ("/v1/b", 1), ("/v1/last", 1), ("/v1/c", 2), ("/v1/d", 2)] {
        client.get::<()>(path).await.unwrap();
        assert_eq!(connections.load(Ordering::Relaxed), expected, "{path}");
    }
}

#[tokio::test]
async fn what_may_have_been_done_is_repeated_only_where_that_does_no_harm() {
    // The second request on a kept connection is read and not answered.
    const CUT: &[&[u8]] = &[EMPTY, b"", EMPTY];
    for (call, repeats) in [(Call::post("/v1/a"), true), (Call::get("/v1/a"), true), (Call::put("/v1/a"), false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = client(&listener.local_addr().unwrap().to_string());
        let script = tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(config());
            let mut asked = Vec::new();
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(tcp).await.unwrap();
            for bytes in &CUT[..2] {
                asked.push(read(&mut stream).await);
                stream.write_all(bytes).await.unwrap();
            }
            drop(stream);
            if repeats {
                let (tcp, _) = listener.accept().await.unwrap();
                let mut stream = acceptor.accept(tcp).await.unwrap();
                asked.push(read(&mut stream).await);
                stream.write_all(CUT[2]).await.unwrap();
            }
            asked
        });
        client.get::<()>("/v1/first").await.unwrap();
        let answer = client.call(call).await;
        assert_eq!(answer.is_ok(), repeats, "{answer:?}");
        let asked = script.await.unwrap();
        assert!(!repeats || asked[1] == asked[2], "the same request, with the same key");
    }
}

async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut request = vec![0; 4096];
    let len = stream.read(&mut request).await.unwrap();
    String::from_utf8_lossy(&request[..len]).into_owned()
}

#[tokio::test]
async fn an_answer_has_an_end() {
    let (_served, client) = answering(|request| match request.uri().path() {
        "/v1/most" => reply(200, "application/octet-stream", vec![0; ANSWER_LEN_MAX]),
        _ => reply(200, "application/octet-stream", vec![0; ANSWER_LEN_MAX + 1]),
    })
    .await;
    assert_eq!(client.call(Call::get("/v1/most")).await.unwrap().body().len(), ANSWER_LEN_MAX);
    let refused = client.call(Call::get("/v1/more")).await.unwrap_err();
    assert!(matches!(refused, ClientError::AnswerTooLarge { len_max: ANSWER_LEN_MAX }));
}

/// Bytes that a box of ours never sends.
#[tokio::test]
async fn what_is_no_http_is_an_error() {
    const NONE: &[&[u8]] = &[
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{",
    ];
    let (target, _) = scripted(NONE).await;
    for bytes in NONE {
        let answer = client(&target).get::<()>("/v1/version").await;
        let expected = matches!(answer, Err(ClientError::Interrupted { .. } | ClientError::Answer { .. }));
        assert!(expected, "{:?}: {answer:?}", String::from_utf8_lossy(bytes));
    }
}

#[tokio::test]
async fn silence_ends_a_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let soon = Duration::from_millis(50);
    // Nobody accepts: the kernel does, and TLS gets no answer.
    let hasty = client(&target).with_timeouts(Timeouts { connect: soon, answer: soon, idle: soon });
    assert!(matches!(hasty.get::<()>("/v1/version").await, Err(ClientError::TimedOut { .. })));
    drop(listener);
    let gone = client(&target).get::<()>("/v1/version").await.unwrap_err();
    assert_eq!(gone.to_string(), format!("{target} is not reached: is it on, and in this network?"));
}

fn gap(id: u64) -> Event {
    Event { id, at: Timestamp::default(), what: EventKind::Gap(Gap { from: 1, to: id }) }
}

#[tokio::test]
async fn events_go_on_after_the_last_one_when_the_connection_breaks() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let event = |id| format!("id: {id}\nevent: gap\ndata: {}\n\n", serde_json::to_string(&gap(id)).unwrap());
    // The second ends in the middle of an event.
    let first = format!("{HEAD}: welcome\n\n{}{}{}", event(7), event(8), &event(9)[..12]);
    let second = format!("{HEAD}{}", event(9));
    let replies: [&'static [u8]; 4] =
        [first.leak().as_bytes(), second.leak().as_bytes(), HEAD.as_bytes(), HEAD.as_bytes()];
    let (target, asked) = scripted(Box::leak(Box::new(replies))).await;
    let mut events = client(&target).events(Some(6)).await.unwrap();
    for id in [7, 8, 9] {
        assert_eq!(events.next().await.unwrap(), gap(id));
    }
    assert_eq!(events.after(), Some(9));
    // A box that only ever hangs up is not asked for ever.
    assert!(events.next().await.is_err());
    let resumed: Vec<String> = asked.lock().unwrap().iter().map(|request| last_event_id(request)).collect();
    assert_eq!(resumed, ["6", "8", "9"]);
}

fn last_event_id(request: &str) -> String {
    let line = request.lines().find_map(|line| line.strip_prefix("last-event-id: "));
    line.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn events_that_are_none_are_errors() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let other_id = format!("{HEAD}id: 8\ndata: {}\n\n", serde_json::to_string(&gap(7)).unwrap());
    let replies: [&'static [u8]; 2] = [other_id.leak().as_bytes(), format!("{HEAD}data: {{}}\n\n").leak().as_bytes()];
    let (target, _) = scripted(Box::leak(Box::new(replies))).await;
    for _ in 0..2 {
        let mut events = client(&target).events(None).await.unwrap();
        assert!(matches!(events.next().await, Err(ClientError::Answer { .. })));
    }
    let (_served, refusing) = answering(|_| problem(ProblemId::Unauthenticated)).await;
    let refused = refusing.events(None).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().id(), Some(ProblemId::Unauthenticated));
}
