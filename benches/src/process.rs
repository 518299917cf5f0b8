//! What the kernel tells of this process.

use std::time::Duration;

use crate::Failure;

/// The most memory it ever held, in KiB (`VmHWM` of proc_pid_status(5)).
pub(crate) fn peak_kibibytes() -> Result<u64, Failure> {
    figure("/proc/self/status", "VmHWM:")
}

/// The same of another process, while it runs.
pub(crate) fn peak_kibibytes_of(process: u32) -> Result<u64, Failure> {
    figure(&format!("/proc/{process}/status"), "VmHWM:")
}

/// The memory that another process holds now, in KiB.
pub(crate) fn kibibytes_of(process: u32) -> Result<u64, Failure> {
    figure(&format!("/proc/{process}/status"), "VmRSS:")
}

/// The memory it holds now, in KiB (`VmRSS`).
pub(crate) fn present_kibibytes() -> Result<u64, Failure> {
    figure("/proc/self/status", "VmRSS:")
}

/// How many descriptors it has open.
pub(crate) fn descriptors() -> Result<usize, Failure> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

/// Bytes it caused to be sent to the disk (`write_bytes` of proc_pid_io(5)).
pub(crate) fn written_bytes() -> Result<u64, Failure> {
    figure("/proc/self/io", "write_bytes:")
}

/// Time on a processor of all threads that are there, in nanoseconds (the first figure of
/// `/proc/self/task/*/schedstat`). Unlike the time on the wall, it is not that of others.
pub(crate) fn processor_nanoseconds() -> Result<u64, Failure> {
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        // A thread that has just ended is none.
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
        sum += text.split_whitespace().next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(sum)
}

/// Waits until this process has done next to nothing for half a second: whatever a store does in the
/// background is done then.
pub(crate) async fn settled() -> Result<(), Failure> {
    let mut before = ticks()?;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = ticks()?;
        if now - before <= 1 {
            return Ok(());
        }
        before = now;
    }
}

/// Time on a processor so far, in hundredths of a second (`utime` and `stime` of proc_pid_stat(5), the
/// twelfth and thirteenth field after the name in parentheses).
fn ticks() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = text.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    let times = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(times.sum::<Result<u64, _>>()?)
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
