//! The **last event of each type**: what a stream that does not resume opens with.
//!
//! For `job_updated` that is the last one of each job that is queued or running, and of the job
//! that ended last. A client that asked for one folder gets the last that concerns *its* folder,
//! so the last is kept per type and folder: as many records as there are folders, times four.

use super::filter::{Filter, Scope};
use super::record::Record;
use super::types::{Event, EventType};
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Latest {
    /// `None` is the scope of everyone.
    by_type: HashMap<(EventType, Option<String>), Arc<Record>>,
    jobs: HashMap<String, Arc<Record>>,
    ended: Option<Arc<Record>>,
}

/// Which job an event speaks of, and whether this is its last word.
#[derive(Debug)]
pub(super) struct JobNote {
    id: String,
    ended: bool,
}

impl JobNote {
    pub(super) fn of(event: &Event) -> Option<JobNote> {
        match event {
            Event::JobUpdated(job) => Some(JobNote {
                id: job.job_id.clone(),
                ended: job.status.has_ended(),
            }),
            _ => None,
        }
    }
}

impl Latest {
    pub(super) fn note(&mut self, record: &Arc<Record>, job: Option<JobNote>) {
        if let Some(job) = job {
            if job.ended {
                self.jobs.remove(&job.id);
                self.ended = Some(Arc::clone(record));
            } else {
                self.jobs.insert(job.id, Arc::clone(record));
            }
            return;
        }
        let folders: Vec<Option<String>> = match record.scope() {
            Scope::Everyone => vec![None],
            Scope::Folders(names) => names.iter().cloned().map(Some).collect(),
        };
        for folder in folders {
            self.by_type
                .insert((record.kind(), folder), Arc::clone(record));
        }
    }

    /// Returns the last record of each type that passes `filter`, in id order.
    pub(super) fn matching(&self, filter: &Filter) -> Vec<Arc<Record>> {
        let mut newest: HashMap<EventType, &Arc<Record>> = HashMap::new();
        for record in self.by_type.values().filter(|record| filter.passes(record)) {
            let place = newest.entry(record.kind()).or_insert(record);
            if place.id().sequence < record.id().sequence {
                *place = record;
            }
        }
        let jobs = self.jobs.values().chain(&self.ended);
        let mut found: Vec<Arc<Record>> = newest
            .into_values()
            .chain(jobs.filter(|record| filter.passes(record)))
            .map(Arc::clone)
            .collect();
        found.sort_by_key(|record| record.id().sequence);
        found
    }
}
