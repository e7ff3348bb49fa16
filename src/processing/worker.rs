//! A **worker**: a thread that runs items, one after another.
//!
//! Live items go first. What becomes of an item is said in one [`Done`]; nothing of it is kept
//! here. A panic costs the item, not the worker.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select};

use super::Shelf;
use super::attempt::{Attempt, Flag};
use super::complete::Verdict;
use super::item::{Run, ended};
use super::job::JobId;
use super::processors::command::{Command, Scratch};
use super::processors::fingerprint::{self, BUFFER_BYTES};
use super::processors::orphans::Orphans;
use super::store::Store;
use super::trouble::Trouble;
use super::waiting::Wait;
use crate::events::types::Status;
use crate::library::work::{Item, Stamp};

/// How often an idle worker looks whether a process that survived KILL has ended.
const REAP_EVERY: Duration = Duration::from_secs(10);

/// What is known of a job by those who work for it.
#[derive(Debug)]
pub(crate) struct JobControl {
    pub(crate) id: JobId,
    /// Raised when the job is cancelled.
    pub(crate) called_off: Flag,
    /// The path that was begun last.
    pub(crate) current: Mutex<Option<String>>,
    /// How far each worker is with its item, in thousandths.
    pub(crate) partial: Box<[AtomicU32]>,
}

/// What to do with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Process it unless that was done for its content.
    Live,
    /// Process it in any case.
    Process,
    /// Compare content and fingerprint.
    Verify,
}

/// An item for a worker.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) item: Item,
    pub(crate) work: Work,
    pub(crate) job: Option<Arc<JobControl>>,
    /// How it has waited before.
    pub(crate) wait: Option<Wait>,
    /// The attempt before left it open whose edit it was: what this one sees, counts.
    pub(crate) in_doubt: bool,
}

impl Task {
    /// Returns how long the file was seen to stand still as it is now.
    pub(crate) fn still(&self, now: Stamp) -> Option<Duration> {
        let (stamp, since) = self.wait.as_ref()?.still?;
        (stamp == now).then(|| since.elapsed())
    }

    /// Returns how often in a row the file was not as the index says.
    pub(crate) fn missed(&self) -> u32 {
        self.wait.as_ref().map_or(0, |wait| wait.missed)
    }
}

/// An item that a worker is done with.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) task: Task,
    pub(crate) outcome: Outcome,
    pub(crate) trouble: Option<Trouble>,
    /// The entry was shown as `processing`.
    pub(crate) shown: bool,
    /// Time that the attempt took.
    pub(crate) took: Duration,
    /// Told when the outcome is kept: the worker begins nothing else before.
    pub(crate) kept: Option<Sender<()>>,
}

/// What became of an item.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It went through, or failed.
    Ended(Box<Ended>),
    /// There is nothing to say about it.
    Nothing,
    /// It is not complete; what is on the disk.
    NotYet(Verdict, Stamp),
    /// Its file is not what the index knows, or changed meanwhile: the library will tell.
    Changed,
    /// Its file changed while a command failed on it: perhaps because of that.
    ChangedAndFailed,
    /// It was called off.
    Interrupted,
}

/// An attempt that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Path of the entry for people, after its processors renamed it.
    pub(crate) path: String,
    pub(crate) stamp: Stamp,
    pub(crate) fingerprint: Option<[u8; 32]>,
    pub(crate) error: Option<String>,
    pub(crate) processor: String,
    pub(crate) exit: Option<i32>,
    pub(crate) output: Option<String>,
    pub(crate) took: Duration,
    /// Nanoseconds since 1970.
    pub(crate) at: i64,
    /// A command of the owner's was run.
    pub(crate) ran_command: bool,
    /// Nothing was done, since the content is known: no event, no history.
    pub(crate) quiet: bool,
}

/// What all workers share.
pub(crate) struct Crew {
    pub(crate) shelf: Arc<dyn Shelf>,
    pub(crate) commands: Vec<Command>,
    pub(crate) scratch: Scratch,
    pub(crate) orphans: Orphans,
    pub(crate) store: Arc<Store>,
    /// Raised when the service stops.
    pub(crate) stop: Flag,
}

/// One worker.
pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) crew: Arc<Crew>,
    pub(crate) live: Receiver<Task>,
    pub(crate) jobs: Receiver<Task>,
    pub(crate) results: Sender<Done>,
}

impl Worker {
    /// Runs items until there are no more to come.
    pub(crate) fn run(self) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let nobody = Flag::default();
        while let Some(task) = self.next() {
            let id = task.item.id;
            let called_off = task.job.as_ref().map_or(&nobody, |job| &job.called_off);
            let flags = [&self.crew.stop, called_off];
            // A failed entry that is only verified stays failed: what it was before could not be
            // said when it is given back.
            let shows = task.work != Work::Verify || task.item.status != Status::Failed;
            let attempt = Attempt::begin(&*self.crew.shelf, id, shows, flags);
            let mut run = Run {
                crew: &self.crew,
                number: self.number,
                task: &task,
                attempt: &attempt,
                buffer: &mut buffer,
                trouble: None,
            };
            // What a panic leaves half done is `run` alone, which is dropped.
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let outcome = run.run();
                (outcome, run.trouble.take())
            }));
            let (outcome, trouble) = caught.unwrap_or_else(|_| {
                log::error!("an item ended in a panic path={:?}", task.item.path);
                let error = "internal error: see the log".to_owned();
                let ended = ended(&task.item, &attempt, fingerprint::NAME, Some(error));
                (Outcome::Ended(ended.into()), None)
            });
            if let Some(job) = &task.job {
                job.set_partial(self.number, 0);
            }
            let (shown, took) = (attempt.is_shown(), attempt.elapsed());
            // A command's work must not be done twice after a kill -9, so its result is on record
            // before the next one begins. A fingerprint is quicker computed again than waited for.
            let ran_command = matches!(&outcome, Outcome::Ended(ended) if ended.ran_command);
            let (kept, told) = ran_command.then(|| bounded(1)).unzip();
            let done = Done {
                task,
                outcome,
                trouble,
                shown,
                took,
                kept,
            };
            if self.results.send(done).is_err() {
                return; // nobody is left to tell
            }
            if let Some(told) = told {
                told.recv().unwrap_or(()); // closed when it is kept, or when nobody is left to
            }
        }
    }

    fn next(&self) -> Option<Task> {
        if let Ok(task) = self.live.try_recv() {
            return Some(task);
        }
        if let Ok(task) = self.jobs.try_recv() {
            return Some(task);
        }
        loop {
            let patience = if self.crew.orphans.are_stuck() {
                after(REAP_EVERY)
            } else {
                never()
            };
            // Both are closed together, and emptied before.
            select! {
                recv(self.live) -> task => return task.ok(),
                recv(self.jobs) -> task => return task.ok(),
                recv(patience) -> _ => self.crew.orphans.reap(),
            }
        }
    }
}

impl JobControl {
    pub(crate) fn set_partial(&self, worker: usize, thousandths: u32) {
        if let Some(partial) = self.partial.get(worker) {
            partial.store(thousandths, Relaxed);
        }
    }
}
