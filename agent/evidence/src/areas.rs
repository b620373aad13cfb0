//! Public areas (`TPMT_PUBLIC`, TPM 2.0 Library Part 2, 12.2.4) in their marshalled form: those that a box's keys have, and
//! the Names that follow from them.
//!
//! Each of our keys has one form, so reading one is comparing it: what differs in any attribute is another kind of key.

use holdfast_types::P256Public;
use p256::EncodedPoint;
use p256::elliptic_curve::sec1::{FromEncodedPoint, ToEncodedPoint};
use sha2::{Digest, Sha256};

use crate::key::UnusableKey;

/// The key that a TPM's maker put in, by one of the two default templates (TCG EK Credential Profile 2.5, B.3.3 and B.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndorsementKey {
    /// On P-256.
    P256(P256Public),
    /// RSA with 2,048 bits and the exponent 65,537: the modulus, big-endian.
    Rsa2048(Box<[u8; RSA_LEN]>),
}

impl EndorsementKey {
    /// Reads a public area; `None` when it is not one of these keys.
    #[must_use]
    pub fn from_area(area: &[u8]) -> Option<Self> {
        if let Some(modulus) = area.strip_prefix(&endorsement_head(false)[..]) {
            let modulus: [u8; RSA_LEN] = modulus.try_into().ok()?;
            // 2,048 bits, and no multiple of two.
            let sound = modulus[0] & 0x80 != 0 && modulus[RSA_LEN - 1] & 1 == 1;
            return sound.then(|| Self::Rsa2048(Box::new(modulus)));
        }
        point_after(&endorsement_head(true), area).map(Self::P256)
    }

    /// The public area.
    ///
    /// # Errors
    /// [`UnusableKey`] when it is no point of the curve.
    pub fn area(&self) -> Result<Vec<u8>, UnusableKey> {
        match self {
            Self::P256(key) => Ok([endorsement_head(true), point(key)?].concat()),
            Self::Rsa2048(modulus) => Ok([endorsement_head(false), modulus.to_vec()].concat()),
        }
    }
}

/// The public area of an attestation key: it signs only what the TPM states, and it was made in it and never leaves.
///
/// # Errors
/// [`UnusableKey`] when it is no point of the curve.
pub fn attestation_area(key: &P256Public) -> Result<Vec<u8>, UnusableKey> {
    signing_area(ATTRIBUTES_ATTESTATION, key)
}

/// The attestation key with this public area; `None` when it is any other kind of key.
#[must_use]
pub fn attestation_key(area: &[u8]) -> Option<P256Public> {
    point_after(&signing_head(ATTRIBUTES_ATTESTATION), area)
}

/// The Name of an object or an index with this public area.
#[must_use]
pub fn name(area: &[u8]) -> [u8; NAME_LEN] {
    let mut name = [0; NAME_LEN];
    name[..2].copy_from_slice(&ALG_SHA256.to_be_bytes());
    name[2..].copy_from_slice(&Sha256::digest(area));
    name
}

/// The Name of a counter of ours at this index once it has a value: plain, read and written with an empty password.
#[must_use]
pub fn counter_name(index: u32) -> [u8; NAME_LEN] {
    let mut area = index.to_be_bytes().to_vec();
    area.extend(ALG_SHA256.to_be_bytes());
    area.extend(ATTRIBUTES_COUNTER.to_be_bytes());
    area.extend([0, 0, 0, 8]); // No policy; one UINT64.
    name(&area)
}

/// The qualified Name of a primary key in the endorsement hierarchy, which a statement of it begins with.
#[must_use]
pub fn qualified_name(name_of_key: &[u8; NAME_LEN]) -> [u8; NAME_LEN] {
    name(&[&RH_ENDORSEMENT.to_be_bytes(), name_of_key.as_slice()].concat())
}

/// A P-256 key for ECDSA with SHA-256, without policy, cipher or key derivation.
pub(crate) fn signing_area(attributes: u32, key: &P256Public) -> Result<Vec<u8>, UnusableKey> {
    Ok([signing_head(attributes), point(key)?].concat())
}

fn signing_head(attributes: u32) -> Vec<u8> {
    let mut head = head(ALG_ECC, attributes, &[]);
    put(&mut head, &[ALG_NULL, ALG_ECDSA, ALG_SHA256, CURVE_NIST_P256, ALG_NULL]);
    head
}

/// The policy of either is that whoever uses the key may use the endorsement hierarchy.
fn endorsement_head(on_p256: bool) -> Vec<u8> {
    let session = Sha256::new_with_prefix([0; 32]).chain_update(COMMAND_POLICY_SECRET.to_be_bytes());
    let policy = Sha256::digest(session.chain_update(RH_ENDORSEMENT.to_be_bytes()).finalize());
    let mut head = head(if on_p256 { ALG_ECC } else { ALG_RSA }, ATTRIBUTES_ENDORSEMENT, &policy);
    put(&mut head, &[ALG_AES, 128, ALG_CFB, ALG_NULL]);
    if on_p256 {
        put(&mut head, &[CURVE_NIST_P256, ALG_NULL]);
    } else {
        // 2,048 bits, the default exponent, and the length of what follows.
        put(&mut head, &[2048, 0, 0, 256]);
    }
    head
}

fn head(kind: u16, attributes: u32, policy: &[u8]) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    put(&mut head, &[kind, ALG_SHA256]);
    head.extend(attributes.to_be_bytes());
    put(&mut head, &[u16::try_from(policy.len()).expect("a digest is short")]);
    head.extend(policy);
    head
}

fn put(area: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|number| area.extend(number.to_be_bytes()));
}

/// Both coordinates of a key, each behind its length.
pub(crate) fn point(key: &P256Public) -> Result<Vec<u8>, UnusableKey> {
    let point = p256::PublicKey::from_sec1_bytes(&key.0).map_err(|_| UnusableKey)?.to_encoded_point(false);
    let mut bytes = Vec::with_capacity(68);
    for coordinate in [point.x(), point.y()] {
        bytes.extend([0, 32]);
        bytes.extend(coordinate.expect("an uncompressed point has both"));
    }
    Ok(bytes)
}

/// The key whose coordinates are all that follows `head`; `None` when there is another head or no point.
fn point_after(head: &[u8], area: &[u8]) -> Option<P256Public> {
    read_point(area.strip_prefix(head)?)
}

/// Reads what [`point`] writes, and nothing else.
pub(crate) fn read_point(bytes: &[u8]) -> Option<P256Public> {
    let (x, y) = bytes.split_at_checked(34)?;
    let [x, y] = [x, y].map(|coordinate| <[u8; 32]>::try_from(coordinate.strip_prefix(&[0, 32])?).ok());
    let point = EncodedPoint::from_affine_coordinates(&x?.into(), &y?.into(), false);
    let key = Option::<p256::PublicKey>::from(p256::PublicKey::from_encoded_point(&point))?;
    P256Public::from_slice(key.to_encoded_point(true).as_bytes())
}

/// The length of a Name with SHA-256.
pub const NAME_LEN: usize = 34;
/// The length of an RSA modulus of 2,048 bits.
pub const RSA_LEN: usize = 256;

// TPM 2.0 Library Part 2, 6.3, 6.4, 6.5.2, 7.4, 8.3 and 13.4.
const ALG_AES: u16 = 0x0006;
const ALG_CFB: u16 = 0x0043;
const ALG_ECC: u16 = 0x0023;
const ALG_ECDSA: u16 = 0x0018;
const ALG_NULL: u16 = 0x0010;
const ALG_RSA: u16 = 0x0001;
const ALG_SHA256: u16 = 0x000b;
const CURVE_NIST_P256: u16 = 0x0003;
const COMMAND_POLICY_SECRET: u32 = 0x151;
const RH_ENDORSEMENT: u32 = 0x4000_000b;
/// `fixedTPM`, `fixedParent`, `sensitiveDataOrigin`, `userWithAuth`, `noDA`, `restricted`, `sign`.
const ATTRIBUTES_ATTESTATION: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 10 | 1 << 16 | 1 << 18;
/// `fixedTPM`, `fixedParent`, `sensitiveDataOrigin`, `adminWithPolicy`, `restricted`, `decrypt`.
const ATTRIBUTES_ENDORSEMENT: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 16 | 1 << 17;
/// `AUTHWRITE`, a counter, `AUTHREAD`, `NO_DA`, `WRITTEN`.
const ATTRIBUTES_COUNTER: u32 = 1 << 2 | 1 << 4 | 1 << 18 | 1 << 25 | 1 << 29;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SigningKey;

    fn key() -> P256Public {
        SigningKey::from_bytes(&[1; 32]).unwrap().public()
    }

    /// `tpm2_nvdefine 0x01804802 -C o -a "nt=counter|authread|authwrite|no_da" -s 8; tpm2_nvincrement 0x01804802;
    /// tpm2_nvreadpublic 0x01804802`.
    #[test]
    fn a_counter_has_the_name_that_a_tpm_gives_it() {
        let name = "000bd9bdc1a8295a9855c3652f2515875ae34844ddb35d99f7471b4dff486926009c";
        assert_eq!(hex::encode(counter_name(0x0180_4802)), name);
        assert_ne!(counter_name(0x0180_4801), counter_name(0x0180_4802));
    }

    /// The policy is `PolicyA_SHA256` of the profile, and the rest its templates.
    #[test]
    fn endorsement_keys_have_the_heads_of_the_profile() {
        let policy = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
        let head = |kind, rest| format!("{kind}000b000300b20020{policy}{rest}");
        assert_eq!(hex::encode(endorsement_head(true)), head("0023", "000600800043001000030010"));
        assert_eq!(hex::encode(endorsement_head(false)), head("0001", "00060080004300100800000000000100"));
    }

    #[test]
    fn keys_are_read_as_they_were_written() {
        let area = attestation_area(&key()).unwrap();
        assert_eq!((area.len(), attestation_key(&area)), (88, Some(key())));
        let mut modulus = Box::new([0xa5; RSA_LEN]);
        for key in [EndorsementKey::P256(key()), EndorsementKey::Rsa2048(modulus.clone())] {
            assert_eq!(EndorsementKey::from_area(&key.area().unwrap()), Some(key));
        }
        modulus[0] = 0x7f;
        let short = EndorsementKey::Rsa2048(modulus.clone()).area().unwrap();
        assert_eq!(EndorsementKey::from_area(&short), None, "2,047 bits");
        (modulus[0], modulus[RSA_LEN - 1]) = (0x80, 2);
        let even = EndorsementKey::Rsa2048(modulus).area().unwrap();
        assert_eq!(EndorsementKey::from_area(&even), None, "an even number");
    }

    #[test]
    fn no_byte_of_a_key_can_be_another_but_to_be_another_key() {
        let area = attestation_area(&key()).unwrap();
        for at in 0..area.len() {
            let mut changed = area.clone();
            changed[at] ^= 1;
            assert_ne!(attestation_key(&changed), Some(key()), "byte {at}");
            assert!(at >= 22 || attestation_key(&changed).is_none(), "byte {at} of the head");
        }
        assert_eq!(attestation_key(&[area.as_slice(), &[0]].concat()), None);
        assert_eq!(attestation_key(&signing_area(1 << 6 | 1 << 18, &key()).unwrap()), None, "it signs anything");
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), head in 0..3) {
            let head = match head { 0 => endorsement_head(true), 1 => endorsement_head(false), _ => signing_head(0) };
            for bytes in [bytes.clone(), [head, bytes].concat()] {
                let _ = (EndorsementKey::from_area(&bytes), attestation_key(&bytes), read_point(&bytes));
            }
        }
    }
}
