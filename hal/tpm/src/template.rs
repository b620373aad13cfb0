//! Public areas (`TPMT_PUBLIC`) in their marshalled form: the templates of our keys, and the Names that follow from them.
//!
//! A primary key is a function of a seed and its template alone, so a changed template is another key: another storage
//! root (all that was sealed is dead), another box.

use holdfast_types::{P256Public, PolicyDigest};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use sha2::{Digest, Sha256};

use crate::endorsement::Kind;
use crate::raw::{ALG_AES, ALG_CFB, ALG_ECDSA, ALG_NULL, ALG_SHA256};

/// The storage root key: on P-256 with AES-128, as the TCG's provisioning guidance has it.
pub(crate) fn storage_root() -> Vec<u8> {
    let attributes = MADE_HERE | USER_WITH_AUTH | NO_DA | RESTRICTED | DECRYPT;
    let mut area = head(ALG_ECC, attributes, &[]);
    put(&mut area, &[ALG_AES, 128, ALG_CFB, ALG_NULL, CURVE_P256, ALG_NULL]);
    put_point(&mut area, [&[], &[]]);
    area
}

/// The attestation key: it signs only what the TPM itself states.
pub(crate) fn attestation_key() -> Vec<u8> {
    signing_key(MADE_HERE | USER_WITH_AUTH | NO_DA | RESTRICTED | SIGN, b"holdfast attestation key, one...")
}

/// The endorsement key, as the profile's default templates have it: so it is the key that its certificate is of.
pub(crate) fn endorsement_key(kind: Kind) -> Vec<u8> {
    let attributes = MADE_HERE | ADMIN_WITH_POLICY | RESTRICTED | DECRYPT;
    let algorithm = match kind {
        Kind::P256 => ALG_ECC,
        Kind::Rsa2048 => ALG_RSA,
    };
    let mut area = head(algorithm, attributes, &policy_endorsement());
    put(&mut area, &[ALG_AES, 128, ALG_CFB, ALG_NULL]);
    match kind {
        Kind::P256 => {
            put(&mut area, &[CURVE_P256, ALG_NULL]);
            put_point(&mut area, [&[0; 32], &[0; 32]]);
        }
        Kind::Rsa2048 => {
            // 2,048 bits and the default exponent.
            put(&mut area, &[2048, 0, 0]);
            put_sized(&mut area, &[0; 256]);
        }
    }
    area
}

/// The box key: it signs any digest.
pub(crate) fn box_key() -> Vec<u8> {
    signing_key(MADE_HERE | USER_WITH_AUTH | NO_DA | SIGN, b"holdfast box key, first form....")
}

/// A sealed object that only its policy opens: without `userWithAuth` the empty password is of no use, and without
/// dictionary-attack protection a failed attempt locks nobody out.
pub(crate) fn sealed(policy: &PolicyDigest) -> Vec<u8> {
    let mut area = head(ALG_KEYEDHASH, FIXED_TPM | FIXED_PARENT | NO_DA, &policy.0);
    put(&mut area, &[ALG_NULL, 0]);
    area
}

/// A key that approves, as `holdfast-evidence` has it: its Name is in the policies. Nothing when it is no point of the
/// curve.
pub(crate) fn signer(key: &P256Public) -> Option<Vec<u8>> {
    let point = p256::PublicKey::from_sec1_bytes(&key.0).ok()?.to_encoded_point(false);
    let mut area = head(ALG_ECC, USER_WITH_AUTH | SIGN, &[]);
    put_signing(&mut area);
    put_point(&mut area, [point.x()?, point.y()?]);
    Some(area)
}

/// The Name of an object or an index with this public area.
pub(crate) fn name(area: &[u8]) -> [u8; 34] {
    let mut name = [0; 34];
    name[..2].copy_from_slice(&ALG_SHA256.to_be_bytes());
    name[2..].copy_from_slice(&Sha256::digest(area));
    name
}

/// The point of a signing key that was made from one of our templates. Nothing when the area is none of those.
pub(crate) fn point(area: &[u8]) -> Option<P256Public> {
    let (_, point) = area.split_last_chunk::<68>()?;
    let (x, y) = point.split_at(34);
    let [x, y] = [x, y].map(|number| number.strip_prefix(&[0, 32]));
    let mut compressed = [0; P256Public::LEN];
    compressed[0] = 2 + (y?.last()? & 1);
    compressed[1..].copy_from_slice(x?);
    Some(P256Public(compressed))
}

fn signing_key(attributes: u32, label: &[u8; 32]) -> Vec<u8> {
    let mut area = head(ALG_ECC, attributes, &[]);
    put_signing(&mut area);
    put_point(&mut area, [label, &[0; 32]]);
    area
}

/// `PolicySecret` of the endorsement hierarchy.
fn policy_endorsement() -> [u8; 32] {
    let named = Sha256::new_with_prefix([0; 32]).chain_update(COMMAND_POLICY_SECRET.to_be_bytes());
    Sha256::digest(named.chain_update(RH_ENDORSEMENT.to_be_bytes()).finalize()).into()
}

fn head(kind: u16, attributes: u32, policy: &[u8]) -> Vec<u8> {
    let mut area = Vec::with_capacity(128);
    put(&mut area, &[kind, ALG_SHA256]);
    area.extend_from_slice(&attributes.to_be_bytes());
    put_sized(&mut area, policy);
    area
}

/// ECDSA with SHA-256 on P-256; no cipher, no key derivation.
fn put_signing(area: &mut Vec<u8>) {
    put(area, &[ALG_NULL, ALG_ECDSA, ALG_SHA256, CURVE_P256, ALG_NULL]);
}

fn put_point(area: &mut Vec<u8>, coordinates: [&[u8]; 2]) {
    coordinates.into_iter().for_each(|coordinate| put_sized(area, coordinate));
}

fn put_sized(area: &mut Vec<u8>, bytes: &[u8]) {
    put(area, &[u16::try_from(bytes.len()).expect("a digest or a coordinate is short")]);
    area.extend_from_slice(bytes);
}

fn put(area: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|number| area.extend_from_slice(&number.to_be_bytes()));
}

// TPM 2.0 Library Part 2, 6.3, 6.4, 6.5.2, 7.4 and 8.3.
const ALG_ECC: u16 = 0x0023;
const ALG_KEYEDHASH: u16 = 0x0008;
const ALG_RSA: u16 = 0x0001;
const COMMAND_POLICY_SECRET: u32 = 0x151;
const CURVE_P256: u16 = 0x0003;
const FIXED_TPM: u32 = 1 << 1;
const FIXED_PARENT: u32 = 1 << 4;
const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
const USER_WITH_AUTH: u32 = 1 << 6;
const ADMIN_WITH_POLICY: u32 = 1 << 7;
const NO_DA: u32 = 1 << 10;
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const RH_ENDORSEMENT: u32 = 0x4000_000b;
const SIGN: u32 = 1 << 18;
/// The TPM makes the key, and it never leaves.
const MADE_HERE: u32 = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN;
