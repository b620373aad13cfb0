//! Approvals: a signature that lets a TPM accept other register values without sealing anew.
//!
//! Two exist. The release key approves a measured image ("os/BOARD/LEVEL", registers 11, 12 and 13); the box's
//! authority approves a boot state ("box/1", register 7). Both are made here, offline.

use holdfast_types::{P256Public, P256Signature, PolicyDigest};
use serde::{Deserialize, Serialize};

use crate::key::{SigningKey, verify};
use crate::policy;

/// What one key approves for one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The digest after `PolicyPCR` with the approved values.
    pub policy: PolicyDigest,
    /// The purpose (`policyRef`).
    pub policy_ref: String,
    /// Over SHA-256 of both.
    pub signature: P256Signature,
}

/// Why an approval does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// The signature is not that of the key.
    #[error("the approval is not signed by the key that must sign it")]
    Signature,
}

impl Approval {
    /// Approves an image on a kind of board, for one level: register 11 as measured, 12 and 13 zero.
    #[must_use]
    pub fn of_image(release: &SigningKey, board: &str, level: u64, pcr_11: [u8; 32]) -> Self {
        Self::of(release, policy::pcrs(&IMAGE_REGISTERS, &[pcr_11, [0; 32], [0; 32]]), image_ref(board, level))
    }

    /// Approves a boot state: register 7 as the box quoted it.
    #[must_use]
    pub fn of_firmware(authority: &SigningKey, pcr_7: [u8; 32]) -> Self {
        Self::of(authority, policy::pcrs(&FIRMWARE_REGISTERS, &[pcr_7]), FIRMWARE_REF.into())
    }

    /// Checks the signature, as the TPM will.
    ///
    /// # Errors
    /// [`ApprovalError::Signature`].
    pub fn verify(&self, signer: &P256Public) -> Result<(), ApprovalError> {
        let message = [&self.policy.0, self.policy_ref.as_bytes()].concat();
        if verify(signer, &message, &self.signature) { Ok(()) } else { Err(ApprovalError::Signature) }
    }

    /// The kind of board and the level that it is for; `None` when it is not for an image.
    #[must_use]
    pub fn of_which_image(&self) -> Option<(String, u64)> {
        let (board, level) = self.policy_ref.strip_prefix("os/")?.rsplit_once('/')?;
        let level = level.parse().ok()?;
        // One spelling for each level.
        (self.policy_ref == image_ref(board, level)).then(|| (board.into(), level))
    }

    fn of(key: &SigningKey, policy: PolicyDigest, policy_ref: String) -> Self {
        let signature = key.sign(&[&policy.0, policy_ref.as_bytes()].concat());
        Self { policy, policy_ref, signature }
    }
}

/// The purpose of a release's approval: this kind of board, this level or a later release.
#[must_use]
pub fn image_ref(board: &str, level: u64) -> String {
    format!("os/{board}/{level}")
}

/// The registers of an image: what it is, and what must stay zero.
pub const IMAGE_REGISTERS: [u8; 3] = [11, 12, 13];
/// The register of the boot state.
pub const FIRMWARE_REGISTERS: [u8; 1] = [7];
/// The purpose of an authority's approval.
pub const FIRMWARE_REF: &str = "box/1";

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: u8) -> SigningKey {
        SigningKey::from_bytes(&[secret; 32]).unwrap()
    }

    #[test]
    fn an_approval_of_an_image_is_for_its_registers_board_and_level() {
        let approval = Approval::of_image(&key(1), "board", 3, [0x11; 32]);
        assert_eq!(approval.policy, policy::pcrs(&[11, 12, 13], &[[0x11; 32], [0; 32], [0; 32]]));
        assert_eq!(approval.policy_ref, "os/board/3");
        assert_eq!(approval.of_which_image(), Some(("board".into(), 3)));
        for other in ["os/board/03", "os/board/", "os/3", "box/1", "os/board/+3"] {
            assert_eq!(Approval { policy_ref: other.into(), ..approval.clone() }.of_which_image(), None, "{other}");
        }
        assert_eq!(approval.verify(&key(1).public()), Ok(()));
    }

    #[test]
    fn an_approval_of_a_boot_state_is_for_register_7() {
        let approval = Approval::of_firmware(&key(1), [0x07; 32]);
        assert_eq!(approval.policy, policy::pcrs(&[7], &[[0x07; 32]]));
        assert_eq!(approval.policy_ref, "box/1");
        assert_eq!(approval.verify(&key(1).public()), Ok(()));
    }

    #[test]
    fn every_changed_byte_and_every_other_signer_fails() {
        let approval = Approval::of_image(&key(1), "board", 3, [0x11; 32]);
        let fails = |changed: &Approval, signer: u8, what: &str| {
            assert_eq!(changed.verify(&key(signer).public()), Err(ApprovalError::Signature), "{what}");
        };
        fails(&approval, 2, "another signer");
        for at in 0..32 {
            let mut changed = approval.clone();
            changed.policy.0[at] ^= 1;
            fails(&changed, 1, &format!("policy byte {at}"));
        }
        for at in 0..64 {
            let mut changed = approval.clone();
            changed.signature.0[at] ^= 1;
            fails(&changed, 1, &format!("signature byte {at}"));
        }
        for purpose in ["os/board/4", "os/board/33", "os/board/", "", "box/1"] {
            fails(&Approval { policy_ref: purpose.into(), ..approval.clone() }, 1, purpose);
        }
    }
}
