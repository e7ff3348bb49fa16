//! The **file** of an entry: opened without ever leaving its folder, and looked at.
//!
//! What is opened is checked against the stamp that the index has, so that a name which meanwhile
//! means another file is never worked on by mistake. A file that is being worked on keeps its disk
//! busy; nothing is held open beyond that.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use crate::library::work::Stamp;

/// Longest path given to the kernel at once; PATH_MAX is 4,096 with the final NUL.
const LONGEST_PATH: usize = 4000;

/// What fstat(2) says of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) modified: i64,
    /// Change time, nanoseconds since 1970; unlike `modified` nobody can set it.
    pub(crate) changed: i64,
    pub(crate) ino: u64,
    /// Names of this file; 0 once it was deleted.
    pub(crate) links: u32,
}

impl Look {
    /// Tells whether this is the file and content that the index knows.
    pub(crate) fn is(&self, stamp: &Stamp) -> bool {
        self.size == stamp.size
            && self.modified == stamp.modified
            && (stamp.ino == 0 || self.ino == stamp.ino)
    }

    /// Tells whether nothing was written between two looks at the same open file. The change time
    /// does not count: renaming moves it.
    pub(crate) fn has_content_of(&self, other: &Look) -> bool {
        self.size == other.size && self.modified == other.modified && self.ino == other.ino
    }

    /// Returns the stamp; inode numbers count only where they did in `known`.
    pub(crate) fn stamp(&self, known: &Stamp) -> Stamp {
        Stamp {
            size: self.size,
            modified: self.modified,
            ino: if known.ino == 0 { 0 } else { self.ino },
        }
    }
}

/// Opens the file at `relative` below `root` for reading. No symbolic link below the root is
/// followed, and nothing outside of it is reached.
///
/// # Errors
/// As open(2); `WOULDBLOCK` where somebody holds a write lease on it.
pub(crate) fn open(root: &Path, relative: &[u8]) -> Result<OwnedFd, Errno> {
    // The root itself may be reached by links: the owner configured it so.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory = rustix::fs::open(root, flags, Mode::empty())?;
    // O_NONBLOCK keeps us from waiting for a lease, or at what became a FIFO meanwhile.
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if relative.len() < LONGEST_PATH {
        match open_beneath(directory.as_fd(), relative, flags) {
            Err(Errno::NOSYS | Errno::INVAL) => {} // before Linux 5.6: step by step
            other => return other,
        }
    }
    let mut names = relative.split(|byte| *byte == b'/').peekable();
    while let Some(name) = names.next() {
        if matches!(name, b"" | b"." | b"..") {
            return Err(Errno::INVAL);
        }
        if names.peek().is_none() {
            return without_access_time(flags, |flags| {
                rustix::fs::openat(&directory, name, flags, Mode::empty())
            });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        directory = rustix::fs::openat(&directory, name, flags, Mode::empty())?;
    }
    Err(Errno::INVAL)
}

fn open_beneath(at: BorrowedFd<'_>, relative: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    without_access_time(flags, |flags| {
        rustix::fs::openat2(at, relative, flags, Mode::empty(), resolve)
    })
}

/// O_NOATIME needs ownership of the file (open(2)).
fn without_access_time(
    flags: OFlags,
    open: impl Fn(OFlags) -> Result<OwnedFd, Errno>,
) -> Result<OwnedFd, Errno> {
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        other => other,
    }
}

/// Looks at an open file.
///
/// # Errors
/// As statx(2); `INVAL` where it is no regular file.
pub(crate) fn look(fd: BorrowedFd<'_>) -> Result<Look, Errno> {
    // statx(2) alone gives times after 2038 on 32-bit machines.
    let wanted = StatxFlags::BASIC_STATS;
    let stat = match rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, wanted) {
        Ok(stat) => stat,
        Err(Errno::NOSYS) => return look_before_statx(fd),
        Err(error) => return Err(error),
    };
    if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    Ok(Look {
        size: stat.stx_size,
        modified: nanoseconds(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec.into()),
        changed: nanoseconds(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec.into()),
        ino: stat.stx_ino,
        links: stat.stx_nlink,
    })
}

fn look_before_statx(fd: BorrowedFd<'_>) -> Result<Look, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    // The width and sign of these fields differ between machines.
    let number = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
    Ok(Look {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: nanoseconds(
            number(stat.st_mtime.into()),
            number(stat.st_mtime_nsec.into()),
        ),
        changed: nanoseconds(
            number(stat.st_ctime.into()),
            number(stat.st_ctime_nsec.into()),
        ),
        ino: stat.st_ino,
        links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
    })
}

/// Tells whether the file may share its blocks with another (a copy on write), so that it says
/// nothing how much whoever made it has written.
pub(crate) fn can_share(fd: BorrowedFd<'_>) -> bool {
    // Numbers of linux/magic.h and of the file systems outside of it: btrfs, xfs, bcachefs, zfs,
    // overlay (on any of these).
    const SHARING: [i128; 5] = [
        0x9123_683E,
        0x5846_5342,
        0xCA45_1A4E,
        0x2FC1_2FC1,
        0x794C_7630,
    ];
    is_on_one_of(fd, &SHARING)
}

/// Tells whether the file is on a file system of one of these types (statfs(2)).
pub(crate) fn is_on_one_of(fd: BorrowedFd<'_>, magics: &[i128]) -> bool {
    rustix::fs::fstatfs(fd).is_ok_and(|found| {
        // The field is signed and of 32 bits on some machines.
        let magic = i128::from(found.f_type) & 0xFFFF_FFFF;
        magics.contains(&magic)
    })
}

fn nanoseconds(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Returns the path below `root` that the open file has now; none if it lies elsewhere or was
/// deleted.
pub(crate) fn relative_to(fd: BorrowedFd<'_>, root: &Path) -> Option<Vec<u8>> {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    let root = std::fs::canonicalize(root).ok()?;
    let relative = path.strip_prefix(&root).ok()?.as_os_str().as_bytes();
    // Of a deleted file the kernel gives a name that does not exist.
    let found = open(&root, relative)
        .and_then(|found| look(found.as_fd()))
        .ok()?;
    (found.ino == look(fd).ok()?.ino).then(|| relative.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_never_leaves_its_folder() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/file"), "x").unwrap();
        std::fs::write(base.path().join("secret"), "x").unwrap();
        symlink("../secret", root.join("link")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("b", root.join("a/inside")).unwrap();
        assert!(open(&root, b"a/b/file").is_ok());
        for path in [
            "../secret",
            "link",
            "up/secret",
            "a/../../secret",
            "a/inside/file",
            "/etc/passwd",
            "",
            ".",
            "..",
        ] {
            let opened = open(&root, path.as_bytes());
            let reached = opened.and_then(|fd| look(fd.as_fd()));
            assert!(reached.is_err(), "{path} was reached");
        }
    }

    #[test]
    fn paths_longer_than_the_kernel_takes_are_opened() {
        let base = tempfile::tempdir().unwrap();
        let name = "d".repeat(200);
        let mut at = rustix::fs::open(base.path(), OFlags::PATH, Mode::empty()).unwrap();
        let mut relative = String::new();
        for _ in 0..30 {
            rustix::fs::mkdirat(&at, &*name, Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, &*name, OFlags::PATH, Mode::empty()).unwrap();
            relative.push_str(&name);
            relative.push('/');
        }
        let flags = OFlags::CREATE | OFlags::WRONLY;
        drop(rustix::fs::openat(&at, "file", flags, Mode::RWXU).unwrap());
        relative.push_str("file");
        assert!(relative.len() > 4096);
        assert!(open(base.path(), relative.as_bytes()).is_ok());
        // `remove_dir_all` of the temporary directory works by descriptors, so it can clean up.
    }

    #[test]
    fn a_file_that_was_moved_is_known_to_be_in_the_folder_or_not() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("root");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(root.join("a"), "x").unwrap();
        let fd = open(&root, b"a").unwrap();
        std::fs::rename(root.join("a"), root.join("b")).unwrap();
        assert_eq!(relative_to(fd.as_fd(), &root).as_deref(), Some(&b"b"[..]));
        std::fs::rename(root.join("b"), base.path().join("b")).unwrap();
        assert_eq!(relative_to(fd.as_fd(), &root), None);
        std::fs::rename(base.path().join("b"), root.join("c")).unwrap();
        std::fs::remove_file(root.join("c")).unwrap();
        assert_eq!(relative_to(fd.as_fd(), &root), None);
    }
}
