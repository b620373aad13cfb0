//! The operator's desk: the command `holdfast` with a home folder of its own, and the operator's eyes on a box's screen.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use holdfast_api::Screen;

use super::place::Place;
use crate::program;

/// Where an operator sits.
#[derive(Clone, Debug)]
pub struct Desk {
    home: PathBuf,
    place: Place,
}

/// What the command said.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub out: String,
    /// What it said beside that.
    pub err: String,
}

impl Desk {
    /// A desk whose contexts and keys lie in `home`, and that reaches boxes from `place`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(home: &Path, place: Place) -> anyhow::Result<Self> {
        fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))?;
        Ok(Self { home: home.to_owned(), place })
    }

    /// The same desk, moved to where another box is reached from.
    #[must_use]
    pub fn at(&self, place: &Place) -> Self {
        Self { home: self.home.clone(), place: place.clone() }
    }

    /// Runs `holdfast` with these arguments, and gives it `input` to read.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn ask(&self, arguments: &[&str], input: &str) -> anyhow::Result<Said> {
        let mut command = self.place.command(program("holdfast")?);
        command.arg("--home").arg(&self.home).args(arguments);
        let mut child = command
            .env_remove("HOLDFAST_PASSPHRASE_FILE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run holdfast")?;
        // A command that does not read ends before all is written.
        let _ = child.stdin.take().context("it has a standard input")?.write_all(input.as_bytes());
        let output = child.wait_with_output()?;
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs `holdfast` with these arguments and gives what it printed.
    ///
    /// # Errors
    /// When it cannot be run, or fails; the error has what it said.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.run_with(arguments, "")
    }

    /// As [`Desk::run`], with something to read.
    ///
    /// # Errors
    /// As [`Desk::run`].
    pub fn run_with(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let said = self.ask(arguments, input)?;
        if said.code != 0 {
            bail!("holdfast {} ended with {}: {}{}", arguments.join(" "), said.code, said.out, said.err);
        }
        Ok(said.out)
    }
}

/// What the screen on this socket shows.
///
/// # Errors
/// When nothing answers there.
pub fn screen(socket: &Path) -> anyhow::Result<Screen> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("no screen at {}", socket.display()))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /screen HTTP/1.1\r\nHost: screen\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("the screen's answer has no body")?;
    serde_json::from_str(body).with_context(|| format!("the screen shows nothing that is known: {body}"))
}
