//! What happens, as it happens: server-sent events, which go on where a reader had stopped.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use holdfast_api::{Event, EventKind, Role};
use hyper::body::Bytes;
use tokio::sync::watch;

use crate::edge::api::Api;
use crate::edge::api::answer::{Answer, Fail};
use crate::edge::api::asked::Asked;
use crate::edge::api::connection::Connection;

/// A reader of events.
struct Follower {
    api: Arc<Api>,
    connection: Arc<Connection>,
    role: Role,
    after: u64,
    newest: watch::Receiver<u64>,
    waiting: VecDeque<Bytes>,
}

pub(super) fn follow(api: &Arc<Api>, asked: &Asked) -> Result<Answer, Fail> {
    let newest = api.host.newest_event();
    let present = *newest.borrow();
    let after = match asked.header("last-event-id")? {
        None => present,
        Some(id) => id.parse().map_err(|_| Fail::bad_request("the header last-event-id is not a number"))?,
    };
    if !asked.connection.ticket.follow() {
        return Err(Fail::too_many("readers of events", api.limits.heartbeat));
    }
    let follower = Follower {
        api: Arc::clone(api),
        connection: Arc::clone(&asked.connection),
        role: asked.role().unwrap_or(Role::Reader),
        after,
        newest,
        // The reader learns at once that he is connected.
        waiting: VecDeque::from([Bytes::from_static(HEARTBEAT)]),
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let bytes = follower.next().await?;
        Some((bytes, follower))
    });
    Ok(Answer::Events(events.boxed()))
}

impl Follower {
    /// The next bytes; `None` when the reader has lost his right to them.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.waiting.pop_front() {
                return Some(bytes);
            }
            // Before anything is read, so that what comes meanwhile wakes us.
            self.newest.borrow_and_update();
            let certificate = self.connection.certificate.as_ref()?;
            self.api.tls.judge()?.admit(certificate).ok()?;
            // A page of them, so that a reader who was away long has few in memory at a time.
            let events = self.api.host.events_after(self.after);
            self.after = events.last().map_or(self.after, |event| event.id);
            self.waiting.extend(events.iter().filter(|event| may_see(self.role, event)).filter_map(written));
            if events.is_empty() {
                tokio::select! {
                    changed = self.newest.changed() => changed.ok()?,
                    () = tokio::time::sleep(self.api.limits.heartbeat) => return Some(Bytes::from_static(HEARTBEAT)),
                }
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.connection.ticket.follows_no_more();
    }
}

/// The audit log is for admins, as events too.
fn may_see(role: Role, event: &Event) -> bool {
    role >= Role::Admin || !matches!(event.what, EventKind::Audit(_))
}

fn written(event: &Event) -> Option<Bytes> {
    let json = serde_json::to_value(event).ok()?;
    let kind = json.get("kind")?.as_str()?;
    Some(format!("id: {}\nevent: {kind}\ndata: {json}\n\n", event.id).into())
}

const HEARTBEAT: &[u8] = b": the box is there\n\n";
