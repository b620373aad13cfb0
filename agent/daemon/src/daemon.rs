//! What the parts of the daemon share: opened once at start, held by the supervisor, the node and the API.

use std::path::PathBuf;
use std::sync::Arc;

use holdfast_api::{BeaconTested, Severity};
use holdfast_hal_linux::Machine;

use crate::board::Board;
use crate::clock::{self, Synchronised};
use crate::control::{Control, Privileged};
use crate::edge::beacon::{TrialError, try_out};
use crate::events::Events;
use crate::folder::{Folder, FolderError};
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::settings::Keeper;

/// What the daemon is started with.
pub struct Options {
    /// The state folder.
    pub state: PathBuf,
    /// The vault's socket.
    pub vault: PathBuf,
    /// The kind of board, as releases name it.
    pub board: String,
    /// The socket for the box's own screen, if it has one.
    pub screen_socket: Option<PathBuf>,
    /// Whoever may do what the daemon may not.
    pub privileged: Box<dyn Privileged>,
    /// The last lines of the log.
    pub logs: Logs,
}

/// What the parts share.
#[derive(Debug)]
pub struct Daemon {
    /// The state folder.
    pub folder: Arc<Folder>,
    /// The configuration.
    pub keeper: Arc<Keeper>,
    /// What is shown.
    pub board: Arc<Board>,
    /// Whether the clock is right.
    pub synchronised: Arc<Synchronised>,
    /// What happened.
    pub events: Arc<Events>,
    /// What is asked for.
    pub control: Control,
    /// The last lines of the log.
    pub logs: Logs,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The vault's socket.
    pub vault: PathBuf,
    /// The kind of board, as releases name it.
    pub board_name: String,
    /// The socket for the box's own screen, if it has one.
    pub screen_socket: Option<PathBuf>,
}

impl Daemon {
    /// Opens what is kept. A configuration that is damaged is a condition: the box goes on with the defaults.
    ///
    /// # Errors
    /// When the state folder cannot be used at all.
    pub fn open(options: Options) -> Result<Arc<Self>, FolderError> {
        let folder = Arc::new(Folder::open(&options.state)?);
        let start = folder.count_start()?;
        let events = Arc::new(Events::new(start));
        let synchronised = Arc::new(Synchronised::by(Machine::real()));
        let board = Arc::new(Board::new(events.clone(), synchronised.clone()));
        let metrics = Arc::new(Metrics::new(holdfast_bls::path()));
        metrics.watch_vault(board.clone());
        let keeper = Keeper::open(folder.clone(), clock::now()).unwrap_or_else(|error| {
            let summary = format!("the configuration is not used: {}", in_words(&error));
            board.set_condition(DAMAGED, Severity::Critical, &summary, "apply a whole configuration anew");
            Keeper::with_defaults(folder.clone())
        });
        Ok(Arc::new(Self {
            keeper: Arc::new(keeper),
            synchronised,
            control: Control::new(start, events.clone(), options.privileged),
            folder,
            board,
            events,
            logs: options.logs,
            metrics,
            vault: options.vault,
            board_name: options.board,
            screen_socket: options.screen_socket,
        }))
    }
}

impl Daemon {
    /// Tries a beacon node out, against the network of the cluster that the box has.
    ///
    /// # Errors
    /// Why it is of no use.
    pub async fn try_beacon(&self, url: &str) -> Result<BeaconTested, TrialError> {
        // Whether the lock holds is not asked here, only where it is.
        let lock = self.folder.lock().ok().flatten().and_then(|file| holdfast_cluster::read_lock(&file).ok());
        let expected = lock.map(|lock| lock.definition.fork_version);
        try_out(url, expected, clock::now()).await
    }
}

/// An error and its causes in one line.
pub(crate) fn in_words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text.push_str(": ");
        text.push_str(&deeper.to_string());
        cause = deeper.source();
    }
    text
}

/// The configuration's file is not what was written there.
pub(crate) const DAMAGED: &str = "configuration.damaged";
