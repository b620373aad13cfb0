//! What the daemon counts, in the OpenMetrics text form. Units are in the names.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use holdfast_api::VaultSummary;
use holdfast_core::io::{DutyEvent, DutyStep};
use holdfast_hal::process::ProcessReading;
use holdfast_hal_linux::Machine;
use holdfast_types::Mode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text::encode};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::board::Board;
use crate::edge::peers::{Peers, ProtocolStats};

/// The type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The steps of a duty that are timed, in seconds after the duty's start.
const DELAY_BUCKETS_S: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 2.0, 4.0, 8.0, 16.0];

/// Everything that is counted.
pub struct Metrics {
    registry: Mutex<Registry>,
    mode: Family<ModeLabel, Gauge>,
    duties: Family<StepLabel, Counter>,
    delays: Family<StepLabel, Histogram>,
    rounds: Family<RoundLabel, Counter>,
    faults: Family<PeerLabel, Counter>,
    alarms: Counter,
    peers: Arc<Mutex<Weak<Peers>>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModeLabel {
    mode: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StepLabel {
    duty: String,
    step: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RoundLabel {
    duty: String,
    round: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PeerLabel {
    operator: u64,
}

impl Metrics {
    /// All counters at zero.
    #[must_use]
    pub fn new(bls_path: &str) -> Self {
        let mut registry = Registry::with_prefix("holdfast");
        let build = [("version", env!("CARGO_PKG_VERSION").to_owned()), ("bls_path", bls_path.to_owned())];
        registry.register("build", "The agent and the assembly path of its BLS library", Info::new(build));
        let delay = || Histogram::new(DELAY_BUCKETS_S);
        let metrics = Self {
            registry: Mutex::new(Registry::default()),
            mode: Family::default(),
            duties: Family::default(),
            delays: Family::new_with_constructor(delay as fn() -> Histogram),
            rounds: Family::default(),
            faults: Family::default(),
            alarms: Counter::default(),
            peers: Arc::default(),
        };
        registry.register("mode", "1 for the mode that the node is in, 0 for the others", metrics.mode.clone());
        registry.register("duty_validators", "Validators of duties that reached a step", metrics.duties.clone());
        let help = "When a duty reached a step, after the duty's start";
        registry.register_with_unit("duty_delay", help, Unit::Seconds, metrics.delays.clone());
        registry.register("decided_rounds", "Duties decided, by round", metrics.rounds.clone());
        registry.register("peer_faults", "What peers did that they must not", metrics.faults.clone());
        registry.register("alarms", "What cannot happen and did", metrics.alarms.clone());
        registry.register_collector(Box::new(OwnFigures(Machine::real())));
        registry.register_collector(Box::new(PeerFigures(metrics.peers.clone())));
        *metrics.registry.lock().unwrap_or_else(PoisonError::into_inner) = registry;
        metrics
    }

    /// The text of `GET /metrics`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        encode(&mut text, &registry).expect("writing to a string does not fail");
        text
    }

    /// Shows the figures of these peers from now on, and for as long as somebody else holds them.
    pub(crate) fn watch_peers(&self, peers: &Arc<Peers>) {
        *self.peers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(peers);
    }

    pub(crate) fn watch_vault(&self, board: Arc<Board>) {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).register_collector(Box::new(VaultFigures(board)));
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        for each in Mode::ALL {
            self.mode.get_or_create(&ModeLabel { mode: each.name().to_owned() }).set(i64::from(each == mode));
        }
    }

    pub(crate) fn count_fault(&self, operator: u8) {
        self.faults.get_or_create(&PeerLabel { operator: operator.into() }).inc();
    }

    pub(crate) fn count_alarm(&self) {
        self.alarms.inc();
    }

    pub(crate) fn count_duty(&self, event: &DutyEvent) {
        let duty = event.duty.kind.name().to_owned();
        let (step, validators) = match &event.step {
            DutyStep::Started { validators } => ("started", *validators),
            DutyStep::Decided { round } => {
                self.rounds.get_or_create(&RoundLabel { duty: duty.clone(), round: *round }).inc();
                ("decided", 0)
            }
            DutyStep::Signed { signed, .. } => ("signed", *signed),
            DutyStep::Broadcast { attestations } => ("broadcast", *attestations),
            DutyStep::Missed { validators, .. } => ("missed", *validators),
            DutyStep::DataFetched
            | DutyStep::Withheld { .. }
            | DutyStep::PartialsFrom { .. }
            | DutyStep::Combined { .. } => return,
        };
        let label = StepLabel { duty, step: step.to_owned() };
        self.duties.get_or_create(&label).inc_by(validators as u64);
        if matches!(event.step, DutyStep::Decided { .. } | DutyStep::Broadcast { .. }) {
            // A duty's delays are far below the 52 bits that a float holds exactly.
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of a few slots")]
            self.delays.get_or_create(&label).observe(event.after_ms as f64 / 1000.0);
        }
    }
}

/// The counters of the peers of the node that runs, read when somebody asks. None while no node runs.
#[derive(Debug)]
struct PeerFigures(Arc<Mutex<Weak<Peers>>>);

impl Collector for PeerFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let peers = self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        let Some(stats) = peers.map(|peers| peers.stats()) else { return Ok(()) };
        let label = |operator: u8| [("operator", operator.to_string())];
        let connected = ConstGauge::new(0_i64);
        let mut family = encoder.encode_descriptor(
            "peer_connected",
            "1 while the peer has a connection",
            None,
            connected.metric_type(),
        )?;
        for peer in &stats {
            ConstGauge::new(i64::from(peer.connected)).encode(family.encode_family(&label(peer.operator.0))?)?;
        }
        type Figure = fn(&ProtocolStats) -> u64;
        let figures: [(&str, &str, Figure); 6] = [
            ("p2p_bytes_in", "Bytes of frames that came from a peer", |figures| figures.bytes_in),
            ("p2p_bytes_out", "Bytes of frames that went to a peer", |figures| figures.bytes_out),
            ("p2p_frames_in", "Frames that came from a peer", |figures| figures.frames_in),
            ("p2p_frames_out", "Frames that went to a peer", |figures| figures.frames_out),
            ("p2p_frames_dropped", "Frames given up for want of room or time", |f| f.dropped_in + f.dropped_out),
            ("p2p_frames_rejected", "Frames that broke a rule", |figures| figures.rejected),
        ];
        for (name, help, figure) in figures {
            let counter = ConstCounter::new(0_u64);
            let mut family = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            for peer in &stats {
                for (protocol, protocol_stats) in &peer.protocols {
                    let labels = [("operator", peer.operator.0.to_string()), ("protocol", protocol.id().to_owned())];
                    ConstCounter::new(figure(protocol_stats)).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

/// What the vault said last. While it does not answer there are no figures: an alert is on their absence, too.
#[derive(Debug)]
struct VaultFigures(Arc<Board>);

impl Collector for VaultFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(VaultSummary { tier, lease, closed }) = self.0.vault() else { return Ok(()) };
        let number = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let mut gauges =
            vec![("vault_open", "1 while the vault signs, 0 while it is closed", u64::from(closed.is_none()))];
        if let Some(lease) = lease {
            gauges.push(("vault_lease_counter", "The value of the TPM's counter that the lease is for", lease.counter));
            gauges.push(("vault_lease_last_epoch", "The last epoch that the lease allows", lease.last_epoch.0));
        }
        for (name, help, value) in gauges {
            let gauge = number(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let named = [
            ("vault_tier", "1 for what the seal means on this machine", "tier", Some(tier)),
            ("vault_closed", "1 for the reason why the vault is closed", "id", closed.map(|closed| closed.id)),
        ];
        for (name, help, label, value) in named {
            let Some(value) = value else { continue };
            let gauge = number(1);
            let mut family = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(family.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }
}

/// What the daemon costs the machine, read when somebody asks. What cannot be read is left out, never shown as zero.
#[derive(Debug)]
struct OwnFigures(Machine);

impl Collector for OwnFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let ProcessReading { resident_kib, private_kib, cpu_ms, open_files } = self.0.own_process();
        let gauges = [
            ("process_resident_kibibytes", "Memory in RAM, shared pages included", resident_kib),
            ("process_private_kibibytes", "Memory in RAM that no other process shares", private_kib),
            ("process_open_files", "Open file descriptors", open_files),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value.and_then(|value| i64::try_from(value).ok()) else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        if let Some(cpu_ms) = cpu_ms {
            let counter = ConstCounter::new(cpu_ms);
            let help = "Processor time of all threads since the start";
            counter.encode(encoder.encode_descriptor(
                "process_cpu_milliseconds",
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use holdfast_types::{ChainSpec, DutyId, Epoch, ForkVersion, LockHash, Millis, OperatorIndex, Root, Slot};
    use holdfast_vault_client::{Closed, ClosedId, LeaseStatus, VaultStatus};
    use holdfast_wire::k1::NodeKey;
    use tokio::sync::mpsc;
    use zeroize::Zeroizing;

    use super::*;
    use crate::board;
    use crate::edge::peers::{self, Operator, PeersConfig, Timing};

    async fn peers() -> Arc<Peers> {
        let operator = |byte| {
            let public = NodeKey::from_bytes(&[byte; 32]).unwrap().public();
            Operator { public, addresses: Vec::new() }
        };
        let chain = ChainSpec {
            genesis_time_s: 0,
            genesis_validators_root: Root::default(),
            genesis_fork_version: ForkVersion::default(),
            slot_ms: 12_000,
            slots_per_epoch: 32,
            forks: Vec::new(),
        };
        let config = PeersConfig {
            identity: Zeroizing::new([1; 32]),
            own: OperatorIndex(0),
            operators: vec![operator(1), operator(2)],
            listen: Vec::new(),
            lock_hash: LockHash::default(),
            validators: 1,
            nickname: String::new(),
            version: "0".to_owned(),
            chain: Arc::new(chain),
            clock: Arc::new(|| Millis(0)),
            timing: Timing::default(),
        };
        Arc::new(peers::start(config, mpsc::channel(1).0).await.unwrap())
    }

    fn board() -> Arc<Board> {
        let board = Arc::new(board::tests::board());
        board.set_vault(Some(&VaultStatus {
            lease: Some(LeaseStatus { counter: 7, last_epoch: Epoch(56), first_epoch: Epoch(49) }),
            closed: Some(Closed { id: ClosedId::CatchingUp, reason: "why".to_owned() }),
            ..board::tests::vault_status()
        }));
        board
    }

    #[tokio::test]
    async fn every_figure_has_our_prefix_a_name_of_its_own_and_its_ending() {
        let metrics = Metrics::new("portable");
        let peers = peers().await;
        metrics.watch_peers(&peers);
        metrics.watch_vault(board());
        metrics.set_mode(Mode::Syncing);
        metrics.set_mode(Mode::Ready);
        metrics.count_fault(1);
        metrics.count_alarm();
        let duty = DutyId::attester(Slot(1));
        metrics.count_duty(&DutyEvent { duty, after_ms: 40, step: DutyStep::Decided { round: 1 } });
        let text = metrics.text();
        let types: Vec<(&str, &str)> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
        assert!(types.len() > 10, "{text}");
        assert_eq!(types.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len(), types.len(), "{text}");
        for sample in text.lines().filter(|line| !line.starts_with('#')) {
            let name = sample.split(['{', ' ']).next().unwrap();
            let family = types.iter().find(|(family, _)| name.starts_with(family)).unwrap();
            assert!(name.starts_with("holdfast_"), "{sample}");
            assert!(family.1 != "counter" || name == format!("{}_total", family.0), "{sample}");
        }
        assert!(
            text.contains("holdfast_mode{mode=\"ready\"} 1\n") && text.contains("{mode=\"syncing\"} 0\n"),
            "{text}"
        );
        assert!(text.contains("holdfast_peer_connected{operator=\"1\"} 0\n"), "{text}");
        assert!(text.contains("holdfast_duty_delay_seconds_count{duty=\"attester\",step=\"decided\"} 1\n"), "{text}");
        for vault in
            ["open 0", "lease_counter 7", "lease_last_epoch 56", "tier{tier=\"C\"} 1", "closed{id=\"catching-up\"} 1"]
        {
            assert!(text.contains(&format!("\nholdfast_vault_{vault}\n")), "{vault}: {text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        drop(peers);
        let text = metrics.text();
        assert!(!text.contains("holdfast_peer_connected"), "the figures of a node that is gone: {text}");
    }
}
