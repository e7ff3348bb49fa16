//! The **configuration**: command line and TOML file in, one checked [`Config`] out.
//!
//! Whatever is wrong is said at once, every complaint with file, line and key; nobody else in the
//! program looks at arguments, environment or the file. Each part of the program is handed its own
//! section, never the whole.

mod check;
mod cli;
mod complaint;
mod drop_in;
mod file;
mod folders;
mod help;
mod load;
mod network;
mod processors;
mod render;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use complaint::ConfigErrors;

/// The file that is read when neither a FOLDER nor `--config` is given.
pub const DEFAULT_FILE: &str = "/etc/shelfcast/shelfcast.toml";

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// To run the service.
    Serve(Config),
    /// To check the configuration and print it.
    Check(Config),
    /// To print the systemd drop-in that the configuration needs.
    PrintDropIn(Config),
    /// To print the options.
    Help,
    /// To print the version.
    Version,
}

impl Command {
    /// Returns what is to be printed on standard output before the process ends with code 0;
    /// nothing when it is to serve.
    #[must_use]
    pub fn report(&self) -> Option<String> {
        match self {
            Command::Serve(_) => None,
            Command::Check(config) => Some(render::effective(config)),
            Command::PrintDropIn(config) => Some(drop_in::drop_in(config)),
            Command::Help => Some(help::HELP.to_owned()),
            Command::Version => Some(help::version()),
        }
    }
}

/// Reads the command line of this process, its environment and the configuration file.
///
/// # Errors
/// Everything that is wrong.
pub fn from_args() -> Result<Command, ConfigErrors> {
    parse(std::env::args_os().skip(1), &|name| std::env::var_os(name))
}

/// Reads the arguments `args` (without the program's name) and the configuration file that they
/// name; `env` looks up the environment.
///
/// # Errors
/// Everything that is wrong.
pub fn parse(
    args: impl Iterator<Item = OsString>,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Command, ConfigErrors> {
    load::load(args, env, Path::new(DEFAULT_FILE))
}

/// All that can be configured, checked. Contract sections 1 and 2 are its outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Addresses to listen on, at least one.
    pub listen: Vec<SocketAddr>,
    /// Directory in which the index lives.
    pub state: PathBuf,
    /// Level and place of the log.
    pub log: LogConfig,
    /// The watched folders; may be empty only when a configuration file was read.
    pub folders: Vec<FolderConfig>,
    /// Whether and by how many workers entries are processed.
    pub processing: ProcessingConfig,
    /// The owner's own steps, in the order of the file.
    pub processors: Vec<ProcessorConfig>,
    /// How directories that cannot be watched are polled.
    pub watch: WatchConfig,
    /// Who may connect.
    pub access: AccessConfig,
    /// Bounds on clients.
    pub limits: LimitsConfig,
    /// The file that was read, for messages.
    pub file: Option<PathBuf>,
}

impl Config {
    /// Returns what another configuration has different, by the names of the file's sections:
    /// after a reload, what cannot be applied live is named in the log.
    #[must_use]
    pub fn differences(&self, other: &Config) -> Vec<&'static str> {
        // Taken apart in full, so that a new field cannot be forgotten here.
        let Config {
            listen,
            state,
            log,
            folders,
            processing,
            processors,
            watch,
            access,
            limits,
            file: _, // where it was read is no setting
        } = self;
        let same = [
            ("listen", *listen == other.listen),
            ("--state", *state == other.state),
            ("log_level", log.level == other.log.level),
            ("log_file", log.file == other.log.file),
            ("folder", *folders == other.folders),
            ("processing", *processing == other.processing),
            ("processor", *processors == other.processors),
            ("watch", *watch == other.watch),
            ("access", *access == other.access),
            ("limits", *limits == other.limits),
        ];
        let differing = same.into_iter().filter(|(_, same)| !same);
        differing.map(|(name, _)| name).collect()
    }
}

/// Level and place of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Lines below this level are not written.
    pub level: log::LevelFilter,
    /// A file that gets the log too.
    pub file: Option<PathBuf>,
}

/// One watched root.
#[derive(Clone, Debug, PartialEq)]
pub struct FolderConfig {
    /// Absolute path of the root.
    pub path: PathBuf,
    /// Name that its entries' paths start with; unique.
    pub name: String,
    /// Globs of relative paths that are entries; empty means everything.
    pub include: Vec<String>,
    /// Globs of relative paths that are not, added to the built-in list.
    pub ignore: Vec<String>,
}

/// Whether and how entries are processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessingConfig {
    /// Process a new or changed entry as soon as it is complete.
    pub automatic: bool,
    /// Number of workers, at least 1.
    pub workers: usize,
}

/// One step of the owner's own.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessorConfig {
    /// Its name in events and history; unique, never `fingerprint`.
    pub name: String,
    /// Globs of relative paths; empty means every entry.
    pub matches: Vec<String>,
    /// Program and arguments with placeholders; no shell.
    pub command: Vec<String>,
    /// Its process group is ended after this long.
    pub timeout: Duration,
}

/// How directories that cannot be watched are polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchConfig {
    /// Longest time between two looks.
    pub poll: Duration,
}

/// Who may connect.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessConfig {
    /// Where clients may come from; any match admits.
    pub allow: Vec<Allow>,
    /// Further host names the page may be reached by, lower case.
    pub hosts: Vec<String>,
    /// When set, everything that changes something needs it.
    pub token: Option<String>,
}

impl fmt::Debug for AccessConfig {
    /// Shows everything but the token, which must reach no log.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AccessConfig")
            .field("allow", &self.allow)
            .field("hosts", &self.hosts)
            .field("token", &self.token.as_ref().map(|_| "not shown"))
            .finish()
    }
}

/// A set of client addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Loopback, private, link-local, unique-local, and the machine's own subnets.
    Lan,
    /// Everybody.
    Any,
    /// The addresses whose first `prefix` bits are those of `address`.
    Block {
        /// Any address of the block.
        address: std::net::IpAddr,
        /// Number of leading bits that count, 0 to 32 or 128.
        prefix: u8,
    },
}

/// Bounds on clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Open event streams.
    pub clients: usize,
    /// Open event streams of one address.
    pub clients_per_address: usize,
}
