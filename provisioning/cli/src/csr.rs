//! Requests for certificates (PKCS #10, RFC 2986), of which only the key counts: whose it is and what he may do, the owner says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_types::{P256Public, P256Signature};
use p256::ecdsa::Signature;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use x509_cert::der::{Decode, Encode};
use x509_cert::request::CertReq;

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// Not the text of one.
    #[error("not a request in PEM (it begins with {BEGIN})")]
    Form,
    /// Another kind of key.
    #[error("its key is none of P-256: make it with openssl ecparam -name prime256v1 -genkey")]
    Key,
    /// Who sent it does not have the key.
    #[error("it is not signed by its own key with ECDSA and SHA-256")]
    Signature,
}

/// The key of a request in PEM that its own key signed.
pub(crate) fn key_of(pem: &[u8]) -> Result<P256Public, RequestError> {
    let der = decode(pem).ok_or(RequestError::Form)?;
    let request = CertReq::from_der(&der).map_err(|_| RequestError::Form)?;
    let point = request.info.public_key.subject_public_key.as_bytes().ok_or(RequestError::Key)?;
    let key = p256::PublicKey::from_sec1_bytes(point).map_err(|_| RequestError::Key)?;
    let key = P256Public::from_slice(key.to_encoded_point(true).as_bytes()).ok_or(RequestError::Key)?;
    let signed = request.info.to_der().map_err(|_| RequestError::Form)?;
    let signature = request.signature.as_bytes().and_then(|der| Signature::from_der(der).ok());
    let signature = signature.ok_or(RequestError::Signature)?;
    if holdfast_evidence::verify(&key, &signed, &P256Signature(signature.to_bytes().into())) {
        Ok(key)
    } else {
        Err(RequestError::Signature)
    }
}

/// What stands between the first and the last line.
fn decode(pem: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once("-----END CERTIFICATE REQUEST-----")?;
    STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}

const BEGIN: &str = "-----BEGIN CERTIFICATE REQUEST-----";

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=bob`.
    const REQUEST: &str = include_str!("../tests/bob.csr");

    #[test]
    fn the_key_of_a_request_is_the_one_that_signed_it() {
        assert_eq!(key_of(REQUEST.as_bytes()).unwrap().to_string(), KEY);
        let wrapped = format!("Bob sends you this:\r\n{}", REQUEST.replace('\n', "\r\n"));
        assert_eq!(key_of(wrapped.as_bytes()).unwrap().to_string(), KEY);
    }

    #[test]
    fn a_changed_request_is_not_taken() {
        let der = decode(REQUEST.as_bytes()).unwrap();
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 1;
            let pem = format!("{BEGIN}\n{}\n-----END CERTIFICATE REQUEST-----", STANDARD.encode(changed));
            let taken = key_of(pem.as_bytes());
            // The names of algorithms are covered by nothing outside of the signed part, and decide nothing here.
            assert!(taken.is_err() || taken.unwrap().to_string() == KEY, "byte {at}");
        }
        for text in ["", BEGIN, &REQUEST.replace("REQUEST", "")] {
            assert!(matches!(key_of(text.as_bytes()), Err(RequestError::Form)));
        }
    }

    const KEY: &str = "0x0399fb333fea526d9aadfe276fd750d253ee3f9c20dadebe0b461c29a0a892d827";
}
