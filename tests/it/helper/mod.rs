//! The language of the tests from outside: a [`Shelf`] is a library of temporary folders with the
//! built binary watching it.
//!
//! ```ignore
//! let shelf = Shelf::with(["comics/a/1.cbz", "comics/a/2.cbz"]).start();
//! let before = shelf.files().ids();
//! shelf.rename("comics/a", "comics/b");
//! shelf.eventually("both are below b", |files| files.all_below("comics/b"));
//! assert_eq!(shelf.files().ids(), before);
//! ```
//!
//! Only what is in here touches the API. Everything waits for a condition with a deadline, and what
//! fails shows what was waited for, the disk, the index, the events so far and the log.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]
#![allow(dead_code, reason = "each topic uses a part of the language")]

mod arrange;
pub mod disk;
mod faults;
mod files;
pub mod follower;
pub mod http;
pub mod mounts;
pub mod networks;
mod service;
mod shelf;
pub mod stream;

pub use arrange::Arrangement;
pub use files::Files;
pub use follower::Follower;
pub use shelf::Shelf;
pub use stream::Stream;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything that is waited for takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at again.
const INTERVAL: Duration = Duration::from_millis(10);

/// Waits until `condition` holds; tells whether it did before `patience` was over.
pub fn wait_until(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        pause(INTERVAL);
    }
}

/// Does nothing for a while, where a test is about time that passes.
pub fn pause(time: Duration) {
    let never = crossbeam_channel::never::<()>();
    never.recv_timeout(time).unwrap_or_default();
}

/// Runs a tool; panics with what it said if it fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?} failed: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Tells whether a tool is there; says that the test is skipped where it is not. Nothing is skipped
/// for that where `CI` is set: `.ci/run` installs all of them.
pub fn has_tool(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    let required = std::env::var_os("CI").is_some();
    assert!(found || !required, "{program} is missing: see .ci/run");
    found || skip(&format!("{program} is not installed"))
}

/// Tells whether the tests may do what only root may; says that the test is skipped otherwise.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root() || skip("needs root")
}

/// Says that a test is skipped, and why. Always false.
#[expect(clippy::print_stderr, reason = "the one way to say it")]
pub fn skip(reason: &str) -> bool {
    eprintln!("skipped: {reason}");
    false
}
