//! Stopping, dying and starting again; and a state directory that fails.

use std::time::Duration;

use serde_json::json;

use crate::helper::mounts::{in_private_mounts, mount_memory_of};
use crate::helper::{Shelf, has_tool, is_root, pause, wait_until};

#[test]
fn what_changed_while_it_was_off_is_found_with_its_ids() {
    let mut shelf = Shelf::with(["comics/a/1", "comics/a/2", "comics/b/3", "comics/b/4"]).start();
    let before = shelf.files();
    shelf.stop();
    shelf.rename("comics/a", "comics/z");
    shelf.rename("comics/b/3", "comics/z/three");
    shelf.write("comics/b/4", "other content");
    shelf.write("comics/new/5", "x");
    shelf.remove("comics/z/2");
    shelf.start_again();
    let after = shelf.assert_equals_disk();
    assert_eq!(after.id("comics/z/1"), before.id("comics/a/1"));
    assert_eq!(after.id("comics/z/three"), before.id("comics/b/3"));
    assert_eq!(after.id("comics/b/4"), before.id("comics/b/4"));
    assert!(!before.ids().contains(&after.id("comics/new/5")));
}

#[test]
fn a_directory_renamed_while_it_was_off_and_another_in_its_place_are_both_found() {
    let mut shelf = Shelf::with(["comics/a/1", "comics/c/2"]).start();
    let before = shelf.files();
    shelf.stop();
    shelf.rename("comics/a", "comics/b");
    shelf.write("comics/a/new", "x");
    shelf.rename("comics/c", "comics/b/c"); // and one whose place a file has now
    shelf.write("comics/c", "x");
    shelf.start_again();
    let after = shelf.assert_equals_disk();
    assert_eq!(after.id("comics/b/1"), before.id("comics/a/1"));
    assert_eq!(after.id("comics/b/c/2"), before.id("comics/c/2"));
}

#[test]
fn an_id_is_never_given_twice() {
    let mut shelf = Shelf::with(["comics/1"]).start();
    let first = shelf.files().id("comics/1");
    shelf.write("comics/2", "x");
    shelf.sync();
    let second = shelf.files().id("comics/2");
    shelf.remove("comics/2");
    shelf.sync();
    shelf.kill9();
    shelf.start_again();
    shelf.write("comics/3", "x");
    let third = shelf.assert_equals_disk().id("comics/3");
    assert!(third > second && second > first, "{first} {second} {third}");
}

#[test]
fn the_list_is_served_at_once_and_then_checked() {
    let mut shelf = Shelf::empty("comics").start();
    for number in 0..3000 {
        shelf.write(&format!("comics/{}/{number}", number % 30), "x");
    }
    shelf.assert_equals_disk();
    shelf.kill9();
    shelf.start_again();
    assert_eq!(shelf.files().total, 3000);
    shelf.sync();
    let stats = shelf.get("/api/cache/stats").json();
    assert_eq!(stats["crawling"], json!(false));
    assert_eq!(stats["last_crawl"]["files"], json!(3000));
}

#[test]
fn killed_at_any_moment_of_the_first_crawl_it_goes_on() {
    let mut arranged = Shelf::empty("comics");
    for number in 0..4000 {
        arranged = arranged.file(&format!("comics/{}/{number}", number % 200));
    }
    let mut shelf = arranged.launch();
    for round in 0..12 {
        pause(Duration::from_millis(round * 17));
        shelf.kill9();
        shelf.start_again();
    }
    let files = shelf.assert_equals_disk();
    assert_eq!(files.len(), 4000);
    assert_eq!(shelf.find("sort=-size").len(), 4000);
    assert_eq!(shelf.find("sort=name&search=comics").len(), 4000);
    // Renames are found by an index that is made after the first crawl.
    shelf.rename("comics/7", "comics/seven");
    assert_eq!(shelf.assert_equals_disk().ids(), files.ids());
}

#[test]
fn a_crawl_gives_way_to_changes_and_requests() {
    let mut arranged = Shelf::empty("comics");
    for number in 0..6000 {
        arranged = arranged.file(&format!("comics/{}/{number}", number % 600));
    }
    let shelf = arranged.without_processing().start();
    let stream = shelf.stream();
    shelf.post("/api/cache/rebuild", &json!({}));
    shelf.write("comics/live", "x");
    stream.wait_for("the live change", |event| {
        let added = event.data["added"].as_array();
        added.is_some_and(|added| added.iter().any(|entry| entry["name"] == "live"))
    });
    stream.wait_for("the end of the rebuild", |event| {
        let text = event.data["message"].as_str();
        text.is_some_and(|text| text.starts_with("rebuild complete"))
    });
    let events = stream.events();
    let begins = events
        .iter()
        .find(|event| event.data["rebuild_complete"] == false);
    assert!(begins.is_some());
}

#[test]
fn a_second_service_on_one_state_is_refused() {
    let mut shelf = Shelf::with(["comics/1"]).start();
    let lock = shelf.state().join("lock");
    shelf.stop();
    let file = std::fs::File::open(lock).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let refused = shelf.try_start_again().unwrap_err();
    assert_eq!(refused.code(), Some(1));
    assert!(
        shelf.log().contains("in use by another shelfcast"),
        "{}",
        shelf.log()
    );
}

#[test]
fn a_damaged_index_is_set_aside_at_start() {
    let mut shelf = Shelf::with(["comics/1", "comics/2"]).start();
    let before = shelf.files().ids();
    shelf.stop();
    for file in ["index.db", "index.db-wal"] {
        std::fs::write(shelf.state().join(file), vec![b'x'; 100_000]).unwrap();
    }
    shelf.start_again();
    let after = shelf.assert_equals_disk();
    assert_eq!(after.len(), 2);
    assert!(
        after.ids().is_disjoint(&before),
        "ids are never given twice"
    );
    let error = shelf
        .stream()
        .wait_for("it is said", |event| event.kind == "error");
    assert_eq!(error.data["code"], "index_damaged");
    let aside = std::fs::read_dir(shelf.state()).unwrap().flatten();
    assert!(
        aside
            .map(|file| file.file_name())
            .any(|name| { name.to_string_lossy().starts_with("index.db.damaged-") })
    );
}

#[test]
fn an_index_damaged_while_it_is_used_is_set_aside() {
    let mut shelf = Shelf::empty("comics").start();
    for number in 0..3000 {
        shelf.write(&format!("comics/{}/{number}", number % 30), "x");
    }
    shelf.assert_equals_disk();
    shelf.restart(); // so that all is in the database, and nothing in memory
    shelf.sync();
    let path = shelf.state().join("index.db");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    for page in 1..length / 4096 {
        std::os::unix::fs::FileExt::write_all_at(&file, &[0xAA; 4096], page * 4096).unwrap();
    }
    shelf.post("/api/cache/rebuild", &json!({}));
    for number in 0..100 {
        shelf.write(&format!("comics/new/{number}"), "x");
    }
    let healed = wait_until(Duration::from_secs(40), || {
        let synced = shelf.get("/api/sync").status == 200;
        synced && shelf.get("/api/files?limit=1").status == 200 && shelf.files().total == 3100
    });
    assert!(healed, "{}", shelf.report());
    shelf.assert_equals_disk();
    assert!(!shelf.has_ended());
}

#[test]
fn a_full_state_directory_is_said_and_recovered_from() {
    in_private_mounts(|| {
        let arranged = Shelf::with(["comics/1"]).without_processing();
        let state = arranged.directory().join("small");
        mount_memory_of(&state, "8m");
        let shelf = arranged.state_in(&state).start();
        let stream = shelf.stream();
        let filler = state.join("filler");
        // As large as fits.
        assert!(std::fs::write(&filler, vec![0; 16 * 1024 * 1024]).is_err());
        for number in 0..2000 {
            shelf.write(&format!("comics/new/{number}"), "x");
        }
        let error = stream.wait_for("it is said", |event| event.kind == "error");
        assert_eq!(error.data["code"], "storage");
        assert_eq!(shelf.get("/api/files").status, 200); // from what it has
        shelf.wait("it tries again in vain", || {
            shelf.log().contains("the index still fails")
        });
        std::fs::remove_file(filler).unwrap();
        shelf.eventually("it recovers", |files| files.total == 2001);
        shelf.assert_equals_disk();
    });
}

#[test]
fn a_state_directory_turned_read_only_is_said_and_recovered_from() {
    if !has_tool("strace") || !is_root() {
        return;
    }
    let shelf = Shelf::with(["comics/1"]).start();
    let stream = shelf.stream();
    // Remounting is refused while a file is open for writing; what a failing card does is the same.
    let failing = shelf.inject("library", "pwrite64:error=EROFS");
    shelf.write("comics/2", "x");
    let error = stream.wait_for("it is said", |event| event.kind == "error");
    assert_eq!(error.data["code"], "storage");
    assert_eq!(shelf.files().paths(), ["comics/1"]); // from what it has
    drop(failing);
    shelf.eventually("it recovers", |files| files.has("comics/2"));
    shelf.assert_equals_disk();
}

#[test]
fn a_folder_taken_out_of_the_configuration_goes_with_its_entries() {
    let mut shelf = Shelf::with(["comics/1", "music/2"]).start();
    shelf.stop();
    shelf.drop_argument("music");
    shelf.start_again();
    shelf.sync();
    let files = shelf.files();
    assert_eq!((files.total, files.paths()), (1, vec!["comics/1"]));
    assert_eq!(shelf.find("search=2").total, 0);
}
