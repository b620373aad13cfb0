//! Memory that crosses to the stack and back: what it allocated for an answer, wiped whatever it was, and buffers that
//! carry their length.

use std::{ptr, slice};

use tss_esapi::tss2_esys::Esys_Free;
use zeroize::Zeroize;

use crate::failure::{Code, Failure, TOO_LONG};

/// Room for one structure of an answer, which the stack allocates. Whoever writes through [`Answer::slot`] writes null or
/// an initialised `T` that `Esys_Free` frees; a call of the stack does.
pub(super) struct Answer<T: Copy>(*mut T);

impl<T: Copy> Answer<T> {
    /// Nothing yet.
    pub(super) fn none() -> Self {
        Self(ptr::null_mut())
    }

    /// Where the call puts its pointer.
    pub(super) fn slot(&mut self) -> *mut *mut T {
        &raw mut self.0
    }

    /// What the call gave.
    pub(super) fn get(&self, operation: &'static str) -> Result<&T, Failure> {
        // SAFETY: null, or an initialised `T` that is freed only when this is dropped.
        unsafe { self.0.as_ref() }.ok_or(Failure { operation, code: NOTHING_MADE })
    }
}

impl<T: Copy> Drop for Answer<T> {
    fn drop(&mut self) {
        if self.0.is_null() {
            return;
        }
        // SAFETY: nobody else knows the pointer; the stack allocated it for one whole `T`, which is plain data.
        unsafe {
            slice::from_raw_parts_mut(self.0.cast::<u8>(), size_of::<T>()).zeroize();
            Esys_Free(self.0.cast());
        }
    }
}

/// The bytes in use of a buffer that carries its length.
pub(super) fn sized(buffer: &[u8], size: u16) -> &[u8] {
    buffer.get(..usize::from(size)).unwrap_or(buffer)
}

/// Puts bytes into a structure that carries its length: kind, field, bytes, operation.
macro_rules! buffered {
    ($kind:ident, $field:ident, $bytes:expr, $operation:expr) => {{
        let mut made = $kind::default();
        crate::raw::answer::fill(&mut made.$field, &mut made.size, $bytes, $operation).map(|()| made)
    }};
}
pub(super) use buffered;

/// Puts bytes into a buffer that carries its length.
pub(super) fn fill(buffer: &mut [u8], size: &mut u16, bytes: &[u8], operation: &'static str) -> Result<(), Failure> {
    let too_long = Failure { operation, code: TOO_LONG };
    buffer.get_mut(..bytes.len()).ok_or(too_long)?.copy_from_slice(bytes);
    *size = u16::try_from(bytes.len()).map_err(|_| too_long)?;
    Ok(())
}

/// `TSS2_ESYS_RC_MEMORY`: the stack says yes and gives nothing.
pub(super) const NOTHING_MADE: Code = Code(0x7_0017);
