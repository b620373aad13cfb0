//! A command that failed, before it is known what that means to the caller.

use holdfast_hal::tpm::TpmError;
use tss_esapi::Error;
use tss_esapi::constants::response_code::Tss2ResponseCodeKind;

/// Which command failed, and what the stack said.
#[derive(Debug)]
pub(crate) struct Failure {
    operation: &'static str,
    err: Error,
}

impl Failure {
    /// Whether the TPM (or a layer that speaks for it) answered with this code.
    pub(crate) fn is(&self, kind: Tss2ResponseCodeKind) -> bool {
        matches!(self.err, Error::Tss2Error(code) if code.kind() == Some(kind))
    }
}

impl From<Failure> for TpmError {
    fn from(failure: Failure) -> Self {
        Self::Refused { operation: failure.operation, err: Box::new(failure.err) }
    }
}

/// Names the operation that a result of the stack belongs to.
pub(crate) trait Naming<T> {
    /// The result, its error with the operation's name.
    fn naming(self, operation: &'static str) -> Result<T, Failure>;
}

impl<T> Naming<T> for Result<T, Error> {
    fn naming(self, operation: &'static str) -> Result<T, Failure> {
        self.map_err(|err| Failure { operation, err })
    }
}

/// The stack accepted what it was given, but the answer is not what the command promises.
pub(crate) fn odd_answer(operation: &'static str, what: &'static str) -> TpmError {
    TpmError::Refused { operation, err: what.into() }
}
