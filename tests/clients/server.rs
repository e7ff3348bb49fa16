//! A small server for clients that nobody here wrote: `tests/clients/run` starts it.
//!
//! `stream_server ADDRESS [PAGE]` serves the events and their figures, publishes the body of
//! `POST /publish` as an event, and gives PAGE at `/`. It ends with its standard input.

#![expect(
    clippy::unwrap_used,
    reason = "a program for tests: what fails ends it"
)]

use shelfcast::events::types::{ErrorEvent, Event};
use shelfcast::events::{Broadcaster, Scope, Settings};
use shelfcast::http::request::{ApiError, Gate, Request, Response, Routes};
use shelfcast::http::{Parts, Server, ServerSettings, bind};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap().parse().unwrap();
    let page = arguments.next().map(|path| std::fs::read(path).unwrap());
    let events = Broadcaster::start(Settings::default()).unwrap();
    let parts = Parts {
        events: events.clone(),
        routes: Arc::new(Site {
            events,
            page: page.unwrap_or_default(),
        }),
        gate: Arc::new(Open),
        folders: Arc::new(|name| name == "comics"),
        metrics: Arc::default(),
    };
    let settings = ServerSettings {
        heartbeat: Duration::from_secs(2),
        retry: Duration::from_millis(500), // so that coming back does not take the test's time
        ..ServerSettings::default()
    };
    let server = Server::start(settings, vec![bind(address).unwrap()], parts).unwrap();
    drop(std::io::stdin().read(&mut [0; 1]));
    server.stop();
}

struct Site {
    events: Broadcaster,
    page: Vec<u8>,
}

impl Routes for Site {
    fn answer(&self, request: &Request) -> Response {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/") => Response {
                status: 200,
                headers: vec![("Content-Type", "text/html; charset=utf-8".to_owned())],
                body: self.page.clone().into(),
            },
            ("POST", "/publish") => {
                let event = Event::Error(ErrorEvent {
                    code: String::from_utf8_lossy(&request.body).into_owned(),
                    message: String::new(),
                    hint: None,
                    folder: None,
                });
                let id = self.events.publish(event, Scope::Everyone);
                Response::json(202, &id.to_string())
            }
            _ => ApiError::new(404, "not_found", "there is nothing here").into(),
        }
    }
}

struct Open;

impl Gate for Open {
    fn admit(&self, _: &Request) -> Result<(), ApiError> {
        Ok(())
    }
}
