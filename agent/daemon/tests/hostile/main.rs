//! The daemon against beacon nodes, vaults and files that are wrong, broken or hostile.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

mod crash;
mod discovery;
mod events;
mod fake_node;
mod process;
mod questions;
mod status;
mod submissions;
mod supervisor;

use std::time::Duration;

use holdfast_core::io::Input;
use holdfastd::edge::beacon::{self, Beacon, Timing};
use tokio::sync::mpsc;

use fake_node::FakeNode;

/// Short limits: a node that never answers costs a test one `call`.
const TIMING: Timing = Timing {
    call: Duration::from_secs(2),
    patience: Duration::from_millis(50),
    status_every: Duration::from_millis(100),
    reconnect: Duration::from_millis(20),
};

/// A test that waits longer than this for anything hangs.
const HANGS: Duration = Duration::from_secs(20);

/// The beacon edge with these nodes, and what it tells the loop. The network comes from a node of its own.
async fn edge(nodes: &[&FakeNode], timing: Timing) -> (Beacon, Inputs) {
    let teller = FakeNode::good().await;
    let network = beacon::find_network(&[teller.url()], timing, |reason| panic!("{reason}")).await.unwrap();
    let (inputs, received) = mpsc::channel(16);
    let urls: Vec<_> = nodes.iter().map(|node| node.url()).collect();
    (beacon::start(&urls, network, timing, inputs).unwrap(), Inputs(received))
}

struct Inputs(mpsc::Receiver<Input>);

impl Inputs {
    /// The next input that `pick` takes; others are passed over.
    async fn next<T>(&mut self, pick: impl Fn(Input) -> Option<T>) -> T {
        let found = async {
            loop {
                let input = self.0.recv().await.expect("the edge keeps its side open");
                if let Some(found) = pick(input) {
                    return found;
                }
            }
        };
        tokio::time::timeout(HANGS, found).await.expect("the edge answers")
    }
}
