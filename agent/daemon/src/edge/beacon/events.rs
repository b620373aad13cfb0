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

/// How long to wait before connecting again.
const RECONNECT: Duration = Duration::from_secs(1);

/// Passes on head events until the loop is gone. `silence_max` without a byte means that the stream is dead.
pub(super) async fn follow(node: Node, silence_max: Duration, inputs: mpsc::Sender<Input>) {
    loop {
        if let Err(error) = read_stream(&node, silence_max, &inputs).await {
            tracing::warn!(%error, "event stream lost, connecting again");
        }
        if inputs.is_closed() {
            return;
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn read_stream(node: &Node, silence_max: Duration, inputs: &mpsc::Sender<Input>) -> Result<(), CallError> {
    let mut response = tokio::time::timeout(silence_max, node.events(PATH))
        .await
        .map_err(|_| node.garbled(PATH, &"no answer to the subscription"))??;
    let mut lines = Lines::default();
    loop {
        let chunk = tokio::time::timeout(silence_max, response.chunk())
            .await
            .map_err(|_| node.garbled(PATH, &format!("nothing for {} s", silence_max.as_secs())))?;
        let Some(chunk) = chunk.map_err(|err| node.garbled(PATH, &err.without_url()))? else { return Ok(()) };
        for line in lines.push(&chunk).ok_or_else(|| node.garbled(PATH, &"a line without end"))? {
            let Some(data) = line.strip_prefix("data:") else { continue };
            let head: HeadJson = serde_json::from_str(data.trim()).map_err(|err| node.garbled(PATH, &err))?;
            let event = HeadEvent {
                slot: Slot(head.slot.0),
                block: head.block,
                current_dependent_root: head.current_duty_dependent_root,
                previous_dependent_root: head.previous_duty_dependent_root,
            };
            if inputs.send(Input::Head(event)).await.is_err() {
                return Ok(());
            }
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
