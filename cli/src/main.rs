//! The program `annals`.

/// glibc gives each of a server's dozen threads its own heap, which keeps most of what the thread has freed:
/// after ten minutes more than half of the memory was free and not returned to the system.
#[cfg(all(target_os = "linux", feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    annals_cli::App::new().run()
}
