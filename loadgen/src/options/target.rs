//! What every load has: a cluster, a topic, a span of time, a report.

use super::{key_value, not_negative, positive};
use crate::gate::LOG_FILE;
use crate::schedule::Rate;
use clap::Args;
use std::path::PathBuf;

/// Seconds of a run for which neither a time nor a number of records was given.
const SECONDS_DEFAULT: f64 = 10.0;

/// What every load has: a cluster, a topic, a span of time, a report.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// Brokers to begin with; the first that says what the cluster is tells of the others [env: KLAMM_BOOTSTRAP_SERVER]
    /// [default: 127.0.0.1:9092]
    #[arg(short = 'b', long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub bootstrap_server: Vec<String>,
    /// Topic; made when it is missing
    #[arg(long, default_value = "loadgen")]
    pub topic: String,
    /// Partitions to use, and to make the topic with [default: all of the topic, 16 when it is made]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub partitions: Option<u32>,
    /// Setting for the topic when it is made, such as retention.ms=60000; may be repeated
    #[arg(long = "topic-config", value_name = "KEY=VALUE", value_parser = key_value)]
    pub topic_configs: Vec<(String, String)>,
    /// Connections; they share the partitions out among themselves
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Threads that serve the connections [default: the cores that the process may use, at most one per connection]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub threads: Option<u32>,
    /// Seconds to run, after the warm-up [default: 10, or as long as the ramp of a --rate takes, if --records is not given either]
    #[arg(long, value_name = "S", value_parser = positive)]
    pub seconds: Option<f64>,
    /// Records to run for after the warm-up, in whole requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub records: Option<u64>,
    /// Seconds at the start that are not measured
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = not_negative)]
    pub warmup_seconds: f64,
    /// Seconds after the end in which answers are awaited; what has none by then is counted as censored
    #[arg(long, value_name = "S", default_value_t = 60.0, value_parser = not_negative)]
    pub drain_seconds: f64,
    /// Look for answers all the time instead of sleeping until they come: latencies without the wake-up of the load's own core,
    /// which is busy for it
    #[arg(long)]
    pub busy_poll: bool,
    /// The broker's process, on this host, to report its processor time and memory: of its cgroup (version 2) where it has one of
    /// its own. Charged to it is also what the kernel's threads, interrupts and softirqs do, so nothing else ought to run
    #[arg(long, value_name = "PID")]
    pub broker_pid: Option<u32>,
    /// Draw the rate, p50, p99 and the load's own lag of the last seconds on standard error, if that is a terminal, instead of a
    /// line a second
    #[arg(long)]
    pub live: bool,
    /// Agents that run this load (each all of it: rates add up) in this process's place, with a common start; see `agent`.
    /// Histograms and counts are added; what one of them doubts, or one that goes, makes all invalid
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub agents: Vec<String>,
    /// Begin at the moment that standard input says, as part of the run with this number: for agents
    #[arg(long, hide = true)]
    pub held: Option<u32>,
    /// What it is called among others that run at the same time: for loads of a file
    #[arg(long, value_name = "NAME", hide = true)]
    pub name: Option<String>,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Write latencies in HdrHistogram's log format (nanoseconds), one interval a second; see `compare`
    #[arg(long, value_name = "FILE")]
    pub hdr: Option<PathBuf>,
    /// Directory for all that is to be known of the run: run.json, latency.hdr, metrics.prom (Prometheus's text format)
    #[arg(long, value_name = "DIR", conflicts_with = "hdr")]
    pub out: Option<PathBuf>,
}

impl Target {
    /// How long to run after the warm-up; `None` if something else ends the run: the number of records, or `ends_itself`.
    pub fn seconds(&self, ends_itself: bool) -> Option<f64> {
        if self.records.is_some() || ends_itself { self.seconds } else { Some(self.seconds.unwrap_or(SECONDS_DEFAULT)) }
    }

    /// The same for a load that has this rate: with a ramp and nothing else that ends it, it ends with the ramp.
    pub fn seconds_of(&self, rate: Option<Rate>) -> Option<f64> {
        let is_open = self.seconds.is_none() && self.records.is_none();
        rate.and_then(Rate::ramp_seconds).filter(|_| is_open).or_else(|| self.seconds(false))
    }

    /// Where the interval log goes.
    pub fn log(&self) -> Option<PathBuf> {
        self.hdr.clone().or_else(|| Some(self.out.as_ref()?.join(LOG_FILE)))
    }

    /// Threads for that many connections.
    pub fn threads(&self, connections: usize) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        self.threads.map_or(cores, |threads| threads as usize).min(connections)
    }
}
