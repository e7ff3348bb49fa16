//! The process edge: configuration, log, signals, exit code.

fn main() {}
