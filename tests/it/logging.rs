//! The log as an operator sees it. A process has one log, so each test starts itself again as the
//! service and reads what that writes.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::fs;
use std::io::{Read, Seek};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use log::{LevelFilter, debug, error, info, trace, warn};
use shelfcast::config::LogConfig;
use shelfcast::logging::{self, LoggingError};

const ROLE: &str = "SHELFCAST_TEST_LOGGING";

fn is_service() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// Runs `test` as the service, and returns the lines that it wrote to standard error. With
/// `journal`, the environment says that this is the journal.
fn lines(test: &str, journal: bool) -> Vec<String> {
    let mut stderr = tempfile::tempfile().unwrap();
    let metadata = stderr.metadata().unwrap();
    let stream = match journal {
        true => format!("{}:{}", metadata.dev(), metadata.ino()),
        false => format!("{}:{}", metadata.dev(), metadata.ino() + 1),
    };
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("logging::{test}")])
        .env(ROLE, "1")
        .env("JOURNAL_STREAM", stream)
        .stdout(Stdio::null())
        .stderr(Stdio::from(stderr.try_clone().unwrap()))
        .status()
        .unwrap();
    let mut text = String::new();
    stderr.rewind().unwrap();
    stderr.read_to_string(&mut text).unwrap();
    assert!(status.success(), "{text}");
    text.lines().map(str::to_owned).collect()
}

fn to(file: Option<&Path>, level: LevelFilter) -> LogConfig {
    LogConfig {
        level,
        file: file.map(Path::to_owned),
    }
}

/// Splits the time off a line, after a look at its form.
fn unstamped(line: &str) -> &str {
    let (time, rest) = line.split_once(' ').unwrap();
    let form: String = time
        .chars()
        .map(|sign| if sign.is_ascii_digit() { '0' } else { sign })
        .collect();
    assert_eq!(form, "0000-00-00T00:00:00.000Z");
    rest
}

#[test]
fn lines_have_time_level_and_thread() {
    if is_service() {
        logging::init(&to(None, LevelFilter::Debug)).unwrap();
        let work = || {
            error!("disk full folder={:?}", "a\nb");
            warn!("a name\n<0>forged \u{1b}[31m");
            debug!(target: "watch", "notice");
            trace!("not shown");
        };
        let thread = std::thread::Builder::new().name("worker-1".to_owned());
        thread.spawn(work).unwrap().join().unwrap();
        return;
    }
    let lines = lines("lines_have_time_level_and_thread", false);
    let lines: Vec<_> = lines.iter().map(|line| unstamped(line)).collect();
    let expected = [
        r#"[ERROR] (worker-1) disk full folder="a\nb""#,
        r"[WARN ] (worker-1) a name\n<0>forged \u{1b}[31m",
        "[DEBUG] (worker-1) watch: notice",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn the_journal_gets_priorities_and_no_time() {
    if is_service() {
        logging::init(&to(None, LevelFilter::Trace)).unwrap();
        let work = || {
            error!("a");
            warn!("b");
            info!("c");
            debug!(target: "d", "d");
            trace!(target: "e", "e");
        };
        let thread = std::thread::Builder::new().name("t".to_owned());
        thread.spawn(work).unwrap().join().unwrap();
        return;
    }
    let lines = lines("the_journal_gets_priorities_and_no_time", true);
    assert_eq!(
        lines,
        [
            "<3>(t) a",
            "<4>(t) b",
            "<6>(t) c",
            "<7>(t) d: d",
            "<7>(t) e: e"
        ]
    );
}

#[test]
fn a_panic_is_a_line_with_its_place() {
    if is_service() {
        logging::init(&to(None, LevelFilter::Info)).unwrap();
        let thread = std::thread::Builder::new().name("worker-2".to_owned());
        let joined = thread.spawn(|| panic!("no \"room\"\nleft")).unwrap().join();
        assert!(joined.is_err());
        return;
    }
    let lines = lines("a_panic_is_a_line_with_its_place", true);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("<3>(worker-2) panicked at=tests/it/logging.rs:"),
        "{lines:?}"
    );
    assert!(
        lines[0].ends_with(r#" message="no \"room\"\nleft""#),
        "{lines:?}"
    );
}

#[test]
fn the_file_is_opened_anew_when_it_was_moved() {
    if is_service() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shelfcast.log");
        let moved = directory.path().join("shelfcast.log.1");
        let config = to(Some(&path), LevelFilter::Info);
        let logging = logging::init(&config).unwrap();
        info!("first");
        fs::rename(&path, &moved).unwrap();
        info!("second");
        logging.reload(&config).unwrap();
        info!("third");
        logging
            .reload(&to(Some(&path), LevelFilter::Error))
            .unwrap();
        info!("below the new level");
        logging.reload(&to(None, LevelFilter::Info)).unwrap();
        info!("to no file");
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&moved).lines().count(), 2);
        assert!(read(&moved).ends_with(") second\n"));
        assert_eq!(read(&path).lines().count(), 1);
        assert!(unstamped(&read(&path)).starts_with("[INFO ] ("));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o007, 0);
        assert_eq!(logging.lost(), 0);
        return;
    }
    let lines = lines("the_file_is_opened_anew_when_it_was_moved", true);
    assert_eq!(lines.len(), 4, "{lines:?}");
}

#[test]
fn a_file_that_cannot_be_opened_leaves_the_log_as_it_was() {
    if is_service() {
        let missing = Path::new("/no/such/directory/shelfcast.log");
        let failed = logging::init(&to(Some(missing), LevelFilter::Info)).unwrap_err();
        let message = failed.to_string();
        assert!(
            message.starts_with("cannot write the log file /no/such/directory/shelfcast.log: ")
        );
        assert!(failed.hint().is_some());
        let logging = logging::init(&to(None, LevelFilter::Info)).unwrap();
        logging
            .reload(&to(Some(missing), LevelFilter::Error))
            .unwrap_err();
        info!("still here");
        let again = logging::init(&to(None, LevelFilter::Info));
        assert!(matches!(again, Err(LoggingError::AlreadySet)));
        return;
    }
    let lines = lines(
        "a_file_that_cannot_be_opened_leaves_the_log_as_it_was",
        true,
    );
    assert_eq!(lines.len(), 1, "{lines:?}");
}
