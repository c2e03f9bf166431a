//! New offsets for a group: planned first, committed then.

use super::groups::{self, Committed};
use super::offsets::{self, EARLIEST, Each, Found, LATEST};
use super::{TopicPartition, by_topic};
use crate::cli::client::{Client, Cluster, topic};
use crate::cli::failure::{Failure, Result};
use crate::types::{Offset, TimestampMs};
use crate::wire::error::ErrorCode;
use std::collections::BTreeMap;

/// Where a group is to go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    Offset(Offset),
    Earliest,
    Latest,
    /// What is committed; where nothing is, the end.
    Current,
    /// So many records on from what is committed, or back.
    Shift(i64),
    /// The first record that is not older; where there is none, the end.
    Time(TimestampMs),
    /// An offset for each partition.
    Plan(BTreeMap<TopicPartition, Offset>),
}

/// A plan, and what is to be said about it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    pub offsets: BTreeMap<TopicPartition, Offset>,
    pub notes: Vec<Note>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// The offset that was meant lies behind the end, or before the first; the end or the first was taken.
    TooHigh {
        place: TopicPartition,
        wanted: Offset,
        taken: Offset,
    },
    TooLow {
        place: TopicPartition,
        wanted: Offset,
        taken: Offset,
    },
    /// There is no record at or after the time; the end was taken.
    NoneSoLate(TopicPartition),
}

impl Note {
    pub fn place(&self) -> &TopicPartition {
        match self {
            Note::TooHigh { place, .. } | Note::TooLow { place, .. } | Note::NoneSoLate(place) => place,
        }
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Note::TooHigh { place, wanted, taken } => {
                write!(f, "{place}: {wanted} is behind the end, which is {taken}")
            }
            Note::TooLow { place, wanted, taken } => {
                write!(f, "{place}: {wanted} is before the first record, which is {taken}")
            }
            Note::NoneSoLate(place) => write!(f, "{place}: no record is so late; the end was taken"),
        }
    }
}

/// Where `group` would go on in `places`, nothing changed. For a `Target::Plan` the plan says which partitions.
pub fn plan(client: &mut Client, group: &str, places: &[TopicPartition], target: &Target) -> Result<Plan> {
    let places: Vec<TopicPartition> = match target {
        Target::Plan(offsets) => offsets.keys().cloned().collect(),
        _ => places.to_vec(),
    };
    let topics = by_topic(places.iter().map(|place| (place, ())), |partition, ()| partition);
    let names: Vec<&str> = topics.iter().map(|(topic, _)| topic.as_str()).collect();
    let cluster = client.cluster(Some(&names))?;
    check_existence(&cluster, &places)?;
    let committed = match target {
        Target::Current | Target::Shift(_) => groups::committed(client, group)?,
        _ => BTreeMap::new(),
    };
    match target {
        Target::Earliest => Ok(Plan { offsets: at(client, &cluster, &places, EARLIEST)?, notes: Vec::new() }),
        Target::Latest => Ok(Plan { offsets: at(client, &cluster, &places, LATEST)?, notes: Vec::new() }),
        Target::Time(time) => at_time(client, &cluster, &places, *time),
        Target::Offset(offset) => {
            let wanted = places.into_iter().map(|place| (place, *offset)).collect();
            in_range(client, &cluster, wanted)
        }
        Target::Plan(offsets) => in_range(client, &cluster, offsets.clone()),
        Target::Shift(by) => in_range(client, &cluster, shifted(&places, &committed, *by)?),
        Target::Current => {
            let (with, without): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| committed.contains_key(place));
            let mut offsets = at(client, &cluster, &without, LATEST)?;
            offsets.extend(with.into_iter().map(|place| {
                let offset = committed[&place].offset;
                (place, offset)
            }));
            Ok(Plan { offsets, notes: Vec::new() })
        }
    }
}

/// Partitions that are missing, or have no leader, are all named.
fn check_existence(cluster: &Cluster, places: &[TopicPartition]) -> Result<()> {
    let faulty =
        |place: &&TopicPartition, code: ErrorCode| cluster.leader(&place.topic, place.partition) == Err(code.code());
    let says =
        [(ErrorCode::UnknownTopicOrPartition, "do not exist"), (ErrorCode::LeaderNotAvailable, "have no leader")];
    for (code, what) in says {
        let named: Vec<String> = places.iter().filter(|place| faulty(place, code)).map(|p| p.to_string()).collect();
        if !named.is_empty() {
            let message = Some(format!("The partitions \"{}\" {what}", named.join(",")));
            return Err(Failure::Refused { what: "offsets".into(), code: code.code(), message });
        }
    }
    Ok(())
}

fn shifted(
    places: &[TopicPartition],
    committed: &BTreeMap<TopicPartition, Committed>,
    by: i64,
) -> Result<BTreeMap<TopicPartition, Offset>> {
    let shift = |place: &TopicPartition| match committed.get(place) {
        Some(committed) => Ok((place.clone(), committed.offset.saturating_add(by))),
        None => Err(Failure::Usage(format!(
            "Cannot shift offset for partition {place} since there is no current committed offset"
        ))),
    };
    places.iter().map(shift).collect()
}

fn found(client: &mut Client, cluster: &Cluster, places: &[TopicPartition], time: TimestampMs) -> Result<Each<Found>> {
    match places.is_empty() {
        true => Ok(Each::new()),
        false => offsets::list(client, cluster, places, time),
    }
}

/// The offsets at a time that every partition has: its first or its end.
fn at(
    client: &mut Client,
    cluster: &Cluster,
    places: &[TopicPartition],
    time: TimestampMs,
) -> Result<BTreeMap<TopicPartition, Offset>> {
    let offset = |(place, found): (TopicPartition, Result<Found>)| {
        let none = || Failure::Other(format!("the broker knows no offset of {place}"));
        let offset = found?.offset.ok_or_else(none)?;
        Ok((place, offset))
    };
    found(client, cluster, places, time)?.into_iter().map(offset).collect()
}

fn at_time(client: &mut Client, cluster: &Cluster, places: &[TopicPartition], time: TimestampMs) -> Result<Plan> {
    let mut plan = Plan::default();
    let mut late = Vec::new();
    for (place, found) in found(client, cluster, places, time)? {
        match found?.offset {
            Some(offset) => drop(plan.offsets.insert(place, offset)),
            None => late.push(place),
        }
    }
    plan.offsets.extend(at(client, cluster, &late, LATEST)?);
    plan.notes.extend(late.into_iter().map(Note::NoneSoLate));
    Ok(plan)
}

/// Moves what lies outside of its partition to the partition's first offset or its end.
fn in_range(client: &mut Client, cluster: &Cluster, wanted: BTreeMap<TopicPartition, Offset>) -> Result<Plan> {
    let places: Vec<TopicPartition> = wanted.keys().cloned().collect();
    let (first, end) = (at(client, cluster, &places, EARLIEST)?, at(client, cluster, &places, LATEST)?);
    let mut plan = Plan::default();
    for (place, wanted) in wanted {
        let (first, end) = (first[&place], end[&place]);
        let taken = wanted.clamp(first.min(end), end);
        if taken < wanted {
            plan.notes.push(Note::TooHigh { place: place.clone(), wanted, taken });
        } else if taken > wanted {
            plan.notes.push(Note::TooLow { place: place.clone(), wanted, taken });
        }
        plan.offsets.insert(place, taken);
    }
    Ok(plan)
}

/// A plan from lines `TOPIC,PARTITION,OFFSET` or `GROUP,TOPIC,PARTITION,OFFSET`; the first form is for `group`.
pub fn parse_plan(text: &str, group: &str) -> Result<BTreeMap<String, BTreeMap<TopicPartition, Offset>>> {
    let mut groups: BTreeMap<String, BTreeMap<TopicPartition, Offset>> = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || {
            let what = "is not TOPIC,PARTITION,OFFSET or GROUP,TOPIC,PARTITION,OFFSET";
            Failure::Usage(format!("line {}: {line:?} {what}", number + 1))
        };
        let fields: Vec<&str> = line.split(',').map(|field| field.trim().trim_matches('"')).collect();
        let (group, topic, partition, offset) = match fields[..] {
            [topic, partition, offset] => (group, topic, partition, offset),
            [group, topic, partition, offset] => (group, topic, partition, offset),
            _ => return Err(wrong()),
        };
        let (partition, offset) = (partition.parse().map_err(|_| wrong())?, offset.parse().map_err(|_| wrong())?);
        groups.entry(group.to_string()).or_default().insert(TopicPartition::new(topic, partition), offset);
    }
    Ok(groups)
}

/// Partitions from words `TOPIC` (all its partitions) or `TOPIC:1,2`.
pub fn parse_places(client: &mut Client, words: &[String]) -> Result<Vec<TopicPartition>> {
    let mut places = Vec::new();
    let mut whole = Vec::new();
    for word in words {
        let Some((topic, list)) = word.split_once(':') else {
            whole.push(word.as_str());
            continue;
        };
        for partition in list.split(',') {
            let partition = partition.trim().parse().map_err(|_| {
                Failure::Usage(format!("Invalid partition '{partition}' specified in topic arg '{word}''"))
            })?;
            places.push(TopicPartition::new(topic, partition));
        }
    }
    if !whole.is_empty() {
        let cluster = client.cluster(Some(&whole))?;
        for name in whole {
            topic(&cluster, name)?;
        }
        places.extend(offsets::partitions(&cluster));
    }
    places.sort();
    places.dedup();
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read() {
        let plan = parse_plan("t,0,5\nother,u,1,6\n\n", "g").unwrap();
        assert_eq!(plan["g"][&TopicPartition::new("t", 0)], 5);
        assert_eq!(plan["other"][&TopicPartition::new("u", 1)], 6);
        for wrong in ["t,0", "t,x,5", "t,0,x", "a,b,c,d,e"] {
            let failure = parse_plan(wrong, "g").unwrap_err();
            assert!(failure.to_string().starts_with("line 1: "), "{failure}");
        }
    }
}
