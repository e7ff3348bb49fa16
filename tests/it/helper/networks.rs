//! Networks that nobody but a test and its service has: a box, and what is at the other end of
//! its cable.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use super::{has_tool, is_root, run, skip};

/// The other end of the cable `lan` of the box, itself called `wire`.
#[derive(Debug)]
pub struct Outside(File);

impl Outside {
    /// Runs `ask` with that end's network.
    pub fn run<T: Send>(&self, ask: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(self.0.as_fd(), network).expect("it may be entered");
                ask()
            });
            asked
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `ip` at that end.
    pub fn ip(&self, words: &str) {
        self.run(|| ip(words));
    }
}

/// Runs `ip`, split at its spaces.
pub fn ip(words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    run("ip", &words);
}

/// Runs `test` on a thread in a network with nothing but `lo` and a cable to `Outside`, both ends
/// without addresses; skips it where that is not allowed. All of it is gone with the thread.
pub fn in_private_network(test: impl FnOnce(&Outside) + Send + 'static) {
    if !is_root() || !has_tool("ip") {
        return;
    }
    let thread = std::thread::Builder::new().spawn(move || {
        let made = std::thread::scope(|scope| scope.spawn(own_network).join());
        let Some(outside) = made.expect("it does not panic").map(Outside) else {
            return;
        };
        if own_network().is_none() {
            return;
        }
        let there = format!("/proc/{}/fd/{}", std::process::id(), outside.0.as_raw_fd());
        ip(&format!(
            "link add lan type veth peer name wire netns {there}"
        ));
        ip("link set lo up");
        ip("link set lan addrgenmode none up");
        outside.ip("link set lo up");
        outside.ip("link set wire addrgenmode none up");
        test(&outside);
    });
    if let Err(panic) = thread.expect("a thread can be made").join() {
        std::panic::resume_unwind(panic);
    }
}

/// Moves this thread into a new network.
fn own_network() -> Option<File> {
    // SAFETY: nothing but the view of the network changes, for this thread alone; descriptors and
    // memory stay shared.
    #[expect(unsafe_code, reason = "unshare(2) may do worse with other flags")]
    let unshared = unsafe { unshare_unsafe(UnshareFlags::NEWNET) };
    if unshared.is_err() {
        skip("no network of one's own is allowed here");
        return None;
    }
    Some(File::open("/proc/thread-self/ns/net").expect("/proc is there"))
}
