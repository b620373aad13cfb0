//! Which approval the TPM is shown, and what is said when there is none.
//!
//! Nothing is decided here: the TPM judges for itself. A list with wrong approvals in it costs a named reason, no more.

use holdfast_evidence::{Approval, approval, policy};
use holdfast_hal::tpm::{PcrIndex, Tpm, TpmError};
use holdfast_types::{P256Public, PolicyDigest};

use super::constants::Constants;
use super::counter::patiently;
use super::error::SealError;

/// What the image brings along, and what was approved for this box.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Approvals<'a> {
    /// The kind of board that this image is for.
    pub(crate) board: &'a str,
    /// The key that approves this image and its successors.
    pub(crate) release_key: P256Public,
    /// Approvals of images.
    pub(crate) releases: &'a [Approval],
    /// Approvals of boot states.
    pub(crate) firmware: &'a [Approval],
}

/// Why the TPM will open nothing in this boot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyFault {
    /// The registers were extended while they were being looked at, again and again.
    #[error("platform registers {} do not stay as they are: restart", listed(.registers))]
    Changing {
        /// Those that a half is sealed to.
        registers: &'static [u8],
    },
    /// The image extended a register that must stay zero.
    #[error("platform register {register} is {}, not zero: boot without command line or extensions of your own", hex(.value))]
    NotZero {
        /// The register.
        register: u8,
        /// Its value.
        value: [u8; 32],
    },
    /// There are approvals of images, but of others.
    #[error(
        "platform register 11 is {}, an image or a phase of the boot that is not approved as {wanted}: boot a release \
         that is, before anything else is started",
        hex(.value)
    )]
    OtherImage {
        /// The purpose that must be approved.
        wanted: String,
        /// The register's value.
        value: [u8; 32],
    },
    /// The boot state is not approved.
    #[error(
        "platform register 7 is {}, which this box's authority has not approved: give ApproveFirmware for this boot \
         state, then reboot",
        hex(.value)
    )]
    OtherBootState {
        /// The register's value.
        value: [u8; 32],
    },
    /// There is no approval of any image for this board and level.
    #[error("nothing here is approved as {wanted}: boot a release for this board and of this level")]
    Unapproved {
        /// The purpose that must be approved.
        wanted: String,
    },
}

/// The registers that the halves are sealed to, as they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registers {
    image: [[u8; 32]; 3],
    boot_state: [[u8; 32]; 1],
}

impl Registers {
    pub(super) fn read(tpm: &mut dyn Tpm) -> Result<Self, SealError> {
        let [boot_state] = approval::FIRMWARE_REGISTERS;
        let [image, command_line, extensions] = approval::IMAGE_REGISTERS;
        let wanted = [boot_state, image, command_line, extensions].map(PcrIndex);
        let failed = |err| SealError::tpm("read its platform registers", err);
        match patiently(tpm, |tpm| tpm.read_pcrs(&wanted)).map_err(failed)?[..] {
            [seven, eleven, twelve, thirteen] => Ok(Self { image: [eleven, twelve, thirteen], boot_state: [seven] }),
            _ => Err(failed(TpmError::Refused { operation: "read registers", err: "not one value for each".into() })),
        }
    }
}

impl<'a> Approvals<'a> {
    /// What the image that runs measured to.
    ///
    /// To be asked before the boot goes on: register 11 is extended when it does, and then no release is approved.
    ///
    /// # Errors
    /// When the TPM does not answer.
    pub(crate) fn image_now(tpm: &mut dyn Tpm) -> Result<PolicyDigest, SealError> {
        Ok(policy::pcrs(&approval::IMAGE_REGISTERS, &Registers::read(tpm)?.image))
    }

    /// The highest level at which an image can open what it seals; `None` when it is not approved at all.
    pub(crate) fn level_of(&self, image: &PolicyDigest) -> Option<u64> {
        let approved = self.releases.iter().filter(|release| release.policy == *image);
        let levels = approved.filter_map(|release| Some((level_of(release, self.board)?, release)));
        levels.filter(|(_, release)| release.verify(&self.release_key).is_ok()).map(|(level, _)| level).max()
    }

    /// The approval of the present image for what was sealed at `level`.
    pub(super) fn of_image(
        &self,
        constants: &Constants,
        level: u64,
        present: &Registers,
        choice: Choice,
    ) -> Result<&'a Approval, PolicyFault> {
        let wanted = approval::image_ref(&constants.board, level);
        let policy = policy::pcrs(&approval::IMAGE_REGISTERS, &present.image);
        let valid = |release: &&Approval| release.policy_ref == wanted && release.verify(&constants.release).is_ok();
        let fitting =
            || self.releases.iter().filter(|release| release.policy == policy && release.policy_ref == wanted);
        choice.only(fitting()).or_else(|| fitting().find(valid)).ok_or_else(|| {
            let zeros = approval::IMAGE_REGISTERS.iter().zip(&present.image).skip(1);
            if let Some((register, value)) = zeros.into_iter().find(|(_, value)| **value != [0; 32]) {
                PolicyFault::NotZero { register: *register, value: *value }
            } else if self.releases.iter().any(|release| valid(&release)) {
                PolicyFault::OtherImage { wanted: wanted.clone(), value: present.image[0] }
            } else {
                PolicyFault::Unapproved { wanted: wanted.clone() }
            }
        })
    }

    /// The approval of the present boot state.
    pub(super) fn of_boot_state(
        &self,
        constants: &Constants,
        present: &Registers,
        choice: Choice,
    ) -> Result<&'a Approval, PolicyFault> {
        let policy = policy::pcrs(&approval::FIRMWARE_REGISTERS, &present.boot_state);
        let fitting = || {
            let here =
                |approved: &&Approval| approved.policy == policy && approved.policy_ref == approval::FIRMWARE_REF;
            self.firmware.iter().filter(here)
        };
        let valid = |approved: &&Approval| approved.verify(&constants.authority).is_ok();
        choice
            .only(fitting())
            .or_else(|| fitting().find(valid))
            .ok_or(PolicyFault::OtherBootState { value: present.boot_state[0] })
    }
}

/// How an approval is chosen among those that fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The only one is taken unseen: the TPM checks its signature anyway.
    LeftToTpm,
    /// Only one whose signature holds. Said again after the TPM refused one, so that what is missing has its name.
    Verified,
}

impl Choice {
    fn only<'a>(self, mut fitting: impl Iterator<Item = &'a Approval>) -> Option<&'a Approval> {
        let first = fitting.next().filter(|_| self == Self::LeftToTpm)?;
        fitting.next().is_none().then_some(first)
    }
}

/// The level of an approval for this board; `None` when it is for something else.
fn level_of(release: &Approval, board: &str) -> Option<u64> {
    let level = release.policy_ref.rsplit('/').next()?.parse().ok()?;
    (release.policy_ref == approval::image_ref(board, level)).then_some(level)
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn listed(registers: &[u8]) -> String {
    registers.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}
