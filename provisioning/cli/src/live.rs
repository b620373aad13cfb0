//! What feeds the live view: each box's status and duties, then its events. A box that is lost is tried again and again.

use std::time::Duration;

use holdfast_api::{DutyList, EventKind, Status};
use holdfast_provisioning::client::{Client, ClientError};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{self, Sender};
use tokio::time::sleep;

use crate::exit::Failure;
use crate::home::Home;
use crate::top::{self, Look, Update};
use crate::world::{Reach, World};

/// Shows the boxes live, until the operator quits.
pub(crate) fn top(world: &mut World<'_>, home: &Home, colour: bool) -> Result<(), Failure> {
    let names = home.names(world.boxes)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|err| Failure::because("cannot begin to talk to boxes", err))?;
    let (send, updates) = mpsc::channel(UPDATES_HELD_MAX);
    for name in &names {
        let client = home.client_of(name)?;
        runtime.spawn(feed(name.clone(), client, send.clone()));
    }
    drop(send);
    let look = Look { unicode: speaks_unicode(), colour };
    let shown = top::run(names, updates, look).map_err(|err| Failure::because("the live view ended", err));
    // Boxes are asked no more; nothing of what is under way matters.
    runtime.shutdown_background();
    shown
}

/// Follows one box until nobody looks any more.
async fn feed(name: String, client: Client, to: Sender<(String, Update)>) {
    loop {
        let lost = match follow(&name, &client, &to).await {
            Ok(()) => return,
            Err(err) => Failure::told(&crate::carrier::failure(&name, err)),
        };
        if to.send((name.clone(), Update::Lost(lost))).await.is_err() {
            return;
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// Events from now on, after all that is known. Ends without an error when nobody looks any more.
async fn follow(name: &str, client: &Client, to: &Sender<(String, Update)>) -> Result<(), ClientError> {
    // The stream first: what happens while the rest is read is not lost.
    let mut events = client.events(None).await?;
    if !send_all(name, client, to).await? {
        return Ok(());
    }
    loop {
        let event = events.next().await?;
        let gap = matches!(event.what, EventKind::Gap(_));
        if to.send((name.to_owned(), Update::Event(Box::new(event)))).await.is_err() {
            return Ok(());
        }
        if gap && !send_all(name, client, to).await? {
            return Ok(());
        }
    }
}

/// Status and recent duties; whether somebody still looks.
async fn send_all(name: &str, client: &Client, to: &Sender<(String, Update)>) -> Result<bool, ClientError> {
    let status: Status = client.get("/v1/status").await?;
    if to.send((name.to_owned(), Update::Status(Box::new(status)))).await.is_err() {
        return Ok(false);
    }
    let mut after = 0;
    for _ in 0..PAGES_MAX {
        let page: DutyList = client.get(&format!("/v1/duties?after={after}&limit=500")).await?;
        if page.duties.is_empty() || page.next <= after {
            break;
        }
        after = page.next;
        if to.send((name.to_owned(), Update::Duties(page.duties))).await.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the terminal's language has more than ASCII, as far as the environment says.
fn speaks_unicode() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| set(name)).unwrap_or_default().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// A picture takes up to 2 000; the boxes wait for the view, never the view for them.
const UPDATES_HELD_MAX: usize = 4_000;
const PAGES_MAX: usize = 20;
const AGAIN_AFTER: Duration = Duration::from_secs(2);
