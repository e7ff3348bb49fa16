//! The **configuration**: command line and TOML file in, one checked [`Config`] out.
//!
//! Whatever is wrong is said at once, every complaint with file, line and key; nobody else in the
//! program looks at arguments, environment or the file. Each part of the program is handed its own
//! section, never the whole.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessConfig {
    /// Where clients may come from; any match admits.
    pub allow: Vec<Allow>,
    /// Further host names the page may be reached by, lower case.
    pub hosts: Vec<String>,
    /// When set, everything that changes something needs it.
    pub token: Option<String>,
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
