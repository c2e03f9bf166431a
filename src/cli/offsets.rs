//! `klamm offsets`: where partitions begin and end, and deletion from their front.

use super::client::Client;
use super::failure::{Failure, Result};
use super::operation::offsets::{self, EARLIEST, HIGH_WATERMARK, LATEST, MAX_TIMESTAMP};
use super::operation::reset::parse_places;
use super::operation::{TopicPartition, offsets::Each};
use super::options::Options;
use super::output::{Table, or_none};
use super::time::{format_datetime, now_ms, parse_time};
use crate::types::{Offset, TimestampMs};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Show offsets of partitions, delete records before one
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The first offset and the end of each partition, or its offset at a time
    List {
        /// TOPIC or TOPIC:0,1; all topics if none is named
        topics: Vec<String>,
        /// earliest, latest, max-timestamp, 2026-01-31T12:00:00Z, -1h or milliseconds since 1970
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        at: Option<String>,
    },
    /// Delete the records before an offset
    Delete {
        /// TOPIC or TOPIC:0,1
        #[arg(required = true)]
        topics: Vec<String>,
        /// The first offset that stays, or `end` to delete all
        #[arg(long, value_name = "OFFSET")]
        before: String,
    },
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let mut client = self.options.connect()?;
        match self.what {
            What::List { topics, at } => {
                let time = at.map(|at| special_time(&at)).transpose()?;
                let places = match topics.is_empty() {
                    true => offsets::partitions(&client.cluster(None)?),
                    false => parse_places(&mut client, &topics)?,
                };
                match time {
                    Some(time) => list_at(&mut client, &self.options, &places, time),
                    None => list(&mut client, &self.options, &places),
                }
            }
            What::Delete { topics, before } => {
                let before = match before.as_str() {
                    "end" => HIGH_WATERMARK,
                    number => number
                        .parse()
                        .ok()
                        .filter(|&offset: &Offset| offset >= 0)
                        .ok_or_else(|| Failure::Usage(format!("{number:?} is no offset: a number or `end` is")))?,
                };
                let places = parse_places(&mut client, &topics)?;
                delete(&mut client, &self.options, &places, before)
            }
        }
    }
}

fn special_time(text: &str) -> Result<TimestampMs> {
    match text {
        "earliest" => Ok(EARLIEST),
        "latest" => Ok(LATEST),
        "max-timestamp" => Ok(MAX_TIMESTAMP),
        _ => parse_time(text, now_ms()).map_err(Failure::Usage),
    }
}

fn ask<T>(
    client: &mut Client,
    places: &[TopicPartition],
    what: impl FnOnce(&mut Client, &super::client::Cluster) -> Result<T>,
) -> Result<T> {
    let mut names: Vec<&str> = places.iter().map(|place| place.topic.as_str()).collect();
    names.dedup();
    let cluster = client.cluster(Some(&names))?;
    what(client, &cluster)
}

/// The values of all partitions, or the first failure.
fn all<T>(each: Each<T>) -> Result<BTreeMap<TopicPartition, T>> {
    each.into_iter().map(|(place, result)| result.map(|value| (place, value))).collect()
}

fn list(client: &mut Client, options: &Options, places: &[TopicPartition]) -> Result<()> {
    let (first, end) = ask(client, places, |client, cluster| {
        let first = all(offsets::list(client, cluster, places, EARLIEST)?)?;
        Ok((first, all(offsets::list(client, cluster, places, LATEST)?)?))
    })?;
    let rows = || {
        first.iter().map(|(place, first)| {
            let (first, end) = (first.offset, end.get(place).and_then(|end| end.offset));
            (place, first, end, first.zip(end).map(|(first, end)| end - first))
        })
    };
    let human = || {
        let mut table = Table::new(&["TOPIC", "PARTITION", "EARLIEST", "LATEST", "OFFSETS"]);
        for (place, first, end, between) in rows() {
            let partition = place.partition.to_string();
            table.row(vec![place.topic.clone(), partition, or_none(first), or_none(end), or_none(between)]);
        }
        table.to_string()
    };
    let json = || {
        let row = |(place, first, end, _): (&TopicPartition, _, _, _)| json!({ "topic": place.topic, "partition": place.partition, "earliest": first, "latest": end });
        rows().map(row).collect::<Value>()
    };
    options.format.print(human, json)
}

fn list_at(client: &mut Client, options: &Options, places: &[TopicPartition], time: TimestampMs) -> Result<()> {
    let found = ask(client, places, |client, cluster| all(offsets::list(client, cluster, places, time)?))?;
    let human = || {
        let mut table = Table::new(&["TOPIC", "PARTITION", "OFFSET", "TIME"]);
        for (place, found) in &found {
            let (partition, time) = (place.partition.to_string(), or_none(found.timestamp.map(format_datetime)));
            table.row(vec![place.topic.clone(), partition, or_none(found.offset), time]);
        }
        table.to_string()
    };
    let json = || {
        let row = |(place, found): (&TopicPartition, &offsets::Found)| {
            json!({ "topic": place.topic, "partition": place.partition, "offset": found.offset,
                "timestamp": found.timestamp, "leader_epoch": found.leader_epoch.map(|epoch| epoch.0) })
        };
        found.iter().map(row).collect::<Value>()
    };
    options.format.print(human, json)
}

fn delete(client: &mut Client, options: &Options, places: &[TopicPartition], before: Offset) -> Result<()> {
    let wanted = places.iter().map(|place| (place.clone(), before)).collect();
    let first = ask(client, places, |client, cluster| all(offsets::delete_records(client, cluster, &wanted)?))?;
    let human = || {
        let mut table = Table::new(&["TOPIC", "PARTITION", "EARLIEST"]);
        for (place, first) in &first {
            table.row(vec![place.topic.clone(), place.partition.to_string(), first.to_string()]);
        }
        table.to_string()
    };
    let json = || {
        let row = |(place, first): (&TopicPartition, &Offset)| json!({ "topic": place.topic, "partition": place.partition, "earliest": first });
        first.iter().map(row).collect::<Value>()
    };
    options.format.print(human, json)
}
