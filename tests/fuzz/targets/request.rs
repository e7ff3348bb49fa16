//! A whole request: head, access rules, and the route with a library behind it. So the query, JSON
//! bodies, cursors, `Host`, `Origin` and `Last-Event-ID` are read by who reads them in the service.

#![no_main]

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use shelfcast::config::{AccessConfig, Allow, FolderConfig, ProcessingConfig};
use shelfcast::events::{self, Broadcaster, EventId};
use shelfcast::http::access::Access;
use shelfcast::http::api::events::joining;
use shelfcast::http::head;
use shelfcast::http::request::{Gate, Request, Routes};
use shelfcast::http::routes::ApiRoutes;
use shelfcast::library::{Library, Settings};
use shelfcast::processing::Processing;

/// What answers; made once.
struct Desk {
    access: Arc<Access>,
    library: Arc<Library>,
    routes: ApiRoutes,
    _events: Broadcaster,
    _directory: tempfile::TempDir,
}

/// A log that formats its lines, since that reads what was sent too, and throws them away.
struct Formatted;

impl log::Log for Formatted {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut line = String::new();
        write!(line, "{}", record.args()).expect("writing to memory does not fail");
    }

    fn flush(&self) {}
}

fn desk() -> &'static Desk {
    static DESK: OnceLock<Desk> = OnceLock::new();
    DESK.get_or_init(|| {
        log::set_logger(&Formatted).expect("nobody else logs");
        log::set_max_level(log::LevelFilter::Debug);
        // In memory where there is such a place: jobs are written down.
        let memory = std::path::Path::new("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let directory = directory.expect("a directory");
        let folder = directory.path().join("comics");
        for path in ["a/1.cbz", "a/2.cbz", "b c/näme.cbz"] {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
            std::fs::write(path, "content").expect("a file");
        }
        let events = Broadcaster::start(events::Settings::default()).expect("events");
        let settings = Settings {
            state: directory.path().join("state"),
            folders: vec![FolderConfig {
                path: folder,
                name: "comics".to_owned(),
                include: Vec::new(),
                ignore: Vec::new(),
            }],
            poll: Duration::from_secs(60),
            automatic: false,
        };
        let state = settings.state.clone();
        let (library, work) = Library::start(settings, events.clone()).expect("a library");
        let library = Arc::new(library);
        library.sync(Duration::from_secs(30)).expect("the files");
        let processing = Processing::start(
            &ProcessingConfig {
                automatic: false,
                workers: 1,
            },
            Vec::new(),
            &state,
            Arc::clone(&library) as _,
            work,
            events.clone(),
        );
        let access = Arc::new(Access::new(&AccessConfig {
            allow: vec![Allow::Lan],
            hosts: vec!["media.example".to_owned()],
            token: None,
        }));
        Desk {
            access: Arc::clone(&access),
            library: Arc::clone(&library),
            routes: ApiRoutes::new(library, Arc::new(processing.expect("processing")), access),
            _events: events,
            _directory: directory,
        }
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Some(end) = head::end(bytes, 0) else {
        return;
    };
    let Ok(head) = head::parse(&bytes[..end]) else {
        return;
    };
    let request = Request {
        method: head.method,
        path: head.path,
        query: head.query,
        headers: head.headers,
        body: bytes[end..].to_vec(),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let desk = desk();
    if desk.access.admit(&request).is_err() {
        return;
    }
    if let Ok(joining) = joining(&request, &|name| desk.library.has_folder(name))
        && let Some(after) = joining.after
        && let Ok(id) = after.parse::<EventId>()
    {
        assert_eq!(id.to_string(), after);
    }
    // It waits for the disk, which says nothing about the bytes.
    if request.path == "/api/sync" {
        return;
    }
    let response = desk.routes.answer(&request);
    assert_ne!(response.status, 500, "{request:?}");
    let kind = response
        .headers
        .iter()
        .find(|(name, _)| *name == "Content-Type");
    if kind.is_some_and(|(_, kind)| kind.starts_with("application/json")) {
        assert!(std::str::from_utf8(&response.body).is_ok(), "{request:?}");
    }
});
