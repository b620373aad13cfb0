//! The loop: a thread asks the daemon once a second, this one reads keys and draws. A daemon that hangs stops neither.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use holdfast_api::Screen;
use holdfast_types::Millis;
use ratatui::backend::{Backend, ClearType};
use ratatui::crossterm::event::{self, Event};
use ratatui::layout::Rect;
use ratatui::{DefaultTerminal, TerminalOptions, Viewport};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::ask::{self, AskError};
use crate::display::{Act, Display};
use crate::draw::{self, Look};

/// Why the display cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// Signals cannot be caught.
    #[error("cannot catch the signals that end it")]
    Signals(#[source] io::Error),
    /// The terminal fails.
    #[error("cannot use the terminal: is it one, and is it not in use")]
    Terminal(#[source] io::Error),
}

/// Shows what the daemon at `socket` says, until a signal or, if `may_quit`, Ctrl-C ends it.
pub(crate) fn run(socket: PathBuf, look: Look, may_quit: bool) -> Result<(), RunError> {
    let stop = Arc::new(AtomicBool::new(false));
    end_on_signals(&[SIGHUP, SIGINT, SIGTERM], Arc::clone(&stop)).map_err(RunError::Signals)?;
    // One wish and one answer under way are enough: a wish that finds another waiting is the same wish.
    let (wish, wishes) = sync_channel(1);
    let (tell, told) = sync_channel(1);
    thread::spawn(move || keep_asking(&socket, &wishes, &tell));
    let mut terminal = open().map_err(RunError::Terminal)?;
    let result = show(&mut terminal, look, may_quit, &stop, &wish, &told);
    ratatui::try_restore().map_err(RunError::Terminal)?;
    result.map_err(RunError::Terminal)
}

/// Tells the loop to end when a signal comes. When a terminal hangs up, crossterm's poll reads its end over and over and
/// never returns; so whoever has not ended soon is ended here.
fn end_on_signals(signals: &[i32], stop: Arc<AtomicBool>) -> io::Result<()> {
    let mut signals = Signals::new(signals)?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            stop.store(true, Ordering::Relaxed);
            thread::sleep(ENDS_WITHIN);
            _ = ratatui::try_restore();
            std::process::exit(0);
        }
    });
    Ok(())
}

/// What the thread that asks has heard.
enum Told {
    Screen(Result<Box<Screen>, AskError>),
    NewCode(Result<(), AskError>),
}

fn keep_asking(socket: &Path, wishes: &Receiver<()>, tell: &SyncSender<Told>) {
    loop {
        if tell.send(Told::Screen(ask::screen(socket))).is_err() {
            return;
        }
        let heard = match wishes.recv_timeout(ASK_EVERY) {
            Ok(()) => Told::NewCode(ask::new_code(socket)),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if tell.send(heard).is_err() {
            return;
        }
    }
}

fn show(
    terminal: &mut DefaultTerminal,
    look: Look,
    may_quit: bool,
    stop: &AtomicBool,
    wish: &SyncSender<()>,
    told: &Receiver<Told>,
) -> io::Result<()> {
    let mut display = Display::new(now(), may_quit);
    let mut clock = Clock::now();
    let mut heard_at = Instant::now();
    let mut painted_at = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if let Some(step_ms) = clock.step() {
            display.clock_set(step_ms);
        }
        while let Ok(heard) = told.try_recv() {
            heard_at = Instant::now();
            match heard {
                Told::Screen(answer) => display.answered(now(), answer),
                Told::NewCode(result) => display.code_made(now(), result),
            }
        }
        if heard_at.elapsed() > HANGS_AFTER {
            display.silent(now(), "the agent hangs");
        }
        display.tick(now());
        if painted_at.elapsed() > REPAINT_EVERY {
            painted_at = Instant::now();
            repaint(terminal)?;
        }
        let area = terminal.draw(|frame| draw::draw(&display, look, now(), frame))?.area;
        // Wakes for each key, and often enough to see a signal soon.
        if !event::poll(LOOK_EVERY)? {
            continue;
        }
        if let Event::Key(key) = event::read()? {
            match display.key(key, draw::pages(&display.seen, look, now(), area)) {
                Act::NewCode => _ = wish.try_send(()),
                Act::Nothing => {}
                Act::Quit => return Ok(()),
            }
        }
    }
    Ok(())
}

/// A serial line does not know its size; then it is taken for the smallest that every terminal has.
fn open() -> io::Result<DefaultTerminal> {
    match ratatui::crossterm::terminal::size() {
        Ok((width, height)) if width > 0 && height > 0 => ratatui::try_init(),
        _ => {
            let viewport = Viewport::Fixed(Rect::new(0, 0, 80, 24));
            let mut terminal = ratatui::try_init_with_options(TerminalOptions { viewport })?;
            repaint(&mut terminal)?;
            terminal.hide_cursor()?;
            Ok(terminal)
        }
    }
}

/// Draws everything anew: the kernel's messages may have been written over it, or a serial line was plugged in late.
/// `Terminal::clear` would ask the terminal for its cursor, and a line where nobody listens gives no answer.
fn repaint(terminal: &mut DefaultTerminal) -> io::Result<()> {
    let area = terminal.get_frame().area();
    terminal.backend_mut().clear_region(ClearType::All)?;
    terminal.resize(area)
}

/// Tells when somebody sets the clock: a board without one of its own starts long ago.
struct Clock {
    wall: Millis,
    steady: Instant,
}

impl Clock {
    fn now() -> Self {
        Self { wall: now(), steady: Instant::now() }
    }

    fn step(&mut self) -> Option<i64> {
        let before = std::mem::replace(self, Self::now());
        let passed_ms = u64::try_from(self.steady.duration_since(before.steady).as_millis()).unwrap_or(u64::MAX);
        let step_ms = self.wall.0.wrapping_sub(before.wall.plus(passed_ms).0).cast_signed();
        (step_ms.unsigned_abs() > STEP_MS_MIN).then_some(step_ms)
    }
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What is shown changes by the second.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How soon a signal ends it. Drawing writes only what changed.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The loop needs a quarter of it.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
/// Two requests that time out, and a little.
const HANGS_AFTER: Duration = Duration::from_secs(8);
/// Smaller ones are no step, and are not seen in what is shown.
const STEP_MS_MIN: u64 = 1_000;
/// Seldom enough not to be seen, often enough that what was spoilt is not there for long.
const REPAINT_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::draw::play;

    #[test]
    fn the_daemon_is_asked_until_nobody_listens_and_a_wish_does_not_wait() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("screen");
        let listener = UnixListener::bind(&path).unwrap();
        let (wish, wishes) = sync_channel(1);
        let (tell, told) = sync_channel(1);
        let asking = thread::spawn(move || keep_asking(&path, &wishes, &tell));
        let answer = |starts: &str, body: &[u8]| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let n = stream.read(&mut head).unwrap();
            assert!(head[..n].starts_with(starts.as_bytes()));
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap();
            stream.write_all(body).unwrap();
        };
        let body = serde_json::to_vec(&play::unpaired()).unwrap();
        wish.send(()).unwrap();
        answer("GET /screen ", &body);
        assert!(matches!(told.recv().unwrap(), Told::Screen(Ok(screen)) if *screen == play::unpaired()));
        answer("POST /screen/code ", b"");
        assert!(matches!(told.recv().unwrap(), Told::NewCode(Ok(()))));
        answer("GET /screen ", b"{}");
        assert!(matches!(told.recv().unwrap(), Told::Screen(Err(AskError::Malformed(_)))));
        drop((wish, told));
        asking.join().unwrap();
    }

    #[test]
    fn a_clock_that_runs_on_is_not_set() {
        assert_eq!(Clock::now().step(), None);
        let mut behind = Clock { wall: Millis(0), steady: Instant::now() };
        assert!(behind.step().is_some_and(|step_ms| step_ms > 0));
        let mut ahead = Clock { wall: Millis(u64::MAX / 4), steady: Instant::now() };
        assert!(ahead.step().is_some_and(|step_ms| step_ms < 0));
    }
}
