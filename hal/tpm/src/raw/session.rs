//! Sessions that are salted to the storage root key. An unsalted one would hide nothing: its key follows from what is on
//! the bus.

use std::ptr;

use tss_esapi::tss2_esys::{
    ESYS_TR_NONE, Esys_StartAuthSession, Esys_TRSess_SetAttributes, TPMT_SYM_DEF, TPMU_SYM_KEY_BITS, TPMU_SYM_MODE,
};

use super::object::{ALG_AES, ALG_CFB, ALG_SHA256};
use super::{Esys, Object, Session};
use crate::failure::Failure;

/// What a session is for. The HMAC of all but a policy's covers the command and the answer in every case.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// Nothing is hidden: the HMAC alone is wanted.
    Audit,
    /// The first parameter of the command is hidden.
    HideCommand,
    /// The first parameter of the answer is hidden.
    HideAnswer,
    /// A policy is to be met, and the first parameter of the answer to what it opens is hidden.
    Policy,
}

impl Esys {
    /// Opens a session that is salted to `key`.
    pub(crate) fn session(&self, key: Object, purpose: Purpose) -> Result<Session<'_>, Failure> {
        let (kind, attributes) = match purpose {
            Purpose::Audit => (SESSION_HMAC, AUDIT),
            Purpose::HideCommand => (SESSION_HMAC, DECRYPT),
            Purpose::HideAnswer => (SESSION_HMAC, ENCRYPT),
            Purpose::Policy => (SESSION_POLICY, ENCRYPT),
        };
        let cipher = TPMT_SYM_DEF {
            algorithm: ALG_AES,
            keyBits: TPMU_SYM_KEY_BITS { aes: 128 },
            mode: TPMU_SYM_MODE { aes: ALG_CFB },
        };
        let mut handle = ESYS_TR_NONE;
        // SAFETY: the context is live, `cipher` and `handle` live for the call; without a nonce the stack draws one.
        let code = unsafe {
            Esys_StartAuthSession(
                self.context(),
                key.0,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ptr::null(),
                kind,
                &raw const cipher,
                ALG_SHA256,
                &raw mut handle,
            )
        };
        self.check("start a session", code)?;
        let session = Session { esys: self, handle };
        // SAFETY: the context is live; the stack looks the handle up.
        let code = unsafe { Esys_TRSess_SetAttributes(self.context(), handle, CONTINUE | attributes, ALL_ATTRIBUTES) };
        self.check("set up a session", code)?;
        Ok(session)
    }
}

// TPM 2.0 Library Part 2, 6.11 and 8.4.
const SESSION_HMAC: u8 = 0x00;
const SESSION_POLICY: u8 = 0x01;
const CONTINUE: u8 = 1 << 0;
const DECRYPT: u8 = 1 << 5;
const ENCRYPT: u8 = 1 << 6;
const AUDIT: u8 = 1 << 7;
const ALL_ATTRIBUTES: u8 = 0xff;
