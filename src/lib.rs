//! Shelfcast watches the folders of a file library, keeps an index of it, processes every new
//! file once it is complete, and pushes every change to every browser of the LAN.
//!
//! The way of a change, one owner a step and a bounded channel between steps:
//!
//! ```text
//! disk ─inotify─▶ watch ─changes─▶ library (index) ─delta─▶ events ─queue of 100─▶ stream ─▶ browser
//!                                     │      ▲
//!                             complete entries│ results
//!                                     ▼      │
//!                                 processing (processors, jobs)
//! ```

pub mod appliance;
pub mod config;
pub mod events;
pub mod glob;
pub mod http;
pub mod library;
pub mod logging;
pub mod metrics;
pub mod page;
mod ports;
pub mod process;
pub mod processing;
pub mod signals;
mod sqlite;
pub mod systemd;
pub mod thread;
pub mod watch;
