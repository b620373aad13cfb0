//! The network ports, by the kernel's ABI documentation of `/sys/class/net` and proc(5).

use std::collections::BTreeSet;
use std::path::Path;

use holdfast_hal::link::{LinkReading, NetReading};

use crate::files::{entries, number, sum, text, word};

/// Names are asked for by the node's own probe; the port's best speed only ethtool knows. `used` is what was in use before,
/// and gets what is in use now: a port that loses its carrier loses its routes too, and is missed just then.
pub(crate) fn read(root: &Path, used: &mut BTreeSet<String>) -> NetReading {
    let routes = text(&root.join("proc/net/route"));
    let routes6 = text(&root.join("proc/net/ipv6_route"));
    let addresses6 = text(&root.join("proc/net/if_inet6"));
    let ports: Vec<_> =
        entries(&root.join("sys/class/net"), "").into_iter().filter(|(_, port)| port.join("device").exists()).collect();

    let v4 = routes.as_deref().map(|text| by_port(text, 0, is_good_v4)).unwrap_or_default();
    let v6 = addresses6.as_deref().map(|text| by_port(text, 5, is_good_v6)).unwrap_or_default();
    let addressed: BTreeSet<String> = v4.union(&v6).cloned().collect();
    used.extend(ports.iter().map(|(name, _)| name).filter(|name| addressed.contains(*name)).cloned());
    used.retain(|name| ports.iter().any(|(port, _)| port == name));

    let default = |text: &str, is_default: fn(&[&str]) -> bool| {
        text.lines().any(|line| is_default(&line.split_whitespace().collect::<Vec<_>>()))
    };
    let default4 = routes.as_deref().map(|text| default(text, is_default_v4));
    let default6 = routes6.as_deref().map(|text| default(text, is_default_v6));
    let known = routes.is_some() || addresses6.is_some();
    NetReading {
        links: ports.iter().map(|(name, port)| link(name, port, used.contains(name))).collect(),
        has_address: known.then(|| addressed.iter().any(|name| name != "lo")),
        has_default_route: default4.into_iter().chain(default6).reduce(|a, b| a || b),
        dns_answers: None,
        dns_ms: None,
    }
}

fn link(name: &str, port: &Path, used: bool) -> LinkReading {
    let count = |names: [&str; 2]| sum(names.map(|name| number(&port.join("statistics").join(name))));
    LinkReading {
        name: name.to_owned(),
        used,
        carrier: number::<u8>(&port.join("carrier")).map(|carrier| carrier == 1),
        // Minus one while there is no carrier.
        speed_mbps: number::<i64>(&port.join("speed")).and_then(|speed| u32::try_from(speed).ok()).filter(|it| *it > 0),
        speed_best_mbps: None,
        full_duplex: match word(&port.join("duplex")).as_deref() {
            Some("full") => Some(true),
            Some("half") => Some(false),
            _ => None,
        },
        errors: count(["rx_errors", "tx_errors"]),
        drops: count(["rx_dropped", "tx_dropped"]),
        packets: count(["rx_packets", "tx_packets"]),
        carrier_changes: number(&port.join("carrier_changes")),
        mtu: number(&port.join("mtu")),
    }
}

/// The ports whose lines are good, by the column that has the port's name.
fn by_port(text: &str, column: usize, is_good: fn(&[&str]) -> bool) -> BTreeSet<String> {
    let good = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some((*words.get(column)?).to_owned()).filter(|_| is_good(&words))
    });
    good.take(LINES_MAX).collect()
}

/// A route that is up and not to the link's own 169.254.0.0/16 means an address that is good beyond the cable. Addresses
/// are in hexadecimal, their bytes as the machine has them in a word.
fn is_good_v4(words: &[&str]) -> bool {
    let up =
        words.get(3).and_then(|flags| u32::from_str_radix(flags, 16).ok()).is_some_and(|flags| flags & ROUTE_UP != 0);
    up && words.get(1).is_some_and(|to| !to.ends_with("FEA9"))
}

fn is_default_v4(words: &[&str]) -> bool {
    is_good_v4(words) && words.get(1) == Some(&"00000000") && words.get(7) == Some(&"00000000")
}

/// Scope 0 is global.
fn is_good_v6(words: &[&str]) -> bool {
    words.len() == 6 && words[3] == "00"
}

/// The kernel keeps a default route of `lo` that refuses.
fn is_default_v6(words: &[&str]) -> bool {
    words.len() == 10 && words[1] == "00" && words[0].bytes().all(|digit| digit == b'0') && words[9] != "lo"
}

/// `RTF_UP` of `linux/route.h`.
const ROUTE_UP: u32 = 1;
/// More than a small server has routes or addresses.
const LINES_MAX: usize = 1024;
