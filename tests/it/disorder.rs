//! Disorder: whatever happens on the disk, the index equals it once it is quiet, and a client that
//! lives on deltas has the same list.
//!
//! A seed gives the same sequence of operations again: set `SHELF_SEED` to the one that is printed,
//! and `SHELF_DISORDER_S` to let it run for longer than the few seconds of every day.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::helper::{Arrangement, Follower, Shelf, disk, has_tool, pause};

/// splitmix64 (Steele, Lea, Flood 2014): small, and good enough to choose file names.
struct Chance(u64);

impl Chance {
    fn number(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let z = z ^ (z >> 31);
        usize::try_from(z % below.max(1) as u64).unwrap()
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let index = self.number(of.len());
        of.get(index)
    }
}

/// Does things to the files below `library`; `outside` is on the same disk.
struct Vandal {
    chance: Chance,
    folders: Vec<PathBuf>,
    outside: PathBuf,
    /// What it did, for the report.
    done: Vec<String>,
    /// Files that got another name in this round. Nothing is written to them: where one is written
    /// through a name that is made and removed before anybody can look at it, no notice tells which
    /// other names it has.
    linked: HashSet<u64>,
    /// Files of several names, all of which were entries when the round began.
    known: HashSet<u64>,
}

impl Vandal {
    fn new(seed: u64, shelf: &Shelf) -> Vandal {
        let outside = shelf.outside("outside");
        std::fs::create_dir_all(&outside).unwrap();
        Vandal {
            chance: Chance(seed),
            folders: vec![shelf.path("comics"), shelf.path("music")],
            outside,
            done: Vec::new(),
            linked: HashSet::new(),
            known: HashSet::new(),
        }
    }

    /// All directories, or all files, of the library as they are now.
    fn all(&self, directories: bool) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut left = self.folders.clone();
        while let Some(directory) = left.pop() {
            for entry in std::fs::read_dir(&directory)
                .into_iter()
                .flatten()
                .flatten()
            {
                let kind = entry.file_type();
                let is_directory = kind.as_ref().is_ok_and(std::fs::FileType::is_dir);
                if is_directory {
                    left.push(entry.path());
                } else if !directories {
                    found.push(entry.path());
                }
            }
            if directories {
                found.push(directory);
            }
        }
        found.sort(); // the order of a listing is not the seed's
        found
    }

    fn directory(&mut self) -> PathBuf {
        let all = self.all(true);
        self.chance.one(&all).cloned().unwrap()
    }

    /// A directory that is no folder's root.
    fn inner_directory(&mut self) -> Option<PathBuf> {
        let mut all = self.all(true);
        all.retain(|path| !self.folders.contains(path));
        self.chance.one(&all).cloned()
    }

    fn file(&mut self) -> Option<PathBuf> {
        let all = self.all(false);
        self.chance.one(&all).cloned()
    }

    /// A file that may be written.
    fn writable(&mut self) -> Option<PathBuf> {
        let path = self.file()?;
        self.may_write(&path).then_some(path)
    }

    /// Tells whether a file may be written, if there is one: all its names must be those of entries, and
    /// must have been when the round began. A write through one that is outside, ignored or new is told
    /// by nobody, or may be.
    fn may_write(&self, path: &Path) -> bool {
        let Ok(there) = std::fs::metadata(path) else {
            return true;
        };
        let ino = there.ino();
        there.nlink() == 1
            || !self.linked.contains(&ino)
                && self.known.contains(&ino)
                && self.all_seen().contains(&ino)
    }

    /// Returns the files of several names that are all those of entries.
    fn all_seen(&self) -> HashSet<u64> {
        let mut names: HashMap<u64, (u64, u64)> = HashMap::new();
        for path in self.all(false) {
            if let Ok(file) = path.symlink_metadata()
                && file.nlink() > 1
                && self.is_seen(&path)
            {
                names.entry(file.ino()).or_insert((0, file.nlink())).0 += 1;
            }
        }
        names.retain(|_, (seen, links)| seen == links);
        names.into_keys().collect()
    }

    /// Tells whether a path is that of an entry, so that the index knows which file it was even if it goes
    /// before anybody looks.
    fn is_seen(&self, path: &Path) -> bool {
        let selection = shelfcast::glob::Selection::default();
        let folder = self.folders.iter().find(|folder| path.starts_with(folder));
        let Some(below) = folder.and_then(|folder| path.strip_prefix(folder).ok()) else {
            return false;
        };
        let mut above = below.ancestors().skip(1);
        let entered = above.all(|above| {
            above.as_os_str().is_empty() || selection.enters(above.as_os_str().as_bytes())
        });
        entered && selection.is_entry(below.as_os_str().as_bytes())
    }

    /// Writes a file, if it may.
    fn write(&self, path: &Path, content: &[u8]) -> std::io::Result<()> {
        if self.may_write(path) {
            std::fs::write(path, content)?;
        }
        Ok(())
    }

    /// A name in a directory, taken or not; few names, so that they meet, and some that are ignored, no
    /// text, or long.
    fn spot(&mut self) -> PathBuf {
        const ODD: [&[u8]; 8] = [
            b".n1",
            b"n1.part",
            b"n1~",
            b"@eaDir",
            b"n\xff1",
            b"n\xfe1",
            b"n\n1 <b>",
            &[b'x'; 255],
        ];
        let number = self.chance.number(14);
        let name = if number < 12 {
            format!("n{number}").into()
        } else {
            let odd = self.chance.one(&ODD).copied().unwrap_or_default();
            OsStr::from_bytes(odd).to_owned()
        };
        self.directory().join(name)
    }

    /// Does one thing. That it cannot be done (a directory moved into itself) is as good.
    fn act(&mut self) {
        let result = match self.chance.number(28) {
            0..=3 => self.create(),
            4 | 5 => self.append(),
            6 | 7 => self.rename_file(),
            8 => self.replace(),
            9 | 10 => self.make_directories(),
            11 | 12 => self.move_directory(),
            13 => self.move_out(),
            14 => self.move_in(),
            15 | 16 => self.remove_file(),
            17 => self.remove_directory(),
            18 => self.link(),
            19 => self.symlink(),
            20 => self.touch(),
            21 => self.exchange(),
            22 => self.create_and_remove(),
            23 | 24 => self.save_by_backup(),
            25 => self.download(),
            26 => self.hide(),
            _ => self.swap_kind(),
        };
        if let Err(error) = result {
            self.done.push(format!("  ({error})"));
        }
    }

    fn say(&mut self, what: &str, paths: &[&Path]) {
        self.done.push(format!("{what} {paths:?}"));
    }

    fn create(&mut self) -> std::io::Result<()> {
        let path = self.spot();
        let size = self.chance.number(3000);
        self.say("write", &[&path]);
        self.write(&path, &vec![b'x'; size])
    }

    fn append(&mut self) -> std::io::Result<()> {
        let Some(path) = self.writable() else {
            return Ok(());
        };
        self.say("append", &[&path]);
        File::options().append(true).open(path)?.write_all(b"more")
    }

    fn rename_file(&mut self) -> std::io::Result<()> {
        let Some(from) = self.file() else {
            return Ok(());
        };
        let to = self.spot();
        self.say("rename", &[&from, &to]);
        std::fs::rename(from, to)
    }

    /// An editor's save: a new file is renamed over the old one.
    fn replace(&mut self) -> std::io::Result<()> {
        let Some(path) = self.file() else {
            return Ok(());
        };
        let new = path.with_extension("new");
        self.say("save", &[&path]);
        self.write(&new, b"saved")?;
        std::fs::rename(new, path)
    }

    /// Another editor's save: the old file gets the name of a backup, which is removed or left.
    fn save_by_backup(&mut self) -> std::io::Result<()> {
        let Some(path) = self.file() else {
            return Ok(());
        };
        let mut backup = path.clone().into_os_string();
        backup.push("~");
        let remove = self.chance.number(2) == 0;
        self.say(if remove { "save, backup" } else { "save, keep" }, &[&path]);
        std::fs::rename(&path, &backup)?;
        std::fs::write(&path, "saved by way of a backup")?;
        if remove {
            std::fs::remove_file(backup)?;
        }
        Ok(())
    }

    /// A file that has the name of a partial one until it is complete.
    fn download(&mut self) -> std::io::Result<()> {
        let path = self.spot();
        let partial = path.with_extension("part");
        self.say("download", &[&path]);
        if partial.symlink_metadata().is_ok() {
            return Ok(()); // it may be a second name of another
        }
        std::fs::write(&partial, "downloaded")?;
        std::fs::rename(partial, path)
    }

    /// A file or a directory gets an ignored name, or loses it.
    fn hide(&mut self) -> std::io::Result<()> {
        let what = match self.chance.number(2) {
            0 => self.file(),
            _ => self.inner_directory(),
        };
        let Some(path) = what else {
            return Ok(());
        };
        let name = path.file_name().unwrap_or_default().as_bytes();
        let other = match name.strip_prefix(b".") {
            Some(plain) => plain.to_vec(),
            None => [b".", name].concat(),
        };
        let to = path.with_file_name(OsStr::from_bytes(&other));
        self.say("hide or show", &[&path, &to]);
        std::fs::rename(path, to)
    }

    fn make_directories(&mut self) -> std::io::Result<()> {
        let path = self.spot().join("d1").join("d2");
        self.say("mkdir -p, write", &[&path]);
        std::fs::create_dir_all(&path)?;
        self.write(&path.join("n1"), b"deep")
    }

    fn move_directory(&mut self) -> std::io::Result<()> {
        let Some(from) = self.inner_directory() else {
            return Ok(());
        };
        let to = self.spot();
        self.say("move", &[&from, &to]);
        std::fs::rename(from, to)
    }

    fn move_out(&mut self) -> std::io::Result<()> {
        let Some(from) = self.inner_directory() else {
            return Ok(());
        };
        let to = self.outside.join(format!("o{}", self.chance.number(4)));
        self.say("move out", &[&from, &to]);
        std::fs::rename(from, to)
    }

    fn move_in(&mut self) -> std::io::Result<()> {
        let from = self.outside.join(format!("o{}", self.chance.number(4)));
        let to = self.spot();
        self.say("move in", &[&from, &to]);
        std::fs::rename(from, to)
    }

    fn remove_file(&mut self) -> std::io::Result<()> {
        let Some(path) = self.file() else {
            return Ok(());
        };
        self.say("remove", &[&path]);
        std::fs::remove_file(path)
    }

    fn remove_directory(&mut self) -> std::io::Result<()> {
        let Some(path) = self.inner_directory() else {
            return Ok(());
        };
        self.say("remove -r", &[&path]);
        std::fs::remove_dir_all(path)
    }

    fn link(&mut self) -> std::io::Result<()> {
        let Some(from) = self.file() else {
            return Ok(());
        };
        let to = self.spot();
        self.say("link", &[&from, &to]);
        self.linked.insert(std::fs::metadata(&from)?.ino());
        std::fs::hard_link(from, to)
    }

    fn symlink(&mut self) -> std::io::Result<()> {
        let path = self.spot();
        let to = self.directory();
        self.say("symlink", &[&path, &to]);
        std::os::unix::fs::symlink(to, path)
    }

    fn touch(&mut self) -> std::io::Result<()> {
        let Some(path) = self.writable() else {
            return Ok(());
        };
        let seconds = self.chance.number(4_000_000_000);
        self.say("touch", &[&path]);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds as u64);
        File::options().write(true).open(path)?.set_modified(time)
    }

    fn exchange(&mut self) -> std::io::Result<()> {
        let (Some(one), Some(other)) = (self.file(), self.inner_directory()) else {
            return Ok(());
        };
        self.say("exchange", &[&one, &other]);
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(rustix::fs::CWD, &one, rustix::fs::CWD, &other, flags)?;
        Ok(())
    }

    fn create_and_remove(&mut self) -> std::io::Result<()> {
        let path = self.spot();
        self.say("create and remove", &[&path]);
        if path.symlink_metadata().is_ok() {
            return Ok(());
        }
        std::fs::write(&path, "gone")?;
        std::fs::remove_file(path)
    }

    /// A file becomes a directory of the same name, or the reverse.
    fn swap_kind(&mut self) -> std::io::Result<()> {
        if let Some(path) = self.file() {
            self.say("file to directory", &[&path]);
            std::fs::remove_file(&path)?;
            std::fs::create_dir(&path)?;
            std::fs::write(path.join("n1"), "was a file")?;
        }
        if let Some(path) = self.inner_directory() {
            self.say("directory to file", &[&path]);
            std::fs::remove_dir_all(&path)?;
            std::fs::write(path, "was a directory")?;
        }
        Ok(())
    }
}

/// How the service is treated while the disk changes.
#[derive(Clone, Copy, PartialEq)]
enum Service {
    Runs,
    IsHalted,
    IsKilled,
}

/// One round: things happen, then it is quiet.
fn round(shelf: &mut Shelf, follower: &mut Follower, vandal: &mut Vandal, service: Service) {
    vandal.done.clear();
    vandal.linked.clear();
    vandal.known = vandal.all_seen();
    let acts = 5 + vandal.chance.number(80);
    let at = vandal.chance.number(acts);
    let hasty = vandal.chance.number(3) > 0;
    let back = at + vandal.chance.number(20);
    for act in 0..acts {
        if act == at {
            match service {
                Service::Runs => {}
                Service::IsHalted => shelf.halt(),
                Service::IsKilled => shelf.kill9(),
            }
            vandal
                .done
                .push("-- the service is halted or killed".to_owned());
        }
        if act == back || act == acts - 1 {
            match service {
                Service::Runs => {}
                Service::IsHalted => shelf.go_on(),
                Service::IsKilled if shelf.is_running() => {}
                Service::IsKilled => {
                    shelf.start_again();
                    follower.reconnect(shelf.address());
                }
            }
        }
        vandal.act();
        if !hasty && vandal.chance.number(3) == 0 {
            pause(Duration::from_millis(vandal.chance.number(80) as u64));
        }
    }
}

fn check(shelf: &Shelf, follower: &mut Follower, vandal: &Vandal, seed: u64) {
    let last = shelf.sync();
    let index = disk::of_index(&shelf.files().entries);
    let on_disk = disk::entries(&shelf.library());
    let told = disk::of_index(&follower.list_at(&last));
    let mut wrong = disk::differences(&on_disk, &index);
    wrong.extend(
        disk::differences(&index, &told)
            .into_iter()
            .map(|line| format!("deltas: {line}")),
    );
    let (total, counted) = (
        shelf.files().total,
        on_disk.values().map(Vec::len).sum::<usize>(),
    );
    if total != counted as u64 {
        wrong.push(format!("total {total}, on disk {counted}"));
    }
    assert!(
        wrong.is_empty(),
        "SHELF_SEED={seed}\n{}\nafter\n{}\n{}",
        wrong.join("\n"),
        vandal.done.join("\n"),
        shelf.report()
    );
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(kinds: &[Service]) {
    run_with(kinds, |arranged| arranged);
}

#[expect(clippy::print_stderr, reason = "the seed, wherever this fails")]
fn run_with(kinds: &[Service], arrange: impl Fn(Arrangement) -> Arrangement) {
    let time = Duration::from_secs(variable("SHELF_DISORDER_S").unwrap_or(6));
    let started = Instant::now();
    let mut seed = variable("SHELF_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap().subsec_nanos().into()
    });
    while started.elapsed() < time {
        eprintln!("SHELF_SEED={seed}");
        let arranged = Shelf::with(["comics/n1", "comics/n2/n3", "music/n4"]);
        let mut shelf = arrange(arranged).start();
        let mut vandal = Vandal::new(seed, &shelf);
        let mut follower = shelf.follow();
        for _ in 0..12 {
            let service = *vandal.chance.one(kinds).unwrap();
            round(&mut shelf, &mut follower, &mut vandal, service);
            check(&shelf, &mut follower, &vandal, seed);
        }
        seed += 1;
    }
}

#[test]
fn after_any_disorder_index_and_deltas_equal_the_disk() {
    run(&[Service::Runs]);
}

#[test]
fn after_disorder_while_the_service_is_halted_too() {
    run(&[Service::Runs, Service::IsHalted]);
}

#[test]
fn after_disorder_while_the_service_is_killed_too() {
    run(&[Service::Runs, Service::IsKilled]);
}

#[test]
fn after_disorder_where_little_can_be_watched() {
    let limit = "echo 4 > /proc/sys/user/max_inotify_watches; exec \"$0\" \"$@\"";
    run_with(&[Service::Runs, Service::IsKilled], |arranged| {
        arranged.within(["unshare", "-Ur", "sh", "-c", limit])
    });
}

#[test]
fn after_the_stressors_of_others() {
    if !has_tool("stress-ng") {
        return;
    }
    let shelf = Shelf::empty("comics").start();
    let mut follower = shelf.follow();
    let folder = shelf.path("comics").to_str().unwrap().to_owned();
    let stressors = [
        "dir", "dentry", "rename", "link", "filename", "touch", "utime", "hdd",
    ];
    for stressor in stressors {
        let instances = format!("--{stressor}");
        let command = [
            "--temp-path",
            &folder,
            "--timeout",
            "1",
            "--keep-files",
            "--hdd-bytes",
            "1M",
            &instances,
            "1",
        ];
        // It fails where a stressor cannot do all of its work (a name that this file system does not
        // take): disorder enough.
        let stressed = std::process::Command::new("stress-ng")
            .args(command)
            .output();
        assert!(stressed.is_ok(), "stress-ng does not start");
        let last = shelf.sync();
        let files = shelf.assert_equals_disk();
        assert_eq!(follower.list_at(&last).len(), files.len(), "{stressor}");
    }
}
