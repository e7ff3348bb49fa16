//! What `--help` and `--version` print.

/// The options on one screen.
pub(super) const HELP: &str = "\
Shelfcast watches the folders of a file library, processes every new file once
it is complete, and shows every change on every browser of the LAN at once.

usage: shelfcast [OPTIONS] [FOLDER ...]

  FOLDER ...          folders to watch, each named after its last component;
                      they take the place of those in a configuration file
  -c, --config FILE   read this TOML file (see Files)
  -l, --listen ADDR   listen here, in place of the file's addresses; repeatable:
                      192.168.1.2:5000, [::1]:5000, or :5000 for all addresses
                      (default [::]:5000, where IPv6 is off 0.0.0.0:5000)
      --state DIR     keep the index here (see Environment for the default)
      --log LEVEL     error, warn, info (default), debug or trace
      --check-config  check everything and print the configuration in effect
      --print-drop-in print what systemd must allow for the configured folders
                      and processors
  -h, --help          print this
  -V, --version       print version, commit and target

Files:
  /etc/shelfcast/shelfcast.toml  read where neither FOLDER nor --config is given

Environment:
  STATE_DIRECTORY, XDG_STATE_HOME, HOME  where the index is kept, first wins:
      $STATE_DIRECTORY, $XDG_STATE_HOME/shelfcast, ~/.local/state/shelfcast
  PATH                                   where a processor's program is found
  LISTEN_FDS, NOTIFY_SOCKET, WATCHDOG_USEC, JOURNAL_STREAM    set by systemd

SIGTERM and SIGINT end it within 2 s, SIGHUP reads the configuration again.
Exit codes: 0 ended as asked, 1 failed while running, 2 wrong usage or
configuration.

More: man shelfcast, man shelfcast.toml. Example: shelfcast /srv/comics
";

/// Returns version, commit and target. A build outside of git or Cargo knows less.
pub(super) fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let commit = option_env!("SHELFCAST_COMMIT").map(|commit| format!("commit {commit}"));
    let target = option_env!("SHELFCAST_TARGET").map(str::to_owned);
    let known: Vec<_> = [commit, target].into_iter().flatten().collect();
    match known.is_empty() {
        true => format!("shelfcast {version}\n"),
        false => format!("shelfcast {version} ({})\n", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_fits_a_screen_and_names_every_option() {
        assert!(HELP.lines().all(|line| line.len() <= 80));
        assert!(HELP.lines().count() <= 40);
        for option in crate::config::cli::OPTIONS {
            assert!(HELP.contains(&format!("{option} ")), "{option}");
        }
    }

    #[test]
    fn the_version_is_a_line() {
        assert!(version().starts_with("shelfcast 0."));
        assert_eq!(version().lines().count(), 1);
    }
}
