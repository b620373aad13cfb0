//! The vault edge: one thread that talks to the vault, a bounded queue into it, answers as inputs of the loop.
//!
//! The client blocks, so it lives on a thread of its own; a slow vault delays its own answers and nothing else.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::io::{Input, VaultFailure, VaultState};
use holdfast_eth::AttestationData;
use holdfast_types::{DutyId, LockHash, Mode, ValidatorPublic};
use holdfast_vault_client::{AttestationToSign, Client, ClientError, Closed, ClosedId, IdentityKey, VaultStatus};
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

/// Why the daemon cannot start its edges yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What the box is in meanwhile.
    pub mode: Mode,
    /// State, reason and remedy in words.
    pub reason: String,
}

/// Whoever shows what the vault says about itself; `None` when it does not answer.
pub type Shown = Arc<dyn Fn(Option<&VaultStatus>) + Send + Sync>;

/// Waits until a vault answers and holds shares, whether it signs at present or not: the node agrees with its peers also
/// while it does not. `waiting` is told why it still waits, once for each reason.
pub async fn open(path: &Path, waiting: impl Fn(&Waiting), shown: &Shown) -> Opened {
    let mut told: Option<Waiting> = None;
    loop {
        let (path, shown) = (path.to_owned(), shown.clone());
        let answer = tokio::task::spawn_blocking(move || try_open(&path, &shown)).await;
        let reason = match answer {
            Ok(Ok(opened)) => return opened,
            Ok(Err(reason)) => reason,
            Err(panicked) => Waiting { mode: Mode::Paired, reason: panicked.to_string() },
        };
        if told.as_ref() != Some(&reason) {
            waiting(&reason);
            told = Some(reason);
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn try_open(path: &Path, shown: &Shown) -> Result<Opened, Waiting> {
    let paired = |error: ClientError| Waiting { mode: Mode::Paired, reason: in_words(&error).0 };
    let (mut client, status) = ask_status(path, shown).map_err(paired)?;
    match (&status.lock_hash, &status.closed) {
        (Some(_), _) => {}
        (None, None) => {
            let reason = "the vault holds no shares yet: import a cluster".to_owned();
            return Err(Waiting { mode: Mode::Paired, reason });
        }
        (None, Some(closed)) => {
            return Err(Waiting {
                mode: mode_without_shares(closed.id),
                reason: format!("the vault is closed: {closed}"),
            });
        }
    }
    let identity = client.identity_key().map_err(paired)?;
    Ok(Opened { status, identity })
}

/// The mode of a box whose vault has no shares to show, because of this.
const fn mode_without_shares(id: ClosedId) -> Mode {
    match id {
        ClosedId::HistoryUnusable => Mode::Halted,
        ClosedId::NoShares => Mode::Paired,
        // Only the operator gets any further: he pairs the box, approves its boot state, or replaces a part.
        _ => Mode::Maintenance,
    }
}

fn ask_status(path: &Path, shown: &Shown) -> Result<(Client, VaultStatus), ClientError> {
    let asked = Client::connect(path).and_then(|mut client| client.status().map(|status| (client, status)));
    shown(asked.as_ref().ok().map(|(_, status)| status));
    asked
}

/// Starts the vault's thread. It ends when the last [`Vault`] is dropped.
#[must_use]
pub fn start(path: PathBuf, lock_hash: LockHash, inputs: mpsc::Sender<Input>, shown: Shown) -> Vault {
    let (batches, queue) = mpsc::channel(BATCHES_MAX);
    let vault = Vault { batches, inputs: inputs.clone() };
    tokio::task::spawn_blocking({
        let path = path.clone();
        let inputs = inputs.clone();
        move || serve(&path, queue, &inputs)
    });
    tokio::spawn(watch(path, lock_hash, inputs, shown));
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

/// Tells the loop whether the vault signs, at first and whenever that changes.
async fn watch(path: PathBuf, lock_hash: LockHash, inputs: mpsc::Sender<Input>, shown: Shown) {
    let mut told: Option<VaultState> = None;
    while !inputs.is_closed() {
        let (path, shown) = (path.clone(), shown.clone());
        let state = tokio::task::spawn_blocking(move || state_of(&path, lock_hash, &shown)).await;
        let state = state.unwrap_or_else(|panicked| VaultState::Closed(VaultFailure(panicked.to_string())));
        if told.as_ref() != Some(&state) {
            told = Some(state.clone());
            // The loop being gone means that the node stops.
            let _ = inputs.send(Input::Vault(state)).await;
        }
        tokio::time::sleep(STATUS_EVERY).await;
    }
}

fn state_of(path: &Path, lock_hash: LockHash, shown: &Shown) -> VaultState {
    let closed = |reason: String| VaultState::Closed(VaultFailure(reason));
    match ask_status(path, shown).map(|(_, status)| status) {
        Err(error) => VaultState::Closed(in_words(&error)),
        // How long it is closed is in its words; it is asked again in any case.
        Ok(VaultStatus { closed: Some(because), .. }) => of_closed(&because),
        Ok(VaultStatus { lock_hash: Some(held), .. }) if held == lock_hash => VaultState::Open,
        Ok(VaultStatus { lock_hash: Some(held), .. }) => closed(format!(
            "it holds shares of lock {held}, this node runs lock {lock_hash}: give both the same cluster"
        )),
        Ok(VaultStatus { lock_hash: None, .. }) => closed("it holds no shares yet: import a cluster".to_owned()),
    }
}

fn of_closed(closed: &Closed) -> VaultState {
    let reason = VaultFailure(closed.to_string());
    match closed.id {
        ClosedId::HistoryUnusable => VaultState::Broken(reason),
        _ => VaultState::Closed(reason),
    }
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
