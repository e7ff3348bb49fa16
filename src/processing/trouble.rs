//! **Trouble** that an owner must act on, told once and not once a file. Pure.

use std::collections::{HashMap, HashSet};

use crate::events::types::ErrorEvent;

/// So many failures of one processor in a row are hardly the files' fault.
const FAILING_AFTER: u32 = 5;
/// What programs say, in whatever words around it, where systemd's sandbox or the owner of the files
/// keeps them out (strerror(3) of EROFS and EACCES): one failure is enough to know.
const KEPT_OUT: [&str; 2] = ["Read-only file system", "Permission denied"];
/// The way out of the sandbox, as the manual has it too.
const DROP_IN: &str = "`shelfcast --print-drop-in` prints what lets processors write to the folders; \
                       see there for what else keeps them out";

/// What an owner must act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A processor's program cannot be run.
    Missing { processor: String, message: String },
    /// The disk of a folder, or the one with the state, is full.
    DiskFull {
        place: String,
        folder: Option<String>,
    },
    /// A file cannot be read.
    Unreadable { folder: String, message: String },
    /// Jobs and history cannot be written.
    Store { message: String },
}

impl Trouble {
    /// What it is about: told once until that works again.
    fn key(&self) -> (&'static str, String) {
        match self {
            Trouble::Missing { processor, .. } => ("processor_missing", processor.clone()),
            Trouble::DiskFull { place, .. } => ("disk_full", place.clone()),
            Trouble::Unreadable { folder, .. } => ("file_unreadable", folder.clone()),
            Trouble::Store { .. } => ("state_unwritable", String::new()),
        }
    }

    fn event(&self) -> ErrorEvent {
        let (code, _) = self.key();
        let (message, hint, folder) = match self {
            Trouble::Missing { processor, message } => (
                format!("processor {processor}: {message}"),
                "install it or correct its command in the configuration, then process the failed entries again",
                None,
            ),
            Trouble::DiskFull { place, folder } => (
                format!("the disk with {place} is full"),
                "make room, then process the failed entries again",
                folder.clone(),
            ),
            Trouble::Unreadable { folder, message } => (
                message.clone(),
                "check the permissions of the file (`shelfcast --print-drop-in` knows the group that lets \
                 the service in) and the health of the disk",
                Some(folder.clone()),
            ),
            Trouble::Store { message } => (
                message.clone(),
                "make room on the disk with the state directory, and check that it can be written",
                None,
            ),
        };
        ErrorEvent {
            code: code.to_owned(),
            message,
            hint: Some(hint.to_owned()),
            folder,
        }
    }
}

/// What has been told.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    told: HashSet<(&'static str, String)>,
    failures: HashMap<String, u32>,
}

impl Troubles {
    /// Takes in trouble; returns the event to publish if it is news.
    pub(crate) fn note(&mut self, trouble: &Trouble) -> Option<ErrorEvent> {
        self.told.insert(trouble.key()).then(|| trouble.event())
    }

    /// Takes in that a processor failed; returns the event to publish if it fails all the time, or is
    /// kept out.
    pub(crate) fn failed(&mut self, processor: &str, error: &str) -> Option<ErrorEvent> {
        let failures = self.failures.entry(processor.to_owned()).or_default();
        *failures = failures.saturating_add(1);
        let (message, hint) = if KEPT_OUT.iter().any(|words| error.contains(words)) {
            let news = self.told.insert(("kept_out", processor.to_owned()));
            news.then(|| {
                (
                    format!("processor {processor} is kept out: {error}"),
                    DROP_IN,
                )
            })?
        } else if *failures == FAILING_AFTER {
            (
                format!("processor {processor} failed {FAILING_AFTER} times in a row: {error}"),
                "run its command by hand on one of the failed files",
            )
        } else {
            return None;
        };
        Some(ErrorEvent {
            code: "processor_failing".to_owned(),
            message,
            hint: Some(hint.to_owned()),
            folder: None,
        })
    }

    /// Takes in that an entry of `folder` went through, `processor` last.
    pub(crate) fn succeeded(&mut self, processor: &str, folder: &str) {
        self.failures.remove(processor);
        if !self.told.is_empty() {
            self.told
                .retain(|(_, about)| about != processor && about != folder);
        }
    }

    /// Takes in that jobs and history were written.
    pub(crate) fn stored(&mut self) {
        self.told.remove(&("state_unwritable", String::new()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_once_until_it_is_over() {
        let mut troubles = Troubles::default();
        let missing = Trouble::Missing {
            processor: "tag".to_owned(),
            message: "cannot run /x: there is no such program".to_owned(),
        };
        let told = troubles.note(&missing).unwrap();
        assert_eq!(told.code, "processor_missing");
        assert_eq!(
            told.message,
            "processor tag: cannot run /x: there is no such program"
        );
        assert!(told.hint.is_some());
        assert_eq!(troubles.note(&missing), None);
        troubles.succeeded("fingerprint", "comics");
        assert_eq!(troubles.note(&missing), None);
        troubles.succeeded("tag", "comics");
        assert!(troubles.note(&missing).is_some());
    }

    #[test]
    fn a_processor_that_always_fails_is_told_once_a_streak() {
        let mut troubles = Troubles::default();
        for streak in 0..2 {
            let told: Vec<_> = (0..20)
                .filter_map(|_| troubles.failed("tag", "no"))
                .collect();
            assert_eq!(told.len(), 1, "streak {streak}");
            assert_eq!(told[0].message, "processor tag failed 5 times in a row: no");
            troubles.succeeded("tag", "comics");
        }
    }

    #[test]
    fn a_processor_that_is_kept_out_is_told_at_once_and_once() {
        let mut troubles = Troubles::default();
        let error = "mv: cannot move 'a' to 'b': Read-only file system";
        let told = troubles.failed("tag", error).unwrap();
        assert_eq!(told.code, "processor_failing");
        assert_eq!(told.message, format!("processor tag is kept out: {error}"));
        assert!(told.hint.unwrap().contains("`shelfcast --print-drop-in`"));
        assert!((0..20).all(|_| troubles.failed("tag", error).is_none()));
        troubles.succeeded("tag", "comics");
        assert!(
            troubles
                .failed("tag", "OSError: [Errno 13] Permission denied: 'a'")
                .is_some()
        );
    }
}
