//! `search`.

use super::{EndToEnd, Fetching, Produce, positive};
use crate::schedule::Rate;
use crate::search::Limit;
use clap::Args;
use std::path::PathBuf;

pub const ABOUT: &str = "The highest rate at which the broker keeps within limits.\n\n\
    Steps of --seconds (after --warmup-seconds) at a rate each, as produce does: from --from on twice as much each time until a \
    step fails, then between the highest rate that passed and the lowest that did not, until they are --precision apart. What is \
    found has passed twice. If the first rate fails, half of it is tried, and so on, down to a hundredth.\n\n\
    With a limit of the delivery (delivery.p99<20ms), from when a record was due until it was read back, steps are those of \
    end-to-end.\n\n\
    A step fails if a limit of --max is exceeded (latencies from the scheduled time, what is censored included), if records that \
    were due are not acknowledged, if requests fail or connections are lost, or if the backlog (what is due and not answered) \
    grows. A step is not valid, and is tried twice, if the load or its host may be what was measured: a thread of the load above \
    85 %, own lag above a tenth of the latency, steal. It leads the search on all the same (own lag is in the latencies); but what is \
    found is valid only if the steps are that it rests on.\n\n\
    All steps write to one topic; --topic-config retention.bytes=N bounds what they leave.\n\n\
    Exit status 0 if a rate was found, 3 if not, if it is not valid, or if the broker ended.";

/// Options of other loads that each step has by itself, or that are of one run.
pub const HIDDEN: [&str; 5] = ["rate", "records", "hdr", "out", "agents"];

#[derive(Args, Clone, Debug)]
pub struct Search {
    #[command(flatten)]
    pub load: Produce,
    #[command(flatten)]
    pub fetching: Fetching,
    /// Connections that read, where there is a limit of the delivery
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub consumers: u32,
    /// Limits of each step, such as 'p99<10ms,p99.9<50ms,max<=1s,delivery.p99<20ms'
    #[arg(long, value_name = "LIMITS", required = true, value_delimiter = ',',
        conflicts_with_all = HIDDEN)]
    pub max: Vec<Limit>,
    /// Records a second of the first step
    #[arg(long, value_name = "R", value_parser = per_second, group = "paced")]
    pub from: f64,
    /// Records a second that are not exceeded
    #[arg(long, value_name = "R", value_parser = per_second)]
    pub to: Option<f64>,
    /// Percent between the rate that is found and one that does not pass
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = positive)]
    pub precision: f64,
    /// Write a line for each step
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Draw latencies and processor time against the rate
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

impl Search {
    /// The step with the load that was asked for, if records are to be read back.
    pub fn end_to_end(&self, load: &Produce) -> Option<EndToEnd> {
        let Produce { target, writing, shape } = load.clone();
        let (fetching, consumers) = (self.fetching.clone(), self.consumers);
        self.max.iter().any(Limit::is_of_delivery).then_some(EndToEnd { target, writing, shape, fetching, consumers })
    }
}

fn per_second(text: &str) -> Result<f64, String> {
    let rate: Rate = text.parse()?;
    rate.steady().ok_or_else(|| "a ramp: each step has one rate".to_string())
}
