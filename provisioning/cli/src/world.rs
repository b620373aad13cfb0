//! What a command acts on: the boxes it reaches, the operator it asks, the place where its answer goes, the time.

use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_types::Millis;
use serde::Serialize;

use crate::ask::Session;
use crate::evidence::Judge;
use crate::exit::Failure;
use crate::output::{Output, Table};
use crate::plan::Boxes;
use crate::terminal::Terminal;

/// All of it.
pub(crate) struct World<'a> {
    /// Where answers go.
    pub(crate) output: Output<'a>,
    /// Who is asked.
    pub(crate) terminal: &'a mut dyn Terminal,
    /// The boxes that are known here.
    pub(crate) reach: &'a (dyn Reach + Sync),
    /// Which of them are meant.
    pub(crate) boxes: &'a Boxes,
    /// Who judges evidence.
    pub(crate) judge: &'a dyn Judge,
    /// This machine's time.
    pub(crate) now: Millis,
}

/// How boxes are reached by name.
pub(crate) trait Reach {
    /// The names that are meant.
    ///
    /// # Errors
    /// When there is none of that name, or nothing is selected.
    fn names(&self, boxes: &Boxes) -> Result<Vec<String>, Failure>;

    /// A session with a box. It may connect at the first question only.
    ///
    /// # Errors
    /// When nothing is known of the box, or what is known cannot be used.
    fn session(&self, name: &str) -> Result<Session, Failure>;
}

/// What one box said, under its name.
#[derive(Debug, Serialize)]
pub(crate) struct Said<T> {
    /// The box.
    #[serde(rename = "box")]
    pub(crate) name: String,
    /// The answer; absent when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<T>,
    /// Why there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
    #[serde(skip)]
    pub(crate) cause: Option<Failure>,
}

impl World<'_> {
    /// A session with the one box that is meant.
    pub(crate) fn session(&self) -> Result<Session, Failure> {
        let names = self.reach.names(self.boxes)?;
        let [name] = names.as_slice() else {
            return Err(Failure::usage("this command is for one box at a time: name one with --context"));
        };
        self.reach.session(name)
    }

    /// Asks every box that is meant, all at the same time, and gives what they said in their order.
    pub(crate) fn each<T: Send>(
        &self,
        ask: impl Fn(&mut Session) -> Result<T, Failure> + Sync,
    ) -> Result<Vec<Said<T>>, Failure> {
        let names = self.reach.names(self.boxes)?;
        let mut said = Vec::with_capacity(names.len());
        for some in names.chunks(AT_ONCE_MAX) {
            std::thread::scope(|scope| {
                let ask = &ask;
                let reach = self.reach;
                let threads: Vec<_> = some
                    .iter()
                    .map(|name| {
                        (name, scope.spawn(move || reach.session(name).and_then(|mut session| ask(&mut session))))
                    })
                    .collect();
                for (name, thread) in threads {
                    let failed =
                        |_| Err(Failure::unfit(format!("asking {name} failed: this is a fault of the command")));
                    said.push(Said::of(name, thread.join().unwrap_or_else(failed)));
                }
            });
        }
        Ok(said)
    }

    /// Shows what the boxes said: the bare answer of a single one, a list of named answers otherwise. Fails as they did.
    pub(crate) fn show_each<T: Serialize>(
        &mut self,
        mut said: Vec<Said<T>>,
        table: impl FnOnce(&[Said<T>]) -> Table,
    ) -> Result<(), Failure> {
        if *self.boxes == Boxes::All || said.len() != 1 {
            self.output.show(&said, |said| table(said))?;
            return self.judge(said);
        }
        if let Some(cause) = said.iter_mut().find_map(|said| said.cause.take()) {
            return Err(cause);
        }
        if self.output.is_table() {
            return self.output.write_table(&table(&said));
        }
        match said.first().and_then(|said| said.answer.as_ref()) {
            Some(answer) => self.output.show(answer, |_| Table::default()),
            None => Ok(()),
        }
    }

    /// Says what failed; the first failure's exit code is the command's.
    pub(crate) fn judge<T>(&mut self, said: Vec<Said<T>>) -> Result<(), Failure> {
        let asked = said.len();
        let mut failures = Vec::new();
        for said in said {
            let Some(cause) = said.cause else { continue };
            self.terminal.note(&format!("{}: {}", said.name, cause.told()));
            failures.push(cause);
        }
        let failed = failures.len();
        failures.first().map_or(Ok(()), |first| Err(Failure::Some { failed, asked, exit: first.exit() }))
    }
}

impl<T> Said<T> {
    pub(crate) fn of(name: &str, result: Result<T, Failure>) -> Self {
        let name = name.to_owned();
        match result {
            Ok(answer) => Self { name, answer: Some(answer), failure: None, cause: None },
            Err(cause) => Self { name, answer: None, failure: Some(cause.told()), cause: Some(cause) },
        }
    }
}

/// This machine's time.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Each box takes a thread that mostly waits.
const AT_ONCE_MAX: usize = 32;

/// A world that is played: for tests.
#[cfg(test)]
pub(crate) mod played {
    use std::sync::Mutex;

    use super::*;
    use crate::args::Format;
    use crate::evidence::played::JUDGE;
    use crate::terminal::Script;

    /// Boxes that answer from lists.
    pub(crate) struct PlayedBoxes(Mutex<Vec<Option<Session>>>);

    impl PlayedBoxes {
        pub(crate) fn of(sessions: Vec<Session>) -> Self {
            Self(Mutex::new(sessions.into_iter().map(Some).collect()))
        }
    }

    impl Reach for PlayedBoxes {
        fn names(&self, boxes: &Boxes) -> Result<Vec<String>, Failure> {
            let names = self.0.lock().unwrap().iter().flatten().map(|session| session.name.clone()).collect::<Vec<_>>();
            match boxes {
                Boxes::All => Ok(names),
                Boxes::Named(names) => Ok(names.clone()),
                Boxes::Selected => Ok(names.into_iter().take(1).collect()),
            }
        }

        fn session(&self, name: &str) -> Result<Session, Failure> {
            let mut sessions = self.0.lock().unwrap();
            let found =
                sessions.iter_mut().find(|session| session.as_ref().is_some_and(|session| session.name == name));
            found.and_then(Option::take).ok_or_else(|| Failure::NotPaired { why: format!("no box {name}") })
        }
    }

    /// Does something in a world of these boxes, and gives what was written.
    pub(crate) fn play(
        sessions: Vec<Session>,
        (boxes, format): (Boxes, Format),
        script: &mut Script,
        act: impl FnOnce(&mut World<'_>) -> Result<(), Failure>,
    ) -> (String, Result<(), Failure>) {
        let mut written = Vec::new();
        let reach = PlayedBoxes::of(sessions);
        let output = Output::new(format, false, &mut written);
        let mut world = World { output, terminal: script, reach: &reach, boxes: &boxes, judge: &JUDGE, now: NOW };
        let result = act(&mut world);
        (String::from_utf8(written).unwrap(), result)
    }

    /// 2026-11-27 11:40:17 UTC.
    pub(crate) const NOW: Millis = Millis(1_795_779_617_000);
}
