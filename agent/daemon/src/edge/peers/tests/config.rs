//! What the edge refuses to start with, and how it paces its dials.

use super::super::PeersError;
use super::*;

async fn refusal(config: PeersConfig) -> PeersError {
    start(config, mpsc::channel(1).0).await.expect_err("this configuration is wrong")
}

#[tokio::test]
async fn a_key_of_another_operator_is_refused() {
    let mut other = config(0, &TestClock::new());
    other.own = OperatorIndex(2);
    let text = refusal(other).await.to_string();
    assert!(
        text.contains(&peer_id(&public(0)).to_base58()) && text.contains(&peer_id(&public(2)).to_base58()),
        "{text}"
    );
    let mut none = config(0, &TestClock::new());
    none.own = OperatorIndex(4);
    assert!(matches!(refusal(none).await, PeersError::NotAnOperator { operators: 4, .. }));
    let mut zero = config(0, &TestClock::new());
    zero.identity = Zeroizing::new([0; 32]);
    assert!(matches!(refusal(zero).await, PeersError::Key(_)));
}

#[tokio::test]
async fn an_address_that_cannot_be_dialled_is_named() {
    let own = peer_id(&public(0));
    for text in [
        "/ip4/192.0.2.1",
        "/ip4/192.0.2.1/udp/3610",
        "/dns/a.example/tcp/1",
        &format!("/ip4/192.0.2.1/tcp/1/p2p/{own}"),
    ] {
        let mut config = config(0, &TestClock::new());
        config.operators[1].addresses = vec![text.parse().unwrap()];
        match refusal(config).await {
            PeersError::Address { operator: OperatorIndex(1), address } => assert_eq!(address.to_string(), text),
            other => panic!("{text} gave {other}"),
        }
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(0, &TestClock::new());
    config.listen = vec![format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port()).parse().unwrap()];
    assert!(matches!(refusal(config).await, PeersError::Listen { .. }));
}

#[test]
fn pauses_between_dials_grow_to_their_limit() {
    let timing = Timing::default();
    let pauses: Vec<_> = (0..8).map(|tries| timing.redial_pause(tries, 0.5).as_millis()).collect();
    assert_eq!(pauses, [1000, 1600, 2560, 4096, 6553, 10_000, 10_000, 10_000]);
    assert_eq!(timing.redial_pause(0, 0.0).as_millis(), 800);
    assert_eq!(timing.redial_pause(0, 1.0).as_millis(), 1200);
    assert_eq!(timing.redial_pause(u32::MAX, 1.0).as_millis(), 12_000);
}
