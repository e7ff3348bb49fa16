//! What a process and its children use, from /proc.

use std::fs;
use std::time::Duration;

#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) resident_kib: u64,
    pub(crate) threads: u64,
    pub(crate) cpu: Duration,
    pub(crate) switches: u64,
}

/// Returns the sum over `pid` and what descends from it.
pub(crate) fn usage(pid: u32) -> Usage {
    let mut sum = Usage::default();
    for pid in family(pid) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        sum.resident_kib += field(&status, "VmRSS:");
        sum.threads += field(&status, "Threads:");
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let status = read("status");
            sum.switches += field(&status, "voluntary_ctxt_switches:");
            sum.switches += field(&status, "nonvoluntary_ctxt_switches:");
            let ran = read("schedstat"); // nanoseconds, where utime has hundredths of a second
            let ran = ran.split(' ').next().and_then(|text| text.parse().ok());
            sum.cpu += Duration::from_nanos(ran.unwrap_or(0));
        }
    }
    sum
}

fn family(root: u32) -> Vec<u32> {
    let mut family = vec![root];
    let mut place = 0;
    while let Some(pid) = family.get(place) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        family.extend(
            children
                .split(' ')
                .filter_map(|text| text.parse::<u32>().ok()),
        );
        place += 1;
    }
    family
}

fn field(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    let digits = value.and_then(|value| value.split_whitespace().next());
    digits.and_then(|text| text.parse().ok()).unwrap_or(0)
}
