//! Platform registers: reading them, and the policy digest that binds a sealed object to their values.

use holdfast_hal::tpm::{PcrIndex, TpmError};
use sha2::{Digest, Sha256};
use tss_esapi::Context;
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{PcrSelectSize, PcrSelectionList, PcrSlot};

use crate::failure::{Naming, odd_answer};
use crate::session::{Purpose, with_session};

/// The values of `pcrs`, all of one moment, under a session's HMAC.
pub(crate) fn read(
    context: &mut Context,
    storage_root: KeyHandle,
    pcrs: &[PcrIndex],
) -> Result<Vec<[u8; 32]>, TpmError> {
    with_session(context, storage_root, Purpose::Audit, |context, session| {
        context.execute_with_session(Some(session), |context| {
            for _ in 0..READ_TRIES_MAX {
                if let Some(values) = read_unchanged(context, pcrs)? {
                    return Ok(values);
                }
            }
            Err(odd_answer(READ, "the registers change faster than they can be read"))
        })
    })
}

/// One pass over the registers: nothing if one of them was extended meanwhile.
fn read_unchanged(context: &mut Context, pcrs: &[PcrIndex]) -> Result<Option<Vec<[u8; 32]>>, TpmError> {
    let mut values = Vec::with_capacity(pcrs.len());
    let mut first_update = None;
    for pcr in pcrs {
        let (update, _, digests) = context.pcr_read(selection(&[*pcr])?).naming(READ)?;
        if *first_update.get_or_insert(update) != update {
            return Ok(None);
        }
        let value = digests.value().first().and_then(|digest| digest.value().try_into().ok());
        values
            .push(value.ok_or_else(|| odd_answer(READ, "the TPM has no SHA-256 bank: switch it on in the firmware"))?);
    }
    Ok(Some(values))
}

/// `pcrs` of the SHA-256 bank.
pub(crate) fn selection(pcrs: &[PcrIndex]) -> Result<PcrSelectionList, TpmError> {
    let slots = pcrs
        .iter()
        .map(|pcr| match pcr.0 {
            0..PCR_COUNT => PcrSlot::try_from(1u32 << pcr.0).naming(SELECT).map_err(TpmError::from),
            _ => Err(odd_answer(SELECT, "there are registers 0 to 23")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(PcrSelectionList::builder()
        .with_size_of_select(PcrSelectSize::ThreeOctets)
        .with_selection(HashingAlgorithm::Sha256, &slots)
        .build()
        .naming(SELECT)?)
}

/// The policy digest after `PolicyPCR` alone (TPM 2.0 Library Part 3, 23.7), computed here and not asked of the TPM:
/// an answer without a session could be replaced on the bus by a policy that somebody else can meet.
pub(crate) fn policy(pcrs: &[PcrIndex], values: &[[u8; 32]]) -> [u8; 32] {
    let mut selected = [0u8; 3];
    for pcr in pcrs {
        selected[usize::from(pcr.0 / 8)] |= 1 << (pcr.0 % 8);
    }
    let mut digest = Sha256::new();
    digest.update([0; 32]);
    digest.update(COMMAND_POLICY_PCR.to_be_bytes());
    digest.update(1u32.to_be_bytes());
    digest.update(ALG_SHA256.to_be_bytes());
    digest.update([3]);
    digest.update(selected);
    digest.update(Sha256::digest(values.concat()));
    digest.finalize().into()
}

const READ: &str = "read a platform register";
const SELECT: &str = "select a platform register";
/// As often as a policy is tried again when a register changes: at boot they do.
const READ_TRIES_MAX: usize = 10;
const PCR_COUNT: u8 = 24;
const COMMAND_POLICY_PCR: u32 = 0x17f;
const ALG_SHA256: u16 = 0x000b;
