//! SQLite's file system layer on a simulated disk, registered once for the process under [`NAME`].
//!
//! It does what SQLite's own layer for Unix does with a file system, so that a cut between two steps of ours is one between
//! two of its: the first sync of a new log also syncs the folder, and does not say when that fails. There is no shared
//! memory, so a log (WAL) needs `locking_mode = EXCLUSIVE`; there are no locks, since one program has the disk.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::ptr;
use std::sync::Once;

use rusqlite::ffi;

use crate::disk::Door;

/// The name of the layer.
pub const NAME: &str = "holdfast-sim";

/// Registers the layer, once.
///
/// # Panics
/// When SQLite does not take it: then nothing here would test anything.
pub fn register() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        // The counts of memory in use have a lock that all threads share. Whoever began with SQLite before keeps them.
        // SAFETY: this option takes one number.
        unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0) };
        let vfs = Box::leak(Box::new(layer()));
        // SAFETY: `vfs` is never freed and its methods keep SQLite's contract for version 1.
        let code = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        assert_eq!(code, ffi::SQLITE_OK, "SQLite takes the layer");
    });
}

/// A file as SQLite holds it: what SQLite knows of first, ours behind it.
#[repr(C)]
struct SimFile {
    base: ffi::sqlite3_file,
    open: *mut OpenFile,
}

struct OpenFile {
    door: Door,
    file: usize,
    /// Whether the next sync also syncs the folder.
    syncs_folder: bool,
    /// What the file is taken away by when it is closed.
    dies_as: Option<String>,
}

/// # Safety
/// SQLite calls this with room of `szOsFile` bytes at `out`, and with a path of its own or null.
unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    out: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gave `szOsFile` bytes for it; without methods it never calls `close`.
    unsafe { (*out).pMethods = ptr::null() };
    // SAFETY: a path of SQLite ends with a zero and lives through the call.
    let Some((door, name)) = (unsafe { door_at(path) }) else { return ffi::SQLITE_CANTOPEN };
    let Ok((file, writable)) = door.with(|platter| {
        let writable = flags & ffi::SQLITE_OPEN_READWRITE != 0 && platter.takes_changes();
        match platter.find(name) {
            Some(file) => Ok((file, writable)),
            None if flags & ffi::SQLITE_OPEN_CREATE != 0 && platter.takes_changes() => {
                Ok((platter.create(name)?, true))
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }) else {
        return ffi::SQLITE_CANTOPEN;
    };
    let is_log = flags & (ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL | ffi::SQLITE_OPEN_WAL) != 0;
    let syncs_folder = is_log && flags & ffi::SQLITE_OPEN_CREATE != 0;
    let dies_as = (flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0).then(|| name.to_owned());
    let open = Box::into_raw(Box::new(OpenFile { door, file, syncs_folder, dies_as }));
    // SAFETY: as above; `SimFile` begins with a `sqlite3_file` and has `szOsFile` bytes.
    unsafe {
        (*out.cast::<SimFile>()).open = open;
        (*out).pMethods = &raw const METHODS;
        if !out_flags.is_null() {
            *out_flags = if writable { flags } else { flags & !ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_READONLY };
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file that `open` made, once; the box is the one made there.
    let open = unsafe { Box::from_raw((*file.cast::<SimFile>()).open) };
    if let Some(name) = &open.dies_as {
        // A dead program's files are gone from its sight already.
        let _ = open.door.with(|platter| platter.remove(name));
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, out: *mut c_void, len: c_int, offset: i64) -> c_int {
    let len = usize::try_from(len).unwrap_or(0);
    // SAFETY: SQLite gives `len` bytes at `out` for this call, and a file that `open` made.
    let (out, open) = unsafe { (std::slice::from_raw_parts_mut(out.cast::<u8>(), len), opened(file)) };
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    match open.door.with(|platter| Ok(platter.files[open.file].seen.read(offset, out))) {
        Ok(done) if done == out.len() => ffi::SQLITE_OK,
        Ok(done) => {
            out[done..].fill(0);
            ffi::SQLITE_IOERR_SHORT_READ
        }
        Err(_) => ffi::SQLITE_IOERR_READ,
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, bytes: *const c_void, len: c_int, offset: i64) -> c_int {
    let len = usize::try_from(len).unwrap_or(0);
    // SAFETY: SQLite gives `len` bytes at `bytes` for this call, and a file that `open` made.
    let (bytes, open) = unsafe { (std::slice::from_raw_parts(bytes.cast::<u8>(), len), opened(file)) };
    let Ok(offset) = usize::try_from(offset) else { return ffi::SQLITE_IOERR_WRITE };
    code(open.door.with(|platter| platter.write(open.file, offset, bytes)), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    // SAFETY: a file that `open` made.
    let open = unsafe { opened(file) };
    let Ok(len) = usize::try_from(len) else { return ffi::SQLITE_IOERR_TRUNCATE };
    code(open.door.with(|platter| platter.truncate(open.file, len)), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: a file that `open` made.
    let open = unsafe { opened(file) };
    let synced = open.door.with(|platter| platter.sync_file(open.file));
    if synced.is_ok() && std::mem::take(&mut open.syncs_folder) {
        // SQLite's own layer does not look at this one either.
        let _ = open.door.with(|platter| platter.sync_folder());
    }
    code(synced, ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut i64) -> c_int {
    // SAFETY: a file that `open` made, and room for the answer.
    let (open, out) = unsafe { (opened(file), &mut *out) };
    match open.door.with(|platter| Ok(platter.files[open.file].seen.len())) {
        Ok(len) => {
            *out = i64::try_from(len).unwrap_or(i64::MAX);
            ffi::SQLITE_OK
        }
        Err(_) => ffi::SQLITE_IOERR_FSTAT,
    }
}

unsafe extern "C" fn lock(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: SQLite gives room for the answer.
    unsafe { *out = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    4096
}

/// What SQLite's own layer says of a file system that it knows nothing of: a write leaves the bytes beside it alone.
unsafe extern "C" fn characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, path: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: a path of SQLite ends with a zero and lives through the call.
    let Some((door, name)) = (unsafe { door_at(path) }) else { return ffi::SQLITE_IOERR_DELETE };
    let deleted = door.with(|platter| {
        if platter.find(name).is_none() {
            return Ok(false);
        }
        platter.remove(name).map(|()| true)
    });
    match deleted {
        Ok(false) => ffi::SQLITE_IOERR_DELETE_NOENT,
        Ok(true) if sync_folder != 0 => code(door.with(|platter| platter.sync_folder()), ffi::SQLITE_IOERR_DIR_FSYNC),
        Ok(true) => ffi::SQLITE_OK,
        Err(_) => ffi::SQLITE_IOERR_DELETE,
    }
}

unsafe extern "C" fn access(_: *mut ffi::sqlite3_vfs, path: *const c_char, flags: c_int, out: *mut c_int) -> c_int {
    // SAFETY: a path of SQLite ends with a zero and lives through the call.
    let Some((door, name)) = (unsafe { door_at(path) }) else { return ffi::SQLITE_IOERR_ACCESS };
    let found = door.with(|platter| {
        let Some(file) = platter.find(name) else { return Ok(false) };
        // SQLite's own layer takes an empty file for none: it asks for logs to replay.
        Ok(if flags == ffi::SQLITE_ACCESS_EXISTS {
            platter.files[file].seen.len() > 0
        } else {
            platter.takes_changes()
        })
    });
    // SAFETY: SQLite gives room for the answer.
    unsafe { *out = c_int::from(found.as_ref().is_ok_and(|found| *found)) };
    if found.is_ok() { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_ACCESS }
}

unsafe extern "C" fn full_path(_: *mut ffi::sqlite3_vfs, path: *const c_char, len: c_int, out: *mut c_char) -> c_int {
    // SAFETY: SQLite gives a path that ends with a zero, and `len` bytes at `out`.
    let (path, out) = unsafe {
        let out = std::slice::from_raw_parts_mut(out.cast::<u8>(), usize::try_from(len).unwrap_or(0));
        (CStr::from_ptr(path).to_bytes_with_nul(), out)
    };
    let Some(room) = out.get_mut(..path.len()) else { return ffi::SQLITE_CANTOPEN };
    room.copy_from_slice(path);
    ffi::SQLITE_OK
}

/// The same bytes for every run: nothing here needs them to be secret.
unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, len: c_int, out: *mut c_char) -> c_int {
    // SAFETY: SQLite gives `len` bytes at `out`.
    unsafe { ptr::write_bytes(out, 0x5a, usize::try_from(len).unwrap_or(0)) };
    len
}

unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, micros: c_int) -> c_int {
    micros
}

unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: SQLite gives room for the answer.
    unsafe { *out = JULIAN_DAY };
    ffi::SQLITE_OK
}

/// # Safety
/// `path` is null or ends with a zero and lives as long as `'a`.
unsafe fn door_at<'a>(path: *const c_char) -> Option<(Door, &'a str)> {
    if path.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Door::at(unsafe { CStr::from_ptr(path) }.to_str().ok()?)
}

/// # Safety
/// `file` was opened by [`open`] and is not closed yet; SQLite uses a file from one thread at a time.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a mut OpenFile {
    // SAFETY: the caller's promise.
    unsafe { &mut *(*file.cast::<SimFile>()).open }
}

fn code(done: io::Result<()>, failed: c_int) -> c_int {
    match done {
        Ok(()) => ffi::SQLITE_OK,
        Err(err) if err.kind() == io::ErrorKind::StorageFull => ffi::SQLITE_FULL,
        Err(_) => failed,
    }
}

fn layer() -> ffi::sqlite3_vfs {
    ffi::sqlite3_vfs {
        iVersion: 1,
        szOsFile: c_int::try_from(size_of::<SimFile>()).expect("two pointers"),
        mxPathname: PATH_LEN_MAX,
        pNext: ptr::null_mut(),
        zName: NAME_C.as_ptr(),
        pAppData: ptr::null_mut(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_path),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: None,
        xCurrentTimeInt64: None,
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(lock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

const NAME_C: &CStr = c"holdfast-sim";
const PATH_LEN_MAX: c_int = 512;
/// Some day of 2026: nothing looks at it.
const JULIAN_DAY: f64 = 2_461_000.5;

#[cfg(test)]
mod tests;
