//! `churn`.

use super::Target;
use crate::schedule::Rate;
use clap::Args;

#[derive(Args, Clone, Debug)]
pub struct Churn {
    #[command(flatten)]
    pub target: Target,
    /// Connections a second, each closed once the broker has said what it speaks; or a ramp, such as 10..500/60s [default: as fast
    /// as they come]
    #[arg(long, value_name = "R")]
    pub rate: Option<Rate>,
    /// Topics a second, each deleted once it is made, or a ramp [default: as fast as they come]
    #[arg(long, value_name = "R")]
    pub topic_rate: Option<Rate>,
    /// Threads that open and close connections, one at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub workers: u32,
    /// Threads that make and delete topics (of --partitions, 1 if that is not given), one at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub topic_workers: u32,
}
