//! Every request for a signature, asked of whole vaults: in every situation, at both ends of its window, and with its
//! signature held against every domain that there is.

mod domains;
mod networks;
mod windows;

use holdfast_eth::domain::{epoch_root, slot_root, sync_selection_root};
use holdfast_eth::{AttestationData, BeaconBlockHeader, Checkpoint, DomainType};
use holdfast_types::{ChainSpec, Epoch, PartialSignature, Root, Slot};
use holdfast_vault_client::{AttestationToSign, BlockToSign, Rejection, Request, Response, RootToSign, SigningRefused};

use super::Vault;
use crate::testing::situations::Situation;
use crate::testing::*;

/// A request that is answered with signatures. A new one does not compile until [`Kind::of`] has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Attestation,
    Block,
    Randao,
    Selection,
    SyncSelection,
    SyncMessage,
    Aggregate,
    Contribution,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Attestation,
        Self::Block,
        Self::Randao,
        Self::Selection,
        Self::SyncSelection,
        Self::SyncMessage,
        Self::Aggregate,
        Self::Contribution,
    ];
    /// Those whose object root the asker chooses.
    const OPAQUE: [Self; 3] = [Self::SyncMessage, Self::Aggregate, Self::Contribution];

    /// The kind of a request; `None` for those that are answered with something else.
    fn of(request: &Request) -> Option<Self> {
        Some(match request {
            Request::SignAttestations(_) => Self::Attestation,
            Request::SignBlock(_) => Self::Block,
            Request::SignRandao { .. } => Self::Randao,
            Request::SignSelection { .. } => Self::Selection,
            Request::SignSyncSelection { .. } => Self::SyncSelection,
            Request::SignSyncMessage { .. } => Self::SyncMessage,
            Request::SignAggregate(_) => Self::Aggregate,
            Request::SignContribution(_) => Self::Contribution,
            Request::Status
            | Request::HistoryBackup { .. }
            | Request::IdentityKey
            | Request::CertifyTlsKey { .. }
            | Request::Evidence { .. }
            | Request::RaiseLevel
            | Request::ApproveFirmware(_)
            | Request::Challenge
            | Request::Order(_)
            | Request::OrderLog { .. }
            | Request::ActivateCredential(_) => return None,
        })
    }

    /// The one domain that it stands for.
    fn domain(self) -> DomainType {
        match self {
            Self::Attestation => DomainType::BeaconAttester,
            Self::Block => DomainType::BeaconProposer,
            Self::Randao => DomainType::Randao,
            Self::Selection => DomainType::SelectionProof,
            Self::SyncSelection => DomainType::SyncCommitteeSelectionProof,
            Self::SyncMessage => DomainType::SyncCommittee,
            Self::Aggregate => DomainType::AggregateAndProof,
            Self::Contribution => DomainType::ContributionAndProof,
        }
    }
}

/// What a daemon puts into a request of some kind. The epochs in it are those of its own idea of the chain.
#[derive(Clone, Copy, Debug)]
struct Asked {
    kind: Kind,
    slot: Slot,
    epoch: Epoch,
    root: Root,
}

impl Asked {
    fn new(kind: Kind, slot: u64, chain: &ChainSpec) -> Self {
        Self { kind, slot: Slot(slot), epoch: chain.epoch_of(Slot(slot)), root: Root([9; 32]) }
    }

    fn data(&self) -> AttestationData {
        let source = Checkpoint { epoch: Epoch(self.epoch.0.saturating_sub(1)), root: self.root };
        let target = Checkpoint { epoch: self.epoch, root: self.root };
        AttestationData { slot: self.slot, index: 0, beacon_block_root: self.root, source, target }
    }

    fn header(&self) -> BeaconBlockHeader {
        let (parent_root, state_root, body_root) = (self.root, self.root, self.root);
        BeaconBlockHeader { slot: self.slot, proposer_index: 8, parent_root, state_root, body_root }
    }

    fn request(&self) -> Request {
        let Self { kind, slot, epoch, root } = *self;
        let (validator, validators) = (VALIDATOR, vec![VALIDATOR]);
        match kind {
            Kind::Attestation => Request::SignAttestations(vec![AttestationToSign { validator, data: self.data() }]),
            Kind::Block => Request::SignBlock(BlockToSign { validator, header: self.header() }),
            Kind::Randao => Request::SignRandao { epoch, validators },
            Kind::Selection => Request::SignSelection { slot, validators },
            Kind::SyncSelection => Request::SignSyncSelection { slot, selections: vec![(validator, 2)] },
            Kind::SyncMessage => Request::SignSyncMessage { slot, block_root: root, validators },
            Kind::Aggregate => Request::SignAggregate(vec![RootToSign { validator, slot, root }]),
            Kind::Contribution => Request::SignContribution(vec![RootToSign { validator, slot, root }]),
        }
    }

    /// The hash-tree root of what is to be signed.
    fn object(&self) -> Root {
        match self.kind {
            Kind::Attestation => self.data().hash_tree_root(),
            Kind::Block => self.header().hash_tree_root(),
            Kind::Randao => epoch_root(self.epoch),
            Kind::Selection => slot_root(self.slot),
            Kind::SyncSelection => sync_selection_root(self.slot, 2),
            Kind::SyncMessage | Kind::Aggregate | Kind::Contribution => self.root,
        }
    }

    /// Asks a vault that is open.
    fn of(&self, vault: &mut Vault) -> Result<PartialSignature, SigningRefused> {
        match vault.answer(self.request()) {
            Response::Signatures(mut answers) if answers.len() == 1 => answers.remove(0),
            other => panic!("{self:?}: {other:?}"),
        }
    }
}

fn marks(vault: &mut Vault) -> String {
    format!("{:?}", vault.answer(Request::HistoryBackup { after: None }))
}

#[test]
fn the_list_of_kinds_is_whole() {
    let count = Kind::Contribution as usize + 1;
    assert_eq!(Kind::ALL.map(|kind| kind as usize).to_vec(), (0..count).collect::<Vec<_>>());
    for kind in Kind::ALL {
        assert_eq!(Kind::of(&Asked::new(kind, 100, &chain()).request()), Some(kind));
    }
}

#[test]
fn signatures_are_made_in_an_open_vault_only() {
    for situation in Situation::ALL {
        let (place, mut vault) = situation.set_up();
        let slot = chain().slot_at(place.now()).unwrap().0;
        let before = marks(&mut vault);
        for kind in Kind::ALL {
            let answer = vault.answer(Asked::new(kind, slot, &chain()).request());
            match (situation.closed(), answer) {
                (None, Response::Signatures(answers)) => assert!(matches!(answers.as_slice(), [Ok(_)]), "{kind:?}"),
                (Some(id), Response::Rejected(Rejection::Closed(closed))) => {
                    assert_eq!(closed.id, id, "{situation:?}, {kind:?}");
                    assert!(!closed.reason.is_empty(), "{situation:?}, {kind:?}");
                }
                (_, answer) => panic!("{situation:?}, {kind:?}: {answer:?}"),
            }
        }
        assert_eq!(marks(&mut vault) == before, situation != Situation::Open, "{situation:?}: what is recorded");
    }
}

#[test]
fn nothing_is_signed_for_a_validator_of_somebody_else() {
    let (_place, mut vault) = Situation::Open.set_up();
    let before = marks(&mut vault);
    let (slot, epoch, root) = (Slot(100), Epoch(3), Root([9; 32]));
    let strangers = holdfast_types::ValidatorPublic([6; 48]);
    let asked = Asked::new(Kind::Attestation, 100, &chain());
    let entry = RootToSign { validator: strangers, slot, root };
    for request in [
        Request::SignAttestations(vec![AttestationToSign { validator: strangers, data: asked.data() }]),
        Request::SignBlock(BlockToSign { validator: strangers, header: asked.header() }),
        Request::SignRandao { epoch, validators: vec![strangers] },
        Request::SignSelection { slot, validators: vec![strangers] },
        Request::SignSyncSelection { slot, selections: vec![(strangers, 2)] },
        Request::SignSyncMessage { slot, block_root: root, validators: vec![strangers] },
        Request::SignAggregate(vec![entry]),
        Request::SignContribution(vec![entry]),
    ] {
        let kind = Kind::of(&request);
        let Response::Signatures(answers) = vault.answer(request) else { panic!("{kind:?}") };
        assert_eq!(answers, [Err(SigningRefused::UnknownValidator(strangers))], "{kind:?}");
    }
    assert_eq!(marks(&mut vault), before);
}
