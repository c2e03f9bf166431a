//! `klamm group`: groups of consumers, what they have read, and where they go on.

use super::client::Client;
use super::failure::{Failure, Result};
use super::group_print::{self, Row};
use super::operation::groups::{self, Described, Listed};
use super::operation::reset::{self, Target, parse_places};
use super::operation::{TopicPartition, lag};
use super::options::Options;
use super::output::{Table, or_none, print};
use super::time::{now_ms, parse_duration, parse_time};
use crate::types::Offset;
use crate::wire::error::ErrorCode;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// List, describe, reset and delete groups
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// List groups
    List {
        /// Only groups in one of these states: Stable, Empty, PreparingRebalance, CompletingRebalance, Dead
        #[arg(long, value_delimiter = ',')]
        state: Vec<String>,
        /// Only groups of one of these types: classic, consumer
        #[arg(long = "type", value_delimiter = ',')]
        kinds: Vec<String>,
    },
    /// Describe groups: offsets with lag
    Describe {
        /// Which; all if none is named
        groups: Vec<String>,
        /// Members instead of offsets
        #[arg(long, conflicts_with = "state")]
        members: bool,
        /// State instead of offsets
        #[arg(long)]
        state: bool,
    },
    /// Show where a group would go on; with --execute, let it
    ResetOffsets(Reset),
    /// Delete groups that have no members
    Delete {
        #[arg(required = true)]
        groups: Vec<String>,
    },
    /// Forget what a group has committed for partitions
    DeleteOffsets {
        group: String,
        /// TOPIC or TOPIC:0,1
        #[arg(required = true)]
        topics: Vec<String>,
    },
}

#[derive(clap::Args)]
struct Reset {
    group: String,
    /// TOPIC or TOPIC:0,1
    #[arg(long = "topic", value_name = "TOPIC", required_unless_present_any = ["all_topics", "from_file"])]
    topics: Vec<String>,
    /// Every partition that the group has committed an offset of
    #[arg(long, conflicts_with = "topics")]
    all_topics: bool,
    /// Do it
    #[arg(long)]
    execute: bool,
    #[command(flatten)]
    to: To,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct To {
    /// The first record
    #[arg(long)]
    to_earliest: bool,
    /// The end
    #[arg(long)]
    to_latest: bool,
    /// What is committed; the end where nothing is
    #[arg(long)]
    to_current: bool,
    /// This offset
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<Offset>,
    /// So many records on, or back
    #[arg(long, value_name = "RECORDS", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// The first record that is not older: 2026-01-31T12:00:00Z, -1h or milliseconds since 1970
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to_datetime: Option<String>,
    /// The first record not older than so long ago: 1h, 7d, PT30M
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    by_duration: Option<Duration>,
    /// Lines TOPIC,PARTITION,OFFSET or GROUP,TOPIC,PARTITION,OFFSET
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

impl To {
    fn target(&self, group: &str) -> Result<Target> {
        let ago = |duration: Duration| now_ms().saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX));
        Ok(match self {
            To { to_earliest: true, .. } => Target::Earliest,
            To { to_latest: true, .. } => Target::Latest,
            To { to_offset: Some(offset), .. } => Target::Offset(*offset),
            To { shift_by: Some(records), .. } => Target::Shift(*records),
            To { to_datetime: Some(time), .. } => Target::Time(parse_time(time, now_ms()).map_err(Failure::Usage)?),
            To { by_duration: Some(duration), .. } => Target::Time(ago(*duration)),
            To { from_file: Some(file), .. } => {
                let path = file.display().to_string();
                let text =
                    std::fs::read_to_string(file).map_err(|error| Failure::File { path: path.clone(), error })?;
                let plan = reset::parse_plan(&text, group)?.remove(group);
                Target::Plan(plan.ok_or_else(|| Failure::Usage(format!("{path} says nothing of group {group}")))?)
            }
            _ => Target::Current,
        })
    }
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let options = &self.options;
        let mut client = options.connect()?;
        match self.what {
            What::List { state, kinds } => list(&mut client, options, &state, &kinds),
            What::Describe { groups, members, state } => {
                let described = described(&mut client, groups)?;
                match (members, state) {
                    (true, _) => group_print::members(options, &described),
                    (_, true) => group_print::states(options, &described),
                    _ => {
                        let rows = rows(&mut client, &described)?;
                        group_print::offsets(options, &described, &rows)
                    }
                }
            }
            What::ResetOffsets(reset) => reset_offsets(&mut client, options, &reset),
            What::Delete { groups } => delete(&mut client, &groups),
            What::DeleteOffsets { group, topics } => {
                let places = parse_places(&mut client, &topics)?;
                let mut failed = None;
                for (place, result) in groups::delete_offsets(&mut client, &group, &places)? {
                    match result {
                        Ok(()) => print(&format!("{place}: forgotten\n"))?,
                        Err(failure) => failed = failed.into_iter().chain([failure]).reduce(Failure::and),
                    }
                }
                failed.map_or(Ok(()), Err)
            }
        }
    }
}

fn list(client: &mut Client, options: &Options, states: &[String], kinds: &[String]) -> Result<()> {
    let listed = groups::list(client, states, kinds)?;
    let human = || {
        let mut table = Table::new(&["GROUP", "STATE", "TYPE", "PROTOCOL"]);
        for Listed { id, state, kind, protocol_type } in &listed {
            let protocol = or_none(Some(protocol_type).filter(|protocol| !protocol.is_empty()));
            table.row(vec![id.clone(), or_none(state.as_ref()), or_none(kind.as_ref()), protocol]);
        }
        table.to_string()
    };
    let json = || {
        let group = |group: &Listed| json!({ "group": group.id, "state": group.state, "type": group.kind, "protocol_type": group.protocol_type });
        listed.iter().map(group).collect::<Value>()
    };
    options.format.print(human, json)
}

/// The named groups, or all consumers' groups.
fn described(client: &mut Client, mut names: Vec<String>) -> Result<Vec<Described>> {
    if names.is_empty() {
        let listed = groups::list(client, &[], &[])?;
        names = listed.into_iter().filter(Listed::is_of_consumers).map(|group| group.id).collect();
    }
    let describe = |name: &String| match groups::describe(client, name) {
        Err(failure) if failure.code() == Some(ErrorCode::GroupIdNotFound) => {
            let known = groups::list(client, &[], &[])?;
            let near = super::nearest(name, known.iter().map(|group| group.id.as_str()));
            Err(near.map_or(failure, |near| Failure::Other(format!("there is no group {name}; did you mean {near}?"))))
        }
        result => result,
    };
    names.iter().map(describe).collect()
}

/// Each group's partitions with lag.
fn rows(client: &mut Client, described: &[Described]) -> Result<Vec<Vec<Row>>> {
    described.iter().map(|group| lag::rows(client, group)).collect()
}

fn reset_offsets(client: &mut Client, options: &Options, reset: &Reset) -> Result<()> {
    let group = &reset.group;
    match groups::describe(client, group) {
        Ok(described) if !groups::is_inactive(&described.state) => {
            let state = described.state;
            return Err(Failure::Other(format!("group {group} is {state}: its members must leave first")));
        }
        Err(failure) if failure.code() != Some(ErrorCode::GroupIdNotFound) => return Err(failure),
        _ => {}
    }
    let target = reset.to.target(group)?;
    let committed = groups::committed(client, group)?;
    let places: Vec<TopicPartition> = match reset.all_topics {
        true => committed.keys().cloned().collect(),
        false => parse_places(client, &reset.topics)?,
    };
    let plan = reset::plan(client, group, &places, &target)?;
    for note in &plan.notes {
        eprintln!("klamm: {note}");
    }
    if reset.execute && !plan.offsets.is_empty() {
        groups::commit(client, group, &plan.offsets)?;
    }
    let before = |place: &TopicPartition| committed.get(place).map(|committed| committed.offset);
    let human = || {
        let mut table = Table::new(&["TOPIC", "PARTITION", "COMMITTED", "NEW"]);
        for (place, offset) in &plan.offsets {
            let partition = place.partition.to_string();
            table.row(vec![place.topic.clone(), partition, or_none(before(place)), offset.to_string()]);
        }
        let hint = if reset.execute { "" } else { "nothing is changed without --execute\n" };
        format!("{table}{hint}")
    };
    let json = || {
        let row = |(place, offset): (&TopicPartition, &Offset)| json!({ "topic": place.topic, "partition": place.partition, "committed": before(place), "new": offset });
        json!({ "group": group, "executed": reset.execute, "offsets": plan.offsets.iter().map(row).collect::<Value>() })
    };
    options.format.print(human, json)
}

fn delete(client: &mut Client, names: &[String]) -> Result<()> {
    let mut failed = None;
    for name in names {
        match groups::delete(client, name) {
            Ok(()) => print(&format!("group {name} deleted\n"))?,
            Err(failure) => failed = failed.into_iter().chain([failure]).reduce(Failure::and),
        }
    }
    failed.map_or(Ok(()), Err)
}
