//! `GET /api/events`: the fallback of clients that cannot keep a stream.

use crate::serving::{Serving, pause};
use std::time::{Duration, Instant};

fn codes(answer: &serde_json::Value) -> Vec<String> {
    let events = answer["events"].as_array().expect("a list of events");
    let code = |event: &serde_json::Value| event["data"]["code"].as_str().map(str::to_owned);
    events.iter().filter_map(code).collect()
}

#[test]
fn it_answers_at_once_what_is_newer_and_carries_on_from_there() {
    let serving = Serving::start();
    let start = serving.events.last_event_id();
    serving.publish("a");
    let second = serving.publish("b");
    let answer = serving
        .get(&format!("/api/events?after={start}&wait=25"))
        .json();
    assert_eq!(codes(&answer), ["a", "b"]);
    assert_eq!(answer["last_event_id"], second.to_string());
    assert_eq!(answer["reset"], false);
    let event = &answer["events"][0];
    assert_eq!(event["type"], "error");
    assert!(event["id"].is_string() && event["timestamp"].is_f64());
    let rest = serving.get(&format!("/api/events?after={second}")).json();
    assert!(codes(&rest).is_empty());
}

#[test]
fn it_waits_until_something_that_passes_the_filter_comes() {
    let serving = Serving::start();
    let start = serving.events.last_event_id();
    let target = format!("/api/events?after={start}&wait=20&types=job_updated,error");
    let begun = Instant::now();
    let client = serving.send(&format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ));
    pause(Duration::from_millis(50));
    serving.publish("now");
    assert_eq!(codes(&client.answer().json()), ["now"]);
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn without_an_id_it_gives_the_last_of_each_type_and_with_a_useless_one_resets() {
    let serving = Serving::start();
    serving.publish("old");
    let last = serving.publish("new");
    let opening = serving.get("/api/events?wait=20").json();
    assert_eq!(
        (codes(&opening), &opening["reset"]),
        (vec!["new".to_owned()], &false.into())
    );
    for after in ["", "nonsense", "00000000-1", "%00"] {
        let answer = serving
            .get(&format!("/api/events?after={after}&wait=20"))
            .json();
        assert_eq!(codes(&answer), ["new"], "{after:?}");
        assert_eq!(answer["reset"], true, "{after:?}");
        assert_eq!(answer["last_event_id"], last.to_string());
    }
}

#[test]
fn wrong_parameters_are_told_apart() {
    let serving = Serving::start();
    for (query, code) in [
        ("wait=31", "bad_wait"),
        ("wait=-1", "bad_wait"),
        ("wait=x", "bad_wait"),
        ("types=x", "unknown_type"),
        ("folder=x", "unknown_folder"),
    ] {
        let answer = serving.get(&format!("/api/events?{query}"));
        assert_eq!(
            (answer.status(), &answer.json()["error"]["code"]),
            (400, &code.into())
        );
    }
}

#[test]
fn stopping_answers_those_who_wait() {
    let mut serving = Serving::start();
    let start = serving.events.last_event_id();
    let client = serving.send(&format!(
        "GET /api/events?after={start}&wait=30 HTTP/1.1\r\nHost: a\r\n\r\n"
    ));
    pause(Duration::from_millis(100));
    let begun = Instant::now();
    serving.server.take();
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(client.answer().status(), 200);
}
