//! A configuration file: any bytes. What is accepted is also printed, by --check-config and
//! --print-drop-in, and what was printed is accepted again and means the same.

#![no_main]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use shelfcast::config::{self, Command, Config};

fn file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        directory.join(format!("shelfcast-fuzz-{}.toml", std::process::id()))
    })
}

fn read(bytes: &[u8], mode: &str) -> Option<Command> {
    std::fs::write(file(), bytes).expect("the file is written");
    let args = [mode, "--state", "/nonexistent/state", "--config"].map(OsString::from);
    let args = args.into_iter().chain([file().into()]);
    match config::parse(args, &|_| None) {
        Ok(command) => Some(command),
        Err(errors) => {
            // Told in full, each complaint with its line.
            assert!(!errors.to_string().is_empty());
            None
        }
    }
}

fn checked(bytes: &[u8]) -> Option<(Config, String)> {
    let command = read(bytes, "--check-config")?;
    let report = command.report()?;
    match command {
        Command::Check(config) => Some((config, report)),
        other => panic!("{other:?}"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((config, report)) = checked(bytes) else {
        return;
    };
    let drop_in = read(bytes, "--print-drop-in").and_then(|command| command.report());
    assert!(drop_in.is_some());
    // The token is not printed, so that it cannot be read back.
    if config.access.token.is_none() {
        let Some((again, _)) = checked(report.as_bytes()) else {
            panic!("what was printed is refused:\n{report}");
        };
        assert_eq!(config.differences(&again), Vec::<&str>::new(), "{report}");
    }
});
