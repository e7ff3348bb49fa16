//! **Processors**: the kinds of work on an entry, one a file.

mod arguments;
pub(crate) mod command;
pub(crate) mod fingerprint;
mod guard;
pub(crate) mod orphans;
mod tail;
