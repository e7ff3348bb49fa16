//! Processing against its bounds, with one command: `cargo bench --bench processing`.
//!
//! It measures the whole program from outside, with the built-in processor: from the close of a
//! small file to its `file_processed` on a stream, ten thousand small files that are dropped at once,
//! one large file, and what memory many jobs, items and failures leave behind. `b3sum`, to compare
//! with, is built by it where it is not installed. Ends with 1 if a bound is broken. Compare ratios;
//! absolute times are those of the machine. `--rounds N` repeats the ten thousand files (3 times if
//! nothing is said), and takes the median.

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

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use serde_json::json;

use daemon::{Daemon, pause};

const SMALL_FILES: u32 = 10_000;
const LARGE_MIB: usize = 1024;

/// The bounds: milliseconds at the median; times `b3sum`; KiB that a hundred jobs over 200
/// items each, half of which fail, may leave behind (a leak of 32 bytes an item would be 625).
const CLOSE_TO_EVENT_MS: f64 = 100.0;
const TIMES_B3SUM: f64 = 2.0;
const GROWTH_KIB: f64 = 512.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let rounds = arguments
        .iter()
        .skip_while(|word| *word != "--rounds")
        .nth(1);
    let rounds = rounds.map_or(3, |number| number.parse().unwrap());
    let b3sum = find_b3sum();
    let kept = [
        close_to_event(),
        many_small_files(&b3sum, rounds),
        flat_memory(),
    ];
    one_large_file(&b3sum);
    if kept.iter().all(|kept| *kept) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn close_to_event() -> bool {
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
    let what = format!(
        "close to file_processed, ms (90 % {:.1}, worst {:.1})",
        took[90], took[99]
    );
    bound(&what, took[50], CLOSE_TO_EVENT_MS)
}

fn many_small_files(b3sum: &Path, rounds: usize) -> bool {
    let mut ratios: Vec<_> = (0..rounds).map(|_| small_files_once(b3sum)).collect();
    ratios.sort_by(f64::total_cmp);
    bound(
        "10,000 small files, times b3sum, median",
        ratios[rounds / 2],
        TIMES_B3SUM,
    )
}

fn small_files_once(b3sum: &Path) -> f64 {
    let daemon = Daemon::new().start();
    let staging = daemon.base().join("staging");
    for number in 0..SMALL_FILES {
        let directory = staging.join((number / 100).to_string());
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join(format!("{number}.txt"));
        std::fs::write(path, vec![b'x'; 4096 + number as usize]).unwrap();
    }
    // They are complete when they come, so that nothing has to stand still first.
    pause(Duration::from_secs(3));
    let b3sum = run_b3sum(
        &staging,
        b3sum,
        "find . -type f -print0 | xargs -0 -n 100 \"$0\" --num-threads 1",
    );
    let began = Instant::now();
    std::fs::rename(&staging, daemon.folder().join("dropped")).unwrap();
    daemon.eventually("all are processed", || {
        daemon.get("/api/files?limit=1").json["counts"]["processed"] == SMALL_FILES
    });
    report("10,000 small files", began.elapsed(), b3sum)
}

fn one_large_file(b3sum: &Path) {
    let daemon = Daemon::new().start();
    let outside = daemon.base().join("large.bin");
    std::fs::write(&outside, vec![7; LARGE_MIB << 20]).unwrap();
    let b3sum = run_b3sum(daemon.base(), b3sum, "\"$0\" --num-threads 1 large.bin");
    daemon.forget_events();
    let began = Instant::now();
    std::fs::rename(&outside, daemon.folder().join("large.bin")).unwrap();
    daemon.wait_processed("large.bin");
    report("one file of 1 GiB", began.elapsed(), b3sum);
}

/// Memory after two hundred jobs, beside that after the first hundred: the histories are full by then.
fn flat_memory() -> bool {
    let daemon = Daemon::new();
    let daemon = daemon
        .command("no", &["/bin/false"], &["*.bad"], 60)
        .start();
    for number in 0..200 {
        let ending = ["txt", "bad"][number % 2];
        daemon.write(&format!("{number}.{ending}"), number.to_string());
    }
    daemon.wait_idle();
    let after = |jobs: usize| {
        for number in 0..jobs {
            let action = ["process", "verify"][number % 2];
            let job = daemon.job(&json!({"action": action, "scope": "all"}));
            daemon.wait_job(&job);
        }
        anonymous_kib(&daemon)
    };
    let (before, then) = (after(100), after(100));
    let what = format!("memory that 100 jobs of 200 items leave, KiB (of {then:.0})");
    bound(&what, then - before, GROWTH_KIB)
}

fn anonymous_kib(daemon: &Daemon) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Finds `b3sum`, or builds it; once for all runs.
fn find_b3sum() -> PathBuf {
    let installed = Command::new("b3sum").arg("--version").output();
    if installed.is_ok_and(|output| output.status.success()) {
        return "b3sum".into();
    }
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("b3sum");
    let program = root.join("bin/b3sum");
    if !program.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["install", "--quiet", "--locked", "b3sum", "--root"])
            .arg(&root)
            .status();
        assert!(built.unwrap().success(), "b3sum cannot be built");
    }
    program
}

/// Runs a shell command twice, with the path of `b3sum` as `$0`, and returns the time of the second
/// run: all is in memory then.
fn run_b3sum(directory: &Path, b3sum: &Path, command: &str) -> Duration {
    let mut times = (0..2).map(|_| {
        let began = Instant::now();
        let mut shell = Command::new("sh");
        let shell = shell
            .args(["-c", command])
            .arg(b3sum)
            .current_dir(directory);
        assert!(shell.output().unwrap().status.success(), "{command}");
        began.elapsed()
    });
    times.next_back().unwrap()
}

/// Prints the times of both, and returns how often the one is the other.
fn report(what: &str, ours: Duration, b3sum: Duration) -> f64 {
    let (ours, theirs) = (took_ms(ours), took_ms(b3sum));
    println!(
        "{what}, ms: {ours:.0}, b3sum {theirs:.0}, ratio {:.2}",
        ours / theirs
    );
    ours / theirs
}

/// Prints what was measured beside its bound; tells whether it is kept.
fn bound(what: &str, measured: f64, bound: f64) -> bool {
    let kept = measured <= bound;
    let verdict = if kept { "kept" } else { "BROKEN" };
    println!("{what}: {measured:.2}, bound {bound}: {verdict}");
    kept
}

fn took_ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}
