//! TPM 2.0 policy digests, computed without a TPM (Library Part 3, 23 "Enhanced Authorization (EA) Commands").
//!
//! The vault never asks the TPM for a digest: an answer could be replaced on the bus by a policy that somebody else can
//! meet.

use holdfast_types::{P256Public, PolicyDigest};
use sha2::{Digest, Sha256};

use crate::areas;
use crate::key::UnusableKey;

/// After `PolicyPCR` on a fresh session: registers of the SHA-256 bank, in ascending order, with their values.
///
/// # Panics
/// When a register is beyond 23, the registers are not in ascending order, or there is not one value for each.
#[must_use]
pub fn pcrs(registers: &[u8], values: &[[u8; 32]]) -> PolicyDigest {
    assert_eq!(registers.len(), values.len(), "one value for each register");
    // A TPM hashes the values in this order whatever order was asked for.
    assert!(registers.is_sorted_by(|one, next| one < next), "registers in ascending order, each once");
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
        &digest_of(values),
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
    signer_area(signer).map(|area| areas::name(&area))
}

/// The marshalled public area (`TPMT_PUBLIC`) of such a key. Whoever loads it must use exactly this area.
///
/// # Errors
/// [`UnusableKey`] when it is no point of the curve.
pub fn signer_area(signer: &P256Public) -> Result<Vec<u8>, UnusableKey> {
    areas::signing_area(ATTRIBUTES_SIGNER, signer)
}

/// The digest over the values of registers that a quote states.
#[must_use]
pub fn digest_of(values: &[[u8; 32]]) -> [u8; 32] {
    hash(&[&values.concat()]).0
}

/// A register's value after `measured` was measured into it.
#[must_use]
pub fn extended(before: &[u8; 32], measured: &[u8]) -> [u8; 32] {
    hash(&[before, &hash(&[measured]).0]).0
}

fn hash(parts: &[&[u8]]) -> PolicyDigest {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    PolicyDigest(digest.finalize().into())
}

// TPM 2.0 Library Part 2, 6.3, 6.5.2 and 6.9.
const ALG_SHA256: u16 = 0x000b;
const COMMAND_POLICY_AUTHORIZE: u32 = 0x16a;
const COMMAND_POLICY_NV: u32 = 0x149;
const COMMAND_POLICY_PCR: u32 = 0x17f;
const OPERATION_EQUAL: u16 = 0x0000;
/// `userWithAuth` and `sign`: what a public key is loaded with that only checks signatures.
const ATTRIBUTES_SIGNER: u32 = 1 << 6 | 1 << 18;

/// Against the answers of a TPM: swtpm 0.7.1 asked by tpm2-tools 5.4. `tests/tests/tpm` asks one anew.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    /// `tpm2_startauthsession -S s.ctx; tpm2_policypcr -S s.ctx -l sha256:7 -f FILE -L OUT`, FILE being 32 bytes 0x07.
    const FIRMWARE: &str = "558849a0429135265c3dd6805ac252c2eca1ee7604742129c96f58d8821c2a89";
    /// The same with `-l sha256:11,12,13`, 32 bytes 0x11 and 64 bytes zero.
    const IMAGE: &str = "f3435002f4de6acf06690e49f661f7a7e6dfd5f956358d81f1b4bc4660d28129";
    /// The same with `-l sha256:0,8,16,23`, and 32 bytes each of 1, 2, 3 and 4.
    const ACROSS: &str = "36c518ee65bb31c7d374d3ec155ce3dd5d866d92a4ca0f9f3dbb868af6a16d9d";
    /// The P-256 key whose secret is 32 bytes 0x01: `tpm2_loadexternal -C o -u KEY.pem -G ecc256:ecdsa-sha256:null
    /// -a "userwithauth|sign" -c signer.ctx -n signer.name`.
    const SIGNER_NAME: &str = "000bec359e0cffd8bddfc3c43ac1519d2a526530d3f3ba26ae35a3e85a707235ee3b";
    /// `tpm2_readpublic -c signer.ctx -f tss -o OUT`, without the length before it.
    const SIGNER_AREA: &str = "0023000b00040040000000100018000b000300100020\
                               6ff03b949241ce1dadd43519e6960e0a85b41a69a05c328103aa2bce1594ca160020\
                               3c4f753a55bf01dc53f6c0b0c7eee78b40c6ff7d25a96e2282b989cef71c144a";
    /// `tpm2_policyauthorize -S s.ctx -i IMAGE -q REF -n signer.name -L OUT`, REF being `os/board/3`.
    const AUTHORIZED_IMAGE: &str = "6ec35ab7ff7c13760e2a90d6a2812c8992d283ec6e576dc7a2233cf4d6ac664d";
    /// The same with `box/1`.
    const AUTHORIZED_FIRMWARE: &str = "1ebca06956f96cb06ce08ea0e2c99a75484c5259c1e3d445a5296de4eae99237";
    /// `tpm2_nvdefine 0x01804802 -C o -a "nt=counter|authread|authwrite|no_da" -s 8; tpm2_nvincrement 0x01804802;
    /// tpm2_nvreadpublic 0x01804802`.
    const COUNTER_NAME: &str = "000bd9bdc1a8295a9855c3652f2515875ae34844ddb35d99f7471b4dff486926009c";
    /// After [`AUTHORIZED_IMAGE`], the value 5: `tpm2_policynv -S s.ctx -i FILE -C 0x01804802 -L OUT 0x01804802 eq`.
    const IMAGE_AT_5: &str = "b4c243dc5750f683ed1bb1af5123ef926ff69bd4d07895e69e5447c102860bed";
    /// After [`AUTHORIZED_FIRMWARE`].
    const FIRMWARE_AT_5: &str = "efd2df37f9efc9e35eabe877d2417d4974c121f644062da378db3208ac32b527";
    /// On a fresh session, the value 0x0102030405060708.
    const ALONE_AT_LARGE: &str = "4bef4af67b8db945306f0830de6be97b13949054d5dcab1cc112f9ccfe9f9114";

    fn digest(hex: &str) -> PolicyDigest {
        hex.parse().unwrap()
    }

    fn signer() -> P256Public {
        SigningKey::from_bytes(&[1; 32]).unwrap().public()
    }

    #[test]
    fn registers_give_the_digest_of_a_tpm() {
        assert_eq!(pcrs(&[7], &[[7; 32]]), digest(FIRMWARE));
        assert_eq!(pcrs(&[11, 12, 13], &[[0x11; 32], [0; 32], [0; 32]]), digest(IMAGE));
        assert_eq!(pcrs(&[0, 8, 16, 23], &[[1; 32], [2; 32], [3; 32], [4; 32]]), digest(ACROSS));
    }

    #[test]
    fn a_signer_has_the_area_and_the_name_that_a_tpm_gives_it() {
        assert_eq!(hex::encode(signer_area(&signer()).unwrap()), SIGNER_AREA);
        assert_eq!(hex::encode(signer_name(&signer()).unwrap()), SIGNER_NAME);
    }

    #[test]
    fn an_approval_gives_the_digest_of_a_tpm() {
        assert_eq!(authorized(&signer(), b"os/board/3"), Ok(digest(AUTHORIZED_IMAGE)));
        assert_eq!(authorized(&signer(), b"box/1"), Ok(digest(AUTHORIZED_FIRMWARE)));
    }

    #[test]
    fn a_counter_gives_the_digest_of_a_tpm() {
        let name = hex::decode(COUNTER_NAME).unwrap();
        assert_eq!(counter_equals(&digest(AUTHORIZED_IMAGE), &name, 5), digest(IMAGE_AT_5));
        assert_eq!(counter_equals(&digest(AUTHORIZED_FIRMWARE), &name, 5), digest(FIRMWARE_AT_5));
        assert_eq!(counter_equals(&PolicyDigest::default(), &name, 0x0102_0304_0506_0708), digest(ALONE_AT_LARGE));
    }

    #[test]
    fn everything_that_a_policy_names_changes_its_digest() {
        let other = SigningKey::from_bytes(&[2; 32]).unwrap().public();
        assert_ne!(authorized(&other, b"box/1"), authorized(&signer(), b"box/1"));
        let (image, firmware) = (digest(AUTHORIZED_IMAGE), digest(AUTHORIZED_FIRMWARE));
        let all = [
            counter_equals(&image, b"counter", 5),
            counter_equals(&firmware, b"counter", 5),
            counter_equals(&image, b"other", 5),
            counter_equals(&image, b"counter", 6),
            pcrs(&[7], &[[0; 32]]),
            pcrs(&[8], &[[0; 32]]),
            pcrs(&[7], &[[1; 32]]),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn what_is_no_point_of_the_curve_signs_nothing() {
        // On P-256 there is no point with this x.
        let mut beside = [0; 33];
        beside[0] = 2;
        beside[32] = 1;
        for unusable in [P256Public([0; 33]), P256Public([0xff; 33]), P256Public(beside)] {
            assert_eq!(authorized(&unusable, b"box/1"), Err(UnusableKey), "{unusable}");
        }
    }

    #[test]
    #[should_panic(expected = "ascending")]
    fn registers_out_of_order_are_a_mistake_of_the_caller() {
        let _ = pcrs(&[12, 11], &[[0; 32]; 2]);
    }
}
