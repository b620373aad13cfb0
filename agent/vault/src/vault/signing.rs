//! Signing, in the order that keeps it safe.
//!
//! What can be slashed passes these steps, each of which may refuse it: the share is here and slot and target fit the
//! vault's clock ([`crate::requests`]); the lease reaches so far, and the history allows and records it
//! ([`crate::history`]); only with the history's proof the share signs ([`crate::keys`]). Everything else passes its window
//! and signs under a domain of its own; it needs a lease too, so that a vault that is not sure of itself says nothing.

use holdfast_vault_client::{ClosedId, Rejection, Request, SigningRefused};

use super::Vault;
use super::standing::{Owned, Phase, Standing};
use crate::history::Candidate;
use crate::keys::Signatures;
use crate::lease::Vote;
use crate::requests::{self, Answers, Triage};

impl Vault {
    /// Signs what a request asks for, or says of each why not.
    pub(super) fn sign(&mut self, request: Request) -> Result<Signatures, Rejection> {
        let now = self.now();
        if self.closed().is_some() {
            return Err(self.rejected());
        }
        let Standing::Owned(owned) = &self.standing else { return Err(self.rejected()) };
        let network = owned.network().ok_or_else(|| self.rejected())?;
        let holds = |validator: &_| owned.keys.pins().is_some_and(|pins| pins.validators.contains(validator));
        let harmless = match request {
            Request::SignAttestations(batch) => {
                let triage = requests::attestations(&network, now, holds, &batch)?;
                return self.sign_recorded(triage);
            }
            Request::SignBlock(block) => {
                let triage = vec![requests::block(&network, now, holds, &block)];
                return self.sign_recorded(triage);
            }
            Request::SignRandao { epoch, validators } => requests::randao(&network, now, holds, epoch, &validators),
            Request::SignSelection { slot, validators } => requests::selection(&network, now, holds, slot, &validators),
            Request::SignSyncSelection { slot, selections } => {
                requests::sync_selection(&network, now, holds, slot, &selections)
            }
            Request::SignSyncMessage { slot, block_root, validators } => {
                requests::sync_message(&network, now, holds, slot, block_root, &validators)
            }
            Request::SignAggregate(batch) => requests::aggregate(&network, now, holds, &batch),
            Request::SignContribution(batch) => requests::contribution(&network, now, holds, &batch),
            _ => Err(Rejection::Malformed("it asks for no signature".into())),
        };
        Ok(sign_harmless(owned, harmless?))
    }

    /// Records and signs what can be slashed.
    fn sign_recorded(&mut self, triage: Triage) -> Result<Signatures, Rejection> {
        let (verdicts, candidates) = parted(triage);
        self.reach_for(&candidates);
        let Standing::Owned(owned) = &mut self.standing else { return Err(self.rejected()) };
        let Some(network) = owned.network() else { return Err(self.rejected()) };
        let Owned { keys, history, phase, .. } = owned.as_mut();
        let Phase::Open(lease) = phase else { return Err(self.rejected()) };
        let recorded = match history.check_and_record(&lease.reach(&network.chain), &candidates) {
            Ok(recorded) => recorded,
            Err(error) => return Err(Rejection::Closed(self.close(ClosedId::HistoryUnusable, &error))),
        };
        let mut released = keys.sign(recorded).into_iter();
        let mut next = || released.next().expect("the history answers each candidate");
        let answers: Signatures = verdicts.into_iter().map(|verdict| verdict.and_then(|()| next())).collect();
        log_refusals(&answers);
        Ok(answers)
    }

    /// The lease bounds the source. When finality moves on after a stall it is renewed for the new one, here and now:
    /// this duty counts on it.
    fn reach_for(&mut self, candidates: &[Candidate]) {
        let votes = candidates.iter().filter_map(|candidate| match candidate {
            Candidate::Attestation { source, target, .. } => Some((*source, *target)),
            Candidate::Block { .. } => None,
        });
        let Some((source, target)) = votes.max() else { return };
        let Standing::Owned(owned) = &self.standing else { return };
        let (Phase::Open(lease), Some(network)) = (&owned.phase, owned.network()) else { return };
        if source > lease.reach(&network.chain).source && source <= target {
            self.renew(Some(Vote { source, target }));
        }
    }
}

/// Signs what cannot be slashed.
fn sign_harmless(owned: &Owned, admitted: Answers) -> Signatures {
    let answers = owned.keys.sign_admitted(admitted);
    log_refusals(&answers);
    answers
}

/// What is refused by now, in the order of the request, and what is still to be recorded.
fn parted(triage: Triage) -> (Vec<Result<(), SigningRefused>>, Vec<Candidate>) {
    let mut candidates = Vec::with_capacity(triage.len());
    let verdicts = triage.into_iter().map(|verdict| verdict.map(|candidate| candidates.push(candidate))).collect();
    (verdicts, candidates)
}

/// One line for a request, whatever a client asks: the first refusal and how many there are.
fn log_refusals(answers: &Signatures) {
    let mut refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    if let Some(reason) = refused.next() {
        tracing::warn!(%reason, others = refused.count(), "refused to sign");
    }
}
