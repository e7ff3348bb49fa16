//! Options, folders on the command line, the environment, exit codes.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use shelfcast::config::Command;

use super::{Desk, served};

#[test]
fn folders_of_the_command_line_are_made_absolute_and_named() {
    let desk = Desk::new();
    let comics = desk.directory("comics");
    let config = served(desk.parse([comics.join("../comics/.")]).unwrap());
    assert_eq!(config.folders[0].path, comics);
    assert_eq!(config.folders[0].name, "comics");
    assert_eq!(config.file, None);
}

#[test]
fn a_folder_of_the_command_line_must_be_there() {
    let desk = Desk::new();
    let missing = desk.parse([desk.path("gone")]).unwrap_err();
    assert!(
        missing[0].contains("does not exist: is the disk not mounted"),
        "{missing:?}"
    );
    fs::write(desk.path("file"), "").unwrap();
    let file = desk.parse([desk.path("file")]).unwrap_err();
    assert!(
        file[0].ends_with("is a file: name the directory that is to be watched"),
        "{file:?}"
    );
}

#[test]
fn the_command_line_wins_over_the_file() {
    let desk = Desk::new();
    desk.directory("a");
    desk.directory("b");
    desk.file("listen = [\"127.0.0.1:1\"]\nlog_level = \"error\"\n[[folder]]\npath = \"DESK/a\"\n")
        .unwrap();
    let file = desk.path("shelfcast.toml");
    let state = desk.path("state");
    let args = [
        "-c".into(),
        file.into_os_string(),
        "--log=trace".into(),
        "-l".into(),
        "127.0.0.1:2".into(),
        "--listen=127.0.0.1:3".into(),
        "--state".into(),
        state.clone().into_os_string(),
        desk.path("b").into_os_string(),
    ];
    let config = served(desk.parse::<OsString>(args).unwrap());
    assert_eq!(config.log.level, log::LevelFilter::Trace);
    let ports: Vec<_> = config.listen.iter().map(|address| address.port()).collect();
    assert_eq!(ports, [2, 3]);
    assert_eq!(config.state, state);
    assert_eq!(config.folders.len(), 1);
    assert_eq!(config.folders[0].name, "b");
}

#[test]
fn options_are_checked_all_at_once() {
    let desk = Desk::new();
    let complaints = desk
        .parse([
            "--lisen=:80",
            "-x",
            "--log",
            "loud",
            "--listen",
            "nas.local:80",
            "--check-config=1",
        ])
        .unwrap_err();
    let text = complaints.join("\n");
    for part in [
        "command line: --lisen: unknown option, did you mean `--listen`?",
        "command line: -x: unknown option",
        "command line: --log LEVEL: \"loud\" is no level",
        "command line: --listen ADDR: \"nas.local:80\" is no address",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn the_value_of_an_unknown_option_is_not_taken_for_a_folder() {
    let complaints = Desk::new()
        .parse(["--lisen", "/no/such/folder"])
        .unwrap_err();
    assert_eq!(
        complaints,
        ["command line: --lisen: unknown option, did you mean `--listen`?"]
    );
}

#[test]
fn what_can_be_said_once_is_not_said_twice() {
    let desk = Desk::new();
    for args in [
        ["/", "--state=/a", "--state=/b"],
        ["/", "--log=info", "--log=warn"],
        ["/", "-c/dev/null", "-c/dev/null"],
    ] {
        let complaints = desk.parse(args).unwrap_err().join("\n");
        assert!(
            complaints.contains("given more than once: leave one"),
            "{complaints}"
        );
    }
    let both = desk
        .parse(["/", "--check-config", "--print-drop-in"])
        .unwrap_err();
    assert!(both.join("\n").contains("are two questions"), "{both:?}");
}

#[test]
fn help_wins_over_whatever_is_wrong() {
    let desk = Desk::new();
    assert_eq!(desk.parse(["--nonsense", "-h"]), Ok(Command::Help));
    assert_eq!(
        desk.parse(["--log", "loud", "--version"]),
        Ok(Command::Version)
    );
}

#[test]
fn the_state_directory_is_systemds_then_the_users() {
    let mut desk = Desk::new();
    desk.env.push(("XDG_STATE_HOME", "/xdg".into()));
    assert_eq!(desk.file("").unwrap().state, Path::new("/xdg/shelfcast"));
    desk.env
        .push(("STATE_DIRECTORY", "/var/lib/shelfcast:/other".into()));
    assert_eq!(
        desk.file("").unwrap().state,
        Path::new("/var/lib/shelfcast")
    );
    desk.env.clear();
    assert!(desk.complaints("")[0].contains("add `--state DIR`"));
}

/// Runs the built program, and returns its exit code, standard output and standard error.
fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_shelfcast"));
    let output = program.args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn answers_go_to_standard_output_and_end_with_0() {
    let (code, out, err) = run(&["--help"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        out.contains("usage: shelfcast [OPTIONS] [FOLDER ...]"),
        "{out}"
    );
    let (code, out, _) = run(&["--version"]);
    assert_eq!(code, Some(0));
    assert!(
        out.starts_with(concat!("shelfcast ", env!("CARGO_PKG_VERSION"))),
        "{out}"
    );
}

#[test]
fn complaints_go_to_standard_error_and_end_with_2() {
    let (code, out, err) = run(&["--check-confg", "--log", "loud"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    let lines: Vec<_> = err.lines().collect();
    assert_eq!(
        lines,
        [
            "command line: --check-confg: unknown option, did you mean `--check-config`?",
            "command line: --log LEVEL: \"loud\" is no level (the levels are error, warn, info, \
             debug, trace)",
            "hint: `shelfcast --help` lists every option",
        ]
    );
}

proptest! {
    #[test]
    fn no_arguments_make_it_panic(args in proptest::collection::vec(
        prop_oneof![".*", "-{0,2}[a-z-]{0,12}=?.{0,9}"], 0..6,
    )) {
        let desk = Desk::new();
        if let Err(complaints) = desk.parse(args) {
            prop_assert!(!complaints.is_empty());
            for line in complaints {
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
    }
}
