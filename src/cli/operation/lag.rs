//! How far a group is behind, partition by partition.

use super::TopicPartition;
use super::groups::{self, Described};
use super::offsets::{self, LATEST};
use crate::cli::client::Client;
use crate::cli::failure::Result;
use crate::types::{Epoch, Offset};

/// A partition that a group reads or has committed an offset of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub place: TopicPartition,
    pub committed: Option<Offset>,
    pub leader_epoch: Option<Epoch>,
    /// The partition's end; absent where it has no leader.
    pub end: Option<Offset>,
    /// Which member reads it, as an index into the group's members.
    pub member: Option<usize>,
}

impl Row {
    /// Records that are committed but not read.
    pub fn lag(&self) -> Option<i64> {
        self.committed.zip(self.end).map(|(committed, end)| end - committed)
    }
}

/// The partitions of each member, those with the most first, and then those that nobody reads; in order of topic and partition
/// within.
pub fn rows(client: &mut Client, group: &Described) -> Result<Vec<Row>> {
    let committed = groups::committed(client, &group.id)?;
    let mut members: Vec<usize> = (0..group.members.len()).collect();
    members.sort_by_key(|&member| std::cmp::Reverse(group.members[member].assignment.len()));
    let assigned = |member: usize| group.members[member].assignment.iter().map(move |place| (place, Some(member)));
    let mut places: Vec<(&TopicPartition, Option<usize>)> = members.into_iter().flat_map(assigned).collect();
    let is_read = |place: &&TopicPartition| group.members.iter().any(|member| member.assignment.contains(place));
    places.extend(committed.keys().filter(|place| !is_read(place)).map(|place| (place, None)));

    let wanted: Vec<TopicPartition> = places.iter().map(|(place, _)| (*place).clone()).collect();
    let mut names: Vec<&str> = wanted.iter().map(|place| place.topic.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let cluster = client.cluster(Some(&names))?;
    let ends = offsets::list(client, &cluster, &wanted, LATEST)?;
    let row = |(place, member): (&TopicPartition, Option<usize>)| {
        let found = ends.get(place).and_then(|end| end.as_ref().ok());
        Row {
            place: place.clone(),
            committed: committed.get(place).map(|committed| committed.offset),
            leader_epoch: committed.get(place).and_then(|committed| committed.leader_epoch),
            end: found.and_then(|found| found.offset),
            member,
        }
    };
    Ok(places.into_iter().map(row).collect())
}
