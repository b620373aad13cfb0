//! Platform registers: which ones, and their values of one moment.

use std::collections::BTreeMap;

use holdfast_hal::tpm::{PcrIndex, TpmError};

use crate::connection::Connection;
use crate::failure::odd_answer;
use crate::raw::{Purpose, Selection, Session};

/// The values of `pcrs`, all of one moment, in the order asked for, under a session's HMAC.
pub(crate) fn read(connection: &Connection, pcrs: &[PcrIndex]) -> Result<Vec<[u8; 32]>, TpmError> {
    let wanted = selection(pcrs)?;
    let session = connection.session(Purpose::Audit)?;
    for _ in 0..READ_TRIES_MAX {
        if let Some(values) = read_unchanged(connection, &session, wanted)? {
            return Ok(pcrs.iter().filter_map(|pcr| values.get(&pcr.0).copied()).collect());
        }
    }
    Err(odd_answer(READ, "the registers change faster than they can be read"))
}

/// All of `wanted`, in as many answers as it takes: nothing if a register was extended meanwhile.
fn read_unchanged(
    connection: &Connection,
    session: &Session<'_>,
    wanted: Selection,
) -> Result<Option<BTreeMap<u8, [u8; 32]>>, TpmError> {
    let (mut left, mut values, mut first_updates) = (wanted.0, BTreeMap::new(), None);
    while left != 0 {
        let read = connection.esys.registers(session, Selection(left))?;
        if *first_updates.get_or_insert(read.updates) != read.updates {
            return Ok(None);
        }
        let given = (0..PCR_COUNT).filter(|pcr| read.selection.0 & 1 << pcr != 0);
        let answered = read.selection.0 & left == read.selection.0 && given.clone().count() == read.values.len();
        if read.selection.0 == 0 || !answered {
            return Err(odd_answer(READ, "the TPM has no SHA-256 bank: switch it on in the firmware"));
        }
        values.extend(given.zip(read.values));
        left &= !read.selection.0;
    }
    Ok(Some(values))
}

/// `pcrs` of the SHA-256 bank.
pub(crate) fn selection(pcrs: &[PcrIndex]) -> Result<Selection, TpmError> {
    let bits = pcrs.iter().try_fold(0, |bits, pcr| (pcr.0 < PCR_COUNT).then(|| bits | 1 << pcr.0));
    bits.map(Selection).ok_or_else(|| odd_answer("select a platform register", "there are registers 0 to 23"))
}

const READ: &str = "read a platform register";
/// As often as a policy is tried again when a register changes: at boot they do.
const READ_TRIES_MAX: usize = 10;
const PCR_COUNT: u8 = 24;
