//! `compare`.

use super::positive;
use crate::gate::Rule;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

pub const ABOUT: &str = "Runs of two versions or settings, side by side: medians over runs, their ratio with a 95 % interval (bootstrap over \
    runs), and for each metric whether it is better, worse, the same, or undecided.\n\n\
    A run is a directory of --out, or a file of --hdr, which has latencies only. A change counts from --margin on, if the \
    interval excludes no change; metrics are the same if the interval ends within four times the margin to both sides; the rest \
    is undecided, as is everything with less than five runs a side. Take the runs of both sides in turn on one idle machine.\n\n\
    Metrics: throughput, p50 p90 p99 p99.9 p99.99 max (of several latencies with their tag before: delivery.p99), cpu \
    (the broker's seconds per GB), cpu_charged (with the kernel's for it), memory, memory_with_cache (of its cgroup); and \
    counts: errors, unsent, censored, connections_lost, undelivered, lost, duplicated, reordered, corrupted, \
    interruptions, invalid (runs).\n\n\
    Exit status 0: compared, and no condition of --fail-if holds; 1: one holds; 4: one is undecided, or the runs cannot be \
    compared; 2: wrong usage.";

#[derive(Args, Clone, Debug)]
pub struct Compare {
    /// Runs to compare with
    #[arg(long, value_name = "RUN", required = true, num_args = 1..)]
    pub base: Vec<PathBuf>,
    /// Runs to compare
    #[arg(long, value_name = "RUN", required = true, num_args = 1..)]
    pub new: Vec<PathBuf>,
    /// Conditions under which the exit status is 1, such as 'p99>+5%,throughput<-3%,errors>0': with % a change from base to
    /// new, without a level of the new runs (their median; of counts the sum)
    #[arg(long, value_name = "CONDITIONS", value_delimiter = ',')]
    pub fail_if: Vec<Rule>,
    /// Percent from which a change counts in the verdicts; a condition has its own
    #[arg(long, value_name = "PERCENT", default_value_t = 3.0, value_parser = positive)]
    pub margin: f64,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Write a page that needs no network: the tables, the changes with their intervals, curves of all runs and the medians of both
    /// sides, percentiles over time, heat maps
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Compare runs of other options or another schema as well, and believe runs that are not valid; the differences are named
    #[arg(long)]
    pub force: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Text,
    Json,
    Csv,
    Markdown,
    Junit,
}
