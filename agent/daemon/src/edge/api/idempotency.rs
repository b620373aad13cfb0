//! The same key of the same caller for the same request gives the same answer for a day.
//!
//! Kept in memory: after a restart of the daemon a repeated request is a new one. What must not happen twice, an order,
//! the vault itself does once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_api::ProblemId;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::answer::{Fail, Whole};

/// The answers that were given, by caller and key.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<BTreeMap<Vec<u8>, BTreeMap<String, Entry>>>);

#[derive(Debug)]
struct Entry {
    request: [u8; 32],
    since: Instant,
    /// `None` while it is under way.
    answer: Option<Result<Whole, Fail>>,
}

/// What to do with a request that has a key.
#[derive(Debug)]
pub(super) enum Turn<'a> {
    /// Answer it, and say what the answer was.
    First(Pending<'a>),
    /// It was answered before.
    Again(Result<Whole, Fail>),
}

/// A request under way. Without an answer, its key is free again.
#[derive(Debug)]
pub(super) struct Pending<'a> {
    answers: &'a Answers,
    caller: Vec<u8>,
    key: String,
    answered: bool,
}

impl Answers {
    /// Whose turn it is.
    pub(super) fn begin(&self, caller: &[u8], key: &str, request: [u8; 32], now: Instant) -> Result<Turn<'_>, Fail> {
        if key.is_empty() || key.len() > KEY_LEN_MAX || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Fail::bad_request(format!(
                "the idempotency key must have 1 to {KEY_LEN_MAX} printable ASCII characters"
            )));
        }
        let mut callers = self.callers();
        make_room(&mut callers, caller, now);
        let entries = callers.entry(caller.to_vec()).or_default();
        match entries.get(key) {
            Some(entry) if entry.request != request => {
                let detail = "this idempotency key was used for another request: take a new one for each";
                return Err(Fail::new(ProblemId::IdempotencyConflict, detail));
            }
            Some(Entry { answer: None, .. }) => {
                return Err(Fail::conflict("the same request is under way: ask again when it is over"));
            }
            Some(Entry { answer: Some(answer), .. }) => return Ok(Turn::Again(answer.clone())),
            None => {}
        }
        entries.insert(key.to_owned(), Entry { request, since: now, answer: None });
        Ok(Turn::First(Pending { answers: self, caller: caller.to_vec(), key: key.to_owned(), answered: false }))
    }

    fn callers(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, BTreeMap<String, Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending<'_> {
    /// What was answered. Faults of the box, and what depends on the moment alone, are not kept.
    pub(super) fn answered(mut self, answer: &Result<Whole, Fail>) {
        let passing = match answer {
            Ok(whole) => whole.json.len() > ANSWER_LEN_MAX,
            Err(fail) => fail.id.status() >= 500 || fail.id == ProblemId::TooManyRequests,
        };
        if passing {
            return;
        }
        if let Some(entry) = self.answers.callers().get_mut(&self.caller).and_then(|of| of.get_mut(&self.key)) {
            entry.answer = Some(answer.clone());
        }
        self.answered = true;
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.answered
            && let Some(entries) = self.answers.callers().get_mut(&self.caller)
        {
            entries.remove(&self.key);
        }
    }
}

/// By what two requests are the same.
pub(super) fn fingerprint(method: &str, path_and_query: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [method.as_bytes(), path_and_query.as_bytes(), body] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Drops what is older than a day, the oldest of a caller who has too many, and the caller who was away longest.
fn make_room(callers: &mut BTreeMap<Vec<u8>, BTreeMap<String, Entry>>, caller: &[u8], now: Instant) {
    if let Some(entries) = callers.get_mut(caller) {
        entries.retain(|_, entry| now.saturating_duration_since(entry.since) < KEPT || entry.answer.is_none());
        while entries.len() >= KEYS_MAX {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.since).map(|(key, _)| key.clone());
            oldest.and_then(|key| entries.remove(&key));
        }
    } else if callers.len() >= CALLERS_MAX {
        let newest = |entries: &BTreeMap<String, Entry>| entries.values().map(|entry| entry.since).max();
        let away = callers.iter().min_by_key(|(_, entries)| newest(entries)).map(|(caller, _)| caller.clone());
        away.and_then(|away| callers.remove(&away));
    }
}

/// As the document of the API says; UUIDs have 36.
const KEY_LEN_MAX: usize = 64;
const KEYS_MAX: usize = 1_000;
/// Certificates of one authority that act within a day.
const CALLERS_MAX: usize = 64;
/// Answers to what has a key are small: one that is larger is made anew.
const ANSWER_LEN_MAX: usize = 16 * 1024;
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn whole(json: &'static str) -> Whole {
        Whole { status: StatusCode::OK, json: json.into(), etag: None, file: None }
    }

    fn first<'a>(answers: &'a Answers, caller: &[u8], key: &str, request: u8, now: Instant) -> Pending<'a> {
        match answers.begin(caller, key, [request; 32], now).unwrap() {
            Turn::First(pending) => pending,
            Turn::Again(_) => panic!("it was answered before"),
        }
    }

    #[test]
    fn the_same_request_has_the_same_answer_for_a_day() {
        let (answers, now) = (Answers::default(), Instant::now());
        first(&answers, b"a", "key", 1, now).answered(&Ok(whole("1")));
        let again = answers.begin(b"a", "key", [1; 32], now).unwrap();
        assert!(matches!(again, Turn::Again(Ok(answer)) if answer == whole("1")));
        let other = answers.begin(b"a", "key", [2; 32], now).unwrap_err();
        assert_eq!(other.id, ProblemId::IdempotencyConflict);
        first(&answers, b"b", "key", 2, now);
        first(&answers, b"a", "key", 2, now + KEPT);
    }

    #[test]
    fn a_request_under_way_is_not_done_twice_and_a_fault_is_forgotten() {
        let (answers, now) = (Answers::default(), Instant::now());
        let pending = first(&answers, b"a", "key", 1, now);
        assert_eq!(answers.begin(b"a", "key", [1; 32], now).unwrap_err().id, ProblemId::Conflict);
        pending.answered(&Err(Fail::new(ProblemId::VaultUnavailable, "")));
        drop(first(&answers, b"a", "key", 1, now));
        first(&answers, b"a", "key", 1, now).answered(&Err(Fail::new(ProblemId::OrderRefused, "no")));
        let again = answers.begin(b"a", "key", [1; 32], now).unwrap();
        assert!(matches!(again, Turn::Again(Err(fail)) if fail.id == ProblemId::OrderRefused));
    }

    #[test]
    fn keys_and_callers_are_bounded() {
        let (answers, start) = (Answers::default(), Instant::now());
        for at in 0..3_000_u64 {
            let now = start + Duration::from_millis(at);
            first(&answers, b"a", &at.to_string(), 1, now).answered(&Ok(whole("1")));
            first(&answers, &at.to_be_bytes(), "key", 1, now).answered(&Ok(whole("1")));
        }
        let callers = answers.callers();
        assert!(callers.len() <= CALLERS_MAX && callers[b"a".as_slice()].len() <= KEYS_MAX);
        assert!(callers[b"a".as_slice()].contains_key("2999"));
    }

    #[test]
    fn no_two_requests_have_the_same_fingerprint() {
        assert_ne!(fingerprint("POST", "/a", b"b"), fingerprint("POST", "/ab", b""));
    }

    #[test]
    fn a_key_is_short_and_printable() {
        for key in ["", "a b", "\u{e4}", &"x".repeat(65)] {
            let refused = Answers::default().begin(b"a", key, [0; 32], Instant::now()).unwrap_err();
            assert_eq!(refused.id, ProblemId::BadRequest, "{key}");
        }
    }
}
