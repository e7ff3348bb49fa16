//! Running out of descriptors: in a process of its own, since the limit is the process's.

use crate::serving::{Client, PATIENCE, Serving};
use shelfcast::http::ServerSettings;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const CHILD: &str = "SHELFCAST_TEST_DESCRIPTORS";

/// Not a test by itself: the server that the others start in a process of its own.
#[test]
fn child_process() {
    let Ok(limit) = std::env::var(CHILD) else {
        return;
    };
    let limit = limit.parse().ok();
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: limit,
            maximum: limit,
        },
    )
    .unwrap();
    let serving = Serving::with(ServerSettings::default());
    writeln!(std::io::stdout(), "\naddress {}", serving.address).unwrap();
    // Until the parent closes it, or ends.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

struct Process {
    child: Child,
    address: std::net::SocketAddr,
    /// Kept open, since the child says how its test went.
    _output: BufReader<ChildStdout>,
}

impl Process {
    #[expect(clippy::unwrap_used, reason = "a helper of tests")]
    fn start(descriptors: u32) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "exhaustion::child_process", "--nocapture"])
            .env(CHILD, descriptors.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let address = output
            .by_ref()
            .lines()
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix("address ").map(str::to_owned));
        Process {
            child,
            address: address.unwrap().parse().unwrap(),
            _output: output,
        }
    }

    fn answers(&self) -> bool {
        let mut client = Client::connect(self.address);
        let request = b"GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.socket.write_all(request).is_ok() && {
            client.read_to_end();
            client.text.starts_with("HTTP/1.1 200")
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

#[test]
fn when_descriptors_run_out_silent_connections_make_room() {
    let process = Process::start(40);
    let silent: Vec<_> = (0..200).map(|_| Client::connect(process.address)).collect();
    assert!(process.answers());
    drop(silent);
    assert!(process.answers());
}

#[test]
fn accepting_goes_on_after_streams_took_every_descriptor() {
    let process = Process::start(40);
    let streams: Vec<_> = (0..60)
        .map(|_| {
            let mut client = Client::connect(process.address);
            let request = b"GET /api/events/stream HTTP/1.1\r\nHost: a\r\n\r\n";
            client.socket.write_all(request).unwrap();
            client
        })
        .collect();
    // Time for it to run out, and to spin if it did; then everybody leaves.
    crate::serving::pause(Duration::from_millis(500));
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(' ').collect();
    // utime and stime, counted from the end: 52 fields, hundredths of a second.
    let ticks: u32 = [14, 15]
        .map(|field: usize| fields[52 - field].trim().parse::<u32>().unwrap())
        .iter()
        .sum();
    assert!(
        ticks < 40,
        "accepting spins: {ticks} ticks in half a second"
    );
    drop(streams);
    let deadline = Instant::now() + PATIENCE;
    while !process.answers() {
        assert!(
            Instant::now() < deadline,
            "no service after the descriptors are back"
        );
    }
}
