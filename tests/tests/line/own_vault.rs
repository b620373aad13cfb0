//! A vault by itself, behind its real socket and a real emulated TPM: what it signed once binds it, whoever asks for what.
//!
//! The rules and their bounds are tested in the vault; here it is one process after the other, and what lies between.

mod frames;
mod kinds;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use holdfast_cluster::{CreateParams, CreatedCluster, Network, create};
use holdfast_eth::domain::{attestation_signing_root, block_signing_root};
use holdfast_eth::{AttestationData, BeaconBlockHeader, Checkpoint, ValidatorAddresses};
use holdfast_evidence::{HistoryClaim, NetworkPins, Order};
use holdfast_test_operator::Shares;
use holdfast_tests::kit::{Handover, NodeBox, Place, history};
use holdfast_types::{ChainSpec, Epoch, Fork, ForkVersion, PartialSignature, Root, ShareIndex, Slot, ValidatorPublic};
use holdfast_vault_client::{AttestationToSign, BlockToSign, ClosedId, Rejection, Request, Response, SigningRefused};
use rand::rngs::OsRng;

use super::bench::Bench;

/// The epochs that the chain of this vault has behind it: what is voted for here is all in the past.
const EPOCHS_PAST: u64 = 100;
const SLOT_MS: u64 = 12_000;
const FORK: ForkVersion = ForkVersion([0x10, 0x48, 0x4f, 0x4c]);
/// Another than that of the present, so that a signature under the wrong one is seen.
const EXIT_FORK: ForkVersion = ForkVersion([0x03, 0x48, 0x4f, 0x4c]);

/// How long a vault may take to count one step of its lease.
const OPEN_MAX: Duration = Duration::from_secs(20);

/// The proposal that is signed first.
const BLOCK_SLOT: u64 = 1_605;

pub(crate) fn signs_nothing_twice(bench: &mut Bench) -> anyhow::Result<()> {
    let mut asked = Asked::set_up(&bench.new_dir("own-vault")?)?;
    let vote_signed =
        asked.vote(vote(48, 50))?.map_err(|text| anyhow::anyhow!("expected a first vote, saw: {text}"))?;
    let block_signed = asked.block(block(BLOCK_SLOT))?;
    let block_signed = block_signed.map_err(|text| anyhow::anyhow!("expected a first block, saw: {text}"))?;
    asked.check_kinds(&vote_signed, &block_signed)?;

    let first = (vote_signed, block_signed);
    let before = asked.transcript(&first)?;
    println!("  {} requests refused with a vote and a block on record", before.len());
    asked.node.stop()?;
    asked.node.start_vault()?;
    asked.wait_until_open()?;
    same(&before, &asked.transcript(&first)?, "a clean restart")?;

    asked.node.cut_power();
    asked.node.start_vault()?;
    asked.expect_unclean("a power cut")?;
    asked.node.order(Order::VouchDisk).context("the vouched disk was not taken")?;
    asked.wait_until_open()?;
    same(&before, &asked.transcript(&first)?, "a power cut and a vouched disk")?;

    // Nothing that was refused left a trace, so the next honest vote is signed.
    let rows = history(&asked.node.vault_dir())?;
    let row = rows.iter().find(|row| row.validator == asked.validator().to_string()).context("no record at all")?;
    let found = (row.source, row.target, row.attestation_root, row.slot, row.block_root);
    let vote_root = attestation_signing_root(&asked.spec, &vote(48, 50)).0;
    let block_root = block_signing_root(&asked.spec, Slot(BLOCK_SLOT), block(BLOCK_SLOT).hash_tree_root()).0;
    let expected = (Some(48), Some(50), Some(vote_root), Some(BLOCK_SLOT), Some(block_root));
    ensure!(found == expected, "expected the record {expected:?} of one vote and one block, saw {found:?}");
    ensure!(asked.vote(vote(50, 51))?.is_ok(), "expected the next honest vote to be signed");
    ensure!(asked.block(block(BLOCK_SLOT + 1))?.is_ok(), "expected the next honest block to be signed");

    asked.node.kill_vault();
    asked.node.start_vault()?;
    asked.expect_unclean("kill -9 of the vault")?;
    asked.node.stop()
}

/// A vault with one share, and what is known about it.
struct Asked {
    node: NodeBox,
    keys: CreatedCluster,
    spec: ChainSpec,
}

impl Asked {
    fn set_up(dir: &Path) -> anyhow::Result<Self> {
        let genesis_time_s = holdfast_tests::now().0 / 1000 - EPOCHS_PAST * 32 * SLOT_MS / 1000;
        let keys = keys(genesis_time_s)?;
        let spec = ChainSpec {
            genesis_time_s,
            genesis_validators_root: Root([7; 32]),
            genesis_fork_version: FORK,
            slot_ms: SLOT_MS,
            slots_per_epoch: 32,
            forks: vec![Fork { epoch: Epoch(0), version: FORK }],
        };
        let mut node = NodeBox::new(0, Place::here(), dir, 0)?;
        node.start_vault()?;
        let mut asked = Self { node, keys, spec };
        let handover = asked.handover();
        asked.node.hand_over(&handover)?;
        asked.wait_until_open()?;
        Ok(asked)
    }

    fn validator(&self) -> ValidatorPublic {
        self.keys.lock.validators().next().expect("the cluster has a validator").public
    }

    fn handover(&self) -> Handover {
        let node = &self.keys.nodes[0];
        let shares = Shares {
            lock_hash: self.keys.lock.lock_hash(),
            share_index: ShareIndex(1),
            genesis_fork_version: FORK,
            epoch: Epoch(EPOCHS_PAST),
            history: HistoryClaim::NeverSigned,
            secrets: vec![(self.validator(), *node.shares[0].expose())],
        };
        let network = NetworkPins { chain: self.spec.clone(), exit_fork_version: EXIT_FORK };
        Handover { network, identity: *node.key.expose(), shares }
    }

    fn wait_until_open(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while let Some(closed) = self.node.vault()?.status()?.closed {
            self.node.check()?;
            ensure!(started.elapsed() < OPEN_MAX, "expected an open vault within {OPEN_MAX:?}, saw: {closed}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// After an end without order it signs nothing, not even what it signed before, until its lease is over.
    fn expect_unclean(&self, after: &str) -> anyhow::Result<()> {
        let closed = self.node.vault()?.status()?.closed;
        let id = closed.as_ref().map(|closed| closed.id);
        ensure!(id == Some(ClosedId::LeaseUnclean), "expected a vault that waits after {after}, saw {closed:?}");
        let validator = self.validator();
        let requests = [
            Request::SignAttestations(vec![AttestationToSign { validator, data: vote(48, 50) }]),
            Request::SignAttestations(vec![AttestationToSign { validator, data: vote(60, 61) }]),
            Request::SignBlock(BlockToSign { validator, header: block(BLOCK_SLOT) }),
            Request::SignRandao { epoch: Epoch(EPOCHS_PAST), validators: vec![validator] },
        ];
        let mut vault = self.node.vault()?;
        for request in requests {
            let what = format!("{request:?}");
            match vault.call(&request)? {
                Response::Rejected(Rejection::Closed(closed)) if closed.id == ClosedId::LeaseUnclean => {}
                other => bail!("expected {what} to be refused after {after}, saw {other:?}"),
            }
        }
        Ok(())
    }

    /// Asks for one vote; a refusal as its text.
    fn vote(&self, data: AttestationData) -> anyhow::Result<Result<PartialSignature, String>> {
        let batch = vec![AttestationToSign { validator: self.validator(), data }];
        Ok(in_words(self.node.vault()?.sign_attestations(batch)?.remove(0)))
    }

    /// Asks for one block; a refusal as its text.
    fn block(&self, header: BeaconBlockHeader) -> anyhow::Result<Result<PartialSignature, String>> {
        self.one(&Request::SignBlock(BlockToSign { validator: self.validator(), header }))
    }

    /// Asks for one signature; a refusal as its text.
    fn one(&self, request: &Request) -> anyhow::Result<Result<PartialSignature, String>> {
        match self.node.vault()?.call(request)? {
            Response::Signatures(mut answers) if answers.len() == 1 => Ok(in_words(answers.remove(0))),
            other => bail!("expected one signature or refusal for {request:?}, saw {other:?}"),
        }
    }

    /// Asks for everything that must be refused, and once for what may be signed again. Gives each answer's text.
    fn transcript(&self, first: &(PartialSignature, PartialSignature)) -> anyhow::Result<Vec<(String, String)>> {
        let mut transcript = Vec::new();
        for (what, data, expected) in self.forbidden_votes() {
            let Err(text) = self.vote(data)? else { bail!("expected a refusal of {what}, saw a signature") };
            ensure!(text == expected, "expected {what} to be refused with: {expected}; saw: {text}");
            transcript.push((what.to_owned(), text));
        }
        for (what, header, expected) in self.forbidden_blocks() {
            let Err(text) = self.block(header)? else { bail!("expected a refusal of {what}, saw a signature") };
            ensure!(text == expected, "expected {what} to be refused with: {expected}; saw: {text}");
            transcript.push((what.to_owned(), text));
        }
        transcript.extend(self.unknown_requests()?);
        transcript.extend(self.refused_orders()?);
        for (again, before) in [(self.vote(vote(48, 50))?, first.0), (self.block(block(BLOCK_SLOT))?, first.1)] {
            ensure!(again == Ok(before), "expected the same signature for the same thing again, saw {again:?}");
        }
        Ok(transcript)
    }

    /// Votes that contradict `vote(48, 50)`, each with the refusal that names the rule and the record.
    fn forbidden_votes(&self) -> Vec<(&'static str, AttestationData, String)> {
        let signed = attestation_signing_root(&self.spec, &vote(48, 50));
        let double = format!("double vote: target epoch 50 was signed before with another root {signed}");
        let surround =
            |source: u64| format!("surround vote: source epoch {source} is below 48, the highest that was signed");
        let below = |target: u64| format!("target epoch {target} is below 50, the highest that was signed");
        let changed = |change: fn(&mut AttestationData)| {
            let mut data = vote(48, 50);
            change(&mut data);
            data
        };
        vec![
            ("another head", changed(|data| data.beacon_block_root = Root([0xee; 32])), double.clone()),
            ("another source epoch", changed(|data| data.source.epoch = Epoch(49)), double.clone()),
            ("a lower source epoch", changed(|data| data.source.epoch = Epoch(47)), double.clone()),
            ("another source root", changed(|data| data.source.root = Root([0xee; 32])), double.clone()),
            ("another target root", changed(|data| data.target.root = Root([0xee; 32])), double.clone()),
            ("another slot of the epoch", changed(|data| data.slot.0 += 1), double.clone()),
            ("another committee index", changed(|data| data.index = 1), double),
            ("a vote around the record", vote(47, 51), surround(47)),
            ("a vote far around the record", vote(0, 99), surround(0)),
            ("a vote within the record", vote(49, 49), below(49)),
            ("an earlier vote", vote(30, 31), below(31)),
            ("a source above its target", vote(61, 60), "source epoch 61 is above target epoch 60".to_owned()),
        ]
    }

    /// Blocks that contradict `block(BLOCK_SLOT)`, each with the refusal that names the rule and the record.
    fn forbidden_blocks(&self) -> Vec<(&'static str, BeaconBlockHeader, String)> {
        let signed = block_signing_root(&self.spec, Slot(BLOCK_SLOT), block(BLOCK_SLOT).hash_tree_root());
        let double = format!("double proposal: slot {BLOCK_SLOT} was signed before with another root {signed}");
        let below = |slot: u64| format!("block slot {slot} is below {BLOCK_SLOT}, the highest that was signed");
        let changed = |change: fn(&mut BeaconBlockHeader)| {
            let mut header = block(BLOCK_SLOT);
            change(&mut header);
            header
        };
        vec![
            ("another body", changed(|header| header.body_root = Root([0xee; 32])), double.clone()),
            ("another parent", changed(|header| header.parent_root = Root([0xee; 32])), double.clone()),
            ("another state", changed(|header| header.state_root = Root([0xee; 32])), double.clone()),
            ("another proposer", changed(|header| header.proposer_index += 1), double),
            ("the slot before", block(BLOCK_SLOT - 1), below(BLOCK_SLOT - 1)),
            ("the first slot", block(0), below(0)),
        ]
    }

    /// Orders that an owned box with these shares never takes, by whoever is not its authority or by that itself.
    fn refused_orders(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut vault = self.node.vault()?;
        let mut stranger = holdfast_test_operator::Operator::from_seed(1_000);
        let handover = self.handover();
        let mut refused = Vec::new();
        let mut note = |what: &str, answer: Result<_, holdfast_test_operator::OperatorError>| match answer {
            Err(error) if matches!(error.refusal(), Some(Rejection::Order { .. })) => {
                let text = error.refusal().map(ToString::to_string).unwrap_or_default();
                refused.push((what.to_owned(), text));
                Ok(())
            }
            other => bail!("expected {what} to be refused, saw {other:?}"),
        };
        note("a second owner", stranger.own(&mut vault))?;
        note("a stranger's reset", stranger.reset(&mut vault))?;
        note("a stranger's vouching", stranger.vouch_disk(&mut vault))?;
        note("a stranger's import", stranger.import(&mut vault, &handover.shares))?;
        note("a stranger's identity", stranger.import_identity(&mut vault, &handover.identity))?;
        Ok(refused)
    }
}

fn in_words(answer: Result<PartialSignature, SigningRefused>) -> Result<PartialSignature, String> {
    answer.map_err(|refused| refused.to_string())
}

fn same(before: &[(String, String)], after: &[(String, String)], what: &str) -> anyhow::Result<()> {
    let differing = before.iter().zip(after).find(|(before, after)| before != after);
    ensure!(
        before.len() == after.len() && differing.is_none(),
        "expected the same answers after {what}, saw {differing:?} of {} and {}",
        before.len(),
        after.len()
    );
    Ok(())
}

/// A vote in the first slot of its target.
fn vote(source: u64, target: u64) -> AttestationData {
    AttestationData {
        slot: Slot(target * 32),
        index: 0,
        beacon_block_root: Root([0x11; 32]),
        source: Checkpoint { epoch: Epoch(source), root: Root([0x22; 32]) },
        target: Checkpoint { epoch: Epoch(target), root: Root([0x33; 32]) },
    }
}

/// A block with nothing in it that matters.
fn block(slot: u64) -> BeaconBlockHeader {
    BeaconBlockHeader {
        slot: Slot(slot),
        proposer_index: 5,
        parent_root: Root([0x44; 32]),
        state_root: Root([0x55; 32]),
        body_root: Root([0x66; 32]),
    }
}

fn keys(genesis_time_s: u64) -> anyhow::Result<CreatedCluster> {
    let address = || "0x00000000000000000000000000000000c0ffee00".parse();
    let network =
        Network { name: "holdfast-local".into(), chain_id: 0x48_4f4c, genesis_fork_version: FORK, genesis_time_s };
    let params = CreateParams {
        name: "one vault".to_owned(),
        network,
        operators: 4,
        threshold: 3,
        validators: vec![ValidatorAddresses { fee_recipient: address()?, withdrawal: address()? }],
        deposit_amounts: Vec::new(),
        consensus_protocol: String::new(),
        target_gas_limit: 60_000_000,
        compounding: false,
        timestamp: String::new(),
    };
    create(&params, &mut OsRng).context("cannot make keys")
}
