//! The **tail** of a command's output: its last bytes, whatever it floods us with. Pure.

/// Longest error that is kept of a command, in characters.
const LONGEST_ERROR: usize = 500;

/// Keeps the last bytes of a stream in a fixed amount of memory.
#[derive(Debug)]
pub(crate) struct Tail {
    most: usize,
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    /// Keeps at most `most` bytes.
    pub(crate) fn new(most: usize) -> Tail {
        Tail {
            most,
            bytes: Vec::new(),
            cut: false,
        }
    }

    /// Takes in what came next.
    pub(crate) fn push(&mut self, more: &[u8]) {
        self.bytes
            .extend_from_slice(&more[more.len().saturating_sub(self.most)..]);
        if self.bytes.len() > self.most {
            self.bytes.drain(..self.bytes.len() - self.most);
            self.cut = true;
        }
        self.cut |= more.len() > self.most;
    }

    /// Returns the last line that says something, for people: no control characters, not too long.
    pub(crate) fn last_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        // A carriage return redraws a line (progress bars): what was drawn last counts.
        let mut lines = text.split(['\n', '\r']).map(clean);
        let line = lines.rfind(|line| !line.is_empty())?;
        Some(line.chars().take(LONGEST_ERROR).collect())
    }

    /// Returns all that was kept.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let start = if self.cut { "…" } else { "" };
        format!("{start}{}", text.trim_end())
    }
}

/// Drops terminal colours and other control characters.
fn clean(line: &str) -> String {
    let mut kept = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // ESC [ … letter
            let mut skipped = characters
                .by_ref()
                .skip_while(|next| !next.is_ascii_alphabetic());
            skipped.next();
        } else if !character.is_control() || character == '\t' {
            kept.push(character);
        }
    }
    kept.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn last_line(text: &[u8]) -> Option<String> {
        let mut tail = Tail::new(4096);
        tail.push(text);
        tail.last_line()
    }

    #[test]
    fn the_last_line_that_says_something_is_the_error() {
        assert_eq!(last_line(b"one\ntwo\n\n  \n").as_deref(), Some("two"));
        assert_eq!(
            last_line(b"10%\r20%\rbroken archive").as_deref(),
            Some("broken archive")
        );
        assert_eq!(
            last_line(b"\x1b[31mred\x1b[0m\x07\n").as_deref(),
            Some("red")
        );
        assert_eq!(
            last_line(b"bad \xff byte").as_deref(),
            Some("bad \u{fffd} byte")
        );
        assert_eq!(last_line(b"\n\x1b[0m\n"), None);
        assert_eq!(
            last_line(&[b'x'; 4000]).map(|line| line.len()),
            Some(LONGEST_ERROR)
        );
    }

    proptest! {
        #[test]
        fn it_keeps_the_end_in_bounded_memory(parts: Vec<Vec<u8>>, most in 1usize..64) {
            let mut tail = Tail::new(most);
            for part in &parts {
                tail.push(part);
                prop_assert!(tail.bytes.len() <= most);
            }
            let all = parts.concat();
            prop_assert_eq!(&tail.bytes, &all[all.len().saturating_sub(most)..]);
            prop_assert_eq!(tail.cut, all.len() > most);
        }
    }
}
