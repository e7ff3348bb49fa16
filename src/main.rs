//! The process edge: configuration, log, signals, exit code.

use std::io::Write;
use std::process::ExitCode;

use shelfcast::config::{self, ConfigErrors};

fn main() -> ExitCode {
    let command = match config::from_args() {
        Ok(command) => command,
        Err(errors) => {
            // Standard error may be closed; the exit code still tells.
            drop(writeln!(std::io::stderr(), "{errors}"));
            return ExitCode::from(ConfigErrors::EXIT_CODE);
        }
    };
    let report = command.report().unwrap_or_default();
    match std::io::stdout().write_all(report.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
