//! Exactly once: whatever happens to the files and to the service, each content is processed, and
//! not again but for a kill that hit it, or a job that asked for it.
//!
//! `PROPTEST_CASES` lets it run for longer than the few cases of every day.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde_json::json;

use crate::daemon::{Daemon, pause};

/// Cases of every day, a few seconds each.
const CASES: u32 = 4;
const WORKERS: usize = 2;

/// One thing that happens. Files are chosen among those that are there.
#[derive(Clone, Debug)]
enum Step {
    /// A new file, by one of the ways in which they come.
    Arrives(Way),
    /// Another content for a file, by one of these ways.
    Changes(prop::sample::Index, Way),
    Renamed(prop::sample::Index),
    /// To the other folder.
    Moved(prop::sample::Index),
    Touched(prop::sample::Index),
    Removed(prop::sample::Index),
    Killed,
    Stopped,
    SwitchedOff,
    SwitchedOn,
    JobForAll,
    /// A little later.
    Later(u64),
    /// Later than everything takes.
    Settled,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    /// Created or truncated, and written.
    InPlace,
    /// Written in pieces.
    Slowly,
    /// Written beside it and renamed over it.
    ByRename,
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![Just(Way::InPlace), Just(Way::Slowly), Just(Way::ByRename)]
}

fn step() -> impl Strategy<Value = Step> {
    let file = any::<prop::sample::Index>;
    prop_oneof![
        6 => way().prop_map(Step::Arrives),
        4 => (file(), way()).prop_map(|(file, way)| Step::Changes(file, way)),
        3 => file().prop_map(Step::Renamed),
        2 => file().prop_map(Step::Moved),
        2 => file().prop_map(Step::Touched),
        1 => file().prop_map(Step::Removed),
        2 => Just(Step::Killed),
        1 => Just(Step::Stopped),
        1 => Just(Step::SwitchedOff),
        2 => Just(Step::SwitchedOn),
        2 => Just(Step::JobForAll),
        4 => (0u64..80).prop_map(Step::Later),
        4 => Just(Step::Settled),
    ]
}

/// What may happen to a content, beside being processed once.
#[derive(Clone, Copy, Debug, Default)]
struct Allowed {
    /// Ends of the service and jobs when it was written, counted from the last time when all was
    /// quiet: those after it may each have it processed once more.
    ends: usize,
    jobs: usize,
    /// It came while its file could be at work: the attempt before may have seen it already.
    twice: bool,
}

struct World {
    daemon: Daemon,
    contents: HashMap<String, Allowed>,
    ends: usize,
    jobs: Vec<String>,
    /// Those counts at the last time when all was quiet.
    quiet: (usize, usize),
    is_quiet: bool,
    is_on: bool,
    /// Files that got another name, or another file in their place, since all was quiet: twice while
    /// a file is processed is more than a command that fails can be forgiven for.
    disturbed: Vec<PathBuf>,
    number: usize,
}

impl World {
    fn new() -> World {
        // Files called `….ed` are edited by the command itself. What it is given is told by the
        // first line; files are large, so that a new one is not taken for the command's own.
        let script =
            "read -r content < \"$1\" || exit 1; echo \"$content\" >> $BASE/runs; sleep 0.02
                      case $1 in *.ed) echo edited >> \"$1\";; esac";
        World {
            daemon: Daemon::new()
                .folder_too("books")
                .script("note", script)
                .start(),
            contents: HashMap::new(),
            ends: 0,
            jobs: Vec::new(),
            quiet: (0, 0),
            is_quiet: true,
            is_on: true,
            disturbed: Vec::new(),
            number: 0,
        }
    }

    /// Returns all files, in an order that does not depend on the disk.
    fn files(&self) -> Vec<PathBuf> {
        let folders = ["books", "comics"].map(|name| self.daemon.base().join(name));
        let entries = folders
            .iter()
            .flat_map(|path| std::fs::read_dir(path).unwrap());
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn pick(&self, file: &prop::sample::Index) -> Option<PathBuf> {
        let files = self.files();
        (!files.is_empty()).then(|| file.get(&files).clone())
    }

    fn new_name(&mut self, like: &Path) -> PathBuf {
        self.number += 1;
        let ending = like.extension().unwrap_or_default().to_str().unwrap();
        like.with_file_name(format!("{:03}.{ending}", self.number))
    }

    fn write(&mut self, path: &Path, way: Way, twice: bool) {
        self.number += 1;
        let content = format!("content-{}", self.number);
        let (ends, jobs) = self.quiet;
        self.contents
            .insert(content.clone(), Allowed { ends, jobs, twice });
        let text = format!("{content}\n{}\n", "x".repeat(4000));
        match way {
            Way::InPlace => std::fs::write(path, text).unwrap(),
            Way::Slowly => {
                let mut file = File::create(path).unwrap();
                for piece in text.as_bytes().chunks(1500) {
                    file.write_all(piece).unwrap();
                    pause(Duration::from_millis(15));
                }
            }
            Way::ByRename => {
                let part = path.with_extension("part");
                std::fs::write(&part, text).unwrap();
                std::fs::rename(part, path).unwrap();
            }
        }
    }

    fn switch(&mut self, on: bool) {
        self.daemon.post("/api/watcher", &json!({"enabled": on}));
        self.is_on = on;
    }

    fn settle(&mut self) {
        if !self.is_on {
            self.switch(true);
        }
        self.daemon.sync();
        self.jobs
            .iter()
            .for_each(|job| drop(self.daemon.wait_job(job)));
        self.daemon.wait_idle();
        self.quiet = (self.ends, self.jobs.len());
        self.is_quiet = true;
        self.disturbed.clear();
    }

    fn take(&mut self, step: &Step) {
        let was_quiet = std::mem::replace(&mut self.is_quiet, false);
        match step {
            Step::Arrives(way) => {
                self.number += 1;
                let ending = ["cbz", "ed"][self.number % 2];
                let path = self
                    .daemon
                    .folder()
                    .join(format!("{:03}.{ending}", self.number));
                self.write(&path, *way, false);
            }
            Step::Changes(file, way) => {
                let Some(path) = self.pick(file) else { return };
                if let Way::ByRename = way {
                    if self.disturbed.contains(&path) {
                        return;
                    }
                    self.disturbed.push(path.clone());
                }
                self.write(&path, *way, !was_quiet);
            }
            Step::Renamed(file) | Step::Moved(file) => {
                let path = self
                    .pick(file)
                    .filter(|path| !self.disturbed.contains(path));
                let Some(path) = path else { return };
                let mut to = self.new_name(&path);
                if let Step::Moved(_) = step {
                    let folder = if path.starts_with(self.daemon.folder()) {
                        "books"
                    } else {
                        "comics"
                    };
                    to = self
                        .daemon
                        .base()
                        .join(folder)
                        .join(to.file_name().unwrap());
                }
                std::fs::rename(path, &to).unwrap();
                self.disturbed.push(to);
            }
            Step::Touched(file) => {
                if let Some(path) = self.pick(file) {
                    File::open(path)
                        .unwrap()
                        .set_modified(SystemTime::now())
                        .unwrap();
                }
            }
            Step::Removed(file) => {
                if let Some(path) = self.pick(file) {
                    std::fs::remove_file(path).unwrap();
                }
            }
            Step::Killed => {
                self.daemon.kill();
                self.ends += 1;
                self.daemon.start_again();
            }
            Step::Stopped => {
                self.daemon.stop();
                self.ends += 1;
                self.daemon.start_again();
            }
            Step::SwitchedOff => self.switch(false),
            Step::SwitchedOn => self.switch(true),
            Step::JobForAll => {
                let job = self
                    .daemon
                    .job(&json!({"action": "process", "scope": "all"}));
                self.jobs.push(job);
            }
            Step::Later(milliseconds) => pause(Duration::from_millis(*milliseconds)),
            Step::Settled => self.settle(),
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let mut runs: HashMap<String, usize> = HashMap::new();
        for content in self.daemon.lines("runs") {
            *runs.entry(content).or_default() += 1;
        }
        let report = || format!("{runs:?}\n{}", self.daemon.report());
        let entries = self.daemon.files();
        for path in self.files() {
            let text = std::fs::read(&path).unwrap();
            let content = String::from_utf8_lossy(&text)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            let name = path.file_name().unwrap().to_str().unwrap();
            let entry = entries.iter().find(|entry| entry["name"] == name);
            prop_assert!(
                entry.is_some_and(|entry| entry["status"] == "processed"),
                "{name}: {}",
                report()
            );
            let fingerprint = blake3::hash(&text).to_hex().to_string();
            prop_assert_eq!(
                &entry.unwrap()["fingerprint"],
                &fingerprint,
                "{}: {}",
                name,
                report()
            );
            // A command that was late has made a new file of its edit alone.
            let is_known = self.contents.contains_key(&content);
            prop_assert!(
                !is_known || runs.contains_key(&content),
                "{content} was forgotten: {}",
                report()
            );
        }
        let mut by_ends = 0;
        for (content, allowed) in &self.contents {
            let times = runs.get(content).copied().unwrap_or(0);
            let usual = 1 + (self.jobs.len() - allowed.jobs) + usize::from(allowed.twice);
            let most = usual + (self.ends - allowed.ends);
            prop_assert!(
                times <= most,
                "{content} {times} times, not {most}: {}",
                report()
            );
            by_ends += times.saturating_sub(usual);
        }
        prop_assert!(
            by_ends <= self.ends * WORKERS,
            "{by_ends} again after {} ends: {}",
            self.ends,
            report()
        );
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES),
        max_shrink_iters: 20,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn whatever_happens_each_content_is_processed_once(steps in prop::collection::vec(step(), 10..40)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.settle();
        world.check()?;
    }
}
