//! What `--check-config` and `--print-drop-in` print, and what a reload changes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use shelfcast::config::Command;

use super::Desk;

#[test]
fn the_checked_configuration_parses_again_to_the_same() {
    let desk = Desk::new();
    let config = desk
        .file(
            r#"
            log_level = "warn"
            log_file = "DESK/a.log"
            listen = ["127.0.0.1:1", "[::1]:2"]
            [[folder]]
            path = "DESK/a \"quoted\" \\ ä"
            include = ["*.cbz", "a\\*"]
            [[processor]]
            name = "tag"
            command = ["true", "{path}"]
            [access]
            allow = ["lan", "10.0.0.0/8", "::1"]
            token = "correct-horse"
            "#,
        )
        .unwrap();
    let report = Command::Check(config.clone()).report().unwrap();
    assert!(
        !report.contains("correct-horse"),
        "the secret is shown in\n{report}"
    );
    let mut again = desk.file(&report).unwrap();
    assert_eq!(again.access.token, None);
    again.access.token = config.access.token.clone();
    assert_eq!(again, config);
}

#[test]
fn checking_warns_of_what_is_no_mistake() {
    let desk = Desk::new();
    let config = desk
        .file("[[folder]]\npath = \"DESK/away\"\n[access]\nallow = [\"any\"]\n")
        .unwrap();
    let report = Command::Check(config).report().unwrap();
    assert!(
        report.contains("# warning: folder away is offline: "),
        "{report}"
    );
    assert!(
        report.contains("# warning: everybody who reaches this machine"),
        "{report}"
    );
    let empty = desk.file("").unwrap();
    assert!(empty.warnings()[0].starts_with("there is no folder to watch: add `[[folder]]`"));
}

#[test]
fn the_drop_in_opens_folders_for_processors_alone() {
    let desk = Desk::new();
    let folder = desk.directory("my comics");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let watched = "[[folder]]\npath = \"DESK/my comics\"\n";
    let drop_in = |toml: &str| {
        Command::PrintDropIn(desk.file(toml).unwrap())
            .report()
            .unwrap()
    };
    assert!(!drop_in(watched).contains("ReadWritePaths="));
    assert!(!drop_in(watched).contains("UMask="));
    assert!(!drop_in(watched).contains("LimitNOFILE="));
    let written = drop_in(&format!(
        "{watched}[[processor]]\nname = \"tag\"\ncommand = [\"true\"]\n"
    ));
    assert!(written.contains("[Service]\n"), "{written}");
    assert!(written.contains("ReadWritePaths="), "{written}");
    assert!(written.contains("UMask=0022"), "{written}");
    let crowded = drop_in("[limits]\nclients = 20000\n");
    assert!(crowded.contains("LimitNOFILE=22048"), "{crowded}");
}

#[test]
fn a_reload_can_name_what_changed() {
    let desk = Desk::new();
    let before = desk
        .file("log_level = \"info\"\n[watch]\npoll_s = 60\n")
        .unwrap();
    let same = desk.file("# only a comment\n").unwrap();
    assert_eq!(before.differences(&same), [""; 0]);
    let after = desk
        .file("log_level = \"warn\"\n[watch]\npoll_s = 9\n[access]\ntoken = \"12345678\"\n")
        .unwrap();
    assert_eq!(before.differences(&after), ["log_level", "watch", "access"]);
}
