//! ESYS, the C library that speaks to the TPM, behind a safe face: the only place with `unsafe` code of this crate.
//!
//! tss-esapi's own context lacks `PolicyNV` and does not let others use its connection, and swtpm serves one connection
//! at a time. Here is what every command shares: the connection, the codes, the memory and the handles that are given
//! back. One file for each group of commands; what they mean is decided elsewhere.

mod answer;
mod credential;
mod handle;
mod index;
mod object;
mod platform;
mod policy;
mod session;

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::ops::RangeInclusive;
use std::ptr::{self, NonNull};
use std::sync::Once;

use tss_esapi::tss2_esys::{
    ESYS_CONTEXT, Esys_Finalize, Esys_Initialize, TSS2_RC, TSS2_TCTI_CONTEXT, Tss2_TctiLdr_Finalize,
    Tss2_TctiLdr_Initialize,
};

pub(crate) use handle::{Index, Object, ObjectGuard, Session};
pub(crate) use object::{ALG_AES, ALG_CFB, ALG_ECDSA, ALG_NULL, ALG_SHA256, Hierarchy, Loadable};
pub(crate) use platform::Selection;
pub(crate) use policy::Ticket;
pub(crate) use session::Purpose;

use crate::failure::{Code, Failure};
use answer::NOTHING_MADE;

/// One connection to one TPM. The calls take it shared, because what they hand out gives itself back through it; the
/// pointers in it keep it from being used by two threads.
pub(crate) struct Esys {
    context: NonNull<ESYS_CONTEXT>,
    tcti: NonNull<TSS2_TCTI_CONTEXT>,
    lost: Cell<bool>,
}

// SAFETY: neither library ties a context to the thread that made it, and `Esys` is not `Sync`.
unsafe impl Send for Esys {}

impl Esys {
    /// Connects as `conf` says: the name of a transport, a colon, what the transport wants to know.
    pub(crate) fn open(conf: &CStr) -> Result<Self, Code> {
        let mut tcti = ptr::null_mut();
        // SAFETY: `conf` ends with a zero byte, and `tcti` takes one pointer.
        let code = unsafe { Tss2_TctiLdr_Initialize(conf.as_ptr(), &raw mut tcti) };
        let mut tcti = made(code, tcti)?;
        let mut context = ptr::null_mut();
        // SAFETY: `tcti` was just initialised; it lives until after the context. No ABI version asks for the default.
        let code = unsafe { Esys_Initialize(&raw mut context, tcti.as_ptr(), ptr::null_mut()) };
        let esys = made(code, context).map(|context| Self { context, tcti, lost: Cell::new(false) });
        match &esys {
            Ok(_) => KEPT_LOADED.call_once(|| keep_loaded(conf)),
            // SAFETY: no context uses the transport.
            Err(_) => unsafe { finalize_tcti(&mut tcti) },
        }
        esys
    }

    /// Whether the connection is at its end. An answer was not whole or not genuine: the stack refuses every later call
    /// then. Or a handle is gone, because the TPM was reset or cleared, or could not be given back.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Turns the code of a call into a result.
    fn check(&self, operation: &'static str, code: TSS2_RC) -> Result<(), Failure> {
        let code = Code(code);
        if code.0 == 0 {
            return Ok(());
        }
        if code.answered().is_none_or(|code| HANDLE_GONE.contains(&code)) {
            self.lost.set(true);
        }
        Err(Failure { operation, code })
    }

    fn context(&self) -> *mut ESYS_CONTEXT {
        self.context.as_ptr()
    }
}

impl Drop for Esys {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        // SAFETY: initialised in `open` and finalised only here; the transport outlives the context.
        unsafe {
            Esys_Finalize(&raw mut context);
            finalize_tcti(&mut self.tcti);
        }
    }
}

impl fmt::Debug for Esys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Esys").field("lost", &self.lost).finish_non_exhaustive()
    }
}

/// Keeps the transport's library in the process, as the stack names it: one that is confined later could not load it
/// again, and a connection that is lost could not be opened anew.
fn keep_loaded(conf: &CStr) {
    let name = conf.to_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
    let file = [b"libtss2-tcti-", name, b".so.0"].concat();
    let Ok(file) = CString::new(file) else { return };
    // SAFETY: `file` ends with a zero byte; the library is loaded already, and what this adds is never given back.
    unsafe { dlopen(file.as_ptr(), RTLD_NOW) };
}

unsafe extern "C" {
    fn dlopen(file: *const c_char, mode: c_int) -> *mut c_void;
}

/// # Safety
///
/// The transport is initialised, and nothing uses it from now on.
unsafe fn finalize_tcti(tcti: &mut NonNull<TSS2_TCTI_CONTEXT>) {
    let mut tcti = tcti.as_ptr();
    // SAFETY: the caller promises it.
    unsafe { Tss2_TctiLdr_Finalize(&raw mut tcti) }
}

fn made<T>(code: TSS2_RC, pointer: *mut T) -> Result<NonNull<T>, Code> {
    if code != 0 {
        return Err(Code(code));
    }
    NonNull::new(pointer).ok_or(NOTHING_MADE)
}

const RTLD_NOW: c_int = 2;
/// One process speaks to one TPM.
static KEPT_LOADED: Once = Once::new();
/// `TPM_RC_REFERENCE_H0` to `TPM_RC_REFERENCE_S6`: what a command names is not loaded.
const HANDLE_GONE: RangeInclusive<u32> = 0x910..=0x91e;
