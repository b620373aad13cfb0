//! The beacon edge: asks beacon nodes for duties and data, submits to all of them, follows their head.
//!
//! Every node is asked at the same time and the best node's good answer wins; submissions go to every node. Each question
//! becomes one bounded task, so that a node that never answers holds nothing up but its own question.

mod ask;
mod discover;
mod events;
mod http;
mod json;
mod standing;
mod status;
mod tokens;
mod trial;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_core::io::{AttesterDuties, BeaconFailure, Input, SingleAttestation};
use holdfast_eth::AttestationData;
use holdfast_types::{DutyId, Epoch, Slot, ValidatorIndex, ValidatorPublic};
use reqwest::Url;
use tokio::sync::{Semaphore, mpsc};

use ask::{AllFailed, ask_all, give_all};
pub use discover::Network;
use http::Node;
pub use http::{ANSWER_LEN_MAX, CallError};
use json::{AttestationDataJson, Data, Decimal, DutiesAnswer, SingleAttestationJson, ValidatorEntry};
pub use trial::{TrialError, try_out};

/// Questions under way at once: a slot needs a handful, and a node that never answers frees its place after its limit.
pub const QUESTIONS_MAX: usize = 64;

/// The longest wait between two attempts to reach any node at start.
const START_RETRY_MAX: Duration = Duration::from_secs(5);

/// How long the edge waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The time limit of a call (`duties.md` section 13.2).
    pub call: Duration,
    /// How much longer a better node may take than one that is behind.
    pub patience: Duration,
    /// How often the nodes are asked for their state.
    pub status_every: Duration,
    /// How long to wait before connecting again to an event stream.
    pub reconnect: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(2),
            patience: Duration::from_millis(300),
            status_every: Duration::from_secs(2),
            reconnect: Duration::from_secs(1),
        }
    }
}

/// The beacon nodes of this operator. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Beacon {
    nodes: Arc<Vec<Node>>,
    network: Arc<Network>,
    inputs: mpsc::Sender<Input>,
    places: Arc<Semaphore>,
    patience: Duration,
    seen: Arc<Mutex<Vec<SeenValidator>>>,
}

/// What a beacon node says about a validator, active or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenValidator {
    /// Its key.
    pub public: ValidatorPublic,
    /// Its index.
    pub index: ValidatorIndex,
    /// Its status, such as `active_ongoing`; empty when the node did not tell.
    pub status: String,
}

/// Why the beacon edge cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum BeaconError {
    /// The HTTP client cannot be made.
    #[error("cannot set up the client for beacon node {}", url.host_str().unwrap_or("?"))]
    Client {
        /// The node.
        url: Url,
        /// What went wrong.
        #[source]
        err: reqwest::Error,
    },
}

/// Waits until a beacon node says which network this is; `waiting` is told why it still waits.
///
/// Cancel safe: nothing is kept between attempts.
///
/// # Errors
/// When no HTTP client can be made.
pub async fn find_network(urls: &[Url], timing: Timing, waiting: impl Fn(&str)) -> Result<Network, BeaconError> {
    let nodes = nodes(urls, timing.call)?;
    let mut wait = Duration::from_millis(100);
    loop {
        match ask_all(&nodes, None, timing.patience, discover::discover).await {
            Ok(network) => return Ok(network),
            Err(error) => waiting(&error.to_string()),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 8 / 5).min(START_RETRY_MAX);
    }
}

/// Starts the event streams and the state poll. Answers and events arrive at `inputs`.
///
/// # Errors
/// When no HTTP client can be made.
pub fn start(
    urls: &[Url],
    network: Network,
    timing: Timing,
    inputs: mpsc::Sender<Input>,
) -> Result<Beacon, BeaconError> {
    let beacon = Beacon {
        nodes: Arc::new(nodes(urls, timing.call)?),
        network: Arc::new(network),
        inputs,
        places: Arc::new(Semaphore::new(QUESTIONS_MAX)),
        patience: timing.patience,
        seen: Arc::default(),
    };
    // A chain in trouble may miss many slots in a row; an epoch without any head is a dead stream.
    let silence = Duration::from_millis(beacon.network.chain.slot_ms * beacon.network.chain.slots_per_epoch);
    for node in beacon.nodes.iter() {
        tokio::spawn(events::follow(node.clone(), silence, timing.reconnect, beacon.inputs.clone()));
    }
    let (nodes, inputs) = (beacon.nodes.clone(), beacon.inputs.clone());
    tokio::spawn(async move { status::watch(&nodes, timing.status_every, inputs).await });
    Ok(beacon)
}

impl Beacon {
    /// What was told of validators since this was asked last.
    pub fn take_seen(&self) -> Vec<SeenValidator> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks which of `keys` are active in `epoch`. Answered by [`Input::Validators`].
    pub fn fetch_validators(&self, epoch: Epoch, keys: Arc<Vec<ValidatorPublic>>) {
        let answer = move |result| Input::Validators { epoch, result };
        self.ask(answer, async move |beacon: Self| beacon.validators(epoch, &keys).await);
    }

    /// Asks for the attester duties of an epoch. Answered by [`Input::AttesterDuties`].
    pub fn fetch_attester_duties(&self, epoch: Epoch, validators: Vec<ValidatorIndex>) {
        let answer = move |result| Input::AttesterDuties { epoch, result };
        self.ask(answer, async move |beacon: Self| beacon.attester_duties(epoch, &validators).await);
    }

    /// Asks for the data to attest in a slot. Answered by [`Input::AttestationData`].
    pub fn fetch_attestation_data(&self, slot: Slot) {
        let answer = move |result| Input::AttestationData { slot, result };
        self.ask(answer, async move |beacon: Self| beacon.attestation_data(slot).await);
    }

    /// Gives attestations to every node. Answered by [`Input::Submitted`], well as soon as one node took them.
    pub fn submit_attestations(&self, duty: DutyId, attestations: Vec<SingleAttestation>) {
        let answer = move |result| Input::Submitted { duty, result };
        self.run(answer, async move |beacon: Self| {
            let taken = async || beacon.tell(Input::Submitted { duty, result: Ok(()) }).await;
            if let Err(error) = beacon.attestations(duty.slot, &attestations, taken).await {
                beacon.tell(Input::Submitted { duty, result: Err(failure(&error)) }).await;
            }
        });
    }

    /// Runs a question as a task of its own and hands its answer to the loop.
    fn ask<T, Q>(
        &self,
        answer: impl Fn(Result<T, BeaconFailure>) -> Input + Clone + Send + 'static,
        question: impl FnOnce(Self) -> Q + Send + 'static,
    ) where
        T: Send + 'static,
        Q: Future<Output = Result<T, AllFailed>> + Send + 'static,
    {
        let to_input = answer.clone();
        self.run(answer, async move |beacon: Self| {
            let result = question(beacon.clone()).await;
            beacon.tell(to_input(result.map_err(|error| failure(&error)))).await;
        });
    }

    /// Runs a task of its own when there is a place, and answers with a failure otherwise.
    fn run<T, W>(
        &self,
        answer: impl FnOnce(Result<T, BeaconFailure>) -> Input + Send + 'static,
        work: impl FnOnce(Self) -> W + Send + 'static,
    ) where
        W: Future<Output = ()> + Send + 'static,
    {
        let place = self.places.clone().try_acquire_owned();
        let beacon = self.clone();
        tokio::spawn(async move {
            match place {
                Ok(_place) => work(beacon).await,
                Err(_) => {
                    let reason = format!("beacon nodes owe {QUESTIONS_MAX} answers, not asking for more");
                    beacon.tell(answer(Err(BeaconFailure(reason)))).await;
                }
            }
        });
    }

    async fn tell(&self, input: Input) {
        // The loop being gone means that the node stops.
        let _ = self.inputs.send(input).await;
    }

    async fn validators(
        &self,
        epoch: Epoch,
        keys: &[ValidatorPublic],
    ) -> Result<Vec<(ValidatorPublic, ValidatorIndex)>, AllFailed> {
        if keys.is_empty() {
            // An empty list means all validators of the chain.
            return Ok(Vec::new());
        }
        // Nodes take long for many keys (`duties.md` section 3.3).
        let limit = Duration::from_millis(50 * keys.len() as u64);
        let body = serde_json::json!({ "ids": keys });
        let path = "/eth/v1/beacon/states/head/validators";
        let ask = |node| Node::post::<Data<Vec<ValidatorEntry>>>(node, path, &body, limit);
        let answer = ask_all(&self.nodes, None, self.patience, ask).await?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = answer.data.iter().map(Into::into).collect();
        Ok(answer
            .data
            .iter()
            .filter(|entry| entry.is_active_in(epoch))
            .map(|entry| (entry.validator.pubkey, ValidatorIndex(entry.index.0)))
            .collect())
    }

    async fn attester_duties(&self, epoch: Epoch, validators: &[ValidatorIndex]) -> Result<AttesterDuties, AllFailed> {
        if validators.is_empty() {
            // Some nodes refuse an empty list.
            return Ok(AttesterDuties::default());
        }
        let path = format!("/eth/v1/validator/duties/attester/{epoch}");
        let body: Vec<Decimal> = validators.iter().map(|index| Decimal(index.0)).collect();
        let ask = |node| Node::post::<DutiesAnswer>(node, &path, &body, Duration::ZERO);
        let answer = ask_all(&self.nodes, None, self.patience, ask).await?;
        let duties = answer.data.into_iter().map(Into::into).collect();
        Ok(AttesterDuties { dependent_root: answer.dependent_root, duties })
    }

    async fn attestation_data(&self, slot: Slot) -> Result<AttestationData, AllFailed> {
        let path = &format!("/eth/v1/validator/attestation_data?slot={slot}&committee_index=0");
        ask_all(&self.nodes, Some(slot), self.patience, |node| data_of(node, path, slot)).await
    }

    async fn attestations(
        &self,
        slot: Slot,
        attestations: &[SingleAttestation],
        first_taken: impl AsyncFnOnce(),
    ) -> Result<(), AllFailed> {
        let fork = self.network.fork_name_at(self.network.chain.epoch_of(slot));
        let body: Vec<SingleAttestationJson> = attestations.iter().map(Into::into).collect();
        give_all(&self.nodes, |node| node.submit("/eth/v2/beacon/pool/attestations", fork, &body), first_taken).await
    }
}

impl From<&ValidatorEntry> for SeenValidator {
    fn from(entry: &ValidatorEntry) -> Self {
        let index = ValidatorIndex(entry.index.0);
        Self { public: entry.validator.pubkey, index, status: entry.status().to_owned() }
    }
}

async fn data_of(node: &Node, path: &str, slot: Slot) -> Result<AttestationData, CallError> {
    let answer: Data<AttestationDataJson> = node.get(path).await?;
    let data = AttestationData::from(answer.data);
    if data.slot == slot { Ok(data) } else { Err(node.garbled(path, &format!("data of slot {}", data.slot))) }
}

fn nodes(urls: &[Url], limit: Duration) -> Result<Vec<Node>, BeaconError> {
    let node = |url: &Url| Node::new(url.clone(), limit).map_err(|err| BeaconError::Client { url: url.clone(), err });
    urls.iter().map(node).collect()
}

fn failure(error: &AllFailed) -> BeaconFailure {
    BeaconFailure(error.to_string())
}
