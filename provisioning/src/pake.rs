//! The key exchange that a code authenticates: who does not know the code learns nothing but that it was wrong, and each
//! wrong guess needs an answer of the box.
//!
//! The scheme is OPAQUE (RFC 9807), which is augmented: what the box keeps, the [`Verifier`], does not let its reader pair
//! without guessing, and each guess costs one run of a slow function. Everything here is independent of the scheme but
//! for one line.
//!
//! What a guess costs who holds a verifier (a boot medium's, say): one evaluation on the curve and one Argon2id over
//! [`STRETCH_MEMORY_KIB`] in [`STRETCH_PASSES`] passes, and there is nothing to prepare: seed and keys are new for each
//! verifier. At 80 bits and a generous million guesses a second, which keeps 64 TiB of memory busy, half of the
//! codes take 19 billion years. At 40 bits, a screen's, the same takes six days: such a verifier never leaves memory.

mod opaque;

use std::fmt;

use rand_core::CryptoRngCore;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::code::PairingCode;
pub use opaque::{Opaque, STRETCH_MEMORY_KIB, STRETCH_PASSES};

/// A scheme: two messages of the operator's, one of the box's between them.
pub trait Pake {
    /// What the box keeps of a code.
    type Verifier;
    /// The box between its answer and the operator's second message.
    type BoxState;
    /// The operator between the first message and the answer.
    type OperatorState;

    /// What the box keeps of this code.
    fn verifier(code: &PairingCode, rng: &mut impl CryptoRngCore) -> Self::Verifier;
    /// A verifier as bytes.
    fn to_bytes(verifier: &Self::Verifier) -> Zeroizing<Vec<u8>>;
    /// A verifier from bytes.
    fn from_bytes(bytes: &[u8]) -> Option<Self::Verifier>;
    /// The box's answer to the first message.
    fn answer(
        verifier: &Self::Verifier,
        first: &[u8],
        context: &[u8],
        rng: &mut impl CryptoRngCore,
    ) -> Option<(Self::BoxState, Vec<u8>)>;
    /// The box's end, by the operator's second message.
    fn finish_box(state: Self::BoxState, third: &[u8], context: &[u8]) -> Option<SessionKey>;
    /// The operator's first message.
    fn start(code: &PairingCode, rng: &mut impl CryptoRngCore) -> (Self::OperatorState, Vec<u8>);
    /// The operator's second message, by the box's answer.
    fn finish_operator(
        state: Self::OperatorState,
        second: &[u8],
        context: &[u8],
        rng: &mut impl CryptoRngCore,
    ) -> Option<(SessionKey, Vec<u8>)>;
}

/// What ties an exchange to its connection: 32 bytes that TLS exports (`tls::binding`). A man in the middle has two
/// connections, whose bytes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding(pub [u8; 32]);

/// What both sides have when the code was right.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SessionKey([u8; 64]);

/// What the box keeps of a code.
pub struct Verifier(<Scheme as Pake>::Verifier);

/// The box's side of one exchange.
pub struct BoxExchange {
    state: <Scheme as Pake>::BoxState,
    binding: Binding,
}

/// The operator's side of one exchange.
pub struct OperatorExchange(<Scheme as Pake>::OperatorState);

/// Why there is no session key. It does not say which part failed, since the other side may be anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PakeError {
    /// The exchange failed.
    #[error("the code is wrong, or the connection is not with whom it seems to be: look at the code again")]
    Failed,
    /// Bytes that are no verifier of this version.
    #[error("what was kept of the pairing code cannot be read: make a new code")]
    Verifier,
}

impl Verifier {
    /// What the box keeps of this code. Slow by design.
    pub fn new(code: &PairingCode, rng: &mut impl CryptoRngCore) -> Self {
        Self(Scheme::verifier(code, rng))
    }

    /// As bytes. Whoever reads them may guess the code without asking the box.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(vec![VERSION]);
        bytes.extend_from_slice(&Scheme::to_bytes(&self.0));
        bytes
    }

    /// From bytes.
    ///
    /// # Errors
    /// [`PakeError::Verifier`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PakeError> {
        match bytes.split_first() {
            Some((&VERSION, bytes)) => Scheme::from_bytes(bytes).map(Self).ok_or(PakeError::Verifier),
            _ => Err(PakeError::Verifier),
        }
    }
}

impl BoxExchange {
    /// Answers the operator's first message. Whether the code is right is not known yet, and the answer does not tell.
    ///
    /// # Errors
    /// [`PakeError::Failed`] when the message is none.
    pub fn answer(
        verifier: &Verifier,
        ke1: &[u8],
        binding: &Binding,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(Self, Vec<u8>), PakeError> {
        let answer = Scheme::answer(&verifier.0, ke1, &context(binding), rng);
        let (state, ke2) = answer.ok_or(PakeError::Failed)?;
        Ok((Self { state, binding: *binding }, ke2))
    }

    /// Ends the exchange: the operator knew the code.
    ///
    /// # Errors
    /// [`PakeError::Failed`].
    pub fn finish(self, ke3: &[u8]) -> Result<SessionKey, PakeError> {
        Scheme::finish_box(self.state, ke3, &context(&self.binding)).ok_or(PakeError::Failed)
    }
}

impl OperatorExchange {
    /// Makes the first message.
    pub fn start(code: &PairingCode, rng: &mut impl CryptoRngCore) -> (Self, Vec<u8>) {
        let (state, ke1) = Scheme::start(code, rng);
        (Self(state), ke1)
    }

    /// Ends the exchange: the box knew a verifier of this code, and its answer was made on this connection. Slow by design.
    ///
    /// # Errors
    /// [`PakeError::Failed`].
    pub fn finish(
        self,
        ke2: &[u8],
        binding: &Binding,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(SessionKey, Vec<u8>), PakeError> {
        Scheme::finish_operator(self.0, ke2, &context(binding), rng).ok_or(PakeError::Failed)
    }
}

impl SessionKey {
    /// The bytes, to derive from and for nothing else.
    pub(crate) const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    #[cfg(test)]
    pub(crate) const fn of_test(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }
}

macro_rules! unshown {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}
unshown!(SessionKey Verifier BoxExchange OperatorExchange);

fn context(binding: &Binding) -> Vec<u8> {
    [CONTEXT, &binding.0].concat()
}

/// The scheme in use.
type Scheme = Opaque;

const CONTEXT: &[u8] = b"holdfast pairing 1";
/// The first byte of a verifier: which scheme and cost it was made with.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests;
