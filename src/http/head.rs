//! The **head** of a request: request line and headers, bytes in, checked values out.
//!
//! Strict where laxness has made holes elsewhere (RFC 9112 section 11): one length, one host, no
//! folded lines, no spaces before a colon, no bare control characters.

use super::request::ApiError;

/// Request line and headers together (contract section 7).
pub(super) const MAX_BYTES: usize = 16 * 1024;
/// More than any client sends; each costs two allocations.
const MAX_HEADERS: usize = 100;

/// A parsed head.
#[derive(Debug)]
pub struct Head {
    /// `GET`, `POST`, …, as it was sent.
    pub method: String,
    /// Decoded, without the query.
    pub path: String,
    /// Decoded parameters in order.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// What the client speaks.
    pub version: Version,
    /// How long the body is.
    pub body: Body,
}

/// How long the body is, as the head tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// This many bytes; 0 where nothing is said.
    Bytes(u64),
    /// It comes in chunks, each with its length.
    Chunked,
}

impl Body {
    /// The length of no body at all.
    pub(super) const NONE: Body = Body::Bytes(0);
}

/// The versions of HTTP that are spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Head {
    /// Returns the first header called `name` (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name)?;
        Some(&found.1)
    }

    /// Tells whether the client wants to send another request on this connection.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        let connection = self.header("connection").unwrap_or("").to_ascii_lowercase();
        let mut words = connection.split(',').map(str::trim);
        match self.version {
            Version::Http11 => words.all(|word| word != "close"),
            Version::Http10 => words.any(|word| word == "keep-alive"),
        }
    }
}

/// Returns the length of the head, its closing empty line included, if all of it is there; the
/// first `searched` bytes were searched before.
#[must_use]
pub fn end(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    let mut fours = bytes.get(from..)?.windows(4);
    let end = from + fours.position(|four| four == b"\r\n\r\n")? + 4;
    (end <= MAX_BYTES).then_some(end)
}

/// Parses a head up to and with its closing empty line.
///
/// # Errors
/// The answer to send in place of one.
pub fn parse(bytes: &[u8]) -> Result<Head, ApiError> {
    let text = bytes
        .strip_suffix(b"\r\n\r\n")
        .ok_or_else(|| bad("the request head has no end"))?;
    // An empty line before the request line is a leftover of an older client's body.
    let text = text.strip_prefix(b"\r\n").unwrap_or(text);
    let mut lines = text.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let first = first.strip_suffix(b"\r").unwrap_or(first);
    let (method, target, version) = request_line(first)?;
    let mut headers = Vec::new();
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if headers.len() == MAX_HEADERS {
            return Err(too_large());
        }
        headers.push(header_line(line)?);
    }
    let hosts = count(&headers, "host");
    if hosts > 1 || (hosts == 0 && version == Version::Http11) {
        return Err(bad("exactly one Host header is needed"));
    }
    if let Some(authority) = authority(&target) {
        // It counts, whatever the header says (RFC 9112 section 3.2.2).
        headers.retain(|(name, _)| name != "host");
        headers.push(("host".to_owned(), authority.to_owned()));
    }
    let (path, query) = target_parts(&target)?;
    let mut head = Head {
        method,
        path,
        query,
        headers,
        version,
        body: Body::NONE,
    };
    head.body = body(&head)?;
    Ok(head)
}

/// The answer to a head that is too large.
pub(super) fn too_large() -> ApiError {
    ApiError::new(
        431,
        "headers_too_large",
        "request line and headers may have 16 KiB and 100 lines",
    )
}

fn request_line(line: &[u8]) -> Result<(String, String, Version), ApiError> {
    let line = std::str::from_utf8(line).map_err(|_| bad("the request line is not UTF-8"))?;
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad("the request line is not method, target and version"));
    };
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err(bad("the method is not a word"));
    }
    if target.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(bad("the target has control characters"));
    }
    let version = match version {
        "HTTP/1.1" => Version::Http11,
        "HTTP/1.0" => Version::Http10,
        _ if version.starts_with("HTTP/") => {
            let message = "only HTTP/1.0 and HTTP/1.1 are spoken here";
            return Err(ApiError::new(505, "http_version", message));
        }
        _ => return Err(bad("the request line has no HTTP version")),
    };
    Ok((method.to_owned(), target.to_owned(), version))
}

fn header_line(line: &[u8]) -> Result<(String, String), ApiError> {
    let colon = line.iter().position(|byte| *byte == b':');
    let colon = colon.ok_or_else(|| bad("a header line has no colon"))?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return Err(bad("a header name is not a word"));
    }
    let forbidden = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    if value.iter().any(forbidden) {
        return Err(bad("a header value has control characters"));
    }
    Ok((
        String::from_utf8_lossy(name).to_ascii_lowercase(),
        String::from_utf8_lossy(value).into_owned(),
    ))
}

/// Returns the host and port of a target that is a whole URL, as for a proxy.
fn authority(target: &str) -> Option<&str> {
    let rest = without_scheme(target)?;
    Some(&rest[..authority_length(rest)])
}

fn authority_length(after_scheme: &str) -> usize {
    let end = after_scheme.find(['/', '?', '#']);
    end.unwrap_or(after_scheme.len())
}

fn without_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_at_checked("http://".len())?;
    scheme.eq_ignore_ascii_case("http://").then_some(rest)
}

fn target_parts(target: &str) -> Result<(String, Vec<(String, String)>), ApiError> {
    // A client that takes us for a proxy sends the whole URL, which may have an empty path.
    let (target, no_path) = match without_scheme(target) {
        Some(rest) => (&rest[authority_length(rest)..], "/"),
        None => (target, ""),
    };
    let target = target.split('#').next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = if path.is_empty() { no_path } else { path };
    if !path.starts_with('/') && path != "*" {
        return Err(bad("the target is not a path"));
    }
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let query = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name, Plus::IsSpace)?, decode(value, Plus::IsSpace)?))
        })
        .collect::<Result<_, ApiError>>()?;
    Ok((decode(path, Plus::IsPlus)?, query))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    IsPlus,
    IsSpace,
}

fn decode(text: &str, plus: Plus) -> Result<String, ApiError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = (rest.next().and_then(digit), rest.next().and_then(digit));
                let (Some(high), Some(low)) = digits else {
                    return Err(bad("a % in the target is not followed by two hex digits"));
                };
                high * 16 + low
            }
            b'+' if plus == Plus::IsSpace => b' ',
            _ => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| bad("the target is not UTF-8 once decoded"))
}

fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

fn body(head: &Head) -> Result<Body, ApiError> {
    let of_name = |wanted: &'static str| {
        let headers = head.headers.iter();
        headers
            .filter(move |(name, _)| name == wanted)
            .map(|(_, value)| value)
    };
    let mut lengths = of_name("content-length");
    let length = lengths.next();
    let mut codings = of_name("transfer-encoding");
    if let Some(coding) = codings.next() {
        // Whoever reads the one and whoever reads the other would see different requests.
        if length.is_some() || codings.next().is_some() || head.version == Version::Http10 {
            return Err(bad(
                "Transfer-Encoding goes with HTTP/1.1 and without Content-Length",
            ));
        }
        if !coding.eq_ignore_ascii_case("chunked") {
            let message = "of transfer codings only chunked is understood";
            return Err(ApiError::new(501, "transfer_coding", message));
        }
        return Ok(Body::Chunked);
    }
    let Some(length) = length else {
        return Ok(Body::NONE);
    };
    if lengths.next().is_some() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad("Content-Length is not one number"));
    }
    length
        .parse()
        .map(Body::Bytes)
        .map_err(|_| bad("Content-Length is not one number"))
}

fn count(headers: &[(String, String)], name: &str) -> usize {
    headers.iter().filter(|(key, _)| key == name).count()
}

/// Tells whether a head can begin with `byte`: with a method, or the end of a body before it.
pub(super) fn begins(byte: u8) -> bool {
    is_token(byte) || matches!(byte, b'\r' | b'\n')
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn bad(message: &str) -> ApiError {
    ApiError::new(400, "bad_request", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Head, u16> {
        parse(text.as_bytes()).map_err(|error| error.status)
    }

    #[test]
    fn path_and_query_are_decoded() {
        let head = parsed(
            "GET /a%20b+c/%E2%82%AC?x=1+2&y=%26&z&=&x=3#f HTTP/1.1\r\nHost: a\r\nX-Y:  v \r\n\r\n",
        )
        .unwrap();
        assert_eq!(head.path, "/a b+c/€");
        let pairs: Vec<_> = head
            .query
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [("x", "1 2"), ("y", "&"), ("z", ""), ("", ""), ("x", "3")]
        );
        assert_eq!(head.header("x-y"), Some("v"));
        assert!(head.keeps_alive());
    }

    #[test]
    fn a_target_that_is_a_whole_url_names_the_host() {
        let head = parsed("GET http://evil:80/a?b=c HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert_eq!(
            (head.path.as_str(), head.header("host")),
            ("/a", Some("evil:80"))
        );
        let head = parsed("GET HTTP://nas HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(
            (head.path.as_str(), head.header("host")),
            ("/", Some("nas"))
        );
        let head = parsed("GET http://nas?a=/b HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(
            (head.path.as_str(), head.header("host")),
            ("/", Some("nas"))
        );
        assert_eq!(head.query, [("a".to_owned(), "/b".to_owned())]);
    }

    #[test]
    fn what_is_doubtful_is_refused() {
        for (head, status) in [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /\r\nHost: a\r\n\r\n", 400),
            ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /%e2 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /?a=% HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                400,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
                400,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                501,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
                400,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                400,
            ),
            (
                "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                400,
            ),
        ] {
            assert_eq!(parsed(head).map(|head| head.path), Err(status), "{head:?}");
        }
    }

    #[test]
    fn old_clients_close_unless_they_say_otherwise() {
        let keeps = |head: &str| parsed(head).unwrap().keeps_alive();
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
        assert!(!keeps(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut head = bytes.clone();
            head.extend_from_slice(b"\r\n\r\n");
            drop(parse(&head));
            let mut head = b"GET /?".to_vec();
            head.extend(bytes);
            head.extend_from_slice(b" HTTP/1.1\r\nHost: a\r\n\r\n");
            drop(parse(&head));
        }
    }
}
