//! Sessions salted to the storage root key, and handles that are given back on every path.

use tss_esapi::Context;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{KeyHandle, ObjectHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::SymmetricDefinition;

use crate::failure::{Failure, Naming};

/// What a session is for. Its HMAC covers the command and the answer in every case.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// Nothing is hidden: the HMAC alone is wanted.
    Audit,
    /// The first parameter of the command is hidden.
    HideCommand,
    /// The first parameter of the answer is hidden.
    HideAnswer,
    /// A policy is to be met, and the first parameter of the answer is hidden.
    PolicyHideAnswer,
}

/// Runs `act` with a fresh session that is salted to `storage_root`, and flushes the session whatever happens.
pub(crate) fn with_session<T, E: From<Failure>>(
    context: &mut Context,
    storage_root: KeyHandle,
    purpose: Purpose,
    act: impl FnOnce(&mut Context, AuthSession) -> Result<T, E>,
) -> Result<T, E> {
    let kind = match purpose {
        Purpose::PolicyHideAnswer => SessionType::Policy,
        Purpose::Audit | Purpose::HideCommand | Purpose::HideAnswer => SessionType::Hmac,
    };
    let session = context
        .start_auth_session(
            Some(storage_root),
            None,
            None,
            kind,
            SymmetricDefinition::AES_128_CFB,
            HashingAlgorithm::Sha256,
        )
        .and_then(|session| session.ok_or(WRONG_ANSWER))
        .naming("start a session")?;
    let (attributes, mask) = SessionAttributesBuilder::new()
        .with_continue_session(true)
        .with_audit(matches!(purpose, Purpose::Audit))
        .with_decrypt(matches!(purpose, Purpose::HideCommand))
        .with_encrypt(matches!(purpose, Purpose::HideAnswer | Purpose::PolicyHideAnswer))
        .build();
    flushing(context, SessionHandle::from(session).into(), |context| {
        context.tr_sess_set_attributes(session, attributes, mask).naming("set up a session")?;
        act(context, session)
    })
}

/// Runs `act`, then flushes `handle` whatever happened. The error of `act` comes first.
pub(crate) fn flushing<T, E: From<Failure>>(
    context: &mut Context,
    handle: ObjectHandle,
    act: impl FnOnce(&mut Context) -> Result<T, E>,
) -> Result<T, E> {
    let done = act(context);
    let flushed = context.flush_context(handle).naming("flush a handle");
    let value = done?;
    flushed?;
    Ok(value)
}

const WRONG_ANSWER: tss_esapi::Error = tss_esapi::Error::WrapperError(tss_esapi::WrapperErrorKind::WrongValueFromTpm);
