//! Whoever keeps the configuration: applies changes, tells what was applied, and takes back a change that may cost the
//! operator his access unless he confirms it in time.
//!
//! The way back is on disk before the change is, so that a restart or a power cut leaves no box out of reach.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_api::{Configuration, ConfigurationEntry, ConfigurationHistory, FieldChange, Timestamp};
use holdfast_types::Millis;
use tokio::time::Instant;

use super::{Settings, WrongField, changes, etag, risks_access};
use crate::folder::{Folder, FolderError, Unconfirmed};

/// The configuration that holds, and the files behind it. Its calls block for as long as the disk takes.
#[derive(Debug)]
pub struct Keeper {
    folder: Arc<Folder>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: Configuration,
    unconfirmed: Option<Waiting>,
    /// Whether the file is another than this, and damaged.
    damaged: bool,
}

/// A change that waits to be confirmed. The clock may be set meanwhile, so that within one life of the daemon it is not the
/// clock that says when the time is over.
#[derive(Clone, Debug)]
struct Waiting {
    change: Unconfirmed,
    due: Instant,
}

/// A configuration was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What changed.
    pub changes: Vec<FieldChange>,
    /// The tag of what holds now.
    pub etag: String,
    /// Until when it must be confirmed, if it must.
    pub confirm_by: Option<Timestamp>,
}

/// Why a configuration was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It cannot be kept.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Another change came first.
    #[error("the configuration was changed meanwhile: read it again and apply the change to that")]
    Stale,
    /// A change waits to be confirmed, and this one does not keep the way back to what held before it.
    #[error("a change waits to be confirmed until {confirm_by}: confirm it first, or wait until it is taken back")]
    Unconfirmed {
        /// Until when.
        confirm_by: Timestamp,
    },
    /// Fields of it cannot be right.
    #[error("{} fields cannot be right, first {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Wrong(Vec<WrongField>),
}

impl Keeper {
    /// Reads what holds. A change that nobody confirmed in time, or whose time cannot be told, is taken back.
    ///
    /// # Errors
    /// When the configuration cannot be read or understood; the file is left as it is.
    pub fn open(folder: Arc<Folder>, now: Millis) -> Result<Self, FolderError> {
        let configuration = folder.configuration()?;
        let unconfirmed = folder.unconfirmed()?.map(|change| {
            // The clock may have been set back meanwhile: nobody waits longer than he would have.
            let left = Duration::from_millis(change.confirm_by.0.since(now)).min(CONFIRM_WITHIN);
            Waiting { change, due: Instant::now() + left }
        });
        let state = State { now: configuration, unconfirmed, damaged: false };
        let keeper = Self { folder, state: Mutex::new(state) };
        keeper.take_back_if_due(now)?;
        Ok(keeper)
    }

    /// With the defaults, in memory, while the file is damaged; the next change that is applied replaces the file.
    #[must_use]
    pub fn with_defaults(folder: Arc<Folder>) -> Self {
        let state = State { now: Configuration::default(), unconfirmed: None, damaged: true };
        Self { folder, state: Mutex::new(state) }
    }

    /// Whether the file is damaged, and the defaults hold instead.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.state().damaged
    }

    /// The configuration that holds.
    #[must_use]
    pub fn configuration(&self) -> Configuration {
        self.state().now.clone()
    }

    /// What the daemon uses of it.
    ///
    /// # Errors
    /// Every field that cannot be right.
    pub fn settings(&self) -> Result<Settings, Vec<WrongField>> {
        Settings::check(&self.state().now)
    }

    /// What was applied, newest first.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn history(&self) -> Result<ConfigurationHistory, FolderError> {
        self.folder.history()
    }

    /// Until when the change that holds must be confirmed, if it must.
    #[must_use]
    pub fn confirm_by(&self) -> Option<Timestamp> {
        self.state().unconfirmed.as_ref().map(|waiting| waiting.change.confirm_by)
    }

    /// Applies a configuration, if the one that holds has the tag `expected`.
    ///
    /// # Errors
    /// When it has another, fields of it cannot be right, or it cannot be kept.
    pub fn apply(&self, expected: &str, after: Configuration, by: &str, now: Millis) -> Result<Applied, ApplyError> {
        Settings::check(&after).map_err(ApplyError::Wrong)?;
        let mut state = self.state();
        if etag(&state.now) != expected {
            return Err(ApplyError::Stale);
        }
        let risky = risks_access(&state.now, &after);
        let mut unconfirmed = state.unconfirmed.clone();
        match &mut unconfirmed {
            Some(Waiting { change, .. }) if risky => {
                return Err(ApplyError::Unconfirmed { confirm_by: change.confirm_by });
            }
            None if risky => {
                let change = Unconfirmed { before: state.now.clone(), confirm_by: confirm_by(now) };
                self.folder.keep_unconfirmed(Some(&change))?;
                unconfirmed = Some(Waiting { change, due: Instant::now() + CONFIRM_WITHIN });
            }
            Some(Waiting { change, .. }) => {
                // What is taken back later is where the API listens, and not this.
                let listen = std::mem::take(&mut change.before.api.listen);
                change.before = after.clone();
                change.before.api.listen = listen;
                self.folder.keep_unconfirmed(Some(change))?;
            }
            None => {}
        }
        let found = self.replace(&mut state, after, by, now)?;
        state.unconfirmed = unconfirmed;
        let confirm_by = state.unconfirmed.as_ref().map(|waiting| waiting.change.confirm_by);
        Ok(Applied { changes: found, etag: etag(&state.now), confirm_by })
    }

    /// Confirms the change that is taken back otherwise; what it changed, or `None` when there is none.
    ///
    /// # Errors
    /// When that cannot be kept; it is taken back then.
    pub fn confirm(&self) -> Result<Option<Vec<FieldChange>>, FolderError> {
        let mut state = self.state();
        let Some(waiting) = &state.unconfirmed else { return Ok(None) };
        let found = changes(&waiting.change.before, &state.now);
        self.folder.keep_unconfirmed(None)?;
        state.unconfirmed = None;
        Ok(Some(found))
    }

    /// Takes back a change that nobody confirmed in time. Whether it did: then the settings are others. `now` is only told
    /// in the history.
    ///
    /// # Errors
    /// When that cannot be kept; it is tried again next time.
    pub fn take_back_if_due(&self, now: Millis) -> Result<bool, FolderError> {
        let mut state = self.state();
        let Some(waiting) = state.unconfirmed.clone().filter(|waiting| waiting.due <= Instant::now()) else {
            return Ok(false);
        };
        self.replace(&mut state, waiting.change.before, BY_BOX, now)?;
        self.folder.keep_unconfirmed(None)?;
        state.unconfirmed = None;
        Ok(true)
    }

    /// Begins anew with the defaults, after the folder was told to forget.
    pub fn forget(&self) {
        *self.state() = State { now: Configuration::default(), unconfirmed: None, damaged: false };
    }

    fn replace(
        &self,
        state: &mut State,
        after: Configuration,
        by: &str,
        now: Millis,
    ) -> Result<Vec<FieldChange>, FolderError> {
        let found = changes(&state.now, &after);
        self.folder.keep_configuration(&after)?;
        state.damaged = false;
        let entry =
            ConfigurationEntry { etag: etag(&after), at: Timestamp(now), by: by.to_owned(), changes: found.clone() };
        state.now = after;
        // It holds from here on, whether or not it is told later.
        let told = self.folder.history().and_then(|mut history| {
            history.entries.insert(0, entry);
            self.folder.keep_history(history)
        });
        if let Err(error) = told {
            tracing::warn!(%error, "a change of the configuration is missing in its history");
        }
        Ok(found)
    }

    /// What a panic left behind is a configuration that was kept.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn confirm_by(now: Millis) -> Timestamp {
    Timestamp(now.plus(u64::try_from(CONFIRM_WITHIN.as_millis()).unwrap_or(u64::MAX)))
}

/// Enough to find out that the box is not where it was, and to come back by the way that it was told of.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5 * 60);

/// Who takes a change back.
const BY_BOX: &str = "box";

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const START: Millis = Millis(1_795_779_617_000);
    const MINUTE_MS: u64 = 60_000;
    const MINUTE: Duration = Duration::from_millis(MINUTE_MS);

    struct Bench {
        dir: tempfile::TempDir,
        keeper: Keeper,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let keeper = Self::open(&dir, START);
            Self { dir, keeper }
        }

        fn open(dir: &tempfile::TempDir, now: Millis) -> Keeper {
            Keeper::open(Arc::new(Folder::open(dir.path()).unwrap()), now).unwrap()
        }

        fn restart(&mut self, now: Millis) {
            self.keeper = Self::open(&self.dir, now);
        }

        fn change(&self, change: impl Fn(&mut Configuration)) -> Result<Applied, ApplyError> {
            let before = self.keeper.configuration();
            let mut after = before.clone();
            change(&mut after);
            self.keeper.apply(&etag(&before), after, "ada", START)
        }

        fn listen(&self) -> String {
            self.keeper.configuration().api.listen
        }
    }

    fn move_api(configuration: &mut Configuration) {
        configuration.api.listen = "127.0.0.1:1".to_owned();
    }

    #[test]
    fn a_change_is_kept_and_told_with_who_made_it() {
        let mut bench = Bench::new();
        let applied = bench.change(|after| after.nickname = "north".to_owned()).unwrap();
        assert_eq!((applied.changes.len(), applied.confirm_by), (1, None));
        bench.restart(START);
        let history = bench.keeper.history().unwrap().entries;
        assert_eq!((history.len(), history[0].by.as_str(), &history[0].etag), (1, "ada", &applied.etag));
        assert_eq!(etag(&bench.keeper.configuration()), applied.etag);
    }

    #[test]
    fn only_the_last_twenty_changes_are_told() {
        let bench = Bench::new();
        for number in 0..25 {
            bench.change(|after| after.nickname = number.to_string()).unwrap();
        }
        let history = bench.keeper.history().unwrap().entries;
        assert_eq!((history.len(), history[0].changes[0].after.as_deref()), (20, Some("\"24\"")));
    }

    #[test]
    fn what_is_stale_or_wrong_changes_nothing() {
        let bench = Bench::new();
        let stale = bench.keeper.apply("\"00\"", Configuration::default(), "ada", START);
        assert!(matches!(stale, Err(ApplyError::Stale)));
        let wrong = bench.change(|after| after.metrics.listen = "0.0.0.0:1".to_owned());
        assert!(matches!(wrong, Err(ApplyError::Wrong(fields)) if fields[0].pointer == "/metrics/listen"));
        assert_eq!(bench.keeper.configuration(), Configuration::default());
        assert_eq!(bench.keeper.history().unwrap().entries, []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_risky_change_that_nobody_confirms_is_taken_back() {
        let bench = Bench::new();
        let applied = bench.change(move_api).unwrap();
        assert_eq!(applied.confirm_by, Some(Timestamp(START.plus(5 * MINUTE_MS))));
        // Whatever the clock says.
        assert!(!bench.keeper.take_back_if_due(START.plus(90 * MINUTE_MS)).unwrap());
        advance(5 * MINUTE - Duration::from_millis(1)).await;
        assert!(!bench.keeper.take_back_if_due(START).unwrap());
        assert_eq!(bench.listen(), "127.0.0.1:1");
        advance(Duration::from_millis(1)).await;
        assert!(bench.keeper.take_back_if_due(START).unwrap());
        assert_eq!(bench.listen(), "0.0.0.0:4443");
        assert_eq!(bench.keeper.history().unwrap().entries[0].by, "box");
        advance(9 * MINUTE).await;
        assert!(!bench.keeper.take_back_if_due(START).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_taken_back_after_a_restart_too() {
        let mut bench = Bench::new();
        bench.change(move_api).unwrap();
        bench.restart(START.plus(MINUTE_MS));
        assert_eq!(bench.listen(), "127.0.0.1:1");
        advance(4 * MINUTE).await;
        assert!(bench.keeper.take_back_if_due(START).unwrap());
        bench.change(move_api).unwrap();
        bench.restart(START.plus(6 * MINUTE_MS));
        assert_eq!(bench.listen(), "0.0.0.0:4443");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_back_does_not_keep_it_for_ever() {
        let mut bench = Bench::new();
        bench.change(move_api).unwrap();
        bench.restart(Millis(1_000_000));
        assert_eq!(bench.listen(), "127.0.0.1:1");
        advance(5 * MINUTE).await;
        assert!(bench.keeper.take_back_if_due(START).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_confirmed_stays() {
        let bench = Bench::new();
        assert_eq!(bench.keeper.confirm().unwrap(), None);
        bench.change(move_api).unwrap();
        assert_eq!(bench.keeper.confirm().unwrap().unwrap()[0].field, "/api/listen");
        advance(9 * MINUTE).await;
        assert!(!bench.keeper.take_back_if_due(START).unwrap());
        assert_eq!(bench.listen(), "127.0.0.1:1");
    }

    #[tokio::test(start_paused = true)]
    async fn another_change_meanwhile_is_kept_when_the_risky_one_is_taken_back() {
        let bench = Bench::new();
        bench.change(move_api).unwrap();
        bench.change(|after| after.nickname = "north".to_owned()).unwrap();
        let again = bench.change(|after| after.api.listen = "127.0.0.1:2".to_owned());
        assert!(matches!(again, Err(ApplyError::Unconfirmed { .. })));
        advance(5 * MINUTE).await;
        assert!(bench.keeper.take_back_if_due(START).unwrap());
        let now = bench.keeper.configuration();
        assert_eq!((now.nickname.as_str(), now.api.listen.as_str()), ("north", "0.0.0.0:4443"));
    }
}
