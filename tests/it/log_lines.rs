//! The log lines that operators look for, and that an idle server sleeps: in a process of its own,
//! since the log and the count of switches are the process's.

use crate::serving::{Serving, eventually, pause};
use log::{LevelFilter, Log, Metadata, Record};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

const CHILD: &str = "SHELFCAST_TEST_LOG";

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Collect;

impl Log for Collect {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {}", record.level(), record.args());
        LINES.lock().expect("nobody panics here").push(line);
    }

    fn flush(&self) {}
}

#[test]
fn operators_find_what_they_look_for_and_an_idle_server_sleeps() {
    if std::env::var(CHILD).is_err() {
        let name = "log_lines::operators_find_what_they_look_for_and_an_idle_server_sleeps";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{said}{:?}", child.stderr);
        return;
    }
    log::set_logger(&Collect).unwrap();
    log::set_max_level(LevelFilter::Debug);
    let serving = Serving::start();
    let first = serving.stream("/api/events/stream", "");
    let second = serving.stream("/api/events/stream", "");
    serving.wait_for_clients(2);
    serving.publish("a");
    drop(first);
    serving.wait_for_clients(1);
    drop(second);
    serving.wait_for_clients(0);
    for line in [
        "INFO Client subscribed to events (total: 1)",
        "INFO Client subscribed to events (total: 2)",
        "DEBUG Broadcast event 'error' to 2 clients",
        "INFO Client unsubscribed from events (remaining: 1)",
        "INFO Client unsubscribed from events (remaining: 0)",
    ] {
        eventually(line, || {
            LINES.lock().unwrap().iter().any(|found| found == line)
        });
    }
    let switches = || -> u64 {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        tasks
            // Of the server's own threads: the test's wakes to look.
            .filter_map(|task| {
                let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
                let ours = matches!(name.trim(), "accept" | "streams" | "request");
                let status = std::fs::read_to_string(task.path().join("status")).ok()?;
                let count = status
                    .lines()
                    .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
                ours.then(|| count.trim().parse::<u64>().unwrap())
            })
            .sum()
    };
    // A worker that answered ends once, after 5 s: that is not idling yet.
    eventually("the workers to end", || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        tasks.into_iter().all(|task| {
            let name = std::fs::read_to_string(task.path().join("comm"));
            name.map_or(true, |name| name.trim() != "request")
        })
    });
    let before = switches();
    pause(Duration::from_secs(2));
    let woken = switches() - before;
    assert!(woken <= 2, "{woken} wake-ups in 2 s");
}
