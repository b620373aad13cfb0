use std::sync::Arc;

use holdfast_api::Role;
use holdfast_evidence::SigningKey;
use holdfast_evidence::names::key_id;
use holdfast_types::BoxName;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::tls::TlsKey;

const NOW: Millis = Millis(1_795_779_617_123);
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const NAME: BoxName = BoxName([0x7f; 32]);

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn authority() -> Arc<SigningKey> {
    Arc::new(SigningKey::random(&mut rng(1)))
}

fn key(seed: u64) -> P256Public {
    TlsKey::random(&mut rng(seed)).public()
}

fn client() -> CertificateDer<'static> {
    issue_client(&authority(), ("anna", Role::Operator), &key(2), NOW, &mut rng(3)).unwrap()
}

/// A certificate that our authority would not make.
fn strange(change: impl FnOnce(&mut CertificateParams)) -> Result<ClientIdentity, CertificateError> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "anna");
    parameters.distinguished_name.push(DnType::OrganizationalUnitName, "admin");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut parameters);
    parse_client(parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
}

#[test]
fn a_clients_certificate_says_who_what_role_and_how_long() {
    let der = client();
    let read = parse_client(&der).unwrap();
    assert_eq!((&read.name[..], read.role, read.serial.len()), ("anna", Role::Operator, 16));
    assert_eq!(parse_serial(&read.serial_text()).unwrap(), read.serial);
    assert_eq!(public_key(&der).unwrap(), key(2));
    let dates = validity(&der).unwrap();
    // Whole seconds, from a day before to the end of the 90th day.
    assert_eq!(dates.from, Millis((NOW.0 - DAY_MS) / 1_000 * 1_000));
    assert_eq!(dates.until, Millis((NOW.0 + 90 * DAY_MS) / 1_000 * 1_000 + 999));
    assert_eq!(from_pem(&to_pem(&der).unwrap()).unwrap(), der);
}

#[test]
fn no_two_certificates_have_a_serial_number_in_common() {
    let serial =
        |seed| parse_client(&issue_client(&authority(), ("a", Role::Admin), &key(2), NOW, &mut rng(seed)).unwrap());
    assert_ne!(serial(1).unwrap().serial, serial(2).unwrap().serial);
}

#[test]
fn a_certificate_is_renewed_when_a_third_of_its_time_is_left() {
    let der = client();
    assert!(!wants_renewal(&der, NOW.plus(59 * DAY_MS)).unwrap());
    assert!(wants_renewal(&der, NOW.plus(60 * DAY_MS)).unwrap());
    assert!(wants_renewal(&der, NOW.plus(900 * DAY_MS)).unwrap());
}

#[test]
fn a_boxs_certificate_has_the_subject_and_key_id_that_its_leaves_name() {
    let der = issue_box(&authority(), &NAME, &key(4), NOW, &mut rng(5)).unwrap();
    let identity = box_identity(&der).unwrap();
    assert_eq!(identity, BoxIdentity { common_name: "holdfast box 7f7f7f7f".to_owned(), key: key(4) });
    let (_, read) = X509Certificate::from_der(&der).unwrap();
    let constraints = read.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca && constraints.value.path_len_constraint == Some(0));
    let attribute = read.subject().iter().flat_map(|name| name.iter()).next().unwrap();
    assert_eq!(attribute.attr_value().header.raw_tag(), Some(&b"\x0c"[..]), "a UTF8String");
    assert_eq!(read.subject().iter().count(), 1);
    let ids = read.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    assert_eq!(ids.collect::<Vec<_>>(), [key_id(&key(4)).unwrap()]);
    assert_eq!(validity(&der).unwrap().from, Millis(0), "a box whose clock was never set makes leaves from 1970");
    assert!(parse_client(&der).is_err());
    assert!(box_identity(&client()).is_err());
}

#[test]
fn the_authoritys_certificate_follows_from_its_key() {
    let key = authority();
    let der = authority_certificate(&key).unwrap();
    assert_eq!(der, authority_certificate(&key).unwrap());
    let (_, read) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(read.subject().to_string(), format!("CN=holdfast authority {}", authority_id(&key.public())));
    assert!(read.is_ca());
    assert_eq!(public_key(&der).unwrap(), key.public());
}

#[test]
fn a_name_fits_into_a_certificate_or_is_refused() {
    for name in ["", "a\nb", &"a".repeat(65)] {
        let issued = issue_client(&authority(), (name, Role::Admin), &key(2), NOW, &mut rng(3));
        assert!(matches!(issued, Err(CertificateError::Name(_))), "{name:?}");
    }
    let name = "é".repeat(64);
    let der = issue_client(&authority(), (&name, Role::Reader), &key(2), NOW, &mut rng(3)).unwrap();
    assert_eq!(parse_client(&der).unwrap().name, name);
    let issued = issue_client(&authority(), ("anna", Role::Admin), &P256Public([9; 33]), NOW, &mut rng(3));
    assert!(matches!(issued, Err(CertificateError::NoKey)));
    let issued = issue_client(&authority(), ("anna", Role::Admin), &key(2), Millis(u64::MAX), &mut rng(3));
    assert!(matches!(issued, Err(CertificateError::Time(_))));
}

#[test]
fn another_kind_of_certificate_is_no_clients() {
    assert!(strange(|_| {}).is_ok());
    assert!(matches!(
        strange(|p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
        Err(CertificateError::Purpose)
    ));
    for usages in [
        vec![],
        vec![ExtendedKeyUsagePurpose::ServerAuth],
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::Any],
    ] {
        assert!(matches!(strange(|p| p.extended_key_usages = usages), Err(CertificateError::Purpose)));
    }
    for role in ["root", "Admin", ""] {
        let read = strange(|p| p.distinguished_name.push(DnType::OrganizationalUnitName, role));
        assert!(matches!(read, Err(CertificateError::Role)), "{role:?}");
    }
    let no_role = strange(|p| assert!(p.distinguished_name.remove(DnType::OrganizationalUnitName)));
    assert!(matches!(no_role, Err(CertificateError::Role)));
    // `rcgen` keeps one value of each type, so a second role goes in under the type's number.
    let two = strange(|p| p.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 11]), "reader"));
    assert!(matches!(two, Err(CertificateError::Role)));
}

#[test]
fn serial_numbers_have_one_form() {
    assert_eq!(parse_serial("0x00ff").unwrap(), [0xff]);
    assert_eq!(parse_serial("FF").unwrap(), [0xff]);
    for wrong in ["", "0x", "0x0", "0x00", "zz", "0x+f", "é", &"ff".repeat(21)] {
        assert!(matches!(parse_serial(wrong), Err(CertificateError::Serial)), "{wrong}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..600, byte: u8) {
        let mut changed = client().to_vec();
        let at = at % changed.len();
        changed[at] = byte;
        for der in [&bytes, &changed] {
            let _ = (parse_client(der), box_identity(der).is_ok(), validity(der).is_ok(), public_key(der).is_ok());
        }
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in "\\PC{0,60}") {
        let _ = (parse_serial(&text), from_pem(&text));
    }
}
