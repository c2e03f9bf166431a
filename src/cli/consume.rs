//! `klamm consume`: records to standard output.

use super::consuming::{Ended, Order, consume};
use super::failure::{Failure, Result};
use super::options::Options;
use super::output::Format;
use super::pattern::{LANGUAGE, Pattern};
use super::reading::{Place, Reset};
use super::time::{now_ms, parse_duration};
use crate::types::PartitionIndex;
use std::time::Duration;

/// Print the records of topics, up to the present end unless --follow or --idle-timeout is given
#[derive(clap::Args)]
#[command(after_help = LANGUAGE)]
pub struct Arguments {
    /// Topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Only these partitions
    #[arg(short, long, value_name = "PARTITION", value_delimiter = ',', conflicts_with = "group")]
    partition: Vec<PartitionIndex>,
    /// Where to begin: earliest (the default), latest (the default with --follow), an offset, -5 (the last five), -1h or
    /// 2026-01-31T12:00:00Z. With --group, only where the group has committed nothing
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    from: Option<String>,
    /// Where to end, before that record
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    until: Option<String>,
    /// At most so many records
    #[arg(short, long, value_name = "RECORDS")]
    count: Option<u64>,
    /// Wait for new records
    #[arg(long)]
    follow: bool,
    /// Wait for new records, and end when none has come for so long: 500ms, 10s, 2m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    idle_timeout: Option<Duration>,
    /// As a member of this group, which shares the partitions among its members, goes on where it has committed, and commits
    #[arg(short, long)]
    group: Option<String>,
    /// As a member of the group, but without committing
    #[arg(long, requires = "group")]
    no_commit: bool,
    /// Leave out records of transactions that are aborted or not finished
    #[arg(long)]
    committed: bool,
    /// How each record is printed; see below
    #[arg(short = 'f', long, default_value = "%v\\n", conflicts_with = "format")]
    pattern: String,
    /// Printed for a key or value that is null
    #[arg(long, value_name = "TEXT", default_value = "")]
    null: String,
    #[command(flatten)]
    options: Options,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let pattern = Pattern::parse(&self.pattern).map_err(Failure::Usage)?;
        let order = self.order()?;
        let mut client = self.options.connect()?;
        let json = self.options.format == Format::Json;
        let (_, ended) = consume(&mut client, &order, |record, out| {
            match json {
                true => {
                    out.extend_from_slice(record.to_json().to_string().as_bytes());
                    out.push(b'\n');
                }
                false => pattern.print(record, self.null.as_bytes(), out),
            }
            Ok(())
        })?;
        match ended {
            Ended::Done | Ended::Stopped | Ended::Closed | Ended::Idle => Ok(()),
        }
    }

    fn order(&self) -> Result<Order> {
        let now = now_ms();
        let place = |text: &Option<String>| text.as_deref().map(|text| Place::parse(text, now)).transpose();
        let is_new_only = self.follow && self.group.is_none();
        let default = if is_new_only { Place::Latest } else { Place::Earliest };
        Ok(Order {
            topics: self.topics.clone(),
            partitions: self.partition.clone(),
            from: place(&self.from).map_err(Failure::Usage)?.unwrap_or(default),
            group: self.group.clone(),
            commit: !self.no_commit,
            until: place(&self.until).map_err(Failure::Usage)?,
            follow: self.follow || self.idle_timeout.is_some(),
            count: self.count,
            idle: self.idle_timeout,
            committed_only: self.committed,
            clamp: true,
            reset: Reset::Earliest,
        })
    }
}
