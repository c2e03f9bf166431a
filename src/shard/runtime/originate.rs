//! Requests that coordinators themselves make of owners of partitions.

use crate::shard::message::{Answer, Ask, Message, Op, Origin, OriginId};
use crate::shard::view::View;
use crate::types::{PartitionId, PartitionIndex, ShardId};
use crate::wire::error::ErrorCode;
use std::collections::{BTreeMap, BTreeSet};

/// A request of which parts are not answered.
struct Asked {
    /// Whose coordinator has asked, and the number that it gave the request.
    partition: PartitionIndex,
    number: u64,
    parts: BTreeSet<u32>,
}

/// Requests of coordinators that are not answered. An id is not used again, so an answer that comes too late meets nobody.
#[derive(Default)]
pub struct Outstanding {
    asked: BTreeMap<OriginId, Asked>,
    by_number: BTreeMap<(PartitionIndex, u64), OriginId>,
    last: u64,
}

impl Outstanding {
    pub fn begin(&mut self, partition: PartitionIndex, number: u64, parts: usize) -> OriginId {
        assert!(parts > 0, "a request asks somebody");
        self.last += 1;
        let id = OriginId(self.last);
        self.asked.insert(id, Asked { partition, number, parts: (0..parts as u32).collect() });
        let before = self.by_number.insert((partition, number), id);
        assert!(before.is_none(), "a coordinator uses each number once");
        id
    }

    /// A part of a request is answered: whose it is, and the number that the coordinator knows it by.
    pub fn answered(&mut self, id: OriginId, part: u32) -> Option<(PartitionIndex, u64)> {
        let asked = self.asked.get_mut(&id)?;
        if !asked.parts.remove(&part) {
            return None;
        }
        let (partition, number) = (asked.partition, asked.number);
        if asked.parts.is_empty() {
            self.forget(partition, number);
        }
        Some((partition, number))
    }

    /// No more answers to the request are wanted, if it is not over anyway.
    pub fn forget(&mut self, partition: PartitionIndex, number: u64) {
        if let Some(id) = self.by_number.remove(&(partition, number)) {
            self.asked.remove(&id);
        }
    }

    /// All coordinators are gone.
    pub fn clear(&mut self) {
        self.asked.clear();
        self.by_number.clear();
    }

    /// What holds between two turns.
    pub fn check(&self, is_hosted: impl Fn(PartitionIndex) -> bool) {
        assert_eq!(self.asked.len(), self.by_number.len());
        for (id, asked) in &self.asked {
            assert!(!asked.parts.is_empty() && is_hosted(asked.partition));
            assert_eq!(self.by_number.get(&(asked.partition, asked.number)), Some(id));
        }
    }
}

/// What becomes of a request to owners.
pub struct Scattered {
    /// What is sent to the owners' shards.
    pub messages: Vec<(ShardId, Message)>,
    /// The answers for partitions that nobody can be asked for.
    pub absent: Vec<(u32, Answer)>,
}

/// The messages that ask the owners of partitions.
pub fn scatter(view: &mut View, request: OriginId, asks: Vec<(PartitionId, Op)>) -> Scattered {
    let mut by_owner: BTreeMap<ShardId, Vec<Ask>> = BTreeMap::new();
    let mut absent = Vec::new();
    for (part, (partition, op)) in (0..).zip(asks) {
        let topic = view.image().topic_by_id(partition.topic).cloned();
        let topic = topic.filter(|topic| (0..topic.partition_count()).contains(&partition.index));
        let Some(topic) = topic else {
            absent.push((part, Answer::Failed(ErrorCode::UnknownTopicOrPartition)));
            continue;
        };
        if view.led(&topic, partition.index).is_none() {
            absent.push((part, Answer::Failed(ErrorCode::NotLeaderOrFollower)));
            continue;
        }
        let topic = view.rules_of(&topic);
        by_owner.entry(view.owner(partition)).or_default().push(Ask { part, partition, topic, op });
    }
    let origin = Origin::Coordinator(request);
    let messages = by_owner.into_iter().map(|(to, asks)| (to, Message::Asks { origin, asks })).collect();
    Scattered { messages, absent }
}
