//! **Complete**: an entry whose writer has gone, so that it may be processed.
//!
//! The promise: nothing is processed while somebody can still write to it, and nothing waits longer
//! than it must. The kernel knows: a read lease (fcntl(2), F_SETLEASE) is refused while anybody has
//! the file open for writing, also through a mapping. Where leases do not work (files of others
//! without CAP_LEASE, network file systems) time has to tell.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// How long size and mtime must stand still where a close was not seen (contract section 5).
pub(crate) const STILL: Duration = Duration::from_secs(2);

/// A file untouched for so long by the clock of its file system need not be observed even where no
/// lease can be had. Far more than clocks of two machines on one LAN usually differ; a guess.
const LONG_AGO: Duration = Duration::from_secs(60);

/// First wait before asking the kernel again about a file that is open; doubles up to [`STILL`].
/// The close is told by the watch, so this is for what it does not tell (O_TMPFILE with linkat, a
/// close without a write).
const FIRST_PROBE: Duration = Duration::from_millis(50);

/// What the kernel says of the writers of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    /// Nobody has it open for writing.
    None,
    /// Somebody has.
    Some,
    /// It cannot be told.
    Unknown,
}

/// What is known of a file that shall be processed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence {
    pub(crate) writers: Writers,
    /// A close was seen, or it was moved in, and nothing was written since.
    pub(crate) finished: bool,
    /// Time since its content was written, by its mtime; none for a time in the future.
    pub(crate) unmodified: Option<Duration>,
    /// The same by its change time, which cannot be set.
    pub(crate) unchanged: Option<Duration>,
    /// How long we ourselves have seen size and mtime stand still.
    pub(crate) still: Option<Duration>,
}

/// Whether a file may be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Yes.
    Complete,
    /// Not while a writer has it open.
    OpenForWriting,
    /// Not before it has stood still for so much longer.
    Settling(Duration),
}

/// Judges whether a file may be processed.
pub(crate) fn judge(evidence: &Evidence) -> Verdict {
    let Evidence {
        writers,
        finished,
        unmodified,
        unchanged,
        still,
    } = *evidence;
    let old = |age: Option<Duration>, least| age.is_some_and(|age| age >= least);
    let complete = match writers {
        Writers::Some => return Verdict::OpenForWriting,
        Writers::None => finished || old(unmodified, STILL),
        Writers::Unknown => old(unmodified, LONG_AGO) && old(unchanged, LONG_AGO),
    };
    if complete || old(still, STILL) {
        Verdict::Complete
    } else {
        Verdict::Settling(STILL.saturating_sub(still.unwrap_or_default()))
    }
}

/// Returns when to ask again about a file that was found open `times` times in a row.
pub(crate) fn next_probe(times: u32) -> Duration {
    FIRST_PROBE.saturating_mul(1 << times.min(10)).min(STILL)
}

/// Asks the kernel who writes to the open file.
pub(crate) fn writers(fd: BorrowedFd<'_>) -> Writers {
    let lease = Lease::take(fd).map(drop);
    match lease {
        // On a network file system a lease says nothing of writers on other machines, and is
        // refused for reasons of its own.
        _ if is_remote(fd) => Writers::Unknown,
        Ok(()) => Writers::None,
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Writers::Some,
        Err(_) => Writers::Unknown,
    }
}

/// fcntl(2); the `libc` crate lacks it for most machines. The same on all that we are built for.
const F_SETSIG: libc::c_int = 10;

/// A read lease; given back when dropped. While it is held, whoever opens the file for writing
/// waits for us, so it must be given back soon.
#[derive(Debug)]
pub(crate) struct Lease<'fd> {
    fd: BorrowedFd<'fd>,
}

impl<'fd> Lease<'fd> {
    /// Takes a lease.
    ///
    /// # Errors
    /// EAGAIN: somebody has the file open for writing. EACCES: it belongs to another user and we
    /// lack CAP_LEASE. EINVAL: the file system has no leases.
    pub(crate) fn take(fd: BorrowedFd<'fd>) -> std::io::Result<Lease<'fd>> {
        // A writer that comes while we hold the lease makes the kernel signal us: by default with
        // SIGIO, which would end the process. SIGURG is ignored by default (signal(7)).
        fcntl(fd, F_SETSIG, libc::SIGURG)?;
        fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK)?;
        Ok(Lease { fd })
    }

    /// Tells whether a writer waits for the lease to be given back.
    pub(crate) fn is_wanted(&self) -> bool {
        !matches!(fcntl(self.fd, libc::F_GETLEASE, 0), Ok(libc::F_RDLCK))
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Err(error) = fcntl(self.fd, libc::F_SETLEASE, libc::F_UNLCK) {
            // The kernel takes it away by itself when the descriptor is closed.
            log::debug!("a lease could not be given back: {error}");
        }
    }
}

fn fcntl(fd: BorrowedFd<'_>, command: libc::c_int, argument: libc::c_int) -> std::io::Result<i32> {
    // SAFETY: these commands take an int and touch no memory; the descriptor is borrowed and open.
    let answer = unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) };
    if answer == -1 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(answer)
}

fn is_remote(fd: BorrowedFd<'_>) -> bool {
    // Numbers of linux/magic.h: nfs, smb, cifs, smb2, 9p, ceph, afs. Not FUSE: what is most often
    // behind it on such a box (ntfs-3g, mergerfs) has no writers but ours.
    const REMOTE: [i128; 7] = [
        0x6969,
        0x517B,
        0xFF53_4D42,
        0xFE53_4D42,
        0x0102_1997,
        0x00C3_6400,
        0x5346_414F,
    ];
    super::file::is_on_one_of(fd, &REMOTE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    fn evidence(writers: Writers) -> Evidence {
        Evidence {
            writers,
            finished: false,
            unmodified: None,
            unchanged: None,
            still: None,
        }
    }

    #[test]
    fn a_closed_file_without_writers_is_complete_at_once() {
        let closed = Evidence {
            finished: true,
            ..evidence(Writers::None)
        };
        assert_eq!(judge(&closed), Verdict::Complete);
        let reopened = Evidence {
            finished: true,
            ..evidence(Writers::Some)
        };
        assert_eq!(judge(&reopened), Verdict::OpenForWriting);
    }

    #[test]
    fn what_the_kernel_does_not_tell_must_stand_still() {
        let unseen = evidence(Writers::None);
        assert_eq!(judge(&unseen), Verdict::Settling(STILL));
        let closed = Evidence {
            finished: true,
            ..evidence(Writers::Unknown)
        };
        assert_eq!(judge(&closed), Verdict::Settling(STILL));
        let half = Duration::from_millis(500);
        let observed = Evidence {
            still: Some(half),
            ..evidence(Writers::Unknown)
        };
        assert_eq!(judge(&observed), Verdict::Settling(STILL - half));
        let observed = Evidence {
            still: Some(STILL),
            ..evidence(Writers::Unknown)
        };
        assert_eq!(judge(&observed), Verdict::Complete);
    }

    #[test]
    fn an_old_file_is_not_observed_but_a_set_mtime_alone_proves_nothing() {
        let old = Some(Duration::from_secs(3600));
        let crawled = Evidence {
            unmodified: old,
            ..evidence(Writers::None)
        };
        assert_eq!(judge(&crawled), Verdict::Complete);
        let dated_back = Evidence {
            unmodified: old,
            ..evidence(Writers::Unknown)
        };
        assert_eq!(judge(&dated_back), Verdict::Settling(STILL));
        let old = Evidence {
            unmodified: old,
            unchanged: old,
            ..evidence(Writers::Unknown)
        };
        assert_eq!(judge(&old), Verdict::Complete);
    }

    proptest! {
        #[test]
        fn an_open_file_is_never_complete(
            finished: bool, ages in prop::array::uniform3(prop::option::of(0u64..1_000_000)),
        ) {
            let [unmodified, unchanged, still] = ages.map(|age| age.map(Duration::from_millis));
            let evidence = Evidence { writers: Writers::Some, finished, unmodified, unchanged, still };
            prop_assert_eq!(judge(&evidence), Verdict::OpenForWriting);
        }

        #[test]
        fn whoever_stands_still_becomes_complete(
            finished: bool, known: bool, ages in prop::array::uniform2(prop::option::of(0u64..9_000)),
        ) {
            let [unmodified, unchanged] = ages.map(|age| age.map(Duration::from_millis));
            let writers = if known { Writers::None } else { Writers::Unknown };
            let mut evidence = Evidence { writers, finished, unmodified, unchanged, still: None };
            if let Verdict::Settling(wait) = judge(&evidence) {
                evidence.still = Some(wait);
                prop_assert_eq!(judge(&evidence), Verdict::Complete);
            }
        }
    }

    #[test]
    fn probes_become_rarer_but_never_rare() {
        assert_eq!(next_probe(0), FIRST_PROBE);
        assert_eq!(next_probe(1), FIRST_PROBE * 2);
        assert_eq!(next_probe(99), STILL);
    }

    #[test]
    fn the_kernel_tells_of_writers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        assert_ne!(writers(reader.as_fd()), Writers::None);
        drop(writer);
        let after = writers(reader.as_fd());
        assert_ne!(after, Writers::Some);
        if after == Writers::None {
            // With leases, asking leaves none behind: a writer gets in at once.
            let again = File::options().append(true).open(&path).unwrap();
            assert_eq!(writers(reader.as_fd()), Writers::Some);
            drop(again);
        }
    }

    #[test]
    fn a_writer_that_comes_while_we_ask_does_not_end_us() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        drop(File::create(&path).unwrap());
        let reader = File::open(&path).unwrap();
        let Ok(lease) = Lease::take(reader.as_fd()) else {
            return; // no leases here
        };
        assert!(!lease.is_wanted());
        // Without O_NONBLOCK this would wait for us; the wish is noted all the same.
        use std::os::unix::fs::OpenOptionsExt;
        let refused = File::options()
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path);
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EWOULDBLOCK));
        assert!(lease.is_wanted());
        drop(lease);
        File::options().write(true).open(&path).unwrap();
    }
}
