//! A TPM for one test: an swtpm with its state folder, a bus to it, commands of our own, and approvals.

use std::path::Path;

use holdfast_evidence::{Approval, SigningKey, policy};
use holdfast_hal::tpm::{NvIndex, PcrIndex, Tpm, TpmName, UnsealPolicy};
use holdfast_hal_tpm::EsapiTpm;
use holdfast_tests::swtpm::Swtpm;
use holdfast_types::PolicyDigest;
use tempfile::TempDir;

use crate::bus::Bus;

pub(crate) const COUNTER: NvIndex = NvIndex(0x0180_4846);
pub(crate) const SECRET: [u8; 32] = *b"thirty-two bytes that stay here!";
pub(crate) const OWNER: u32 = 0x4000_0001;
pub(crate) const NULL: u32 = 0x4000_0007;
pub(crate) const ALG_SHA256: [u8; 2] = [0, 0x0b];

/// A TPM with its state folder, and a bus to it.
pub(crate) struct Lab {
    pub(crate) bus: Bus,
    _swtpm: Swtpm,
    _state: TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let swtpm = start(state.path());
        Self { bus: Bus::new(swtpm.port()), _swtpm: swtpm, _state: state }
    }

    pub(crate) fn open(&self) -> EsapiTpm {
        EsapiTpm::open(&self.bus.address()).unwrap()
    }

    /// Loaded objects and loaded or saved sessions of the TPM, whoever made them.
    pub(crate) fn handles(&self) -> usize {
        [0x8000_0000, 0x0200_0000, 0x0300_0000].into_iter().map(|first| self.handles_from(first)).sum()
    }

    fn handles_from(&self, first: u32) -> usize {
        const CAP_HANDLES: u32 = 1;
        let parameters = [CAP_HANDLES, first, 64].map(u32::to_be_bytes).concat();
        let answer = self.bus.send(&command(0x17a, &[], false, &parameters));
        assert_done(&answer);
        usize::try_from(u32::from_be_bytes(answer[15..19].try_into().unwrap())).unwrap()
    }

    /// Sends a command that must succeed, and returns its answer behind the header.
    pub(crate) fn done(&self, command: &[u8]) -> Vec<u8> {
        let answer = self.bus.send(command);
        assert_done(&answer);
        answer[10..].to_vec()
    }
}

pub(crate) fn start(state: &Path) -> Swtpm {
    Swtpm::start(state).expect("swtpm starts: install the package swtpm")
}

/// A command, with an empty password for its first handle where it needs one.
pub(crate) fn command(code: u32, handles: &[u32], authorised: bool, parameters: &[u8]) -> Vec<u8> {
    let mut command = vec![0x80, 1 + u8::from(authorised), 0, 0, 0, 0];
    command.extend_from_slice(&code.to_be_bytes());
    handles.iter().for_each(|handle| command.extend_from_slice(&handle.to_be_bytes()));
    if authorised {
        command.extend_from_slice(&[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    }
    command.extend_from_slice(parameters);
    let len = u32::try_from(command.len()).unwrap();
    command[2..6].copy_from_slice(&len.to_be_bytes());
    command
}

/// Bytes behind their length.
pub(crate) fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// `PCR_Extend` of the SHA-256 bank.
pub(crate) fn extend(pcr: u8) -> Vec<u8> {
    let one_digest = [&[0, 0, 0, 1][..], &ALG_SHA256, &[0x5a; 32]].concat();
    command(0x182, &[pcr.into()], true, &one_digest)
}

/// `NV_DefineSpace` of 8 bytes by the owner, with an empty password for the index.
pub(crate) fn define_space(index: NvIndex, attributes: u32) -> Vec<u8> {
    let public = [&index.0.to_be_bytes()[..], &ALG_SHA256, &attributes.to_be_bytes(), &[0, 0, 0, 8]].concat();
    command(0x12a, &[OWNER], true, &[sized(&[]), sized(&public)].concat())
}

/// `NV_UndefineSpace` by the owner.
pub(crate) fn undefine_space(index: NvIndex) -> Vec<u8> {
    command(0x122, &[OWNER, index.0], true, &[])
}

/// `NV_Write` of a number into an ordinary index.
pub(crate) fn write_number(index: NvIndex, number: u64) -> Vec<u8> {
    command(0x137, &[index.0, index.0], true, &[sized(&number.to_be_bytes()), vec![0, 0]].concat())
}

/// `TPM2_Clear` by the lockout authority.
pub(crate) fn clear() -> Vec<u8> {
    const LOCKOUT: u32 = 0x4000_000a;
    command(0x126, &[LOCKOUT], true, &[])
}

pub(crate) fn assert_done(answer: &[u8]) {
    assert_eq!(answer[6..10], [0; 4], "the TPM did it");
}

/// The attributes of an index that holds any number, with an empty password.
pub(crate) const ORDINARY: u32 = 0x0204_0004;

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32]).unwrap()
}

/// What opens a secret of this boot state, at this value of the counter.
pub(crate) fn firmware(authority: &SigningKey, pcr_7: [u8; 32], counter_value: u64) -> UnsealPolicy {
    under(&[7], authority, Approval::of_firmware(authority, pcr_7), counter_value)
}

/// What opens a secret of this image, at this value of the counter.
pub(crate) fn image(release: &SigningKey, level: u64, pcr_11: [u8; 32], counter_value: u64) -> UnsealPolicy {
    under(&[11, 12, 13], release, Approval::of_image(release, "board", level, pcr_11), counter_value)
}

fn under(registers: &[u8], signer: &SigningKey, approval: Approval, counter_value: u64) -> UnsealPolicy {
    UnsealPolicy {
        pcrs: registers.iter().copied().map(PcrIndex).collect(),
        approved: approval.policy,
        policy_ref: approval.policy_ref.into_bytes(),
        signer: signer.public(),
        signature: approval.signature,
        counter: COUNTER,
        counter_value,
    }
}

/// The digest that a secret must be sealed under, for `policy` to open it: computed without a TPM.
pub(crate) fn digest(policy: &UnsealPolicy, counter: &TpmName) -> PolicyDigest {
    let authorized = policy::authorized(&policy.signer, &policy.policy_ref).unwrap();
    policy::counter_equals(&authorized, &counter.0, policy.counter_value)
}

/// A counter, and a policy for a box whose registers are all zero.
pub(crate) fn ready(tpm: &mut EsapiTpm) -> (UnsealPolicy, PolicyDigest) {
    let counter = tpm.counter_define(COUNTER).unwrap().reading;
    let policy = firmware(&key(1), [0; 32], counter.value);
    let digest = digest(&policy, &counter.name);
    (policy, digest)
}
