//! Reading the disk: opening a directory by its names, looking at one name, listing all.
//!
//! Works relative to directory descriptors, so that neither the length of a path (PATH_MAX) nor a
//! directory renamed meanwhile matters: whoever opens a directory checks that it is the one meant.
//! No descriptor outlives a call, since one held open below a mount point makes `umount` fail.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, StatxFlags};
use rustix::io::Errno;

use super::crawl::Expected;
use super::tree::Identity;

/// What is at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    File(FileMeta),
    Directory(DirMeta),
}

/// What the index keeps of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileMeta {
    pub(crate) size: u64,
    /// Nanoseconds since 1970, may be negative.
    pub(crate) modified: i64,
    pub(crate) identity: Identity,
    /// Names of this file.
    pub(crate) links: u32,
}

/// What the tree keeps of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirMeta {
    pub(crate) identity: Identity,
    pub(crate) device: u64,
    /// Change time, ns: moves whenever a name in the directory does.
    pub(crate) changed: i64,
}

/// All names of a directory that are entries or directories.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) files: Vec<(Box<[u8]>, FileMeta)>,
    pub(crate) directories: Vec<Box<[u8]>>,
    /// Names that could not be looked at, for a reason other than that they are gone.
    pub(crate) unreadable: Vec<(Box<[u8]>, Errno)>,
    /// The listing itself broke off: what it lacks may well exist.
    pub(crate) broken: Option<Errno>,
}

/// Longest path given to the kernel at once; PATH_MAX is 4,096 with the final NUL.
const PATH_PIECE: usize = 4000;

/// Opens the directory `names` below `root`. Symbolic links at the end are refused (ENOTDIR); one
/// in the middle shows when the caller checks the identity.
pub(crate) fn open_directory(root: &Path, names: &[&[u8]]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut fd: Option<OwnedFd> = None;
    let mut piece = root.as_os_str().as_bytes().to_vec();
    for (index, name) in names.iter().enumerate() {
        if !piece.is_empty() {
            piece.push(b'/');
        }
        piece.extend_from_slice(name);
        if piece.len() > PATH_PIECE - 256 && index + 1 < names.len() {
            fd = Some(open_piece(fd.as_ref(), &piece, flags | OFlags::NOFOLLOW)?);
            piece.clear();
        }
    }
    // The root itself may be reached by links: the owner configured it so.
    let last = if names.is_empty() {
        flags
    } else {
        flags | OFlags::NOFOLLOW
    };
    open_piece(fd.as_ref(), &piece, last)
}

fn open_piece(at: Option<&OwnedFd>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let at = at.map_or(rustix::fs::CWD, AsFd::as_fd);
    match rustix::fs::openat(at, path, flags | OFlags::NOATIME, Mode::empty()) {
        // O_NOATIME needs ownership of the directory (open(2)).
        Err(Errno::PERM) => rustix::fs::openat(at, path, flags, Mode::empty()),
        other => other,
    }
}

/// Names to look at in one directory, which must be the one meant.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) root: Arc<PathBuf>,
    /// The directory, below the root.
    pub(crate) path: Vec<Box<[u8]>>,
    pub(crate) expected: Expected,
    pub(crate) names: Vec<Box<[u8]>>,
}

/// What is at the names of a [`Sight`], in their order, and what the directory itself is.
pub(crate) struct Sighted {
    pub(crate) meta: DirMeta,
    pub(crate) found: Vec<Result<Option<Found>, Errno>>,
}

impl Sight {
    /// Looks; `None` if another directory is at the path. `beat` is called after each answer.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub(crate) fn look(&self, beat: impl Fn()) -> Result<Option<Sighted>, Errno> {
        let path: Vec<&[u8]> = self.path.iter().map(|name| &**name).collect();
        let fd = open_directory(&self.root, &path)?;
        beat();
        let meta = look_at_directory(fd.as_fd())?;
        if !self.expected.admits(&meta) {
            return Ok(None);
        }
        let found = self.names.iter().map(|name| {
            let found = look(fd.as_fd(), name);
            beat();
            found
        });
        let found = found.collect();
        Ok(Some(Sighted { meta, found }))
    }
}

/// Looks at the open directory itself.
pub(crate) fn look_at_directory(fd: BorrowedFd<'_>) -> Result<DirMeta, Errno> {
    match stat(fd, c"", AtFlags::EMPTY_PATH)? {
        Some(Found::Directory(meta)) => Ok(meta),
        _ => Err(Errno::NOTDIR),
    }
}

/// Looks at `name` in the open directory: `None` if there is nothing, or nothing that can be an
/// entry (link, device, socket).
///
/// # Errors
/// It cannot be told, for example for an I/O error: never to be taken for "nothing".
fn look(fd: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Found>, Errno> {
    if name.contains(&b'/') {
        return Ok(None); // the name of a directory that is leaving the index
    }
    let mut buffer = [0; 256];
    // Names come from the kernel, so they hold no NUL and are no longer than 255 bytes.
    let Some(target) = buffer.get_mut(..name.len()) else {
        return Err(Errno::NAMETOOLONG);
    };
    target.copy_from_slice(name);
    let name = CStr::from_bytes_until_nul(&buffer).map_err(|_| Errno::NAMETOOLONG)?;
    match stat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        other => other,
    }
}

/// Lists the open directory, looking at each file. `wanted(name, is_directory)` decides what counts.
pub(crate) fn list(fd: BorrowedFd<'_>, wanted: impl Fn(&[u8], bool) -> bool) -> Listing {
    let mut listing = Listing::default();
    let mut buffer = [MaybeUninit::<u8>::uninit(); 32 * 1024];
    let mut entries = RawDir::new(fd, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                listing.broken = Some(error);
                break;
            }
        };
        let name = entry.file_name();
        let bytes = name.to_bytes();
        if bytes == b"." || bytes == b".." {
            continue;
        }
        match entry.file_type() {
            FileType::Directory if wanted(bytes, true) => listing.directories.push(bytes.into()),
            // Some file systems leave the type out.
            FileType::RegularFile | FileType::Unknown => {
                let unknown = entry.file_type() == FileType::Unknown;
                let may_count = wanted(bytes, false) || (unknown && wanted(bytes, true));
                if !may_count {
                    continue;
                }
                match stat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(Some(Found::File(meta))) if wanted(bytes, false) => {
                        listing.files.push((bytes.into(), meta));
                    }
                    Ok(Some(Found::Directory(_))) if wanted(bytes, true) => {
                        listing.directories.push(bytes.into());
                    }
                    Ok(_) | Err(Errno::NOENT) => {} // gone since, or no entry
                    Err(error) => listing.unreadable.push((bytes.into(), error)),
                }
            }
            _ => {}
        }
    }
    listing
}

/// statx(2), since it alone gives birth times, and times after 2038 on 32-bit machines; kernels
/// before 4.11 lack it, there the older call must do.
fn stat(fd: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<Option<Found>, Errno> {
    let wanted = StatxFlags::TYPE
        | StatxFlags::SIZE
        | StatxFlags::INO
        | StatxFlags::MTIME
        | StatxFlags::CTIME
        | StatxFlags::NLINK
        | StatxFlags::BTIME;
    let stat = match rustix::fs::statx(fd, name, flags, wanted) {
        Ok(stat) => stat,
        Err(Errno::NOSYS) => return stat_before_statx(fd, name, flags),
        Err(error) => return Err(error),
    };
    let has_birth = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let identity = Identity {
        ino: stat.stx_ino,
        born: if has_birth {
            nanoseconds(stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec)
        } else {
            0
        },
    };
    Ok(match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::RegularFile => Some(Found::File(FileMeta {
            size: stat.stx_size,
            modified: nanoseconds(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            identity,
            links: stat.stx_nlink,
        })),
        FileType::Directory => Some(Found::Directory(DirMeta {
            identity,
            device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            changed: nanoseconds(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
        })),
        _ => None,
    })
}

fn stat_before_statx(
    fd: BorrowedFd<'_>,
    name: &CStr,
    flags: AtFlags,
) -> Result<Option<Found>, Errno> {
    let stat = rustix::fs::statat(fd, name, flags)?;
    let identity = Identity {
        ino: stat.st_ino,
        born: 0,
    };
    // The width and sign of these fields differ between machines.
    let number = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
    let time = |seconds: i128, nanos: i128| number(seconds * 1_000_000_000 + nanos);
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Some(Found::File(FileMeta {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: time(stat.st_mtime.into(), stat.st_mtime_nsec.into()),
            identity,
            links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        })),
        FileType::Directory => Some(Found::Directory(DirMeta {
            identity,
            device: stat.st_dev,
            changed: time(stat.st_ctime.into(), stat.st_ctime_nsec.into()),
        })),
        _ => None,
    })
}

/// Joins seconds and nanoseconds; what does not fit (before 1678, after 2262) becomes the limit.
fn nanoseconds(seconds: i64, nanos: u32) -> i64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanos.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_deeper_than_path_max_can_be_opened_and_listed() {
        let root = tempfile::tempdir().unwrap();
        let name = "d".repeat(200);
        let names: Vec<&[u8]> = vec![name.as_bytes(); 40];
        let mut fd = open_directory(root.path(), &[]).unwrap();
        for name in &names {
            rustix::fs::mkdirat(&fd, *name, Mode::RWXU).unwrap();
            fd = open_piece(Some(&fd), name, OFlags::DIRECTORY).unwrap();
        }
        let file = rustix::fs::openat(&fd, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU);
        rustix::io::write(file.unwrap(), b"abc").unwrap();

        let found = open_directory(root.path(), &names).unwrap();
        let listing = list(found.as_fd(), |_, _| true);
        assert_eq!(listing.files.len(), 1);
        assert_eq!(listing.files[0].1.size, 3);
        assert_eq!(
            look_at_directory(fd.as_fd()),
            look_at_directory(found.as_fd())
        );
    }

    #[test]
    fn a_link_is_nothing_and_a_missing_name_is_nothing() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/hostname", root.path().join("link")).unwrap();
        let fd = open_directory(root.path(), &[]).unwrap();
        assert_eq!(look(fd.as_fd(), b"link"), Ok(None));
        assert_eq!(look(fd.as_fd(), b"none"), Ok(None));
        assert_eq!(look(fd.as_fd(), &[b'x'; 256]), Err(Errno::NAMETOOLONG));
    }
}
