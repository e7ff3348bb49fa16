//! **Jobs**: making, watching and cancelling them.

use serde::{Deserialize, Serialize};

use super::json_body;
use crate::events::types::JobUpdated;
use crate::http::request::{ApiError, Request, Response};
use crate::library::{EntryId, Library};
use crate::processing::{Action, Job, JobId, JobScope, Processing, ProcessingError, Wanted};

/// What `POST /api/jobs` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewJob {
    action: NewAction,
    files: Option<Vec<i64>>,
    scope: Option<NewScope>,
    folder: Option<String>,
    directory: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NewAction {
    Process,
    Verify,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NewScope {
    All,
    Unprocessed,
    Failed,
}

/// A job as the outside sees it: the data of `job_updated`, and its times.
#[derive(Debug, Serialize)]
struct ShownJob {
    #[serde(flatten)]
    now: JobUpdated,
    created_at: f64,
    started_at: Option<f64>,
    ended_at: Option<f64>,
    error: Option<String>,
}

/// `POST /api/jobs`
///
/// # Errors
/// 400 where the body is not as wanted or names an unknown folder or directory, 404 for an unknown
/// entry, 409 when too many jobs wait.
pub fn create(
    processing: &Processing,
    library: &Library,
    request: &Request,
) -> Result<Response, ApiError> {
    let (action, wanted) = parse(request)?;
    if let Wanted::Scope {
        folder, directory, ..
    } = &wanted
    {
        if let Some(name) = folder.as_ref().filter(|name| !library.has_folder(name)) {
            return Err(bad(format!("there is no folder {name:?}")));
        }
        if let Some(path) = directory
            .as_ref()
            .filter(|path| !library.has_directory(path))
        {
            return Err(bad(format!("there is no directory {path:?}")));
        }
    }
    let job = processing.create_job(action, &wanted).map_err(failed)?;
    let answer = serde_json::json!({
        "job_id": job.id.to_string(),
        "status": "queued",
        "total": job.progress.total,
    });
    Ok(Response::json(202, &answer))
}

/// `GET /api/jobs`
///
/// # Errors
/// 500 where the store cannot be read.
pub fn list(processing: &Processing) -> Result<Response, ApiError> {
    let jobs: Vec<_> = processing
        .jobs()
        .map_err(failed)?
        .iter()
        .map(shown)
        .collect();
    Ok(Response::json(200, &serde_json::json!({ "jobs": jobs })))
}

/// `GET /api/jobs/JOB`
///
/// # Errors
/// 404 for an unknown job.
pub fn get(processing: &Processing, id: &str) -> Result<Response, ApiError> {
    let job = processing.job(job_id(id)?).map_err(failed)?;
    Ok(Response::json(200, &shown(&job)))
}

/// `POST /api/jobs/JOB/cancel`
///
/// # Errors
/// 404 for an unknown job, 409 for one that has ended.
pub fn cancel(processing: &Processing, id: &str) -> Result<Response, ApiError> {
    let job = processing.cancel(job_id(id)?).map_err(failed)?;
    Ok(Response::json(202, &shown(&job)))
}

fn parse(request: &Request) -> Result<(Action, Wanted), ApiError> {
    let body: NewJob = json_body(request)?;
    let action = match body.action {
        NewAction::Process => Action::Process,
        NewAction::Verify => Action::Verify,
    };
    let wanted = match (body.files, body.scope) {
        (Some(_), Some(_)) => return Err(bad("either files or scope is wanted, not both")),
        (None, None) => return Err(bad("files (a list of ids) or scope is wanted")),
        (Some(files), None) => {
            if body.folder.is_some() || body.directory.is_some() {
                return Err(bad("folder and directory go with scope, not with files"));
            }
            if files.is_empty() {
                return Err(bad("files is empty"));
            }
            Wanted::Files(files.into_iter().map(EntryId).collect())
        }
        (None, Some(scope)) => {
            let directory = body
                .directory
                .map(|path| path.trim_end_matches('/').to_owned());
            if let (Some(folder), Some(directory)) = (&body.folder, &directory) {
                let below = directory.strip_prefix(folder.as_str());
                if !below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                    return Err(bad(format!(
                        "{directory:?} is not in the folder {folder:?}"
                    )));
                }
            }
            Wanted::Scope {
                scope: match scope {
                    NewScope::All => JobScope::All,
                    NewScope::Unprocessed => JobScope::Unprocessed,
                    NewScope::Failed => JobScope::Failed,
                },
                folder: body.folder,
                directory,
            }
        }
    };
    Ok((action, wanted))
}

fn shown(job: &Job) -> ShownJob {
    ShownJob {
        now: job.event(),
        created_at: seconds(job.created),
        started_at: job.started.map(seconds),
        ended_at: job.ended.map(seconds),
        error: job.error.clone(),
    }
}

/// Returns Unix seconds, exact to the microsecond.
#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds fit until the year 2255"
)]
pub(super) fn seconds(nanoseconds: i64) -> f64 {
    (nanoseconds / 1000) as f64 / 1e6
}

fn job_id(text: &str) -> Result<JobId, ApiError> {
    // Whatever is no id is no job either.
    text.parse().map_err(|_| failed(ProcessingError::NoSuchJob))
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::new(400, "bad_body", message)
}

/// Says what the outside gets to hear of an error.
pub(super) fn failed(error: ProcessingError) -> ApiError {
    let (status, code) = match &error {
        ProcessingError::NoSuchJob => (404, "no_such_job"),
        ProcessingError::NoSuchEntry(_) => (404, "no_such_entry"),
        ProcessingError::JobHasEnded(..) => (409, "job_has_ended"),
        ProcessingError::TooManyJobs => (409, "too_many_jobs"),
        ProcessingError::Stopping => (503, "stopping"),
        _ => {
            log::error!("{error}");
            let message = "jobs and history are not available now, see the log";
            return ApiError::new(500, "internal", message);
        }
    };
    ApiError::new(status, code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &str) -> Result<(Action, Wanted), String> {
        let request = Request {
            method: "POST".to_owned(),
            path: "/api/jobs".to_owned(),
            query: Vec::new(),
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
            peer: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        parse(&request).map_err(|error| {
            assert_eq!((error.status, error.code), (400, "bad_body"));
            error.message
        })
    }

    #[test]
    fn a_job_is_for_ids_or_for_a_scope() {
        let files = Wanted::Files(vec![EntryId(3), EntryId(1)]);
        assert_eq!(
            parsed(r#"{"action":"process","files":[3,1]}"#),
            Ok((Action::Process, files))
        );
        let below = Wanted::Scope {
            scope: JobScope::Failed,
            folder: None,
            directory: Some("comics/a".to_owned()),
        };
        let body = r#"{"action":"verify","scope":"failed","directory":"comics/a/"}"#;
        assert_eq!(parsed(body), Ok((Action::Verify, below)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (body, part) in [
            ("", "not as wanted"),
            ("[]", "not as wanted"),
            (
                r#"{"action":"dance","scope":"all"}"#,
                "`process` or `verify`",
            ),
            (
                r#"{"action":"process","scope":"some"}"#,
                "`all`, `unprocessed`",
            ),
            (
                r#"{"action":"process","scope":"all","x":1}"#,
                "unknown field `x`",
            ),
            (r#"{"action":"process","files":["1"]}"#, "i64"),
            (r#"{"action":"process"}"#, "files (a list of ids) or scope"),
            (r#"{"action":"process","files":[]}"#, "empty"),
            (
                r#"{"action":"process","files":[1],"scope":"all"}"#,
                "not both",
            ),
            (
                r#"{"action":"process","files":[1],"folder":"a"}"#,
                "go with scope",
            ),
            (
                r#"{"action":"process","scope":"all","folder":"a","directory":"ab/c"}"#,
                "not in the folder",
            ),
        ] {
            let message = parsed(body).unwrap_err();
            assert!(message.contains(part), "{body}: {message}");
        }
    }
}
