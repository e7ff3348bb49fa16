//! **Metrics**: counter, gauge, histogram, and the Prometheus text format.
//!
//! Each part of the program owns a struct of its own figures (plain atomics, present at zero) and
//! hands it to the [`Registry`] as something that can [`Collect`]; who reads them is not its
//! business. Names are `shelfcast_<part>_<what>_<unit>`, and a counter ends in `_total`.
//! Format: prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// Returns the count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Changes the number by `change` and returns what it is now.
    pub fn add(&self, change: i64) -> i64 {
        self.0.fetch_add(change, Relaxed).wrapping_add(change)
    }

    /// Replaces the number.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// Returns the number.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// How many durations fell below each of its bounds.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds in microseconds, growing.
    bounds_us: &'static [u64],
    /// One more than bounds: the last has no bound.
    buckets: Box<[AtomicU64]>,
    sum_us: AtomicU64,
}

impl Histogram {
    /// Returns an empty histogram over growing upper bounds in microseconds.
    #[must_use]
    pub fn new(bounds_us: &'static [u64]) -> Histogram {
        Histogram {
            bounds_us,
            buckets: (0..=bounds_us.len()).map(|_| AtomicU64::new(0)).collect(),
            sum_us: AtomicU64::new(0),
        }
    }

    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.bounds_us.partition_point(|bound| *bound < took_us);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(took_us, Relaxed);
    }
}

/// A part that has figures to show.
pub trait Collect: Send + Sync {
    /// Writes every figure, also those that are zero.
    fn collect(&self, page: &mut Page);
}

/// The parts whose figures `/metrics` shows.
#[derive(Default)]
pub struct Registry {
    parts: Mutex<Vec<Arc<dyn Collect>>>,
}

impl Registry {
    /// Adds a part; its names must not clash with those of another.
    pub fn add(&self, part: Arc<dyn Collect>) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.push(part);
    }

    /// Returns the figures of all parts as Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        let parts = self
            .parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut page = Page::default();
        for part in parts {
            part.collect(&mut page);
        }
        page.text
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

/// The Prometheus text that is being written.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// Writes a number that only grows; `name` ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.family(name, help, "counter");
        self.line(format_args!("{name} {value}\n"));
    }

    /// Writes one counter for each value of `label`.
    pub fn counters(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.family(name, help, "counter");
        for (which, value) in values {
            let which = escaped(which);
            self.line(format_args!("{name}{{{label}=\"{which}\"}} {value}\n"));
        }
    }

    /// Writes a number that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, help, "gauge");
        self.line(format_args!("{name} {value}\n"));
    }

    /// Writes one gauge for each value of `label`.
    pub fn gauges(&mut self, name: &str, help: &str, label: &str, values: &[(&str, f64)]) {
        self.family(name, help, "gauge");
        for (which, value) in values {
            let which = escaped(which);
            self.line(format_args!("{name}{{{label}=\"{which}\"}} {value}\n"));
        }
    }

    /// Writes a histogram; `name` ends in `_seconds`.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, help, "histogram");
        let mut below = 0;
        for (bucket, bound_us) in histogram.buckets.iter().zip(histogram.bounds_us) {
            below += bucket.load(Relaxed);
            let bound_s = Duration::from_micros(*bound_us).as_secs_f64();
            self.line(format_args!("{name}_bucket{{le=\"{bound_s}\"}} {below}\n"));
        }
        below += histogram.buckets[histogram.bounds_us.len()].load(Relaxed);
        let sum_s = Duration::from_micros(histogram.sum_us.load(Relaxed)).as_secs_f64();
        self.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {below}\n"));
        self.line(format_args!("{name}_sum {sum_s}\n{name}_count {below}\n"));
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.text
            .write_fmt(line)
            .expect("writing to a string does not fail");
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Everything(Histogram);

    impl Collect for Everything {
        fn collect(&self, page: &mut Page) {
            page.counter("a_total", "Counts\nthings.", 3);
            page.counters("b_total", "By kind.", "kind", &[("x\"y", 1), ("z", 0)]);
            page.gauge("c_bytes", "Size.", 1.5);
            page.histogram("d_seconds", "Time.", &self.0);
        }
    }

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let histogram = Histogram::new(&[1_000, 10_000]);
        for took_us in [500, 1_000, 1_001, 20_000] {
            histogram.observe(Duration::from_micros(took_us));
        }
        let registry = Registry::default();
        registry.add(Arc::new(Everything(histogram)));
        assert_eq!(
            registry.render(),
            "# HELP a_total Counts\\nthings.\n# TYPE a_total counter\na_total 3\n\
             # HELP b_total By kind.\n# TYPE b_total counter\n\
             b_total{kind=\"x\\\"y\"} 1\nb_total{kind=\"z\"} 0\n\
             # HELP c_bytes Size.\n# TYPE c_bytes gauge\nc_bytes 1.5\n\
             # HELP d_seconds Time.\n# TYPE d_seconds histogram\n\
             d_seconds_bucket{le=\"0.001\"} 2\nd_seconds_bucket{le=\"0.01\"} 3\n\
             d_seconds_bucket{le=\"+Inf\"} 4\nd_seconds_sum 0.022501\nd_seconds_count 4\n"
        );
    }
}
