//! Running out of descriptors and of threads: in a process of its own, since a limit is the
//! process's.

use crate::service::{Daemon, command, configure, desk};
use crate::serving::{Client, PATIENCE, Serving};
use rustix::process::{Resource, Rlimit};
use shelfcast::http::ServerSettings;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const CHILD: &str = "SHELFCAST_TEST_DESCRIPTORS";
/// What the child is told, and answers with the same word.
const NO_THREADS: &str = "no threads";
const THREADS_AGAIN: &str = "threads again";

/// Not a test by itself: the server that the others start in a process of its own.
#[test]
fn child_process() {
    let Ok(limit) = std::env::var(CHILD) else {
        return;
    };
    limit_to(Resource::Nofile, limit.parse().ok());
    if rustix::process::getuid().is_root() {
        // The kernel does not count the threads of root. This thread alone becomes another, and
        // those of the server, which it starts.
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65_534)).unwrap();
    }
    let threads = rustix::process::getrlimit(Resource::Nproc).current;
    let serving = Serving::with(ServerSettings::default());
    writeln!(std::io::stdout(), "\naddress {}", serving.address).unwrap();
    // Until the parent closes it, or ends.
    for line in std::io::stdin().lines().map(Result::unwrap) {
        match line.as_str() {
            NO_THREADS => limit_to(Resource::Nproc, Some(0)),
            THREADS_AGAIN => limit_to(Resource::Nproc, threads),
            other => panic!("told {other:?}"),
        }
        writeln!(std::io::stdout(), "{line}").unwrap();
    }
}

/// Sets the limit that counts; it can be raised again.
#[expect(clippy::unwrap_used, reason = "a helper of tests")]
fn limit_to(resource: Resource, current: Option<u64>) {
    let maximum = rustix::process::getrlimit(resource).maximum;
    rustix::process::setrlimit(resource, Rlimit { current, maximum }).unwrap();
}

struct Process {
    child: Child,
    address: std::net::SocketAddr,
    input: Option<ChildStdin>,
    /// Kept open, since the child says how its test went.
    output: BufReader<ChildStdout>,
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
        let mut process = Process {
            address: ([0, 0, 0, 0], 0).into(),
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        process.address = process.hear("address ").parse().unwrap();
        process
    }

    /// Returns what follows `word` in the next line that begins with it.
    #[expect(clippy::unwrap_used, reason = "a helper of tests")]
    fn hear(&mut self, word: &str) -> String {
        let mut lines = self.output.by_ref().lines().map(Result::unwrap);
        let rest = lines.find_map(|line| line.strip_prefix(word).map(str::to_owned));
        rest.unwrap()
    }

    #[expect(clippy::unwrap_used, reason = "a helper of tests")]
    fn tell(&mut self, word: &str) {
        writeln!(self.input.as_mut().unwrap(), "{word}").unwrap();
        self.hear(word);
    }

    fn answers(&self) -> bool {
        self.answers_with("200")
    }

    fn answers_with(&self, status: &str) -> bool {
        let mut client = Client::connect(self.address);
        let request = b"GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.socket.write_all(request).is_ok() && {
            client.read_to_end();
            client.text.starts_with(&format!("HTTP/1.1 {status}"))
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
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

#[test]
fn without_threads_streams_go_on_and_requests_are_told_to_try_again() {
    let mut process = Process::start(200);
    let mut stream = Client::connect(process.address);
    let request = b"GET /api/events/stream HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.socket.write_all(request).unwrap();
    stream.read_until("the opening", |text| text.contains("retry:"));
    process.tell(NO_THREADS);
    // The one worker that is there answers whoever finds it idle, as long as it lives.
    let deadline = Instant::now() + PATIENCE;
    while !process.answers_with("503") {
        assert!(Instant::now() < deadline, "answers without a thread");
    }
    process.tell(THREADS_AGAIN);
    assert!(process.answers());
    stream.read_until("a heartbeat", |text| text.contains("event: heartbeat"));
}

#[test]
fn streams_leave_descriptors_for_everybody_else() {
    let desk = desk();
    configure(desk.path(), "");
    let service = command(desk.path());
    let mut limited = Command::new("sh");
    limited
        .args([
            "-c",
            "ulimit -n 64; exec \"$0\" \"$@\" --listen 127.0.0.1:0",
        ])
        .arg(service.get_program())
        .args(service.get_args());
    let file = |name| File::create(desk.path().join(name)).unwrap();
    limited.stdout(file("out")).stderr(file("log"));
    let service = Daemon::run(desk, &mut limited);
    let head = b"GET /api/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut refused = 0;
    let mut streams = Vec::new();
    for _ in 0..40 {
        let mut stream = service.send(head);
        stream.read_until("an answer", |text| text.contains("data: {"));
        match stream.text.contains("too_many_clients") {
            true => refused += 1,
            false => streams.push(stream),
        }
    }
    assert_eq!((streams.len(), refused), (16, 24), "{}", service.log());
    assert_eq!(service.get("/").status(), 200);
    assert!(service.log().contains("no more than 16 event streams"));
}
