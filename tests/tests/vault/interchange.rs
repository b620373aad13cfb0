//! Slashing histories of other clients: what a file of EIP-3076 says binds the vault from the import on, whichever share
//! comes, and for ever.

use std::path::Path;

use anyhow::{Context as _, ensure};
use holdfast_cluster::{HistoryLimits, read_history, write_history};
use holdfast_evidence::HistoryClaim;
use holdfast_evidence::order::history_digest;
use holdfast_test_operator::Shares;
use holdfast_types::{Epoch, HistoryMarks, LockHash, ShareIndex, SigningRoot, ValidatorPublic};
use holdfast_vault_client::ClosedId;
use serde_json::{Value, json};

use crate::asking::{Key, Network};
use crate::rig::{OPEN_MAX, Rig};

pub(crate) fn bounds_hold(dir: &Path) -> anyhow::Result<()> {
    minimal(&mut owned(&dir.join("minimal"))?)?;
    complete(&mut owned(&dir.join("complete"))?)?;
    surrounding(&mut owned(&dir.join("surrounding"))?)
}

/// One record of each kind without its root: everything up to it is barred, and so is the same again.
fn minimal(rig: &mut Rig) -> anyhow::Result<()> {
    let when = "after a minimal history";
    let [voter, proposer] = [rig.keys[0].public, rig.keys[1].public];
    let file = file(rig, &[(voter, &[(50, 60, None)], &[]), (proposer, &[], &[(2_000, None)])]);
    import(rig, &file)?;
    let double = rig.refuses_vote(when, 0, (50, 60, 0x11))?;
    ensure!(double.starts_with("double vote: target epoch 60") && double.contains("not known"), "saw: {double}");
    let below = rig.refuses_vote(when, 0, (51, 59, 0x11))?;
    ensure!(below.starts_with("target epoch 59 is below 60"), "saw: {below}");
    let surround = rig.refuses_vote(when, 0, (49, 61, 0x11))?;
    ensure!(surround.starts_with("surround vote: source epoch 49 is below 50"), "saw: {surround}");
    rig.votes(when, 0, 50, 61)?;
    let double = rig.refuses_block(when, 1, 2_000, 0x66)?;
    ensure!(double.starts_with("double proposal: slot 2000") && double.contains("not known"), "saw: {double}");
    let below = rig.refuses_block(when, 1, 1_999, 0x66)?;
    ensure!(below.starts_with("block slot 1999 is below 2000"), "saw: {below}");
    rig.proposes(when, 1, 2_001)?;
    // A kind of which the file has nothing is not barred.
    rig.votes(when, 1, 0, 1)?;
    rig.proposes(when, 0, 1)?;
    Ok(())
}

/// Many records with their roots: what was signed last may be signed again, and nothing else at its height.
fn complete(rig: &mut Rig) -> anyhow::Result<()> {
    let when = "after a complete history";
    let validator = rig.keys[0].public;
    let vote = |source, target| {
        let root = rig.network.vote_root(&rig.network.vote(source, target, 0x11));
        (source, target, Some(root))
    };
    let block = |slot| (slot, Some(rig.network.block_root(&Network::block(slot, 0x66))));
    let votes: Vec<_> = (2..=60).map(|target| vote(target - 2, target)).collect();
    let blocks: Vec<_> = [5, 2_000, 40, 1_999].map(block).to_vec();
    let file = file(rig, &[(validator, &votes, &blocks)]);
    import(rig, &file)?;
    rig.votes("once more, as in the complete history", 0, 58, 60)?;
    rig.proposes("once more, as in the complete history", 0, 2_000)?;
    let double = rig.refuses_vote(when, 0, (58, 60, 0xee))?;
    ensure!(double.starts_with("double vote: target epoch 60 was signed before with another root 0x"), "saw: {double}");
    for (source, target) in [(57, 59), (0, 2), (58, 59)] {
        let below = rig.refuses_vote(when, 0, (source, target, 0x11))?;
        ensure!(below.contains("is below 60, the highest that was signed"), "saw: {below}");
    }
    let surround = rig.refuses_vote(when, 0, (57, 61, 0x11))?;
    ensure!(surround.starts_with("surround vote: source epoch 57 is below 58"), "saw: {surround}");
    let double = rig.refuses_block(when, 0, 2_000, 0xee)?;
    ensure!(double.starts_with("double proposal: slot 2000"), "saw: {double}");
    rig.votes(when, 0, 58, 61)?;
    rig.proposes(when, 0, 2_001).map(drop)
}

/// The highest source and the highest target are of different records, and both bind.
fn surrounding(rig: &mut Rig) -> anyhow::Result<()> {
    let when = "after a history with two bounds";
    let validator = rig.keys[0].public;
    let file = file(rig, &[(validator, &[(40, 60, None), (55, 58, None)], &[])]);
    import(rig, &file)?;
    let surround = rig.refuses_vote(when, 0, (54, 61, 0x11))?;
    ensure!(surround.starts_with("surround vote: source epoch 54 is below 55"), "saw: {surround}");
    let below = rig.refuses_vote(when, 0, (56, 59, 0x11))?;
    ensure!(below.contains("is below 60"), "saw: {below}");
    rig.votes(when, 0, 55, 61).map(drop)
}

/// Watermarks are of the validator: no other share, retirement, reset or older disk lowers them, and what is exported is
/// what was signed.
pub(crate) fn history_outlives_shares(dir: &Path) -> anyhow::Result<()> {
    let mut rig = Rig::signing(dir, Network::slow(), 8)?;
    rig.votes("at first", 0, 48, 50)?;
    rig.proposes("at first", 0, 1_605)?;
    rig.votes("at first", 1, 48, 49)?;
    let exported = export(&rig)?;
    let expected = file(
        &rig,
        &[
            (rig.keys[0].public, &[(48, 50, Some(vote_root(&rig, 48, 50)))], &[(1_605, Some(block_root(&rig, 1_605)))]),
            (rig.keys[1].public, &[(48, 49, Some(vote_root(&rig, 48, 49)))], &[]),
        ],
    );
    ensure!(serde_json::from_str::<Value>(&exported)? == expected, "expected {expected:#}, saw {exported}");

    let before = rig.copy_disk("before")?;
    retire_all(&rig)?;
    let other = second_shares(&rig, HistoryClaim::NeverSigned);
    rig.operator.import(&mut rig.client()?, &other).context("the second share was not taken")?;
    rig.keys = second_keys(&rig.keys);
    contradictions_are_refused(&rig, "with another share of the same validator")?;

    rig.kill();
    before.put(&rig.state())?;
    rig.start()?;
    rig.expect_closed("on the disk from before the shares changed", ClosedId::HistoryRolledBack, "")?;
    rig.operator.reset(&mut rig.client()?).context("the owner cannot reset a box that is closed for good")?;
    rig.restart()?;
    rig.own()?;
    rig.import(HistoryClaim::NeverSigned)?;
    rig.wait_until_open(OPEN_MAX)?;
    contradictions_are_refused(&rig, "after an older disk and a reset")?;
    let kept = marks(&rig)?;
    for (number, target) in [(0, 50), (1, 49)] {
        let of = kept.validators.iter().find(|of| of.validator == rig.keys[number].public);
        let highest = of.and_then(|of| of.attestation).map(|mark| mark.target.0);
        ensure!(highest.is_some_and(|highest| highest >= target), "a watermark was lowered: {of:?}");
    }
    Ok(())
}

fn contradictions_are_refused(rig: &Rig, when: &str) -> anyhow::Result<()> {
    rig.expect_open(when)?;
    for (key, vote) in [(0, (48, 50, 0xee)), (0, (47, 51, 0x11)), (0, (48, 49, 0x11)), (1, (48, 49, 0xee))] {
        rig.refuses_vote(when, key, vote)?;
    }
    rig.refuses_block(when, 0, 1_605, 0xee)?;
    rig.refuses_block(when, 0, 1_604, 0x66).map(drop)
}

fn retire_all(rig: &Rig) -> anyhow::Result<()> {
    let mut all: Vec<ValidatorPublic> = rig.keys.iter().map(|key| key.public).collect();
    all.sort_unstable();
    rig.operator.retire(&mut rig.client()?, all).context("the shares were not retired")?;
    rig.expect_closed("without shares", ClosedId::NoShares, "").map(drop)
}

/// Other shares of the same validators.
fn second_keys(keys: &[Key]) -> Vec<Key> {
    keys.iter().zip(11..).map(|(key, number)| Key { public: key.public, ..Key::of(number) }).collect()
}

fn second_shares(rig: &Rig, history: HistoryClaim) -> Shares {
    let secrets = second_keys(&rig.keys).iter().map(|key| (key.public, key.secret)).collect();
    Shares { lock_hash: LockHash([6; 32]), share_index: ShareIndex(3), secrets, ..rig.shares(history) }
}

/// A box with its network and without shares.
fn owned(dir: &Path) -> anyhow::Result<Rig> {
    let mut rig = Rig::new(dir, Network::slow(), 8)?;
    rig.start()?;
    rig.own()?;
    Ok(rig)
}

/// Imports a file as an operator does, and then the shares that count on it.
fn import(rig: &mut Rig, file: &Value) -> anyhow::Result<()> {
    let marks = read(rig, &file.to_string())?;
    let digest = history_digest(&marks);
    rig.operator.import_history(&mut rig.client()?, marks).context("the history was not taken")?;
    rig.import(HistoryClaim::Imported(digest))?;
    rig.expect_open("once the shares are there")
}

fn read(rig: &Rig, text: &str) -> anyhow::Result<HistoryMarks> {
    let spec = &rig.network.spec;
    let limits = HistoryLimits {
        genesis_validators_root: spec.genesis_validators_root,
        last_epoch: Epoch(rig.epoch().0 + 1),
        last_slot: rig.slot(),
    };
    Ok(read_history(text.as_bytes(), &limits)?)
}

fn marks(rig: &Rig) -> anyhow::Result<HistoryMarks> {
    Ok(rig.client()?.history_backup(None)?)
}

/// What the vault knows, as a file; it says the same to whoever reads it.
fn export(rig: &Rig) -> anyhow::Result<String> {
    let marks = marks(rig)?;
    let text = write_history(&marks);
    ensure!(read(rig, &text)? == marks, "what is exported is not what is read back: {text}");
    Ok(text)
}

type Votes<'a> = &'a [(u64, u64, Option<SigningRoot>)];
type Blocks<'a> = &'a [(u64, Option<SigningRoot>)];

fn file(rig: &Rig, validators: &[(ValidatorPublic, Votes<'_>, Blocks<'_>)]) -> Value {
    let mut validators = validators.to_vec();
    validators.sort_unstable_by_key(|(validator, ..)| *validator);
    let root = |mut record: Value, root: Option<SigningRoot>| {
        if let Some(root) = root {
            record["signing_root"] = json!(root);
        }
        record
    };
    let vote = |&(source, target, signed): &(u64, u64, _)| {
        root(json!({ "source_epoch": source.to_string(), "target_epoch": target.to_string() }), signed)
    };
    let block = |&(slot, signed): &(u64, _)| root(json!({ "slot": slot.to_string() }), signed);
    let entry = |(validator, votes, blocks): &(ValidatorPublic, Votes<'_>, Blocks<'_>)| {
        let (votes, blocks): (Vec<Value>, Vec<Value>) =
            (votes.iter().map(vote).collect(), blocks.iter().map(block).collect());
        json!({ "pubkey": validator, "signed_blocks": blocks, "signed_attestations": votes })
    };
    let network = rig.network.spec.genesis_validators_root;
    let metadata = json!({ "interchange_format_version": "5", "genesis_validators_root": network });
    json!({ "metadata": metadata, "data": validators.iter().map(entry).collect::<Vec<Value>>() })
}

fn vote_root(rig: &Rig, source: u64, target: u64) -> SigningRoot {
    rig.network.vote_root(&rig.network.vote(source, target, 0x11))
}

fn block_root(rig: &Rig, slot: u64) -> SigningRoot {
    rig.network.block_root(&Network::block(slot, 0x66))
}
