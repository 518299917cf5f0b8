//! Reads the metrics of this machine through sysinfo.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use sysinfo::{DiskRefreshKind, Disks, MemoryRefreshKind, Networks, System};

use super::cpu::Cpus;
use super::metric::{Disk, DiskRates, Load, Memory, Network, Snapshot, Swap};
use crate::moment::now_ms;

/// Two counters of bytes, inwards and outwards.
type Bytes = (u64, u64);

/// Reads the metrics of this machine. Calls block: usually for a few milliseconds, on a dead file
/// system for as long as it hangs.
#[derive(Debug)]
pub(super) struct Host {
    cpus: Cpus,
    system: System,
    disks: Disks,
    networks: Networks,
    disk_io: Counters,
    network_io: Counters,
    taken_at: u64,
}

impl Host {
    /// The time from opening to the first complete snapshot.
    pub(super) const WARM_UP: Duration = Cpus::WARM_UP;

    /// Starts to measure for one snapshot per `every`.
    pub(super) fn open(every: Duration) -> Result<Self, sysinfo::Error> {
        let mut host = Self {
            cpus: Cpus::start(every)?,
            system: System::new()?,
            disks: Disks::new()?,
            networks: Networks::new()?,
            disk_io: Counters::default(),
            network_io: Counters::default(),
            taken_at: 0,
        };
        // The first reading of the counters, from which the rates start.
        host.disks();
        host.networks();
        Ok(host)
    }

    pub(super) fn snapshot(&mut self) -> Snapshot {
        // A clock that steps back must not make a newer value look older.
        self.taken_at = now_ms().max(self.taken_at);
        let everything = MemoryRefreshKind::everything();
        self.system.refresh_memory_specifics(everything);
        Snapshot {
            taken_at: self.taken_at,
            cpus: self.cpus.measure(),
            memory: Some(Memory {
                used_bytes: self.system.used_memory(),
                available_bytes: self.system.available_memory(),
                total_bytes: self.system.total_memory(),
            }),
            swap: Some(Swap {
                used_bytes: self.system.used_swap(),
                total_bytes: self.system.total_swap(),
            }),
            // Not every system has load averages.
            load: System::load_average().ok().map(|load| Load {
                one: load.one,
                five: load.five,
                fifteen: load.fifteen,
            }),
            disks: self.disks(),
            networks: self.networks(),
        }
    }

    fn disks(&mut self) -> BTreeMap<String, Disk> {
        self.disks
            .refresh_specifics(true, DiskRefreshKind::nothing().with_storage().with_io_usage());
        let read_at = Instant::now();
        let mut now = HashMap::new();
        let mut found = BTreeMap::new();
        for disk in &self.disks {
            let mount = disk.mount_point().to_string_lossy().into_owned();
            let usage = disk.usage();
            let counted = (usage.total_read_bytes, usage.total_written_bytes);
            let rates = self.disk_io.rates(&mount, counted, read_at).map(|(read, written)| {
                DiskRates { read_bytes_per_s: read, written_bytes_per_s: written }
            });
            let available_bytes = disk.available_space();
            let total_bytes = disk.total_space();
            now.insert(mount.clone(), counted);
            found.insert(
                mount,
                Disk {
                    used_bytes: total_bytes.saturating_sub(available_bytes),
                    available_bytes,
                    total_bytes,
                    // Without any reads, the system does not count for this file system.
                    rates: rates.filter(|_| counted.0 > 0),
                },
            );
        }
        self.disk_io = Counters { bytes: now, read_at: Some(read_at) };
        found
    }

    fn networks(&mut self) -> BTreeMap<String, Network> {
        self.networks.refresh(true);
        let read_at = Instant::now();
        let mut now = HashMap::new();
        let mut found = BTreeMap::new();
        for (name, network) in &self.networks {
            let name = name.to_string_lossy().into_owned();
            let counted = (network.total_received(), network.total_transmitted());
            let rates = self.network_io.rates(&name, counted, read_at);
            now.insert(name.clone(), counted);
            let (received_bytes_per_s, sent_bytes_per_s) = rates.unwrap_or_default();
            let (received_bytes, sent_bytes) = counted;
            found.insert(
                name,
                Network { received_bytes_per_s, sent_bytes_per_s, received_bytes, sent_bytes },
            );
        }
        self.network_io = Counters { bytes: now, read_at: Some(read_at) };
        found
    }
}

/// The counters at the last reading.
#[derive(Debug, Default)]
struct Counters {
    bytes: HashMap<String, Bytes>,
    read_at: Option<Instant>,
}

impl Counters {
    /// Bytes per second since the last reading; `None` if there was none for this name.
    fn rates(&self, name: &str, now: Bytes, read_at: Instant) -> Option<Bytes> {
        let before = self.bytes.get(name)?;
        let seconds = read_at.duration_since(self.read_at?).as_secs_f64();
        let rate = |now: u64, before: u64| {
            // A counter that decreased was reset.
            (now.saturating_sub(before) as f64 / seconds.max(1e-3)).round() as u64
        };
        Some((rate(now.0, before.0), rate(now.1, before.1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_count_from_the_last_reading_and_survive_a_reset() {
        let begin = Instant::now();
        let counters =
            Counters { bytes: [("eth0".to_owned(), (1_000, 5_000))].into(), read_at: Some(begin) };
        let half_a_second_later = begin + Duration::from_millis(500);
        let rates = |name, now| counters.rates(name, now, half_a_second_later);
        assert_eq!(rates("eth0", (1_500, 5_001)), Some((1_000, 2)));
        assert_eq!(rates("eth0", (10, 5_000)), Some((0, 0)));
        assert_eq!(rates("eth1", (10, 10)), None);
    }

    #[test]
    fn this_machine_has_metrics() {
        let mut host = Host::open(Duration::from_millis(250)).unwrap();
        let snapshot = host.snapshot();
        let memory = snapshot.memory.unwrap();
        assert!(memory.total_bytes > 0 && memory.used_bytes <= memory.total_bytes);
        assert!(snapshot.taken_at > 1_700_000_000_000);
        assert!(snapshot.cpus.is_none(), "nothing is measured in no time");
    }
}
