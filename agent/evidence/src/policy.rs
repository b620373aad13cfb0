//! TPM 2.0 policy digests, computed without a TPM (Library Part 3, 23 "Enhanced Authorization (EA) Commands").
//!
//! The vault never asks the TPM for a digest: an answer could be replaced on the bus by a policy that somebody else can
//! meet.

use holdfast_types::{P256Public, PolicyDigest};
use p256::EncodedPoint;
use p256::elliptic_curve::sec1::{FromEncodedPoint, ToEncodedPoint};
use sha2::{Digest, Sha256};

use crate::key::UnusableKey;

/// After `PolicyPCR` on a fresh session: registers of the SHA-256 bank, in ascending order, with their values.
///
/// # Panics
/// When a register is beyond 23, or there is not one value for each.
#[must_use]
pub fn pcrs(registers: &[u8], values: &[[u8; 32]]) -> PolicyDigest {
    assert_eq!(registers.len(), values.len(), "one value for each register");
    let mut selected = [0u8; 3];
    for register in registers {
        selected[usize::from(register / 8)] |= 1 << (register % 8);
    }
    hash(&[
        &[0; 32],
        &COMMAND_POLICY_PCR.to_be_bytes(),
        &1u32.to_be_bytes(),
        &ALG_SHA256.to_be_bytes(),
        &[3],
        &selected,
        &hash(&[&values.concat()]).0,
    ])
}

/// After `PolicyAuthorize`: whatever came before is replaced by who approved and what for.
///
/// # Errors
/// [`UnusableKey`] when the signer is no point of the curve.
pub fn authorized(signer: &P256Public, policy_ref: &[u8]) -> Result<PolicyDigest, UnusableKey> {
    let named = hash(&[&[0; 32], &COMMAND_POLICY_AUTHORIZE.to_be_bytes(), &signer_name(signer)?]);
    Ok(hash(&[&named.0, policy_ref]))
}

/// After `PolicyNV` on a session with the digest `before`: the counter with this Name equals `value`.
#[must_use]
pub fn counter_equals(before: &PolicyDigest, counter_name: &[u8], value: u64) -> PolicyDigest {
    let arguments = hash(&[&value.to_be_bytes(), &0u16.to_be_bytes(), &OPERATION_EQUAL.to_be_bytes()]);
    hash(&[&before.0, &COMMAND_POLICY_NV.to_be_bytes(), &arguments.0, counter_name])
}

/// The Name of a public key that was loaded to check approvals with: an external P-256 key for ECDSA with SHA-256.
///
/// # Errors
/// [`UnusableKey`] when it is no point of the curve.
pub fn signer_name(signer: &P256Public) -> Result<[u8; 34], UnusableKey> {
    let mut name = [0; 34];
    name[..2].copy_from_slice(&ALG_SHA256.to_be_bytes());
    name[2..].copy_from_slice(&hash(&[&signer_area(signer)?]).0);
    Ok(name)
}

/// The marshalled public area (`TPMT_PUBLIC`) of such a key. Whoever loads it must use exactly this area.
///
/// # Errors
/// [`UnusableKey`] when it is no point of the curve.
pub fn signer_area(signer: &P256Public) -> Result<Vec<u8>, UnusableKey> {
    let point = EncodedPoint::from_bytes(signer.0).map_err(|_| UnusableKey)?;
    let point = Option::<p256::PublicKey>::from(p256::PublicKey::from_encoded_point(&point)).ok_or(UnusableKey)?;
    let point = point.to_encoded_point(false);
    let mut area = Vec::with_capacity(88);
    area.extend(ALG_ECC.to_be_bytes());
    area.extend(ALG_SHA256.to_be_bytes());
    area.extend(ATTRIBUTES_SIGNER.to_be_bytes());
    area.extend(0u16.to_be_bytes()); // No policy.
    area.extend(ALG_NULL.to_be_bytes()); // No symmetric cipher.
    area.extend(ALG_ECDSA.to_be_bytes());
    area.extend(ALG_SHA256.to_be_bytes());
    area.extend(CURVE_NIST_P256.to_be_bytes());
    area.extend(ALG_NULL.to_be_bytes()); // No key derivation.
    for coordinate in [point.x(), point.y()] {
        area.extend(32u16.to_be_bytes());
        area.extend(coordinate.expect("an uncompressed point has both"));
    }
    Ok(area)
}

fn hash(parts: &[&[u8]]) -> PolicyDigest {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    PolicyDigest(digest.finalize().into())
}

// TPM 2.0 Library Part 2, 6.3, 6.4, 6.5.2 and 6.9.
const ALG_ECC: u16 = 0x0023;
const ALG_ECDSA: u16 = 0x0018;
const ALG_NULL: u16 = 0x0010;
const ALG_SHA256: u16 = 0x000b;
const CURVE_NIST_P256: u16 = 0x0003;
const COMMAND_POLICY_AUTHORIZE: u32 = 0x16a;
const COMMAND_POLICY_NV: u32 = 0x149;
const COMMAND_POLICY_PCR: u32 = 0x17f;
const OPERATION_EQUAL: u16 = 0x0000;
/// `userWithAuth` and `sign`: what a public key is loaded with that only checks signatures.
const ATTRIBUTES_SIGNER: u32 = 1 << 6 | 1 << 18;
