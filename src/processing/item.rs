//! One attempt of one **item**, step by step: open, complete?, fingerprint, the owner's commands.
//!
//! After every step that took time the file is looked at again, so that no result is ever said of
//! content that it does not belong to.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::PoisonError;
use std::time::Duration;

use rustix::io::Errno;

use super::attempt::Attempt;
use super::complete::{Evidence, Verdict, Writers, judge, writers};
use super::file::{self, Look};
use super::now_ns;
use super::processors::command::{End, Ran};
use super::processors::fingerprint::{self, Hashed, fingerprint};
use super::trouble::Trouble;
use super::worker::{Crew, Ended, Outcome, Task, Work};
use crate::events::types::Status;
use crate::library::work::Item;

/// A disk with less than this is full: nothing worth writing fits.
const FULL_BELOW_BYTES: u64 = 1024 * 1024;

/// Looks, 100 ms and more apart, after which the library would know of a change if it were told.
const MISSED_BY_THE_LIBRARY: u32 = 3;

/// One attempt of one item.
pub(crate) struct Run<'a> {
    pub(crate) crew: &'a Crew,
    pub(crate) number: usize,
    pub(crate) task: &'a Task,
    pub(crate) attempt: &'a Attempt<'a>,
    pub(crate) buffer: &'a mut [u8],
    pub(crate) trouble: Option<Trouble>,
}

/// A file as it is between two processors.
struct Subject {
    file: OwnedFd,
    look: Look,
    /// Its path below the folder; none once it was moved away.
    relative: Option<Vec<u8>>,
    edited: bool,
    /// The last command edited it, or somebody did meanwhile.
    edited_last: bool,
}

/// How an attempt breaks off.
type Broken = Outcome;

impl Run<'_> {
    /// Runs it to its end.
    pub(crate) fn run(&mut self) -> Outcome {
        match self.steps() {
            Ok(outcome) | Err(outcome) => outcome,
        }
    }

    fn steps(&mut self) -> Result<Outcome, Broken> {
        if !self.attempt.goes_on() {
            return Err(Outcome::Interrupted);
        }
        let item = &self.task.item;
        if let Some(job) = &self.task.job {
            let mut current = job.current.lock().unwrap_or_else(PoisonError::into_inner);
            *current = Some(item.path.clone());
        }
        let file =
            file::open(&item.root, &item.relative).map_err(|error| self.unreadable(error))?;
        let look = file::look(file.as_fd()).map_err(|error| self.unreadable(error))?;
        let is_known = look.is(&item.stamp);
        self.check_complete(&file, &look)?;
        if !is_known && !self.is_news() {
            return Err(if self.task.work == Work::Verify {
                Outcome::Nothing // what was written since is nothing to verify
            } else {
                Outcome::Changed
            });
        }
        let known = item
            .fingerprint
            .filter(|_| is_known && self.task.work == Work::Live);
        let hash = match known {
            Some(hash) => hash,
            None => self.hash(&file, &look)?,
        };
        if self.task.work == Work::Verify {
            return Ok(self.verdict(hash));
        }
        if self.task.work == Work::Live && self.went_through(hash)? {
            let mut ended = ended(item, self.attempt, fingerprint::NAME, None);
            ended.stamp = look.stamp(&item.stamp);
            ended.fingerprint = Some(hash);
            ended.quiet = true;
            return Ok(Outcome::Ended(ended.into()));
        }
        let subject = Subject {
            file,
            look,
            relative: Some(item.relative.clone()),
            edited: false,
            edited_last: false,
        };
        self.commands(subject, hash)
    }

    /// Tells whether all processors have been through this content: by the index, or by the history
    /// where the service was killed before the index knew.
    fn went_through(&self, hash: [u8; 32]) -> Result<bool, Broken> {
        let item = &self.task.item;
        if item.done == Some(hash) {
            return Ok(true);
        }
        let mut commands = self.crew.commands.iter();
        if !commands.any(|command| command.is_for(&item.relative)) {
            return Ok(false); // nothing is left to do but to say so
        }
        self.crew
            .store
            .went_through(item.id, &hash)
            .map_err(|error| {
                log::warn!("processing goes on later: {error}");
                Outcome::Changed
            })
    }

    /// Tells whether the file was written to without the library being told (O_TMPFILE with linkat,
    /// a mapping, a network file system), for it had time to hear of it. It learns of it from the
    /// result.
    fn is_news(&self) -> bool {
        self.task.work != Work::Verify && self.task.missed() >= MISSED_BY_THE_LIBRARY
    }

    fn check_complete(&self, file: &OwnedFd, look: &Look) -> Result<(), Broken> {
        let now = now_ns();
        let age = |time: i64| {
            u64::try_from(now.saturating_sub(time))
                .ok()
                .map(Duration::from_nanos)
        };
        let evidence = Evidence {
            writers: writers(file.as_fd()),
            finished: self.task.item.finished,
            unmodified: age(look.modified),
            unchanged: age(look.changed),
            still: self.task.still(look.stamp(&self.task.item.stamp)),
        };
        match judge(&evidence) {
            Verdict::Complete => Ok(()),
            // What has a fingerprint was complete once.
            Verdict::Settling(_) if self.task.work == Work::Verify => Ok(()),
            verdict => {
                let stamp = look.stamp(&self.task.item.stamp);
                Err(Outcome::NotYet(verdict, stamp))
            }
        }
    }

    /// Hashes the whole file, and makes sure that it did not change meanwhile.
    fn hash(&mut self, file: &OwnedFd, look: &Look) -> Result<[u8; 32], Broken> {
        let (attempt, job, number) = (self.attempt, self.task.job.as_deref(), self.number);
        let hashed = fingerprint(file.as_fd(), look.size, self.buffer, |at| {
            if let (Some(job), 1..) = (job, look.size) {
                let thousandths = u128::from(at) * 1000 / u128::from(look.size);
                job.set_partial(number, u32::try_from(thousandths).unwrap_or(1000));
            }
            if attempt.goes_on() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        match hashed {
            Ok(Hashed::Whole(hash, _)) => {
                let after = file::look(file.as_fd()).map_err(|error| self.unreadable(error))?;
                if after.has_content_of(look) {
                    Ok(hash)
                } else {
                    Err(Outcome::Changed)
                }
            }
            Ok(Hashed::Longer) => Err(Outcome::Changed),
            Ok(Hashed::Stopped) => Err(Outcome::Interrupted),
            Err(error) => Err(self.unreadable(error)),
        }
    }

    fn verdict(&self, hash: [u8; 32]) -> Outcome {
        let item = &self.task.item;
        let Some(known) = item.fingerprint else {
            return Outcome::Nothing; // there is nothing to compare with
        };
        let error = (hash != known).then(|| "content changed on disk (bit rot?)".to_owned());
        // A failed entry whose processors went through this very content failed by an earlier
        // verify: the file has been restored.
        let restored = item.status == Status::Failed && item.done == Some(hash);
        if error.is_none() && !restored {
            return Outcome::Nothing;
        }
        let mut ended = ended(item, self.attempt, "verify", error);
        // The good one is kept, so that the next verify finds the damage again.
        ended.fingerprint = Some(known);
        Outcome::Ended(ended.into())
    }

    /// Runs the owner's processors.
    fn commands(&mut self, mut subject: Subject, mut hash: [u8; 32]) -> Result<Outcome, Broken> {
        let item = &self.task.item;
        let (mut processor, mut exit) = (fingerprint::NAME, None);
        let (mut error, mut output) = (None, None);
        for command in &self.crew.commands {
            let Some(relative) = subject.relative.clone().filter(|path| command.is_for(path))
            else {
                continue;
            };
            let item = Item {
                relative,
                ..item.clone()
            };
            let scratch = &self.crew.scratch;
            let file = subject.file.as_fd();
            let ran = scratch.with(self.number, |scratch| {
                command.run(&item, file, scratch, &self.crew.orphans, self.attempt)
            });
            processor = &command.name;
            let ran = match ran {
                Ok(ran) => ran,
                Err(why) => {
                    error = Some(format!("cannot make a directory to work in: {why}"));
                    self.look_for_full_disk();
                    break;
                }
            };
            exit = ran.exit;
            if ran.end == End::Interrupted {
                return Err(Outcome::Interrupted);
            }
            subject = self.after_command(subject, &ran)?;
            if let End::Missing(message) = &ran.end {
                self.trouble = Some(Trouble::Missing {
                    processor: command.name.clone(),
                    message: message.clone(),
                });
            }
            if let End::Failed(message) | End::Missing(message) = ran.end {
                // Where nobody could tell whose edit it was, once more is better than a wrong word.
                if subject.edited_last && !ran.guarded && !self.task.in_doubt {
                    return Err(Outcome::ChangedAndFailed);
                }
                self.look_for_full_disk();
                error = Some(message);
                output = Some(ran.output).filter(|output| !output.is_empty());
                break;
            }
        }
        if subject.edited && subject.look.links > 0 {
            hash = self.hash(&subject.file, &subject.look)?;
            if writers(subject.file.as_fd()) == Writers::Some {
                return Err(Outcome::Changed); // whoever writes now is no command of ours
            }
        }
        let mut ended = ended(item, self.attempt, processor, error);
        if let Some(relative) = subject
            .relative
            .filter(|relative| *relative != item.relative)
        {
            ended.path = format!("{}/{}", item.folder, String::from_utf8_lossy(&relative));
        }
        ended.stamp = subject.look.stamp(&item.stamp);
        ended.fingerprint = Some(hash);
        ended.ran_command = processor != fingerprint::NAME;
        ended.exit = exit;
        ended.output = output;
        Ok(Outcome::Ended(ended.into()))
    }

    /// Finds the file again after a command: as it was, edited, renamed, replaced or gone.
    fn after_command(&self, before: Subject, ran: &Ran) -> Result<Subject, Broken> {
        let item = &self.task.item;
        let told = before.relative.as_deref().unwrap_or(&item.relative);
        let (file, relative) = match file::open(&item.root, told) {
            Ok(file) => (file, Some(told.to_vec())),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                let here = file::relative_to(before.file.as_fd(), &item.root);
                (before.file, here)
            }
            Err(_) => return Err(Outcome::Changed),
        };
        let look = file::look(file.as_fd()).map_err(|_| Outcome::Changed)?;
        if look.links == 0 && ran.end != End::Success {
            return Err(Outcome::Changed); // it vanished, so no wonder
        }
        // It was told a name that is not there any more. It may have moved the file away itself, so
        // this is believed only once.
        let moved = relative.as_deref() != Some(told);
        if moved && matches!(ran.end, End::Failed(_)) && !self.task.in_doubt {
            return Err(Outcome::ChangedAndFailed);
        }
        let is_same = look.has_content_of(&before.look);
        // A new file of so many bytes was written by somebody; where the command wrote less, by
        // somebody else (the guard sees nothing of a rename). This is believed only once: there are
        // ways to write that are not counted, a mapping for one.
        let too_little = look.ino != before.look.ino
            && !self.task.in_doubt
            && ran.written.is_some_and(|written| written < look.size)
            && !file::can_share(file.as_fd());
        if !is_same && (ran.saw_stranger || too_little) {
            return Err(if too_little {
                Outcome::ChangedAndFailed
            } else {
                Outcome::Changed
            });
        }
        Ok(Subject {
            file,
            look,
            relative,
            edited: before.edited || !is_same,
            edited_last: !is_same,
        })
    }

    fn look_for_full_disk(&mut self) {
        let is_full = |path: &std::path::Path| {
            rustix::fs::statvfs(path)
                .is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) < FULL_BELOW_BYTES)
        };
        let item = &self.task.item;
        if is_full(&item.root) {
            self.trouble = Some(Trouble::DiskFull {
                place: item.folder.clone(),
                folder: Some(item.folder.clone()),
            });
        } else if is_full(self.crew.scratch.directory()) {
            let place = self.crew.scratch.directory().display().to_string();
            self.trouble = Some(Trouble::DiskFull {
                place,
                folder: None,
            });
        }
    }

    /// Decides what it means that the file cannot be opened or read.
    fn unreadable(&mut self, error: Errno) -> Outcome {
        let item = &self.task.item;
        match error {
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::XDEV
            | Errno::INVAL
            | Errno::STALE => Outcome::Changed,
            Errno::WOULDBLOCK => Outcome::NotYet(Verdict::OpenForWriting, item.stamp),
            // Ours to get over, not the entry's.
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => {
                log::warn!("cannot open {:?} now: {error}", item.path);
                Outcome::Changed
            }
            // The disk went away under us.
            _ if !self.crew.shelf.is_online(&item.folder) => Outcome::Changed,
            error => {
                let why = std::io::Error::from(error);
                self.trouble = Some(Trouble::Unreadable {
                    folder: item.folder.clone(),
                    message: format!("cannot read {}: {why}", item.path),
                });
                let mut ended = ended(
                    item,
                    self.attempt,
                    fingerprint::NAME,
                    Some(format!("cannot be read: {why}")),
                );
                ended.fingerprint = item.fingerprint;
                Outcome::Ended(ended.into())
            }
        }
    }
}

/// Returns the end of an attempt that changed nothing.
pub(crate) fn ended(
    item: &Item,
    attempt: &Attempt<'_>,
    processor: &str,
    error: Option<String>,
) -> Ended {
    Ended {
        path: item.path.clone(),
        stamp: item.stamp,
        fingerprint: None,
        error,
        processor: processor.to_owned(),
        exit: None,
        output: None,
        took: attempt.elapsed(),
        at: now_ns(),
        ran_command: false,
        quiet: false,
    }
}
