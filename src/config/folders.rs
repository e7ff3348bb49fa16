//! The folders: each absolute, named, and apart from all others.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::FolderConfig;
use super::cli::Arguments;
use super::complaint::{At, Complaints, Place};
use super::file::FileFolder;
use crate::glob::Glob;

/// A folder, where it was said, and where its path really leads.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) config: FolderConfig,
    place: Place,
    real: PathBuf,
}

/// Checks the folders of the command line, or where it has none those of the file.
///
/// A folder of the file may be missing: its disk may not be plugged in. One on the command line
/// was typed just now, so that a missing one is a slip.
pub(super) fn check(
    arguments: &Arguments,
    said: &[FileFolder],
    complaints: &mut Complaints,
) -> Vec<Checked> {
    let of_file = said
        .iter()
        .filter_map(|folder| from_file(folder, complaints));
    let of_file: Vec<_> = of_file.collect(); // a mistake is told though nothing comes of it
    let given: Vec<_> = match arguments.folders.as_slice() {
        [] => of_file,
        paths => {
            let checked = paths
                .iter()
                .filter_map(|path| from_argument(path, complaints));
            checked.collect()
        }
    };
    let mut folders: Vec<Checked> = Vec::new();
    for folder in given {
        for other in &folders {
            check_pair(&folder, other, complaints);
        }
        folders.push(folder);
    }
    folders
}

fn from_argument(path: &Path, complaints: &mut Complaints) -> Option<Checked> {
    let place = Place::argument(format!("FOLDER {}", path.display()));
    let message = match path.canonicalize() {
        Ok(real) if real.is_dir() => {
            // What leads through `.` or `..` has a name only once it is resolved.
            let path = match path.file_name() {
                Some(_) if !has_parent(path) => absolute(path),
                _ => real.clone(),
            };
            let name = name(None, &path, &place, complaints)?;
            let config = FolderConfig {
                path,
                name,
                include: Vec::new(),
                ignore: Vec::new(),
            };
            return Some(Checked {
                config,
                place,
                real,
            });
        }
        Ok(_) => "is a file: name the directory that is to be watched".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "does not exist: is the disk not mounted, or the path mistyped? (a folder that may be \
             away belongs in a configuration file)"
                .to_owned()
        }
        Err(error) => format!("cannot be reached: {error}"),
    };
    complaints.add(&place, message);
    None
}

fn from_file(folder: &FileFolder, complaints: &mut Complaints) -> Option<Checked> {
    check_globs(&folder.include, complaints);
    check_globs(&folder.ignore, complaints);
    // The name is looked at even when the path is wrong, so that all is said at once.
    if let Some(name) = &folder.name {
        check_name(&name.value, &name.place, complaints);
    }
    let At { value, place } = folder.path.as_ref()?;
    let path = Path::new(value);
    if !path.is_absolute() {
        let message = format!("{value:?} is relative: write the whole path, from `/`");
        complaints.add(place, message);
        return None;
    }
    if has_parent(path) {
        complaints.add(
            place,
            format!("{value:?} holds `..`: write the path without it"),
        );
        return None;
    }
    if path.exists() && !path.is_dir() {
        let message = format!("{value} is a file: name the directory that is to be watched");
        complaints.add(place, message);
        return None;
    }
    let path = absolute(path);
    let config = FolderConfig {
        name: name(folder.name.as_ref(), &path, place, complaints)?,
        path,
        include: texts(&folder.include),
        ignore: texts(&folder.ignore),
    };
    let real = real(&config.path);
    Some(Checked {
        config,
        place: place.clone(),
        real,
    })
}

/// Complains of globs that do not parse.
pub(super) fn check_globs(globs: &[At<String>], complaints: &mut Complaints) {
    for glob in globs {
        if let Err(error) = Glob::parse(&glob.value) {
            complaints.add(&glob.place, format!("{:?}: {error}", glob.value));
        }
    }
}

pub(super) fn texts(said: &[At<String>]) -> Vec<String> {
    said.iter().map(|at| at.value.clone()).collect()
}

fn name(
    said: Option<&At<String>>,
    path: &Path,
    place: &Place,
    complaints: &mut Complaints,
) -> Option<String> {
    if let Some(at) = said {
        return Some(at.value.clone());
    }
    let Some(last) = path.file_name().map(OsStr::to_string_lossy) else {
        complaints.add(
            place,
            "the root directory has no name: add `name = \"…\"` in a file",
        );
        return None;
    };
    check_name(&last, place, complaints).then(|| last.into_owned())
}

/// A name is the first component of its entries' paths, and stands in addresses and in the log.
fn check_name(name: &str, place: &Place, complaints: &mut Complaints) -> bool {
    let wrong = if name.is_empty() {
        "is empty"
    } else if name == "." || name == ".." {
        "means another directory"
    } else if name.contains('/') {
        "holds a `/`"
    } else if name.chars().any(char::is_control) {
        "holds a control character"
    } else if name.len() > 255 {
        "is longer than 255 bytes"
    } else {
        return true;
    };
    complaints.add(
        place,
        format!("the folder's name {name:?} {wrong}: choose another"),
    );
    false
}

fn check_pair(folder: &Checked, other: &Checked, complaints: &mut Complaints) {
    let (path, there) = (folder.config.path.display(), other.place.brief());
    let other_path = other.config.path.display();
    if folder.real == other.real {
        let message = format!("{path} is the same directory as {other_path} {there}: leave one");
        complaints.add(&folder.place, message);
    } else if folder.real.starts_with(&other.real) {
        let message = format!("{path} is inside {other_path} {there}: leave one of them");
        complaints.add(&folder.place, message);
    } else if other.real.starts_with(&folder.real) {
        let message = format!("{path} contains {other_path} {there}: leave one of them");
        complaints.add(&folder.place, message);
    }
    if folder.config.name == other.config.name {
        let message = format!(
            "two folders are called {:?}, the other is {other_path} {there}: {}",
            folder.config.name,
            match folder.place {
                Place::File { .. } => "give one of them another `name`",
                Place::CommandLine { .. } =>
                    "use a configuration file, where each has a `name` of its own",
            }
        );
        complaints.add(&folder.place, message);
    }
}

/// Complains when `path` is a folder, lies in one, or has one in it.
pub(super) fn check_apart(
    path: &Path,
    place: &Place,
    what: &str,
    folders: &[Checked],
    complaints: &mut Complaints,
) {
    check_outside(path, place, what, folders, complaints);
    let real = real(path);
    for folder in folders {
        if folder.real.starts_with(&real) && folder.real != real {
            let (path, watched) = (path.display(), folder.config.path.display());
            let message = format!("{what} {path} contains the folder {watched}: choose another");
            complaints.add(place, message);
        }
    }
}

/// Complains when `path` is a folder or lies in one.
pub(super) fn check_outside(
    path: &Path,
    place: &Place,
    what: &str,
    folders: &[Checked],
    complaints: &mut Complaints,
) {
    let real = real(path);
    for folder in folders {
        if real.starts_with(&folder.real) {
            let (path, watched) = (path.display(), folder.config.path.display());
            let message = format!(
                "{what} {path} lies in the folder {watched}, which would watch it: choose another"
            );
            complaints.add(place, message);
        }
    }
}

fn has_parent(path: &Path) -> bool {
    path.components()
        .any(|component| component == Component::ParentDir)
}

/// Makes a path absolute without following links; only a lost working directory leaves it as is.
fn absolute(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // Without a `/` at the end, so that it compares and prints the same however it was typed.
    absolute.components().collect()
}

/// Returns where a path leads: links are followed as far as it exists, the rest is taken as it is.
fn real(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return real.join(rest).components().collect();
        }
    }
    path.to_owned()
}
