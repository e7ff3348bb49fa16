//! A **guard** over a file while a command works on it: tells the command's own edits, which must
//! not trigger it again, from those of somebody else, which must.
//!
//! It holds a read lease on the file. Whoever opens the file for writing is held back by the kernel
//! until the guard, asked every 20 ms, has seen whether that is a process of the command or a
//! stranger. Where leases do not work or /proc/locks does not tell, an edit counts as the command's
//! own.

use std::fs;
use std::os::fd::BorrowedFd;

use rustix::process::Pid;

use crate::processing::complete::Lease;
use crate::processing::file;

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
                self.stranger |= self.waiting().iter().any(|process| !is_of(*process, group));
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

    /// Ends the watch; tells whether somebody else opened the file for writing. The command has
    /// ended, so it cannot be the one that waits.
    pub(crate) fn saw_stranger(self) -> bool {
        let is_wanted = self.lease.as_ref().is_some_and(Lease::is_wanted);
        self.stranger || is_wanted && !self.waiting().is_empty()
    }

    /// Returns the processes that wait for the lease. There may be none though it is wanted: an
    /// opening that does not wait (O_NONBLOCK, as touch(1) does it) has failed by then.
    fn waiting(&self) -> Vec<Option<Pid>> {
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        let ino = file::look(self.fd).map_or(0, |look| look.ino);
        waiting_in(&locks, rustix::process::getpid(), ino)
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

/// Tells whether a process is of the command. One of another container has no number here, and is
/// not.
fn is_of(process: Option<Pid>, group: Pid) -> bool {
    process.is_some_and(|process| rustix::process::getpgid(Some(process)).ok() == Some(group))
}

/// Reads proc_locks(5): the processes that wait for a lease of `owner` on the file with this inode
/// number. They follow its line, with an arrow.
fn waiting_in(locks: &str, owner: Pid, ino: u64) -> Vec<Option<Pid>> {
    let owner = owner.as_raw_nonzero().to_string();
    let end = format!(":{ino}");
    let (mut found, mut is_ours) = (Vec::new(), false);
    for line in locks.lines() {
        // 59: LEASE  BREAKING  UNLCK 18807 fe:00:10578401 0 EOF
        // 59: -> LEASE  BREAKER   WRITE 18868 <none>:0 0 EOF
        let words: Vec<_> = line.split_ascii_whitespace().skip(1).collect();
        match words[..] {
            ["->", _, _, _, process, ..] if is_ours => {
                found.push(process.parse().ok().and_then(Pid::from_raw));
            }
            ["->", ..] => {}
            ["LEASE", _, _, process, file, ..] => {
                is_ours = process == owner && file.ends_with(&end);
            }
            _ => is_ours = false,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_wait_for_our_lease_are_known() {
        let locks = "\
            1: POSIX  ADVISORY  WRITE 7 fe:00:20 0 EOF\n\
            1: -> POSIX  ADVISORY  WRITE 8 fe:00:20 0 EOF\n\
            2: LEASE  BREAKING  UNLCK 7 fe:00:20 0 EOF\n\
            2: -> LEASE  BREAKER   WRITE 9 <none>:0 0 EOF\n\
            2: -> LEASE  BREAKER   WRITE 0 <none>:0 0 EOF\n\
            3: LEASE  BREAKING  UNLCK 7 fe:00:120 0 EOF\n\
            3: -> LEASE  BREAKER   WRITE 10 <none>:0 0 EOF\n\
            4: LEASE  ACTIVE    READ 6 fe:00:20 0 EOF\n\
            5\n\n";
        let pid = Pid::from_raw;
        let waiting = |ino| waiting_in(locks, pid(7).unwrap(), ino);
        assert_eq!(waiting(20), [pid(9), None]);
        assert_eq!(waiting(120), [pid(10)]);
        assert_eq!(waiting(21), []);
        assert_eq!(waiting_in("", pid(7).unwrap(), 20), []);
    }
}
