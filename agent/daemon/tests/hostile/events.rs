//! Event streams that end, lie, or say nothing.

use holdfast_core::io::{HeadEvent, Input};
use holdfast_types::{Root, Slot};

use super::fake_node::{self, FakeNode, Reply, error, text};
use super::{Inputs, TIMING, edge};

fn head(slot: u64) -> String {
    format!("event: head\ndata: {{\"slot\":\"{slot}\",\"block\":\"0x{}\"}}\n\n", "44".repeat(32))
}

async fn next_head(inputs: &mut Inputs) -> HeadEvent {
    inputs.next(|input| if let Input::Head(head) = input { Some(head) } else { None }).await
}

/// A node whose first stream is `first`, and whose later ones tell of slot 2.
async fn then_slot_2(first: Reply) -> FakeNode {
    FakeNode::good_but(
        "events",
        move |asked| {
            if asked.before == 0 { first.clone() } else { Reply::EventsThenSilence(head(2)) }
        },
    )
    .await
}

#[tokio::test]
async fn after_whatever_went_wrong_it_connects_again_and_the_next_head_arrives() {
    let wrongs = [
        Reply::Events(head(1)),
        Reply::Events(format!("{}event: he", head(1))),
        Reply::EventsThenSilence(head(1)),
        Reply::Endless("event: head\ndata: {\"slot\":\"1\",\"block\":\"0x"),
        Reply::Endless(""),
        Reply::EventsThenSilence(String::new()),
        Reply::BreaksOff(200, "data: {".into()),
        Reply::NoHttp,
        Reply::Never,
        Reply::Answer(301, "text/html", String::new()),
        error(400, "Invalid topic"),
        error(500, "no"),
        text(406, "Not Acceptable"),
        Reply::BreaksOff(503, "half".into()),
    ];
    let checks = wrongs.into_iter().map(async |wrong| {
        let node = then_slot_2(wrong.clone()).await;
        let (_beacon, mut inputs) = edge(&[&node], TIMING).await;
        let mut slot = next_head(&mut inputs).await.slot;
        if slot == Slot(1) {
            slot = next_head(&mut inputs).await.slot;
        }
        assert_eq!(slot, Slot(2), "after {wrong:?}");
        assert_eq!(node.asked("events")[0].accept, "text/event-stream");
    });
    futures::future::join_all(checks).await;
}

#[tokio::test]
async fn no_more_of_an_endless_line_is_taken_than_the_bound() {
    let node = then_slot_2(Reply::Endless("data: ")).await;
    let (_beacon, mut inputs) = edge(&[&node], TIMING).await;
    assert_eq!(next_head(&mut inputs).await.slot, Slot(2));
    // The line may be 16 KiB long; what lies in the buffers of two sockets comes on top.
    assert!(node.sent() < 16 * 1024 * 1024, "{} bytes were taken", node.sent());
}

#[tokio::test]
async fn events_that_are_none_are_passed_over_on_the_same_connection() {
    let stream = [
        ":\n\n",
        "event: head\ndata: not json\n\n",
        "event: head\ndata: {\"slot\":\"-1\"}\n\n",
        "event: head\ndata: {\"slot\":{}, \"block\":[]}\n\n",
        "event: block\ndata: {\"slot\":\"7\",\"block\":\"0x00\"}\n\n",
        &head(7).replace("event: head", "event: chain_reorg"),
        "\u{0}\u{1}\u{2}\n\n\n",
        "data\n\nevent\n\nid: 3\nretry: 0\n\n",
        &head(8),
    ]
    .concat();
    let node = then_slot_2(Reply::EventsThenSilence(stream)).await;
    let (_beacon, mut inputs) = edge(&[&node], TIMING).await;
    assert_eq!(next_head(&mut inputs).await.slot, Slot(8));
}

#[tokio::test]
async fn a_head_counts_with_whatever_roots_the_node_gives() {
    let root = format!("0x{}", "55".repeat(32));
    let with = |roots: &str| head(8).replace("\"slot\"", &format!("{roots}\"slot\""));
    let stream = [
        with(&format!("\"current_duty_dependent_root\":\"{root}\",\"previous_duty_dependent_root\":\"{root}\",")),
        with("\"current_duty_dependent_root\":\"\",\"previous_duty_dependent_root\":null,"),
        with("").replace("\"8\"", "8").replace('\n', "\r\n").replace("event: ", "event:"),
    ]
    .concat();
    let node = FakeNode::good_but("events", move |_| Reply::EventsThenSilence(stream.clone())).await;
    let (_beacon, mut inputs) = edge(&[&node], TIMING).await;
    for expected in [Some(Root([0x55; 32])), None, None] {
        let head = next_head(&mut inputs).await;
        assert_eq!((head.slot, head.block), (Slot(8), Root([0x44; 32])));
        assert_eq!((head.current_dependent_root, head.previous_dependent_root), (expected, expected));
    }
}

#[tokio::test]
async fn a_flood_of_heads_holds_up_no_answer() {
    let flood: String = (0..20_000).map(head).collect();
    let node = FakeNode::good_but("events", move |_| Reply::Events(flood.clone())).await;
    let (beacon, mut inputs) = edge(&[&node, &FakeNode::start(fake_node::good).await], TIMING).await;
    beacon.fetch_attestation_data(Slot(fake_node::SLOT));
    let data = inputs.next(|input| if let Input::AttestationData { result, .. } = input { Some(result) } else { None });
    assert!(data.await.is_ok());
}
