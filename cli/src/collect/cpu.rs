//! Measures CPU percentages at each tick.

use std::time::{Duration, Instant};

use sysinfo::{MINIMUM_CPU_UPDATE_INTERVAL, System};

use super::metric::Cpu;

/// Measures how busy the CPUs are.
///
/// sysinfo compares two readings of the system's counters, at least 200 ms apart because the counters
/// have steps of 10 ms, and repeats its last answer if asked sooner. For shorter ticks several
/// measurements run in parallel, each started at another tick. Each tick ends one of them, so each
/// recorded value is new, over a sliding window.
#[derive(Debug)]
pub(super) struct Cpus {
    running: Vec<Measurement>,
    next: usize,
}

#[derive(Debug)]
struct Measurement {
    system: System,
    since: Instant,
}

impl Cpus {
    /// Starts to measure. The first value is available after [`WARM_UP`](Self::WARM_UP).
    pub(super) fn start(every: Duration) -> Result<Self, sysinfo::Error> {
        let begin = || {
            let mut system = System::new()?;
            system.refresh_cpu_usage();
            Ok::<_, sysinfo::Error>(Measurement { system, since: Instant::now() })
        };
        let running = (0..measurements(every)).map(|_| begin()).collect::<Result<_, _>>()?;
        Ok(Self { running, next: 0 })
    }

    /// The time that the first measurement takes.
    pub(super) const WARM_UP: Duration = MINIMUM_CPU_UPDATE_INTERVAL;

    /// The whole machine and each CPU, up to now. `None` if the measurement whose turn it is has not
    /// run long enough, which happens after a late tick.
    pub(super) fn measure(&mut self) -> Option<(Cpu, Vec<Cpu>)> {
        let Measurement { system, since } = &mut self.running[self.next];
        if since.elapsed() < MINIMUM_CPU_UPDATE_INTERVAL {
            return None;
        }
        system.refresh_cpu_usage();
        *since = Instant::now();
        let each = system.cpus().iter().map(|cpu| percent(cpu.usage())).collect();
        let total = percent(system.global_cpu_usage());
        self.next = (self.next + 1) % self.running.len();
        Some((total, each))
    }
}

/// The number of measurements with which each runs longer than the minimum, even if ticks are a
/// little uneven.
fn measurements(every: Duration) -> usize {
    const UNEVEN: Duration = Duration::from_millis(20);
    let least = MINIMUM_CPU_UPDATE_INTERVAL + UNEVEN;
    let needed = least.as_millis().div_ceil(every.as_millis().max(1)).max(1);
    usize::try_from(needed).unwrap_or(1)
}

fn percent(share: f32) -> Cpu {
    Cpu { percent: (f64::from(share) * 10.0).round() / 10.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measurement_runs_longer_than_the_least_time() {
        for (every, expected) in [(10, 22), (100, 3), (110, 2), (219, 2), (220, 1), (1000, 1)] {
            let every = Duration::from_millis(every);
            assert_eq!(measurements(every), expected, "{every:?}");
            assert!(every * measurements(every) as u32 > MINIMUM_CPU_UPDATE_INTERVAL);
        }
    }
}
