//! `consume`, and what every load that reads can be asked for.

use super::Target;
use clap::{Args, ValueEnum};

/// How a broker is asked for records.
#[derive(Args, Clone, Debug)]
pub struct Fetching {
    /// Bytes of records that one answer may hold
    #[arg(long, value_name = "N", default_value_t = 52428800, value_parser = clap::value_parser!(i32).range(1..))]
    pub max_bytes: i32,
    /// Bytes of records that one answer may hold of one partition
    #[arg(long, value_name = "N", default_value_t = 1048576, value_parser = clap::value_parser!(i32).range(1..))]
    pub fetch_partition_bytes: i32,
    /// Bytes of records that are worth an answer
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(0..))]
    pub min_bytes: i32,
    /// Milliseconds after which an answer comes with less
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(i32).range(0..))]
    pub max_wait_ms: i32,
}

#[derive(Args, Clone, Debug)]
pub struct Consume {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub fetching: Fetching,
    /// Where to begin
    #[arg(long, value_enum, default_value_t = From::Earliest)]
    pub from: From,
    /// End when all is read that was there at the start
    #[arg(long)]
    pub to_end: bool,
    /// Read what was there at the start again and again, until the time is over
    #[arg(long, conflicts_with = "to_end")]
    pub repeat: bool,
    /// Check every batch's checksum
    #[arg(long)]
    pub check_crc: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// The first record that is there
    Earliest,
    /// Behind the last record that is there
    Latest,
}
