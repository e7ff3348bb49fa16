//! The kernel interface: add, remove, read and decode. inotify(7).

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};

use super::{WatchError, limit_here};

/// Room for about 1,000 notices with short names in one read; smaller reads cost more calls, larger
/// ones gained nothing (measured).
const BUFFER_BYTES: usize = 64 * 1024;

/// Adds and removes watches.
#[derive(Debug)]
pub(super) struct Kernel {
    watches: Watches,
}

/// Reads notices.
#[derive(Debug)]
pub(super) struct Reader {
    inotify: Inotify,
    buffer: Vec<u8>,
}

/// One notice of the kernel. `name` is empty where it is about the watched directory itself.
#[derive(Debug)]
pub(super) struct Notice<'a> {
    pub(super) descriptor: WatchDescriptor,
    pub(super) what: What,
    pub(super) directory: bool,
    pub(super) cookie: u32,
    pub(super) name: &'a [u8],
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A name was made (file not yet written, directory, link).
    Created,
    /// A name is gone.
    Deleted,
    /// Content changed; the writer goes on.
    Modified,
    /// A writer closed the file.
    Closed,
    /// Mode, owner, times or link count changed.
    Attributes,
    /// The name was moved away.
    MovedFrom,
    /// The name was moved here.
    MovedTo,
    /// The watched directory itself was moved, deleted or unmounted.
    Itself,
    /// The watch has ended.
    Ended,
    /// The kernel's queue was full, notices are lost.
    Overflow,
}

impl Kernel {
    pub(super) fn open() -> std::io::Result<(Kernel, Reader)> {
        let inotify = Inotify::init()?;
        let kernel = Kernel {
            watches: inotify.watches(),
        };
        let reader = Reader {
            inotify,
            buffer: vec![0; BUFFER_BYTES],
        };
        Ok((kernel, reader))
    }

    /// Watches the directory open at `fd`.
    ///
    /// By way of /proc/self/fd, so that neither the length of the path nor a directory swapped under
    /// it matters. With `MASK_ADD`, since adding a watch again without it loses notices for a
    /// moment, without any overflow (kernel: `inotify_update_existing_watch`; measured).
    pub(super) fn add(&self, fd: BorrowedFd<'_>) -> Result<WatchDescriptor, WatchError> {
        let mask = WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MODIFY
            | WatchMask::CLOSE_WRITE
            | WatchMask::ATTRIB
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR
            | WatchMask::EXCL_UNLINK
            | WatchMask::MASK_ADD;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        self.watches.clone().add(path, mask).map_err(
            |error| match rustix::io::Errno::from_io_error(&error) {
                Some(rustix::io::Errno::NOSPC) => WatchError::Limit {
                    limit: limit_here(),
                },
                _ => WatchError::Refused(error),
            },
        )
    }

    /// Ends a watch; that it has ended already (EINVAL) is as good.
    pub(super) fn remove(&self, descriptor: WatchDescriptor) {
        if let Err(error) = self.watches.clone().remove(descriptor) {
            log::trace!("the watch had ended: {error}");
        }
    }
}

impl Reader {
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Reads once and hands each notice to `take`.
    pub(super) fn read(&mut self, mut take: impl FnMut(Notice<'_>)) -> std::io::Result<()> {
        let events = match self.inotify.read_events(&mut self.buffer) {
            Ok(events) => events,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        };
        for event in events {
            log::trace!("notice {:?} {:?} {:?}", event.wd, event.mask, event.name);
            if let Some(what) = decode(event.mask) {
                take(Notice {
                    descriptor: event.wd,
                    what,
                    directory: event.mask.contains(EventMask::ISDIR),
                    cookie: event.cookie,
                    name: event.name.map_or(&[], OsStr::as_bytes),
                });
            }
        }
        Ok(())
    }
}

fn decode(mask: EventMask) -> Option<What> {
    const TABLE: [(EventMask, What); 12] = [
        (EventMask::Q_OVERFLOW, What::Overflow),
        (EventMask::IGNORED, What::Ended),
        (EventMask::UNMOUNT, What::Itself),
        (EventMask::DELETE_SELF, What::Itself),
        (EventMask::MOVE_SELF, What::Itself),
        (EventMask::MOVED_FROM, What::MovedFrom),
        (EventMask::MOVED_TO, What::MovedTo),
        (EventMask::CREATE, What::Created),
        (EventMask::DELETE, What::Deleted),
        (EventMask::CLOSE_WRITE, What::Closed),
        (EventMask::MODIFY, What::Modified),
        (EventMask::ATTRIB, What::Attributes),
    ];
    TABLE
        .iter()
        .find(|(bit, _)| mask.contains(*bit))
        .map(|(_, what)| *what)
}
