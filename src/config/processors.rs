//! The owner's own processors: each with a name, a program that can be run, known placeholders.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Access;

use super::ProcessorConfig;
use super::check::{Env, seconds};
use super::complaint::{At, Complaints, did_you_mean};
use super::file::FileProcessor;
use super::folders::{check_globs, texts};

/// The built-in processor; its name is taken.
const BUILT_IN: &str = "fingerprint";
/// What may stand between `{` and `}` in a command.
const PLACEHOLDERS: [&str; 4] = ["path", "name", "folder", "id"];
/// Where programs are looked for when the environment does not say: what systemd gives to services.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Ten minutes, as in the example of contract section 2.
const DEFAULT_TIMEOUT_S: u64 = 600;
/// A year. Times are added to the clock, which must not overflow.
const LONGEST_TIMEOUT_S: i64 = 365 * 86_400;

pub(super) fn check(
    said: &[FileProcessor],
    env: Env<'_>,
    complaints: &mut Complaints,
) -> Vec<ProcessorConfig> {
    let mut names = HashSet::new();
    let mut processors = Vec::new();
    for processor in said {
        check_globs(&processor.matches, complaints);
        if let Some(name) = &processor.name {
            check_name(name, complaints);
            if !names.insert(&name.value) {
                let message = format!("two processors are called {:?}: rename one", name.value);
                complaints.add(&name.place, message);
            }
        }
        let command = processor.command.as_ref();
        let command = command.and_then(|command| check_command(command, env, complaints));
        let range = 1..=LONGEST_TIMEOUT_S;
        let timeout: Duration = seconds(
            processor.timeout_s.as_ref(),
            DEFAULT_TIMEOUT_S,
            range,
            complaints,
        );
        if let (Some(name), Some(command)) = (&processor.name, command) {
            processors.push(ProcessorConfig {
                name: name.value.clone(),
                matches: texts(&processor.matches),
                command,
                timeout,
            });
        }
    }
    processors
}

fn check_name(name: &At<String>, complaints: &mut Complaints) {
    let wrong = if name.value.is_empty() {
        "is empty"
    } else if name.value == BUILT_IN {
        "is that of the built-in processor"
    } else if name.value.chars().any(char::is_control) {
        "holds a control character"
    } else if name.value.len() > 255 {
        "is longer than 255 bytes"
    } else {
        return;
    };
    let message = format!(
        "the processor's name {:?} {wrong}: choose another",
        name.value
    );
    complaints.add(&name.place, message);
}

/// Returns the command with its program found, or complains.
fn check_command(
    command: &At<Vec<At<String>>>,
    env: Env<'_>,
    complaints: &mut Complaints,
) -> Option<Vec<String>> {
    let Some((program, arguments)) = command.value.split_first() else {
        let message = "the command is empty: write [\"/path/to/program\", \"{path}\"]";
        complaints.add(&command.place, message);
        return None;
    };
    for argument in arguments {
        check_placeholders(argument, complaints);
    }
    match find(&program.value, env) {
        Ok(found) => {
            let arguments = arguments.iter().map(|argument| argument.value.clone());
            Some([found].into_iter().chain(arguments).collect())
        }
        Err(message) => {
            complaints.add(&program.place, message);
            None
        }
    }
}

/// Finds a program as a shell would, and says why it cannot be run.
fn find(program: &str, env: Env<'_>) -> Result<String, String> {
    if placeholders(program).next().is_some() {
        // A file's name would choose what is run.
        return Err(format!(
            "{program:?}: the program itself cannot be a placeholder"
        ));
    }
    if program.contains('/') {
        let path = Path::new(program);
        if !path.is_absolute() {
            return Err(format!(
                "{program:?} is relative: write the whole path, from `/`"
            ));
        }
        return match runnable(path) {
            Ok(()) => Ok(program.to_owned()),
            Err(why) => Err(format!("{program} {why}")),
        };
    }
    if program.is_empty() {
        return Err("the program's name is empty".to_owned());
    }
    let search = env("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    // An empty or relative part of PATH means the working directory, which is no place to trust.
    let directories = search.as_bytes().split(|byte| *byte == b':');
    let candidates = directories
        .map(|directory| PathBuf::from(std::ffi::OsStr::from_bytes(directory)))
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program));
    for candidate in candidates {
        if runnable(&candidate).is_ok()
            && let Ok(found) = candidate.into_os_string().into_string()
        {
            return Ok(found);
        }
    }
    Err(format!(
        "no program {program:?} in {}: install it, or write its whole path",
        search.to_string_lossy()
    ))
}

fn runnable(path: &Path) -> Result<(), String> {
    match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err("does not exist: install it, or correct the path".to_owned())
        }
        Err(error) => Err(format!("cannot be reached: {error}")),
        Ok(found) if !found.is_file() => Err("is not a file that can be run".to_owned()),
        Ok(_) => rustix::fs::access(path, Access::EXEC_OK)
            .map_err(|_| format!("may not be run: `chmod a+x {}`", path.display())),
    }
}

fn check_placeholders(argument: &At<String>, complaints: &mut Complaints) {
    for word in placeholders(&argument.value) {
        if !PLACEHOLDERS.contains(&word) {
            let nearest = did_you_mean(word, &PLACEHOLDERS);
            let message = format!(
                "{:?}: unknown placeholder {{{word}}}{nearest} (known: {{path}}, {{name}}, \
                 {{folder}}, {{id}})",
                argument.value
            );
            complaints.add(&argument.place, message);
        }
    }
}

/// Yields the words that stand between `{` and `}`. Other braces are text: `{}`, `{print $1}`.
fn placeholders(argument: &str) -> impl Iterator<Item = &str> {
    argument.split('{').skip(1).filter_map(|rest| {
        let (word, _) = rest.split_once('}')?;
        let is_word = word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_word.then_some(word)
    })
}
