//! Panics on a store's own threads, which nobody would notice otherwise.

use std::panic;
use std::sync::Once;
use std::thread;

use parking_lot::Mutex;

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Records panics on a store's threads.
pub(crate) fn watch_threads() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let thread = thread::current();
            let name = thread.name().unwrap_or_default();
            if name.starts_with("annals-") || name.starts_with("blocking-") {
                SEEN.lock().push(format!("{name}: {panic}"));
            }
            before(panic);
        }));
    });
}

/// The panics so far; each is reported once.
pub(crate) fn take() -> Result<(), String> {
    let seen = std::mem::take(&mut *SEEN.lock());
    if seen.is_empty() { Ok(()) } else { Err(seen.join("; ")) }
}
