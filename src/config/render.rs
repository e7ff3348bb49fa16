//! What `--check-config` prints: the configuration in effect, as TOML that parses again, and what
//! an owner may want to know though it is no mistake.

use std::fmt::Display;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::Access;

use super::{Allow, Config, FolderConfig};

/// Returns the configuration in effect, with notes as comments. The token is never shown.
pub(super) fn effective(config: &Config) -> String {
    let mut out = Toml::default();
    match &config.file {
        Some(file) => out.comment(format!("{}: no complaints", file.display())),
        None => out.comment("no configuration file was read"),
    }
    out.comment(format!("state directory: {}", config.state.display()));
    for processor in &config.processors {
        let program = processor.command.first().map_or("", String::as_str);
        out.comment(format!("processor {} runs {program}", processor.name));
    }
    if let Some(limit) = watch_limit(config) {
        out.comment(limit);
    }
    for warning in config.warnings() {
        out.comment(format!("warning: {warning}"));
    }
    out.blank();
    out.texts("listen", &config.listen);
    out.text("log_level", config.log.level.as_str().to_lowercase());
    if let Some(file) = &config.log.file {
        out.text("log_file", file.display());
    }
    for folder in &config.folders {
        out.section("[[folder]]");
        out.text("path", folder.path.display());
        out.text("name", &folder.name);
        out.texts("include", &folder.include);
        out.texts("ignore", &folder.ignore);
    }
    out.section("[processing]");
    out.plain("automatic", config.processing.automatic);
    out.plain("workers", config.processing.workers);
    for processor in &config.processors {
        out.section("[[processor]]");
        out.text("name", &processor.name);
        out.texts("match", &processor.matches);
        out.texts("command", &processor.command);
        out.plain("timeout_s", processor.timeout.as_secs());
    }
    out.section("[watch]");
    out.plain("poll_s", config.watch.poll.as_secs());
    out.section("[access]");
    let allow: Vec<_> = config.access.allow.iter().map(allow).collect();
    out.texts("allow", &allow);
    out.texts("hosts", &config.access.hosts);
    if config.access.token.is_some() {
        out.comment("token: set, not shown");
    }
    out.section("[limits]");
    out.plain("clients", config.limits.clients);
    out.plain("clients_per_address", config.limits.clients_per_address);
    out.0
}

fn allow(allow: &Allow) -> String {
    match allow {
        Allow::Lan => "lan".to_owned(),
        Allow::Any => "any".to_owned(),
        Allow::Block { address, prefix } => format!("{address}/{prefix}"),
    }
}

/// Says how many directories the kernel watches for us.
fn watch_limit(config: &Config) -> Option<String> {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok()?;
    Some(format!(
        "the kernel watches up to {} directories for this user; more of them are polled every {} s",
        limit.trim(),
        config.watch.poll.as_secs()
    ))
}

/// A token that is shorter is warned of.
const GUESSED: usize = 8;

impl Config {
    /// Returns what is no mistake, and yet not as an owner will want it: folders that are away,
    /// a page that is open to everybody. Looks at the disk; each is one line.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.folders.is_empty() {
            let file = self
                .file
                .as_deref()
                .unwrap_or(Path::new(super::DEFAULT_FILE));
            warnings.push(format!(
                "there is no folder to watch: add `[[folder]]` and `path = \"/path/to/it\"` to {}",
                file.display()
            ));
        }
        warnings.extend(self.folders.iter().filter_map(folder_warning));
        if self.access.allow.contains(&Allow::Any) && self.access.token.is_none() {
            warnings.push(
                "everybody who reaches this machine may start jobs: set `token` in [access], or \
                 narrow `allow`"
                    .to_owned(),
            );
        }
        if self
            .access
            .token
            .as_ref()
            .is_some_and(|token| token.len() < GUESSED)
        {
            warnings.push(
                "the `token` in [access] is soon guessed: `openssl rand -hex 16` makes a good one"
                    .to_owned(),
            );
        }
        if let (Some(file), Some(_)) = (&self.file, &self.access.token)
            && let Ok(metadata) = file.metadata()
            && metadata.permissions().mode() & 0o004 != 0
        {
            let file = file.display();
            warnings.push(format!(
                "every user of this machine can read the token: `chmod o-r {file}`, and let the \
                 group be shelfcast"
            ));
        }
        warnings
    }
}

fn folder_warning(folder: &FolderConfig) -> Option<String> {
    let (name, path) = (&folder.name, folder.path.display());
    let readable = || rustix::fs::access(&folder.path, Access::READ_OK | Access::EXEC_OK);
    match folder.path.metadata() {
        Err(error) => Some(format!("folder {name} is offline: {path}: {error}")),
        Ok(_) if readable().is_err() => Some(format!(
            "folder {name} may not be read by this user: {path} (`shelfcast --print-drop-in` \
             shows what the service needs)"
        )),
        Ok(_) => None,
    }
}

/// TOML as it is written, a line a key.
#[derive(Default)]
struct Toml(String);

impl Toml {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn blank(&mut self) {
        self.line("");
    }

    fn comment(&mut self, text: impl Display) {
        // A name from disk must not end the comment, nor reach the terminal as a command.
        let text: String = text
            .to_string()
            .chars()
            .map(|sign| if sign.is_control() { '\u{fffd}' } else { sign })
            .collect();
        self.line(&format!("# {text}"));
    }

    fn section(&mut self, header: &str) {
        self.blank();
        self.line(header);
    }

    fn plain(&mut self, key: &str, value: impl Display) {
        self.line(&format!("{key} = {value}"));
    }

    fn text(&mut self, key: &str, value: impl Display) {
        self.plain(key, quoted(&value.to_string()));
    }

    fn texts<T: Display>(&mut self, key: &str, values: &[T]) {
        let values: Vec<_> = values
            .iter()
            .map(|value| quoted(&value.to_string()))
            .collect();
        self.plain(key, format!("[{}]", values.join(", ")));
    }
}

/// Writes a TOML basic string (toml.io, "String").
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for sign in text.chars() {
        match sign {
            '"' | '\\' => quoted.extend(['\\', sign]),
            _ if sign.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(sign))),
            _ => quoted.push(sign),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_quoted_is_read_as_it_was(text in ".*|[\\x00-\\x22\\\\\\x7f-\\xa0]{0,9}") {
            let line = format!("key = {}", quoted(&text));
            let table: toml::Table = toml::from_str(&line).unwrap();
            prop_assert_eq!(table["key"].as_str(), Some(text.as_str()));
        }

        #[test]
        fn a_comment_stays_on_its_line(text in ".*|[\\x00-\\x20]{0,9}") {
            let mut out = Toml::default();
            out.comment(&text);
            prop_assert!(toml::from_str::<toml::Table>(&out.0).unwrap().is_empty());
        }
    }
}
