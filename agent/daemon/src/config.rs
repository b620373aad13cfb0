//! The configuration: what the file says ([`RawConfig`]) becomes what the daemon uses ([`Config`]) once, at start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use holdfast_cluster::Network;
use holdfast_types::{ForkVersion, OPERATORS_MAX, OperatorIndex};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use reqwest::Url;
use serde::Deserialize;

/// The largest configuration file that is read.
const FILE_LEN_MAX: u64 = 64 * 1024;

/// More nodes than this are a mistake: each is asked every question.
const BEACON_NODES_MAX: usize = 8;

/// Addresses that one peer may have here.
const ADDRESSES_MAX: usize = 16;

/// The bound that the wire protocol sets on a nickname, in bytes (`cluster-wire.md` section 6).
const NICKNAME_LEN_MAX: usize = 32;

/// What the daemon uses.
#[derive(Debug)]
pub struct Config {
    /// The cluster lock file.
    pub lock: PathBuf,
    /// The vault's socket.
    pub vault: PathBuf,
    /// What peers show as this node's name.
    pub nickname: String,
    /// A network that is not built in.
    pub network: Option<Network>,
    /// The beacon nodes; at least one.
    pub beacon_nodes: Vec<Url>,
    /// Where peers can reach this node.
    pub listen: Vec<Multiaddr>,
    /// Where this node can reach its peers.
    pub peers: BTreeMap<OperatorIndex, Vec<Multiaddr>>,
    /// Where health, metrics and status are served: loopback only, since nobody has to prove who he is there.
    pub http: SocketAddr,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        err: io::Error,
    },
    /// The file is far too large.
    #[error("configuration {} is larger than {FILE_LEN_MAX} bytes: is it the right file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not what a configuration looks like.
    #[error("cannot understand configuration {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        err: Box<toml::de::Error>,
    },
    /// A value cannot be right.
    #[error("configuration {}: {key}: {what}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong with it and what would be right.
        what: String,
    },
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// When it cannot be read, or a key of it cannot be right.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let read = |err| ConfigError::Read { path: path.to_owned(), err };
        if fs::metadata(path).map_err(read)?.len() > FILE_LEN_MAX {
            return Err(ConfigError::TooLarge { path: path.to_owned() });
        }
        let text = fs::read_to_string(path).map_err(read)?;
        let raw: RawConfig =
            toml::from_str(&text).map_err(|err| ConfigError::Parse { path: path.to_owned(), err: Box::new(err) })?;
        raw.check(path.parent().unwrap_or(Path::new("."))).map_err(|(key, what)| ConfigError::Value {
            path: path.to_owned(),
            key,
            what,
        })
    }
}

/// What the file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    lock: PathBuf,
    vault: PathBuf,
    #[serde(default)]
    nickname: String,
    network: Option<RawNetwork>,
    beacon: RawBeacon,
    peers: RawPeers,
    http: RawHttp,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNetwork {
    name: String,
    chain_id: u64,
    genesis_fork_version: ForkVersion,
    genesis_time: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBeacon {
    nodes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPeers {
    listen: Vec<String>,
    #[serde(default, rename = "static")]
    fixed: Vec<RawPeer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPeer {
    operator: u8,
    addresses: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    listen: String,
}

type Wrong = (String, String);

impl RawConfig {
    fn check(self, dir: &Path) -> Result<Config, Wrong> {
        if self.nickname.len() > NICKNAME_LEN_MAX {
            return Err(wrong("nickname", format!("longer than {NICKNAME_LEN_MAX} bytes")));
        }
        Ok(Config {
            lock: dir.join(self.lock),
            vault: dir.join(self.vault),
            nickname: self.nickname,
            network: self.network.map(RawNetwork::into_network),
            beacon_nodes: beacon_nodes(&self.beacon.nodes)?,
            listen: addresses("peers.listen", &self.peers.listen)?,
            peers: peers(&self.peers.fixed)?,
            http: loopback(&self.http.listen)?,
        })
    }
}

impl RawNetwork {
    fn into_network(self) -> Network {
        Network {
            name: self.name.into(),
            chain_id: self.chain_id,
            genesis_fork_version: self.genesis_fork_version,
            genesis_time_s: self.genesis_time,
        }
    }
}

fn wrong(key: impl Into<String>, what: impl Into<String>) -> Wrong {
    (key.into(), what.into())
}

fn beacon_nodes(texts: &[String]) -> Result<Vec<Url>, Wrong> {
    if texts.is_empty() || texts.len() > BEACON_NODES_MAX {
        return Err(wrong("beacon.nodes", format!("needs 1 to {BEACON_NODES_MAX} beacon nodes")));
    }
    texts
        .iter()
        .map(|text| {
            let url: Url = text.parse().map_err(|err| wrong("beacon.nodes", format!("not a URL: {err}")))?;
            match url.scheme() {
                "http" | "https" if url.has_host() => Ok(url),
                other => Err(wrong("beacon.nodes", format!("needs http:// or https:// and a host, found {other}:"))),
            }
        })
        .collect()
}

fn peers(raw: &[RawPeer]) -> Result<BTreeMap<OperatorIndex, Vec<Multiaddr>>, Wrong> {
    let mut peers = BTreeMap::new();
    for peer in raw {
        if usize::from(peer.operator) >= OPERATORS_MAX {
            return Err(wrong("peers.static.operator", format!("{} is no operator of any cluster", peer.operator)));
        }
        let key = format!("peers.static of operator {}", peer.operator);
        if peers.insert(OperatorIndex(peer.operator), addresses(&key, &peer.addresses)?).is_some() {
            return Err(wrong(key, "given twice"));
        }
    }
    Ok(peers)
}

fn addresses(key: &str, texts: &[String]) -> Result<Vec<Multiaddr>, Wrong> {
    if texts.len() > ADDRESSES_MAX {
        return Err(wrong(key, format!("more than {ADDRESSES_MAX} addresses")));
    }
    texts
        .iter()
        .map(|text| {
            let example = "/ip4/192.0.2.1/tcp/3610";
            let address: Multiaddr =
                text.parse().map_err(|_| wrong(key, format!("{text:?} is not a multiaddress such as {example}")))?;
            let mut parts = address.iter();
            match (parts.next(), parts.next()) {
                (Some(Protocol::Ip4(_) | Protocol::Ip6(_)), Some(Protocol::Tcp(_))) => Ok(address),
                _ => Err(wrong(
                    key,
                    format!("{text:?} is not an IP address with a TCP port; give one such as {example}"),
                )),
            }
        })
        .collect()
}

fn loopback(text: &str) -> Result<SocketAddr, Wrong> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| wrong("http.listen", format!("{text:?} is not ADDRESS:PORT, such as 127.0.0.1:3620")))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(wrong("http.listen", format!("{address} is not a loopback address: anybody could read it there")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        lock = "cluster-lock.json"
        vault = "vault.sock"
        [beacon]
        nodes = ["http://127.0.0.1:5052"]
        [peers]
        listen = ["/ip4/127.0.0.1/tcp/3610"]
        [[peers.static]]
        operator = 1
        addresses = ["/ip4/192.0.2.1/tcp/3610"]
        [http]
        listen = "127.0.0.1:3620"
    "#;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn a_good_file_is_read_and_its_paths_lie_beside_it() {
        let config = read(GOOD).unwrap();
        assert!(config.lock.is_absolute() && config.lock.ends_with("cluster-lock.json"));
        assert_eq!(config.peers.keys().collect::<Vec<_>>(), [&OperatorIndex(1)]);
    }

    #[test]
    fn each_wrong_value_names_its_key() {
        for (from, to, says) in [
            ("127.0.0.1:3620", "0.0.0.0:3620", "http.listen: 0.0.0.0:3620 is not a loopback address"),
            ("http://127.0.0.1:5052", "ftp://127.0.0.1", "beacon.nodes: needs http:// or https://"),
            (
                "/ip4/127.0.0.1/tcp/3610",
                "/ip4/127.0.0.1",
                "peers.listen: \"/ip4/127.0.0.1\" is not an IP address with a TCP port",
            ),
            (
                "/ip4/192.0.2.1/",
                "/dns/node.example/",
                "operator 1: \"/dns/node.example/tcp/3610\" is not an IP address",
            ),
            ("operator = 1", "operator = 99", "peers.static.operator: 99 is no operator"),
        ] {
            let error = read(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = read(&GOOD.replace("[http]", "[htpt]")).unwrap_err();
        assert!(matches!(error, ConfigError::Parse { .. }));
    }
}
