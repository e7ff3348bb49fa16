//! A **glob**: a pattern over paths that are relative to a folder.
//!
//! | written | matches |
//! | --- | --- |
//! | `*` | any number of characters, but no `/` |
//! | `?` | one character, but no `/` |
//! | `[a-z]`, `[!a-z]` | one character that is in the set, or not in it (`[^…]` is the same) |
//! | `{a,b}` | either; may be nested, may hold `/` |
//! | `**/`, `/**/` | any number of directories, none as well |
//! | `/**` at the end | everything below |
//! | `name/` | the same as `name/**` |
//! | `\x` | the character `x` itself |
//!
//! As in a `.gitignore`, a glob without a `/` (a last one aside) matches in any directory: `*.cbz`
//! is `**/*.cbz`. One with a `/` starts at the folder, so `/*.cbz` finds only what lies directly
//! in it. Upper and lower case differ. A byte that is not UTF-8 counts as one character.
//!
//! The promise: matching takes time linear in the length of the path, whatever the glob; what
//! would cost more is refused when the glob is parsed.

mod parse;
mod selection;

pub use parse::GlobError;
pub use selection::{Selection, is_ignored_name};

use parse::Token;

/// A pattern over paths, ready to match.
#[derive(Clone)]
pub struct Glob {
    text: String,
    /// The alternatives of the form `**/*.end`, by far the most common: only the end counts.
    ends: Vec<Vec<u8>>,
    /// All others one after the other, each closed by [`Step::End`].
    steps: Vec<Step>,
    /// Where each alternative begins.
    starts: Vec<usize>,
    /// The alternatives that end in `/**`, without that end.
    below: Option<Box<Glob>>,
}

/// One state of the automaton: what it takes to get on to the next.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// This character.
    Literal(u32),
    /// One character of a component.
    Any,
    /// One character of a component that is in the set, or not.
    Set(parse::Set),
    /// Any number of characters of a component.
    Star,
    /// Any number of whole directories; at their border. [`Step::InDirectory`] follows.
    Directories,
    /// Within a directory's name.
    InDirectory,
    /// One character of any kind, then anything.
    Below,
    /// Anything.
    Rest,
    /// The alternative matched if the path ends here.
    End,
}

const SLASH: u32 = '/' as u32;

impl Glob {
    /// Reads a glob.
    ///
    /// # Errors
    /// What is wrong in it, and where.
    pub fn parse(text: &str) -> Result<Glob, GlobError> {
        let alternatives = parse::alternatives(text)?;
        let below: Vec<_> = alternatives
            .iter()
            .filter_map(|components| match components.as_slice() {
                [rest @ .., last] if last.is_directories() && !rest.is_empty() => Some(rest),
                _ => None,
            })
            .collect();
        let below = (!below.is_empty()).then(|| Box::new(Glob::compile(text, below)));
        let whole = Glob::compile(text, alternatives.iter().map(Vec::as_slice));
        Ok(Glob { below, ..whole })
    }

    fn compile<'a>(
        text: &str,
        alternatives: impl IntoIterator<Item = &'a [parse::Component]>,
    ) -> Glob {
        let (mut ends, mut steps, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        for components in alternatives {
            if let Some(end) = end(components) {
                ends.push(end);
                continue;
            }
            starts.push(steps.len());
            for (position, component) in components.iter().enumerate() {
                let last = position + 1 == components.len();
                match component.tokens() {
                    None if last && position == 0 => steps.push(Step::Rest),
                    None if last => steps.push(Step::Below),
                    None => steps.extend([Step::Directories, Step::InDirectory]),
                    Some(tokens) => {
                        steps.extend(tokens.iter().map(step));
                        if !last {
                            steps.push(Step::Literal(SLASH));
                        }
                    }
                }
            }
            steps.push(Step::End);
        }
        Glob {
            text: text.to_owned(),
            ends,
            steps,
            starts,
            below: None,
        }
    }

    /// Returns the glob as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Tells whether the glob matches a whole path, relative to its folder and without a `/` at
    /// either end.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        self.ends.iter().any(|end| path.ends_with(end)) || self.runs_to_end(path)
    }

    fn runs_to_end(&self, path: &[u8]) -> bool {
        if self.starts.is_empty() {
            return false;
        }
        let mut now = States::new(self.steps.len());
        let mut next = States::new(self.steps.len());
        for &start in &self.starts {
            self.enter(start, &mut now);
        }
        for character in characters(path) {
            next.clear();
            now.each(|at| self.take(at, character, &mut next));
            std::mem::swap(&mut now, &mut next);
            if now.is_empty() {
                return false;
            }
        }
        let mut ended = false;
        now.each(|at| ended |= self.steps[at] == Step::End);
        ended
    }

    /// Tells whether every path below `directory` matches because the glob ends in `/**`.
    #[must_use]
    pub fn matches_all_below(&self, directory: &[u8]) -> bool {
        self.below
            .as_ref()
            .is_some_and(|glob| glob.matches(directory))
    }

    /// Adds a state, and those that are reached from it without taking a character.
    fn enter(&self, at: usize, states: &mut States) {
        let mut at = at;
        loop {
            states.add(at);
            at = match self.steps[at] {
                Step::Star | Step::Rest => at + 1,
                Step::Directories => at + 2,
                _ => return,
            };
        }
    }

    fn take(&self, at: usize, character: u32, next: &mut States) {
        let in_component = character != SLASH;
        match &self.steps[at] {
            Step::Literal(wanted) if *wanted == character => self.enter(at + 1, next),
            Step::Any if in_component => self.enter(at + 1, next),
            Step::Set(set) if in_component && set.contains(character) => self.enter(at + 1, next),
            Step::Star if in_component => self.enter(at, next),
            Step::Directories if in_component => self.enter(at + 1, next),
            Step::InDirectory if in_component => self.enter(at, next),
            Step::InDirectory => self.enter(at - 1, next),
            // What is below was reached; only the end of the path is left to wait for.
            Step::Below => {
                next.add(at);
                self.enter(at + 1, next);
            }
            Step::Rest => self.enter(at, next),
            _ => {}
        }
    }
}

/// Returns the end of an alternative of the form `**/*.end`.
fn end(components: &[parse::Component]) -> Option<Vec<u8>> {
    let [first, last] = components else {
        return None;
    };
    let [Token::Star, rest @ ..] = last.tokens().filter(|_| first.is_directories())? else {
        return None;
    };
    let literal = |token: &Token| match token {
        Token::Literal(character) => Some(*character),
        _ => None,
    };
    let end: Option<String> = rest.iter().map(literal).collect();
    Some(end?.into_bytes())
}

fn step(token: &Token) -> Step {
    match token {
        Token::Literal(character) => Step::Literal(*character as u32),
        Token::Any => Step::Any,
        Token::Set(set) => Step::Set(set.clone()),
        Token::Star => Step::Star,
    }
}

/// Yields the characters of `path`; a byte that is not UTF-8 becomes a number past all characters.
fn characters(path: &[u8]) -> impl Iterator<Item = u32> {
    path.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid().chars().map(u32::from);
        let invalid = chunk
            .invalid()
            .iter()
            .map(|byte| 0x11_0000 + u32::from(*byte));
        valid.chain(invalid)
    })
}

/// A set of states, a bit for each.
struct States {
    words: Vec<u64>,
}

impl States {
    fn new(count: usize) -> States {
        States {
            words: vec![0; count.div_ceil(64)],
        }
    }

    fn add(&mut self, at: usize) {
        self.words[at / 64] |= 1 << (at % 64);
    }

    fn clear(&mut self) {
        self.words.fill(0);
    }

    fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    fn each(&self, mut visit: impl FnMut(usize)) {
        for (position, word) in self.words.iter().enumerate() {
            let mut left = *word;
            while left != 0 {
                visit(position * 64 + left.trailing_zeros() as usize);
                left &= left - 1;
            }
        }
    }
}

impl std::fmt::Debug for Glob {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Glob({:?})", self.text)
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Glob) -> bool {
        self.text == other.text
    }
}

impl std::fmt::Display for Glob {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
