//! The broadcaster without HTTP: every client sees each event once, or is told to start over.

#![expect(
    clippy::unwrap_used,
    reason = "its helpers are tests too: what fails here fails the test"
)]

use crate::serving::{error, job, pause};
use proptest::prelude::*;
use shelfcast::events::types::{Event, FileProcessed, JobStatus};
use shelfcast::events::{
    Broadcaster, Envelope, Filter, Joined, Joining, News, Queue, Scope, Settings,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

const BARE: Envelope = Envelope {
    before: |_| String::new(),
    after: "",
};

fn processed(file: i64) -> Event {
    Event::FileProcessed(FileProcessed {
        file,
        filepath: String::new(),
        filename: String::new(),
        success: true,
        error: None,
        processor: String::new(),
        duration_ms: 0,
    })
}

/// What a client can do, and what can happen to it.
#[derive(Clone, Debug)]
enum Action {
    Publish(u8),
    /// The server looks at what is new.
    Step,
    /// The client's socket takes so many bytes.
    Take(usize, u16),
    /// The connection is cut; what was not taken is lost.
    Cut(usize),
    /// A client without a connection comes back with its last id.
    Return(usize),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        3 => (1u8..40).prop_map(Action::Publish),
        3 => Just(Action::Step),
        4 => (0usize..3, 1u16..6_000).prop_map(|(client, bytes)| Action::Take(client, bytes)),
        1 => (0usize..3).prop_map(Action::Cut),
        2 => (0usize..3).prop_map(Action::Return),
    ];
    prop::collection::vec(action, 1..120)
}

/// A client as a browser is one: it keeps its last id, and sees only complete messages.
#[derive(Default)]
struct Browser {
    queue: Option<Queue>,
    partial: String,
    last_id: Option<String>,
    /// Numbers of the events since the last start over.
    seen: Vec<u64>,
}

impl Browser {
    fn take(&mut self, mut bytes: usize) {
        let Some(queue) = &mut self.queue else { return };
        while bytes > 0 {
            let Some(front) = queue.front() else { break };
            let taken = bytes.min(front.len());
            self.partial
                .push_str(std::str::from_utf8(&front[..taken]).unwrap());
            queue.written(taken, |_| {});
            bytes -= taken;
        }
        while let Some((message, rest)) = self.partial.split_once("\n\n") {
            let id = message.lines().find_map(|line| line.strip_prefix("id: "));
            let id = id.unwrap().to_owned();
            let number: u64 = id.split_once('-').unwrap().1.parse().unwrap();
            if message.contains("\"type\":\"reset\"") {
                self.seen.clear();
            } else {
                self.seen.push(number);
            }
            self.last_id = Some(id);
            self.partial = rest.to_owned();
        }
    }

    fn cut(&mut self) {
        self.queue = None;
        self.partial.clear();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is published, taken, cut and resumed in whatever order: each client sees ids that
    /// only grow, without a gap since it began or was told to start over, and ends up complete.
    #[test]
    fn every_client_sees_each_event_once_or_is_reset(actions in actions()) {
        let events = Broadcaster::start(Settings {
            history_events: 60,
            ..Settings::default()
        }).unwrap();
        let mut feed = events.feed(|| {});
        let mut clients: [Browser; 3] = Default::default();
        let mut published = 0;
        for action in &actions {
            match action {
                Action::Publish(count) => {
                    for _ in 0..*count {
                        published += 1;
                        events.publish(processed(published), Scope::Everyone);
                    }
                }
                Action::Step => serve(&mut feed, &mut clients, &[]),
                Action::Take(client, bytes) => clients[*client].take(usize::from(*bytes)),
                Action::Cut(client) => clients[*client].cut(),
                Action::Return(client) => {
                    if clients[*client].queue.is_none() {
                        serve(&mut feed, &mut clients, &[*client]);
                    }
                }
            }
        }
        // In the end everybody comes back and reads on until nothing is left.
        for place in 0..clients.len() {
            if clients[place].queue.is_none() {
                serve(&mut feed, &mut clients, &[place]);
            }
        }
        serve(&mut feed, &mut clients, &[]);
        for place in 0..clients.len() {
            clients[place].take(usize::MAX);
            if clients[place].queue.is_none() {
                serve(&mut feed, &mut clients, &[place]);
                clients[place].take(usize::MAX);
            }
        }
        for client in &clients {
            let gaps = client.seen.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
            prop_assert_eq!(gaps, 0, "seen {:?}", client.seen);
            prop_assert_eq!(client.seen.last().copied(), (published > 0).then_some(published.unsigned_abs()));
        }
    }
}

/// One look of the server: news for those who are connected, and those who join.
fn serve(feed: &mut shelfcast::events::Feed, clients: &mut [Browser; 3], join: &[usize]) {
    let joining: Vec<Joining> = join
        .iter()
        .map(|place| Joining {
            filter: Filter::everything(),
            after: clients[*place].last_id.clone(),
        })
        .collect();
    let step = feed.step(&joining);
    match step.news {
        News::Lost => clients.iter_mut().for_each(Browser::cut),
        News::Records(records) => {
            let buffers = Joined::of_records(&records, &Filter::everything(), BARE);
            for client in clients.iter_mut() {
                let Some(queue) = &mut client.queue else {
                    continue;
                };
                for joined in &buffers {
                    queue.push(joined);
                }
                if queue.is_behind() {
                    client.cut();
                }
            }
        }
    }
    for (place, opening) in join.iter().zip(step.openings) {
        let mut queue = Queue::new(BARE);
        if let Some(reset) = &opening.reset {
            queue.push(&Joined::of_bytes(reset, BARE));
        }
        queue.push_replay(opening.records);
        clients[*place].queue = Some(queue);
    }
}

#[test]
fn publishers_and_readers_at_once_lose_and_double_nothing() {
    let events = Broadcaster::start(Settings {
        history_events: 100_000,
        ..Settings::default()
    })
    .unwrap();
    let start = events.last_event_id().to_string();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for file in 0..500 {
                    events.publish(processed(file), Scope::Everyone);
                }
            });
        }
        for _ in 0..4 {
            scope.spawn(|| {
                let mut after = start.clone();
                let mut next = 1;
                while next <= 2_000 {
                    let wait = Duration::from_secs(10);
                    let polled = events.poll(Some(&after), wait, &Filter::everything());
                    assert!(!polled.reset);
                    assert!(!polled.events.is_empty(), "nothing came after {after}");
                    for record in &polled.events {
                        assert_eq!(record.id().sequence, next);
                        next += 1;
                    }
                    after = polled.last_event_id.to_string();
                }
            });
        }
    });
}

#[test]
fn the_queue_ends_at_a_hundred_and_priority_has_its_own_room() {
    let events = Broadcaster::start(Settings::default()).unwrap();
    let mut feed = events.feed(|| {});
    let mut joined_of = |event: Event| -> Arc<Joined> {
        events.publish(event, Scope::Everyone);
        let News::Records(records) = feed.step(&[]).news else {
            panic!("nothing is lost here");
        };
        Joined::of_records(&records, &Filter::everything(), BARE).remove(0)
    };
    let plain = joined_of(processed(1));
    let urgent = joined_of(error("disk_full"));
    let last_word = joined_of(job("a", JobStatus::Completed));
    let mut queue = Queue::new(BARE);
    for _ in 0..100 {
        queue.push(&plain);
    }
    for _ in 0..8 {
        queue.push(&urgent);
        queue.push(&last_word);
    }
    assert!(!queue.is_behind(), "a hundred and sixteen wait");
    assert_eq!(queue.lag(), 116);
    let mut over = Queue::new(BARE);
    for _ in 0..101 {
        over.push(&plain);
    }
    assert!(over.is_behind());
    let first = queue.front().unwrap().len();
    let mut delivered = 0;
    queue.written(first - 1, |_| delivered += 1);
    assert_eq!(delivered, 0, "not as a whole yet");
    queue.written(1, |_| delivered += 1);
    assert_eq!((delivered, queue.lag()), (1, 115));
}

#[test]
fn the_history_is_bounded_by_events_and_by_bytes() {
    let events = Broadcaster::start(Settings {
        history_events: 10,
        history_bytes: 2_000,
    })
    .unwrap();
    let start = events.last_event_id().to_string();
    let reset = |after: &str| {
        events
            .poll(Some(after), Duration::ZERO, &Filter::everything())
            .reset
    };
    for _ in 0..5 {
        events.publish(error("small"), Scope::Everyone);
    }
    assert!(!reset(&start));
    let late = events.last_event_id().to_string();
    events.publish(error(&"x".repeat(1_500)), Scope::Everyone);
    assert!(reset(&start), "the bytes are used up");
    assert!(!reset(&late));
    for _ in 0..11 {
        events.publish(error("small"), Scope::Everyone);
    }
    assert!(reset(&late), "the events are used up");
}

#[test]
fn a_poll_waits_for_what_it_asked_for_and_no_longer_than_it_may() {
    let events = Broadcaster::start(Settings::default()).unwrap();
    let start = events.last_event_id().to_string();
    let before = Instant::now();
    let wait = Duration::from_millis(50);
    assert!(
        events
            .poll(Some(&start), wait, &Filter::everything())
            .events
            .is_empty()
    );
    assert!(before.elapsed() >= wait);
    let patience = Duration::from_secs(20);
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| events.poll(Some(&start), patience, &Filter::everything()));
        pause(Duration::from_millis(20));
        events.publish(error("now"), Scope::Everyone);
        let polled = poll.join().unwrap();
        assert_eq!(polled.events.len(), 1);
        assert_eq!(polled.last_event_id.sequence, 1);
        let before = Instant::now();
        let last = polled.last_event_id.to_string();
        let waiting = scope.spawn({
            let events = events.clone();
            move || events.poll(Some(&last), patience, &Filter::everything())
        });
        events.stop();
        assert!(waiting.join().unwrap().events.is_empty());
        assert!(before.elapsed() < patience, "stopping answers it");
    });
}
