//! Panics on a store's own threads, which nobody would see otherwise.

use std::panic;
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Remembers panics on threads that are a store's from here on.
pub fn watch_threads() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let thread = thread::current();
            let name = thread.name().unwrap_or_default();
            if name.starts_with("annals-") || name.starts_with("blocking-") {
                let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
                seen.push(format!("{name}: {panic}"));
            }
            before(panic);
        }));
    });
}

/// The panics so far; each is told once.
pub(crate) fn take() -> Result<(), String> {
    let seen = std::mem::take(&mut *SEEN.lock().unwrap_or_else(PoisonError::into_inner));
    if seen.is_empty() { Ok(()) } else { Err(seen.join("; ")) }
}
