//! What a block carries for the beacon chain (consensus-specs phase0 to electra).

use ssz_derive::{Decode, Encode};
use ssz_types::typenum::{U2, U16, U33, U512, U8192, Unsigned};
use ssz_types::{BitVector, FixedVector, VariableList};
use tree_hash_derive::TreeHash;

use crate::attestation::AttestationData;

/// `Eth1Data`: the proposer's view of the deposit contract.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct Eth1Data {
    /// The root of all deposits.
    pub deposit_root: [u8; 32],
    /// How many there are.
    pub deposit_count: u64,
    /// The execution block that this is of.
    pub block_hash: [u8; 32],
}

/// `BeaconBlockHeader`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct Header {
    /// The slot.
    pub slot: u64,
    /// The proposer's index on the chain.
    pub proposer_index: u64,
    /// The root of the parent block.
    pub parent_root: [u8; 32],
    /// The root of the state after the block.
    pub state_root: [u8; 32],
    /// The root of the body.
    pub body_root: [u8; 32],
}

/// `SignedBeaconBlockHeader`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct SignedHeader {
    /// What is signed.
    pub message: Header,
    /// The signature, compressed.
    pub signature: [u8; 96],
}

/// `ProposerSlashing`: two blocks of one proposer for one slot.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct ProposerSlashing {
    /// One header.
    pub signed_header_1: SignedHeader,
    /// The other.
    pub signed_header_2: SignedHeader,
}

/// `IndexedAttestation`; `N` attesters at most, a number that electra raised.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct IndexedAttestation<N: Unsigned + Clone + 'static> {
    /// Who attested.
    pub attesting_indices: VariableList<u64, N>,
    /// What they attested.
    pub data: AttestationData,
    /// The signature, compressed.
    pub signature: [u8; 96],
}

/// `AttesterSlashing`: two attestations that no honest validator makes both.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct AttesterSlashing<N: Unsigned + Clone + 'static> {
    /// One attestation.
    pub attestation_1: IndexedAttestation<N>,
    /// The other.
    pub attestation_2: IndexedAttestation<N>,
}

/// `DepositData` as a block carries it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct DepositContents {
    /// The validator key.
    pub pubkey: [u8; 48],
    /// Where withdrawals go.
    pub withdrawal_credentials: [u8; 32],
    /// The amount in Gwei.
    pub amount: u64,
    /// The signature, compressed.
    pub signature: [u8; 96],
}

/// `Deposit` with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct Deposit {
    /// The branch to the deposit root.
    pub proof: FixedVector<[u8; 32], U33>,
    /// The deposit.
    pub data: DepositContents,
}

/// `VoluntaryExit`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct VoluntaryExit {
    /// The first epoch in which it may be included.
    pub epoch: u64,
    /// The validator's index on the chain.
    pub validator_index: u64,
}

/// `SignedVoluntaryExit`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct SignedVoluntaryExit {
    /// What is signed.
    pub message: VoluntaryExit,
    /// The signature, compressed.
    pub signature: [u8; 96],
}

/// `SyncAggregate`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct SyncAggregate {
    /// Which members of the sync committee take part.
    pub sync_committee_bits: BitVector<U512>,
    /// Their aggregated signature, compressed.
    pub sync_committee_signature: [u8; 96],
}

/// `BLSToExecutionChange`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct BlsToExecutionChange {
    /// The validator's index on the chain.
    pub validator_index: u64,
    /// The withdrawal key until now.
    pub from_bls_pubkey: [u8; 48],
    /// Where withdrawals go from now on.
    pub to_execution_address: [u8; 20],
}

/// `SignedBLSToExecutionChange`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct SignedBlsToExecutionChange {
    /// What is signed.
    pub message: BlsToExecutionChange,
    /// The signature, compressed.
    pub signature: [u8; 96],
}

/// `ExecutionRequests`: what the execution chain asks of the beacon chain.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct ExecutionRequests {
    /// Deposits.
    pub deposits: VariableList<DepositRequest, U8192>,
    /// Withdrawals and exits.
    pub withdrawals: VariableList<WithdrawalRequest, U16>,
    /// Consolidations.
    pub consolidations: VariableList<ConsolidationRequest, U2>,
}

/// `DepositRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct DepositRequest {
    /// The validator key.
    pub pubkey: [u8; 48],
    /// Where withdrawals go.
    pub withdrawal_credentials: [u8; 32],
    /// The amount in Gwei.
    pub amount: u64,
    /// The signature, compressed.
    pub signature: [u8; 96],
    /// Its number.
    pub index: u64,
}

/// `WithdrawalRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct WithdrawalRequest {
    /// Who asks.
    pub source_address: [u8; 20],
    /// The validator key.
    pub validator_pubkey: [u8; 48],
    /// The amount in Gwei; 0 asks for the exit.
    pub amount: u64,
}

/// `ConsolidationRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct ConsolidationRequest {
    /// Who asks.
    pub source_address: [u8; 20],
    /// The validator to give up.
    pub source_pubkey: [u8; 48],
    /// The validator that takes over its balance.
    pub target_pubkey: [u8; 48],
}
