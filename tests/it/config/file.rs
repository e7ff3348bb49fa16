//! What a configuration file may say, and what is complained of.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use shelfcast::config::Allow;

use super::Desk;

#[test]
fn an_empty_file_gives_the_defaults() {
    let desk = Desk::new();
    let config = desk.file("").unwrap();
    assert!(config.folders.is_empty());
    assert!(config.processors.is_empty());
    assert_eq!(config.listen.len(), 1);
    assert_eq!(config.listen[0].port(), 5000);
    assert!(config.listen[0].ip().is_unspecified());
    assert_eq!(config.state, desk.path("home/.local/state/shelfcast"));
    assert_eq!(config.log.level, log::LevelFilter::Info);
    assert_eq!(config.log.file, None);
    assert!(config.processing.automatic);
    assert!((1..=64).contains(&config.processing.workers));
    assert_eq!(config.watch.poll, Duration::from_secs(60));
    assert_eq!(config.access.allow, [Allow::Lan]);
    assert_eq!(config.access.token, None);
    assert_eq!(config.limits.clients, 1000);
    assert_eq!(config.limits.clients_per_address, 64);
    assert_eq!(config.file, Some(desk.path("shelfcast.toml")));
}

#[test]
fn an_address_that_another_takes_along_is_not_listened_on_twice() {
    let config = Desk::new()
        .file(
            r#"listen = ["0.0.0.0:5000", "127.0.0.1:5000", "[::]:5000", "127.0.0.1:5001", "127.0.0.1:5001"]
            "#,
        )
        .unwrap();
    let listen: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen.len(), 2, "{listen:?}");
    assert!(config.listen[0].ip().is_unspecified(), "{listen:?}");
    assert_eq!(listen[1], "127.0.0.1:5001");
    // The kernel gives each of these a port of its own.
    let ports = "listen = [\"127.0.0.1:0\", \"0.0.0.0:0\"]\n";
    assert_eq!(Desk::new().file(ports).unwrap().listen.len(), 2);
}

#[test]
fn a_full_file_is_taken_as_written() {
    let desk = Desk::new();
    desk.directory("comics");
    let config = desk
        .file(
            r#"
            listen = ["127.0.0.1:0", "[::1]:5001"]
            log_level = "debug"
            log_file = "DESK/shelfcast.log"
            [[folder]]
            path = "DESK/comics/"
            include = ["**/*.cbz"]
            ignore = ["drafts/**"]
            [[folder]]
            path = "DESK/unplugged"
            name = "Späße"
            [processing]
            automatic = false
            workers = 3
            [[processor]]
            name = "tag"
            match = ["*.cbz"]
            command = ["true", "{path}", "--in={folder}/{name}", "{}", "{print $1}"]
            timeout_s = 5
            [watch]
            poll_s = 7
            [access]
            allow = ["10.0.0.0/8", "::ffff:192.168.1.0/120", "fd00::/8", "any"]
            hosts = ["Media.Example.", "media.example"]
            token = "correct-horse"
            [limits]
            clients = 5
            clients_per_address = 2
            "#,
        )
        .unwrap();
    let listen: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["127.0.0.1:0", "[::1]:5001"]);
    assert_eq!(config.log.file, Some(desk.path("shelfcast.log")));
    assert_eq!(config.folders[0].path, desk.path("comics"));
    assert_eq!(config.folders[0].name, "comics");
    assert_eq!(config.folders[1].name, "Späße");
    assert_eq!(config.processors[0].command[0], "/usr/bin/true");
    assert_eq!(config.processors[0].timeout, Duration::from_secs(5));
    assert_eq!(config.watch.poll, Duration::from_secs(7));
    let block = |address: &str, prefix| Allow::Block {
        address: address.parse().unwrap(),
        prefix,
    };
    let allow = [
        block("10.0.0.0", 8),
        block("192.168.1.0", 24),
        block("fd00::", 8),
        Allow::Any,
    ];
    assert_eq!(config.access.allow, allow);
    assert_eq!(config.access.hosts, ["media.example"]);
    assert_eq!(config.access.token.as_deref(), Some("correct-horse"));
    assert_eq!(config.limits.clients_per_address, 2);
}

#[test]
fn every_complaint_is_made_at_once_with_its_line_and_key() {
    let desk = Desk::new();
    fs::write(desk.path("a-file"), "").unwrap();
    let complaints = desk.complaints(
        r#"lisen = ["[::]:5000"]
log_level = "loud"
[[folder]]
path = "srv/comics"
ignore = ["a[b"]
[[folder]]
name = ".."
[[folder]]
path = "DESK/a-file"
[processing]
workers = 0
automatic = "yes"
[[processor]]
name = "fingerprint"
command = ["/no/such/program", "{pth}"]
timeout_s = 1.5
[access]
allow = ["10.0.0.0/33", "wlan"]
hosts = ["http://media"]
token = "top secret"
"#,
    );
    let expected = [
        "DESK/shelfcast.toml:1: lisen: unknown key, did you mean `listen`?",
        "DESK/shelfcast.toml:2: log_level: \"loud\" is no level (the levels are error, warn, info, debug, trace)",
        "DESK/shelfcast.toml:4: folder.path: \"srv/comics\" is relative: write the whole path, from `/`",
        "DESK/shelfcast.toml:5: folder.ignore: \"a[b\": `[` without `]`: close it, or write `\\[` for the character itself (at character 2)",
        "DESK/shelfcast.toml:6: folder: `path` is missing: add a line `path = …`",
        "DESK/shelfcast.toml:7: folder.name: the folder's name \"..\" means another directory: choose another",
        "DESK/shelfcast.toml:9: folder.path: DESK/a-file is a file: name the directory that is to be watched",
        "DESK/shelfcast.toml:11: processing.workers: 0 is not between 1 and 64",
        "DESK/shelfcast.toml:12: processing.automatic: expected true or false without quotes, found text",
        "DESK/shelfcast.toml:14: processor.name: the processor's name \"fingerprint\" is that of the built-in processor: choose another",
        "DESK/shelfcast.toml:15: processor.command: \"{pth}\": unknown placeholder {pth}, did you mean `path`? (known: {path}, {name}, {folder}, {id})",
        "DESK/shelfcast.toml:15: processor.command: /no/such/program does not exist: install it, or correct the path",
        "DESK/shelfcast.toml:16: processor.timeout_s: expected a whole number without quotes, found a number with a fraction",
        "DESK/shelfcast.toml:18: access.allow: \"10.0.0.0/33\" is no block: behind the `/` stands a number from 0 to 32",
        "DESK/shelfcast.toml:18: access.allow: \"wlan\" is no address, did you mean `lan`? (write \"lan\", \"any\", an address such as \"192.168.1.7\", or a block such as \"10.8.0.0/24\" or \"fd00::/8\")",
        "DESK/shelfcast.toml:19: access.hosts: \"http://media\" is no host name: write the name alone, such as \"media.example\", without `http://` and port (what is not ASCII in its `xn--` form)",
        "DESK/shelfcast.toml:20: access.token: a token has letters, digits and signs of ASCII, and no space; `openssl rand -hex 16` makes a good one",
    ];
    assert_eq!(complaints, expected);
}

#[test]
fn folders_must_lie_apart_whatever_links_lead_there() {
    let desk = Desk::new();
    desk.directory("srv/comics/new");
    symlink(desk.path("srv/comics"), desk.path("link")).unwrap();
    let complaints = desk.complaints(
        r#"[[folder]]
path = "DESK/srv/comics"
[[folder]]
path = "DESK/link/new"
[[folder]]
path = "DESK/link"
name = "again"
[[folder]]
path = "DESK/link/away"
[[folder]]
path = "DESK/srv"
"#,
    );
    let text = complaints.join("\n");
    for part in [
        ":4: folder.path: DESK/link/new is inside DESK/srv/comics in line 2: leave one of them",
        ":6: folder.path: DESK/link is the same directory as DESK/srv/comics in line 2: leave one",
        ":9: folder.path: DESK/link/away is inside DESK/srv/comics in line 2: leave one of them",
        ":11: folder.path: DESK/srv contains DESK/srv/comics in line 2: leave one of them",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn two_folders_of_one_name_are_refused() {
    let desk = Desk::new();
    let complaints = desk
        .complaints("[[folder]]\npath = \"/mnt/a/comics\"\n[[folder]]\npath = \"/mnt/b/comics\"\n");
    assert_eq!(
        complaints,
        [
            "DESK/shelfcast.toml:4: folder.path: two folders are called \"comics\", the other is \
          /mnt/a/comics in line 2: give one of them another `name`"
        ]
    );
}

#[test]
fn the_index_and_the_log_stay_out_of_the_folders() {
    let desk = Desk::new();
    desk.directory("srv/state");
    let folder = "[[folder]]\npath = \"DESK/srv\"\n";
    let logged = desk.complaints(&format!("log_file = \"DESK/srv/shelfcast.log\"\n{folder}"));
    assert!(logged[0].contains("log_file: the log file DESK/srv/shelfcast.log lies in the folder"));
    for (state, part) in [
        ("srv/state", "lies in the folder"),
        ("", "contains the folder"),
    ] {
        let args = [desk.path("srv"), "--state".into(), desk.path(state)];
        let complaints = desk.parse(args).unwrap_err();
        assert!(complaints[0].contains(part), "{complaints:?}");
    }
}

#[test]
fn what_is_not_toml_is_told_by_line() {
    let desk = Desk::new();
    let complaints = desk.complaints("listen = [\"[::]:5000\"]\nlog_level = info\n\n[folder\n");
    assert!(
        complaints[0].starts_with("DESK/shelfcast.toml:2: this is not TOML: "),
        "{complaints:?}"
    );
    assert!(
        complaints.iter().any(|line| line.contains("toml:4")),
        "{complaints:?}"
    );
}

#[test]
fn a_single_bracket_where_two_belong_is_explained() {
    let desk = Desk::new();
    let complaints = desk.complaints("[folder]\npath = \"/srv\"\n");
    assert_eq!(
        complaints,
        [
            "DESK/shelfcast.toml:1: folder: expected sections with two brackets each: [[folder]], found a table"
        ]
    );
}

#[test]
fn a_program_must_be_there_and_may_be_run() {
    let desk = Desk::new();
    fs::write(desk.path("script"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(desk.path("script"), fs::Permissions::from_mode(0o644)).unwrap();
    for (command, part) in [
        (r#"["DESK/script"]"#, "script may not be run: `chmod a+x "),
        (r#"["bin/script"]"#, "\"bin/script\" is relative"),
        (
            r#"["no-such-program-here"]"#,
            "no program \"no-such-program-here\" in /usr/bin:/bin",
        ),
        (
            r#"["{path}"]"#,
            "the program itself cannot be a placeholder",
        ),
        (r#"["/tmp"]"#, "is not a file that can be run"),
        ("[]", "the command is empty"),
    ] {
        let toml = format!("[[processor]]\nname = \"tag\"\ncommand = {command}\n");
        let complaints = desk.complaints(&toml);
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].starts_with("DESK/shelfcast.toml:3: processor.command: "));
        assert!(complaints[0].contains(part), "{complaints:?}");
    }
}

#[test]
fn a_program_is_not_looked_for_where_the_path_is_relative() {
    let mut desk = Desk::new();
    let script = desk.path("shelfcast-test-script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let toml = "[[processor]]\nname = \"tag\"\ncommand = [\"shelfcast-test-script\"]\n";
    let up = "../".repeat(std::env::current_dir().unwrap().components().count() - 1);
    let relative = format!(
        "{up}{}",
        desk.path("").to_str().unwrap().trim_start_matches('/')
    );
    assert!(
        Path::new(&relative).join("shelfcast-test-script").exists(),
        "{relative}"
    );
    desk.env[1].1 = relative.into();
    assert!(desk.complaints(toml)[0].contains("no program \"shelfcast-test-script\""));
    desk.env[1].1 = desk.path("").into_os_string();
    assert_eq!(
        desk.file(toml).unwrap().processors[0].command,
        [script.to_str().unwrap()]
    );
}

#[test]
fn a_list_of_the_wrong_type_is_complained_of_once() {
    let desk = Desk::new();
    let complaints =
        desk.complaints("listen = [5000]\n[[processor]]\nname = \"a\"\ncommand = [1]\n");
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(complaints[0].starts_with("DESK/shelfcast.toml:1: listen: expected a list of texts"));
}

#[test]
fn a_secret_is_never_repeated() {
    let config = Desk::new()
        .file("[access]\ntoken = \"hush-hush\"\n")
        .unwrap();
    assert!(!format!("{config:?}").contains("hush-hush"));
    let complaints = Desk::new().complaints("[access]\ntoken = \"hush me\"\n");
    assert!(!complaints.join("").contains("hush"), "{complaints:?}");
}

#[test]
fn a_short_token_is_taken_and_warned_of() {
    let config = Desk::new().file("[access]\ntoken = \"secret\"\n").unwrap();
    assert_eq!(config.access.token.as_deref(), Some("secret"));
    let warnings = config.warnings();
    let said = |warning: &String| warning.contains("soon guessed") && !warning.contains("secret");
    assert!(warnings.iter().any(said), "{warnings:?}");
    let long = Desk::new()
        .file("[access]\ntoken = \"correct-horse\"\n")
        .unwrap();
    assert!(!long.warnings().iter().any(said));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(toml in prop_oneof![
        ".*",
        r#"(\[{0,2}(folder|access|processor|watch|limits)\]{0,2}\n|[a-z_]{1,9} = (-?[0-9]{1,20}|"[^"\\]{0,9}"|\["[^"]{0,9}"\])\n){0,6}"#,
    ]) {
        let desk = Desk::new();
        if let Err(complaints) = desk.file(&toml) {
            prop_assert!(!complaints.is_empty());
        }
    }
}
