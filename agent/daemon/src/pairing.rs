//! The pairing code while nobody owns the box: made, shown on the screen, tried over the API, and the words after it.
//!
//! Both the API and the screen have it, and neither the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_provisioning::desk::{CodeDesk, DeskError, Shown, Try};
use holdfast_types::Millis;
use rand::rngs::OsRng;
use tokio::time::Instant;

/// The code of this box.
#[derive(Clone, Debug)]
pub struct Pairing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    desk: Mutex<CodeDesk>,
    words: Mutex<Option<(String, Instant)>>,
    /// The box was given its owner, which others who look at the vault learn a moment later.
    done: AtomicBool,
    started: Instant,
}

impl Pairing {
    /// With the desk of the state folder.
    #[must_use]
    pub fn new(desk: CodeDesk) -> Self {
        Self(Arc::new(Shared {
            desk: Mutex::new(desk),
            words: Mutex::new(None),
            done: AtomicBool::new(false),
            started: Instant::now(),
        }))
    }

    /// What the screen shows, and how long it counts. Makes a code when there is none, which is slow by design: on a
    /// thread that may block.
    ///
    /// # Errors
    /// When nothing can be kept.
    pub fn show(&self) -> Result<(Shown, Duration), DeskError> {
        let now = self.now();
        let shown = self.desk().show(now, &mut OsRng)?;
        let left = Duration::from_millis(shown.expires.since(now));
        Ok((shown, left))
    }

    /// Takes a try, which is on disk when this returns. Blocks.
    ///
    /// # Errors
    /// When there is none.
    pub fn take_try(&self) -> Result<Try, DeskError> {
        let now = self.now();
        self.desk().take_try(now)
    }

    /// Crosses the code out: this try was right, and these are its words. Blocks.
    ///
    /// # Errors
    /// When it came too late, or cannot be kept.
    pub fn used(&self, the_try: &Try, words: String) -> Result<(), DeskError> {
        let now = self.now();
        self.desk().used(the_try, now)?;
        *self.words() = Some((words, Instant::now()));
        Ok(())
    }

    /// Throws code and words away, so that a new code is made when it is shown next. Blocks.
    ///
    /// # Errors
    /// When nothing can be kept.
    pub fn rearm(&self) -> Result<(), DeskError> {
        *self.words() = None;
        self.0.done.store(false, Ordering::Relaxed);
        self.desk().rearm()
    }

    /// The words of the last pairing, for as long as the screen shows them.
    #[must_use]
    pub fn four_words(&self) -> Option<String> {
        let words = self.words();
        words.as_ref().filter(|(_, since)| since.elapsed() < WORDS_SHOWN).map(|(words, _)| words.clone())
    }

    /// The box has an owner: nothing is left to compare or to show, until [`Self::rearm`].
    pub fn done(&self) {
        *self.words() = None;
        self.0.done.store(true, Ordering::Relaxed);
    }

    /// Whether that is so.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.done.load(Ordering::Relaxed)
    }

    /// The desk's time is monotonic.
    fn now(&self) -> Millis {
        Millis(u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// What a panic left behind is a code of which every try was counted before it was given out.
    fn desk(&self) -> MutexGuard<'_, CodeDesk> {
        self.0.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn words(&self) -> MutexGuard<'_, Option<(String, Instant)>> {
        self.0.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Long enough to compare four words at the box.
const WORDS_SHOWN: Duration = Duration::from_secs(60);
