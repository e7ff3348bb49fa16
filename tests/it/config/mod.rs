//! The command line and the configuration file: what is taken, and every complaint at once.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod command_line;
mod file;
mod reports;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use shelfcast::config::{self, Command, Config};
use tempfile::TempDir;

/// A directory with a configuration file, and an environment.
struct Desk {
    directory: TempDir,
    env: Vec<(&'static str, OsString)>,
}

impl Desk {
    fn new() -> Desk {
        let directory = TempDir::new().unwrap();
        let home = directory.path().join("home");
        let env = vec![
            ("HOME", home.into_os_string()),
            ("PATH", "/usr/bin:/bin".into()),
        ];
        Desk { directory, env }
    }

    /// Returns a path in the desk's directory, links resolved.
    fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(relative)
    }

    fn directory(&self, relative: &str) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn parse<S: Into<OsString>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Command, Vec<String>> {
        let env = |name: &str| {
            let found = self.env.iter().find(|(key, _)| *key == name)?;
            Some(found.1.clone())
        };
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        config::parse(args.into_iter(), &env).map_err(|errors| errors.lines().collect())
    }

    /// Reads `toml` as a file; `DESK` in it stands for the desk's directory.
    fn file(&self, toml: &str) -> Result<Config, Vec<String>> {
        let file = self.path("shelfcast.toml");
        let desk = self.path("");
        let desk = desk.to_str().unwrap().trim_end_matches('/');
        fs::write(&file, toml.replace("DESK", desk)).unwrap();
        let command = self.parse([OsString::from("--config"), file.into_os_string()]);
        let lines = |lines: Vec<String>| {
            lines
                .iter()
                .map(|line| line.replace(desk, "DESK"))
                .collect()
        };
        command.map(served).map_err(lines)
    }

    fn complaints(&self, toml: &str) -> Vec<String> {
        self.file(toml)
            .expect_err("there is something to complain of")
    }
}

fn served(command: Command) -> Config {
    match command {
        Command::Serve(config) | Command::Check(config) | Command::PrintDropIn(config) => config,
        other => panic!("expected a configuration, found {other:?}"),
    }
}
