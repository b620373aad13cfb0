//! What the display knows and what a key does to it. No clock, no terminal, no socket.

use holdfast_api::Screen;
use holdfast_types::Millis;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::ask::AskError;

/// What there is to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The daemon's last answer.
    Screen(Box<Screen>),
    /// The daemon does not answer.
    Silent {
        /// Since when.
        since: Millis,
        /// What was tried, in words.
        why: String,
        /// The box's name, when it was known before.
        name: String,
    },
}

/// What a key asks of the world outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Nothing.
    Nothing,
    /// A new pairing code.
    NewCode,
    /// To end.
    Quit,
}

/// All that the display holds.
#[derive(Debug)]
pub(crate) struct Display {
    /// What to show.
    pub(crate) seen: Seen,
    /// The page, 0 is the overview.
    pub(crate) page: usize,
    /// What became of the last key, and until when it is shown.
    pub(crate) notice: Option<(String, Millis)>,
    /// Whether Ctrl-C ends it.
    may_quit: bool,
}

impl Display {
    /// Before the first answer.
    pub(crate) fn new(now: Millis, may_quit: bool) -> Self {
        let seen = Seen::Silent { since: now, why: "it is starting".to_owned(), name: String::new() };
        Self { seen, page: 0, notice: None, may_quit }
    }

    /// The daemon's answer to what is to be shown.
    pub(crate) fn answered(&mut self, now: Millis, answer: Result<Box<Screen>, AskError>) {
        match answer {
            Ok(screen) => self.seen = Seen::Screen(screen),
            Err(err) => self.silent(now, &err.to_string()),
        }
    }

    /// The daemon does not answer.
    pub(crate) fn silent(&mut self, now: Millis, says: &str) {
        match &mut self.seen {
            Seen::Screen(screen) => {
                let name = std::mem::take(&mut screen.name);
                self.seen = Seen::Silent { since: now, why: says.to_owned(), name };
            }
            Seen::Silent { why, .. } => says.clone_into(why),
        }
    }

    /// What became of the wish for a new code.
    pub(crate) fn code_made(&mut self, now: Millis, result: Result<(), AskError>) {
        let text = match result {
            Ok(()) => "new code made; the one before does not count any more".to_owned(),
            Err(err) => format!("no new code: {err}"),
        };
        self.notice = Some((text, now.plus(NOTICE_MS)));
    }

    /// Forgets what has been shown long enough.
    pub(crate) fn tick(&mut self, now: Millis) {
        self.notice.take_if(|(_, until)| *until <= now);
    }

    /// The clock was set: moments that it gave before move along, so that spans of time stay what they were.
    pub(crate) fn clock_set(&mut self, step_ms: i64) {
        let moved = |at: &mut Millis| at.0 = at.0.saturating_add_signed(step_ms);
        if let Seen::Silent { since, .. } = &mut self.seen {
            moved(since);
        }
        if let Some((_, until)) = &mut self.notice {
            moved(until);
        }
    }

    /// A key. `pages` is how many there are on this terminal.
    pub(crate) fn key(&mut self, key: KeyEvent, pages: usize) -> Act {
        if key.kind == KeyEventKind::Release {
            return Act::Nothing;
        }
        let last = pages.saturating_sub(1);
        let shown = self.page.min(last);
        match (key.code, key.modifiers) {
            (KeyCode::Char('c'), KeyModifiers::CONTROL) if self.may_quit => return Act::Quit,
            (KeyCode::Char('p' | 'P'), KeyModifiers::NONE | KeyModifiers::SHIFT) if self.takes_a_new_code() => {
                return Act::NewCode;
            }
            (KeyCode::F(2), _) => self.page = if shown == 0 { last.min(1) } else { 0 },
            (KeyCode::PageDown | KeyCode::Down | KeyCode::Right, _) => self.page = (shown + 1).min(last),
            (KeyCode::PageUp | KeyCode::Up | KeyCode::Left, _) => self.page = shown.saturating_sub(1),
            _ => {}
        }
        Act::Nothing
    }

    /// Whether a new code can be made, as far as is known here; the daemon decides.
    fn takes_a_new_code(&self) -> bool {
        matches!(&self.seen, Seen::Screen(screen) if takes_a_new_code(screen))
    }
}

/// Whether a new code would be of use: nobody owns the box, and nobody has just used the code that was shown.
pub(crate) fn takes_a_new_code(screen: &Screen) -> bool {
    !screen.owned && screen.words.is_none()
}

/// Long enough to read a sentence twice.
const NOTICE_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use holdfast_types::Mode;

    use super::*;
    use crate::draw::play;

    const NOW: Millis = Millis(1_795_779_617_000);

    fn press(display: &mut Display, code: KeyCode) -> Act {
        display.key(KeyEvent::new(code, KeyModifiers::NONE), 3)
    }

    fn showing(screen: Screen) -> Display {
        let mut display = Display::new(NOW, false);
        display.answered(NOW, Ok(Box::new(screen)));
        display
    }

    #[test]
    fn the_page_keys_stay_within_the_pages() {
        let mut display = showing(play::owned());
        for (code, page) in [
            (KeyCode::PageUp, 0),
            (KeyCode::F(2), 1),
            (KeyCode::Down, 2),
            (KeyCode::PageDown, 2),
            (KeyCode::Left, 1),
            (KeyCode::Right, 2),
            (KeyCode::F(2), 0),
        ] {
            assert_eq!(press(&mut display, code), Act::Nothing);
            assert_eq!(display.page, page, "{code:?}");
        }
        // The terminal became larger, so that there are fewer pages than the one that was shown.
        display.page = 9;
        display.key(KeyEvent::new(KeyCode::Up, KeyModifiers::NONE), 2);
        assert_eq!(display.page, 0);
    }

    #[test]
    fn a_new_code_can_be_asked_for_only_while_nobody_owns_the_box() {
        assert_eq!(press(&mut showing(play::unpaired()), KeyCode::Char('p')), Act::NewCode);
        let worn_out = Screen { pairing: None, ..play::unpaired() };
        assert_eq!(press(&mut showing(worn_out), KeyCode::Char('p')), Act::NewCode);
        assert_eq!(press(&mut showing(play::words()), KeyCode::Char('p')), Act::Nothing);
        assert_eq!(press(&mut showing(play::owned()), KeyCode::Char('p')), Act::Nothing);
        // An owned box waits in this mode too, for its operator's decision.
        let waits = Screen { mode: Mode::Maintenance, ..play::owned() };
        assert_eq!(press(&mut showing(waits), KeyCode::Char('p')), Act::Nothing);
        assert_eq!(press(&mut Display::new(NOW, true), KeyCode::Char('p')), Act::Nothing);
    }

    #[test]
    fn nothing_else_does_anything_and_only_a_terminal_can_be_left() {
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(showing(play::owned()).key(interrupt, 3), Act::Nothing);
        assert_eq!(Display::new(NOW, true).key(interrupt, 1), Act::Quit);
        let mut display = showing(play::unpaired());
        for code in [KeyCode::Esc, KeyCode::Enter, KeyCode::Char('q'), KeyCode::F(1), KeyCode::Tab, KeyCode::Delete] {
            assert_eq!(press(&mut display, code), Act::Nothing);
            assert_eq!(display.page, 0);
        }
        let control_p = KeyEvent::new(KeyCode::Char('p'), KeyModifiers::CONTROL);
        assert_eq!(display.key(control_p, 3), Act::Nothing);
    }

    #[test]
    fn silence_is_counted_from_its_beginning() {
        let mut display = showing(play::owned());
        display.silent(NOW, "a");
        display.silent(NOW.plus(5_000), "b");
        assert_eq!(display.seen, Seen::Silent { since: NOW, why: "b".to_owned(), name: "box-7f3a".to_owned() });
        display.answered(NOW, Ok(Box::new(play::owned())));
        assert_eq!(display.seen, Seen::Screen(Box::new(play::owned())));
    }

    #[test]
    fn a_clock_that_is_set_makes_no_silence_longer() {
        let mut display = Display::new(Millis(60_000), false);
        display.code_made(Millis(60_000), Ok(()));
        display.clock_set(i64::try_from(NOW.0).unwrap());
        assert!(matches!(display.seen, Seen::Silent { since, .. } if since == NOW.plus(60_000)));
        display.tick(NOW.plus(60_000));
        assert!(display.notice.is_some());
        display.clock_set(i64::MIN);
        assert!(matches!(display.seen, Seen::Silent { since: Millis(0), .. }));
    }

    #[test]
    fn a_notice_goes_by_itself() {
        let mut display = showing(play::unpaired());
        display.code_made(NOW, Err(AskError::Refused("the box has an owner".to_owned())));
        display.tick(NOW.plus(NOTICE_MS - 1));
        assert_eq!(display.notice.as_ref().unwrap().0, "no new code: the box has an owner");
        display.tick(NOW.plus(NOTICE_MS));
        assert_eq!(display.notice, None);
    }
}
