use super::*;

/// The captured deneb blocks, without the header of the wire.
fn captured() -> Vec<(Vec<u8>, Root)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/wire/parsigex.json");
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let proposals = json["messages"].as_array().unwrap().iter().filter(|message| message["duty"]["type"] == 1);
    proposals
        .map(|message| {
            let frame = hex::decode(message["frame"].as_str().unwrap()).unwrap();
            // Version 4, full, offset 13: the only place where these 13 bytes stand.
            let header = [4, 0, 0, 0, 0, 0, 0, 0, 0, 13, 0, 0, 0];
            let at = frame.windows(13).position(|window| window == header).unwrap() + 13;
            // The payload's length stands before it, as a varint of two bytes.
            let len = usize::from(frame[at - 15] & 0x7f) + (usize::from(frame[at - 14]) << 7) - 13;
            let partial = message["set"].as_object().unwrap().values().next().unwrap();
            (frame[at..at + len].to_vec(), partial["object_root"].as_str().unwrap().parse().unwrap())
        })
        .collect()
}

fn deneb() -> SignedContents<DenebBody> {
    SignedContents::from_ssz_bytes(&captured()[0].0).unwrap()
}

fn electra_body() -> ElectraBody {
    let body = deneb().signed_block.message.body;
    ElectraBody {
        randao_reveal: body.randao_reveal,
        eth1_data: body.eth1_data,
        graffiti: body.graffiti,
        proposer_slashings: body.proposer_slashings,
        attester_slashings: VariableList::default(),
        attestations: VariableList::default(),
        deposits: body.deposits,
        voluntary_exits: body.voluntary_exits,
        sync_aggregate: body.sync_aggregate,
        execution_payload: body.execution_payload,
        bls_to_execution_changes: body.bls_to_execution_changes,
        blob_kzg_commitments: body.blob_kzg_commitments,
        execution_requests: ExecutionRequests {
            deposits: VariableList::default(),
            withdrawals: VariableList::new(vec![WithdrawalRequest {
                source_address: [1; 20],
                validator_pubkey: [2; 48],
                amount: 3,
            }])
            .unwrap(),
            consolidations: VariableList::default(),
        },
    }
}

#[test]
fn captured_blocks_decode_to_their_roots_and_back() {
    let captured = captured();
    assert_eq!(captured.len(), 2);
    for (bytes, root) in captured {
        let block = SignedProposal::from_ssz(4, false, &bytes).unwrap();
        assert_eq!(block.block_root(), root);
        assert_eq!(block.to_ssz(), bytes);
        assert!(!block.is_blinded());
    }
}

#[test]
fn a_blinded_block_has_the_root_of_the_full_one() {
    let full = deneb().signed_block.message;
    let body = &full.body;
    let blinded = SignedBlock {
        message: BeaconBlock {
            slot: full.slot,
            proposer_index: full.proposer_index,
            parent_root: full.parent_root,
            state_root: full.state_root,
            body: BlindedDenebBody {
                randao_reveal: body.randao_reveal,
                eth1_data: body.eth1_data.clone(),
                graffiti: body.graffiti,
                proposer_slashings: body.proposer_slashings.clone(),
                attester_slashings: body.attester_slashings.clone(),
                attestations: body.attestations.clone(),
                deposits: body.deposits.clone(),
                voluntary_exits: body.voluntary_exits.clone(),
                sync_aggregate: body.sync_aggregate.clone(),
                execution_payload_header: (&body.execution_payload).into(),
                bls_to_execution_changes: body.bls_to_execution_changes.clone(),
                blob_kzg_commitments: body.blob_kzg_commitments.clone(),
            },
        },
        signature: [9; 96],
    };
    let proposal = SignedProposal::BlindedDeneb(Box::new(blinded));
    assert_eq!(proposal.block_root(), captured()[0].1);
    assert_eq!(SignedProposal::from_ssz(4, true, &proposal.to_ssz()), Ok(proposal));
}

#[test]
fn electra_and_fulu_blocks_round_trip_with_requests_in_their_root() {
    let contents = |body: ElectraBody| {
        let SignedContents { signed_block, kzg_proofs, .. } = deneb();
        let BeaconBlock { slot, proposer_index, parent_root, state_root, .. } = signed_block.message;
        let message = BeaconBlock { slot, proposer_index, parent_root, state_root, body };
        let signed_block = SignedBlock { message, signature: signed_block.signature };
        let blobs = VariableList::new(vec![FixedVector::new(vec![5; 131_072]).unwrap()]).unwrap();
        SignedProposal::Electra(Box::new(SignedContents { signed_block, kzg_proofs, blobs }))
    };
    let proposal = contents(electra_body());
    for version in [5, 6] {
        assert_eq!(SignedProposal::from_ssz(version, false, &proposal.to_ssz()).as_ref(), Ok(&proposal));
    }
    let mut body = electra_body();
    body.execution_requests.withdrawals[0].amount += 1;
    assert_ne!(contents(body).block_root(), proposal.block_root());
}

#[test]
fn what_is_no_block_is_refused() {
    let (bytes, _) = captured().remove(0);
    for version in [0, 1, 2, 3, 7, u64::MAX] {
        assert_eq!(SignedProposal::from_ssz(version, false, &bytes), Err(BlockError::Fork(version)));
    }
    for len in (0..bytes.len()).step_by(7) {
        for (version, blinded) in [(4, false), (4, true), (5, false), (6, true)] {
            let result = SignedProposal::from_ssz(version, blinded, &bytes[..len]);
            assert!(matches!(result, Err(BlockError::Malformed { .. })), "version {version}, {len} bytes");
        }
    }
}
