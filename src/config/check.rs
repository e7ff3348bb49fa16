//! **Checking**: what the command line and the file say in, one [`Config`] out, or complaints.
//!
//! The command line wins over the file, and the file over the defaults.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;

use super::cli::Arguments;
use super::complaint::{At, Complaints, Place, did_you_mean};
use super::file::FileConfig;
use super::{
    AccessConfig, Allow, Config, LimitsConfig, LogConfig, ProcessingConfig, WatchConfig, folders,
    network, processors,
};

/// The environment of the process, or a test's.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

const MOST_WORKERS: i64 = 64;
/// A day: what is looked at less often is not watched at all.
const LONGEST_POLL_S: i64 = 86_400;
/// What the ports of one machine allow; memory ends earlier.
const MOST_CLIENTS: i64 = 65_535;

/// Puts the configuration together; `None` says that there is at least one complaint.
pub(super) fn check(
    arguments: &Arguments,
    file: Option<(&Path, FileConfig)>,
    env: Env<'_>,
    complaints: &mut Complaints,
) -> Option<Config> {
    let (file, said) = match file {
        Some((path, said)) => (Some(path.to_owned()), said),
        None => (None, FileConfig::default()),
    };
    let checked = folders::check(arguments, &said.folders, complaints);
    let state = state(arguments, env, complaints);
    if let Some(state) = &state {
        folders::check_apart(
            &state.value,
            &state.place,
            "the state directory",
            &checked,
            complaints,
        );
    }
    let log_file = said
        .log_file
        .as_ref()
        .and_then(|at| log_file(at, complaints));
    if let (Some(path), Some(at)) = (&log_file, &said.log_file) {
        // Each line written would be a change to tell of, which writes a line.
        folders::check_outside(path, &at.place, "the log file", &checked, complaints);
    }
    let config = Config {
        listen: listen(arguments, said.listen.as_ref(), complaints),
        state: state.map(|at| at.value).unwrap_or_default(),
        log: LogConfig {
            level: level(&arguments.log, &said.log_level, complaints),
            file: log_file,
        },
        processors: processors::check(&said.processors, env, complaints),
        folders: checked.into_iter().map(|folder| folder.config).collect(),
        processing: ProcessingConfig {
            automatic: said.automatic.unwrap_or(true),
            workers: workers(said.workers.as_ref(), complaints),
        },
        watch: WatchConfig {
            poll: seconds(said.poll_s.as_ref(), 60, 1..=LONGEST_POLL_S, complaints),
        },
        access: AccessConfig {
            allow: allow(said.allow.as_ref(), complaints),
            hosts: network::hosts(&said.hosts, complaints),
            token: said.token.as_ref().and_then(|at| token(at, complaints)),
        },
        limits: LimitsConfig {
            clients: clients(said.clients.as_ref(), 1000, complaints),
            clients_per_address: clients(said.clients_per_address.as_ref(), 64, complaints),
        },
        file,
    };
    complaints.is_empty().then_some(config)
}

/// Chooses the state directory: the option, systemd's, the user's.
fn state(arguments: &Arguments, env: Env<'_>, complaints: &mut Complaints) -> Option<At<PathBuf>> {
    let place = Place::argument("--state DIR");
    // systemd separates several directories by colons; the first is ours (systemd.exec(5)).
    let systemd = || {
        let listed = env("STATE_DIRECTORY")?.into_string().ok()?;
        listed
            .split(':')
            .map(PathBuf::from)
            .find(|path| path.is_absolute())
    };
    // A relative $XDG_STATE_HOME is to be ignored (XDG Base Directory Specification).
    let of_user = || {
        let home = |name: &str| Some(PathBuf::from(env(name)?)).filter(|path| path.is_absolute());
        let base = home("XDG_STATE_HOME").or_else(|| Some(home("HOME")?.join(".local/state")))?;
        Some(base.join("shelfcast"))
    };
    let Some(path) = arguments.state.clone().or_else(systemd).or_else(of_user) else {
        let message = "neither $STATE_DIRECTORY, $XDG_STATE_HOME nor $HOME says where the index \
                       may live: add `--state DIR`";
        complaints.add(&place, message);
        return None;
    };
    match std::path::absolute(&path) {
        Ok(value) if value.exists() && !value.is_dir() => {
            complaints.add(&place, format!("{} is not a directory", value.display()));
            None
        }
        Ok(value) => Some(At { value, place }),
        Err(error) => {
            let message = format!("cannot tell where {} is: {error}", path.display());
            complaints.add(&place, message);
            None
        }
    }
}

fn log_file(at: &At<String>, complaints: &mut Complaints) -> Option<PathBuf> {
    let path = PathBuf::from(&at.value);
    let parent = path.parent().unwrap_or(Path::new("/"));
    let message = if !path.is_absolute() {
        format!("{:?} is relative: write the whole path, from `/`", at.value)
    } else if path.is_dir() {
        format!("{} is a directory: name a file in it", path.display())
    } else if !parent.is_dir() {
        let parent = parent.display();
        format!("the directory {parent} does not exist: create it, or choose another")
    } else {
        return Some(path);
    };
    complaints.add(&at.place, message);
    None
}

fn listen(
    arguments: &Arguments,
    said: Option<&At<Vec<At<String>>>>,
    complaints: &mut Complaints,
) -> Vec<SocketAddr> {
    let of_file = said.map(|at| {
        if at.value.is_empty() {
            let message = "no address to listen on: remove the line for the default, [::]:5000";
            complaints.add(&at.place, message);
        }
        network::listen(&at.value, complaints)
    });
    match arguments.listen.as_slice() {
        [] => of_file.unwrap_or_else(|| vec![network::everywhere(network::DEFAULT_PORT)]),
        given => network::listen(given, complaints),
    }
}

fn allow(said: Option<&At<Vec<At<String>>>>, complaints: &mut Complaints) -> Vec<Allow> {
    let Some(at) = said else {
        return vec![Allow::Lan];
    };
    if at.value.is_empty() {
        let message = "nobody may connect: remove the line for the default, \"lan\"";
        complaints.add(&at.place, message);
    }
    let values = at.value.iter();
    values
        .filter_map(|at| network::allow(at, complaints))
        .collect()
}

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

fn level(
    argument: &Option<At<String>>,
    said: &Option<At<String>>,
    complaints: &mut Complaints,
) -> LevelFilter {
    let mut read = |at: &At<String>| {
        let level = at.value.parse().ok();
        let known = LEVELS.contains(&at.value.as_str());
        level.filter(|_| known).or_else(|| {
            let (word, levels) = (&at.value, LEVELS.join(", "));
            let nearest = did_you_mean(word, &LEVELS);
            let message = format!("{word:?} is no level{nearest} (the levels are {levels})");
            complaints.add(&at.place, message);
            None
        })
    };
    // Both are read, so that a mistake in the file is told under any option.
    let of_file = said.as_ref().and_then(&mut read);
    let of_argument = argument.as_ref().and_then(&mut read);
    of_argument.or(of_file).unwrap_or(LevelFilter::Info)
}

fn workers(said: Option<&At<i64>>, complaints: &mut Complaints) -> usize {
    let default = || {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (cores / 2).clamp(1, 64) // as many as may be asked for
    };
    said.and_then(|at| within(at, 1..=MOST_WORKERS, complaints))
        .and_then(|workers| usize::try_from(workers).ok())
        .unwrap_or_else(default)
}

fn clients(said: Option<&At<i64>>, default: usize, complaints: &mut Complaints) -> usize {
    said.and_then(|at| within(at, 1..=MOST_CLIENTS, complaints))
        .and_then(|clients| usize::try_from(clients).ok())
        .unwrap_or(default)
}

/// Reads a length of time.
pub(super) fn seconds(
    said: Option<&At<i64>>,
    default: u64,
    range: RangeInclusive<i64>,
    complaints: &mut Complaints,
) -> Duration {
    let seconds = said
        .and_then(|at| within(at, range, complaints))
        .and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(seconds.unwrap_or(default))
}

fn within(at: &At<i64>, range: RangeInclusive<i64>, complaints: &mut Complaints) -> Option<i64> {
    if range.contains(&at.value) {
        return Some(at.value);
    }
    let (least, most) = range.into_inner();
    let message = format!("{} is not between {least} and {most}", at.value);
    complaints.add(&at.place, message);
    None
}

/// Returns the token, or nothing when it is empty. It is never repeated in a complaint.
fn token(at: &At<String>, complaints: &mut Complaints) -> Option<String> {
    if at.value.is_empty() {
        return None;
    }
    // A header cannot carry everything; how long it is, is the owner's affair (see `warnings`).
    if !at.value.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = "a token has letters, digits and signs of ASCII, and no space; \
                       `openssl rand -hex 16` makes a good one";
        complaints.add(&at.place, message);
        return None;
    }
    Some(at.value.clone())
}
