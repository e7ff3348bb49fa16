//! **Orphans**: what commands leave running, wherever it went.
//!
//! A signal to the process group of a command misses whatever left it (`setsid`, a daemon), and that
//! would go on with a file that somebody else, or the next attempt, works on. So a program whose
//! children are all commands becomes their subreaper (prctl(2)): what loses its parent becomes our
//! own child, where it can be found, ended and waited for. Whose it is says a mark in its
//! environment, which is passed on to all that a command starts. A cgroup would do the same, but
//! needs delegation by systemd, and there is not always a systemd.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

/// The variable with the mark of a run: the directory that it works in.
pub(crate) const MARK: &str = "SHELFCAST_RUN";

/// Who was sent KILL is gone after so long, or hangs in the kernel.
const AFTER_KILL: Duration = Duration::from_millis(500);
/// How often it is looked whether it is gone.
const TICK: Duration = Duration::from_millis(2);

/// Makes the calling process the parent of whatever its processors leave behind. To be called
/// before they are started, and only where every child of the process is one of theirs.
///
/// # Errors
/// As prctl(2): there is none on Linux, but user-mode emulators do not know it. Processors work all the
/// same, and what one of them leaves running outside of its process group goes on.
pub fn adopt_orphans() -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// The children of this process, where it has adopted its orphans; does nothing where it has not.
#[derive(Debug)]
pub(crate) struct Orphans {
    adopted: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// First processes of commands: whoever started one waits for it.
    own: HashSet<Pid>,
    /// Commands that are being started, and whose first process is not known yet. That can take long
    /// where the program is on a disk that does not answer, so nobody waits for it.
    starting: usize,
    /// Those that survived KILL: they hang in the kernel, and nobody waits for them again.
    stuck: HashSet<Pid>,
}

impl Orphans {
    pub(crate) fn new() -> Orphans {
        Orphans {
            adopted: matches!(rustix::process::child_subreaper(), Ok(Some(_))),
            state: Mutex::default(),
        }
    }

    /// Starts a command, and notes that its first process is no orphan.
    pub(crate) fn start(&self, start: impl FnOnce() -> io::Result<Child>) -> io::Result<Child> {
        self.lock().starting += 1;
        let started = start();
        let mut state = self.lock();
        state.starting -= 1;
        state.own.extend(started.as_ref().map(Pid::from_child));
        started
    }

    /// Ends what a command left running; its first process has been waited for, or given up.
    pub(crate) fn end(&self, process: Pid, mark: &Path) {
        let began = Instant::now();
        self.lock().own.remove(&process);
        if !self.adopted {
            return;
        }
        loop {
            let left = self.end_some(mark);
            if left.is_empty() {
                return;
            }
            if began.elapsed() > AFTER_KILL {
                log::warn!("what a command left running does not end pids={left:?}");
                self.lock().stuck.extend(left);
                return;
            }
            // Nothing tells when all have ended, and it is a matter of microseconds.
            wait(&mut []);
        }
    }

    /// Waits for those that have ended.
    pub(crate) fn reap(&self) {
        if self.adopted {
            let mut state = self.lock();
            for child in state.orphans() {
                if reap(child) {
                    state.stuck.remove(&child);
                }
            }
        }
    }

    /// Tells whether some are left that should have ended.
    pub(crate) fn are_stuck(&self) -> bool {
        !self.lock().stuck.is_empty()
    }

    /// Sends KILL to the orphans with this mark; returns those that there were.
    fn end_some(&self, mark: &Path) -> Vec<Pid> {
        let mut state = self.lock();
        let mut left = Vec::new();
        for child in state.orphans() {
            if reap(child) {
                state.stuck.remove(&child);
                continue;
            }
            // Without a mark it has cleared its environment. Where no other command runs, it can be
            // nobody else's all the same.
            let is_its = match mark_of(child) {
                Some(found) => found == mark.as_os_str().as_bytes(),
                None => state.own.is_empty() && state.starting == 0,
            };
            // A child of ours, so its number is not given again before we have waited for it.
            let is_new = is_its && !state.stuck.contains(&child);
            if is_new && rustix::process::kill_process(child, Signal::KILL).is_ok() {
                left.push(child);
            }
        }
        left
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn orphans(&self) -> Vec<Pid> {
        let whose = if self.starting == 0 {
            Children::All
        } else {
            Children::Adopted
        };
        let mut children = children(whose);
        children.retain(|child| !self.own.contains(child));
        children
    }
}

/// Ends what a service that was killed left running: all with a mark below `scratch`.
pub(crate) fn end_strays(scratch: &Path) {
    let is_stray = |process: Pid| {
        let mark = mark_of(process).unwrap_or_default();
        Path::new(std::ffi::OsStr::from_bytes(&mark)).starts_with(scratch)
    };
    let mut ended: Vec<OwnedFd> = Vec::new();
    for process in processes().filter(|process| is_stray(*process)) {
        // The descriptor stays with the process even if its number is given to another.
        let Ok(stray) = rustix::process::pidfd_open(process, PidfdFlags::empty()) else {
            continue;
        };
        if is_stray(process) && rustix::process::pidfd_send_signal(&stray, Signal::KILL).is_ok() {
            log::info!(
                "ended what was left running pid={}",
                process.as_raw_nonzero()
            );
            ended.push(stray);
        }
    }
    let began = Instant::now();
    while !ended.is_empty() && began.elapsed() < AFTER_KILL {
        let mut polled: Vec<_> = ended
            .iter()
            .map(|fd| PollFd::from_borrowed_fd(std::os::fd::AsFd::as_fd(fd), PollFlags::IN))
            .collect();
        wait(&mut polled);
        let gone: Vec<_> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut gone = gone.into_iter();
        ended.retain(|_| !gone.next().unwrap_or(false));
    }
}

fn wait(polled: &mut [PollFd<'_>]) {
    let tick = Timespec::try_from(TICK).unwrap_or_default();
    // An interrupted wait is a short one.
    rustix::event::poll(polled, Some(&tick)).unwrap_or(0);
}

/// Waits for a child that has ended; tells whether it is gone.
fn reap(child: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    !matches!(
        rustix::process::waitid(WaitId::Pid(child), options),
        Ok(None)
    )
}

/// Which children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Children {
    All,
    /// Those that had another parent before: the kernel gives them to the first thread, and that
    /// starts none itself.
    Adopted,
}

/// Returns children of this process, those that have ended and were not waited for included.
fn children(whose: Children) -> Vec<Pid> {
    let own = rustix::process::getpid();
    let mut found = Vec::new();
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    for task in tasks.flatten() {
        if whose == Children::Adopted && task.file_name().to_str().and_then(pid) != Some(own) {
            continue;
        }
        match fs::read_to_string(task.path().join("children")) {
            Ok(text) => found.extend(text.split_ascii_whitespace().filter_map(pid)),
            // A kernel without CONFIG_PROC_CHILDREN.
            Err(error) if error.kind() == io::ErrorKind::NotFound && task.path().exists() => {
                if whose == Children::Adopted {
                    return Vec::new(); // it cannot be told who started them
                }
                return processes()
                    .filter(|process| parent_of(*process) == Some(own))
                    .collect();
            }
            Err(_) => {} // the thread has ended, and its children are another's
        }
    }
    found
}

fn processes() -> impl Iterator<Item = Pid> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| pid(entry.file_name().to_str()?))
}

fn pid(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

/// Reads the parent from /proc/PID/stat, whose second field can hold anything.
fn parent_of(process: Pid) -> Option<Pid> {
    let stat = fs::read(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(after_name + 1..)?).ok()?;
    pid(rest.split_ascii_whitespace().nth(1)?)
}

/// Returns the mark in the environment that a process was started with.
fn mark_of(process: Pid) -> Option<Vec<u8>> {
    let environment = fs::read(format!("/proc/{}/environ", process.as_raw_nonzero())).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    variables.find_map(|variable| {
        let value = variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")?;
        Some(value.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_is_found_with_its_parent_and_its_mark() {
        let mut command = Command::new("/bin/sleep");
        let command = command.arg("1000").env(MARK, "/a b/0");
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let process = Pid::from_child(&child);
        assert!(children(Children::All).contains(&process));
        assert!(!children(Children::Adopted).contains(&process));
        assert!(processes().any(|other| other == process));
        assert_eq!(parent_of(process), Some(rustix::process::getpid()));
        // There is no environment for a moment while the program takes the place of ours.
        let marks = std::iter::repeat_with(|| mark_of(process));
        let mark = marks.take(100_000).flatten().next();
        assert_eq!(mark.as_deref(), Some(&b"/a b/0"[..]));
        assert_eq!(mark_of(rustix::process::getpid()), None);
        end_strays(Path::new("/a"));
        assert_eq!(
            child.try_wait().unwrap(),
            None,
            "the mark of another directory"
        );
        end_strays(Path::new("/a b"));
        assert!(child.try_wait().unwrap().is_some());
    }
}
