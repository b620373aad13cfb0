//! What the execution chain contributes to a block (consensus-specs deneb).

use ssz_derive::{Decode, Encode};
use ssz_types::VariableList;
use ssz_types::typenum::{U16, U32, U1048576, U1073741824};
use tree_hash::TreeHash as _;
use tree_hash_derive::TreeHash;

/// `ExecutionPayload`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct ExecutionPayload {
    /// The execution block before.
    pub parent_hash: [u8; 32],
    /// Where the fees go.
    pub fee_recipient: [u8; 20],
    /// The state after the block.
    pub state_root: [u8; 32],
    /// The receipts of the transactions.
    pub receipts_root: [u8; 32],
    /// A filter over their logs.
    pub logs_bloom: [u8; 256],
    /// The randomness of the beacon chain.
    pub prev_randao: [u8; 32],
    /// The number of the execution block.
    pub block_number: u64,
    /// The most gas it may use.
    pub gas_limit: u64,
    /// The gas it uses.
    pub gas_used: u64,
    /// The Unix time of the slot in seconds.
    pub timestamp: u64,
    /// Free text of the builder.
    pub extra_data: VariableList<u8, U32>,
    /// The base fee in wei, little-endian.
    pub base_fee_per_gas: [u8; 32],
    /// The hash of the execution block.
    pub block_hash: [u8; 32],
    /// The transactions, encoded.
    pub transactions: VariableList<VariableList<u8, U1073741824>, U1048576>,
    /// Withdrawals from the beacon chain.
    pub withdrawals: VariableList<Withdrawal, U16>,
    /// The gas that its blobs use.
    pub blob_gas_used: u64,
    /// The blob gas above the target so far.
    pub excess_blob_gas: u64,
}

/// `ExecutionPayloadHeader`: the payload with its lists replaced by their roots.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct ExecutionPayloadHeader {
    /// The execution block before.
    pub parent_hash: [u8; 32],
    /// Where the fees go.
    pub fee_recipient: [u8; 20],
    /// The state after the block.
    pub state_root: [u8; 32],
    /// The receipts of the transactions.
    pub receipts_root: [u8; 32],
    /// A filter over their logs.
    pub logs_bloom: [u8; 256],
    /// The randomness of the beacon chain.
    pub prev_randao: [u8; 32],
    /// The number of the execution block.
    pub block_number: u64,
    /// The most gas it may use.
    pub gas_limit: u64,
    /// The gas it uses.
    pub gas_used: u64,
    /// The Unix time of the slot in seconds.
    pub timestamp: u64,
    /// Free text of the builder.
    pub extra_data: VariableList<u8, U32>,
    /// The base fee in wei, little-endian.
    pub base_fee_per_gas: [u8; 32],
    /// The hash of the execution block.
    pub block_hash: [u8; 32],
    /// The root of the transactions.
    pub transactions_root: [u8; 32],
    /// The root of the withdrawals.
    pub withdrawals_root: [u8; 32],
    /// The gas that its blobs use.
    pub blob_gas_used: u64,
    /// The blob gas above the target so far.
    pub excess_blob_gas: u64,
}

/// `Withdrawal`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct Withdrawal {
    /// Its number.
    pub index: u64,
    /// The validator it is from.
    pub validator_index: u64,
    /// Where it goes.
    pub address: [u8; 20],
    /// The amount in Gwei.
    pub amount: u64,
}

impl From<&ExecutionPayload> for ExecutionPayloadHeader {
    fn from(payload: &ExecutionPayload) -> Self {
        Self {
            parent_hash: payload.parent_hash,
            fee_recipient: payload.fee_recipient,
            state_root: payload.state_root,
            receipts_root: payload.receipts_root,
            logs_bloom: payload.logs_bloom,
            prev_randao: payload.prev_randao,
            block_number: payload.block_number,
            gas_limit: payload.gas_limit,
            gas_used: payload.gas_used,
            timestamp: payload.timestamp,
            extra_data: payload.extra_data.clone(),
            base_fee_per_gas: payload.base_fee_per_gas,
            block_hash: payload.block_hash,
            transactions_root: payload.transactions.tree_hash_root().0,
            withdrawals_root: payload.withdrawals.tree_hash_root().0,
            blob_gas_used: payload.blob_gas_used,
            excess_blob_gas: payload.excess_blob_gas,
        }
    }
}
