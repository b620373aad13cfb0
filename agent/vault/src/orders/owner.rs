//! Whose box it is: `Own`, `ChangeAuthority`, `Reset`, `Downgrade`.

use holdfast_evidence::approval::{FIRMWARE_REF, FIRMWARE_REGISTERS};
use holdfast_evidence::{Approval, policy};
use holdfast_hal::tpm::PcrIndex;
use holdfast_types::P256Public;
use tracing::warn;

use super::Refusal;
use crate::keys::Keys;
use crate::lease::RECORD_FILE;
use crate::sealed::constants::{Constants, Owner};
use crate::sealed::wrapping::random_secret;
use crate::sealed::{self, Sealed};
use crate::vault::Vault;
use crate::vault::standing::{Owned, Phase, Standing};
use crate::vault::upkeep::{FIRMWARE_FILE, keep_approval};
use holdfast_vault_client::{Closed, ClosedId};

impl Vault {
    /// Gives the box its authority. Both counters are made, or kept when they are there.
    pub(super) fn own(&mut self, authority: P256Public, firmware: Approval) -> Result<(), Refusal> {
        self.check_firmware(&authority, &firmware)?;
        let level = self.image_level().ok_or(Refusal::Image)?;
        let (release, board, tier) = (self.release.key, self.release.board.as_str(), self.machine.tier);
        let constants = Constants::of_machine(self.tpm.as_mut(), &Owner { authority, release, board, tier })?;
        let mac_key = random_secret(self.tpm.as_mut())?;
        let present = firmware.policy;
        keep_approval(self.disk.as_ref(), firmware, &[authority], &present).map_err(|error| self.broke(error))?;
        let Standing::Unowned { room, history } = std::mem::replace(&mut self.standing, Standing::Changing) else {
            unreachable!("only an unowned vault accepts this order")
        };
        let keys = Keys::empty(room, &mac_key);
        match Sealed::first(self.disk.as_ref(), self.tpm.as_mut(), constants, level, &keys) {
            Ok(sealed) => {
                self.standing = Standing::Owned(Box::new(Owned { sealed, keys, history, phase: Phase::NoNetwork }));
                Ok(())
            }
            Err(error) => Err(self.broke(error)),
        }
    }

    pub(super) fn change_authority(&mut self, authority: P256Public, firmware: Approval) -> Result<(), Refusal> {
        self.check_firmware(&authority, &firmware)?;
        let owned = self.standing.owned().ok_or(Refusal::NotOwned)?;
        let before = owned.sealed.constants.authority;
        let (constants, level) = (Constants { authority, ..owned.sealed.constants.clone() }, owned.sealed.level);
        self.hold_lease()?;
        // Before the seal: without it the next generation would not open. The one before still needs the others.
        let (signers, present) = ([authority, before], firmware.policy);
        keep_approval(self.disk.as_ref(), firmware, &signers, &present).map_err(|error| self.broke(error))?;
        self.seal_anew(constants, level)
    }

    /// Erases everything but the watermarks. The counter moves first, so no copy of the disk opens any more.
    pub(super) fn reset(&mut self) -> Result<(), Refusal> {
        warn!("the operator resets this box: its shares are erased");
        if let Err(error) = sealed::erase(self.disk.as_ref(), self.tpm.as_mut()) {
            return Err(self.broke(error));
        }
        let (room, history) = match std::mem::replace(&mut self.standing, Standing::Changing) {
            Standing::Owned(owned) => (Some(owned.keys.wipe()), Some(owned.history)),
            Standing::Closed(broken) => match broken.owned {
                Some(owned) => (Some(owned.keys.wipe()), Some(owned.history)),
                None => (broken.room, broken.history),
            },
            Standing::Unowned { room, history } => (Some(room), Some(history)),
            Standing::Changing => (None, None),
        };
        self.import_key = None;
        let removed = RESET_FILES.iter().try_for_each(|name| self.disk.remove(name));
        let (Some(room), Some(history)) = (room, history) else {
            let reason = "the box was reset: restart the vault".into();
            self.standing.close(Closed { id: ClosedId::NotOwned, reason });
            return Ok(());
        };
        self.standing = Standing::Unowned { room, history };
        removed.map_err(|error| self.broke(error))
    }

    /// Writes the permit where the helper reads it.
    pub(super) fn permit_downgrade(&mut self, version: &str) -> Result<(), Refusal> {
        let sound = !version.is_empty()
            && version.len() <= VERSION_LEN_MAX
            && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+~".contains(&byte));
        if !sound {
            return Err(Refusal::Import("a version has letters, digits, and . - + ~, at most 64 of them"));
        }
        self.disk.replace(DOWNGRADE_FILE, version.as_bytes()).map_err(|error| self.broke(error))
    }

    /// In software, since nothing can unseal under it before the next boot.
    fn check_firmware(&mut self, authority: &P256Public, firmware: &Approval) -> Result<(), Refusal> {
        if firmware.policy_ref != FIRMWARE_REF {
            return Err(Refusal::Approval("it is not for a boot state"));
        }
        if firmware.verify(authority).is_err() {
            return Err(Refusal::Approval("the authority did not sign it"));
        }
        let values = self.tpm.read_pcrs(&FIRMWARE_REGISTERS.map(PcrIndex))?;
        if firmware.policy != policy::pcrs(&FIRMWARE_REGISTERS, &values) {
            return Err(Refusal::Approval("register 7 has another value than the one approved: take new evidence"));
        }
        Ok(())
    }
}

/// What an owner leaves beside the sealed file.
const RESET_FILES: [&str; 3] = [RECORD_FILE, FIRMWARE_FILE, DOWNGRADE_FILE];
/// Read by the helper.
const DOWNGRADE_FILE: &str = "downgrade-permit";
const VERSION_LEN_MAX: usize = 64;
