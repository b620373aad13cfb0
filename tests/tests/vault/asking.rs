//! Asking a vault for signatures, and holding what it releases against what was asked for.

use anyhow::{bail, ensure};
use holdfast_bls::ShareSecret;
use holdfast_eth::domain::{attestation_signing_root, block_signing_root, randao_signing_root};
use holdfast_eth::{AttestationData, BeaconBlockHeader, Checkpoint};
use holdfast_evidence::NetworkPins;
use holdfast_types::{ChainSpec, Epoch, Fork, ForkVersion, Root, SigningRoot, Slot, ValidatorPublic};
use holdfast_vault_client::{
    AttestationToSign, BlockToSign, ClosedId, Rejection, Request, Response, RootToSign, SigningRefused,
};
use sha2::{Digest as _, Sha256};

use crate::rig::Rig;

/// A share, with the name of the validator that it is said to be of.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) secret: [u8; 32],
    pub(crate) public: ValidatorPublic,
}

/// A private network.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) spec: ChainSpec,
}

/// What became of one request for one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The vault is closed.
    Closed(ClosedId),
    /// Refused by a rule.
    Refused(SigningRefused),
    /// Signed, with the share and over the root that it must be.
    Signed(SigningRoot),
}

impl Key {
    /// The key of this number: random to a scan, and the same in every run.
    pub(crate) fn of(number: u8) -> Self {
        let mut secret: [u8; 32] = Sha256::digest([b"holdfast vault suite ".as_slice(), &[number]].concat()).into();
        // Below the order of the curve's group.
        secret[0] &= 0x3f;
        let public = holdfast_bls::public_of(&secret).expect("below the order of the group");
        Self { secret, public: ValidatorPublic(public.0) }
    }

    fn signs(&self, root: SigningRoot) -> anyhow::Result<holdfast_types::PartialSignature> {
        Ok(ShareSecret::from_bytes(&self.secret)?.sign(root))
    }
}

impl Network {
    /// Its fork version from genesis on.
    pub(crate) const FORK: [u8; 4] = [0x10, 0x48, 0x4f, 0x4c];

    /// The epochs that a network has behind it.
    pub(crate) const EPOCHS_PAST: u64 = 400;

    /// With slots and epochs as long as on a public one.
    pub(crate) fn slow() -> Self {
        Self::of(12_000, 32)
    }

    /// With slots of half a second.
    pub(crate) fn fast(slots_per_epoch: u64) -> Self {
        Self::of(500, slots_per_epoch)
    }

    fn of(slot_ms: u64, slots_per_epoch: u64) -> Self {
        let past_s = Self::EPOCHS_PAST * slots_per_epoch * slot_ms / 1_000;
        let fork = ForkVersion(Self::FORK);
        let spec = ChainSpec {
            genesis_time_s: holdfast_tests::now().0 / 1_000 - past_s,
            genesis_validators_root: Root([7; 32]),
            genesis_fork_version: fork,
            slot_ms,
            slots_per_epoch,
            forks: vec![Fork { epoch: Epoch(0), version: fork }],
        };
        Self { spec }
    }

    pub(crate) fn pins(&self) -> NetworkPins {
        NetworkPins { chain: self.spec.clone(), exit_fork_version: ForkVersion([0x03, 0x48, 0x4f, 0x4c]) }
    }

    /// A vote in the first slot of its target; another `head` makes another vote.
    pub(crate) fn vote(&self, source: u64, target: u64, head: u8) -> AttestationData {
        AttestationData {
            slot: self.spec.first_slot(Epoch(target)),
            index: 0,
            beacon_block_root: Root([head; 32]),
            source: Checkpoint { epoch: Epoch(source), root: Root([0x22; 32]) },
            target: Checkpoint { epoch: Epoch(target), root: Root([0x33; 32]) },
        }
    }

    /// The root of that vote.
    pub(crate) fn vote_root(&self, data: &AttestationData) -> SigningRoot {
        attestation_signing_root(&self.spec, data)
    }

    /// A block; another `body` makes another block.
    pub(crate) fn block(slot: u64, body: u8) -> BeaconBlockHeader {
        BeaconBlockHeader {
            slot: Slot(slot),
            proposer_index: 5,
            parent_root: Root([0x44; 32]),
            state_root: Root([0x55; 32]),
            body_root: Root([body; 32]),
        }
    }

    /// The root of that block.
    pub(crate) fn block_root(&self, header: &BeaconBlockHeader) -> SigningRoot {
        block_signing_root(&self.spec, header.slot, header.hash_tree_root())
    }
}

impl Rig {
    /// Asks for a vote of the key of this place.
    pub(crate) fn vote(&self, key: usize, source: u64, target: u64, head: u8) -> anyhow::Result<Answer> {
        let (key, data) = (&self.keys[key], self.network.vote(source, target, head));
        let request = Request::SignAttestations(vec![AttestationToSign { validator: key.public, data }]);
        self.one(&request, key, self.network.vote_root(&data))
    }

    /// Asks for a block of the key of this place.
    pub(crate) fn block(&self, key: usize, slot: u64, body: u8) -> anyhow::Result<Answer> {
        let (key, header) = (&self.keys[key], Network::block(slot, body));
        let request = Request::SignBlock(BlockToSign { validator: key.public, header });
        self.one(&request, key, self.network.block_root(&header))
    }

    /// Has a vote signed that must be.
    pub(crate) fn votes(&self, when: &str, key: usize, source: u64, target: u64) -> anyhow::Result<SigningRoot> {
        match self.vote(key, source, target, 0x11)? {
            Answer::Signed(root) => Ok(root),
            other => bail!("expected the vote {source} -> {target} to be signed {when}, saw {other:?}"),
        }
    }

    /// Has a block signed that must be.
    pub(crate) fn proposes(&self, when: &str, key: usize, slot: u64) -> anyhow::Result<SigningRoot> {
        match self.block(key, slot, 0x66)? {
            Answer::Signed(root) => Ok(root),
            other => bail!("expected the block of slot {slot} to be signed {when}, saw {other:?}"),
        }
    }

    /// Asks for a vote that must be refused by a rule, and gives the rule in words.
    pub(crate) fn refuses_vote(&self, when: &str, key: usize, vote: (u64, u64, u8)) -> anyhow::Result<String> {
        match self.vote(key, vote.0, vote.1, vote.2)? {
            Answer::Refused(refused) => Ok(refused.to_string()),
            other => bail!("expected the vote {} -> {} to be refused {when}, saw {other:?}", vote.0, vote.1),
        }
    }

    /// Asks for a block that must be refused by a rule, and gives the rule in words.
    pub(crate) fn refuses_block(&self, when: &str, key: usize, slot: u64, body: u8) -> anyhow::Result<String> {
        match self.block(key, slot, body)? {
            Answer::Refused(refused) => Ok(refused.to_string()),
            other => bail!("expected the block of slot {slot} to be refused {when}, saw {other:?}"),
        }
    }

    /// Whatever kind of signature is asked for, the vault gives none and says `id`.
    pub(crate) fn signs_nothing(&self, when: &str, id: ClosedId) -> anyhow::Result<()> {
        let (epoch, slot, validator) = (self.epoch(), self.slot(), self.keys[0].public);
        let vote = |target: u64| AttestationToSign { validator, data: self.network.vote(target - 1, target, 0x77) };
        let root = || RootToSign { validator, slot, root: Root([8; 32]) };
        let requests = [
            Request::SignAttestations(vec![vote(epoch.0)]),
            Request::SignAttestations(vec![vote(Network::EPOCHS_PAST / 2)]),
            Request::SignBlock(BlockToSign { validator, header: Network::block(slot.0, 0x77) }),
            Request::SignRandao { epoch, validators: vec![validator] },
            Request::SignSelection { slot, validators: vec![validator] },
            Request::SignSyncSelection { slot, selections: vec![(validator, 0)] },
            Request::SignSyncMessage { slot, block_root: Root([8; 32]), validators: vec![validator] },
            Request::SignAggregate(vec![root()]),
            Request::SignContribution(vec![root()]),
        ];
        let mut vault = self.client()?;
        for request in requests {
            match vault.call(&request)? {
                Response::Rejected(Rejection::Closed(closed)) if closed.id == id => {}
                other => bail!("expected {request:?} to be refused with {id} {when}, saw {other:?}"),
            }
        }
        Ok(())
    }

    /// What is harmless is signed too.
    pub(crate) fn reveals(&self, when: &str) -> anyhow::Result<()> {
        let (epoch, key) = (self.epoch(), &self.keys[0]);
        let request = Request::SignRandao { epoch, validators: vec![key.public] };
        let answer = self.one(&request, key, randao_signing_root(&self.network.spec, epoch))?;
        ensure!(matches!(answer, Answer::Signed(_)), "expected the reveal of epoch {epoch} {when}, saw {answer:?}");
        Ok(())
    }

    /// Asks for one signature. One over anything but `root`, or by another share, is an error.
    pub(crate) fn one(&self, request: &Request, key: &Key, root: SigningRoot) -> anyhow::Result<Answer> {
        match self.client()?.call(request)? {
            Response::Signatures(answers) => {
                let [answer] = <[_; 1]>::try_from(answers)
                    .map_err(|answers| anyhow::anyhow!("expected one answer, saw {}", answers.len()))?;
                match answer {
                    Err(refused) => Ok(Answer::Refused(refused)),
                    Ok(signature) => {
                        ensure!(
                            signature == key.signs(root)?,
                            "{request:?} was answered with a signature of something else"
                        );
                        Ok(Answer::Signed(root))
                    }
                }
            }
            Response::Rejected(Rejection::Closed(closed)) => Ok(Answer::Closed(closed.id)),
            other => bail!("expected a signature or a refusal of {request:?}, saw {other:?}"),
        }
    }
}
