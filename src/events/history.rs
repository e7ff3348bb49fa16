//! The **history**: the last events, bounded by number and by bytes, for replay.

use super::record::Record;
use std::collections::VecDeque;
use std::sync::Arc;

/// Records without gaps, oldest first.
#[derive(Debug)]
pub(super) struct History {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
}

impl History {
    pub(super) fn new(max_events: usize, max_bytes: usize) -> History {
        History {
            records: VecDeque::new(),
            bytes: 0,
            max_events,
            max_bytes,
        }
    }

    /// Adds the newest record and forgets the oldest beyond the bounds.
    pub(super) fn push(&mut self, record: Arc<Record>) {
        self.bytes += record.message().len();
        self.records.push_back(record);
        while self.records.len() > self.max_events || self.bytes > self.max_bytes {
            let Some(oldest) = self.records.pop_front() else {
                break;
            };
            self.bytes -= oldest.message().len();
        }
    }

    /// Returns every record after `sequence`, given that `last` was the newest ever published; or
    /// nothing where some of them are forgotten.
    pub(super) fn since(
        &self,
        sequence: u64,
        last: u64,
    ) -> Option<impl Iterator<Item = &Arc<Record>>> {
        let wanted = usize::try_from(last.checked_sub(sequence)?).ok()?;
        let skip = self.records.len().checked_sub(wanted)?;
        Some(self.records.iter().skip(skip))
    }

    pub(super) fn oldest(&self) -> Option<&Arc<Record>> {
        self.records.front()
    }

    pub(super) fn newest(&self) -> Option<&Arc<Record>> {
        self.records.back()
    }
}
