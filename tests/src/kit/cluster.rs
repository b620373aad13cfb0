//! A whole cluster on a chain of its own: keys made here, each share sealed in its box's own TPM.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use holdfast_api::{ApiSettings, BeaconNode, Configuration, CustomNetwork, MetricsSettings, PeerAddress, PeerSettings};
use holdfast_cluster::{
    CreateParams, CreatedCluster, KeystoreCost, Network, NodeKey, create, read_keystores, write_node_dirs,
};
use holdfast_eth::ValidatorAddresses;
use holdfast_evidence::{HistoryClaim, NetworkPins};
use holdfast_test_operator::Shares;
use holdfast_types::{ChainSpec, Epoch, Fork, ForkVersion, ShareIndex, Slot, ValidatorPublic};
use rand::rngs::OsRng;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::by_command;
use super::desk::Desk;
use super::node_box::{Handover, NodeBox};
use super::place::{Lab, Place};
use crate::chain::{Chain, ChainOptions, genesis_in};

/// The genesis fork version of the local chain, as `tests/chain/node.mjs` has it.
const GENESIS_FORK: ForkVersion = ForkVersion([0x00, 0x48, 0x4f, 0x4c]);

/// Its name here.
const NETWORK_NAME: &str = "holdfast-local";

/// Its chain ID, as the same file has it.
const CHAIN_ID: u64 = 0x48_4f4c;

/// From here to genesis: the node needs 6 to 9 s on a free machine, the boxes a few more.
const GENESIS_DELAY: Duration = Duration::from_secs(20);

/// And for each validator: its keystores are written and read, its shares sealed.
const PER_VALIDATOR: Duration = Duration::from_millis(50);

/// Validators of others for each of the cluster's: enough that every committee has somebody who aggregates, and that
/// the chain finalises without the cluster.
const FILLER_PER_VALIDATOR: usize = 3;
const FILLER_MIN: usize = 192;

/// What cluster to make.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Where everything goes.
    pub dir: PathBuf,
    /// How many operators.
    pub nodes: u8,
    /// How many shares make a signature; two thirds, rounded up, when absent.
    pub threshold: Option<u8>,
    /// The cluster's validators.
    pub validators: usize,
    /// The length of a slot in whole seconds.
    pub slot_seconds: u64,
    /// One-way delay between nodes, as `25ms`; puts each into a network namespace of its own.
    pub link_delay: Option<String>,
    /// Where the operator's contexts lie, who then does everything with the command; nobody else has the boxes' authority.
    pub by_command: Option<PathBuf>,
    /// The operator whose lease lasts one epoch only, so that a short run sees it renewed.
    pub short_lease: Option<u8>,
}

/// A cluster that is set up: every share sealed. Daemons run when it was done by command.
#[derive(Debug)]
pub struct Cluster {
    /// The boxes, in the order of the operators.
    pub boxes: Vec<NodeBox>,
    /// The chain under it.
    pub chain: Chain,
    /// The network's constants.
    pub spec: ChainSpec,
    /// The keys, which the test kit knows and no daemon does.
    pub keys: CreatedCluster,
    /// The codes with which the boxes were paired, if they were.
    pub codes: Vec<String>,
    /// Where the beacon node is reached from.
    pub beacon_place: Place,
    key_dir: PathBuf,
    _lab: Option<Lab>,
}

impl Cluster {
    /// Makes the keys, starts the chain, and seals each node's shares in its own TPM. `told` hears of each step.
    ///
    /// # Errors
    /// When a part does not come up.
    pub fn set_up(options: &ClusterOptions, mut told: impl FnMut(&str)) -> anyhow::Result<Self> {
        fs::create_dir_all(&options.dir).with_context(|| format!("cannot make {}", options.dir.display()))?;
        let lab = match &options.link_delay {
            Some(delay) => Some(Lab::start(options.nodes + 1, delay, &options.dir.join("netlab.log"))?),
            None => None,
        };
        let places: Vec<Place> = match &lab {
            Some(lab) => lab.places().to_vec(),
            None => vec![Place::here(); usize::from(options.nodes) + 1],
        };
        let beacon_place = places[usize::from(options.nodes)].clone();

        told("making keys for the cluster, and keystores of each node's shares");
        let genesis_time_s = genesis_in(GENESIS_DELAY + PER_VALIDATOR * u32::try_from(options.validators)?);
        let keys = make_keys(options, genesis_time_s)?;
        let key_dir = options.dir.join("keys");
        write_node_dirs(&keys, &key_dir, KeystoreCost::DangerInsecure, &mut OsRng)?;
        let validators: Vec<ValidatorPublic> = keys.lock.validators().map(|validator| validator.public).collect();

        told("starting the local chain");
        let chain = Chain::start(&ChainOptions {
            dir: options.dir.join("chain"),
            place: beacon_place.clone(),
            port: beacon_place.free_port(5052)?,
            slot_seconds: options.slot_seconds,
            genesis_time_s,
            filler: FILLER_MIN.max(validators.len() * FILLER_PER_VALIDATOR),
            cluster: validators,
        })?;
        let network = network_pins(&beacon_place, chain.url(), options.slot_seconds)?;

        let mut boxes = Vec::new();
        for operator in 0..options.nodes {
            let place = places[usize::from(operator)].clone();
            let http_port = place.free_port(3620)?;
            let dir = options.dir.join(format!("node{operator}"));
            let mut node_box = NodeBox::new(operator, place, &dir, http_port)?;
            node_box.lease_epochs = (options.short_lease == Some(operator)).then_some(1);
            node_box.start_vault()?;
            boxes.push(node_box);
        }
        let configurations = configurations(&boxes, chain.url(), genesis_time_s)?;
        let papers = Papers { lock: holdfast_cluster::write_lock(keys.lock.lock()), keys: &keys, key_dir, network };
        let codes = match &options.by_command {
            Some(home) => papers.by_command(&mut boxes, &configurations, home, &mut told)?,
            None => papers.hand_over(&mut boxes, &configurations, &mut told).map(|()| Vec::new())?,
        };
        let (spec, key_dir) = (papers.network.chain, papers.key_dir);
        Ok(Self { boxes, chain, spec, keys, codes, beacon_place, key_dir, _lab: lab })
    }

    /// The passwords of all nodes' keystores.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn keystore_passwords(&self) -> anyhow::Result<Vec<String>> {
        let mut passwords = Vec::new();
        for node in &self.boxes {
            let dir = self.key_dir.join(format!("node{}", node.operator)).join("validator_keys");
            for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
                let path = entry?.path();
                if path.extension().is_some_and(|kind| kind == "txt") {
                    passwords.push(fs::read_to_string(&path)?.trim().to_owned());
                }
            }
        }
        Ok(passwords)
    }

    /// Starts every daemon.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start_daemons(&mut self) -> anyhow::Result<()> {
        self.boxes.iter_mut().filter(|node| node.daemon_pid().is_none()).try_for_each(NodeBox::start_daemon)
    }

    /// Says that everything that was started still runs.
    ///
    /// # Errors
    /// When a process has ended by itself.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.chain.check()?;
        self.boxes.iter_mut().try_for_each(NodeBox::check)
    }

    /// The slot now; `None` before genesis.
    #[must_use]
    pub fn slot_now(&self) -> Option<Slot> {
        self.spec.slot_at(crate::now())
    }

    /// Waits until a slot has begun, checking meanwhile that everything runs.
    ///
    /// # Errors
    /// When a process has ended by itself.
    pub fn wait_for_slot(&mut self, slot: Slot) -> anyhow::Result<()> {
        while self.slot_now().is_none_or(|now| now < slot) {
            self.check()?;
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

fn make_keys(options: &ClusterOptions, genesis_time_s: u64) -> anyhow::Result<CreatedCluster> {
    let address = "0x00000000000000000000000000000000c0ffee00".parse()?;
    let addresses = ValidatorAddresses {
        fee_recipient: address,
        withdrawal: "0x00000000000000000000000000000000C0FFeE00".parse()?,
    };
    let params = CreateParams {
        name: "local".to_owned(),
        network: network(genesis_time_s),
        operators: options.nodes,
        threshold: options.threshold.unwrap_or_else(|| holdfast_cluster::default_threshold(options.nodes)),
        validators: vec![addresses; options.validators],
        deposit_amounts: Vec::new(),
        consensus_protocol: String::new(),
        target_gas_limit: 60_000_000,
        compounding: false,
        timestamp: String::new(),
    };
    create(&params, &mut OsRng).context("cannot make the cluster's keys")
}

fn network(genesis_time_s: u64) -> Network {
    Network { name: NETWORK_NAME.into(), chain_id: CHAIN_ID, genesis_fork_version: GENESIS_FORK, genesis_time_s }
}

/// What the box's operator hands over: the identity and the shares in a node's folder, decrypted here.
fn handover(dir: &Path, keys: &CreatedCluster, network: &NetworkPins, operator: u8) -> anyhow::Result<Handover> {
    let identity = NodeKey::read(&dir.join("charon-enr-private-key"))?;
    let shares = read_keystores(&dir.join("validator_keys"))?;
    let secrets = keys.lock.validators().zip(&shares).map(|(validator, share)| (validator.public, *share.expose()));
    let shares = Shares {
        lock_hash: keys.lock.lock_hash(),
        share_index: ShareIndex(operator + 1),
        genesis_fork_version: network.chain.genesis_fork_version,
        epoch: epoch_now(&network.chain),
        history: HistoryClaim::NeverSigned,
        secrets: secrets.collect(),
    };
    Ok(Handover { network: network.clone(), identity: *identity.expose(), shares })
}

/// The present epoch; the first one before genesis.
fn epoch_now(chain: &ChainSpec) -> Epoch {
    chain.epoch_of(chain.slot_at(crate::now()).unwrap_or_default())
}

/// What operators have before their boxes have anything.
struct Papers<'a> {
    lock: String,
    keys: &'a CreatedCluster,
    key_dir: PathBuf,
    network: NetworkPins,
}

impl Papers<'_> {
    /// Gives each vault what is its own by its socket, and each daemon its files.
    fn hand_over(
        &self,
        boxes: &mut [NodeBox],
        configurations: &[Configuration],
        told: &mut impl FnMut(&str),
    ) -> anyhow::Result<()> {
        for (node, configuration) in boxes.iter_mut().zip(configurations) {
            told(&format!("sealing the shares of node {} in its TPM", node.operator));
            node.hand_over(&handover(&self.node_dir(node), self.keys, &self.network, node.operator)?)?;
            node.write_lock(&self.lock)?;
            node.write_configuration(configuration)?;
        }
        Ok(())
    }

    /// Starts each daemon as an image does, and leaves everything else to the command. Gives the codes of the pairings.
    fn by_command(
        &self,
        boxes: &mut [NodeBox],
        configurations: &[Configuration],
        home: &Path,
        told: &mut impl FnMut(&str),
    ) -> anyhow::Result<Vec<String>> {
        let mut codes = Vec::new();
        let (lock, network) = (self.key_dir.join("cluster-lock.json"), self.key_dir.join("network.json"));
        fs::write(&lock, &self.lock)?;
        by_command::write_network(&network, NETWORK_NAME, CHAIN_ID, &self.network)?;
        let desk = Desk::new(home, Place::here())?;
        for (node, configuration) in boxes.iter_mut().zip(configurations) {
            // An image listens at fixed ports of an address of its own; here the ports are what is free.
            let only_ports = Configuration {
                peers: PeerSettings { addresses: Vec::new(), ..configuration.peers.clone() },
                api: configuration.api.clone(),
                metrics: configuration.metrics.clone(),
                ..Configuration::default()
            };
            node.write_configuration(&only_ports)?;
            node.start_daemon()?;
            let desk = desk.at(&node.place);
            told(&format!("pairing box {} with the code on its screen", node.operator));
            codes.push(by_command::pair(node, &desk)?);
            told(&format!("importing the cluster into box {}", node.operator));
            let node_dir = &self.node_dir(node);
            let papers = by_command::Papers { lock: &lock, node_dir, configuration, network: &network };
            by_command::enrol(node, &desk, &papers)?;
        }
        Ok(codes)
    }

    fn node_dir(&self, node: &NodeBox) -> PathBuf {
        self.key_dir.join(format!("node{}", node.operator))
    }
}

fn configurations(boxes: &[NodeBox], beacon: &str, genesis_time: u64) -> anyhow::Result<Vec<Configuration>> {
    let free = |port| boxes.iter().map(|node| node.place.free_port(port)).collect::<anyhow::Result<Vec<u16>>>();
    let ports = Ports { peers: free(3610)?, api: free(4443)? };
    boxes.iter().map(|node| configuration_of(node, boxes, &ports, beacon, genesis_time)).collect()
}

/// Where each box listens, by its operator.
struct Ports {
    peers: Vec<u16>,
    api: Vec<u16>,
}

fn configuration_of(
    node: &NodeBox,
    boxes: &[NodeBox],
    ports: &Ports,
    beacon: &str,
    genesis_time: u64,
) -> anyhow::Result<Configuration> {
    let address = |of: &NodeBox| format!("/ip4/{}/tcp/{}", of.place.address(), ports.peers[usize::from(of.operator)]);
    let others = boxes.iter().filter(|peer| peer.operator != node.operator);
    let api_port = ports.api.get(usize::from(node.operator)).context("the box has no port for its API")?;
    Ok(Configuration {
        nickname: format!("node {}", node.operator),
        network: Some(CustomNetwork {
            name: NETWORK_NAME.to_owned(),
            chain_id: CHAIN_ID,
            genesis_fork_version: GENESIS_FORK.to_string(),
            genesis_time,
        }),
        beacon_nodes: vec![BeaconNode { name: "local".to_owned(), url: beacon.to_owned() }],
        peers: PeerSettings {
            listen: vec![address(node)],
            addresses: others
                .map(|peer| PeerAddress { operator: peer.operator, addresses: vec![address(peer)] })
                .collect(),
        },
        api: ApiSettings { listen: format!("{}:{api_port}", node.place.address()), announce: false },
        metrics: MetricsSettings { listen: format!("127.0.0.1:{}", node.http_port()), certificates: false },
    })
}

/// The chain's constants, read apart from the agent's own way of reading them.
fn network_pins(place: &Place, url: &str, slot_seconds: u64) -> anyhow::Result<NetworkPins> {
    let fetch = |path: &str| -> anyhow::Result<Value> {
        let (_, body) = place.get(&format!("{url}{path}"))?;
        Ok(serde_json::from_slice::<Value>(&body)?["data"].take())
    };
    let genesis = fetch("/eth/v1/beacon/genesis")?;
    let schedule = fetch("/eth/v1/config/fork_schedule")?;
    let forks = schedule.as_array().context("the fork schedule is no list")?;
    let fork = |entry: &Value| -> anyhow::Result<Fork> {
        Ok(Fork { epoch: Epoch(number(&entry["epoch"])?), version: text(&entry["current_version"])? })
    };
    let chain = ChainSpec {
        genesis_time_s: number(&genesis["genesis_time"])?,
        genesis_validators_root: text(&genesis["genesis_validators_root"])?,
        genesis_fork_version: text(&genesis["genesis_fork_version"])?,
        slot_ms: slot_seconds * 1000,
        slots_per_epoch: 32,
        forks: forks.iter().map(fork).collect::<anyhow::Result<_>>()?,
    };
    let constants = fetch("/eth/v1/config/spec")?;
    Ok(NetworkPins { chain, exit_fork_version: text(&constants["CAPELLA_FORK_VERSION"])? })
}

fn number(value: &Value) -> anyhow::Result<u64> {
    Ok(value.as_str().context("not a decimal string")?.parse()?)
}

fn text<T: DeserializeOwned>(value: &Value) -> anyhow::Result<T> {
    Ok(serde_json::from_value(value.clone())?)
}
