//! A command that failed, before it is known what that means to the caller.

use std::fmt;

use holdfast_hal::tpm::TpmError;

/// Which command failed, and what was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    /// What was asked.
    pub(crate) operation: &'static str,
    /// What came.
    pub(crate) code: Code,
}

/// A response code (TPM 2.0 Library Part 2, 6.6; the layer above it is of the TSS 2.0 Overview, section 4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u32);

impl Failure {
    /// Whether the TPM answered with this error, whatever it was about.
    pub(crate) fn is(&self, error: u32) -> bool {
        self.code.answered().is_some_and(|code| error == if code & FORMAT_ONE == 0 { code } else { code & ERROR })
    }

    /// Whether the stack found bytes that are too long for their structure.
    pub(crate) fn is_too_long(&self) -> bool {
        self.code == TOO_LONG
    }

    /// Whether the TPM refused a parameter of the command, and if so which: they count from 1.
    pub(crate) fn parameter(&self) -> Option<u32> {
        let code = self.code.answered()?;
        (code & FORMAT_ONE != 0 && code & OF_PARAMETER != 0).then_some(code >> 8 & 0xf)
    }
}

impl Code {
    /// The code if it comes from the TPM itself, without the layer that handed it on.
    pub(crate) fn answered(self) -> Option<u32> {
        [LAYER_TPM, LAYER_TPM_BY_MANAGER].contains(&(self.0 >> 16)).then_some(self.0 & 0xffff)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({:#x})", self.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.answered() {
            Some(code) => write!(f, "the TPM answered {code:#x}"),
            None => write!(f, "the TPM stack failed with {:#x}", self.0),
        }
    }
}

impl std::error::Error for Code {}

impl From<Failure> for TpmError {
    fn from(failure: Failure) -> Self {
        Self::Refused { operation: failure.operation, err: Box::new(failure.code) }
    }
}

/// The stack accepted what it was given, but the answer is not what the command promises.
pub(crate) fn odd_answer(operation: &'static str, what: &'static str) -> TpmError {
    TpmError::Refused { operation, err: what.into() }
}

/// `TSS2_ESYS_RC_BAD_SIZE`: more bytes than the structure holds.
pub(crate) const TOO_LONG: Code = Code(0x7_0010);
/// `TPM_RC_HANDLE`.
pub(crate) const HANDLE: u32 = 0x08b;
/// `TPM_RC_PCR_CHANGED`: a register was extended since the policy session looked at it.
pub(crate) const PCR_CHANGED: u32 = 0x128;
/// `TPM_RC_POLICY`: what a policy command compares is not so.
pub(crate) const POLICY: u32 = 0x126;
/// `TPM_RC_POLICY_FAIL`: the session's policy is not the object's.
pub(crate) const POLICY_FAIL: u32 = 0x09d;
/// `TPM_RC_SIGNATURE`.
pub(crate) const SIGNATURE: u32 = 0x09b;
/// `TPM_RC_VALUE`.
pub(crate) const VALUE: u32 = 0x084;

/// Bit 7: the code says which parameter, handle or session it is about.
const FORMAT_ONE: u32 = 1 << 7;
/// Bit 6 of such a code: it is about a parameter.
const OF_PARAMETER: u32 = 1 << 6;
/// What is left of such a code without what it is about.
const ERROR: u32 = 0xbf;
const LAYER_TPM: u32 = 0;
/// The kernel's resource manager hands on what the TPM says, and says some of it for the TPM.
const LAYER_TPM_BY_MANAGER: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: u32) -> Failure {
        Failure { operation: "test", code: Code(code) }
    }

    #[test]
    fn an_error_is_known_whatever_it_is_about_and_whoever_hands_it_on() {
        for code in [0x18b, 0x28b, 0xc_018b] {
            assert!(failure(code).is(HANDLE), "{code:#x}");
        }
        assert!(failure(0x1c4).is(VALUE) && failure(0x99d).is(POLICY_FAIL) && failure(0x2db).is(SIGNATURE));
        assert!(failure(0x126).is(POLICY) && failure(0x128).is(PCR_CHANGED));
        assert!(!failure(0x922).is(SIGNATURE), "busy");
        assert!(!failure(0x7_0084).is(VALUE), "the stack's own code");
    }

    #[test]
    fn the_parameter_is_named() {
        assert_eq!(failure(0x2db).parameter(), Some(2));
        assert_eq!(failure(0x1df).parameter(), Some(1));
        for code in [0x18b, 0x99d, 0x126, 0x922, 0x9_01c4] {
            assert_eq!(failure(code).parameter(), None, "{code:#x}");
        }
    }
}
