//! The cluster as the board shows it: from the lock, the beacon nodes and the vault.

use std::collections::BTreeSet;

use holdfast_api::{PeerStatus, Validator, ValidatorList};
use holdfast_cluster::VerifiedLock;
use holdfast_types::{OperatorIndex, ValidatorIndex, ValidatorPublic};
use holdfast_wire::k1::NodePublic;

/// A cluster; without a name and empty while there is none.
#[derive(Debug, Default)]
pub(crate) struct ShownCluster {
    name: String,
    peers: Vec<PeerStatus>,
    validators: Vec<ShownValidator>,
}

#[derive(Debug)]
struct ShownValidator {
    public: ValidatorPublic,
    fee_recipient: [u8; 20],
    on_chain: Option<(ValidatorIndex, String)>,
}

impl ShownCluster {
    pub(crate) fn of(lock: &VerifiedLock, keys: &[NodePublic], own: OperatorIndex) -> Self {
        let peer = |(operator, public): (u8, &NodePublic)| PeerStatus {
            operator,
            peer_id: public.peer_id(),
            own: operator == own.0,
            connected: operator == own.0,
            version: None,
        };
        let validators = lock.validators().map(|validator| ShownValidator {
            public: validator.public,
            fee_recipient: validator.fee_recipient,
            on_chain: None,
        });
        Self {
            name: lock.name().to_owned(),
            peers: (0_u8..).zip(keys).map(peer).collect(),
            validators: validators.collect(),
        }
    }

    /// A beacon node told index and status of a validator.
    pub(crate) fn seen(&mut self, public: &ValidatorPublic, index: ValidatorIndex, status: &str) {
        if let Some(validator) = self.validators.iter_mut().find(|validator| validator.public == *public) {
            validator.on_chain = Some((index, status.to_owned()));
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn len(&self) -> usize {
        self.validators.len()
    }

    pub(super) fn peers(&self) -> Vec<PeerStatus> {
        self.peers.clone()
    }

    pub(super) fn page(&self, from: usize, limit: usize, held: &[ValidatorPublic]) -> ValidatorList {
        let held: BTreeSet<&ValidatorPublic> = held.iter().collect();
        let page = self.validators.iter().skip(from).take(limit).map(|validator| Validator {
            pubkey: validator.public.to_string(),
            index: validator.on_chain.as_ref().map(|(index, _)| index.0.to_string()),
            status: validator.on_chain.as_ref().map(|(_, status)| status.clone()).filter(|status| !status.is_empty()),
            share_held: held.contains(&validator.public),
            fee_recipient: format!("0x{}", hex::encode(validator.fee_recipient)),
        });
        let end = from.saturating_add(limit);
        ValidatorList { validators: page.collect(), cursor: (end < self.validators.len()).then(|| end.to_string()) }
    }
}
