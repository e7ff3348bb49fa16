//! `/api/events/stats` and `/metrics` tell what really happened.

use crate::service::Daemon;
use crate::serving::{Serving, eventually, job};
use shelfcast::events::Scope;
use shelfcast::events::types::JobStatus;
use std::collections::BTreeMap;

#[test]
fn stats_tell_what_clients_saw() {
    let serving = Serving::start();
    let empty = serving.get("/api/events/stats").json();
    assert_eq!(empty["history"]["oldest"], serde_json::Value::Null);
    assert_eq!(empty["total_events_broadcast"], 0);
    let mut clients: Vec<_> = (0..5)
        .map(|_| serving.stream("/api/events/stream", ""))
        .collect();
    serving.wait_for_clients(5);
    let first = serving.publish("a");
    let last = serving
        .events
        .publish(job("j", JobStatus::Queued), Scope::Everyone);
    for client in &mut clients {
        client.wait_for_events(2);
    }
    let header = format!("Last-Event-ID: {first}\r\n");
    serving
        .stream("/api/events/stream", &header)
        .wait_for_events(1);
    eventually("the deliveries to be counted", || {
        serving.events.stats().deliveries == 10
    });
    serving.wait_for_clients(5);
    let stats = serving.get("/api/events/stats").json();
    for (key, value) in [
        ("active_clients", 5),
        ("total_events_broadcast", 2),
        ("deliveries", 10),
        ("clients_ended_behind", 0),
        ("replayed", 1),
        ("rejected", 0),
    ] {
        assert_eq!(stats[key], value, "{key} in {stats}");
    }
    let by_type = &stats["events_by_type"];
    assert_eq!(
        (&by_type["error"], &by_type["job_updated"]),
        (&1.into(), &1.into())
    );
    assert_eq!(by_type["cache_updated"], 0);
    assert_eq!(stats["history"]["oldest"], first.to_string());
    assert_eq!(stats["history"]["newest"], last.to_string());
    let latency = |which: &str| stats["latency_ms"][which].as_f64().expect("a number");
    assert!(latency("p50") <= latency("p99") && latency("p99") <= latency("max"));
    assert!(latency("max") > 0.0);
    assert!(stats["uptime_s"].as_f64().expect("a number") > 0.0);
}

#[test]
fn metrics_have_help_and_type_and_every_figure_once() {
    let serving = Serving::start();
    serving.publish("a");
    let answer = serving.get("/metrics");
    assert!(
        answer
            .header("content-type")
            .is_some_and(|kind| kind.contains("version=0.0.4"))
    );
    let mut described = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in answer.body().lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        if let ["#", what, name, text] = words[..] {
            assert!(!text.is_empty(), "{line}");
            *described
                .entry((name.to_owned(), what.to_owned()))
                .or_insert(0) += 1;
        } else {
            let (name, value) = line.rsplit_once(' ').expect("name and value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(name.starts_with("shelfcast_"), "{line}");
            *samples.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    assert!(
        described
            .values()
            .chain(samples.values())
            .all(|count| *count == 1)
    );
    for name in [
        "shelfcast_events_published_total{type=\"error\"}",
        "shelfcast_events_clients",
        "shelfcast_events_delivery_seconds_count",
        "shelfcast_http_connections",
    ] {
        assert!(samples.contains_key(name), "{name}");
    }
}

#[test]
fn metrics_tell_of_the_library() {
    let service = Daemon::start("[processing]\nautomatic = false\n");
    let library = service.directory.path().join("library");
    std::fs::create_dir(library.join("a")).expect("a directory can be made");
    std::fs::write(library.join("a/1"), "four").expect("a file can be written");
    std::fs::write(library.join("2"), "five!").expect("a file can be written");
    assert_eq!(service.get("/api/sync").status(), 200);
    for line in [
        "shelfcast_library_entries{status=\"unprocessed\"} 2",
        "shelfcast_library_entries{status=\"failed\"} 0",
        "shelfcast_library_entries_bytes 9",
        "shelfcast_library_folders{state=\"offline\"} 0",
        "shelfcast_watch_directories{by=\"watch\"} 2",
        "shelfcast_watch_directories{by=\"poll\"} 0",
        "shelfcast_watch_overflows_total 0",
    ] {
        eventually(line, || {
            let metrics = service.get("/metrics");
            metrics.body().lines().any(|told| told == line)
        });
    }
    std::fs::remove_dir_all(&library).expect("the library can be removed");
    eventually("the folder to be counted as offline", || {
        let metrics = service.get("/metrics");
        metrics
            .body()
            .contains("shelfcast_library_folders{state=\"offline\"} 1\n")
    });
}
