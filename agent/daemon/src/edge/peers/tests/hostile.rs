//! Strangers, wrong frames, floods and a loop that does not keep up: the node goes on, within its bounds.

use super::super::peer::{BUDGET_LEN, Peer, STREAMS_IN_MAX};
use super::super::{PeerFault, ProtocolStats};
use super::*;

/// A host with a raw peer 1.
async fn host_and_raw(clock: &TestClock, inbound_limit: Duration) -> (TestHost, Raw) {
    let mut config = config(0, clock);
    config.timing.inbound_limit = inbound_limit;
    let mut host = TestHost::start(config).await;
    let raw = Raw::connect(secret(1), &host, Security::Noise).await;
    host.until_up(1).await;
    (host, raw)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_cut_off_after_the_handshake() {
    let clock = TestClock::new();
    let mut host = TestHost::start(config(0, &clock)).await;
    for security in [Security::Tls, Security::Noise] {
        let mut stranger = Raw::connect(Zeroizing::new([9; 32]), &host, security).await;
        assert_eq!(soon(stranger.connections.recv()).await, Some(false));
        assert!(stranger.open(Protocol::Qbft.id()).await.is_err());
    }
    assert_eq!(host.peers.turned_away(), 2);
    assert!(host.events.try_recv().is_err(), "nothing of a stranger reaches the node");
    let _raw = Raw::connect(secret(1), &host, Security::Tls).await;
    host.until_up(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_frames_cost_their_stream_and_nothing_else() {
    let clock = TestClock::new();
    let (mut host, raw) = host_and_raw(&clock, LONG).await;
    let (good, message) = good_frame();
    let mut faults = 0;
    for protocol in super::super::SERVED {
        let too_long = u32::try_from(protocol.frame_len_max()).unwrap() + 1;
        let mut limit_and_one = Vec::new();
        let mut left = too_long;
        while left >= 0x80 {
            limit_and_one.push((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        limit_and_one.extend([left as u8, 1, 2, 3]);
        let mut wrong = vec![
            limit_and_one,
            vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 2, 3],
            vec![0x83, 0x00, 1, 2, 3],
            vec![0xff; 40],
            vec![0x80],
            vec![],
            good[..good.len() - 1].to_vec(),
            hex::decode("14ffffffffffffffffffffffffffffffffffffffff").unwrap(),
        ];
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..40 {
            let random: Vec<u8> = (0..64)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (seed >> 56) as u8
                })
                .collect();
            // A whole frame of noise; nothing of that length is a message by accident but to be sure it ends in a tag
            // of a wire type that does not exist.
            wrong.push([&[65], &random[..], &[0x0f]].concat());
        }
        for frame in wrong {
            assert!(raw.exchange(protocol, &frame).await.is_empty(), "a clean end, no answer");
            faults += 1;
        }
        assert!(raw.exchange(Protocol::Qbft, &good).await.is_empty());
        assert_eq!(host.until_consensus().await, (1, message.clone()), "after everything on {}", protocol.id());
    }
    let rejected: u64 = host.stats(1).protocols.iter().map(|(_, one)| one.rejected).sum();
    assert_eq!(rejected, faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_stream_is_ended_and_an_unserved_protocol_refused() {
    let clock = TestClock::new();
    let (mut host, raw) = host_and_raw(&clock, SHORT).await;
    let mut idle = raw.open(Protocol::ParSigEx.id()).await.unwrap();
    let mut half = raw.open(Protocol::Qbft.id()).await.unwrap();
    half.write_all(&[0x10, 1, 2]).await.unwrap();
    half.flush().await.unwrap();
    for stream in [&mut idle, &mut half] {
        assert!(until_end(stream).await.is_empty());
    }
    for _ in 0..2 {
        let fault =
            host.until(|event| if let PeerEvent::Fault { from, what } = event { Some((from, what)) } else { None });
        assert!(matches!(fault.await, (OperatorIndex(1), PeerFault::Idle { .. })));
    }
    for unserved in ["/charon/foo/1.0.0", "/charon/priority/2.0.0", "/charon/dkg/frost/1.0.0"] {
        assert_eq!(raw.open(unserved).await.unwrap_err(), OpenError::Refused, "{unserved}");
    }
    let (good, message) = good_frame();
    raw.exchange(Protocol::Qbft, &good).await;
    assert_eq!(host.until_consensus().await, (1, message));
}

/// What the reference refused, we refuse, or leave to the core: deadlines, and signatures of shares.
#[tokio::test(flavor = "multi_thread")]
async fn captured_wrong_messages_are_refused() {
    let clock = TestClock::new();
    let (mut host, raw) = host_and_raw(&clock, LONG).await;
    let file: serde_json::Value = serde_json::from_str(&vector("wire/rejected.json")).unwrap();
    let (mut delivered, mut refused, mut answered) = (Vec::new(), Vec::new(), Vec::new());
    for case in file["messages"].as_array().unwrap() {
        let (name, protocol) = (case["name"].as_str().unwrap(), case["protocol"].as_str().unwrap());
        let Some(protocol) = Protocol::from_id(protocol).filter(|one| super::super::SERVED.contains(one)) else {
            continue;
        };
        clock.set(case["t_ms"].as_u64().unwrap());
        let before = host.stats(1).of(protocol).rejected;
        let answer = raw.exchange(protocol, &hex::decode(case["frame"].as_str().unwrap()).unwrap()).await;
        match host.stats(1).of(protocol).rejected - before {
            0 if answer.is_empty() => delivered.push(name.to_owned()),
            0 => answered.push(name.to_owned()),
            _ => refused.push(name.to_owned()),
        }
    }
    assert_eq!(answered, ["peerinfo empty"]);
    assert_eq!(
        delivered,
        [
            "qbft expired",
            "qbft valid future prepare with null value",
            "parsig wrong share idx",
            "parsig share idx 9",
            "parsig expired",
            "parsig valid, then conflicting",
            "parsig conflicting (other epoch)",
        ]
    );
    assert!(refused.len() >= 16, "{refused:?}");
    for _ in delivered {
        host.until(|event| matches!(event, PeerEvent::Consensus { .. } | PeerEvent::Partials { .. }).then_some(()))
            .await;
    }
}

/// Comes back when a peer has so much of its budget left.
async fn until_budget(peer: &Peer, left: usize) {
    soon(async {
        while peer.budget.available_permits() != left {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn announced_frames_are_held_within_the_peers_budget() {
    let clock = TestClock::new();
    let (mut host, raw) = host_and_raw(&clock, LONG).await;
    let peer = host.peers.peers[&peer_id(&public(1))].clone();
    assert_eq!(peer.budget.available_permits(), BUDGET_LEN);

    // Two frames that take the whole budget, and hardly anything of them.
    assert_eq!(2 * Protocol::ParSigEx.frame_len_max(), BUDGET_LEN);
    let announced = [0x80, 0x80, 0x80, 0x08, 1, 2, 3];
    let mut large = Vec::new();
    for _ in 0..2 {
        let mut stream = raw.open(Protocol::ParSigEx.id()).await.unwrap();
        stream.write_all(&announced).await.unwrap();
        stream.flush().await.unwrap();
        large.push(stream);
    }
    until_budget(&peer, 0).await;

    // A good frame gets no room before one of them is over.
    let (good, message) = good_frame();
    let mut small = raw.open(Protocol::Qbft.id()).await.unwrap();
    small.write_all(&good).await.unwrap();
    small.close().await.unwrap();
    assert!(!raw.exchange(Protocol::PeerInfo, &[0]).await.is_empty(), "a frame without bytes needs no room");
    assert_eq!(host.stats(1).of(Protocol::Qbft).frames_in, 0);
    let mut first = large.remove(0);
    first.close().await.unwrap();
    assert_eq!(host.until_consensus().await, (1, message));
    until_end(&mut small).await;

    drop(large);
    until_budget(&peer, BUDGET_LEN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_peer_does_not_hold_up_another() {
    const FLOOD: u64 = 10_000;
    let clock = TestClock::new();
    let mut host = TestHost::start_with_room(config(0, &clock), 8).await;
    let flooder = Arc::new(Raw::connect(secret(1), &host, Security::Noise).await);
    host.until_up(1).await;
    let honest = Raw::connect(secret(2), &host, Security::Noise).await;
    host.until_up(2).await;
    let (good, message) = good_frame();

    let mut flood = JoinSet::new();
    for _ in 0..100 {
        let (flooder, good) = (flooder.clone(), good.clone());
        flood.spawn(async move {
            for _ in 0..FLOOD / 100 {
                flooder.exchange(Protocol::Qbft, &good).await;
            }
        });
    }
    assert_eq!(host.until_consensus().await.0, 1, "the flood has begun");
    let sent = tokio::spawn(async move {
        honest.exchange(Protocol::Qbft, &good).await;
        honest
    });
    let mut before = 0_u64;
    let mut from_flood = 1_u64;
    loop {
        let (from, got) = host.until_consensus().await;
        assert_eq!(got, message);
        if from == 2 {
            break;
        }
        before += 1;
        from_flood += 1;
    }
    assert!(before < FLOOD / 10, "{before} frames of the flood came before the other peer's");
    while from_flood < FLOOD {
        assert_eq!(host.until_consensus().await.0, 1);
        from_flood += 1;
    }
    let _honest = sent.await.unwrap();
    while let Some(ended) = flood.join_next().await {
        ended.unwrap();
    }
    let stats = host.stats(1).of(Protocol::Qbft);
    assert_eq!((stats.frames_in, stats.dropped_in, stats.rejected), (FLOOD, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_beyond_a_peers_share_are_turned_away() {
    let clock = TestClock::new();
    let mut host = TestHost::start(config(0, &clock)).await;
    let raw = Raw::connect(secret(1), &host, Security::Tls).await;
    host.until_up(1).await;
    let mut open = Vec::new();
    for _ in 0..STREAMS_IN_MAX {
        open.push(raw.open(Protocol::Qbft.id()).await.unwrap());
    }
    let mut over = raw.open(Protocol::Qbft.id()).await.unwrap();
    assert!(!matches!(soon(over.read(&mut [0])).await, Ok(1..)), "it ends at once");
    let ProtocolStats { dropped_in, .. } = host.stats(1).of(Protocol::Qbft);
    assert_eq!(dropped_in, 1);

    // One that ends makes room for one.
    let (good, message) = good_frame();
    let mut last = open.pop().unwrap();
    last.write_all(&good).await.unwrap();
    last.close().await.unwrap();
    until_end(&mut last).await;
    assert_eq!(host.until_consensus().await, (1, message));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_does_not_keep_up_loses_messages_not_the_node() {
    let clock = TestClock::new();
    let mut config = config(0, &clock);
    config.timing.inbound_limit = SHORT;
    let mut host = TestHost::start_with_room(config, 1).await;
    let raw = Raw::connect(secret(1), &host, Security::Noise).await;
    host.until_up(1).await;
    let (good, message) = good_frame();
    let mut taken = 0;
    while host.stats(1).of(Protocol::Qbft).dropped_in < 3 {
        raw.exchange(Protocol::Qbft, &good).await;
        taken += 1;
    }
    assert!(taken <= 5, "{taken} messages went into a room of one");
    assert_eq!(host.until_consensus().await, (1, message.clone()));
    raw.exchange(Protocol::Qbft, &good).await;
    assert_eq!(host.until_consensus().await, (1, message));
}

/// A limit that no healthy stream comes near, however busy the machine.
const LONG: Duration = Duration::from_secs(30);

/// A limit that a test waits for.
const SHORT: Duration = Duration::from_secs(1);
