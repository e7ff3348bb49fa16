//! The process edge: configuration, log, signals, exit code.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use shelfcast::appliance::{Appliance, ApplianceError};
use shelfcast::config::{self, Command, Config, ConfigErrors};
use shelfcast::logging::{self, Logging, LoggingError};
use shelfcast::processing;
use shelfcast::signals::{Signal, Signals};
use shelfcast::systemd::{self, Notifier};
use shelfcast::thread::{self, Handle};

/// What musl has is slow with many threads, and what zig puts in its place grows (docs/FOOTPRINT.md).
#[cfg(target_env = "musl")]
#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// How long a vital thread may take to answer before the watchdog is not fed.
const ALIVE_WITHIN: Duration = Duration::from_secs(3);
/// A stop that takes longer hangs on a disk that does not answer.
const STOPS_WITHIN: Duration = Duration::from_millis(1_900);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            // Standard error may be closed; the exit code still tells.
            drop(writeln!(std::io::stderr(), "{fatal}"));
            fatal.exit_code()
        }
    }
}

fn run() -> Result<(), Fatal> {
    let command = config::from_args()?;
    let config = match command {
        Command::Serve(config) => config,
        other => return Ok(print(&other.report().unwrap_or_default())?),
    };
    share_one_heap();
    let logging = logging::init(&config.log)?;
    let mut signals = Signals::install()?; // before any thread, so that none is missed
    warn_of(&config);
    let env = |name: &str| std::env::var_os(name);
    let manager = Notifier::new(&env);
    let passed = systemd::listen_fds(&env)?;
    // Our children are the owner's processors, and no others.
    if let Err(error) = processing::adopt_orphans() {
        log::warn!("what a processor leaves running may go on after it: {error}");
    }
    let appliance = Appliance::start(config.clone(), passed)?;
    log::info!(
        "started version={} state={:?} folders={} open={}",
        env!("CARGO_PKG_VERSION"),
        config.state,
        config.folders.len(),
        appliance.url()
    );
    if let Err(error) = print(&format!("open {}\n", appliance.url())) {
        log::warn!("nobody reads standard output, the address is in the log: {error}");
    }
    manager.ready(&format!("serving {}", appliance.url()));
    let interval = systemd::watchdog_interval(&env);
    let mut current = config;
    loop {
        match signals.wait(interval) {
            Some(Signal::Stop) => break,
            Some(Signal::Reload) => {
                manager.reloading();
                current = reload(&appliance, &logging, current);
                manager.ready(&format!("serving {}", appliance.url()));
            }
            None if appliance.is_alive(ALIVE_WITHIN) => manager.watchdog(),
            None => log::error!("a vital thread does not answer: the watchdog is not fed"),
        }
    }
    manager.stopping();
    log::info!("stopping");
    let began = Instant::now();
    let (stopped, last_resort) = last_resort()?;
    appliance.stop();
    drop(stopped);
    drop(last_resort);
    log::info!("stopped took_ms={}", began.elapsed().as_millis());
    Ok(())
}

/// Lets all threads share one heap, before there are any.
///
/// glibc gives them up to eight a core, and each keeps what was once needed in it: after 12 minutes
/// of `tests/soak/run` 16 heaps held 10.1 MB, of which 4.2 MB were in use. dlmalloc has one heap.
fn share_one_heap() {
    // SAFETY: it sets a number that the allocator reads.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Ends the process if the sender that is returned still lives after [`STOPS_WITHIN`]: a thread that
/// hangs in the kernel on a dead disk cannot be joined, and all that matters is on the disk by then.
fn last_resort() -> Result<(Sender<()>, Handle), Fatal> {
    let (stopped, ended) = bounded(0);
    let thread = thread::spawn("last-resort", 128 * 1024, move || {
        if ended.recv_timeout(STOPS_WITHIN) == Err(RecvTimeoutError::Timeout) {
            log::error!("a disk does not answer, what waits for it is left behind");
            #[expect(
                clippy::exit,
                reason = "the one way to end threads that hang in the kernel"
            )]
            std::process::exit(0);
        }
    })?;
    Ok((stopped, thread))
}

/// Reads the configuration again; one that is wrong changes nothing.
fn reload(appliance: &Appliance, logging: &Logging, before: Config) -> Config {
    let now = match config::from_args() {
        Ok(Command::Serve(now)) => now,
        Ok(_) => return before,
        Err(errors) => {
            // A line each: the log keeps a line break within a message from being one.
            for line in errors.lines() {
                log::error!("{line}");
            }
            log::error!("the configuration stays as it was; hint: {}", errors.hint());
            return before;
        }
    };
    if let Err(error) = logging.reload(&now.log) {
        log::error!("{error}");
    }
    if now.warnings() != before.warnings() {
        warn_of(&now);
    }
    appliance.reload(&before, &now);
    now
}

/// Says what is no mistake, but may not be what the owner wanted.
fn warn_of(config: &Config) {
    for warning in config.warnings() {
        log::warn!("{warning}");
    }
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Why the process ends other than well.
enum Fatal {
    Config(ConfigErrors),
    Logging(LoggingError),
    Appliance(ApplianceError),
    System(std::io::Error),
}

impl Fatal {
    /// 2 for what the owner wrote, 1 for what went wrong at run time.
    fn exit_code(&self) -> ExitCode {
        match self {
            Fatal::Config(_) => ExitCode::from(ConfigErrors::EXIT_CODE),
            Fatal::Logging(_) | Fatal::Appliance(_) | Fatal::System(_) => ExitCode::FAILURE,
        }
    }
}

impl std::fmt::Display for Fatal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let with_hint =
            |f: &mut std::fmt::Formatter<'_>, error: &dyn std::fmt::Display, hint: Option<&str>| {
                write!(f, "shelfcast: {error}")?;
                hint.map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
            };
        match self {
            Fatal::Config(errors) => errors.fmt(f),
            Fatal::Logging(error) => with_hint(f, error, error.hint().as_deref()),
            Fatal::Appliance(error) => with_hint(f, error, error.hint()),
            Fatal::System(error) => with_hint(f, error, None),
        }
    }
}

impl From<ConfigErrors> for Fatal {
    fn from(errors: ConfigErrors) -> Fatal {
        Fatal::Config(errors)
    }
}

impl From<LoggingError> for Fatal {
    fn from(error: LoggingError) -> Fatal {
        Fatal::Logging(error)
    }
}

impl From<ApplianceError> for Fatal {
    fn from(error: ApplianceError) -> Fatal {
        Fatal::Appliance(error)
    }
}

impl From<std::io::Error> for Fatal {
    fn from(error: std::io::Error) -> Fatal {
        Fatal::System(error)
    }
}
