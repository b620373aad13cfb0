//! What the box keeps of its pairing code: one at a time, for a while, for a few tries.
//!
//! A try is on disk before it is given out, so no crash gives one back. Of a screen's code only the number of tries goes to
//! disk: after a restart another code is shown, with the tries that were left. A boot medium's verifier is kept until it was
//! used, is worn out or has expired, and is remembered by its hash then, so that a medium that stays in the box counts once.
//!
//! Time is monotonic and passed in. Making a code is slow by design (Argon2): [`CodeDesk::show`] belongs on a thread that may
//! block.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_types::Millis;
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use crate::code::{CodeKind, PairingCode};
use crate::files::{self, FileError};
use crate::pake::Verifier;

/// The place where codes are made, shown, tried and crossed out.
#[derive(Debug)]
pub struct CodeDesk {
    path: PathBuf,
    kept: Kept,
    live: Option<Live>,
    /// The code of this process that is or was live last, so that a try belongs to one code.
    number: u64,
    /// Tries that were taken before this process started count for its first code.
    carries_tries: bool,
}

/// What there is to show.
#[derive(Debug)]
pub struct Shown {
    /// The code; `None` when it came from the boot medium: the box does not know it.
    pub code: Option<PairingCode>,
    /// Until when it counts.
    pub expires: Millis,
    /// How many tries are left.
    pub tries_left: u8,
}

/// One try, which is counted already.
#[derive(Clone, Debug)]
pub struct Try {
    /// To answer with.
    pub verifier: Arc<Verifier>,
    /// How many tries are left after this one.
    pub tries_left: u8,
    number: u64,
    at: Millis,
}

/// Why there is no try.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The code has expired, or was replaced meanwhile.
    #[error("the pairing code has expired: a new one is on the screen")]
    Expired,
    /// Nothing can be kept, so nothing is given out.
    #[error("cannot keep count of the tries, so none is given")]
    File(#[from] FileError),
    /// No code is shown and none came with the boot medium.
    #[error("there is no pairing code yet: connect a screen, or boot from a medium with a code")]
    NoCode,
    /// All tries are used.
    #[error("all tries of this pairing code are used: a new one comes within a minute")]
    WornOut,
}

#[derive(Debug)]
struct Live {
    code: Option<PairingCode>,
    verifier: Arc<Verifier>,
    /// When this process first showed or offered it.
    since: Option<Millis>,
    last_try: Option<Millis>,
}

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    tries_taken: u8,
    medium: Option<Medium>,
    /// SHA-256 of mediums' verifiers that count no more, oldest first.
    spent: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Medium {
    verifier: Secret,
    /// How long the box was up with it.
    age_ms: u64,
}

/// A verifier in base64.
#[derive(Serialize, Deserialize)]
struct Secret(String);

impl CodeDesk {
    /// Opens the desk whose file this is. A file that is missing or no such file means that there is no code yet.
    ///
    /// # Errors
    /// When the file is there and cannot be read at all.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        let path = path.into();
        let bytes = match files::read_bounded(&path, FILE_LEN_MAX) {
            Err(FileError::TooLarge { .. }) => None,
            bytes => bytes?,
        };
        let mut kept: Kept = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        kept.spent.truncate(SPENT_MAX);
        let verifier = kept.medium.as_ref().and_then(|medium| medium.verifier.verifier());
        if verifier.is_none() {
            kept.medium = None;
        }
        let live = verifier.map(Live::of_medium);
        Ok(Self { path, kept, live, number: 0, carries_tries: true })
    }

    /// What to show now. To be asked about every second while nobody owns the box, also without a screen: an expired
    /// medium's verifier is erased here. Makes a code when there is none, or when the last has expired or is worn out.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn show(&mut self, now: Millis, rng: &mut impl CryptoRngCore) -> Result<Shown, DeskError> {
        self.note_age(now)?;
        let over = self.expired(now) || self.kept.tries_taken >= TRIES_MAX;
        if self.live.is_none() || over && !self.exchanging(now) {
            let tries_taken = if self.carries_tries && !over { self.kept.tries_taken } else { 0 };
            self.retire(tries_taken)?;
            self.live = Some(Live::of_screen(now, rng));
        }
        let live = self.live.as_ref().expect("it was made above");
        let expires = Millis(live.since.unwrap_or(now).0.saturating_add(self.valid_ms(live)));
        Ok(Shown { code: live.code.clone(), expires, tries_left: self.tries_left() })
    }

    /// Takes the verifier that came with the boot medium instead of a code of the screen. `false` when this one was
    /// used, worn out or expired before.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn take_medium(&mut self, verifier: &Verifier) -> Result<bool, DeskError> {
        let secret = Secret::of(verifier);
        let hash = secret.hash();
        if self.kept.spent.contains(&hash) {
            return Ok(false);
        }
        if self.kept.medium.as_ref().is_some_and(|medium| medium.verifier.hash() == hash) {
            return Ok(true);
        }
        let verifier = secret.verifier().expect("it was written just now");
        self.retire(0)?;
        self.kept.medium = Some(Medium { verifier: secret, age_ms: 0 });
        self.save()?;
        self.live = Some(Live::of_medium(verifier));
        Ok(true)
    }

    /// Takes a try. It is on disk when this returns.
    ///
    /// # Errors
    /// When there is no try to take, or the file cannot be written.
    pub fn take_try(&mut self, now: Millis) -> Result<Try, DeskError> {
        self.note_age(now)?;
        if self.live.is_none() {
            return Err(DeskError::NoCode);
        }
        if self.expired(now) {
            // Nobody may look at the screen, where a new code would take its place; it is not kept for that.
            if self.kept.medium.is_some() && !self.exchanging(now) {
                self.retire(0)?;
            }
            return Err(DeskError::Expired);
        }
        if self.kept.tries_taken >= TRIES_MAX {
            return Err(DeskError::WornOut);
        }
        self.kept.tries_taken += 1;
        self.save()?;
        let (tries_left, number) = (self.tries_left(), self.number);
        let live = self.live.as_mut().expect("it was looked at above");
        live.last_try = Some(now);
        Ok(Try { verifier: Arc::clone(&live.verifier), tries_left, number, at: now })
    }

    /// Crosses the code out, because this try was right. From then on, also after a crash, nobody pairs with it.
    ///
    /// # Errors
    /// When the code was replaced or used by another try meanwhile, or the file cannot be written: the try counts
    /// as wrong then.
    pub fn used(&mut self, the_try: &Try, now: Millis) -> Result<(), DeskError> {
        if self.live.is_none() || self.number != the_try.number || now.since(the_try.at) >= EXCHANGE_MS {
            return Err(DeskError::Expired);
        }
        self.retire(0)
    }

    /// Throws the code away, a medium's too, so that [`Self::show`] makes a new one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn rearm(&mut self) -> Result<(), DeskError> {
        self.retire(0)
    }

    fn expired(&self, now: Millis) -> bool {
        self.live.as_ref().is_some_and(|live| live.since.is_some_and(|since| now.since(since) >= self.valid_ms(live)))
    }

    /// How long after `since` it counts.
    fn valid_ms(&self, live: &Live) -> u64 {
        match (&live.code, &self.kept.medium) {
            (None, Some(medium)) => MEDIUM_VALID_MS.saturating_sub(medium.age_ms),
            _ => SCREEN_VALID_MS,
        }
    }

    /// Whether someone may be in the middle of an exchange that began in time.
    fn exchanging(&self, now: Millis) -> bool {
        let last_try = self.live.as_ref().and_then(|live| live.last_try);
        last_try.is_some_and(|at| now.since(at) < EXCHANGE_MS)
    }

    fn tries_left(&self) -> u8 {
        TRIES_MAX.saturating_sub(self.kept.tries_taken)
    }

    /// A medium's verifier ages also over restarts, by steps.
    fn note_age(&mut self, now: Millis) -> Result<(), DeskError> {
        let (Some(live), Some(medium)) = (&mut self.live, &mut self.kept.medium) else { return Ok(()) };
        let since = *live.since.get_or_insert(now);
        if now.since(since) < AGE_STEP_MS {
            return Ok(());
        }
        medium.age_ms = medium.age_ms.saturating_add(now.since(since));
        live.since = Some(now);
        self.save()
    }

    /// Ends the life of the present code, on disk first.
    fn retire(&mut self, tries_taken: u8) -> Result<(), DeskError> {
        if let Some(medium) = self.kept.medium.take() {
            self.kept.spent.push(medium.verifier.hash());
            let excess = self.kept.spent.len().saturating_sub(SPENT_MAX);
            self.kept.spent.drain(..excess);
        }
        self.kept.tries_taken = tries_taken;
        self.live = None;
        self.number += 1;
        self.carries_tries = false;
        self.save()
    }

    fn save(&self) -> Result<(), DeskError> {
        let mut bytes = serde_json::to_vec(&self.kept).expect("plain data has a form in JSON");
        let written = files::write_whole(&self.path, &bytes);
        bytes.zeroize();
        Ok(written?)
    }
}

impl Live {
    fn of_screen(now: Millis, rng: &mut impl CryptoRngCore) -> Self {
        let code = PairingCode::random(CodeKind::Screen, rng);
        let verifier = Arc::new(Verifier::new(&code, rng));
        Self { code: Some(code), verifier, since: Some(now), last_try: None }
    }

    fn of_medium(verifier: Verifier) -> Self {
        Self { code: None, verifier: Arc::new(verifier), since: None, last_try: None }
    }
}

impl Secret {
    fn of(verifier: &Verifier) -> Self {
        Self(STANDARD.encode(&*verifier.to_bytes()))
    }

    fn verifier(&self) -> Option<Verifier> {
        let mut bytes = STANDARD.decode(&self.0).ok()?;
        let verifier = Verifier::from_bytes(&bytes).ok();
        bytes.zeroize();
        verifier
    }

    fn hash(&self) -> String {
        hex::encode(Sha256::digest(&self.0))
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// How many guesses a code stands: at 40 bits, one in two hundred billion hits.
pub const TRIES_MAX: u8 = 5;
/// How long a code of the screen counts, from when it was first shown.
pub const SCREEN_VALID_MS: u64 = 15 * 60 * 1_000;
/// How long a medium's code counts while the box is up: nobody sees it on a screen, and the operator comes when they can.
pub const MEDIUM_VALID_MS: u64 = 24 * 60 * 60 * 1_000;
/// How long an exchange may take: the command's Argon2 takes seconds at worst. A worn-out code stays so long as well,
/// which is what paces who only guesses.
pub const EXCHANGE_MS: u64 = 30 * 1_000;

/// Written at most so often; a crash makes a medium's code younger by no more.
const AGE_STEP_MS: u64 = 10 * 60 * 1_000;
/// More mediums than a box sees before it is owned.
const SPENT_MAX: usize = 16;
/// A verifier, the hashes, and the names of the fields.
const FILE_LEN_MAX: u64 = 16 * 1024;

#[cfg(test)]
mod tests;
