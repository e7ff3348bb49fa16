//! Scale: what must not grow with the number of files. Figures of a million are for `benches/`.

use std::time::{Duration, Instant};

use crate::helper::{PATIENCE, Shelf};

#[test]
fn twenty_thousand_files_copied_in_overflow_nothing_and_starve_nobody() {
    let shelf = Shelf::with(["comics/old"]).without_processing().start();
    let mut follower = shelf.follow();
    let library = shelf.library();
    let copy = std::thread::Builder::new().spawn(move || {
        for number in 0..20_000 {
            let directory = library.join(format!("comics/{}", number % 100));
            if number < 100 {
                std::fs::create_dir(&directory).unwrap();
            }
            std::fs::write(directory.join(number.to_string()), "x").unwrap();
        }
    });
    let copy = copy.unwrap();
    let mut slowest = Duration::ZERO;
    while !copy.is_finished() {
        let started = Instant::now();
        assert_eq!(shelf.get("/api/files?limit=100").status, 200);
        slowest = slowest.max(started.elapsed());
        follower.apply();
    }
    copy.join().unwrap();
    let last = shelf.sync();
    assert_eq!(shelf.assert_equals_disk().len(), 20_001);
    assert_eq!(follower.list_at(&last).len(), 20_001);
    assert!(
        !shelf.log().contains("the kernel lost notices"),
        "the queue overflowed"
    );
    let stats = shelf.get("/api/events/stats").json();
    assert_eq!(stats["clients_ended_behind"], 0);
    // Under a second even on a machine that builds something else meanwhile.
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

#[test]
fn renaming_a_directory_of_many_files_is_a_small_write() {
    let mut arranged = Shelf::empty("comics");
    for number in 0..20_000 {
        arranged = arranged.file(&format!("comics/many/{}/{number}", number % 50));
    }
    let shelf = arranged.without_processing().start();
    let before = shelf.files().ids();
    let stream = shelf.stream();
    let written = shelf.bytes_written();
    shelf.rename("comics/many", "comics/moved");
    let event = stream.wait_for("one event for all", |event| {
        event.data["message"] == "20000 changed"
    });
    assert_eq!(event.data["truncated"], true);
    shelf.sync();
    let written = shelf.bytes_written() - written;
    assert!(written < 100_000, "{written} bytes");
    let files = shelf.assert_equals_disk();
    assert!(files.all_below("comics/moved"));
    assert_eq!(files.ids(), before);
}

#[test]
fn a_large_directory_that_goes_holds_up_nobody_and_frees_its_name() {
    let mut arranged = Shelf::empty("comics").folder("music");
    for number in 0..8_000 {
        arranged = arranged.file(&format!("comics/many/{}/{number}", number % 50));
    }
    let mut shelf = arranged.without_processing().start();
    let stream = shelf.stream();
    std::fs::rename(shelf.path("comics/many"), shelf.outside("many")).unwrap();
    stream.wait_for("it begins to go", |event| {
        let text = event.data["message"].as_str();
        text.is_some_and(|text| text.ends_with("removed"))
    });
    shelf.write("comics/many/new", "x");
    shelf.write("music/live", "x");
    let live = stream.wait_for("the live change", |event| {
        let added = event.data["message"].as_str();
        added.is_some_and(|text| text.contains("added"))
    });
    assert!(live.data["total"].as_u64().unwrap() > 2, "{}", live.data);
    // What is left of it after a kill goes too.
    shelf.kill9();
    shelf.start_again();
    let files = shelf.assert_equals_disk();
    assert_eq!(files.paths(), ["comics/many/new", "music/live"]);
    // Some of it may have gone, the rest comes back as what it was.
    std::fs::rename(shelf.outside("many"), shelf.path("comics/back")).unwrap();
    assert_eq!(shelf.assert_equals_disk().len(), 8_002);
    std::fs::rename(shelf.path("comics/back"), shelf.outside("many")).unwrap();
    shelf.wait("it begins to go", || {
        shelf.get("/api/files?limit=1").json()["total"] != 8_002
    });
    std::fs::rename(shelf.outside("many"), shelf.path("comics/again")).unwrap();
    assert_eq!(shelf.assert_equals_disk().len(), 8_002);
}

#[test]
fn a_directory_of_fifty_thousand_files_is_read_in_bounded_memory() {
    let shelf = Shelf::empty("comics").start();
    let outside = shelf.outside("many");
    std::fs::create_dir(&outside).unwrap();
    for number in 0..50_000 {
        std::fs::write(
            outside.join(format!("a name of usual length {number}.cbz")),
            "",
        )
        .unwrap();
    }
    std::fs::rename(&outside, shelf.path("comics/many")).unwrap();
    shelf.wait("all are there", || {
        shelf.find("limit=1&search=49999").total == 1
    });
    shelf.sync();
    assert_eq!(shelf.get("/api/files?limit=1").json()["total"], 50_000);
    shelf.remove("comics/many");
    shelf.sync();
    assert!(shelf.files().is_empty());
    let peak = shelf.peak_memory_bytes();
    assert!(peak < 64 << 20, "{} MiB", peak >> 20);
}

#[test]
fn a_subtree_that_goes_takes_its_watches_along() {
    let mut arranged = Shelf::with(["comics/stays"]);
    for number in 0..2000 {
        arranged = arranged.file(&format!("comics/tree/{}/{number}/f", number % 40));
    }
    let shelf = arranged.start();
    assert!(shelf.kernel_watches() > 2000);
    shelf.remove("comics/tree");
    shelf.sync();
    assert_eq!(shelf.assert_equals_disk().paths(), ["comics/stays"]);
    let deadline = Instant::now() + PATIENCE;
    while shelf.kernel_watches() > 2 {
        assert!(Instant::now() < deadline, "{}", shelf.kernel_watches());
    }
}
