//! OPAQUE with ristretto255, SHA-512, triple Diffie-Hellman and Argon2id.

use argon2::{Algorithm, Argon2, Params, Version};
use opaque_ke::errors::InternalError;
use opaque_ke::generic_array::{ArrayLength, GenericArray};
use opaque_ke::ksf::Ksf;
use opaque_ke::{
    CipherSuite, ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialFinalization, CredentialRequest, CredentialResponse, Identifiers, Ristretto255, ServerLogin,
    ServerLoginParameters, ServerRegistration, ServerSetup, TripleDh,
};
use rand_core::CryptoRngCore;
use sha2::Sha512;
use zeroize::Zeroizing;

use super::{Pake, SessionKey};
use crate::code::PairingCode;

/// The scheme.
pub struct Opaque;

/// The key stretching function. `opaque-ke` has none by default, and would take Argon2's own defaults otherwise.
#[derive(Default)]
pub struct Stretch;

/// What the box keeps: the keys of a server that has one user, and that user's record.
pub struct Record {
    setup: ServerSetup<Opaque>,
    registration: ServerRegistration<Opaque>,
}

/// The operator between the two messages.
pub struct Login {
    password: Zeroizing<Vec<u8>>,
    login: ClientLogin<Opaque>,
}

impl CipherSuite for Opaque {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, Sha512>;
    type Ksf = Stretch;
}

impl Ksf for Stretch {
    fn hash<L: ArrayLength<u8>>(&self, input: GenericArray<u8, L>) -> Result<GenericArray<u8, L>, InternalError> {
        #[cfg(test)]
        EVALUATIONS.set(EVALUATIONS.get() + 1);
        let params =
            Params::new(STRETCH_MEMORY_KIB, STRETCH_PASSES, LANES, None).map_err(|_| InternalError::KsfError)?;
        let mut output = GenericArray::default();
        // The input is the output of a keyed function whose key is new for each verifier: it needs no salt besides.
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(&input, &[0; 16], &mut output)
            .map_err(|_| InternalError::KsfError)?;
        Ok(output)
    }
}

impl Pake for Opaque {
    type Verifier = Record;
    type BoxState = ServerLogin<Self>;
    type OperatorState = Login;

    fn verifier(code: &PairingCode, mut rng: &mut impl CryptoRngCore) -> Record {
        let setup = ServerSetup::new(&mut rng);
        let password = code.password();
        let registration =
            register(&setup, &password, rng).expect("a code has a registration with a server of its own");
        Record { setup, registration }
    }

    fn to_bytes(record: &Record) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(RECORD_LEN));
        bytes.extend_from_slice(&record.setup.serialize());
        bytes.extend_from_slice(&record.registration.serialize());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Record> {
        if bytes.len() != RECORD_LEN {
            return None;
        }
        let (setup, registration) = bytes.split_at(SETUP_LEN);
        let setup = ServerSetup::deserialize(setup).ok()?;
        let registration = ServerRegistration::deserialize(registration).ok()?;
        Some(Record { setup, registration })
    }

    fn answer(
        record: &Record,
        first: &[u8],
        context: &[u8],
        mut rng: &mut impl CryptoRngCore,
    ) -> Option<(ServerLogin<Self>, Vec<u8>)> {
        let first = CredentialRequest::deserialize(exactly(first, KE1_LEN)?).ok()?;
        let registration = Some(record.registration.clone());
        let answer = ServerLogin::start(&mut rng, &record.setup, registration, first, USER, of_box(context)).ok()?;
        Some((answer.state, answer.message.serialize().to_vec()))
    }

    fn finish_box(state: ServerLogin<Self>, third: &[u8], context: &[u8]) -> Option<SessionKey> {
        let third = CredentialFinalization::deserialize(exactly(third, KE3_LEN)?).ok()?;
        let finished = state.finish(third, of_box(context)).ok()?;
        Some(SessionKey(finished.session_key.into()))
    }

    fn start(code: &PairingCode, mut rng: &mut impl CryptoRngCore) -> (Login, Vec<u8>) {
        let password = code.password();
        let start = ClientLogin::start(&mut rng, &password).expect("every code has a point on the curve");
        (Login { password, login: start.state }, start.message.serialize().to_vec())
    }

    fn finish_operator(
        state: Login,
        second: &[u8],
        context: &[u8],
        mut rng: &mut impl CryptoRngCore,
    ) -> Option<(SessionKey, Vec<u8>)> {
        let second = CredentialResponse::deserialize(exactly(second, KE2_LEN)?).ok()?;
        let parameters = ClientLoginFinishParameters::new(Some(context), Identifiers::default(), None);
        let finished = state.login.finish(&mut rng, &state.password, second, parameters).ok()?;
        Some((SessionKey(finished.session_key.into()), finished.message.serialize().to_vec()))
    }
}

/// Both sides of a registration at once: who makes the verifier knows the code.
fn register(
    setup: &ServerSetup<Opaque>,
    password: &[u8],
    mut rng: &mut impl CryptoRngCore,
) -> Option<ServerRegistration<Opaque>> {
    let start = ClientRegistration::<Opaque>::start(&mut rng, password).ok()?;
    let response = ServerRegistration::start(setup, start.message, USER).ok()?.message;
    let parameters = ClientRegistrationFinishParameters::default();
    let finished = start.state.finish(&mut rng, password, response, parameters).ok()?;
    Some(ServerRegistration::finish(finished.message))
}

fn of_box(context: &[u8]) -> ServerLoginParameters<'_, 'static> {
    ServerLoginParameters { context: Some(context), identifiers: Identifiers::default() }
}

fn exactly(bytes: &[u8], len: usize) -> Option<&[u8]> {
    (bytes.len() == len).then_some(bytes)
}

#[cfg(test)]
thread_local! {
    /// How often this thread ran the slow function.
    pub(super) static EVALUATIONS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// Twice as much as OWASP's strongest suggestion for servers, and each operator's machine has it: only who makes a code
/// or types one runs this, a box that is asked does not.
pub const STRETCH_MEMORY_KIB: u32 = 64 * 1024;
/// RFC 9106's choice for 64 MiB.
pub const STRETCH_PASSES: u32 = 3;
/// One, because a small board may have one core to spare, and guessing in parallel takes whole evaluations anyhow.
const LANES: u32 = 1;

/// The box knows one user only.
const USER: &[u8] = b"operator";

const SETUP_LEN: usize = 64 + 32 + 32;
const RECORD_LEN: usize = SETUP_LEN + 32 + 64 + 32 + 64;
/// RFC 9807, 6.1: a blinded element, a nonce, a key share.
const KE1_LEN: usize = 32 + 32 + 32;
/// An evaluated element, a nonce, a masked response; a nonce, a key share, a MAC.
const KE2_LEN: usize = 32 + 32 + (32 + 32 + 64) + 32 + 32 + 64;
/// A MAC.
const KE3_LEN: usize = 64;
