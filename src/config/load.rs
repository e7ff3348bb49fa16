//! **Loading**: which file is read, and from its bytes to a command.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::check::{self, Env};
use super::complaint::{Complaints, Place};
use super::{Command, ConfigErrors, cli, file};

/// Reads the arguments, and the file that they name or else the default one where it exists.
pub(super) fn load(
    args: impl Iterator<Item = OsString>,
    env: Env<'_>,
    default_file: &Path,
) -> Result<Command, ConfigErrors> {
    let mut complaints = Complaints::default();
    let arguments = cli::read(args, &mut complaints);
    let command = match arguments.mode {
        cli::Mode::Help => return Ok(Command::Help),
        cli::Mode::Version => return Ok(Command::Version),
        cli::Mode::Serve => Command::Serve,
        cli::Mode::Check => Command::Check,
        cli::Mode::PrintDropIn => Command::PrintDropIn,
    };
    let misread = !complaints.is_empty();
    let path = match &arguments.config {
        Some(path) => Some(path.as_path()),
        None if arguments.folders.is_empty() && default_file.exists() => Some(default_file),
        None => None,
    };
    if path.is_none() && arguments.folders.is_empty() && !misread {
        let message = format!(
            "no folder to watch: name one, as in `shelfcast /srv/files`, or write {}",
            default_file.display()
        );
        complaints.add(&Place::argument(""), message);
        return Err(complaints.into_errors());
    }
    let text = path.and_then(|path| read_file(path, &mut complaints));
    // What stands in a file that cannot be read is unknown: what depends on it is not judged.
    let unread = path.is_some() && text.is_none();
    let said = path
        .zip(text)
        .map(|(path, text)| (path, file::read(path, &text, &mut complaints)));
    let config = match unread {
        true => None,
        false => check::check(&arguments, said, env, &mut complaints),
    };
    match config {
        Some(config) => Ok(command(config)),
        None => Err(complaints.into_errors()),
    }
}

/// A configuration is a few pages; a file that is larger is something else.
const LARGEST_FILE_BYTES: u64 = 1024 * 1024;

fn read_file(path: &Path, complaints: &mut Complaints) -> Option<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        file.take(LARGEST_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let message = match read() {
        Ok(bytes) if bytes.len() as u64 > LARGEST_FILE_BYTES => {
            "is larger than 1 MiB: is it a configuration?".to_owned()
        }
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => return Some(text),
            Err(error) => {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
                format!("line {line} is not UTF-8: save the file in that encoding")
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "does not exist: create it, or correct the path behind --config".to_owned()
        }
        Err(error) => format!("cannot be read: {error}"),
    };
    complaints.add(&Place::file(path), message);
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn load_from(args: &[&Path], default_file: &Path) -> Result<Option<PathBuf>, String> {
        let args = args.iter().map(OsString::from);
        let env = |name: &str| (name == "HOME").then(|| "/home/anna".into());
        match load(args, &env, default_file) {
            Ok(Command::Serve(config)) => Ok(config.file),
            Ok(other) => panic!("expected to serve, found {other:?}"),
            Err(errors) => Err(errors.to_string()),
        }
    }

    #[test]
    fn the_default_file_is_read_where_it_exists_and_no_folder_is_given() {
        let directory = tempfile::tempdir().unwrap();
        let default_file = directory.path().join("shelfcast.toml");
        let folder = directory.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(
            load_from(&[], &default_file).unwrap_err(),
            format!(
                "command line: no folder to watch: name one, as in `shelfcast /srv/files`, or \
                 write {}\nhint: `shelfcast --help` lists every option",
                default_file.display()
            )
        );
        std::fs::write(&default_file, "log_level = 1").unwrap();
        let wrong = load_from(&[], &default_file).unwrap_err();
        assert!(
            wrong.contains("shelfcast.toml:1: log_level: expected text"),
            "{wrong}"
        );
        assert!(
            wrong.contains("\nhint: every key is explained by `man shelfcast.toml`"),
            "{wrong}"
        );
        assert_eq!(load_from(&[&folder], &default_file), Ok(None));
        std::fs::write(&default_file, "\u{feff}").unwrap();
        assert_eq!(load_from(&[], &default_file), Ok(Some(default_file)));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.toml");
        let read = |file: &Path| load_from(&[Path::new("--config"), file], file).unwrap_err();
        assert!(read(&file).contains("x.toml: does not exist: create it"));
        assert!(read(directory.path()).contains("cannot be read: "));
        std::fs::write(&file, b"# a\n\xff").unwrap();
        assert!(read(&file).contains("x.toml: line 2 is not UTF-8"));
        std::fs::write(&file, vec![b' '; 1024 * 1024 + 1]).unwrap();
        assert!(read(&file).contains("is larger than 1 MiB"));
    }
}
