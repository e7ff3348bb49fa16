//! `docs/EVENT_BROADCASTING_SYSTEM.md` shows each event as it really is.

use serde_json::Value;
use shelfcast::events::types::{
    CacheUpdated, Entry, ErrorEvent, Event, EventType, FileProcessed, FolderStatus, JobStatus,
    JobUpdated, Progress, Status, WatchState, WatcherStatus,
};
use shelfcast::events::{Broadcaster, Filter, Scope, Settings};
use std::collections::BTreeMap;
use std::time::Duration;

const DOCUMENT: &str = include_str!("../../docs/EVENT_BROADCASTING_SYSTEM.md");

/// The names and kinds of everything in a value; a list is what its first element is.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| (name.clone(), shape(field)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(list) => list.first().map_or(Value::Null, shape),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "bool".into(),
        Value::Null => Value::Null,
    }
}

fn documented() -> BTreeMap<String, Value> {
    let blocks = DOCUMENT.split("```json\n").skip(1);
    blocks
        .map(|block| {
            let text = block.split("```").next().expect("a block has an end");
            let value: Value = serde_json::from_str(text).expect("an example is JSON");
            (value["type"].as_str().expect("a type").to_owned(), value)
        })
        .collect()
}

fn one_of_each() -> Vec<Event> {
    let text = || "text".to_owned();
    vec![
        Event::CacheUpdated(CacheUpdated {
            added: vec![Entry {
                id: 1,
                path: text(),
                name: text(),
                folder: text(),
                size: 1,
                modified: 1.0,
                status: Status::Unprocessed,
                error: None,
                fingerprint: None,
                duplicate_of: None,
                processed_at: None,
                waiting: Some(text()),
            }],
            removed: vec![1],
            ..CacheUpdated::default()
        }),
        Event::WatcherStatus(WatcherStatus {
            running: true,
            enabled: true,
            state: WatchState::Watching,
            directories: 1,
            watched: 1,
            polled: 0,
            folders: vec![FolderStatus {
                name: text(),
                state: WatchState::Watching,
                directories: 1,
                watched: 1,
                polled: 0,
                message: None,
            }],
        }),
        Event::FileProcessed(FileProcessed {
            file: 1,
            filepath: text(),
            filename: text(),
            success: true,
            error: None,
            processor: text(),
            duration_ms: 1,
        }),
        Event::JobUpdated(JobUpdated {
            job_id: text(),
            action: text(),
            status: JobStatus::Running,
            progress: Progress::default(),
            current_file: Some(text()),
            eta_s: Some(1),
        }),
        Event::Error(ErrorEvent {
            code: text(),
            message: text(),
            hint: Some(text()),
            folder: Some(text()),
        }),
    ]
}

#[test]
fn the_examples_have_the_shape_of_what_is_sent() {
    let documented = documented();
    let events = Broadcaster::start(Settings::default()).expect("a broadcaster starts");
    for event in one_of_each() {
        events.publish(event, Scope::Everyone);
    }
    let sent = events
        .poll(None, Duration::ZERO, &Filter::everything())
        .events;
    assert_eq!(sent.len(), 5);
    for record in sent {
        let value: Value = serde_json::from_slice(record.json()).expect("JSON is sent");
        let name = record.kind().name();
        assert_eq!(shape(&documented[name]), shape(&value), "{name}");
    }
    for kind in EventType::ALL {
        assert!(
            documented.contains_key(kind.name()),
            "{} has no example",
            kind.name()
        );
    }
}
