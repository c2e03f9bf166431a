//! `commit`.

use super::Target;
use clap::Args;

#[derive(Args, Clone, Debug)]
pub struct Commit {
    #[command(flatten)]
    pub target: Target,
    /// Commits that a connection has unanswered at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: u32,
    /// Partitions that one commit has positions of
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub partitions_per_commit: u32,
}
