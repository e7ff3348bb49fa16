//! What is processed, when, and how often.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::daemon::{Daemon, pause, processed};

/// How long a test watches that nothing happens.
const QUIET: Duration = Duration::from_millis(700);

fn blake3(content: impl AsRef<[u8]>) -> String {
    blake3::hash(content.as_ref()).to_hex().to_string()
}

#[test]
fn a_file_is_fingerprinted_as_soon_as_it_is_closed() {
    let daemon = Daemon::new().start();
    daemon.forget_events();
    let mut took = Vec::new();
    for number in 0..20 {
        let name = format!("{number}.cbz");
        let began = Instant::now();
        daemon.write(&name, &name);
        let event = daemon.wait_processed(&name);
        took.push(began.elapsed());
        assert_eq!(event["success"], true);
        assert_eq!(event["processor"], "fingerprint");
        assert_eq!(event["filepath"], format!("comics/{name}"));
        let entry = daemon.wait_status(&name, "processed");
        assert_eq!(entry["fingerprint"], blake3(&name));
        assert!(entry["processed_at"].is_number());
    }
    took.sort();
    // The contract of the machine when it is not busy is a tenth of a second.
    assert!(took[10] < Duration::from_secs(1), "{took:?}");
}

#[test]
fn nothing_is_processed_while_somebody_writes() {
    let daemon = Daemon::new().start();
    daemon.forget_events();
    let mut writer = File::create(daemon.folder().join("slow.cbz")).unwrap();
    let entry = daemon.wait_file("slow.cbz", |entry| entry["waiting"] == "open for writing");
    assert_eq!(entry["status"], "unprocessed");
    for _ in 0..6 {
        writer.write_all(b"more").unwrap();
        pause(Duration::from_millis(500));
        assert_eq!(daemon.file("slow.cbz").unwrap()["status"], "unprocessed");
    }
    drop(writer);
    daemon.wait_processed("slow.cbz");
    let entry = daemon.wait_status("slow.cbz", "processed");
    assert_eq!(entry["fingerprint"], blake3("more".repeat(6)));
    assert_eq!(entry["waiting"], json!(null));
    assert_eq!(daemon.history().len(), 1);
}

#[test]
fn a_file_that_is_reopened_at_once_is_processed_when_it_is_closed_for_good() {
    let daemon = Daemon::new()
        .script("count", "echo run >> $BASE/runs")
        .start();
    let path = daemon.folder().join("a.cbz");
    let mut writer = File::create(&path).unwrap();
    let mut again = File::options().append(true).open(&path).unwrap();
    writer.write_all(b"one").unwrap();
    drop(writer); // tells of a close, and yet it is open
    pause(QUIET);
    assert!(daemon.lines("runs").is_empty());
    again.write_all(b"two").unwrap();
    drop(again);
    let entry = daemon.wait_status("a.cbz", "processed");
    assert_eq!(entry["fingerprint"], blake3("onetwo"));
    assert_eq!(daemon.lines("runs").len(), 1);
}

#[test]
fn a_file_whose_close_nobody_tells_is_processed_all_the_same() {
    use rustix::fs::{AtFlags, Mode, OFlags, linkat, open};
    let daemon = Daemon::new().start();
    // O_TMPFILE with linkat: the kernel tells only that the name was made.
    let flags = OFlags::TMPFILE | OFlags::WRONLY;
    let Ok(fd) = open(daemon.folder(), flags, Mode::RUSR | Mode::WUSR) else {
        return; // this file system has no such files
    };
    let name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
    let to = daemon.folder().join("hidden.cbz");
    linkat(
        rustix::fs::CWD,
        name,
        rustix::fs::CWD,
        to,
        AtFlags::SYMLINK_FOLLOW,
    )
    .unwrap();
    daemon.wait_file("hidden.cbz", |entry| entry["waiting"] == "open for writing");
    rustix::io::write(fd.as_fd(), b"late").unwrap();
    drop(fd);
    let hash = blake3("late");
    daemon.wait_file("hidden.cbz", |entry| {
        entry["status"] == "processed" && entry["fingerprint"] == hash
    });
}

#[test]
fn a_file_that_is_moved_in_is_processed_once() {
    let daemon = Daemon::new()
        .script("count", "echo \"$1\" >> $BASE/runs")
        .start();
    let outside = daemon.base().join("import");
    std::fs::write(&outside, "content").unwrap();
    std::fs::rename(&outside, daemon.folder().join("in.cbz")).unwrap();
    daemon.wait_status("in.cbz", "processed");
    // rsync: a hidden name, then the real one.
    daemon.write(".out.cbz.Xa83kd", "partial");
    let (from, to) = (
        daemon.folder().join(".out.cbz.Xa83kd"),
        daemon.folder().join("out.cbz"),
    );
    std::fs::rename(from, to).unwrap();
    daemon.wait_status("out.cbz", "processed");
    daemon.sync();
    pause(QUIET);
    let runs = daemon.lines("runs");
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert!(runs[0].ends_with("/in.cbz") && runs[1].ends_with("/out.cbz"));
}

#[test]
fn touching_and_renaming_process_nothing_again_but_a_change_does() {
    let mut daemon = Daemon::new()
        .script("count", "echo run >> $BASE/runs")
        .start();
    let path = daemon.write("a.cbz", "one");
    let id = daemon.wait_status("a.cbz", "processed")["id"].clone();
    let touched = std::time::SystemTime::now() - Duration::from_secs(1000);
    File::open(&path).unwrap().set_modified(touched).unwrap();
    daemon.sync();
    daemon.wait_status("a.cbz", "processed");
    std::fs::rename(&path, daemon.folder().join("b.cbz")).unwrap();
    assert_eq!(daemon.wait_status("b.cbz", "processed")["id"], id);
    daemon.stop();
    daemon.start_again();
    daemon.wait_idle();
    pause(QUIET);
    assert_eq!(daemon.lines("runs").len(), 1, "nothing new to process");
    daemon.write("b.cbz", "two");
    let hash = blake3("two");
    daemon.wait_file("b.cbz", |entry| {
        entry["fingerprint"] == hash && entry["status"] == "processed"
    });
    assert_eq!(daemon.lines("runs").len(), 2);
    assert_eq!(daemon.history().len(), 2);
}

#[test]
fn a_processor_s_own_changes_do_not_trigger_it_again() {
    let scripts = [
        ("append", "echo more >> \"$1\"", "a.cbz"),
        // Opens the file without waiting for whoever holds a lease on it.
        ("touch", "touch \"$1\"", "a.cbz"),
        ("touch early", "touch \"$1\"; sleep 0.2", "a.cbz"),
        (
            "replace",
            "cp \"$1\" x; echo more >> x; mv x \"$1.tmp\"; mv \"$1.tmp\" \"$1\"",
            "a.cbz",
        ),
        (
            "rename",
            "case $1 in *tagged*) ;; *) mv \"$1\" \"$(dirname \"$1\")/tagged.cbz\";; esac",
            "tagged.cbz",
        ),
        (
            "both",
            "case $1 in *t.cbz) ;; *) echo more >> \"$1\"; mv \"$1\" \"$(dirname \"$1\")/t.cbz\";; esac",
            "t.cbz",
        ),
    ];
    for (name, script, result) in scripts {
        let script = format!("echo run >> $BASE/runs\n{script}");
        let daemon = Daemon::new().script(name, &script).start();
        daemon.write("a.cbz", "content\n");
        let entry = daemon.wait_status(result, "processed");
        daemon.sync();
        pause(QUIET);
        assert_eq!(daemon.lines("runs").len(), 1, "{name}");
        let after = daemon.file(result).unwrap();
        assert_eq!(
            after,
            daemon
                .get(&format!("/api/files/{}", entry["id"]))
                .json
                .without_history(),
            "{name}"
        );
        let content = std::fs::read(daemon.folder().join(result)).unwrap();
        assert_eq!(after["fingerprint"], blake3(content), "{name}");
        assert_eq!(daemon.files().len(), 1, "{name}");
        // An edit right after it is one more run.
        std::fs::write(daemon.folder().join(result), "edited").unwrap();
        daemon.eventually("a second run", || daemon.lines("runs").len() == 2);
        daemon.wait_idle();
    }
}

#[test]
fn a_file_that_somebody_replaces_or_renames_while_it_is_processed_is_processed_again() {
    let script = "echo \"$SHELFCAST_NAME $(cat \"$1\" | wc -c)\" >> $BASE/runs
                  while ! test -e $BASE/go; do sleep 0.05; done; test -e \"$1\"";
    let daemon = Daemon::new().script("slow", script).start();
    let path = daemon.write("a.cbz", "one");
    daemon.eventually("the first run", || daemon.lines("runs").len() == 1);
    // As rsync and editors do it: more than the command writes, so it cannot be its work.
    let part = daemon.write("a.cbz.part", "x".repeat(5000));
    std::fs::rename(part, &path).unwrap();
    std::fs::write(daemon.base().join("go"), "").unwrap();
    daemon.eventually("the second run", || daemon.lines("runs").len() == 2);
    let entry = daemon.wait_status("a.cbz", "processed");
    assert_eq!(entry["fingerprint"], blake3("x".repeat(5000)));
    std::fs::remove_file(daemon.base().join("go")).unwrap();
    let path = daemon.write("b.cbz", "three");
    daemon.eventually("the third run", || daemon.lines("runs").len() == 3);
    std::fs::rename(path, daemon.folder().join("c.cbz")).unwrap();
    std::fs::write(daemon.base().join("go"), "").unwrap();
    daemon.wait_status("c.cbz", "processed");
    assert_eq!(
        daemon.lines("runs"),
        ["a.cbz 3", "a.cbz 5000", "b.cbz 5", "c.cbz 5"]
    );
    assert!(daemon.history().iter().all(|past| past["success"] == true));
}

trait WithoutHistory {
    fn without_history(self) -> Self;
}

impl WithoutHistory for serde_json::Value {
    fn without_history(mut self) -> Self {
        self.as_object_mut().unwrap().remove("history");
        self
    }
}

#[test]
fn a_file_that_changes_or_goes_while_it_is_processed_is_no_failure() {
    let script = "cat \"$1\" >> $BASE/seen; echo run >> $BASE/runs; sleep 0.5; test -e \"$1\"";
    let daemon = Daemon::new().script("slow", script).start();
    daemon.forget_events();
    let path = daemon.write("a.cbz", "one");
    daemon.eventually("the first run", || daemon.lines("runs").len() == 1);
    // A stranger's edit while the command runs: the content that was processed is not what is there.
    std::fs::write(&path, "two").unwrap();
    daemon.eventually("a run for the new content", || {
        daemon.lines("runs").len() == 2
    });
    let entry = daemon.wait_status("a.cbz", "processed");
    assert_eq!(entry["fingerprint"], blake3("two"));
    assert_eq!(daemon.lines("seen"), ["onetwo"]);
    let path = daemon.write("gone.cbz", "three");
    daemon.eventually("the third run", || daemon.lines("runs").len() == 3);
    std::fs::remove_file(path).unwrap();
    daemon.eventually("the entry is gone", || daemon.file("gone.cbz").is_none());
    pause(QUIET);
    let events = daemon.wait_events("events", |events| Some(events.to_vec()));
    assert!(
        processed(&events).all(|data| data["success"] == true),
        "{events:?}"
    );
    assert_eq!(daemon.lines("runs").len(), 3);
}

#[test]
fn equal_contents_are_duplicates_and_rot_is_found() {
    let daemon = Daemon::new().start();
    daemon.write("a.cbz", "same");
    let first = daemon.wait_status("a.cbz", "processed");
    let path = daemon.write("b.cbz", "same");
    let second = daemon.wait_status("b.cbz", "processed");
    assert_eq!(
        (&second["duplicate_of"], &first["duplicate_of"]),
        (&first["id"], &json!(null))
    );
    // Each tells of the other.
    for (one, other) in [(&first, &second), (&second, &first)] {
        let answer = daemon
            .get(&format!("/api/files/{}/duplicates", one["id"]))
            .json;
        let ids: Vec<_> = answer["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|twin| &twin["id"])
            .collect();
        assert_eq!(ids, [&other["id"]]);
    }
    let job = daemon.job(&json!({"action": "verify", "scope": "all"}));
    assert_eq!(daemon.wait_job(&job)["progress"]["failed"], 0);
    assert_eq!(
        daemon.history().len(),
        2,
        "a verify that finds nothing says nothing"
    );
    // Other content with the same size and times.
    let modified = path.metadata().unwrap().modified().unwrap();
    let rot = File::options().write(true).open(&path).unwrap();
    (&rot).write_all(b"SAME").unwrap();
    rot.set_modified(modified).unwrap();
    drop(rot);
    daemon.sync();
    daemon.forget_events();
    let verify = || {
        let job = daemon.job(&json!({"action": "verify", "files": [second["id"]]}));
        daemon.wait_job(&job)["progress"]["failed"].clone()
    };
    assert_eq!(verify(), 1);
    let entry = daemon.wait_status("b.cbz", "failed");
    assert_eq!(entry["error"], "content changed on disk (bit rot?)");
    assert_eq!(daemon.wait_processed("b.cbz")["success"], false);
    assert_eq!(verify(), 1, "and again");
    // Restored from a backup.
    let restored = File::options().write(true).open(&path).unwrap();
    (&restored).write_all(b"same").unwrap();
    restored.set_modified(modified).unwrap();
    drop(restored);
    daemon.sync();
    assert_eq!(verify(), 0);
    daemon.wait_status("b.cbz", "processed");
}

#[test]
fn the_switch_stops_automatic_work_and_what_came_meanwhile_is_found() {
    let daemon = Daemon::new().start();
    daemon.post("/api/watcher", &json!({"enabled": false}));
    daemon.sync();
    daemon.write("a.cbz", "a");
    daemon.sync();
    pause(QUIET);
    assert_eq!(daemon.file("a.cbz").unwrap()["status"], "unprocessed");
    let id = daemon.file("a.cbz").unwrap()["id"].clone();
    let job = daemon.job(&json!({"action": "process", "files": [id]}));
    daemon.wait_job(&job);
    daemon.wait_status("a.cbz", "processed");
    daemon.write("b.cbz", "b");
    daemon.sync();
    daemon.post("/api/watcher", &json!({"enabled": true}));
    daemon.wait_status("b.cbz", "processed");
}

#[test]
fn after_a_kill_at_most_what_was_under_way_runs_again() {
    let script = "echo \"$SHELFCAST_NAME\" >> $BASE/runs; sleep 0.02";
    let mut daemon = Daemon::new().script("count", script);
    for number in 0..60 {
        daemon.write(&format!("{number}.cbz"), number.to_string());
    }
    daemon.start_again();
    let mut kills = 0;
    for reached in [10, 30, 50] {
        daemon.eventually("some are done", || daemon.lines("runs").len() >= reached);
        daemon.kill();
        kills += 1;
        daemon.start_again();
    }
    daemon.wait_idle();
    let mut runs = daemon.lines("runs");
    let all = runs.len();
    runs.sort();
    runs.dedup();
    assert_eq!(runs.len(), 60, "none was forgotten");
    assert!(
        all - 60 <= kills * 2,
        "{all} runs of 60 files with 2 workers and {kills} kills"
    );
    daemon.stop();
}

#[test]
fn many_small_files_at_once_are_all_processed() {
    let daemon = Daemon::new().start();
    let count = 2000;
    for number in 0..count {
        daemon.write(
            &format!("{}/{number}.txt", number % 7),
            format!("content {}", number / 2),
        );
    }
    daemon.eventually("all are processed", || {
        let answer = daemon.get("/api/files?limit=1").json;
        answer["counts"]["processed"] == count && answer["counts"]["duplicate"] == count / 2
    });
    let history = daemon.get("/api/history?limit=1000").json;
    assert_eq!(history["history"].as_array().unwrap().len(), 1000);
    let next = history["next"].as_str().unwrap();
    let rest = daemon
        .get(&format!("/api/history?limit=1000&cursor={next}"))
        .json;
    assert_eq!(rest["history"].as_array().unwrap().len(), 1000);
    assert_eq!(rest["next"], json!(null));
}
