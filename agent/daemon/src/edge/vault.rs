//! The vault edge: one thread that talks to the vault, a bounded queue into it, answers as inputs of the loop.
//!
//! The client blocks, so it lives on a thread of its own; a slow vault delays its own answers and nothing else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_core::io::{Input, VaultFailure, VaultState};
use holdfast_eth::AttestationData;
use holdfast_types::{DutyId, LockHash, ValidatorPublic};
use holdfast_vault_client::{AttestationToSign, Client, ClientError, Closed, ClosedId, IdentityKey, VaultStatus};
use tokio::sync::{mpsc, watch};

/// Batches that may wait for the vault: one a slot is usual, and older ones than these would come too late anyway.
const BATCHES_MAX: usize = 8;

/// How often the vault is asked whether it is open.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// What an operator does whose box has no cluster.
pub(crate) const IMPORT: &str = "import a cluster with `holdfast cluster import`";

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

/// What the vault says about itself, or why it says nothing.
pub type View = Result<VaultStatus, VaultFailure>;

/// Asks the vault about itself for as long as somebody watches; `None` until it was asked once.
pub fn watch(path: PathBuf, shown: impl Fn(Option<&VaultStatus>) + Send + 'static) -> watch::Receiver<Option<View>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        while !sender.is_closed() {
            let path = path.clone();
            let view = tokio::task::spawn_blocking(move || ask_status(&path)).await;
            let view = view.unwrap_or_else(|panicked| Err(VaultFailure(panicked.to_string())));
            shown(view.as_ref().ok());
            sender.send_if_modified(|last| {
                let changes = last.as_ref() != Some(&view);
                *last = Some(view);
                changes
            });
            tokio::time::sleep(STATUS_EVERY).await;
        }
    });
    receiver
}

fn ask_status(path: &Path) -> View {
    Client::connect(path).and_then(|mut client| client.status()).map_err(|error| in_words(&error))
}

/// The node's identity key.
///
/// # Errors
/// Why the vault does not hand it over.
pub async fn identity_key(path: PathBuf) -> Result<IdentityKey, VaultFailure> {
    let ask = move || Client::connect(&path).and_then(|mut client| client.identity_key());
    match tokio::task::spawn_blocking(ask).await {
        Ok(answer) => answer.map_err(|error| in_words(&error)),
        Err(panicked) => Err(VaultFailure(panicked.to_string())),
    }
}

/// Starts the vault's thread. It ends when the last [`Vault`] is dropped.
#[must_use]
pub fn start(
    path: PathBuf,
    lock_hash: LockHash,
    inputs: mpsc::Sender<Input>,
    view: watch::Receiver<Option<View>>,
) -> Vault {
    let (batches, queue) = mpsc::channel(BATCHES_MAX);
    let vault = Vault { batches, inputs: inputs.clone() };
    tokio::task::spawn_blocking({
        let inputs = inputs.clone();
        move || serve(&path, queue, &inputs)
    });
    tokio::spawn(tell(lock_hash, inputs, view));
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
async fn tell(lock_hash: LockHash, inputs: mpsc::Sender<Input>, mut view: watch::Receiver<Option<View>>) {
    let mut told: Option<VaultState> = None;
    loop {
        let state = view.borrow_and_update().as_ref().map(|view| state_of(view, lock_hash));
        if let Some(state) = state.filter(|state| told.as_ref() != Some(state)) {
            told = Some(state.clone());
            // The loop being gone means that the node stops.
            let _ = inputs.send(Input::Vault(state)).await;
        }
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            () = inputs.closed() => return,
        }
    }
}

fn state_of(view: &View, lock_hash: LockHash) -> VaultState {
    let closed = |reason: String| VaultState::Closed(VaultFailure(reason));
    match view {
        Err(error) => VaultState::Closed(error.clone()),
        // How long it is closed is in its words; it is asked again in any case.
        Ok(VaultStatus { closed: Some(because), .. }) => of_closed(because),
        Ok(VaultStatus { lock_hash: Some(held), .. }) if *held == lock_hash => VaultState::Open,
        Ok(VaultStatus { lock_hash: Some(held), .. }) => closed(format!(
            "it holds shares of lock {held}, this node runs lock {lock_hash}: give both the same cluster"
        )),
        Ok(VaultStatus { lock_hash: None, .. }) => closed(format!("it holds no shares yet: {IMPORT}")),
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
