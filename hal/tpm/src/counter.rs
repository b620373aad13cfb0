//! The monotonic counter: a plain NV counter in the owner's range, read and incremented with an empty password.
//!
//! Whoever can talk to the TPM can increment it, which only ever makes the box refuse; nobody can lower it. It is not
//! `ORDERLY`: such a counter jumps by up to 255 after a power cut.

use holdfast_hal::tpm::{NvIndex, TpmError};
use tss_esapi::Context;
use tss_esapi::attributes::{NvIndexAttributes, NvIndexAttributesBuilder};
use tss_esapi::constants::NvIndexType;
use tss_esapi::constants::response_code::Tss2ResponseCodeKind;
use tss_esapi::handles::{KeyHandle, NvIndexHandle, NvIndexTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{NvPublic, NvPublicBuilder};

use crate::failure::{Naming, odd_answer};
use crate::session::{Purpose, with_session};

/// Makes the counter unless it is there; finishes a definition that was cut off before its first value.
pub(crate) fn define(context: &mut Context, storage_root: KeyHandle, index: NvIndex) -> Result<(), TpmError> {
    let handle = NvIndexTpmHandle::new(index.0).naming(DEFINE)?;
    with_session(context, storage_root, Purpose::Audit, |context, session| {
        match opened(context, session, index, |_, _, written| Ok(written)) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(TpmError::CounterMissing(_)) => {
                let public = public(handle).naming(DEFINE)?;
                let defined = context.execute_with_session(Some(session), |context| {
                    context.nv_define_space(Provision::Owner, None, public)
                });
                context.tr_close(&mut defined.naming(DEFINE)?.into()).naming(DEFINE)?;
            }
            Err(err) => return Err(err),
        }
        opened(context, session, index, |context, counter, _| {
            Ok(context.nv_increment(NvAuth::NvIndex(counter), counter).naming(INCREMENT)?)
        })
    })
}

/// The counter's value.
pub(crate) fn read(context: &mut Context, storage_root: KeyHandle, index: NvIndex) -> Result<u64, TpmError> {
    with_session(context, storage_root, Purpose::Audit, |context, session| {
        opened(context, session, index, |context, counter, written| {
            if !written {
                return Err(TpmError::CounterMissing(index));
            }
            let value = context.nv_read(NvAuth::NvIndex(counter), counter, COUNTER_LEN, 0).naming(READ)?;
            let value = value.value().try_into().map_err(|_| odd_answer(READ, "the answer is not 8 bytes long"))?;
            Ok(u64::from_be_bytes(value))
        })
    })
}

/// Adds one.
pub(crate) fn increment(context: &mut Context, storage_root: KeyHandle, index: NvIndex) -> Result<(), TpmError> {
    with_session(context, storage_root, Purpose::Audit, |context, session| {
        opened(context, session, index, |context, counter, written| {
            if !written {
                return Err(TpmError::CounterMissing(index));
            }
            Ok(context.nv_increment(NvAuth::NvIndex(counter), counter).naming(INCREMENT)?)
        })
    })
}

/// Runs `act` under `session` with the counter and whether it has a value, after its public area was checked. The
/// session's HMAC covers the index's Name, so an index that was swapped on the bus does not pass as this one.
fn opened<T>(
    context: &mut Context,
    session: AuthSession,
    index: NvIndex,
    act: impl FnOnce(&mut Context, NvIndexHandle, bool) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    let handle = NvIndexTpmHandle::new(index.0).naming(FIND)?;
    let found = context.tr_from_tpm_public(TpmHandle::NvIndex(handle)).naming(FIND).map_err(|failure| {
        if failure.is(Tss2ResponseCodeKind::Handle) { TpmError::CounterMissing(index) } else { failure.into() }
    });
    let mut object = found?;
    let done = context.execute_with_session(Some(session), |context| {
        let counter = NvIndexHandle::from(object);
        let (present, _) = context.nv_read_public(counter).naming(FIND)?;
        let written = present.attributes().written();
        let ours = [false, true].map(attributes).into_iter().any(|ours| ours.is_ok_and(|a| a == present.attributes()));
        let expected = public(handle).naming(FIND)?;
        let alike = present.data_size() == expected.data_size()
            && present.name_algorithm() == expected.name_algorithm()
            && present.authorization_policy() == expected.authorization_policy();
        if !ours || !alike {
            return Err(TpmError::NotACounter(index));
        }
        act(context, counter, written)
    });
    let closed = context.tr_close(&mut object).naming(FIND);
    let value = done?;
    closed?;
    Ok(value)
}

fn public(handle: NvIndexTpmHandle) -> tss_esapi::Result<NvPublic> {
    NvPublicBuilder::new()
        .with_nv_index(handle)
        .with_index_name_algorithm(HashingAlgorithm::Sha256)
        .with_index_attributes(attributes(false)?)
        .with_data_area_size(usize::from(COUNTER_LEN))
        .build()
}

fn attributes(written: bool) -> tss_esapi::Result<NvIndexAttributes> {
    NvIndexAttributesBuilder::new()
        .with_nv_index_type(NvIndexType::Counter)
        .with_auth_read(true)
        .with_auth_write(true)
        .with_no_da(true)
        .with_written(written)
        .build()
}

const DEFINE: &str = "define the counter";
const FIND: &str = "look at the counter";
const READ: &str = "read the counter";
const INCREMENT: &str = "increment the counter";
/// A counter is one big-endian `UINT64`.
const COUNTER_LEN: u16 = 8;
