//! The records of a machine: their names and the shape of their values.

use std::collections::BTreeMap;

use serde::Serialize;

/// The pattern of all these records.
pub(super) const ALL: &str = "host::*";

/// The busy share of the processing time, in percent, rounded to a tenth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Cpu {
    pub(super) percent: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Memory {
    pub(super) used_bytes: u64,
    pub(super) available_bytes: u64,
    pub(super) total_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Swap {
    pub(super) used_bytes: u64,
    pub(super) total_bytes: u64,
}

/// The load averages over one, five and fifteen minutes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Load {
    pub(super) one: f64,
    pub(super) five: f64,
    pub(super) fifteen: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Disk {
    pub(super) used_bytes: u64,
    pub(super) available_bytes: u64,
    pub(super) total_bytes: u64,
    /// `None` where the system does not count for this file system.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) rates: Option<DiskRates>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct DiskRates {
    pub(super) read_bytes_per_s: u64,
    pub(super) written_bytes_per_s: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Network {
    pub(super) received_bytes_per_s: u64,
    pub(super) sent_bytes_per_s: u64,
    /// Since the interface came up.
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
}

/// The value of one record.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Metric {
    Cpu(Cpu),
    Memory(Memory),
    Swap(Swap),
    Load(Load),
    Disk(Disk),
    Network(Network),
}

/// All values of one tick.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    /// When it was taken, in Unix milliseconds.
    pub(super) taken_at: u64,
    /// The whole machine and each CPU; `None` if the last measurement is too recent.
    pub(super) cpus: Option<(Cpu, Vec<Cpu>)>,
    pub(super) memory: Option<Memory>,
    pub(super) swap: Option<Swap>,
    pub(super) load: Option<Load>,
    /// By mount point.
    pub(super) disks: BTreeMap<String, Disk>,
    /// By interface.
    pub(super) networks: BTreeMap<String, Network>,
}

impl Snapshot {
    /// The records' names and values.
    pub(super) fn rows(&self) -> impl Iterator<Item = (String, Metric)> {
        let cpus = self.cpus.iter().flat_map(|(total, each)| {
            let each = each.iter().enumerate();
            let each = each.map(|(index, cpu)| (format!("host::cpu::{index}"), Metric::Cpu(*cpu)));
            each.chain([("host::cpu::total".to_owned(), Metric::Cpu(*total))])
        });
        let named = |name: &str, metric| (name.to_owned(), metric);
        let disks = self.disks.iter().map(|(mount, disk)| {
            (format!("host::disk::{}", in_a_name(mount)), Metric::Disk(*disk))
        });
        let networks = self.networks.iter().map(|(name, network)| {
            (format!("host::network::{}", in_a_name(name)), Metric::Network(*network))
        });
        cpus.chain(self.load.map(|load| named("host::load", Metric::Load(load))))
            .chain(self.memory.map(|memory| named("host::memory", Metric::Memory(memory))))
            .chain(self.swap.map(|swap| named("host::swap", Metric::Swap(swap))))
            .chain(disks)
            .chain(networks)
    }
}

/// Replaces what a mount point may contain and a record name may not.
fn in_a_name(text: &str) -> String {
    text.replace('*', "%2A").replace('\0', "%00")
}

#[cfg(test)]
mod tests {
    use annals::RecordName;

    use super::*;

    #[test]
    fn records_have_names_that_glob_and_values_with_units() {
        let snapshot = Snapshot {
            cpus: Some((Cpu { percent: 12.5 }, vec![Cpu { percent: 5.0 }, Cpu { percent: 20.0 }])),
            load: Some(Load { one: 0.5, five: 0.25, fifteen: 0.1 }),
            disks: [
                ("/", Disk { used_bytes: 1, available_bytes: 2, total_bytes: 3, rates: None }),
                (
                    "/mnt/a*b",
                    Disk {
                        used_bytes: 1,
                        available_bytes: 2,
                        total_bytes: 3,
                        rates: Some(DiskRates { read_bytes_per_s: 4, written_bytes_per_s: 5 }),
                    },
                ),
            ]
            .map(|(mount, disk)| (mount.to_owned(), disk))
            .into(),
            ..Snapshot::default()
        };
        let rows: Vec<_> = snapshot
            .rows()
            .map(|(name, metric)| {
                RecordName::new(name.as_str()).unwrap();
                format!("{name} {}", serde_json::to_string(&metric).unwrap())
            })
            .collect();
        assert_eq!(
            rows,
            [
                r#"host::cpu::0 {"percent":5.0}"#,
                r#"host::cpu::1 {"percent":20.0}"#,
                r#"host::cpu::total {"percent":12.5}"#,
                r#"host::load {"one":0.5,"five":0.25,"fifteen":0.1}"#,
                r#"host::disk::/ {"used_bytes":1,"available_bytes":2,"total_bytes":3}"#,
                "host::disk::/mnt/a%2Ab {\"used_bytes\":1,\"available_bytes\":2,\"total_bytes\":3,\
                 \"read_bytes_per_s\":4,\"written_bytes_per_s\":5}",
            ]
        );
    }
}
