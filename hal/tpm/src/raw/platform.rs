//! What concerns the TPM as a whole: who made it, its generator, its clock, the platform registers.

use tss_esapi::tss2_esys::{
    ESYS_TR_NONE, Esys_GetCapability, Esys_GetRandom, Esys_PCR_Read, Esys_ReadClock, Esys_StirRandom,
    TPM2B_SENSITIVE_DATA, TPML_PCR_SELECTION, TPMS_PCR_SELECTION,
};
use zeroize::Zeroizing;

use super::answer::{Answer, buffered, sized};
use super::object::ALG_SHA256;
use super::{Esys, Session};
use crate::failure::Failure;

/// Registers of the SHA-256 bank, as a TPM selects them: one bit each, register 0 lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Selection(pub(crate) u32);

/// What one `PCR_Read` gives.
pub(crate) struct RegisterValues {
    /// How often any register was extended.
    pub(crate) updates: u32,
    /// Which registers these are; a TPM gives at most 8 at once.
    pub(crate) selection: Selection,
    /// Their values, in ascending order.
    pub(crate) values: Vec<[u8; 32]>,
}

impl Esys {
    /// The maker's code, without a session: it is asked before there is a key to salt one to.
    pub(crate) fn maker(&self) -> Result<Option<u32>, Failure> {
        let (mut more, mut answer) = (0, Answer::none());
        // SAFETY: the context is live; `more` takes one byte, and the slot one capability.
        let code = unsafe {
            Esys_GetCapability(
                self.context(),
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                CAP_TPM_PROPERTIES,
                PT_MANUFACTURER,
                1,
                &raw mut more,
                answer.slot(),
            )
        };
        self.check(MAKER, code)?;
        let answer = answer.get(MAKER)?;
        if answer.capability != CAP_TPM_PROPERTIES {
            return Ok(None);
        }
        // SAFETY: the answer says that it carries properties.
        let properties = unsafe { answer.data.tpmProperties };
        let first = properties.tpmProperty.first().filter(|_| properties.count > 0);
        Ok(first.filter(|first| first.property == PT_MANUFACTURER).map(|first| first.value))
    }

    /// Bytes from the TPM's generator.
    pub(crate) fn random(&self, session: &Session<'_>, len: u16) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut answer = Answer::none();
        // SAFETY: the context is live, and the slot takes one buffer.
        let code =
            unsafe { Esys_GetRandom(self.context(), session.handle, ESYS_TR_NONE, ESYS_TR_NONE, len, answer.slot()) };
        self.check(RANDOM, code)?;
        let answer = answer.get(RANDOM)?;
        Ok(Zeroizing::new(sized(&answer.buffer, answer.size).to_vec()))
    }

    /// Stirs zeros into the TPM's generator, which only ever adds: what is wanted is the length of the command.
    pub(crate) fn stir_zeros(&self, session: &Session<'_>, len: usize) -> Result<(), Failure> {
        let zeros = buffered!(TPM2B_SENSITIVE_DATA, buffer, &vec![0; len], OVERWRITE)?;
        // SAFETY: the context is live, and so is `zeros`.
        let code =
            unsafe { Esys_StirRandom(self.context(), session.handle, ESYS_TR_NONE, ESYS_TR_NONE, &raw const zeros) };
        self.check(OVERWRITE, code)
    }

    /// How often the TPM was reset, and restarted since.
    pub(crate) fn resets(&self, session: &Session<'_>) -> Result<(u32, u32), Failure> {
        let mut answer = Answer::none();
        // SAFETY: the context is live, and the slot takes one clock.
        let code = unsafe { Esys_ReadClock(self.context(), session.handle, ESYS_TR_NONE, ESYS_TR_NONE, answer.slot()) };
        self.check(CLOCK, code)?;
        let clock = answer.get(CLOCK)?.clockInfo;
        Ok((clock.resetCount, clock.restartCount))
    }

    /// The values of as many of these registers as one answer holds.
    pub(crate) fn registers(&self, session: &Session<'_>, wanted: Selection) -> Result<RegisterValues, Failure> {
        let wanted = selection(wanted);
        let (mut updates, mut selected, mut values) = (0, Answer::none(), Answer::none());
        // SAFETY: the context and the selection are live; `updates` takes one number, and the slots one list each.
        let code = unsafe {
            Esys_PCR_Read(
                self.context(),
                session.handle,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &raw const wanted,
                &raw mut updates,
                selected.slot(),
                values.slot(),
            )
        };
        self.check(READ, code)?;
        let (selected, values) = (selected.get(READ)?, values.get(READ)?);
        let banks = selected.pcrSelections.iter().take(usize::try_from(selected.count).unwrap_or(usize::MAX));
        let bits = banks.filter(|bank| bank.hash == ALG_SHA256).fold(0, |bits, bank| bits | bits_of(bank));
        let values = values.digests.iter().take(usize::try_from(values.count).unwrap_or(usize::MAX));
        let values = values.filter_map(|value| sized(&value.buffer, value.size).try_into().ok()).collect();
        Ok(RegisterValues { updates, selection: Selection(bits), values })
    }
}

/// As the stack takes it.
pub(super) fn selection(wanted: Selection) -> TPML_PCR_SELECTION {
    let mut list = TPML_PCR_SELECTION { count: 1, ..Default::default() };
    list.pcrSelections[0] = TPMS_PCR_SELECTION { hash: ALG_SHA256, sizeofSelect: 3, pcrSelect: wanted.0.to_le_bytes() };
    list
}

fn bits_of(bank: &TPMS_PCR_SELECTION) -> u32 {
    let used = bank.pcrSelect.iter().take(bank.sizeofSelect.into());
    used.rev().fold(0, |bits, byte| bits << 8 | u32::from(*byte))
}

const CLOCK: &str = "tell its clock";
const MAKER: &str = "name its maker";
const RANDOM: &str = "give random bytes";
const READ: &str = "read a platform register";
const OVERWRITE: &str = "overwrite the last answer";
/// TPM 2.0 Library Part 2, 6.12 and 6.13.
const CAP_TPM_PROPERTIES: u32 = 6;
const PT_MANUFACTURER: u32 = 0x105;
