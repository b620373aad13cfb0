//! Metrics and liveness with certificates: for monitors elsewhere, and for nobody else.

use holdfast_api::{ProblemId, RevocationList, RevocationRequest, Role};
use holdfast_provisioning::authority::Authority;
use rand::rngs::OsRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::kit::{Bench, identity_of};

#[tokio::test]
async fn a_readers_certificate_is_enough_and_the_rest_of_the_api_is_not_there() {
    let bench = Bench::owned().await;
    let door = bench.server.serve_metrics("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut raw = bench.raw_at(door.address(), Some(&bench.identity(Role::Reader))).await;
    let metrics = raw.ask("GET /metrics", &[], "").await;
    assert_eq!(metrics.status, 200, "{metrics:?}");
    assert!(metrics.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{metrics:?}");
    assert!(metrics.text.contains("holdfast_build_info") && metrics.text.ends_with("# EOF\n"), "{metrics:?}");
    let live = raw.ask("GET /livez", &[], "").await;
    assert_eq!((live.status, live.text.as_str()), (200, "ok\n"));
    let ready = raw.ask("GET /readyz", &[], "").await;
    assert_eq!(ready.status, 503, "a box without a cluster is not ready: {ready:?}");
    for path in ["/v1/status", "/v1/configuration", "/metrics/", "/"] {
        assert_eq!(raw.ask(&format!("GET {path}"), &[], "").await.problem(), ProblemId::NotFound);
    }
    let posted = raw.ask("POST /metrics", &[], "").await;
    assert_eq!(posted.problem(), ProblemId::MethodNotAllowed);
    assert!(posted.head.contains("allow: get"), "{posted:?}");
}

#[tokio::test]
async fn without_a_good_certificate_nothing_is_told() {
    let bench = Bench::owned().await;
    let door = bench.server.serve_metrics("127.0.0.2:0".parse().unwrap()).unwrap();
    let asked = async |mut raw: crate::kit::Raw| raw.ask("GET /metrics", &[], "").await.problem();
    assert_eq!(asked(bench.raw_at(door.address(), None).await).await, ProblemId::Unauthenticated);

    let other = identity_of(&Authority::create(&mut OsRng).unwrap(), Role::Admin);
    let mut refused = bench.raw_at(door.address(), Some(&other)).await;
    // In TLS 1.3 it is refused after the handshake is over for us.
    let _ = refused.0.write_all(b"GET /metrics HTTP/1.1\r\nhost: box\r\n\r\n").await;
    assert!(!matches!(refused.0.read(&mut [0]).await, Ok(1..)), "a certificate of another authority was answered");

    let reader = bench.identity(Role::Reader);
    let mut raw = bench.raw_at(door.address(), Some(&reader)).await;
    assert_eq!(raw.ask("GET /livez", &[], "").await.status, 200);
    let request = RevocationRequest { serial: reader.serial() };
    bench.client(Role::Admin).post::<RevocationList>("/v1/certificates/revocations", &request).await.unwrap();
    assert_eq!(asked(raw).await, ProblemId::CertificateRevoked);

    let mut plain = TcpStream::connect(door.address()).await.unwrap();
    plain.write_all(b"GET /metrics HTTP/1.1\r\nhost: box\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said).await;
    assert!(!String::from_utf8_lossy(&said).contains("HTTP"), "{said:?}");
}

#[tokio::test]
async fn nobody_is_told_by_a_box_without_an_owner_and_the_door_closes() {
    let bench = Bench::free().await;
    let door = bench.server.serve_metrics("127.0.0.2:0".parse().unwrap()).unwrap();
    let address = door.address();
    let tls = tokio_rustls::TlsConnector::from(holdfast_provisioning::tls::pairing_client_config().unwrap());
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut raw = crate::kit::Raw(tls.connect(crate::kit::name(), tcp).await.unwrap());
    assert_eq!(raw.ask("GET /metrics", &[], "").await.problem(), ProblemId::NotOwned);
    drop(door);
    let closed = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(std::time::Duration::from_secs(10), closed).await.expect("it is served on");
}
