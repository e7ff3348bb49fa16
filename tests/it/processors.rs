//! The owner's own processors: what they are given, and what becomes of them when they misbehave.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::daemon::{Daemon, pause};

#[test]
fn a_command_is_told_of_its_file_in_arguments_and_environment() {
    let script = "printf '%s|' \"$@\" \"$SHELFCAST_PATH\" \"$SHELFCAST_NAME\" \"$SHELFCAST_FOLDER\" \
                  \"$SHELFCAST_ID\" > $BASE/told\n\
                  ls -A . > $BASE/ls; pwd > $BASE/pwd; cat > $BASE/stdin; nice > $BASE/nice\n\
                  echo \"${NOTIFY_SOCKET-none} $TMPDIR\" > $BASE/env; touch left";
    let daemon = Daemon::new();
    let script = format!("BASE={}\n{script}", daemon.base().display());
    let command = [
        "/bin/sh", "-c", &script, "sh", "{path}", "<{name}>", "{folder}", "{id}", "{}",
    ];
    let daemon = daemon.command("tell", &command, &["**/*.cbz"], 60).start();
    let name = OsStr::from_bytes(b"-a \"$(x)\" {id}\n\xff.cbz");
    let path = daemon.folder().join(name);
    std::fs::write(&path, "content").unwrap();
    daemon.write("other.txt", "not for it");
    daemon.eventually("both are processed", || {
        daemon
            .files()
            .iter()
            .filter(|file| file["status"] == "processed")
            .count()
            == 2
    });
    let told = std::fs::read(daemon.base().join("told")).unwrap();
    let files = daemon.files();
    let entry = files
        .iter()
        .find(|file| file["name"] != "other.txt")
        .unwrap();
    assert_eq!(entry["name"], "-a \"$(x)\" {id}\n\u{fffd}.cbz");
    let id = entry["id"].to_string();
    let (path, name) = (path.as_os_str().as_bytes(), name.as_bytes());
    let bracketed = [b"<", name, b">"].concat();
    let expected = [
        path,
        &bracketed,
        b"comics",
        id.as_bytes(),
        b"{}",
        path,
        name,
        b"comics",
        id.as_bytes(),
        b"",
    ];
    assert_eq!(told, expected.join(&b'|'));
    assert_eq!(daemon.lines("ls"), [""; 0], "its directory is empty");
    assert_eq!(daemon.lines("stdin"), [""; 0]);
    assert_eq!(daemon.lines("nice"), ["10"]);
    let directory = daemon.lines("pwd").pop().unwrap();
    assert!(
        !std::path::Path::new(&directory).exists(),
        "it is gone afterwards"
    );
    assert_eq!(daemon.lines("env"), [format!("none {directory}")]);
    let history = daemon.get(&format!("/api/files/{id}")).json["history"].clone();
    assert_eq!(history.as_array().unwrap().len(), 1);
    assert_eq!(
        (&history[0]["processor"], &history[0]["exit_status"]),
        (&json!("tell"), &json!(0))
    );
    assert_eq!(
        (&history[0]["success"], &history[0]["output"]),
        (&json!(true), &json!(null))
    );
}

#[test]
fn processors_run_in_their_order_and_the_last_line_of_the_first_failure_is_the_error() {
    let daemon = Daemon::new()
        .script("first", "echo first >> $BASE/runs")
        .script(
            "second",
            "echo second >> $BASE/runs; echo out; echo one >&2; echo 'no pages' >&2; exit 3",
        )
        .script("third", "echo third >> $BASE/runs")
        .start();
    daemon.forget_events();
    daemon.write("a.cbz", "x");
    let event = daemon.wait_processed("a.cbz");
    assert_eq!(
        (&event["success"], &event["error"]),
        (&json!(false), &json!("no pages"))
    );
    assert_eq!(event["processor"], "second");
    assert_eq!(daemon.lines("runs"), ["first", "second"]);
    let entry = daemon.wait_status("a.cbz", "failed");
    assert_eq!(entry["error"], "no pages");
    assert_eq!(entry["fingerprint"], blake3::hash(b"x").to_hex().as_str());
    let past = daemon.history().pop().unwrap();
    assert_eq!(
        (&past["exit_status"], &past["output"]),
        (&json!(3), &json!("one\nno pages"))
    );
    // It is not tried again by itself, but when somebody asks.
    daemon.sync();
    assert_eq!(daemon.lines("runs").len(), 2);
    let job = daemon.job(&json!({"action": "process", "scope": "failed"}));
    assert_eq!(daemon.wait_job(&job)["progress"]["failed"], 1);
    assert_eq!(daemon.lines("runs").len(), 4);
}

#[test]
fn what_a_command_says_on_standard_output_alone_is_the_error_too() {
    let script = "echo checking; echo 'a virus FOUND'; exit 1";
    let daemon = Daemon::new().script("scan", script).start();
    daemon.write("a.cbz", "x");
    let entry = daemon.wait_status("a.cbz", "failed");
    assert_eq!(entry["error"], "a virus FOUND");
}

#[test]
fn a_command_that_hangs_is_ended_with_all_that_it_started() {
    let daemon = Daemon::new();
    let script = format!(
        "trap '' TERM; sleep 1000 & echo $! > {0}/child; echo stuck >&2; sleep 1000; sleep 1000",
        daemon.base().display()
    );
    let daemon = daemon
        .command("hang", &["/bin/sh", "-c", &script], &[], 1)
        .start();
    daemon.write("a.cbz", "x");
    daemon.wait_status("a.cbz", "processing");
    let entry = daemon.wait_status("a.cbz", "failed");
    assert_eq!(entry["error"], "timed out after 1 s: stuck");
    let child = daemon.lines("child").pop().unwrap();
    daemon.eventually("its child is gone", || !is_running(&child));
}

/// Starts something that leaves the group and the session of its command, and whose parent ends.
const LEAVE: &str = "setsid /bin/sh -c 'echo $$ >> $BASE/left; exec sleep 1000' & \
                     while ! test -s $BASE/left; do sleep 0.02; done";

#[test]
fn what_has_left_the_group_of_its_command_ends_with_it() {
    for (name, end, error) in [
        ("ends", "exit 0", Value::Null),
        ("hangs", "sleep 1000", json!("timed out after 1 s")),
    ] {
        let daemon = Daemon::new();
        let base = daemon.base().display().to_string();
        let script = format!("export BASE={base}; ({LEAVE}); {end}");
        let daemon = daemon
            .command(name, &["/bin/sh", "-c", &script], &[], 1)
            .start();
        daemon.write("a.cbz", "x");
        let entry = daemon.wait_file("a.cbz", |entry| !entry["processed_at"].is_null());
        assert_eq!(entry["error"], error);
        let left = daemon.lines("left").pop().unwrap();
        daemon.eventually("it is gone", || !is_running(&left));
        daemon.eventually("nothing is left of it", || daemon.children().is_empty());
    }
}

#[test]
fn what_a_killed_service_left_running_is_ended_before_anything_runs_again() {
    let script = format!(
        "export BASE; for other in $(cat $BASE/left); do kill -0 $other && echo two >> $BASE/twice; done; {LEAVE}; sleep 1000"
    );
    let mut daemon = Daemon::new().script("slow", &script).start();
    daemon.write("a.cbz", "x");
    daemon.eventually("the run", || daemon.lines("left").len() == 1);
    daemon.kill();
    daemon.start_again();
    daemon.eventually("another run", || daemon.lines("left").len() == 2);
    assert_eq!(daemon.lines("twice"), [""; 0]);
    daemon.stop();
    for left in daemon.lines("left") {
        assert!(!is_running(&left), "{left} outlives the service");
    }
}

fn is_running(process: &str) -> bool {
    // One that ended and that nobody waits for (a container without an init) does not run.
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn a_flood_of_output_costs_no_memory() {
    let script = "head -c 100000000 /dev/zero | tr '\\0' x >&2; head -c 100000000 /dev/zero; \
                  sleep 1000 & echo; echo the end >&2; exit 1";
    let daemon = Daemon::new().script("flood", script).start();
    let before = peak_kib(&daemon);
    daemon.write("a.cbz", "x");
    let entry = daemon.wait_status("a.cbz", "failed");
    assert_eq!(
        entry["error"].as_str().map(|error| error.len()),
        Some(500),
        "it has no line break"
    );
    let more = peak_kib(&daemon) - before;
    assert!(more < 8 * 1024, "{more} KiB more");
    let past = daemon.history().pop().unwrap();
    assert!(past["output"].as_str().unwrap().len() <= 4200);
}

fn peak_kib(daemon: &Daemon) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_program_that_is_not_there_any_more_is_told_once_and_can_be_mended() {
    let daemon = Daemon::new();
    let program = daemon.base().join("tag");
    let install = || {
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
    };
    install();
    let path = program.to_str().unwrap().to_owned();
    let daemon = daemon.command("tag", &[&path, "{path}"], &[], 60).start();
    daemon.forget_events();
    std::fs::remove_file(&program).unwrap();
    for name in ["a.cbz", "b.cbz", "c.cbz"] {
        daemon.write(name, name);
        let entry = daemon.wait_status(name, "failed");
        assert_eq!(
            entry["error"],
            format!("cannot run {path}: there is no such program")
        );
    }
    let error = daemon.wait_error("processor_missing");
    assert_eq!(
        error["message"],
        format!("processor tag: cannot run {path}: there is no such program")
    );
    assert!(error["hint"].as_str().unwrap().contains("install it"));
    let told = daemon.wait_events("events", |events| Some(events.to_vec()));
    let told = told.iter().filter(|event| event["type"] == "error").count();
    assert_eq!(told, 1, "once, and not once a file");
    install();
    let job = daemon.job(&json!({"action": "process", "scope": "failed"}));
    let ended = daemon.wait_job(&job);
    assert_eq!(
        ended["progress"],
        json!({"current": 3, "total": 3, "percent": 100, "failed": 0})
    );
    daemon.wait_idle();
    assert!(
        daemon
            .files()
            .iter()
            .all(|file| file["status"] == "processed")
    );
}

#[test]
fn a_processor_that_always_fails_is_told_and_holds_up_nobody() {
    let daemon = Daemon::new();
    let daemon = daemon
        .command("bad", &["/bin/false"], &["*.cbz"], 60)
        .start();
    daemon.forget_events();
    for number in 0..6 {
        daemon.write(&format!("{number}.cbz"), number.to_string());
        daemon.write(&format!("{number}.txt"), number.to_string());
    }
    let error = daemon.wait_error("processor_failing");
    assert_eq!(
        error["message"],
        "processor bad failed 5 times in a row: exit status 1"
    );
    daemon.wait_idle();
    let by = |status: &str| {
        daemon
            .files()
            .iter()
            .filter(|file| file["status"] == status)
            .count()
    };
    assert_eq!((by("failed"), by("processed")), (6, 6));
}

#[test]
fn a_processor_that_the_sandbox_keeps_out_names_the_command_that_lets_it_in() {
    let script = "echo \"mv: cannot move '$1': Read-only file system\" >&2; exit 1";
    let daemon = Daemon::new().script("tag", script).start();
    daemon.forget_events();
    daemon.write("a.cbz", "x");
    let error = daemon.wait_error("processor_failing");
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("processor tag is kept out: mv: cannot move"));
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.contains("`shelfcast --print-drop-in`"), "{hint}");
}

#[test]
fn a_command_that_edits_its_file_and_fails_is_tried_twice_at_most() {
    // So often that nobody can tell any more whose edits these are; the notice of the last one comes
    // when the command has ended.
    let edits = "echo run >> $BASE/runs; for edit in 1 2 3 4 5; do echo \"$edit\" >> \"$1\"; sleep 0.05; done";
    let script = format!("{edits}; echo last >> \"$1\"; echo no >&2; exit 1");
    let daemon = Daemon::new().script("edit", &script).start();
    daemon.write("a.cbz", "content");
    let entry = daemon.wait_status("a.cbz", "failed");
    assert_eq!(entry["error"], "no");
    // Whatever would start it once more has been noticed and taken in by then.
    daemon.sync();
    daemon.write("b.cbz", "content of another");
    daemon.wait_status("b.cbz", "failed");
    daemon.wait_idle();
    assert_eq!(daemon.lines("runs").len(), 4, "{}", daemon.report());
    assert_eq!(daemon.history().len(), 2);
}

#[test]
fn a_file_that_its_processor_deletes_is_gone() {
    let daemon = Daemon::new().script("eat", "rm \"$1\"").start();
    daemon.forget_events();
    daemon.write("a.cbz", "x");
    daemon.eventually("the run", || !daemon.history().is_empty());
    daemon.eventually("the entry is gone", || daemon.files().is_empty());
    let past = daemon.history();
    assert_eq!((past.len(), &past[0]["success"]), (1, &json!(true)));
}

#[test]
fn a_file_that_is_moved_away_from_its_command_is_no_failure() {
    let script = "echo run >> $BASE/runs; until [ -e $BASE/go ]; do sleep 0.02; done; cat \"$1\"";
    let daemon = Daemon::new().script("read", script).start();
    daemon.write("a/1.cbz", "x");
    daemon.eventually("the run", || daemon.lines("runs").len() == 1);
    std::fs::rename(daemon.folder().join("a"), daemon.folder().join("b")).unwrap();
    std::fs::write(daemon.base().join("go"), "").unwrap();
    daemon.wait_status("1.cbz", "processed");
    let runs: Vec<_> = daemon.history();
    assert_eq!((runs.len(), &runs[0]["success"]), (1, &json!(true)));
    assert_eq!(daemon.lines("runs").len(), 2);
}

#[test]
fn a_command_that_moves_its_file_and_fails_is_tried_twice_and_not_on_and_on() {
    let script = "echo run >> $BASE/runs; mv \"$1\" \"${1%.cbz}x.cbz\"; echo no >&2; exit 1";
    let daemon = Daemon::new().script("move", script).start();
    daemon.write("a.cbz", "x");
    let entry = daemon.wait_status("axx.cbz", "failed");
    assert_eq!(entry["error"], "no");
    assert_eq!(daemon.lines("runs").len(), 2);
}

#[test]
fn stopping_ends_running_commands_and_their_entries_run_again() {
    let mut daemon = Daemon::new()
        .script("slow", "echo run >> $BASE/runs; sleep 1000")
        .start();
    daemon.write("a.cbz", "x");
    daemon.eventually("the run", || daemon.lines("runs").len() == 1);
    let took = daemon.stop();
    assert!(took < Duration::from_secs(2), "{took:?}");
    daemon.start_again();
    daemon.eventually("another run", || daemon.lines("runs").len() == 2);
    daemon.kill();
    daemon.start_again();
    daemon.eventually("a third run", || daemon.lines("runs").len() == 3);
    let took = daemon.stop();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(!daemon.base().join("state/scratch/0/x").exists());
}

#[test]
fn a_full_disk_is_told() {
    let daemon = Daemon::new();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "none"])
        .arg(daemon.folder())
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        return; // not allowed here
    }
    let unmount = Unmount(daemon.folder());
    let script = "cat /dev/zero > \"$1.copy.tmp\"";
    let daemon = daemon.script("copy", script).start();
    daemon.forget_events();
    daemon.write("a.cbz", "x");
    let error = daemon.wait_error("disk_full");
    assert_eq!(error["message"], "the disk with comics is full");
    let entry = daemon.wait_status("a.cbz", "failed");
    assert!(
        entry["error"].as_str().unwrap().contains("No space left"),
        "{entry}"
    );
    drop(daemon);
    drop(unmount);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        drop(umount.arg("-l").arg(&self.0).status());
    }
}

#[test]
fn live_files_go_before_the_items_of_a_job() {
    let script = "echo \"$SHELFCAST_NAME\" >> $BASE/runs; test ! -e $BASE/slow || sleep 0.05";
    let daemon = Daemon::new().script("tag", script).start();
    for number in 0..100 {
        daemon.write(&format!("{number:03}.cbz"), number.to_string());
    }
    daemon.eventually("all are processed", || daemon.lines("runs").len() == 100);
    daemon.wait_idle();
    std::fs::write(daemon.base().join("slow"), "").unwrap();
    let job = daemon.job(&json!({"action": "process", "scope": "all"}));
    daemon.eventually("the job runs", || daemon.lines("runs").len() >= 104);
    let before = daemon.lines("runs").len();
    daemon.write("live.cbz", "live");
    let live = "live.cbz".to_owned();
    daemon.eventually("the live one ran", || daemon.lines("runs").contains(&live));
    let at = daemon.lines("runs").iter().position(|name| *name == live);
    assert!(at.unwrap() < before + 40, "{at:?}, when {before} had run");
    daemon.wait_job(&job);
    daemon.wait_idle();
    assert_eq!(daemon.lines("runs").len(), 201, "none twice");
}

/// Each example of docs/PROCESSORS.md is run as it stands there, where its tool is installed.
#[test]
fn the_examples_of_the_manual_run() {
    let manual = include_str!("../../docs/PROCESSORS.md");
    let mut ran = Vec::new();
    for block in manual.split("```toml\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let config: toml::Table = toml::from_str(block).unwrap();
        let processor = &config["processor"][0];
        let name = processor["name"].as_str().unwrap();
        let words = |key: &str| -> Vec<String> {
            let list = processor.get(key).and_then(|list| list.as_array()).cloned();
            let list = list.unwrap_or_default().into_iter();
            list.map(|word| word.as_str().unwrap().to_owned()).collect()
        };
        let (command, matches) = (words("command"), words("match"));
        if !std::path::Path::new(&command[0]).exists() || name.starts_with("example-") {
            continue;
        }
        let sample = sample(name);
        if !sample.is_there {
            continue;
        }
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let matches: Vec<&str> = matches.iter().map(String::as_str).collect();
        let daemon = Daemon::new().command(name, &command, &matches, 60).start();
        daemon.forget_events();
        daemon.write(sample.file, &sample.content);
        let event = daemon.wait_processed(sample.result);
        assert_eq!(event["success"], true, "{event}");
        assert_eq!(event["processor"], name, "{event}");
        daemon.wait_status(sample.result, "processed");
        if let Some(bad) = sample.bad {
            let file = sample.file.replace("a.", "bad.");
            daemon.write(&file, bad);
            let event = daemon.wait_processed(&file);
            assert_eq!(event["success"], false, "{event}");
        }
        ran.push(name.to_owned());
    }
    assert!(ran.contains(&"checksum".to_owned()), "{ran:?}");
}

/// What an example is tried on.
struct Sample {
    /// Its tool is installed.
    is_there: bool,
    file: &'static str,
    content: Vec<u8>,
    /// The name of the file afterwards.
    result: &'static str,
    /// A content that the example refuses.
    bad: Option<Vec<u8>>,
}

fn sample(example: &str) -> Sample {
    let has = |program: &str, argument: &str| {
        let tried = Command::new(program).arg(argument).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let sample = |is_there, file, content, bad: Option<&[u8]>| Sample {
        is_there,
        file,
        content,
        result: file,
        bad: bad.map(<[u8]>::to_vec),
    };
    let zip = empty_zip();
    match example {
        "checksum" => sample(true, "a.iso", b"content".to_vec(), None),
        "archive" => {
            let broken = zip[..zip.len() - 4].to_vec();
            sample(true, "a.cbz", zip, Some(&broken))
        }
        "probe" => sample(true, "a.wav", wav(), Some(b"no sound")),
        "thumbnail" => {
            let picture = b"P5 2 2 255 abcd".to_vec();
            sample(
                has("/usr/bin/convert", "-version"),
                "a.pgm",
                picture,
                Some(b"no picture"),
            )
        }
        "camera-date" => Sample {
            result: "2024-05-06_070809.jpg",
            ..sample(true, "camera/a.jpg", dated_jpeg(), None)
        },
        other => panic!("no sample for {other}"),
    }
}

/// A picture without a picture, taken on 6 May 2024.
fn dated_jpeg() -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0".to_vec();
    tiff.extend(b"\x01\0\x69\x87\x04\0\x01\0\0\0\x1a\0\0\0\0\0\0\0");
    tiff.extend(b"\x01\0\x03\x90\x02\0\x14\0\0\0\x2c\0\0\0\0\0\0\0");
    tiff.extend(b"2024:05:06 07:08:09\0");
    let length = u16::try_from(2 + 6 + tiff.len()).unwrap();
    let mut jpeg = b"\xff\xd8\xff\xe1".to_vec();
    jpeg.extend(length.to_be_bytes());
    jpeg.extend(b"Exif\0\0");
    jpeg.extend(tiff);
    jpeg.extend(b"\xff\xd9");
    jpeg
}

/// A zip archive with one stored, empty file called `a`.
fn empty_zip() -> Vec<u8> {
    let mut zip = b"PK\x03\x04\x0a\0".to_vec();
    zip.extend([0; 20]);
    zip.extend(b"\x01\0\0\0a");
    let directory = u32::try_from(zip.len()).unwrap();
    zip.extend(b"PK\x01\x02\x0a\0\x0a\0");
    zip.extend([0; 20]);
    zip.extend(b"\x01\0");
    zip.extend([0; 16]);
    zip.extend(b"a");
    let length = u32::try_from(zip.len()).unwrap() - directory;
    zip.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    zip.extend(length.to_le_bytes());
    zip.extend(directory.to_le_bytes());
    zip.extend([0; 2]);
    zip
}

/// A tenth of a second of silence.
fn wav() -> Vec<u8> {
    let mut wav = b"RIFF".to_vec();
    wav.extend((36u32 + 800).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(8000u32.to_le_bytes());
    wav.extend(8000u32.to_le_bytes());
    wav.extend(b"\x01\0\x08\0data");
    wav.extend(800u32.to_le_bytes());
    wav.extend([128; 800]);
    wav
}

#[test]
fn a_stopped_service_leaves_no_command_behind() {
    let script = "echo $$ > $BASE/pid; exec sleep 1000";
    let mut daemon = Daemon::new().script("slow", script).start();
    daemon.write("a.cbz", "x");
    daemon.eventually("the run", || daemon.lines("pid").len() == 1);
    let process = daemon.lines("pid").pop().unwrap();
    daemon.kill();
    let began = Instant::now();
    while is_running(&process) {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{process} outlives the service"
        );
        pause(Duration::from_millis(20));
    }
}
