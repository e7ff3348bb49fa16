//! Whole **lines**: pieces in, one write a line out.

use std::fmt::{Arguments, Write as _};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Collects what simplelog writes in pieces, and hands on complete lines.
pub(super) struct Lines<W> {
    prefix: &'static str,
    line: Vec<u8>,
    place: W,
    lost: Arc<AtomicU64>,
}

impl<W: Write> Lines<W> {
    /// Returns a writer to `place` that starts each line with `prefix` and counts what is `lost`.
    pub(super) fn new(prefix: &'static str, place: W, lost: Arc<AtomicU64>) -> Lines<W> {
        Lines {
            prefix,
            line: Vec::new(),
            place,
            lost,
        }
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.line.is_empty() {
            self.line.extend_from_slice(self.prefix.as_bytes());
        }
        self.line.extend_from_slice(piece);
        if self.line.ends_with(b"\n") {
            if self.place.write_all(&self.line).is_err() {
                // Nowhere is left to say so; the count is a figure.
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            self.line.clear();
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.place.flush()
    }
}

/// Formats a message with its control characters escaped: one fact is one line, and no name from
/// disk or network can forge a line or a priority, or speak to the terminal.
pub(super) fn one_line(message: &Arguments<'_>) -> String {
    struct Escaped(String);
    impl std::fmt::Write for Escaped {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            for character in text.chars() {
                match character {
                    _ if character.is_control() => self.0.extend(character.escape_default()),
                    _ => self.0.push(character),
                }
            }
            Ok(())
        }
    }
    let mut escaped = Escaped(String::new());
    if escaped.write_fmt(*message).is_err() {
        // Only a `Display` of ours that is broken fails; what it wrote is kept.
        escaped.0.push_str(" (the rest cannot be shown)");
    }
    escaped.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Records each write of its own.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl Write for &mut Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_write() {
        let mut writes = Writes::default();
        let mut lines = Lines::new("<4>", &mut writes, Arc::default());
        for piece in ["(watch) ", "text", "\n", "next\n"] {
            lines.write_all(piece.as_bytes()).unwrap();
        }
        assert_eq!(
            writes.0,
            [b"<4>(watch) text\n".to_vec(), b"<4>next\n".to_vec()]
        );
    }

    #[test]
    fn a_line_that_cannot_be_written_is_counted() {
        let lost = Arc::<AtomicU64>::default();
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut lines = Lines::new("", full, Arc::clone(&lost));
        lines.write_all(b"a\nb\n").unwrap();
        lines.write_all(b"c\n").unwrap();
        assert_eq!(lost.load(Ordering::Relaxed), 2);
    }

    proptest! {
        #[test]
        fn a_message_is_one_line(text in ".*|[\\x00-\\x20a\\x7f-\\xa0]{0,20}") {
            let line = one_line(&format_args!("name={text}"));
            prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            if !text.chars().any(char::is_control) {
                prop_assert_eq!(line, format!("name={text}"));
            }
        }
    }
}
