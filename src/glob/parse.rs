//! Reading a glob: text in, alternatives of components out, or what is wrong and where.

use std::fmt;

/// Longest glob in bytes: longer than any path that the kernel takes (PATH_MAX, limits.h).
const LONGEST: usize = 4096;
/// Most alternatives that the braces of one glob may come to; they multiply.
const MOST_ALTERNATIVES: usize = 256;
/// Most characters that all alternatives may come to: a bound on the states of the automaton.
const MOST_TOKENS: usize = 16 * 1024;
/// Deepest nesting of braces; reading them is recursive.
const DEEPEST: usize = 16;

/// What is wrong with a glob, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobError {
    /// Number of the character concerned, from 1.
    pub position: usize,
    /// What is wrong there and what to do.
    pub message: String,
}

impl fmt::Display for GlobError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} (at character {})", self.message, self.position)
    }
}

impl std::error::Error for GlobError {}

/// What stands for one character, or for any number of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Literal(char),
    Any,
    Set(Set),
    Star,
}

/// The characters between `[` and `]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Set {
    negated: bool,
    ranges: Vec<(u32, u32)>,
}

impl Set {
    pub(super) fn contains(&self, character: u32) -> bool {
        let within = |(from, to): &(u32, u32)| (*from..=*to).contains(&character);
        self.ranges.iter().any(within) != self.negated
    }
}

/// What stands between two `/`.
#[derive(Clone, Debug)]
pub(super) struct Component(Option<Vec<Token>>);

impl Component {
    /// Tells whether it is `**`.
    pub(super) fn is_directories(&self) -> bool {
        self.0.is_none()
    }

    /// Returns its tokens, or nothing for `**`.
    pub(super) fn tokens(&self) -> Option<&[Token]> {
        self.0.as_deref()
    }
}

/// A token and the position it was read at.
type Placed = (usize, Token);

/// Returns what the glob stands for with its braces multiplied out, each split at its `/`.
pub(super) fn alternatives(text: &str) -> Result<Vec<Vec<Component>>, GlobError> {
    if text.is_empty() {
        return Err(error(
            0,
            "a glob is not empty: leave it out, or write `**` for everything",
        ));
    }
    if text.len() > LONGEST {
        return Err(error(LONGEST, "the glob is too long: at most 4096 bytes"));
    }
    let mut reader = Reader {
        characters: text.chars().collect(),
        at: 0,
    };
    let sequences = reader.sequence(0)?;
    if reader.at < reader.characters.len() {
        // Only an unmatched brace or comma stops the outermost sequence.
        return Err(error(
            reader.at,
            "`}` without `{`: write `\\}` for the character itself",
        ));
    }
    sequences.into_iter().map(components).collect()
}

struct Reader {
    characters: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += 1;
        Some(character)
    }

    /// Reads up to the end, or within braces up to their `,` or `}`.
    fn sequence(&mut self, depth: usize) -> Result<Vec<Vec<Placed>>, GlobError> {
        let mut so_far: Vec<Vec<Placed>> = vec![Vec::new()];
        while let Some(character) = self.peek() {
            let start = self.at;
            let token = match character {
                '}' => break,
                ',' if depth > 0 => break,
                '{' => {
                    let choices = self.braces(depth + 1)?;
                    so_far = multiply(&so_far, &choices).ok_or_else(|| {
                        error(start, "too many alternatives: write several globs instead")
                    })?;
                    continue;
                }
                '?' => Token::Any,
                '*' => Token::Star,
                '[' => self.set()?,
                '\\' => {
                    self.at += 1;
                    let escaped = self.peek().ok_or_else(|| {
                        error(
                            start,
                            "nothing follows the `\\`: write `\\\\` for the character itself",
                        )
                    })?;
                    Token::Literal(escaped)
                }
                '\0' => return Err(error(start, "no path holds a NUL character")),
                other => Token::Literal(other),
            };
            if !matches!(token, Token::Set(_)) {
                self.at += 1;
            }
            for sequence in &mut so_far {
                sequence.push((start, token.clone()));
            }
            // Each alternative grows with every token, so this is the cost so far.
            if so_far.iter().map(Vec::len).sum::<usize>() > MOST_TOKENS {
                return Err(error(
                    start,
                    "too many alternatives: write several globs instead",
                ));
            }
        }
        Ok(so_far)
    }

    fn braces(&mut self, depth: usize) -> Result<Vec<Vec<Placed>>, GlobError> {
        let start = self.at;
        if depth > DEEPEST {
            return Err(error(
                start,
                "braces are nested too deep: write several globs instead",
            ));
        }
        let mut choices = Vec::new();
        loop {
            self.at += 1; // the `{` or the `,`
            choices.extend(self.sequence(depth)?);
            if choices.len() > MOST_ALTERNATIVES {
                return Err(error(
                    start,
                    "too many alternatives: write several globs instead",
                ));
            }
            match self.peek() {
                Some(',') => {}
                Some(_) => {
                    self.at += 1; // the `}`
                    return Ok(choices);
                }
                None => {
                    return Err(error(
                        start,
                        "`{` without `}`: close it, or write `\\{` for the character itself",
                    ));
                }
            }
        }
    }

    fn set(&mut self) -> Result<Token, GlobError> {
        let start = self.at;
        let unclosed = || {
            error(
                start,
                "`[` without `]`: close it, or write `\\[` for the character itself",
            )
        };
        self.at += 1;
        let negated = matches!(self.peek(), Some('!' | '^'));
        if negated {
            self.at += 1;
        }
        let mut ranges = Vec::new();
        loop {
            let from = match self.peek().ok_or_else(unclosed)? {
                // A `]` that comes first is a member, as in a shell.
                ']' if !ranges.is_empty() => break,
                _ => self.member().ok_or_else(unclosed)?,
            };
            let mut to = from;
            let follows = self.characters.get(self.at + 1);
            if self.peek() == Some('-') && follows.is_some_and(|next| *next != ']') {
                self.at += 1;
                to = self.member().ok_or_else(unclosed)?;
            }
            if from > to {
                let message = format!("the range `{from}-{to}` is the wrong way round");
                return Err(error(self.at - 1, message));
            }
            if from <= '/' && '/' <= to && (from == '/' || to == '/') {
                return Err(error(self.at - 1, "a set cannot match `/`: leave it out"));
            }
            ranges.push((u32::from(from), u32::from(to)));
        }
        self.at += 1; // the `]`
        Ok(Token::Set(Set { negated, ranges }))
    }

    fn member(&mut self) -> Option<char> {
        match self.next()? {
            '\\' => self.next(),
            other => Some(other),
        }
    }
}

/// Returns every sequence of `left` followed by every one of `right`, unless they are too many.
fn multiply(left: &[Vec<Placed>], right: &[Vec<Placed>]) -> Option<Vec<Vec<Placed>>> {
    let total = |sequences: &[Vec<Placed>]| sequences.iter().map(Vec::len).sum::<usize>();
    let tokens = total(left) * right.len() + total(right) * left.len();
    if left.len() * right.len() > MOST_ALTERNATIVES || tokens > MOST_TOKENS {
        return None;
    }
    let join = |(a, b): (&Vec<Placed>, &Vec<Placed>)| a.iter().chain(b).cloned().collect();
    let pairs = left.iter().flat_map(|a| right.iter().map(move |b| (a, b)));
    Some(pairs.map(join).collect())
}

/// Splits one alternative at its `/` and settles where it starts.
fn components(tokens: Vec<Placed>) -> Result<Vec<Component>, GlobError> {
    let slash = |(_, token): &Placed| *token == Token::Literal('/');
    let end = tokens.last().map_or(0, |(position, _)| *position);
    let mut parts: Vec<&[Placed]> = tokens.split(slash).collect();
    let anywhere = parts.len() == 1 || (parts.len() == 2 && parts[1].is_empty());
    let everything_below = parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty());
    if everything_below {
        parts.pop();
    }
    if parts.len() > 1 && parts[0].is_empty() {
        parts.remove(0);
    }
    let mut components = Vec::new();
    if anywhere {
        components.push(Component(None));
    }
    for part in parts {
        let Some((position, _)) = part.first() else {
            return Err(error(end, "a component is empty: write a single `/`"));
        };
        let mut component = component(part);
        if let Some([Token::Literal('.')] | [Token::Literal('.'), Token::Literal('.')]) =
            component.tokens()
        {
            let message = "`.` and `..` match nothing: paths are relative to their folder";
            return Err(error(*position, message));
        }
        // `**/**` is no more than `**`, and one of them is enough for the automaton.
        if component.is_directories() && components.last().is_some_and(Component::is_directories) {
            continue;
        }
        if let Component(Some(tokens)) = &mut component {
            tokens.dedup_by(|a, b| (&*a, &*b) == (&Token::Star, &Token::Star));
        }
        components.push(component);
    }
    if everything_below && !components.last().is_some_and(Component::is_directories) {
        components.push(Component(None));
    }
    Ok(components)
}

fn component(part: &[Placed]) -> Component {
    if let [(_, Token::Star), (_, Token::Star)] = part {
        return Component(None);
    }
    Component(Some(part.iter().map(|(_, token)| token.clone()).collect()))
}

fn error(at: usize, message: impl Into<String>) -> GlobError {
    GlobError {
        position: at + 1,
        message: message.into(),
    }
}
