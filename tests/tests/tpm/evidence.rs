//! Evidence of a TPM that nobody plays: its statements, its endorsement keys and what they open, held against the verifier,
//! which has never seen a TPM.

use std::fs;
use std::path::Path;
use std::process::Command;

use holdfast_evidence::areas::EndorsementKey;
use holdfast_evidence::verifier::{Expected, TpmVerdict, Verified, verify};
use holdfast_evidence::{
    CertifiedCounter, Credential, Emulated, Endorsement, Evidence, EvidenceBody, EvidenceError, EvidenceKind,
    LEASE_COUNTER_INDEX, QUOTED_REGISTERS, Tier, Unproven, VendorRoots, box_name,
};
use holdfast_hal::tpm::{NvIndex, PcrIndex, Tpm, TpmError};
use holdfast_hal_tpm::EsapiTpm;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::lab::{Lab, ORDINARY, clear, define_space, extend, start};

const NONCE: [u8; 32] = [9; 32];
const KIND: EvidenceKind = EvidenceKind::Boot;
const COUNTER: NvIndex = NvIndex(LEASE_COUNTER_INDEX);

/// Evidence as a vault makes it, of a machine that claims to be of this tier.
fn evidence(tpm: &mut EsapiTpm, tier: Tier) -> Evidence {
    let body = EvidenceBody {
        box_name: box_name(&tpm.attestation_key_name().unwrap().0),
        version: "1.2.3".into(),
        tier,
        authority: None,
        box_key: tpm.box_key().unwrap(),
        import_key: None,
        custody: None,
    };
    let qualifying = body.qualifying(KIND, &NONCE);
    let registers = QUOTED_REGISTERS.map(PcrIndex);
    let values = tpm.read_pcrs(&registers).unwrap();
    let quote = tpm.quote(&registers, &qualifying).unwrap();
    let counter = tpm.certify_counter(COUNTER, &qualifying).ok();
    let key = tpm.endorsement_key().unwrap();
    Evidence {
        body,
        registers: QUOTED_REGISTERS.to_vec(),
        values,
        quote: quote.message,
        signature: quote.signature,
        attestation_key: quote.key,
        counter: counter.map(|made| CertifiedCounter { statement: made.message, signature: made.signature }),
        endorsement: Endorsement { public: key.public, certificate: key.certificate },
    }
}

fn check(evidence: &Evidence, vendors: &VendorRoots) -> Result<Verified, EvidenceError> {
    let now = holdfast_tests::now();
    verify(evidence, &Expected { nonce: NONCE, kind: KIND, box_name: None, vendors, releases: None, now })
}

/// Makes a TPM below `place` with certificates of an authority of its own, and gives the authority's certificates.
fn manufacture(place: &Path) -> Vec<Vec<u8>> {
    let (state, authority) = (place.join("state"), place.join("authority"));
    fs::create_dir_all(&state).unwrap();
    fs::create_dir_all(&authority).unwrap();
    let [key, issuer, serial] = ["signkey.pem", "issuercert.pem", "certserial"].map(|name| authority.join(name));
    let local = format!(
        "statedir = {}\nsigningkey = {}\nissuercert = {}\ncertserial = {}\n",
        authority.display(),
        key.display(),
        issuer.display(),
        serial.display(),
    );
    fs::write(place.join("local.conf"), local).unwrap();
    fs::write(place.join("options"), "--platform-manufacturer Test\n--platform-version 1\n--platform-model Test\n")
        .unwrap();
    let setup = format!(
        "create_certs_tool = swtpm_localca\ncreate_certs_tool_config = {0}/local.conf\ncreate_certs_tool_options = {0}/options\n",
        place.display(),
    );
    fs::write(place.join("setup.conf"), setup).unwrap();
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    let made = Command::new("swtpm_setup")
        .args(["--tpm2", "--create-ek-cert", "--runas", &user])
        .args(["--tpmstate".as_ref(), state.as_os_str(), "--config".as_ref(), place.join("setup.conf").as_os_str()])
        .output()
        .expect("swtpm_setup starts: install the package swtpm-tools");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    [authority.join("swtpm-localca-rootca-cert.pem"), issuer].iter().map(|path| der(path)).collect()
}

/// The bytes of a PEM file.
fn der(path: &Path) -> Vec<u8> {
    use base64::Engine as _;
    let text = fs::read_to_string(path).unwrap();
    let text: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[test]
fn the_statements_of_a_tpm_verify() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    lab.done(&extend(7));
    let vendors = VendorRoots::default();
    let without = check(&evidence(&mut tpm, Tier::B), &vendors).unwrap();
    assert_eq!(without.counter, None, "there is none yet");
    let counted = tpm.counter_define(COUNTER).unwrap().reading.value;
    let verified = check(&evidence(&mut tpm, Tier::B), &vendors).unwrap();
    assert_eq!(verified.counter, Some(counted));
    assert_eq!(verified.attestation_key[..], tpm.attestation_key_name().unwrap().0);
    assert_eq!(verified.register(7), Some(tpm.read_pcrs(&[PcrIndex(7)]).unwrap()[0]));
    assert_eq!(verified.resets, tpm.resets().unwrap().resets);
    assert_eq!(verified.tpm, TpmVerdict::Unproven(Unproven::NoCertificate));
    assert_eq!(lab.handles(), 1);
}

#[test]
fn every_changed_byte_of_what_a_tpm_signed_is_refused() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    tpm.counter_define(COUNTER).unwrap();
    let evidence = evidence(&mut tpm, Tier::B);
    let vendors = VendorRoots::default();
    let bytes = evidence.to_bytes();
    let covered = bytes.len() - evidence.endorsement.public.len() - 3;
    for at in 0..covered {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        if let Ok(changed) = Evidence::from_bytes(&changed).map_err(drop) {
            assert!(check(&changed, &vendors).is_err(), "byte {at}");
        }
    }
}

#[test]
fn a_counter_that_is_not_there_or_none_is_not_certified() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    assert!(matches!(tpm.certify_counter(COUNTER, &NONCE), Err(TpmError::CounterMissing(COUNTER))));
    lab.done(&define_space(COUNTER, ORDINARY));
    assert!(matches!(tpm.certify_counter(COUNTER, &NONCE), Err(TpmError::NotACounter(COUNTER))));
    assert_eq!(lab.handles(), 1);
}

/// By both templates: swtpm's tools certify the RSA key, and a key on another curve than ours.
#[test]
fn a_credential_opens_in_its_tpm_for_its_attestation_key_only() {
    let place = tempfile::tempdir().unwrap();
    manufacture(place.path());
    let (certified, bare) = (start(&place.path().join("state")), Lab::new());
    let mut tpms = [EsapiTpm::open(&certified.address()).unwrap(), bare.open()];
    let keys = [0, 1].map(|at| tpms[at].endorsement_key().unwrap());
    let names = [0, 1].map(|at| tpms[at].attestation_key_name().unwrap().0);
    assert!(matches!(EndorsementKey::from_area(&keys[0].public), Some(EndorsementKey::Rsa2048(_))));
    assert!(matches!(EndorsementKey::from_area(&keys[1].public), Some(EndorsementKey::P256(_))));
    let mut rng = StdRng::seed_from_u64(1);
    let secret = *b"thirty-two bytes in a credential";
    for ours in [0, 1] {
        for (of_key, of_name) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let made = Credential::make(&keys[of_key].public, &names[of_name], &secret, &mut rng).unwrap();
            let opened = tpms[ours].activate_credential(&made.id_object, &made.secret);
            if (of_key, of_name) == (ours, ours) {
                assert_eq!(opened.unwrap().as_slice(), secret);
            } else {
                assert!(
                    matches!(opened, Err(TpmError::NotOurs)),
                    "TPM {ours}, key {of_key}, name {of_name}: {opened:?}"
                );
            }
        }
        for (id_object, secret) in [(vec![], vec![]), (vec![0; 68], vec![0; 68]), (vec![1; 500], vec![2; 900])] {
            let opened = tpms[ours].activate_credential(&id_object, &secret);
            assert!(matches!(opened, Err(TpmError::NotOurs)), "{opened:?}");
        }
    }
    assert!(!bare.bus.saw(&secret), "it crosses the bus encrypted only");
    assert_eq!(bare.handles(), 1);
}

#[test]
fn the_endorsement_key_outlives_a_clearing() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let key = tpm.endorsement_key().unwrap();
    lab.done(&clear());
    drop(tpm);
    assert_eq!(lab.open().endorsement_key().unwrap(), key);
}

#[test]
fn swtpm_is_an_emulator_whoever_is_believed_and_whatever_it_says() {
    let place = tempfile::tempdir().unwrap();
    let vendors = VendorRoots::new(manufacture(place.path()), vec![]).unwrap();
    let swtpm = start(&place.path().join("state"));
    let mut tpm = EsapiTpm::open(&swtpm.address()).unwrap();
    let evidence = evidence(&mut tpm, Tier::A);
    assert!(evidence.endorsement.certificate.is_some());
    for vendors in [&vendors, &VendorRoots::default()] {
        let verified = check(&evidence, vendors).unwrap();
        assert_eq!(verified.tier, Tier::C);
        let TpmVerdict::Emulated(Emulated::Certificate { what }) = &verified.tpm else { panic!("{:?}", verified.tpm) };
        assert_eq!(what, "IBM swtpm, issued by CN=swtpm-localca");
        let challenge = verified.challenge(&mut StdRng::seed_from_u64(1)).unwrap();
        let answer = tpm.activate_credential(&challenge.credential.id_object, &challenge.credential.secret).unwrap();
        let verified = verified.activated(&challenge, answer[..].try_into().unwrap()).unwrap();
        assert!(matches!(verified.tpm, TpmVerdict::Emulated(_)), "also when it has opened a credential");
    }
}
