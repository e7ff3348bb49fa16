//! Work on disks, **apart** from the library's thread.
//!
//! A disk that does not answer (a network mount whose server is away, a driver that hangs) keeps
//! whoever asks it within the kernel, where nothing interrupts it. So the library's thread asks a disk
//! nothing that may not be in memory: it waits for one that does, looks at its pulse, and where that stands still leaves
//! it behind and goes on with another. One that was left behind ends by itself once the disk answers,
//! which is the sign that it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::thread;

/// Beats whenever the disk has answered something: a directory of a million files may take minutes,
/// but no single answer does.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    beats: AtomicU64,
    /// Nobody waits any more: what is still to be done is not done.
    left: AtomicBool,
}

impl Pulse {
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }
}

/// Tells how long a pulse has stood still.
#[derive(Debug)]
pub(crate) struct Stillness {
    pulse: Arc<Pulse>,
    beats: u64,
    since: Instant,
}

impl Stillness {
    fn of(pulse: &Arc<Pulse>) -> Stillness {
        Stillness {
            pulse: Arc::clone(pulse),
            beats: pulse.beats(),
            since: Instant::now(),
        }
    }

    /// Returns since when nothing has been answered, as far as it was looked.
    pub(crate) fn since(&mut self) -> Instant {
        let beats = self.pulse.beats();
        if beats != self.beats {
            self.beats = beats;
            self.since = Instant::now();
        }
        self.since
    }
}

type Job = Box<dyn FnOnce(&Pulse) + Send>;

/// A thread that asks disks.
#[derive(Debug)]
pub(crate) struct Apart {
    name: &'static str,
    stack_bytes: usize,
    most: usize,
    pulse: Arc<Pulse>,
    // Closing `jobs` ends the thread, which is joined when `thread` is dropped after it.
    jobs: Sender<Job>,
    thread: thread::Handle,
}

impl Apart {
    /// Starts the thread; at most `most` pieces of work wait for it.
    ///
    /// # Errors
    /// The kernel has no thread for it.
    pub(crate) fn start(
        name: &'static str,
        stack_bytes: usize,
        most: usize,
    ) -> std::io::Result<Apart> {
        let (jobs, inbox) = bounded::<Job>(most);
        let pulse = Arc::new(Pulse::default());
        let beats = Arc::clone(&pulse);
        let thread = thread::spawn(name, stack_bytes, move || {
            for job in inbox {
                if beats.left.load(Ordering::Relaxed) {
                    return;
                }
                job(&beats);
                beats.beat();
            }
        })?;
        Ok(Apart {
            name,
            stack_bytes,
            most,
            pulse,
            jobs,
            thread,
        })
    }

    /// Hands over work; false if as much waits as may.
    pub(crate) fn begin(&self, work: impl FnOnce(&Pulse) + Send + 'static) -> bool {
        self.jobs.try_send(Box::new(work)).is_ok()
    }

    /// Hands over work and returns where its answer comes.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Pulse) -> T + Send + 'static,
    ) -> Receiver<T> {
        let (answer, answers) = bounded(1);
        // Without room the answer never comes, as from a disk that hangs.
        let begun = self.begin(move |pulse| {
            if answer.send(work(pulse)).is_err() {
                log::debug!("a disk has answered after all");
            }
        });
        debug_assert!(begun, "one question at a time");
        answers
    }

    pub(crate) fn stillness(&self) -> Stillness {
        Stillness::of(&self.pulse)
    }

    /// Leaves the thread to the disk that it hangs on, and goes on with a new one.
    ///
    /// # Errors
    /// The kernel has no thread for it; nothing has changed then.
    pub(crate) fn leave(&mut self) -> std::io::Result<LeftBehind> {
        let next = Apart::start(self.name, self.stack_bytes, self.most)?;
        let before = std::mem::replace(self, next);
        before.pulse.left.store(true, Ordering::Relaxed);
        Ok(LeftBehind(Some(before.thread)))
    }
}

/// A thread that hangs on a disk; dropping it does not wait for it.
#[derive(Debug)]
pub(crate) struct LeftBehind(Option<thread::Handle>);

impl LeftBehind {
    /// The disk has answered.
    pub(crate) fn is_back(&self) -> bool {
        self.0.as_ref().is_none_or(thread::Handle::is_finished)
    }
}

impl Drop for LeftBehind {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            thread.detach();
        }
    }
}

/// How long a disk may take to answer, by what it is. A network or a driver answers at once or not at
/// all; local disks may have to spin up, one after another, and the kernel ends what they never answer.
pub(crate) fn patience(is_local: bool) -> Duration {
    Duration::from_secs(if is_local { 30 } else { 10 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_hangs_is_left_behind_and_seen_to_come_back() {
        let mut apart = Apart::start("test", 64 * 1024, 1).unwrap();
        let (release, held) = bounded::<()>(0);
        let hangs = apart.ask(move |_| held.recv().is_err());
        let mut stillness = apart.stillness();
        let since = stillness.since();
        assert!(hangs.recv_timeout(Duration::from_millis(20)).is_err());
        assert_eq!(stillness.since(), since);

        let left = apart.leave().unwrap();
        assert!(!left.is_back());
        assert_eq!(apart.ask(|_| 5).recv(), Ok(5)); // others go on
        drop(release);
        assert_eq!(hangs.recv(), Ok(true));
        while !left.is_back() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn one_that_works_for_long_has_a_pulse() {
        let apart = Apart::start("test", 64 * 1024, 1).unwrap();
        let mut stillness = apart.stillness();
        let before = stillness.since();
        assert_eq!(apart.ask(Pulse::beat).recv(), Ok(()));
        assert!(stillness.since() > before);
    }
}
