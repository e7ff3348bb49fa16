//! Processing beside `b3sum` (`cargo install b3sum`), with the built-in processor.
//!
//! One command, one table: `cargo bench --bench processing`. It measures the whole program from
//! outside: from the close of a small file to its `file_processed`, ten thousand small files that
//! are dropped at once, and one large file. Compare ratios; absolute times are those of the machine.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measuring program: it prints, and what fails ends it"
)]

#[expect(
    dead_code,
    reason = "the helper of the tests; not all of it is used here"
)]
#[path = "../tests/it/daemon.rs"]
mod daemon;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use daemon::{Daemon, pause};

const SMALL_FILES: u32 = 10_000;
const LARGE_MIB: usize = 1024;

fn main() {
    close_to_event();
    many_small_files();
    one_large_file();
}

fn close_to_event() {
    let daemon = Daemon::new().start();
    daemon.forget_events();
    let mut took: Vec<_> = (0..100)
        .map(|number| {
            let name = format!("{number}.cbz");
            let began = Instant::now();
            daemon.write(&name, &name);
            daemon.wait_processed(&name);
            took_ms(began.elapsed())
        })
        .collect();
    took.sort_by(f64::total_cmp);
    println!(
        "close to file_processed, ms: median {:.1}, 90 % {:.1}, worst {:.1}",
        took[50], took[90], took[99]
    );
}

fn many_small_files() {
    let daemon = Daemon::new().start();
    let staging = daemon.base().join("staging");
    for number in 0..SMALL_FILES {
        let directory = staging.join((number / 100).to_string());
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(
            directory.join(format!("{number}.txt")),
            vec![b'x'; 4096 + number as usize],
        )
        .unwrap();
    }
    // They are complete when they come, so that nothing has to stand still first.
    pause(Duration::from_secs(3));
    let b3sum = b3sum(
        &staging,
        "find . -type f -print0 | xargs -0 -n 100 b3sum --num-threads 1",
    );
    let began = Instant::now();
    std::fs::rename(&staging, daemon.folder().join("dropped")).unwrap();
    daemon.eventually("all are processed", || {
        daemon.get("/api/files?limit=1").json["counts"]["processed"] == SMALL_FILES
    });
    report("10,000 small files", began.elapsed(), b3sum);
}

fn one_large_file() {
    let daemon = Daemon::new().start();
    let outside = daemon.base().join("large.bin");
    std::fs::write(&outside, vec![7; LARGE_MIB << 20]).unwrap();
    let b3sum = b3sum(daemon.base(), "b3sum --num-threads 1 large.bin");
    daemon.forget_events();
    let began = Instant::now();
    std::fs::rename(&outside, daemon.folder().join("large.bin")).unwrap();
    daemon.wait_processed("large.bin");
    report("one file of 1 GiB", began.elapsed(), b3sum);
}

/// Runs a shell command twice and returns the time of the second run: all is in memory then.
fn b3sum(directory: &Path, command: &str) -> Option<Duration> {
    let mut times = (0..2).map(|_| {
        let began = Instant::now();
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(directory)
            .output();
        let worked = output.is_ok_and(|output| output.status.success());
        worked.then(|| began.elapsed())
    });
    times.next_back().flatten()
}

fn report(what: &str, took: Duration, b3sum: Option<Duration>) {
    let ours = took_ms(took);
    match b3sum.map(took_ms) {
        Some(theirs) => println!(
            "{what}, ms: {ours:.0}, b3sum {theirs:.0}, ratio {:.2}",
            ours / theirs
        ),
        None => println!("{what}, ms: {ours:.0}; b3sum is not installed"),
    }
}

fn took_ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}
