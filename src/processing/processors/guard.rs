//! A **guard** over a file while a command works on it: tells the command's own edits, which must
//! not trigger it again, from those of somebody else, which must.
//!
//! It holds a read lease on the file. Whoever opens the file for writing is held back by the kernel
//! until the guard, asked every 20 ms, has seen whether that is a process of the command (one of
//! its group hangs in an opening system call) or a stranger. Where leases do not work or /proc does
//! not tell, an edit counts as the command's own.

use std::fs;
use std::os::fd::BorrowedFd;

use rustix::process::Pid;

use crate::processing::complete::Lease;

/// A command may find itself held back so many times, 20 ms each; then it is left alone.
const MOST_LEASES: u32 = 4;

/// Watches over who opens a file for writing.
#[derive(Debug)]
pub(crate) struct Guard<'fd> {
    fd: BorrowedFd<'fd>,
    lease: Option<Lease<'fd>>,
    leases: u32,
    stranger: bool,
}

impl<'fd> Guard<'fd> {
    /// Begins to watch, where that is possible.
    pub(crate) fn over(fd: BorrowedFd<'fd>) -> Guard<'fd> {
        let mut guard = Guard {
            fd,
            lease: None,
            leases: 0,
            stranger: false,
        };
        guard.take_lease();
        guard
    }

    /// Looks whether somebody wants to write, and lets them. `group` is that of the command.
    pub(crate) fn look(&mut self, group: Pid) {
        match &self.lease {
            Some(lease) if lease.is_wanted() => {
                self.stranger |= is_anybody_opening(group) == Some(false);
                self.lease = None;
            }
            Some(_) => {}
            // Refused while the writer is still there.
            None => self.take_lease(),
        }
    }

    /// Tells whether a stranger would have been seen from the beginning to now.
    pub(crate) fn works(&self) -> bool {
        (1..MOST_LEASES).contains(&self.leases)
    }

    /// Ends the watch; tells whether somebody else opened the file for writing.
    pub(crate) fn saw_stranger(self) -> bool {
        let is_wanted = self.lease.as_ref().is_some_and(Lease::is_wanted);
        self.stranger || is_wanted // the command has ended, so it cannot be the one that waits
    }

    fn take_lease(&mut self) {
        if self.leases < MOST_LEASES && !self.stranger {
            match Lease::take(self.fd) {
                Ok(lease) => {
                    self.lease = Some(lease);
                    self.leases += 1;
                }
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
                Err(_) => self.leases = MOST_LEASES, // no leases here
            }
        }
    }
}

/// Returns how many bytes the process and those that it waited for have written, pipes included;
/// also of one that has ended and was not yet waited for (proc_pid_io(5)).
pub(crate) fn written_bytes(process: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/io", process.as_raw_nonzero())).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: "))?;
    line.parse().ok()
}

/// Tells whether a process of the group hangs in a system call that opens a file; none if it
/// cannot be told.
fn is_anybody_opening(group: Pid) -> Option<bool> {
    let mut told = false;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else {
            continue;
        };
        let Ok(stat) = fs::read(format!("/proc/{process}/stat")) else {
            continue;
        };
        if group_of(&stat) != Some(group.as_raw_nonzero().get()) {
            continue;
        }
        for task in fs::read_dir(format!("/proc/{process}/task"))
            .ok()?
            .flatten()
        {
            let Ok(call) = fs::read_to_string(task.path().join("syscall")) else {
                continue;
            };
            told = true;
            if is_opening(&call) {
                return Some(true);
            }
        }
    }
    told.then_some(false)
}

/// Reads the process group from /proc/PID/stat, whose second field can hold anything.
fn group_of(stat: &[u8]) -> Option<i32> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(after_name + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(2)?.parse().ok()
}

/// Reads /proc/PID/task/TID/syscall: the number of the system call that is being waited in.
fn is_opening(call: &str) -> bool {
    let number = call
        .split_ascii_whitespace()
        .next()
        .and_then(|word| word.parse().ok());
    number.is_some_and(|number: libc::c_long| OPENING.contains(&number))
}

#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
const OPENING: [libc::c_long; 3] = [libc::SYS_openat, libc::SYS_openat2, libc::SYS_truncate];
#[cfg(not(any(target_arch = "aarch64", target_arch = "riscv64")))]
const OPENING: [libc::c_long; 5] = [
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_truncate,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_read_whatever_the_process_is_called() {
        assert_eq!(group_of(b"12 (a) b (c)) S 1 34 5 0"), Some(34));
        assert_eq!(group_of(b"12 (a"), None);
        assert_eq!(group_of(b""), None);
    }

    #[test]
    fn opening_calls_are_known_by_their_number() {
        assert!(is_opening(&format!(
            "{} 0xffffff9c 0x7f 0x1\n",
            libc::SYS_openat
        )));
        assert!(!is_opening(&format!("{} 0x1\n", libc::SYS_read)));
        assert!(!is_opening("running\n"));
        assert!(!is_opening(""));
    }
}
