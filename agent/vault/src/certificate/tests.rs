use std::cell::Cell;

use holdfast_evidence::SigningKey;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey as Secret};
use x509_parser::extensions::{GeneralName as Parsed, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::*;

const BOX_NAME: BoxName = BoxName([0xab; 32]);
/// 2026-11-27T06:00:00.999Z.
const NOW: Millis = Millis(1_795_759_200_999);

fn box_secret() -> Secret {
    Secret::from_slice(&[1; 32]).unwrap()
}

/// The box key of a TPM: it signs digests.
fn sign(digest: &[u8; 32]) -> Result<P256Signature, TpmError> {
    let signature: Signature = box_secret().sign_prehash(digest).unwrap();
    Ok(P256Signature(signature.to_bytes().into()))
}

fn public(secret: u8) -> P256Public {
    SigningKey::from_bytes(&[secret; 32]).unwrap().public()
}

fn made_at(now: Millis) -> Vec<u8> {
    let (box_key, tls_key) = (public(1), public(2));
    TlsCertificate { box_name: &BOX_NAME, box_key: &box_key, tls_key: &tls_key, now }.signed(sign).unwrap()
}

fn parsed(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty(), "bytes follow the certificate");
    certificate
}

/// The one extension that a closure picks, and whether it is critical.
fn extension<'a, T>(
    certificate: &'a X509Certificate<'a>,
    pick: impl Fn(&'a ParsedExtension<'a>) -> Option<T>,
) -> (bool, T) {
    let found = certificate.extensions().iter().filter_map(|one| Some((one.critical, pick(one.parsed_extension())?)));
    let mut found: Vec<_> = found.collect();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

#[test]
fn names_times_and_key_are_the_vaults() {
    let der = made_at(NOW);
    let certificate = parsed(&der);
    assert_eq!(certificate.version(), X509Version::V3);
    assert_eq!(certificate.subject().to_string(), "CN=holdfast box abababab");
    assert_eq!(certificate.issuer().as_raw(), certificate.subject().as_raw());
    assert_eq!(certificate.validity().not_before.timestamp(), 1_795_759_200 - 86_400);
    assert_eq!(certificate.validity().not_after.timestamp(), 1_795_759_200 + 7 * 86_400);
    let point = p256::PublicKey::from_sec1_bytes(&public(2).0).unwrap().to_encoded_point(false);
    assert_eq!(certificate.public_key().subject_public_key.data.as_ref(), point.as_bytes());
    assert_eq!(certificate.public_key().algorithm.algorithm.to_id_string(), "1.2.840.10045.2.1");
    let curve = certificate.public_key().algorithm.parameters.as_ref().unwrap().as_oid().unwrap();
    assert_eq!(curve.to_id_string(), "1.2.840.10045.3.1.7");
    assert_eq!(certificate.signature_algorithm, certificate.tbs_certificate.signature);
    assert_eq!(certificate.signature_algorithm.algorithm.to_id_string(), "1.2.840.10045.4.3.2");
}

#[test]
fn the_signature_is_the_box_keys_over_the_whole_of_it() {
    let der = made_at(NOW);
    let certificate = parsed(&der);
    let signature = Signature::from_der(&certificate.signature_value.data).unwrap();
    let signature = P256Signature(signature.to_bytes().into());
    let signed = certificate.tbs_certificate.as_ref();
    assert!(holdfast_evidence::verify(&public(1), signed, &signature));
    assert!(!holdfast_evidence::verify(&public(2), signed, &signature));
    let mut changed = signed.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    assert!(!holdfast_evidence::verify(&public(1), &changed, &signature));
}

#[test]
fn it_serves_one_host_and_certifies_nothing() {
    let der = made_at(NOW);
    let certificate = parsed(&der);
    assert_eq!(certificate.extensions().len(), 6);
    let (critical, constraints) = extension(&certificate, |one| match one {
        ParsedExtension::BasicConstraints(one) => Some(one),
        _ => None,
    });
    assert!(critical && !constraints.ca && constraints.path_len_constraint.is_none());
    let (critical, usage) = extension(&certificate, |one| match one {
        ParsedExtension::KeyUsage(one) => Some(one.flags),
        _ => None,
    });
    assert!(critical && usage == 1, "digitalSignature alone");
    let (_, usage) = extension(&certificate, |one| match one {
        ParsedExtension::ExtendedKeyUsage(one) => Some(one),
        _ => None,
    });
    assert!(usage.server_auth && !usage.client_auth && !usage.any && usage.other.is_empty());
    let (_, hosts) = extension(&certificate, |one| match one {
        ParsedExtension::SubjectAlternativeName(one) => Some(&one.general_names),
        _ => None,
    });
    assert_eq!(*hosts, [Parsed::DNSName("box-abab.local")]);
}

#[test]
fn its_issuer_is_the_box_key() {
    let der = made_at(NOW);
    let certificate = parsed(&der);
    let (_, issuer) = extension(&certificate, |one| match one {
        ParsedExtension::AuthorityKeyIdentifier(one) => one.key_identifier.as_ref(),
        _ => None,
    });
    let (_, subject) = extension(&certificate, |one| match one {
        ParsedExtension::SubjectKeyIdentifier(one) => Some(one),
        _ => None,
    });
    assert_eq!(issuer.0, key_id(&public(1)).unwrap());
    assert_eq!(subject.0, key_id(&public(2)).unwrap());
    assert_ne!(issuer, subject);
}

#[test]
fn each_second_and_key_has_a_serial_number_of_its_own() {
    let number = |now, tls_key| {
        let box_key = public(1);
        let asked = TlsCertificate { box_name: &BOX_NAME, box_key: &box_key, tls_key: &tls_key, now };
        parsed(&asked.signed(sign).unwrap()).raw_serial().to_vec()
    };
    let numbers = [number(NOW, public(2)), number(NOW, public(3)), number(NOW.plus(1_000), public(2))];
    assert!(numbers.iter().all(|number| number.len() == 16 && number[0] & 0xc0 == 0x40), "{numbers:?}");
    assert!(numbers[0] != numbers[1] && numbers[0] != numbers[2] && numbers[1] != numbers[2]);
    assert_eq!(number(NOW, public(2)), numbers[0]);
}

#[test]
fn a_clock_that_is_off_still_has_a_certificate_until_the_end_of_time() {
    // The first day, the turn to the other form of time (2050), the last year that has a form.
    for seconds in [0, 86_400, 2_524_607_999 - 7 * 86_400, 2_524_608_000, 253_402_300_799 - 7 * 86_400] {
        let der = made_at(Millis(seconds * 1_000));
        let not_after = parsed(&der).validity().not_after;
        assert_eq!(not_after.timestamp(), i64::try_from(seconds).unwrap() + 7 * 86_400);
        assert_eq!(not_after.is_utctime(), seconds + 7 * 86_400 < 2_524_608_000, "{seconds}");
    }
    let (box_key, tls_key) = (public(1), public(2));
    for now in [Millis(253_402_300_800_000), Millis(u64::MAX)] {
        let asked = TlsCertificate { box_name: &BOX_NAME, box_key: &box_key, tls_key: &tls_key, now };
        assert!(matches!(asked.signed(sign), Err(CertificateError::Clock(at)) if at == now), "{now}");
    }
}

#[test]
fn what_is_no_key_is_refused_before_the_tpm_is_asked() {
    let asked_tpm = Cell::new(false);
    let sign = |digest: &[u8; 32]| {
        asked_tpm.set(true);
        sign(digest)
    };
    // Infinity, a point that is not on the curve, and an uncompressed form's tag.
    let mut off = public(2).0;
    off[1..].fill(0xff);
    for bytes in [[0; 33], off, [4; 33]] {
        let (good, bad) = (public(1), P256Public(bytes));
        let of_tls = TlsCertificate { box_name: &BOX_NAME, box_key: &good, tls_key: &bad, now: NOW };
        assert!(matches!(of_tls.signed(sign), Err(CertificateError::Key { which: "TLS" })), "{bad}");
        let of_box = TlsCertificate { box_name: &BOX_NAME, box_key: &bad, tls_key: &good, now: NOW };
        assert!(matches!(of_box.signed(sign), Err(CertificateError::Key { which: "box" })), "{bad}");
    }
    assert!(!asked_tpm.get());
}

#[test]
fn a_tpm_that_does_not_sign_gives_none() {
    let (box_key, tls_key) = (public(1), public(2));
    let asked = TlsCertificate { box_name: &BOX_NAME, box_key: &box_key, tls_key: &tls_key, now: NOW };
    let refused = asked.signed(|_| Err(TpmError::SecretTooLong { len: 1 }));
    assert!(matches!(refused, Err(CertificateError::Tpm(_))), "{refused:?}");
    for bytes in [[0; 64], [0xff; 64]] {
        let none = asked.signed(|_| Ok(P256Signature(bytes)));
        assert!(matches!(none, Err(CertificateError::Signature)), "{none:?}");
    }
}
