//! ElectLeaders (API 43, KIP-460). Every partition has one replica, which leads it from the day it is made: no election is
//! ever needed.

use super::{NAME_BYTES_SHOWN, partitions_once, reply};
use crate::metadata::{Image, Placement};
use crate::shard::context::Context;
use crate::types::PartitionIndex;
use crate::wire::codec::{DecodeError, Reader, cut_text};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::elect_leaders_response::{ElectLeadersResponse, PartitionResult, ReplicaElectionResult};
use crate::wire::messages::{ElectLeadersRequest, elect_leaders_request::TopicPartitions};
use bytes::Bytes;

/// Kinds of elections: of the preferred replica, and of any replica that is there.
const ELECTION_KINDS: [i8; 2] = [0, 1];

type Outcome = (ErrorCode, Option<String>);

pub fn answer(context: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    let &Context { image, .. } = context;
    let request = ElectLeadersRequest::decode(&mut Reader::new(body), head.version)?;
    let kind = request.election_type;
    let invalid = (!ELECTION_KINDS.contains(&kind)).then(|| format!("Unknown election type {kind}"));
    let outcome = |topic: &str, partition| match &invalid {
        Some(why) => (ErrorCode::InvalidRequest, Some(why.clone())),
        None => elect(image, topic, partition),
    };
    // Each partition once, where Kafka answers as often as it is asked.
    let asked = |topics: &[TopicPartitions<'_>]| -> Vec<ReplicaElectionResult<'static>> {
        let topics = partitions_once(topics.iter().map(|topic| (&*topic.topic, &topic.partitions[..])), |&index| index);
        let named = |(topic, partitions): (&str, Vec<&PartitionIndex>)| ReplicaElectionResult {
            topic: topic.to_string().into(),
            partition_result: partitions.into_iter().map(|&p| result(p, outcome(topic, p))).collect(),
        };
        topics.into_iter().map(named).collect()
    };
    // All partitions: Kafka leaves out those that need no election, and so names the topics alone.
    let unnamed = || {
        image
            .topics()
            .map(|topic| ReplicaElectionResult { topic: topic.name.to_string().into(), partition_result: Vec::new() })
    };
    let response = ElectLeadersResponse {
        error_code: invalid.as_ref().map_or(ErrorCode::None, |_| ErrorCode::InvalidRequest).code(),
        replica_election_results: match &request.topic_partitions {
            Some(topics) => asked(topics),
            None if invalid.is_some() => Vec::new(),
            None => unnamed().collect(),
        },
        ..Default::default()
    };
    Ok(reply(head, |w| response.encode(w, head.version)))
}

fn elect(image: &Image, name: &str, index: PartitionIndex) -> Outcome {
    let unknown = |what: String| (ErrorCode::UnknownTopicOrPartition, Some(what));
    let Some(topic) = image.topic(name) else {
        return unknown(format!("No such topic as {}", cut_text(name, NAME_BYTES_SHOWN)));
    };
    let Some(placement) = topic.partition(index) else {
        return unknown(format!("No such partition as {name}-{index}"));
    };
    assert!(is_led_by_preferred(placement), "{name}-{index} has a leader from the start, and nobody to follow it");
    (ErrorCode::ElectionNotNeeded, Some("Leader election not needed for topic partition.".into()))
}

fn is_led_by_preferred(placement: &Placement) -> bool {
    placement.replicas.first() == Some(&placement.leader)
}

fn result(partition_id: PartitionIndex, (error, message): Outcome) -> PartitionResult<'static> {
    PartitionResult { partition_id, error_code: error.code(), error_message: message.map(Into::into) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::query::fixture::{World, ask};

    fn ask_of(
        world: &World,
        version: i16,
        kind: i8,
        topics: Option<&[(&'static str, i32)]>,
    ) -> ElectLeadersResponse<'static> {
        let topic = |&(name, partition): &(&'static str, i32)| TopicPartitions {
            topic: name.into(),
            partitions: vec![partition],
        };
        let topic_partitions = topics.map(|topics| topics.iter().map(topic).collect());
        let request = ElectLeadersRequest { election_type: kind, topic_partitions, timeout_ms: 1000 };
        ask!(world.query(version), ElectLeaders, ElectLeadersResponse, request)
    }

    #[test]
    fn every_partition_has_the_leader_that_it_should() {
        let mut world = World::new(&[]);
        world.topic("t", 2, &[]);
        let asked = [("t", 0), ("t", 1), ("t", 2), ("u", 0), ("t", -1), ("t", 1), ("u", 0)];
        for version in 0..=2 {
            for kind in [0, 1] {
                let response = ask_of(&world, version, kind, Some(&asked));
                let results = response.replica_election_results.iter();
                let codes: Vec<Vec<_>> =
                    results.map(|topic| topic.partition_result.iter().map(|p| p.error_code).collect()).collect();
                assert_eq!((response.error_code, codes), (0, vec![vec![84, 84, 3, 3], vec![3]]));
                let all = ask_of(&world, version, kind, None);
                assert_eq!((all.error_code, all.replica_election_results.len()), (0, 1));
                assert!(all.replica_election_results[0].partition_result.is_empty());
            }
        }
    }

    #[test]
    fn other_kinds_of_elections_are_refused() {
        let mut world = World::new(&[]);
        world.topic("t", 1, &[]);
        let response = ask_of(&world, 2, 2, Some(&[("t", 0)]));
        let partition = &response.replica_election_results[0].partition_result[0];
        assert_eq!((response.error_code, partition.error_code), (42, 42));
        assert_eq!(partition.error_message.as_deref(), Some("Unknown election type 2"));
        assert_eq!(ask_of(&world, 2, -1, None).error_code, 42);
        // Version 0 knows the first kind only.
        assert_eq!(
            ask_of(&world, 0, 7, Some(&[("t", 0)])).replica_election_results[0].partition_result[0].error_code,
            84
        );
    }
}
