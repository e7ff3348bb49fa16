//! Event streams under load, beside nginx with nchan and Flask with gunicorn.
//!
//! One command, one table: `cargo bench --bench streams`. The same generator (one thread, epoll)
//! opens the same number of streams on each server in turn, publishes through HTTP, and takes the
//! time from writing the publish request to reading the event on each stream. Servers that are
//! not installed are left out: `apt-get install nginx-light libnginx-mod-nchan`,
//! `pip install flask gunicorn`. Compare ratios; absolute times are those of the machine.
//!
//! Options after `--`: `--clients 100,500`, `--servers shelfcast,nchan,flask`, `--rounds 20`,
//! `--no-rates`, `--stalled 50` (further streams that are never read).

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measuring program: it prints, and what fails ends it"
)]

mod load;
mod process;
mod servers;

use load::Load;
use servers::{Kind, Running};
use shelfcast::http::socket::raise_descriptor_limit;
use std::time::Duration;

struct Options {
    clients: Vec<usize>,
    servers: Vec<Kind>,
    rounds: usize,
    rates: bool,
    stalled: usize,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let mut options = Options {
        clients: vec![100, 500, 1_000, 2_000],
        servers: Kind::ALL.to_vec(),
        rounds: 20,
        rates: true,
        stalled: 0,
    };
    while let Some(word) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        match word.as_str() {
            "serve" => return servers::serve(&value()),
            "--clients" => {
                options.clients = value()
                    .split(',')
                    .map(|text| text.parse().unwrap())
                    .collect();
            }
            "--servers" => {
                let names = value();
                let names: Vec<&str> = names.split(',').collect();
                options.servers.retain(|kind| names.contains(&kind.name()));
            }
            "--rounds" => options.rounds = value().parse().unwrap(),
            "--stalled" => options.stalled = value().parse().unwrap(),
            "--no-rates" => options.rates = false,
            other => panic!("unknown option {other}"),
        }
    }
    // The generator and the servers it starts need a descriptor for each stream.
    raise_descriptor_limit().unwrap();
    println!(
        "| server | clients | p50 ms | p99 ms | last ms | burst of 50 ms | events/s | KiB/client | threads/client | CPU µs/delivery | switches/s idle |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    );
    for clients in &options.clients {
        for kind in &options.servers {
            match servers::start(*kind, *clients) {
                Some(running) => measure(&running, *clients, &options),
                None => println!("| {} | {clients} | not installed |", kind.name()),
            }
        }
    }
}

fn measure(running: &Running, clients: usize, options: &Options) {
    let name = running.kind.name();
    let before = process::usage(running.pid);
    let Some(mut load) = Load::open(running, clients) else {
        println!("| {name} | {clients} | does not open |");
        return;
    };
    load.settle(Duration::from_secs(6)); // threads that only opened the streams end
    let idle_start = process::usage(running.pid);
    load.settle(Duration::from_secs(3));
    let open = process::usage(running.pid);
    let switches = open.switches.saturating_sub(idle_start.switches) / 3;

    load.publish_and_wait(1); // warms up
    load.stall(options.stalled);
    let cpu_start = process::usage(running.pid).cpu;
    let mut each = Vec::new();
    let mut last = Vec::new();
    for _ in 0..options.rounds {
        let round = load.publish_and_wait(1);
        last.extend(round.iter().max());
        each.extend(round);
    }
    let cpu = process::usage(running.pid).cpu.saturating_sub(cpu_start);
    let deliveries = u32::try_from(each.len().max(1)).unwrap();
    let mut bursts: Vec<Duration> = (0..3)
        .filter_map(|_| load.publish_and_wait(50).into_iter().max())
        .collect();
    let rate = if options.rates {
        load.highest_rate()
    } else {
        0
    };

    let kib = open.resident_kib.saturating_sub(before.resident_kib) as f64 / clients as f64;
    let threads = open.threads.saturating_sub(before.threads) as f64 / clients as f64;
    println!(
        "| {name} | {clients} | {:.2} | {:.2} | {:.2} | {:.1} | {rate} | {kib:.1} | {threads:.2} | {:.1} | {switches} |",
        ms(percentile(&mut each, 50)),
        ms(percentile(&mut each, 99)),
        ms(percentile(&mut last, 50)),
        ms(percentile(&mut bursts, 50)),
        (cpu / deliveries).as_secs_f64() * 1e6,
    );
}

fn percentile(values: &mut [Duration], hundredths: usize) -> Duration {
    values.sort_unstable();
    let rank = (values.len() * hundredths).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or(Duration::MAX)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
