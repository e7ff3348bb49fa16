//! Which call answers which path: the one `match` for all that is not about events.
//!
//! HEAD and OPTIONS are the router's business: HEAD arrives here as GET, and OPTIONS becomes what
//! the 405 of this module allows.

use std::sync::Arc;

use super::api::{files, library, service};
use super::request::{ApiError, Request, Response, Routes};
use crate::library::Library;
use crate::page;

/// Answers from the library, and with the page.
#[derive(Debug)]
pub struct ApiRoutes {
    library: Arc<Library>,
}

impl ApiRoutes {
    /// Returns routes that ask `library`.
    #[must_use]
    pub fn new(library: Arc<Library>) -> ApiRoutes {
        ApiRoutes { library }
    }

    fn route(&self, method: &str, path: &[&str], request: &Request) -> Option<Answered> {
        let library = &*self.library;
        let ok = |response: Response| Some(Ok(response));
        match (method, path) {
            ("GET", ["api", "files"]) => Some(files::list(library, request)),
            ("GET", ["api", "files", id]) => Some(files::entry(library, id)),
            ("GET", ["api", "cache", "stats"]) => ok(library::stats(library)),
            ("POST", ["api", "cache", "rebuild"]) => ok(library::rebuild(library)),
            ("GET", ["api", "watcher", "status"]) => ok(library::watcher(library)),
            ("POST", ["api", "watcher"]) => Some(library::switch(library, request)),
            ("GET", ["api", "sync"]) => Some(library::sync(library)),
            ("POST", ["api", "folders", name, "accept"]) => Some(library::accept(library, name)),
            ("GET", ["api", "version"]) => ok(service::version()),
            ("GET", ["health"]) => ok(service::health(library)),
            ("GET", ["openapi.json"]) => ok(service::openapi()),
            _ => None,
        }
    }
}

type Answered = Result<Response, ApiError>;

impl Routes for ApiRoutes {
    fn answer(&self, request: &Request) -> Response {
        if let Some(response) = page::answer(request) {
            return response;
        }
        let path: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        if let Some(answered) = self.route(&request.method, &path, request) {
            return answered.unwrap_or_else(Response::from);
        }
        let allowed = allowed(&path);
        if allowed.is_empty() {
            let message = format!("there is nothing at {:?}", request.path);
            return ApiError::new(404, "not_found", message).into();
        }
        let message = format!("this can be asked with {allowed}");
        Response::from(ApiError::new(405, "method_not_allowed", message)).with("Allow", allowed)
    }
}

/// The method that a path knows, for the `Allow` of a 405; empty for no path of ours.
fn allowed(path: &[&str]) -> &'static str {
    match path {
        ["api", "files" | "sync" | "version"]
        | ["api", "files", _]
        | ["api", "cache", "stats"]
        | ["api", "watcher", "status"]
        | ["health" | "openapi.json"] => "GET",
        ["api", "cache", "rebuild"] | ["api", "watcher"] | ["api", "folders", _, "accept"] => {
            "POST"
        }
        _ => "",
    }
}
