//! `end-to-end`.

use super::{Fetching, Shape, Target, Writing};
use clap::Args;

#[derive(Args, Clone, Debug)]
pub struct EndToEnd {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub writing: Writing,
    #[command(flatten)]
    pub shape: Shape,
    #[command(flatten)]
    pub fetching: Fetching,
    /// Connections that read, besides those that write
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub consumers: u32,
}
