//! What the vault answers, and in which order it signs.
//!
//! There is no socket and no thread: [`Vault::answer`] takes one request and gives one response, and between requests
//! [`Vault::maintain`] keeps the lease up. The files below: [`standing`] says what the vault can do at present,
//! [`signing`] signs, [`upkeep`] begins, renews and ends the lease, [`proof`] has the TPM sign about the box. Orders are
//! carried out by [`crate::orders`].

mod proof;
mod signing;
pub(crate) mod standing;
mod status;
pub(crate) mod upkeep;

use std::collections::BTreeSet;
use std::error::Error;

use holdfast_evidence::{Approval, ImportSecret};
use holdfast_hal::tpm::{Resets, Tpm, TpmError, TpmKind};
use holdfast_types::{BoxName, HistoryMarks, Millis, P256Public, PolicyDigest};
use holdfast_vault_client::codec::{HISTORY_PAGE_LEN, ORDER_LOG_PAGE_LEN};
use holdfast_vault_client::{Closed, ClosedId, Rejection, Request, Response};

use crate::clock::Clock;
use crate::keys::KeyRoom;
use crate::memory::MemoryError;
use crate::orders::Desk;
use crate::sealed::approvals::Approvals;
use crate::state::Disk;
use crate::tier::Machine;

pub use self::upkeep::Upkeep;

use self::standing::{Owned, Phase, Standing};

/// What the vault is told of the image that it runs in.
#[derive(Clone, Debug)]
pub struct Release {
    /// The key that approves images, from the measured image itself.
    pub key: P256Public,
    /// The kind of board.
    pub board: String,
    /// The approvals that came with the image; the TPM judges them.
    pub approvals: Vec<Approval>,
    /// The length of a lease in epochs: 8, shorter in tests.
    pub lease_epochs: u64,
}

/// The vault: keys, history, lease, TPM and state folder, behind the closed list of requests.
pub struct Vault {
    pub(crate) disk: Box<dyn Disk>,
    pub(crate) tpm: Box<dyn Tpm>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) release: Release,
    pub(crate) machine: Machine,
    pub(crate) box_name: BoxName,
    pub(crate) desk: Desk,
    /// The one-time key that was handed out last; boxed, or taking it would leave its bytes here.
    pub(crate) import_key: Option<Box<ImportSecret>>,
    /// What the image that runs measured to; `None` when the TPM did not say.
    image: Option<PolicyDigest>,
    pub(crate) standing: Standing,
    memory: &'static str,
    resets: Resets,
    looked_at_resets: std::time::Duration,
}

/// Why there is no vault at all. What only keeps it from signing does not keep it from saying so.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no memory for keys.
    #[error("cannot take memory for keys")]
    Memory(#[from] MemoryError),
    /// The TPM does not say who it is.
    #[error("the TPM does not answer: check --tpm, and that the vault's user may open it")]
    Tpm(#[from] TpmError),
}

impl Vault {
    /// Opens what the disk holds. Whatever keeps it from signing does not keep it from saying so.
    ///
    /// # Errors
    /// Only when there is no locked memory for keys, or no TPM at all.
    pub fn open(
        disk: Box<dyn Disk>,
        mut tpm: Box<dyn Tpm>,
        clock: Box<dyn Clock>,
        release: Release,
        machine: Machine,
    ) -> Result<Self, OpenError> {
        let room = KeyRoom::allocate()?;
        let memory = room.kind_name();
        let box_name = holdfast_evidence::box_name(&tpm.attestation_key_name()?.0);
        let resets = tpm.resets()?;
        let firmware = upkeep::firmware_approvals(disk.as_ref());
        let approvals = Approvals {
            board: &release.board,
            release_key: release.key,
            releases: &release.approvals,
            firmware: &firmware,
        };
        // Now, because the register of the image moves on as the boot does, and no approval fits then.
        let image = Approvals::image_now(tpm.as_mut()).ok();
        let standing = Standing::found(disk.as_ref(), tpm.as_mut(), &approvals, room);
        let looked_at_resets = clock.monotonic();
        let mut vault = Self {
            disk,
            tpm,
            clock,
            release,
            machine,
            box_name,
            desk: Desk::default(),
            import_key: None,
            image,
            standing,
            memory,
            resets,
            looked_at_resets,
        };
        vault.begin_lease();
        vault.say_standing();
        Ok(vault)
    }

    /// Answers one request.
    pub fn answer(&mut self, request: Request) -> Response {
        let answered = match request {
            Request::Status => Ok(Response::Status(Box::new(self.status()))),
            Request::HistoryBackup { after } => self.history_page(after).map(Response::History),
            Request::IdentityKey => self.identity().map(Response::IdentityKey),
            Request::CertifyTlsKey { key } => self.certify(&key).map(Response::TlsCertificate),
            Request::Evidence { kind, nonce } => {
                self.evidence(kind, &nonce).map(|made| Response::Evidence(Box::new(made)))
            }
            Request::RaiseLevel => self.raise_level().map(|()| Response::Done),
            Request::ApproveFirmware(approval) => self.approve_firmware(approval).map(|()| Response::Done),
            Request::Challenge => self.challenge().map(Response::Challenge),
            Request::Order(order) => self.order(&order).map(Response::OrderDone),
            Request::OrderLog { after } => self.order_log(after),
            Request::ActivateCredential(credential) => self.activate(&credential).map(Response::Activated),
            signing => self.sign(signing).map(Response::Signatures),
        };
        answered.unwrap_or_else(Response::Rejected)
    }

    /// The level of the image that runs; `None` when no approval fits it.
    pub(crate) fn image_level(&self) -> Option<u64> {
        let Release { key, board, approvals, .. } = &self.release;
        let approvals = Approvals { board, release_key: *key, releases: approvals, firmware: &[] };
        approvals.level_of(self.image.as_ref()?)
    }

    /// What kind of TPM the vault is bound to.
    pub(crate) fn tpm_kind(&self) -> TpmKind {
        self.tpm.kind()
    }

    /// The wall clock.
    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    fn history_page(&self, after: Option<holdfast_types::ValidatorPublic>) -> Result<HistoryMarks, Rejection> {
        let history = self.standing.history().ok_or_else(|| self.rejected())?;
        let owned = self.standing.owned();
        let chain = owned.and_then(Owned::network).map(|network| network.chain);
        let barred = match (owned.map(|owned| &owned.phase), &chain) {
            // What may have been signed since is not known before the counter is.
            (Some(Phase::Undecided(closed)), _) => return Err(Rejection::Closed(closed.clone())),
            (Some(Phase::Waiting(wait)), Some(chain)) => wait.floor.map(|barred| barred.floor(chain)),
            (Some(Phase::Refused(refused)), Some(chain)) => Some(refused.floor.floor(chain)),
            _ => None,
        };
        let held = owned.and_then(|owned| owned.keys.pins()).map(|pins| &pins.validators);
        let held = held.unwrap_or(const { &BTreeSet::new() });
        let genesis_validators_root = chain.map(|chain| chain.genesis_validators_root).unwrap_or_default();
        let validators = history.backup(after, HISTORY_PAGE_LEN, held, barred.unwrap_or_default());
        Ok(HistoryMarks { genesis_validators_root, validators })
    }

    fn order_log(&mut self, after: u64) -> Result<Response, Rejection> {
        let history = self.standing.history().ok_or_else(|| self.rejected())?;
        match history.log_page(after, ORDER_LOG_PAGE_LEN) {
            Ok(entries) => Ok(Response::OrderLog(entries)),
            Err(error) => Err(Rejection::Closed(self.close(ClosedId::HistoryUnusable, &error))),
        }
    }

    /// From now on signs nothing until it is started anew; the keys stay, for the identity key and the status.
    pub(crate) fn close(&mut self, id: ClosedId, error: &dyn Error) -> Closed {
        let closed = Closed { id, reason: in_full(error) };
        tracing::error!(%closed, "the vault closes: it signs nothing until it is started anew");
        self.standing.close(closed.clone());
        closed
    }

    /// The rejection of a request that the present standing does not allow.
    pub(crate) fn rejected(&self) -> Rejection {
        Rejection::Closed(self.closed().unwrap_or_else(|| Closed {
            id: ClosedId::NoShares,
            reason: "the box holds no shares yet: import a cluster".into(),
        }))
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

/// The database of the slashing history.
pub(crate) const HISTORY_FILE: &str = "history.sqlite";
/// A path of the longest kind, and words around it. It bounds the answers that carry a reason.
const REASON_LEN_MAX: usize = 5_000;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_requests;
