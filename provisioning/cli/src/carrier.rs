//! How a question reaches a box: the client of the management API, on a small runtime of its own.

use holdfast_provisioning::client::{Call, Client, ClientError, Target};
use tokio::runtime::{Builder, Runtime};

use crate::ask::{Answer, Ask, Method, Request};
use crate::exit::Failure;

/// A client that waits for each answer.
pub(crate) struct Carrier {
    name: String,
    client: Client,
    runtime: Runtime,
}

impl Carrier {
    /// Connects at the first question.
    pub(crate) fn new(name: &str, client: Client) -> Result<Self, Failure> {
        Ok(Self { name: name.to_owned(), client, runtime: runtime()? })
    }
}

impl Ask for Carrier {
    fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
        let mut call = match request.method {
            Method::Get => Call::get(&request.path),
            Method::Post => Call::post(&request.path),
            Method::Put => Call::put(&request.path),
        };
        if let Some(body) = &request.body {
            call = call.body(body.clone());
        }
        if let Some(etag) = &request.if_match {
            call = call.if_match(etag);
        }
        let answer = self.runtime.block_on(self.client.call(call)).map_err(|err| failure(&self.name, err))?;
        Ok(Answer { body: answer.body().to_vec(), etag: answer.etag().map(str::to_owned) })
    }
}

/// One thread is enough for a command that waits.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|err| Failure::because("cannot begin to talk to boxes", err))
}

/// A client's error in the terms of the exit codes.
pub(crate) fn failure(name: &str, err: ClientError) -> Failure {
    match err {
        ClientError::Problem(problem) => Failure::Problem(problem),
        ClientError::CertificateRefused { .. } | ClientError::WrongBox { .. } => {
            Failure::Distrust { name: name.to_owned(), why: err.to_string() }
        }
        ClientError::NotReachable { target, err } => unreachable(name, &target, err),
        ClientError::Interrupted { target, err } => unreachable(name, &target, err),
        ClientError::TimedOut { ref target, .. } => unreachable(name, &target.clone(), err),
        err => Failure::because(format!("{name} did not do it"), err),
    }
}

fn unreachable(name: &str, target: &Target, err: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::Unreachable { name: name.to_owned(), address: target.to_string(), err: err.into() }
}
