//! The **body** of a request: read whole, within its bounds of size and time.

use super::head::Body;
use super::request::ApiError;
use super::server::Shared;
use super::socket::Connection;
use std::io::ErrorKind;
use std::time::Instant;

/// A body may have this much (contract section 7).
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// The line before a chunk, with its extensions, or a trailer; nobody here reads either.
const MAX_LINE_BYTES: usize = 1024;
/// Trailers behind the last chunk.
const MAX_TRAILERS: usize = 16;
/// What is read of the chunks at once.
const AHEAD_BYTES: usize = 16 * 1024;
/// For a client that asks before it sends a body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Reads the body of which the head told `body` and `expect`; what follows it stays unread.
///
/// # Errors
/// The answer to a body that is too large, too slow, cut off or malformed.
pub(super) fn read_body(
    connection: &mut Connection,
    body: Body,
    expect: Option<&str>,
    shared: &Shared,
) -> Result<Vec<u8>, ApiError> {
    let wanted = match body {
        Body::Bytes(declared) => usize::try_from(declared).unwrap_or(usize::MAX),
        Body::Chunked => 1,
    };
    if wanted > MAX_BODY_BYTES {
        return Err(too_large());
    }
    match expect {
        None => {}
        Some(word) if word.eq_ignore_ascii_case("100-continue") => {
            let missing = connection.unread.len() < wanted;
            let go_on: &[u8] = if missing { CONTINUE } else { b"" };
            connection
                .write_all(go_on, shared.settings.write_timeout)
                .map_err(|_| gone())?;
        }
        Some(_) => {
            let message = "only 100-continue can be expected";
            return Err(ApiError::new(417, "expectation_failed", message));
        }
    }
    let deadline = Instant::now() + shared.settings.body_timeout;
    if body == Body::Chunked {
        let mut chunks = Chunks::default();
        while !chunks.take(&mut connection.unread)? {
            more(connection, AHEAD_BYTES, deadline, shared)?;
        }
        return Ok(chunks.into_body());
    }
    while connection.unread.len() < wanted {
        more(connection, wanted, deadline, shared)?;
    }
    let rest = connection.unread.split_off(wanted);
    Ok(std::mem::replace(&mut connection.unread, rest))
}

fn more(
    connection: &mut Connection,
    limit: usize,
    deadline: Instant,
    shared: &Shared,
) -> Result<(), ApiError> {
    match connection.fill_by(limit, deadline) {
        Ok(1..) => Ok(()),
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            shared.figures.timed_out.increment();
            let message = "the request body did not come in time";
            Err(ApiError::new(408, "too_slow", message))
        }
        Ok(0) | Err(_) => Err(gone()),
    }
}

/// A body that comes in chunks (RFC 9112 section 7.1), as far as it has come. As strict as the
/// head: what two readers could take for two different bodies is refused.
#[derive(Debug, Default)]
pub struct Chunks {
    body: Vec<u8>,
    next: Next,
    trailers: usize,
}

#[derive(Clone, Copy, Debug, Default)]
enum Next {
    #[default]
    Size,
    Data(usize),
    EndOfData,
    Trailer,
}

impl Chunks {
    /// Takes what is complete off `unread`, of which less than a line is left then; tells whether
    /// the body has ended.
    ///
    /// # Errors
    /// The answer to chunks that are malformed or too large.
    pub fn take(&mut self, unread: &mut Vec<u8>) -> Result<bool, ApiError> {
        let mut at = 0;
        let ended = loop {
            let rest = &unread[at..];
            if let Next::Data(left) = self.next {
                let here = left.min(rest.len());
                self.body.extend_from_slice(&rest[..here]);
                at += here;
                if here < left {
                    self.next = Next::Data(left - here);
                    break false;
                }
                self.next = Next::EndOfData;
                continue;
            }
            let Some(line) = line(rest)? else {
                break false;
            };
            at += line.len() + 2;
            match self.next {
                Next::Size => self.next = self.after_size(size(line)?)?,
                Next::EndOfData if line.is_empty() => self.next = Next::Size,
                Next::Trailer if line.is_empty() => break true,
                Next::Trailer if self.trailers < MAX_TRAILERS => self.trailers += 1,
                _ => return Err(malformed()),
            }
        };
        unread.drain(..at);
        Ok(ended)
    }

    /// Returns the body as far as it has come.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    fn after_size(&self, size: usize) -> Result<Next, ApiError> {
        match size {
            0 => Ok(Next::Trailer),
            _ if size > MAX_BODY_BYTES - self.body.len() => Err(too_large()),
            _ => Ok(Next::Data(size)),
        }
    }
}

/// Returns the first line without its end, if that is there.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, ApiError> {
    let end = bytes.windows(2).position(|two| two == b"\r\n");
    match end {
        Some(end) if end <= MAX_LINE_BYTES => Ok(bytes.get(..end)),
        // Half of its end may be there.
        None if bytes.len() <= MAX_LINE_BYTES + 1 => Ok(None),
        _ => Err(malformed()),
    }
}

/// Reads the length of a chunk, in hexadecimal, and leaves its extensions aside.
fn size(line: &[u8]) -> Result<usize, ApiError> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits = digits.trim_ascii_end();
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(malformed()); // a sign, for one, which parsing would take
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| usize::from_str_radix(digits, 16).ok())
        .ok_or_else(malformed)
}

fn too_large() -> ApiError {
    ApiError::new(413, "body_too_large", "a request body may have 1 MiB")
}

fn malformed() -> ApiError {
    ApiError::new(400, "bad_request", "the chunks of the body are malformed")
}

/// Nobody will read this.
fn gone() -> ApiError {
    ApiError::new(400, "bad_request", "the connection ended within the body")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` in pieces of `piece` bytes; returns the body and what follows it.
    fn read(text: &str, piece: usize) -> Result<Option<(String, String)>, u16> {
        let mut chunks = Chunks::default();
        let mut unread = Vec::new();
        let mut pieces = text.as_bytes().chunks(piece);
        while let Some(piece) = pieces.next() {
            unread.extend_from_slice(piece);
            if chunks.take(&mut unread).map_err(|error| error.status)? {
                unread.extend(pieces.flatten());
                let text = |bytes| String::from_utf8(bytes).unwrap();
                return Ok(Some((text(chunks.body), text(unread))));
            }
        }
        Ok(None)
    }

    #[test]
    fn chunks_are_joined_however_they_arrive() {
        let text = "3\r\nabc\r\n0A ;x=\"y\"\r\n\r\n34567\r\n9\r\n0\r\nTrailer: x\r\n\r\nGET /";
        for piece in [1, 2, 3, 7, 1000] {
            let (body, rest) = read(text, piece).unwrap().unwrap();
            assert_eq!(
                (body.as_str(), rest.as_str()),
                ("abc\r\n34567\r\n9", "GET /")
            );
        }
        assert_eq!(
            read("0\r\n\r\n", 1),
            Ok(Some((String::new(), String::new())))
        );
        assert_eq!(
            read("3\r\nabc\r\n0\r\n", 1),
            Ok(None),
            "the empty line is missing"
        );
    }

    #[test]
    fn the_longest_line_is_taken_however_it_arrives() {
        let line = |bytes| format!("0;{}\r\n\r\n", "x".repeat(bytes - 2));
        for piece in [1, MAX_LINE_BYTES + 1, 4096] {
            let taken = read(&line(MAX_LINE_BYTES), piece);
            assert_eq!(taken, Ok(Some(Default::default())), "{piece}");
            assert_eq!(read(&line(MAX_LINE_BYTES + 1), piece), Err(400), "{piece}");
        }
    }

    #[test]
    fn what_is_doubtful_is_refused() {
        let long = "1".repeat(MAX_LINE_BYTES + 2);
        let trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(MAX_TRAILERS + 1));
        for (text, status) in [
            ("\r\n", 400),
            ("x\r\n", 400),
            ("-1\r\n", 400),
            ("+1\r\na\r\n", 400),
            ("0x1\r\na\r\n", 400),
            (" 1\r\na\r\n", 400),
            ("1\r\nab\r\n", 400),
            ("ffffffffffffffffff\r\n", 400),
            (long.as_str(), 400),
            (trailers.as_str(), 400),
            ("100001\r\n", 413),
            ("ffffffffffffffff\r\n", 413),
            ("1\r\na\r\n100000\r\n", 413),
        ] {
            assert_eq!(read(text, 5), Err(status), "{text:?}");
        }
    }
}
