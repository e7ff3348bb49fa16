//! The **router**: events and metrics are answered here, everything else by [`Routes`]; methods
//! are treated alike for all of them.
//!
//! HEAD is GET without its body. OPTIONS is 204 with the `Allow` that a wrong method would be
//! told. A panic costs the request that it happened in.
//!
//! [`Routes`]: super::request::Routes

use super::api::events;
use super::head::Version;
use super::request::{ApiError, Request, Response};
use super::server::Shared;
use crate::events::Joining;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// How a request is answered.
pub(super) enum Answer {
    Whole(Response),
    /// The connection becomes a stream of events.
    Stream(Joining),
    /// The head of a stream, without the stream.
    StreamHead,
}

pub(super) fn answer(request: &Request, is_head: bool, shared: &Arc<Shared>) -> Answer {
    let answered = catch_unwind(AssertUnwindSafe(|| route(request, is_head, shared)));
    answered.unwrap_or_else(|_| {
        // The panic hook has logged what and where; this says for which request.
        shared.figures.panics.increment();
        log::error!(
            "answering a request panicked method={:?} path={:?}",
            request.method,
            request.path
        );
        let message = "something went wrong here; the log has the details";
        Answer::Whole(ApiError::new(500, "internal", message).into())
    })
}

fn route(request: &Request, is_head: bool, shared: &Arc<Shared>) -> Answer {
    let events = &shared.parts.events;
    let folders = &*shared.parts.folders;
    let get = |answer: &dyn Fn() -> Result<Answer, ApiError>| match request.method.as_str() {
        "GET" => answer().unwrap_or_else(|error| Answer::Whole(error.into())),
        _ => Answer::Whole(wrong_method("GET, HEAD, OPTIONS")),
    };
    let answer = match request.path.as_str() {
        "/api/events/stream" => get(&|| {
            let joining = events::joining(request, folders)?;
            Ok(match is_head {
                true => Answer::StreamHead,
                false => Answer::Stream(joining),
            })
        }),
        "/api/events" => get(&|| Ok(Answer::Whole(events::poll(request, events, folders)?))),
        "/api/events/stats" => get(&|| Ok(Answer::Whole(events::stats(events)))),
        "/metrics" => get(&|| Ok(Answer::Whole(metrics(shared)))),
        // What the server as a whole can be asked with (RFC 9110 section 9.3.7).
        "*" => Answer::Whole(wrong_method("GET, HEAD, POST, OPTIONS")),
        _ => Answer::Whole(shared.parts.routes.answer(request)),
    };
    match answer {
        Answer::Whole(response) => Answer::Whole(with_methods(request, response)),
        stream => stream,
    }
}

/// Completes the `Allow` of a 405, and makes of it the answer to OPTIONS.
fn with_methods(request: &Request, mut response: Response) -> Response {
    if response.status != 405 {
        return response;
    }
    let mut allowed: Vec<String> = Vec::new();
    response.headers.retain(|(name, value)| {
        let is_allow = name.eq_ignore_ascii_case("allow");
        if is_allow {
            allowed.extend(value.split(',').map(|method| method.trim().to_owned()));
        }
        !is_allow
    });
    if allowed.is_empty() {
        allowed.push("GET".to_owned());
    }
    let get = allowed.iter().position(|method| method == "GET");
    if let Some(get) = get
        && !allowed.iter().any(|method| method == "HEAD")
    {
        allowed.insert(get + 1, "HEAD".to_owned());
    }
    if !allowed.iter().any(|method| method == "OPTIONS") {
        allowed.push("OPTIONS".to_owned());
    }
    let allowed = allowed.join(", ");
    if request.method == "OPTIONS" {
        let nothing = Response {
            status: 204,
            headers: Vec::new(),
            body: (&[][..]).into(),
        };
        return nothing.with("Allow", allowed);
    }
    response.with("Allow", allowed)
}

fn wrong_method(allowed: &str) -> Response {
    let message = format!("this can be asked with {allowed}");
    Response::from(ApiError::new(405, "method_not_allowed", message)).with("Allow", allowed)
}

fn metrics(shared: &Shared) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8".to_owned();
    Response {
        status: 200,
        headers: vec![
            ("Content-Type", kind),
            ("Cache-Control", "no-cache".to_owned()),
        ],
        body: shared.parts.metrics.render().into_bytes().into(),
    }
}

/// Returns an answer as it goes over the wire.
pub(super) fn written(
    response: Response,
    version: Version,
    is_head: bool,
    keep_alive: bool,
) -> Vec<u8> {
    let mut headers = Vec::with_capacity(response.headers.len() + 3);
    let mut add = |name: &str, value: &str| {
        // A control character would begin a header of its own.
        let header = match value.bytes().any(|byte| byte.is_ascii_control()) {
            true => Err(()),
            false => tiny_http::Header::from_bytes(name, value),
        };
        match header {
            Ok(header) => headers.push(header),
            Err(()) => log::error!("left out a header that is not ASCII {name:?}: {value:?}"),
        }
    };
    add("Server", "shelfcast");
    add("X-Content-Type-Options", "nosniff");
    for (name, value) in &response.headers {
        if !name.eq_ignore_ascii_case("x-content-type-options") {
            add(name, value);
        }
    }
    let length = response.body.len();
    let mut bytes = Vec::with_capacity(length + 512);
    tiny_http::Response::new(
        tiny_http::StatusCode(response.status),
        headers,
        &*response.body,
        Some(length),
        None,
    )
    .with_chunked_threshold(usize::MAX)
    .raw_print(
        &mut bytes,
        match version {
            Version::Http10 => tiny_http::HTTPVersion(1, 0),
            Version::Http11 => tiny_http::HTTPVersion(1, 1),
        },
        &[],
        is_head,
        None,
    )
    .expect("writing to memory does not fail");
    // tiny_http keeps this header to itself and leaves it out. The head's closing empty line is
    // the last before the body, of which a HEAD has none.
    let connection = match (keep_alive, version) {
        (false, _) => "Connection: close\r\n",
        (true, Version::Http10) => "Connection: keep-alive\r\n",
        (true, Version::Http11) => "",
    };
    let body_length = if is_head { 0 } else { length };
    let end = bytes.len().saturating_sub(body_length + 2);
    bytes.splice(end..end, connection.bytes());
    if matches!(response.status, 204 | 304) {
        remove_length(&mut bytes);
    }
    bytes
}

/// tiny_http gives every answer a length, also those that must have none (RFC 9110 section 8.6).
fn remove_length(bytes: &mut Vec<u8>) {
    let line = b"\r\nContent-Length: ";
    let Some(start) = bytes.windows(line.len()).position(|part| part == line) else {
        return;
    };
    let rest = bytes.get(start + 2..).unwrap_or_default();
    if let Some(length) = rest.windows(2).position(|part| part == b"\r\n") {
        bytes.drain(start..start + 2 + length);
    }
}
