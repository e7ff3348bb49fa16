//! The index: ids that stay with their files, and a list that equals the disk.

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
