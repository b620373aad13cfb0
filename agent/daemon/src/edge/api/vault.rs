//! Calls to the vault. Its client blocks, so each has a thread for as long as it takes, and few are under way at a
//! time: the vault answers one after the other, and those who sign wait in the same queue.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_api::ProblemId;
use holdfast_vault_client::{Client, ClientError, Rejection};
use tokio::sync::Semaphore;

use super::answer::{Fail, chain};

/// The way to the vault.
#[derive(Clone, Debug)]
pub(super) struct VaultCalls {
    path: PathBuf,
    turns: Arc<Semaphore>,
}

impl VaultCalls {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), turns: Arc::new(Semaphore::new(TURNS)) }
    }

    /// Asks something that changes nothing.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Client) -> Result<T, ClientError> + Send + 'static,
    ) -> Result<T, Fail> {
        self.call(call).await?.map_err(|error| match error {
            ClientError::Rejected { rejection: Rejection::Malformed(_), .. } => Fail::internal(&error),
            other => unavailable(&other),
        })
    }

    /// Has something done.
    pub(super) async fn act<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Client) -> Result<T, ClientError> + Send + 'static,
    ) -> Result<T, Fail> {
        self.call(call).await?.map_err(|error| match error {
            ClientError::Rejected { rejection, .. } => refused(&rejection),
            other => unavailable(&other),
        })
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Client) -> Result<T, ClientError> + Send + 'static,
    ) -> Result<Result<T, ClientError>, Fail> {
        let turn = tokio::time::timeout(TURN_WAIT_MAX, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Fail::new(ProblemId::VaultUnavailable, "the vault is busy with other requests: ask again"));
        };
        let path = self.path.clone();
        // Who hangs up does not end the call; its turn is over when it is.
        let asked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            Client::connect(&path).and_then(|mut client| call(&mut client))
        });
        asked.await.map_err(|error| Fail::internal(&error))
    }
}

fn refused(rejection: &Rejection) -> Fail {
    let detail = rejection.to_string();
    match rejection {
        Rejection::Closed(_) | Rejection::NoIdentity => Fail::conflict(detail),
        Rejection::Malformed(_) => Fail::bad_request(detail),
        Rejection::Order { .. } | Rejection::TooLarge { .. } => Fail::new(ProblemId::OrderRefused, detail),
        _ => Fail::new(ProblemId::VaultUnavailable, detail),
    }
}

fn unavailable(error: &ClientError) -> Fail {
    Fail::new(ProblemId::VaultUnavailable, chain(error))
}

/// One that seals anew, for a minute, and one beside it.
const TURNS: usize = 2;
/// The client of whoever waits gives up later than this.
const TURN_WAIT_MAX: Duration = Duration::from_secs(20);
