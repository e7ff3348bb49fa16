//! What this **process** costs the machine: memory, threads, descriptors, bytes written to disks.
//!
//! Read from proc(5) at the moment somebody asks; nothing is kept and nothing wakes up for it. What
//! a kernel does not tell (one without `CONFIG_TASK_IO_ACCOUNTING` has no `/proc/self/io`) is left
//! out rather than shown as zero.

use std::fs;

use crate::metrics::{Collect, Page};

/// What the process costs now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that were to be written to disks since the start: those of the state, of a log file, and
    /// of the processors that were run and have ended. What is kept in memory (tmpfs) does not count.
    pub written_bytes: Option<u64>,
    /// Resident memory, shared pages of the program included.
    pub resident_bytes: Option<u64>,
    /// Of these, memory that belongs to this process alone.
    pub anonymous_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open descriptors.
    pub open_descriptors: Option<u64>,
}

/// Reads what the process costs.
#[must_use]
pub fn usage() -> Usage {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    // The descriptor that reads the directory is in it.
    let descriptors = fs::read_dir("/proc/self/fd").map(|all| all.count().saturating_sub(1) as u64);
    Usage {
        written_bytes: value(&io, "write_bytes"),
        resident_bytes: value(&status, "VmRSS").map(kib),
        anonymous_bytes: value(&status, "RssAnon").map(kib),
        threads: value(&status, "Threads"),
        open_descriptors: descriptors.ok(),
    }
}

/// Returns the number in the line `key: number …`.
fn value(text: &str, key: &str) -> Option<u64> {
    let of_key = |line: &str| line.strip_prefix(key)?.strip_prefix(':').map(str::to_owned);
    let rest = text.lines().find_map(of_key)?;
    rest.split_whitespace().next()?.parse().ok()
}

fn kib(count: u64) -> u64 {
    count.saturating_mul(1024)
}

/// The figures of the process, for `/metrics`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures;

impl Collect for Figures {
    fn collect(&self, page: &mut Page) {
        let usage = usage();
        if let Some(bytes) = usage.written_bytes {
            page.counter(
                "shelfcast_process_written_bytes_total",
                "Bytes written to disks since the start, with those of processors that ended.",
                bytes,
            );
        }
        for (name, help, value) in [
            (
                "shelfcast_process_resident_bytes",
                "Memory that is resident, the program itself included.",
                usage.resident_bytes,
            ),
            (
                "shelfcast_process_anonymous_bytes",
                "Memory that is resident and belongs to this process alone.",
                usage.anonymous_bytes,
            ),
            (
                "shelfcast_process_threads",
                "Threads of this process.",
                usage.threads,
            ),
            (
                "shelfcast_process_open_descriptors",
                "Open files, sockets and other descriptors.",
                usage.open_descriptors,
            ),
        ] {
            if let Some(value) = value {
                #[expect(clippy::cast_precision_loss, reason = "exact up to 8 PiB")]
                page.gauge(name, help, value as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_proc_are_read() {
        let text = "Name:\tx\nVmRSS:\t   2048 kB\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n";
        assert_eq!(value(text, "VmRSS").map(kib), Some(2048 * 1024));
        assert_eq!(value(text, "write_bytes"), Some(4096));
        assert_eq!(value(text, "Vm"), None);
        assert_eq!(value("", "VmRSS"), None);
    }

    #[test]
    fn what_this_process_costs_is_known() {
        let before = usage();
        assert!(before.resident_bytes >= before.anonymous_bytes);
        assert!(before.threads.is_some_and(|threads| threads >= 1));
        // Other tests open and close descriptors meanwhile, but ours stay open.
        let ours: Vec<_> = (0..200)
            .map(|_| fs::File::open("/proc/self/status").unwrap())
            .collect();
        assert!(usage().open_descriptors >= Some(200), "{ours:?}");
    }
}
