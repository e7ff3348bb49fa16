//! What the service says of itself.

use std::time::Duration;

use crate::events::types::WatchState;
use crate::http::request::Response;
use crate::library::Library;
use serde::Serialize;

/// A library that answers later than this is not well.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct VersionAnswer {
    version: &'static str,
    commit: Option<&'static str>,
    target: Option<&'static str>,
}

#[derive(Serialize)]
struct HealthAnswer {
    status: &'static str,
    /// What is wrong; also what does not make the service unhealthy.
    reasons: Vec<String>,
}

/// Answers `GET /api/version`.
#[must_use]
pub fn version() -> Response {
    let answer = VersionAnswer {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("SHELFCAST_COMMIT"),
        target: option_env!("SHELFCAST_TARGET"),
    };
    Response::json(200, &answer)
}

/// Answers `GET /health`: 503 where the owner must act for the library to be served again; folders
/// that are merely polled are a reason, but no failure.
#[must_use]
pub fn health(library: &Library) -> Response {
    let mut reasons = Vec::new();
    let mut healthy = true;
    if !library.is_alive(ANSWERS_WITHIN) {
        healthy = false;
        reasons.push("the library does not answer".to_owned());
    }
    if let Some(failure) = library.storage_failure() {
        healthy = false;
        reasons.push(failure);
    }
    let status = library.watcher_status();
    if !status.running {
        reasons.push("changes are not told by the kernel, everything is polled".to_owned());
    }
    for folder in status.folders {
        healthy &= folder.state != WatchState::Offline;
        reasons.extend(folder.message);
    }
    let status = if healthy { "ok" } else { "failing" };
    Response::json(
        if healthy { 200 } else { 503 },
        &HealthAnswer { status, reasons },
    )
}

/// Answers `GET /openapi.json`.
#[must_use]
pub fn openapi() -> Response {
    Response {
        status: 200,
        headers: vec![
            ("Content-Type", "application/json; charset=utf-8".to_owned()),
            ("Cache-Control", "no-cache".to_owned()),
        ],
        body: include_bytes!("../openapi.json").as_slice().into(),
    }
}
