//! An **active** job: one whose items are being handed out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::attempt::Flag;
use super::job::{Action, Job, JobScope, MOST_AHEAD, Pace, Position, progress};
use super::reported::Reported;
use super::store::{Kept, Pending, PendingScope, Store};
use super::waiting::Waiting;
use super::worker::{JobControl, Work};
use super::{ProcessingError, Shelf};
use crate::events::limiter::RateLimit;
use crate::events::types::{JobStatus, Status};
use crate::library::EntryId;
use crate::library::work::{Item, Scope, Selection};

/// Items of a job that are in memory and not handed out yet.
const PAGE: usize = 64;
/// They are read again after so long, well before a report is given up for lost.
const FRESH: Duration = Duration::from_secs(1);

/// A job and where it is.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) job: Job,
    pub(crate) control: Arc<JobControl>,
    scope: PendingScope,
    folder: Option<String>,
    directory: Option<String>,
    position: Position,
    /// Without an item where the entry was deleted.
    page: VecDeque<(EntryId, Option<Item>)>,
    /// When the page was read, and [`Reported::forgotten`] then.
    page_read: (Instant, u64),
    /// There are no items behind the page.
    is_last_page: bool,
    /// Items that were handed out or passed over. A job ends with as many as it was made for, also
    /// where new entries keep coming (perhaps made by its own commands).
    visited: u64,
    /// Items that were handed out and are not complete.
    pub(crate) waiting: Waiting,
    pace: Pace,
    limit: RateLimit,
    /// Something changed that was not published yet.
    dirty: bool,
    /// When it may be published.
    publish_at: Option<Instant>,
    /// Its progress is not in the store yet.
    pub(crate) unkept: bool,
    /// The next item's folder is offline until then, as far as we know.
    pub(crate) held_until: Option<Instant>,
}

/// The next item of a job.
#[derive(Debug)]
pub(crate) enum Next {
    Item(Item),
    /// Not now: enough is under way.
    Later,
    /// There is none.
    End,
}

impl Active {
    /// Takes up a job where it was left.
    pub(crate) fn resume(pending: Pending, workers: usize) -> Active {
        let Pending {
            job,
            scope,
            folder,
            directory,
            cursor,
            ahead,
        } = pending;
        Active {
            control: Arc::new(JobControl {
                id: job.id,
                called_off: Flag::default(),
                current: Mutex::new(None),
                partial: (0..workers).map(|_| AtomicU32::new(0)).collect(),
            }),
            visited: job.progress.current,
            position: Position::resume(cursor, &ahead),
            job,
            scope,
            folder,
            directory,
            page: VecDeque::new(),
            page_read: (Instant::now(), 0),
            is_last_page: false,
            waiting: Waiting::default(),
            pace: Pace::default(),
            // Never more than 10 in any second (contract section 3).
            // With the event at its start and the one at its end, at most 10 a second.
            limit: RateLimit::new(2, 6),
            dirty: true,
            publish_at: None,
            unkept: false,
            held_until: None,
        }
    }

    /// Returns what to do with each item.
    pub(crate) fn work(&self) -> Work {
        match self.job.action {
            Action::Process => Work::Process,
            Action::Verify => Work::Verify,
        }
    }

    /// Returns the next item without handing it out.
    pub(crate) fn peek(
        &mut self,
        shelf: &dyn Shelf,
        store: &Store,
        reported: &Reported,
        now: Instant,
    ) -> Result<Next, ProcessingError> {
        if self.visited >= self.job.progress.total {
            return Ok(Next::End);
        }
        if !self.position.has_room() {
            return Ok(Next::Later);
        }
        let (read, forgotten) = self.page_read;
        let old = forgotten != reported.forgotten() || now.saturating_duration_since(read) > FRESH;
        if old && !self.page.is_empty() {
            // Live work may have done meanwhile what the page has as unprocessed.
            self.page.clear();
            self.is_last_page = false;
        }
        if self.page.is_empty() && !self.is_last_page {
            self.page_read = (now, reported.forgotten());
            self.read_page(shelf, store)?;
        }
        while let Some((id, item)) = self.page.front() {
            match item {
                Some(item) => return Ok(Next::Item(item.clone())),
                None => {
                    let id = *id;
                    if self.hand_out(id) {
                        self.done(id, false);
                    }
                }
            }
        }
        Ok(if self.is_last_page {
            Next::End
        } else {
            Next::Later
        })
    }

    fn read_page(&mut self, shelf: &dyn Shelf, store: &Store) -> Result<(), ProcessingError> {
        let after = self.position.reached();
        match self.scope {
            PendingScope::Shelf(scope) => {
                let wanted = selection(scope, self.folder.as_deref(), self.directory.as_deref());
                let wanted = Selection {
                    after,
                    limit: PAGE,
                    ..wanted
                };
                let page = shelf.items(&wanted)?;
                self.is_last_page = page.len() < PAGE;
                self.page = page.into_iter().map(|item| (item.id, Some(item))).collect();
            }
            PendingScope::List => {
                let ids = store.items(self.job.id, after, PAGE)?;
                self.is_last_page = ids.len() < PAGE;
                for id in ids {
                    self.page.push_back((id, shelf.item(id)?));
                }
            }
        }
        Ok(())
    }

    /// Hands out the item that was peeked; false if it was done before a restart.
    pub(crate) fn hand_out(&mut self, id: EntryId) -> bool {
        debug_assert_eq!(self.page.front().map(|(id, _)| *id), Some(id));
        self.page.pop_front();
        let is_new = self.position.hand_out(id);
        if is_new {
            self.visited += 1;
        }
        is_new
    }

    /// Tells whether the job still wants an item that waited, now that the index has this of it.
    pub(crate) fn wants(&self, status: Status) -> bool {
        self.scope.wants(status)
    }

    /// Takes back an item that was handed out.
    pub(crate) fn done(&mut self, id: EntryId, failed: bool) {
        self.position.done(id);
        self.finish_one(failed);
    }

    fn finish_one(&mut self, failed: bool) {
        let was = self.job.progress;
        let current = was.current + 1;
        let failed = was.failed + u64::from(failed);
        self.job.progress = progress(current, was.total.max(current), failed);
        self.dirty = true;
        self.unkept = true;
    }

    /// Tells whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.position.is_idle()
    }

    /// Ends the job.
    pub(crate) fn end(&mut self, status: JobStatus, error: Option<String>, now_ns: i64) {
        if status == JobStatus::Completed {
            // Entries that were deleted meanwhile are no longer part of it.
            let was = self.job.progress;
            self.job.progress = progress(was.current, was.current, was.failed);
        }
        self.job.status = status;
        self.job.error = error;
        self.job.ended = Some(now_ns);
        self.job.current_file = None;
        self.job.eta = None;
        self.page.clear();
    }

    /// Takes back its end: it has not ended for anybody else.
    pub(crate) fn goes_on(&mut self) {
        self.job.status = JobStatus::Running;
        self.job.ended = None;
    }

    /// Notes what the workers are at, and how long it will take.
    pub(crate) fn refresh(&mut self, now: Instant) {
        let current = self
            .control
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let was = self.job.progress;
        self.pace.note(now, was.current);
        let left = was.total.saturating_sub(was.current);
        let eta = self.pace.estimate(now, was.current, left);
        // Large files move the percentage while they are read.
        let partial: u32 = self
            .control
            .partial
            .iter()
            .map(|part| part.load(Relaxed))
            .sum();
        let whole = progress(
            was.current
                .saturating_mul(1000)
                .saturating_add(partial.into()),
            was.total.saturating_mul(1000),
            0,
        );
        let percent = whole
            .percent
            .min(if left > 0 { 99 } else { 100 })
            .max(was.percent);
        if current != self.job.current_file || percent != was.percent || eta != self.job.eta {
            self.dirty |= self.job.status == JobStatus::Running;
            self.job.current_file = current;
            self.job.progress.percent = percent;
            self.job.eta = eta;
        }
    }

    /// Tells whether to publish the job's state now.
    pub(crate) fn may_publish(&mut self, now: Instant) -> bool {
        if !self.dirty || self.publish_at.is_some_and(|at| now < at) {
            return false;
        }
        match self.limit.try_take(now) {
            Ok(()) => {
                self.dirty = false;
                self.publish_at = None;
                true
            }
            Err(at) => {
                self.publish_at = Some(at);
                false
            }
        }
    }

    /// Returns when a change that waits may be published.
    pub(crate) fn publish_at(&self) -> Option<Instant> {
        self.publish_at.filter(|_| self.dirty)
    }

    /// Returns what the store keeps of it.
    pub(crate) fn kept(&self) -> Kept {
        let (cursor, ahead) = self.position.save();
        debug_assert!(ahead.len() <= MOST_AHEAD * 8);
        let progress = self.job.progress;
        Kept {
            id: self.job.id,
            current: progress.current,
            failed: progress.failed,
            total: progress.total,
            cursor,
            ahead,
        }
    }
}

/// Returns the question for the entries of a job.
pub(crate) fn selection(
    scope: JobScope,
    folder: Option<&str>,
    directory: Option<&str>,
) -> Selection {
    Selection {
        scope: match scope {
            JobScope::All => Scope::All,
            JobScope::Unprocessed => Scope::Status(Status::Unprocessed),
            JobScope::Failed => Scope::Status(Status::Failed),
        },
        folder: folder.map(str::to_owned),
        directory: directory.map(str::to_owned),
        after: EntryId(0),
        limit: 0,
    }
}
