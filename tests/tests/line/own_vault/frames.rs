//! Frames that no client of ours makes: other requests with the roots of a vote in them.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use holdfast_eth::domain::{attestation_signing_root, domain};
use holdfast_types::Root;
use holdfast_vault_client::codec::{self, HEADER_LEN};
use holdfast_vault_client::{AttestationToSign, Rejection, Request, Response};

use super::kinds::DOMAINS;
use super::{Asked, FORK, vote};

impl Asked {
    /// Asks for the roots of a vote as anything but a vote. Gives each refusal's text.
    pub(super) fn unknown_requests(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut refused = Vec::new();
        for (what, frame) in self.frames()? {
            let text = match exchange(&self.node.socket(), &frame)? {
                Response::Rejected(rejection @ Rejection::Malformed(_)) => rejection.to_string(),
                other => bail!("expected {what} to be refused, saw {other:?}"),
            };
            let named = text.contains("is not one that this vault knows");
            ensure!(named, "expected the rule in the refusal of {what}, saw: {text}");
            refused.push((what, text));
        }
        Ok(refused)
    }

    fn frames(&self) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        let data = vote(48, 50);
        let mut other = data;
        other.beacon_block_root = Root([0xee; 32]);
        let (object, validator) = (data.hash_tree_root(), self.validator());
        let asked =
            codec::encode_request(&Request::SignAttestations(vec![AttestationToSign { validator, data: other }]))?;
        let (sign_tag, batch) = (u32::from(asked[HEADER_LEN]), asked[HEADER_LEN + 1..].to_vec());
        let root = attestation_signing_root(&self.spec, &data);
        let mut bodies = vec![
            ("the signing root".to_owned(), root.0.to_vec()),
            ("the object's root".to_owned(), object.0.to_vec()),
            ("validator and signing root".to_owned(), [&validator.0[..], &root.0].concat()),
            ("a list of the validator and the root".to_owned(), [&[1, 48], &validator.0[..], &[32], &root.0].concat()),
            ("the data in SSZ".to_owned(), [&validator.0[..], &other.to_ssz()].concat()),
            ("the whole batch".to_owned(), batch.clone()),
        ];
        for domain_type in DOMAINS {
            let domain = domain(domain_type, FORK, self.spec.genesis_validators_root);
            bodies.push((format!("the root under {domain_type:?}"), [&domain[..], &object.0].concat()));
        }
        let mut frames = Vec::new();
        for tag in (0..=20).chain([127, 128, 300, u32::MAX]) {
            // As attestations the batch is a double vote, asked elsewhere; every other body is no batch.
            let fitting = bodies.iter().filter(|(_, bytes)| tag != sign_tag || *bytes != batch);
            frames.extend(fitting.map(|(what, bytes)| {
                (format!("request {tag} with {what}"), frame(&[&varint(tag)[..], bytes].concat()))
            }));
        }
        Ok(frames)
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).expect("a short message");
    [&len.to_be_bytes()[..], message].concat()
}

/// A request's tag: seven bits to a byte, the low ones first.
fn varint(mut tag: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while tag >= 0x80 {
        bytes.push((tag & 0x7f) as u8 | 0x80);
        tag >>= 7;
    }
    bytes.push(tag as u8);
    bytes
}

/// One frame over a connection of its own, and the answer.
fn exchange(socket: &Path, frame: &[u8]) -> anyhow::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(frame)?;
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).context("the vault gave no answer")?;
    let mut message = vec![0; codec::frame_len(header)?];
    stream.read_exact(&mut message)?;
    Ok(codec::decode_response(&message)?)
}
