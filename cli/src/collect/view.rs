//! Shows the newest values while they are collected.

use std::cmp::Reverse;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use annals::RecordStats;
use console::{Term, truncate_str};
use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};

use super::metric::Snapshot;
use crate::output::{counted, shown_name};
use crate::stderr::{ViewGuard, print_note};

/// The time between two lines without a terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// The number of disks, and of network interfaces, that are shown.
const SHOWN: usize = 4;

/// The state of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    pub(super) elapsed: Duration,
    pub(super) missed: u64,
    pub(super) account: RecordStats,
}

/// Shows the newest values: redrawn at each tick on a terminal, a line every ten seconds without
/// one.
pub(super) enum View {
    Live { title: String, block: ProgressBar, _guard: ViewGuard },
    Plain { last: Option<Instant> },
}

impl View {
    pub(super) fn new(title: String) -> Self {
        if !io::stderr().is_terminal() {
            print_note(&title);
            return Self::Plain { last: None };
        }
        let view = MultiProgress::new();
        let style = ProgressStyle::with_template("{msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let block = view.add(ProgressBar::new_spinner().with_style(style));
        Self::Live { title, block, _guard: ViewGuard::new(view) }
    }

    pub(super) fn show(&mut self, newest: &Snapshot, progress: &Progress) {
        match self {
            Self::Live { title, block, .. } => {
                let width = usize::from(Term::stderr().size().1).saturating_sub(1);
                let mut lines = lines(newest);
                lines.insert(0, format!("{title}  {}", clock(progress.elapsed)));
                lines.push(account(progress));
                let lines = lines.iter().map(|line| truncate_str(line, width, "…"));
                block.set_message(lines.collect::<Vec<_>>().join("\n"));
                block.tick();
            }
            Self::Plain { last } => {
                if last.is_none_or(|last| last.elapsed() >= PLAIN_EVERY) {
                    *last = Some(Instant::now());
                    let (at, account) = (clock(progress.elapsed), account(progress));
                    print_note(&format!("{at}  {account}{}", in_short(newest)));
                }
            }
        }
    }

    /// Removes the view from the terminal.
    pub(super) fn clear(self) {
        if let Self::Live { block, .. } = self {
            block.finish_and_clear();
        }
    }
}

fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn account(progress: &Progress) -> String {
    let Progress { missed, account, .. } = progress;
    let RecordStats { recorded, stored, rejected, dropped, pending, .. } = account;
    let mut line = format!("{} recorded, {} stored", HumanCount(*recorded), HumanCount(*stored));
    for (count, what) in [
        (*pending, "pending"),
        (*rejected, "rejected"),
        (*dropped, "dropped"),
        (*missed, "ticks missed"),
    ] {
        if count > 0 {
            let _ = write!(line, ", {} {what}", HumanCount(count));
        }
    }
    line
}

fn in_short(newest: &Snapshot) -> String {
    let mut line = String::new();
    if let Some((total, _)) = &newest.cpus {
        let _ = write!(line, "; cpu {} %", total.percent);
    }
    if let Some(memory) = &newest.memory {
        let (used, total) = (HumanBytes(memory.used_bytes), HumanBytes(memory.total_bytes));
        let _ = write!(line, "; memory {used} of {total}");
    }
    if let Some(load) = &newest.load {
        let _ = write!(line, "; load {:.2}", load.one);
    }
    line
}

fn lines(newest: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((total, each)) = &newest.cpus {
        let bars: String = each.iter().map(|cpu| bar(cpu.percent)).collect();
        lines.push(format!("cpu      {:5.1} %  {bars}", total.percent));
    }
    if let Some(memory) = &newest.memory {
        let (used, total) = (HumanBytes(memory.used_bytes), HumanBytes(memory.total_bytes));
        let mut line = format!("memory   {used} of {total}");
        if let Some(swap) = newest.swap.filter(|swap| swap.total_bytes > 0) {
            let (used, total) = (HumanBytes(swap.used_bytes), HumanBytes(swap.total_bytes));
            let _ = write!(line, "   swap {used} of {total}");
        }
        lines.push(line);
    }
    if let Some(load) = &newest.load {
        lines.push(format!("load     {:.2}  {:.2}  {:.2}", load.one, load.five, load.fifteen));
    }
    let disks = newest.disks.iter().map(|(mount, disk)| {
        let (used, total) = (HumanBytes(disk.used_bytes), HumanBytes(disk.total_bytes));
        let mut line = format!("disk     {used} of {total}");
        if let Some(rates) = &disk.rates {
            let read = HumanBytes(rates.read_bytes_per_s);
            let written = HumanBytes(rates.written_bytes_per_s);
            let _ = write!(line, "  read {read}/s  written {written}/s");
        }
        format!("{line}  {}", shown_name(mount))
    });
    extend(&mut lines, disks, "more disk");
    // The busiest first, or a few unused bridges hide the one that matters.
    let mut networks: Vec<_> = newest.networks.iter().collect();
    networks.sort_by_key(|(_, network)| Reverse(network.received_bytes + network.sent_bytes));
    let networks = networks.into_iter().map(|(name, network)| {
        let received = HumanBytes(network.received_bytes_per_s);
        let sent = HumanBytes(network.sent_bytes_per_s);
        format!("network  received {received}/s  sent {sent}/s  {}", shown_name(name))
    });
    extend(&mut lines, networks, "more network");
    lines
}

/// Adds the first lines and the number of the others.
fn extend(lines: &mut Vec<String>, all: impl ExactSizeIterator<Item = String>, what: &str) {
    let more = all.len().saturating_sub(SHOWN);
    lines.extend(all.take(SHOWN));
    if more > 0 {
        lines.push(format!("         and {}", counted(more as u64, what)));
    }
}

fn bar(percent: f64) -> char {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    // Casting a float saturates.
    BARS[((percent / 12.5) as usize).min(BARS.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::super::metric::{Cpu, Disk, Load, Memory, Network, Swap};
    use super::*;

    fn busy_machine() -> Snapshot {
        let disk = Disk {
            used_bytes: 1 << 40,
            available_bytes: 1 << 40,
            total_bytes: 1 << 41,
            rates: None,
        };
        let network = Network {
            received_bytes_per_s: 1 << 30,
            sent_bytes_per_s: 1 << 30,
            received_bytes: 1,
            sent_bytes: 1,
        };
        Snapshot {
            taken_at: 0,
            cpus: Some((Cpu { percent: 50.0 }, vec![Cpu { percent: 100.0 }; 128])),
            memory: Some(Memory { used_bytes: 1, available_bytes: 1, total_bytes: 2 }),
            swap: Some(Swap { used_bytes: 1, total_bytes: 2 }),
            load: Some(Load { one: 1.0, five: 2.0, fifteen: 3.0 }),
            disks: (0..9).map(|n| (format!("/mnt/{n}\x1b[2J"), disk)).collect(),
            networks: [("eth0".to_owned(), network)].into(),
        }
    }

    #[test]
    fn a_view_is_a_screenful_and_sends_no_control_characters() {
        let lines = lines(&busy_machine());
        assert!(lines.len() <= 20, "{lines:#?}");
        assert!(lines.contains(&"         and 5 more disks".to_owned()), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.chars().any(char::is_control)), "{lines:#?}");
    }

    #[test]
    fn the_account_names_what_is_not_zero() {
        let mut account_of = RecordStats::default();
        account_of.recorded = 1234;
        account_of.stored = 1200;
        account_of.pending = 34;
        let progress =
            Progress { elapsed: Duration::from_secs(3723), missed: 2, account: account_of };
        assert_eq!(account(&progress), "1,234 recorded, 1,200 stored, 34 pending, 2 ticks missed");
        assert_eq!(clock(progress.elapsed), "01:02:03");
    }

    #[test]
    fn bars_cover_the_whole_range() {
        assert_eq!(
            [0.0, 12.4, 12.5, 50.0, 99.9, 100.0, 250.0].map(bar),
            ['▁', '▁', '▂', '▅', '█', '█', '█']
        );
    }
}
