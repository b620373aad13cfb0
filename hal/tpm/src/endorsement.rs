//! The endorsement key: made from the default templates (TCG EK Credential Profile 2.5, B.3.3 and B.3.4), its certificate
//! read from where makers put it, and the one thing that it does.

use holdfast_hal::tpm::{EndorsementKey, TpmError};
use zeroize::Zeroizing;

use crate::connection::Connection;
use crate::failure::{self, odd_answer};
use crate::raw::{Hierarchy, ObjectGuard, Purpose, Session};
use crate::{keys, template};

/// By which template the key is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    P256,
    Rsa2048,
}

/// The key on P-256, or that for RSA when only that has a certificate.
pub(crate) fn key(connection: &Connection) -> Result<EndorsementKey, TpmError> {
    let (kind, certificate) = match certificate(connection, CERTIFICATE_P256)? {
        Some(certificate) => (Kind::P256, Some(certificate)),
        None => match certificate(connection, CERTIFICATE_RSA)? {
            Some(certificate) => (Kind::Rsa2048, Some(certificate)),
            None => (Kind::P256, None),
        },
    };
    let (_, public) = made(connection, &connection.session(Purpose::Audit)?, kind)?;
    Ok(EndorsementKey { public, certificate })
}

/// By which template a key was made.
pub(crate) fn kind_of(key: &EndorsementKey) -> Result<Kind, TpmError> {
    let kinds = [Kind::P256, Kind::Rsa2048];
    let kind = kinds.into_iter().find(|kind| template::endorsement_key(*kind)[..2] == key.public[..2]);
    kind.ok_or_else(|| odd_answer(MAKE, "the key is not of the kind that was asked for"))
}

/// Opens a credential. The storage root, the attestation key and this one are as many objects as a TPM holds.
pub(crate) fn activate(
    connection: &Connection,
    kind: Kind,
    id_object: &[u8],
    secret: &[u8],
) -> Result<Zeroizing<Vec<u8>>, TpmError> {
    let session = connection.session(Purpose::Audit)?;
    let (attestation, _) = keys::attestation_key(connection, &session)?;
    let (endorsement, _) = made(connection, &session, kind)?;
    let policy = connection.session(Purpose::Policy)?;
    connection.esys.policy_endorsement(&session, &policy)?;
    let opened =
        connection.esys.activate_credential([*attestation, *endorsement], [&session, &policy], id_object, secret);
    // What it was given makes no sense to this TPM; all else is the TPM's own trouble.
    opened.map_err(|failure| {
        if failure.parameter().is_some() || failure.is_too_long() { TpmError::NotOurs } else { failure.into() }
    })
}

fn made<'c>(
    connection: &'c Connection,
    session: &Session<'_>,
    kind: Kind,
) -> Result<(ObjectGuard<'c>, Vec<u8>), TpmError> {
    let template = template::endorsement_key(kind);
    Ok(connection.esys.create_primary(MAKE, Hierarchy::Endorsement, Some(session), &template)?)
}

/// What lies at an index of the maker's; nothing when there is no such index, or nothing in it that may be read.
fn certificate(connection: &Connection, index: u32) -> Result<Option<Vec<u8>>, TpmError> {
    let session = connection.session(Purpose::Audit)?;
    let found = match connection.esys.find_index(index) {
        Ok(found) => found,
        Err(failure) if failure.is(failure::HANDLE) => return Ok(None),
        Err(failure) => return Err(failure.into()),
    };
    let len = connection.esys.index_len(&session, &found)?;
    if len == 0 || len > CERTIFICATE_LEN_MAX {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(len.into());
    while bytes.len() < usize::from(len) {
        let at = u16::try_from(bytes.len()).unwrap_or(len);
        let part = match connection.esys.read_part(&session, &found, at, (len - at).min(PART_LEN)) {
            Ok(part) if !part.is_empty() => part,
            Ok(_) => return Err(odd_answer(READ, "the answer is empty")),
            // It was never written, or its maker keeps it to himself: then there is none for us.
            Err(failure) if UNREADABLE.iter().any(|code| failure.is(*code)) => return Ok(None),
            Err(failure) => return Err(failure.into()),
        };
        bytes.extend_from_slice(&part);
    }
    Ok(Some(bytes))
}

const MAKE: &str = "make the endorsement key";
const READ: &str = "read the endorsement certificate";
/// TCG EK Credential Profile 2.5, 2.2.1.4.
const CERTIFICATE_P256: u32 = 0x01c0_000a;
const CERTIFICATE_RSA: u32 = 0x01c0_0002;
/// `TPM_RC_AUTH_FAIL`, `TPM_RC_BAD_AUTH`, `TPM_RC_AUTH_UNAVAILABLE`, `TPM_RC_NV_LOCKED`, `TPM_RC_NV_AUTHORIZATION`,
/// `TPM_RC_NV_UNINITIALIZED`. Whatever else is answered may pass.
const UNREADABLE: [u32; 6] = [0x08e, 0x0a2, 0x12f, 0x148, 0x149, 0x14a];
/// The longest in the field have about 1,600; what is longer is something else.
const CERTIFICATE_LEN_MAX: u16 = 4_096;
/// As much as every TPM gives at once (PC Client Platform TPM Profile, `TPM_PT_NV_BUFFER_MAX`).
const PART_LEN: u16 = 512;
