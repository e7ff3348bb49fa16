//! What `--print-drop-in` prints: what systemd must allow beside the unit, for the configured
//! folders and processors.
//!
//! The unit mounts the whole system read-only (`ProtectSystem=strict`) and runs as a user of its
//! own. Shelfcast itself never writes to a folder, so folders are opened for writing only where
//! one of the owner's processors may want to.
//!
//! What Shelfcast does not do itself, but a usual processor does, is opened along with them: files
//! that others may read, `nice` and its like (systemd's `@resources`), and code made at run time,
//! without which Java and Node.js end at once.
//!
//! Two traps, the first tried with `unshare -m` on Linux 6.18, the second from systemd.unit(5):
//!
//! - A path in `ReadWritePaths=` that is not itself a mount point is mounted over itself in the
//!   service's name space. When the disk below it is unmounted, that copy stays: the disk is kept
//!   busy, and the service goes on seeing it. So it is the disk's mount point that is opened.
//! - `RequiresMountsFor=` would end the service when a disk is unplugged, and not start it where
//!   one is missing: but then the folder is to be offline. `Wants=` would wait for a missing disk
//!   at each restart. `After=` waits only while the boot is about to mount it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Config;

/// Homes, which the unit hides or makes read-only (`ProtectHome=`, systemd.exec(5)).
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
/// What the unit has of its own (`PrivateTmp=`, systemd.exec(5)).
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];
/// What the unit forbids Shelfcast, which needs none of it, and processors may need.
const FOR_PROCESSORS: [&str; 3] = [
    "MemoryDenyWriteExecute=no",
    "SystemCallFilter=@resources",
    "UMask=0022",
];
/// What the unit says in `LimitNOFILE=`. A stream takes one descriptor, and no thread.
const UNIT_DESCRIPTORS: usize = 16_384;
/// Descriptors of everything else: other connections, the index, files that are read.
const BESIDE_STREAMS: usize = 2_048;
/// The user that the unit runs as.
const USER: &str = "shelfcast";

/// Returns the drop-in, with comments about what no drop-in can change.
pub(super) fn drop_in(config: &Config) -> String {
    let read = |path| fs::read(path).unwrap_or_default(); // without it, less is known
    let mut mounts = mount_points(&read("/proc/self/mountinfo"), 4);
    mounts.extend(mount_points(&read("/etc/fstab"), 1));
    let groups = String::from_utf8_lossy(&read("/etc/group")).into_owned();
    compose(config, &mounts, &groups)
}

fn compose(config: &Config, mounts: &BTreeSet<PathBuf>, groups: &str) -> String {
    let writes = !config.processors.is_empty() && !config.folders.is_empty();
    let mut unit = BTreeSet::new();
    let mut service = BTreeSet::new();
    let mut remarks = BTreeSet::new();
    for folder in &config.folders {
        let disk = mount_point(&folder.path, mounts);
        if let Some(disk) = disk {
            unit.insert(format!("After={}", mount_unit(disk)));
        }
        if writes {
            open(disk.unwrap_or(&folder.path), &mut service, &mut remarks);
        }
        if HOMES.iter().any(|home| folder.path.starts_with(home)) {
            service.insert("ProtectHome=read-only".to_owned());
        }
        if TEMPORARY.iter().any(|own| folder.path.starts_with(own)) {
            service.insert("PrivateTmp=no".to_owned());
        }
        permissions(&folder.path, writes, groups, &mut service, &mut remarks);
    }
    if writes {
        for line in FOR_PROCESSORS {
            service.insert(line.to_owned());
        }
    }
    let descriptors = config.limits.clients.saturating_add(BESIDE_STREAMS);
    if descriptors > UNIT_DESCRIPTORS {
        service.insert(format!("LimitNOFILE={descriptors}"));
    }
    if let Some(directory) = config.log.file.as_deref().and_then(Path::parent) {
        open(directory, &mut service, &mut remarks);
    }

    let mut out = String::from(
        "# Made by `shelfcast --print-drop-in` from the configured folders and processors;\n\
         # print it again when they or the disks change. Keep it as\n\
         #   /etc/systemd/system/shelfcast.service.d/folders.conf\n\
         # and then run: systemctl daemon-reload && systemctl restart shelfcast\n",
    );
    if !writes && !config.folders.is_empty() {
        out.push_str("# Without a processor nothing writes to the folders.\n");
    }
    for remark in &remarks {
        writeln!(out, "# {remark}").expect("a string takes every line");
    }
    for (header, lines) in [("[Unit]", &unit), ("[Service]", &service)] {
        if !lines.is_empty() {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            write!(out, "\n{header}\n{}\n", lines.join("\n")).expect("a string takes every line");
        }
    }
    if unit.is_empty() && service.is_empty() {
        out.push_str("# Nothing is needed: the unit reaches all folders as it is.\n");
    }
    out
}

/// Lets a directory be written to. With `-`, one that is missing does not keep us from starting.
fn open(path: &Path, service: &mut BTreeSet<String>, remarks: &mut BTreeSet<String>) {
    match quoted(path) {
        Some(path) => {
            service.insert(format!("ReadWritePaths={path}"));
        }
        None => {
            remarks.insert(format!(
                "{path:?} cannot be written in a unit file: rename it, or link to it from a plain \
                 name"
            ));
        }
    }
}

/// By which of its permissions a folder lets the service in.
#[derive(Debug, PartialEq, Eq)]
enum WayIn {
    Others,
    Group,
    None,
}

fn way_in(mode: u32, gid: u32, writes: bool) -> WayIn {
    let wanted = if writes { 0o7 } else { 0o5 };
    if mode & wanted == wanted {
        WayIn::Others
    } else if mode >> 3 & wanted == wanted && gid != 0 {
        WayIn::Group
    } else {
        WayIn::None // the group of root would open more than this folder
    }
}

/// Adds the folder's group where that lets the service in, and says where nothing here does.
fn permissions(
    path: &Path,
    writes: bool,
    groups: &str,
    service: &mut BTreeSet<String>,
    remarks: &mut BTreeSet<String>,
) {
    let Ok(metadata) = path.metadata() else {
        remarks.insert(format!(
            "{path:?} is away: print this again when it is there"
        ));
        return;
    };
    let (mode, gid) = (metadata.mode(), metadata.gid());
    match way_in(mode, gid, writes) {
        WayIn::Others => return,
        WayIn::Group => {
            let name = group_name(groups, gid).unwrap_or_else(|| gid.to_string());
            service.insert(format!("SupplementaryGroups={name}"));
        }
        WayIn::None => {
            let access = if writes { "rwX" } else { "rX" };
            remarks.insert(format!(
                "{path:?} is closed to others: `setfacl -R -m u:{USER}:{access},d:u:{USER}:{access}` \
                 on it lets the service in (FAT, exFAT and NTFS: the mount option `gid=`)"
            ));
        }
    }
    for parent in path.ancestors().skip(1) {
        // A parent only has to be passed through.
        if let Ok(found) = parent.metadata()
            && found.mode() & 0o001 == 0
            && (found.mode() & 0o010 == 0 || found.gid() != gid)
        {
            remarks.insert(format!(
                "{parent:?} is closed to others: `setfacl -m u:{USER}:x` on it lets the service \
                 through"
            ));
        }
    }
}

/// Returns the name of a group in the text of /etc/group (group(5)).
fn group_name(groups: &str, gid: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

/// Reads the mount points of proc_pid_mountinfo(5) or fstab(5), which stand in one of the fields.
fn mount_points(table: &[u8], field: usize) -> BTreeSet<PathBuf> {
    table
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii_start().starts_with(b"#"))
        .filter_map(|line| {
            let mut fields = line
                .split(u8::is_ascii_whitespace)
                .filter(|field| !field.is_empty());
            Some(PathBuf::from(unescaped(fields.nth(field)?)))
        })
        .filter(|path| path.is_absolute())
        .collect()
}

/// Undoes the escapes of those tables: a blank is `\040`.
fn unescaped(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let byte = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes)
}

/// Returns the mount point that a path lies on, unless that is the system's own disk.
fn mount_point<'m>(path: &Path, mounts: &'m BTreeSet<PathBuf>) -> Option<&'m Path> {
    let found = path.ancestors().find_map(|ancestor| mounts.get(ancestor))?;
    (found != Path::new("/")).then_some(found)
}

/// Returns the name of the mount unit of a mount point (systemd.unit(5), "String escaping").
fn mount_unit(path: &Path) -> String {
    let path = path.as_os_str().as_bytes();
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let mut name = String::new();
    for (position, &byte) in path.iter().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if position == 0 => name.push_str("\\x2e"),
            b':' | b'_' | b'.' => name.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => name.push(byte.into()),
            _ => name.push_str(&format!("\\x{byte:02x}")),
        }
    }
    name + ".mount"
}

/// Writes a path as systemd reads it: quotes and backslashes escaped, `%` doubled because it
/// starts a specifier. Line breaks and what is not UTF-8 have no place in a unit file.
fn quoted(path: &Path) -> Option<String> {
    let path = path
        .to_str()
        .filter(|path| !path.chars().any(char::is_control))?;
    let path = path
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%");
    let plain = |sign: char| sign.is_alphanumeric() || "/._-+@:,%".contains(sign);
    match path.chars().all(plain) {
        true => Some(format!("-{path}")),
        false => Some(format!("\"-{path}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_from_both_tables() {
        let mountinfo = b"25 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            40 25 8:17 / /mnt/my\\040disk rw shared:1 - exfat /dev/sdb1 rw\n";
        let mounts = mount_points(mountinfo, 4);
        assert!(mounts.contains(Path::new("/mnt/my disk")));
        let fstab = b"# comment /x\nUUID=1 none swap sw 0 0\nUUID=2\t/srv  ext4 nofail 0 2\n";
        assert_eq!(
            mount_points(fstab, 1),
            BTreeSet::from([PathBuf::from("/srv")])
        );
        assert_eq!(
            mount_point(Path::new("/mnt/my disk/a"), &mounts),
            Some(Path::new("/mnt/my disk"))
        );
        assert_eq!(mount_point(Path::new("/home/a"), &mounts), None);
    }

    #[test]
    fn units_are_named_as_systemd_escape_names_them() {
        // `systemd-escape -p --suffix=mount PATH` of systemd 252.
        for (path, name) in [
            ("/srv/comics", "srv-comics.mount"),
            ("/mnt/my disk", "mnt-my\\x20disk.mount"),
            ("/mnt/a-b", "mnt-a\\x2db.mount"),
            ("/.hidden/.x", "\\x2ehidden-.x.mount"),
            ("/mnt/ä%", "mnt-\\xc3\\xa4\\x25.mount"),
        ] {
            assert_eq!(mount_unit(Path::new(path)), name);
        }
    }

    #[test]
    fn paths_are_quoted_for_unit_files() {
        for (path, written) in [
            ("/srv/comics", "-/srv/comics"),
            ("/srv/my comics", "\"-/srv/my comics\""),
            ("/srv/100%", "-/srv/100%%"),
            ("/srv/a\"b\\c", "\"-/srv/a\\\"b\\\\c\""),
        ] {
            assert_eq!(quoted(Path::new(path)).as_deref(), Some(written));
        }
        assert_eq!(quoted(Path::new("/srv/a\nb")), None);
        let not_utf8 = OsString::from_vec(b"/srv/\xff".to_vec());
        assert_eq!(quoted(Path::new(&not_utf8)), None);
    }

    #[test]
    fn the_least_that_lets_the_service_in_is_taken() {
        for (mode, gid, writes, way) in [
            (0o755, 0, false, WayIn::Others),
            (0o755, 1000, true, WayIn::None),
            (0o777, 1000, true, WayIn::Others),
            (0o750, 1000, false, WayIn::Group),
            (0o750, 1000, true, WayIn::None),
            (0o2770, 1000, true, WayIn::Group),
            (0o770, 0, true, WayIn::None),
            (0o740, 1000, false, WayIn::None),
        ] {
            assert_eq!(way_in(mode, gid, writes), way, "{mode:o} {gid} {writes}");
        }
    }

    #[test]
    fn homes_are_opened_and_disks_waited_for() {
        let folder = |path: &str| crate::config::FolderConfig {
            path: path.into(),
            name: "a".to_owned(),
            include: Vec::new(),
            ignore: Vec::new(),
        };
        let mut config = Config {
            listen: Vec::new(),
            state: "/state".into(),
            log: crate::config::LogConfig {
                level: log::LevelFilter::Info,
                file: Some("/var/log/x/a.log".into()),
            },
            folders: vec![folder("/home/nobody-here/a"), folder("/no/disk/comics")],
            processing: crate::config::ProcessingConfig {
                automatic: true,
                workers: 1,
            },
            processors: Vec::new(),
            watch: crate::config::WatchConfig {
                poll: std::time::Duration::from_secs(1),
            },
            access: crate::config::AccessConfig {
                allow: Vec::new(),
                hosts: Vec::new(),
                token: None,
            },
            limits: crate::config::LimitsConfig {
                clients: 1,
                clients_per_address: 1,
            },
            file: None,
        };
        let mounts = BTreeSet::from(["/".into(), "/no/disk".into()]);
        let watched = compose(&config, &mounts, "");
        assert!(watched.contains("is away: print this again"), "{watched}");
        let lines = "\n[Unit]\nAfter=no-disk.mount\n\n[Service]\nProtectHome=read-only\n\
                     ReadWritePaths=-/var/log/x\n";
        assert!(watched.ends_with(lines), "{watched}");
        config.log.file = None;
        config.processors = vec![crate::config::ProcessorConfig {
            name: "tag".to_owned(),
            matches: Vec::new(),
            command: vec!["/bin/true".to_owned()],
            timeout: std::time::Duration::from_secs(1),
        }];
        let written = compose(&config, &mounts, "");
        let lines = "[Service]\nMemoryDenyWriteExecute=no\nProtectHome=read-only\n\
                     ReadWritePaths=-/home/nobody-here/a\nReadWritePaths=-/no/disk\n\
                     SystemCallFilter=@resources\nUMask=0022\n";
        assert!(written.ends_with(lines), "{written}");
        config.folders = vec![folder("/var/tmp/a")];
        let seen = compose(&config, &mounts, "");
        assert!(seen.contains("\nPrivateTmp=no\n"), "{seen}");
        config.folders.clear();
        assert!(compose(&config, &mounts, "").contains("# Nothing is needed"));
    }

    #[test]
    fn groups_are_found_by_number() {
        let groups = "root:x:0:\nmedia:x:1002:anna\nbroken\n";
        assert_eq!(group_name(groups, 1002).as_deref(), Some("media"));
        assert_eq!(group_name(groups, 7), None);
    }
}
