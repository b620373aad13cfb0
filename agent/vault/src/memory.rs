//! Memory for keys: out of reach of other processes, of swap, of core dumps and of forked children.
//!
//! The only file of the vault with `unsafe` code. It maps and unmaps; what lies in the memory is not its business.

use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mlock, mmap, mmap_anonymous, munmap};
use nix::unistd::ftruncate;
use zeroize::Zeroize;

/// A fixed stretch of locked memory, zero at first and wiped at the end.
pub(crate) struct LockedMemory {
    start: NonNull<libc::c_void>,
    len: NonZeroUsize,
    kind: MemoryKind,
}

/// How the memory is kept out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryKind {
    /// The kernel itself has no mapping of the pages: neither root nor a debugger reads them.
    MemfdSecret,
    /// Never swapped and never dumped, but root can read it.
    Mlock,
}

impl MemoryKind {
    /// The name that the status carries.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MemfdSecret => "memfd_secret",
            Self::Mlock => "mlock",
        }
    }
}

/// Why there is no locked memory.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The limit on locked memory, mostly.
    #[error("cannot lock {len} bytes of memory: raise LimitMEMLOCK (ulimit -l) of the vault's user to 1 MiB or more")]
    Lock {
        /// How much was asked for.
        len: usize,
        /// What the system said.
        #[source]
        err: Errno,
    },
    /// The pages cannot be kept out of dumps and children.
    #[error("cannot keep locked memory out of core dumps and child processes")]
    Advise(#[source] Errno),
}

impl LockedMemory {
    /// Takes `len` bytes from `memfd_secret` where the kernel has it, locked pages elsewhere.
    pub(crate) fn allocate(len: NonZeroUsize) -> Result<Self, MemoryError> {
        let memory = match Self::secret(len) {
            Ok(memory) => memory,
            Err(_) => Self::locked(len).map_err(|err| MemoryError::Lock { len: len.get(), err })?,
        };
        memory.keep_apart().map_err(MemoryError::Advise)?;
        Ok(memory)
    }

    pub(crate) fn kind(&self) -> MemoryKind {
        self.kind
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is a live mapping of `len` readable bytes, zeroed by the kernel, that only `self` refers to.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast::<u8>(), self.len.get()) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the mapping is writable, and `&mut self` makes the borrow the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast::<u8>(), self.len.get()) }
    }

    fn secret(len: NonZeroUsize) -> Result<Self, Errno> {
        // SAFETY: the call takes one flag and touches no memory of ours.
        let raw = Errno::result(unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) })?;
        let raw = i32::try_from(raw).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        debug_assert!(fd.as_raw_fd() >= 0);
        ftruncate(&fd, i64::try_from(len.get()).map_err(|_| Errno::EFBIG)?)?;
        // SAFETY: the kernel picks the address, so no mapping of ours is replaced; the mapping outlives the descriptor.
        let start = unsafe { mmap(None, len, PROTECTION, MapFlags::MAP_SHARED, &fd, 0) }?;
        Ok(Self { start, len, kind: MemoryKind::MemfdSecret })
    }

    fn locked(len: NonZeroUsize) -> Result<Self, Errno> {
        // SAFETY: the kernel picks the address, so no mapping of ours is replaced.
        let start = unsafe { mmap_anonymous(None, len, PROTECTION, MapFlags::MAP_PRIVATE) }?;
        let memory = Self { start, len, kind: MemoryKind::Mlock };
        // SAFETY: the range is exactly the mapping made above.
        unsafe { mlock(start, len.get()) }?;
        Ok(memory)
    }

    fn keep_apart(&self) -> Result<(), Errno> {
        for advice in [MmapAdvise::MADV_DONTDUMP, MmapAdvise::MADV_DONTFORK] {
            // SAFETY: the range is our own mapping, and neither advice changes what it holds in this process.
            unsafe { madvise(self.start, self.len.get(), advice) }?;
        }
        Ok(())
    }
}

impl Drop for LockedMemory {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        // SAFETY: the mapping is ours, and no borrow of it can outlive `self`. A failure leaves wiped pages mapped.
        let _ = unsafe { munmap(self.start, self.len.get()) };
    }
}

/// Overwrites the part of the stack below the caller, where ciphers, hashes and moves leave copies of what they worked on.
#[inline(never)]
pub(crate) fn wipe_stack() {
    std::hint::black_box(&mut [0u8; STACK_WIPED]);
}

const PROTECTION: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);
/// Several times what the deepest of these calls needs; a small part of the 8 MiB of a main thread.
const STACK_WIPED: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    const LEN: NonZeroUsize = NonZeroUsize::new(100).unwrap();

    fn check(mut memory: LockedMemory, kind: MemoryKind) {
        memory.keep_apart().unwrap();
        assert_eq!(memory.kind(), kind);
        assert_eq!(memory.bytes(), [0; 100]);
        memory.bytes_mut()[99] = 7;
        assert_eq!(memory.bytes()[99], 7);
    }

    /// Leaves a pattern in a frame that is gone when this returns; gives where it was.
    #[inline(never)]
    fn leave_behind() -> u64 {
        // Its start lies deeper than the calls reach that look at it.
        let mut left = [0x5cu8; 32 * 1024];
        std::hint::black_box(&mut left).as_ptr() as u64
    }

    #[test]
    fn frames_that_are_gone_are_overwritten() {
        let memory = File::open("/proc/self/mem").unwrap();
        let mut seen = [0; 64];
        let at = leave_behind();
        // Not through a pointer: nobody may look at a frame that is gone but the kernel.
        memory.read_exact_at(&mut seen, at).unwrap();
        assert_eq!(seen, [0x5c; 64], "the frame was used again, or this shows nothing");
        wipe_stack();
        memory.read_exact_at(&mut seen, at).unwrap();
        assert_ne!(seen, [0x5c; 64]);
    }

    #[test]
    fn locked_pages_hold_bytes() {
        check(LockedMemory::locked(LEN).unwrap(), MemoryKind::Mlock);
    }

    #[test]
    fn what_was_allocated_is_out_of_reach_of_proc() {
        let mut memory = LockedMemory::allocate(LEN).unwrap();
        memory.bytes_mut().fill(0x5a);
        let mut seen = [0; 100];
        let read = File::open("/proc/self/mem").unwrap().read_at(&mut seen, memory.start.as_ptr() as u64);
        match memory.kind() {
            MemoryKind::MemfdSecret => assert!(read.is_err(), "the kernel read {read:?} bytes of secret memory"),
            MemoryKind::Mlock => {
                eprintln!("no memfd_secret on this kernel (secretmem.enable=1): only mlock was tested")
            }
        }
        check(LockedMemory::allocate(LEN).unwrap(), memory.kind());
    }

    #[test]
    fn too_much_is_refused_with_the_remedy() {
        let error = LockedMemory::allocate(NonZeroUsize::new(1 << 50).unwrap()).err().unwrap();
        assert!(error.to_string().contains("LimitMEMLOCK"), "{error}");
    }
}
