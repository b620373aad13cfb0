//! What the vault says about itself.

use holdfast_types::Epoch;
use holdfast_vault_client::{Closed, ClosedId, IdentityKey, LeaseStatus, Rejection, VaultStatus};

use super::Vault;
use super::standing::{Owned, Phase, Standing, Wait};
use super::upkeep::ASKED_AGAIN;

impl Vault {
    pub(super) fn status(&self) -> VaultStatus {
        let owned = self.standing.owned();
        let pins = owned.and_then(|owned| owned.keys.pins());
        let (orders_logged, orders_head) = self.log_head();
        VaultStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            box_name: self.box_name,
            authority: self.standing.authority(),
            lock_hash: pins.map(|pins| pins.lock_hash),
            validators: pins.map(|pins| pins.validators.iter().copied().collect()).unwrap_or_default(),
            share_index: pins.map(|pins| pins.share_index),
            tier: self.machine.tier,
            tier_reason: self.machine.reason.clone(),
            memory: self.memory.into(),
            generation: owned.map(|owned| owned.sealed.generation),
            level: owned.map(|owned| owned.sealed.level),
            lease: owned.and_then(lease),
            orders_logged,
            orders_head,
            closed: self.closed(),
        }
    }

    /// How many entries the log of orders has had, and the hash of the last.
    pub(super) fn log_head(&self) -> (u64, [u8; 32]) {
        self.standing.history().map(|history| history.log_head()).unwrap_or_default()
    }

    /// Why nothing is signed at present, if so.
    pub(crate) fn closed(&self) -> Option<Closed> {
        let owned = match &self.standing {
            Standing::Unowned { .. } => {
                return closed(ClosedId::NotOwned, "nobody owns this box: pair it".into());
            }
            Standing::Closed(broken) => return Some(broken.closed.clone()),
            Standing::Changing => {
                return closed(ClosedId::SealDamaged, "a change was cut short: restart the vault".into());
            }
            Standing::Owned(owned) => owned,
        };
        match &owned.phase {
            Phase::NoNetwork => closed(ClosedId::NoShares, NO_SHARES.into()),
            Phase::Undecided(reason) => Some(reason.clone()),
            Phase::Refused(refused) => Some(refused.closed.clone()),
            Phase::Waiting(wait) => closed(wait.id, waiting(wait)),
            Phase::Open(_) if owned.keys.pins().is_none() => closed(ClosedId::NoShares, NO_SHARES.into()),
            Phase::Open(lease) => {
                let now = owned.epoch_at(self.now()).unwrap_or_default();
                let last = owned.last_epoch(lease);
                let reason = if owned.is_stranded(self.now()) {
                    format!(
                        "the clock went on from epoch {last} to {now} at once: set it right, and the vault signs by \
                         itself; if it is right, order NewCounter"
                    )
                } else {
                    format!(
                        "the box was off: its lease is brought up from epoch {last} to {now}, then it signs by itself"
                    )
                };
                (last < now).then_some(Closed { id: ClosedId::CatchingUp, reason })
            }
        }
    }

    pub(super) fn identity(&self) -> Result<IdentityKey, Rejection> {
        let owned = self.standing.owned().ok_or_else(|| self.rejected())?;
        owned.keys.identity().ok_or(Rejection::NoIdentity)
    }

    pub(super) fn say_standing(&self) {
        let status = self.status();
        let (memory, tier, shares) = (status.memory, status.tier, status.validators.len());
        match status.closed {
            None => tracing::info!(memory, %tier, shares, "the vault signs"),
            Some(reason) => tracing::warn!(memory, %tier, shares, %reason, "the vault signs nothing for now"),
        }
    }
}

fn closed(id: ClosedId, reason: String) -> Option<Closed> {
    Some(Closed { id, reason })
}

fn waiting(wait: &Wait) -> String {
    let until = wait.until;
    match wait.id {
        ClosedId::LeaseUnclean => format!(
            "the vault did not end in order, so what it signed last is not known: it signs from epoch {until} on by \
             itself; if this disk was not restored from a copy, order VouchDisk to sign at once"
        ),
        ClosedId::TpmFailed => format!("the TPM does not count at present; {ASKED_AGAIN}"),
        _ => format!(
            "the lease reaches far beyond the present: signing goes on at epoch {until} by itself; if the clock is right \
             and that is too long, order NewCounter"
        ),
    }
}

fn lease(owned: &Owned) -> Option<LeaseStatus> {
    let Phase::Open(lease) = &owned.phase else { return None };
    let first_epoch = owned.history.floor().target.map_or(Epoch(0), |barred| Epoch(barred.0.saturating_add(1)));
    Some(LeaseStatus { counter: lease.counter(), last_epoch: owned.last_epoch(lease), first_epoch })
}

const NO_SHARES: &str = "the box holds no shares yet: import a cluster";
