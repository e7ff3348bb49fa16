//! The queue's **jobs**: which run, whose turn it is, what is told of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{AFTER_ERROR, OFFLINE, Queue, REFRESH, audience};
use crate::events::Broadcaster;
use crate::events::types::{Event, JobStatus, Status};
use crate::library::EntryId;
use crate::processing::active::{Active, Next};
use crate::processing::job::{Job, JobId};
use crate::processing::waiting::Wait;
use crate::processing::worker::Work;
use crate::processing::{LANE, ProcessingError, now_ns};

/// Jobs whose items are handed out in turn; the others wait as `queued`. A long job shall not hold
/// up a short one, and each costs a page of items in memory.
const ACTIVE_JOBS: usize = 4;
/// How often an item is asked for that live work has at hand.
const IN_OTHER_HANDS: Duration = Duration::from_millis(100);
/// Work of so much time lies ready for the workers.
const AHEAD: Duration = Duration::from_millis(20);

impl Queue {
    /// Tells of the jobs that were there before the start: only a few of them are active at once, and
    /// whoever looks shall see those that wait too.
    pub(super) fn tell_of_jobs(&mut self) {
        match self.parts.store.pending(&[], usize::MAX) {
            Ok(jobs) => jobs
                .iter()
                .for_each(|pending| publish(&self.parts.events, &pending.job)),
            Err(error) => self.trouble_with_store(&error),
        }
    }

    /// Tells of a job that was made just now.
    pub(super) fn created(&mut self, id: JobId) {
        if self.active.iter().any(|active| active.job.id == id) {
            return; // it was found in the store before the order was heard, and has been told since
        }
        self.more_jobs = true;
        match self.parts.store.job(id) {
            Ok(Some(job)) if !job.status.has_ended() => {
                log::info!(
                    "job queued id={id} action={} total={}",
                    job.action.name(),
                    job.progress.total
                );
                publish(&self.parts.events, &job);
            }
            Ok(_) => {}
            Err(error) => self.trouble_with_store(&error),
        }
    }

    /// Takes items of the active jobs in turn.
    pub(super) fn hand_out_jobs(&mut self, now: Instant) -> Result<(), ProcessingError> {
        self.activate_jobs()?;
        let mut idle = 0; // jobs in a row that had nothing
        while idle < self.active.len() && self.has_depth() {
            self.turn = (self.turn + 1) % self.active.len();
            let active = &mut self.active[self.turn];
            idle += 1;
            if active.held_until.is_some_and(|until| now < until) {
                continue;
            }
            active.held_until = None;
            if let Some((id, wait)) = active.waiting.take_due(now) {
                idle = 0;
                self.look_again(self.turn, id, wait, now)?;
                continue;
            }
            match active.peek(
                &*self.parts.crew.shelf,
                &self.parts.store,
                &self.reported,
                now,
            )? {
                Next::Item(item) if !self.parts.crew.shelf.is_online(&item.folder) => {
                    active.held_until = Some(now + OFFLINE);
                }
                Next::Item(item) => {
                    idle = 0;
                    let id = item.id;
                    if !active.hand_out(id) {
                        continue; // done before a restart
                    }
                    if self.in_flight.contains_key(&id) {
                        // Somebody is at it; when they are done, it is seen whether it is still
                        // wanted. The job goes on with the next.
                        let waits =
                            active
                                .waiting
                                .insert(id, Wait::new(&item, now), now + IN_OTHER_HANDS);
                        debug_assert!(waits, "a job has fewer items under way than may wait");
                        continue;
                    }
                    if item.status == Status::Unprocessed && self.reported.covers(&item, now) {
                        active.done(id, false); // it has just been
                        continue;
                    }
                    let (work, job) = (active.work(), Some(Arc::clone(&active.control)));
                    if work != Work::Verify {
                        self.waiting.remove(id); // the job does what it waits for
                    }
                    self.begin(item, work, job, None);
                }
                Next::End if active.is_idle() => {
                    // One that was cancelled at this moment stays until that order is taken, which
                    // happens only when we are through here.
                    if !self.end_job(self.turn, JobStatus::Completed) {
                        break;
                    }
                    idle = 0;
                }
                Next::Later | Next::End => {}
            }
        }
        Ok(())
    }

    /// Looks again at an item of a job that has waited long enough.
    fn look_again(
        &mut self,
        at: usize,
        id: EntryId,
        wait: Wait,
        now: Instant,
    ) -> Result<(), ProcessingError> {
        let shelf = &self.parts.crew.shelf;
        let active = &mut self.active[at];
        let item = match shelf.item(id) {
            Ok(Some(item)) => item,
            Ok(None) => {
                active.done(id, false); // deleted
                return Ok(());
            }
            Err(error) => {
                active.waiting.insert(id, wait, now + AFTER_ERROR);
                return Err(error.into());
            }
        };
        // It is nobody's fault, so its patience begins anew.
        let anew = |wait| Wait { since: now, ..wait };
        if !shelf.is_online(&item.folder) {
            active.waiting.insert(id, anew(wait), now + OFFLINE);
        } else if self.in_flight.contains_key(&id) {
            active.waiting.insert(id, anew(wait), now + IN_OTHER_HANDS);
        } else if !active.wants(item.status)
            || item.status == Status::Unprocessed && self.reported.covers(&item, now)
        {
            active.done(id, false); // live work, or another job, was quicker
        } else {
            let (work, job) = (active.work(), Some(Arc::clone(&active.control)));
            self.begin(item, work, job, Some(wait));
        }
        Ok(())
    }

    /// Tells whether more items of jobs may lie ready for the workers: so few that a new job has its
    /// turn soon, so many that nobody waits for us between small files.
    pub(super) fn has_depth(&self) -> bool {
        let many = AHEAD.as_nanos() / self.usual.as_nanos().max(1);
        let depth = usize::try_from(many).unwrap_or(LANE).clamp(1, LANE);
        self.parts.jobs.len() < depth
    }

    fn activate_jobs(&mut self) -> Result<(), ProcessingError> {
        while self.more_jobs && self.active.len() < ACTIVE_JOBS {
            let taken: Vec<_> = self.active.iter().map(|active| active.job.id).collect();
            let Some(pending) = self.parts.store.pending(&taken, 1)?.pop() else {
                self.more_jobs = false;
                break;
            };
            let id = pending.job.id;
            if !self.parts.store.start_job(id, now_ns())? {
                continue; // it was cancelled at this moment
            }
            let goes_on = pending.job.status == JobStatus::Running;
            let mut active = Active::resume(pending, self.parts.workers);
            active.job.status = JobStatus::Running;
            active.job.started = active.job.started.or_else(|| Some(now_ns()));
            log::info!(
                "job {} id={id}",
                if goes_on { "goes on" } else { "started" }
            );
            self.active.push(active);
        }
        Ok(())
    }

    pub(super) fn publish_jobs(&mut self) {
        let now = Instant::now();
        if self.active.is_empty() {
            return;
        }
        if now >= self.next_refresh {
            self.active
                .iter_mut()
                .for_each(|active| active.refresh(now));
            self.next_refresh = now + REFRESH;
        }
        let mut published = false;
        for active in &mut self.active {
            if active.may_publish(now) {
                active.refresh(now);
                publish(&self.parts.events, &active.job);
                published = true;
            }
        }
        if published {
            self.show_jobs();
        }
    }

    /// Shows the running jobs to whoever asks.
    fn show_jobs(&self) {
        let jobs = self.active.iter().map(|active| active.job.clone());
        self.parts.figures.set_running_jobs(jobs.collect());
    }

    /// Ends an active job; tells whether it is over.
    fn end_job(&mut self, at: usize, status: JobStatus) -> bool {
        let mut active = self.active.remove(at);
        let now = now_ns();
        active.end(status, None, now);
        let kept = active.kept();
        let id = active.job.id;
        self.more_jobs = true;
        let stored = self
            .parts
            .store
            .keep(&[], &[kept])
            .and_then(|()| self.parts.store.end_job(id, status, None, now));
        if let Err(error) = &stored {
            self.trouble_with_store(error);
            active.held_until = Some(Instant::now() + AFTER_ERROR);
        }
        // Either it was cancelled at this very moment, and the order to say so is on its way; or that
        // it ended could not be stored, and a restart would go on with it.
        if status != JobStatus::Cancelled && !matches!(stored, Ok(true)) {
            active.goes_on();
            self.active.push(active);
            return false;
        }
        let progress = active.job.progress;
        log::info!(
            "job ended id={id} status={} items={} failed={}",
            status.name(),
            progress.current,
            progress.failed
        );
        self.show_jobs();
        publish(&self.parts.events, &active.job);
        true
    }

    pub(super) fn cancelled(&mut self, id: JobId) {
        if let Some(at) = self.active.iter().position(|active| active.job.id == id) {
            self.active[at].control.called_off.raise();
            self.end_job(at, JobStatus::Cancelled);
            return;
        }
        match self.parts.store.job(id) {
            Ok(Some(job)) => {
                log::info!("job cancelled before it began id={id}");
                publish(&self.parts.events, &job);
            }
            Ok(None) => {}
            Err(error) => self.trouble_with_store(&error),
        }
    }

    pub(super) fn job_item_ended(&mut self, job: Option<JobId>, id: EntryId, failed: bool) {
        let mut active = self.active.iter_mut();
        if let Some(active) = active.find(|active| Some(active.job.id) == job) {
            active.done(id, failed);
        }
    }
}

fn publish(events: &Broadcaster, job: &Job) {
    events.publish(
        Event::JobUpdated(job.event()),
        audience(job.folder.as_deref()),
    );
}
