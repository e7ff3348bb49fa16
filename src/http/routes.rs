//! Which call answers which path: the one `match`.

use std::sync::Arc;

use super::api::{files, history, jobs, library};
use super::request::{ApiError, Request, Response, Routes};
use crate::library::{EntryId, Library};
use crate::processing::Processing;

/// The routes that are not about events.
pub struct ApiRoutes {
    library: Arc<Library>,
    processing: Arc<Processing>,
}

impl std::fmt::Debug for ApiRoutes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiRoutes").finish_non_exhaustive()
    }
}

impl ApiRoutes {
    /// Returns routes that ask `library` and `processing`.
    #[must_use]
    pub fn new(library: Arc<Library>, processing: Arc<Processing>) -> ApiRoutes {
        ApiRoutes {
            library,
            processing,
        }
    }

    /// The library keeps the switch and tells of it, processing obeys it.
    fn switch(&self, request: &Request) -> Result<Response, ApiError> {
        let (enabled, response) = library::switch(&self.library, request)?;
        self.processing.set_automatic(enabled);
        Ok(response)
    }

    fn route(&self, request: &Request) -> Result<Response, ApiError> {
        let library = &*self.library;
        let processing = &*self.processing;
        let path = request.path.trim_start_matches('/');
        let parts: Vec<&str> = path.split('/').collect();
        // HEAD is answered as GET, and its body left out by the server.
        let method = if request.method == "HEAD" {
            "GET"
        } else {
            &request.method
        };
        match (method, parts.as_slice()) {
            ("GET", ["api", "files"]) => files::list(library, request),
            ("GET", ["api", "files", id]) => {
                let entry = files::entry(library, id)?;
                let history = history::of_entry(processing, EntryId(entry.id))?;
                Ok(Response::json(200, &files::Detailed { entry, history }))
            }
            ("GET", ["api", "history"]) => history::list(processing, request),
            ("GET", ["api", "jobs"]) => jobs::list(processing),
            ("POST", ["api", "jobs"]) => jobs::create(processing, library, request),
            ("GET", ["api", "jobs", id]) => jobs::get(processing, id),
            ("POST", ["api", "jobs", id, "cancel"]) => jobs::cancel(processing, id),
            ("GET", ["api", "cache", "stats"]) => Ok(library::stats(library)),
            ("POST", ["api", "cache", "rebuild"]) => Ok(library::rebuild(library)),
            ("GET", ["api", "watcher", "status"]) => Ok(library::watcher(library)),
            ("POST", ["api", "watcher"]) => self.switch(request),
            ("GET", ["api", "sync"]) => library::sync(library),
            ("POST", ["api", "folders", name, "accept"]) => library::accept(library, name),
            _ => Err(unknown(request)),
        }
    }
}

impl Routes for ApiRoutes {
    fn answer(&self, request: &Request) -> Response {
        self.route(request).unwrap_or_else(Response::from)
    }
}

/// Paths with the methods that they know, for 405.
const METHODS: [(&str, &str); 12] = [
    ("/api/history", "GET, HEAD"),
    ("/api/jobs", "GET, HEAD, POST"),
    ("/api/jobs/*", "GET, HEAD"),
    ("/api/jobs/*/cancel", "POST"),
    ("/api/files", "GET, HEAD"),
    ("/api/files/*", "GET, HEAD"),
    ("/api/cache/stats", "GET, HEAD"),
    ("/api/cache/rebuild", "POST"),
    ("/api/watcher/status", "GET, HEAD"),
    ("/api/watcher", "POST"),
    ("/api/sync", "GET, HEAD"),
    ("/api/folders/*/accept", "POST"),
];

fn unknown(request: &Request) -> ApiError {
    let known = METHODS.iter().find(|(pattern, _)| {
        let (pattern, path) = (pattern.split('/'), request.path.split('/'));
        pattern.clone().count() == path.clone().count()
            && pattern
                .zip(path)
                .all(|(pattern, part)| pattern == "*" || pattern == part)
    });
    match known {
        Some((_, methods)) => {
            let message = format!("{} is not for this path: {methods}", request.method);
            ApiError::new(405, "method_not_allowed", message)
        }
        None => ApiError::new(
            404,
            "not_found",
            format!("there is nothing at {:?}", request.path),
        ),
    }
}
