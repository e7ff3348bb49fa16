//! Watching: each hard case on real files, and the limits of the kernel.

use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{Mode, OFlags, RenameFlags};

use crate::helper::mounts::{bind, in_private_mounts, mount_memory, unmount};
use crate::helper::{Shelf, is_root, pause, run};

#[test]
fn files_that_arrive_while_their_directories_are_made_are_found() {
    let shelf = Shelf::empty("comics").start();
    for round in 0..200 {
        let deep = format!("comics/a{round}/b/c");
        shelf.make_directory(&deep);
        std::fs::write(shelf.path(&format!("{deep}/f")), "1").unwrap();
        std::fs::write(shelf.path(&format!("comics/a{round}/g")), "2").unwrap();
    }
    assert_eq!(shelf.assert_equals_disk().len(), 400);
}

#[test]
fn a_tree_that_appears_while_the_service_is_halted_is_found() {
    let shelf = Shelf::empty("comics").start();
    shelf.halt();
    for directory in 0..50 {
        for file in 0..20 {
            shelf.write(&format!("comics/new/{directory}/{file}"), "x");
        }
    }
    shelf.go_on();
    assert_eq!(shelf.assert_equals_disk().len(), 1000);
}

#[test]
fn a_file_moved_into_a_directory_just_made_keeps_its_id() {
    let shelf = Shelf::with(["comics/a"]).start();
    let id = shelf.files().id("comics/a");
    let mut at = "comics/a".to_owned();
    for round in 0..100 {
        let to = format!("comics/r{round}/x/y/a");
        shelf.make_directory(&format!("comics/r{round}/x/y"));
        shelf.rename(&at, &to);
        at = to;
    }
    assert_eq!(shelf.assert_equals_disk().id(&at), id);
}

#[test]
fn directories_turned_inside_out_keep_their_ids() {
    let shelf = Shelf::with(["comics/a/1", "comics/a/b/2", "comics/a/b/c/3"]).start();
    let before = shelf.files().ids();
    for _ in 0..50 {
        // a/b/c becomes c/b/a and back.
        shelf.rename("comics/a/b/c", "comics/c");
        shelf.rename("comics/a/b", "comics/c/b");
        shelf.rename("comics/a", "comics/c/b/a");
        shelf.rename("comics/c/b/a", "comics/a");
        shelf.rename("comics/c/b", "comics/a/b");
        shelf.rename("comics/c", "comics/a/b/c");
    }
    shelf.rename("comics/a/b/c", "comics/c");
    assert_eq!(shelf.assert_equals_disk().ids(), before);
}

#[test]
fn a_directory_moved_out_is_forgotten_with_its_watches() {
    let shelf = Shelf::with(["comics/a/1", "comics/a/b/2", "comics/3"]).start();
    let watches = shelf.kernel_watches();
    std::fs::rename(shelf.path("comics/a"), shelf.outside("a")).unwrap();
    shelf.eventually("it is gone", |files| files.len() == 1);
    std::fs::write(shelf.outside("a/b/4"), "not ours").unwrap();
    assert_eq!(shelf.assert_equals_disk().len(), 1);
    assert_eq!(shelf.kernel_watches(), watches - 2);
}

#[test]
fn a_directory_moved_in_is_read_with_all_below() {
    let shelf = Shelf::empty("comics").start();
    for number in 0..300 {
        let directory = shelf.outside(&format!("new/{}", number % 7));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(number.to_string()), "x").unwrap();
    }
    std::fs::rename(shelf.outside("new"), shelf.path("comics/new")).unwrap();
    assert_eq!(shelf.assert_equals_disk().len(), 300);
}

#[test]
fn a_directory_that_leaves_while_it_is_read_and_comes_back_is_read() {
    let shelf = Shelf::empty("comics").start();
    for number in 0..40 {
        let directory = shelf.outside(&format!("new/{number}/below"));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("f"), "x").unwrap();
    }
    let (outside, inside) = (shelf.outside("new"), shelf.path("comics/new"));
    for round in 0..25 {
        std::fs::rename(&outside, &inside).unwrap();
        // It leaves at another moment of its being read each time.
        pause(Duration::from_micros(round * 360));
        std::fs::rename(&inside, &outside).unwrap();
        pause(Duration::from_micros(round % 7 * 900));
        std::fs::rename(&outside, &inside).unwrap();
        assert_eq!(shelf.assert_equals_disk().len(), 40);
        std::fs::rename(&inside, &outside).unwrap();
        assert!(shelf.assert_equals_disk().is_empty());
    }
}

#[test]
fn a_moved_directory_reports_under_its_new_name_at_once() {
    let shelf = Shelf::with(["comics/a/b/c/1"]).start();
    let before = shelf.files().id("comics/a/b/c/1");
    shelf.make_directory("comics/z");
    for round in 0..20 {
        let (from, to) = if round % 2 == 0 {
            ("a", "z/y")
        } else {
            ("z/y", "a")
        };
        shelf.rename(&format!("comics/{from}"), &format!("comics/{to}"));
        shelf.write(&format!("comics/{to}/b/c/new{round}"), "x");
    }
    let files = shelf.assert_equals_disk();
    assert_eq!(files.len(), 21);
    assert_eq!(files.id("comics/a/b/c/1"), before);
}

#[test]
fn a_directory_moved_to_another_folder_keeps_its_ids() {
    let shelf = Shelf::with(["comics/a/1", "comics/a/b/2", "music/3"]).start();
    let before = shelf.files().ids();
    shelf.rename("comics/a", "music/a");
    shelf.eventually("it is there", |files| files.all_below("music"));
    assert_eq!(shelf.assert_equals_disk().ids(), before);
    assert_eq!(shelf.find("folder=comics").total, 0);
    assert_eq!(shelf.find("folder=music").total, 3);
}

#[test]
fn a_rename_over_an_entry_keeps_the_id_of_the_renamed_one() {
    let shelf = Shelf::with(["comics/a", "comics/b"]).start();
    let renamed = shelf.files().id("comics/a");
    // Older than what an editor has just written.
    shelf.wait("both have been there for a while", {
        let started = Instant::now();
        move || started.elapsed() > Duration::from_millis(2300)
    });
    shelf.rename("comics/a", "comics/b");
    shelf.eventually("one is left", |files| files.len() == 1);
    assert_eq!(shelf.assert_equals_disk().id("comics/b"), renamed);
}

#[test]
fn an_atomic_save_keeps_the_id_of_the_name() {
    let shelf = Shelf::with(["comics/a"]).start();
    let before = shelf.files().id("comics/a");
    for round in 0..30 {
        shelf.write("comics/a.new", &format!("saved {round}"));
        if round % 3 == 0 {
            shelf.sync(); // the editor is slow, and the new file was seen
        }
        shelf.rename("comics/a.new", "comics/a");
        if round % 2 == 0 {
            shelf.sync();
        }
    }
    let files = shelf.assert_equals_disk();
    assert_eq!((files.len(), files.id("comics/a")), (1, before));
}

#[test]
fn a_save_by_way_of_a_backup_keeps_the_id_of_the_name() {
    let shelf = Shelf::with(["comics/a"]).start();
    let mut follower = shelf.follow();
    let before = shelf.files().id("comics/a");
    // Vim removes its backup, whatever it is called; each of the steps may be seen alone or not.
    for round in 0..32 {
        let backup = ["comics/a~", "comics/4913.bak"][round % 2];
        let slow = |step: usize| {
            if round >> step & 1 == 1 {
                shelf.sync();
            }
        };
        shelf.rename("comics/a", backup);
        slow(1);
        shelf.write("comics/a", &format!("saved {round}"));
        slow(2);
        shelf.remove(backup);
        slow(3);
        let last = shelf.sync();
        let files = shelf.assert_equals_disk();
        assert_eq!((files.len(), files.id("comics/a")), (1, before), "{round}");
        assert_eq!(follower.list_at(&last).len(), 1);
    }
    let entry = |shelf: &Shelf| shelf.get(&format!("/api/files/{before}")).json();
    shelf.wait("its content is processed", || {
        entry(&shelf)["status"] == "processed"
    });
    // Emacs leaves it, and writes over it the next time.
    for round in 0..8 {
        shelf.rename("comics/a", "comics/a~");
        if round % 2 == 0 {
            shelf.sync();
        }
        shelf.write("comics/a", &format!("saved again {round}"));
        let files = shelf.assert_equals_disk();
        assert_eq!((files.len(), files.id("comics/a")), (2, before), "{round}");
    }
}

#[test]
fn a_log_that_is_rotated_keeps_its_id() {
    let shelf = Shelf::with(["comics/log"]).start();
    let before = shelf.files().id("comics/log");
    shelf.rename("comics/log", "comics/log.1");
    shelf.write("comics/log", "begins anew");
    let files = shelf.assert_equals_disk();
    assert_eq!(files.id("comics/log.1"), before);
}

#[test]
fn exchanged_files_and_directories_exchange_their_names() {
    let shelf = Shelf::with(["comics/a", "comics/b", "comics/c/1", "comics/d/2"]).start();
    let before = shelf.files();
    let exchange = |one: &str, other: &str| {
        let (one, other) = (shelf.path(one), shelf.path(other));
        let cwd = rustix::fs::CWD;
        rustix::fs::renameat_with(cwd, one, cwd, other, RenameFlags::EXCHANGE).unwrap();
    };
    exchange("comics/a", "comics/b");
    exchange("comics/c", "comics/d");
    let after = shelf.assert_equals_disk();
    for (from, to) in [("a", "b"), ("b", "a"), ("c/1", "d/1"), ("d/2", "c/2")] {
        assert_eq!(
            before.id(&format!("comics/{from}")),
            after.id(&format!("comics/{to}"))
        );
    }
    exchange("comics/a", "comics/c"); // a file and a directory
    shelf.assert_equals_disk();
}

#[test]
fn what_is_made_and_deleted_at_once_leaves_nothing() {
    let shelf = Shelf::empty("comics").start();
    let mut follower = shelf.follow();
    for number in 0..2000 {
        let path = shelf.path(&format!("comics/{number}"));
        std::fs::write(&path, "x").unwrap();
        std::fs::remove_file(path).unwrap();
    }
    let last = shelf.sync();
    assert!(shelf.files().is_empty() && follower.list_at(&last).is_empty());
    assert!(
        !shelf.log().contains("ERROR") && !shelf.log().contains("WARN"),
        "{}",
        shelf.log()
    );
}

#[test]
fn a_write_through_one_link_shows_at_all() {
    let shelf = Shelf::with(["comics/a/one"]).start();
    shelf.make_directory("comics/b");
    std::fs::hard_link(shelf.path("comics/a/one"), shelf.path("comics/b/two")).unwrap();
    let before = shelf.assert_equals_disk();
    assert_ne!(before.id("comics/a/one"), before.id("comics/b/two"));
    shelf.write("comics/b/two", "longer than before");
    assert_eq!(shelf.assert_equals_disk().ids(), before.ids());
    shelf.remove("comics/a/one");
    let id = before.id("comics/b/two");
    assert_eq!(shelf.assert_equals_disk().id("comics/b/two"), id);
    shelf.rename("comics/b/two", "comics/a/three");
    assert_eq!(shelf.assert_equals_disk().id("comics/a/three"), id);
}

#[test]
fn a_write_through_an_ignored_name_shows_at_the_entry() {
    let shelf = Shelf::with(["comics/a"]).start();
    std::fs::hard_link(shelf.path("comics/a"), shelf.path("comics/a.part")).unwrap();
    shelf.sync();
    shelf.write("comics/a.part", "longer than before");
    assert_eq!(shelf.assert_equals_disk().paths(), ["comics/a"]);
}

#[test]
fn a_link_out_of_a_directory_that_then_moves_takes_nothing_from_it() {
    let shelf = Shelf::with(["comics/a/x/1", "comics/b/2"]).start();
    for round in 0..10 {
        // Both are noticed at once: when the link is looked at, the directory is not where it was.
        shelf.halt();
        let linked = shelf.path(&format!("comics/b/link{round}"));
        let (from, to) = if round % 2 == 0 {
            ("a", "c")
        } else {
            ("c", "a")
        };
        std::fs::hard_link(shelf.path(&format!("comics/{from}/x/1")), linked).unwrap();
        shelf.rename(&format!("comics/{from}"), &format!("comics/{to}"));
        shelf.go_on();
        assert_eq!(shelf.assert_equals_disk().len(), round + 3);
    }
}

#[test]
fn links_are_not_followed_and_end_nowhere() {
    let shelf = Shelf::with(["comics/a/1"]).start();
    for (name, to) in [
        ("up", ".."),
        ("self", "."),
        ("out", "/etc"),
        ("none", "/does/not/exist"),
    ] {
        symlink(to, shelf.path(&format!("comics/a/{name}"))).unwrap();
    }
    symlink(shelf.path("comics/a/1"), shelf.path("comics/a/file")).unwrap();
    assert_eq!(shelf.assert_equals_disk().len(), 1);
    // A link takes the place of a directory, and gives it back.
    shelf.rename("comics/a", "comics/b");
    symlink("b", shelf.path("comics/a")).unwrap();
    assert_eq!(shelf.assert_equals_disk().paths(), ["comics/b/1"]);
    std::fs::remove_file(shelf.path("comics/a")).unwrap();
    shelf.rename("comics/b", "comics/a");
    assert_eq!(shelf.assert_equals_disk().paths(), ["comics/a/1"]);
}

#[test]
fn any_name_that_the_kernel_takes_is_an_entry() {
    let shelf = Shelf::empty("comics").start();
    let mut follower = shelf.follow();
    let long = "x".repeat(255);
    let names: [&[u8]; 14] = [
        b"bad\xff\xfe",
        b"bad\xff\xfd",
        b"new\nline",
        b"return\r\ndata: x",
        b"<img src=x onerror=alert(1)>",
        b"\"; $(rm -rf) `x` '",
        b"-rf",
        b" ",
        b"tab\there\x01\x7f",
        "e\u{301}".as_bytes(),
        "\u{e9}".as_bytes(),
        "\u{202e}abc \u{2028} \u{1f600}".as_bytes(),
        b"back\\slash",
        long.as_bytes(),
    ];
    for name in names {
        let name = std::ffi::OsStr::from_bytes(name);
        std::fs::write(shelf.path("comics").join(name), "x").unwrap();
        let directory = shelf.path("comics/in").join(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(name), "x").unwrap();
    }
    let last = shelf.sync();
    let before = shelf.assert_equals_disk();
    assert_eq!(before.len(), 28);
    assert_eq!(follower.list_at(&last).len(), 28);
    shelf.rename("comics/in", "comics/there");
    assert_eq!(shelf.assert_equals_disk().ids(), before.ids());
    shelf.remove("comics/there");
    assert_eq!(shelf.assert_equals_disk().len(), 14);
}

#[test]
fn paths_beyond_path_max_are_entries() {
    let shelf = Shelf::with(["comics/top"]).start();
    let name = "d".repeat(200);
    let flags = OFlags::DIRECTORY | OFlags::RDONLY;
    let mut at = rustix::fs::open(shelf.path("comics"), flags, Mode::empty()).unwrap();
    for _ in 0..40 {
        rustix::fs::mkdirat(&at, &*name, Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, &*name, flags, Mode::empty()).unwrap();
    }
    let file = |name: &str, content: &[u8]| {
        let flags = OFlags::CREATE | OFlags::WRONLY;
        let fd = rustix::fs::openat(&at, name, flags, Mode::RWXU).unwrap();
        rustix::io::write(fd, content).unwrap();
    };
    file("first", b"1");
    let before = shelf.assert_equals_disk();
    assert_eq!(before.len(), 2);
    file("second", b"22"); // told by the watch of the deepest directory
    assert_eq!(shelf.assert_equals_disk().len(), 3);
    shelf.rename(&format!("comics/{name}"), "comics/short");
    let after = shelf.assert_equals_disk();
    assert!(before.ids().is_subset(&after.ids()));
}

#[test]
fn times_in_the_future_and_going_back_are_changes_like_others() {
    let shelf = Shelf::with(["comics/a"]).start();
    let id = shelf.files().id("comics/a");
    for seconds in [4_102_444_800, 1, 0, 1_000_000_000, 999_999_999] {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let file = File::options()
            .write(true)
            .open(shelf.path("comics/a"))
            .unwrap();
        file.set_modified(time).unwrap();
        assert_eq!(shelf.assert_equals_disk().id("comics/a"), id);
    }
}

#[test]
fn a_file_and_a_directory_take_turns_at_one_name() {
    let shelf = Shelf::with(["comics/a"]).start();
    for round in 0..30 {
        shelf.remove("comics/a");
        shelf.write("comics/a/below/1", "x");
        if round % 3 == 0 {
            assert_eq!(shelf.assert_equals_disk().paths(), ["comics/a/below/1"]);
        }
        shelf.remove("comics/a");
        shelf.write("comics/a", "y");
        if round % 4 == 0 {
            assert_eq!(shelf.assert_equals_disk().paths(), ["comics/a"]);
        }
    }
    shelf.assert_equals_disk();
}

#[test]
fn what_is_ignored_is_no_entry_until_it_gets_its_real_name() {
    let shelf = Shelf::empty("comics").start();
    for path in [
        "comics/a.part",
        "comics/.hidden",
        "comics/@eaDir/x",
        "comics/.git/y",
    ] {
        shelf.write(path, "x");
    }
    assert!(shelf.assert_equals_disk().is_empty());
    shelf.rename("comics/a.part", "comics/a.cbz");
    shelf.rename("comics/.git", "comics/git");
    let files = shelf.assert_equals_disk();
    assert_eq!(files.paths(), ["comics/a.cbz", "comics/git/y"]);
    shelf.rename("comics/git", "comics/.git");
    assert_eq!(shelf.assert_equals_disk().paths(), ["comics/a.cbz"]);
}

#[test]
fn a_directory_that_may_not_be_read_keeps_its_entries_and_heals() {
    if !is_root() {
        return;
    }
    let arranged = Shelf::with(["comics/a/1", "comics/b/2"]);
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(arranged.directory(), open).unwrap();
    run(
        "chown",
        &["-R", "12345:12345", arranged.directory().to_str().unwrap()],
    );
    let shelf = arranged
        .within([
            "setpriv",
            "--reuid=12345",
            "--regid=12345",
            "--clear-groups",
        ])
        .start();
    let before = shelf.files().ids();
    assert_eq!(before.len(), 2);
    let mode = |mode| {
        let path = shelf.path("comics/a");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o000);
    shelf.post("/api/cache/rebuild", &serde_json::json!({}));
    shelf.eventually_folder_is("comics", "degraded");
    assert_eq!(shelf.files().ids(), before);
    let message = shelf.watcher_status()["folders"][0]["message"].to_string();
    assert!(message.contains("comics/a"), "{message}");
    std::fs::write(shelf.path("comics/a/3"), "while it was closed").unwrap();
    mode(0o755);
    shelf.eventually("it heals", |files| files.len() == 3);
    shelf.eventually_folder_is("comics", "watching");
    assert!(before.is_subset(&shelf.assert_equals_disk().ids()));
}

#[test]
fn a_file_system_mounted_below_is_read_and_unmounting_keeps_its_entries() {
    in_private_mounts(|| {
        let shelf = Shelf::with(["comics/a/1"]).start();
        mount_memory(&shelf.path("comics/disk"));
        shelf.write("comics/disk/sub/2", "x");
        shelf.eventually("it is read", |files| files.has("comics/disk/sub/2"));
        let before = shelf.assert_equals_disk().ids();
        unmount(&shelf.path("comics/disk"));
        shelf.write("comics/3", "x");
        shelf.eventually("the rest goes on", |files| files.has("comics/3"));
        shelf.sync();
        assert!(before.is_subset(&shelf.files().ids()), "{}", shelf.report());
        shelf.eventually_folder_is("comics", "degraded");
        let said = shelf.watcher_status()["folders"][0]["message"].to_string();
        assert!(said.contains("no disk is mounted at"), "{said}");
        mount_memory(&shelf.path("comics/disk"));
        shelf.eventually_folder_is("comics", "watching");
        shelf.assert_equals_disk();
    });
}

#[test]
fn what_is_there_without_the_disk_mounted_below_can_be_accepted() {
    in_private_mounts(|| {
        let mut shelf = Shelf::with(["comics/disk/1"]).start();
        mount_memory(&shelf.path("comics/disk"));
        shelf.write("comics/disk/2", "x");
        shelf.eventually("it is read", |files| files.paths() == ["comics/disk/2"]);
        unmount(&shelf.path("comics/disk"));
        shelf.eventually_folder_is("comics", "degraded");
        shelf.write("comics/disk/3", "x");
        shelf.restart();
        shelf.eventually_folder_is("comics", "degraded");
        assert_eq!(shelf.files().paths(), ["comics/disk/2"]);
        let accepted = shelf.post("/api/folders/comics/accept", &serde_json::json!({}));
        assert_eq!(accepted.status, 202);
        shelf.eventually_folder_is("comics", "watching");
        assert_eq!(shelf.assert_equals_disk().len(), 2);
    });
}

#[test]
fn one_directory_at_two_places_is_read_at_both() {
    in_private_mounts(|| {
        let shelf = Shelf::with(["comics/a/1"])
            .config("[watch]\npoll_s = 1\n")
            .folder("comics")
            .start();
        shelf.make_directory("comics/b");
        bind(&shelf.path("comics/a"), &shelf.path("comics/b"));
        shelf.eventually("it is seen twice", |files| files.len() == 2);
        shelf.write("comics/a/2", "x");
        shelf.write("comics/b/3", "x");
        shelf.eventually("both see both", |files| files.len() == 6);
        shelf.assert_equals_disk();
    });
}

#[test]
fn an_overflow_of_the_kernel_s_queue_is_repaired() {
    let shelf = Shelf::empty("comics").start();
    for directory in 0..10 {
        shelf.write(&format!("comics/{directory}/kept"), "x");
    }
    shelf.write("comics/quiet/in-place", "before");
    let before = shelf.assert_equals_disk();
    shelf.halt();
    for number in 0..20_000 {
        let path = format!("comics/{}/{number}", number % 10);
        File::create(shelf.path(&path)).unwrap();
    }
    // Lost as well, and a directory's change time does not tell.
    shelf.write("comics/quiet/in-place", "after it");
    shelf.rename("comics/3", "comics/three");
    shelf.go_on();
    shelf.eventually("all are found", |files| files.total == 20_011);
    let after = shelf.assert_equals_disk();
    assert!(shelf.log().contains("the kernel lost notices"));
    let metrics = String::from_utf8(shelf.get("/metrics").body).unwrap();
    assert!(!metrics.contains("shelfcast_watch_overflows_total 0\n"));
    for directory in ["0", "1", "2"] {
        let path = format!("comics/{directory}/kept");
        assert_eq!(before.id(&path), after.id(&path));
    }
    assert_eq!(before.id("comics/3/kept"), after.id("comics/three/kept"));
}

#[test]
fn beyond_the_watch_limit_directories_are_polled_and_it_is_said() {
    let limit = "echo 60 > /proc/sys/user/max_inotify_watches; exec \"$0\" \"$@\"";
    let mut arranged = Shelf::empty("comics").config("[watch]\npoll_s = 1\n");
    for directory in 0..200 {
        arranged = arranged.file(&format!("comics/d{directory:03}/f"));
    }
    let shelf = arranged
        .within(["unshare", "-Ur", "sh", "-c", limit])
        .start();
    shelf.eventually_folder_is("comics", "degraded");
    let status = shelf.watcher_status();
    assert_eq!(status["directories"], 201, "{status}");
    let watched = status["watched"].as_u64().unwrap();
    assert!((1..=60).contains(&watched), "{status}");
    let polled = 201 - watched;
    assert_eq!(status["polled"].as_u64().unwrap(), polled);
    let message = status["folders"][0]["message"].as_str().unwrap();
    for part in [
        "the limit of 60 inotify watches",
        "sysctl fs.inotify.max_user_watches=",
        &format!("{watched} directories are watched, {polled} polled"),
    ] {
        assert!(message.contains(part), "{message}");
    }
    let error = shelf
        .stream()
        .wait_for("an error about it", |event| event.kind == "error");
    assert_eq!(error.data["code"], "watch_limit");
    let hint = error.data["hint"].as_str().unwrap().to_owned();
    assert!(
        hint.starts_with("sysctl fs.inotify.max_user_watches="),
        "{hint}"
    );
    // Changes are found everywhere, without asking for a sync.
    for directory in 0..200 {
        shelf.write(&format!("comics/d{directory:03}/new"), "x");
    }
    shelf.assert_converges();
    // Room again: it is used without a restart.
    for directory in 0..170 {
        shelf.remove(&format!("comics/d{directory:03}"));
    }
    shelf.eventually_folder_is("comics", "watching");
    let status = shelf.watcher_status();
    assert_eq!(status["watched"], status["directories"], "{status}");
    shelf.assert_equals_disk();
}

#[test]
fn without_any_inotify_everything_is_polled() {
    let none = "echo 0 > /proc/sys/user/max_inotify_instances; exec \"$0\" \"$@\"";
    let shelf = Shelf::with(["comics/a/1"])
        .config("[watch]\npoll_s = 1\n")
        .within(["unshare", "-Ur", "sh", "-c", none])
        .start();
    shelf.eventually_folder_is("comics", "degraded");
    shelf.write("comics/a/2", "x");
    shelf.remove("comics/a/1");
    shelf.assert_converges();
}

#[test]
fn a_change_is_on_the_stream_within_a_tenth_of_a_second() {
    let shelf = Shelf::with(["comics/a"]).start();
    let stream = shelf.stream();
    let mut times = Vec::new();
    for number in 0..15 {
        let path = format!("comics/new{number}");
        let started = Instant::now();
        shelf.write(&path, "x");
        let event = stream.wait_for("it is told", |event| {
            let added = event.data["added"].as_array();
            added.is_some_and(|added| added.iter().any(|entry| entry["path"] == path.as_str()))
        });
        times.push(event.read_at - started);
        pause(Duration::from_millis(200));
    }
    times.sort();
    let median = times[times.len() / 2];
    assert!(median < Duration::from_millis(100), "{times:?}");
}

#[test]
fn never_more_than_ten_updates_in_a_second() {
    let shelf = Shelf::empty("comics").start();
    let stream = shelf.stream();
    let started = Instant::now();
    let mut number = 0;
    while started.elapsed() < Duration::from_secs(4) {
        shelf.write(&format!("comics/{number}"), "x");
        number += 1;
        pause(Duration::from_millis(3));
    }
    shelf.sync();
    let events = stream.events();
    let times: Vec<f64> = events
        .iter()
        .filter(|event| event.kind == "cache_updated")
        .map(|event| event.timestamp)
        .collect();
    assert!(times.len() > 20, "{}", times.len());
    let most = times.iter().enumerate().map(|(at, from)| {
        times[at..]
            .iter()
            .filter(|time| **time < from + 1.0)
            .count()
    });
    assert!(most.max() <= Some(10), "{times:?}");
}

#[test]
fn a_log_of_a_growing_file_is_told_as_it_grows_and_at_its_end() {
    let shelf = Shelf::empty("comics").start();
    let mut file = File::create(shelf.path("comics/log")).unwrap();
    file.write_all(b"1").unwrap();
    shelf.eventually("it is there, open", |files| files.has("comics/log"));
    file.write_all(&[b'x'; 999]).unwrap();
    shelf.eventually("it has grown, open", |files| {
        files
            .get("comics/log")
            .is_some_and(|entry| entry["size"] == 1000)
    });
    // Written by way of memory, which no notice tells until it is closed.
    file.set_len(5000).unwrap();
    drop(file);
    shelf.assert_equals_disk();
}
