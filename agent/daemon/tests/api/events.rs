//! Events: as they happen, from where a reader had stopped, with what is missing named.

use std::time::Duration;

use holdfast_api::{
    Action, AuditEntry, EventKind, Gap, ModeChange, ProblemId, RevocationList, RevocationRequest, Role, Timestamp,
};
use holdfast_types::{Millis, Mode};
use holdfastd::edge::api::Limits;
use holdfastd::events::{EVENTS_MAX, PAGE_MAX};

use crate::kit::{Bench, problem};

fn mode(reason: &str) -> EventKind {
    EventKind::Mode(ModeChange { mode: Mode::Paired, reason: reason.to_owned() })
}

#[tokio::test]
async fn a_reader_goes_on_after_what_he_has_seen() {
    let bench = Bench::owned().await;
    let (reader, events) = (bench.client(Role::Reader), &bench.daemon.events);
    events.push(mode("before"));
    let mut stream = reader.events(None).await.unwrap();
    let pushed = events.push(mode("first"));
    let first = stream.next().await.unwrap();
    assert_eq!((first.id, first.what), (pushed, mode("first")));
    drop(stream);
    let later: Vec<u64> = (0..10_000).map(|_| events.push(mode("again"))).collect();
    let mut stream = reader.events(Some(pushed)).await.unwrap();
    for id in later {
        let event = stream.next().await.unwrap();
        assert_eq!((event.id, event.what), (id, mode("again")));
    }
}

#[tokio::test]
async fn what_was_evicted_is_a_gap() {
    let bench = Bench::owned().await;
    let first = bench.daemon.events.push(mode("seen"));
    for _ in 0..EVENTS_MAX + 10 {
        bench.daemon.events.push(mode("again"));
    }
    let mut stream = bench.client(Role::Reader).events(Some(first)).await.unwrap();
    let gap = stream.next().await.unwrap();
    assert_eq!((gap.id, gap.what), (first + 10, EventKind::Gap(Gap { from: first + 1, to: first + 10 })));
    for id in first + 11..=first + EVENTS_MAX as u64 + 10 {
        assert_eq!(stream.next().await.unwrap().id, id);
    }
}

#[tokio::test]
async fn the_audit_log_is_for_admins_here_too() {
    let bench = Bench::owned().await;
    let mut readers = bench.client(Role::Reader).events(None).await.unwrap();
    let mut admins = bench.client(Role::Admin).events(None).await.unwrap();
    let operator = bench.client(Role::Operator);
    operator.post_nothing::<holdfast_api::Operation>(&format!("/v1/actions/{}", Action::Drain.name())).await.unwrap();
    let begun = admins.next().await.unwrap();
    assert!(matches!(begun.what, EventKind::Operation(_)), "{begun:?}");
    let audit = admins.next().await.unwrap();
    assert!(matches!(&audit.what, EventKind::Audit(entry) if entry.request == "POST /v1/actions/drain"), "{audit:?}");
    bench.daemon.events.push(mode("after"));
    assert!(matches!(readers.next().await.unwrap().what, EventKind::Operation(_)));
    assert_eq!(readers.next().await.unwrap().what, mode("after"));
}

#[tokio::test]
async fn numbers_that_a_role_does_not_see_are_passed_over_and_are_no_gap() {
    let bench = Bench::owned().await;
    let events = &bench.daemon.events;
    let before = events.push(mode("before"));
    let audit = || {
        EventKind::Audit(AuditEntry {
            number: 1,
            at: Timestamp(Millis(1)),
            by: "ada".to_owned(),
            from: "127.0.0.1".to_owned(),
            request: "POST /v1/actions/drain".to_owned(),
            status: 202,
            problem: None,
        })
    };
    // More than a page of them, so that one page has nothing for a reader.
    let hidden: Vec<u64> = (0..PAGE_MAX + 10).map(|_| events.push(audit())).collect();
    let after = events.push(mode("after"));
    assert_eq!(after, before + hidden.len() as u64 + 1);

    let mut readers = bench.client(Role::Reader).events(Some(before)).await.unwrap();
    let next = readers.next().await.unwrap();
    assert_eq!((next.id, next.what), (after, mode("after")), "neither an entry nor a gap comes between");
    let mut admins = bench.client(Role::Admin).events(Some(before)).await.unwrap();
    for id in hidden.into_iter().chain([after]) {
        assert_eq!(admins.next().await.unwrap().id, id, "an admin sees every number");
    }
    // Who takes up after a number that he has seen misses nothing by those that he has not.
    let last = events.push(mode("last"));
    let mut readers = bench.client(Role::Reader).events(Some(after)).await.unwrap();
    assert_eq!(readers.next().await.unwrap().id, last);
}

#[tokio::test]
async fn readers_are_bounded_and_lose_what_they_may_not_see_any_more() {
    let limits = Limits { heartbeat: Duration::from_millis(50), ..Limits::default() };
    let bench = Bench::with(limits, true).await;
    let identity = bench.identity(Role::Reader);
    let reader = bench.client_of(Some(&identity));
    let mut streams = Vec::new();
    for _ in 0..32 {
        streams.push(reader.events(None).await.unwrap());
    }
    assert_eq!(problem(reader.events(None).await), ProblemId::TooManyRequests);
    let request = RevocationRequest { serial: identity.serial() };
    bench.client(Role::Admin).post::<RevocationList>("/v1/certificates/revocations", &request).await.unwrap();
    for stream in &mut streams {
        stream.next().await.unwrap_err();
    }
    bench.client(Role::Reader).events(None).await.unwrap();
}

#[tokio::test]
async fn a_number_that_is_none_is_refused() {
    let bench = Bench::owned().await;
    let mut raw = bench.raw(Some(&bench.identity(Role::Reader))).await;
    let answer = raw.ask("GET /v1/events", &["last-event-id: one"], "").await;
    assert_eq!(answer.problem(), ProblemId::BadRequest);
}
