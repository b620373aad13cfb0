//! The announcement in the local network: `_holdfast._tcp`, so that `holdfast discover` finds the box. It says what
//! everybody may know who stands before the box, and is never needed: what goes wrong here is a line in the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mdns_sd::{ServiceDaemon, ServiceInfo};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::host::Host;

/// The announcement, as long as this is kept.
#[derive(Debug)]
pub struct Announcer(JoinHandle<()>);

/// Starts to announce, whenever the configuration says so and the API listens.
#[must_use]
pub fn start(host: Arc<Host>, api: watch::Receiver<Option<SocketAddr>>) -> Announcer {
    Announcer(tokio::spawn(announce(host, api)))
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Announced {
    name: String,
    port: u16,
    texts: [(&'static str, String); 4],
}

impl Announced {
    /// `None` when nothing is to be announced.
    fn of(host: &Host, api: Option<SocketAddr>) -> Option<Self> {
        // What nobody else reaches is not announced to them.
        let api = api.filter(|api| !api.ip().is_loopback())?;
        if !host.configuration().api.announce {
            return None;
        }
        let status = host.seen().status();
        if status.name.is_empty() {
            return None;
        }
        let version = host.version();
        let tier = status.vault.map_or_else(String::new, |vault| vault.tier);
        let texts =
            [("board", version.board), ("mode", status.mode.to_string()), ("tier", tier), ("version", version.version)];
        Some(Self { name: status.name, port: api.port(), texts })
    }

    fn service(&self) -> mdns_sd::Result<ServiceInfo> {
        let host_name = format!("{}.local.", self.name);
        let service = ServiceInfo::new(SERVICE, &self.name, &host_name, "", self.port, &self.texts[..])?;
        Ok(service.enable_addr_auto())
    }
}

/// The daemon of the protocol, which runs while there is something to announce.
#[derive(Default)]
struct Announcing {
    daemon: Option<ServiceDaemon>,
    announced: Option<Announced>,
    told: bool,
}

impl Announcing {
    fn follow(&mut self, wanted: Option<Announced>) {
        if self.announced == wanted && self.daemon.is_some() == wanted.is_some() {
            return;
        }
        let other_name = match (&self.announced, &wanted) {
            (Some(before), Some(after)) => before.name != after.name,
            (before, _) => before.is_some(),
        };
        if other_name {
            self.stop();
        }
        let Some(wanted) = wanted else { return };
        match self.register(&wanted) {
            Ok(()) => {
                self.announced = Some(wanted);
                self.told = false;
            }
            Err(error) if !std::mem::replace(&mut self.told, true) => {
                tracing::warn!(%error, "the box is not announced in the local network: reach it by its address");
            }
            Err(_) => {}
        }
    }

    /// Registering again under the same name brings the new texts.
    fn register(&mut self, wanted: &Announced) -> mdns_sd::Result<()> {
        let daemon = match self.daemon.take() {
            Some(daemon) => daemon,
            None => ServiceDaemon::new()?,
        };
        let registered = wanted.service().and_then(|service| daemon.register(service));
        self.daemon = Some(daemon);
        registered
    }

    /// Takes it back, as far as those who listen believe it.
    fn stop(&mut self) {
        self.announced = None;
        if let Some(daemon) = self.daemon.take()
            && let Err(error) = daemon.shutdown()
        {
            tracing::debug!(%error, "the announcement did not end in order");
        }
    }
}

impl Drop for Announcing {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn announce(host: Arc<Host>, api: watch::Receiver<Option<SocketAddr>>) {
    let mut announcing = Announcing::default();
    loop {
        let wanted = Announced::of(&host, *api.borrow());
        announcing.follow(wanted);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

const SERVICE: &str = "_holdfast._tcp.local.";
/// Mode and name change seldom, and whoever looks for a box waits a few seconds anyway.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(name: &str, mode: &str) -> Announced {
        let texts = [("board", "pc"), ("mode", mode), ("tier", "B"), ("version", "1.2.3")];
        Announced { name: name.to_owned(), port: 4443, texts: texts.map(|(key, value)| (key, value.to_owned())) }
    }

    #[test]
    fn a_box_is_announced_by_its_name_with_what_it_is() {
        let service = announced("box-7f3a", "maintenance").service().unwrap();
        assert_eq!(service.get_fullname(), "box-7f3a._holdfast._tcp.local.");
        assert_eq!((service.get_hostname(), service.get_port()), ("box-7f3a.local.", 4443));
        for (key, value) in [("board", "pc"), ("mode", "maintenance"), ("tier", "B"), ("version", "1.2.3")] {
            assert_eq!(service.get_property_val_str(key), Some(value));
        }
    }
}
