//! The helper of the tests that need the whole program: the built binary on directories of its own,
//! and a client of its HTTP interface.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longer than anything that is waited for takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Directories, a configuration, and the program while it runs.
pub(crate) struct Daemon {
    directory: tempfile::TempDir,
    folders: Vec<PathBuf>,
    processors: String,
    workers: usize,
    automatic: bool,
    child: Option<Child>,
    address: SocketAddr,
    /// Where reading the events goes on.
    after: Mutex<String>,
    seen: Mutex<Vec<Value>>,
}

/// An answer: status and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) json: Value,
    pub(crate) text: String,
}

impl Daemon {
    /// Makes the directories; `comics` is the first folder.
    pub(crate) fn new() -> Daemon {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("comics")).unwrap();
        Daemon {
            folders: vec![directory.path().join("comics")],
            directory,
            processors: String::new(),
            workers: 2,
            automatic: true,
            child: None,
            address: "127.0.0.1:0".parse().unwrap(),
            after: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    pub(crate) fn manual(mut self) -> Daemon {
        self.automatic = false;
        self
    }

    /// Adds a folder beside `comics`.
    pub(crate) fn folder_too(mut self, name: &str) -> Daemon {
        let path = self.base().join(name);
        std::fs::create_dir(&path).unwrap();
        self.folders.push(path);
        self
    }

    /// Adds a processor for all entries that is a shell script with the path as `$1`; `$BASE` is
    /// the test's directory.
    pub(crate) fn script(self, name: &str, script: &str) -> Daemon {
        let script = format!("BASE={}\n{script}", self.base().display());
        self.command(name, &["/bin/sh", "-c", &script, name, "{path}"], &[], 60)
    }

    pub(crate) fn command(
        mut self,
        name: &str,
        command: &[&str],
        matches: &[&str],
        timeout_s: u64,
    ) -> Daemon {
        let (name, command, matches) = (json!(name), json!(command), json!(matches));
        writeln!(
            self.processors,
            "[[processor]]\nname = {name}\ncommand = {command}\ntimeout_s = {timeout_s}"
        )
        .unwrap();
        if matches != json!([]) {
            writeln!(self.processors, "match = {matches}").unwrap();
        }
        self
    }

    pub(crate) fn start(mut self) -> Daemon {
        self.start_again();
        self
    }

    /// Starts the program, and returns when it answers.
    pub(crate) fn start_again(&mut self) {
        assert!(self.child.is_none());
        let folders = self.folders.iter();
        let folders = folders.map(|path| format!("[[folder]]\npath = {}\n", json!(path)));
        let config = format!(
            "listen = [\"127.0.0.1:0\"]\nlog_level = \"debug\"\n{}\
             [processing]\nautomatic = {}\nworkers = {}\n{}",
            folders.collect::<String>(),
            self.automatic,
            self.workers,
            self.processors
        );
        let file = self.base().join("shelfcast.toml");
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::options();
        let log = log
            .clone()
            .create(true)
            .append(true)
            .open(self.base().join("log"))
            .unwrap();
        // Another program can be measured or tested in place of the one that was built.
        let program = std::env::var("SHELFCAST_PROGRAM");
        let program = program.unwrap_or_else(|_| env!("CARGO_BIN_EXE_shelfcast").to_owned());
        let mut child = Command::new(program)
            .arg("--config")
            .arg(&file)
            .arg("--state")
            .arg(self.base().join("state"))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        self.child = Some(child);
        let mut line = String::new();
        while !line.contains("http://") {
            line.clear();
            let count = output.read_line(&mut line).unwrap();
            assert!(count > 0, "it did not start: {}", self.log());
        }
        let port = line
            .trim()
            .trim_end_matches('/')
            .rsplit(':')
            .next()
            .unwrap();
        self.address.set_port(port.parse().unwrap());
        // Whatever it still says must not stop it.
        std::mem::forget(output);
        *self.after.lock().unwrap() = String::new();
    }

    pub(crate) fn base(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.base().join("comics")
    }

    /// Writes a file as most programs do: create, write, close.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops it as systemd does; returns how long that took.
    pub(crate) fn stop(&mut self) -> Duration {
        let mut child = self.child.take().unwrap();
        let began = Instant::now();
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        began.elapsed()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Returns the processes that the program has started, or has taken over from those.
    pub(crate) fn children(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let children = tasks.flatten().map(|task| {
            let path = task.path().join("children");
            std::fs::read_to_string(path).unwrap_or_default()
        });
        let children = children.collect::<String>();
        children.split_whitespace().map(str::to_owned).collect()
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, "")
    }

    pub(crate) fn post(&self, target: &str, body: &Value) -> Answer {
        self.ask("POST", target, &body.to_string())
    }

    fn ask(&self, method: &str, target: &str, body: &str) -> Answer {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE + PATIENCE)).unwrap();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            json: serde_json::from_str(body).unwrap_or(Value::Null),
            text: body.to_owned(),
        }
    }

    /// Returns all events since the start, those published within `wait` included.
    fn events(&self, wait: u64) -> Vec<Value> {
        let mut after = self.after.lock().unwrap();
        let query = if after.is_empty() {
            String::new()
        } else {
            format!("&after={after}")
        };
        let answer = self.get(&format!("/api/events?wait={wait}{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        *after = answer.json["last_event_id"].as_str().unwrap().to_owned();
        let mut seen = self.seen.lock().unwrap();
        seen.extend(answer.json["events"].as_array().unwrap().iter().cloned());
        seen.clone()
    }

    /// Begins to collect events: those before are forgotten.
    pub(crate) fn forget_events(&self) {
        self.events(0);
        self.seen.lock().unwrap().clear();
    }

    /// Waits until the events so far fulfil `wanted`, and returns what it found.
    pub(crate) fn wait_events<T>(
        &self,
        what: &str,
        mut wanted: impl FnMut(&[Value]) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let events = self.events(1);
            if let Some(found) = wanted(&events) {
                return found;
            }
            assert!(Instant::now() < deadline, "no {what}\n{}", self.report());
        }
    }

    /// Waits for `file_processed` of the file called `name`, and returns its data.
    pub(crate) fn wait_processed(&self, name: &str) -> Value {
        self.wait_events(&format!("file_processed of {name}"), |events| {
            processed(events)
                .find(|data| data["filename"] == name)
                .cloned()
        })
    }

    /// Waits for the event `error` with this code.
    pub(crate) fn wait_error(&self, code: &str) -> Value {
        self.wait_events(&format!("error {code}"), |events| {
            let errors = events.iter().filter(|event| event["type"] == "error");
            errors
                .map(|event| &event["data"])
                .find(|data| data["code"] == code)
                .cloned()
        })
    }

    pub(crate) fn files(&self) -> Vec<Value> {
        let answer = self.get("/api/files?limit=1000");
        answer.json["files"].as_array().cloned().unwrap_or_default()
    }

    /// Returns the entry called `name`.
    pub(crate) fn file(&self, name: &str) -> Option<Value> {
        self.files().into_iter().find(|entry| entry["name"] == name)
    }

    /// Waits until the entry called `name` fulfils `wanted`, and returns it.
    pub(crate) fn wait_file(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        self.eventually(&format!("entry {name} as wanted"), || {
            found = self.file(name).filter(&wanted);
            found.is_some()
        });
        found.unwrap()
    }

    pub(crate) fn wait_status(&self, name: &str, status: &str) -> Value {
        self.wait_file(name, |entry| entry["status"] == status)
    }

    /// Waits until no entry is unprocessed or being processed.
    pub(crate) fn wait_idle(&self) {
        self.eventually("nothing left to process", || {
            let counts = self.get("/api/files?limit=1").json["counts"].clone();
            counts["unprocessed"] == 0 && counts["processing"] == 0
        });
    }

    /// Makes a job and returns its id.
    pub(crate) fn job(&self, body: &Value) -> String {
        let answer = self.post("/api/jobs", body);
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.json["status"], "queued");
        answer.json["job_id"].as_str().unwrap().to_owned()
    }

    /// Waits until the job has ended, and returns it.
    pub(crate) fn wait_job(&self, id: &str) -> Value {
        let mut job = Value::Null;
        self.eventually(&format!("end of job {id}"), || {
            job = self.get(&format!("/api/jobs/{id}")).json;
            !matches!(job["status"].as_str(), Some("queued" | "running"))
        });
        job
    }

    pub(crate) fn history(&self) -> Vec<Value> {
        let answer = self.get("/api/history?limit=1000");
        answer.json["history"].as_array().cloned().unwrap()
    }

    /// Waits until every change made so far is in the index.
    pub(crate) fn sync(&self) {
        assert_eq!(self.get("/api/sync").status, 200);
    }

    /// Returns the lines of a file in the test's directory; none if there is no such file.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read(self.base().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn eventually(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(
                Instant::now() < deadline,
                "not so: {what}\n{}",
                self.report()
            );
            pause(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.base().join("log")).unwrap_or_default();
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.contains("Broadcast event"))
            .collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    pub(crate) fn report(&self) -> String {
        let events = self.seen.lock().unwrap();
        let tail = &events[events.len().saturating_sub(20)..];
        let events: String = tail.iter().map(|event| format!("{event}\n")).collect();
        format!(
            "files: {:#?}\nevents:\n{events}log:\n{}",
            self.files(),
            self.log()
        )
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// Returns the data of the `file_processed` among `events`.
pub(crate) fn processed(events: &[Value]) -> impl DoubleEndedIterator<Item = &Value> {
    events
        .iter()
        .filter(|event| event["type"] == "file_processed")
        .map(|event| &event["data"])
}

/// Lets time pass where nothing can be waited for.
pub(crate) fn pause(time: Duration) {
    let (_never, nothing) = crossbeam_channel::bounded::<()>(0);
    nothing.recv_timeout(time).unwrap_err();
}
