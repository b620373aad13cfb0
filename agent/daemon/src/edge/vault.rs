//! The vault edge: one thread that talks to the vault, a bounded queue into it, answers as inputs of the loop.
//!
//! The client blocks, so it lives on a thread of its own; a slow vault delays its own answers and nothing else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_core::io::{Input, VaultFailure};
use holdfast_eth::AttestationData;
use holdfast_types::{DutyId, LockHash, ValidatorPublic};
use holdfast_vault_client::{AttestationToSign, Client, ClientError, Closed, IdentityKey, VaultStatus};
use tokio::sync::mpsc;

/// Batches that may wait for the vault: one a slot is usual, and older ones than these would come too late anyway.
const BATCHES_MAX: usize = 8;

/// How often the vault is asked whether it is open.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// How often a vault that is not there yet is looked for.
const RETRY: Duration = Duration::from_secs(1);

/// Hands batches to the vault's thread.
#[derive(Clone, Debug)]
pub struct Vault {
    batches: mpsc::Sender<Batch>,
    inputs: mpsc::Sender<Input>,
}

#[derive(Debug)]
struct Batch {
    duty: DutyId,
    attestations: Vec<(ValidatorPublic, AttestationData)>,
}

/// What the daemon learns from the vault before anything else starts.
#[derive(Debug)]
pub struct Opened {
    /// What the vault says about itself; it holds shares.
    pub status: VaultStatus,
    /// The node's identity key.
    pub identity: IdentityKey,
}

/// Waits until a vault answers and holds shares; `waiting` is told why it still waits, once for each reason.
pub async fn open(path: &Path, waiting: impl Fn(&str)) -> Opened {
    let mut told = String::new();
    loop {
        let path = path.to_owned();
        let answer = tokio::task::spawn_blocking(move || try_open(&path)).await;
        let reason = match answer {
            Ok(Ok(opened)) => return opened,
            Ok(Err(VaultFailure(reason))) => reason,
            Err(panicked) => panicked.to_string(),
        };
        if reason != told {
            waiting(&reason);
            told = reason;
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn try_open(path: &Path) -> Result<Opened, VaultFailure> {
    let mut client = Client::connect(path).map_err(|error| in_words(&error))?;
    let status = client.status().map_err(|error| in_words(&error))?;
    if let Some(closed) = &status.closed {
        return Err(signs_nothing(closed));
    }
    if status.lock_hash.is_none() {
        return Err(VaultFailure("the vault holds no shares yet: import a cluster".to_owned()));
    }
    let identity = client.identity_key().map_err(|error| in_words(&error))?;
    Ok(Opened { status, identity })
}

/// Starts the vault's thread. It ends when the last [`Vault`] is dropped.
#[must_use]
pub fn start(path: PathBuf, lock_hash: LockHash, inputs: mpsc::Sender<Input>) -> Vault {
    let (batches, queue) = mpsc::channel(BATCHES_MAX);
    let vault = Vault { batches, inputs: inputs.clone() };
    tokio::task::spawn_blocking({
        let path = path.clone();
        let inputs = inputs.clone();
        move || serve(&path, queue, &inputs)
    });
    tokio::spawn(watch(path, lock_hash, inputs));
    vault
}

impl Vault {
    /// Has the vault sign a batch. Answered by [`Input::AttestationsSigned`].
    pub fn sign_attestations(&self, duty: DutyId, attestations: Vec<(ValidatorPublic, AttestationData)>) {
        let Err(refused) = self.batches.try_send(Batch { duty, attestations }) else { return };
        let batch = refused.into_inner();
        let reason = "the vault owes answers to earlier batches: see its log";
        let input = all_failed(batch, &VaultFailure(reason.to_owned()));
        let inputs = self.inputs.clone();
        // The loop being gone means that the node stops.
        tokio::spawn(async move { inputs.send(input).await });
    }
}

fn serve(path: &Path, mut queue: mpsc::Receiver<Batch>, inputs: &mpsc::Sender<Input>) {
    let mut client: Option<Client> = None;
    while let Some(batch) = queue.blocking_recv() {
        let input = sign(path, &mut client, batch);
        if inputs.blocking_send(input).is_err() {
            return;
        }
    }
}

fn sign(path: &Path, client: &mut Option<Client>, batch: Batch) -> Input {
    let connected = match client.take() {
        Some(connected) => Ok(connected),
        None => Client::connect(path),
    };
    let mut connected = match connected {
        Ok(connected) => connected,
        Err(error) => return all_failed(batch, &in_words(&error)),
    };
    let asked = batch.attestations.iter().map(|&(validator, data)| AttestationToSign { validator, data }).collect();
    let answer = connected.sign_attestations(asked);
    *client = Some(connected);
    match answer {
        Ok(results) if results.len() == batch.attestations.len() => {
            let keys = batch.attestations.into_iter().map(|(validator, _)| validator);
            let results = results.into_iter().map(|result| result.map_err(|refused| VaultFailure(refused.to_string())));
            Input::AttestationsSigned { duty: batch.duty, results: keys.zip(results).collect() }
        }
        Ok(_) => {
            let reason = "the vault answered another number of attestations than were asked";
            all_failed(batch, &VaultFailure(reason.to_owned()))
        }
        Err(error) => all_failed(batch, &in_words(&error)),
    }
}

fn all_failed(batch: Batch, reason: &VaultFailure) -> Input {
    let results = batch.attestations.into_iter().map(|(validator, _)| (validator, Err(reason.clone()))).collect();
    Input::AttestationsSigned { duty: batch.duty, results }
}

/// Tells the loop whether the vault is open, at first and whenever that changes.
async fn watch(path: PathBuf, lock_hash: LockHash, inputs: mpsc::Sender<Input>) {
    let mut told: Option<Result<(), VaultFailure>> = None;
    while !inputs.is_closed() {
        let path = path.clone();
        let state = tokio::task::spawn_blocking(move || openness(&path, lock_hash)).await;
        let state = state.unwrap_or_else(|panicked| Err(VaultFailure(panicked.to_string())));
        if told.as_ref() != Some(&state) {
            told = Some(state.clone());
            // The loop being gone means that the node stops.
            let _ = inputs.send(Input::Vault(state)).await;
        }
        tokio::time::sleep(STATUS_EVERY).await;
    }
}

fn openness(path: &Path, lock_hash: LockHash) -> Result<(), VaultFailure> {
    let status = Client::connect(path).and_then(|mut client| client.status()).map_err(|error| in_words(&error))?;
    match status {
        VaultStatus { closed: Some(closed), .. } => Err(signs_nothing(&closed)),
        VaultStatus { lock_hash: Some(held), .. } if held == lock_hash => Ok(()),
        VaultStatus { lock_hash: Some(held), .. } => Err(VaultFailure(format!(
            "it holds shares of lock {held}, this node runs lock {lock_hash}: give both the same cluster"
        ))),
        VaultStatus { lock_hash: None, .. } => Err(VaultFailure("it holds no shares yet: import a cluster".to_owned())),
    }
}

/// Whether it is closed for good or only until its lease allows more is in its words; either way it is asked again.
fn signs_nothing(closed: &Closed) -> VaultFailure {
    VaultFailure(format!("the vault signs nothing: {closed}"))
}

/// An error and its causes in one line.
fn in_words(error: &ClientError) -> VaultFailure {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        text.push_str(": ");
        text.push_str(&deeper.to_string());
        cause = deeper.source();
    }
    VaultFailure(text)
}
