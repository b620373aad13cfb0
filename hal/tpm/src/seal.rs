//! Sealed objects: made under the storage root key, opened only by a session that runs the steps of their policy.
//!
//! ESYS keeps copies of what went through it; each is overwritten before a call returns.

use std::hint::black_box;

use holdfast_hal::tpm::{PolicyStep, SEAL_LEN_MAX, SealedBlob, TpmError, UnsealPolicy};
use holdfast_types::PolicyDigest;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::connection::Connection;
use crate::failure::{self, Failure, odd_answer};
use crate::raw::{Loadable, Object, Purpose, Selection, Session, Ticket};
use crate::{counter, pcr, template};

/// Seals `secret` under `policy`.
pub(crate) fn seal(connection: &Connection, secret: &[u8], policy: &PolicyDigest) -> Result<SealedBlob, TpmError> {
    if secret.len() > SEAL_LEN_MAX {
        return Err(TpmError::SecretTooLong { len: secret.len() });
    }
    let esys = &connection.esys;
    let session = connection.session(Purpose::HideCommand)?;
    let made = esys.create_sealed(connection.storage_root, &session, secret, &template::sealed(policy));
    let overwritten = esys.overwrite_created(&session);
    overwrite_stack();
    let made = made?;
    overwritten?;
    Ok(SealedBlob { public: made.public, private: made.private, storage_root: connection.storage_root_name.clone() })
}

/// Opens `blob`. A register that changes meanwhile ends the policy session, so the whole session is then tried again.
pub(crate) fn unseal(
    connection: &Connection,
    blob: &SealedBlob,
    policy: &UnsealPolicy,
) -> Result<Zeroizing<Vec<u8>>, TpmError> {
    let other =
        || TpmError::OtherTpm { sealed: blob.storage_root.clone(), present: connection.storage_root_name.clone() };
    if blob.storage_root != connection.storage_root_name {
        return Err(other());
    }
    let registers = pcr::selection(&policy.pcrs)?;
    let parts = Loadable::from_parts(&blob.public, &blob.private).ok_or_else(other)?;
    let session = connection.session(Purpose::Audit)?;
    let approval = Approval::verified(connection, &session, policy)?;
    // What this TPM made loads. What it refuses as no part of a blob, another one made.
    let object = connection.esys.load(connection.storage_root, &session, &parts);
    let object = object.map_err(|failure| if failure.parameter().is_some() { other() } else { failure.into() })?;
    for _ in 0..UNSEAL_TRIES_MAX {
        match unseal_loaded(connection, &session, *object, policy, registers, &approval) {
            Err(Stop::Changed) => {}
            Err(Stop::For(err)) => return Err(err),
            Ok(secret) => {
                // The stack's buffer holds the last answer in the clear. A longer command takes its place: this one,
                // under a session, is longer than the longest answer to `Unseal`.
                connection.esys.stir_zeros(&session, SEAL_LEN_MAX)?;
                overwrite_stack();
                return Ok(secret);
            }
        }
    }
    Err(odd_answer("unseal", "platform registers kept changing: start again when the boot has settled"))
}

/// An approval that the TPM has verified.
struct Approval {
    signer: [u8; 34],
    ticket: Ticket,
}

impl Approval {
    /// Loads the signer's key, has it verify the signature, and gives it back: a TPM holds three objects, and the ticket
    /// is as good for every further try.
    fn verified(connection: &Connection, session: &Session<'_>, policy: &UnsealPolicy) -> Result<Self, TpmError> {
        let unsigned = || TpmError::PolicyFailed { step: PolicyStep::Approval };
        let area = template::signer(&policy.signer).ok_or_else(unsigned)?;
        let signer = connection.esys.load_public(session, &area)?;
        let digest = Sha256::new().chain_update(policy.approved.0).chain_update(&policy.policy_ref).finalize().into();
        let ticket = connection.esys.verify(session, *signer, &digest, &policy.signature).map_err(|failure| {
            let refused = failure.is(failure::SIGNATURE) || failure.parameter() == Some(SIGNATURE_PARAMETER);
            if refused { unsigned() } else { failure.into() }
        })?;
        Ok(Self { signer: template::name(&area), ticket })
    }
}

/// Why a try ended.
enum Stop {
    /// A register was extended meanwhile.
    Changed,
    /// This, for good.
    For(TpmError),
}

impl Stop {
    /// What a failure means in a step that fails like this when it is not met.
    fn at(step: PolicyStep, unmet: impl Fn(&Failure) -> bool) -> impl Fn(Failure) -> Self {
        move |failure| if unmet(&failure) { Self::For(TpmError::PolicyFailed { step }) } else { failure.into() }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        if failure.is(failure::PCR_CHANGED) { Self::Changed } else { Self::For(failure.into()) }
    }
}

fn unseal_loaded(
    connection: &Connection,
    session: &Session<'_>,
    object: Object,
    policy: &UnsealPolicy,
    registers: Selection,
    Approval { signer, ticket }: &Approval,
) -> Result<Zeroizing<Vec<u8>>, Stop> {
    let esys = &connection.esys;
    let run = connection.session(Purpose::Policy)?;
    esys.policy_pcr(session, &run, registers)?;
    esys.policy_authorize(session, &run, &policy.approved, &policy.policy_ref, signer, ticket)
        .map_err(Stop::at(PolicyStep::Registers, |failure| {
            failure.is(failure::VALUE) && failure.parameter() == Some(APPROVED_PARAMETER)
        }))?;
    let counter = counter::find_written(connection, session, policy.counter).map_err(Stop::For)?;
    esys.policy_nv(session, &run, &counter.index, policy.counter_value)
        .map_err(Stop::at(PolicyStep::Counter, |failure| failure.is(failure::POLICY)))?;
    let unmet = Stop::at(PolicyStep::Digest, |failure| failure.is(failure::POLICY_FAIL));
    esys.unseal(&run, object).map_err(unmet)
}

/// The stack's structures are passed by value and leave copies in frames that have returned.
#[inline(never)]
fn overwrite_stack() {
    black_box(&mut [0u8; DEEPEST_CALL_LEN]);
}

/// `signature` in `TPM2_VerifySignature`.
const SIGNATURE_PARAMETER: u32 = 2;
/// `approvedPolicy` in `TPM2_PolicyAuthorize`.
const APPROVED_PARAMETER: u32 = 1;
/// More than the commands above use: unoptimised, the deepest copy was seen 30 KiB down.
const DEEPEST_CALL_LEN: usize = 128 * 1024;
/// At boot registers are extended by others; each extend costs one try, and none of them comes ten times in a row.
const UNSEAL_TRIES_MAX: usize = 10;
