//! Tests from outside: real files, real inotify, real sockets; a module per behaviour.

mod config;
mod daemon;
mod documentation;
mod events;
mod exhaustion;
mod figures;
mod http_server;
mod jobs;
mod log_lines;
mod logging;
mod polling;
mod processing;
mod processors;
mod serving;
mod streams;
mod systemd;
