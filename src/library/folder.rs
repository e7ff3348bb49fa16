//! Which disk a **folder** is on, and whether it is there.
//!
//! An unmounted disk leaves an empty directory at its path, which must not be taken for an empty
//! library; and another disk at the same path must not be taken for the folder. So a folder
//! remembers the identity of its file system, and its entries are looked at only while that is there.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;

use super::disk;
use super::tree::Identity;

/// In a second.
const NANOSECONDS: i64 = 1_000_000_000;

/// What identifies the disk that a folder is on, as well as can be told.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct DiskIdentity {
    /// UUID of the file system, where udev tells it.
    uuid: Option<String>,
    /// Type and id of statfs(2). For some file systems the id is made from the device number, which
    /// another disk can get.
    file_system: (u64, u64),
    /// The topmost directory of the file system, made when the disk was formatted.
    top: Identity,
    /// Where it is mounted, as far as can be seen; says nothing of which disk it is.
    mounted_at: Option<String>,
}

/// A folder's root as it was found.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub(crate) disk: DiskIdentity,
    pub(crate) meta: disk::DirMeta,
    /// The kernel does not tell of every change here (network, FUSE).
    pub(crate) must_poll: bool,
    /// Inode numbers name the same file after a remount.
    pub(crate) lasting_inodes: bool,
    /// Name of the file system's type, for messages.
    pub(crate) kind: &'static str,
}

/// Why a folder is offline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Away {
    /// Nothing is at its path.
    Missing,
    /// Something that is no directory is there.
    NotADirectory,
    /// Its own file system is not mounted; what is there is the mount point.
    Unmounted,
    /// Another file system is there.
    Another,
    /// The directory cannot be opened, or its disk does not answer.
    Unreadable(Errno),
    /// The device has gone although it is still mounted.
    DeviceGone,
    /// Whoever asks its disk anything waits in vain.
    Silent,
}

impl Away {
    /// Says what is the matter with the folder at `path`, and what to do.
    pub(crate) fn message(&self, path: &Path) -> String {
        let path = path.display();
        match self {
            Away::Missing => format!("{path} is missing: plug in or mount its disk"),
            Away::NotADirectory => format!("{path} is not a directory"),
            Away::Unmounted => format!("the disk of {path} is not mounted: mount it"),
            Away::Another => {
                format!("another disk is at {path}: mount its own, or accept the one that is there")
            }
            Away::Unreadable(error) => format!(
                "{path} cannot be read: {}; check its disk and its permissions",
                std::io::Error::from(*error)
            ),
            Away::DeviceGone => {
                format!("the disk of {path} was unplugged: plug it in and mount it")
            }
            Away::Silent => format!(
                "the disk of {path} does not answer: check its server or its driver, and the cable"
            ),
        }
    }

    /// A word for scripts.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Away::Another => "folder_other_disk",
            _ => "folder_offline",
        }
    }
}

/// Looks at the root of a folder.
///
/// # Errors
/// Why the folder is offline.
pub(crate) fn look_at_root(path: &Path) -> Result<Root, Away> {
    let fd = disk::open_directory(path, &[]).map_err(|error| match error {
        Errno::NOENT => Away::Missing,
        Errno::NOTDIR => Away::NotADirectory,
        other => Away::Unreadable(other),
    })?;
    let meta = disk::look_at_directory(fd.as_fd()).map_err(Away::Unreadable)?;
    if device_is_gone(meta.device) {
        return Err(Away::DeviceGone);
    }
    let system = rustix::fs::fstatfs(&fd).map_err(Away::Unreadable)?;
    let id = rustix::fs::fstatvfs(&fd).map_err(Away::Unreadable)?.f_fsid;
    // The width and sign of `f_type` differ between machines; all magics fit 32 bits.
    let magic = i128::from(system.f_type).cast_unsigned() & 0xFFFF_FFFF;
    let magic = u64::try_from(magic).unwrap_or(0);
    let traits = Traits::of(magic);
    let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let Top { identity, above } = top_of(path, &meta);
    let mounted_at = above.and_then(|above| real.ancestors().nth(above));
    Ok(Root {
        disk: DiskIdentity {
            uuid: uuid_of(meta.device),
            file_system: (magic, id),
            top: identity,
            mounted_at: mounted_at.map(|path| path.to_string_lossy().into_owned()),
        },
        meta,
        must_poll: traits.must_poll,
        lasting_inodes: traits.lasting_inodes,
        kind: traits.kind,
    })
}

impl DiskIdentity {
    /// Tells whether `self`, remembered, is the disk that `now` describes.
    pub(crate) fn is(&self, now: &DiskIdentity) -> bool {
        if let (Some(before), Some(now)) = (&self.uuid, &now.uuid) {
            return before == now;
        }
        if self.file_system.0 != now.file_system.0 {
            return false;
        }
        let same_id = self.file_system.1 == now.file_system.1;
        let same_top = self.top == now.top;
        match (Traits::of(now.file_system.0).id_lasts, self.top.born != 0) {
            // Formatting a disk notes whole seconds: two disks formatted one after the other share them.
            (true, true) => same_id || (same_top && self.top.born % NANOSECONDS != 0),
            (false, true) => same_top,
            (_, false) => same_id,
        }
    }

    /// Says what it means that `now`, which is not this disk, is at the folder's path.
    pub(crate) fn away(&self, now: &DiskIdentity) -> Away {
        match (&self.mounted_at, &now.mounted_at) {
            // Further up: nothing is mounted where it was.
            (Some(before), Some(now))
                if before != now && Path::new(before).starts_with(Path::new(now)) =>
            {
                Away::Unmounted
            }
            _ => Away::Another,
        }
    }

    /// Takes over what is known of the same disk, where udev has not told it yet.
    pub(crate) fn keep_uuid_of(&mut self, before: &DiskIdentity) {
        if self.uuid.is_none() {
            self.uuid.clone_from(&before.uuid);
        }
    }

    /// Text form for the index.
    pub(crate) fn to_text(&self) -> String {
        format!(
            "{} {} {} {} {} {}",
            self.uuid.as_deref().unwrap_or("-"),
            self.file_system.0,
            self.file_system.1,
            self.top.ino,
            self.top.born,
            self.mounted_at.as_deref().unwrap_or_default()
        )
    }

    /// Reads the text form; `None` if it is none.
    pub(crate) fn from_text(text: &str) -> Option<DiskIdentity> {
        let mut words = text.splitn(6, ' '); // the last is a path
        let uuid = words.next().filter(|word| *word != "-").map(str::to_owned);
        Some(DiskIdentity {
            uuid,
            file_system: (words.next()?.parse().ok()?, words.next()?.parse().ok()?),
            top: Identity {
                ino: words.next()?.parse().ok()?,
                born: words.next()?.parse().ok()?,
            },
            mounted_at: words
                .next()
                .filter(|path| !path.is_empty())
                .map(str::to_owned),
        })
    }
}

/// What matters of a type of file system. statfs(2) and linux/magic.h have the numbers.
struct Traits {
    kind: &'static str,
    must_poll: bool,
    lasting_inodes: bool,
    /// `f_fsid` belongs to the file system, not to the device.
    id_lasts: bool,
}

impl Traits {
    fn of(magic: u64) -> Traits {
        let (kind, must_poll, lasting_inodes, id_lasts) = match magic {
            0xEF53 => ("ext4", false, true, true),
            0x9123_683E => ("btrfs", false, true, true),
            0x5846_5342 => ("xfs", false, true, false),
            0xF2F5_2010 => ("f2fs", false, true, false),
            0x2FC1_2FC1 => ("zfs", false, true, true),
            0x0102_1994 => ("tmpfs", false, true, false),
            0x794C_7630 => ("overlay", false, true, false),
            0x7366_746E | 0x5346_544E => ("ntfs", false, true, false),
            0x4D44 => ("vfat", false, false, false),
            0x2011_BAB0 => ("exfat", false, false, false),
            0x6573_5546 => ("fuse", true, false, false),
            0x6969 => ("nfs", true, true, false),
            0xFF53_4D42 | 0xFE53_4D42 | 0x517B => ("smb", true, false, false),
            0x0102_1997 => ("9p", true, true, false),
            0x0021_0BAD..=0x0021_0BFF | 0x00C3_6400 | 0x5346_414F => {
                ("network", true, false, false)
            }
            _ => ("unknown", false, true, false),
        };
        Traits {
            kind,
            must_poll,
            lasting_inodes,
            id_lasts,
        }
    }
}

/// The UUID that udev's links give for a device number.
fn uuid_of(device: u64) -> Option<String> {
    if rustix::fs::major(device) == 0 {
        return None; // no block device: tmpfs, network, FUSE, btrfs
    }
    for link in std::fs::read_dir("/dev/disk/by-uuid").ok()?.flatten() {
        if std::fs::metadata(link.path()).is_ok_and(|target| target.rdev() == device) {
            return link.file_name().into_string().ok();
        }
    }
    None
}

/// A disk that was pulled stays mounted, but sysfs forgets its device.
fn device_is_gone(device: u64) -> bool {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    major != 0
        && Path::new("/sys/dev/block").exists()
        && !Path::new(&format!("/sys/dev/block/{major}:{minor}")).exists()
}

/// The topmost directory of a file system.
struct Top {
    identity: Identity,
    /// How many directories it is above the one that was asked about; unknown where it is out of sight.
    above: Option<usize>,
}

/// Walks up from `path` while the device stays the same.
fn top_of(path: &Path, meta: &disk::DirMeta) -> Top {
    let mut identity = meta.identity;
    let mut above = path.to_path_buf();
    for steps in 0.. {
        above.push("..");
        let Ok(found) =
            disk::open_directory(&above, &[]).and_then(|fd| disk::look_at_directory(fd.as_fd()))
        else {
            break; // no permission above: as far as can be seen
        };
        if found.device != meta.device || found.identity == identity {
            // Another file system, or `/` whose parent is itself.
            let above = Some(steps);
            return Top { identity, above };
        }
        identity = found.identity;
    }
    let above = None;
    Top { identity, above }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(uuid: Option<&str>, file_system: (u64, u64), top: (u64, i64)) -> DiskIdentity {
        DiskIdentity {
            uuid: uuid.map(str::to_owned),
            file_system,
            top: Identity {
                ino: top.0,
                born: top.1,
            },
            mounted_at: None,
        }
    }

    fn mounted_at(path: &str) -> DiskIdentity {
        DiskIdentity {
            mounted_at: Some(path.to_owned()),
            ..DiskIdentity::default()
        }
    }

    #[test]
    fn a_disk_that_is_not_mounted_is_told_from_another_in_its_place() {
        let disk = mounted_at("/mnt/disk");
        assert_eq!(disk.away(&mounted_at("/")), Away::Unmounted);
        assert_eq!(disk.away(&mounted_at("/mnt")), Away::Unmounted);
        assert_eq!(disk.away(&mounted_at("/mnt/disk")), Away::Another);
        // Mounted over it.
        assert_eq!(disk.away(&mounted_at("/mnt/disk/comics")), Away::Another);
        assert_eq!(disk.away(&DiskIdentity::default()), Away::Another);
    }

    #[test]
    fn a_uuid_decides_where_both_have_one() {
        let disk = identity(Some("a"), (0xEF53, 1), (2, 5));
        assert!(disk.is(&identity(Some("a"), (0xEF53, 2), (9, 9))));
        assert!(!disk.is(&identity(Some("b"), (0xEF53, 1), (2, 5))));
    }

    #[test]
    fn without_a_uuid_the_file_system_and_its_topmost_directory_decide() {
        let ext4 = identity(None, (0xEF53, 1), (2, 5));
        assert!(ext4.is(&identity(None, (0xEF53, 1), (2, 5))));
        assert!(!ext4.is(&identity(None, (0xEF53, 2), (2, 6))));
        assert!(!ext4.is(&identity(None, (0x0102_1994, 1), (2, 5))));
        // The same topmost directory is proof only where its birth is no whole second.
        assert!(ext4.is(&identity(None, (0xEF53, 2), (2, 5))));
        let formatted = identity(None, (0xEF53, 1), (2, 7_000_000_000));
        assert!(formatted.is(&identity(None, (0xEF53, 1), (2, 7_000_000_000))));
        assert!(!formatted.is(&identity(None, (0xEF53, 2), (2, 7_000_000_000))));
        // The id of xfs is that of the device: another disk in the same slot has it too.
        let xfs = identity(None, (0x5846_5342, 1), (128, 5));
        assert!(xfs.is(&identity(None, (0x5846_5342, 2), (128, 5))));
        assert!(!xfs.is(&identity(None, (0x5846_5342, 1), (128, 6))));
    }

    #[test]
    fn the_text_form_is_read_back() {
        let mut disk = identity(Some("a-b"), (0xEF53, 1), (2, -5));
        assert_eq!(DiskIdentity::from_text(&disk.to_text()), Some(disk.clone()));
        disk.mounted_at = Some("/mnt/my disk".to_owned());
        assert_eq!(DiskIdentity::from_text(&disk.to_text()), Some(disk));
        assert!(DiskIdentity::from_text("- 61267 1 2 5").is_some());
        assert_eq!(DiskIdentity::from_text("nonsense"), None);
    }

    #[test]
    fn a_real_directory_is_itself_and_a_missing_one_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let root = look_at_root(directory.path()).unwrap();
        assert!(root.disk.is(&look_at_root(directory.path()).unwrap().disk));
        let missing = look_at_root(&directory.path().join("none"));
        assert_eq!(missing.unwrap_err(), Away::Missing);
    }
}
