//! Monotonic counters: plain NV counters in the owner's range, read and incremented with an empty password.
//!
//! Whoever can talk to the TPM can increment one, which only ever makes the box refuse; nobody can lower it. It is not
//! `ORDERLY`: such a counter jumps by up to 255 after a power cut.

use holdfast_hal::tpm::{CounterDefined, CounterReading, NvIndex, TpmError, TpmName};

use crate::connection::Connection;
use crate::failure::{self, Failure, odd_answer};
use crate::raw::{ALG_SHA256, Index, Purpose, Session};
use crate::template;

/// A counter of ours, whose attributes were checked under a session's HMAC.
pub(crate) struct Counter<'c> {
    pub(crate) index: Index<'c>,
    /// The Name, once it has a value.
    name: Option<TpmName>,
}

/// Makes the counter unless it is there; finishes a definition that was cut off before its first value.
pub(crate) fn define(connection: &Connection, index: NvIndex) -> Result<CounterDefined, TpmError> {
    if index.0 >> 24 != NV_HANDLES {
        return Err(odd_answer(DEFINE, "the number is not that of an NV index"));
    }
    let session = connection.session(Purpose::Audit)?;
    let found = match find(connection, &session, index) {
        Err(TpmError::CounterMissing(_)) => None,
        found => Some(found?),
    };
    let unused = match found {
        Some(counter) if counter.name.is_some() => None,
        Some(counter) => Some(counter.index),
        None => Some(connection.esys.define_index(&session, index.0, ATTRIBUTES)?),
    };
    if let Some(unused) = &unused {
        connection.esys.increment(&session, unused)?;
    }
    let created = unused.is_some();
    // The stack has one handle for an index, however often it is looked for, and closes it once.
    drop(unused);
    let reading = value(connection, &session, index)?;
    Ok(CounterDefined { reading, created })
}

/// The counter's Name and value.
pub(crate) fn read(connection: &Connection, index: NvIndex) -> Result<CounterReading, TpmError> {
    value(connection, &connection.session(Purpose::Audit)?, index)
}

/// Adds one.
pub(crate) fn increment(connection: &Connection, index: NvIndex) -> Result<(), TpmError> {
    let session = connection.session(Purpose::Audit)?;
    let counter = find_written(connection, &session, index)?;
    Ok(connection.esys.increment(&session, &counter.index)?)
}

/// The counter at `index` when it has a value.
pub(crate) fn find_written<'c>(
    connection: &'c Connection,
    session: &Session<'_>,
    index: NvIndex,
) -> Result<Counter<'c>, TpmError> {
    let counter = find(connection, session, index)?;
    if counter.name.is_none() { Err(TpmError::CounterMissing(index)) } else { Ok(counter) }
}

fn value(connection: &Connection, session: &Session<'_>, index: NvIndex) -> Result<CounterReading, TpmError> {
    let counter = find(connection, session, index)?;
    let name = counter.name.ok_or(TpmError::CounterMissing(index))?;
    let value = connection.esys.read_number(session, &counter.index)?;
    Ok(CounterReading { name, value: value.ok_or_else(|| odd_answer(READ, "the answer is not 8 bytes long"))? })
}

/// Looks for the counter. Its Name covers all of its public area, so a Name that is as expected is the whole check; and
/// the HMAC of a command covers the Name, so an index that is swapped on the bus does not pass as this one.
fn find<'c>(connection: &'c Connection, session: &Session<'_>, index: NvIndex) -> Result<Counter<'c>, TpmError> {
    let missing = |failure: Failure| {
        if failure.is(failure::HANDLE) { TpmError::CounterMissing(index) } else { failure.into() }
    };
    let found = connection.esys.find_index(index.0).map_err(missing)?;
    let name = connection.esys.index_name(session, &found).map_err(missing)?;
    let name = if name == template::name(&area(index, ATTRIBUTES | WRITTEN)) {
        Some(TpmName(name))
    } else if name == template::name(&area(index, ATTRIBUTES)) {
        None
    } else {
        return Err(TpmError::NotACounter(index));
    };
    Ok(Counter { index: found, name })
}

/// The marshalled `TPMS_NV_PUBLIC` of our counter at `index`.
fn area(index: NvIndex, attributes: u32) -> Vec<u8> {
    let mut area = Vec::with_capacity(14);
    area.extend_from_slice(&index.0.to_be_bytes());
    area.extend_from_slice(&ALG_SHA256.to_be_bytes());
    area.extend_from_slice(&attributes.to_be_bytes());
    area.extend_from_slice(&0u16.to_be_bytes()); // No policy.
    area.extend_from_slice(&8u16.to_be_bytes()); // One UINT64.
    area
}

const DEFINE: &str = "define the counter";
const READ: &str = "read the counter";
/// The first byte of an NV index's handle.
const NV_HANDLES: u32 = 0x01;

// TPM 2.0 Library Part 2, 13.4: a counter, read and written with its own (empty) password, without protection against
// guessing.
const ATTRIBUTES: u32 = AUTH_WRITE | KIND_COUNTER | AUTH_READ | NO_DA;
const AUTH_WRITE: u32 = 1 << 2;
const KIND_COUNTER: u32 = 1 << 4;
const AUTH_READ: u32 = 1 << 18;
const NO_DA: u32 = 1 << 25;
const WRITTEN: u32 = 1 << 29;
