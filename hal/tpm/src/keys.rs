//! The two signing keys. Both are made from their templates when they are needed and given back after it: a TPM holds
//! three objects.

use holdfast_hal::tpm::{NvIndex, PcrIndex, Quote, Statement, TpmError, TpmName};
use holdfast_types::{P256Public, P256Signature};

use crate::connection::Connection;
use crate::failure::odd_answer;
use crate::raw::{Hierarchy, ObjectGuard, Purpose, Session};
use crate::{counter, pcr, template};

/// The Name of the attestation key.
pub(crate) fn attestation_key_name(connection: &Connection) -> Result<TpmName, TpmError> {
    let (_, area) = attestation_key(connection, &connection.session(Purpose::Audit)?)?;
    Ok(TpmName(template::name(&area).to_vec()))
}

/// Has the attestation key sign the present values of `pcrs` together with `qualifying`.
pub(crate) fn quote(connection: &Connection, pcrs: &[PcrIndex], qualifying: &[u8; 32]) -> Result<Quote, TpmError> {
    let registers = pcr::selection(pcrs)?;
    let session = connection.session(Purpose::Audit)?;
    let (key, area) = attestation_key(connection, &session)?;
    let (message, signature) = connection.esys.quote(&session, *key, registers, qualifying)?;
    Ok(Quote { message, signature, key: area })
}

/// Has the attestation key certify the counter at `index` together with `qualifying`.
pub(crate) fn certify_counter(
    connection: &Connection,
    index: NvIndex,
    qualifying: &[u8; 32],
) -> Result<Statement, TpmError> {
    let session = connection.session(Purpose::Audit)?;
    let counter = counter::find_written(connection, &session, index)?;
    let (key, _) = attestation_key(connection, &session)?;
    let (message, signature) = connection.esys.certify_number(&session, *key, &counter.index, qualifying)?;
    Ok(Statement { message, signature })
}

/// The public point of the box key.
pub(crate) fn box_key(connection: &Connection) -> Result<P256Public, TpmError> {
    let (_, area) = made_box_key(connection, &connection.session(Purpose::Audit)?)?;
    template::point(&area).ok_or_else(|| odd_answer(BOX_KEY, "the key is not of the kind that was asked for"))
}

/// Signs a digest with the box key.
pub(crate) fn sign_with_box_key(connection: &Connection, digest: &[u8; 32]) -> Result<P256Signature, TpmError> {
    let session = connection.session(Purpose::Audit)?;
    let (key, _) = made_box_key(connection, &session)?;
    Ok(connection.esys.sign(&session, *key, digest)?)
}

pub(crate) fn attestation_key<'c>(
    connection: &'c Connection,
    session: &Session<'_>,
) -> Result<(ObjectGuard<'c>, Vec<u8>), TpmError> {
    let template = template::attestation_key();
    let made =
        connection.esys.create_primary("make the attestation key", Hierarchy::Endorsement, Some(session), &template);
    Ok(made?)
}

fn made_box_key<'c>(connection: &'c Connection, session: &Session<'_>) -> Result<(ObjectGuard<'c>, Vec<u8>), TpmError> {
    Ok(connection.esys.create_primary(BOX_KEY, Hierarchy::Owner, Some(session), &template::box_key())?)
}

const BOX_KEY: &str = "make the box key";
