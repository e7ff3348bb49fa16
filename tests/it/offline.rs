//! Offline: a folder that is not there keeps its entries, says so, and comes back by itself.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::helper::mounts::{in_private_mounts, mount_memory, mount_memory_of, text, unmount};
use crate::helper::{PATIENCE, Shelf, has_tool, is_root, run, wait_until};

/// Status and fingerprint of everything: what must be the same afterwards.
fn facts(shelf: &Shelf) -> Vec<Value> {
    let files = shelf.files();
    let fact = |entry: &Value| {
        json!([
            entry["id"],
            entry["path"],
            entry["size"],
            entry["fingerprint"]
        ])
    };
    files.entries.iter().map(fact).collect()
}

fn message(shelf: &Shelf) -> String {
    shelf.watcher_status()["folders"][0]["message"].to_string()
}

/// Makes a file system in a file and returns the file.
fn disk_image(path: &Path) {
    let file = std::fs::File::create(path).unwrap();
    file.set_len(16 * 1024 * 1024).unwrap();
    run("mkfs.ext4", &["-q", "-F", text(path)]);
}

fn mount_image(image: &Path, at: &Path) {
    run("mount", &["-o", "loop", text(image), text(at)]);
}

#[test]
fn a_folder_that_is_missing_at_start_comes_when_it_is_there() {
    let shelf = Shelf::with(["music/1"]).missing_folder("comics").launch();
    shelf.eventually_folder_is("comics", "offline");
    shelf.eventually_folder_is("music", "watching");
    let error = shelf
        .stream()
        .wait_for("it is said", |event| event.kind == "error");
    assert_eq!(error.data["code"], "folder_offline");
    assert_eq!(error.data["folder"], "comics");
    assert_eq!(shelf.watcher_status()["state"], "offline");
    shelf.write("comics/a/2", "x");
    shelf.eventually("it is read", |files| files.has("comics/a/2"));
    shelf.eventually_folder_is("comics", "watching");
    shelf.assert_equals_disk();
}

#[test]
fn a_root_that_is_deleted_keeps_its_entries_until_it_is_back() {
    let shelf = Shelf::with(["comics/a/1", "comics/2"]).start();
    let before = facts(&shelf);
    std::fs::rename(shelf.path("comics"), shelf.outside("kept")).unwrap();
    shelf.eventually_folder_is("comics", "offline");
    assert!(
        message(&shelf).contains("is missing"),
        "{}",
        message(&shelf)
    );
    assert_eq!(facts(&shelf), before);
    let waiting = shelf.files().entries[0]["waiting"].clone();
    assert_eq!(waiting, "the folder is offline");
    std::fs::rename(shelf.outside("kept"), shelf.path("comics")).unwrap();
    shelf.eventually_folder_is("comics", "watching");
    shelf.assert_equals_disk();
    assert_eq!(facts(&shelf), before);
}

#[test]
fn a_root_made_again_is_what_it_is_then() {
    let shelf = Shelf::with(["comics/a/1", "comics/2"]).start();
    shelf.remove("comics");
    shelf.eventually_folder_is("comics", "offline");
    shelf.write("comics/3", "x");
    shelf.eventually("the new one is read", |files| files.paths() == ["comics/3"]);
    shelf.write("comics/4", "x");
    assert_eq!(shelf.assert_equals_disk().len(), 2);
}

#[test]
fn an_empty_mount_point_is_not_an_empty_library() {
    in_private_mounts(|| {
        let arranged = Shelf::empty("comics");
        let image = arranged.directory().join("disk");
        disk_image(&image);
        mount_image(&image, &arranged.path("comics"));
        let mut shelf = arranged.file("comics/a/1").file("comics/2").start();
        let before = facts(&shelf);
        for round in 0..3 {
            unmount(&shelf.path("comics")); // nothing keeps it from being unmounted
            shelf.eventually_folder_is("comics", "offline");
            let said = message(&shelf);
            assert!(said.contains("is not mounted"), "{said}");
            assert_eq!(facts(&shelf), before);
            if round == 1 {
                shelf.restart(); // while its disk is away
                shelf.eventually_folder_is("comics", "offline");
                assert_eq!(facts(&shelf), before);
            }
            mount_image(&image, &shelf.path("comics"));
            shelf.eventually_folder_is("comics", "watching");
            assert_eq!(facts(&shelf), before);
        }
        // What is really deleted goes.
        shelf.remove("comics/a");
        shelf.remove("comics/2");
        shelf.eventually("it is empty", |files| files.is_empty());
    });
}

#[test]
fn an_unmounted_disk_that_changed_elsewhere_is_read_when_it_is_back() {
    in_private_mounts(|| {
        let arranged = Shelf::empty("comics");
        let image = arranged.directory().join("disk");
        disk_image(&image);
        mount_image(&image, &arranged.path("comics"));
        let shelf = arranged.file("comics/a/1").file("comics/2").start();
        let before = shelf.files();
        unmount(&shelf.path("comics"));
        shelf.eventually_folder_is("comics", "offline");
        let other = shelf.outside("elsewhere");
        std::fs::create_dir(&other).unwrap();
        mount_image(&image, &other);
        std::fs::rename(other.join("a"), other.join("b")).unwrap();
        std::fs::write(other.join("3"), "new").unwrap();
        unmount(&other);
        mount_image(&image, &shelf.path("comics"));
        shelf.eventually("it is read", |files| files.has("comics/3"));
        let after = shelf.assert_equals_disk();
        assert_eq!(after.id("comics/b/1"), before.id("comics/a/1"));
    });
}

#[test]
fn a_different_disk_waits_to_be_accepted() {
    in_private_mounts(|| {
        let arranged = Shelf::empty("comics");
        mount_memory(&arranged.path("comics"));
        let shelf = arranged.file("comics/a/1").start();
        let before = facts(&shelf);
        unmount(&shelf.path("comics"));
        mount_memory(&shelf.path("comics"));
        shelf.write("comics/other", "x");
        shelf.eventually_folder_is("comics", "offline");
        // It may have been seen between the two, with no disk at all.
        shelf.stream().wait_for("it is said", |event| {
            event.data["code"] == "folder_other_disk"
        });
        assert_eq!(facts(&shelf), before);
        assert_eq!(
            shelf.post("/api/folders/none/accept", &json!({})).status,
            404
        );
        assert_eq!(
            shelf.post("/api/folders/comics/accept", &json!({})).status,
            202
        );
        shelf.eventually("it is the folder's own", |files| {
            files.paths() == ["comics/other"]
        });
        shelf.eventually_folder_is("comics", "watching");
    });
}

#[test]
fn disks_formatted_in_the_same_second_are_told_apart() {
    in_private_mounts(|| {
        let arranged = Shelf::empty("comics");
        let images = ["one", "two"].map(|name| arranged.directory().join(name));
        for image in &images {
            std::fs::File::create(image)
                .and_then(|file| file.set_len(16 * 1024 * 1024))
                .unwrap();
            // Also where mkfs takes its time, and where no udev tells UUIDs.
            let second = "E2FSPROGS_FAKE_TIME=1600000000";
            run("env", &[second, "mkfs.ext4", "-q", "-F", text(image)]);
        }
        mount_image(&images[0], &arranged.path("comics"));
        let shelf = arranged.file("comics/a/1").start();
        let before = facts(&shelf);
        unmount(&shelf.path("comics"));
        mount_image(&images[1], &shelf.path("comics"));
        shelf.write("comics/other", "x");
        shelf.sync();
        shelf.eventually_folder_is("comics", "offline");
        assert_eq!(facts(&shelf), before);
        unmount(&shelf.path("comics"));
        mount_image(&images[0], &shelf.path("comics"));
        shelf.eventually_folder_is("comics", "watching");
        assert_eq!(facts(&shelf), before);
    });
}

#[test]
fn two_disks_without_birth_times_do_not_take_ids_from_each_other() {
    in_private_mounts(|| {
        let arranged = Shelf::empty("comics").folder("music");
        for folder in ["comics", "music"] {
            let image = arranged.directory().join(folder);
            disk_image(&image);
            // Inodes of the old size have no room for a birth time.
            run("mkfs.ext4", &["-q", "-F", "-I", "128", text(&image)]);
            mount_image(&image, &arranged.path(folder));
        }
        let mut shelf = arranged.file("comics/1").file("comics/d/2").start();
        let before = shelf.files();
        let inodes = |paths: [&str; 2]| paths.map(|path| shelf.inode(path));
        let old = inodes(["comics/1", "comics/d"]);
        shelf.halt();
        shelf.remove("comics/1");
        shelf.write("music/new", "x");
        shelf.remove("comics/d");
        shelf.write("music/other/3", "x");
        assert_eq!(
            inodes(["music/new", "music/other"]),
            old,
            "not the case meant"
        );
        shelf.go_on();
        let after = shelf.assert_equals_disk();
        assert!(before.ids().is_disjoint(&after.ids()));
        // The same while it does not run.
        shelf.stop();
        shelf.remove("music/new");
        shelf.write("comics/back", "x");
        shelf.start_again();
        let last = shelf.assert_equals_disk();
        assert!(!after.ids().contains(&last.id("comics/back")));
    });
}

#[test]
fn the_root_of_a_folder_on_a_full_disk_stays_online() {
    in_private_mounts(|| {
        let arranged = Shelf::empty("comics");
        mount_memory_of(&arranged.path("comics"), "1m");
        let shelf = arranged.start();
        // The disk of the library is full: of no concern to the index.
        let full = std::fs::write(shelf.path("comics/big"), vec![0; 4 * 1024 * 1024]);
        assert!(full.is_err());
        shelf.assert_equals_disk();
        assert_eq!(shelf.folder_state("comics"), "watching");
    });
}

#[test]
fn a_disk_whose_driver_dies_keeps_its_entries() {
    if !has_tool("bindfs") || !is_root() {
        return;
    }
    in_private_mounts(|| {
        let arranged = Shelf::empty("comics").config("[watch]\npoll_s = 1\n");
        let source = arranged.directory().join("source");
        std::fs::create_dir_all(source.join("a")).unwrap();
        std::fs::write(source.join("a/1"), "x").unwrap();
        let at = arranged.path("comics");
        let start = || {
            std::process::Command::new("bindfs")
                .args(["-f", text(&source), text(&at)])
                .spawn()
                .unwrap()
        };
        let mut driver = start();
        let mounted = || at.join("a/1").exists();
        if !wait_until(Duration::from_secs(5), mounted) {
            crate::helper::skip("FUSE does not work here");
            driver.kill().unwrap();
            driver.wait().unwrap();
            return;
        }
        let shelf = arranged.start();
        // What happens behind the driver's back is found by polling.
        std::fs::write(source.join("a/2"), "x").unwrap();
        shelf.eventually("it is found", |files| files.has("comics/a/2"));
        assert_eq!(shelf.folder_state("comics"), "degraded");
        shelf.wait("both are processed", || {
            shelf.find("status=processed").total == 2
        });
        let before = facts(&shelf);
        driver.kill().unwrap();
        driver.wait().unwrap();
        shelf.eventually_folder_is("comics", "offline");
        assert_eq!(facts(&shelf), before);
        unmount(&at);
        let mut driver = start();
        assert!(wait_until(PATIENCE, mounted));
        shelf.eventually_folder_is("comics", "degraded");
        shelf.eventually("entries are kept", |files| files.len() == 2);
        assert_eq!(facts(&shelf), before);
        driver.kill().unwrap();
        driver.wait().unwrap();
    });
}

#[test]
fn a_disk_that_hangs_is_offline_and_holds_up_nobody() {
    if !has_tool("bindfs") || !is_root() {
        return;
    }
    in_private_mounts(|| {
        let arranged = Shelf::empty("comics")
            .folder("music")
            .config("[watch]\npoll_s = 1\n");
        let source = arranged.directory().join("source");
        std::fs::create_dir_all(source.join("a")).unwrap();
        std::fs::write(source.join("a/1"), "x").unwrap();
        let at = arranged.path("comics");
        let mut driver = std::process::Command::new("bindfs")
            .args(["-f", text(&source), text(&at)])
            .spawn()
            .unwrap();
        if !wait_until(Duration::from_secs(5), || at.join("a/1").exists()) {
            crate::helper::skip("FUSE does not work here");
            driver.kill().unwrap();
            driver.wait().unwrap();
            return;
        }
        let mut shelf = arranged.start();
        shelf.eventually_folder_is("comics", "degraded");
        shelf.wait("it is processed", || {
            shelf.find("status=processed").total == 1
        });
        let before = facts(&shelf);
        let signal = |signal| {
            rustix::process::kill_process(rustix::process::Pid::from_child(&driver), signal)
        };
        for round in 0..2 {
            signal(rustix::process::Signal::STOP).unwrap();
            // No report where this fails: to look at the disk would hang the test as well.
            let offline = wait_until(PATIENCE, || shelf.folder_state("comics") == "offline");
            assert!(offline, "{}", shelf.log());
            let said = message(&shelf);
            assert!(said.contains("does not answer"), "{said}");
            let name = format!("music/{round}");
            shelf.write(&name, "x");
            let goes_on = wait_until(PATIENCE, || shelf.files().has(&name));
            assert!(goes_on, "{}", shelf.log());
            let kept = facts(&shelf);
            assert!(before.iter().all(|fact| kept.contains(fact)), "{kept:?}");
            if round == 0 {
                signal(rustix::process::Signal::CONT).unwrap();
                shelf.eventually_folder_is("comics", "degraded");
                shelf.assert_equals_disk();
            }
        }
        let status = shelf.stop();
        assert_eq!(status.code(), Some(0), "{}", shelf.log());
        driver.kill().unwrap();
        driver.wait().unwrap();
    });
}

#[test]
fn a_stick_whose_inode_numbers_change_keeps_its_entries() {
    let tools = ["mkfs.exfat", "mount.exfat-fuse", "losetup"];
    if !is_root() || !tools.into_iter().all(has_tool) {
        return;
    }
    if !Path::new("/dev/fuse").exists() {
        crate::helper::skip("FUSE does not work here");
        return;
    }
    in_private_mounts(|| {
        let arranged = Shelf::empty("comics").config("[watch]\npoll_s = 1\n");
        let image = arranged.directory().join("stick");
        std::fs::File::create(&image)
            .unwrap()
            .set_len(16 << 20)
            .unwrap();
        run("mkfs.exfat", &[text(&image)]);
        let at = arranged.path("comics");
        let plug_in = || {
            let device = run("losetup", &["-f", "--show", text(&image)]);
            run("mount.exfat-fuse", &[device.trim(), text(&at)]);
            run("losetup", &["-d", device.trim()]); // when it is unmounted
        };
        plug_in();
        let shelf = arranged.file("comics/a/1").file("comics/2").start();
        shelf.wait("both are processed", || {
            shelf.find("status=processed").total == 2
        });
        let before = facts(&shelf);
        unmount(&at);
        shelf.eventually_folder_is("comics", "offline");
        plug_in();
        // The numbers are given in the order in which somebody looks.
        std::fs::metadata(at.join("2")).unwrap();
        shelf.eventually_folder_is("comics", "degraded");
        shelf.assert_equals_disk();
        assert_eq!(facts(&shelf), before);
        shelf.write("comics/a/3", "x");
        shelf.remove("comics/2");
        shelf.rename("comics/a/1", "comics/b");
        assert_eq!(
            shelf.assert_equals_disk().paths(),
            ["comics/a/3", "comics/b"]
        );
        unmount(&at);
    });
}

#[test]
fn errors_in_reading_are_no_deletions() {
    if !has_tool("strace") || !is_root() {
        return;
    }
    for (call, error) in [
        ("getdents64", "EIO"),
        ("statx", "EIO"),
        ("openat", "ESTALE"),
    ] {
        let shelf = Shelf::with(["comics/a/1", "comics/a/b/2", "comics/c/3"])
            .config("[watch]\npoll_s = 1\n")
            .folder("comics")
            .start();
        let before = facts(&shelf);
        // Only calls of the thread that crawls, so that the database is left alone.
        let failing = shelf.inject("crawl", &format!("{call}:error={error}"));
        shelf.post("/api/cache/rebuild", &json!({}));
        shelf.eventually_folder_is("comics", "degraded");
        assert_eq!(facts(&shelf), before, "{call} {error}");
        drop(failing);
        shelf.write("comics/a/b/4", "x");
        shelf.eventually_folder_is("comics", "watching");
        assert_eq!(shelf.assert_equals_disk().len(), 4, "{call} {error}");
    }
}

#[test]
fn nothing_is_held_open_in_the_library() {
    let shelf = Shelf::with(["comics/a/1", "comics/a/b/2"]).start();
    shelf.write("comics/a/b/3", "x");
    shelf.sync();
    let library = shelf.library().canonicalize().unwrap();
    let held = || {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", shelf.pid()))
            .unwrap()
            .flatten();
        fds.filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .filter(|target| target.starts_with(&library))
            .collect::<Vec<_>>()
    };
    shelf.wait("no descriptor below the library", || held().is_empty());
}
