//! A library with the service watching it.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::faults::Injection;
use super::http::{self, Answer};
use super::service::{Launch, Service};
use super::{Arrangement, Files, Follower, PATIENCE, Stream, disk, wait_until};

/// Temporary folders, a state directory, and the built binary at work. Dropping it kills the
/// service and removes the files.
#[derive(Debug)]
pub struct Shelf {
    service: Option<Service>,
    launch: Launch,
    directory: TempDir,
}

impl Shelf {
    /// Arranges files; the first component of each is a folder, the content is the path.
    pub fn with<const N: usize>(files: [&str; N]) -> Arrangement {
        files
            .into_iter()
            .fold(Arrangement::new(), Arrangement::file)
    }

    /// Arranges no folder of its own.
    pub fn none() -> Arrangement {
        Arrangement::new()
    }

    /// Arranges one empty folder.
    pub fn empty(folder: &str) -> Arrangement {
        Arrangement::new().folder(folder)
    }

    pub(super) fn new(directory: TempDir, launch: Launch, service: Service) -> Shelf {
        Shelf {
            service: Some(service),
            launch,
            directory,
        }
    }

    // On disk. Paths begin with the folder's name.

    /// Returns the directory that holds the folders.
    pub fn library(&self) -> PathBuf {
        self.directory.path().join("library")
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.library().join(path)
    }

    /// Returns a path outside of the library, on the same disk.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn state(&self) -> &Path {
        &self.launch.state
    }

    /// Writes a file; directories above it are made.
    pub fn write(&self, path: &str, content: &str) {
        let target = self.path(path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, content).unwrap();
    }

    pub fn make_directory(&self, path: &str) {
        std::fs::create_dir_all(self.path(path)).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to))
            .unwrap_or_else(|error| panic!("{from} cannot be renamed to {to}: {error}"));
    }

    /// Removes a file, or a directory with all that is in it.
    pub fn remove(&self, path: &str) {
        let target = self.path(path);
        let meta = std::fs::symlink_metadata(&target).unwrap();
        let removed = if meta.is_dir() {
            std::fs::remove_dir_all(target)
        } else {
            std::fs::remove_file(target)
        };
        removed.unwrap();
    }

    // Asking the service.

    pub fn address(&self) -> SocketAddr {
        self.service.as_ref().expect("the service runs").address
    }

    pub fn get(&self, target: &str) -> Answer {
        http::ask(self.address(), "GET", target, None)
    }

    pub fn post(&self, target: &str, body: &Value) -> Answer {
        http::ask(self.address(), "POST", target, Some(body))
    }

    pub fn files(&self) -> Files {
        Files::ask(self.address(), "")
    }

    /// Returns what a query finds: `"search=a&sort=name"`.
    pub fn find(&self, query: &str) -> Files {
        Files::ask(self.address(), query)
    }

    /// Waits until every change made before is in the index and published; returns the last event.
    pub fn sync(&self) -> String {
        let mut last = String::new();
        // One answer may take too long while the service is stopped or the machine is busy.
        let synced = wait_until(2 * PATIENCE, || {
            let answer = self.get("/api/sync");
            if answer.status == 200 {
                last = answer.json()["last_event_id"].as_str().unwrap().to_owned();
            }
            answer.status == 200
        });
        assert!(synced, "the service does not sync\n{}", self.report());
        last
    }

    pub fn watcher_status(&self) -> Value {
        self.get("/api/watcher/status").json()
    }

    /// Returns the state of one folder: `watching`, `offline`, …
    pub fn folder_state(&self, name: &str) -> String {
        let status = self.watcher_status();
        let folders = status["folders"].as_array().unwrap();
        let folder = folders
            .iter()
            .find(|folder| folder["name"] == name)
            .unwrap();
        folder["state"].as_str().unwrap().to_owned()
    }

    pub fn stream(&self) -> Stream {
        Stream::open(self.address(), "/api/events/stream", None)
    }

    pub fn follow(&self) -> Follower {
        Follower::start(self.address())
    }

    // Waiting.

    /// Waits until the list of entries is as wanted.
    pub fn eventually(&self, what: &str, wanted: impl Fn(&Files) -> bool) {
        let came = wait_until(PATIENCE, || {
            Files::try_ask(self.address(), "").is_ok_and(|files| wanted(&files))
        });
        assert!(came, "waited for: {what}\n{}", self.report());
    }

    /// Waits until a folder has a state.
    pub fn eventually_folder_is(&self, folder: &str, state: &str) {
        let came = wait_until(PATIENCE, || self.folder_state(folder) == state);
        assert!(
            came,
            "waited for folder {folder} to be {state}\n{}",
            self.report()
        );
    }

    /// Waits for any condition.
    pub fn wait(&self, what: &str, condition: impl FnMut() -> bool) {
        let came = wait_until(PATIENCE, condition);
        assert!(came, "waited for: {what}\n{}", self.report());
    }

    /// Syncs, and fails unless the index equals the disk and its own counts.
    pub fn assert_equals_disk(&self) -> Files {
        self.sync();
        let files = self.files();
        let on_disk = disk::entries(&self.library());
        let differences = disk::differences(&on_disk, &disk::of_index(&files.entries));
        assert!(
            differences.is_empty() && files.total == files.len() as u64,
            "the index (total {}) differs from the disk:\n{}\n{}",
            files.total,
            differences.join("\n"),
            self.report()
        );
        files
    }

    /// As [`Shelf::assert_equals_disk`], but gives the service 2 s (contract section 6) instead of
    /// asking it to sync.
    pub fn assert_converges(&self) {
        let mut left = Vec::new();
        let converged = wait_until(Duration::from_secs(10), || {
            let on_disk = disk::entries(&self.library());
            let files = self.files();
            left = disk::differences(&on_disk, &disk::of_index(&files.entries));
            left.is_empty()
        });
        assert!(
            converged,
            "does not converge:\n{}\n{}",
            left.join("\n"),
            self.report()
        );
    }

    // The process.

    pub fn pid(&self) -> i32 {
        self.service
            .as_ref()
            .expect("the service runs")
            .pid()
            .as_raw_nonzero()
            .get()
    }

    /// Halts the service (SIGSTOP) until [`Shelf::go_on`].
    pub fn halt(&self) {
        self.service
            .as_ref()
            .expect("the service runs")
            .signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.service
            .as_ref()
            .expect("the service runs")
            .signal(Signal::CONT);
    }

    pub fn stop(&mut self) -> ExitStatus {
        self.service.take().expect("the service runs").stop()
    }

    /// Ends the service as a power loss would.
    pub fn kill9(&mut self) {
        drop(self.service.take());
    }

    /// Starts the service again after [`Shelf::stop`] or [`Shelf::kill9`].
    pub fn start_again(&mut self) {
        self.service = Some(Service::start(&self.launch));
    }

    /// As [`Shelf::start_again`], where it may refuse: answers how it ended.
    pub fn try_start_again(&mut self) -> Result<(), ExitStatus> {
        self.service = Some(Service::try_start(&self.launch)?);
        Ok(())
    }

    pub fn is_running(&self) -> bool {
        self.service.is_some()
    }

    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Leaves a folder out of the command line of the next start.
    pub fn drop_argument(&mut self, folder: &str) {
        let path = self.path(folder);
        self.launch.arguments.retain(|argument| *argument != *path);
    }

    /// Adds an argument to the command line of the next start.
    pub fn next_argument(&mut self, argument: &str) {
        self.launch.arguments.push(argument.into());
    }

    pub fn has_ended(&mut self) -> bool {
        self.service.as_mut().is_none_or(Service::has_ended)
    }

    /// Makes system calls of one thread fail until what is returned is dropped; needs strace.
    pub fn inject(&self, thread: &str, fault: &str) -> Injection {
        Injection::start(self.pid(), thread, fault)
    }

    pub fn log(&self) -> String {
        self.launch.log()
    }

    /// Returns the number of directories that the kernel watches for the service.
    pub fn kernel_watches(&self) -> usize {
        let directory = format!("/proc/{}/fdinfo", self.pid());
        let files = std::fs::read_dir(directory).unwrap().flatten();
        let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
        texts.map(|text| text.matches("inotify wd:").count()).sum()
    }

    /// Resident memory of the service at its highest, in bytes.
    pub fn peak_memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        number.unwrap() * 1024
    }

    /// Bytes that the service has handed to write calls, those to files of its state and to clients.
    pub fn bytes_written(&self) -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.pid())).unwrap();
        let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
        line.and_then(|number| number.parse().ok()).unwrap()
    }

    /// Shows everything that helps to see why something did not happen.
    pub fn report(&self) -> String {
        let limit = |text: String, lines: usize| {
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        };
        let tree: Vec<String> = std::process::Command::new("find")
            .arg(self.library())
            .args(["-maxdepth", "8", "-printf", "%y %i %s %P\n"])
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
            .lines()
            .take(200)
            .map(str::to_owned)
            .collect();
        let ask = |target: &str| match &self.service {
            Some(service) => http::try_ask(service.address, "GET", target, None).map_or_else(
                |error| error.to_string(),
                |answer| String::from_utf8_lossy(&answer.body).into_owned(),
            ),
            None => "the service does not run".to_owned(),
        };
        let index = ask("/api/files?limit=200").replace("},{", "},\n{");
        let events = ask("/api/events?after=0-0").replace("},{\"id\"", "},\n{\"id\"");
        format!(
            "--- disk\n{}\n--- index\n{index}\n--- watcher\n{}\n--- events\n{events}\n--- log\n{}",
            tree.join("\n"),
            ask("/api/watcher/status"),
            limit(self.log(), 150)
        )
    }

    /// Returns the inode number of a file, to see whether a test really replaced it.
    pub fn inode(&self, path: &str) -> u64 {
        std::fs::symlink_metadata(self.path(path)).unwrap().ino()
    }
}
