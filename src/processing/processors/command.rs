//! A **command**: the owner's own processor, run for one file.
//!
//! It is started without a shell, in a private directory, with empty standard input and at low
//! priority, as a process group of its own. Whatever it does (hang, flood its output, leave others
//! behind), it ends: with its timeout, when its item is called off, or when its first process ends.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use super::arguments::{About, fill};
use super::guard::{Guard, written_bytes};
use super::orphans::{self, Orphans};
use super::tail::Tail;
use crate::config::ProcessorConfig;
use crate::glob::{Glob, GlobError};
use crate::library::work::Item;
use crate::processing::attempt::Attempt;

/// How often a running command is looked after. A writer that the guard holds back waits so long.
const TICK: Duration = Duration::from_millis(20);
/// Time between the request to end (TERM) and the end (KILL): after a timeout, and where somebody
/// waits for it.
const GRACE: Duration = Duration::from_secs(2);
const SHORT_GRACE: Duration = Duration::from_millis(400);
/// A process that hangs in the kernel (a dead disk) survives KILL; nobody waits longer for it.
const AFTER_KILL: Duration = Duration::from_secs(1);
/// How often it is looked for what a command has left behind and has ended.
const REAP_EVERY: Duration = Duration::from_secs(1);
/// What is kept of standard output and error.
const OUTPUT_BYTES: usize = 4096;
/// Variables that systemd means for us alone.
const NOT_FOR_COMMANDS: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// The owner's own processor.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: String,
    matches: Vec<Glob>,
    command: Vec<String>,
    timeout: Duration,
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) end: End,
    /// Exit status, where it ended by itself.
    pub(crate) exit: Option<i32>,
    /// The end of what it said.
    pub(crate) output: String,
    /// Somebody else opened the file for writing meanwhile.
    pub(crate) saw_stranger: bool,
    /// That would have been seen.
    pub(crate) guarded: bool,
    /// Bytes that it wrote elsewhere than to us, where that can be told.
    pub(crate) written: Option<u64>,
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With exit status 0.
    Success,
    /// With this error.
    Failed(String),
    /// It could not be started at all: the owner must act.
    Missing(String),
    /// It was called off.
    Interrupted,
}

impl Command {
    pub(crate) fn new(config: ProcessorConfig) -> Result<Command, GlobError> {
        let globs = config.matches.iter().map(|glob| Glob::parse(glob));
        Ok(Command {
            matches: globs.collect::<Result<_, _>>()?,
            name: config.name,
            command: config.command,
            timeout: config.timeout,
        })
    }

    /// Tells whether the processor is meant for the entry at this path below its folder.
    pub(crate) fn is_for(&self, relative: &[u8]) -> bool {
        self.matches.is_empty() || self.matches.iter().any(|glob| glob.matches(relative))
    }

    /// Runs the command for `item`, whose file is open as `file`, in the empty directory `scratch`.
    pub(crate) fn run(
        &self,
        item: &Item,
        file: BorrowedFd<'_>,
        scratch: &Path,
        orphans: &Orphans,
        attempt: &Attempt<'_>,
    ) -> Ran {
        let failed = |end| Ran {
            end,
            exit: None,
            output: String::new(),
            guarded: true,
            saw_stranger: false,
            written: None,
        };
        let program = self.command.first().map_or("", String::as_str);
        let child = match orphans.start(|| self.start(item, scratch)) {
            Ok(child) => child,
            Err(error) => {
                let message = format!("cannot run {program}: {}", reason(program, &error));
                // Without processes or memory it is the machine that is short, not the program.
                let passing = matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM));
                let end = if passing {
                    End::Failed(message)
                } else {
                    End::Missing(message)
                };
                return failed(end);
            }
        };
        let process = Pid::from_child(&child);
        let ran = Running::new(child, file).watch(self.timeout, orphans, attempt);
        orphans.end(process, scratch);
        ran
    }

    fn start(&self, item: &Item, scratch: &Path) -> io::Result<Child> {
        let path = item.root.join(std::ffi::OsStr::from_bytes(&item.relative));
        let about = About {
            path: path.as_os_str().as_bytes(),
            name: item
                .relative
                .rsplit(|byte| *byte == b'/')
                .next()
                .unwrap_or_default(),
            folder: &item.folder,
            id: item.id.0,
        };
        let (program, arguments) = self
            .command
            .split_first()
            .ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = std::process::Command::new(program);
        for variable in NOT_FOR_COMMANDS {
            command.env_remove(variable);
        }
        command
            .args(arguments.iter().map(|argument| fill(argument, &about)))
            .envs(about.environment())
            .env("TMPDIR", scratch)
            .env(orphans::MARK, scratch)
            .current_dir(scratch)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        // SAFETY: `step_back` makes system calls only, and none that needs a lock or memory.
        unsafe { command.pre_exec(step_back) };
        command.spawn()
    }
}

/// Runs in the new process: behind everybody else for processor, disk and memory, and gone when we
/// are (kill -9), so that its item can be started again. Whatever the kernel refuses is no reason
/// to fail.
fn step_back() -> io::Result<()> {
    /// ioprio_set(2): this process, best effort, last of the eight levels.
    const WHO_PROCESS: libc::c_int = 1;
    const LAST_OF_BEST_EFFORT: libc::c_int = (2 << 13) | 7;
    const USUAL_DESCRIPTORS: libc::rlim_t = 1024;
    // SAFETY: plain system calls with constant arguments and a static buffer.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
        libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, LAST_OF_BEST_EFFORT);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // We have as many descriptors as the system allows; programs that use select(2), or close
        // all that they could have, need the usual number.
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max.min(USUAL_DESCRIPTORS);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
        // Where memory runs out, the kernel shall take the command and not the service.
        let score = libc::open(
            c"/proc/self/oom_score_adj".as_ptr(),
            libc::O_WRONLY | libc::O_CLOEXEC,
        );
        if score >= 0 {
            libc::write(score, c"500".as_ptr().cast(), 3);
            libc::close(score);
        }
    }
    Ok(())
}

fn reason(program: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound && Path::new(program).exists() {
        return "its interpreter (first line of the file) does not exist".to_owned();
    }
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such program".to_owned(),
        _ => error.to_string(),
    }
}

/// A command that was started.
struct Running<'fd> {
    child: Child,
    /// Its first process, and so its group.
    process: Pid,
    /// Readable when the first process has ended; absent before Linux 5.3.
    ended: Option<OwnedFd>,
    pipes: [Pipe; 2],
    guard: Guard<'fd>,
}

struct Pipe {
    source: Option<Box<dyn Source>>,
    /// Bytes read from it.
    bytes: u64,
    tail: Tail,
}

trait Source: Read + AsFd {}
impl<T: Read + AsFd> Source for T {}

/// What was decided about a running command.
enum Ending {
    /// TERM was sent for this reason; KILL follows at this moment.
    Asked(Cause, Instant),
    /// KILL was sent; nobody waits beyond this moment.
    Forced(Cause, Instant),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Timeout,
    CalledOff,
}

impl<'fd> Running<'fd> {
    fn new(mut child: Child, file: BorrowedFd<'fd>) -> Running<'fd> {
        let process = Pid::from_child(&child);
        let stdout = child
            .stdout
            .take()
            .map(|pipe| Box::new(pipe) as Box<dyn Source>);
        let stderr = child
            .stderr
            .take()
            .map(|pipe| Box::new(pipe) as Box<dyn Source>);
        let pipes = [stdout, stderr].map(|source| Pipe {
            source,
            bytes: 0,
            tail: Tail::new(OUTPUT_BYTES),
        });
        for pipe in pipes.iter().flat_map(|pipe| &pipe.source) {
            rustix::io::ioctl_fionbio(pipe.as_fd(), true).expect("every pipe can do that");
        }
        Running {
            ended: rustix::process::pidfd_open(process, PidfdFlags::empty()).ok(),
            process,
            pipes,
            guard: Guard::over(file),
            child,
        }
    }

    fn watch(mut self, timeout: Duration, orphans: &Orphans, attempt: &Attempt<'_>) -> Ran {
        let began = Instant::now();
        let mut reaped = began;
        let mut ending: Option<Ending> = None;
        while !self.wait() {
            self.guard.look(self.process);
            let now = Instant::now();
            if now - reaped >= REAP_EVERY {
                orphans.reap(); // it may leave behind any number while it runs
                reaped = now;
            }
            ending = match ending {
                None if !attempt.goes_on() => self.ask(Cause::CalledOff, now + SHORT_GRACE),
                None if now - began >= timeout => self.ask(Cause::Timeout, now + GRACE),
                Some(Ending::Asked(cause, at)) if now >= at => {
                    self.signal(Signal::KILL);
                    Some(Ending::Forced(cause, now + AFTER_KILL))
                }
                Some(Ending::Asked(Cause::Timeout, _)) if !attempt.goes_on() => {
                    self.ask(Cause::CalledOff, now + SHORT_GRACE)
                }
                Some(Ending::Forced(_, at)) if now >= at => {
                    log::warn!(
                        "a command does not end pid={}",
                        self.process.as_raw_nonzero()
                    );
                    break;
                }
                same => same,
            };
        }
        let cause = ending.map(|ending| match ending {
            Ending::Asked(cause, _) | Ending::Forced(cause, _) => cause,
        });
        self.end(cause, timeout)
    }

    fn ask(&self, cause: Cause, until: Instant) -> Option<Ending> {
        self.signal(Signal::TERM);
        Some(Ending::Asked(cause, until))
    }

    /// Waits a tick; reads what was said meanwhile. Tells whether the first process has ended.
    fn wait(&mut self) -> bool {
        let sources = self
            .pipes
            .iter()
            .flat_map(|pipe| &pipe.source)
            .map(|source| source.as_fd());
        let all = sources.chain(self.ended.iter().map(AsFd::as_fd));
        let mut polled: Vec<_> = all
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let tick = Timespec::try_from(TICK).unwrap_or_default();
        // An interrupted wait is a short one.
        rustix::event::poll(&mut polled, Some(&tick)).unwrap_or(0);
        for pipe in &mut self.pipes {
            pipe.read();
        }
        // Not waited for yet: until then its number, and so that of the group, is not given again.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(
            rustix::process::waitid(WaitId::Pid(self.process), look),
            Ok(None)
        )
    }

    fn end(mut self, cause: Option<Cause>, timeout: Duration) -> Ran {
        let written = written_bytes(self.process);
        self.signal(Signal::KILL); // whatever it left running
        for pipe in &mut self.pipes {
            pipe.read();
        }
        let status = match self.child.try_wait() {
            Ok(Some(status)) => Some(status),
            _ => None, // it hangs in the kernel, or somebody else waited for it
        };
        let [stdout, stderr] = &self.pipes;
        // Some tell of their failure on standard output alone (clamscan, a linter).
        let said = stderr.tail.last_line().or_else(|| stdout.tail.last_line());
        let end = match (cause, status) {
            (Some(Cause::CalledOff), _) => End::Interrupted,
            (Some(Cause::Timeout), _) => End::Failed(match said {
                Some(said) => format!("timed out after {} s: {said}", timeout.as_secs()),
                None => format!("timed out after {} s", timeout.as_secs()),
            }),
            (None, Some(status)) if status.success() => End::Success,
            (None, status) => End::Failed(said.unwrap_or_else(|| describe(status))),
        };
        let said_bytes = stdout.bytes + stderr.bytes;
        let output = match stderr.tail.text() {
            text if text.is_empty() => stdout.tail.text(),
            text => text,
        };
        Ran {
            end,
            exit: status.and_then(|status| status.code()),
            output,
            guarded: self.guard.works(),
            saw_stranger: self.guard.saw_stranger(),
            written: written.map(|bytes| bytes.saturating_sub(said_bytes)),
        }
    }

    fn signal(&self, signal: Signal) {
        // ESRCH: nobody is left, which is what we want.
        rustix::process::kill_process_group(self.process, signal).unwrap_or(());
    }
}

impl Pipe {
    /// Reads what is there, but gives a flood no more than its turn.
    fn read(&mut self) {
        let mut buffer = [0; 8192];
        for _ in 0..32 {
            let Some(source) = &mut self.source else {
                return;
            };
            match source.read(&mut buffer) {
                Ok(0) => self.source = None,
                Ok(count) => {
                    self.bytes += count as u64;
                    self.tail.push(&buffer[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.source = None,
            }
        }
    }
}

fn describe(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("exit status {code}"),
        Some((None, Some(signal))) => format!("ended by signal {signal}"),
        _ => "ended in an unknown way".to_owned(),
    }
}

/// Private working directories, one a run, below the state directory.
#[derive(Debug)]
pub(crate) struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    /// Begins with an empty directory: whatever a killed service left there is removed.
    ///
    /// # Errors
    /// The state directory cannot be written.
    pub(crate) fn open(state: &Path) -> io::Result<Scratch> {
        let directory = state.join("scratch");
        // After an orderly end there is nothing in it, and nothing of ours runs.
        if std::fs::read_dir(&directory).is_ok_and(|mut left| left.next().is_some()) {
            orphans::end_strays(&directory);
        }
        match std::fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        make_private(&directory)?;
        Ok(Scratch { directory })
    }

    /// Returns where the directories are made.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the directory of one worker's run, and removes it after `run`.
    pub(crate) fn with<T>(&self, worker: usize, run: impl FnOnce(&Path) -> T) -> io::Result<T> {
        let path = self.directory.join(worker.to_string());
        if let Err(error) = make_private(&path) {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            // The last run left something that could not be removed then.
            remove_tree(&path)?;
            make_private(&path)?;
        }
        let result = run(&path);
        if let Err(error) = remove_tree(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("cannot remove {}: {error}", path.display());
        }
        Ok(result)
    }
}

fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

/// Removes a directory also where a command left directories in it that cannot be entered.
fn remove_tree(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if std::fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    let mut directories = VecDeque::from([path.to_path_buf()]);
    while let Some(directory) = directories.pop_front() {
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700))?;
        for entry in std::fs::read_dir(&directory)?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push_back(entry.path());
            }
        }
    }
    std::fs::remove_dir_all(path)
}
