//! Sealed objects: made under the storage root key, bound to platform registers, opened only under that policy.

use std::hint::black_box;

use holdfast_hal::tpm::{PcrIndex, SEAL_LEN_MAX, SealedBlob, TpmError, TpmName};
use tss_esapi::Context;
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::constants::response_code::Tss2ResponseCodeKind;
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::session_handles::PolicySession;
use tss_esapi::structures::{
    Digest, KeyedHashScheme, Private, Public, PublicBuilder, PublicKeyedHashParameters, SensitiveData,
};
use tss_esapi::traits::{Marshall, UnMarshall};
use tss_esapi::tss2_esys::TPM2B_SENSITIVE_DATA;
use zeroize::Zeroizing;

use crate::failure::{Failure, Naming, odd_answer};
use crate::session::{Purpose, flushing, with_session};
use crate::{esapi, pcr};

/// Seals `secret` to the present values of `pcrs`.
pub(crate) fn seal(
    context: &mut Context,
    storage_root: KeyHandle,
    storage_root_name: &TpmName,
    secret: &[u8],
    pcrs: &[PcrIndex],
) -> Result<SealedBlob, TpmError> {
    if secret.len() > SEAL_LEN_MAX {
        return Err(TpmError::SecretTooLong { len: secret.len() });
    }
    let mut pcrs = pcrs.to_vec();
    pcrs.sort_unstable();
    pcrs.dedup();
    pcr::selection(&pcrs)?;
    let values = pcr::read(context, storage_root, &pcrs)?;
    let template = template(&pcr::policy(&pcrs, &values)).naming(SEAL)?;
    let secret = SensitiveData::try_from(secret).naming(SEAL)?;
    let created = with_session(context, storage_root, Purpose::HideCommand, |context, session| {
        context
            .execute_with_session(Some(session), |context| {
                context.create(storage_root, template, None, Some(secret), None, None)
            })
            .naming(SEAL)
    });
    // ESYS keeps a copy of what it sealed until the next creation puts its own parameters there.
    let overwriting = esapi::create_storage_root(context)?;
    context.flush_context(overwriting.into()).naming("flush a handle")?;
    overwrite_stack();
    let created = created?;
    let public = created.out_public.marshall().naming(SEAL)?;
    let private = created.out_private.value().to_vec();
    Ok(SealedBlob { public, private, pcrs, storage_root: storage_root_name.clone() })
}

/// Opens `blob`. A register that changes meanwhile ends the policy session, so the whole session is then tried again.
pub(crate) fn unseal(
    context: &mut Context,
    storage_root: KeyHandle,
    storage_root_name: &TpmName,
    blob: &SealedBlob,
) -> Result<Zeroizing<Vec<u8>>, TpmError> {
    let other = || TpmError::OtherTpm { sealed: blob.storage_root.clone(), present: storage_root_name.clone() };
    if blob.storage_root != *storage_root_name {
        return Err(other());
    }
    let selection = pcr::selection(&blob.pcrs)?;
    let public = Public::unmarshall(&blob.public).naming(LOAD)?;
    let private = Private::try_from(blob.private.as_slice()).naming(LOAD)?;
    let object = with_session(context, storage_root, Purpose::Audit, |context, session| {
        context.execute_with_session(Some(session), |context| context.load(storage_root, private, public)).naming(LOAD)
    })
    .map_err(|failure| if failure.is(Tss2ResponseCodeKind::Integrity) { other() } else { failure.into() })?;
    flushing(context, object.into(), |context| {
        for _ in 0..UNSEAL_TRIES_MAX {
            match unseal_loaded(context, storage_root, object, selection.clone()) {
                Err(failure) if failure.is(Tss2ResponseCodeKind::PcrChanged) => {}
                Err(failure) if failure.is(Tss2ResponseCodeKind::PolicyFail) => return Err(TpmError::PolicyFailed),
                unsealed => return Ok(unsealed?),
            }
        }
        Err(odd_answer(UNSEAL, "platform registers kept changing: start again when the boot has settled"))
    })
}

fn unseal_loaded(
    context: &mut Context,
    storage_root: KeyHandle,
    object: KeyHandle,
    selection: tss_esapi::structures::PcrSelectionList,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let secret = with_session(context, storage_root, Purpose::PolicyHideAnswer, |context, session| {
        let policy = PolicySession::try_from(session).naming(UNSEAL)?;
        // No digest given: the TPM takes the registers' present values.
        context.policy_pcr(policy, Digest::default(), selection).naming(UNSEAL)?;
        let unsealed = context.execute_with_session(Some(session), |context| context.unseal(object.into()));
        overwrite_freed();
        unsealed.map(|secret| Zeroizing::new(secret.value().to_vec())).naming(UNSEAL)
    })?;
    overwrite_answer(context, storage_root)?;
    overwrite_stack();
    Ok(secret)
}

/// The stack's buffer holds the last answer in the clear. A longer command takes its place: `StirRandom` with the most
/// bytes it takes, under a session, is longer than the longest answer to `Unseal`.
fn overwrite_answer(context: &mut Context, storage_root: KeyHandle) -> Result<(), Failure> {
    with_session(context, storage_root, Purpose::HideCommand, |context, session| {
        let filler = SensitiveData::try_from(vec![0; SEAL_LEN_MAX]).naming(OVERWRITE)?;
        context.execute_with_session(Some(session), |context| context.stir_random(filler)).naming(OVERWRITE)
    })
}

/// The stack frees the structure that it answered in without clearing it. The allocator gives the places that were
/// freed last to whoever asks for that size next.
fn overwrite_freed() {
    let filler: [_; FREED_PLACES] = std::array::from_fn(|_| vec![0xffu8; size_of::<TPM2B_SENSITIVE_DATA>()]);
    black_box(filler);
}

/// The stack's structures are passed by value and leave copies in frames that have returned.
#[inline(never)]
fn overwrite_stack() {
    black_box(&mut [0u8; DEEPEST_CALL_LEN]);
}

/// A sealed object that only its policy opens: without `userWithAuth` the empty password is of no use, and without
/// dictionary-attack protection a failed attempt locks nobody out.
fn template(policy: &[u8; 32]) -> tss_esapi::Result<Public> {
    let attributes =
        ObjectAttributesBuilder::new().with_fixed_tpm(true).with_fixed_parent(true).with_no_da(true).build()?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::KeyedHash)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_auth_policy(Digest::try_from(policy.as_slice())?)
        .with_keyed_hash_parameters(PublicKeyedHashParameters::new(KeyedHashScheme::Null))
        .with_keyed_hash_unique_identifier(Digest::default())
        .build()
}

const SEAL: &str = "seal";
const LOAD: &str = "load the sealed object";
const UNSEAL: &str = "unseal";
const OVERWRITE: &str = "overwrite the last answer";
/// More than the allocator keeps for one size and thread (7 in glibc).
const FREED_PLACES: usize = 16;
/// More than the commands above use: unoptimised, the deepest copy was seen 30 KiB down.
const DEEPEST_CALL_LEN: usize = 128 * 1024;
/// At boot registers are extended by others; each extend costs one try, and none of them comes ten times in a row.
const UNSEAL_TRIES_MAX: usize = 10;
