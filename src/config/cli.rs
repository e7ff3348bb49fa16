//! The **command line**: arguments in, what they say out; nothing is looked up or checked yet.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use super::complaint::{At, Complaints, Place, did_you_mean};

/// What the command line asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Serve,
    Check,
    PrintDropIn,
    Help,
    Version,
}

/// What the command line says.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) mode: Mode,
    pub(super) config: Option<PathBuf>,
    pub(super) listen: Vec<At<String>>,
    pub(super) state: Option<PathBuf>,
    pub(super) log: Option<At<String>>,
    pub(super) folders: Vec<PathBuf>,
}

pub(super) const OPTIONS: [&str; 8] = [
    "--config",
    "--listen",
    "--state",
    "--log",
    "--check-config",
    "--print-drop-in",
    "--help",
    "--version",
];

/// Reads the arguments, without the program's name. `--help` and `--version` win as soon as they
/// are read, whatever else is wrong.
pub(super) fn read(args: impl Iterator<Item = OsString>, complaints: &mut Complaints) -> Arguments {
    // Behind an option that nobody knows, its value would be taken for a folder.
    let mut misread = false;
    let mut arguments = Arguments::default();
    let mut parser = Parser::from_args(args);
    loop {
        let argument = match parser.next() {
            Ok(Some(argument)) => argument,
            Ok(None) => break,
            Err(error) => {
                complaints.add(&Place::argument(""), error.to_string());
                misread = true;
                continue;
            }
        };
        match argument {
            Arg::Short('h') | Arg::Long("help") => {
                return Arguments {
                    mode: Mode::Help,
                    ..arguments
                };
            }
            Arg::Short('V') | Arg::Long("version") => {
                return Arguments {
                    mode: Mode::Version,
                    ..arguments
                };
            }
            Arg::Short('c') | Arg::Long("config") => {
                if let Some(value) = path(&mut parser, "--config FILE", complaints) {
                    once(&mut arguments.config, value, "--config FILE", complaints);
                }
            }
            Arg::Long("state") => {
                if let Some(value) = path(&mut parser, "--state DIR", complaints) {
                    once(&mut arguments.state, value, "--state DIR", complaints);
                }
            }
            Arg::Short('l') | Arg::Long("listen") => {
                arguments
                    .listen
                    .extend(text(&mut parser, "--listen ADDR", complaints));
            }
            Arg::Long("log") => {
                if let Some(value) = text(&mut parser, "--log LEVEL", complaints) {
                    once(&mut arguments.log, value, "--log LEVEL", complaints);
                }
            }
            Arg::Long("check-config") => mode(&mut arguments.mode, Mode::Check, complaints),
            Arg::Long("print-drop-in") => mode(&mut arguments.mode, Mode::PrintDropIn, complaints),
            Arg::Long(other) => {
                let option = format!("--{other}");
                let message = format!("unknown option{}", did_you_mean(&option, &OPTIONS));
                complaints.add(&Place::argument(option), message);
                misread = true;
                // The value of `--option=value` is not an argument of its own.
                parser.optional_value();
            }
            Arg::Short(other) => {
                complaints.add(&Place::argument(format!("-{other}")), "unknown option");
                misread = true;
            }
            Arg::Value(folder) => arguments.folders.push(folder.into()),
        }
    }
    if misread {
        arguments.folders.clear();
    }
    arguments
}

fn path(parser: &mut Parser, option: &str, complaints: &mut Complaints) -> Option<PathBuf> {
    match parser.value() {
        Ok(value) if value.is_empty() => {
            complaints.add(&Place::argument(option), "the value is empty");
            None
        }
        Ok(value) => Some(value.into()),
        Err(_) => {
            complaints.add(&Place::argument(option), "the value is missing");
            None
        }
    }
}

fn text(parser: &mut Parser, option: &str, complaints: &mut Complaints) -> Option<At<String>> {
    let place = Place::argument(option);
    match path(parser, option, complaints)?
        .into_os_string()
        .into_string()
    {
        Ok(value) => Some(At { value, place }),
        Err(value) => {
            complaints.add(&place, format!("{value:?} is not UTF-8"));
            None
        }
    }
}

fn once<T>(slot: &mut Option<T>, value: T, option: &str, complaints: &mut Complaints) {
    if slot.replace(value).is_some() {
        complaints.add(&Place::argument(option), "given more than once: leave one");
    }
}

fn mode(slot: &mut Mode, asked: Mode, complaints: &mut Complaints) {
    if *slot != Mode::Serve && *slot != asked {
        let message = "`--check-config` and `--print-drop-in` are two questions: ask one at a time";
        complaints.add(&Place::argument(""), message);
    }
    *slot = asked;
}
