//! A boot that could not open what the box keeps. Nothing of the box is known then: not whose it is, not whether it has
//! shares. So it is no box that anybody could pair with or command; it says on its own screen what is wrong.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use holdfast_provisioning::desk::{CodeDesk, DeskError};
use holdfast_types::Mode;
use tokio::sync::watch;

use crate::daemon::{Daemon, in_words};
use crate::edge::screen;
use crate::host::{BeaconRefused, Host};
use crate::pairing::Pairing;

/// Why `/var` is a volatile one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatile {
    /// The partition is not there and could not be made.
    Missing,
    /// The TPM does not open it.
    Locked,
    /// Its file system cannot be repaired or mounted.
    Damaged,
}

impl Volatile {
    /// What the boot noted; `None` when it noted nothing, which is the rule. A note that makes no sense is one all the same.
    #[must_use]
    pub fn noted(path: &Path) -> Option<Self> {
        let mut word = String::new();
        // The longest word has seven letters.
        if let Err(error) = File::open(path).and_then(|file| file.take(64).read_to_string(&mut word)) {
            return (error.kind() != std::io::ErrorKind::NotFound).then_some(Self::Damaged);
        }
        Some(match word.trim() {
            "missing" => Self::Missing,
            "locked" => Self::Locked,
            _ => Self::Damaged,
        })
    }

    /// State, reason and remedy.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => {
                "what this box keeps is not there: its disk has no place for it. Use a disk of 4 GB or more, and write the \
                 image on it"
            }
            Self::Locked => {
                "what this box keeps does not open: the TPM is not the one that sealed it, or the image was started with \
                 additions. Put the disk back into its own box and start it without any; otherwise write the image anew, \
                 and the cluster replaces the share"
            }
            Self::Damaged => {
                "what this box keeps is damaged, more than could be repaired. Check the disk; then write the image on it or \
                 on another, and the cluster replaces the share"
            }
        }
    }
}

/// Shows why, on the screen only, until it is dropped.
///
/// # Errors
/// When there is no place for the screen's state.
pub async fn serve(daemon: Arc<Daemon>, why: Volatile) -> Result<(), DeskError> {
    tracing::error!(reason = why.reason(), "nothing is kept, nothing is signed, nobody is answered");
    daemon.board.set_mode(Mode::Maintenance, why.reason());
    let test_beacon = Box::new(|_| -> futures::future::BoxFuture<'static, _> {
        Box::pin(std::future::ready(Err(BeaconRefused("the box keeps nothing".into()))))
    });
    let host = Arc::new(Host::new(Arc::clone(&daemon), test_beacon));
    let pairing = Pairing::new(CodeDesk::open(daemon.folder.path("pairing.json"))?);
    let (_told, listens) = watch::channel(None);
    let _screen = daemon.screen_socket.as_ref().and_then(|path| {
        let parts = screen::Parts { host, pairing, api: listens };
        screen::start(parts, path).map_err(|error| tracing::error!(error = in_words(&error), "no screen")).ok()
    });
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_no_note_is_none() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("note");
        assert_eq!(Volatile::noted(&path), None);
        for (note, expected) in [
            ("missing\n", Volatile::Missing),
            ("locked\n", Volatile::Locked),
            ("damaged\n", Volatile::Damaged),
            ("", Volatile::Damaged),
            ("fine", Volatile::Damaged),
        ] {
            std::fs::write(&path, note).unwrap();
            assert_eq!(Volatile::noted(&path), Some(expected), "{note:?}");
        }
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(Volatile::noted(&path), Some(Volatile::Damaged));
        assert_eq!(Volatile::noted(place.path()), Some(Volatile::Damaged));
    }
}
