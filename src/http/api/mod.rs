//! The **resources** of the HTTP interface, one a file: request in, typed call, answer out.

pub mod events;
