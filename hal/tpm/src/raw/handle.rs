//! What a call hands out, given back when it is dropped.

use std::ops::Deref;

use tss_esapi::tss2_esys::{ESYS_TR, Esys_FlushContext, Esys_TR_Close};

use super::Esys;

/// A loaded object that somebody else gives back. The stack looks up every handle: one that is gone is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object(pub(super) ESYS_TR);

/// A loaded object.
pub(crate) struct ObjectGuard<'e> {
    pub(super) esys: &'e Esys,
    pub(super) object: Object,
}

/// An open session.
pub(crate) struct Session<'e> {
    pub(super) esys: &'e Esys,
    pub(super) handle: ESYS_TR,
}

/// An NV index that the stack knows.
pub(crate) struct Index<'e> {
    pub(super) esys: &'e Esys,
    pub(super) handle: ESYS_TR,
}

impl Esys {
    /// Gives an object back. When that fails, the connection is lost: its end gives back everything.
    pub(crate) fn flush(&self, object: Object) {
        self.flush_handle(object.0);
    }

    fn flush_handle(&self, handle: ESYS_TR) {
        // SAFETY: the context is live; the stack looks the handle up.
        if unsafe { Esys_FlushContext(self.context(), handle) } != 0 {
            self.lost.set(true);
        }
    }
}

impl ObjectGuard<'_> {
    /// Leaves the object loaded, for the caller to give back.
    pub(crate) fn keep(self) -> Object {
        let kept = self.object;
        std::mem::forget(self);
        kept
    }
}

impl Deref for ObjectGuard<'_> {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.object
    }
}

impl Drop for ObjectGuard<'_> {
    fn drop(&mut self) {
        self.esys.flush(self.object);
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.esys.flush_handle(self.handle);
    }
}

impl Drop for Index<'_> {
    fn drop(&mut self) {
        // SAFETY: the context is live; the stack looks the handle up, and nothing is sent to the TPM.
        if unsafe { Esys_TR_Close(self.esys.context(), &raw mut self.handle) } != 0 {
            self.esys.lost.set(true);
        }
    }
}
