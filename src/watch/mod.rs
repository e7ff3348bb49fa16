//! **Watch**: tells which places in the library are worth a look, the moment they are.
//!
//! The kernel's notices are hints, the disk is the truth: what this module hands on is a
//! [`Change`], a reason to look, never a fact. The promise is that a change of a watched directory
//! made after [`Watch::add`] returned is followed by a `Change` that covers it, or by
//! [`Change::Lost`].
//!
//! Directories are named by the [`Place`] that the caller gave; paths are not known here, so a
//! directory that moves keeps its watch and its name.
//!
//! One thread (`watch`) does nothing but read: the kernel's queue of 16,384 notices is full after
//! about 100 ms of a busy copy (measured), and what is full is lost. What it reads is merged in a
//! bounded [`settle::Settle`], from which the owner takes when it has time.

mod inotify;
pub mod settle;
mod tree;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use self::inotify::Kernel;
use self::settle::Settle;
pub use self::settle::{Change, Told};
use self::tree::Watches;
use crate::thread;

/// Names a directory between the owner of the library and its watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(pub u32);

/// Why a directory cannot be watched.
#[derive(Debug)]
pub enum WatchError {
    /// The kernel gives this user no further watch.
    Limit {
        /// What the kernel gives this user, where it can be read.
        limit: Option<u64>,
    },
    /// The kernel gives this user no inotify descriptor.
    Unavailable(std::io::Error),
    /// The directory cannot be watched (gone, no permission, …).
    Refused(std::io::Error),
}

impl std::fmt::Display for WatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WatchError::Limit { limit: Some(limit) } => {
                write!(f, "the limit of {limit} inotify watches is used up")
            }
            WatchError::Limit { limit: None } => {
                write!(f, "the limit of inotify watches is used up")
            }
            WatchError::Unavailable(error) => write!(f, "inotify is not available: {error}"),
            WatchError::Refused(error) => write!(f, "the directory cannot be watched: {error}"),
        }
    }
}

impl std::error::Error for WatchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WatchError::Limit { .. } => None,
            WatchError::Unavailable(error) | WatchError::Refused(error) => Some(error),
        }
    }
}

/// Reads the kernel's limit of watches per user, `fs.inotify.max_user_watches`.
#[must_use]
pub fn kernel_limit() -> Option<u64> {
    sysctl("fs/inotify/max_user_watches")
}

/// Reads the limit that counts for this process: in a user namespace (a container without rights)
/// there may be a smaller one (namespaces(7), `/proc/sys/user`).
#[must_use]
pub fn limit_here() -> Option<u64> {
    let of_namespace = sysctl("user/max_inotify_watches");
    [kernel_limit(), of_namespace].into_iter().flatten().min()
}

fn sysctl(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    text.trim().parse().ok()
}

/// What the reading thread and the owner share. The lock is held for one batch of notices or one
/// system call, so that a watch is always known before its first notice is looked up.
#[derive(Debug)]
struct Shared {
    watches: Watches,
    settle: Settle,
}

/// The inotify descriptor, its watches, and the thread that reads it.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Mutex<Shared>>,
    /// Absent where the kernel gave no inotify descriptor: everything is polled then.
    kernel: Option<Kernel>,
    wake: Receiver<()>,
    stop: Arc<OwnedFd>,
    /// Dropped after `stop` was signalled by our `Drop`, so joining does not wait.
    thread: Option<thread::Handle>,
}

impl Watch {
    /// Opens inotify and starts the reading thread.
    ///
    /// Where the kernel has no inotify descriptor left (EMFILE: `fs.inotify.max_user_instances`),
    /// every [`add`](Watch::add) answers [`WatchError::Unavailable`]; that is not an error here,
    /// since the owner polls what is not watched.
    ///
    /// # Errors
    /// No thread or no eventfd could be made.
    pub fn start() -> std::io::Result<Watch> {
        let shared = Arc::new(Mutex::new(Shared {
            watches: Watches::default(),
            settle: Settle::default(),
        }));
        let stop = Arc::new(rustix::event::eventfd(
            0,
            rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK,
        )?);
        // A channel of one: a token means "there is something to take", and one is enough.
        let (waker, wake) = bounded(1);
        let (kernel, thread) = match Kernel::open() {
            Ok((kernel, reader)) => {
                let reading = Reading {
                    shared: Arc::clone(&shared),
                    stop: Arc::clone(&stop),
                    waker,
                };
                let thread = thread::spawn("watch", 128 * 1024, move || reading.run(reader))?;
                (Some(kernel), Some(thread))
            }
            Err(error) => {
                log::warn!("inotify is not available, everything is polled: {error}");
                (None, None)
            }
        };
        Ok(Watch {
            shared,
            kernel,
            wake,
            stop,
            thread,
        })
    }

    /// Returns the channel that has a token whenever [`take`](Watch::take) may give something.
    /// It is closed when the reading thread has ended, or never ran.
    #[must_use]
    pub fn wake(&self) -> &Receiver<()> {
        &self.wake
    }

    /// Tells whether notices are being read.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// Watches the directory open at `fd` under the name `place`; watching it again is harmless.
    ///
    /// Changes of the directory that happen after this returned are told. So: watch first, list then.
    /// Returns the place that has lost its watch, where the same directory was watched as another.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub fn add(&self, place: Place, fd: BorrowedFd<'_>) -> Result<Option<Place>, WatchError> {
        let Some(kernel) = &self.kernel else {
            let none = std::io::Error::from(std::io::ErrorKind::Unsupported);
            return Err(WatchError::Unavailable(none));
        };
        let mut shared = self.lock();
        let descriptor = kernel.add(fd)?;
        Ok(shared.watches.insert(place, descriptor))
    }

    /// Ends the watch of `place`; what was noticed there and not yet taken is forgotten.
    pub fn remove(&self, place: Place) {
        let mut shared = self.lock();
        shared.settle.forget(place);
        if let (Some(descriptor), Some(kernel)) = (shared.watches.remove(place), &self.kernel) {
            // The kernel may have ended the watch by itself, with the directory: nothing to do then.
            kernel.remove(descriptor);
        }
    }

    /// Tells whether `place` is watched.
    #[must_use]
    pub fn is_watched(&self, place: Place) -> bool {
        self.lock().watches.contains(place)
    }

    /// Takes up to about `limit` changes that are due, oldest first. Whoever was woken takes until
    /// nothing comes.
    #[must_use]
    pub fn take(&self, now: Instant, limit: usize) -> Vec<Change> {
        self.lock().settle.take(now, limit)
    }

    /// Returns when the next held change is due, if one is held.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.lock().settle.next_due()
    }

    /// Makes and removes a file in `directory`, which must be watched as [`BARRIER`], so that a
    /// [`Change::Barrier`] with `number` comes after every change that was made before this call.
    ///
    /// The kernel queues notices in the order of the calls that caused them, across file systems.
    ///
    /// # Errors
    /// The file cannot be made (disk full, read-only).
    pub fn barrier(&self, directory: &Path, number: u64) -> std::io::Result<()> {
        let path = directory.join(format!("barrier-{number}"));
        File::create(&path)?;
        std::fs::remove_file(&path)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place whose notices are barriers; see [`Watch::barrier`].
pub const BARRIER: Place = Place(u32::MAX);

impl Drop for Watch {
    fn drop(&mut self) {
        // The counter of an eventfd cannot be full after one write.
        if rustix::io::write(&*self.stop, &1u64.to_ne_bytes()).is_err() {
            debug_assert!(false, "an eventfd takes a write");
        }
    }
}

/// The reading thread.
struct Reading {
    shared: Arc<Mutex<Shared>>,
    stop: Arc<OwnedFd>,
    waker: Sender<()>,
}

impl Reading {
    fn run(self, mut reader: inotify::Reader) {
        let mut timeout = None;
        let mounts = open_mounts();
        loop {
            match self.wait(reader.as_fd(), mounts.as_ref(), timeout) {
                Ok(Waited::Stop) => return,
                Ok(Waited::Mounts) => {
                    let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
                    shared.settle.mounts_changed();
                    drop(shared);
                    timeout = self.announce();
                    continue;
                }
                Ok(Waited::Readable) => {}
                Ok(Waited::TimedOut) => {
                    timeout = self.announce();
                    continue;
                }
                Err(error) => {
                    log::error!("the watch ends, waiting failed: {error}");
                    return;
                }
            }
            let now = Instant::now();
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            let Shared { watches, settle } = &mut *shared;
            let read = reader.read(|notice| watches.resolve(notice, |at| settle.notice(at, now)));
            drop(shared);
            if let Err(error) = read {
                log::error!("the watch ends, reading inotify failed: {error}");
                return;
            }
            timeout = self.announce();
        }
    }

    /// Wakes the owner if something is due; returns how long until something held is.
    fn announce(&self) -> Option<Duration> {
        let now = Instant::now();
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (ready, due) = (shared.settle.is_due(now), shared.settle.next_due());
        drop(shared);
        if ready {
            match self.waker.try_send(()) {
                Ok(()) | Err(TrySendError::Full(())) => {}
                Err(TrySendError::Disconnected(())) => return None, // the owner is about to stop us
            }
        }
        due.map(|due| due.saturating_duration_since(now))
            // What is due is the owner's to take; without this the wait would spin until it has.
            .map(|left| left.max(Duration::from_millis(10)))
    }

    fn wait(
        &self,
        inotify: BorrowedFd<'_>,
        mounts: Option<&File>,
        timeout: Option<Duration>,
    ) -> std::io::Result<Waited> {
        use rustix::event::{PollFd, PollFlags, poll};
        let timeout = timeout.map(|left| rustix::time::Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let mut ready = [
            PollFd::from_borrowed_fd(inotify, PollFlags::IN),
            PollFd::from_borrowed_fd(self.stop.as_fd(), PollFlags::IN),
            // The third counts only where the table of mounts could be opened.
            PollFd::from_borrowed_fd(
                mounts.map_or(self.stop.as_fd(), AsFd::as_fd),
                PollFlags::PRI,
            ),
        ];
        match poll(&mut ready, timeout.as_ref()) {
            Ok(0) => Ok(Waited::TimedOut),
            Ok(_) if !ready[1].revents().is_empty() => Ok(Waited::Stop),
            // The kernel says so once a change (proc(5)), so nothing is read.
            Ok(_) if !ready[2].revents().is_empty() => Ok(Waited::Mounts),
            Ok(_) => Ok(Waited::Readable),
            Err(rustix::io::Errno::INTR) => Ok(Waited::TimedOut),
            Err(error) => Err(error.into()),
        }
    }
}

/// Opens the table of mounts, which can be waited for.
fn open_mounts() -> Option<File> {
    match File::open("/proc/self/mountinfo") {
        Ok(file) => Some(file),
        Err(error) => {
            log::warn!("mounting and unmounting is noticed late, /proc/self/mountinfo: {error}");
            None
        }
    }
}

enum Waited {
    Readable,
    Mounts,
    TimedOut,
    Stop,
}
