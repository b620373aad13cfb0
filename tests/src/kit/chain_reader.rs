//! What the chain itself says about the cluster's attestations. Reads committees and blocks over the Beacon API with
//! code of its own: it shares nothing with the agent, whose word would prove nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde_json::Value;

use super::place::Place;
use super::votes::Votes;

/// Reads one chain.
#[derive(Debug)]
pub struct ChainReader {
    place: Place,
    url: String,
    slots_per_epoch: u64,
    /// The cluster's validators, by their index on the chain.
    ours: BTreeMap<u64, String>,
    committees: BTreeMap<u64, Vec<Committee>>,
}

#[derive(Clone, Debug)]
struct Committee {
    slot: u64,
    index: u64,
    validators: Vec<u64>,
}

/// What became of the cluster's attester duties in a range of slots.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Inclusion {
    /// Validator duties: each validator once for each slot in which it is in a committee.
    pub expected: usize,
    /// Those whose vote is in a block.
    pub included: usize,
    /// The others.
    pub missed: Vec<Missed>,
}

/// A validator's vote that is in no block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missed {
    /// The slot of the duty.
    pub slot: u64,
    /// The validator's public key.
    pub validator: String,
    /// What is known about the reason.
    pub why: String,
}

impl ChainReader {
    /// A reader of the votes of `keys` (public keys with `0x`).
    ///
    /// # Errors
    /// When the beacon node does not answer, or does not know one of the keys.
    pub fn new(place: Place, url: &str, slots_per_epoch: u64, keys: &[String]) -> anyhow::Result<Self> {
        let mut reader =
            Self { place, url: url.to_owned(), slots_per_epoch, ours: BTreeMap::new(), committees: BTreeMap::new() };
        let validators = reader.data("/eth/v1/beacon/states/head/validators")?.context("no head state")?;
        let wanted: BTreeSet<&str> = keys.iter().map(String::as_str).collect();
        for entry in list(&validators)? {
            let key = entry["validator"]["pubkey"].as_str().context("a validator without key")?;
            if wanted.contains(key) {
                reader.ours.insert(number(&entry["index"])?, key.to_owned());
            }
        }
        if reader.ours.len() != wanted.len() {
            bail!("the chain knows {} of the cluster's {} validators", reader.ours.len(), wanted.len());
        }
        Ok(reader)
    }

    /// The slot of the head.
    ///
    /// # Errors
    /// When the beacon node does not answer.
    pub fn head_slot(&self) -> anyhow::Result<u64> {
        let head = self.data("/eth/v1/beacon/headers/head")?.context("no head")?;
        number(&head["header"]["message"]["slot"])
    }

    /// The epoch that the chain has finalised.
    ///
    /// # Errors
    /// When the beacon node does not answer.
    pub fn finalized_epoch(&self) -> anyhow::Result<u64> {
        let checkpoints = self.data("/eth/v1/beacon/states/head/finality_checkpoints")?.context("no checkpoints")?;
        number(&checkpoints["finalized"]["epoch"])
    }

    /// What became of the duties of the slots `first..=last`, from the blocks up to `until`.
    ///
    /// # Errors
    /// When the beacon node does not answer.
    pub fn inclusion(&mut self, first: u64, last: u64, until: u64) -> anyhow::Result<Inclusion> {
        let mut expected = BTreeSet::new();
        for slot in first..=last {
            for committee in self.committees(slot)? {
                let ours = committee.validators.iter().filter(|validator| self.ours.contains_key(validator));
                expected.extend(ours.map(|&validator| (slot, validator)));
            }
        }
        let mut included = BTreeSet::new();
        for block in first + 1..=until {
            included.extend(self.votes_in_block(block, first, last)?);
        }
        let missed = expected.difference(&included).map(|(slot, validator)| Missed {
            slot: *slot,
            validator: self.ours[validator].clone(),
            why: format!("in no block up to slot {until}"),
        });
        let missed: Vec<Missed> = missed.collect();
        Ok(Inclusion { expected: expected.len(), included: expected.len() - missed.len(), missed })
    }

    /// The cluster's votes in one block: (slot voted, validator).
    fn votes_in_block(&mut self, block: u64, first: u64, last: u64) -> anyhow::Result<Vec<(u64, u64)>> {
        let Some(attestations) = self.data(&format!("/eth/v2/beacon/blocks/{block}/attestations"))? else {
            return Ok(Vec::new());
        };
        let mut votes = Vec::new();
        for attestation in list(&attestations)? {
            let slot = number(&attestation["data"]["slot"])?;
            if (first..=last).contains(&slot) {
                votes.extend(self.voters(attestation)?.into_iter().map(|validator| (slot, validator)));
            }
        }
        Ok(votes)
    }

    /// Notes every vote of the cluster in the blocks `first..=last` and in the node's pool. Gives their number.
    ///
    /// # Errors
    /// When the beacon node does not answer.
    pub fn see_votes(&mut self, votes: &mut Votes, first: u64, last: u64) -> anyhow::Result<usize> {
        let mut sources: Vec<(String, String)> = (first..=last)
            .map(|block| (format!("block {block}"), format!("/eth/v2/beacon/blocks/{block}/attestations")))
            .collect();
        sources.push(("the pool".to_owned(), "/eth/v2/beacon/pool/attestations".to_owned()));
        let mut seen = 0;
        for (place, path) in sources {
            let Some(attestations) = self.data(&path)? else { continue };
            for attestation in list(&attestations)? {
                for validator in self.voters(attestation)? {
                    votes.see_data(&place, &self.ours[&validator], &attestation["data"])?;
                    seen += 1;
                }
            }
        }
        Ok(seen)
    }

    /// The cluster's validators whose votes are in an attestation.
    fn voters(&mut self, attestation: &Value) -> anyhow::Result<Vec<u64>> {
        let committee_bits = bits(&attestation["committee_bits"])?;
        let voter_bits = bits(&attestation["aggregation_bits"])?;
        let mut voters = Vec::new();
        let mut offset = 0;
        for committee in self.committees(number(&attestation["data"]["slot"])?)? {
            if !committee_bits.get(usize::try_from(committee.index)?).copied().unwrap_or(false) {
                continue;
            }
            for (position, validator) in committee.validators.iter().enumerate() {
                let voted = voter_bits.get(offset + position).copied().unwrap_or(false);
                if voted && self.ours.contains_key(validator) {
                    voters.push(*validator);
                }
            }
            offset += committee.validators.len();
        }
        Ok(voters)
    }

    /// The committees of a slot, in the order of their index.
    fn committees(&mut self, slot: u64) -> anyhow::Result<Vec<Committee>> {
        let epoch = slot / self.slots_per_epoch;
        if !self.committees.contains_key(&epoch) {
            let path = format!("/eth/v1/beacon/states/head/committees?epoch={epoch}");
            let answer = self.data(&path)?.with_context(|| format!("no committees of epoch {epoch}"))?;
            let mut committees = Vec::new();
            for entry in list(&answer)? {
                let validators = list(&entry["validators"])?.iter().map(number).collect::<anyhow::Result<_>>()?;
                committees.push(Committee {
                    slot: number(&entry["slot"])?,
                    index: number(&entry["index"])?,
                    validators,
                });
            }
            committees.sort_by_key(|committee| committee.index);
            self.committees.insert(epoch, committees);
        }
        Ok(self.committees[&epoch].iter().filter(|committee| committee.slot == slot).cloned().collect())
    }

    /// The `data` of an answer; `None` when the node has no such thing.
    fn data(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let (status, body) = self.place.get(&format!("{}{path}", self.url))?;
        match status {
            200 => Ok(Some(serde_json::from_slice::<Value>(&body)?["data"].take())),
            404 => Ok(None),
            other => bail!("{path} was answered {other}: {}", String::from_utf8_lossy(&body)),
        }
    }
}

fn list(value: &Value) -> anyhow::Result<&Vec<Value>> {
    value.as_array().context("not a list")
}

pub(super) fn number(value: &Value) -> anyhow::Result<u64> {
    Ok(value.as_str().context("not a decimal string")?.parse()?)
}

pub(super) fn root(value: &Value) -> anyhow::Result<[u8; 32]> {
    let text = value.as_str().context("not hex")?.trim_start_matches("0x");
    let mut root = [0; 32];
    hex::decode_to_slice(text, &mut root).with_context(|| format!("not a root: {text}"))?;
    Ok(root)
}

/// The bits of a bit field, the closing bit of a list included: it lies behind every voter.
fn bits(value: &Value) -> anyhow::Result<Vec<bool>> {
    let bytes = hex::decode(value.as_str().context("not hex")?.trim_start_matches("0x"))?;
    Ok(bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).collect())
}
