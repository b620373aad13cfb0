use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

/// A code of a medium and its verifier, once for all tests: making one is slow by design.
static MEDIUM: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let code = PairingCode::random(CodeKind::Medium, &mut rng(1));
    Verifier::new(&code, &mut rng(2)).to_bytes().to_vec()
});

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn medium() -> Verifier {
    Verifier::from_bytes(&MEDIUM).unwrap()
}

/// A desk that is torn down and opened again, as by `kill -9`, between any two steps.
struct Script {
    folder: tempfile::TempDir,
    desk: CodeDesk,
    now: Millis,
    rng: StdRng,
}

impl Script {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let desk = CodeDesk::open(folder.path().join("pairing.json")).unwrap();
        Self { folder, desk, now: Millis(1_000), rng: rng(7) }
    }

    fn path(&self) -> &Path {
        &self.desk.path
    }

    fn killed(mut self) -> Self {
        self.desk = CodeDesk::open(self.path().to_owned()).unwrap();
        self
    }

    fn after(mut self, ms: u64) -> Self {
        self.now = self.now.plus(ms);
        self
    }

    fn show(&mut self) -> Shown {
        self.desk.show(self.now, &mut self.rng).unwrap()
    }

    fn shows(mut self, tries_left: u8) -> Self {
        assert_eq!(self.show().tries_left, tries_left);
        self
    }

    fn try_once(&mut self) -> Try {
        self.desk.take_try(self.now).unwrap()
    }

    fn tries(mut self, tries_left: u8) -> Self {
        assert_eq!(self.try_once().tries_left, tries_left);
        self
    }

    fn refuses(mut self, expected: &str) -> Self {
        assert_eq!(self.desk.take_try(self.now).unwrap_err().to_string(), expected);
        self
    }
}

const EXPIRED: &str = "the pairing code has expired: a new one is on the screen";
const NO_CODE: &str = "there is no pairing code yet: connect a screen, or boot from a medium with a code";
const WORN_OUT: &str = "all tries of this pairing code are used: a new one comes within a minute";

#[test]
fn a_code_counts_for_a_quarter_of_an_hour_from_when_it_is_first_shown() {
    let mut script = Script::new().refuses(NO_CODE);
    let first = script.show();
    assert_eq!(first.expires, script.now.plus(SCREEN_VALID_MS));
    let mut script = script.after(SCREEN_VALID_MS - 1).tries(4);
    assert_eq!(script.show().code, first.code);
    let mut script = script.after(1).refuses(EXPIRED);
    assert_eq!(script.show().code, first.code, "who began in time may end");
    let mut script = script.after(EXCHANGE_MS);
    let second = script.show();
    assert!(second.code != first.code && second.tries_left == TRIES_MAX);
}

#[test]
fn five_tries_then_a_new_code_by_itself() {
    let mut script = Script::new();
    let first = script.show().code;
    let mut script = script.tries(4).tries(3).tries(2).tries(1).tries(0).refuses(WORN_OUT).shows(0);
    assert_eq!(script.show().code, first);
    let mut script = script.after(EXCHANGE_MS);
    assert_ne!(script.show().code, first);
    script.shows(5).tries(4);
}

#[test]
fn no_crash_gives_a_try_back() {
    let script = Script::new().shows(5).tries(4).killed().refuses(NO_CODE).shows(4).tries(3).killed().killed();
    let script = script.shows(3).tries(2).tries(1).killed().shows(1).tries(0).refuses(WORN_OUT);
    // Five guesses were made, however often it was killed: what comes now is a new code.
    script.killed().shows(5).tries(4);
}

#[test]
fn a_code_is_used_once() {
    let mut script = Script::new();
    let first = script.show().code;
    let (one, other) = (script.try_once(), script.try_once());
    script.desk.used(&one, script.now).unwrap();
    for late in [&one, &other] {
        assert_eq!(script.desk.used(late, script.now).unwrap_err().to_string(), EXPIRED);
    }
    let mut script = script.refuses(NO_CODE);
    let second = script.show();
    assert!(second.code != first && second.tries_left == TRIES_MAX);
    assert!(script.desk.used(&other, script.now).is_err(), "a try belongs to its code");
}

#[test]
fn an_exchange_ends_in_time_or_not_at_all() {
    let script = &mut Script::new();
    script.show();
    let late = script.try_once();
    assert!(script.desk.used(&late, script.now.plus(EXCHANGE_MS)).is_err());
    script.desk.used(&late, script.now.plus(EXCHANGE_MS - 1)).unwrap();
}

#[test]
fn a_mediums_code_counts_without_a_screen_and_once() {
    let mut script = Script::new();
    assert!(script.desk.take_medium(&medium()).unwrap());
    let mut script = script.killed().tries(4).killed();
    assert!(script.desk.take_medium(&medium()).unwrap(), "it is the one that is kept");
    let shown = script.show();
    assert!(shown.code.is_none() && shown.tries_left == 4);
    let right = script.try_once();
    assert_eq!(*right.verifier.to_bytes(), *MEDIUM);
    script.desk.used(&right, script.now).unwrap();
    assert!(!fs::read_to_string(script.path()).unwrap().contains(&STANDARD.encode(&*MEDIUM)));
    let mut script = script.killed().refuses(NO_CODE);
    assert!(!script.desk.take_medium(&medium()).unwrap(), "the medium is still in the box");
    assert!(script.show().code.is_some());
}

#[test]
fn a_mediums_code_wears_out_and_expires_over_restarts() {
    let mut worn = Script::new();
    worn.desk.take_medium(&medium()).unwrap();
    let mut worn = worn.tries(4).tries(3).killed().tries(2).tries(1).tries(0).killed().refuses(WORN_OUT);
    assert!(worn.show().code.is_some());
    assert!(!worn.desk.take_medium(&medium()).unwrap());

    let mut old = Script::new();
    old.desk.take_medium(&medium()).unwrap();
    for _ in 0..24 {
        let expires = old.show().expires;
        assert!(expires.0 <= old.now.0 + MEDIUM_VALID_MS);
        old = old.after(60 * 60 * 1_000);
        assert!(old.show().code.is_none() || old.now.0 > MEDIUM_VALID_MS);
        old = old.killed();
    }
    assert!(old.show().code.is_some());
    assert!(!old.desk.take_medium(&medium()).unwrap());
}

#[test]
fn a_mediums_expired_verifier_is_erased_without_a_screen_too() {
    let mut script = Script::new();
    script.desk.take_medium(&medium()).unwrap();
    let script = script.tries(4).after(MEDIUM_VALID_MS).refuses(EXPIRED);
    let text = fs::read_to_string(script.path()).unwrap();
    assert!(text.starts_with(r#"{"triesTaken":0,"medium":null,"spent":[""#), "{text}");
}

#[test]
fn the_key_on_the_screen_makes_a_new_code() {
    let mut script = Script::new().shows(5).tries(4);
    let first = script.show().code;
    script.desk.rearm().unwrap();
    let second = script.show();
    assert!(second.code != first && second.tries_left == TRIES_MAX);
    script.killed().shows(5);
}

#[test]
fn the_code_of_the_screen_never_reaches_the_disk() {
    let mut script = Script::new();
    let code = script.show().code.unwrap().to_string();
    let script = script.tries(4);
    let text = fs::read_to_string(script.path()).unwrap();
    assert_eq!(text, r#"{"triesTaken":1,"medium":null,"spent":[]}"#);
    assert!(!format!("{:?}", script.desk).contains(&code));
}

#[test]
fn no_try_is_given_that_cannot_be_counted() {
    let mut script = Script::new().shows(5);
    fs::remove_dir_all(script.folder.path()).unwrap();
    assert!(matches!(script.desk.take_try(script.now), Err(DeskError::File(_))));
}

#[test]
fn a_file_that_is_none_means_a_new_code() {
    let half = fs::read(Script::new().shows(5).path()).unwrap();
    for bytes in [&b""[..], b"\xff\xff", b"{}", b"[[[[", &half[..half.len() / 2], &vec![b' '; 20_000]] {
        let script = Script::new();
        fs::write(script.path(), bytes).unwrap();
        script.killed().shows(5).tries(4);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_file_makes_the_desk_panic(tries: u8, age_ms: u64, verifier in "[A-Za-z0-9+/=]{0,40}", spent in 0_usize..40) {
        let script = Script::new();
        let kept = Kept {
            tries_taken: tries,
            medium: Some(Medium { verifier: Secret(verifier), age_ms }),
            spent: vec![String::new(); spent],
        };
        fs::write(script.path(), serde_json::to_vec(&kept).unwrap()).unwrap();
        let mut script = script.killed();
        prop_assert!(script.desk.take_try(script.now).is_err());
    }
}
