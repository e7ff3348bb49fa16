//! Arranging a shelf before the service starts.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Shelf;
use super::service::{Launch, Service};

/// A library on disk whose service does not run yet.
#[derive(Debug)]
pub struct Arrangement {
    pub(super) directory: TempDir,
    launch: Launch,
    /// Folders in order: name, more lines of its table in the configuration.
    folders: Vec<(String, String)>,
    configuration: Option<String>,
}

impl Arrangement {
    pub(super) fn new() -> Arrangement {
        let directory = tempfile::Builder::new().prefix("shelf-").tempdir().unwrap();
        std::fs::create_dir(directory.path().join("library")).unwrap();
        let launch = Launch::new(directory.path().join("state"));
        Arrangement {
            directory,
            launch,
            folders: Vec::new(),
            configuration: None,
        }
    }

    /// Returns the path on disk of `path`, which begins with the folder's name.
    pub fn path(&self, path: &str) -> PathBuf {
        self.library().join(path)
    }

    /// Returns the directory that holds the folders.
    pub fn library(&self) -> PathBuf {
        self.directory.path().join("library")
    }

    /// Returns the directory that holds library and state.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the state directory.
    pub fn state(&self) -> &Path {
        &self.launch.state
    }

    /// Makes a file and the directories above it; its first component becomes a folder.
    pub fn file(mut self, path: &str) -> Arrangement {
        let target = self.path(path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, path).unwrap();
        let folder = path.split('/').next().unwrap();
        self.note_folder(folder);
        self
    }

    /// Makes an empty folder.
    pub fn folder(mut self, name: &str) -> Arrangement {
        std::fs::create_dir_all(self.path(name)).unwrap();
        self.note_folder(name);
        self
    }

    /// Takes a directory that exists already, outside of the shelf, as a folder.
    pub fn existing_folder(self, path: &Path) -> Arrangement {
        self.arguments([path.to_str().unwrap()])
    }

    /// Configures a folder that is not there, in a configuration file, since the command line takes
    /// none.
    pub fn missing_folder(mut self, name: &str) -> Arrangement {
        self.configuration.get_or_insert_default();
        self.note_folder(name);
        self
    }

    /// Writes a configuration file that begins with `text` (top-level keys and tables) and has the
    /// folders; the command line names none then.
    pub fn config(mut self, text: &str) -> Arrangement {
        self.configuration = Some(text.to_owned());
        self
    }

    /// Lets nothing be processed unless it is asked for: for tests of the list alone.
    pub fn without_processing(self) -> Arrangement {
        self.config("[processing]\nautomatic = false\n")
    }

    /// Adds lines to the `[[folder]]` table of a folder, for example `ignore = ["drafts/**"]`.
    pub fn folder_options(mut self, name: &str, lines: &str) -> Arrangement {
        self.note_folder(name);
        for (folder, options) in &mut self.folders {
            if folder == name {
                options.push_str(lines);
                options.push('\n');
            }
        }
        self.configuration.get_or_insert_default();
        self
    }

    /// Adds arguments to the command line.
    pub fn arguments<const N: usize>(mut self, arguments: [&str; N]) -> Arrangement {
        self.launch
            .arguments
            .extend(arguments.map(std::convert::Into::into));
        self
    }

    /// Starts the service by a program that replaces itself by it: `["setpriv", "--reuid=1000"]`.
    pub fn within<const N: usize>(mut self, wrapper: [&str; N]) -> Arrangement {
        self.launch.wrapper = wrapper.map(str::to_owned).to_vec();
        self
    }

    /// Keeps the state in another directory.
    pub fn state_in(mut self, directory: &Path) -> Arrangement {
        self.launch.state = directory.to_path_buf();
        self
    }

    /// Sets a variable in the environment of the service.
    pub fn env(mut self, name: &str, value: &str) -> Arrangement {
        self.launch
            .environment
            .push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the service; it may still be crawling when this returns.
    pub fn launch(mut self) -> Shelf {
        if self.configuration.is_some() {
            let file = self.directory.path().join("shelfcast.toml");
            std::fs::write(&file, self.configuration_text()).unwrap();
            self.launch
                .arguments
                .extend(["--config".into(), file.into_os_string()]);
        } else {
            let folders = self.folders.iter().map(|(name, _)| self.path(name).into());
            let folders: Vec<std::ffi::OsString> = folders.collect();
            self.launch.arguments.extend(folders);
        }
        let service = Service::start(&self.launch);
        Shelf::new(self.directory, self.launch, service)
    }

    /// Starts the service and waits until the index equals the disk.
    pub fn start(self) -> Shelf {
        let shelf = self.launch();
        shelf.sync();
        shelf
    }

    fn note_folder(&mut self, name: &str) {
        if !self.folders.iter().any(|(folder, _)| folder == name) {
            self.folders.push((name.to_owned(), String::new()));
        }
    }

    fn configuration_text(&self) -> String {
        let mut text = self.configuration.clone().unwrap_or_default();
        for (name, options) in &self.folders {
            let path = self.path(name);
            text.push_str(&format!(
                "\n[[folder]]\npath = {:?}\nname = {name:?}\n{options}",
                path.to_str().unwrap()
            ));
        }
        text
    }
}
