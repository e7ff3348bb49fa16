//! Results of the workers are **taken in**: history first, then the library, so that a crash in
//! between repeats an item and loses none.

use std::time::{Duration, Instant};

use super::Queue;
use crate::events::types::{FileProcessed, Status};
use crate::library::work::{Finished, Item, Report, Stamp};
use crate::processing::LANE;
use crate::processing::complete::{STILL, Verdict, next_probe};
use crate::processing::history::Past;
use crate::processing::job::{Action, JobId};
use crate::processing::processors::fingerprint;
use crate::processing::waiting::{Wait, after_change};
use crate::processing::worker::{Done, Ended, Outcome, Task, Work};

/// Results taken in at once: one transaction.
const BATCH: usize = 256;
/// While much is to be done, results are taken in at this distance.
const GATHER: Duration = Duration::from_millis(5);
/// A job does not wait longer for an item that somebody has open, or that keeps changing.
const JOB_PATIENCE: Duration = Duration::from_secs(10);

impl Queue {
    /// Takes in one result and all others that are there.
    pub(super) fn take_in(&mut self, first: Done) {
        let now = Instant::now();
        let results = self.gather(first);
        let (mut history, mut reports) = (Vec::new(), Vec::new());
        let mut kept_for = Vec::new();
        for done in results {
            let Done {
                task,
                outcome,
                trouble,
                shown,
                took,
                kept,
            } = done;
            kept_for.extend(kept);
            if matches!(outcome, Outcome::Ended(_) | Outcome::Nothing) {
                // One slow item is enough to expect more; quick ones convince slowly.
                self.usual = took.max(self.usual * 7 / 8);
                self.doubted.forget(task.item.id);
            }
            self.returned(task.item.id);
            if let Some(trouble) = trouble {
                self.trouble(&trouble);
            }
            match outcome {
                Outcome::Ended(ended) => {
                    self.ended(task, *ended, &mut history, &mut reports, now);
                    continue;
                }
                Outcome::Nothing => self.job_item_ended(job_of(&task), task.item.id, false),
                Outcome::NotYet(verdict, stamp) => {
                    self.not_yet(&task, verdict, stamp, &mut reports, now);
                }
                Outcome::Changed => self.changed(&task, now),
                Outcome::ChangedAndFailed => {
                    self.doubted.note(task.item.id);
                    self.changed(&task, now);
                }
                // Cancelled, or the service stops: its job begins there again.
                Outcome::Interrupted => self.sweep.signal(),
            }
            if shown {
                reports.push(Report::Released(task.item.id));
            }
        }
        let jobs: Vec<_> = self
            .active
            .iter_mut()
            .filter_map(|active| std::mem::take(&mut active.unkept).then(|| active.kept()))
            .collect();
        match self.parts.store.keep(&history, &jobs) {
            Ok(()) => self.troubles.stored(),
            // The work was done all the same, and the library must know; where the jobs are is kept
            // with the next group.
            Err(error) => {
                for active in &mut self.active {
                    active.unkept = true;
                }
                self.trouble_with_store(&error);
            }
        }
        drop(kept_for); // their workers go on
        for report in reports {
            self.parts.crew.shelf.report(report);
        }
        // A question that fails is asked again with the next group.
        let shelf = &self.parts.crew.shelf;
        self.reported
            .forget_committed(now, |id| shelf.item(id).unwrap_or_default());
    }

    /// Takes the results that are there. While workers have much to do it waits a moment for more:
    /// committing many at once costs hardly more than one. What comes after a pause is not held up,
    /// nor a worker that waits until its result is kept.
    fn gather(&mut self, first: Done) -> Vec<Done> {
        let until = self.gathered_at + GATHER;
        let mut results = vec![first];
        loop {
            let room = BATCH - results.len();
            results.extend(self.parts.results.try_iter().take(room));
            let lanes = self.parts.live.len() + self.parts.jobs.len();
            let hurries = lanes < LANE / 2 || results.iter().any(|done| done.kept.is_some());
            if hurries || results.len() >= BATCH {
                break;
            }
            match self.parts.results.recv_deadline(until) {
                Ok(done) => results.push(done),
                Err(_) => break, // it is time
            }
        }
        self.gathered_at = Instant::now();
        results
    }

    fn ended(
        &mut self,
        task: Task,
        ended: Ended,
        history: &mut Vec<Past>,
        reports: &mut Vec<Report>,
        now: Instant,
    ) {
        let Task {
            item, work, job, ..
        } = task;
        let job = job.map(|job| job.id);
        let success = ended.error.is_none();
        self.count(&item, &ended);
        self.job_item_ended(job, item.id, !success);
        if item.status == Status::Unprocessed {
            self.reported.note(item.id, ended.stamp, now);
        }
        let duration_ms = u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX);
        let filename = ended.path.rsplit('/').next().unwrap_or_default().to_owned();
        let event = (!ended.quiet).then(|| FileProcessed {
            file: item.id.0,
            filepath: ended.path.clone(),
            filename,
            success,
            error: ended.error.clone(),
            processor: ended.processor.clone(),
            duration_ms,
        });
        if !ended.quiet {
            history.push(Past {
                number: 0,
                entry: item.id,
                folder: item.folder,
                path: ended.path,
                action: if work == Work::Verify {
                    Action::Verify
                } else {
                    Action::Process
                },
                processor: ended.processor,
                error: ended.error.clone(),
                exit_status: ended.exit,
                duration_ms,
                output: ended.output,
                at: ended.at,
                job,
                fingerprint: ended.fingerprint,
            });
        }
        reports.push(Report::Finished(Finished {
            id: item.id,
            stamp: ended.stamp,
            fingerprint: ended.fingerprint,
            error: ended.error,
            at: ended.at,
            event,
        }));
    }

    fn count(&mut self, item: &Item, ended: &Ended) {
        let figures = &self.parts.figures;
        if ended.quiet {
            figures.known.increment();
            return;
        }
        figures.took.observe(ended.took);
        match &ended.error {
            None => {
                figures.succeeded.increment();
                figures.hashed_bytes.add(item.stamp.size);
                self.troubles.succeeded(&ended.processor, &item.folder);
            }
            Some(error) => {
                figures.failed.increment();
                log::debug!(
                    "item failed path={:?} processor={:?} error={error:?}",
                    item.path,
                    ended.processor
                );
                if ended.processor != fingerprint::NAME
                    && let Some(event) = self.troubles.failed(&ended.processor, error)
                {
                    self.tell(event);
                }
            }
        }
    }

    /// Lets an entry wait that is not complete.
    fn not_yet(
        &mut self,
        task: &Task,
        verdict: Verdict,
        stamp: Stamp,
        reports: &mut Vec<Report>,
        now: Instant,
    ) {
        let id = task.item.id;
        let mut wait = self.wait_of(task, now);
        wait.missed = 0;
        let due = match verdict {
            Verdict::OpenForWriting => {
                if wait.words.is_none() && task.job.is_none() {
                    wait.words = Some("open for writing");
                    reports.push(Report::Waiting(id, wait.words.map(str::to_owned)));
                }
                wait.still = None;
                wait.open += 1;
                now + next_probe(wait.open - 1)
            }
            Verdict::Settling(left) => {
                if wait.words.take().is_some() {
                    reports.push(Report::Waiting(id, None));
                }
                if wait.still.is_none_or(|(seen, _)| seen != stamp) {
                    wait.still = Some((stamp, now));
                }
                wait.open = 0;
                now + left.min(STILL)
            }
            Verdict::Complete => now,
        };
        self.let_wait(task, wait, due, now);
    }

    /// Lets an entry wait whose file is not as the index says.
    fn changed(&mut self, task: &Task, now: Instant) {
        self.parts.figures.changed.increment();
        let mut wait = self.wait_of(task, now);
        wait.missed += 1;
        let due = now + after_change(wait.missed - 1);
        self.let_wait(task, wait, due, now);
    }

    fn let_wait(&mut self, task: &Task, wait: Wait, due: Instant, now: Instant) {
        let id = task.item.id;
        let Some(job) = job_of(task) else {
            // Without room it is forgotten here, and found again by a sweep.
            if !self.waiting.insert(id, wait, due) {
                self.sweep.signal();
            }
            return;
        };
        let Some(active) = self.active.iter_mut().find(|active| active.job.id == job) else {
            self.sweep.signal(); // the job was cancelled meanwhile
            return;
        };
        let patient = now - wait.since < JOB_PATIENCE;
        if !patient || !active.waiting.insert(id, wait, due) {
            // Live work goes on with it when it is complete.
            log::info!(
                "a job gives up an item that is written to path={:?}",
                task.item.path
            );
            active.done(id, false);
            self.sweep.signal();
        }
    }

    /// Returns how long the entry of `task` has waited so far.
    fn wait_of(&self, task: &Task, now: Instant) -> Wait {
        let item = &task.item;
        let before = task.wait.clone().unwrap_or_else(|| Wait::new(item, now));
        // What the library learned meanwhile, it was told of.
        let missed = if before.stamp == item.stamp {
            before.missed
        } else {
            0
        };
        Wait {
            stamp: item.stamp,
            finished: item.finished,
            missed,
            ..before
        }
    }
}

fn job_of(task: &Task) -> Option<JobId> {
    task.job.as_ref().map(|job| job.id)
}
