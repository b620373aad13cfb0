//! The event stream of one beacon node: `head` events, reconnected for ever.

use std::time::Duration;

use holdfast_core::io::{HeadEvent, Input};
use holdfast_types::Slot;
use tokio::sync::mpsc;

use super::http::{CallError, Node};
use super::json::HeadJson;

const PATH: &str = "/eth/v1/events?topics=head";

/// A line longer than this is no event of ours: a head event is about 500 bytes.
const LINE_LEN_MAX: usize = 16 * 1024;

/// Passes on head events until the loop is gone. `silence_max` without a byte means that the stream is dead.
pub(super) async fn follow(node: Node, silence_max: Duration, reconnect: Duration, inputs: mpsc::Sender<Input>) {
    let mut lost_before = false;
    while !inputs.is_closed() {
        let mut heads = 0;
        let end = read_stream(&node, silence_max, &inputs, &mut heads).await;
        // A node that stays away is told once; what it is at present is the state poll's to say.
        if heads > 0 || !lost_before {
            let reason = end.map_or_else(|error| error.to_string(), |()| "the node ended it".to_owned());
            tracing::warn!(%node, reason, "event stream lost, connecting again until it is back");
        }
        lost_before = true;
        tokio::time::sleep(reconnect).await;
    }
}

async fn read_stream(
    node: &Node,
    silence_max: Duration,
    inputs: &mpsc::Sender<Input>,
    heads: &mut u64,
) -> Result<(), CallError> {
    let mut response = tokio::time::timeout(silence_max, node.events(PATH))
        .await
        .map_err(|_| node.garbled(PATH, &"no answer to the subscription"))??;
    let mut lines = Lines::default();
    let mut is_head = true;
    loop {
        let chunk = tokio::time::timeout(silence_max, response.chunk())
            .await
            .map_err(|_| node.garbled(PATH, &format!("nothing for {} ms", silence_max.as_millis())))?;
        let Some(chunk) = chunk.map_err(|err| node.no_answer(PATH, &err))? else { return Ok(()) };
        for line in lines.push(&chunk).ok_or_else(|| node.garbled(PATH, &"a line without end"))? {
            if line.is_empty() {
                is_head = true;
            } else if let Some(name) = line.strip_prefix("event:") {
                is_head = name.trim() == "head";
            } else if let Some(data) = line.strip_prefix("data:").filter(|_| is_head) {
                let Some(event) = head_event(node, data) else { continue };
                *heads += 1;
                node.standing().has_head(event.slot);
                if inputs.send(Input::Head(event)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// An event that is not understood is left out: the next one may be good, and a new connection would miss it.
fn head_event(node: &Node, data: &str) -> Option<HeadEvent> {
    match serde_json::from_str::<HeadJson>(data.trim()) {
        Ok(head) => Some(HeadEvent {
            slot: Slot(head.slot.0),
            block: head.block,
            current_dependent_root: head.current_duty_dependent_root,
            previous_dependent_root: head.previous_duty_dependent_root,
        }),
        Err(error) => {
            tracing::debug!(error = %node.garbled(PATH, &error), "event left out");
            None
        }
    }
}

/// Splits a byte stream into lines, holding at most one unfinished line.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The lines that `chunk` completes; `None` when a line grows beyond the bound.
    fn push(&mut self, chunk: &[u8]) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        for piece in chunk.split_inclusive(|&byte| byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if self.rest.len() > LINE_LEN_MAX {
                return None;
            }
            if self.rest.ends_with(b"\n") {
                lines.push(String::from_utf8_lossy(&self.rest).trim_end().to_owned());
                self.rest.clear();
            }
        }
        Some(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_across_chunks() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"event: he").unwrap(), Vec::<String>::new());
        assert_eq!(lines.push(b"ad\r\ndata: {}\n\nda").unwrap(), ["event: head", "data: {}", ""]);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        let chunk = vec![b'x'; LINE_LEN_MAX / 2 + 1];
        assert!(lines.push(&chunk).is_some());
        assert!(lines.push(&chunk).is_none());
    }
}
