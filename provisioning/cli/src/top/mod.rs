//! `holdfast top`: a live view over one or many boxes. What they say comes through a channel, so nothing here knows how a
//! box is reached.

mod draw;
mod view;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_types::Millis;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::mpsc;

pub(crate) use draw::Look;
pub(crate) use view::{Flow, Update, View};

/// Why the view ended against the operator's will.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopError {
    /// Signals cannot be caught.
    #[error("cannot catch the signals that end the view")]
    Signals(#[source] io::Error),
    /// The terminal fails.
    #[error("cannot use the terminal: holdfast top needs one, holdfast status does not")]
    Terminal(#[source] io::Error),
}

/// Shows the boxes `names`, in this order, until the operator quits. Blocks its thread.
pub(crate) fn run(
    names: Vec<String>,
    mut updates: mpsc::Receiver<(String, Update)>,
    look: Look,
) -> Result<(), TopError> {
    let stop = Arc::new(AtomicBool::new(false));
    end_on_signals(&[SIGHUP, SIGTERM], Arc::clone(&stop)).map_err(TopError::Signals)?;
    let mut terminal = ratatui::try_init().map_err(TopError::Terminal)?;
    let result = show(&mut terminal, View::new(names), &mut updates, look, &stop);
    ratatui::try_restore().map_err(TopError::Terminal)?;
    result.map_err(TopError::Terminal)
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

fn show(
    terminal: &mut DefaultTerminal,
    mut view: View,
    updates: &mut mpsc::Receiver<(String, Update)>,
    look: Look,
    stop: &AtomicBool,
) -> io::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        view.tick(now());
        for _ in 0..UPDATES_PER_PICTURE_MAX {
            let Ok((name, update)) = updates.try_recv() else { break };
            view.apply(&name, update);
        }
        terminal.draw(|frame| draw::draw(&view, look, frame))?;
        if !event::poll(LOOK_EVERY)? {
            continue;
        }
        if let Event::Key(key) = event::read()?
            && view.key(key) == Flow::Quit
        {
            return Ok(());
        }
    }
    Ok(())
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The loop needs a tenth of it.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
/// Looks immediate, and costs nothing while nothing changes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A flood of events must not keep the keys from being read.
const UPDATES_PER_PICTURE_MAX: usize = 2_000;
