//! Against a box that is played here, key by key. `tests/tests/tpm` and `tests/tests/vault` have real ones.

use holdfast_types::{LockHash, ShareIndex, ValidatorPublic};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};

use super::*;
use crate::credential::EndorsementSecret;
use crate::evidence::{CertifiedCounter, Endorsement, HeldShares, Origin};
use crate::key::SigningKey;
use crate::statement::{KIND_NV, KIND_QUOTE};
use crate::vendor::tests::{INFINEON, Maker, NOW, endorsement};

const NONCE: [u8; 32] = [9; 32];
const KINDS: [EvidenceKind; 3] = [EvidenceKind::Boot, EvidenceKind::ImportKey, EvidenceKind::Custody];

/// A box whose vault tells the truth.
struct Played {
    key: SigningKey,
    endorsement: EndorsementSecret,
    tier: Tier,
    values: [[u8; 32]; 11],
    certificate: Option<Vec<u8>>,
}

impl Played {
    fn new() -> Self {
        let endorsement = endorsement(9);
        let mut values: [[u8; 32]; 11] = std::array::from_fn(|at| [at as u8 + 1; 32]);
        values[9..].fill([0; 32]);
        Self {
            key: SigningKey::from_bytes(&[3; 32]).unwrap(),
            certificate: Some(Maker(1).certificate(&endorsement.public(), INFINEON)),
            endorsement,
            tier: Tier::A,
            values,
        }
    }

    fn name(&self) -> [u8; NAME_LEN] {
        areas::name(&areas::attestation_area(&self.key.public()).unwrap())
    }

    fn body(&self, kind: EvidenceKind) -> EvidenceBody {
        let validators = [[1; 48], [2; 48]].map(|key| (ValidatorPublic(key), Origin::Imported)).to_vec();
        let shares = HeldShares { lock_hash: LockHash([5; 32]), share_index: ShareIndex(2), validators };
        EvidenceBody {
            box_name: box_name(&self.name()),
            version: "1.2.3".into(),
            tier: self.tier,
            authority: None,
            box_key: SigningKey::from_bytes(&[4; 32]).unwrap().public(),
            import_key: (kind == EvidenceKind::ImportKey).then_some(ImportKey([7; 32])),
            custody: (kind == EvidenceKind::Custody).then_some(Custody {
                shares: Some(shares),
                orders_logged: 3,
                orders_head: [6; 32],
            }),
        }
    }

    fn evidence(&self, kind: EvidenceKind) -> Evidence {
        self.saying(self.body(kind), kind)
    }

    fn saying(&self, body: EvidenceBody, kind: EvidenceKind) -> Evidence {
        let qualifying = body.qualifying(kind, &NONCE);
        let selection = [0xff, 0x38, 0];
        let quoted = [&[0, 0, 0, 1, 0, 0x0b, 3][..], &selection, &[0, 32], &policy::digest_of(&self.values)].concat();
        let quote = self.states(KIND_QUOTE, &qualifying, &quoted);
        let name = areas::counter_name(LEASE_COUNTER_INDEX);
        let counted = [&[0, 34][..], &name, &[0, 0, 0, 8], &77u64.to_be_bytes()].concat();
        let statement = self.states(KIND_NV, &qualifying, &counted);
        Evidence {
            body,
            registers: QUOTED_REGISTERS.to_vec(),
            values: self.values.to_vec(),
            signature: self.key.sign(&quote),
            quote,
            attestation_key: areas::attestation_area(&self.key.public()).unwrap(),
            counter: Some(CertifiedCounter { signature: self.key.sign(&statement), statement }),
            endorsement: Endorsement {
                public: self.endorsement.public().area().unwrap(),
                certificate: self.certificate.clone(),
            },
        }
    }

    fn states(&self, kind: u16, qualifying: &[u8], about: &[u8]) -> Vec<u8> {
        let signer = areas::qualified_name(&self.name());
        let clock = [[0; 8].as_slice(), &[0, 0, 0, 6], &[0, 0, 0, 7], &[1], &[2; 8]].concat();
        [b"\xffTCG", &kind.to_be_bytes()[..], &[0, 34], &signer, &[0, 32], qualifying, &clock, about].concat()
    }
}

fn check(evidence: &Evidence, kind: EvidenceKind) -> Result<Verified, EvidenceError> {
    let vendors = VendorRoots::new(vec![Maker(1).root()], vec![]).unwrap();
    verify(evidence, &Expected { nonce: NONCE, kind, box_name: None, vendors: &vendors, releases: None, now: NOW })
}

#[test]
fn what_a_box_says_of_each_kind_is_proved() {
    let played = Played::new();
    for kind in KINDS {
        let verified = check(&played.evidence(kind), kind).unwrap();
        let body = played.body(kind);
        assert_eq!((verified.box_name, verified.attestation_key), (box_name(&played.name()), played.name()));
        assert_eq!((verified.import_key, &verified.custody), (body.import_key, &body.custody));
        assert_eq!((verified.box_key, verified.tier, verified.counter), (body.box_key, Tier::A, Some(77)));
        assert_eq!((verified.register(7), verified.register(11)), (Some([8; 32]), Some([9; 32])));
        assert_eq!((verified.register(8), verified.resets, verified.restarts), (None, 6, 7));
        assert_eq!(verified.image, ImageVerdict::Unchecked);
        assert_eq!(verified.tpm, TpmVerdict::Unproven(Unproven::NotActivated));
    }
    let without = Evidence { counter: None, ..played.evidence(EvidenceKind::Boot) };
    assert_eq!(check(&without, EvidenceKind::Boot).unwrap().counter, None);
}

#[test]
fn an_answer_to_another_question_is_refused() {
    let played = Played::new();
    let evidence = played.evidence(EvidenceKind::Boot);
    let vendors = VendorRoots::default();
    let right = Expected {
        nonce: NONCE,
        kind: EvidenceKind::Boot,
        box_name: Some(box_name(&played.name())),
        vendors: &vendors,
        releases: None,
        now: NOW,
    };
    assert!(verify(&evidence, &right).is_ok());
    let refused = |expected| verify(&evidence, &expected).unwrap_err();
    assert_eq!(refused(Expected { nonce: [8; 32], ..right }), EvidenceError::OtherQuestion);
    let expected = BoxName([1; 32]);
    let other = EvidenceError::OtherBox { expected, found: box_name(&played.name()) };
    assert_eq!(refused(Expected { box_name: Some(expected), ..right }), other);
    for asked in [EvidenceKind::ImportKey, EvidenceKind::Custody] {
        assert!(matches!(refused(Expected { kind: asked, ..right }), EvidenceError::Body(_)), "{asked:?}");
        // Also when the body is made to fit the other kind, whose number the quote has.
        let dressed = Evidence { body: played.body(asked), ..evidence.clone() };
        let refused = verify(&dressed, &Expected { kind: asked, ..right }).unwrap_err();
        assert_eq!(refused, EvidenceError::OtherQuestion, "{asked:?}");
    }
}

#[test]
fn every_changed_byte_is_refused_or_of_the_endorsement() {
    let played = Played::new();
    for kind in KINDS {
        let evidence = played.evidence(kind);
        let bytes = evidence.to_bytes();
        let covered = bytes.len() - postcard::to_allocvec(&evidence.endorsement).unwrap().len();
        for (at, bit) in (0..bytes.len()).flat_map(|at| [(at, 1), (at, 0x80)]) {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            let Ok(changed) = Evidence::from_bytes(&changed) else { continue };
            // A second spelling of the same is the same.
            if changed == evidence {
                continue;
            }
            match check(&changed, kind) {
                Err(_) => {}
                // No signature covers the endorsement key: what is proved of it is a verdict.
                Ok(verified) => {
                    assert!(at >= covered, "byte {at} of {kind:?}");
                    assert_ne!(verified.tpm, TpmVerdict::Unproven(Unproven::NotActivated), "byte {at}");
                }
            }
        }
    }
}

#[test]
fn what_the_vault_must_not_say_is_refused_even_when_its_tpm_signs_it() {
    let played = Played::new();
    let refused = |change: &dyn Fn(&mut EvidenceBody), kind| {
        let mut body = played.body(kind);
        change(&mut body);
        let refused = check(&played.saying(body, kind), kind).unwrap_err();
        assert!(matches!(refused, EvidenceError::Body(_)), "{refused:?}");
    };
    refused(&|body| body.box_name = BoxName([1; 32]), EvidenceKind::Boot);
    refused(&|body| body.version = "x".repeat(65), EvidenceKind::Boot);
    refused(&|body| body.version = "1\u{1b}[2J".into(), EvidenceKind::Boot);
    refused(&|body| body.box_key = P256Public([0; 33]), EvidenceKind::Boot);
    refused(&|body| body.import_key = Some(ImportKey([1; 32])), EvidenceKind::Boot);
    refused(&|body| body.import_key = None, EvidenceKind::ImportKey);
    refused(&|body| body.custody = None, EvidenceKind::Custody);
    let held = |change: fn(&mut HeldShares)| {
        move |body: &mut EvidenceBody| change(body.custody.as_mut().unwrap().shares.as_mut().unwrap())
    };
    refused(&held(|held| held.validators.swap(0, 1)), EvidenceKind::Custody);
    refused(&held(|held| held.validators[1] = held.validators[0]), EvidenceKind::Custody);
    refused(&held(|held| held.validators.clear()), EvidenceKind::Custody);
    refused(&held(|held| held.share_index = ShareIndex(0)), EvidenceKind::Custody);
    let many = |held: &mut HeldShares| {
        held.validators = (0..1_001u16)
            .map(|number| {
                let mut key = [0; 48];
                key[..2].copy_from_slice(&number.to_be_bytes());
                (ValidatorPublic(key), Origin::Imported)
            })
            .collect();
    };
    refused(&held(many), EvidenceKind::Custody);
}

#[test]
fn only_statements_of_a_restricted_key_about_the_right_things_count() {
    let played = Played::new();
    let evidence = played.evidence(EvidenceKind::Boot);
    let refused = |changed: Evidence| check(&changed, EvidenceKind::Boot).unwrap_err();
    let signed = |quote: Vec<u8>| Evidence { signature: played.key.sign(&quote), quote, ..evidence.clone() };
    let counted = |statement: Vec<u8>| {
        let counter = Some(CertifiedCounter { signature: played.key.sign(&statement), statement });
        Evidence { counter, ..evidence.clone() }
    };
    // What a key signs that signs anything.
    assert_eq!(refused(signed(b"anything".to_vec())), EvidenceError::Statement("quote"));
    let unrestricted = policy::signer_area(&played.key.public()).unwrap();
    assert_eq!(refused(Evidence { attestation_key: unrestricted, ..evidence.clone() }), EvidenceError::AttestationKey);
    // The other statement, or one of another key of the same TPM.
    let counter = evidence.counter.clone().unwrap();
    assert_eq!(refused(signed(counter.statement.clone())), EvidenceError::Statement("quote"));
    assert_eq!(refused(counted(evidence.quote.clone())), EvidenceError::Statement("counter"));
    let mut elsewhere = evidence.quote.clone();
    elsewhere[10] ^= 1;
    assert_eq!(refused(signed(elsewhere)), EvidenceError::Statement("quote"));
    // Another counter.
    let qualifying = evidence.body.qualifying(EvidenceKind::Boot, &NONCE);
    let other = [&[0, 34][..], &areas::counter_name(LEASE_COUNTER_INDEX + 1), &[0, 0, 0, 8], &[0; 8]].concat();
    assert_eq!(refused(counted(played.states(KIND_NV, &qualifying, &other))), EvidenceError::Counter);
    // A counter of another day.
    let stale = [&[0, 34][..], &areas::counter_name(LEASE_COUNTER_INDEX), &[0, 0, 0, 8], &[0; 8]].concat();
    assert_eq!(refused(counted(played.states(KIND_NV, &[1; 32], &stale))), EvidenceError::OtherQuestion);
    // Fewer registers.
    let mut fewer = Evidence { registers: vec![7], values: vec![[8; 32]], ..evidence.clone() };
    assert_eq!(refused(fewer.clone()), EvidenceError::Registers);
    let about = [&[0, 0, 0, 1, 0, 0x0b, 3, 0x80, 0, 0, 0, 32][..], &policy::digest_of(&[[8; 32]])].concat();
    fewer.quote = played.states(KIND_QUOTE, &qualifying, &about);
    fewer.signature = played.key.sign(&fewer.quote);
    assert_eq!(refused(fewer), EvidenceError::Registers);
}

#[test]
fn a_tpm_is_genuine_once_it_opened_a_credential() {
    let played = Played::new();
    let verified = check(&played.evidence(EvidenceKind::Boot), EvidenceKind::Boot).unwrap();
    let challenge = verified.challenge(&mut StdRng::seed_from_u64(1)).unwrap();
    let answer = played.endorsement.activate(&played.name(), &challenge.credential).unwrap();
    let other = verified.challenge(&mut StdRng::seed_from_u64(2)).unwrap();
    assert_eq!(verified.clone().activated(&other, &answer).unwrap_err(), EvidenceError::Credential);
    let mut neighbour = Played::new();
    neighbour.key = SigningKey::from_bytes(&[5; 32]).unwrap();
    let of_neighbour = check(&neighbour.evidence(EvidenceKind::Boot), EvidenceKind::Boot).unwrap();
    assert_eq!(of_neighbour.activated(&challenge, &answer).unwrap_err(), EvidenceError::Credential);
    match verified.activated(&challenge, &answer).unwrap().tpm {
        TpmVerdict::Genuine(model) => assert_eq!(model.to_string(), "Infineon SLB9672"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_nobody_vouches_for_stays_unproven_and_an_emulator_is_tier_c() {
    let verdict = |played: &Played| {
        let verified = check(&played.evidence(EvidenceKind::Boot), EvidenceKind::Boot).unwrap();
        let challenge = verified.challenge(&mut StdRng::seed_from_u64(1)).unwrap();
        let answer = played.endorsement.activate(&played.name(), &challenge.credential).unwrap();
        let verified = verified.activated(&challenge, &answer).unwrap();
        (verified.tpm, verified.tier)
    };
    let bare = Played { certificate: None, ..Played::new() };
    assert_eq!(verdict(&bare), (TpmVerdict::Unproven(Unproven::NoCertificate), Tier::A));
    let says = Played { tier: Tier::C, ..Played::new() };
    assert_eq!(verdict(&says), (TpmVerdict::Emulated(Emulated::BoxSays), Tier::C));
    let certificate = Maker(1).certificate(&Played::new().endorsement.public(), ["id:00001014", "swtpm"]);
    let emulated = Played { certificate: Some(certificate), ..Played::new() };
    let (tpm, tier) = verdict(&emulated);
    assert!(matches!(tpm, TpmVerdict::Emulated(Emulated::Certificate { .. })), "{tpm:?}");
    assert_eq!(tier, Tier::C, "whatever the box says");
}

#[test]
fn an_image_is_a_release_when_its_key_approved_what_was_measured() {
    let release = SigningKey::from_bytes(&[6; 32]).unwrap();
    let booted = [0x11; 32];
    let known = |level, pcr_11| KnownImage { pcr_11, approval: Approval::of_image(&release, "board", level, pcr_11) };
    let mut releases = KnownReleases { key: release.public(), images: vec![known(1, booted), known(3, [1; 32])] };
    releases.images.push(known(2, booted));
    let judged = |releases: &KnownReleases, of_image: [[u8; 32]; 3]| {
        let mut played = Played::new();
        played.values[8..].copy_from_slice(&of_image);
        let vendors = VendorRoots::default();
        let (kind, releases) = (EvidenceKind::Boot, Some(releases));
        let expected = Expected { nonce: NONCE, kind, box_name: None, vendors: &vendors, releases, now: NOW };
        verify(&played.evidence(kind), &expected).unwrap().image
    };
    let zero = [0; 32];
    let released = ImageVerdict::Released { board: "board".into(), level: 2 };
    assert_eq!(judged(&releases, [booted, zero, zero]), released);
    // As `systemd-pcrextend` has it once the boot is done.
    let ready = Sha256::digest([booted, Sha256::digest(b"ready").into()].concat()).into();
    assert_eq!(judged(&releases, [ready, zero, zero]), released);
    for other in [[zero, zero, zero], [booted, [1; 32], zero], [booted, zero, [1; 32]]] {
        assert_eq!(judged(&releases, other), ImageVerdict::Unknown);
    }
    // Signed by somebody else, or for another measurement.
    releases.key = SigningKey::from_bytes(&[7; 32]).unwrap().public();
    assert_eq!(judged(&releases, [booted, zero, zero]), ImageVerdict::Unknown);
    let swapped = KnownImage { pcr_11: booted, ..known(4, [2; 32]) };
    let releases = KnownReleases { key: release.public(), images: vec![swapped] };
    assert_eq!(judged(&releases, [booted, zero, zero]), ImageVerdict::Unknown);
}

proptest! {
    #[test]
    fn no_evidence_makes_it_panic(
        quote in proptest::collection::vec(any::<u8>(), 0..200),
        area in proptest::collection::vec(any::<u8>(), 0..120),
        certificate in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)),
        values in proptest::collection::vec(any::<[u8; 32]>(), 0..13),
        sign: bool,
    ) {
        let played = Played::new();
        let mut evidence = played.evidence(EvidenceKind::Boot);
        if sign {
            evidence.signature = played.key.sign(&quote);
        } else {
            evidence.attestation_key = area.clone();
        }
        evidence.counter = Some(CertifiedCounter { statement: quote.clone(), signature: evidence.signature });
        evidence.quote = quote;
        evidence.endorsement = Endorsement { public: area, certificate };
        evidence.values = values;
        prop_assert!(check(&evidence, EvidenceKind::Boot).is_err());
    }
}
