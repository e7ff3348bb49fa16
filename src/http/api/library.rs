//! What there is to ask and to order about the library as a whole.

use std::time::{Duration, UNIX_EPOCH};

use super::json_body;
use crate::http::request::{ApiError, Request, Response};
use crate::library::Library;
use crate::process;
use crate::processing::Processing;
use serde::{Deserialize, Serialize};

/// `/api/sync` gives up after this long.
const SYNC: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct StatsAnswer {
    version: u64,
    files: u64,
    directories: u64,
    bytes: u64,
    last_crawl: Option<CrawlAnswer>,
    crawling: bool,
    /// By the whole process since its start; null where the kernel does not count.
    bytes_written: Option<u64>,
}

#[derive(Serialize)]
struct CrawlAnswer {
    started: f64,
    duration_s: f64,
    files: u64,
}

#[derive(Serialize)]
struct SyncAnswer {
    version: u64,
    last_event_id: String,
}

#[derive(Serialize)]
struct Done {
    status: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    enabled: bool,
}

/// Answers `GET /api/cache/stats`.
#[must_use]
pub fn stats(library: &Library) -> Response {
    let stats = library.stats();
    let last_crawl = stats.last_crawl.map(|crawl| CrawlAnswer {
        started: crawl
            .started
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64()),
        duration_s: crawl.took.as_secs_f64(),
        files: crawl.files,
    });
    let answer = StatsAnswer {
        version: stats.version,
        files: stats.files,
        directories: stats.directories,
        bytes: stats.bytes,
        last_crawl,
        crawling: stats.crawling,
        bytes_written: process::usage().written_bytes,
    };
    Response::json(200, &answer)
}

/// Answers `POST /api/cache/rebuild`.
#[must_use]
pub fn rebuild(library: &Library) -> Response {
    library.rebuild();
    Response::json(202, &Done { status: "started" })
}

/// Answers `GET /api/sync`.
///
/// # Errors
/// Not everything was in after 30 s (503).
pub fn sync(library: &Library) -> Result<Response, ApiError> {
    let Some((version, last_event_id)) = library.sync(SYNC) else {
        let message = "the library is still reading; ask again later";
        return Err(ApiError::new(503, "not_in_sync", message));
    };
    let answer = SyncAnswer {
        version,
        last_event_id,
    };
    Ok(Response::json(200, &answer))
}

/// Answers `GET /api/watcher/status`.
#[must_use]
pub fn watcher(library: &Library) -> Response {
    Response::json(200, &library.watcher_status())
}

/// Answers `POST /api/watcher`: the library keeps the switch and tells of it, processing obeys it.
///
/// # Errors
/// The body is not `{"enabled":bool}` (400).
pub fn switch(
    library: &Library,
    processing: &Processing,
    request: &Request,
) -> Result<Response, ApiError> {
    let Switch { enabled } = json_body(request)?;
    library.set_enabled(enabled);
    processing.set_automatic(enabled);
    Ok(Response::json(200, &library.watcher_status()))
}

/// Answers `POST /api/folders/NAME/accept`.
///
/// # Errors
/// There is no such folder (404).
pub fn accept(library: &Library, name: &str) -> Result<Response, ApiError> {
    if library.accept(name) {
        Ok(Response::json(202, &Done { status: "accepted" }))
    } else {
        Err(ApiError::new(
            404,
            "not_found",
            format!("there is no folder {name:?}"),
        ))
    }
}
