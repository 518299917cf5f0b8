//! A SQLite file system whose syncs fail on demand, file by file.
//!
//! It is the default one with another `xSync`, as <https://sqlite.org/vfs.html> ("shim") describes
//! it; there is no way to it without raw pointers.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, Once, OnceLock};

use rusqlite::ffi;

/// What [`register`] registers it as.
pub(crate) const NAME: &str = "annals-failing";

/// Per database file whether its syncs fail. Entries stay for ever: open files point to them.
static FAILING: LazyLock<Mutex<HashMap<String, &'static AtomicBool>>> =
    LazyLock::new(Mutex::default);

/// The default file system's own `xOpen`, the size of its files and their methods.
struct Original {
    open: unsafe extern "C" fn(
        *mut ffi::sqlite3_vfs,
        *const c_char,
        *mut ffi::sqlite3_file,
        c_int,
        *mut c_int,
    ) -> c_int,
    file_bytes: usize,
}

static ORIGINAL: OnceLock<Original> = OnceLock::new();
static SYNC: OnceLock<unsafe extern "C" fn(*mut ffi::sqlite3_file, c_int) -> c_int> =
    OnceLock::new();

/// The switch of one database file.
pub(crate) fn switch(path: &str) -> &'static AtomicBool {
    let mut failing = FAILING.lock().unwrap();
    failing.entry(path.to_owned()).or_insert_with(|| Box::leak(Box::default()))
}

/// Makes [`NAME`] known to SQLite.
pub(crate) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: SQLite's default file system lives as long as the process; the copy of its
        // description is leaked, so it does too.
        unsafe {
            let default = ffi::sqlite3_vfs_find(ptr::null());
            let mut shim = *default;
            let file_bytes = shim.szOsFile as usize;
            ORIGINAL.get_or_init(|| Original { open: shim.xOpen.unwrap(), file_bytes });
            // Behind the default's own file stands a pointer to its switch.
            shim.szOsFile += size_of::<&AtomicBool>() as c_int;
            shim.zName = c"annals-failing".as_ptr();
            shim.pNext = ptr::null_mut();
            shim.xOpen = Some(open);
            assert_eq!(ffi::sqlite3_vfs_register(Box::leak(Box::new(shim)), 0), ffi::SQLITE_OK);
        }
    });
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let original = ORIGINAL.get().unwrap();
    // SAFETY: the arguments are SQLite's own, handed on; `file` has room for the default's file
    // and the pointer behind it, as `szOsFile` asked for.
    unsafe {
        let opened = (original.open)(vfs, name, file, flags, out_flags);
        if opened != ffi::SQLITE_OK || name.is_null() {
            return opened;
        }
        let path = CStr::from_ptr(name).to_string_lossy();
        let path = path.trim_end_matches("-wal").trim_end_matches("-journal");
        let behind = file.byte_add(original.file_bytes).cast::<&'static AtomicBool>();
        behind.write_unaligned(switch(path));
        let mut methods = *(*file).pMethods;
        SYNC.get_or_init(|| methods.xSync.unwrap());
        methods.xSync = Some(sync);
        (*file).pMethods = Box::leak(Box::new(methods));
        opened
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: only files that `open` above has opened have this method.
    unsafe {
        let behind = file.byte_add(ORIGINAL.get().unwrap().file_bytes);
        let failing = behind.cast::<&'static AtomicBool>().read_unaligned();
        if failing.load(Ordering::SeqCst) {
            return ffi::SQLITE_IOERR_FSYNC;
        }
        SYNC.get().unwrap()(file, flags)
    }
}
