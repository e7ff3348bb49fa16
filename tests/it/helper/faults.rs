//! Making system calls of the service fail.

use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, wait_until};

/// System calls of one thread fail while this lives.
#[derive(Debug)]
pub struct Injection {
    strace: Child,
}

impl Injection {
    /// Makes calls of the thread of `pid` that is called `name` fail: `statx:error=EIO`.
    pub(super) fn start(pid: i32, name: &str, fault: &str) -> Injection {
        let thread = thread_called(pid, name);
        let inject = format!("inject={fault}");
        let strace = Command::new("strace")
            .args(["-qq", "-o", "/dev/null", "-e", &inject, "-p", &thread])
            .spawn()
            .unwrap();
        let is_traced = || {
            let status = std::fs::read_to_string(format!("/proc/{thread}/status"));
            status.is_ok_and(|status| !status.contains("TracerPid:\t0\n"))
        };
        assert!(wait_until(PATIENCE, is_traced), "strace cannot attach");
        Injection { strace }
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.strace), Signal::TERM).unwrap_or_default();
        self.strace.wait().unwrap();
    }
}

fn thread_called(pid: i32, name: &str) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut threads = tasks.map(|task| task.unwrap().path());
    let found = threads.find(|thread| {
        std::fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    });
    found
        .unwrap()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}
