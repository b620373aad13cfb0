//! What the vault answers, and in which order it signs.
//!
//! An attestation passes these steps, each of which may refuse it: the share is here; slot and target fit the vault's
//! clock ([`crate::window`]); the history allows and records it ([`crate::history`]); only with the history's proof the
//! share signs ([`crate::keys`]). The lease of the TPM's counter belongs between the clock and the history: it bounds
//! the target as the clock does, and the history must not record what it refuses.
//!
//! There is no socket and no thread: [`Vault::answer`] takes one request and gives one response.

mod import;

use std::error::Error;

use holdfast_eth::domain::attestation_signing_root;
use holdfast_hal::tpm::{Tpm, TpmKind};
use holdfast_types::{Millis, PartialSignature};
use holdfast_vault_client::codec::BATCH_LEN_MAX;
use holdfast_vault_client::{AttestationToSign, Rejection, Request, Response, SigningRefused, VaultStatus};

use crate::history::{Candidate, History, Recorded};
use crate::keys::{HashedRoots, KeyRoom, Keys};
use crate::memory::MemoryError;
use crate::sealed::WrappingKey;
use crate::state::StateFolder;
use crate::window;

pub use self::import::{Import, Share};

/// The vault: keys, history, TPM and state folder, behind the closed list of requests.
pub struct Vault {
    state: StateFolder,
    tpm: Box<dyn Tpm>,
    clock: Box<dyn Fn() -> Millis>,
    memory: &'static str,
    standing: Standing,
}

/// What the vault can do at present.
enum Standing {
    /// Nothing was imported yet.
    Empty { room: KeyRoom, history: History },
    /// It signs.
    Open { keys: Keys, history: History },
    /// It signs nothing until it is started anew; the keys may be here.
    Closed { reason: String, keys: Option<Keys> },
}

/// Attestations of a batch in its order: refused by now, or still to be recorded.
type Triage = (Vec<Result<(), SigningRefused>>, Vec<Candidate>);

impl Vault {
    /// Opens what the state folder holds. Whatever keeps it from signing does not keep it from saying so.
    ///
    /// # Errors
    /// Only when there is no locked memory for keys.
    pub fn open(
        state: StateFolder,
        mut tpm: Box<dyn Tpm>,
        clock: Box<dyn Fn() -> Millis>,
    ) -> Result<Self, MemoryError> {
        let room = KeyRoom::allocate()?;
        let memory = room.kind_name();
        let standing = Standing::found(&state, tpm.as_mut(), room);
        match &standing {
            Standing::Empty { .. } => tracing::info!(memory, "the vault is empty"),
            Standing::Open { keys, .. } => {
                let pins = keys.pins();
                let (lock, share, validators) = (pins.lock_hash, pins.share_index, pins.validators.len());
                tracing::info!(memory, %lock, %share, validators, "the vault is open");
            }
            Standing::Closed { reason, .. } => tracing::error!(memory, reason, "the vault is closed: it signs nothing"),
        }
        Ok(Self { state, tpm, clock, memory, standing })
    }

    /// Answers one request.
    pub fn answer(&mut self, request: Request) -> Response {
        let answered = match request {
            Request::Status => Ok(Response::Status(self.status())),
            Request::IdentityKey => self.keys().map(|keys| Response::IdentityKey(keys.identity())),
            Request::SignAttestations(batch) => self.sign_attestations(&batch).map(Response::Attestations),
            #[cfg(feature = "danger_emulated_tpm")]
            Request::DangerImport(import) => self.import(&import.into()).map(|()| Response::Imported),
            #[cfg(not(feature = "danger_emulated_tpm"))]
            #[allow(unreachable_patterns, reason = "reached when another crate of the build switches the request on")]
            _ => Err(Rejection::Malformed("this vault is built without danger_emulated_tpm".into())),
        };
        answered.unwrap_or_else(Response::Rejected)
    }

    /// What kind of TPM the vault is bound to.
    pub(crate) fn tpm_kind(&self) -> TpmKind {
        self.tpm.kind()
    }

    fn status(&self) -> VaultStatus {
        let pins = self.keys().ok().map(Keys::pins);
        VaultStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            lock_hash: pins.map(|pins| pins.lock_hash),
            validators: pins.map(|pins| pins.validators.iter().copied().collect()).unwrap_or_default(),
            share_index: pins.map(|pins| pins.share_index),
            emulated_tpm: self.tpm_kind() == TpmKind::Emulated,
            memory: self.memory.into(),
            closed: match &self.standing {
                Standing::Closed { reason, .. } => Some(reason.clone()),
                Standing::Empty { .. } | Standing::Open { .. } => None,
            },
        }
    }

    /// The keys, whether or not they may sign.
    fn keys(&self) -> Result<&Keys, Rejection> {
        match &self.standing {
            Standing::Empty { .. } => Err(Rejection::Empty),
            Standing::Open { keys, .. } | Standing::Closed { keys: Some(keys), .. } => Ok(keys),
            Standing::Closed { reason, keys: None } => Err(Rejection::Closed(reason.clone())),
        }
    }

    fn sign_attestations(
        &mut self,
        batch: &[AttestationToSign],
    ) -> Result<Vec<Result<PartialSignature, SigningRefused>>, Rejection> {
        if batch.len() > BATCH_LEN_MAX {
            return Err(Rejection::TooLarge { found: batch.len() as u64, allowed: BATCH_LEN_MAX as u64 });
        }
        let now = (self.clock)();
        let (keys, history) = match &mut self.standing {
            Standing::Empty { .. } => return Err(Rejection::Empty),
            Standing::Closed { reason, .. } => return Err(Rejection::Closed(reason.clone())),
            Standing::Open { keys, history } => (keys, history),
        };
        let (verdicts, candidates) = triage(keys, now, batch);
        let recorded = match history.check_and_record(&candidates) {
            Ok(recorded) => recorded,
            Err(error) => return Err(Rejection::Closed(self.close(&error))),
        };
        let mut released = release(keys, recorded).into_iter();
        let mut next = || released.next().expect("the history answers each candidate");
        let answers: Vec<_> = verdicts.into_iter().map(|verdict| verdict.and_then(|()| next())).collect();
        log_refusals(batch, &answers);
        Ok(answers)
    }

    /// From now on signs nothing; the keys stay, for the identity key and the status.
    fn close(&mut self, error: &dyn Error) -> String {
        let reason = in_full(error);
        tracing::error!(reason, "the vault closes: it signs nothing until it is started anew");
        let placeholder = Standing::Closed { reason: reason.clone(), keys: None };
        if let Standing::Open { keys, .. } = std::mem::replace(&mut self.standing, placeholder) {
            self.standing = Standing::Closed { reason: reason.clone(), keys: Some(keys) };
        }
        reason
    }
}

impl Standing {
    fn found(state: &StateFolder, tpm: &mut dyn Tpm, room: KeyRoom) -> Self {
        let closed = |error: &dyn Error, keys| Self::Closed { reason: in_full(error), keys };
        let path = state.file(HISTORY_FILE);
        match WrappingKey::exists(state) {
            Err(error) => closed(&error, None),
            Ok(false) => match History::open_or_create(&path) {
                Ok(history) => Self::Empty { room, history },
                Err(error) => closed(&error, None),
            },
            Ok(true) => match Keys::open(room, tpm, state) {
                Err(error) => closed(&error, None),
                Ok(keys) => match History::open(&path) {
                    Ok(history) => Self::Open { keys, history },
                    Err(error) => closed(&error, Some(keys)),
                },
            },
        }
    }
}

/// Refuses what needs no history to be refused, and computes the signing roots of the rest from the pinned chain.
fn triage(keys: &Keys, now: Millis, batch: &[AttestationToSign]) -> Triage {
    let pins = keys.pins();
    let mut candidates = Vec::with_capacity(batch.len());
    let mut judge = |asked: &AttestationToSign| {
        let AttestationToSign { validator, data } = asked;
        if !pins.validators.contains(validator) {
            return Err(SigningRefused::UnknownValidator(*validator));
        }
        window::check(&pins.chain, now, data)?;
        candidates.push(Candidate {
            validator: *validator,
            source: data.source.epoch,
            target: data.target.epoch,
            slot: data.slot,
            root: attestation_signing_root(&pins.chain, data),
        });
        Ok(())
    };
    let verdicts = batch.iter().map(&mut judge).collect();
    (verdicts, candidates)
}

/// Signs what was recorded.
fn release(
    keys: &Keys,
    recorded: Vec<Result<Recorded, holdfast_vault_client::AttestationRefusal>>,
) -> Vec<Result<PartialSignature, SigningRefused>> {
    let mut hashed = HashedRoots::default();
    let mut sign = |proof: Recorded| {
        let validator = *proof.validator();
        keys.sign(proof, &mut hashed).map_err(|_| SigningRefused::UnknownValidator(validator))
    };
    recorded.into_iter().map(|verdict| verdict.map_err(SigningRefused::from).and_then(&mut sign)).collect()
}

/// One line for a batch, whatever a client asks: the first refusal and how many there are.
fn log_refusals(batch: &[AttestationToSign], answers: &[Result<PartialSignature, SigningRefused>]) {
    let mut refused = batch.iter().zip(answers).filter_map(|(asked, answer)| Some((asked, answer.as_ref().err()?)));
    if let Some((first, reason)) = refused.next() {
        let (validator, slot, others) = (first.validator.short(), first.data.slot, refused.count());
        tracing::warn!(validator, %slot, %reason, others, "refused to sign");
    }
}

/// An error with everything that led to it, in one line, cut where it is longer than anybody reads.
pub(crate) fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    if let Some((cut, _)) = text.char_indices().nth(REASON_LEN_MAX) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// A path of the longest kind, and words around it. It bounds the answers that carry a reason.
const REASON_LEN_MAX: usize = 5_000;

pub(crate) const HISTORY_FILE: &str = "history.sqlite";

#[cfg(test)]
mod tests;
