//! The folder of a run of the suite, and the cluster that scenarios share.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use holdfast_tests::kit::{ChainReader, Cluster, ClusterOptions, Inclusion, NodeBox, Votes};
use holdfast_types::{Mode, Slot};

/// How long nodes may take until they are ready, the chain's genesis included.
pub(crate) const READY_MAX: Duration = Duration::from_secs(120);

/// How many slots after a duty its vote may take to be on the chain: one is the rule, a missed block makes it more.
const INCLUSION_MAX_SLOTS: u64 = 6;

/// Long enough for a duty whose leader is dead: it is decided in round 2, a second after a third of the slot, and the
/// votes must still reach the last aggregator before the end of the slot. With two seconds a busy machine is too slow.
const SLOT_SECONDS: u64 = 3;

/// The operator whose lease is renewed in every epoch. Never one whose power is cut, which must wait long enough.
pub(crate) const SHORT_LEASE: u8 = 1;

/// Where the suite keeps its things.
pub(crate) struct Bench {
    dir: PathBuf,
    folders: u32,
    running: Option<Running>,
}

/// A cluster that does its duties.
pub(crate) struct Running {
    pub(crate) cluster: Cluster,
    pub(crate) reader: ChainReader,
    pub(crate) votes: Votes,
    /// The next block that was not looked at.
    next_block: u64,
}

impl Bench {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let dir = holdfast_tests::repo_root().join(format!(".dev/runs/line-{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self { dir, folders: 0, running: None })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A folder that nobody used yet.
    pub(crate) fn new_dir(&mut self, name: &str) -> anyhow::Result<PathBuf> {
        self.folders += 1;
        let dir = self.dir.join(format!("{}-{name}", self.folders));
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// The shared cluster, set up when there is none; every node is ready.
    pub(crate) fn cluster(&mut self) -> anyhow::Result<&mut Running> {
        if self.running.is_none() {
            let dir = self.new_dir("cluster")?;
            self.running = Some(Running::set_up(dir)?);
        }
        Ok(self.running.as_mut().expect("it was just set up"))
    }

    pub(crate) fn give_up_cluster(&mut self) {
        self.running = None;
    }

    /// Stops what runs, in order, and removes the folder when nobody needs to look at it.
    pub(crate) fn finish(mut self, all_passed: bool) -> anyhow::Result<()> {
        if let Some(mut running) = self.running.take() {
            running.cluster.boxes.iter_mut().try_for_each(NodeBox::stop)?;
        }
        if all_passed {
            fs::remove_dir_all(&self.dir)?;
        }
        Ok(())
    }
}

impl Running {
    fn set_up(dir: PathBuf) -> anyhow::Result<Self> {
        let options = ClusterOptions {
            dir,
            nodes: 4,
            threshold: Some(3),
            validators: 64,
            slot_seconds: SLOT_SECONDS,
            link_delay: None,
            by_command: None,
            short_lease: Some(SHORT_LEASE),
        };
        let mut cluster = Cluster::set_up(&options, |step| println!("  · {step}"))?;
        cluster.start_daemons()?;
        for node in &mut cluster.boxes {
            node.wait_for("ready", READY_MAX, |status| status.mode == Mode::Ready)?;
        }
        cluster.wait_for_slot(Slot(2))?;
        let keys: Vec<String> = cluster.keys.lock.validators().map(|validator| validator.public.to_string()).collect();
        let (place, slots) = (cluster.beacon_place.clone(), cluster.spec.slots_per_epoch);
        let reader = ChainReader::new(place, cluster.chain.url(), slots, &keys)?;
        let votes = Votes::new(&cluster.spec);
        Ok(Self { cluster, reader, votes, next_block: 1 })
    }

    /// The slot that runs.
    pub(crate) fn now(&self) -> u64 {
        self.cluster.slot_now().unwrap_or_default().0
    }

    /// Waits until a slot begins; notes every vote of the cluster that comes up meanwhile, and fails on two that
    /// conflict.
    pub(crate) fn wait_for_slot(&mut self, slot: u64) -> anyhow::Result<()> {
        while self.now() < slot {
            let next = self.now() + 1;
            self.cluster.wait_for_slot(Slot(next))?;
            self.look_for_conflicts()?;
        }
        Ok(())
    }

    /// Reads every vault's history, the new blocks and the pool.
    pub(crate) fn look_for_conflicts(&mut self) -> anyhow::Result<()> {
        for node in &self.cluster.boxes {
            let place = format!("the vault of node {}", node.operator);
            self.votes.see_history(&place, &node.vault_dir())?;
        }
        let head = self.reader.head_slot()?;
        self.reader.see_votes(&mut self.votes, self.next_block, head)?;
        self.next_block = head + 1;
        let conflicts = self.votes.conflicts();
        ensure!(conflicts.is_empty(), "expected no conflicting signatures, saw: {}", conflicts.join("\n    "));
        Ok(())
    }

    /// Waits until every vote of the slots is on the chain, and gives how many there are. When none of the cluster's
    /// validators has a duty in them, as many slots are added as it takes.
    pub(crate) fn expect_all_included(&mut self, what: &str, first: u64, last: u64) -> anyhow::Result<usize> {
        let mut last = last;
        self.wait_for_slot(last + 2)?;
        loop {
            let inclusion = self.inclusion(first, last)?;
            if inclusion.expected == 0 {
                last += 1;
            } else if inclusion.missed.is_empty() {
                return Ok(inclusion.expected);
            } else if self.now() > last + INCLUSION_MAX_SLOTS {
                let (expected, included) = (inclusion.expected, inclusion.included);
                let missed = self.missed_in_words(&inclusion);
                bail!(
                    "{what}: expected all {expected} votes of the slots {first} to {last} on the chain, saw {included}{missed}"
                );
            }
            let next = self.now() + 1;
            self.wait_for_slot(next)?;
        }
    }

    /// What the chain says about the slots now.
    pub(crate) fn inclusion(&mut self, first: u64, last: u64) -> anyhow::Result<Inclusion> {
        let head = self.reader.head_slot()?;
        self.reader.inclusion(first, last, head)
    }

    /// What the nodes say about the slots of missed votes.
    fn missed_in_words(&self, inclusion: &Inclusion) -> String {
        let mut slots: BTreeMap<u64, usize> = BTreeMap::new();
        inclusion.missed.iter().for_each(|missed| *slots.entry(missed.slot).or_default() += 1);
        let mut words = String::new();
        for (slot, missed) in slots {
            words.push_str(&format!("\n    slot {slot}, {missed} missed:"));
            for node in &self.cluster.boxes {
                let duties = node.duties_after(0).unwrap_or_default().duties;
                if let Some(duty) = duties.iter().find(|duty| duty.slot.0 == slot) {
                    words.push_str(&format!("\n      node {}: {duty:?}", node.operator));
                }
            }
        }
        words
    }
}
