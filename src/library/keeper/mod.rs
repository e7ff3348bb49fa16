//! The library's thread: the one owner of the index.
//!
//! It takes what the watch noticed, what the crawler read, and what others ask or report; looks at
//! the disk, writes the differences to the index, commits, and publishes. Live changes come before
//! a crawl, and both give way to commands.
//!
//! Its promises: a row dies only when its name is known to be gone from the very directory it was
//! in; what is published has been committed; and every commit is published before a snapshot that
//! contains it is given out.

mod apply;
mod crawling;
mod directories;
mod duplicates;
mod folders;
mod listing;
mod looks;
mod publish;
mod reports;
mod saves;
mod storage;
mod tasks;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, select};

use self::folders::{Disks, Folder};
use self::looks::Looks;
use self::saves::Renamed;
use self::tasks::Tasks;
use super::apart::Apart;
use super::crawl::{Crawler, Read};
use super::delta::Delta;
use super::index::{Index, IndexError, LARGEST_LOG_BYTES};
use super::mounts::{self, Table};
use super::reconcile::{EntryId, Spot};
use super::tree::DirId;
use super::view::Shared;
use super::work::Report;
use crate::events::limiter::RateLimit;
use crate::events::types::{FileProcessed, Status, WatcherStatus};
use crate::watch::{Change, Watch};

/// `cache_updated` at most 10 a second: a burst of 3, then 7 a second.
const EVENT_BURST: u32 = 3;
const EVENTS_PER_SECOND: u32 = 7;
/// Commits that processing does not have to wait for, at once and then a second. Each costs some pages
/// of the log: with one for each of 20,000 files that were copied in, 27 KB were written a file.
const EARLY_BURST: u32 = 32;
const EARLY_PER_SECOND: u32 = 30;
/// Changes handled before commands are looked at again.
const BATCH: usize = 4096;
/// A crawl commits this often; each commit costs a few page writes.
const CRAWL_COMMIT: Duration = Duration::from_millis(150);
/// How often it is checked that the folders are there. Costs no disk access.
const CHECK_FOLDERS: Duration = Duration::from_secs(5);
/// The same while one is away: nothing but looking tells that its directory was made again, and the
/// list is to be right 2 s later.
const CHECK_FOR_RETURN: Duration = Duration::from_millis(1_500);
/// The log of the index is moved over once nothing has happened for so long.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(2);

/// What others ask of the library's thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// Crawl everything again.
    Rebuild,
    /// Answer once all earlier changes are in.
    Sync(Sender<()>),
    /// Answer nobody who waits for a sync any more: the service is about to stop.
    GiveUpSyncs,
    /// Switch automatic work; answers when it is written down.
    SetEnabled(bool, Sender<()>),
    /// Take the disk that is at a folder's path for its own; answers whether there is such a folder.
    Accept(String, Sender<bool>),
    /// News from processing.
    Report(Report),
    /// Answers at once: the thread is alive.
    Ping(Sender<()>),
    /// Ends the thread.
    Stop,
}

/// A request to be told when earlier changes are in.
#[derive(Debug)]
struct Waiter {
    number: u64,
    /// The watch has told everything that came before.
    passed: bool,
    reply: Sender<()>,
}

/// The library's thread and its state.
pub(crate) struct Keeper {
    index: Index,
    shared: Arc<Shared>,
    watch: Arc<Watch>,
    crawler: Crawler,
    /// Asks disks what must be known at once.
    disks: Apart,
    commands: Receiver<Command>,
    /// Commands that came while a disk was waited for.
    put_off: VecDeque<Command>,
    /// A stop has come while a disk was waited for.
    stops: Option<Disks>,
    /// A channel of one: there are unprocessed entries that were not there before.
    work: Sender<()>,
    /// Where barrier files are made.
    barrier_directory: PathBuf,
    poll: Duration,
    whole_again: Duration,

    folders: Vec<Folder>,
    /// What was mounted when it was last looked.
    mounts: Table,
    /// They have changed since the folders were last checked.
    mounts_changed: bool,
    tasks: Tasks,
    /// Spots that were left by what is known to have been there: it may turn up elsewhere, so they are
    /// looked at again when nothing is being read and a moment has passed.
    limbo: Vec<Spot>,
    limbo_until: Instant,
    /// Directories that are gone with much below them, whose rows go piece by piece.
    leaving: Vec<DirId>,
    /// Directories whose names something else has, and that may turn up in what is being read.
    displaced: Vec<DirId>,
    /// Spots to look at for what was found at another: the other names of a file that was written or
    /// removed through one of them, and those that were left by what turned up elsewhere.
    later: Looks,
    crawl: Option<Crawl>,
    /// Everything must be read once more after the crawl that runs.
    crawl_again: bool,
    /// The index was empty: indexes are made after the crawl, and no row can have moved.
    bulk: bool,

    delta: Delta,
    limit: RateLimit,
    /// Bounds the commits between two events.
    early: RateLimit,
    /// Earliest time of the next `cache_updated`, while one waits.
    publish_at: Option<Instant>,
    processed: Vec<(FileProcessed, usize)>,
    /// Contents whose lowest entry may be another than before.
    regroup: HashSet<[u8; 32]>,
    /// What entries were before a worker took them, so that one that is given back is that again.
    under_way: HashMap<EntryId, Status>,
    status: Option<WatcherStatus>,
    status_at: Instant,
    /// Something that the state of the watcher says has changed.
    status_changed: bool,
    /// It is told without waiting.
    status_urgent: bool,
    /// Entries that are an atomic save's temporary file, maybe.
    young: VecDeque<(Instant, EntryId)>,
    young_ids: HashSet<EntryId>,
    renamed: Renamed,
    work_waits: bool,

    waiters: Vec<Waiter>,
    next_barrier: u64,
    next_check: Instant,
    next_poll: Instant,
    committed_at: Instant,
    checkpoint_due: bool,
    /// An answer of the crawler that was received and not yet looked at: none may get lost.
    answer: Option<Read>,
    /// The state directory fails; when to try again.
    storage_retry: Option<Instant>,
    /// That it fails was said then.
    storage_told: Option<Instant>,
    /// It must be set aside before it is tried again.
    damaged: bool,
}

/// The crawl that runs.
#[derive(Debug)]
struct Crawl {
    started: Instant,
    started_at: SystemTime,
    files: u64,
    rebuild: bool,
    /// It covers all folders, so its figures are those of the library.
    whole: bool,
}

/// What a keeper is made of.
pub(crate) struct Parts {
    pub(crate) index: Index,
    pub(crate) shared: Arc<Shared>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) crawler: Crawler,
    pub(crate) disks: Apart,
    pub(crate) commands: Receiver<Command>,
    pub(crate) work: Sender<()>,
    pub(crate) barrier_directory: PathBuf,
    pub(crate) poll: Duration,
    pub(crate) whole_again: Duration,
    pub(crate) folders: Vec<Folder>,
}

pub(crate) use self::folders::Folder as KeptFolder;

impl Keeper {
    pub(crate) fn new(parts: Parts) -> Keeper {
        let now = Instant::now();
        Keeper {
            index: parts.index,
            shared: parts.shared,
            watch: parts.watch,
            crawler: parts.crawler,
            disks: parts.disks,
            commands: parts.commands,
            put_off: VecDeque::new(),
            stops: None,
            work: parts.work,
            barrier_directory: parts.barrier_directory,
            poll: parts.poll,
            whole_again: parts.whole_again,
            folders: parts.folders,
            mounts: mounts::table(),
            mounts_changed: false,
            tasks: Tasks::default(),
            limbo: Vec::new(),
            limbo_until: now,
            leaving: Vec::new(),
            displaced: Vec::new(),
            later: Looks::default(),
            crawl: None,
            crawl_again: false,
            bulk: false,
            delta: Delta::default(),
            limit: RateLimit::new(EVENT_BURST, EVENTS_PER_SECOND),
            early: RateLimit::new(EARLY_BURST, EARLY_PER_SECOND),
            publish_at: None,
            processed: Vec::new(),
            regroup: HashSet::new(),
            under_way: HashMap::new(),
            status: None,
            status_at: now,
            status_changed: true,
            status_urgent: true,
            young: VecDeque::new(),
            young_ids: HashSet::new(),
            renamed: Renamed::default(),
            work_waits: true,
            waiters: Vec::new(),
            next_barrier: 1,
            next_check: now,
            next_poll: now + parts.poll,
            committed_at: now,
            checkpoint_due: false,
            answer: None,
            storage_retry: None,
            storage_told: None,
            damaged: false,
        }
    }

    /// Runs until [`Command::Stop`] or until all senders are gone.
    pub(crate) fn run(mut self) {
        self.watch_barriers();
        self.start_crawl_of_all(false);
        loop {
            let stop = match self.turn() {
                Ok(stop) => stop,
                Err(error) => {
                    self.storage_failed(error);
                    false
                }
            };
            if stop {
                break;
            }
        }
        let end = self.index.give_back_ids();
        if let Err(error) = end.and_then(|()| self.commit_silently()) {
            log::error!("the last changes could not be written: {error}");
        }
        self.checkpoint();
    }

    /// Waits for something to do and does it; tells whether to stop.
    fn turn(&mut self) -> Result<bool, IndexError> {
        let watch = Arc::clone(&self.watch);
        let never = crossbeam_channel::never();
        let wake = if watch.is_running() {
            watch.wake()
        } else {
            &never
        };
        let deadline = self.deadline();
        let mut command = self.put_off.pop_front();
        if command.is_none() && deadline > Instant::now() {
            select! {
                recv(self.commands) -> received => command = Some(received.unwrap_or(Command::Stop)),
                recv(wake) -> _ => {}
                recv(self.crawler.results()) -> received => self.answer = received.ok(),
                default(deadline.saturating_duration_since(Instant::now())) => {}
            }
        }
        if self.storage_retry.is_some() {
            let command = command.or_else(|| self.next_command());
            return Ok(self.while_storage_fails(command));
        }
        for _ in 0..BATCH {
            match command.take().or_else(|| self.next_command()) {
                Some(Command::Stop) => return Ok(true),
                Some(command) => self.command(command)?,
                None => break,
            }
        }
        for _ in 0..4 {
            let changes = self.watch.take(Instant::now(), BATCH);
            if changes.is_empty() {
                break;
            }
            self.changes(changes)?;
        }
        self.crawled()?;
        self.housekeeping()?;
        Ok(false)
    }

    fn next_command(&mut self) -> Option<Command> {
        let put_off = self.put_off.pop_front();
        put_off.or_else(|| self.commands.try_recv().ok())
    }

    /// Returns when to go on although nothing comes in.
    fn deadline(&self) -> Instant {
        if let Some(retry) = self.storage_retry {
            return retry;
        }
        let mut deadline = self.next_check.min(self.next_poll);
        let others = [
            self.publish_at,
            (!self.later.is_empty() || !self.leaving.is_empty()).then_some(self.committed_at),
            (!self.limbo.is_empty() && self.tasks.is_empty()).then_some(self.limbo_until),
            self.checkpoint_due
                .then_some(self.committed_at + CHECKPOINT_AFTER),
            (self.index.is_changed() && self.publish_at.is_none())
                .then_some(self.committed_at + CRAWL_COMMIT),
            self.status_changed
                .then_some(self.status_at + publish::STATUS_EVERY),
        ];
        for other in others.into_iter().flatten() {
            deadline = deadline.min(other);
        }
        deadline
    }

    fn command(&mut self, command: Command) -> Result<(), IndexError> {
        match command {
            Command::Rebuild => self.rebuild(),
            Command::Sync(reply) => self.sync(reply),
            Command::GiveUpSyncs => self.waiters.clear(),
            Command::SetEnabled(enabled, reply) => {
                self.set_enabled(enabled)?;
                signal(&reply);
            }
            Command::Accept(name, reply) => {
                let known = self.accept(&name)?;
                // Nobody waits any more: it is done all the same.
                if reply.send(known).is_err() {
                    log::debug!("nobody waits for the answer");
                }
            }
            Command::Report(report) => self.report(report)?,
            Command::Ping(reply) => signal(&reply),
            Command::Stop => {}
        }
        Ok(())
    }

    fn changes(&mut self, changes: Vec<Change>) -> Result<(), IndexError> {
        let mut looks = Looks::default();
        let mut barriers = Vec::new();
        log::debug!("Watcher activity detected, broadcasting cache update event");
        for change in changes {
            log::trace!("change {change:?}");
            match change {
                Change::Name { place, name, told } => looks.name(DirId(place.0), name, told),
                Change::Moved { from, to } => {
                    looks.moved((DirId(from.0.0), from.1), (DirId(to.0.0), to.1));
                }
                Change::Directory(place) => self.read_again(DirId(place.0), false),
                Change::Itself(place) => self.root_changed(DirId(place.0)),
                Change::Lost => self.changes_lost(),
                Change::Mounts => self.mounts_changed(),
                Change::Barrier(number) => barriers.push(number),
            }
        }
        self.read_whole_again(&looks);
        self.look(looks)?;
        for waiter in &mut self.waiters {
            waiter.passed |= barriers.contains(&waiter.number);
        }
        Ok(())
    }

    /// The kernel's queue was full. Which names were lost is unknown, but a directory's change time
    /// tells whether any was: those come first, then everything, for writes in place.
    fn changes_lost(&mut self) {
        log::warn!("the kernel lost notices (its queue was full), looking everywhere");
        self.shared.write().overflows += 1;
        self.start_crawl_of_all(true);
        self.crawl_again = true;
    }

    fn housekeeping(&mut self) -> Result<(), IndexError> {
        let now = Instant::now();
        if now >= self.next_check {
            self.next_check = now + CHECK_FOLDERS;
            self.check_folders()?;
            if self.folders.iter().any(|folder| folder.away.is_some()) {
                self.next_check = now + CHECK_FOR_RETURN;
            }
        }
        if now >= self.next_poll {
            self.next_poll = now + self.poll;
            self.read_polled();
        }
        let later = std::mem::take(&mut self.later);
        self.look(later)?;
        self.remove_piece()?;
        self.ask_crawler();
        if self.tasks.is_empty() {
            self.remove_displaced()?;
            self.crawl_ends()?;
        }
        let live = self.crawl.is_none() || now >= self.committed_at + CRAWL_COMMIT;
        if live || !self.processed.is_empty() || self.work_waits && !self.bulk {
            self.publish(now)?;
        }
        self.publish_status(now);
        self.answer_waiters();
        self.forget_young(now);
        let quiet = now >= self.committed_at + CHECKPOINT_AFTER;
        if self.checkpoint_due && (quiet || self.index.log_bytes() > LARGEST_LOG_BYTES) {
            self.checkpoint();
        }
        Ok(())
    }

    fn checkpoint(&mut self) {
        self.checkpoint_due = false;
        if let Err(error) = self.index.checkpoint() {
            log::warn!("the index's log could not be moved over: {error}");
        }
    }

    fn forget_young(&mut self, now: Instant) {
        self.renamed.forget(now);
        while self.young.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, id)) = self.young.pop_front() {
                self.young_ids.remove(&id);
            }
        }
    }

    // Sync.

    fn watch_barriers(&self) {
        let opened = super::disk::open_directory(&self.barrier_directory, &[]);
        let watched = opened.map_err(std::io::Error::from).and_then(|fd| {
            use std::os::fd::AsFd;
            let watched = self.watch.add(crate::watch::BARRIER, fd.as_fd());
            watched.map_err(|error| std::io::Error::other(error.to_string()))
        });
        if let Err(error) = watched {
            log::warn!(
                "/api/sync has to read everything, since no barrier can be watched: {error}"
            );
        }
    }

    fn sync(&mut self, reply: Sender<()>) {
        let number = self.next_barrier;
        self.next_barrier += 1;
        let passed = !self.watch.is_watched(crate::watch::BARRIER)
            || self.watch.barrier(&self.barrier_directory, number).is_err();
        if passed {
            self.start_crawl_of_all(false);
        } else {
            self.read_polled();
        }
        self.waiters.push(Waiter {
            number,
            passed,
            reply,
        });
    }

    fn answer_waiters(&mut self) {
        let busy = self.crawl.is_some()
            || !self.tasks.is_empty()
            || !self.limbo.is_empty()
            || !self.later.is_empty()
            || !self.leaving.is_empty()
            || !self.displaced.is_empty()
            || !self.delta.is_empty()
            || self.index.is_changed();
        if busy {
            return;
        }
        self.waiters.retain(|waiter| {
            if waiter.passed {
                signal(&waiter.reply);
            }
            !waiter.passed
        });
    }

    fn set_enabled(&mut self, enabled: bool) -> Result<(), IndexError> {
        self.index.begin()?;
        self.index.set_meta("enabled", i64::from(enabled))?;
        self.shared.write().enabled = enabled;
        self.status_changed = true;
        self.status_urgent = true;
        self.work_waits |= enabled;
        self.commit_early()?;
        // A switch must survive the power going now, and a checkpoint is on the disk when it returns.
        self.checkpoint();
        self.publish_status(Instant::now());
        Ok(())
    }
}

/// Puts a token into a channel of one. That it is full, since an earlier token was not taken yet, or
/// closed, since nobody waits any more, is as good.
fn signal(channel: &Sender<()>) {
    if channel.try_send(()).is_err() {
        log::trace!("the token was there already, or nobody waits for it");
    }
}
