//! A **complaint**: one thing that is wrong with the configuration, where, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The command line, or what it leaves to the environment.
    CommandLine {
        /// The option or `FOLDER`.
        argument: String,
    },
    /// The configuration file.
    File {
        /// As it was named to us.
        file: PathBuf,
        /// From 1.
        line: Option<usize>,
        /// With its section: `folder.path`.
        key: String,
    },
}

impl Place {
    pub(super) fn argument(argument: impl Into<String>) -> Place {
        Place::CommandLine {
            argument: argument.into(),
        }
    }

    pub(super) fn file(file: &Path) -> Place {
        Place::File {
            file: file.to_owned(),
            line: None,
            key: String::new(),
        }
    }

    /// Names the place for a complaint about another one.
    pub(super) fn brief(&self) -> String {
        match self {
            Place::CommandLine { .. } => "on the command line".to_owned(),
            Place::File {
                line: Some(line), ..
            } => format!("in line {line}"),
            Place::File { .. } => "in the file".to_owned(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::CommandLine { argument } if argument.is_empty() => write!(out, "command line"),
            Place::CommandLine { argument } => write!(out, "command line: {argument}"),
            Place::File { file, line, key } => {
                write!(out, "{}", file.display())?;
                if let Some(line) = line {
                    write!(out, ":{line}")?;
                }
                if !key.is_empty() {
                    write!(out, ": {key}")?;
                }
                Ok(())
            }
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    place: Place,
    message: String,
}

/// Complaints as they are found; reading goes on behind each.
#[derive(Debug, Default)]
pub(super) struct Complaints(Vec<Complaint>);

impl Complaints {
    pub(super) fn add(&mut self, place: &Place, message: impl Into<String>) {
        let complaint = Complaint {
            place: place.clone(),
            message: message.into(),
        };
        if !self.0.contains(&complaint) {
            self.0.push(complaint);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all that is wrong, the command line first, then the file from top to bottom.
    pub(super) fn into_errors(mut self) -> ConfigErrors {
        self.0.sort_by_key(|complaint| match &complaint.place {
            Place::CommandLine { .. } => None,
            Place::File { line, .. } => Some(*line),
        });
        ConfigErrors { complaints: self.0 }
    }
}

/// Everything that is wrong with the configuration; the process ends with exit code 2.
///
/// Displayed as one line each and a line that says where to read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    complaints: Vec<Complaint>,
}

impl ConfigErrors {
    /// The exit code of wrong usage and of a wrong configuration.
    pub const EXIT_CODE: u8 = 2;

    /// Returns each complaint as a line: where, what and what to do.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.complaints
            .iter()
            .map(|Complaint { place, message }| escaped(&format!("{place}: {message}")))
    }

    /// Returns where to read on.
    #[must_use]
    pub fn hint(&self) -> String {
        let file = self
            .complaints
            .iter()
            .find_map(|complaint| match &complaint.place {
                Place::File { file, .. } => Some(file),
                Place::CommandLine { .. } => None,
            });
        match file {
            Some(file) => format!(
                "every key is explained by `man shelfcast.toml`; `shelfcast --check-config \
                 --config {}` checks again",
                escaped(&file.display().to_string())
            ),
            None => "`shelfcast --help` lists every option".to_owned(),
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.lines() {
            writeln!(out, "{line}")?;
        }
        write!(out, "hint: {}", self.hint())
    }
}

impl std::error::Error for ConfigErrors {}

/// Keeps a complaint on its line and its control characters off the terminal.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Returns ", did you mean `…`?" when one of the `known` words is near to `word`, else nothing.
pub(super) fn did_you_mean(word: &str, known: &[&str]) -> String {
    let word = word.to_lowercase();
    // One slip in three letters: what is further off is another word.
    let nearest = known
        .iter()
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= candidate.len().div_ceil(3) && *distance < candidate.len()
        })
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((_, candidate)) => format!(", did you mean `{candidate}`?"),
        None => String::new(),
    }
}

/// Returns how many letters must be put in, left out, replaced or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    // Names of keys are short; a long word is near to none of them, and would only cost time.
    let (left, right): (Vec<_>, Vec<_>) = (
        left.chars().take(64).collect(),
        right.chars().take(64).collect(),
    );
    let width = right.len() + 1;
    let mut table = vec![0; (left.len() + 1) * width];
    for row in 0..=left.len() {
        for column in 0..width {
            let at = row * width + column;
            if row == 0 || column == 0 {
                table[at] = row + column;
                continue;
            }
            let differs = usize::from(left[row - 1] != right[column - 1]);
            let mut least = (table[at - width] + 1)
                .min(table[at - 1] + 1)
                .min(table[at - width - 1] + differs);
            let swapped = row > 1
                && column > 1
                && left[row - 1] == right[column - 2]
                && left[row - 2] == right[column - 1];
            if swapped {
                least = least.min(table[at - 2 * width - 2] + 1);
            }
            table[at] = least;
        }
    }
    table[table.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted_like_a_typist_makes_them() {
        for (left, right, slips) in [
            ("listen", "listen", 0),
            ("lisetn", "listen", 1),
            ("lisen", "listen", 1),
            ("listten", "listen", 1),
            ("lixten", "listen", 1),
            ("", "ab", 2),
            ("größe", "grösse", 2),
        ] {
            assert_eq!(distance(left, right), slips, "{left} {right}");
            assert_eq!(distance(right, left), slips, "{right} {left}");
        }
    }

    #[test]
    fn only_a_near_word_is_suggested() {
        let known = ["path", "name", "include"];
        assert_eq!(did_you_mean("Pth", &known), ", did you mean `path`?");
        assert_eq!(
            did_you_mean("includes", &known),
            ", did you mean `include`?"
        );
        assert_eq!(did_you_mean("workers", &known), "");
        assert_eq!(did_you_mean("", &known), "");
    }
}
