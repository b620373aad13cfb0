//! The screen's socket: the code while nobody owns the box, never afterwards, for its owner and group only.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use holdfast_api::Screen;
use holdfastd::edge::screen::{self, Parts};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::kit::Bench;

pub(crate) async fn ask(path: &Path, line: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(path).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\nhost: screen\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
}

fn start(bench: &Bench, path: &Path) -> (screen::Server, watch::Sender<Option<SocketAddr>>) {
    let (api, receiver) = watch::channel(Some(bench.server.address()));
    let host = Arc::clone(&bench.host);
    let parts = Parts { host, pairing: bench.pairing.clone(), api: receiver };
    (screen::start(parts, path).unwrap(), api)
}

#[tokio::test]
async fn the_code_is_shown_while_nobody_owns_the_box() {
    let bench = Bench::free().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("screen.sock");
    // What an earlier daemon left is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let (_server, _api) = start(&bench, &path);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let shown = async || serde_json::from_str::<Screen>(&ask(&path, "GET /screen").await.1).unwrap();
    let first = shown().await;
    assert_eq!(first.tier, "tier C: the TPM is emulated");
    assert_eq!((first.addresses, first.port), (vec!["127.0.0.1".to_owned()], bench.server.address().port()));
    assert!(!first.owned);
    let code = first.pairing.unwrap();
    assert_eq!(code.tries_left, 5);
    assert_eq!(shown().await.pairing.unwrap().code, code.code);
    assert_eq!(ask(&path, "POST /screen/code").await.0, 204);
    let next = shown().await.pairing.unwrap();
    assert_ne!(next.code, code.code);
    assert_eq!(ask(&path, "POST /screen").await.0, 405);
    assert_eq!(ask(&path, "GET /screen/code").await.0, 405);
}

#[tokio::test]
async fn an_owned_box_shows_no_code_and_makes_none() {
    let bench = Bench::owned().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("screen.sock");
    let (server, _api) = start(&bench, &path);
    let shown: Screen = serde_json::from_str(&ask(&path, "GET /screen").await.1).unwrap();
    assert_eq!((shown.owned, shown.pairing, shown.words), (true, None, None));
    assert_eq!(ask(&path, "POST /screen/code").await.0, 409);
    drop(server);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let bench = Bench::free().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("screen.sock");
    std::fs::write(&path, "mine").unwrap();
    let (_, receiver) = watch::channel(None);
    let host = Arc::clone(&bench.host);
    let refused = screen::start(Parts { host, pairing: bench.pairing.clone(), api: receiver }, &path).unwrap_err();
    assert!(refused.to_string().contains("screen.sock"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}
