//! The three kinds of certificates that the authority makes, and the reading of a client's.
//!
//! The authority's own follows from its key alone, byte for byte, so that an export of the key is an export of everything.
//! It and the box's begin in 1970: a box whose clock was never set makes leaves from then.

mod issue;
mod names;
mod read;

use holdfast_api::Role;
use holdfast_types::{Millis, P256Public};
use rustls_pki_types::CertificateDer;

pub use issue::{CLIENT_VALID_MS, issue_box, issue_client};
pub(crate) use issue::{authority_certificate, request, self_signed_leaf};
pub use names::authority_id;
pub use read::{Validity, box_identity, parse_client, public_key, validity, wants_renewal};

/// Whose certificate a client showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// Who: the subject's common name.
    pub name: String,
    /// The serial number, big-endian, without leading zeros.
    pub serial: Vec<u8>,
    /// What it may do.
    pub role: Role,
}

impl ClientIdentity {
    /// The serial number as the API writes it, `0x` hex.
    #[must_use]
    pub fn serial_text(&self) -> String {
        serial_text(&self.serial)
    }
}

/// Whose certificate a box showed, without that of its TLS key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoxIdentity {
    /// The subject's common name: `holdfast box 7f3a0102`.
    pub common_name: String,
    /// The box key.
    pub key: P256Public,
}

/// Why a certificate cannot be made, or is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It allows more than to be a client.
    #[error("the client's certificate may sign others or serve: only one for clients alone is accepted")]
    Purpose,
    /// It cannot be made.
    #[error("cannot make the certificate")]
    Make(#[from] rcgen::Error),
    /// A name that no certificate of ours has.
    #[error("{0:?} is no name for a certificate: take 1 to 64 printable characters")]
    Name(String),
    /// The bytes are no P-256 key.
    #[error("not a P-256 key")]
    NoKey,
    /// The bytes are no certificate.
    #[error("not a certificate of version 3 in DER")]
    NoCertificate,
    /// The role is missing, unknown, or there are several.
    #[error("the certificate's subject does not name one of the roles reader, operator, admin")]
    Role,
    /// The serial number is no positive number of at most 20 bytes.
    #[error("the certificate has no serial number of 1 to 20 bytes")]
    Serial,
    /// The time has no form in a certificate.
    #[error("the clock is at {0} ms, beyond what a certificate can say: set it")]
    Time(Millis),
}

/// A serial number as the API writes it: `0x` hex.
#[must_use]
pub fn serial_text(serial: &[u8]) -> String {
    format!("0x{}", hex::encode(serial))
}

/// A serial number as the API writes it, read: 1 to 20 bytes, leading zeros taken off.
///
/// # Errors
/// [`CertificateError::Serial`].
pub fn parse_serial(text: &str) -> Result<Vec<u8>, CertificateError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len() > 2 * SERIAL_LEN_MAX {
        return Err(CertificateError::Serial);
    }
    canonical_serial(&hex::decode(digits).map_err(|_| CertificateError::Serial)?)
}

/// A certificate in PEM.
///
/// # Errors
/// When it is none.
pub fn to_pem(certificate: &CertificateDer<'_>) -> Result<String, CertificateError> {
    let pem = pkcs8::der::pem::encode_string(PEM_LABEL, pkcs8::LineEnding::LF, certificate);
    pem.map_err(|_| CertificateError::NoCertificate)
}

/// The one certificate of a PEM file.
///
/// # Errors
/// When there is none, or more beside it.
pub fn from_pem(pem: &str) -> Result<CertificateDer<'static>, CertificateError> {
    match pkcs8::der::pem::decode_vec(pem.trim().as_bytes()) {
        Ok((PEM_LABEL, der)) => Ok(der.into()),
        _ => Err(CertificateError::NoCertificate),
    }
}

/// A request for a certificate in PEM, as other programs read it.
pub(crate) fn request_to_pem(request: &[u8]) -> Result<String, CertificateError> {
    let pem = pkcs8::der::pem::encode_string(REQUEST_LABEL, pkcs8::LineEnding::LF, request);
    pem.map_err(|_| CertificateError::NoCertificate)
}

fn canonical_serial(bytes: &[u8]) -> Result<Vec<u8>, CertificateError> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let serial = &bytes[zeros..];
    if serial.is_empty() || serial.len() > SERIAL_LEN_MAX { Err(CertificateError::Serial) } else { Ok(serial.to_vec()) }
}

/// RFC 5280, 4.1.2.2.
const SERIAL_LEN_MAX: usize = 20;
const PEM_LABEL: &str = "CERTIFICATE";
const REQUEST_LABEL: &str = "CERTIFICATE REQUEST";

#[cfg(test)]
mod tests;
