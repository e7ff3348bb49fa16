//! **Processing**: processors, jobs, workers, and the history of what they did.
//!
//! The queue of automatic work is the index itself: whatever is unprocessed there is work, so that
//! nothing is forgotten by a crash or an overflow. Jobs and history are kept in a `store` of
//! their own. One thread (`queue`) decides what is next and takes note of what became of it;
//! `worker-N` run items.
//!
//! ```text
//! library ──"there is work"──▶ queue ──live, jobs──▶ worker-N ──results──▶ queue ──reports──▶ library
//!                               ▲ │                                         │
//!                 orders (API) ─┘ └─▶ job_updated, error                    └─▶ history
//! ```
//!
//! The promises: nothing is processed while somebody writes to it (`complete`); nothing twice for
//! one content, unless a job asks for it; after a kill -9 at most the items that were under way are
//! run again. History is written before the library is told, so that a crash in between repeats
//! that one item and loses none.

mod active;
mod attempt;
mod complete;
mod doubted;
mod figures;
mod file;
mod history;
mod item;
mod job;
mod processors;
mod queue;
mod reported;
mod shelf;
mod store;
mod sweep;
mod trouble;
mod waiting;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, after, bounded};

use self::attempt::Flag;
pub use self::figures::Figures;
pub use self::history::Past;
pub use self::job::{Action, Job, JobId, JobScope, Wanted};
use self::processors::command::{Command, Scratch};
use self::processors::orphans::Orphans;
pub use self::processors::orphans::adopt_orphans;
use self::queue::{Order, Queue};
pub use self::shelf::{Shelf, ShelfError};
use self::store::Store;
use self::worker::{Crew, Worker};
use crate::config::{ProcessingConfig, ProcessorConfig};
use crate::events::Broadcaster;
use crate::events::types::JobStatus;
use crate::library::EntryId;
use crate::thread;

/// Jobs that may wait or run at once. Far more than people start; a script that runs wild is
/// stopped here.
const MOST_PENDING_JOBS: usize = 1000;

/// Whoever stops the service does not wait longer (contract section 1 has 2 s for all of it).
const STOPS_WITHIN: Duration = Duration::from_millis(1800);

/// Items handed out to workers and not begun, live and of jobs each. Deep enough that no worker
/// waits for the queue thread between small files.
const LANE: usize = 64;

/// Why processing cannot do what it was asked for.
#[derive(Debug)]
pub enum ProcessingError {
    /// The state directory cannot be used.
    State {
        /// The directory or a file in it.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The store was written by a newer Shelfcast.
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        version: i64,
    },
    /// Jobs and history cannot be read or written.
    Store(rusqlite::Error),
    /// The index cannot be read.
    Shelf(ShelfError),
    /// No thread could be started.
    Thread(std::io::Error),
    /// A processor's glob does not parse; the configuration has been checked for that.
    Glob(crate::glob::GlobError),
    /// There is no such entry.
    NoSuchEntry(EntryId),
    /// There is no such job.
    NoSuchJob,
    /// The job has ended.
    JobHasEnded(JobId, JobStatus),
    /// Too many jobs wait.
    TooManyJobs,
    /// The service is stopping.
    Stopping,
}

impl std::fmt::Display for ProcessingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ProcessingError::State { path, error } => {
                write!(
                    f,
                    "the state directory cannot be used: {}: {error}",
                    path.display()
                )
            }
            ProcessingError::Newer { path, version } => write!(
                f,
                "jobs and history in {} are of version {version}, which this shelfcast does not know",
                path.display()
            ),
            ProcessingError::Store(error) => {
                write!(f, "jobs and history cannot be read or written: {error}")
            }
            ProcessingError::Shelf(error) => error.fmt(f),
            ProcessingError::Thread(error) => write!(f, "cannot start a thread: {error}"),
            ProcessingError::Glob(error) => error.fmt(f),
            ProcessingError::NoSuchEntry(id) => write!(f, "there is no entry {}", id.0),
            ProcessingError::NoSuchJob => write!(f, "there is no such job"),
            ProcessingError::JobHasEnded(id, status) => {
                let status = format!("{status:?}").to_lowercase();
                write!(f, "job {id} has ended: {status}")
            }
            ProcessingError::TooManyJobs => {
                write!(
                    f,
                    "{MOST_PENDING_JOBS} jobs wait already: cancel some, or try again later"
                )
            }
            ProcessingError::Stopping => write!(f, "the service is stopping"),
        }
    }
}

impl std::error::Error for ProcessingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ProcessingError::State { error, .. } | ProcessingError::Thread(error) => Some(error),
            ProcessingError::Store(error) => Some(error),
            ProcessingError::Shelf(error) => Some(error),
            ProcessingError::Glob(error) => Some(error),
            _ => None,
        }
    }
}

impl ProcessingError {
    /// Says what to do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            ProcessingError::State { .. } => {
                "make the directory writable for this user, or choose another with --state DIR"
            }
            ProcessingError::Newer { .. } => {
                "install that version again, or move the file away: jobs and history begin anew"
            }
            ProcessingError::Store(_) => "check that its disk is not full and can be written",
            ProcessingError::Thread(_) => "raise the limit of tasks (systemd: TasksMax=)",
            _ => return None,
        })
    }
}

impl From<rusqlite::Error> for ProcessingError {
    fn from(error: rusqlite::Error) -> ProcessingError {
        ProcessingError::Store(error)
    }
}

impl From<ShelfError> for ProcessingError {
    fn from(error: ShelfError) -> ProcessingError {
        ProcessingError::Shelf(error)
    }
}

/// The running part. Any thread may call its methods.
#[derive(Debug)]
pub struct Processing {
    shelf: ShelfHandle,
    store: Arc<Store>,
    figures: Arc<Figures>,
    stop: Flag,
    /// Empty once it was stopped.
    threads: Mutex<Threads>,
}

/// What is taken apart by whoever stops processing. The order matters: closing `orders` ends the
/// queue thread, which closes the lanes of the workers, which end.
#[derive(Debug, Default)]
struct Threads {
    orders: Option<Sender<Order>>,
    queue: Option<thread::Handle>,
    workers: Vec<thread::Handle>,
}

/// A shelf that can be part of a `Debug` struct.
struct ShelfHandle(Arc<dyn Shelf>);

impl std::fmt::Debug for ShelfHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shelf")
    }
}

impl Processing {
    /// Starts the threads; jobs that have not ended go on where they were.
    ///
    /// `work` is a channel of one that says "there is work".
    ///
    /// # Errors
    /// The state directory cannot be used, or no thread can be started.
    pub fn start(
        settings: &ProcessingConfig,
        processors: Vec<ProcessorConfig>,
        state_dir: &Path,
        shelf: Arc<dyn Shelf>,
        work: Receiver<()>,
        events: Broadcaster,
    ) -> Result<Processing, ProcessingError> {
        let state = |error| ProcessingError::State {
            path: state_dir.to_path_buf(),
            error,
        };
        std::fs::create_dir_all(state_dir).map_err(state)?;
        let store = Arc::new(Store::open(state_dir)?);
        let commands = processors.into_iter().map(Command::new);
        let crew = Arc::new(Crew {
            shelf: Arc::clone(&shelf),
            commands: commands
                .collect::<Result<_, _>>()
                .map_err(ProcessingError::Glob)?,
            scratch: Scratch::open(state_dir).map_err(state)?,
            orphans: Orphans::new(),
            store: Arc::clone(&store),
            stop: Flag::default(),
        });
        let workers = settings.workers.max(1);
        let figures = Arc::new(Figures::default());
        // Orders wait while the queue thread is busy: they come from people.
        let (orders, inbox) = bounded(16);
        // Lanes are only filled as far as there is room; results wait for the queue thread.
        let (live, live_tasks) = bounded(LANE);
        let (jobs, job_tasks) = bounded(LANE);
        let (outbox, results) = bounded(4 * LANE);
        // Before the queue, so that where a start fails its lanes are closed before they are joined.
        let mut threads = Vec::new();
        let queue = Queue::new(queue::Parts {
            crew: Arc::clone(&crew),
            store: Arc::clone(&store),
            events,
            figures: Arc::clone(&figures),
            work,
            orders: inbox,
            results,
            live,
            jobs,
            lanes: [live_tasks.clone(), job_tasks.clone()],
            workers,
            automatic: settings.automatic,
        });
        for number in 0..workers {
            let worker = Worker {
                number,
                crew: Arc::clone(&crew),
                live: live_tasks.clone(),
                jobs: job_tasks.clone(),
                results: outbox.clone(),
            };
            // Room for a command's start and for whatever the library does in `report`.
            let started = thread::spawn(&format!("worker-{number}"), 256 * 1024, || worker.run());
            threads.push(started.map_err(ProcessingError::Thread)?);
        }
        // SQLite wants room for its sorter and parser; 256 KiB are plenty for these statements.
        let queue = thread::spawn("queue", 512 * 1024, || queue.run());
        Ok(Processing {
            shelf: ShelfHandle(shelf),
            store,
            figures,
            stop: crew.stop.clone(),
            threads: Mutex::new(Threads {
                orders: Some(orders),
                queue: Some(queue.map_err(ProcessingError::Thread)?),
                workers: threads,
            }),
        })
    }

    /// Tells running commands to end and workers to begin nothing new; waits for none of them.
    pub fn call_off(&self) {
        self.stop.raise();
    }

    /// Ends running commands and joins the threads, within 2 s; what was under way runs again at
    /// the next start. The library must still take reports.
    pub fn stop(&self) {
        // First the workers' commands are called off, then the queue thread takes what they return.
        let deadline = Instant::now() + STOPS_WITHIN;
        self.call_off();
        let mut threads = std::mem::take(&mut *self.threads());
        threads.orders = None;
        threads.queue = None;
        for worker in threads.workers {
            while !worker.is_finished() && Instant::now() < deadline {
                // Nothing tells of a thread's end but joining it.
                let _waited = after(Duration::from_millis(2)).recv();
            }
            if !worker.is_finished() {
                // It hangs in the kernel (a disk that is spinning up, or dead): whoever stops the
                // service shall not wait for that. It holds nothing that must be written.
                log::warn!("a worker waits for its disk and is left behind");
                std::mem::forget(worker);
            }
        }
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Switches automatic work on or off; jobs go on.
    pub fn set_automatic(&self, automatic: bool) {
        // An error means that the service stops, and then nothing is automatic.
        self.order(Order::Automatic(automatic)).unwrap_or(());
    }

    /// Makes a job. When this returns, it survives a power loss.
    ///
    /// # Errors
    /// [`ProcessingError::NoSuchEntry`], [`ProcessingError::TooManyJobs`], or the store or the
    /// index fails.
    pub fn create_job(&self, action: Action, wanted: &Wanted) -> Result<Job, ProcessingError> {
        if self.store.count_pending()? >= MOST_PENDING_JOBS {
            return Err(ProcessingError::TooManyJobs);
        }
        let total = match wanted {
            Wanted::Files(files) => {
                let mut different = std::collections::HashSet::new();
                for id in files {
                    if different.insert(*id) && self.shelf.0.item(*id)?.is_none() {
                        return Err(ProcessingError::NoSuchEntry(*id));
                    }
                }
                different.len() as u64
            }
            Wanted::Scope {
                scope,
                folder,
                directory,
            } => {
                let wanted = active::selection(*scope, folder.as_deref(), directory.as_deref());
                self.shelf.0.count(&wanted)?
            }
        };
        let id = self.store.add_job(action, wanted, total, now_ns())?;
        self.order(Order::Created(id))?;
        self.store.job(id)?.ok_or(ProcessingError::NoSuchJob)
    }

    /// Returns all jobs that are kept, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn jobs(&self) -> Result<Vec<Job>, ProcessingError> {
        let mut jobs = self.store.jobs()?;
        for job in self.figures.running_jobs() {
            if let Some(at) = jobs.iter().position(|old| old.id == job.id)
                && !jobs[at].status.has_ended()
            {
                jobs[at] = job;
            }
        }
        Ok(jobs)
    }

    /// Returns one job.
    ///
    /// # Errors
    /// [`ProcessingError::NoSuchJob`], or the store cannot be read.
    pub fn job(&self, id: JobId) -> Result<Job, ProcessingError> {
        let kept = self.store.job(id)?.ok_or(ProcessingError::NoSuchJob)?;
        if kept.status.has_ended() {
            return Ok(kept);
        }
        // What runs is newer in memory than in the store.
        let running = self
            .figures
            .running_jobs()
            .into_iter()
            .find(|job| job.id == id);
        Ok(running.unwrap_or(kept))
    }

    /// Cancels a job; its running commands are ended within a second.
    ///
    /// # Errors
    /// [`ProcessingError::NoSuchJob`], [`ProcessingError::JobHasEnded`], or the store fails.
    pub fn cancel(&self, id: JobId) -> Result<Job, ProcessingError> {
        let job = self.store.job(id)?.ok_or(ProcessingError::NoSuchJob)?;
        if !self
            .store
            .end_job(id, JobStatus::Cancelled, None, now_ns())?
        {
            let status = self.store.job(id)?.map_or(job.status, |job| job.status);
            return Err(ProcessingError::JobHasEnded(id, status));
        }
        self.order(Order::Cancelled(id))?;
        self.job(id)
    }

    /// Returns results, the newest first, older than the one with number `before`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn history(&self, limit: usize, before: Option<i64>) -> Result<Vec<Past>, ProcessingError> {
        self.store.history(limit, before)
    }

    /// Returns the newest results of one entry, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn entry_history(&self, id: EntryId, limit: usize) -> Result<Vec<Past>, ProcessingError> {
        self.store.entry_history(id, limit)
    }

    /// Returns the figures for `/metrics`.
    #[must_use]
    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    fn order(&self, order: Order) -> Result<(), ProcessingError> {
        let orders = self.threads().orders.clone();
        let orders = orders.ok_or(ProcessingError::Stopping)?;
        orders.send(order).map_err(|_| ProcessingError::Stopping)
    }
}

impl Drop for Processing {
    fn drop(&mut self) {
        Processing::stop(self);
    }
}

/// Nanoseconds since 1970; a clock before that counts as 1970.
fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
