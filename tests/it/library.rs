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
