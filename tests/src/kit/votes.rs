//! Every vote that a run leaves behind, in the vaults' histories and on the chain, and whether any two of them conflict.
//!
//! Signing roots are computed here anew: the agent's own word about what it signed would prove nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use holdfast_types::{ChainSpec, Epoch};
use rusqlite::Connection;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::chain_reader::{number, root};

/// What was voted for, by validator and target epoch: the signing roots, each with the places that it was seen at.
#[derive(Debug)]
pub struct Votes {
    spec: ChainSpec,
    seen: BTreeMap<(String, u64), BTreeMap<[u8; 32], Vec<String>>>,
}

impl Votes {
    /// No votes yet, of a network with these constants.
    #[must_use]
    pub fn new(spec: &ChainSpec) -> Self {
        Self { spec: spec.clone(), seen: BTreeMap::new() }
    }

    /// How many pairs of a validator and a target were seen so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether nothing was seen yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Notes one vote by its signing root.
    pub fn see(&mut self, place: &str, validator: &str, target: u64, signing_root: [u8; 32]) {
        let places = self.seen.entry((validator.to_owned(), target)).or_default().entry(signing_root).or_default();
        if !places.iter().any(|known| known == place) {
            places.push(place.to_owned());
        }
    }

    /// Notes a vote from its data, in the JSON form of the Beacon API.
    ///
    /// # Errors
    /// When it is no attestation data.
    pub fn see_data(&mut self, place: &str, validator: &str, data: &Value) -> anyhow::Result<()> {
        let target = number(&data["target"]["epoch"])?;
        self.see(place, validator, target, signing_root(&self.spec, data)?);
        Ok(())
    }

    /// Notes what a vault's history holds, running or not: it reads a copy. Gives the number of rows.
    ///
    /// # Errors
    /// When the history cannot be copied or read.
    pub fn see_history(&mut self, place: &str, vault_dir: &Path) -> anyhow::Result<usize> {
        let rows = history(vault_dir)?;
        for row in &rows {
            // What came from another history may be without a root: it conflicts with nothing that can be shown.
            if let (Some(target), Some(root)) = (row.target, row.attestation_root) {
                self.see(place, &row.validator, target, root);
            }
        }
        Ok(rows.len())
    }

    /// The validators and targets with more than one root, in words; empty when no two votes conflict.
    #[must_use]
    pub fn conflicts(&self) -> Vec<String> {
        let conflicting = self.seen.iter().filter(|(_, roots)| roots.len() > 1);
        let told = conflicting.map(|((validator, target), roots)| {
            let roots = roots.iter().map(|(root, places)| format!("0x{} at {}", hex::encode(root), places.join(", ")));
            format!("validator {validator}, target {target}: {}", roots.collect::<Vec<_>>().join("; "))
        });
        told.collect()
    }
}

/// A row of a vault's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    /// The validator's public key, as `0x…`.
    pub validator: String,
    /// The highest source that was signed, if any.
    pub source: Option<u64>,
    /// The highest target.
    pub target: Option<u64>,
    /// What was signed for that target, where it is known.
    pub attestation_root: Option<[u8; 32]>,
    /// The slot of the highest block that was signed, if any.
    pub slot: Option<u64>,
    /// What was signed for that slot, where it is known.
    pub block_root: Option<[u8; 32]>,
}

/// The rows of a vault's history, in the order of the validators. The vault may be running: a copy is read, and a record
/// that is being written at that moment is in it or not.
///
/// # Errors
/// When the history cannot be copied or read.
pub fn history(vault_dir: &Path) -> anyhow::Result<Vec<HistoryRow>> {
    let copy = tempfile::tempdir()?;
    for file in ["history.sqlite-wal", "history.sqlite"] {
        let path = vault_dir.join(file);
        if path.exists() {
            fs::copy(&path, copy.path().join(file)).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    let read = || -> rusqlite::Result<Vec<HistoryRow>> {
        let database = Connection::open(copy.path().join("history.sqlite"))?;
        let columns = "validator, source, target, attestation_root, slot, block_root";
        let query = format!("SELECT {columns} FROM validators ORDER BY validator");
        let mut statement = database.prepare(&query)?;
        let number = |row: &rusqlite::Row<'_>, column: usize| {
            row.get::<_, Option<i64>>(column).map(|number| number.map(i64::cast_unsigned))
        };
        let row = |row: &rusqlite::Row<'_>| {
            Ok(HistoryRow {
                validator: format!("0x{}", hex::encode(row.get::<_, [u8; 48]>(0)?)),
                source: number(row, 1)?,
                target: number(row, 2)?,
                attestation_root: row.get(3)?,
                slot: number(row, 4)?,
                block_root: row.get(5)?,
            })
        };
        statement.query_map([], row)?.collect()
    };
    read().with_context(|| format!("cannot read the history in {}", vault_dir.display()))
}

/// The signing root of attestation data (consensus-specs phase0, `compute_signing_root` and `compute_domain`).
fn signing_root(spec: &ChainSpec, data: &Value) -> anyhow::Result<[u8; 32]> {
    let checkpoint = |of: &Value| Ok::<_, anyhow::Error>(hash(&leaf(number(&of["epoch"])?), &root(&of["root"])?));
    let (head, source, target) =
        (root(&data["beacon_block_root"])?, checkpoint(&data["source"])?, checkpoint(&data["target"])?);
    let slot_and_index = hash(&leaf(number(&data["slot"])?), &leaf(number(&data["index"])?));
    let left = hash(&slot_and_index, &hash(&head, &source));
    let right = hash(&hash(&target, &[0; 32]), &hash(&[0; 32], &[0; 32]));
    let object = hash(&left, &right);
    let epoch = Epoch(number(&data["target"]["epoch"])?);
    let fork = spec.forks.iter().rev().find(|fork| fork.epoch <= epoch).context("no fork at the target")?;
    let mut version = [0; 32];
    version[..4].copy_from_slice(&fork.version.0);
    let fork_data = hash(&version, &spec.genesis_validators_root.0);
    let mut domain = [0; 32];
    domain[0] = 1;
    domain[4..].copy_from_slice(&fork_data[..28]);
    ensure!(data.get("committee_bits").is_none(), "this is a whole attestation, not its data");
    Ok(hash(&object, &domain))
}

fn leaf(value: u64) -> [u8; 32] {
    let mut leaf = [0; 32];
    leaf[..8].copy_from_slice(&value.to_le_bytes());
    leaf
}

fn hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new_with_prefix(left).chain_update(right).finalize().into()
}

#[cfg(test)]
mod tests {
    use holdfast_eth::{AttestationData, Checkpoint, domain::attestation_signing_root};
    use holdfast_types::{Fork, ForkVersion, Root, Slot};
    use serde_json::json;

    use super::*;

    const VALIDATOR: &str = "0xa1";

    fn spec() -> ChainSpec {
        ChainSpec {
            genesis_time_s: 0,
            genesis_validators_root: Root([7; 32]),
            genesis_fork_version: ForkVersion([0, 1, 2, 3]),
            slot_ms: 2000,
            slots_per_epoch: 32,
            forks: vec![
                Fork { epoch: Epoch(0), version: ForkVersion([0, 1, 2, 3]) },
                Fork { epoch: Epoch(3), version: ForkVersion([1, 1, 2, 3]) },
            ],
        }
    }

    fn data(target: u64, head: u8) -> Value {
        let (head, other) = (format!("0x{}", hex::encode([head; 32])), format!("0x{}", hex::encode([9; 32])));
        json!({
            "slot": (target * 32).to_string(), "index": "0", "beacon_block_root": head,
            "source": { "epoch": "1", "root": other }, "target": { "epoch": target.to_string(), "root": other },
        })
    }

    /// A history that says that `VALIDATOR` signed `root`, as a vault writes it.
    fn planted_history(validator: [u8; 48], target: i64, root: [u8; 32]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let database = Connection::open(dir.path().join("history.sqlite")).unwrap();
        let columns =
            "validator BLOB, source INTEGER, target INTEGER, attestation_root BLOB, slot INTEGER, block_root BLOB";
        database.execute(&format!("CREATE TABLE validators ({columns})"), []).unwrap();
        let row = rusqlite::params![validator, 1, target, root];
        database.execute("INSERT INTO validators VALUES (?1, ?2, ?3, ?4, NULL, NULL)", row).unwrap();
        let signed_nothing = [[0xff; 48]];
        let row = "INSERT INTO validators VALUES (?1, NULL, NULL, NULL, 9, NULL)";
        database.execute(row, signed_nothing).unwrap();
        dir
    }

    #[test]
    fn roots_are_those_that_the_agent_computes() {
        for target in [1, 2, 3, 4] {
            let checkpoint = |epoch| Checkpoint { epoch: Epoch(epoch), root: Root([9; 32]) };
            let theirs = AttestationData {
                slot: Slot(target * 32),
                index: 0,
                beacon_block_root: Root([5; 32]),
                source: checkpoint(1),
                target: checkpoint(target),
            };
            let ours = signing_root(&spec(), &data(target, 5)).unwrap();
            assert_eq!(ours, attestation_signing_root(&spec(), &theirs).0, "target {target}");
        }
    }

    #[test]
    fn the_same_vote_at_many_places_is_no_conflict() {
        let mut votes = Votes::new(&spec());
        for place in ["block 3", "pool", "block 3"] {
            votes.see_data(place, VALIDATOR, &data(2, 5)).unwrap();
        }
        votes.see_data("block 40", VALIDATOR, &data(3, 6)).unwrap();
        votes.see_data("block 3", "0xb0", &data(2, 6)).unwrap();
        assert_eq!((votes.len(), votes.conflicts()), (3, Vec::new()));
    }

    #[test]
    fn two_votes_on_the_chain_for_one_target_conflict() {
        let mut votes = Votes::new(&spec());
        votes.see_data("block 3", VALIDATOR, &data(2, 5)).unwrap();
        votes.see_data("pool", VALIDATOR, &data(2, 6)).unwrap();
        let conflicts = votes.conflicts();
        assert_eq!(conflicts.len(), 1, "{conflicts:?}");
        assert!(conflicts[0].starts_with("validator 0xa1, target 2: 0x"), "{conflicts:?}");
        assert!(conflicts[0].contains("block 3") && conflicts[0].contains("pool"), "{conflicts:?}");
    }

    #[test]
    fn a_record_of_a_vault_that_differs_from_the_chain_or_another_vault_conflicts() {
        let validator = format!("0x{}", hex::encode([0xa1; 48]));
        let on_chain = signing_root(&spec(), &data(2, 5)).unwrap();
        for (root, expected) in [(on_chain, 0), ([0xee; 32], 1)] {
            let mut votes = Votes::new(&spec());
            votes.see_data("block 3", &validator, &data(2, 5)).unwrap();
            let history = planted_history([0xa1; 48], 2, root);
            assert_eq!(votes.see_history("node 0", history.path()).unwrap(), 2);
            assert_eq!(votes.conflicts().len(), expected, "{:?}", votes.conflicts());
        }
        let mut votes = Votes::new(&spec());
        for (node, root) in [("node 0", [1; 32]), ("node 1", [2; 32])] {
            votes.see_history(node, planted_history([0xa1; 48], 2, root).path()).unwrap();
        }
        assert_eq!(votes.conflicts().len(), 1);
    }
}
