//! A **sink**: one place that lines go to, and how they look there.

use std::fs::File;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};
use simplelog::{ConfigBuilder, LevelPadding, ThreadLogMode, WriteLogger};
use time::macros::format_description;

use super::lines::Lines;

/// Where the log file is, if there is one now.
pub(super) type Slot = Arc<Mutex<Option<File>>>;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `<4>(watch) text`: priority for the journal, which knows the time.
    Journal,
    /// `2026-11-24T12:08:28.123Z [WARN ] (watch) text`.
    Stamped,
}

/// A place for lines: a logger of simplelog for each level, because a line of its has no place for
/// the priority but in front, and only the level tells that.
pub(super) struct Sink<W: io::Write + Send + 'static> {
    levels: [Box<WriteLogger<Lines<W>>>; 5],
}

impl<W: io::Write + Send + 'static> Sink<W> {
    pub(super) fn new(style: Style, place: impl Fn() -> W, lost: &Arc<AtomicU64>) -> Sink<W> {
        let config = config(style);
        // Of sd-daemon(3); trace has none of its own.
        let levels = ["<3>", "<4>", "<6>", "<7>", "<7>"].map(|priority| {
            let prefix = if style == Style::Journal {
                priority
            } else {
                ""
            };
            let lines = Lines::new(prefix, place(), Arc::clone(lost));
            WriteLogger::new(LevelFilter::Trace, config.clone(), lines)
        });
        Sink { levels }
    }
}

impl<W: io::Write + Send + 'static> Log for Sink<W> {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true // the logger above has asked
    }

    fn log(&self, record: &Record<'_>) {
        let position = match record.level() {
            Level::Error => 0,
            Level::Warn => 1,
            Level::Info => 2,
            Level::Debug => 3,
            Level::Trace => 4,
        };
        self.levels[position].log(record);
    }

    fn flush(&self) {}
}

fn config(style: Style) -> simplelog::Config {
    let (time, level) = match style {
        Style::Journal => (LevelFilter::Off, LevelFilter::Off),
        Style::Stamped => (LevelFilter::Error, LevelFilter::Error),
    };
    ConfigBuilder::new()
        .set_time_level(time)
        .set_time_format_custom(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        ))
        .set_level_padding(LevelPadding::Right)
        .set_max_level(level)
        .set_thread_level(LevelFilter::Error)
        .set_thread_mode(ThreadLogMode::Names)
        .set_target_level(LevelFilter::Debug)
        .set_location_level(LevelFilter::Off)
        .build()
}

/// Standard error.
pub(super) struct Terminal;

impl io::Write for Terminal {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log file that is open now.
pub(super) struct LogFile(pub(super) Slot);

impl io::Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => file.write(line),
            None => Ok(line.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
