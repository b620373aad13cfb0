//! Questions to the operator, and how far long work is. A trait, so that tests answer.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::SIGINT;
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};

/// From now on an interrupt ends the command with the exit code that says so: what is watched goes on in the box.
///
/// # Errors
/// When signals cannot be caught.
pub(crate) fn end_on_interrupt() -> Result<(), Failure> {
    let always = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register_conditional_shutdown(SIGINT, Exit::Interrupted as i32, always)
        .map(|_| ())
        .map_err(|err| Failure::because("cannot catch the interrupt", err))
}

/// Who sits in front.
pub(crate) trait Terminal {
    /// Asks a question that is answered with yes or no; anything but yes is no.
    ///
    /// # Errors
    /// When nobody can answer.
    fn confirm(&mut self, question: &str) -> Result<bool, Failure>;

    /// Asks for a secret, which is not shown while it is typed.
    ///
    /// # Errors
    /// When nobody can answer.
    fn secret(&mut self, prompt: &str) -> Result<Zeroizing<String>, Failure>;

    /// Says something beside the answer: a warning, a hint, a step.
    fn note(&mut self, line: &str);

    /// Begins long work of so many steps.
    fn progress(&mut self, what: &'static str, steps: u64) -> Progress;
}

/// The terminal that the command was started in. Questions and notes go to standard error, so that an answer can be piped.
pub(crate) struct Real {
    /// Whether every question is answered with yes.
    pub(crate) yes: bool,
}

/// How far one piece of work is: a bar on a terminal, a line per tenth elsewhere.
pub(crate) struct Progress {
    what: &'static str,
    steps: u64,
    done: u64,
    shown: Shown,
}

enum Shown {
    Bar(ProgressBar),
    Lines,
    #[cfg(test)]
    Nowhere,
}

impl Terminal for Real {
    fn confirm(&mut self, question: &str) -> Result<bool, Failure> {
        if self.yes {
            self.note(&format!("{question} yes, by --yes"));
            return Ok(true);
        }
        if !io::stdin().is_terminal() {
            let why = format!("nobody is there to answer: {question} Give --yes when the answer is yes");
            return Err(Failure::refused(why));
        }
        let ask = || {
            let mut to = io::stderr().lock();
            write!(to, "{question} [y/N] ")?;
            to.flush()?;
            let mut answer = String::new();
            io::stdin().lock().read_line(&mut answer).map(|_| answer)
        };
        let answer = ask().map_err(|err| Failure::because("cannot read the answer", err))?;
        Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
    }

    fn secret(&mut self, prompt: &str) -> Result<Zeroizing<String>, Failure> {
        rpassword::prompt_password(format!("{prompt}: ")).map(Zeroizing::new).map_err(|err| {
            Failure::because(format!("cannot ask for the {prompt} without a terminal: give it in a file"), err)
        })
    }

    fn note(&mut self, line: &str) {
        eprintln!("{line}");
    }

    fn progress(&mut self, what: &'static str, steps: u64) -> Progress {
        if !io::stderr().is_terminal() {
            return Progress { what, steps, done: 0, shown: Shown::Lines };
        }
        let bar = ProgressBar::new(steps).with_message(what);
        let style = ProgressStyle::with_template("{msg:10} {bar:20} {pos} / {len}  {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress { what, steps, done: 0, shown: Shown::Bar(bar) }
    }
}

impl Progress {
    /// Work that nobody watches.
    #[cfg(test)]
    pub(crate) const fn unseen() -> Self {
        Self { what: "", steps: 0, done: 0, shown: Shown::Nowhere }
    }

    /// One step is done.
    pub(crate) fn step(&mut self) {
        self.done += 1;
        match &self.shown {
            Shown::Bar(bar) => bar.set_position(self.done),
            Shown::Lines => {
                if is_told(self.done, self.steps) {
                    eprintln!("{:10} {} / {}", self.what, self.done, self.steps);
                }
            }
            #[cfg(test)]
            Shown::Nowhere => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

/// Every tenth and the last: a log does not want a line for each of a thousand keystores.
fn is_told(done: u64, steps: u64) -> bool {
    let tenth = |done: u64| (done * 10).checked_div(steps);
    done == steps || tenth(done) != tenth(done - 1)
}

/// A terminal whose answers are known before: for tests.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) answers: Vec<bool>,
    pub(crate) secrets: Vec<&'static str>,
    pub(crate) seen: Vec<String>,
}

#[cfg(test)]
impl Script {
    pub(crate) fn answering(answers: &[bool]) -> Self {
        Self { answers: answers.to_vec(), secrets: Vec::new(), seen: Vec::new() }
    }
}

#[cfg(test)]
impl Terminal for Script {
    fn confirm(&mut self, question: &str) -> Result<bool, Failure> {
        self.seen.push(question.to_owned());
        assert!(!self.answers.is_empty(), "nobody expected the question {question:?}");
        Ok(self.answers.remove(0))
    }

    fn secret(&mut self, prompt: &str) -> Result<Zeroizing<String>, Failure> {
        self.seen.push(prompt.to_owned());
        assert!(!self.secrets.is_empty(), "nobody expected to be asked for {prompt:?}");
        Ok(Zeroizing::new(self.secrets.remove(0).to_owned()))
    }

    fn note(&mut self, line: &str) {
        self.seen.push(line.to_owned());
    }

    fn progress(&mut self, _what: &'static str, _steps: u64) -> Progress {
        Progress::unseen()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gets_every_tenth_line_and_the_last() {
        let told = |steps: u64| (1..=steps).filter(|done| is_told(*done, steps)).count();
        assert_eq!((told(1), told(3), told(10), told(1000)), (1, 3, 10, 10));
    }
}
