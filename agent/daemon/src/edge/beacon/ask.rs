//! Asks all beacon nodes the same at the same time and takes the best answer.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use holdfast_types::Slot;
use tokio::time::{Instant, timeout_at};

use super::http::{CallError, Node};

/// No node gave a good answer.
#[derive(Debug)]
pub(super) struct AllFailed(Vec<CallError>);

impl fmt::Display for AllFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if place == 0 { "" } else { "; " })?;
        }
        if self.0.is_empty() { f.write_str("no beacon node is configured") } else { Ok(()) }
    }
}

/// The first good answer of the best node; of a lesser one when the better ones fail, or still owe theirs `patience`
/// later. Questions that are left are cancelled.
pub(super) async fn ask_all<'a, T, F: Future<Output = Result<T, CallError>>>(
    nodes: &'a [Node],
    slot: Option<Slot>,
    patience: Duration,
    question: impl Fn(&'a Node) -> F,
) -> Result<T, AllFailed> {
    let best_behind = nodes.iter().map(|node| node.standing().slots_behind()).min().unwrap_or(0);
    let mut waiting: Vec<u8> = nodes.iter().map(|node| node.standing().rank(best_behind, slot)).collect();
    let asked = nodes.iter().zip(waiting.clone()).map(|(node, rank)| {
        let answer = question(node);
        async move { (rank, answer.await) }
    });
    let mut answers: FuturesUnordered<_> = asked.collect();
    let mut errors = Vec::new();
    let mut spare: Option<(u8, T, Instant)> = None;
    loop {
        let next = match &spare {
            None => answers.next().await,
            Some((rank, ..)) if waiting.iter().all(|better| better >= rank) => break,
            Some((_, _, until)) => timeout_at(*until, answers.next()).await.unwrap_or(None),
        };
        let Some((rank, answer)) = next else { break };
        if let Some(place) = waiting.iter().position(|waits| *waits == rank) {
            waiting.swap_remove(place);
        }
        match (answer, &spare) {
            (Ok(answer), None) => spare = Some((rank, answer, Instant::now() + patience)),
            (Ok(answer), Some((known, _, until))) if rank < *known => spare = Some((rank, answer, *until)),
            (Ok(_), Some(_)) => {}
            (Err(error), _) => errors.push(error),
        }
    }
    spare.map(|(_, answer, _)| answer).ok_or(AllFailed(errors))
}

/// Gives the same to every node; `first_taken` runs as soon as one took it. Every node gets its copy, whoever takes it
/// first: a node may be the only one with good peers.
pub(super) async fn give_all<'a, F: Future<Output = Result<(), CallError>>>(
    nodes: &'a [Node],
    give: impl Fn(&'a Node) -> F,
    first_taken: impl AsyncFnOnce(),
) -> Result<(), AllFailed> {
    let mut answers: FuturesUnordered<F> = nodes.iter().map(give).collect();
    let mut first_taken = Some(first_taken);
    let mut errors = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(()) => {
                if let Some(first_taken) = first_taken.take() {
                    first_taken().await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a beacon node did not take what was submitted");
                errors.push(error);
            }
        }
    }
    if first_taken.is_none() { Ok(()) } else { Err(AllFailed(errors)) }
}
