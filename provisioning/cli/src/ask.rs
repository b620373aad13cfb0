//! One box as the commands see it: questions by path, answers by type. A trait carries them, so that tests play a box.

use holdfast_api::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exit::Failure;

/// What carries a request to a box and its answer back. Waits; problems come back as [`Failure::Problem`].
pub(crate) trait Ask: Send {
    /// Asks once.
    ///
    /// # Errors
    /// When the box is not reached, is not trusted, or says no.
    fn ask(&mut self, request: &Request) -> Result<Answer, Failure>;
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The method.
    pub(crate) method: Method,
    /// The path with its query.
    pub(crate) path: String,
    /// The body, JSON.
    pub(crate) body: Option<Vec<u8>>,
    /// The `ETag` of what is replaced.
    pub(crate) if_match: Option<String>,
}

/// How it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Changes nothing.
    Get,
    /// Acts.
    Post,
    /// Replaces.
    Put,
}

/// One answer that is no problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The body, JSON or empty.
    pub(crate) body: Vec<u8>,
    /// The `ETag`, where there is one.
    pub(crate) etag: Option<String>,
}

/// A box under its name, with typed questions.
pub(crate) struct Session {
    /// What the operator calls it.
    pub(crate) name: String,
    carrier: Box<dyn Ask>,
}

impl Session {
    /// A box that is reached by `carrier`.
    pub(crate) fn new(name: impl Into<String>, carrier: Box<dyn Ask>) -> Self {
        Self { name: name.into(), carrier }
    }

    /// Reads.
    pub(crate) fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        self.get_tagged(path).map(|(value, _)| value)
    }

    /// Reads, with the `ETag` that a change must name.
    pub(crate) fn get_tagged<T: DeserializeOwned>(&mut self, path: &str) -> Result<(T, Option<String>), Failure> {
        let answer = self.carry(Method::Get, path, None, None)?;
        Ok((self.read(path, &answer.body)?, answer.etag))
    }

    /// Reads a document as the box wrote it.
    pub(crate) fn get_bytes(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        self.carry(Method::Get, path, None, None).map(|answer| answer.body)
    }

    /// Acts, and expects an answer.
    pub(crate) fn post<T: DeserializeOwned>(&mut self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let answer = self.carry(Method::Post, path, Some(encode(body)?), None)?;
        self.read(path, &answer.body)
    }

    /// Acts, and expects nothing but that it is done.
    pub(crate) fn post_quietly(&mut self, path: &str, body: &impl Serialize) -> Result<(), Failure> {
        self.carry(Method::Post, path, Some(encode(body)?), None).map(|_| ())
    }

    /// Acts without a body.
    pub(crate) fn act<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        let answer = self.carry(Method::Post, path, None, None)?;
        self.read(path, &answer.body)
    }

    /// Acts without a body, and expects nothing but that it is done.
    pub(crate) fn act_quietly(&mut self, path: &str) -> Result<(), Failure> {
        self.carry(Method::Post, path, None, None).map(|_| ())
    }

    /// Replaces a document.
    pub(crate) fn put<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: Vec<u8>,
        if_match: Option<String>,
    ) -> Result<T, Failure> {
        let answer = self.carry(Method::Put, path, Some(body), if_match)?;
        self.read(path, &answer.body)
    }

    fn carry(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        if_match: Option<String>,
    ) -> Result<Answer, Failure> {
        self.carrier.ask(&Request { method, path: path.to_owned(), body, if_match })
    }

    fn read<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(body).map_err(|err| {
            let what = format!(
                "{} answers {path} in a form that this version does not know: use a command of the box's release",
                self.name
            );
            Failure::because(what, err)
        })
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

/// JSON of a request's body.
pub(crate) fn encode(body: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(body).map_err(|err| Failure::because("cannot write the request", err))
}

/// A box that answers from a list, and remembers what it was asked: for tests.
#[cfg(test)]
pub(crate) mod played {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use holdfast_api::ProblemId;
    use serde_json::Value;

    use super::*;

    /// What the box was asked.
    pub(crate) type Asked = Arc<Mutex<Vec<Request>>>;

    struct Played {
        answers: VecDeque<(String, Result<Answer, Problem>)>,
        asked: Asked,
    }

    impl Ask for Played {
        fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
            self.asked.lock().unwrap().push(request.clone());
            let at = self.answers.iter().position(|(path, _)| *path == request.path);
            let at = at.unwrap_or_else(|| panic!("nobody expected {request:?}"));
            self.answers.remove(at).unwrap().1.map_err(Failure::from)
        }
    }

    /// A box that answers each of these paths once.
    pub(crate) fn session(answers: Vec<(&str, Value)>) -> (Session, Asked) {
        let answer = |value: Value| Answer {
            body: if value.is_null() { Vec::new() } else { value.to_string().into_bytes() },
            etag: Some("\"1\"".to_owned()),
        };
        let answers = answers.into_iter().map(|(path, value)| (path.to_owned(), Ok(answer(value)))).collect();
        played(answers)
    }

    /// A box that answers this path with a problem.
    pub(crate) fn refusing(path: &str, id: ProblemId, detail: &str) -> (Session, Asked) {
        played([(path.to_owned(), Err(Problem::new(id, detail, "r-1")))].into())
    }

    fn played(answers: VecDeque<(String, Result<Answer, Problem>)>) -> (Session, Asked) {
        let asked = Asked::default();
        let carrier = Played { answers, asked: Arc::clone(&asked) };
        (Session::new("box-7f3a", Box::new(carrier)), asked)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_api::{ProblemId, Version};
    use serde_json::json;

    use super::*;
    use crate::exit::Exit;

    #[test]
    fn an_answer_is_read_by_its_type() {
        let (mut session, asked) =
            played::session(vec![("/v1/version", json!({"version": "0.3.0", "board": "x86-64-uefi"}))]);
        let version: Version = session.get("/v1/version").unwrap();
        assert_eq!(version.board, "x86-64-uefi");
        assert_eq!(asked.lock().unwrap()[0].method, Method::Get);
    }

    #[test]
    fn an_answer_of_another_form_names_box_and_remedy() {
        let (mut session, _) = played::session(vec![("/v1/version", json!({"board": 7}))]);
        let failure = session.get::<Version>("/v1/version").unwrap_err();
        assert!(failure.told().starts_with("box-7f3a answers /v1/version in a form that this version"), "{failure}");
    }

    #[test]
    fn a_problem_stays_one() {
        let (mut session, _) = played::refusing("/v1/status", ProblemId::RoleForbids, "no");
        assert_eq!(session.get::<Version>("/v1/status").unwrap_err().exit(), Exit::Refused);
    }
}
