//! The **log**: one line a fact, to standard error, and to a file where one is configured.
//!
//! The promise: a line is a line, whatever names stand in it, and is written by one system call,
//! so that lines of many threads never mix. Under systemd's journal each carries its priority and
//! no time, which the journal knows; elsewhere the time is UTC, as the log of a box that moves
//! between time zones, or of two boxes side by side, has to be.
//!
//! simplelog puts the lines together (time, level, thread, target); where they go is ours.

mod limited;
mod lines;
mod panic;
mod sink;

pub use limited::Limited;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use log::{Log, Metadata, Record};

use crate::config::LogConfig;
use lines::one_line;
use sink::{LogFile, Sink, Slot, Style, Terminal};

/// The log of this process. It goes on when this is dropped; only changing it needs this.
#[derive(Debug)]
pub struct Logging {
    file: Slot,
    lost: Arc<AtomicU64>,
}

/// The log cannot be written as configured.
#[derive(Debug)]
pub enum LoggingError {
    /// The file cannot be opened.
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else in this process has set up a log.
    AlreadySet,
}

impl fmt::Display for LoggingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoggingError::Open { path, source } => {
                write!(
                    out,
                    "cannot write the log file {}: {source}",
                    path.display()
                )
            }
            LoggingError::AlreadySet => write!(out, "this process has a log already"),
        }
    }
}

impl std::error::Error for LoggingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LoggingError::Open { source, .. } => Some(source),
            LoggingError::AlreadySet => None,
        }
    }
}

impl LoggingError {
    /// Returns what to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let LoggingError::Open { path, source } = self else {
            return None;
        };
        let directory = path.parent().unwrap_or(Path::new("/")).display();
        Some(match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem => {
                "systemd keeps it read-only: `shelfcast --print-drop-in` shows what opens it"
                    .to_owned()
            }
            io::ErrorKind::PermissionDenied => {
                format!("let the user that runs shelfcast write to {directory}")
            }
            _ => format!("correct `log_file`, or look at {directory}"),
        })
    }
}

/// Sets up the log of this process, and lets panics go there.
///
/// # Errors
/// The file cannot be opened; or there is a log already.
pub fn init(config: &LogConfig) -> Result<Logging, LoggingError> {
    let lost = Arc::new(AtomicU64::new(0));
    let file = Slot::new(Mutex::new(open(config)?));
    let style = if is_journal() {
        Style::Journal
    } else {
        Style::Stamped
    };
    let logger = Logger {
        terminal: Sink::new(style, || Terminal, &lost),
        file: Sink::new(Style::Stamped, || LogFile(Arc::clone(&file)), &lost),
    };
    log::set_boxed_logger(Box::new(logger)).map_err(|_| LoggingError::AlreadySet)?;
    log::set_max_level(config.level);
    panic::log_panics();
    Ok(Logging { file, lost })
}

impl Logging {
    /// Goes by `config` from the next line on, and opens the file anew: logrotate has moved it.
    ///
    /// # Errors
    /// The file cannot be opened; then the log stays as it was.
    pub fn reload(&self, config: &LogConfig) -> Result<(), LoggingError> {
        let file = open(config)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        log::set_max_level(config.level);
        Ok(())
    }

    /// Returns how many lines could not be written: the disk is full, the reader has gone.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

fn open(config: &LogConfig) -> Result<Option<File>, LoggingError> {
    let Some(path) = &config.file else {
        return Ok(None);
    };
    // Names of files are nobody else's business: readable for owner and group.
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path);
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(source) => Err(LoggingError::Open {
            path: path.clone(),
            source,
        }),
    }
}

/// Tells whether standard error is the journal: systemd names its device and inode, since the
/// variable alone is inherited by children whose output goes elsewhere (systemd.exec(5)).
fn is_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let Ok(stat) = rustix::fs::fstat(io::stderr().as_fd()) else {
        return false;
    };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// The `log` crate's end: makes a line of a record and hands it to both sinks.
struct Logger {
    terminal: Sink<Terminal>,
    file: Sink<LogFile>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // Before simplelog takes its lock: a `Display` that panics must not poison that.
        let text = one_line(record.args());
        // A record of simplelog's holds borrowed arguments, so it lives in one expression.
        for sink in [&self.terminal as &dyn Log, &self.file] {
            sink.log(
                &Record::builder()
                    .metadata(record.metadata().clone())
                    .args(format_args!("{text}"))
                    .build(),
            );
        }
    }

    fn flush(&self) {} // each line is written when it is complete
}
