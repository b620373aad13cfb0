//! Every kind of signature holds under its own domain and under no other, whatever root goes into it.

use anyhow::{bail, ensure};
use holdfast_eth::BuilderRegistration;
use holdfast_eth::domain::{DomainType, domain, epoch_root, exit_root, signing_root, slot_root, sync_selection_root};
use holdfast_evidence::Order;
use holdfast_types::{Epoch, ForkVersion, PartialSignature, Root, Slot, ValidatorIndex};
use holdfast_vault_client::{OrderOutcome, Request, RootToSign};

use super::{Asked, BLOCK_SLOT, EXIT_FORK, FORK, block, vote};

/// All that the specifications know.
pub(super) const DOMAINS: [DomainType; 11] = [
    DomainType::BeaconProposer,
    DomainType::BeaconAttester,
    DomainType::Randao,
    DomainType::Deposit,
    DomainType::VoluntaryExit,
    DomainType::SelectionProof,
    DomainType::AggregateAndProof,
    DomainType::SyncCommittee,
    DomainType::SyncCommitteeSelectionProof,
    DomainType::ContributionAndProof,
    DomainType::ApplicationBuilder,
];

impl Asked {
    /// Has one of each kind signed. The opaque roots are those of the vote and of the block that are signed already: as
    /// such they would be slashable if they held under another domain.
    pub(super) fn check_kinds(&self, voted: &PartialSignature, proposed: &PartialSignature) -> anyhow::Result<()> {
        let (vote, block) = (vote(48, 50).hash_tree_root(), block(BLOCK_SLOT).hash_tree_root());
        self.check_domains(DomainType::BeaconAttester, FORK, vote, voted)?;
        self.check_domains(DomainType::BeaconProposer, FORK, block, proposed)?;

        let (validator, validators) = (self.validator(), vec![self.validator()]);
        let Some(slot) = self.spec.slot_at(holdfast_tests::now()) else { bail!("the clock is before genesis") };
        let epoch = self.spec.epoch_of(slot);
        let selections = vec![(validator, 2)];
        let kinds = [
            (DomainType::Randao, epoch_root(epoch), Request::SignRandao { epoch, validators: validators.clone() }),
            (
                DomainType::SelectionProof,
                slot_root(slot),
                Request::SignSelection { slot, validators: validators.clone() },
            ),
            (
                DomainType::SyncCommitteeSelectionProof,
                sync_selection_root(slot, 2),
                Request::SignSyncSelection { slot, selections },
            ),
        ];
        for (kind, object, request) in kinds {
            self.check_kind(kind, object, &request)?;
        }
        for root in [vote, block] {
            let message = Request::SignSyncMessage { slot, block_root: root, validators: validators.clone() };
            self.check_kind(DomainType::SyncCommittee, root, &message)?;
            let opaque = vec![RootToSign { validator, slot, root }];
            self.check_kind(DomainType::AggregateAndProof, root, &Request::SignAggregate(opaque.clone()))?;
            self.check_kind(DomainType::ContributionAndProof, root, &Request::SignContribution(opaque))?;
        }
        self.check_ordered(epoch, slot)
    }

    /// What only an order gets.
    fn check_ordered(&self, epoch: Epoch, slot: Slot) -> anyhow::Result<()> {
        let (validator, validator_index) = (self.validator(), ValidatorIndex(9));
        let signed = self.node.order(Order::Exit { validator, validator_index, epoch })?;
        let OrderOutcome::Signed(exit) = signed else { bail!("expected a signed exit, saw {signed:?}") };
        self.check_domains(DomainType::VoluntaryExit, EXIT_FORK, exit_root(epoch, validator_index), &exit)?;

        let message = BuilderRegistration {
            fee_recipient: [8; 20],
            gas_limit: 60_000_000,
            timestamp_s: self.spec.slot_start(slot).0 / 1000,
            pubkey: validator,
        };
        let BuilderRegistration { fee_recipient, gas_limit, timestamp_s, .. } = message;
        let signed = self.node.order(Order::Register { validator, fee_recipient, gas_limit, timestamp_s })?;
        let OrderOutcome::Signed(registration) = signed else { bail!("expected a registration, saw {signed:?}") };
        self.check_domains(DomainType::ApplicationBuilder, FORK, message.hash_tree_root(), &registration)
    }

    fn check_kind(&self, kind: DomainType, object: Root, request: &Request) -> anyhow::Result<()> {
        let answer = self.one(request)?;
        let signature = answer.map_err(|text| anyhow::anyhow!("expected a signature under {kind:?}, saw: {text}"))?;
        self.check_domains(kind, FORK, object, &signature)
    }

    /// The signature holds for its own domain and for no other, on either fork.
    fn check_domains(
        &self,
        kind: DomainType,
        version: ForkVersion,
        object: Root,
        signature: &PartialSignature,
    ) -> anyhow::Result<()> {
        let public = self.keys.nodes[0].shares[0].public();
        for domain_type in DOMAINS {
            for fork in [FORK, EXIT_FORK] {
                // Builders' registrations are of no chain (builder-specs, `compute_domain` with a zero root).
                let of_no_chain = domain_type == DomainType::ApplicationBuilder;
                let genesis = if of_no_chain { Root::default() } else { self.spec.genesis_validators_root };
                let root = signing_root(object, &domain(domain_type, fork, genesis));
                let holds = holdfast_bls::verify_partial(&public, root, signature).is_ok();
                let expected = domain_type == kind && fork == version;
                ensure!(
                    holds == expected,
                    "expected the signature under {kind:?} to hold under {domain_type:?} of fork {fork}: {expected}, \
                     saw {holds}"
                );
            }
        }
        Ok(())
    }
}
