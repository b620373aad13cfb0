//! What healthy nodes do with each other.

use std::sync::atomic::AtomicBool;

use holdfast_wire::frame::split;
use holdfast_wire::parsigex::PartialSet;
use holdfast_wire::peerinfo::PeerInfo;
use holdfast_wire::qbft::ConsensusMsg;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Four hosts; each dials those that started before it.
async fn start_four(clock: &TestClock) -> Vec<TestHost> {
    let mut hosts: Vec<TestHost> = Vec::new();
    for own in 0..4 {
        let mut config = config(own, clock);
        for (operator, host) in config.operators.iter_mut().zip(&hosts) {
            operator.addresses = vec![host.address()];
        }
        hosts.push(TestHost::start(config).await);
    }
    hosts
}

/// Four hosts that see each other.
async fn cluster(clock: &TestClock) -> Vec<TestHost> {
    let mut hosts = start_four(clock).await;
    for (own, host) in hosts.iter_mut().enumerate() {
        let mut up = Vec::new();
        while up.len() < 3 {
            up.push(
                host.until(|event| if let PeerEvent::Up(up) = event { Some(usize::from(up.0)) } else { None }).await,
            );
        }
        up.sort_unstable();
        assert_eq!(up, (0..4).filter(|peer| *peer != own).collect::<Vec<_>>());
    }
    hosts
}

#[tokio::test(flavor = "multi_thread")]
async fn captured_frames_reach_the_node_they_were_sent_to() {
    let clock = TestClock::new();
    clock.set(1_795_348_600_000);
    let mut hosts = cluster(&clock).await;
    let keys: Vec<_> = (0..4).map(public).collect();
    let mut expected: Vec<Vec<(u8, Vec<u8>)>> = vec![Vec::new(); 4];

    for path in
        ["wire/qbft-attester.json", "wire/qbft-proposer.json", "wire/qbft-info-sync.json", "wire/qbft-decided.json"]
    {
        for Captured { from, to, frame } in captured(path, "frames") {
            let message = split(Protocol::Qbft, &frame).unwrap();
            let decoded = ConsensusMsg::decode(message, &keys).unwrap().encode();
            for to in to {
                hosts[usize::from(from)].peers.send(OperatorIndex(to), Protocol::Qbft, message);
                expected[usize::from(to)].push((from, decoded.clone()));
            }
        }
    }
    for Captured { from, frame, .. } in captured("wire/parsigex.json", "messages") {
        let message = split(Protocol::ParSigEx, &frame).unwrap();
        let decoded = PartialSet::decode(message, 3).unwrap().encode();
        hosts[usize::from(from)].peers.broadcast(Protocol::ParSigEx, message);
        for to in (0..4).filter(|to| *to != from) {
            expected[usize::from(to)].push((from, decoded.clone()));
        }
    }

    for (host, mut expected) in hosts.iter_mut().zip(expected) {
        let mut got = Vec::new();
        while got.len() < expected.len() {
            got.push(match host.next().await {
                PeerEvent::Consensus { from, message } => (from.0, message.encode()),
                PeerEvent::Partials { from, set } => (from.0, set.encode()),
                other => panic!("unexpected {other:?}"),
            });
        }
        got.sort_unstable();
        expected.sort_unstable();
        assert!(got == expected, "every frame arrives once, on the stream of its sender");
        let rejected: u64 =
            host.peers.stats().iter().flat_map(|peer| &peer.protocols).map(|(_, one)| one.rejected).sum();
        assert_eq!(rejected, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_learns_what_the_others_are() {
    let clock = TestClock::new();
    let mut hosts = start_four(&clock).await;
    for host in &mut hosts {
        for _ in 0..3 {
            let (from, info) = host
                .until(|event| if let PeerEvent::Info { from, info } = event { Some((from, info)) } else { None })
                .await;
            assert_eq!(info.said.nickname, format!("node-{from}"));
            assert_eq!(info.said.client, "holdfast");
            assert_eq!(info.said.lock_hash, Some(lock_hash()));
            let findings = info.findings.unwrap();
            assert!(!findings.other_lock && !findings.other_builder_api);
            let stats = host.stats(from.0);
            assert!(stats.connected);
            assert_eq!(stats.version.as_deref(), Some("v1.11.0-holdfast"));
        }
        assert_eq!(host.peers.stats().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peerinfo_is_answered_over_tls_and_over_noise() {
    let clock = TestClock::new();
    let host = TestHost::start(config(0, &clock)).await;
    for security in [Security::Tls, Security::Noise] {
        let raw = Raw::connect(secret(1), &host, security).await;
        let asked = captured("wire/peerinfo.json", "messages").into_iter().map(|captured| captured.frame);
        for request in asked.chain([vec![0]]) {
            let answer = raw.exchange(Protocol::PeerInfo, &request).await;
            let said = PeerInfo::decode(split(Protocol::PeerInfo, &answer).unwrap()).unwrap();
            assert_eq!(said.nickname, "node-0");
            assert_eq!(said.version, "v1.11.0-holdfast");
            assert_eq!(said.git_hash, "unknown");
            assert!(said.started_at.is_some());
            assert_eq!(said.sent_at.map(|at| (at.seconds, at.nanos)), Some((1_795_348_280, 675_000_000)));
        }
        // The answer does not wait for the end of the request.
        let mut stream = raw.open(Protocol::PeerInfo.id()).await.unwrap();
        stream.write_all(&[0]).await.unwrap();
        stream.flush().await.unwrap();
        assert!(!until_end(&mut stream).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_dial_each_other_at_once_are_up_once() {
    let clock = TestClock::new();
    let mut addresses = Vec::new();
    for own in [0, 1] {
        addresses.push(TestHost::start(config(own, &clock)).await.address());
    }
    let both = [0, 1].map(|own: u8| {
        let mut config = config(own, &clock);
        let other = usize::from(1 - own);
        config.listen = vec![addresses[usize::from(own)].clone()];
        config.operators[other].addresses = vec![addresses[other].clone()];
        config
    });
    let [zero, one] = both;
    let (mut zero, mut one) = tokio::join!(TestHost::start(zero), TestHost::start(one));
    assert!(matches!(zero.next().await, PeerEvent::Up(OperatorIndex(1))));
    assert!(matches!(one.next().await, PeerEvent::Up(OperatorIndex(0))));
    let (_, message) = good_frame();
    for round in 0..20 {
        zero.peers.broadcast(Protocol::Qbft, &message);
        assert_eq!(one.until_consensus().await, (0, message.clone()), "round {round}");
        one.peers.broadcast(Protocol::Qbft, &message);
        assert_eq!(zero.until_consensus().await, (1, message.clone()), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_restarts_is_found_again_and_gets_what_waited() {
    let clock = TestClock::new();
    let one = TestHost::start(config(1, &clock)).await;
    let mut again = config(1, &clock);
    again.listen = vec![one.address()];
    let mut dialler = config(0, &clock);
    dialler.operators[1].addresses = vec![one.address()];
    dialler.timing.outbound_limit = Duration::from_secs(60);
    let mut zero = TestHost::start(dialler).await;
    zero.until_up(1).await;
    drop(one);
    zero.until_down(1).await;

    let (_, message) = good_frame();
    zero.peers.broadcast(Protocol::Qbft, &message);
    let mut one = TestHost::start(again).await;
    assert_eq!(one.until_consensus().await, (0, message));
    zero.until_up(1).await;
    assert!(zero.stats(1).connected);
}

/// Passes bytes between a client and a host until it is told to hold them back.
async fn stalling_proxy(to: std::net::SocketAddr, stalled: Arc<AtomicBool>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(host) = TcpStream::connect(to).await else { continue };
            let ((client_in, client_out), (host_in, host_out)) = (client.into_split(), host.into_split());
            // A stall is for connections of now; later ones pass.
            let born_stalled = stalled.load(Ordering::SeqCst);
            for (mut from, mut into) in [(client_in, host_out), (host_in, client_out)] {
                let stalled = stalled.clone();
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while let Ok(read @ 1..) = from.read(&mut buffer).await {
                        if !born_stalled && stalled.load(Ordering::SeqCst) {
                            std::future::pending::<()>().await;
                        }
                        if into.write_all(&buffer[..read]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_falls_silent_is_given_up_and_replaced() {
    let clock = TestClock::new();
    let one = TestHost::start(config(1, &clock)).await;
    let port = one.address().iter().find_map(|part| match part {
        libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let stalled = Arc::new(AtomicBool::new(false));
    let proxy = stalling_proxy(([127, 0, 0, 1], port.unwrap()).into(), stalled.clone()).await;
    let mut dialler = config(0, &clock);
    dialler.operators[1].addresses = vec![format!("/ip4/127.0.0.1/tcp/{}", proxy.port()).parse().unwrap()];
    dialler.timing.ping_period = Duration::from_millis(20);
    dialler.timing.ping_limit = Duration::from_secs(1);
    let mut zero = TestHost::start(dialler).await;
    zero.until_up(1).await;
    stalled.store(true, Ordering::SeqCst);
    zero.until_down(1).await;
    zero.until_up(1).await;
    let (_, message) = good_frame();
    zero.peers.broadcast(Protocol::Qbft, &message);
    let mut one = one;
    assert_eq!(one.until_consensus().await, (0, message));
}
