//! Whatever comes, what goes back is an answer of the API or a problem, and never a fault of the box.

use holdfast_api::routes::ROUTES;
use holdfast_api::{ProblemId, Role};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::kit::Bench;

#[tokio::test]
async fn what_is_unknown_is_refused_by_name() {
    let bench = Bench::owned().await;
    let mut raw = bench.raw(Some(&bench.identity(Role::Admin))).await;
    let json = "content-type: application/json";
    for (line, headers, body, expected) in [
        ("GET /v1/duties?after=1&wrong=2", vec![], "", ProblemId::BadRequest),
        ("GET /v1/duties?limit=501", vec![], "", ProblemId::BadRequest),
        ("GET /v1/duties?after=-1", vec![], "", ProblemId::BadRequest),
        ("GET /v1/status?wrong=1", vec![], "", ProblemId::BadRequest),
        ("GET /v1/validators?cursor=%2B1", vec![], "", ProblemId::BadRequest),
        ("GET /v1/operations/99", vec![], "", ProblemId::NotFound),
        ("POST /v1/actions/dance", vec![], "", ProblemId::NotFound),
        ("POST /v1/actions/drain", vec![json], "{}", ProblemId::BadRequest),
        ("PATCH /v1/configuration", vec![json], "{}", ProblemId::MethodNotAllowed),
        ("POST /v1/vault/orders", vec![], "{}", ProblemId::UnsupportedMediaType),
        ("POST /v1/vault/orders", vec!["content-type: text/plain"], "{}", ProblemId::UnsupportedMediaType),
        ("POST /v1/vault/orders", vec![json, json], "{}", ProblemId::BadRequest),
        ("POST /v1/vault/orders", vec![json], "{\"order\":\"\",\"more\":1}", ProblemId::BadRequest),
        ("POST /v1/vault/orders", vec![json], "{\"order\":\"!\"}", ProblemId::BadRequest),
        ("POST /v1/vault/orders", vec![json], "{\"order\":\"AAAA\"}", ProblemId::BadRequest),
        ("POST /v1/vault/evidence", vec![json], "{\"kind\":\"boot\",\"nonce\":\"0x00\"}", ProblemId::BadRequest),
        ("PUT /v1/cluster/lock", vec![json], "{}", ProblemId::LockInvalid),
        ("PUT /v1/configuration", vec![json], "{}", ProblemId::PreconditionRequired),
    ] {
        let answer = raw.ask(line, &headers, body).await;
        assert_eq!(answer.problem(), expected, "{line} {body}: {answer:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_comes() {
    let bench = Bench::owned().await;
    let admin = bench.identity(Role::Admin);
    for (path, len) in [("POST /v1/vault/orders", (1 << 20) + 1), ("PUT /v1/cluster/lock", (16 << 20) + 1)] {
        let mut raw = bench.raw(Some(&admin)).await;
        raw.write(&format!(
            "{path} HTTP/1.1\r\nhost: box\r\ncontent-type: application/json\r\ncontent-length: {len}\r\n\r\n"
        ))
        .await;
        assert_eq!(raw.answer().await.problem(), ProblemId::BodyTooLarge);
    }
    let mut raw = bench.raw(Some(&admin)).await;
    let head = "POST /v1/vault/orders HTTP/1.1\r\nhost: box\r\ncontent-type: application/json";
    raw.write(&format!("{head}\r\ntransfer-encoding: chunked\r\n\r\n")).await;
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for _ in 0..17 {
        raw.write(&chunk).await;
    }
    assert_eq!(raw.answer().await.problem(), ProblemId::BodyTooLarge);
}

/// Pieces that lead further in than random bytes.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,40}",
        Just("{}".to_owned()),
        Just("null".to_owned()),
        Just("[[[[[[[[[[[[[[[[".to_owned()),
        "\\{\"(order|kind|nonce|serial|url|message|approval|credential)\":\"[ -!#-\\[\\]-~]{0,60}\"\\}",
        "\\{\"(nickname|beaconNodes|peers|api)\":[0-9\\[\\]\\{\\}\"a-z:,]{0,40}\\}",
    ]
}

#[test]
fn no_request_makes_the_box_fail() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bench = runtime.block_on(Bench::owned());
    let raw = std::cell::Cell::new(None);
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    let request = (0..ROUTES.len(), "[!-~]{0,20}", "(\\?[!-~]{0,30})?", piece(), any::<bool>());
    let tested = runner.run(&request, |(at, parameter, query, body, json)| {
        let route = ROUTES[at];
        prop_assume!(route.path != "/v1/events");
        let path = route.path.replace("{action}", &parameter).replace("{id}", &parameter);
        let headers: &[&str] = if json {
            &["content-type: application/json", "if-match: \"x\"", "idempotency-key: a"]
        } else {
            &["last-event-id: x"]
        };
        let line = format!("{} {path}{query}", route.method);
        // A new certificate now and then, since one has only so many requests; a new connection with it.
        let answer = runtime.block_on(async {
            let mut connection = match raw.take() {
                Some(kept) => kept,
                None => bench.raw(Some(&bench.identity(Role::Admin))).await,
            };
            let answer = connection.ask(&line, headers, &body).await;
            if !answer.head.contains("connection: close") && answer.status != 429 {
                raw.set(Some(connection));
            }
            answer
        });
        let documented =
            route.problems.iter().chain(&[200, 202, 204, 400, 404, 405, 429]).any(|is| *is == answer.status);
        prop_assert!(documented && answer.status != 500, "{line} {body:?}: {answer:?}");
        prop_assert!(answer.status < 400 || answer.head.contains("application/problem+json") || answer.body.is_null());
        Ok(())
    });
    tested.unwrap();
}
