//! What ties the attestation key to the endorsement key, and what the attestation key certifies besides registers.

use std::ptr;

use holdfast_types::P256Signature;
use tss_esapi::tss2_esys::{
    ESYS_TR_NONE, ESYS_TR_PASSWORD, ESYS_TR_RH_ENDORSEMENT, Esys_ActivateCredential, Esys_NV_Certify,
    Esys_PolicySecret, TPM2B_DATA, TPM2B_DIGEST, TPM2B_ENCRYPTED_SECRET, TPM2B_ID_OBJECT, TPM2B_NONCE,
};
use zeroize::Zeroizing;

use super::answer::{Answer, buffered, sized};
use super::object::{plain, the_keys_own_scheme};
use super::{Esys, Index, Object, Session};
use crate::failure::Failure;

impl Esys {
    /// Whoever uses the policy session may use the endorsement hierarchy.
    pub(crate) fn policy_endorsement(&self, session: &Session<'_>, policy: &Session<'_>) -> Result<(), Failure> {
        let (nonce, command, reference) = (TPM2B_NONCE::default(), TPM2B_DIGEST::default(), TPM2B_NONCE::default());
        // SAFETY: the context and what is pointed to are live. What the null pointers stand for is not wanted.
        let code = unsafe {
            Esys_PolicySecret(
                self.context(),
                ESYS_TR_RH_ENDORSEMENT,
                policy.handle,
                session.handle,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &raw const nonce,
                &raw const command,
                &raw const reference,
                0,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        self.check(POLICY, code)
    }

    /// Opens a credential for the first key with the second one; each has its own session.
    pub(crate) fn activate_credential(
        &self,
        [activated, opening]: [Object; 2],
        [session, policy]: [&Session<'_>; 2],
        id_object: &[u8],
        secret: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let id_object = buffered!(TPM2B_ID_OBJECT, credential, id_object, ACTIVATE)?;
        let secret = buffered!(TPM2B_ENCRYPTED_SECRET, secret, secret, ACTIVATE)?;
        let mut opened = Answer::<TPM2B_DIGEST>::none();
        // SAFETY: the context and what is pointed to are live, and the slot takes one buffer.
        let code = unsafe {
            Esys_ActivateCredential(
                self.context(),
                activated.0,
                opening.0,
                session.handle,
                policy.handle,
                ESYS_TR_NONE,
                &raw const id_object,
                &raw const secret,
                opened.slot(),
            )
        };
        self.check(ACTIVATE, code)?;
        let opened = opened.get(ACTIVATE)?;
        Ok(Zeroizing::new(sized(&opened.buffer, opened.size).to_vec()))
    }

    /// Has a key sign the Name of an index and the 8 bytes in it: the statement and its signature.
    pub(crate) fn certify_number(
        &self,
        session: &Session<'_>,
        key: Object,
        index: &Index<'_>,
        qualifying: &[u8; 32],
    ) -> Result<(Vec<u8>, P256Signature), Failure> {
        let qualifying = buffered!(TPM2B_DATA, buffer, qualifying, CERTIFY)?;
        let (mut statement, mut signature) = (Answer::none(), Answer::none());
        let scheme = the_keys_own_scheme();
        // SAFETY: the context and what is pointed to are live, and the slots take one structure each. A session counts
        // for one handle of a command, so the index, which has an empty password, is given that.
        let code = unsafe {
            Esys_NV_Certify(
                self.context(),
                key.0,
                index.handle,
                index.handle,
                session.handle,
                ESYS_TR_PASSWORD,
                ESYS_TR_NONE,
                &raw const qualifying,
                &raw const scheme,
                NUMBER_LEN,
                0,
                statement.slot(),
                signature.slot(),
            )
        };
        self.check(CERTIFY, code)?;
        let statement: &tss_esapi::tss2_esys::TPM2B_ATTEST = statement.get(CERTIFY)?;
        let message = sized(&statement.attestationData, statement.size).to_vec();
        Ok((message, plain(CERTIFY, signature.get(CERTIFY)?)?))
    }
}

const ACTIVATE: &str = "open a credential";
const CERTIFY: &str = "certify the counter";
const POLICY: &str = "meet the policy of the endorsement key";
const NUMBER_LEN: u16 = 8;
