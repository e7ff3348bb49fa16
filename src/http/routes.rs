//! Which call answers which path: the one `match`.

use std::sync::Arc;

use super::api::{files, library};
use super::request::{ApiError, Request, Response, Routes};
use crate::library::Library;

/// The routes that are not about events.
pub struct ApiRoutes {
    library: Arc<Library>,
}

impl std::fmt::Debug for ApiRoutes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiRoutes").finish_non_exhaustive()
    }
}

impl ApiRoutes {
    /// Returns routes that ask `library`.
    #[must_use]
    pub fn new(library: Arc<Library>) -> ApiRoutes {
        ApiRoutes { library }
    }

    fn route(&self, request: &Request) -> Result<Response, ApiError> {
        let library = &*self.library;
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
            ("GET", ["api", "files", id]) => Ok(Response::json(200, &files::entry(library, id)?)),
            ("GET", ["api", "cache", "stats"]) => Ok(library::stats(library)),
            ("POST", ["api", "cache", "rebuild"]) => Ok(library::rebuild(library)),
            ("GET", ["api", "watcher", "status"]) => Ok(library::watcher(library)),
            ("POST", ["api", "watcher"]) => Ok(library::switch(library, request)?.1),
            ("GET", ["api", "sync"]) => library::sync(library),
            ("POST", ["api", "folders", name, "accept"]) => library::accept(library, name),
            _ => Err(unknown(request)),
        }
    }
}

impl Routes for ApiRoutes {
    fn answer(&self, request: &Request) -> Response {
        crate::page::answer(request)
            .unwrap_or_else(|| self.route(request).unwrap_or_else(Response::from))
    }
}

/// Paths with the methods that they know, for 405.
const METHODS: [(&str, &str); 8] = [
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
