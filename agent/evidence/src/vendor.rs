//! What a certificate of an endorsement key proves: that a maker on the list vouches for the TPM, or that it is emulated.
//!
//! The chain is checked by `rustls-webpki` with `ring`: makers sign with RSA as well, and path building is nothing to write
//! anew. What a certificate says of the TPM is read only for the operator's eyes, and to know an emulated one.

mod model;

use std::time::Duration;

use holdfast_types::Millis;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring};

use crate::areas::EndorsementKey;

pub use model::Model;

/// The makers of TPMs that are believed.
#[derive(Clone, Debug, Default)]
pub struct VendorRoots {
    roots: Vec<CertificateDer<'static>>,
    intermediates: Vec<CertificateDer<'static>>,
}

/// A certificate of a maker that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate {place} of the TPM makers is none: take it off the list, or give it in DER")]
pub struct UnusableRoot {
    /// Its place in the list, from 0.
    pub place: usize,
}

/// Why it is not proved that the TPM is one of a maker on the list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// The TPM has no certificate.
    #[error("the TPM holds no certificate of its maker: some firmware TPMs have theirs from the maker's web service")]
    NoCertificate,
    /// The certificate cannot be read.
    #[error("the certificate in the TPM cannot be read")]
    Unreadable,
    /// The certificate is that of another key.
    #[error("the certificate is not that of the TPM's endorsement key")]
    OtherKey,
    /// No maker on the list vouches for it.
    #[error("no TPM maker on the list vouches for it: {why}")]
    UnknownMaker {
        /// What is wrong with the chain.
        why: String,
    },
    /// It was not asked to open a credential, so the attestation key may be in another TPM, or in none.
    #[error("the maker vouches for a TPM, but it is not shown that this box has it: have it open a credential")]
    NotActivated,
}

/// Why a TPM is known to be emulated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Emulated {
    /// The box says so.
    #[error("the box itself says so (tier C)")]
    BoxSays,
    /// Its certificate names a maker or an issuer of emulators.
    #[error("its certificate is that of an emulator: {what}")]
    Certificate {
        /// Maker, model or issuer.
        what: String,
    },
}

/// What is found in a certificate.
pub(crate) enum Found {
    /// A maker on the list vouches for this key.
    Vouched(Model),
    Unproven(Unproven),
    Emulated(Emulated),
}

impl VendorRoots {
    /// The makers with these certificates (DER). Intermediates are those that TPMs do not bring along; nothing that only
    /// chains to them is believed.
    ///
    /// # Errors
    /// [`UnusableRoot`] names the first that is none.
    pub fn new(roots: Vec<Vec<u8>>, intermediates: Vec<Vec<u8>>) -> Result<Self, UnusableRoot> {
        let made = Self { roots: owned(roots), intermediates: owned(intermediates) };
        for (place, certificate) in made.roots.iter().chain(&made.intermediates).enumerate() {
            if anchor_from_trusted_cert(certificate).is_err() {
                return Err(UnusableRoot { place });
            }
        }
        Ok(made)
    }

    /// What the certificate proves about the key at this time.
    pub(crate) fn judge(&self, key: &EndorsementKey, certificate: Option<&[u8]>, now: Millis) -> Found {
        let Some(certificate) = certificate else { return Found::Unproven(Unproven::NoCertificate) };
        let Some((certificate, model)) = Model::read(certificate) else {
            return Found::Unproven(Unproven::Unreadable);
        };
        // Before anything else: whoever's roots are on the list, an emulator is none of them.
        if let Some(what) = model.emulator() {
            return Found::Emulated(Emulated::Certificate { what });
        }
        if !model.is_of(key) {
            return Found::Unproven(Unproven::OtherKey);
        }
        match self.check_chain(&CertificateDer::from(certificate), now) {
            Ok(()) => Found::Vouched(model),
            Err(error) => Found::Unproven(Unproven::UnknownMaker { why: error.to_string() }),
        }
    }

    fn check_chain(&self, certificate: &CertificateDer<'_>, now: Millis) -> Result<(), webpki::Error> {
        let anchors: Vec<TrustAnchor<'_>> =
            self.roots.iter().map(anchor_from_trusted_cert).collect::<Result<_, _>>()?;
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
        // Older certificates lack the usage; a key of the maker's that is for something else is never an endorsement key.
        let usage = KeyUsage::required_if_present(ENDORSEMENT_USAGE);
        EndEntityCert::try_from(certificate)?
            .verify_for_usage(ALGORITHMS, &anchors, &self.intermediates, now, usage, None, None)
            .map(drop)
    }
}

fn owned(certificates: Vec<Vec<u8>>) -> Vec<CertificateDer<'static>> {
    certificates.into_iter().map(CertificateDer::from).collect()
}

/// `tcg-kp-EKCertificate`, 2.23.133.8.1.
const ENDORSEMENT_USAGE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];
const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    ring::ECDSA_P256_SHA256,
    ring::ECDSA_P256_SHA384,
    ring::ECDSA_P384_SHA256,
    ring::ECDSA_P384_SHA384,
    ring::RSA_PKCS1_2048_8192_SHA256,
    ring::RSA_PKCS1_2048_8192_SHA384,
    ring::RSA_PKCS1_2048_8192_SHA512,
];

#[cfg(test)]
pub(crate) mod tests;
