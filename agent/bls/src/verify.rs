//! Checks of one signature.
//!
//! A public key or signature that is not canonical, not in its subgroup, or the point at infinity never verifies.

use holdfast_types::{PartialSignature, SharePublic, Signature, SigningRoot, ValidatorPublic};

use crate::raw::{DST, MessagePoint, PublicPoint, SignaturePoint};

/// Why a signature does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The public key is no key.
    #[error("the public key is no point of G1, or the point at infinity")]
    BadPublic,
    /// The signature is no signature.
    #[error("the signature is no point of G2, or the point at infinity")]
    BadSignature,
    /// Both are well formed and do not fit the message.
    #[error("the signature does not fit the public key and the message")]
    Mismatch,
}

/// Checks a partial signature against the public key of its share.
///
/// # Errors
///
/// When it does not verify.
pub fn verify_partial(public: &SharePublic, root: SigningRoot, partial: &PartialSignature) -> Result<(), VerifyError> {
    verify_bytes(&public.0, &root.0, &partial.0)
}

/// Checks a group signature against the key that the chain knows.
///
/// # Errors
///
/// When it does not verify.
pub fn verify_group(public: &ValidatorPublic, root: SigningRoot, signature: &Signature) -> Result<(), VerifyError> {
    verify_bytes(&public.0, &root.0, &signature.0)
}

/// Checks the plain sum of signatures that all these keys made of one 32-byte message, such as a lock hash.
///
/// Sound only for keys whose owners proved that they have the secret, or that come from one place, as the shares of a lock do.
///
/// # Errors
///
/// When it does not verify; always for no keys at all.
pub fn fast_aggregate_verify(
    publics: &[SharePublic],
    message: &[u8; 32],
    signature: &Signature,
) -> Result<(), VerifyError> {
    let points: Option<Vec<_>> = publics.iter().map(|public| Some(PublicPoint::decode(&public.0)?.0)).collect();
    let sum = PublicPoint::sum(&points.ok_or(VerifyError::BadPublic)?);
    if sum.is_infinity() {
        return Err(VerifyError::BadPublic);
    }
    let signature = SignaturePoint::decode(&signature.0).ok_or(VerifyError::BadSignature)?;
    if fits(&sum, message, &signature) { Ok(()) } else { Err(VerifyError::Mismatch) }
}

fn verify_bytes(public: &[u8; 48], message: &[u8; 32], signature: &[u8; 96]) -> Result<(), VerifyError> {
    let public = PublicPoint::decode(public).ok_or(VerifyError::BadPublic)?;
    let signature = SignaturePoint::decode(signature).ok_or(VerifyError::BadSignature)?;
    if fits(&public, message, &signature) { Ok(()) } else { Err(VerifyError::Mismatch) }
}

/// The pairing equation for points that were decoded, and so checked, before.
pub(crate) fn fits(public: &PublicPoint, message: &[u8; 32], signature: &SignaturePoint) -> bool {
    pairs_fit([(public, &MessagePoint::hash(message))], signature)
}

/// Whether the product of e(public, message) over the pairs is e(generator, signature). No point may be infinity.
pub(crate) fn pairs_fit<'a>(
    pairs: impl IntoIterator<Item = (&'a PublicPoint, &'a MessagePoint)>,
    signature: &SignaturePoint,
) -> bool {
    let mut pairing = blst::Pairing::new(true, DST);
    for (public, message) in pairs {
        pairing.raw_aggregate(&message.affine(), &public.0);
    }
    pairing.commit();
    let mut right = blst::blst_fp12::default();
    blst::Pairing::aggregated(&mut right, &signature.0);
    pairing.finalverify(Some(&right))
}
