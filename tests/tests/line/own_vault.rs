//! A vault by itself, behind its real socket and a real emulated TPM: what it signed once binds it, whoever asks for what.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use holdfast_cluster::{CreateParams, CreatedCluster, Network, create};
use holdfast_eth::domain::{DomainType, attestation_signing_root, domain, signing_root_at};
use holdfast_eth::{AttestationData, Checkpoint, ValidatorAddresses};
use holdfast_tests::kit::{NodeBox, Place, history};
use holdfast_types::{ChainSpec, Epoch, Fork, ForkVersion, PartialSignature, Root, ShareIndex, Slot, ValidatorPublic};
use holdfast_vault_client::codec::{self, HEADER_LEN};
use holdfast_vault_client::{AttestationToSign, DangerImport, DangerShare, IdentityKey, Rejection, Request, Response};
use rand::rngs::OsRng;

use super::bench::Bench;

/// The epochs that the chain of this vault has behind it: what is voted for here is all in the past.
const EPOCHS_PAST: u64 = 100;
const SLOT_MS: u64 = 12_000;
const FORK: ForkVersion = ForkVersion([0x10, 0x48, 0x4f, 0x4c]);

/// The tag of the request to sign attestations; everything else is "another request".
const SIGN_TAG: u32 = 2;

pub(crate) fn signs_nothing_twice(bench: &mut Bench) -> anyhow::Result<()> {
    let mut asked = Asked::set_up(&bench.new_dir("own-vault")?)?;
    let first = vote(40, 50);
    let signature = asked.sign(first)?.map_err(|text| anyhow::anyhow!("expected a first signature, saw: {text}"))?;
    asked.check_domains(first, &signature)?;

    let before = asked.transcript(&signature)?;
    println!("  {} requests refused with a signature on record", before.len());
    asked.node.kill_vault();
    asked.node.start_vault()?;
    same(&before, &asked.transcript(&signature)?, "kill -9 of the vault")?;
    asked.node.cut_power();
    asked.node.start_vault()?;
    same(&before, &asked.transcript(&signature)?, "a power cut")?;
    asked.node.stop()?;
    asked.node.start_vault()?;
    same(&before, &asked.transcript(&signature)?, "a clean restart")?;

    // Nothing that was refused left a trace, so the next honest vote is signed.
    let rows = history(&asked.node.vault_dir())?;
    let row = rows.iter().find(|row| row.validator == asked.validator().to_string()).context("no record at all")?;
    let found = (row.source, row.target, row.signing_root);
    let expected = (40, 50, attestation_signing_root(&asked.spec, &first).0);
    ensure!(found == expected, "expected the record {expected:?} of the one vote, saw {found:?}");
    ensure!(asked.sign(vote(50, 51))?.is_ok(), "expected the next honest vote to be signed");
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
        let asked = Self { node, keys, spec };
        asked.node.import(asked.import())?;
        Ok(asked)
    }

    fn validator(&self) -> ValidatorPublic {
        self.keys.lock.validators().next().expect("the cluster has a validator").public
    }

    fn import(&self) -> DangerImport {
        let node = &self.keys.nodes[0];
        DangerImport {
            lock_hash: self.keys.lock.lock_hash(),
            chain: self.spec.clone(),
            identity: IdentityKey(*node.key.expose()),
            share_index: ShareIndex(1),
            shares: vec![DangerShare { validator: self.validator(), secret: *node.shares[0].expose() }],
        }
    }

    /// Asks for one signature; a refusal as its text.
    fn sign(&self, data: AttestationData) -> anyhow::Result<Result<PartialSignature, String>> {
        let asked = AttestationToSign { validator: self.validator(), data };
        let mut answers = self.node.vault()?.sign_attestations(vec![asked])?;
        Ok(answers.remove(0).map_err(|refused| refused.to_string()))
    }

    /// The signature holds for the attester's domain and for no other.
    fn check_domains(&self, data: AttestationData, signature: &PartialSignature) -> anyhow::Result<()> {
        let public = self.keys.nodes[0].shares[0].public();
        let (epoch, object) = (data.target.epoch, data.hash_tree_root());
        for domain_type in DOMAINS {
            let root = signing_root_at(&self.spec, domain_type, epoch, object);
            let holds = holdfast_bls::verify_partial(&public, root, signature).is_ok();
            let expected = domain_type == DomainType::BeaconAttester;
            ensure!(holds == expected, "expected the signature to hold under {domain_type:?}: {expected}, saw {holds}");
        }
        Ok(())
    }

    /// Asks for everything that must be refused, and once for what may be signed again. Gives each answer's text.
    fn transcript(&self, signature: &PartialSignature) -> anyhow::Result<Vec<(String, String)>> {
        let mut transcript = Vec::new();
        for (what, data, expected) in self.forbidden_votes() {
            let Err(text) = self.sign(data)? else { bail!("expected a refusal of {what}, saw a signature") };
            ensure!(text == expected, "expected {what} to be refused with: {expected}; saw: {text}");
            transcript.push((what.to_owned(), text));
        }
        for (what, frame) in self.other_requests()? {
            let text = match exchange(&self.node.socket(), &frame)? {
                Response::Rejected(rejection @ (Rejection::Malformed(_) | Rejection::NotEmpty)) => {
                    rejection.to_string()
                }
                other => bail!("expected {what} to be refused, saw {other:?}"),
            };
            let named = text.contains("is not one that this vault knows") || text.contains("takes no second import");
            ensure!(named, "expected the rule in the refusal of {what}, saw: {text}");
            transcript.push((what, text));
        }
        let again = self.sign(vote(40, 50))?;
        let same = again.as_ref().is_ok_and(|again| again == signature);
        ensure!(same, "expected the same vote to get the same signature again, saw {again:?}");
        Ok(transcript)
    }

    /// Votes that contradict `vote(40, 50)`, each with the refusal that names the rule and the record.
    fn forbidden_votes(&self) -> Vec<(&'static str, AttestationData, String)> {
        let signed = attestation_signing_root(&self.spec, &vote(40, 50));
        let double = format!("double vote: target epoch 50 was signed before with another root {signed}");
        let surround =
            |source: u64| format!("surround vote: source epoch {source} is below 40, the highest that was signed");
        let below = |target: u64| format!("target epoch {target} is below 50, the highest that was signed");
        let changed = |change: fn(&mut AttestationData)| {
            let mut data = vote(40, 50);
            change(&mut data);
            data
        };
        vec![
            ("another head", changed(|data| data.beacon_block_root = Root([0xee; 32])), double.clone()),
            ("another source epoch", changed(|data| data.source.epoch = Epoch(41)), double.clone()),
            ("a lower source epoch", changed(|data| data.source.epoch = Epoch(39)), double.clone()),
            ("another source root", changed(|data| data.source.root = Root([0xee; 32])), double.clone()),
            ("another target root", changed(|data| data.target.root = Root([0xee; 32])), double.clone()),
            ("another slot of the epoch", changed(|data| data.slot.0 += 1), double.clone()),
            ("another committee index", changed(|data| data.index = 1), double),
            ("a vote around the record", vote(39, 51), surround(39)),
            ("a vote far around the record", vote(0, 99), surround(0)),
            ("a vote within the record", vote(45, 49), below(49)),
            ("an earlier vote", vote(30, 31), below(31)),
            ("a source above its target", vote(61, 60), "source epoch 61 is above target epoch 60".to_owned()),
        ]
    }

    /// Frames that ask for the attestation's roots as anything but an attestation.
    fn other_requests(&self) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        let data = vote(40, 50);
        let mut other = data;
        other.beacon_block_root = Root([0xee; 32]);
        let (object, validator) = (data.hash_tree_root(), self.validator());
        let batch = body(&Request::SignAttestations(vec![AttestationToSign { validator, data: other }]))?;
        let root = attestation_signing_root(&self.spec, &data);
        let mut bodies = vec![
            ("the signing root".to_owned(), root.0.to_vec()),
            ("the object's root".to_owned(), object.0.to_vec()),
            ("validator and signing root".to_owned(), [&validator.0[..], &root.0].concat()),
            ("a list of the validator and the root".to_owned(), [&[1], &validator.0[..], &root.0].concat()),
            ("the data in SSZ".to_owned(), [&validator.0[..], &other.to_ssz()].concat()),
            ("the whole batch".to_owned(), batch.clone()),
        ];
        for domain_type in DOMAINS {
            let domain = domain(domain_type, FORK, self.spec.genesis_validators_root);
            bodies.push((format!("the root under {domain_type:?}"), [&domain[..], &object.0].concat()));
        }
        let mut frames = Vec::new();
        for tag in (0..=8).chain([16, 127, 128, 300, u32::MAX]) {
            // As attestations the batch is a double vote, asked above; every other body is no batch.
            let fitting = bodies.iter().filter(|(_, bytes)| tag != SIGN_TAG || *bytes != batch);
            frames.extend(fitting.map(|(what, bytes)| {
                (format!("request {tag} with {what}"), frame(&[&varint(tag)[..], bytes].concat()))
            }));
        }
        // The one other request that carries shares: taken as it stands, it would replace them.
        let import = body(&Request::DangerImport(self.import()))?;
        frames.push(("a second import".to_owned(), frame(&[&varint(SIGN_TAG + 1)[..], &import].concat())));
        Ok(frames)
    }
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

/// A request's bytes behind its tag.
fn body(request: &Request) -> anyhow::Result<Vec<u8>> {
    Ok(codec::encode_request(request)?[HEADER_LEN + 1..].to_vec())
}

fn frame(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).expect("a short message");
    [&len.to_be_bytes()[..], message].concat()
}

/// A request's tag: seven bits to a byte, the low ones first.
fn varint(mut tag: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while tag >= 0x80 {
        bytes.push((tag & 0x7f) as u8 | 0x80);
        tag >>= 7;
    }
    bytes.push(tag as u8);
    bytes
}

/// One frame over a connection of its own, and the answer.
fn exchange(socket: &Path, frame: &[u8]) -> anyhow::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(frame)?;
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).context("the vault gave no answer")?;
    let mut message = vec![0; codec::frame_len(header)?];
    stream.read_exact(&mut message)?;
    Ok(codec::decode_response(&message)?)
}

const DOMAINS: [DomainType; 11] = [
    DomainType::BeaconProposer,
    DomainType::BeaconAttester,
    DomainType::Randao,
    DomainType::Deposit,
    DomainType::VoluntaryExit,
    DomainType::SelectionProof,
    DomainType::AggregateAndProof,
    DomainType::SyncCommittee,
    DomainType::SyncCommitteeSelectionProof,
    DomainType::ContributionAndProof,
    DomainType::ApplicationBuilder,
];
