//! The beacon edge: asks beacon nodes for duties and data, submits to all of them, follows their head.
//!
//! Every node is asked at the same time and the first good answer wins; submissions go to every node. Each question
//! becomes one bounded task, so that a node that never answers holds nothing up but its own question.

mod discover;
mod events;
mod http;
mod json;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use holdfast_core::io::{AttesterDuties, BeaconFailure, BeaconStatus, Input, SingleAttestation};
use holdfast_eth::AttestationData;
use holdfast_types::{DutyId, Epoch, Slot, ValidatorIndex, ValidatorPublic};
use reqwest::{StatusCode, Url};
use tokio::sync::{Semaphore, mpsc};

pub use discover::Network;
pub use http::CallError;
use http::{CALL_LIMIT, Node};
use json::{
    AttestationDataJson, BatchRefusal, Data, Decimal, DutiesAnswer, SingleAttestationJson, Syncing, ValidatorEntry,
};

/// Questions under way at once: a slot needs a handful, and a node that never answers frees its place after its limit.
const QUESTIONS_MAX: usize = 64;

/// How often the nodes are asked for their state.
const STATUS_EVERY: Duration = Duration::from_secs(2);

/// The longest wait between two attempts to reach any node at start.
const START_RETRY_MAX: Duration = Duration::from_secs(5);

/// The beacon nodes of this operator. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Beacon {
    nodes: Arc<Vec<Node>>,
    network: Arc<Network>,
    inputs: mpsc::Sender<Input>,
    places: Arc<Semaphore>,
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

/// Waits until a beacon node says which network this is; tells the log why it still waits.
///
/// Cancel safe: nothing is kept between attempts.
///
/// # Errors
/// When no HTTP client can be made.
pub async fn find_network(urls: &[Url]) -> Result<Network, BeaconError> {
    let nodes = nodes(urls)?;
    let mut wait = Duration::from_millis(100);
    loop {
        match first_success(nodes.iter().map(discover::discover)).await {
            Ok(network) => return Ok(network),
            Err(error) => tracing::warn!(%error, "waiting for a beacon node; check its address and that it runs"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 8 / 5).min(START_RETRY_MAX);
    }
}

/// Starts the event streams and the state poll. Answers and events arrive at `inputs`.
///
/// # Errors
/// When no HTTP client can be made.
pub fn start(urls: &[Url], network: Network, inputs: mpsc::Sender<Input>) -> Result<Beacon, BeaconError> {
    let beacon = Beacon {
        nodes: Arc::new(nodes(urls)?),
        network: Arc::new(network),
        inputs,
        places: Arc::new(Semaphore::new(QUESTIONS_MAX)),
    };
    // A chain in trouble may miss many slots in a row; an epoch without any head is a dead stream.
    let silence = Duration::from_millis(beacon.network.chain.slot_ms * beacon.network.chain.slots_per_epoch);
    for node in beacon.nodes.iter() {
        tokio::spawn(events::follow(node.clone(), silence, beacon.inputs.clone()));
    }
    tokio::spawn(beacon.clone().watch_status());
    Ok(beacon)
}

impl Beacon {
    /// Asks which of `keys` are active in `epoch`. Answered by [`Input::Validators`].
    pub fn fetch_validators(&self, epoch: Epoch, keys: Arc<Vec<ValidatorPublic>>) {
        let beacon = self.clone();
        self.ask(
            async move {
                let result = beacon.validators(epoch, &keys).await.map_err(|error| failure(&error));
                Input::Validators { epoch, result }
            },
            move |reason| Input::Validators { epoch, result: Err(reason) },
        );
    }

    /// Asks for the attester duties of an epoch. Answered by [`Input::AttesterDuties`].
    pub fn fetch_attester_duties(&self, epoch: Epoch, validators: Vec<ValidatorIndex>) {
        let beacon = self.clone();
        self.ask(
            async move {
                let result = beacon.attester_duties(epoch, &validators).await.map_err(|error| failure(&error));
                Input::AttesterDuties { epoch, result }
            },
            move |reason| Input::AttesterDuties { epoch, result: Err(reason) },
        );
    }

    /// Asks for the data to attest in a slot. Answered by [`Input::AttestationData`].
    pub fn fetch_attestation_data(&self, slot: Slot) {
        let beacon = self.clone();
        self.ask(
            async move {
                let result = beacon.attestation_data(slot).await.map_err(|error| failure(&error));
                Input::AttestationData { slot, result }
            },
            move |reason| Input::AttestationData { slot, result: Err(reason) },
        );
    }

    /// Gives attestations to every node. Answered by [`Input::Submitted`], well as soon as one node took them.
    pub fn submit_attestations(&self, duty: DutyId, attestations: Vec<SingleAttestation>) {
        let beacon = self.clone();
        self.ask(
            async move {
                let result = beacon.attestations(duty.slot, &attestations).await.map_err(|error| failure(&error));
                Input::Submitted { duty, result }
            },
            move |reason| Input::Submitted { duty, result: Err(reason) },
        );
    }

    /// Runs a question as a task of its own when there is a place, and answers with a failure otherwise.
    fn ask(
        &self,
        question: impl Future<Output = Input> + Send + 'static,
        refuse: impl FnOnce(BeaconFailure) -> Input + Send + 'static,
    ) {
        let place = self.places.clone().try_acquire_owned();
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let input = match place {
                Ok(_place) => question.await,
                Err(_) => {
                    refuse(BeaconFailure(format!("beacon nodes owe {QUESTIONS_MAX} answers, not asking for more")))
                }
            };
            // The loop being gone means that the node stops.
            let _ = inputs.send(input).await;
        });
    }

    async fn validators(
        &self,
        epoch: Epoch,
        keys: &[ValidatorPublic],
    ) -> Result<Vec<(ValidatorPublic, ValidatorIndex)>, CallError> {
        // Nodes take long for many keys (`duties.md` section 3.3).
        let limit = CALL_LIMIT.max(Duration::from_millis(50 * keys.len() as u64));
        let body = serde_json::json!({ "ids": keys });
        let path = "/eth/v1/beacon/states/head/validators";
        let answer: Data<Vec<ValidatorEntry>> =
            first_success(self.nodes.iter().map(|node| node.post(path, &body, limit))).await?;
        Ok(answer
            .data
            .iter()
            .filter(|entry| entry.is_active_in(epoch))
            .map(|entry| (entry.validator.pubkey, ValidatorIndex(entry.index.0)))
            .collect())
    }

    async fn attester_duties(&self, epoch: Epoch, validators: &[ValidatorIndex]) -> Result<AttesterDuties, CallError> {
        if validators.is_empty() {
            // Some nodes refuse an empty list.
            return Ok(AttesterDuties::default());
        }
        let path = format!("/eth/v1/validator/duties/attester/{epoch}");
        let body: Vec<Decimal> = validators.iter().map(|index| Decimal(index.0)).collect();
        let answer: DutiesAnswer =
            first_success(self.nodes.iter().map(|node| node.post(&path, &body, CALL_LIMIT))).await?;
        let duties = answer.data.into_iter().map(Into::into).collect();
        Ok(AttesterDuties { dependent_root: answer.dependent_root, duties })
    }

    async fn attestation_data(&self, slot: Slot) -> Result<AttestationData, CallError> {
        let path = format!("/eth/v1/validator/attestation_data?slot={slot}&committee_index=0");
        let ask = async |node: &Node| {
            let answer: Data<AttestationDataJson> = node.get(&path).await?;
            let data = AttestationData::from(answer.data);
            if data.slot == slot { Ok(data) } else { Err(node.garbled(&path, &format!("data of slot {}", data.slot))) }
        };
        first_success(self.nodes.iter().map(ask)).await
    }

    async fn attestations(&self, slot: Slot, attestations: &[SingleAttestation]) -> Result<(), CallError> {
        let fork = self.network.fork_name_at(self.network.chain.epoch_of(slot));
        let body: Vec<SingleAttestationJson> = attestations.iter().map(Into::into).collect();
        let path = "/eth/v2/beacon/pool/attestations";
        let submissions = self.nodes.iter().map(|node| async { known_is_fine(node.submit(path, fork, &body).await) });
        let mut answers: FuturesUnordered<_> = submissions.collect();
        let mut taken = false;
        let mut last = None;
        // Every node gets its copy, whoever answers first: a node may be the only one with good peers.
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(()) => taken = true,
                Err(error) => {
                    tracing::warn!(%error, %slot, "a beacon node did not take attestations");
                    last = Some(error);
                }
            }
        }
        match last {
            Some(error) if !taken => Err(error),
            _ => Ok(()),
        }
    }

    async fn watch_status(self) {
        let mut told = None;
        let mut ticks = tokio::time::interval(STATUS_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.inputs.is_closed() {
            ticks.tick().await;
            let status = self.status().await;
            if told.as_ref() != Some(&status) {
                told = Some(status.clone());
                // The loop being gone means that the node stops.
                let _ = self.inputs.send(Input::BeaconStatus(status)).await;
            }
        }
    }

    /// Good when any node is good; otherwise what the first of them says.
    async fn status(&self) -> BeaconStatus {
        let mut answers: FuturesUnordered<_> = self.nodes.iter().map(node_status).collect();
        let mut worst: Option<BeaconStatus> = None;
        while let Some(status) = answers.next().await {
            match (&status, &worst) {
                (BeaconStatus::Synced, _) => return status,
                (BeaconStatus::Syncing { .. }, Some(BeaconStatus::Unreachable { .. })) | (_, None) => {
                    worst = Some(status)
                }
                _ => {}
            }
        }
        worst.unwrap_or(BeaconStatus::Unreachable { reason: "no beacon node is configured".to_owned() })
    }
}

fn nodes(urls: &[Url]) -> Result<Vec<Node>, BeaconError> {
    urls.iter().map(|url| Node::new(url.clone()).map_err(|err| BeaconError::Client { url: url.clone(), err })).collect()
}

fn failure(error: &CallError) -> BeaconFailure {
    BeaconFailure(error.to_string())
}

async fn node_status(node: &Node) -> BeaconStatus {
    let syncing: Syncing = match node.get::<Data<Syncing>>("/eth/v1/node/syncing").await {
        Ok(answer) => answer.data,
        Err(error) => return BeaconStatus::Unreachable { reason: error.to_string() },
    };
    // `is_syncing` alone is not enough: nodes say false while they wait for blocks or for their execution node.
    let reason = if syncing.is_syncing {
        format!("beacon node {node} is syncing, {} slots behind", syncing.sync_distance.0)
    } else if syncing.is_optimistic {
        format!("beacon node {node} has not verified its head yet: its execution node is behind")
    } else if syncing.el_offline {
        format!("beacon node {node} has no execution node: start it, or check the connection between them")
    } else {
        return BeaconStatus::Synced;
    };
    BeaconStatus::Syncing { reason }
}

/// The first good answer; the last error when there is none. The others are cancelled.
async fn first_success<T, F: Future<Output = Result<T, CallError>>>(
    questions: impl Iterator<Item = F>,
) -> Result<T, CallError> {
    let mut answers: FuturesUnordered<F> = questions.collect();
    let mut last = None;
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| CallError::NoAnswer {
        node: "(none)".to_owned(),
        call: "any call".to_owned(),
        err: "no beacon node is configured".to_owned(),
    }))
}

/// Every node of the cluster submits the same attestations, so "known already" is success.
fn known_is_fine(answer: Result<(), CallError>) -> Result<(), CallError> {
    let Err(CallError::Refused { status: StatusCode::BAD_REQUEST, ref text, .. }) = answer else { return answer };
    let is_known = |message: &str| {
        let message = message.to_ascii_lowercase().replace('_', "");
        message.contains("priorattestationknown")
            || message.contains("alreadyknown")
            || message.contains("already known")
    };
    let fine = match serde_json::from_str::<BatchRefusal>(text) {
        Ok(refusal) => {
            for entry in refusal.failures.iter().filter(|entry| !is_known(&entry.message)) {
                tracing::warn!(index = entry.index.0, message = %entry.message, "attestation refused");
            }
            !refusal.failures.is_empty() && refusal.failures.iter().all(|entry| is_known(&entry.message))
        }
        Err(_) => is_known(text),
    };
    if fine { Ok(()) } else { answer }
}
