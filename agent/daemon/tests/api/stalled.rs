//! Readers that ask and then take nothing: they are cut off, and nobody else waits for them.

use std::time::Duration;

use holdfast_api::{EventKind, ModeChange, Role, Version};
use holdfast_types::Mode;
use holdfastd::edge::api::Limits;
use tokio::io::AsyncReadExt as _;

use crate::kit::{Bench, Raw};

/// Limits under which a reader that takes nothing is cut off soon.
fn impatient() -> Limits {
    // The watch over a connection looks again at least this often.
    Limits { stalled: STALLED, header: Duration::from_millis(200), ..Limits::default() }
}

fn mode() -> EventKind {
    EventKind::Mode(ModeChange { mode: Mode::Paired, reason: "again".to_owned() })
}

/// Waits until the box has reset the connection, while nothing of it is read.
async fn until_reset(raw: &Raw) {
    let (tcp, _) = raw.0.get_ref();
    let reset = async {
        while tcp.take_error().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reset).await.expect("who reads nothing keeps his connection");
}

#[tokio::test]
async fn who_takes_no_answer_is_cut_off_and_delays_nobody() {
    let bench = Bench::with(impatient(), true).await;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut raw = bench.raw_narrow(&bench.identity(Role::Reader)).await;
        // More than the system keeps for him.
        raw.write(&"GET /v1/openapi.json HTTP/1.1\r\nhost: box\r\n\r\n".repeat(64)).await;
        stalled.push(raw);
    }
    let other = bench.client(Role::Reader);
    for _ in 0..20 {
        let answered = tokio::time::timeout(Duration::from_secs(5), other.get::<Version>("/v1/version"));
        answered.await.expect("others wait for those who read nothing").unwrap();
    }
    for raw in &stalled {
        until_reset(raw).await;
    }
}

#[tokio::test]
async fn who_takes_no_events_is_cut_off_and_delays_nobody() {
    let bench = Bench::with(impatient(), true).await;
    let mut stalled = bench.raw_narrow(&bench.identity(Role::Reader)).await;
    stalled.write("GET /v1/events HTTP/1.1\r\nhost: box\r\n\r\n").await;
    // It has begun, and from here on nothing is read.
    stalled.0.read_u8().await.unwrap();
    let mut other = bench.client(Role::Reader).events(None).await.unwrap();
    let events: Vec<u64> = (0..EVENTS).map(|_| bench.daemon.events.push(mode())).collect();
    for id in events {
        assert_eq!(other.next().await.unwrap().id, id);
    }
    until_reset(&stalled).await;
}

#[tokio::test]
async fn a_slow_reader_that_takes_what_comes_is_not_cut_off() {
    let bench = Bench::with(impatient(), true).await;
    let mut stream = bench.client(Role::Reader).events(None).await.unwrap();
    // Silent for longer than a stalled reader may be, and nothing waits for him.
    tokio::time::sleep(4 * STALLED).await;
    let last = bench.daemon.events.push(mode());
    assert_eq!(stream.next().await.unwrap().id, last);
}

#[tokio::test]
async fn one_certificate_does_not_keep_others_from_events() {
    let bench = Bench::owned().await;
    let reader = bench.client(Role::Reader);
    let mut streams = Vec::new();
    while let Ok(stream) = reader.events(None).await {
        streams.push(stream);
    }
    let mut admin = bench.client(Role::Admin).events(None).await.unwrap();
    let pushed = bench.daemon.events.push(mode());
    assert_eq!(admin.next().await.unwrap().id, pushed);
    streams.remove(0).next().await.unwrap_err();
    streams.remove(0).next().await.unwrap();
}

const STALLED: Duration = Duration::from_millis(500);
/// Some MiB, of which the system keeps a part for a reader.
const EVENTS: usize = 10_000;
