//! A **request** and its answer, independent of tiny_http, so that routes are plain functions.

use std::net::IpAddr;

/// One request, its head checked and its body read.
#[derive(Debug)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Percent-decoded path without the query, starting with `/`.
    pub path: String,
    /// Decoded query parameters in order.
    pub query: Vec<(String, String)>,
    /// Header names in lower case and their values.
    pub headers: Vec<(String, String)>,
    /// At most 1 MiB.
    pub body: Vec<u8>,
    /// Where it came from.
    pub peer: IpAddr,
}

impl Request {
    /// Returns the first header called `name` (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name)?;
        Some(&found.1)
    }

    /// Returns the first query parameter called `name`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name)?;
        Some(&found.1)
    }

    /// Tells whether the client has what `tag` names already: `If-None-Match` holds it (a proxy may
    /// have made it a weak one), or stands for whatever there is (RFC 9110 section 13.1.2).
    #[must_use]
    pub fn has(&self, tag: &str) -> bool {
        let tags = self.header("if-none-match").unwrap_or_default();
        let mut tags = tags.split(',').map(str::trim);
        tags.any(|other| other == "*" || other.trim_start_matches("W/") == tag)
    }
}

/// An answer that is complete; streams are written by `sse`.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Names and values; `Content-Length` is added when it is written.
    pub headers: Vec<(&'static str, String)>,
    /// The body, maybe shared with the embedded page.
    pub body: std::borrow::Cow<'static, [u8]>,
}

impl Response {
    /// Returns a JSON answer that no cache keeps.
    ///
    /// # Panics
    /// Never for the types of this crate: they have string keys and no failing serialisers.
    pub fn json(status: u16, value: &impl serde::Serialize) -> Response {
        let body = serde_json::to_vec(value).expect("our types serialise");
        Response {
            status,
            headers: vec![
                ("Content-Type", "application/json; charset=utf-8".to_owned()),
                ("Cache-Control", "no-cache".to_owned()),
            ],
            body: body.into(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Response {
        self.headers.push((name, value.into()));
        self
    }
}

/// An error as the outside sees it: `{"error":{"code":…,"message":…}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// Status code.
    pub status: u16,
    /// A word for scripts.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl ApiError {
    /// Returns an error for `status` with a `code` for scripts and a `message` for people.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            status,
            code,
            message: message.into(),
        }
    }
}

impl From<ApiError> for Response {
    fn from(error: ApiError) -> Response {
        let body = serde_json::json!({"error": {"code": error.code, "message": error.message}});
        let response = Response::json(error.status, &body);
        match error.status {
            // A 401 has to say how to sign in (RFC 9110 section 11.6.1).
            401 => response.with("WWW-Authenticate", "Bearer"),
            _ => response,
        }
    }
}

/// Whoever answers requests that are not event streams.
pub trait Routes: Send + Sync + 'static {
    /// Answers one request; may wait, but only for what that request asked for.
    fn answer(&self, request: &Request) -> Response;
}

/// Whoever decides which requests are let in.
pub trait Gate: Send + Sync + 'static {
    /// Looks at the head of a request (its body is not read yet).
    ///
    /// # Errors
    /// The refusal to send in place of an answer.
    fn admit(&self, request: &Request) -> Result<(), ApiError>;
}
