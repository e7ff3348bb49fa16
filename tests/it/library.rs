//! The index: ids that stay with their files, and a list that equals the disk.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::time::Duration;

use shelfcast::config::FolderConfig;
use shelfcast::events::Broadcaster;
use shelfcast::library::{Library, Settings};

use crate::helper::Shelf;

#[test]
fn renaming_a_directory_keeps_the_ids() {
    let shelf = Shelf::with(["comics/a/1.cbz", "comics/a/2.cbz"]).start();
    let before = shelf.files().ids();
    shelf.rename("comics/a", "comics/b");
    shelf.eventually("both are below b", |files| files.all_below("comics/b"));
    assert_eq!(shelf.files().ids(), before);
}

#[test]
fn a_client_of_deltas_alone_has_the_list() {
    let shelf = Shelf::with(["comics/a/1.cbz", "comics/a/2.cbz"]).start();
    let mut follower = shelf.follow();
    shelf.write("comics/new/3.cbz", "three");
    shelf.rename("comics/a/1.cbz", "comics/new/1.cbz");
    shelf.remove("comics/a/2.cbz");
    let last = shelf.sync();
    let files = shelf.assert_equals_disk();
    let mut listed = follower.list_at(&last);
    listed.sort_by_key(|entry| entry["path"].as_str().map(str::to_owned));
    assert_eq!(listed, files.entries);
    assert_eq!(follower.reads, 1);
}

/// Every page of `query`, in order.
fn paths(shelf: &Shelf, query: &str) -> Vec<String> {
    let files = shelf.find(query);
    assert_eq!(files.total, files.len() as u64, "{query}");
    files.paths().into_iter().map(str::to_owned).collect()
}

#[test]
fn what_lies_at_one_end_of_an_order_is_found_in_order() {
    let mut arranged = Shelf::empty("comics").folder("music");
    for number in 0..6000 {
        arranged = arranged.file(&format!("comics/a{:02}/{number:04}", number % 60));
    }
    for number in 0..2500 {
        arranged = arranged.file(&format!("music/z{}/yy{number:04}", number % 9));
    }
    let shelf = arranged.without_processing().start();
    let mut expected: Vec<String> = (0..2500)
        .map(|number| format!("music/z{}/yy{number:04}", number % 9))
        .collect();
    expected.sort();
    for query in ["search=yy", "folder=music", "folder=music&search=Z"] {
        assert_eq!(paths(&shelf, query), expected, "{query}");
        let mut down = paths(&shelf, &format!("{query}&sort=-path"));
        down.reverse();
        assert_eq!(down, expected, "{query} down");
        // Last in the order of names too.
        let mut by_name = paths(&shelf, &format!("{query}&sort=name"));
        let name = |path: &String| path.rsplit('/').next().map(str::to_owned);
        assert!(by_name.is_sorted_by_key(name), "{query} by name");
        by_name.sort();
        assert_eq!(by_name, expected, "{query} by name");
        for sort in ["size", "-size", "modified", "-modified", "-name"] {
            let mut found = paths(&shelf, &format!("{query}&sort={sort}"));
            found.sort();
            assert_eq!(found, expected, "{query} {sort}");
        }
    }
    assert_eq!(shelf.find("status=unprocessed&folder=music").total, 2500);
}

/// Writes to a file by a name outside of its folder, and changes another in it; returns the bytes that
/// the library then knows of.
fn bytes_after_a_write_that_nobody_tells(whole_again: Duration) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("comics");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a"), "1").unwrap();
    std::fs::hard_link(folder.join("a"), directory.path().join("outside")).unwrap();
    let settings = Settings {
        state: directory.path().join("state"),
        folders: vec![FolderConfig {
            path: folder.clone(),
            name: "comics".to_owned(),
            include: Vec::new(),
            ignore: Vec::new(),
        }],
        poll: Duration::from_secs(60),
        whole_again,
        automatic: false,
    };
    let events = Broadcaster::start(shelfcast::events::Settings::default()).unwrap();
    let (library, _work) = Library::start(settings, events).unwrap();
    library.sync(Duration::from_secs(30)).unwrap();
    std::fs::write(directory.path().join("outside"), "12345").unwrap();
    std::fs::write(folder.join("b"), "2").unwrap();
    library.sync(Duration::from_secs(30)).unwrap();
    library.stats().bytes
}

#[test]
fn a_write_that_nobody_tells_is_found_when_the_folder_is_read_whole_again() {
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(bytes_after_a_write_that_nobody_tells(day), 1 + 1);
    assert_eq!(bytes_after_a_write_that_nobody_tells(Duration::ZERO), 5 + 1);
}
