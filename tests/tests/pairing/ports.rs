//! Where a configured box can be spoken to: every socket of its processes that waits for somebody, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, ensure};
use holdfast_tests::kit::NodeBox;

/// A socket that waits for whoever comes. (A box whose API is on loopback has nothing to announce; where one announces itself is
/// looked at in the image.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Waiting {
    Tcp(SocketAddr),
    Udp(SocketAddr),
}

/// Of which protocol it is.
type Kind = fn(SocketAddr) -> Waiting;

/// The daemon waits at the addresses of its API, of its peers and, on loopback, of its metrics; the vault nowhere.
pub(crate) fn only_those_configured(node: &NodeBox) -> anyhow::Result<()> {
    let (found, configured) = (waiting_daemon(node)?, configured(node)?);
    ensure!(found == configured, "box {} waits at {found:?} and not at {configured:?}", node.operator);
    let vault = waiting(node.vault_pid().context("the vault does not run")?)?;
    ensure!(vault.is_empty(), "the vault of box {} waits at {vault:?}", node.operator);
    Ok(())
}

fn waiting_daemon(node: &NodeBox) -> anyhow::Result<BTreeSet<Waiting>> {
    waiting(node.daemon_pid().context("the daemon does not run")?)
}

fn configured(node: &NodeBox) -> anyhow::Result<BTreeSet<Waiting>> {
    let configuration = node.configuration()?;
    let mut all = BTreeSet::new();
    for address in [&configuration.api.listen, &configuration.metrics.listen] {
        all.insert(Waiting::Tcp(address.parse()?));
    }
    for address in &configuration.peers.listen {
        let parts: Vec<&str> = address.split('/').collect();
        let ["", _, ip, "tcp", port] = parts.as_slice() else { anyhow::bail!("{address} has another form") };
        all.insert(Waiting::Tcp(SocketAddr::new(ip.parse()?, port.parse()?)));
    }
    let metrics: SocketAddr = configuration.metrics.listen.parse()?;
    ensure!(metrics.ip().is_loopback(), "metrics without certificates are not on loopback: {metrics}");
    Ok(all)
}

/// The sockets of a process that wait for whoever comes: TCP that listens, UDP that is connected to nobody.
fn waiting(pid: u32) -> anyhow::Result<BTreeSet<Waiting>> {
    let sockets: BTreeSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))?
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let tables: [(&str, &str, Kind); 4] = [
        ("tcp", TCP_LISTEN, Waiting::Tcp),
        ("tcp6", TCP_LISTEN, Waiting::Tcp),
        ("udp", UDP_UNCONNECTED, Waiting::Udp),
        ("udp6", UDP_UNCONNECTED, Waiting::Udp),
    ];
    let mut found = BTreeSet::new();
    for (table, waits, kind) in tables {
        for line in fs::read_to_string(format!("/proc/{pid}/net/{table}"))?.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, state, .., inode] = fields.get(..10).unwrap_or_default() else { continue };
            if *state == waits && sockets.contains(*inode) {
                found.insert(kind(address(local).with_context(|| format!("no address: {local}"))?));
            }
        }
    }
    Ok(found)
}

/// An address as the kernel's tables have it: words of this machine's order in hex, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words: Vec<[u8; 4]> = (0..ip.len() / 8)
        .map(|place| u32::from_str_radix(&ip[8 * place..8 * place + 8], 16).map(u32::to_ne_bytes).ok())
        .collect::<Option<_>>()?;
    let ip: IpAddr = match words.as_slice() {
        [word] => Ipv4Addr::from(*word).into(),
        [_, _, _, _] => Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

const TCP_LISTEN: &str = "0A";
const UDP_UNCONNECTED: &str = "07";
