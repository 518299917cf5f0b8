//! What the kernel tells of this process.

use crate::Failure;

/// The most memory it ever held, in KiB (`VmHWM` of proc_pid_status(5)).
pub(crate) fn peak_kibibytes() -> Result<u64, Failure> {
    figure("/proc/self/status", "VmHWM:")
}

/// Bytes it caused to be sent to the disk (`write_bytes` of proc_pid_io(5)).
pub(crate) fn written_bytes() -> Result<u64, Failure> {
    figure("/proc/self/io", "write_bytes:")
}

fn figure(file: &str, name: &str) -> Result<u64, Failure> {
    let text = std::fs::read_to_string(file)?;
    let figure = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or_else(|| format!("{file} has no {name}"))?;
    Ok(figure.parse()?)
}
