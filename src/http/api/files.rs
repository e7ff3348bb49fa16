//! `/api/files`: the list, page by page, and one entry.

use super::history::{self, ShownResult};
use super::{number, parameter};
use crate::events::types::{Entry, Status};
use crate::http::request::{ApiError, Request, Response};
use crate::library::query::{Page, Query, QueryError, Sort, Wanted};
use crate::library::{Counts, EntryId, IndexError, Library};
use crate::processing::Processing;
use serde::Serialize;

const DEFAULT_LIMIT: u64 = 100;
const LARGEST_LIMIT: u64 = 1000;
/// Duplicates of one entry that are told.
const DUPLICATES: u32 = 100;

#[derive(Serialize)]
struct FilesAnswer {
    files: Vec<Entry>,
    next: Option<String>,
    total: u64,
    counts: CountsAnswer,
    version: u64,
    last_event_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    directories: Option<Vec<DirectoryAnswer>>,
}

/// One entry with what was done with it.
#[derive(Serialize)]
struct Detailed {
    #[serde(flatten)]
    entry: Entry,
    history: Vec<ShownResult>,
}

#[derive(Serialize)]
struct DuplicatesAnswer {
    files: Vec<Entry>,
}

#[derive(Serialize)]
struct CountsAnswer {
    all: u64,
    unprocessed: u64,
    processing: u64,
    processed: u64,
    failed: u64,
    duplicate: u64,
}

#[derive(Serialize)]
struct DirectoryAnswer {
    path: String,
    files: u64,
}

impl From<Counts> for CountsAnswer {
    fn from(counts: Counts) -> CountsAnswer {
        CountsAnswer {
            all: counts.all,
            unprocessed: counts.unprocessed,
            processing: counts.processing,
            processed: counts.processed,
            failed: counts.failed,
            duplicate: counts.duplicate,
        }
    }
}

impl From<Page> for FilesAnswer {
    fn from(page: Page) -> FilesAnswer {
        let directories = page.directories.map(|directories| {
            let answer = |(path, files)| DirectoryAnswer { path, files };
            directories.into_iter().map(answer).collect()
        });
        FilesAnswer {
            files: page.files,
            next: page.next,
            total: page.total,
            counts: page.counts.into(),
            version: page.version,
            last_event_id: page.last_event_id,
            directories,
        }
    }
}

/// Answers `GET /api/files`.
///
/// # Errors
/// A parameter is wrong (400), or the index failed (503).
pub fn list(library: &Library, request: &Request) -> Result<Response, ApiError> {
    let query = query(request)?;
    // The last event names the state of the list, since every commit is published, and the answer
    // holds it; with the question it names the answer.
    let question = format!("{query:?}");
    let tag = |state: &str| {
        let hash = blake3::hash(format!("{state} {question}").as_bytes());
        format!("\"{}\"", &hash.to_hex()[..20])
    };
    // `*` names no answer, so it does not say whether the question has one.
    let named = request.header("if-none-match").filter(|tags| *tags != "*");
    if named.is_some() {
        let now = tag(&library.state_id());
        if request.has(&now) {
            return Ok(not_modified(now));
        }
    }
    let page = library.files(&query).map_err(refusal)?;
    let tag = tag(&page.last_event_id);
    if request.has(&tag) {
        return Ok(not_modified(tag));
    }
    Ok(Response::json(200, &FilesAnswer::from(page)).with("ETag", tag))
}

fn not_modified(tag: String) -> Response {
    let response = Response {
        status: 304,
        headers: vec![("Cache-Control", "no-cache".to_owned())],
        body: Vec::new().into(),
    };
    response.with("ETag", tag)
}

/// Answers `GET /api/files/ID`.
///
/// # Errors
/// There is no such entry (404), or index or history failed (503).
pub fn entry(library: &Library, processing: &Processing, id: &str) -> Result<Response, ApiError> {
    let (number, entry) = entry_of(library, id)?;
    let history = history::of_entry(processing, number)?;
    Ok(Response::json(200, &Detailed { entry, history }))
}

/// Answers `GET /api/files/ID/duplicates`.
///
/// # Errors
/// There is no such entry (404), or the index failed (503).
pub fn duplicates(library: &Library, id: &str) -> Result<Response, ApiError> {
    let (number, _) = entry_of(library, id)?;
    let files = library.duplicates(number, DUPLICATES);
    let files = files.map_err(|error| failed(&error))?;
    Ok(Response::json(200, &DuplicatesAnswer { files }))
}

fn entry_of(library: &Library, id: &str) -> Result<(EntryId, Entry), ApiError> {
    let number = EntryId(id.parse().map_err(|_| no_entry(id))?);
    let entry = library.file(number).map_err(|error| failed(&error))?;
    Ok((number, entry.ok_or_else(|| no_entry(id))?))
}

fn no_entry(id: &str) -> ApiError {
    ApiError::new(404, "not_found", format!("there is no entry {id:?}"))
}

fn query(request: &Request) -> Result<Query, ApiError> {
    let sort = parameter(request, "sort").unwrap_or("path");
    let (key, descending) = match sort.strip_prefix('-') {
        Some(key) => (key, true),
        None => (sort, false),
    };
    let sort = match key {
        "path" => Sort::Path,
        "name" => Sort::Name,
        "size" => Sort::Size,
        "modified" => Sort::Modified,
        _ => {
            let message = format!(
                "sort={sort:?}: one of path, name, size, modified, each with - for the reverse"
            );
            return Err(ApiError::new(400, "bad_parameter", message));
        }
    };
    let wanted = match parameter(request, "status") {
        None | Some("all") => Wanted::All,
        Some("unprocessed") => Wanted::Status(Status::Unprocessed),
        Some("processing") => Wanted::Status(Status::Processing),
        Some("processed") => Wanted::Status(Status::Processed),
        Some("failed") => Wanted::Status(Status::Failed),
        Some("duplicate") => Wanted::Duplicate,
        Some(other) => {
            let message = format!(
                "status={other:?}: one of all, unprocessed, processing, processed, failed, duplicate"
            );
            return Err(ApiError::new(400, "bad_parameter", message));
        }
    };
    let limit = number(request, "limit", 1, LARGEST_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    Ok(Query {
        search: parameter(request, "search").unwrap_or("").to_owned(),
        wanted,
        folder: parameter(request, "folder").map(str::to_owned),
        directory: parameter(request, "directory").map(str::to_owned),
        sort,
        descending,
        limit: usize::try_from(limit).unwrap_or(1),
        cursor: parameter(request, "cursor").map(str::to_owned),
    })
}

fn refusal(error: QueryError) -> ApiError {
    match error {
        QueryError::Index(error) => failed(&error),
        QueryError::Cursor => ApiError::new(400, "bad_cursor", error.to_string()),
        QueryError::Folder(_) => ApiError::new(400, "unknown_folder", error.to_string()),
        QueryError::Directory(_) => ApiError::new(404, "unknown_directory", error.to_string()),
    }
}

/// The index does not answer: nothing that the client did.
pub(super) fn failed(error: &IndexError) -> ApiError {
    log::error!("a query failed: {error}");
    ApiError::new(
        503,
        "index_unavailable",
        "the index cannot be read just now; the log says why",
    )
}
