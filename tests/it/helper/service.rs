//! The built binary as a process.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::wait_until;

/// How the service is started.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) state: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) wrapper: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    log: PathBuf,
}

impl Launch {
    pub(super) fn new(state: PathBuf) -> Launch {
        Launch {
            log: state.with_extension("log"),
            state,
            arguments: Vec::new(),
            wrapper: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Returns what the service has written to standard error, all its lives together.
    pub(super) fn log(&self) -> String {
        std::fs::read(&self.log).map_or_else(
            |error| error.to_string(),
            |log| String::from_utf8_lossy(&log).into_owned(),
        )
    }

    fn command(&self) -> Command {
        let binary = env!("CARGO_BIN_EXE_shelfcast");
        let mut command = match self.wrapper.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        let log = File::options().create(true).append(true).open(&self.log);
        command
            .args(["--listen", "127.0.0.1:0", "--log", "debug", "--state"])
            .arg(&self.state)
            .args(&self.arguments)
            .env_remove("STATE_DIRECTORY")
            .env_remove("RUNTIME_DIRECTORY")
            .env_remove("NOTIFY_SOCKET")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.unwrap())
            .process_group(0);
        command
    }
}

/// A running service; dropping it kills it.
#[derive(Debug)]
pub(super) struct Service {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Service {
    pub(super) fn start(launch: &Launch) -> Service {
        Service::try_start(launch)
            .unwrap_or_else(|status| panic!("the service ended with {status}:\n{}", launch.log()))
    }

    /// Starts the service, or answers how it ended without having said its address.
    pub(super) fn try_start(launch: &Launch) -> Result<Service, ExitStatus> {
        let mut child = launch.command().spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let Some(line) =
            lines.find_map(|line| line.ok()?.strip_prefix("open http://").map(String::from))
        else {
            return Err(child.wait().unwrap());
        };
        let address = line.trim_end_matches('/').parse().unwrap();
        Ok(Service { child, address })
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Asks it to stop and waits until it has.
    pub(super) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let mut status = None;
        let ended = wait_until(Duration::from_secs(20), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "the service does not stop");
        status.unwrap()
    }

    pub(super) fn kill(&mut self) {
        // Its whole group, since a tool that traces it outlives it otherwise.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            kill_process_group(self.pid(), Signal::KILL).unwrap_or_default();
            self.child.wait().unwrap();
        }
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}
