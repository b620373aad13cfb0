//! How many attestations a vault signs in a second, and how much of that time its disk, BLS and the socket account for.
//!
//! A vault as a process on an emulated TPM, with 1,000 shares, is asked for batches of several sizes. In the same run this
//! program then does the same amount of each part by itself: as many signatures, as many synced writes of the same size in
//! the same folder, as many frames of the same size over a socket. It prints ratios and asserts no times: machines differ,
//! and so do two runs on one. `./dev bench vault` runs it.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use holdfast_bls::{HashedRoot, public_of, sign_many, verify_partial};
use holdfast_eth::domain::attestation_signing_root;
use holdfast_eth::{AttestationData, Checkpoint};
use holdfast_evidence::{HistoryClaim, NetworkPins};
use holdfast_test_operator::Shares;
use holdfast_tests::kit::{Handover, NodeBox, Place};
use holdfast_types::{
    ChainSpec, Epoch, Fork, ForkVersion, LockHash, PartialSignature, Root, ShareIndex, ValidatorPublic,
};
use holdfast_vault_client::codec::{
    HEADER_LEN, decode_request, decode_response, encode_request, encode_response, frame_len,
};
use holdfast_vault_client::{AttestationToSign, Client, Request, Response};
use sha2::{Digest as _, Sha256};

fn main() -> anyhow::Result<()> {
    // What runs all targets as tests has nothing to measure here.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let dir = tempfile::tempdir_in(holdfast_tests::repo_root().join("target"))?;
    let bench = Bench::set_up(dir.path())?;
    println!("attestations of {SHARES} shares, {ROUNDS} epochs of each batch size; parts of the time in percent");
    println!(" batch  requests     bytes    sigs/s ms/request   disk    BLS    IPC   rest");
    for batch in BATCHES {
        println!("{}", bench.measure(batch)?);
    }
    let Bench { mut node, .. } = bench;
    node.stop()
}

/// The vault, its network and its shares.
struct Bench {
    node: NodeBox,
    chain: ChainSpec,
    secrets: Vec<(ValidatorPublic, [u8; 32])>,
}

/// One request that was answered.
struct Answered {
    data: AttestationData,
    request: Request,
    response: Response,
    took: Duration,
    /// By how much the history's log of writes has grown.
    written: u64,
}

impl Bench {
    fn set_up(dir: &Path) -> anyhow::Result<Self> {
        let chain = chain();
        let epoch = chain.epoch_of(chain.slot_at(holdfast_tests::now()).context("the clock is before genesis")?);
        let mut secrets = (0..SHARES).map(share).collect::<anyhow::Result<Vec<_>>>()?;
        secrets.sort_unstable();
        let shares = Shares {
            lock_hash: LockHash([5; 32]),
            share_index: ShareIndex(1),
            genesis_fork_version: chain.genesis_fork_version,
            epoch,
            history: HistoryClaim::NeverSigned,
            secrets: secrets.clone(),
        };
        let mut node = NodeBox::new(0, Place::here(), dir, 0)?;
        node.lease_epochs = Some(LEASE_EPOCHS);
        node.start_vault()?;
        let network = NetworkPins { chain: chain.clone(), exit_fork_version: chain.genesis_fork_version };
        node.hand_over(&Handover { network, identity: [0x5a; 32], shares })?;
        let bench = Self { node, chain, secrets };
        // The first transactions make the log of writes and fill the vault's caches.
        bench.round(1_000)?;
        Ok(bench)
    }

    /// Asks for some epochs' attestations, and after each of them does the parts of that work.
    fn measure(&self, batch: usize) -> anyhow::Result<Line> {
        let mut line = Line { batch, ..Line::default() };
        for _ in 0..ROUNDS {
            let answered = self.round(batch)?;
            let sizes: Vec<u64> = answered.iter().map(|one| one.written).filter(|written| *written > 0).collect();
            // Where the log of writes begins anew it does not grow, so the other requests say how much one writes.
            if !sizes.is_empty() {
                line.written = usize::try_from(sizes.iter().sum::<u64>() / u64::try_from(sizes.len())?)?;
            }
            ensure!(line.written > 0, "the vault's log of writes did not grow: nothing was recorded");
            line.requests += answered.len();
            line.total += answered.iter().map(|one| one.took).sum::<Duration>();
            line.disk += synced_writes(&self.node.vault_dir(), answered.len(), line.written)?;
            line.bls += self.sign(&answered, &mut line.signatures)?;
            line.ipc += exchanges(&answered)?;
        }
        Ok(line)
    }

    /// Has every validator attest once in the next epoch, or as many as the vault's rate allows.
    fn round(&self, batch: usize) -> anyhow::Result<Vec<Answered>> {
        let data = self.next_epoch()?;
        let mut vault = self.node.vault()?;
        self.secrets.chunks(batch).take(REQUESTS_MAX).map(|some| self.ask(&mut vault, data, some)).collect()
    }

    fn ask(
        &self,
        vault: &mut Client,
        data: AttestationData,
        some: &[(ValidatorPublic, [u8; 32])],
    ) -> anyhow::Result<Answered> {
        let asked = some.iter().map(|(validator, _)| AttestationToSign { validator: *validator, data }).collect();
        let request = Request::SignAttestations(asked);
        let (before, began) = (self.log_len()?, Instant::now());
        let response = vault.call(&request)?;
        let took = began.elapsed();
        let written = self.log_len()?.saturating_sub(before);
        let Response::Signatures(signatures) = &response else { bail!("expected signatures, saw {response:?}") };
        let signed: Vec<&PartialSignature> = signatures.iter().flatten().collect();
        ensure!(signed.len() == some.len(), "the vault refused some of a batch: {:?}", signatures[0]);
        let public = public_of(&some[0].1)?;
        verify_partial(&public, attestation_signing_root(&self.chain, &data), signed[0])?;
        Ok(Answered { data, request, response, took, written })
    }

    /// What is attested in the first slot of the epoch that begins next.
    fn next_epoch(&self) -> anyhow::Result<AttestationData> {
        let now = self.chain.slot_at(holdfast_tests::now()).context("the clock is before genesis")?;
        let target = Epoch(self.chain.epoch_of(now).0 + 1);
        let slot = self.chain.first_slot(target);
        thread::sleep(Duration::from_millis(self.chain.slot_start(slot).since(holdfast_tests::now())));
        let source = Checkpoint { epoch: Epoch(target.0 - 1), root: Root([2; 32]) };
        let target = Checkpoint { epoch: target, root: Root([3; 32]) };
        Ok(AttestationData { slot, index: 0, beacon_block_root: Root([1; 32]), source, target })
    }

    fn log_len(&self) -> anyhow::Result<u64> {
        Ok(fs::metadata(self.node.vault_dir().join("history.sqlite-wal"))?.len())
    }

    /// Makes the signatures of the answers once more, and counts them: each root becomes a point once in a batch, as in
    /// the vault.
    fn sign(&self, answered: &[Answered], count: &mut usize) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let mut made = BTreeSet::new();
        for Answered { data, request, .. } in answered {
            let Request::SignAttestations(asked) = request else { bail!("no other requests were made") };
            let root = HashedRoot::new(attestation_signing_root(&self.chain, data));
            let mut shares = Vec::new();
            for one in asked {
                let at = self.secrets.binary_search_by_key(&one.validator, |(validator, _)| *validator);
                shares.push(&self.secrets[at.ok().context("only validators of the bench were asked for")?].1);
            }
            for signed in sign_many(&shares, &root) {
                made.insert(signed?.0);
            }
        }
        *count += made.len();
        Ok(began.elapsed())
    }
}

/// Appends and syncs, as SQLite does with its log of writes.
fn synced_writes(dir: &Path, count: usize, len: usize) -> anyhow::Result<Duration> {
    let path = dir.join("bench");
    let (mut file, bytes) = (File::create(&path)?, vec![0x5a; len]);
    file.sync_all()?;
    let began = Instant::now();
    for _ in 0..count {
        file.write_all(&bytes)?;
        file.sync_data()?;
    }
    let took = began.elapsed();
    fs::remove_file(path)?;
    Ok(took)
}

/// Sends the requests to a thread that reads them and answers with the responses that the vault gave.
fn exchanges(answered: &[Answered]) -> anyhow::Result<Duration> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    thread::scope(|scope| {
        let vault = scope.spawn(move || {
            for one in answered {
                decode_request(&read_frame(&mut theirs)?)?;
                theirs.write_all(&encode_response(&one.response)?)?;
            }
            anyhow::Ok(())
        });
        let began = Instant::now();
        for one in answered {
            ours.write_all(&encode_request(&one.request)?)?;
            decode_response(&read_frame(&mut ours)?)?;
        }
        let took = began.elapsed();
        vault.join().map_err(|_| anyhow::anyhow!("the answering thread panicked"))??;
        Ok(took)
    })
}

fn read_frame(stream: &mut UnixStream) -> anyhow::Result<Vec<u8>> {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header)?;
    let mut message = vec![0; frame_len(header)?];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// What one batch size comes to.
#[derive(Default)]
struct Line {
    batch: usize,
    requests: usize,
    signatures: usize,
    /// The bytes that one request adds to the history's log of writes.
    written: usize,
    total: Duration,
    disk: Duration,
    bls: Duration,
    ipc: Duration,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, signatures, total) = (self.requests as f64, self.signatures as f64, self.total.as_secs_f64());
        let percent = |part: Duration| 100.0 * part.as_secs_f64() / total;
        let (disk, bls, ipc) = (percent(self.disk), percent(self.bls), percent(self.ipc));
        let rest = 100.0 - disk - bls - ipc;
        write!(f, "{:>6} {:>9} {:>9} ", self.batch, self.requests, self.written)?;
        write!(f, "{:>9.0} {:>10.2} ", signatures / total, 1e3 * total / requests)?;
        write!(f, "{disk:>6.1} {bls:>6.1} {ipc:>6.1} {rest:>6.1}")
    }
}

/// A share and its validator, who is named by the share's own key: that both are of one group does not matter here.
fn share(number: usize) -> anyhow::Result<(ValidatorPublic, [u8; 32])> {
    let mut secret: [u8; 32] = Sha256::digest(format!("holdfast bench {number}")).into();
    // Below the order of the curve's group.
    secret[0] &= 0x3f;
    Ok((ValidatorPublic(public_of(&secret)?.0), secret))
}

/// A network with short epochs, so that targets rise while somebody waits.
fn chain() -> ChainSpec {
    let (slot_ms, slots_per_epoch) = (1_000, 3);
    let fork = ForkVersion([0x10, 0x48, 0x4f, 0x4c]);
    ChainSpec {
        genesis_time_s: holdfast_tests::now().0 / 1_000 - EPOCHS_PAST * slots_per_epoch * slot_ms / 1_000,
        genesis_validators_root: Root([7; 32]),
        genesis_fork_version: fork,
        slot_ms,
        slots_per_epoch,
        forks: vec![Fork { epoch: Epoch(0), version: fork }],
    }
}

/// As many as one vault holds.
const SHARES: usize = 1_000;
const BATCHES: [usize; 3] = [1, 64, 1_000];
/// Epochs of each batch size.
const ROUNDS: usize = 4;
/// In one epoch: the vault lets 64 requests through at once, and 50 in a second.
const REQUESTS_MAX: usize = 50;
/// So that no renewal of the lease falls into a measurement.
const LEASE_EPOCHS: u64 = 64;
const EPOCHS_PAST: u64 = 400;
