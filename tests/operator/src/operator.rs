//! The operator: his authority key, and one method for each order.

use holdfast_evidence::approval::FIRMWARE_REGISTERS;
use holdfast_evidence::{
    Approval, Envelope, HistoryClaim, IdentityOrder, ImportOrder, NetworkPins, Order, OrderText, SignedOrder,
    SigningKey,
};
use holdfast_types::{
    BoxName, Challenge, Epoch, ForkVersion, HistoryMarks, LockHash, P256Public, ShareIndex, ValidatorIndex,
    ValidatorPublic,
};
use holdfast_vault_client::{Evidence, EvidenceKind, OrderOutcome, Request, Response};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::ask::{Ask, OperatorError, ask, box_name, challenge, evidence};

/// An operator. The same seed makes the same authority.
#[derive(Debug)]
pub struct Operator {
    authority: SigningKey,
    rng: StdRng,
}

/// Shares to import, as an operator has them after he decrypted his keystores.
#[derive(Clone)]
pub struct Shares {
    /// The lock that they belong to.
    pub lock_hash: LockHash,
    /// Their index in it.
    pub share_index: ShareIndex,
    /// The network, by its genesis fork version.
    pub genesis_fork_version: ForkVersion,
    /// The present epoch.
    pub epoch: Epoch,
    /// What is known of what the validators signed.
    pub history: HistoryClaim,
    /// Each validator with the secret of its share, in any order.
    pub secrets: Vec<(ValidatorPublic, [u8; 32])>,
}

impl std::fmt::Debug for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shares({} of lock {})", self.secrets.len(), self.lock_hash)
    }
}

impl Operator {
    /// The operator of this seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        Self { authority: SigningKey::random(&mut rng), rng }
    }

    /// His authority's public key.
    #[must_use]
    pub fn public(&self) -> P256Public {
        self.authority.public()
    }

    /// Signs an order for one box and challenge, and sends nothing.
    #[must_use]
    pub fn sign(&self, to: BoxName, challenge: Challenge, order: Order) -> SignedOrder {
        SignedOrder::sign(&OrderText { to, challenge, order }, &self.authority)
    }

    /// Gives an order: asks the vault for its name and a challenge, signs and sends.
    ///
    /// # Errors
    /// When the vault refuses or cannot be asked.
    pub fn order(&self, vault: &mut impl Ask, order: Order) -> Result<OrderOutcome, OperatorError> {
        let signed = self.sign(box_name(vault)?, challenge(vault)?, order);
        match ask(vault, Request::Order(signed))? {
            Response::OrderDone(outcome) => Ok(outcome),
            _ => Err(OperatorError::Unfit { asked: "an order", missing: "its outcome" }),
        }
    }

    /// His approval of the boot state that the box quotes at present.
    ///
    /// # Errors
    /// When the vault refuses or cannot be asked, or quotes no such register.
    pub fn approve_present(&mut self, vault: &mut impl Ask) -> Result<Approval, OperatorError> {
        let evidence = evidence(vault, EvidenceKind::Boot, self.rng.r#gen())?;
        let [register] = FIRMWARE_REGISTERS;
        let value = value_of(&evidence, register);
        let value = value.ok_or(OperatorError::Unfit { asked: "evidence", missing: "the value of PCR 7" })?;
        Ok(Approval::of_firmware(&self.authority, value))
    }

    /// Becomes the owner of an empty box in the boot state that it is in.
    ///
    /// # Errors
    /// As [`Operator::order`] and [`Operator::approve_present`].
    pub fn own(&mut self, vault: &mut impl Ask) -> Result<OrderOutcome, OperatorError> {
        let firmware = self.approve_present(vault)?;
        self.order(vault, Order::Own { authority: self.public(), firmware })
    }

    /// Hands the box to `next`, who approves the boot state that it is in.
    ///
    /// # Errors
    /// As [`Operator::order`] and [`Operator::approve_present`].
    pub fn hand_over(&self, vault: &mut impl Ask, next: &mut Self) -> Result<OrderOutcome, OperatorError> {
        let firmware = next.approve_present(vault)?;
        self.order(vault, Order::ChangeAuthority { authority: next.public(), firmware })
    }

    /// Hands the vault an approval of a boot state, for its next start.
    ///
    /// # Errors
    /// When the vault refuses or cannot be asked.
    pub fn approve_firmware(&self, vault: &mut impl Ask, pcr_7: [u8; 32]) -> Result<(), OperatorError> {
        let approval = Approval::of_firmware(&self.authority, pcr_7);
        match ask(vault, Request::ApproveFirmware(approval))? {
            Response::Done => Ok(()),
            _ => Err(OperatorError::Unfit { asked: "an approval", missing: "that it is done" }),
        }
    }

    /// Erases shares, identity and authority.
    ///
    /// # Errors
    /// As [`Operator::order`].
    pub fn reset(&self, vault: &mut impl Ask) -> Result<OrderOutcome, OperatorError> {
        self.order(vault, Order::Reset)
    }

    /// Has the vault make a node identity.
    ///
    /// # Errors
    /// As [`Operator::order`].
    pub fn make_identity(&self, vault: &mut impl Ask) -> Result<OrderOutcome, OperatorError> {
        self.order(vault, Order::Identity(IdentityOrder::MadeHere))
    }

    /// Gives the vault this node identity.
    ///
    /// # Errors
    /// As [`Operator::order`], and when the vault gives no import key.
    pub fn import_identity(&mut self, vault: &mut impl Ask, secret: &[u8; 32]) -> Result<OrderOutcome, OperatorError> {
        let envelope = self.seal(vault, IdentityOrder::PURPOSE, secret)?;
        self.order(vault, Order::Identity(IdentityOrder::Imported(envelope)))
    }

    /// Gives the vault these shares.
    ///
    /// # Errors
    /// As [`Operator::order`], and when the vault gives no import key.
    pub fn import(&mut self, vault: &mut impl Ask, shares: &Shares) -> Result<OrderOutcome, OperatorError> {
        let order = self.import_order(vault, shares)?;
        self.order(vault, Order::Import(order))
    }

    /// The order of [`Operator::import`], for a test that changes it or sends it late.
    ///
    /// # Errors
    /// When the vault gives no import key.
    pub fn import_order(&mut self, vault: &mut impl Ask, shares: &Shares) -> Result<ImportOrder, OperatorError> {
        let mut secrets = shares.secrets.clone();
        secrets.sort_unstable();
        let validators: Vec<ValidatorPublic> = secrets.iter().map(|(validator, _)| *validator).collect();
        let plain: Vec<u8> = secrets.iter().flat_map(|(_, secret)| *secret).collect();
        let Shares { lock_hash, share_index, genesis_fork_version, epoch, history, .. } = *shares;
        let purpose = ImportOrder::purpose(&lock_hash, share_index, genesis_fork_version, &history, &validators);
        let shares = self.seal(vault, &purpose, &plain)?;
        Ok(ImportOrder { lock_hash, share_index, genesis_fork_version, epoch, history, validators, shares })
    }

    /// Merges slashing history.
    ///
    /// # Errors
    /// As [`Operator::order`].
    pub fn import_history(&self, vault: &mut impl Ask, marks: HistoryMarks) -> Result<OrderOutcome, OperatorError> {
        self.order(vault, Order::ImportHistory(marks))
    }

    /// Erases the shares of these validators.
    ///
    /// # Errors
    /// As [`Operator::order`].
    pub fn retire(&self, vault: &mut impl Ask, who: Vec<ValidatorPublic>) -> Result<OrderOutcome, OperatorError> {
        self.order(vault, Order::Retire(who))
    }

    /// Signs a voluntary exit.
    ///
    /// # Errors
    /// As [`Operator::order`].
    pub fn exit(
        &self,
        vault: &mut impl Ask,
        validator: ValidatorPublic,
        validator_index: ValidatorIndex,
        epoch: Epoch,
    ) -> Result<OrderOutcome, OperatorError> {
        self.order(vault, Order::Exit { validator, validator_index, epoch })
    }

    /// Pins a network that is not built in.
    ///
    /// # Errors
    /// As [`Operator::order`].
    pub fn set_network(
        &self,
        vault: &mut impl Ask,
        network: NetworkPins,
        epoch: Epoch,
    ) -> Result<OrderOutcome, OperatorError> {
        self.order(vault, Order::SetNetwork { network, epoch })
    }

    /// Accepts that what was signed before `epoch` is not known.
    ///
    /// # Errors
    /// As [`Operator::order`].
    pub fn accept_floor(&self, vault: &mut impl Ask, epoch: Epoch) -> Result<OrderOutcome, OperatorError> {
        self.order(vault, Order::AcceptFloor { epoch })
    }

    /// Vouches that the disk was not restored.
    ///
    /// # Errors
    /// As [`Operator::order`].
    pub fn vouch_disk(&self, vault: &mut impl Ask) -> Result<OrderOutcome, OperatorError> {
        self.order(vault, Order::VouchDisk)
    }

    /// Begins a new lease.
    ///
    /// # Errors
    /// As [`Operator::order`].
    pub fn new_counter(&self, vault: &mut impl Ask, epoch: Epoch) -> Result<OrderOutcome, OperatorError> {
        self.order(vault, Order::NewCounter { epoch })
    }

    /// Encrypts to a new one-time key of the vault.
    fn seal(&mut self, vault: &mut impl Ask, purpose: &[u8], plain: &[u8]) -> Result<Envelope, OperatorError> {
        let body = evidence(vault, EvidenceKind::ImportKey, self.rng.r#gen())?.body;
        let unfit = OperatorError::Unfit { asked: "evidence", missing: "a usable import key" };
        let Some(key) = body.import_key else { return Err(unfit) };
        Envelope::seal(body.box_name, key, purpose, plain, &mut self.rng).map_err(|_| unfit)
    }
}

fn value_of(evidence: &Evidence, register: u8) -> Option<[u8; 32]> {
    let place = evidence.registers.iter().position(|&quoted| quoted == register)?;
    evidence.values.get(place).copied()
}

#[cfg(test)]
mod tests;
