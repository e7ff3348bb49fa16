//! Running it: how it starts, what it says where it cannot, and how it ends.

use crate::service::{Daemon, command, command_with, configure, desk, fail};
use crate::serving::eventually;
use rustix::process::Signal;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn local(desk: &Path) -> Command {
    let mut command = command(desk);
    command.args(["--listen", "127.0.0.1:0"]);
    command
}

#[test]
fn a_wrong_configuration_is_code_2_with_file_line_and_key() {
    let desk = desk();
    configure(desk.path(), "[watch]\npoll_s = \"often\"\n");
    let failure = fail(desk.path(), &mut local(desk.path()));
    assert_eq!(failure.code, Some(2), "{}", failure.said);
    assert!(
        failure.said.contains("shelfcast.toml:2: "),
        "{}",
        failure.said
    );
    assert!(failure.said.contains("poll_s"), "{}", failure.said);
    let failure = fail(desk.path(), local(desk.path()).arg("--check-config"));
    assert_eq!(failure.code, Some(2), "{}", failure.said);
    configure(desk.path(), "");
    let failure = fail(desk.path(), local(desk.path()).arg("--check-config"));
    assert_eq!(failure.code, Some(0), "{}", failure.said);
}

#[test]
fn a_port_in_use_is_code_1_and_names_the_program() {
    let desk = desk();
    configure(desk.path(), "");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failure = fail(
        desk.path(),
        command(desk.path()).args(["--listen", &address]),
    );
    assert_eq!(failure.code, Some(1), "{}", failure.said);
    let said = format!("cannot listen on {address}: ");
    assert!(failure.said.contains(&said), "{}", failure.said);
    assert!(failure.said.contains("has this port"), "{}", failure.said);
    assert!(
        failure.said.contains("\nhint: stop that program"),
        "{}",
        failure.said
    );
}

#[test]
fn a_service_whose_standard_output_nobody_reads_serves() {
    let desk = desk();
    configure(desk.path(), "");
    let (output, reader) = std::os::unix::net::UnixStream::pair().unwrap();
    drop(reader);
    let mut command = local(desk.path());
    command.stdout(std::os::fd::OwnedFd::from(output));
    let mut child = command.spawn().unwrap();
    let log = || std::fs::read_to_string(desk.path().join("log")).unwrap();
    eventually("it to say so", || {
        log().contains("nobody reads standard output")
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success(), "{}", log());
}

#[test]
fn a_second_service_on_the_same_state_is_refused() {
    let service = Daemon::start("");
    let other = desk();
    configure(other.path(), "");
    let state = service.directory.path().join("state");
    let mut second = command_with(other.path(), &state);
    second.args(["--listen", "127.0.0.1:0"]);
    let failure = fail(other.path(), &mut second);
    assert_eq!(failure.code, Some(1), "{}", failure.said);
    assert!(failure.said.contains("in use by another shelfcast"));
    assert!(failure.said.contains("hint: "), "{}", failure.said);
    assert_eq!(service.get("/health").status(), 200);
}

#[test]
fn a_damaged_index_is_set_aside_and_said() {
    let desk = desk();
    configure(desk.path(), "");
    std::fs::write(desk.path().join("library/1.cbz"), "one").unwrap();
    let state = desk.path().join("state");
    let mut service = Daemon::run(desk, &mut local(state.parent().unwrap()));
    assert_eq!(service.get("/api/sync").status(), 200);
    service.signal(Signal::TERM);
    assert!(service.wait().success());
    let mut spoilt = 0;
    for file in std::fs::read_dir(&state).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with("index") {
            std::fs::write(file.path(), vec![b'x'; 8192]).unwrap();
            spoilt += 1;
        }
    }
    assert!(spoilt > 0, "no index in {state:?}");
    let mut next = local(service.directory.path());
    let child = next.spawn().unwrap();
    let directory = service.directory.path().to_owned();
    let log = || std::fs::read_to_string(directory.join("log")).unwrap();
    eventually("the damage to be said", || log().contains("damaged"));
    eventually("the service to serve", || {
        std::fs::read_to_string(directory.join("out"))
            .unwrap()
            .starts_with("open http://")
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(
        child.wait_with_output().unwrap().status.success(),
        "{}",
        log()
    );
}

#[test]
fn it_ends_within_2_s_also_with_streams_open() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut service = Daemon::start("");
        let head = b"GET /api/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut streams: Vec<_> = (0..50).map(|_| service.send(head)).collect();
        for stream in &mut streams {
            stream.read_until("the stream to open", |text| text.contains("retry: "));
        }
        service.wait_for_log("Client subscribed to events (total: 50)");
        let asked = Instant::now();
        service.signal(signal);
        assert_eq!(service.wait().code(), Some(0), "{}", service.log());
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "{:?}",
            asked.elapsed()
        );
        for stream in &mut streams {
            stream.read_to_end();
            assert!(stream.text.ends_with("0\r\n\r\n"), "{:?}", stream.text);
        }
    }
}

#[test]
fn a_reload_applies_access_and_names_the_rest() {
    let service = Daemon::start("");
    assert_eq!(service.post("/api/cache/rebuild", "").status(), 202);
    configure(
        service.directory.path(),
        "[access]\ntoken = \"correct-horse\"\n[watch]\npoll_s = 9\n",
    );
    service.signal(Signal::HUP);
    service.wait_for_log("configuration read again");
    assert_eq!(service.post("/api/cache/rebuild", "").status(), 401);
    assert!(
        service
            .log()
            .contains("the new `watch` counts from the next start")
    );
    assert!(!service.log().contains("the new `access`"));
    configure(service.directory.path(), "nonsense = 1\n");
    service.signal(Signal::HUP);
    service.wait_for_log("the configuration stays as it was");
    assert_eq!(service.post("/api/cache/rebuild", "").status(), 401);
}

#[test]
fn what_may_not_be_wanted_is_said_at_the_start() {
    let service = Daemon::start("[access]\nallow = [\"any\"]\n");
    service.wait_for_log("everybody who reaches this machine may start jobs");
}

#[test]
fn the_service_manager_is_told_and_the_watchdog_fed() {
    let desk = desk();
    configure(desk.path(), "");
    let path = desk.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut command = local(desk.path());
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let mut service = Daemon::run(desk, &mut command);
    let next = || {
        let mut buffer = [0; 512];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert!(next().starts_with("READY=1\nSTATUS=serving http://"));
    assert_eq!(next(), "WATCHDOG=1");
    assert_eq!(next(), "WATCHDOG=1");
    service.signal(Signal::TERM);
    while next() != "STOPPING=1" {}
    assert!(service.wait().success());
}

#[test]
fn a_state_directory_that_may_not_be_written_is_refused_and_named() {
    let desk = desk();
    configure(desk.path(), "");
    let state = desk.path().join("file");
    std::fs::write(&state, "no directory").unwrap();
    let mut inside_a_file = command_with(desk.path(), &state);
    inside_a_file.args(["--listen", "127.0.0.1:0"]);
    let failure = fail(desk.path(), &mut inside_a_file);
    assert!(matches!(failure.code, Some(1 | 2)), "{}", failure.said);
    let named = failure.said.contains(state.to_str().unwrap());
    assert!(named, "{}", failure.said);
    if !rustix::process::geteuid().is_root() {
        return; // only root can become somebody who may not write
    }
    let mut unprivileged = local(desk.path());
    unprivileged.uid(65_534).gid(65_534);
    std::fs::create_dir(desk.path().join("state")).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(desk.path(), open).unwrap();
    // The binary may lie where nobody else may look.
    let binary = desk.path().join("shelfcast");
    std::fs::copy(env!("CARGO_BIN_EXE_shelfcast"), &binary).unwrap();
    let mut command = Command::new(&binary);
    command
        .args(unprivileged.get_args())
        .stderr(std::fs::File::create(desk.path().join("log")).unwrap())
        .stdout(std::process::Stdio::null())
        .uid(65_534)
        .gid(65_534);
    let failure = fail(desk.path(), &mut command);
    assert_eq!(failure.code, Some(1), "{}", failure.said);
    assert!(failure.said.contains("state"), "{}", failure.said);
    assert!(failure.said.contains("\nhint: "), "{}", failure.said);
}

#[test]
fn what_is_no_folder_is_wrong_usage() {
    let desk = desk();
    std::fs::write(desk.path().join("file"), "").unwrap();
    for (name, said) in [("file", "is a file"), ("away", "does not exist")] {
        let path = desk.path().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_shelfcast"));
        let ended = command.arg(&path).output().unwrap();
        let log = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{log}");
        let place = format!("FOLDER {}: {said}", path.display());
        assert!(log.contains(&place), "{log}");
    }
}

#[test]
fn an_index_of_a_newer_version_is_refused_and_left_as_it_is() {
    let desk = desk();
    configure(desk.path(), "");
    let state = desk.path().join("state");
    let mut service = Daemon::run(desk, &mut local(state.parent().unwrap()));
    service.signal(Signal::TERM);
    assert!(service.wait().success());
    let index = state.join("index.db");
    assert!(index.exists(), "{:?}", std::fs::read_dir(&state).unwrap());
    let connection = rusqlite::Connection::open(&index).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = std::fs::read(&index).unwrap();
    let directory = service.directory.path();
    let failure = fail(directory, &mut local(directory));
    assert_eq!(failure.code, Some(1), "{}", failure.said);
    assert!(failure.said.contains("\nhint: "), "{}", failure.said);
    assert_eq!(std::fs::read(&index).unwrap(), before);
}
