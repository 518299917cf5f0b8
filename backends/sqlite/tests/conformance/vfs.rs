//! A SQLite file system on media that fail on demand, one for each database.
//!
//! A shim around the default file system (<https://sqlite.org/vfs.html>), which cannot be written without
//! raw pointers.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, Once, OnceLock};

use annals_test_faults::{Failure, Medium};
use rusqlite::ffi;

/// What [`register`] registers it as.
pub(crate) const NAME: &str = "annals-test";

/// The default file system.
struct Original {
    vfs: ffi::sqlite3_vfs,
    /// Its files' methods, which depend on the file, by address, and with ours in their place.
    methods: Mutex<HashMap<usize, &'static ffi::sqlite3_io_methods>>,
}

// SAFETY: its pointers lead to what SQLite neither changes nor frees.
unsafe impl Send for Original {}
// SAFETY: as above.
unsafe impl Sync for Original {}

static ORIGINAL: OnceLock<Original> = OnceLock::new();

/// What stands behind the default's own file.
struct File {
    medium: Arc<Medium>,
    path: String,
    methods: &'static ffi::sqlite3_io_methods,
}

/// Makes [`NAME`] known to SQLite.
pub(crate) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: SQLite's default file system lives as long as the process; the copy of its
        // description is leaked, so it does too.
        unsafe {
            let vfs = *ffi::sqlite3_vfs_find(ptr::null());
            let mut shim = vfs;
            ORIGINAL.get_or_init(|| Original { vfs, methods: Mutex::default() });
            shim.szOsFile += size_of::<*mut File>() as c_int;
            shim.zName = c"annals-test".as_ptr();
            shim.pNext = ptr::null_mut();
            shim.xOpen = Some(open);
            shim.xDelete = Some(delete);
            assert_eq!(ffi::sqlite3_vfs_register(Box::leak(Box::new(shim)), 0), ffi::SQLITE_OK);
        }
    });
}

fn original() -> &'static Original {
    ORIGINAL.get().unwrap()
}

/// The medium under one of a database's files.
fn medium_of(path: &str) -> Arc<Medium> {
    Medium::under(path.trim_end_matches("-wal").trim_end_matches("-journal"))
}

fn code(failure: Failure, broken: c_int) -> c_int {
    if failure == Failure::Full { ffi::SQLITE_FULL } else { broken }
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: the arguments are SQLite's own, handed on; `file` has room for the default's file
    // and the pointer behind it, as `szOsFile` asked for.
    unsafe {
        let path = (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned());
        if let Some(path) = &path
            && medium_of(path).open(path).is_err()
        {
            (*file).pMethods = ptr::null();
            return ffi::SQLITE_CANTOPEN;
        }
        let opened = original().vfs.xOpen.unwrap()(vfs, name, file, flags, out_flags);
        let Some(path) = path.filter(|_| opened == ffi::SQLITE_OK) else { return opened };
        let methods: &'static ffi::sqlite3_io_methods = &*(*file).pMethods;
        let behind = Box::new(File { medium: medium_of(&path), path, methods });
        place(file).write_unaligned(Box::into_raw(behind));
        (*file).pMethods = ours(methods);
        opened
    }
}

/// The same methods with ours among them.
fn ours(methods: &'static ffi::sqlite3_io_methods) -> &'static ffi::sqlite3_io_methods {
    let mut known = original().methods.lock().unwrap();
    known.entry(ptr::from_ref(methods).addr()).or_insert_with(|| {
        let mut ours = *methods;
        ours.xClose = Some(close);
        ours.xWrite = Some(write);
        ours.xTruncate = Some(truncate);
        ours.xSync = Some(sync);
        ours.xShmMap = methods.xShmMap.is_some().then_some(map);
        Box::leak(Box::new(ours))
    })
}

/// Where the pointer stands.
unsafe fn place(file: *mut ffi::sqlite3_file) -> *mut *mut File {
    // SAFETY: the room was asked for with `szOsFile`.
    unsafe { file.byte_add(original().vfs.szOsFile as usize).cast() }
}

/// What stands behind a file that [`open`] has opened.
unsafe fn behind<'a>(file: *mut ffi::sqlite3_file) -> &'a File {
    // SAFETY: only such files have our methods, and it stays there until they are closed.
    unsafe { &*place(file).read_unaligned() }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: nobody uses the file after this.
    unsafe {
        let behind = Box::from_raw(place(file).read_unaligned());
        behind.methods.xClose.unwrap()(file)
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    count: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: the arguments are SQLite's own; of the bytes only a first part is handed on.
    unsafe {
        let File { medium, path, methods } = behind(file);
        let content = std::slice::from_raw_parts(bytes.cast(), count as usize);
        let write = methods.xWrite.unwrap();
        match medium.write(path, offset as u64, content) {
            Ok(()) => write(file, bytes, count, offset),
            Err((failure, written)) => {
                if written > 0 {
                    write(file, bytes, written as c_int, offset);
                }
                code(failure, ffi::SQLITE_IOERR_WRITE)
            }
        }
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    // SAFETY: the arguments are SQLite's own.
    unsafe {
        let File { medium, path, methods } = behind(file);
        match medium.resize(path, size as u64) {
            Ok(()) => methods.xTruncate.unwrap()(file, size),
            Err(failure) => code(failure, ffi::SQLITE_IOERR_TRUNCATE),
        }
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: the arguments are SQLite's own.
    unsafe {
        let File { medium, path, methods } = behind(file);
        match medium.sync(path) {
            Ok(()) if medium.is_modelled() => ffi::SQLITE_OK,
            Ok(()) => methods.xSync.unwrap()(file, flags),
            Err(_) => ffi::SQLITE_IOERR_FSYNC,
        }
    }
}

unsafe extern "C" fn map(
    file: *mut ffi::sqlite3_file,
    page: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: the arguments are SQLite's own.
    unsafe {
        let File { medium, methods, .. } = behind(file);
        match medium.map() {
            Ok(()) => methods.xShmMap.unwrap()(file, page, size, extend, out),
            Err(Failure::Full) => ffi::SQLITE_IOERR_SHMSIZE,
            Err(Failure::Broken) => ffi::SQLITE_IOERR_SHMMAP,
        }
    }
}

unsafe extern "C" fn delete(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    sync_folder: c_int,
) -> c_int {
    // SAFETY: the arguments are SQLite's own.
    unsafe {
        let path = CStr::from_ptr(name).to_string_lossy();
        match medium_of(&path).delete(&path) {
            Ok(()) => original().vfs.xDelete.unwrap()(vfs, name, sync_folder),
            Err(_) => ffi::SQLITE_IOERR_DELETE,
        }
    }
}
