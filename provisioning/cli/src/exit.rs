//! What the command ends with, and why: each failure says state, reason, remedy, and belongs to one exit code.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use holdfast_api::{Problem, ProblemId};

/// How the command ends. The numbers never change: scripts and monitoring know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed; the message says why.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Refused by policy: role, a loss that was not confirmed, safety.
    Refused = 3,
    /// Not reachable.
    Unreachable = 4,
    /// Not paired, or a certificate that does not count.
    NotPaired = 5,
    /// A condition is present.
    Condition = 6,
    /// Interrupted; the work goes on in the box.
    Interrupted = 7,
}

/// Why the command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A box said so.
    #[error("{}: {} (problem {}, request {})", .0.title, .0.detail, name_of(.0), .0.instance)]
    Problem(Box<Problem>),
    /// The box is not reached.
    #[error("{name} is not reachable at {address}: check that it is on and in this network, then try again")]
    Unreachable {
        /// The box.
        name: String,
        /// Where it was looked for.
        address: String,
        /// Why.
        #[source]
        err: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The box is not the one that was paired, or does not take the certificate.
    #[error("{name} and this machine do not trust each other: {why}")]
    Distrust {
        /// The box.
        name: String,
        /// What does not fit, and what to do.
        why: String,
    },
    /// No context.
    #[error("{why}")]
    NotPaired {
        /// What is missing, and what to do.
        why: String,
    },
    /// Arguments that do not go together.
    #[error("{why}")]
    Usage {
        /// What, and what to do.
        why: String,
    },
    /// Something that this command does not do unless it is told to.
    #[error("{why}")]
    Refused {
        /// What, why, and how.
        why: String,
    },
    /// The same, when another error knows more.
    #[error("{what}")]
    Denied {
        /// What is not done.
        what: String,
        /// Why.
        #[source]
        err: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was asked for is not as it should be.
    #[error("{why}")]
    Unfit {
        /// What, why, what to do.
        why: String,
    },
    /// The same, when another error knows more.
    #[error("{what}")]
    Because {
        /// What was being done.
        what: String,
        /// Why it did not work.
        #[source]
        err: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        err: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        err: io::Error,
    },
    /// Several boxes were asked, and some did not do it; each was said already.
    #[error("{failed} of {asked} boxes did not do it")]
    Some {
        /// How many failed.
        failed: usize,
        /// How many were asked.
        asked: usize,
        /// The exit code of the first.
        exit: Exit,
    },
    /// Whoever read the answer has read enough, as `head` does.
    #[error("nobody reads the answer any more")]
    NobodyReads,
    /// The operator stopped watching.
    #[error("stopped watching: the work goes on in the box")]
    Interrupted,
}

impl Failure {
    /// How the command ends with it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Problem(problem) => exit_of(problem),
            Self::NobodyReads => Exit::Done,
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Distrust { .. } | Self::NotPaired { .. } => Exit::NotPaired,
            Self::Usage { .. } => Exit::Usage,
            Self::Refused { .. } | Self::Denied { .. } => Exit::Refused,
            Self::Unfit { .. } | Self::Because { .. } | Self::Read { .. } | Self::Write { .. } => Exit::Failed,
            Self::Some { exit, .. } => *exit,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    /// A failure while doing `what`, because of `err`.
    pub(crate) fn because(what: impl Into<String>, err: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Because { what: what.into(), err: err.into() }
    }

    /// What is not as it should be, as a sentence.
    pub(crate) fn unfit(why: impl Into<String>) -> Self {
        Self::Unfit { why: why.into() }
    }

    /// What is refused, as a sentence.
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused { why: why.into() }
    }

    /// Wrong usage, as a sentence.
    pub(crate) fn usage(why: impl Into<String>) -> Self {
        Self::Usage { why: why.into() }
    }

    /// A file that cannot be read.
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |err| Self::Read { path, err }
    }

    /// A file that cannot be written.
    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |err| Self::Write { path, err }
    }

    /// All of it in one line: the message, then its causes.
    pub(crate) fn told(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

fn exit_of(problem: &Problem) -> Exit {
    match problem.id() {
        Some(ProblemId::RoleForbids | ProblemId::ConfigurationLocksOut | ProblemId::OrderRefused) => Exit::Refused,
        Some(ProblemId::Unauthenticated | ProblemId::CertificateRevoked | ProblemId::NotOwned | ProblemId::Owned) => {
            Exit::NotPaired
        }
        _ => Exit::Failed,
    }
}

fn name_of(problem: &Problem) -> &str {
    problem.kind.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_codes_are_those_of_the_manual() {
        let codes = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::Refused, 3),
            (Exit::Unreachable, 4),
            (Exit::NotPaired, 5),
            (Exit::Condition, 6),
            (Exit::Interrupted, 7),
        ];
        for (exit, code) in codes {
            assert_eq!(exit as u8, code, "{exit:?}");
        }
    }

    #[test]
    fn every_problem_has_an_exit_code() {
        for id in ProblemId::ALL {
            let exit = Failure::Problem(Box::new(Problem::new(id, "because", "7"))).exit();
            let expected = match id.name() {
                "role-forbids" | "configuration-locks-out" | "order-refused" => Exit::Refused,
                "unauthenticated" | "certificate-revoked" | "not-owned" | "owned" => Exit::NotPaired,
                _ => Exit::Failed,
            };
            assert_eq!(exit, expected, "{id}");
        }
    }

    #[test]
    fn a_problem_is_told_with_its_id_and_the_request() {
        let problem = Problem::new(ProblemId::RoleForbids, "alice is a reader: ask an admin", "r-42");
        let told = Failure::Problem(Box::new(problem)).told();
        assert_eq!(
            told,
            "the role of the certificate does not allow this: alice is a reader: ask an admin \
             (problem role-forbids, request r-42)"
        );
    }

    #[test]
    fn causes_are_told_after_the_message() {
        let failure = Failure::read(Path::new("lock.json"))(io::Error::other("no such file"));
        assert_eq!((failure.told().as_str(), failure.exit()), ("cannot read lock.json: no such file", Exit::Failed));
    }
}
