//! The helper of the tests against the built binary: one service, its configuration, its log.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of tests: what fails here fails the test"
)]

use crate::serving::{Answer, Client, PATIENCE, eventually, pause};
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// A service of its own directory: `library/`, `state/`, `shelfcast.toml`, `out`, `log`.
pub(crate) struct Daemon {
    pub(crate) directory: TempDir,
    child: Child,
    pub(crate) address: SocketAddr,
}

/// How a service ended that did not start.
pub(crate) struct Failure {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
}

/// Returns a directory with an empty library.
pub(crate) fn desk() -> TempDir {
    let desk = tempfile::tempdir().unwrap();
    std::fs::create_dir(desk.path().join("library")).unwrap();
    desk
}

/// Writes the configuration: `extra`, after what every one has.
pub(crate) fn configure(desk: &Path, extra: &str) -> PathBuf {
    let file = desk.join("shelfcast.toml");
    let library = desk.join("library");
    let text = format!("{extra}\n[[folder]]\npath = {library:?}\nname = \"library\"\n");
    std::fs::write(&file, text).unwrap();
    file
}

/// Returns the command that serves the configuration of `desk`, on a port of the kernel's choice.
pub(crate) fn command(desk: &Path) -> Command {
    command_with(desk, &desk.join("state"))
}

/// As [`command`], with its state in another place.
pub(crate) fn command_with(desk: &Path, state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shelfcast"));
    let file = |name: &str| File::create(desk.join(name)).unwrap();
    command
        .arg("--config")
        .arg(desk.join("shelfcast.toml"))
        .arg("--state")
        .arg(state)
        .stdin(Stdio::null())
        .stdout(file("out"))
        .stderr(file("log"));
    command
}

impl Daemon {
    /// Starts a service with these lines in its configuration, on 127.0.0.1.
    pub(crate) fn start(extra: &str) -> Daemon {
        Daemon::on("127.0.0.1", extra)
    }

    pub(crate) fn on(host: &str, extra: &str) -> Daemon {
        let desk = desk();
        configure(desk.path(), extra);
        let mut command = command(desk.path());
        command.args(["--listen", &format!("{host}:0"), "--log", "debug"]);
        Daemon::run(desk, &mut command)
    }

    pub(crate) fn run(directory: TempDir, command: &mut Command) -> Daemon {
        let mut child = command.spawn().unwrap();
        let out = directory.path().join("out");
        let started = Instant::now();
        let url = loop {
            let said = std::fs::read_to_string(&out).unwrap();
            if let Some(line) = said.lines().find(|_| said.ends_with('\n')) {
                break line.strip_prefix("open http://").unwrap().to_owned();
            }
            let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "ended with {ended:?}: {log}");
            assert!(started.elapsed() < PATIENCE, "did not start: {log}");
            pause(std::time::Duration::from_millis(5));
        };
        Daemon {
            directory,
            child,
            address: url.trim_end_matches('/').parse().unwrap(),
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    pub(crate) fn wait_for_log(&self, part: &str) {
        eventually(&format!("{part:?} in the log"), || {
            self.log().contains(part)
        });
    }

    /// Sends `bytes` as they are and returns the client.
    pub(crate) fn send(&self, bytes: &[u8]) -> Client {
        let mut client = Client::connect(self.address);
        client.socket.write_all(bytes).unwrap();
        client
    }

    /// Asks with exactly these header lines, each ended by CRLF.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        let length = match body {
            "" if method != "POST" => String::new(),
            body => format!("Content-Length: {}\r\n", body.len()),
        };
        let head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n{headers}{length}");
        self.send(format!("{head}\r\n{body}").as_bytes()).answer()
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, "Host: localhost\r\n", "")
    }

    pub(crate) fn post(&self, target: &str, body: &str) -> Answer {
        let headers = "Host: localhost\r\nContent-Type: application/json\r\n";
        self.ask("POST", target, headers, body)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end, which a signal must have asked for.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a service that is to end by itself.
pub(crate) fn fail(desk: &Path, command: &mut Command) -> Failure {
    let mut child = command.spawn().unwrap();
    let code = wait(&mut child).code();
    let said = std::fs::read_to_string(desk.join("log")).unwrap();
    Failure { code, said }
}

fn wait(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it did not end by itself");
        }
        pause(std::time::Duration::from_millis(5));
    }
}
