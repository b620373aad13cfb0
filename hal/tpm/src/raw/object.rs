//! Keys and sealed objects: made, loaded, and what keys sign.

use std::ptr;

use holdfast_types::P256Signature;
use tss_esapi::tss2_esys::{
    ESYS_TR_NONE, ESYS_TR_PASSWORD, ESYS_TR_RH_ENDORSEMENT, ESYS_TR_RH_OWNER, Esys_Create, Esys_CreatePrimary,
    Esys_Load, Esys_LoadExternal, Esys_Quote, Esys_Sign, TPM2B_DATA, TPM2B_DIGEST, TPM2B_ECC_PARAMETER, TPM2B_PRIVATE,
    TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE, TPML_PCR_SELECTION, TPMS_SIGNATURE_ECC, TPMT_PUBLIC, TPMT_SIG_SCHEME,
    TPMT_SIGNATURE, TPMT_TK_HASHCHECK, TPMU_SIGNATURE, Tss2_MU_TPMT_PUBLIC_Marshal, Tss2_MU_TPMT_PUBLIC_Unmarshal,
};
use zeroize::Zeroize;

use super::answer::{Answer, NOTHING_MADE, buffered, fill, sized};
use super::platform::selection;
use super::{Esys, Object, ObjectGuard, Selection, Session};
use crate::failure::{Code, Failure};

/// Whose seed a primary key comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hierarchy {
    /// The maker's: it outlives a clearing.
    Endorsement,
    /// The owner's: a clearing replaces it.
    Owner,
}

/// A sealed object that was made.
pub(crate) struct SealedParts {
    /// The marshalled public area.
    pub(crate) public: Vec<u8>,
    /// The encrypted private area.
    pub(crate) private: Vec<u8>,
}

/// A sealed object as the stack takes it.
pub(crate) struct Loadable {
    public: TPM2B_PUBLIC,
    private: TPM2B_PRIVATE,
}

impl Loadable {
    /// Nothing when the bytes do not have the form of a sealed object.
    pub(crate) fn from_parts(sealed_public: &[u8], sealed_private: &[u8]) -> Option<Self> {
        let public = public(LOAD, sealed_public).ok()?;
        let private = buffered!(TPM2B_PRIVATE, buffer, sealed_private, LOAD).ok()?;
        Some(Self { public, private })
    }
}

impl Esys {
    /// Makes a primary key, which is a function of the seed and the template alone, and tells its public area. Without a
    /// session anybody on the bus could have put another key in its place.
    pub(crate) fn create_primary(
        &self,
        operation: &'static str,
        hierarchy: Hierarchy,
        session: Option<&Session<'_>>,
        template: &[u8],
    ) -> Result<(ObjectGuard<'_>, Vec<u8>), Failure> {
        let seed = match hierarchy {
            Hierarchy::Endorsement => ESYS_TR_RH_ENDORSEMENT,
            Hierarchy::Owner => ESYS_TR_RH_OWNER,
        };
        let template = public(operation, template)?;
        let (sensitive, outside) = (TPM2B_SENSITIVE_CREATE::default(), TPM2B_DATA::default());
        let registers = TPML_PCR_SELECTION::default();
        let (mut handle, mut made) = (ESYS_TR_NONE, Answer::none());
        // SAFETY: the context and what is pointed to are live; `handle` takes a handle and the slot a public area. What
        // the null pointers stand for is not wanted.
        let code = unsafe {
            Esys_CreatePrimary(
                self.context(),
                seed,
                session.map_or(ESYS_TR_PASSWORD, |session| session.handle),
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &raw const sensitive,
                &raw const template,
                &raw const outside,
                &raw const registers,
                &raw mut handle,
                made.slot(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        self.check(operation, code)?;
        let key = ObjectGuard { esys: self, object: Object(handle) };
        Ok((key, area(operation, made.get(operation)?)?))
    }

    /// Makes a sealed object under `parent`; `session` hides the secret.
    pub(crate) fn create_sealed(
        &self,
        parent: Object,
        session: &Session<'_>,
        secret: &[u8],
        template: &[u8],
    ) -> Result<SealedParts, Failure> {
        let mut sensitive = TPM2B_SENSITIVE_CREATE::default();
        let data = &mut sensitive.sensitive.data;
        fill(&mut data.buffer, &mut data.size, secret, SEAL)?;
        let (mut private, mut made) = (Answer::none(), Answer::none());
        let code = public(SEAL, template)
            .map(|template| self.create(parent.0, session, &sensitive, &template, &mut private, &mut made));
        sensitive.sensitive.data.buffer.zeroize();
        self.check(SEAL, code?)?;
        let private: &TPM2B_PRIVATE = private.get(SEAL)?;
        let private = sized(&private.buffer, private.size).to_vec();
        Ok(SealedParts { public: area(SEAL, made.get(SEAL)?)?, private })
    }

    /// Overwrites the copy that ESYS keeps of the last thing it created. It takes the copy before it looks up the
    /// parent, so a parent that cannot be is enough, and nothing is sent.
    pub(crate) fn overwrite_created(&self, session: &Session<'_>) -> Result<(), Failure> {
        let mut filler = TPM2B_SENSITIVE_CREATE::default();
        fill(&mut filler.sensitive.data.buffer, &mut filler.sensitive.data.size, &[0; SECRET_ROOM], OVERWRITE)?;
        let mut template = TPM2B_PUBLIC::default();
        template.publicArea.nameAlg = ALG_SHA256;
        let code = Code(self.create(NO_HANDLE, session, &filler, &template, &mut Answer::none(), &mut Answer::none()));
        if code == BAD_HANDLE { Ok(()) } else { Err(Failure { operation: OVERWRITE, code }) }
    }

    fn create(
        &self,
        parent: u32,
        session: &Session<'_>,
        sensitive: &TPM2B_SENSITIVE_CREATE,
        template: &TPM2B_PUBLIC,
        private: &mut Answer<TPM2B_PRIVATE>,
        made: &mut Answer<TPM2B_PUBLIC>,
    ) -> u32 {
        let (outside, registers) = (TPM2B_DATA::default(), TPML_PCR_SELECTION::default());
        // SAFETY: the context and what is pointed to are live, and the slots take one structure each. What the null
        // pointers stand for is not wanted.
        unsafe {
            Esys_Create(
                self.context(),
                parent,
                session.handle,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                sensitive,
                template,
                &raw const outside,
                &raw const registers,
                private.slot(),
                made.slot(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        }
    }

    /// Loads a sealed object under `parent`.
    pub(crate) fn load(
        &self,
        parent: Object,
        session: &Session<'_>,
        parts: &Loadable,
    ) -> Result<ObjectGuard<'_>, Failure> {
        let mut handle = ESYS_TR_NONE;
        // SAFETY: the context and what is pointed to are live, and `handle` takes a handle.
        let code = unsafe {
            Esys_Load(
                self.context(),
                parent.0,
                session.handle,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &raw const parts.private,
                &raw const parts.public,
                &raw mut handle,
            )
        };
        self.check(LOAD, code)?;
        Ok(ObjectGuard { esys: self, object: Object(handle) })
    }

    /// Loads a public key from outside into the owner's hierarchy: what it verifies then gets a ticket that counts.
    pub(crate) fn load_public(&self, session: &Session<'_>, key: &[u8]) -> Result<ObjectGuard<'_>, Failure> {
        let key = public(LOAD_PUBLIC, key)?;
        let mut handle = ESYS_TR_NONE;
        // SAFETY: the context and the key are live, `handle` takes a handle; no private part is given.
        let code = unsafe {
            Esys_LoadExternal(
                self.context(),
                session.handle,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ptr::null(),
                &raw const key,
                RH_OWNER,
                &raw mut handle,
            )
        };
        self.check(LOAD_PUBLIC, code)?;
        Ok(ObjectGuard { esys: self, object: Object(handle) })
    }

    /// Has a key sign a digest that came from outside.
    pub(crate) fn sign(&self, session: &Session<'_>, key: Object, digest: &[u8; 32]) -> Result<P256Signature, Failure> {
        let digest = buffered!(TPM2B_DIGEST, buffer, digest, SIGN)?;
        let no_ticket = TPMT_TK_HASHCHECK { tag: ST_HASHCHECK, hierarchy: RH_NULL, digest: TPM2B_DIGEST::default() };
        let mut signature = Answer::none();
        let scheme = the_keys_own_scheme();
        // SAFETY: the context and what is pointed to are live, and the slot takes one signature.
        let code = unsafe {
            Esys_Sign(
                self.context(),
                key.0,
                session.handle,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &raw const digest,
                &raw const scheme,
                &raw const no_ticket,
                signature.slot(),
            )
        };
        self.check(SIGN, code)?;
        plain(SIGN, signature.get(SIGN)?)
    }

    /// Has a key sign the present values of registers: the statement and its signature.
    pub(crate) fn quote(
        &self,
        session: &Session<'_>,
        key: Object,
        registers: Selection,
        qualifying: &[u8; 32],
    ) -> Result<(Vec<u8>, P256Signature), Failure> {
        let qualifying = buffered!(TPM2B_DATA, buffer, qualifying, QUOTE)?;
        let registers = selection(registers);
        let (mut statement, mut signature) = (Answer::none(), Answer::none());
        let scheme = the_keys_own_scheme();
        // SAFETY: the context and what is pointed to are live, and the slots take one structure each.
        let code = unsafe {
            Esys_Quote(
                self.context(),
                key.0,
                session.handle,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &raw const qualifying,
                &raw const scheme,
                &raw const registers,
                statement.slot(),
                signature.slot(),
            )
        };
        self.check(QUOTE, code)?;
        let statement = statement.get(QUOTE)?;
        let message = sized(&statement.attestationData, statement.size).to_vec();
        Ok((message, plain(QUOTE, signature.get(QUOTE)?)?))
    }
}

/// A public area as the stack takes it, from its marshalled form: all of the bytes or none.
fn public(operation: &'static str, area: &[u8]) -> Result<TPM2B_PUBLIC, Failure> {
    let (mut read, mut public) = (0, TPMT_PUBLIC::default());
    // SAFETY: the buffer is as long as said, and `public` is zeroed plain data.
    let code = unsafe { Tss2_MU_TPMT_PUBLIC_Unmarshal(area.as_ptr(), area.len() as _, &raw mut read, &raw mut public) };
    let code = if code == 0 && usize::try_from(read) != Ok(area.len()) { BAD_SIZE } else { Code(code) };
    if code.0 == 0 { Ok(TPM2B_PUBLIC { size: 0, publicArea: public }) } else { Err(Failure { operation, code }) }
}

/// The marshalled form of a public area.
fn area(operation: &'static str, public: &TPM2B_PUBLIC) -> Result<Vec<u8>, Failure> {
    let mut area = vec![0; size_of::<TPMT_PUBLIC>()];
    let mut written = 0;
    // SAFETY: the buffer is as long as said, and the structure came from the stack.
    let code = unsafe {
        Tss2_MU_TPMT_PUBLIC_Marshal(&raw const public.publicArea, area.as_mut_ptr(), area.len() as _, &raw mut written)
    };
    if code != 0 {
        return Err(Failure { operation, code: Code(code) });
    }
    area.truncate(written as usize);
    Ok(area)
}

/// A signature as the stack takes it.
pub(super) fn structured(operation: &'static str, signature: &P256Signature) -> Result<TPMT_SIGNATURE, Failure> {
    let (r, s) = signature.0.split_at(32);
    let ecdsa = TPMS_SIGNATURE_ECC {
        hash: ALG_SHA256,
        signatureR: buffered!(TPM2B_ECC_PARAMETER, buffer, r, operation)?,
        signatureS: buffered!(TPM2B_ECC_PARAMETER, buffer, s, operation)?,
    };
    Ok(TPMT_SIGNATURE { sigAlg: ALG_ECDSA, signature: TPMU_SIGNATURE { ecdsa } })
}

/// The numbers of a signature, each in 32 bytes: a TPM leaves out leading zeros.
pub(super) fn plain(operation: &'static str, signature: &TPMT_SIGNATURE) -> Result<P256Signature, Failure> {
    let odd = Failure { operation, code: NOTHING_MADE };
    if signature.sigAlg != ALG_ECDSA {
        return Err(odd);
    }
    // SAFETY: the structure says that it is an ECDSA signature.
    let TPMS_SIGNATURE_ECC { signatureR, signatureS, .. } = unsafe { signature.signature.ecdsa };
    let mut plain = [0; 64];
    for (number, place) in [signatureR, signatureS].iter().zip(plain.chunks_exact_mut(32)) {
        let number = sized(&number.buffer, number.size);
        let unused = place.len().checked_sub(number.len()).ok_or(odd)?;
        place[unused..].copy_from_slice(number);
    }
    Ok(P256Signature(plain))
}

pub(super) fn the_keys_own_scheme() -> TPMT_SIG_SCHEME {
    TPMT_SIG_SCHEME { scheme: ALG_NULL, ..Default::default() }
}

const LOAD: &str = "load the sealed object";
const LOAD_PUBLIC: &str = "load the key that approves";
const OVERWRITE: &str = "overwrite what was sealed";
const QUOTE: &str = "quote the platform registers";
const SEAL: &str = "seal";
const SIGN: &str = "sign";
/// The size of a `TPM2B_SENSITIVE_DATA`.
const SECRET_ROOM: usize = 256;

// TPM 2.0 Library Part 2, 6.3, 6.9 and 7.4.
pub(crate) const ALG_AES: u16 = 0x0006;
pub(crate) const ALG_CFB: u16 = 0x0043;
pub(crate) const ALG_ECDSA: u16 = 0x0018;
pub(crate) const ALG_NULL: u16 = 0x0010;
pub(crate) const ALG_SHA256: u16 = 0x000b;
const RH_NULL: u32 = 0x4000_0007;
const RH_OWNER: u32 = 0x4000_0001;
const ST_HASHCHECK: u16 = 0x8024;

/// No handle of the stack is this large.
const NO_HANDLE: u32 = u32::MAX;
/// `TSS2_ESYS_RC_BAD_TR`.
const BAD_HANDLE: Code = Code(0x7_0018);
/// `TSS2_MU_RC_BAD_SIZE`.
const BAD_SIZE: Code = Code(0x9_0010);
