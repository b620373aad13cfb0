//! What a certificate says of its TPM (TCG EK Credential Profile 2.5, 3.1.2): maker, model, version, and which key it is of.

use std::fmt;

use x509_cert::Certificate;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Header, Reader, SliceReader};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

use crate::areas::{EndorsementKey, RSA_LEN};

/// A TPM as its maker's certificate names it. Words of the maker's, without anything that moves a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The maker: `Infineon`, or its four letters where it has no name here.
    pub vendor: String,
    /// The model: `SLB9672`.
    pub model: String,
    /// The version of its firmware, as the maker writes it: `id:0010`.
    pub version: String,
    /// The number of the certificate, in hex.
    pub serial: String,
    issuer: String,
    key: Vec<u8>,
}

impl Model {
    /// Reads the certificate at the beginning of an NV index, which is often longer.
    pub(super) fn read(stored: &[u8]) -> Option<(&[u8], Self)> {
        let bytes = first_of(stored)?;
        let certificate = Certificate::from_der(bytes).ok()?.tbs_certificate;
        let names = certificate.get::<SubjectAltName>().ok()?.map(|(_, names)| names.0).unwrap_or_default();
        let directory: Vec<Name> = names
            .into_iter()
            .filter_map(|name| if let GeneralName::DirectoryName(name) = name { Some(name) } else { None })
            .collect();
        let said = |oid| directory.iter().chain([&certificate.subject]).find_map(|name| attribute(name, oid));
        let said = |oid| said(oid).unwrap_or_default();
        let model = Self {
            vendor: vendor(&said(MANUFACTURER)),
            model: said(MODEL),
            version: said(VERSION),
            serial: certificate.serial_number.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
            issuer: printable(&certificate.issuer.to_string()),
            key: certificate.subject_public_key_info.subject_public_key.as_bytes()?.to_vec(),
        };
        Some((bytes, model))
    }

    /// By what it is known as emulated. A virtual machine's TPM is one too, whoever vouches for it.
    pub(super) fn emulator(&self) -> Option<String> {
        let Self { vendor, model, issuer, .. } = self;
        let words = [vendor, model, issuer].map(|text| text.to_ascii_lowercase());
        let emulates = EMULATORS.contains(&vendor.as_str()) || words.iter().any(|text| text.contains("swtpm"));
        emulates.then(|| format!("{vendor} {model}, issued by {issuer}"))
    }

    /// Whether the certificate is of this key.
    pub(super) fn is_of(&self, key: &EndorsementKey) -> bool {
        match key {
            EndorsementKey::P256(key) => p256::PublicKey::from_sec1_bytes(&self.key)
                .is_ok_and(|certified| p256::PublicKey::from_sec1_bytes(&key.0) == Ok(certified)),
            // An `RSAPublicKey` with 2,048 bits has one encoding.
            EndorsementKey::Rsa2048(modulus) => {
                let number = self.key.strip_prefix(RSA_HEAD).and_then(|rest| rest.split_at_checked(RSA_LEN));
                number == Some((&modulus[..], RSA_EXPONENT))
            }
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.vendor, self.model)
    }
}

/// The first value in DER of bytes that go on with padding.
fn first_of(stored: &[u8]) -> Option<&[u8]> {
    let mut reader = SliceReader::new(stored).ok()?;
    let header = Header::decode(&mut reader).ok()?;
    let len = u32::from(reader.position()).checked_add(u32::from(header.length))?;
    stored.get(..usize::try_from(len).ok()?)
}

fn attribute(name: &Name, oid: ObjectIdentifier) -> Option<String> {
    let found = name.0.iter().flat_map(|set| set.0.iter()).find(|attribute| attribute.oid == oid)?;
    Some(printable(&String::from_utf8_lossy(found.value.value())))
}

fn printable(text: &str) -> String {
    text.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').take(TEXT_CHARS_MAX).collect()
}

/// `id:` and four letters in hex (TCG TPM Vendor ID Registry); what is not known by name goes by its letters.
fn vendor(id: &str) -> String {
    let digits = id.strip_prefix("id:").unwrap_or(id);
    let number = u32::from_str_radix(digits, 16).ok();
    let letters = number.map(|number| number.to_be_bytes().iter().map(|byte| char::from(*byte)).collect::<String>());
    let letters = letters.map(|letters| printable(&letters).trim().to_owned());
    let known = letters.as_ref().and_then(|letters| VENDORS.iter().find(|(id, _)| id == letters));
    match (known, letters) {
        (Some((_, name)), _) => (*name).into(),
        // A number of other kind: that of PCI vendors, as swtpm's tools write IBM's.
        (None, _) if number == Some(PCI_IBM) => IBM.into(),
        (None, Some(letters)) if letters.len() >= 3 => letters,
        _ => id.into(),
    }
}

pub(super) const MANUFACTURER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.1");
pub(super) const MODEL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.2");
pub(super) const VERSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.3");
const VENDORS: &[(&str, &str)] = &[
    ("AMD", "AMD"),
    ("AMZN", "Amazon"),
    ("ATML", "Atmel"),
    ("GOOG", "Google"),
    ("IBM", IBM),
    ("IFX", "Infineon"),
    ("INTC", "Intel"),
    ("MSFT", "Microsoft"),
    ("NSG", "NSING"),
    ("NTC", "Nuvoton"),
    ("NTZ", "Nationz"),
    ("QCOM", "Qualcomm"),
    ("SMSN", "Samsung"),
    ("STM", "STMicroelectronics"),
    ("VMW", "VMware"),
];
/// Those whose TPMs are software: libtpms says IBM, the others are those of virtual machines.
const EMULATORS: &[&str] = &["Amazon", "Google", IBM, "Microsoft", "VMware"];
const IBM: &str = "IBM";
const PCI_IBM: u32 = 0x1014;
/// A sequence of two numbers, the first with 2,048 bits and a zero before them.
const RSA_HEAD: &[u8] = &[0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00];
/// The second one, 65,537.
const RSA_EXPONENT: &[u8] = &[0x02, 0x03, 0x01, 0x00, 0x01];
/// Enough for a name of a product; it is shown in one line.
const TEXT_CHARS_MAX: usize = 80;
