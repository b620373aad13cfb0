//! Reading certificates that others show. Nothing here says that one is genuine: chains and signatures are `tls`'s.

use std::str::FromStr;

use holdfast_api::Role;
use holdfast_types::{Millis, P256Public};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ExtendedKeyUsage;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Version};

use super::{BoxIdentity, CertificateError, ClientIdentity, canonical_serial};

/// From when until when a certificate counts, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub from: Millis,
    /// The last moment.
    pub until: Millis,
}

impl Validity {
    /// Whether it counts at this moment.
    #[must_use]
    pub fn includes(&self, at: Millis) -> bool {
        (self.from..=self.until).contains(&at)
    }

    /// The moments that both include.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> Option<Self> {
        let both = Self { from: self.from.max(other.from), until: self.until.min(other.until) };
        (both.from <= both.until).then_some(both)
    }
}

/// Who a client is, by its certificate: one that is good for a client and nothing else, with exactly one role.
///
/// # Errors
/// When it is another kind of certificate.
pub fn parse_client(der: &[u8]) -> Result<ClientIdentity, CertificateError> {
    let certificate = parse(der)?;
    if is_ca(&certificate)? || !is_for_clients_only(&certificate)? {
        return Err(CertificateError::Purpose);
    }
    let subject = certificate.subject();
    let role = only_text(subject.iter_organizational_unit()).and_then(|role| Role::from_str(role).ok());
    let role = role.ok_or(CertificateError::Role)?;
    let name = only_text(subject.iter_common_name());
    let name = name.filter(|name| !name.is_empty() && name.len() <= NAME_LEN_MAX && !name.contains(char::is_control));
    let name = name.ok_or_else(|| CertificateError::Name(String::new()))?;
    Ok(ClientIdentity { name: name.to_owned(), serial: canonical_serial(certificate.raw_serial())?, role })
}

/// Which box this is, by the certificate of its box key.
///
/// # Errors
/// When it is another kind of certificate.
pub fn box_identity(der: &[u8]) -> Result<BoxIdentity, CertificateError> {
    let certificate = parse(der)?;
    if !is_ca(&certificate)? {
        return Err(CertificateError::Purpose);
    }
    let name = only_text(certificate.subject().iter_common_name());
    let common_name = name.ok_or_else(|| CertificateError::Name(String::new()))?.to_owned();
    Ok(BoxIdentity { common_name, key: key_of(&certificate)? })
}

/// The key that a certificate certifies.
///
/// # Errors
/// When it is no P-256 key.
pub fn public_key(der: &[u8]) -> Result<P256Public, CertificateError> {
    key_of(&parse(der)?)
}

/// When a certificate counts.
///
/// # Errors
/// When the bytes are no certificate.
pub fn validity(der: &[u8]) -> Result<Validity, CertificateError> {
    let certificate = parse(der)?;
    let millis = |seconds: i64| Millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000));
    let validity = certificate.validity();
    let until = millis(validity.not_after.timestamp());
    // A certificate counts to the end of the second that it names.
    Ok(Validity { from: millis(validity.not_before.timestamp()), until: until.plus(999) })
}

/// Whether a client's certificate should be renewed now: a third of its time is left, or less.
///
/// # Errors
/// When the bytes are no certificate.
pub fn wants_renewal(der: &[u8], now: Millis) -> Result<bool, CertificateError> {
    let validity = validity(der)?;
    Ok(validity.until.since(now) <= validity.until.since(validity.from) / 3)
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    if der.len() > CERTIFICATE_LEN_MAX {
        return Err(CertificateError::NoCertificate);
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) if certificate.version() == X509Version::V3 => Ok(certificate),
        _ => Err(CertificateError::NoCertificate),
    }
}

fn is_ca(certificate: &X509Certificate<'_>) -> Result<bool, CertificateError> {
    let constraints = certificate.basic_constraints().map_err(|_| CertificateError::NoCertificate)?;
    Ok(constraints.is_some_and(|constraints| constraints.value.ca))
}

fn is_for_clients_only(certificate: &X509Certificate<'_>) -> Result<bool, CertificateError> {
    let usage = certificate.extended_key_usage().map_err(|_| CertificateError::NoCertificate)?;
    Ok(usage.is_some_and(|usage| {
        let ExtendedKeyUsage {
            any,
            server_auth,
            client_auth,
            code_signing,
            email_protection,
            time_stamping,
            ocsp_signing,
            other,
        } = usage.value;
        let more = *any || *server_auth || *code_signing || *email_protection || *time_stamping || *ocsp_signing;
        *client_auth && !more && other.is_empty()
    }))
}

/// The text of an attribute that occurs exactly once.
fn only_text<'a>(mut attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Option<&'a str> {
    match (attributes.next(), attributes.next()) {
        (Some(only), None) => only.as_str().ok(),
        _ => None,
    }
}

fn key_of(certificate: &X509Certificate<'_>) -> Result<P256Public, CertificateError> {
    let point = &certificate.public_key().subject_public_key.data;
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(|_| CertificateError::NoKey)?;
    P256Public::from_slice(key.to_encoded_point(true).as_bytes()).ok_or(CertificateError::NoKey)
}

/// Ours have less than 1 KiB.
const CERTIFICATE_LEN_MAX: usize = 8 * 1024;
/// In bytes: 64 characters of at most four.
const NAME_LEN_MAX: usize = 256;
