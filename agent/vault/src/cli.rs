//! The flags.

use std::path::PathBuf;

use clap::Parser;
use holdfast_vault::boot::Options;
use nix::unistd::{User, geteuid};

/// Keeps the shares of this box and signs with them, once.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// The folder for sealed shares and the slashing history; made when it is not there
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The unix socket to serve
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// The TPM, as device:/dev/tpmrm0
    #[arg(long, value_name = "ADDRESS", default_value = "device:/dev/tpmrm0")]
    pub(crate) tpm: String,
    /// The only user that is answered, by name or number [default: the vault's own]
    #[arg(long, value_name = "USER", value_parser = user_id)]
    allow_uid: Option<u32>,
    /// The key that approves images: 33 bytes as hex
    #[arg(long, value_name = "PATH", default_value = "/usr/lib/holdfast/release-key")]
    release_key: PathBuf,
    /// The approvals of this image; they lie beside it, since it cannot hold what is signed over it
    #[arg(long, value_name = "PATH", default_value = "/efi/holdfast/approvals")]
    release_approvals: PathBuf,
    /// The kind of board that the image is for
    #[arg(long, value_name = "NAME", default_value = "x86-64-uefi")]
    board: String,
    /// Go on with an emulated TPM: the seal means nothing then
    #[cfg(feature = "danger_emulated_tpm")]
    #[arg(long)]
    danger_tier_c: bool,
    /// The length of a lease in epochs
    #[cfg(feature = "danger_emulated_tpm")]
    #[arg(long, value_name = "N", default_value_t = holdfast_vault::boot::LEASE_EPOCHS, hide = true)]
    lease_epochs: u64,
}

impl Cli {
    pub(crate) fn options(&self) -> Options {
        Options {
            state: self.state.clone(),
            socket: self.socket.clone(),
            tpm: self.tpm.clone(),
            allowed_uid: self.allow_uid.unwrap_or_else(|| geteuid().as_raw()),
            release_key: self.release_key.clone(),
            release_approvals: self.release_approvals.clone(),
            board: self.board.clone(),
            #[cfg(feature = "danger_emulated_tpm")]
            tier_c: self.danger_tier_c,
            #[cfg(not(feature = "danger_emulated_tpm"))]
            tier_c: false,
            #[cfg(feature = "danger_emulated_tpm")]
            lease_epochs: self.lease_epochs,
            #[cfg(not(feature = "danger_emulated_tpm"))]
            lease_epochs: holdfast_vault::boot::LEASE_EPOCHS,
        }
    }
}

/// The system gives its users their numbers when it first boots, so a unit can only know names.
fn user_id(text: &str) -> Result<u32, UnknownUser> {
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    match User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) | Err(_) => Err(UnknownUser),
    }
}

/// The name is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no user of this machine: give a name or a number that `getent passwd` knows")]
struct UnknownUser;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_number_or_a_name_of_this_machine() {
        assert_eq!(user_id("1234"), Ok(1234));
        assert_eq!(user_id("root"), Ok(0));
        for nobody in ["", "-1", "4294967296", "no-such-user", "root "] {
            assert_eq!(user_id(nobody), Err(UnknownUser), "{nobody:?}");
        }
    }

    #[test]
    fn a_release_knows_no_flag_that_weakens_it() {
        let given = |flags: &[&str]| {
            let needed = ["holdfast-vault", "--state", "/s", "--socket", "/r/s"];
            Cli::try_parse_from(needed.iter().chain(flags))
        };
        let options = given(&[]).unwrap().options();
        assert_eq!((options.tier_c, options.lease_epochs), (false, holdfast_vault::boot::LEASE_EPOCHS));
        for flags in [&["--danger-tier-c"][..], &["--lease-epochs", "1"]] {
            assert_eq!(given(flags).is_ok(), cfg!(feature = "danger_emulated_tpm"), "{flags:?}");
        }
    }
}
