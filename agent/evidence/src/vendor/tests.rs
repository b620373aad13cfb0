//! Against makers of our own. A chain of swtpm's, RSA throughout, is in `tests/tests/tpm`.

use std::str::FromStr;

use holdfast_types::P256Public;
use p256::ecdsa::Signature;
use proptest::prelude::*;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::certificate::{Certificate, TbsCertificate, Version};
use x509_cert::der::asn1::{Any, BitString, SetOfVec};
use x509_cert::der::oid::db::{rfc5280, rfc5912};
use x509_cert::der::oid::{AssociatedOid, ObjectIdentifier};
use x509_cert::der::{Encode, Tag};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, SubjectAltName};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::Validity;

use super::*;
use crate::credential::EndorsementSecret;
use crate::{SigningKey, areas};

/// A day in 2026, within what these makers say; their certificates end a year later.
pub(crate) const NOW: Millis = Millis(1_795_000_000_000);
const YEAR_S: u64 = 365 * 24 * 60 * 60;

/// A maker, his authority being the key with this seed.
pub(crate) struct Maker(pub(crate) u8);

impl Maker {
    fn key(&self) -> SigningKey {
        SigningKey::from_bytes(&[self.0; 32]).unwrap()
    }

    fn name(&self) -> Name {
        Name::from_str(&format!("CN=maker {}", self.0)).unwrap()
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        self.signs(&self.name(), spki(&self.key().public()), vec![ca()])
    }

    fn intermediate(&self, other: &Self) -> Vec<u8> {
        self.signs(&other.name(), spki(&other.key().public()), vec![ca()])
    }

    /// A certificate of an endorsement key, as makers write them: without a subject, the TPM in the other names.
    pub(crate) fn certificate(&self, key: &EndorsementKey, [vendor, model]: [&str; 2]) -> Vec<u8> {
        self.certificate_for(key, [vendor, model], "2.23.133.8.1")
    }

    fn certificate_for(&self, key: &EndorsementKey, [vendor, model]: [&str; 2], usage: &str) -> Vec<u8> {
        let said =
            [(super::model::MANUFACTURER, vendor), (super::model::MODEL, model), (super::model::VERSION, "id:10")];
        let directory = RdnSequence(
            said.map(|(oid, text)| {
                RelativeDistinguishedName(
                    SetOfVec::try_from(vec![AttributeTypeAndValue {
                        oid,
                        value: Any::new(Tag::Utf8String, text.as_bytes()).unwrap(),
                    }])
                    .unwrap(),
                )
            })
            .to_vec(),
        );
        let names = SubjectAltName(vec![GeneralName::DirectoryName(directory)]);
        let usage = ExtendedKeyUsage(vec![ObjectIdentifier::new(usage).unwrap()]);
        let extensions =
            vec![extension(SubjectAltName::OID, true, &names), extension(ExtendedKeyUsage::OID, false, &usage)];
        let spki = match key {
            EndorsementKey::P256(key) => spki(key),
            EndorsementKey::Rsa2048(modulus) => {
                let number = [&[0x30, 0x82, 1, 10, 2, 0x82, 1, 1, 0][..], &modulus[..], &[2, 3, 1, 0, 1]].concat();
                let algorithm =
                    AlgorithmIdentifierOwned { oid: rfc5912::RSA_ENCRYPTION, parameters: Some(Any::null()) };
                SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(&number).unwrap() }
            }
        };
        self.signs(&Name::default(), spki, extensions)
    }

    fn signs(&self, subject: &Name, spki: SubjectPublicKeyInfoOwned, extensions: Vec<Extension>) -> Vec<u8> {
        let algorithm = AlgorithmIdentifierOwned { oid: rfc5912::ECDSA_WITH_SHA_256, parameters: None };
        let tbs_certificate = TbsCertificate {
            version: Version::V3,
            serial_number: SerialNumber::new(&[0x4a, 0x01]).unwrap(),
            signature: algorithm.clone(),
            issuer: self.name(),
            validity: validity(),
            subject: subject.clone(),
            subject_public_key_info: spki,
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: Some(extensions),
        };
        let signature = Signature::from_slice(&self.key().sign(&tbs_certificate.to_der().unwrap()).0).unwrap();
        let signature = BitString::from_bytes(signature.to_der().as_bytes()).unwrap();
        Certificate { tbs_certificate, signature_algorithm: algorithm, signature }.to_der().unwrap()
    }
}

fn validity() -> Validity {
    let time =
        |seconds| x509_cert::der::asn1::UtcTime::from_unix_duration(Duration::from_secs(seconds)).unwrap().into();
    Validity { not_before: time(NOW.0 / 1_000 - YEAR_S), not_after: time(NOW.0 / 1_000 + YEAR_S) }
}

fn spki(key: &P256Public) -> SubjectPublicKeyInfoOwned {
    let algorithm = AlgorithmIdentifierOwned {
        oid: rfc5912::ID_EC_PUBLIC_KEY,
        parameters: Some(Any::encode_from(&rfc5912::SECP_256_R_1).unwrap()),
    };
    let point = areas::point(key).unwrap();
    let point = [&[4][..], &point[2..34], &point[36..]].concat();
    SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(&point).unwrap() }
}

fn ca() -> Extension {
    extension(rfc5280::ID_CE_BASIC_CONSTRAINTS, true, &BasicConstraints { ca: true, path_len_constraint: None })
}

fn extension(extn_id: ObjectIdentifier, critical: bool, content: &impl Encode) -> Extension {
    let content = x509_cert::der::asn1::OctetString::new(content.to_der().unwrap()).unwrap();
    Extension { extn_id, critical, extn_value: content }
}

pub(crate) fn endorsement(seed: u8) -> EndorsementSecret {
    EndorsementSecret::from_bytes(&[seed; 32]).unwrap()
}

pub(crate) const INFINEON: [&str; 2] = ["id:49465800", "SLB9672"];

fn key() -> EndorsementKey {
    endorsement(9).public()
}

fn roots(makers: &[u8]) -> VendorRoots {
    VendorRoots::new(makers.iter().map(|maker| Maker(*maker).root()).collect(), vec![]).unwrap()
}

fn judged(roots: &VendorRoots, certificate: &[u8], now: Millis) -> Result<Model, String> {
    match roots.judge(&key(), Some(certificate), now) {
        Found::Vouched(model) => Ok(model),
        Found::Unproven(unproven) => Err(unproven.to_string()),
        Found::Emulated(emulated) => Err(emulated.to_string()),
    }
}

#[test]
fn a_maker_on_the_list_vouches_and_the_certificate_names_the_tpm() {
    let certificate = Maker(1).certificate(&key(), INFINEON);
    let model = judged(&roots(&[2, 1]), &certificate, NOW).unwrap();
    assert_eq!((model.vendor.as_str(), model.model.as_str()), ("Infineon", "SLB9672"));
    assert_eq!((model.version.as_str(), model.serial.as_str()), ("id:10", "4a01"));
    assert_eq!(model.to_string(), "Infineon SLB9672");
    // As it lies in an index that is longer.
    for padding in [[0; 40], [0xff; 40]] {
        assert_eq!(judged(&roots(&[1]), &[&certificate[..], &padding].concat(), NOW), Ok(model.clone()));
    }
}

#[test]
fn a_certificate_of_an_rsa_key_is_of_that_key_only() {
    let rsa = |byte| EndorsementKey::Rsa2048(Box::new([byte; areas::RSA_LEN]));
    let certificate = Maker(1).certificate(&rsa(0xa5), INFINEON);
    let found = |key| roots(&[1]).judge(&key, Some(&certificate), NOW);
    assert!(matches!(found(rsa(0xa5)), Found::Vouched(_)));
    for other in [rsa(0xa7), key()] {
        assert!(matches!(found(other), Found::Unproven(Unproven::OtherKey)));
    }
}

#[test]
fn an_intermediate_is_believed_only_below_a_root() {
    let certificate = Maker(2).certificate(&key(), INFINEON);
    let with = |roots: Vec<u8>, intermediates| VendorRoots::new(vec![roots], vec![intermediates]).unwrap();
    assert!(judged(&with(Maker(1).root(), Maker(1).intermediate(&Maker(2))), &certificate, NOW).is_ok());
    assert!(judged(&with(Maker(1).root(), Maker(3).intermediate(&Maker(2))), &certificate, NOW).is_err());
    assert!(judged(&with(Maker(1).root(), Maker(2).root()), &certificate, NOW).is_err());
}

/// As makers write them, RSA throughout: what swtpm's tools made of a key, with the chain to their root.
#[test]
fn a_chain_of_a_maker_s_tools_holds_and_no_byte_of_it_can_be_another() {
    let [ek, issuer, root] = ["ek", "issuer", "root"].map(|name| {
        let path = format!("{}/../../tests/vectors/tpm-certificates/{name}.der", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    });
    let now = NOW.plus(30 * 24 * 60 * 60 * 1_000);
    let holds = |roots: &[&Vec<u8>], intermediates: &[&Vec<u8>], ek: &[u8]| {
        let listed = |certificates: &[&Vec<u8>]| certificates.iter().map(|one| (*one).clone()).collect();
        let vendors = VendorRoots::new(listed(roots), listed(intermediates)).unwrap();
        vendors.check_chain(&CertificateDer::from(ek), now).is_ok()
    };
    assert!(holds(&[&root], &[&issuer], &ek) && holds(&[&issuer], &[], &ek));
    assert!(!holds(&[&root], &[], &ek) && !holds(&[], &[&issuer, &root], &ek));
    for at in 0..ek.len() {
        let mut changed = ek.clone();
        changed[at] ^= 1;
        assert!(!holds(&[&issuer], &[], &changed), "byte {at}");
    }
    let (stored, model) = Model::read(&ek).unwrap();
    assert_eq!((stored.len(), model.to_string().as_str()), (ek.len(), "IBM swtpm"));
    assert!(model.emulator().is_some());
}

#[test]
fn what_no_maker_vouches_for_is_unproven_and_says_why() {
    let certificate = Maker(1).certificate(&key(), INFINEON);
    let refused = |roots: &VendorRoots, certificate: &[u8], now, words: &str| {
        let why = judged(roots, certificate, now).unwrap_err();
        assert!(why.contains(words), "{why}");
    };
    refused(&roots(&[2]), &certificate, NOW, "no TPM maker on the list vouches for it: ");
    refused(&VendorRoots::default(), &certificate, NOW, "no TPM maker on the list");
    refused(&roots(&[1]), &certificate, NOW.plus(2 * YEAR_S * 1_000), "no TPM maker on the list");
    refused(&roots(&[1]), &Maker(1).certificate(&endorsement(8).public(), INFINEON), NOW, "not that of the TPM's");
    refused(&roots(&[1]), &certificate[..200], NOW, "cannot be read");
    refused(&roots(&[1]), &[], NOW, "cannot be read");
    // A key of the maker's for another purpose: attestation keys have this one.
    let other_use = Maker(1).certificate_for(&key(), INFINEON, "2.23.133.8.3");
    refused(&roots(&[1]), &other_use, NOW, "no TPM maker on the list");
    assert!(matches!(roots(&[1]).judge(&key(), None, NOW), Found::Unproven(Unproven::NoCertificate)));
}

#[test]
fn an_emulator_is_one_whoever_vouches_for_it() {
    let emulators = [
        ["id:00001014", "swtpm"],
        ["id:49424D00", ""],
        ["id:4D534654", "vTPM"],
        ["id:564D5700", "x"],
        ["id:474F4F47", ""],
    ];
    for model in emulators {
        let certificate = Maker(1).certificate(&key(), model);
        let why = judged(&roots(&[1]), &certificate, NOW).unwrap_err();
        assert!(why.starts_with("its certificate is that of an emulator: "), "{model:?}: {why}");
    }
}

#[test]
fn every_changed_byte_of_a_certificate_is_noticed() {
    let certificate = Maker(1).certificate(&key(), INFINEON);
    let roots = roots(&[1]);
    for at in 0..certificate.len() {
        let mut changed = certificate.clone();
        changed[at] ^= 1;
        assert!(judged(&roots, &changed, NOW).is_err(), "byte {at}");
    }
}

#[test]
fn a_root_that_is_none_is_named_by_its_place() {
    let refused = VendorRoots::new(vec![Maker(1).root(), vec![0x30, 0]], vec![]).unwrap_err();
    assert_eq!(refused, UnusableRoot { place: 1 });
    let refused = VendorRoots::new(vec![Maker(1).root()], vec![vec![]]).unwrap_err();
    assert_eq!(refused, UnusableRoot { place: 1 });
}

#[test]
fn words_of_a_certificate_move_no_cursor_and_have_an_end() {
    let long = "\u{1b}[2Jx".repeat(100);
    let certificate = Maker(1).certificate(&key(), ["id:58595A00", &long]);
    let model = judged(&roots(&[1]), &certificate, NOW).unwrap();
    assert_eq!(model.vendor, "XYZ");
    assert!(model.model.len() <= 80 && model.model.starts_with("[2Jx[2Jx"), "{model:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..400, byte: u8) {
        let mut changed = Maker(1).certificate(&key(), INFINEON);
        if let Some(place) = changed.get_mut(at) {
            *place = byte;
        }
        for bytes in [bytes, changed] {
            let _ = judged(&VendorRoots::default(), &bytes, NOW);
        }
    }
}
