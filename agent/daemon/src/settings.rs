//! The configuration: what the document says ([`Configuration`]) becomes what the daemon uses ([`Settings`]).

mod difference;
mod keeper;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use holdfast_api::{Configuration, CustomNetwork, PeerAddress};
use holdfast_cluster::Network;
use holdfast_types::{OPERATORS_MAX, OperatorIndex};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use reqwest::Url;

pub use difference::{changes, etag, risks_access};
pub use keeper::{Applied, ApplyError, Keeper};

/// What the daemon uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the node is built from.
    pub node: NodeSettings,
    /// Where the management API listens.
    pub api: SocketAddr,
    /// Whether the box is announced in the local network.
    pub announce: bool,
    /// Where metrics and liveness are served.
    pub metrics: MetricsPlace,
}

/// Where metrics and liveness are served, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsPlace {
    /// On loopback, since nobody has to prove who he is there.
    Loopback(SocketAddr),
    /// Anywhere, to whoever shows a certificate as at the API.
    WithCertificates(SocketAddr),
}

/// The part of the settings that the node is built from: when it changes, the node is built anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// What peers show as this node's name.
    pub nickname: String,
    /// A network that is not built in.
    pub network: Option<Network>,
    /// The beacon nodes; without one the node waits.
    pub beacon_nodes: Vec<Url>,
    /// Where peers can reach this node.
    pub listen: Vec<Multiaddr>,
    /// Where this node can reach its peers.
    pub peers: BTreeMap<OperatorIndex, Vec<Multiaddr>>,
}

/// A field that cannot be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {what}")]
pub struct WrongField {
    /// The field, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong with it, and what would be right. Never the value of a URL, which may carry a token.
    pub what: String,
}

impl Settings {
    /// Checks a configuration.
    ///
    /// # Errors
    /// Every field that cannot be right.
    pub fn check(configuration: &Configuration) -> Result<Self, Vec<WrongField>> {
        let mut wrong = Wrong(Vec::new());
        if configuration.nickname.len() > NICKNAME_LEN_MAX {
            wrong.field("/nickname", format!("longer than {NICKNAME_LEN_MAX} bytes"));
        }
        let network = configuration.network.as_ref().and_then(|network| wrong.network(network));
        let beacon_nodes = wrong.beacon_nodes(configuration);
        let listen = wrong.multiaddresses("/peers/listen", &configuration.peers.listen);
        let peers = wrong.peers(&configuration.peers.addresses);
        let api = wrong.socket("/api/listen", &configuration.api.listen, "0.0.0.0:4443");
        let metrics = wrong.metrics(configuration, api);
        match (api, metrics) {
            (Some(api), Some(metrics)) if wrong.0.is_empty() => Ok(Self {
                node: NodeSettings { nickname: configuration.nickname.clone(), network, beacon_nodes, listen, peers },
                api,
                announce: configuration.api.announce,
                metrics,
            }),
            _ => Err(wrong.0),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::check(&Configuration::default()).expect("the defaults are right")
    }
}

/// Collects what is wrong. What a wrong field is read as is never used.
struct Wrong(Vec<WrongField>);

impl Wrong {
    fn field(&mut self, pointer: impl Into<String>, what: impl Into<String>) {
        self.0.push(WrongField { pointer: pointer.into(), what: what.into() });
    }

    fn network(&mut self, network: &CustomNetwork) -> Option<Network> {
        if network.name.is_empty() || network.name.len() > NAME_LEN_MAX {
            self.field("/network/name", format!("needs 1 to {NAME_LEN_MAX} bytes"));
        }
        match network.genesis_fork_version.parse() {
            Ok(genesis_fork_version) => Some(Network {
                name: network.name.clone().into(),
                chain_id: network.chain_id,
                genesis_fork_version,
                genesis_time_s: network.genesis_time,
            }),
            Err(err) => {
                self.field("/network/genesisForkVersion", format!("not 4 bytes in 0x hex: {err}"));
                None
            }
        }
    }

    fn beacon_nodes(&mut self, configuration: &Configuration) -> Vec<Url> {
        let nodes = &configuration.beacon_nodes;
        if nodes.len() > BEACON_NODES_MAX {
            self.field("/beaconNodes", format!("more than {BEACON_NODES_MAX} beacon nodes"));
        }
        let mut urls = Vec::new();
        for (place, node) in nodes.iter().enumerate() {
            let name = format!("/beaconNodes/{place}/name");
            if node.name.is_empty() || node.name.len() > NAME_LEN_MAX || node.name.chars().any(char::is_control) {
                self.field(name, format!("needs 1 to {NAME_LEN_MAX} bytes, none of them a control character"));
            } else if nodes[..place].iter().any(|before| before.name == node.name) {
                self.field(name, format!("{:?} is given twice", node.name));
            }
            let pointer = format!("/beaconNodes/{place}/url");
            match node.url.parse::<Url>() {
                Err(err) => self.field(pointer, format!("not a URL: {err}")),
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => urls.push(url),
                Ok(url) => {
                    self.field(pointer, format!("needs http:// or https:// and a host, found {}:", url.scheme()))
                }
            }
        }
        urls
    }

    fn peers(&mut self, raw: &[PeerAddress]) -> BTreeMap<OperatorIndex, Vec<Multiaddr>> {
        let mut peers = BTreeMap::new();
        for (place, peer) in raw.iter().enumerate() {
            let operator = format!("/peers/addresses/{place}/operator");
            let addresses = self.multiaddresses(&format!("/peers/addresses/{place}/addresses"), &peer.addresses);
            if usize::from(peer.operator) >= OPERATORS_MAX {
                self.field(operator, format!("{} is no operator of any cluster", peer.operator));
            } else if peers.insert(OperatorIndex(peer.operator), addresses).is_some() {
                self.field(operator, format!("{} is given twice", peer.operator));
            }
        }
        peers
    }

    fn multiaddresses(&mut self, pointer: &str, texts: &[String]) -> Vec<Multiaddr> {
        if texts.len() > ADDRESSES_MAX {
            self.field(pointer, format!("more than {ADDRESSES_MAX} addresses"));
        }
        let mut addresses = Vec::new();
        for (place, text) in texts.iter().enumerate() {
            match text.parse::<Multiaddr>() {
                Err(_) => self.field(
                    format!("{pointer}/{place}"),
                    format!("{text:?} is not a multiaddress such as {ADDRESS_EXAMPLE}"),
                ),
                Ok(address) if is_ip_and_tcp(&address) => addresses.push(address),
                Ok(_) => self.field(
                    format!("{pointer}/{place}"),
                    format!("{text:?} is not an IP address with a TCP port; give one such as {ADDRESS_EXAMPLE}"),
                ),
            }
        }
        addresses
    }

    fn socket(&mut self, pointer: &str, text: &str, example: &str) -> Option<SocketAddr> {
        let address = text.parse();
        if address.is_err() {
            self.field(pointer, format!("{text:?} is not ADDRESS:PORT, such as {example}"));
        }
        address.ok()
    }

    fn metrics(&mut self, configuration: &Configuration, api: Option<SocketAddr>) -> Option<MetricsPlace> {
        let (pointer, settings) = ("/metrics/listen", &configuration.metrics);
        let address = self.socket(pointer, &settings.listen, "127.0.0.1:3620")?;
        if Some(address) == api && address.port() != 0 {
            self.field(pointer, format!("{address} is where the API listens: take another port"));
        }
        if settings.certificates {
            return Some(MetricsPlace::WithCertificates(address));
        }
        if !address.ip().is_loopback() {
            self.field(
                pointer,
                format!(
                    "{address} is not a loopback address: anybody could read it there; take one, or set \
                     /metrics/certificates to true"
                ),
            );
        }
        Some(MetricsPlace::Loopback(address))
    }
}

fn is_ip_and_tcp(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    matches!((parts.next(), parts.next()), (Some(Protocol::Ip4(_) | Protocol::Ip6(_)), Some(Protocol::Tcp(_))))
}

const ADDRESS_EXAMPLE: &str = "/ip4/192.0.2.1/tcp/3610";

/// More nodes than this are a mistake: each is asked every question.
const BEACON_NODES_MAX: usize = 8;

/// Addresses that one peer may have here.
const ADDRESSES_MAX: usize = 16;

/// The bound that the wire protocol sets on a nickname, in bytes (`cluster-wire.md` section 6).
const NICKNAME_LEN_MAX: usize = 32;

/// What fits into a table.
const NAME_LEN_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use holdfast_api::BeaconNode;
    use serde_json::{Value, json};

    use super::*;

    fn good() -> Value {
        json!({
            "nickname": "north",
            "network": { "name": "dev", "chainId": 7, "genesisForkVersion": "0x00000007", "genesisTime": 1 },
            "beaconNodes": [{ "name": "local", "url": "http://127.0.0.1:5052" }],
            "peers": {
                "listen": ["/ip4/127.0.0.1/tcp/3610"],
                "addresses": [{ "operator": 1, "addresses": ["/ip4/192.0.2.1/tcp/3610"] }],
            },
        })
    }

    fn wrong_after(pointer: &str, value: Value) -> Vec<String> {
        let mut document = good();
        *document.pointer_mut(pointer).unwrap() = value;
        let configuration = serde_json::from_value(document).unwrap();
        let wrong = Settings::check(&configuration).err().unwrap_or_default();
        wrong.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_configuration_is_taken_and_the_defaults_are_right() {
        let settings = Settings::check(&serde_json::from_value(good()).unwrap()).unwrap();
        assert_eq!(settings.node.peers.keys().collect::<Vec<_>>(), [&OperatorIndex(1)]);
        assert_eq!(settings.node.network.unwrap().chain_id, 7);
        assert_eq!(Settings::default().metrics, MetricsPlace::Loopback("127.0.0.1:3620".parse().unwrap()));
    }

    #[test]
    fn metrics_are_elsewhere_than_on_loopback_with_certificates_only() {
        let mut document = good();
        let mut check = |listen: &str, certificates: bool| {
            document["metrics"] = json!({ "listen": listen, "certificates": certificates });
            Settings::check(&serde_json::from_value(document.clone()).unwrap()).map(|settings| settings.metrics)
        };
        let at = |address: &str| address.parse().unwrap();
        assert_eq!(check("[::1]:1", false), Ok(MetricsPlace::Loopback(at("[::1]:1"))));
        assert_eq!(check("127.0.0.1:1", true), Ok(MetricsPlace::WithCertificates(at("127.0.0.1:1"))));
        assert_eq!(check("192.0.2.1:3620", true), Ok(MetricsPlace::WithCertificates(at("192.0.2.1:3620"))));
        let refused = check("192.0.2.1:3620", false).unwrap_err();
        let says = "/metrics/listen: 192.0.2.1:3620 is not a loopback address: anybody could read it there; take one, \
                    or set /metrics/certificates to true";
        assert_eq!(refused[0].to_string(), says);
        let refused = check("0.0.0.0:4443", true).unwrap_err();
        assert_eq!(refused[0].to_string(), "/metrics/listen: 0.0.0.0:4443 is where the API listens: take another port");
        let unknown = json!({ "metrics": { "listen": "127.0.0.1:1", "certificate": true } });
        assert!(serde_json::from_value::<Configuration>(unknown).is_err());
    }

    #[test]
    fn each_wrong_field_is_named_and_told_what_would_be_right() {
        for (pointer, value, says) in [
            ("/nickname", json!("x".repeat(33)), "/nickname: longer than 32 bytes"),
            ("/network/genesisForkVersion", json!("0x07"), "/network/genesisForkVersion: not 4 bytes in 0x hex: "),
            ("/network/name", json!(""), "/network/name: needs 1 to 32 bytes"),
            ("/beaconNodes/0/url", json!("127.0.0.1:5052"), "/beaconNodes/0/url: not a URL: "),
            (
                "/beaconNodes/0/url",
                json!("ftp://127.0.0.1"),
                "/beaconNodes/0/url: needs http:// or https:// and a host",
            ),
            ("/beaconNodes/0/name", json!("a\nb"), "/beaconNodes/0/name: needs 1 to 32 bytes"),
            ("/peers/listen/0", json!("127.0.0.1:3610"), "/peers/listen/0: \"127.0.0.1:3610\" is not a multiaddress"),
            ("/peers/listen/0", json!("/ip4/127.0.0.1"), "/peers/listen/0: \"/ip4/127.0.0.1\" is not an IP address"),
            ("/peers/addresses/0/operator", json!(200), "/peers/addresses/0/operator: 200 is no operator"),
            (
                "/peers/addresses/0/addresses/0",
                json!("/dns/node.example/tcp/3610"),
                "/peers/addresses/0/addresses/0: \"/dns/node.example/tcp/3610\" is not an IP address",
            ),
            ("/peers/addresses/0/addresses", json!(vec!["/ip4/1.2.3.4/tcp/1"; 17]), "more than 16 addresses"),
        ] {
            let wrong = wrong_after(pointer, value);
            assert!(wrong.len() == 1 && wrong[0].contains(says), "{pointer}: {wrong:?}");
        }
    }

    #[test]
    fn all_wrong_fields_are_told_at_once() {
        let twice = BeaconNode { name: "a".to_owned(), url: "http://192.0.2.1".to_owned() };
        let mut configuration = Configuration { beacon_nodes: vec![twice; 9], ..Configuration::default() };
        configuration.metrics.listen = "0.0.0.0:3620".to_owned();
        configuration.api.listen = "4443".to_owned();
        let wrong = Settings::check(&configuration).unwrap_err();
        let pointers: Vec<&str> = wrong.iter().map(|wrong| wrong.pointer.as_str()).collect();
        assert_eq!(pointers.len(), 11, "{pointers:?}");
        for pointer in ["/beaconNodes", "/beaconNodes/8/name", "/metrics/listen", "/api/listen"] {
            assert!(pointers.contains(&pointer), "{pointers:?}");
        }
    }

    #[test]
    fn a_wrong_url_is_not_repeated() {
        let wrong = wrong_after("/beaconNodes/0/url", json!("ftp://user:secret@192.0.2.1/token"));
        assert!(!wrong[0].contains("secret") && !wrong[0].contains("token"), "{wrong:?}");
    }
}
