//! Making certificates.

use std::sync::Arc;
use std::time::Duration;

use holdfast_api::Role;
use holdfast_evidence::SigningKey;
use holdfast_evidence::names::{common_name, key_id};
use holdfast_types::{BoxName, Millis, P256Public};
use p256::ecdsa::Signature;
use rand_core::CryptoRngCore;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, RemoteKeyPair, SerialNumber,
    SignatureAlgorithm,
};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use super::CertificateError;
use super::names::{authority_id, point};

/// The certificate of an authority with this key. It is the same each time.
pub(crate) fn authority_certificate(key: &Arc<SigningKey>) -> Result<CertificateDer<'static>, CertificateError> {
    Ok(Issuer::new(key)?.certificate.der().clone())
}

/// A certificate for the key of a client: who, what role, for 90 days.
///
/// # Errors
/// When the name or the key is none.
pub fn issue_client(
    authority: &Arc<SigningKey>,
    (name, role): (&str, Role),
    key: &P256Public,
    now: Millis,
    rng: &mut impl CryptoRngCore,
) -> Result<CertificateDer<'static>, CertificateError> {
    if name.is_empty() || name.chars().count() > NAME_LEN_MAX || name.chars().any(char::is_control) {
        return Err(CertificateError::Name(name.chars().take(NAME_LEN_MAX).collect()));
    }
    let key = Key::new(key)?;
    let mut serial = [0; SERIAL_LEN];
    rng.fill_bytes(&mut serial);
    let mut parameters = parameters(name, &key, &serial);
    parameters.distinguished_name.push(DnType::OrganizationalUnitName, role.name());
    // The box's clock may be behind the command's.
    set_validity(&mut parameters, Millis(now.0.saturating_sub(SKEW_MS)), now.plus(CLIENT_VALID_MS))?;
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Issuer::new(authority)?.issue(parameters, &key)
}

/// A certificate for a box's key, so that the leaves that the box makes with it chain to the authority.
///
/// # Errors
/// When the key is none.
pub fn issue_box(
    authority: &Arc<SigningKey>,
    name: &BoxName,
    key: &P256Public,
    now: Millis,
    rng: &mut impl CryptoRngCore,
) -> Result<CertificateDer<'static>, CertificateError> {
    let key = Key::new(key)?;
    let mut serial = [0; SERIAL_LEN];
    rng.fill_bytes(&mut serial);
    let mut parameters = parameters(&common_name(name), &key, &serial);
    set_validity(&mut parameters, Millis(0), now.plus(BOX_VALID_MS))?;
    // It signs leaves and nothing that signs on.
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Issuer::new(authority)?.issue(parameters, &key)
}

/// A request for a certificate (PKCS #10, RFC 2986), in DER. Who issues it decides about name and role; only the key counts.
///
/// # Errors
/// When the key cannot sign.
pub(crate) fn request(name: &str, key: &KeyPair) -> Result<Vec<u8>, CertificateError> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named(name);
    Ok(parameters.serialize_request(key)?.der().to_vec())
}

/// A certificate by which a key names nobody: what a box shows before it is owned, and nobody judges.
///
/// # Errors
/// When the key cannot sign.
pub(crate) fn self_signed_leaf(key: &KeyPair) -> Result<CertificateDer<'static>, CertificateError> {
    let mut parameters = CertificateParams::new(vec!["holdfast-box.local".to_owned()])?;
    parameters.distinguished_name = named("holdfast box");
    Ok(parameters.self_signed(key)?.der().clone())
}

/// The authority as `rcgen` wants it.
struct Issuer {
    key: KeyPair,
    certificate: Certificate,
}

impl Issuer {
    fn new(signer: &Arc<SigningKey>) -> Result<Self, CertificateError> {
        let public = signer.public();
        let key = Key::new(&public)?;
        let pair = KeyPair::from_remote(Box::new(Signer { key: Arc::clone(signer), point: key.point.clone() }))?;
        let serial = Sha256::new_with_prefix(b"holdfast authority 1").chain_update(public.0).finalize();
        let mut parameters =
            parameters(&format!("holdfast authority {}", authority_id(&public)), &key, &serial[..SERIAL_LEN]);
        set_validity(&mut parameters, Millis(0), Millis(AUTHORITY_UNTIL_MS))?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = parameters.self_signed(&pair)?;
        Ok(Self { key: pair, certificate })
    }

    fn issue(&self, mut parameters: CertificateParams, key: &Key) -> Result<CertificateDer<'static>, CertificateError> {
        parameters.use_authority_key_identifier_extension = true;
        Ok(parameters.signed_by(key, &self.certificate, &self.key)?.der().clone())
    }
}

/// A key that is certified.
struct Key {
    point: Vec<u8>,
    id: [u8; 20],
}

impl Key {
    fn new(key: &P256Public) -> Result<Self, CertificateError> {
        let (point, id) = point(key).zip(key_id(key)).ok_or(CertificateError::NoKey)?;
        Ok(Self { point, id })
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// The authority's key, which signs without a generator: its own certificate comes out the same each time.
struct Signer {
    key: Arc<SigningKey>,
    point: Vec<u8>,
}

impl RemoteKeyPair for Signer {
    fn public_key(&self) -> &[u8] {
        &self.point
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = Signature::from_slice(&self.key.sign(message).0).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.to_der().as_bytes().to_vec())
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn parameters(common_name: &str, key: &Key, serial: &[u8]) -> CertificateParams {
    let mut serial = serial.to_vec();
    // A positive number without leading zeros (RFC 5280, 4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named(common_name);
    parameters.serial_number = Some(SerialNumber::from(serial));
    parameters.key_identifier_method = KeyIdMethod::PreSpecified(key.id.to_vec());
    parameters
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Whole seconds, as certificates have them.
fn set_validity(parameters: &mut CertificateParams, from: Millis, until: Millis) -> Result<(), CertificateError> {
    if let Some(at) = [from, until].into_iter().find(|at| at.0 > LAST_MS) {
        return Err(CertificateError::Time(at));
    }
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    parameters.not_before = epoch + Duration::from_secs(from.0 / 1_000);
    parameters.not_after = epoch + Duration::from_secs(until.0 / 1_000);
    Ok(())
}

/// How long a client's certificate counts: 90 days.
pub const CLIENT_VALID_MS: u64 = 90 * DAY_MS;
/// Ten years: longer than the hardware lasts.
const BOX_VALID_MS: u64 = 3_652 * DAY_MS;
const SKEW_MS: u64 = DAY_MS;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// The last second of 2099. An authority ends when its owner says so, not in the middle of a night.
const AUTHORITY_UNTIL_MS: u64 = 4_102_444_799_000;
/// The last second of the year 9999.
const LAST_MS: u64 = 253_402_300_799_000;
const SERIAL_LEN: usize = 16;
/// RFC 5280, appendix A: the upper bound of a common name.
const NAME_LEN_MAX: usize = 64;
