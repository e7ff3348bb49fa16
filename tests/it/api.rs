//! The interface is what `/openapi.json` says it is: every route is in it, and answers have the
//! shapes that it gives. The checker knows the part of JSON Schema that the document uses.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of tests: what fails here fails the test"
)]

use crate::service::Daemon;
use crate::serving::{eventually, messages};
use serde_json::Value;

/// Says where `value` differs from `schema`, nothing where it does not.
fn mismatch(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    for (key, rule) in schema.as_object().expect("a schema is an object") {
        let wrong = match key.as_str() {
            "$ref" => {
                let pointer = rule.as_str()?.trim_start_matches('#');
                let target = document
                    .pointer(pointer)
                    .expect("the reference leads somewhere");
                mismatch(document, target, value, at)
            }
            "type" => {
                let kinds = match rule {
                    Value::Array(kinds) => kinds.clone(),
                    one => vec![one.clone()],
                };
                let fits = kinds.iter().any(|kind| is_a(value, kind.as_str().unwrap()));
                (!fits).then(|| format!("{at}: {value} is no {rule}"))
            }
            "enum" => {
                let known = rule.as_array().unwrap().contains(value);
                (!known).then(|| format!("{at}: {value} is none of {rule}"))
            }
            "const" => (rule != value).then(|| format!("{at}: {value} is not {rule}")),
            "minimum" => {
                let less = value
                    .as_f64()
                    .is_some_and(|number| number < rule.as_f64().unwrap());
                less.then(|| format!("{at}: {value} is less than {rule}"))
            }
            "maximum" => {
                let more = value
                    .as_f64()
                    .is_some_and(|number| number > rule.as_f64().unwrap());
                more.then(|| format!("{at}: {value} is more than {rule}"))
            }
            "minItems" => {
                let count = value.as_array().map_or(usize::MAX, Vec::len) as u64;
                (count < rule.as_u64().unwrap()).then(|| format!("{at}: too few items"))
            }
            "required" => rule.as_array().unwrap().iter().find_map(|name| {
                let absent = value.get(name.as_str().unwrap()).is_none();
                absent.then(|| format!("{at}: {name} is missing in {value}"))
            }),
            "properties" => rule.as_object().unwrap().iter().find_map(|(name, schema)| {
                mismatch(document, schema, value.get(name)?, &format!("{at}.{name}"))
            }),
            "additionalProperties" if rule.is_object() => {
                value.as_object().unwrap().iter().find_map(|(name, value)| {
                    mismatch(document, rule, value, &format!("{at}.{name}"))
                })
            }
            "items" => value
                .as_array()?
                .iter()
                .enumerate()
                .find_map(|(place, value)| {
                    mismatch(document, rule, value, &format!("{at}[{place}]"))
                }),
            "allOf" => {
                let mut all = rule.as_array().unwrap().iter();
                all.find_map(|schema| mismatch(document, schema, value, at))
            }
            "oneOf" => {
                let schemas = rule.as_array().unwrap().iter();
                let failed: Vec<_> = schemas
                    .filter_map(|schema| mismatch(document, schema, value, at))
                    .collect();
                let fitting = rule.as_array().unwrap().len() - failed.len();
                (fitting != 1).then(|| format!("{at}: {fitting} of oneOf fit: {failed:?}"))
            }
            // These say nothing that an answer could break.
            "description" | "default" | "pattern" | "additionalProperties" => None,
            other => panic!("{at}: the checker does not know {other:?}"),
        };
        if wrong.is_some() {
            return wrong;
        }
    }
    None
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("unknown type {other:?}"),
    }
}

fn assert_fits(document: &Value, schema: &Value, value: &Value, what: &str) {
    let wrong = mismatch(document, schema, value, what);
    assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
}

/// Adds the names that a schema of an object knows, those of its parts included.
fn known_names<'d>(document: &'d Value, schema: &'d Value, names: &mut Vec<&'d str>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        known_names(document, target.unwrap(), names);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        known_names(document, part, names);
    }
    let properties = schema["properties"].as_object().into_iter().flatten();
    names.extend(properties.map(|(name, _)| name.as_str()));
}

/// Returns the answer that the document gives to a status, references followed.
fn documented<'d>(document: &'d Value, path: &str, method: &str, status: u16) -> &'d Value {
    let responses = &document["paths"][path][method]["responses"];
    let response = responses
        .get(status.to_string())
        .unwrap_or_else(|| panic!("{method} {path}: {status} is not documented"));
    match response["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => response,
    }
}

fn document(service: &Daemon) -> Value {
    service.get("/openapi.json").json()
}

#[test]
fn the_description_is_of_this_version_and_every_reference_leads_somewhere() {
    let text = include_str!("../../src/http/openapi.json");
    let document: Value = serde_json::from_str(text).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    for part in text.split("\"$ref\": \"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

#[test]
fn every_example_has_the_shape_it_is_an_example_of() {
    fn walk(document: &Value, at: &str, value: &Value, count: &mut usize) {
        if let Some(content) = value.get("application/json")
            && let Some(example) = content.get("example")
        {
            assert_fits(document, &content["schema"], example, at);
            *count += 1;
        }
        if let Some(members) = value.as_object() {
            for (name, member) in members {
                walk(document, &format!("{at}/{name}"), member, count);
            }
        }
    }
    let text = include_str!("../../src/http/openapi.json");
    let document: Value = serde_json::from_str(text).unwrap();
    let mut count = 0;
    walk(&document, "", &document, &mut count);
    assert!(count > 20, "{count}");
}

/// The paths of routes.rs and router.rs, read from their source: nothing lists them at run time.
fn routes() -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let source = include_str!("../../src/http/routes.rs");
    let (get, rest) = source.split_once("fn post(").unwrap();
    let (post, _) = rest.split_once("type Answered").unwrap();
    for (method, part) in [("get", get), ("post", post)] {
        for line in part.lines().filter(|line| line.contains("] =>")) {
            let pattern = line.split_once('[').unwrap().1.split(']').next().unwrap();
            let path: String = pattern
                .split(", ")
                .map(|part| match part.strip_prefix('"') {
                    Some(fixed) => format!("/{}", fixed.trim_end_matches('"')),
                    None => format!("/{{{part}}}"),
                })
                .collect();
            found.push((method, path));
        }
    }
    let router = include_str!("../../src/http/router.rs");
    for line in router.lines().filter(|line| line.contains("=> get(&||")) {
        found.push(("get", line.split('"').nth(1).unwrap().to_owned()));
    }
    found.push(("get", "/".to_owned())); // the page's
    found.sort();
    found
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let text = include_str!("../../src/http/openapi.json");
    let document: Value = serde_json::from_str(text).unwrap();
    let mut described = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described.push((if method == "get" { "get" } else { "post" }, path.clone()));
        }
    }
    described.sort();
    assert_eq!(described, routes());
}

#[test]
fn the_list_is_sent_again_only_when_it_is_another() {
    let service = Daemon::start("");
    // The last event of a start without files; with each the list has another tag.
    eventually("the start to be over", || {
        let told = service.get("/api/events?types=watcher_status").json();
        told["events"][0]["data"]["state"] == "watching"
    });
    let ask = |query: &str, tags: &str| {
        service.ask(
            "GET",
            &format!("/api/files{query}"),
            &format!("Host: localhost\r\nIf-None-Match: {tags}\r\n"),
            "",
        )
    };
    let tag = service.get("/api/files").header("etag").unwrap().to_owned();
    for tags in [
        tag.as_str(),
        &format!("W/{tag}"),
        &format!("\"x\", {tag}"),
        "*",
    ] {
        let answer = ask("", tags);
        assert_eq!((answer.status(), answer.body()), (304, ""), "{tags}");
        assert_eq!(answer.header("etag"), Some(tag.as_str()), "{tags}");
    }
    assert_eq!(ask("", "\"x\"").status(), 200);
    assert_eq!(ask("?limit=1", &tag).status(), 200, "another question");
    assert_eq!(ask("?folder=none", "*").status(), 400, "no question");
    let library = service.directory.path().join("library");
    std::fs::write(library.join("new"), "x").unwrap();
    service.get("/api/sync").json();
    let answer = ask("", &tag);
    assert_eq!(answer.status(), 200);
    assert_ne!(answer.header("etag"), Some(tag.as_str()));
}

#[test]
fn the_page_refuses_in_json_too() {
    let service = Daemon::start("");
    let wrong = service.ask("PUT", "/", "Host: localhost\r\n", "");
    assert_eq!(wrong.status(), 405);
    assert_eq!(wrong.header("allow"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(wrong.json()["error"]["code"], "method_not_allowed");
    let gone = service.get("/assets/main.000000000000.js");
    assert_eq!(gone.status(), 404);
    assert_eq!(gone.header("cache-control"), Some("no-store"));
    assert_eq!(gone.json()["error"]["code"], "not_found");
}

#[test]
fn real_answers_have_the_shapes_that_are_described() {
    let service = Daemon::start("");
    let document = document(&service);
    let library = service.directory.path().join("library");
    std::fs::create_dir(library.join("a")).unwrap();
    std::fs::write(library.join("a/1.cbz"), "one").unwrap();
    std::fs::write(library.join("2.cbz"), "one").unwrap();
    let check = |method: &str, path: &str, target: &str, body: &str, status: u16| {
        let answer = match method {
            "get" => service.get(target),
            _ => service.post(target, body),
        };
        assert_eq!(
            answer.status(),
            status,
            "{method} {target}: {}",
            answer.text
        );
        let response = documented(&document, path, method, status);
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path} {status}");
        assert_fits(
            &document,
            schema,
            &answer.json(),
            &format!("{method} {target}"),
        );
        let mut known = Vec::new();
        known_names(&document, schema, &mut known);
        for name in answer.json().as_object().unwrap().keys() {
            let is_known = known.contains(&name.as_str());
            assert!(is_known, "{method} {target}: {name} is not described");
        }
        answer.json()
    };
    check("get", "/api/sync", "/api/sync", "", 200);
    eventually("both to be processed", || {
        service.get("/api/files").json()["counts"]["processed"] == 2
    });
    let files = check("get", "/api/files", "/api/files", "", 200);
    let id = &files["files"][0]["id"];
    check("get", "/api/files", "/api/files?directory=library", "", 200);
    check("get", "/api/files", "/api/files?limit=0", "", 400);
    check(
        "get",
        "/api/files",
        "/api/files?directory=library/x",
        "",
        404,
    );
    let entry = check(
        "get",
        "/api/files/{id}",
        &format!("/api/files/{id}"),
        "",
        200,
    );
    assert_eq!(entry["history"].as_array().unwrap().len(), 1);
    check("get", "/api/files/{id}", "/api/files/99", "", 404);
    for (id, status) in [(id.to_string(), 200), ("99".to_owned(), 404)] {
        let target = format!("/api/files/{id}/duplicates");
        check("get", "/api/files/{id}/duplicates", &target, "", status);
    }
    check("get", "/api/cache/stats", "/api/cache/stats", "", 200);
    check("get", "/api/watcher/status", "/api/watcher/status", "", 200);
    check("get", "/api/history", "/api/history?limit=1", "", 200);
    check("get", "/api/version", "/api/version", "", 200);
    check("get", "/health", "/health", "", 200);
    check("get", "/api/events/stats", "/api/events/stats", "", 200);
    check("post", "/api/cache/rebuild", "/api/cache/rebuild", "", 202);
    let pause = r#"{"enabled":true}"#;
    check("post", "/api/watcher", "/api/watcher", pause, 200);
    check("post", "/api/watcher", "/api/watcher", "{}", 400);
    let accept = "/api/folders/{name}/accept";
    check("post", accept, "/api/folders/library/accept", "", 202);
    check("post", accept, "/api/folders/x/accept", "", 404);
    let all = r#"{"action":"verify","scope":"all"}"#;
    let job = check("post", "/api/jobs", "/api/jobs", all, 202);
    let job = format!("/api/jobs/{}", job["job_id"].as_str().unwrap());
    eventually("the job to end", || {
        service.get(&job).json()["status"] == "completed"
    });
    check("get", "/api/jobs/{id}", &job, "", 200);
    check("get", "/api/jobs", "/api/jobs", "", 200);
    let cancel = "/api/jobs/{id}/cancel";
    check("post", cancel, &format!("{job}/cancel"), "", 409);
    check("post", cancel, "/api/jobs/99/cancel", "", 404);
    let unknown = r#"{"action":"process","files":[99]}"#;
    check("post", "/api/jobs", "/api/jobs", unknown, 404);
    check("post", "/api/jobs", "/api/jobs", "{", 400);
    let epoch = files["last_event_id"]
        .as_str()
        .unwrap()
        .split('-')
        .next()
        .unwrap();
    let events = format!("/api/events?after={epoch}-0");
    let polled = check("get", "/api/events", &events, "", 200);
    assert!(polled["events"].as_array().unwrap().len() > 3, "{polled}");

    let head = "GET /api/events/stream?last_event_id=x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut stream = service.send(head.as_bytes());
    for (_, event) in stream.wait_for_events(4) {
        let schema = &document["components"]["schemas"]["Event"];
        assert_fits(&document, schema, &event, "event");
    }
    assert!(messages(&stream.body())[0].1["type"] == "reset");
}
