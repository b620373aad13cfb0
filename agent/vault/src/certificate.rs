//! The week's certificate for the daemon's TLS key: X.509 v3, signed by the box key, which the authority certified.
//!
//! It does not know the TPM nor the clock: the signature is a closure, the time is passed in. The caller decides nothing but
//! the key: names, purpose and time are the vault's.
//!
//! The certificate that the authority makes for the box key must have [`common_name`] as its subject, as one `UTF8String`,
//! and [`key_id`] as its subject key identifier: then this one chains to it.

use std::str::FromStr;
use std::time::Duration;

use holdfast_evidence::names::{KEY_ID_LEN, common_name, host_name, key_id};
use holdfast_hal::tpm::TpmError;
use holdfast_types::{BoxName, Millis, P256Public, P256Signature};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use sha2::{Digest, Sha256};
use x509_cert::certificate::{CertificateInner, TbsCertificateInner, Version};
use x509_cert::der::asn1::{Any, BitString, GeneralizedTime, Ia5String, OctetString, UtcTime};
use x509_cert::der::oid::db::{rfc5280, rfc5912};
use x509_cert::der::{self, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::ext::{AsExtension, Extension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

/// What a certificate is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsCertificate<'a> {
    /// The box.
    pub(crate) box_name: &'a BoxName,
    /// The key that signs.
    pub(crate) box_key: &'a P256Public,
    /// The key that is certified.
    pub(crate) tls_key: &'a P256Public,
    /// The present time.
    pub(crate) now: Millis,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// The time has no form in a certificate.
    #[error("the vault's clock is at {0} ms, beyond what a certificate can say: set it")]
    Clock(Millis),
    /// What is known of the box does not fit into a certificate.
    #[error("cannot write the certificate")]
    Encode(#[from] der::Error),
    /// The bytes are no key.
    #[error("the {which} key is no P-256 key")]
    Key {
        /// Which one.
        which: &'static str,
    },
    /// The TPM's signature has no form in a certificate.
    #[error("the TPM's signature by the box key is none: reboot, then see whether the TPM is sound")]
    Signature,
    /// The TPM did not sign.
    #[error("cannot sign with the box key")]
    Tpm(#[from] TpmError),
}

impl TlsCertificate<'_> {
    /// The certificate in DER. `sign` gets the SHA-256 of what the box key signs.
    ///
    /// # Errors
    /// When a key is none, the clock is off by millennia, or the TPM does not sign.
    pub(crate) fn signed(
        &self,
        sign: impl FnOnce(&[u8; 32]) -> Result<P256Signature, TpmError>,
    ) -> Result<Vec<u8>, CertificateError> {
        let tbs_certificate = self.contents()?;
        let digest = Sha256::digest(tbs_certificate.to_der()?).into();
        let signature =
            p256::ecdsa::Signature::from_slice(&sign(&digest)?.0).map_err(|_| CertificateError::Signature)?;
        let certificate = CertificateInner::<x509_cert::certificate::Rfc5280> {
            tbs_certificate,
            signature_algorithm: ecdsa_with_sha256(),
            signature: BitString::from_bytes(signature.to_der().as_bytes())?,
        };
        Ok(certificate.to_der()?)
    }

    fn contents(&self) -> Result<TbsCertificateInner, CertificateError> {
        let tls_point = point(self.tls_key).ok_or(CertificateError::Key { which: "TLS" })?;
        let issuer_id = key_id(self.box_key).ok_or(CertificateError::Key { which: "box" })?;
        let subject_id = key_id(self.tls_key).ok_or(CertificateError::Key { which: "TLS" })?;
        let name = Name::from_str(&format!("CN={}", common_name(self.box_name)))?;
        let validity = self.validity()?;
        let key = SubjectPublicKeyInfoOwned {
            algorithm: AlgorithmIdentifierOwned {
                oid: rfc5912::ID_EC_PUBLIC_KEY,
                parameters: Some(Any::encode_from(&rfc5912::SECP_256_R_1)?),
            },
            subject_public_key: BitString::from_bytes(&tls_point)?,
        };
        Ok(TbsCertificateInner {
            version: Version::V3,
            serial_number: self.serial_number()?,
            signature: ecdsa_with_sha256(),
            issuer: name.clone(),
            validity,
            subject: name.clone(),
            subject_public_key_info: key,
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: Some(self.extensions(&name, subject_id, issuer_id)?),
        })
    }

    /// One key is certified at most once in a second, so its hash with the time is a number of its own.
    fn serial_number(&self) -> Result<SerialNumber, CertificateError> {
        let hash = Sha256::new_with_prefix(b"holdfast certificate 1")
            .chain_update(self.tls_key.0)
            .chain_update((self.now.0 / 1_000).to_be_bytes())
            .finalize();
        let mut number: [u8; 16] = hash[..16].try_into().expect("a hash has 32 bytes");
        // A positive number without leading zeros (RFC 5280, 4.1.2.2).
        number[0] = number[0] & 0x7f | 0x40;
        Ok(SerialNumber::new(&number)?)
    }

    fn validity(&self) -> Result<Validity, CertificateError> {
        let now_s = self.now.0 / 1_000;
        let time = |seconds| time(Duration::from_secs(seconds)).ok_or(CertificateError::Clock(self.now));
        Ok(Validity {
            not_before: time(now_s.saturating_sub(SKEW_S))?,
            not_after: time(now_s.saturating_add(VALID_S))?,
        })
    }

    fn extensions(
        &self,
        subject: &Name,
        subject_id: [u8; KEY_ID_LEN],
        issuer_id: [u8; KEY_ID_LEN],
    ) -> Result<Vec<Extension>, CertificateError> {
        let host = Ia5String::new(&host_name(self.box_name))?;
        let mut extensions = Vec::with_capacity(6);
        let issuer = AuthorityKeyIdentifier {
            key_identifier: Some(OctetString::new(issuer_id)?),
            ..AuthorityKeyIdentifier::default()
        };
        let subject_id = SubjectKeyIdentifier(OctetString::new(subject_id)?);
        add(&mut extensions, subject, &BasicConstraints { ca: false, path_len_constraint: None })?;
        add(&mut extensions, subject, &KeyUsage(KeyUsages::DigitalSignature.into()))?;
        add(&mut extensions, subject, &ExtendedKeyUsage(vec![rfc5280::ID_KP_SERVER_AUTH]))?;
        add(&mut extensions, subject, &SubjectAltName(vec![GeneralName::DnsName(host)]))?;
        add(&mut extensions, subject, &subject_id)?;
        add(&mut extensions, subject, &issuer)?;
        Ok(extensions)
    }
}

/// The uncompressed point: TLS takes no other form.
fn point(key: &P256Public) -> Option<Vec<u8>> {
    let key = p256::PublicKey::from_sec1_bytes(&key.0).ok()?;
    Some(key.to_encoded_point(false).as_bytes().to_vec())
}

/// RFC 5280, 4.1.2.5: `UTCTime` until 2049, `GeneralizedTime` from then on.
fn time(since_1970: Duration) -> Option<Time> {
    let utc = UtcTime::from_unix_duration(since_1970).map(Time::UtcTime);
    utc.or_else(|_| GeneralizedTime::from_unix_duration(since_1970).map(Time::GeneralTime)).ok()
}

fn add(extensions: &mut Vec<Extension>, subject: &Name, extension: &impl AsExtension) -> Result<(), der::Error> {
    let extension = extension.to_extension(subject, extensions)?;
    extensions.push(extension);
    Ok(())
}

/// RFC 5758, 3.2: without parameters.
fn ecdsa_with_sha256() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid: rfc5912::ECDSA_WITH_SHA_256, parameters: None }
}

/// A day: the operator's clock may be behind.
const SKEW_S: u64 = 24 * 60 * 60;
/// A week; the daemon renews every day.
const VALID_S: u64 = 7 * 24 * 60 * 60;

#[cfg(test)]
mod tests;
