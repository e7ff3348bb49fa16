//! Directories that wait to be read, and those being read.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::library::crawl::IN_FLIGHT;
use crate::library::tree::DirId;

/// A directory to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) dir: DirId,
    /// The directories below too.
    pub(super) recursive: bool,
    /// Only if its change time says that a name in it changed.
    pub(super) unless_changed: bool,
}

/// One directory being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    /// Something in it was looked at meanwhile.
    pub(super) touched: bool,
    pub(super) task: Task,
    serial: u64,
}

/// A request that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) dir: DirId,
    pub(super) at: Instant,
}

/// All reading that is to be done. Adding, taking and merging are O(1), whatever waits.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// The last one is read first, so that a subtree is finished before its neighbour is begun and
    /// the queue stays short. Those that are not in `waiting` any more are stale.
    order: Vec<DirId>,
    waiting: HashMap<DirId, Task>,
    in_flight: HashMap<DirId, Flight>,
    /// Requests whose answers have not come, in order, those that nobody waits for any more included.
    outstanding: VecDeque<Asked>,
    serial: u64,
}

impl Tasks {
    /// Adds a task; with one for the same directory it becomes one that does what both want.
    pub(super) fn add(&mut self, task: Task) {
        match self.waiting.entry(task.dir) {
            std::collections::hash_map::Entry::Occupied(mut waiting) => {
                let waiting = waiting.get_mut();
                waiting.recursive |= task.recursive;
                waiting.unless_changed &= task.unless_changed;
            }
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(task);
                self.order.push(task.dir);
            }
        }
    }

    /// Takes the next task, if one more request may be under way.
    pub(super) fn next(&mut self) -> Option<Task> {
        if self.outstanding.len() >= IN_FLIGHT {
            return None;
        }
        let mut put_off = Vec::new();
        let mut found = None;
        while let Some(dir) = self.order.pop() {
            if self.in_flight.contains_key(&dir) {
                put_off.push(dir); // once more, when this reading is back
            } else if let Some(task) = self.waiting.remove(&dir) {
                found = Some(task);
                break;
            }
        }
        self.order.append(&mut put_off);
        found
    }

    /// Notes that a task was handed to the crawler; returns the number of the request.
    pub(super) fn begin(&mut self, task: Task) -> u64 {
        self.serial += 1;
        self.outstanding.push_back(Asked {
            dir: task.dir,
            at: Instant::now(),
        });
        let flight = Flight {
            touched: false,
            task,
            serial: self.serial,
        };
        self.in_flight.insert(task.dir, flight);
        self.serial
    }

    /// Takes in that an answer came; `None` if nobody waits for it any more.
    pub(super) fn end(&mut self, dir: DirId, serial: u64) -> Option<Flight> {
        self.outstanding.pop_front(); // the crawler answers in order
        match self.in_flight.entry(dir) {
            std::collections::hash_map::Entry::Occupied(flight)
                if flight.get().serial == serial =>
            {
                Some(flight.remove())
            }
            _ => None,
        }
    }

    /// Returns the request that the crawler is at, if one is under way.
    pub(super) fn oldest(&self) -> Option<Asked> {
        self.outstanding.front().copied()
    }

    /// Lets everything that is under way wait again: it will not be answered.
    pub(super) fn ask_again(&mut self) {
        self.outstanding.clear();
        for (_, flight) in std::mem::take(&mut self.in_flight) {
            self.add(flight.task);
        }
    }

    /// Notes that something in a directory was looked at: a listing under way is only a hint.
    pub(super) fn touch(&mut self, dir: DirId) {
        if let Some(flight) = self.in_flight.get_mut(&dir) {
            flight.touched = true;
        }
    }

    /// Forgets what is not to be read any more; answers under way will be for nobody.
    pub(super) fn retain(&mut self, keep: impl Fn(DirId) -> bool) {
        self.waiting.retain(|dir, _| keep(*dir));
        self.in_flight.retain(|dir, _| keep(*dir));
        self.order.retain(|dir| keep(*dir));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// Returns all directories that wait or are being read.
    pub(super) fn directories(&self) -> impl Iterator<Item = DirId> {
        self.waiting.keys().chain(self.in_flight.keys()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(dir: u32) -> Task {
        Task {
            dir: DirId(dir),
            recursive: false,
            unless_changed: true,
        }
    }

    #[test]
    fn two_tasks_for_one_directory_become_one_that_does_both() {
        let mut tasks = Tasks::default();
        tasks.add(task(1));
        tasks.add(Task {
            recursive: true,
            unless_changed: false,
            ..task(1)
        });
        let merged = tasks.next().unwrap();
        assert!(merged.recursive && !merged.unless_changed);
        assert!(tasks.next().is_none());
    }

    #[test]
    fn a_directory_being_read_is_read_again_only_when_it_is_back() {
        let mut tasks = Tasks::default();
        tasks.add(task(1));
        let first = tasks.next().unwrap();
        let serial = tasks.begin(first);
        tasks.add(task(1));
        assert!(tasks.next().is_none());
        tasks.touch(DirId(1));
        assert!(
            tasks
                .end(DirId(1), serial)
                .is_some_and(|flight| flight.touched)
        );
        assert!(tasks.next().is_some());
    }

    #[test]
    fn what_will_not_be_answered_is_asked_again() {
        let mut tasks = Tasks::default();
        for dir in 1..=2 {
            tasks.add(task(dir));
            let next = tasks.next().unwrap();
            tasks.begin(next);
        }
        assert_eq!(tasks.oldest().unwrap().dir, DirId(1));
        tasks.retain(|dir| dir == DirId(2));
        tasks.ask_again();
        assert!(tasks.oldest().is_none());
        assert_eq!(tasks.next().unwrap().dir, DirId(2));
        assert!(tasks.next().is_none());
    }

    #[test]
    fn an_answer_to_a_forgotten_request_is_for_nobody() {
        let mut tasks = Tasks::default();
        tasks.add(task(1));
        let first = tasks.next().unwrap();
        let old = tasks.begin(first);
        tasks.retain(|_| false);
        tasks.add(task(1));
        let again = tasks.next().unwrap();
        let new = tasks.begin(again);
        assert!(tasks.end(DirId(1), old).is_none());
        assert!(tasks.end(DirId(1), new).is_some());
        assert!(tasks.is_empty());
    }
}
