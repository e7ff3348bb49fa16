//! Jobs: made, followed, cancelled, resumed.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::{Value, json};
use shelfcast::config::ProcessingConfig;
use shelfcast::events::types::{JobStatus, Status};
use shelfcast::events::{Broadcaster, Filter, Settings};
use shelfcast::library::EntryId;
use shelfcast::library::work::{Item, Report, Scope, Selection, Stamp};
use shelfcast::processing::{Action, JobScope, Processing, Shelf, ShelfError, Wanted};

use crate::daemon::{Daemon, PATIENCE, pause};

fn with_files(daemon: Daemon, count: usize) -> Daemon {
    let daemon = daemon.manual();
    for number in 0..count {
        daemon.write(
            &format!("{}/{number:04}.cbz", ["a", "b"][number % 2]),
            number.to_string(),
        );
    }
    let daemon = daemon.start();
    daemon.eventually("all are known", || {
        daemon.get("/api/files?limit=1").json["counts"]["all"] == count
    });
    daemon
}

fn states(events: &[Value], job: &str) -> Vec<Value> {
    let updates = events.iter().filter(|event| event["type"] == "job_updated");
    let data = updates.map(|event| event["data"].clone());
    data.filter(|data| data["job_id"] == job).collect()
}

#[test]
fn an_entry_that_waits_to_be_complete_is_processed_although_it_was_verified_meanwhile() {
    let daemon = Daemon::new();
    daemon.write("found.cbz", "by the crawl, so that it has to stand still");
    let daemon = daemon.start();
    daemon.wait_status("found.cbz", "unprocessed");
    let job = daemon.job(&json!({"action": "verify", "scope": "all"}));
    daemon.wait_job(&job);
    daemon.wait_status("found.cbz", "processed");
}

#[test]
fn an_entry_that_is_wanted_while_it_is_verified_is_processed_afterwards() {
    let daemon = Daemon::new().manual();
    // Verifying it takes longer than to be wanted meanwhile.
    let large = std::fs::File::create(daemon.folder().join("large.cbz")).unwrap();
    large.set_len(1 << 30).unwrap();
    drop(large);
    let daemon = daemon.start();
    daemon.wait_status("large.cbz", "unprocessed");
    let job = daemon.job(&json!({"action": "verify", "scope": "all"}));
    daemon.eventually("it is being verified", || {
        daemon.get(&format!("/api/jobs/{job}")).json["current_file"] == "comics/large.cbz"
    });
    daemon.post("/api/watcher", &json!({"enabled": true}));
    daemon.sync();
    let state = daemon.get(&format!("/api/jobs/{job}")).json["status"].clone();
    assert_eq!(state, "running", "the file is too small for this test");
    daemon.wait_job(&job);
    daemon.wait_status("large.cbz", "processed");
}

#[test]
fn a_job_is_followed_from_queued_to_completed() {
    let daemon = with_files(Daemon::new(), 300);
    daemon.forget_events();
    let answer = daemon.post(
        "/api/jobs",
        &json!({"action": "process", "scope": "unprocessed"}),
    );
    assert_eq!((answer.status, &answer.json["total"]), (202, &json!(300)));
    let job = answer.json["job_id"].as_str().unwrap();
    let states = daemon.wait_events("the end of the job", |events| {
        let states = states(events, job);
        let is_over = states
            .last()
            .is_some_and(|state| state["status"] == "completed");
        is_over.then_some(states)
    });
    assert_eq!(states[0]["status"], "queued");
    assert!(states.iter().any(|state| state["status"] == "running"));
    let last = states.last().unwrap();
    assert_eq!(
        last["progress"],
        json!({"current": 300, "total": 300, "percent": 100, "failed": 0})
    );
    assert_eq!(
        (&last["current_file"], &last["action"]),
        (&json!(null), &json!("process"))
    );
    let ended = states
        .iter()
        .filter(|state| state["status"] == "completed")
        .count();
    assert_eq!(ended, 1);
    let counts: Vec<_> = states
        .iter()
        .map(|state| state["progress"]["current"].as_u64())
        .collect();
    assert!(counts.is_sorted(), "{counts:?}");
    daemon.wait_idle();
    assert_eq!(daemon.history().len(), 300);
    assert_eq!(daemon.history()[0]["job_id"], job);
    let kept = daemon.get(&format!("/api/jobs/{job}")).json;
    assert_eq!(kept["progress"], last["progress"]);
    assert!(kept["created_at"].as_f64() <= kept["started_at"].as_f64());
    assert!(kept["started_at"].as_f64() <= kept["ended_at"].as_f64());
}

#[test]
fn a_job_is_for_files_folders_or_directories() {
    let daemon = with_files(Daemon::new(), 10);
    let files = daemon.files();
    let of = |body: Value| {
        let job = daemon.job(&body);
        daemon.wait_job(&job)["progress"]["current"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(
        of(json!({"action": "process", "files": [files[3]["id"], files[1]["id"], files[3]["id"]]})),
        2
    );
    daemon.eventually("two are processed", || {
        daemon.get("/api/files?limit=1").json["counts"]["processed"] == 2
    });
    assert_eq!(
        of(json!({"action": "process", "scope": "all", "directory": "comics/a/"})),
        5
    );
    assert_eq!(
        of(json!({"action": "process", "scope": "all", "folder": "comics"})),
        10
    );
    daemon.wait_idle();
    assert_eq!(of(json!({"action": "process", "scope": "failed"})), 0);
    assert_eq!(of(json!({"action": "verify", "scope": "all"})), 10);
}

#[test]
fn wrong_requests_are_refused_with_the_reason() {
    let daemon = with_files(Daemon::new(), 1);
    for (body, status, part) in [
        (json!({"action": "dance", "scope": "all"}), 400, "process"),
        (
            json!({"action": "process", "scope": "all", "folder": "x"}),
            400,
            "no folder",
        ),
        (
            json!({"action": "process", "scope": "all", "directory": "comics/x"}),
            400,
            "no directory",
        ),
        (
            json!({"action": "process", "files": [999]}),
            404,
            "no entry 999",
        ),
    ] {
        let answer = daemon.post("/api/jobs", &body);
        assert_eq!(answer.status, status, "{body} {answer:?}");
        let message = answer.json["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{message}");
    }
    for target in ["/api/jobs/77", "/api/jobs/x", "/api/jobs/01"] {
        assert_eq!(daemon.get(target).status, 404, "{target}");
    }
    assert_eq!(daemon.post("/api/jobs/77/cancel", &json!({})).status, 404);
    let job = daemon.job(&json!({"action": "process", "scope": "all"}));
    daemon.wait_job(&job);
    let again = daemon.post(&format!("/api/jobs/{job}/cancel"), &json!({}));
    assert_eq!(
        (again.status, &again.json["error"]["code"]),
        (409, &json!("job_has_ended"))
    );
    assert_eq!(daemon.get("/api/history?limit=0").status, 400);
    assert_eq!(daemon.get("/api/history?cursor=x").status, 400);
    assert_eq!(
        daemon.get("/api/jobs").json["jobs"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn cancelling_ends_running_commands_within_a_second() {
    let daemon = Daemon::new().script(
        "slow",
        "echo run >> $BASE/runs; trap '' TERM; sleep 1000; sleep 1000",
    );
    let daemon = with_files(daemon, 50);
    daemon.forget_events();
    let job = daemon.job(&json!({"action": "process", "scope": "all"}));
    daemon.eventually("two run", || daemon.lines("runs").len() == 2);
    let waiting = daemon.job(&json!({"action": "process", "scope": "all"}));
    let began = Instant::now();
    let answer = daemon.post(&format!("/api/jobs/{job}/cancel"), &json!({}));
    assert_eq!(
        (answer.status, &answer.json["status"]),
        (202, &json!("cancelled"))
    );
    // The workers are free for the next job as soon as the commands have ended.
    daemon.eventually("the next job runs", || daemon.lines("runs").len() == 4);
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1500), "{took:?}");
    daemon.post(&format!("/api/jobs/{waiting}/cancel"), &json!({}));
    daemon.wait_events("the last word on both", |events| {
        let last = |job: &str| states(events, job).last().cloned();
        let both = [last(&job)?, last(&waiting)?];
        both.iter()
            .all(|state| state["status"] == "cancelled")
            .then_some(())
    });
    daemon.eventually("no entry is processing", || {
        daemon.get("/api/files?limit=1").json["counts"]["processing"] == 0
    });
    assert_eq!(daemon.lines("runs").len(), 4);
    assert!(
        daemon.history().is_empty(),
        "what was called off is no result"
    );
}

#[test]
fn a_job_goes_on_where_it_was_after_a_kill_and_after_a_stop() {
    let script = "echo \"$SHELFCAST_NAME\" >> $BASE/runs; sleep 0.02";
    let mut daemon = with_files(Daemon::new().script("count", script), 60);
    let all: Vec<_> = daemon
        .files()
        .iter()
        .map(|file| file["id"].clone())
        .collect();
    let scoped = daemon.job(&json!({"action": "process", "scope": "all"}));
    daemon.eventually("some are done", || daemon.lines("runs").len() >= 15);
    daemon.kill();
    daemon.start_again();
    daemon.eventually("more are done", || daemon.lines("runs").len() >= 35);
    daemon.stop();
    daemon.start_again();
    let ended = daemon.wait_job(&scoped);
    assert_eq!(ended["status"], "completed");
    assert_eq!(
        ended["progress"],
        json!({"current": 60, "total": 60, "percent": 100, "failed": 0})
    );
    let mut runs = daemon.lines("runs");
    assert!(
        runs.len() <= 60 + 2 * 2,
        "{} runs: two workers, ended twice",
        runs.len()
    );
    runs.sort();
    runs.dedup();
    assert_eq!(runs.len(), 60);
    // The same for a list of ids.
    let before = daemon.lines("runs").len();
    let listed = daemon.job(&json!({"action": "process", "files": all}));
    daemon.eventually("some are done", || {
        daemon.lines("runs").len() >= before + 15
    });
    daemon.kill();
    daemon.start_again();
    assert_eq!(daemon.wait_job(&listed)["progress"]["current"], 60);
    let more = daemon.lines("runs").len() - before;
    assert!((60..=62).contains(&more), "{more}");
}

#[test]
fn what_a_kill_interrupts_in_a_job_runs_again_for_the_job_alone() {
    let script = "echo \"$SHELFCAST_NAME\" >> $BASE/runs; \
                  while test -e \"$BASE/hold-$SHELFCAST_NAME\"; do sleep 0.05; done; exit 1";
    let mut daemon = Daemon::new().script("refuse", script).start();
    for number in 0..5 {
        daemon.write(&format!("{number}.cbz"), number.to_string());
    }
    daemon.eventually("all have failed", || {
        let files = daemon.files();
        files.len() == 5 && files.iter().all(|file| file["status"] == "failed")
    });
    daemon.wait_idle();
    let holds = ["2", "3"].map(|name| daemon.base().join(format!("hold-{name}.cbz")));
    for hold in &holds {
        std::fs::write(hold, "").unwrap();
    }
    let files = daemon.files();
    let ids: Vec<_> = files.iter().map(|file| &file["id"]).collect();
    let job = daemon.job(&json!({"action": "process", "files": ids}));
    let runs = |daemon: &Daemon| daemon.lines("runs").len();
    for name in ["2.cbz", "3.cbz"] {
        daemon.wait_status(name, "processing"); // also in the index, by now
    }
    daemon.kill();
    daemon.start_again();
    daemon.eventually("they are again", || runs(&daemon) >= 11);
    for hold in &holds {
        std::fs::remove_file(hold).unwrap();
    }
    assert_eq!(
        daemon.wait_job(&job)["progress"],
        json!({"current": 5, "total": 5, "percent": 100, "failed": 5})
    );
    daemon.wait_idle();
    assert_eq!(runs(&daemon), 12, "{:?}", daemon.lines("runs"));
    let history = daemon.history();
    let of_job = history.iter().filter(|past| past["job_id"] == job.as_str());
    assert_eq!(of_job.count(), 5);
}

#[test]
fn job_events_are_at_most_ten_a_second() {
    let daemon = with_files(Daemon::new(), 2000);
    daemon.forget_events();
    let began = Instant::now();
    let job = daemon.job(&json!({"action": "process", "scope": "all"}));
    let states = daemon.wait_events("the end of the job", |events| {
        let states = states(events, &job);
        let is_over = states
            .last()
            .is_some_and(|state| state["status"] == "completed");
        is_over.then_some(states)
    });
    // Queued and completed are never held back.
    let most = 2 + 10 * (usize::try_from(began.elapsed().as_secs()).unwrap() + 1);
    assert!(
        states.len() <= most,
        "{} in {:?}",
        states.len(),
        began.elapsed()
    );
}

#[test]
fn a_short_job_does_not_wait_for_a_long_one() {
    let script = "echo \"$SHELFCAST_NAME\" >> $BASE/runs; sleep 0.05";
    let daemon = with_files(Daemon::new().script("slow", script), 200);
    let last = daemon.file("0199.cbz").unwrap()["id"].clone();
    let long = daemon.job(&json!({"action": "process", "scope": "all"}));
    daemon.eventually("it runs", || !daemon.lines("runs").is_empty());
    let short = daemon.job(&json!({"action": "process", "files": [last]}));
    assert_eq!(daemon.wait_job(&short)["status"], "completed");
    let state = daemon.get(&format!("/api/jobs/{long}")).json;
    assert_eq!(state["status"], "running", "{}", daemon.report());
    daemon.eventually("there is an estimate", || {
        let state = daemon.get(&format!("/api/jobs/{long}")).json;
        state["eta_s"].is_number() && state["current_file"].is_string()
    });
    daemon.post(&format!("/api/jobs/{long}/cancel"), &json!({}));
}

#[test]
fn jobs_that_wait_are_told_after_a_restart_too() {
    let mut daemon = with_files(Daemon::new().script("slow", "sleep 1000"), 4);
    let body = json!({"action": "process", "scope": "all", "folder": "comics"});
    let jobs: Vec<_> = (0..7).map(|_| daemon.job(&body)).collect();
    daemon.eventually("the first runs", || {
        daemon.get(&format!("/api/jobs/{}", jobs[0])).json["status"] == "running"
    });
    daemon.kill();
    daemon.start_again();
    for (number, job) in jobs.iter().enumerate() {
        let status = if number < 4 { "running" } else { "queued" };
        daemon.wait_events(&format!("{status} of job {job}"), |events| {
            states(events, job)
                .last()
                .filter(|last| last["status"] == status)
                .map(drop)
        });
    }
}

#[test]
fn a_job_for_one_folder_is_told_to_those_that_asked_for_it_and_to_no_others() {
    let daemon = with_files(Daemon::new().folder_too("books"), 4);
    let before = daemon.get("/api/files?limit=1").json["last_event_id"].clone();
    let before = before.as_str().unwrap();
    let job = daemon.job(&json!({"action": "process", "scope": "all", "directory": "comics/a"}));
    daemon.wait_job(&job);
    let told = |folder: &str| {
        let target = format!("/api/events?types=job_updated&folder={folder}&after={before}");
        states(daemon.get(&target).json["events"].as_array().unwrap(), &job)
    };
    daemon.eventually("its end is told", || {
        let last = told("comics").pop();
        last.is_some_and(|last| last["status"] == "completed")
    });
    assert_eq!(told("comics")[0]["status"], "queued");
    assert_eq!(told("books"), [Value::Null; 0]);
}

#[test]
fn a_job_goes_on_beside_an_entry_that_is_in_other_hands() {
    let script = "case $SHELFCAST_NAME in 0000*) touch $BASE/began; while ! test -e $BASE/end; do sleep 0.05; done;; esac";
    let daemon = Daemon::new().script("slow", script).start();
    daemon.write("0000.cbz", "takes long");
    daemon.eventually("it is being processed", || {
        daemon.base().join("began").exists()
    });
    daemon.post("/api/watcher", &json!({"enabled": false}));
    for number in 1..20 {
        daemon.write(&format!("{number:04}.cbz"), number.to_string());
    }
    daemon.sync();
    let job = daemon.job(&json!({"action": "process", "scope": "all"}));
    let done =
        |job: &str| daemon.get(&format!("/api/jobs/{job}")).json["progress"]["current"].clone();
    daemon.eventually("all others are done", || done(&job) == 19);
    assert_eq!(
        daemon.get(&format!("/api/jobs/{job}")).json["status"],
        "running"
    );
    std::fs::write(daemon.base().join("end"), "").unwrap();
    assert_eq!(
        daemon.wait_job(&job)["progress"],
        json!({"current": 20, "total": 20, "percent": 100, "failed": 0})
    );
    daemon.wait_idle();
    assert_eq!(
        daemon.history().len(),
        21,
        "that one live, and all for the job"
    );
}

#[test]
fn what_live_work_has_done_is_not_done_again_for_a_job_over_the_unprocessed() {
    let script = "echo run >> $BASE/runs; while test -e $BASE/hold; do sleep 0.05; done";
    let daemon = Daemon::new().script("count", script).start();
    daemon.post("/api/watcher", &json!({"enabled": false}));
    for number in 0..600 {
        daemon.write(&format!("{number:04}.cbz"), number.to_string());
    }
    daemon.sync();
    std::fs::write(daemon.base().join("hold"), "").unwrap();
    let job = daemon.job(&json!({"action": "process", "scope": "unprocessed"}));
    daemon.eventually("the job runs", || daemon.lines("runs").len() == 2);
    // It knows its next items; now live work does them before it can.
    daemon.post("/api/watcher", &json!({"enabled": true}));
    daemon.eventually("live work is at hand", || {
        let figures = daemon.get("/metrics").text;
        let mut lines = figures.lines();
        let under_way = lines.find_map(|line| line.strip_prefix("shelfcast_processing_under_way "));
        under_way.is_some_and(|number| number.parse::<u32>().unwrap() > 10)
    });
    std::fs::remove_file(daemon.base().join("hold")).unwrap();
    assert_eq!(daemon.wait_job(&job)["progress"]["failed"], 0);
    daemon.wait_idle();
    assert_eq!(daemon.lines("runs").len(), 600);
}

/// A library of one unprocessed entry, which halts the worker that says to have begun with it.
struct Single {
    item: Item,
    begun: Sender<()>,
    goes_on: Receiver<()>,
    /// Somebody looked for unprocessed entries.
    looked: Sender<()>,
    finished: Sender<Option<String>>,
}

impl Shelf for Single {
    fn items(&self, wanted: &Selection) -> Result<Vec<Item>, ShelfError> {
        let found = (wanted.after < self.item.id).then(|| self.item.clone());
        if wanted.scope == Scope::Status(Status::Unprocessed) {
            self.looked.try_send(()).unwrap_or_default();
        }
        Ok(found.into_iter().collect())
    }

    fn item(&self, _id: EntryId) -> Result<Option<Item>, ShelfError> {
        Ok(Some(self.item.clone()))
    }

    fn count(&self, _wanted: &Selection) -> Result<u64, ShelfError> {
        Ok(1)
    }

    fn report(&self, report: Report) {
        match report {
            Report::Started(_) if self.begun.try_send(()).is_ok() => {
                self.goes_on.recv().unwrap();
            }
            Report::Finished(finished) => {
                self.finished.try_send(finished.error).unwrap_or_default();
            }
            _ => {}
        }
    }

    fn is_online(&self, _folder: &str) -> bool {
        true
    }
}

#[test]
fn what_a_verify_has_while_live_work_looks_is_looked_for_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    // So large that the worker says that it has begun with it.
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    drop(file);
    let (begun, has_begun) = bounded(1);
    let (go_on, goes_on) = bounded(1);
    let (looked, has_looked) = bounded(1);
    let (finished, has_finished) = bounded(1);
    let shelf = Arc::new(Single {
        item: Item {
            id: EntryId(1),
            folder: "comics".to_owned(),
            root: Arc::new(directory.path().to_path_buf()),
            relative: b"file".to_vec(),
            path: "comics/file".to_owned(),
            stamp: stamp(&path),
            status: Status::Unprocessed,
            fingerprint: None,
            done: None,
            finished: true,
        },
        begun,
        goes_on,
        looked,
        finished,
    });
    let events = Broadcaster::start(Settings::default()).unwrap();
    let (_work, told) = bounded(1);
    let settings = ProcessingConfig {
        automatic: false,
        workers: 1,
    };
    let state = directory.path().join("state");
    let processing = Processing::start(&settings, Vec::new(), &state, shelf, told, events).unwrap();
    let wanted = Wanted::Scope {
        scope: JobScope::All,
        folder: None,
        directory: None,
    };
    processing.create_job(Action::Verify, &wanted).unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
    drop(has_begun); // nobody halts any more
    processing.set_automatic(true);
    has_looked.recv_timeout(PATIENCE).unwrap();
    go_on.send(()).unwrap();
    assert_eq!(has_finished.recv_timeout(PATIENCE), Ok(None));
}

/// A library of a million entries that are all the same file.
struct Million {
    root: Arc<PathBuf>,
    stamp: Stamp,
    /// The largest page that was asked for.
    page: AtomicUsize,
}

const MILLION: i64 = 1_000_000;

impl Shelf for Million {
    fn items(&self, wanted: &Selection) -> Result<Vec<Item>, ShelfError> {
        self.page.fetch_max(wanted.limit, Relaxed);
        let first = wanted.after.0 + 1;
        let limit = i64::try_from(wanted.limit).unwrap();
        let ids = first..=MILLION.min(first + limit - 1);
        ids.map(|id| self.item(EntryId(id)).map(|item| item.unwrap()))
            .collect()
    }

    fn item(&self, id: EntryId) -> Result<Option<Item>, ShelfError> {
        Ok(Some(Item {
            id,
            folder: "comics".to_owned(),
            root: Arc::clone(&self.root),
            relative: b"file".to_vec(),
            path: format!("comics/{}", id.0),
            stamp: self.stamp,
            status: Status::Processed,
            fingerprint: Some([7; 32]), // of some other content
            done: None,
            finished: true,
        }))
    }

    fn count(&self, _wanted: &Selection) -> Result<u64, ShelfError> {
        Ok(MILLION.unsigned_abs())
    }

    fn report(&self, report: Report) {
        let Report::Finished(finished) = report else {
            return;
        };
        assert!(finished.error.is_some());
    }

    fn is_online(&self, _folder: &str) -> bool {
        true
    }
}

/// The stamp of a file as it is.
fn stamp(file: &Path) -> Stamp {
    let found = file.metadata().unwrap();
    let modified = found.modified().unwrap();
    let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    Stamp {
        size: found.len(),
        modified: i64::try_from(modified.as_nanos()).unwrap(),
        ino: std::os::unix::fs::MetadataExt::ino(&found),
    }
}

/// Starts processing on such a library.
fn million(directory: &Path, events: Broadcaster) -> (Arc<Million>, Processing) {
    let file = directory.join("file");
    std::fs::write(&file, "content").unwrap();
    let shelf = Arc::new(Million {
        root: Arc::new(directory.to_path_buf()),
        stamp: stamp(&file),
        page: AtomicUsize::new(0),
    });
    let settings = ProcessingConfig {
        automatic: false,
        workers: 2,
    };
    let (_work, told) = bounded(1);
    let state = directory.join("state");
    let part = Arc::clone(&shelf) as Arc<dyn Shelf>;
    let processing = Processing::start(&settings, Vec::new(), &state, part, told, events).unwrap();
    (shelf, processing)
}

#[test]
fn a_job_over_a_million_entries_starts_at_once_and_ends_at_once_when_cancelled() {
    let directory = tempfile::tempdir().unwrap();
    let events = Broadcaster::start(Settings::default()).unwrap();
    let (shelf, processing) = million(directory.path(), events);
    let wanted = Wanted::Scope {
        scope: JobScope::All,
        folder: None,
        directory: None,
    };
    let began = Instant::now();
    let job = processing.create_job(Action::Verify, &wanted).unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(job.progress.total, MILLION.unsigned_abs());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let progress = processing.job(job.id).unwrap().progress;
        if progress.failed > 5_000 {
            break;
        }
        assert!(Instant::now() < deadline, "{progress:?}");
        pause(Duration::from_millis(20));
    }
    let cancelled = processing.cancel(job.id).unwrap();
    assert_eq!(cancelled.status, JobStatus::Cancelled);
    // Bounded by its nature: a page of items, however many there are.
    assert!(shelf.page.load(Relaxed) <= 64);
    let began = Instant::now();
    processing.stop();
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_job_that_is_cancelled_as_it_ends_has_one_end() {
    let directory = tempfile::tempdir().unwrap();
    let events = Broadcaster::start(Settings::default()).unwrap();
    let (_shelf, processing) = million(directory.path(), events.clone());
    let mut after = events.last_event_id().to_string();
    let mut told = Vec::new();
    let mut tell = |told: &mut Vec<Value>| {
        let new = events.poll(Some(&after), Duration::ZERO, &Filter::everything());
        assert!(!new.reset);
        after = new.last_event_id.to_string();
        let new = new.events.iter();
        told.extend(new.map(|event| serde_json::from_slice::<Value>(event.json()).unwrap()));
    };
    let wanted = Wanted::Files(vec![EntryId(1)]);
    let mut ends = [0; 2];
    let mut patience = Duration::ZERO;
    for _ in 0..200 {
        let job = processing.create_job(Action::Verify, &wanted).unwrap().id;
        let began = Instant::now();
        while began.elapsed() < patience {
            std::hint::spin_loop();
        }
        let cancelled = processing.cancel(job).is_ok();
        // The next order comes nearer to the end of the job, from both sides, however busy the
        // machine is.
        patience = if cancelled {
            patience * 5 / 4 + Duration::from_micros(20)
        } else {
            patience * 4 / 5
        };
        ends[usize::from(cancelled)] += 1;
        let status = if cancelled { "cancelled" } else { "completed" };
        let deadline = Instant::now() + PATIENCE;
        loop {
            tell(&mut told);
            let last = states(&told, &job.to_string()).pop();
            if last.is_some_and(|last| last["status"] == status) {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "job {job} is not {status}: {told:?}"
            );
        }
        let states = states(&told, &job.to_string());
        let has_ended =
            |state: &&Value| !matches!(state["status"].as_str(), Some("queued" | "running"));
        assert_eq!(states.iter().filter(has_ended).count(), 1, "{states:?}");
    }
    assert!(ends.iter().all(|times| *times > 0), "{ends:?}");
}
