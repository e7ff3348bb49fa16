//! A short hard life of the service, by the built binary; the long one is `tests/soak/run`.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::time::{Duration, Instant};

use crate::helper::{Shelf, Stream, pause, wait_until};

/// What one round may cost in memory that is kept, before it counts as a leak. The first rounds fill
/// caches and the history of events.
const GROWTH_KIB: u64 = 2048;
/// Files of one burst.
const BURST: usize = 60;

/// What must be the same after every round, and what must not grow much.
#[derive(Debug)]
struct Cost {
    threads: u64,
    descriptors: usize,
    own_memory_kib: u64,
}

fn cost(shelf: &Shelf) -> Cost {
    let proc = format!("/proc/{}", shelf.pid());
    let status = std::fs::read_to_string(format!("{proc}/status")).unwrap();
    let number = |key: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(key));
        let word = rest.and_then(|rest| rest.split_whitespace().next());
        word.and_then(|word| word.parse().ok()).unwrap()
    };
    // Up to four connections to the index are kept for the next readers, as many as once were needed
    // at the same moment: how many of them there are is chance.
    let is_index = |fd: &std::fs::DirEntry| {
        std::fs::read_link(fd.path()).is_ok_and(|file| file.to_string_lossy().contains("/index.db"))
    };
    let descriptors = std::fs::read_dir(format!("{proc}/fd")).unwrap().flatten();
    Cost {
        threads: number("Threads:"),
        descriptors: descriptors.filter(|fd| !is_index(fd)).count(),
        own_memory_kib: number("RssAnon:"),
    }
}

/// Files come, change, move and go; streams come, stall and go; pages are asked for.
fn round(shelf: &Shelf, number: usize) {
    let path = |directory: &str, file: usize| format!("comics/{directory}/{file}.cbz");
    let streams: Vec<Stream> = (0..10).map(|_| shelf.stream()).collect();
    for file in 0..BURST {
        shelf.write(&path("new", file), &format!("{number} {file}"));
    }
    let job = serde_json::json!({"action": "verify", "scope": "all"});
    assert_eq!(shelf.post("/api/jobs", &job).status, 202);
    drop(streams);
    let stalled: Vec<std::net::TcpStream> = (0..5).map(|_| stall(shelf)).collect();
    shelf.rename("comics/new", "comics/moved");
    for file in 0..BURST {
        shelf.write(&path("moved", file), &format!("{number} {file} again"));
        if file % 10 == 0 {
            assert_eq!(shelf.get("/api/files?search=cbz").status, 200);
        }
    }
    shelf.assert_equals_disk();
    shelf.remove("comics/moved");
    drop(stalled);
    shelf.assert_equals_disk();
}

/// Opens a stream and never reads from it.
fn stall(shelf: &Shelf) -> std::net::TcpStream {
    use std::io::Write;
    let mut socket = std::net::TcpStream::connect(shelf.address()).unwrap();
    let request = b"GET /api/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
    socket.write_all(request).unwrap();
    socket
}

/// Waits until nobody is served and nothing is worked on.
fn rest(shelf: &Shelf) {
    shelf.wait("streams and jobs to end", || {
        let stats = shelf.get("/api/events/stats").json();
        let jobs = shelf.get("/api/jobs").json();
        let running =
            |job: &serde_json::Value| job["status"] == "queued" || job["status"] == "running";
        stats["active_clients"] == 0 && !jobs["jobs"].as_array().unwrap().iter().any(running)
    });
}

#[test]
fn a_hard_life_leaves_nothing_behind() {
    let mut shelf = Shelf::with(["comics/kept.cbz"]).start();
    round(&shelf, 0);
    shelf.kill9();
    shelf.start_again();
    rest(&shelf);
    for number in 1..4 {
        round(&shelf, number);
    }
    rest(&shelf);
    let before = settled(&shelf, None);
    let until = Instant::now() + Duration::from_secs(6);
    let mut number = 4;
    while Instant::now() < until || number < 8 {
        round(&shelf, number);
        number += 1;
    }
    rest(&shelf);
    let after = settled(&shelf, Some(&before));
    let told = format!(
        "{before:?} before, {after:?} after {number} rounds\n{}",
        shelf.report()
    );
    assert!(after.threads <= before.threads, "threads grow: {told}");
    assert!(
        after.descriptors <= before.descriptors,
        "descriptors grow: {told}"
    );
    assert!(
        after.own_memory_kib <= before.own_memory_kib + GROWTH_KIB,
        "memory grows: {told}"
    );
    assert!(!shelf.log().contains("panicked"), "{told}");
    assert!(shelf.stop().success());
}

/// Returns what the service costs once its idle threads have ended (after 5 s), or, where `wanted` is
/// given, as soon as it is no more than that.
fn settled(shelf: &Shelf, wanted: Option<&Cost>) -> Cost {
    let mut last = cost(shelf);
    let mut since = Instant::now();
    wait_until(Duration::from_secs(30), || {
        pause(Duration::from_millis(100));
        let now = cost(shelf);
        if (now.threads, now.descriptors) != (last.threads, last.descriptors) {
            since = Instant::now();
        }
        last = now;
        let small = wanted.is_some_and(|wanted| {
            last.threads <= wanted.threads && last.descriptors <= wanted.descriptors
        });
        small || wanted.is_none() && since.elapsed() > Duration::from_secs(7)
    });
    last
}
