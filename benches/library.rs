//! The figures of the index, on a real tree: `cargo bench --bench library [-- TREE]`.
//!
//! Without TREE, one of 1,000,000 empty files in 20,000 directories is made in the temporary
//! directory, and removed at the end. Beside them stand `find`, `inotifywait -mr` and `watchman`,
//! where they are installed. Each figure is a line: name, value, unit.

#![expect(clippy::print_stdout, reason = "figures are for reading")]
#![expect(unreachable_pub, reason = "the helper is made for modules of tests")]
#![expect(clippy::unwrap_used, reason = "a benchmark may fail")]

#[path = "../tests/it/helper/mod.rs"]
mod helper;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use helper::{Shelf, has_tool, http, pause};

const DIRECTORIES: usize = 20_000;
const FILES_EACH: usize = 50;
/// Times that each query is asked.
const ROUNDS: usize = 15;

fn main() {
    let given = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let (tree, _made) = match given {
        Some(path) => (PathBuf::from(path), None),
        None => {
            let made = make_tree();
            (made.path().join("library"), Some(made))
        }
    };
    others(&tree);
    ours(&tree);
    live();
}

fn show(name: &str, value: f64, unit: &str) {
    println!("{name:<58} {value:>10.1} {unit}");
}

fn show_time(name: &str, took: Duration) {
    show(name, took.as_secs_f64() * 1000.0, "ms");
}

fn make_tree() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..DIRECTORIES {
        let path = directory.path().join(format!(
            "library/series {:03}/volume {number}",
            number % 200
        ));
        std::fs::create_dir_all(&path).unwrap();
        for file in 0..FILES_EACH {
            std::fs::File::create(path.join(format!("chapter {file:03}.cbz"))).unwrap();
        }
    }
    directory
}

fn timed(command: &mut Command) -> Duration {
    let started = Instant::now();
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    started.elapsed()
}

/// What others need for the same tree.
fn others(tree: &Path) {
    let find = || {
        let mut find = Command::new("find");
        find.arg(tree).args(["-printf", "%p %s %T@ %i\\n"]);
        timed(&mut find)
    };
    find(); // the second time, all is in the page cache, for us too
    show_time("find -printf", find());
    if has_tool("inotifywait") {
        let started = Instant::now();
        let mut child = Command::new("inotifywait")
            .args(["-m", "-r"])
            .arg(tree)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let watches = lines
            .map_while(Result::ok)
            .any(|line| line.contains("established"));
        if watches {
            show_time("inotifywait -mr until watching", started.elapsed());
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    if has_tool("watchman") {
        let mut watch = Command::new("watchman");
        watch.arg("watch").arg(tree);
        show_time("watchman watch", timed(&mut watch));
        timed(Command::new("watchman").arg("watch-del").arg(tree));
    }
}

/// The first crawl, a restart, and queries.
fn ours(tree: &Path) {
    // Crawling alone: what processing costs is measured by `benches/processing.rs`.
    let mut shelf = Shelf::none()
        .existing_folder(tree)
        .config("[processing]\nautomatic = false\n")
        .launch();
    let finished = |shelf: &Shelf| {
        let stats = shelf.get("/api/cache/stats").json();
        (stats["crawling"] == false)
            .then_some(stats)
            .filter(|stats| !stats["last_crawl"].is_null())
    };
    let crawl = |shelf: &Shelf| loop {
        if let Some(stats) = finished(shelf) {
            return stats;
        }
        pause(Duration::from_millis(50));
    };
    let stats = crawl(&shelf);
    let files = stats["files"].as_f64().unwrap();
    show("first crawl: files", files, "");
    show(
        "first crawl",
        stats["last_crawl"]["duration_s"].as_f64().unwrap() * 1000.0,
        "ms",
    );
    show(
        "first crawl: memory at its highest",
        mib(shelf.peak_memory_bytes()),
        "MiB",
    );
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    let written = shelf.bytes_written() as f64;
    show("first crawl: bytes written an entry", written / files, "");
    for file in ["index.db", "index.db-wal"] {
        let length = std::fs::metadata(shelf.state().join(file)).map_or(0, |file| file.len());
        show(&format!("size of {file}"), mib(length), "MiB");
    }
    queries(&shelf);
    shelf.stop();
    let started = Instant::now();
    shelf.start_again();
    shelf.get("/api/files");
    show_time("restart until the list is served", started.elapsed());
    let stats = crawl(&shelf);
    show(
        "crawl after a restart",
        stats["last_crawl"]["duration_s"].as_f64().unwrap() * 1000.0,
        "ms",
    );
    show(
        "crawl after a restart: memory at its highest",
        mib(shelf.peak_memory_bytes()),
        "MiB",
    );
}

fn queries(shelf: &Shelf) {
    let folder = shelf.watcher_status()["folders"][0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let folder = http::escape(&folder);
    for query in [
        String::new(),
        "sort=-path".to_owned(),
        "sort=name".to_owned(),
        "sort=-modified".to_owned(),
        "sort=size&limit=1000".to_owned(),
        "search=e".to_owned(),
        "search=chapter%20049".to_owned(),
        "search=nothing-has-this".to_owned(),
        "search=volume%2012/&sort=-modified".to_owned(),
        format!("folder={folder}&search=c"),
        "status=unprocessed".to_owned(),
        "status=unprocessed&sort=modified".to_owned(),
        "status=failed".to_owned(),
        "status=duplicate".to_owned(),
        format!("directory={folder}"),
    ] {
        let target = format!("/api/files?{query}");
        let mut times: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let started = Instant::now();
                shelf.get(&target);
                started.elapsed()
            })
            .collect();
        times.sort();
        show_time(&format!("GET /api/files?{query}"), times[ROUNDS / 2]);
    }
}

/// Changes as they happen, on a small tree.
fn live() {
    let shelf = Shelf::empty("comics").start();
    let stream = shelf.stream();
    let mut times = Vec::new();
    for number in 0..ROUNDS {
        let name = format!("new{number}");
        let started = Instant::now();
        shelf.write(&format!("comics/{name}"), "x");
        let event = stream.wait_for("it is told", |event| {
            let added = event.data["added"].as_array();
            added.is_some_and(|added| added.iter().any(|entry| entry["name"] == name.as_str()))
        });
        times.push(event.read_at - started);
        pause(Duration::from_millis(300));
    }
    times.sort();
    show_time("a change, until it is on a stream", times[ROUNDS / 2]);
    let written = shelf.bytes_written();
    let started = Instant::now();
    for number in 0..20_000 {
        shelf.write(&format!("comics/{}/{number}", number % 100), "x");
    }
    show_time("20,000 files: writing them", started.elapsed());
    shelf.sync();
    show_time(
        "20,000 files: until all are in the index",
        started.elapsed(),
    );
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    let each = (shelf.bytes_written() - written) as f64 / 20_000.0;
    show("20,000 files: bytes written an entry", each, "");
}

#[expect(clippy::cast_precision_loss, reason = "a figure")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
