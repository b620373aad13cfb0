//! What strangers can do to the API without a certificate, and to whom it does not matter.

use std::time::Duration;

use holdfast_api::{ProblemId, Role, Version};
use holdfastd::edge::api::{Limits, Rate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::{Bench, problem};

#[tokio::test]
async fn thousands_of_half_open_connections_keep_no_admin_out() {
    let bench = Bench::owned().await;
    let admin = bench.client(Role::Admin);
    admin.get::<Version>("/v1/version").await.unwrap();
    let mut held: Vec<TcpStream> = Vec::new();
    for at in 0..3_000 {
        let Ok(mut stream) = TcpStream::connect(bench.server.address()).await else { continue };
        if at % 2 == 0 {
            // The beginning of a TLS record that never ends; who was closed already does not matter.
            let _ = stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).await;
        }
        held.push(stream);
        // The test's own descriptors are bounded too: the half that the box has dropped goes.
        if held.len() > 600 {
            held.drain(..200);
        }
    }
    // The connection that was open goes on, and a new one gets in.
    admin.get::<Version>("/v1/version").await.unwrap();
    bench.client(Role::Admin).get::<Version>("/v1/version").await.unwrap();
    let mut oldest = held.swap_remove(0);
    let mut byte = [0];
    let ended = tokio::time::timeout(Duration::from_secs(20), oldest.read(&mut byte)).await.expect("it is still held");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test]
async fn strangers_push_out_strangers_only() {
    let limits = Limits { strangers: 4, connections: 8, ..Limits::default() };
    let bench = Bench::with(limits, true).await;
    let admin = bench.client(Role::Admin);
    admin.get::<Version>("/v1/version").await.unwrap();
    let mut strangers = Vec::new();
    for _ in 0..6 {
        strangers.push(bench.raw(None).await);
    }
    strangers.remove(0).closed().await;
    admin.get::<Version>("/v1/version").await.unwrap();
    let last = strangers.last_mut().unwrap().ask("GET /v1/version", &[], "").await;
    assert_eq!(last.problem(), ProblemId::Unauthenticated);
}

#[tokio::test]
async fn a_header_or_body_that_trickles_is_given_up() {
    let short = Duration::from_millis(200);
    let limits = Limits { header: short, body: short, handshake: Duration::from_secs(5), ..Limits::default() };
    let bench = Bench::with(limits, true).await;
    let admin = bench.identity(Role::Admin);
    let mut slow = bench.raw(Some(&admin)).await;
    slow.write("GET /v1/version HTTP/1.1\r\nho").await;
    slow.closed().await;
    let mut slow = bench.raw(Some(&admin)).await;
    slow.write(
        "POST /v1/vault/orders HTTP/1.1\r\nhost: box\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{",
    )
    .await;
    assert_eq!(slow.answer().await.problem(), ProblemId::BadRequest);
}

#[tokio::test]
async fn a_silent_connection_is_closed_a_strangers_sooner() {
    let limits = Limits {
        silent: 8,
        handshake: Duration::from_millis(300),
        idle_stranger: Duration::from_millis(100),
        ..Limits::default()
    };
    let bench = Bench::with(limits, true).await;
    let mut client = bench.raw(Some(&bench.identity(Role::Reader))).await;
    bench.raw(None).await.closed().await;
    let mut silent = bench.tcp().await;
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
    assert_eq!(client.ask("GET /v1/version", &[], "").await.status, 200);
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let rate = Rate { burst: 3, every: Duration::from_secs(60) };
    let bench = Bench::with(Limits { rate, rate_stranger: rate, ..Limits::default() }, true).await;
    let identity = bench.identity(Role::Reader);
    for identity in [None, Some(&identity)] {
        let mut raw = bench.raw(identity).await;
        let mut last = raw.ask("GET /v1/version", &[], "").await;
        for _ in 0..3 {
            last = raw.ask("GET /v1/version", &[], "").await;
        }
        assert_eq!(last.problem(), ProblemId::TooManyRequests);
        assert!(last.head.contains("retry-after: "), "{last:?}");
    }
    // Another certificate has a bucket of its own.
    let other = bench.client(Role::Reader);
    other.get::<Version>("/v1/version").await.unwrap();
    other.get::<Version>("/v1/version").await.unwrap();
    other.get::<Version>("/v1/version").await.unwrap();
    assert_eq!(problem(other.get::<Version>("/v1/version").await), ProblemId::TooManyRequests);
}

#[tokio::test]
async fn what_hyper_answers_itself_has_no_body_and_ends_the_connection() {
    let bench = Bench::owned().await;
    let long = format!("GET /v1/version HTTP/1.1\r\nhost: {}\r\n", "x".repeat(40_000));
    for (request, status) in [(long.as_str(), 431), ("no request at all\r\n\r\n", 400)] {
        let mut raw = bench.raw(Some(&bench.identity(Role::Admin))).await;
        raw.write(request).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.body.is_null()), (status, true), "{answer:?}");
        raw.closed().await;
    }
}
