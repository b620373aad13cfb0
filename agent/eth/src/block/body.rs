//! Bodies of blocks, by fork and by whether the execution payload is in them or only named.

use ssz_derive::{Decode, Encode};
use ssz_types::VariableList;
use ssz_types::typenum::{U1, U2, U8, U16, U128, U2048, U4096, U131072};
use tree_hash_derive::TreeHash;

use super::operations::{
    AttesterSlashing, Deposit, Eth1Data, ExecutionRequests, ProposerSlashing, SignedBlsToExecutionChange,
    SignedVoluntaryExit, SyncAggregate,
};
use super::payload::{ExecutionPayload, ExecutionPayloadHeader};
use crate::aggregate::{Attestation, Phase0Attestation};

macro_rules! body {
    (
        $(#[$doc:meta])* $name:ident, $slashings:ty, $attestations:ty, $payload_field:ident: $payload:ty
        $(, $(#[$last_doc:meta])* $last:ident: $last_type:ty)?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
        pub struct $name {
            /// The proposer's contribution to the randomness.
            pub randao_reveal: [u8; 96],
            /// Its view of the deposit contract.
            pub eth1_data: Eth1Data,
            /// Its free text.
            pub graffiti: [u8; 32],
            /// Proposers to slash.
            pub proposer_slashings: VariableList<ProposerSlashing, U16>,
            /// Attesters to slash.
            pub attester_slashings: $slashings,
            /// Attestations to include.
            pub attestations: $attestations,
            /// Deposits to take up.
            pub deposits: VariableList<Deposit, U16>,
            /// Validators that leave.
            pub voluntary_exits: VariableList<SignedVoluntaryExit, U16>,
            /// The sync committee's signature of the parent block.
            pub sync_aggregate: SyncAggregate,
            /// The execution block.
            pub $payload_field: $payload,
            /// New withdrawal addresses.
            pub bls_to_execution_changes: VariableList<SignedBlsToExecutionChange, U16>,
            /// Commitments to the blobs.
            pub blob_kzg_commitments: VariableList<[u8; 48], U4096>,
            $($(#[$last_doc])* pub $last: $last_type,)?
        }
    };
}

type DenebSlashings = VariableList<AttesterSlashing<U2048>, U2>;
type DenebAttestations = VariableList<Phase0Attestation, U128>;
type ElectraSlashings = VariableList<AttesterSlashing<U131072>, U1>;
type ElectraAttestations = VariableList<Attestation, U8>;

body!(
    /// `BeaconBlockBody` of deneb.
    DenebBody, DenebSlashings, DenebAttestations, execution_payload: ExecutionPayload
);
body!(
    /// `BlindedBeaconBlockBody` of deneb.
    BlindedDenebBody, DenebSlashings, DenebAttestations, execution_payload_header: ExecutionPayloadHeader
);
body!(
    /// `BeaconBlockBody` of electra and fulu.
    ElectraBody, ElectraSlashings, ElectraAttestations, execution_payload: ExecutionPayload,
    /// What the execution chain asks for.
    execution_requests: ExecutionRequests
);
body!(
    /// `BlindedBeaconBlockBody` of electra and fulu.
    BlindedElectraBody, ElectraSlashings, ElectraAttestations, execution_payload_header: ExecutionPayloadHeader,
    /// What the execution chain asks for.
    execution_requests: ExecutionRequests
);
