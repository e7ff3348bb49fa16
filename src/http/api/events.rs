//! `/api/events`: what a client asks of the events, and what it is told about them.

use crate::events::types::EventType;
use crate::events::{Broadcaster, Filter, Joining, Polled, TypeSet};
use crate::http::request::{ApiError, Request, Response};
use serde_json::json;
use std::time::Duration;

/// Tells whether a folder of that name exists.
pub type Folders<'a> = &'a (dyn Fn(&str) -> bool + Send + Sync);

/// Longest time that a poll waits (contract section 3).
const MAX_WAIT_S: u64 = 30;

/// Returns what the client of `/api/events/stream` asks for.
///
/// # Errors
/// 400 for a type or folder that does not exist.
pub fn joining(request: &Request, folders: Folders<'_>) -> Result<Joining, ApiError> {
    let after = request
        .header("last-event-id")
        .or_else(|| request.parameter("last_event_id"))
        .or_else(|| request.parameter("lastEventId"));
    Ok(Joining {
        filter: filter(request, folders)?,
        after: after.map(str::to_owned),
    })
}

/// Answers `GET /api/events?after=ID&wait=25&types=…&folder=…`.
pub(crate) fn poll(
    request: &Request,
    events: &Broadcaster,
    folders: Folders<'_>,
) -> Result<Response, ApiError> {
    let filter = filter(request, folders)?;
    let wait_s = match request.parameter("wait") {
        None => 0,
        Some(text) => text
            .parse()
            .ok()
            .filter(|seconds| *seconds <= MAX_WAIT_S)
            .ok_or_else(|| {
                let message = format!("wait is a whole number of seconds, 0 to {MAX_WAIT_S}");
                ApiError::new(400, "bad_wait", message)
            })?,
    };
    let after = request.parameter("after");
    let polled = events.poll(after, Duration::from_secs(wait_s), &filter);
    Ok(Response {
        status: 200,
        headers: vec![
            ("Content-Type", "application/json; charset=utf-8".to_owned()),
            ("Cache-Control", "no-store".to_owned()),
        ],
        body: polled_json(&polled).into(),
    })
}

/// Answers `GET /api/events/stats`.
pub(crate) fn stats(events: &Broadcaster) -> Response {
    let stats = events.stats();
    let milliseconds = |took: Duration| took.as_secs_f64() * 1_000.0;
    let by_type: serde_json::Map<String, serde_json::Value> = stats
        .published
        .iter()
        .filter(|(kind, _)| *kind != EventType::Reset) // never published
        .map(|(kind, count)| (kind.name().to_owned(), (*count).into()))
        .collect();
    let total: u64 = stats.published.iter().map(|(_, count)| count).sum();
    let body = json!({
        "active_clients": stats.active_clients,
        "total_events_broadcast": total,
        "events_by_type": by_type,
        "deliveries": stats.deliveries,
        "clients_ended_behind": stats.clients_ended_behind,
        "replayed": stats.replayed,
        "rejected": stats.rejected,
        "latency_ms": {
            "p50": milliseconds(stats.latency.p50),
            "p99": milliseconds(stats.latency.p99),
            "max": milliseconds(stats.latency.max),
        },
        "history": {
            "oldest": stats.oldest.map(|id| id.to_string()),
            "newest": stats.newest.map(|id| id.to_string()),
        },
        "uptime_s": stats.uptime.as_secs_f64(),
    });
    Response::json(200, &body)
}

fn filter(request: &Request, folders: Folders<'_>) -> Result<Filter, ApiError> {
    let types = match request.parameter("types") {
        None => TypeSet::ALL,
        Some(names) => names.split(',').try_fold(TypeSet::NONE, |types, name| {
            let kind = EventType::from_name(name.trim()).ok_or_else(|| unknown_type(name))?;
            Ok(types.with(kind))
        })?,
    };
    let folder = match request.parameter("folder") {
        Some(name) if !folders(name) => {
            let message = format!("there is no folder {name:?}");
            return Err(ApiError::new(400, "unknown_folder", message));
        }
        folder => folder.map(Into::into),
    };
    Ok(Filter { types, folder })
}

fn unknown_type(name: &str) -> ApiError {
    let known = EventType::ALL.map(EventType::name).join(", ");
    let message = format!("there is no event type {name:?}; types are {known}");
    ApiError::new(400, "unknown_type", message)
}

/// The events are serialised already; only their ids are put in.
fn polled_json(polled: &Polled) -> Vec<u8> {
    let mut body = b"{\"events\":[".to_vec();
    for (place, record) in polled.events.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        body.extend_from_slice(format!("{comma}{{\"id\":\"{}\",", record.id()).as_bytes());
        body.extend_from_slice(record.json().get(1..).unwrap_or_default());
    }
    let rest = format!(
        "],\"last_event_id\":\"{}\",\"reset\":{}}}",
        polled.last_event_id, polled.reset
    );
    body.extend_from_slice(rest.as_bytes());
    body
}
