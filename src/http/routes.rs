//! Which call answers which path: the one `match` for all that is not about events.
//!
//! HEAD and OPTIONS are the router's business: HEAD arrives here as GET, and OPTIONS becomes what
//! the 405 of this module allows.

use std::sync::Arc;

use super::access::Access;
use super::api::{files, history, jobs, library, service};
use super::request::{ApiError, Request, Response, Routes};
use crate::library::Library;
use crate::page;
use crate::processing::Processing;

/// Answers from the library and from processing, and with the page.
#[derive(Debug)]
pub struct ApiRoutes {
    library: Arc<Library>,
    processing: Arc<Processing>,
    access: Arc<Access>,
}

impl ApiRoutes {
    /// Returns routes that ask `library` and `processing`, and change what `access` lets them.
    #[must_use]
    pub fn new(
        library: Arc<Library>,
        processing: Arc<Processing>,
        access: Arc<Access>,
    ) -> ApiRoutes {
        ApiRoutes {
            library,
            processing,
            access,
        }
    }

    fn get(&self, path: &[&str], request: &Request) -> Option<Answered> {
        let (library, processing) = (&*self.library, &*self.processing);
        let ok = |response: Response| Some(Ok(response));
        match path {
            ["api", "files"] => Some(files::list(library, request)),
            ["api", "files", id] => Some(files::entry(library, processing, id)),
            ["api", "files", id, "duplicates"] => Some(files::duplicates(library, id)),
            ["api", "cache", "stats"] => ok(library::stats(library)),
            ["api", "watcher", "status"] => ok(library::watcher(library)),
            ["api", "sync"] => Some(library::sync(library)),
            ["api", "jobs"] => Some(jobs::list(processing)),
            ["api", "jobs", id] => Some(jobs::get(processing, id)),
            ["api", "history"] => Some(history::list(processing, request)),
            ["api", "version"] => ok(service::version()),
            ["health"] => ok(service::health(library)),
            ["openapi.json"] => ok(service::openapi()),
            _ => None,
        }
    }

    fn post(&self, path: &[&str], request: &Request) -> Option<Answered> {
        let (library, processing) = (&*self.library, &*self.processing);
        match path {
            ["api", "cache", "rebuild"] => Some(Ok(library::rebuild(library))),
            ["api", "watcher"] => Some(library::switch(library, processing, request)),
            ["api", "folders", name, "accept"] => Some(library::accept(library, name)),
            ["api", "jobs"] => Some(jobs::create(processing, library, request)),
            ["api", "jobs", id, "cancel"] => Some(jobs::cancel(processing, id)),
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
        let path: Vec<&str> = request
            .path
            .strip_prefix('/')
            .unwrap_or_default()
            .split('/')
            .collect();
        let answered = match request.method.as_str() {
            "GET" => self.get(&path, request),
            // Asked here and nowhere else, so that no route can forget to.
            "POST" if allowed(&path).contains("POST") => match self.access.admit_change(request) {
                Ok(()) => self.post(&path, request),
                Err(refusal) => Some(Err(refusal)),
            },
            _ => None,
        };
        if let Some(answered) = answered {
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

/// The methods that a path knows, for the `Allow` of a 405; empty for no path of ours.
fn allowed(path: &[&str]) -> &'static str {
    match path {
        ["api", "jobs"] => "GET, POST",
        ["api", "files" | "sync" | "version" | "history"]
        | ["api", "files" | "jobs", _]
        | ["api", "files", _, "duplicates"]
        | ["api", "cache", "stats"]
        | ["api", "watcher", "status"]
        | ["health" | "openapi.json"] => "GET",
        ["api", "cache", "rebuild"]
        | ["api", "watcher"]
        | ["api", "folders", _, "accept"]
        | ["api", "jobs", _, "cancel"] => "POST",
        _ => "",
    }
}
