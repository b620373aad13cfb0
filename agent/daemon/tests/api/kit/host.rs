//! What a node would show, and the daemon's real parts behind it, in a folder of their own.

use std::path::Path;
use std::sync::Arc;

use holdfast_api::{DutyList, DutyQuery, Status, Timestamp, Validator, ValidatorList};
use holdfast_types::Mode;
use holdfast_vault_client::VaultStatus;
use holdfastd::clock::now;
use holdfastd::control::NoHelper;
use holdfastd::daemon::{Daemon, Options};
use holdfastd::host::{BeaconRefused, Host, Seen};
use holdfastd::logs::Logs;

use super::vault::FakeVault;

pub(crate) const VALIDATORS: usize = 7;

/// A daemon with its state in this folder.
pub(crate) fn daemon(dir: &Path, vault: &FakeVault) -> Arc<Daemon> {
    let options = Options {
        state: dir.to_owned(),
        vault: vault.socket.clone(),
        board: "pc".to_owned(),
        screen_socket: None,
        privileged: Box::new(NoHelper),
        logs: Logs::default(),
    };
    Daemon::open(options).unwrap()
}

pub(crate) fn host(daemon: &Arc<Daemon>, vault: &FakeVault) -> Arc<Host> {
    let refuses = |_| -> futures::future::BoxFuture<'static, _> {
        Box::pin(async { Err(BeaconRefused("it is on another network".to_owned())) })
    };
    Arc::new(Host::showing(Arc::clone(daemon), Arc::new(Node(vault.clone())), Box::new(refuses)))
}

/// A node that does nothing.
struct Node(FakeVault);

impl Seen for Node {
    fn status(&self) -> Status {
        Status {
            name: "box-7f7f".to_owned(),
            version: "1.2.3".to_owned(),
            mode: Mode::Maintenance,
            reason: "nobody owns the box".to_owned(),
            cluster: String::new(),
            validators: VALIDATORS,
            peers: Vec::new(),
            vault: None,
            bls_path: "portable".to_owned(),
            now: Timestamp(now()),
            clock_synchronised: true,
            conditions: Vec::new(),
        }
    }

    fn vault(&self) -> Option<VaultStatus> {
        Some(self.0.status())
    }

    fn duties(&self, query: &DutyQuery, _: usize) -> DutyList {
        DutyList { duties: Vec::new(), next: query.after }
    }

    fn validators(&self, from: usize, limit: usize) -> ValidatorList {
        let validator = |at: usize| Validator {
            pubkey: format!("0x{at:096x}"),
            index: None,
            status: None,
            share_held: false,
            fee_recipient: format!("0x{at:040x}"),
        };
        let end = from.saturating_add(limit).min(VALIDATORS);
        let validators = (from..end).map(validator).collect();
        ValidatorList { validators, cursor: (end < VALIDATORS).then(|| end.to_string()) }
    }
}
