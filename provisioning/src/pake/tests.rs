use std::sync::LazyLock;

use opaque_ke::generic_array::{GenericArray, typenum::U64};
use opaque_ke::ksf::Ksf;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::code::CodeKind;

const HERE: Binding = Binding([1; 32]);
const ELSEWHERE: Binding = Binding([2; 32]);

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn code(seed: u64) -> PairingCode {
    PairingCode::random(CodeKind::Screen, &mut rng(seed))
}

/// One verifier for all tests: making it is slow by design.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Verifier::new(&code(1), &mut rng(2)));

fn answered(ke1: &[u8], binding: &Binding) -> (BoxExchange, Vec<u8>) {
    BoxExchange::answer(&VERIFIER, ke1, binding, &mut rng(3)).unwrap()
}

#[test]
fn the_right_code_gives_both_sides_the_same_key() {
    let (operator, ke1) = OperatorExchange::start(&code(1), &mut rng(4));
    let (the_box, ke2) = answered(&ke1, &HERE);
    let (operators, ke3) = operator.finish(&ke2, &HERE, &mut rng(5)).unwrap();
    assert!(operators == the_box.finish(&ke3).unwrap());
    assert_eq!(format!("{operators:?} {:?}", *VERIFIER), "SessionKey(..) Verifier(..)");
}

#[test]
fn a_wrong_code_is_seen_at_the_end_only_and_without_a_reason() {
    let (operator, ke1) = OperatorExchange::start(&code(9), &mut rng(4));
    let (the_box, ke2) = answered(&ke1, &HERE);
    assert_eq!(operator.finish(&ke2, &HERE, &mut rng(5)).err(), Some(PakeError::Failed));
    assert_eq!(the_box.finish(&[0; 64]).err(), Some(PakeError::Failed));
}

#[test]
fn an_exchange_counts_on_its_connection_only() {
    let (operator, ke1) = OperatorExchange::start(&code(1), &mut rng(4));
    let (_, ke2) = answered(&ke1, &ELSEWHERE);
    assert_eq!(operator.finish(&ke2, &HERE, &mut rng(5)).err(), Some(PakeError::Failed));
}

#[test]
fn a_transcript_cannot_be_replayed() {
    let (operator, ke1) = OperatorExchange::start(&code(1), &mut rng(4));
    let (_, ke2) = answered(&ke1, &HERE);
    let (_, ke3) = operator.finish(&ke2, &HERE, &mut rng(5)).unwrap();
    // Even where TLS exported the same bytes, the box's own nonce and key share are new.
    let (again, _) = BoxExchange::answer(&VERIFIER, &ke1, &HERE, &mut rng(6)).unwrap();
    assert_eq!(again.finish(&ke3).err(), Some(PakeError::Failed));
}

#[test]
fn a_verifier_is_kept_and_read() {
    let bytes = VERIFIER.to_bytes();
    let read = Verifier::from_bytes(&bytes).unwrap();
    assert_eq!(*read.to_bytes(), *bytes);
    for wrong in [&[][..], &bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat(), &[&[2], &bytes[1..]].concat()] {
        assert_eq!(Verifier::from_bytes(wrong).err(), Some(PakeError::Verifier));
    }
    let password = code(1).password();
    assert!(!bytes.windows(password.len()).any(|window| window == &**password));
}

#[test]
fn messages_of_another_length_are_none() {
    let (_, ke1) = OperatorExchange::start(&code(1), &mut rng(4));
    for wrong in [&ke1[..95], &[&ke1[..], &[0]].concat(), &[]] {
        let answer = BoxExchange::answer(&VERIFIER, wrong, &HERE, &mut rng(3));
        assert_eq!(answer.err(), Some(PakeError::Failed));
    }
}

/// The crate's default does not stretch at all, and Argon2's own default takes 19 MiB. Both would pair just as well.
#[test]
fn a_guess_costs_argon2id_over_64_mib() {
    let input = GenericArray::<u8, U64>::from([7; 64]);
    let stretched = <<Scheme as opaque_ke::CipherSuite>::Ksf as Default>::default().hash(input).unwrap();
    let mut expected = [0; 64];
    let params = argon2::Params::new(64 * 1024, 3, 1, None).unwrap();
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(&[7; 64], &[0; 16], &mut expected)
        .unwrap();
    assert_eq!(stretched[..], expected);
    assert_ne!(stretched[..], input[..], "the identity stretches nothing");
    const { assert!(STRETCH_MEMORY_KIB >= 64 * 1024 && STRETCH_PASSES >= 3) };
}

/// Who holds a verifier, as a boot medium has it, plays the box against itself, one code after the other.
#[test]
fn who_holds_a_verifier_pays_one_evaluation_for_each_guess() {
    let evaluations = || opaque::EVALUATIONS.get();
    let stolen = Verifier::from_bytes(&VERIFIER.to_bytes()).unwrap();
    let before = evaluations();
    let began = std::time::Instant::now();
    for guess in 10..13 {
        let (operator, ke1) = OperatorExchange::start(&code(guess), &mut rng(4));
        let (_, ke2) = BoxExchange::answer(&stolen, &ke1, &HERE, &mut rng(5)).unwrap();
        assert_eq!(evaluations(), before + guess as u32 - 10, "what the box does is quick");
        assert_eq!(operator.finish(&ke2, &HERE, &mut rng(6)).err(), Some(PakeError::Failed));
    }
    assert_eq!(evaluations(), before + 3);
    let each = began.elapsed() / 3;
    println!("a guess: 1 Argon2id over {STRETCH_MEMORY_KIB} KiB in {STRETCH_PASSES} passes, here {each:?} on one core");
    for kind in [CodeKind::Screen, CodeKind::Medium] {
        let years = each.as_secs_f64() * 2_f64.powi(kind.bits() as i32 - 1) / (365.25 * 86_400.0);
        println!("half of all {kind:?} codes ({} bits): {years:.1e} years of one such core", kind.bits());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_either_side_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), len in 0_usize..4) {
        bytes.resize([bytes.len(), 96, 320, 64][len], 0);
        let _ = Verifier::from_bytes(&[&[VERSION], &bytes[..]].concat());
        let (_, ke1) = OperatorExchange::start(&code(1), &mut rng(4));
        let (the_box, _) = answered(&ke1, &HERE);
        prop_assert!(the_box.finish(&bytes).is_err());
        let _ = BoxExchange::answer(&VERIFIER, &bytes, &HERE, &mut rng(3));
        let (operator, _) = OperatorExchange::start(&code(1), &mut rng(4));
        // Not of the length of an answer, so that a case does not take an evaluation of Argon2.
        prop_assert!(operator.finish(&bytes[..bytes.len().min(319)], &HERE, &mut rng(5)).is_err());
    }
}
