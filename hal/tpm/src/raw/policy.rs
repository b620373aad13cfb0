//! The steps of a policy, and what it opens.

use holdfast_types::{P256Signature, PolicyDigest};
use tss_esapi::tss2_esys::{
    ESYS_TR_NONE, Esys_PolicyAuthorize, Esys_PolicyNV, Esys_PolicyPCR, Esys_Unseal, Esys_VerifySignature, TPM2B_DIGEST,
    TPM2B_NAME, TPM2B_SENSITIVE_DATA, TPMT_TK_VERIFIED,
};
use zeroize::Zeroizing;

use super::answer::{Answer, buffered, sized};
use super::object::structured;
use super::platform::selection;
use super::{Esys, Index, Object, Selection, Session};
use crate::failure::Failure;

/// The TPM's word, to itself, that it verified a signature. It counts until the next reset.
pub(crate) struct Ticket(TPMT_TK_VERIFIED);

impl Esys {
    /// Has a key verify a signature over a digest.
    pub(crate) fn verify(
        &self,
        session: &Session<'_>,
        key: Object,
        digest: &[u8; 32],
        signature: &P256Signature,
    ) -> Result<Ticket, Failure> {
        let digest = buffered!(TPM2B_DIGEST, buffer, digest, VERIFY)?;
        let signature = structured(VERIFY, signature)?;
        let mut ticket = Answer::none();
        // SAFETY: the context and what is pointed to are live, and the slot takes one ticket.
        let code = unsafe {
            Esys_VerifySignature(
                self.context(),
                key.0,
                session.handle,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &raw const digest,
                &raw const signature,
                ticket.slot(),
            )
        };
        self.check(VERIFY, code)?;
        Ok(Ticket(*ticket.get(VERIFY)?))
    }

    /// The registers have their present values: without a digest the TPM takes those.
    pub(crate) fn policy_pcr(
        &self,
        session: &Session<'_>,
        policy: &Session<'_>,
        registers: Selection,
    ) -> Result<(), Failure> {
        let (present, registers) = (TPM2B_DIGEST::default(), selection(registers));
        // SAFETY: the context and what is pointed to are live.
        let code = unsafe {
            Esys_PolicyPCR(
                self.context(),
                policy.handle,
                session.handle,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &raw const present,
                &raw const registers,
            )
        };
        self.check(POLICY_PCR, code)
    }

    /// What the policy is so far was approved, by the key with this Name, for this purpose.
    pub(crate) fn policy_authorize(
        &self,
        session: &Session<'_>,
        policy: &Session<'_>,
        approved: &PolicyDigest,
        policy_ref: &[u8],
        signer: &[u8; 34],
        ticket: &Ticket,
    ) -> Result<(), Failure> {
        let approved = buffered!(TPM2B_DIGEST, buffer, &approved.0, POLICY_AUTHORIZE)?;
        let policy_ref = buffered!(TPM2B_DIGEST, buffer, policy_ref, POLICY_AUTHORIZE)?;
        let signer = buffered!(TPM2B_NAME, name, signer, POLICY_AUTHORIZE)?;
        // SAFETY: the context and what is pointed to are live.
        let code = unsafe {
            Esys_PolicyAuthorize(
                self.context(),
                policy.handle,
                session.handle,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &raw const approved,
                &raw const policy_ref,
                &raw const signer,
                &raw const ticket.0,
            )
        };
        self.check(POLICY_AUTHORIZE, code)
    }

    /// The index holds this number; `session` authorises the reading of it.
    pub(crate) fn policy_nv(
        &self,
        session: &Session<'_>,
        policy: &Session<'_>,
        index: &Index<'_>,
        number: u64,
    ) -> Result<(), Failure> {
        let number = buffered!(TPM2B_DIGEST, buffer, &number.to_be_bytes(), POLICY_NV)?;
        // SAFETY: the context and the number are live.
        let code = unsafe {
            Esys_PolicyNV(
                self.context(),
                index.handle,
                index.handle,
                policy.handle,
                session.handle,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &raw const number,
                0,
                OPERATION_EQUAL,
            )
        };
        self.check(POLICY_NV, code)
    }

    /// Opens a sealed object under a policy.
    pub(crate) fn unseal(&self, policy: &Session<'_>, object: Object) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut secret = Answer::<TPM2B_SENSITIVE_DATA>::none();
        // SAFETY: the context is live, and the slot takes one buffer.
        let code =
            unsafe { Esys_Unseal(self.context(), object.0, policy.handle, ESYS_TR_NONE, ESYS_TR_NONE, secret.slot()) };
        self.check(UNSEAL, code)?;
        let secret = secret.get(UNSEAL)?;
        Ok(Zeroizing::new(sized(&secret.buffer, secret.size).to_vec()))
    }
}

const POLICY_AUTHORIZE: &str = "accept the approval";
const POLICY_NV: &str = "compare the counter";
const POLICY_PCR: &str = "bind a session to the platform registers";
const UNSEAL: &str = "unseal";
const VERIFY: &str = "verify the approval";
/// `TPM_EO_EQ`.
const OPERATION_EQUAL: u16 = 0x0000;
