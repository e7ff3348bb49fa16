//! The **history** of results.

use serde::Serialize;

use super::jobs::{failed, seconds};
use super::{number, parameter};
use crate::http::request::{ApiError, Request, Response};
use crate::library::EntryId;
use crate::processing::{Past, Processing};

/// Results on one page where nothing else is asked for.
const USUAL: u64 = 100;
/// Results on one page at most, as for entries.
const MOST: u64 = 1000;
/// Results shown with an entry (contract section 4).
const WITH_ENTRY: usize = 20;

/// A result as the outside sees it; the first fields are those of `file_processed`.
#[derive(Debug, Serialize)]
pub struct ShownResult {
    file: i64,
    filepath: String,
    filename: String,
    folder: String,
    success: bool,
    error: Option<String>,
    processor: String,
    duration_ms: u64,
    action: &'static str,
    exit_status: Option<i32>,
    output: Option<String>,
    job_id: Option<String>,
    timestamp: f64,
}

/// `GET /api/history?limit=&cursor=`
///
/// # Errors
/// 400 for a limit or cursor that is none.
pub fn list(processing: &Processing, request: &Request) -> Result<Response, ApiError> {
    let limit = number(request, "limit", 1, MOST)?.unwrap_or(USUAL);
    let before = match parameter(request, "cursor") {
        None => None,
        Some(text) => Some(
            text.parse::<i64>()
                .ok()
                .filter(|at| *at > 0)
                .ok_or_else(|| {
                    let message =
                        format!("cursor={text:?}: take it from `next` of the page before");
                    ApiError::new(400, "bad_parameter", message)
                })?,
        ),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut page = processing.history(limit + 1, before).map_err(failed)?;
    let has_more = page.len() > limit;
    page.truncate(limit);
    let next = page
        .last()
        .filter(|_| has_more)
        .map(|past| past.number.to_string());
    let history: Vec<_> = page.into_iter().map(shown).collect();
    Ok(Response::json(
        200,
        &serde_json::json!({ "history": history, "next": next }),
    ))
}

/// Returns the history that `GET /api/files/ID` shows with an entry.
///
/// # Errors
/// 500 where the store cannot be read.
pub fn of_entry(processing: &Processing, id: EntryId) -> Result<Vec<ShownResult>, ApiError> {
    let history = processing.entry_history(id, WITH_ENTRY).map_err(failed)?;
    Ok(history.into_iter().map(shown).collect())
}

fn shown(past: Past) -> ShownResult {
    ShownResult {
        file: past.entry.0,
        filename: past.path.rsplit('/').next().unwrap_or_default().to_owned(),
        filepath: past.path,
        folder: past.folder,
        success: past.error.is_none(),
        error: past.error,
        processor: past.processor,
        duration_ms: past.duration_ms,
        action: past.action.name(),
        exit_status: past.exit_status,
        output: past.output,
        job_id: past.job.map(|job| job.to_string()),
        timestamp: seconds(past.at),
    }
}
