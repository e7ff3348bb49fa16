//! What the service costs while nothing happens: almost no wake-ups, no look into the library, no
//! byte to a disk; and what it says it costs. The figures themselves: `benches/footprint/run`.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::helper::{Shelf, has_tool, is_root, pause, wait_until};

/// Two checks of the folders, and some.
const IDLE: Duration = Duration::from_secs(11);

fn wake_ups(pid: i32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_task = |task: std::fs::DirEntry| {
        // A thread that ends meanwhile was one wake-up, of which the bound has some to spare.
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        number(&status, "voluntary_ctxt_switches:")
    };
    tasks.flatten().map(of_task).sum()
}

fn number(text: &str, key: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(key));
    let word = rest.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn written_to_disks(pid: i32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    number(&io, "write_bytes:")
}

fn figures(shelf: &Shelf) -> BTreeMap<String, f64> {
    let answer = shelf.get("/metrics");
    let text = String::from_utf8(answer.body).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    samples.map(pair).collect()
}

/// A library of 200 files that are all processed, and a service that has come to rest.
fn idle_shelf() -> Shelf {
    let shelf = Shelf::empty("comics").start();
    for number in 0..200 {
        shelf.write(&format!("comics/{}/{number}.cbz", number % 10), "content");
    }
    shelf.sync();
    let done = r"status=processed";
    shelf.wait("all to be processed", || shelf.find(done).len() == 200);
    // The checkpoint comes 2 s after the last commit, and idle threads end after 5 s.
    let threads = || number(&status(&shelf), "Threads:");
    let mut still = 0;
    let (mut written, mut before) = (written_to_disks(shelf.pid()), threads());
    let settled = wait_until(Duration::from_secs(60), || {
        pause(Duration::from_secs(1));
        let now = (written_to_disks(shelf.pid()), threads());
        still = if now == (written, before) {
            still + 1
        } else {
            0
        };
        (written, before) = now;
        still == 7
    });
    assert!(settled, "it never comes to rest\n{}", shelf.report());
    shelf
}

fn status(shelf: &Shelf) -> String {
    std::fs::read_to_string(format!("/proc/{}/status", shelf.pid())).unwrap()
}

#[test]
fn while_nothing_happens_it_sleeps_and_writes_nothing() {
    let shelf = idle_shelf();
    let pid = shelf.pid();
    let (woken, written) = (wake_ups(pid), written_to_disks(pid));
    pause(IDLE);
    let woken = wake_ups(pid) - woken;
    assert_eq!(written_to_disks(pid), written, "{}", shelf.report());
    assert!(woken <= IDLE.as_secs(), "{woken} wake-ups in {IDLE:?}");
}

#[test]
fn while_nothing_happens_nobody_looks_below_the_roots() {
    if !has_tool("strace") || !is_root() {
        return;
    }
    let shelf = idle_shelf();
    let trace = shelf.outside("trace");
    let pid = shelf.pid().to_string();
    let seconds = IDLE.as_secs().to_string();
    // `timeout` answers 124 when the time is over, which is how it is meant to end.
    let status = Command::new("timeout")
        .args([
            "-s", "INT", &seconds, "strace", "-f", "-qq", "-y", "-p", &pid, "-o",
        ])
        .arg(&trace)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(124), "strace did not run");
    let trace = std::fs::read_to_string(&trace).unwrap();
    let root = shelf.path("comics");
    assert!(trace.contains(root.to_str().unwrap()), "no check:\n{trace}");
    let looks = |line: &&str| {
        line.contains("getdents") && is_in(line, &root)
            || line.contains(&format!("{}/", root.display())) && !only_goes_up(line, &root)
    };
    let found: Vec<&str> = trace.lines().filter(looks).collect();
    assert!(found.is_empty(), "{found:#?}");
}

fn is_in(line: &str, root: &Path) -> bool {
    line.contains(root.to_str().unwrap())
}

/// The walk to the top of the file system: `root/..`, `root/../..`.
fn only_goes_up(line: &str, root: &Path) -> bool {
    line.contains(&format!("{}/..", root.display()))
}

#[test]
fn it_says_what_it_costs() {
    let shelf = Shelf::with(["comics/1.cbz"]).start();
    let before = figures(&shelf);
    let name = |what: &str| format!("shelfcast_process_{what}");
    for what in [
        "resident_bytes",
        "anonymous_bytes",
        "threads",
        "open_descriptors",
    ] {
        assert!(before[&name(what)] > 0.0, "{what} in {before:?}");
    }
    assert!(before[&name("resident_bytes")] < 64.0 * 1024.0 * 1024.0);
    let streams: Vec<_> = (0..10).map(|_| shelf.stream()).collect();
    let after = figures(&shelf);
    let descriptors = name("open_descriptors");
    assert!(
        after[&descriptors] >= before[&descriptors] + 10.0,
        "{streams:?}"
    );
    // Where the state is in memory nothing is written; it is a number all the same.
    let stats = shelf.get("/api/cache/stats").json();
    assert!(stats["bytes_written"].is_u64(), "{stats}");
    let total = figures(&shelf)[&name("written_bytes_total")];
    let written = stats["bytes_written"].as_f64().unwrap();
    assert!(total >= written, "{total} after {written}");
}
