//! Event streams from outside: opening, replay, filters, limits, clients that misbehave.

use crate::serving::{Client, PATIENCE, Serving, codes, error, eventually, job};
use shelfcast::events::Scope;
use shelfcast::events::types::{CacheUpdated, Event};
use shelfcast::events::types::{JobStatus, WatchState, WatcherStatus};
use shelfcast::http::ServerSettings;
use shelfcast::http::socket::raise_descriptor_limit;
use std::io::Write;
use std::time::{Duration, Instant};

const STREAM: &str = "/api/events/stream";

#[test]
fn head_and_retry_arrive_although_nothing_happens() {
    let serving = Serving::start();
    let mut client = serving.stream(STREAM, "");
    client.read_until("retry", |text| text.contains("retry: 5000\n\n"));
    let head = client.text.split_once("\r\n\r\n").unwrap().0;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for line in [
        "Content-Type: text/event-stream",
        "Cache-Control: no-cache, no-store, no-transform",
        "X-Accel-Buffering: no",
        "Transfer-Encoding: chunked",
    ] {
        assert!(head.lines().any(|found| found == line), "{line} in {head}");
    }
    assert!(!head.contains("Content-Encoding") && !head.contains("Access-Control"));
}

#[test]
fn an_event_is_one_message_with_id_type_data_and_timestamp() {
    let serving = Serving::start();
    let mut client = serving.stream(STREAM, "");
    serving.wait_for_clients(1);
    let id = serving.publish("a\nb\rc\u{2028}d");
    let events = client.wait_for_events(1);
    let (found, event) = &events[0];
    assert_eq!(found.as_deref(), Some(id.to_string().as_str()));
    assert_eq!(event["type"], "error");
    assert_eq!(event["data"]["code"], "a\nb\rc\u{2028}d");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let timestamp = event["timestamp"].as_f64().unwrap();
    assert!((now - timestamp).abs() < 60.0, "{timestamp}");
    assert_eq!(event.as_object().unwrap().len(), 3);
}

#[test]
fn a_new_stream_opens_with_the_last_of_each_type_and_job() {
    let serving = Serving::start();
    serving.publish("first");
    let everyone = || Scope::Everyone;
    serving
        .events
        .publish(job("done-1", JobStatus::Completed), everyone());
    serving
        .events
        .publish(job("waits", JobStatus::Queued), everyone());
    serving
        .events
        .publish(job("runs", JobStatus::Queued), everyone());
    serving
        .events
        .publish(job("runs", JobStatus::Running), everyone());
    serving
        .events
        .publish(job("done-2", JobStatus::Failed), everyone());
    serving.publish("second");
    let mut client = serving.stream(STREAM, "");
    let events = client.wait_for_events(4);
    assert_eq!(codes(&events), ["waits", "runs", "done-2", "second"]);
    serving.publish("third");
    assert_eq!(codes(&client.wait_for_events(5))[4], "third");
}

#[test]
fn a_client_that_comes_back_gets_what_it_missed_and_nothing_twice() {
    let serving = Serving::start();
    let ids: Vec<String> = ["a", "b", "c"]
        .map(|code| serving.publish(code).to_string())
        .into();
    let header = format!("Last-Event-ID: {}\r\n", ids[0]);
    for (target, headers) in [
        (STREAM.to_owned(), header.as_str()),
        (format!("{STREAM}?last_event_id={}", ids[0]), ""),
        (format!("{STREAM}?lastEventId={}", ids[0]), ""),
        (
            format!("{STREAM}?last_event_id={}", ids[2]),
            header.as_str(),
        ), // the header wins
    ] {
        let mut client = serving.stream(&target, headers);
        assert_eq!(codes(&client.wait_for_events(2)), ["b", "c"], "{target}");
    }
    let mut client = serving.stream(STREAM, &format!("Last-Event-ID: {}\r\n", ids[2]));
    serving.publish("d");
    assert_eq!(codes(&client.wait_for_events(1)), ["d"]);
}

#[test]
fn where_the_history_cannot_help_the_client_is_told_to_read_the_snapshot() {
    let serving = Serving::start();
    let first = serving.publish("first");
    for _ in 0..1_001 {
        serving.publish("more");
    }
    let last = serving.publish("last");
    let future = format!("{:08x}-{}", last.epoch, last.sequence + 1);
    let restart = format!("{:08x}-{}", last.epoch ^ 1, last.sequence);
    for (id, reason) in [
        (first.to_string().as_str(), "reset:history_gap"),
        (&future, "reset:unknown_id"),
        (&restart, "reset:restart"),
        ("", "reset:unknown_id"),
        ("-1", "reset:unknown_id"),
        ("no id", "reset:unknown_id"),
        (&"x".repeat(8_000), "reset:unknown_id"),
    ] {
        let mut client = serving.stream(STREAM, &format!("Last-Event-ID: {id}\r\n"));
        let events = client.wait_for_events(2);
        assert_eq!(codes(&events), [reason, "last"], "{id}");
        // The id of the reset takes the place of the useless one, and ids only grow.
        let reset_id = events[0].0.as_deref().unwrap();
        assert_eq!(
            reset_id,
            format!("{:08x}-{}", last.epoch, last.sequence - 1)
        );
    }
}

#[test]
fn types_and_folder_filter_live_replayed_and_opening_events() {
    let serving = Serving::start();
    let status = |state| {
        Event::WatcherStatus(WatcherStatus {
            running: true,
            enabled: true,
            state,
            directories: 0,
            watched: 0,
            polled: 0,
            folders: Vec::new(),
        })
    };
    let cache = |message: &str| {
        Event::CacheUpdated(CacheUpdated {
            message: message.to_owned(),
            ..CacheUpdated::default()
        })
    };
    let of = |folder: &str| Scope::Folders(vec![folder.to_owned()]);
    let start = serving.events.last_event_id();
    let publish_all = || {
        serving.events.publish(cache("comics"), of("comics"));
        serving.events.publish(cache("films"), of("films"));
        serving
            .events
            .publish(status(WatchState::Watching), Scope::Everyone);
        serving.publish("end");
    };
    publish_all();
    let seen = |query: &str| {
        let mut client = serving.stream(&format!("{STREAM}?{query}"), "");
        let condition = |text: &str| text.contains("\"end\"");
        client.read_until("the end", condition);
        client
            .events()
            .into_iter()
            .map(|(_, event)| match event["data"]["message"].as_str() {
                Some(message) if !message.is_empty() => message.to_owned(),
                _ => event["type"].as_str().unwrap().to_owned(),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(seen("folder=comics"), ["comics", "watcher_status", "error"]);
    assert_eq!(seen("folder=films"), ["films", "watcher_status", "error"]);
    assert_eq!(seen(""), ["films", "watcher_status", "error"]);
    assert_eq!(seen("types=error,cache_updated"), ["films", "error"]);
    let replay = format!("types=error,cache_updated&last_event_id={start}");
    assert_eq!(seen(&replay), ["comics", "films", "error"]);
    let mut live = serving.stream(&format!("{STREAM}?types=cache_updated&folder=comics"), "");
    live.wait_for_events(1);
    publish_all();
    serving.events.publish(cache("last"), of("comics"));
    let events = live.wait_for_events(3);
    let messages: Vec<_> = events
        .iter()
        .map(|(_, event)| &event["data"]["message"])
        .collect();
    assert_eq!(messages, ["comics", "comics", "last"]);
}

#[test]
fn unknown_types_and_folders_are_wrong_and_not_a_stream() {
    let serving = Serving::start();
    for query in [
        "types=nonsense",
        "types=",
        "types=error,,",
        "folder=nowhere",
        "folder=",
    ] {
        let answer = serving.get(&format!("{STREAM}?{query}"));
        assert_eq!(answer.status(), 400, "{query}");
        assert!(answer.json()["error"]["message"].is_string());
    }
    assert_eq!(serving.events.stats().active_clients, 0);
}

#[test]
fn other_methods_open_no_stream() {
    let serving = Serving::start();
    let head = serving.ask("HEAD", STREAM, "");
    assert_eq!((head.status(), head.body()), (200, ""));
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let options = serving.ask("OPTIONS", STREAM, "");
    assert_eq!(options.status(), 204);
    assert_eq!(options.header("allow"), Some("GET, HEAD, OPTIONS"));
    for method in ["POST", "PUT", "DELETE", "BREW"] {
        let answer = serving.ask(method, STREAM, "");
        assert_eq!(answer.status(), 405, "{method}");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    assert_eq!(serving.events.figures().opened.get(), 0);
}

#[test]
fn an_old_client_gets_an_unframed_body_that_ends_with_the_connection() {
    let mut serving = Serving::start();
    serving.publish("a");
    let mut client = serving.send("GET /api/events/stream HTTP/1.0\r\n\r\n");
    client.read_until("the event", |text| text.contains("\"a\""));
    let head = client.text.split_once("\r\n\r\n").unwrap().0;
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    serving.server.take();
    client.read_to_end();
    let body = client.text.split_once("\r\n\r\n").unwrap().1;
    assert!(body.starts_with("retry: 5000\n\nid: "), "{body}");
    assert!(
        body.trim_end()
            .rsplit('\n')
            .next()
            .unwrap()
            .starts_with("retry: "),
        "{body}"
    );
}

#[test]
fn a_heartbeat_comes_when_nothing_else_does() {
    let serving = Serving::with(ServerSettings {
        heartbeat: Duration::from_secs(1),
        ..ServerSettings::default()
    });
    let mut client = serving.stream(STREAM, "");
    let two = "event: heartbeat\ndata: {}\n\n";
    client.read_until("two heartbeats", |text| text.matches(two).count() == 2);
    assert!(!client.body().contains("id:"), "a heartbeat has no id");
}

#[test]
fn one_client_too_many_is_told_to_come_back_later() {
    let serving = Serving::with(ServerSettings {
        clients: 2,
        ..ServerSettings::default()
    });
    let first = serving.stream(STREAM, "");
    let _second = serving.stream(STREAM, "");
    serving.wait_for_clients(2);
    let mut third = serving.stream(STREAM, "");
    third.read_to_end();
    assert!(third.text.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(third.text.ends_with("0\r\n\r\n"), "{:?}", third.text);
    let body = third.body();
    let retry = body
        .lines()
        .next()
        .unwrap()
        .strip_prefix("retry: ")
        .unwrap();
    assert!(
        (20_000..=40_000).contains(&retry.parse::<u32>().unwrap()),
        "{retry}"
    );
    assert_eq!(codes(&third.events()), ["too_many_clients"]);
    assert_eq!(serving.events.stats().rejected, 1);
    drop(first);
    serving.wait_for_clients(1);
    let mut fourth = serving.stream(STREAM, "");
    serving.publish("a");
    assert_eq!(codes(&fourth.wait_for_events(1)), ["a"]);
}

#[test]
fn the_limit_of_an_address_concerns_that_address_alone() {
    let serving = Serving::on(
        ServerSettings {
            clients_per_address: 1,
            ..ServerSettings::default()
        },
        "0.0.0.0:0".parse().unwrap(),
    );
    let _first = serving.stream(STREAM, "");
    serving.wait_for_clients(1);
    let mut second = serving.stream(STREAM, "");
    second.read_to_end();
    assert_eq!(codes(&second.events()), ["too_many_clients"]);
    let there = ([127, 0, 0, 1], serving.address.port()).into();
    let mut other = Client::connect_from([127, 0, 0, 2].into(), there);
    other
        .socket
        .write_all(b"GET /api/events/stream HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    serving.wait_for_clients(2);
}

#[test]
fn a_client_that_goes_away_is_forgotten_at_once() {
    let serving = Serving::start();
    let clients: Vec<_> = (0..20).map(|_| serving.stream(STREAM, "")).collect();
    serving.wait_for_clients(20);
    drop(clients);
    let start = Instant::now();
    serving.wait_for_clients(0); // no event and no heartbeat is needed for it
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(serving.events.figures().ended_gone.get(), 20);
}

#[test]
fn a_client_that_does_not_read_is_ended_and_the_others_get_everything() {
    let serving = Serving::start();
    let mut stalled = Client::connect(serving.address);
    // A small window, so that little is on its way and the queue fills soon.
    rustix::net::sockopt::set_socket_recv_buffer_size(&stalled.socket, 4_096).unwrap();
    let request = format!("GET {STREAM} HTTP/1.1\r\nHost: a\r\n\r\n");
    stalled.socket.write_all(request.as_bytes()).unwrap();
    let mut reader = serving.stream(STREAM, "");
    serving.wait_for_clients(2);
    let mut published = 0;
    let deadline = Instant::now() + PATIENCE;
    let ended = || {
        let figures = serving.events.figures();
        figures.ended_behind.get() + figures.ended_stalled.get()
    };
    while ended() == 0 {
        assert!(
            Instant::now() < deadline,
            "the stalled client was not ended"
        );
        for _ in 0..20 {
            let event = Event::CacheUpdated(CacheUpdated {
                message: "x".repeat(10_000),
                ..CacheUpdated::default()
            });
            serving.events.publish(event, Scope::Everyone);
            published += 1;
        }
        assert_eq!(reader.wait_for_events(published).len(), published);
    }
    serving.wait_for_clients(1);
    assert_eq!(serving.events.stats().clients_ended_behind, 1);
    // What it gets when it reads again is whole messages in order, and it comes back for the rest.
    stalled.read_to_end();
    let (last, _) = stalled.events().pop().unwrap();
    let header = format!("Last-Event-ID: {}\r\n", last.unwrap());
    let missed = published - stalled.events().len();
    let mut again = serving.stream(STREAM, &header);
    assert_eq!(again.wait_for_events(missed).len(), missed);
}

#[test]
fn priority_events_do_not_end_a_client() {
    // The queue itself is tested in its file; here: what is of priority counts apart.
    let serving = Serving::start();
    let mut client = serving.stream(STREAM, "");
    serving.wait_for_clients(1);
    for _ in 0..300 {
        serving.events.publish(error("many"), Scope::Everyone);
    }
    assert_eq!(client.wait_for_events(300).len(), 300);
    assert_eq!(serving.events.stats().clients_ended_behind, 0);
}

#[test]
fn stopping_ends_every_stream_cleanly_and_soon() {
    // Each is two descriptors here, and other tests run beside this one.
    let limit = raise_descriptor_limit().unwrap();
    let count = match limit {
        Some(limit) if limit < 4_096 => 200,
        _ => 1_000,
    };
    let mut serving = Serving::with(ServerSettings {
        clients_per_address: count,
        ..ServerSettings::default()
    });
    let mut clients: Vec<_> = (0..count).map(|_| serving.stream(STREAM, "")).collect();
    serving.wait_for_clients(count as u64);
    let start = Instant::now();
    serving.server.take();
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    let mut waits = std::collections::BTreeSet::new();
    for client in &mut clients {
        client.read_to_end();
        assert!(client.text.ends_with("0\r\n\r\n"), "{:?}", client.text);
        let body = client.body();
        let retry = body.trim_end().rsplit("retry: ").next().unwrap();
        let wait_ms: u32 = retry.parse().unwrap();
        assert!((1_000..=10_000).contains(&wait_ms));
        waits.insert(wait_ms);
    }
    assert!(
        waits.len() > 100,
        "they come back spread over time: {waits:?}"
    );
    assert_eq!(serving.events.stats().active_clients, 0);
}

#[test]
fn a_stream_that_has_lived_long_is_ended_to_come_back() {
    let serving = Serving::with(ServerSettings {
        lifetime: (Duration::from_millis(300), Duration::from_millis(600)),
        ..ServerSettings::default()
    });
    let mut client = serving.stream(STREAM, "");
    client.read_to_end();
    assert!(client.text.ends_with("0\r\n\r\n"), "{:?}", client.text);
    eventually("the count of it", || {
        serving.events.figures().ended_lifetime.get() == 1
    });
}
