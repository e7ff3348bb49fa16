//! The **appliance**: all parts, made from the inside out, and stopped in reverse order.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, ProcessingConfig};
use crate::events::{self, Broadcaster};
use crate::http::access::Access;
use crate::http::routes::ApiRoutes;
use crate::http::{self, Parts, Server, ServerError, ServerSettings};
use crate::library::{self, Library, LibraryError};
use crate::metrics::Registry;
use crate::process;
use crate::processing::{Processing, ProcessingError};

/// Why the appliance did not start, or what it cannot be told.
#[derive(Debug)]
pub enum ApplianceError {
    /// The broadcaster has no thread.
    Events(std::io::Error),
    /// The library could not be started.
    Library(LibraryError),
    /// Processing could not be started.
    Processing(ProcessingError),
    /// An address cannot be listened on.
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
        /// Who has the port, where that can be seen.
        holder: Option<String>,
    },
    /// The server could not be started.
    Server(ServerError),
}

impl std::fmt::Display for ApplianceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ApplianceError::Events(error) => write!(f, "the events could not be started: {error}"),
            ApplianceError::Library(error) => error.fmt(f),
            ApplianceError::Processing(error) => error.fmt(f),
            ApplianceError::Listen {
                address, holder, ..
            } if holder.is_some() => write!(
                f,
                "cannot listen on {address}: {} has this port",
                holder.as_deref().unwrap_or_default()
            ),
            ApplianceError::Listen { address, error, .. } => {
                write!(f, "cannot listen on {address}: {error}")
            }
            ApplianceError::Server(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ApplianceError {}

impl ApplianceError {
    /// Says what to do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ApplianceError::Events(_) | ApplianceError::Server(_) => None,
            ApplianceError::Library(LibraryError::Index(error)) => Some(error.hint()),
            ApplianceError::Library(LibraryError::System(_)) => None,
            ApplianceError::Processing(error) => error.hint(),
            ApplianceError::Listen { error, .. } => Some(match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "stop that program, or choose another port with --listen"
                }
                std::io::ErrorKind::PermissionDenied => {
                    "ports below 1024 need a privilege: choose another with --listen"
                }
                _ => "choose an address of this machine with --listen",
            }),
        }
    }
}

/// A running Shelfcast. Dropping it stops it.
#[derive(Debug)]
pub struct Appliance {
    // Stopped in this order: nobody asks any more, then nothing is worked on, then nothing changes,
    // then nothing is told.
    server: Option<Server>,
    processing: Option<Arc<Processing>>,
    library: Option<Arc<Library>>,
    events: Broadcaster,
    access: Arc<Access>,
    url: String,
}

impl Appliance {
    /// Starts everything, the listener last. `passed` are listeners of the service manager; with
    /// them, the configured addresses are not bound.
    ///
    /// # Errors
    /// See [`ApplianceError`]; what was started is stopped again.
    pub fn start(config: Config, passed: Vec<TcpListener>) -> Result<Appliance, ApplianceError> {
        let descriptors = http::socket::raise_descriptor_limit().unwrap_or_else(|error| {
            log::warn!("fewer clients can connect, the limit of descriptors stays low: {error}");
            None
        });
        let listeners = if passed.is_empty() {
            bind(&config.listen)?
        } else {
            passed
        };
        let metrics = Arc::new(Registry::default());
        let events =
            Broadcaster::start(events::Settings::default()).map_err(ApplianceError::Events)?;
        let settings = library::Settings {
            state: config.state.clone(),
            folders: config.folders.clone(),
            poll: config.watch.poll,
            automatic: config.processing.automatic,
        };
        let (library, work) =
            Library::start(settings, events.clone()).map_err(ApplianceError::Library)?;
        let library = Arc::new(library);
        metrics.add(Arc::clone(&library) as _);
        let settings = ProcessingConfig {
            automatic: library.is_enabled(),
            ..config.processing.clone()
        };
        let processing = Processing::start(
            &settings,
            config.processors.clone(),
            &config.state,
            Arc::clone(&library) as _,
            work,
            events.clone(),
        );
        let processing = Arc::new(processing.map_err(ApplianceError::Processing)?);
        metrics.add(processing.figures());
        metrics.add(Arc::new(process::Figures));
        let access = Arc::new(Access::new(&config.access));
        metrics.add(access.refusals());
        let folders = Arc::clone(&library);
        let parts = Parts {
            events: events.clone(),
            routes: Arc::new(ApiRoutes::new(
                Arc::clone(&library),
                Arc::clone(&processing),
                Arc::clone(&access),
            )),
            gate: Arc::clone(&access) as Arc<dyn http::request::Gate>,
            folders: Arc::new(move |name: &str| folders.has_folder(name)),
            metrics,
        };
        let settings = ServerSettings {
            clients: clients_within(config.limits.clients, descriptors),
            clients_per_address: config.limits.clients_per_address,
            ..ServerSettings::default()
        };
        let server = Server::start(settings, listeners, parts).map_err(ApplianceError::Server)?;
        let url = url(server.addresses());
        Ok(Appliance {
            server: Some(server),
            processing: Some(processing),
            library: Some(library),
            events,
            access,
            url,
        })
    }

    /// Returns the address to open in a browser.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Applies what can be applied of a configuration that was read again, and names in the log
    /// what cannot without a restart.
    pub fn reload(&self, before: &Config, now: &Config) {
        self.access.reload(&now.access);
        // The log is reloaded by the process edge.
        let live = ["access", "log_level", "log_file"];
        let differences = before.differences(now);
        for key in differences.into_iter().filter(|key| !live.contains(key)) {
            log::warn!(
                "the new `{key}` counts from the next start on: systemctl restart shelfcast"
            );
        }
        log::info!("configuration read again");
    }

    /// Tells whether every thread that must never die answers; for the watchdog.
    #[must_use]
    pub fn is_alive(&self, within: Duration) -> bool {
        self.server
            .as_ref()
            .is_some_and(|server| server.answers(within))
            && self
                .library
                .as_ref()
                .is_some_and(|library| library.is_alive(within))
    }

    /// Stops everything; returns when all threads are joined.
    pub fn stop(mut self) {
        self.stop_parts();
    }

    fn stop_parts(&mut self) {
        // Commands end while streams do, and requests that wait would keep the server from ending.
        if let Some(processing) = &self.processing {
            processing.call_off();
        }
        if let Some(library) = &self.library {
            library.give_up_syncs();
        }
        if let Some(server) = self.server.take() {
            server.stop();
        }
        // Stopped, not only let go: a request that hangs may hold them still.
        if let Some(processing) = self.processing.take() {
            processing.stop();
        }
        if let Some(library) = self.library.take() {
            library.stop();
        }
        self.events.stop();
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.stop_parts();
    }
}

/// Descriptors that are no streams: the index, processors, and the answers to everybody else.
const DESCRIPTORS_KEPT: u64 = 48;

/// Returns how many streams may be open, so that the page is still served when they all are: beyond
/// it a client is told to come again, where descriptors that run out would only cut it off.
fn clients_within(wanted: usize, descriptors: Option<u64>) -> usize {
    let Some(descriptors) = descriptors else {
        return wanted; // there is no limit
    };
    let room = descriptors.saturating_sub(DESCRIPTORS_KEPT).max(1);
    let clients = usize::try_from(room).map_or(wanted, |room| wanted.min(room));
    if clients < wanted {
        log::warn!(
            "no more than {clients} event streams at once: this process may have {descriptors} \
             descriptors; hint: ulimit -n, or LimitNOFILE= of the service"
        );
    }
    clients
}

fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ApplianceError> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = http::bind(*address).map_err(|error| ApplianceError::Listen {
            address: *address,
            holder: (error.kind() == std::io::ErrorKind::AddrInUse)
                .then(|| crate::ports::holder(address.port()))
                .flatten(),
            error,
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// The address for people: the machine's name where we listen on all addresses.
fn url(addresses: &[SocketAddr]) -> String {
    let Some(address) = addresses.first() else {
        return String::new();
    };
    let host = match address.ip() {
        ip if ip.is_unspecified() => {
            let name = rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned();
            // A name without a dot is found on a LAN as name.local (mDNS).
            if name.is_empty() || name == "localhost" {
                "localhost".to_owned()
            } else if name.contains('.') {
                name
            } else {
                format!("{name}.local")
            }
        }
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        std::net::IpAddr::V4(ip) => ip.to_string(),
    };
    format!("http://{host}:{}/", address.port())
}
