//! AlterPartitionReassignments (API 45) and ListPartitionReassignments (API 46, KIP-455). A cluster of one has nowhere to
//! move replicas to: who asks for them to be where they are gets it, and nothing is ever on its way.

use super::{NAME_BYTES_SHOWN, partitions_once, reply};
use crate::metadata::{Image, check_assignment};
use crate::shard::context::Context;
use crate::types::BrokerId;
use crate::wire::codec::{DecodeError, Reader, cut_text};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::alter_partition_reassignments_request::ReassignablePartition;
use crate::wire::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use crate::wire::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
};
use bytes::Bytes;

type Refusal = (ErrorCode, String);

pub fn alter(context: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    let &Context { image, .. } = context;
    let request = AlterPartitionReassignmentsRequest::decode(&mut Reader::new(body), head.version)?;
    let factor_may_change = request.allow_replication_factor_change;
    let partition = |name: &str, wanted: &ReassignablePartition| {
        let (error, message) = match reassign(image, name, wanted, factor_may_change) {
            Ok(()) => (ErrorCode::None, None),
            Err((error, message)) => (error, Some(message)),
        };
        ReassignablePartitionResponse {
            partition_index: wanted.partition_index,
            error_code: error.code(),
            error_message: message.map(Into::into),
        }
    };
    // Each partition once, where Kafka answers as often as it is asked.
    let topics = request.topics.iter().map(|topic| (&*topic.name, &topic.partitions[..]));
    let topic = |(name, partitions): (&str, Vec<&ReassignablePartition>)| ReassignableTopicResponse {
        name: name.to_string().into(),
        partitions: partitions.into_iter().map(|wanted| partition(name, wanted)).collect(),
    };
    let response = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: factor_may_change,
        error_message: None,
        responses: partitions_once(topics, |wanted| wanted.partition_index).into_iter().map(topic).collect(),
        ..Default::default()
    };
    Ok(reply(head, |w| response.encode(w, head.version)))
}

/// Replicas that are where they are wanted need no move, and no others can be wanted of one broker.
fn reassign(image: &Image, name: &str, wanted: &ReassignablePartition, factor_may_change: bool) -> Result<(), Refusal> {
    let index = wanted.partition_index;
    let unknown = |what| (ErrorCode::UnknownTopicOrPartition, what);
    let topic = image
        .topic(name)
        .ok_or_else(|| unknown(format!("Unable to find a topic named {}.", cut_text(name, NAME_BYTES_SHOWN))))?;
    let placement =
        topic.partition(index).ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
    let Some(replicas) = wanted.replicas.as_deref().map(BrokerId::from_numbers) else {
        return Err((ErrorCode::NoReassignmentInProgress, "No partition reassignment is in progress.".into()));
    };
    check_assignment(image, &replicas, None).map_err(|why| (ErrorCode::InvalidReplicaAssignment, why))?;
    let (current, target) = (placement.replicas.len(), replicas.len());
    if !factor_may_change && current != target {
        let why = format!("The replication factor is changed from {current} to {target}");
        return Err((ErrorCode::InvalidReplicationFactor, why));
    }
    match *replicas == *placement.replicas {
        true => Ok(()),
        false => {
            Err((ErrorCode::InvalidReplicaAssignment, "This build is a cluster of one and moves no replicas.".into()))
        }
    }
}

pub fn list(_: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    ListPartitionReassignmentsRequest::decode(&mut Reader::new(body), head.version)?;
    let response = ListPartitionReassignmentsResponse { error_message: None, ..Default::default() };
    Ok(reply(head, |w| response.encode(w, head.version)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::query::fixture::{World, ask};
    use crate::wire::messages::alter_partition_reassignments_request::ReassignableTopic;
    use crate::wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;

    fn alter_one(
        world: &World,
        version: i16,
        name: &'static str,
        index: i32,
        replicas: Option<&[i32]>,
    ) -> (i16, String) {
        let wanted = ReassignablePartition { partition_index: index, replicas: replicas.map(<[_]>::to_vec) };
        let topics = vec![ReassignableTopic { name: name.into(), partitions: vec![wanted] }];
        let allow_replication_factor_change = false;
        let request =
            AlterPartitionReassignmentsRequest { topics, allow_replication_factor_change, ..Default::default() };
        let response =
            ask!(world.query(version), AlterPartitionReassignments, AlterPartitionReassignmentsResponse, request);
        assert_eq!((response.error_code, response.error_message), (0, None));
        assert_eq!(response.allow_replication_factor_change, version == 0);
        let partition = &response.responses[0].partitions[0];
        assert_eq!((&*response.responses[0].name, partition.partition_index), (name, index));
        (partition.error_code, partition.error_message.as_deref().unwrap_or("").to_string())
    }

    #[test]
    fn replicas_stay_where_they_are() {
        let mut world = World::new(&[]);
        world.topic("t", 2, &[]);
        let ok = (0, String::new());
        for version in 0..=1 {
            assert_eq!(alter_one(&world, version, "t", 1, Some(&[1])), ok);
            for (name, index, replicas, code, message) in [
                ("u", 0, Some(&[1][..]), 3, "Unable to find a topic named u."),
                ("t", 2, Some(&[1]), 3, "Unable to find partition t:2."),
                ("t", 0, None, 85, "No partition reassignment is in progress."),
                ("t", 0, Some(&[7]), 39, "The manual partition assignment includes broker 7, but no such"),
                ("t", 0, Some(&[1, 1]), 39, "The manual partition assignment includes the broker 1 more than once."),
                ("t", 0, Some(&[]), 39, "The manual partition assignment includes an empty replica list."),
            ] {
                let (got, text) = alter_one(&world, version, name, index, replicas);
                assert_eq!(got, code, "{text}");
                assert!(text.starts_with(message), "{text}");
            }
        }
    }

    #[test]
    fn nothing_is_on_its_way() {
        let mut world = World::new(&[]);
        world.topic("t", 2, &[]);
        for topics in
            [None, Some(vec![ListPartitionReassignmentsTopics { name: "t".into(), partition_indexes: vec![0] }])]
        {
            let request = ListPartitionReassignmentsRequest { topics, ..Default::default() };
            let response =
                ask!(world.query(0), ListPartitionReassignments, ListPartitionReassignmentsResponse, request);
            assert_eq!((response.error_code, response.error_message.as_deref(), response.topics.len()), (0, None, 0));
        }
    }

    #[test]
    fn a_cluster_of_several_is_not_moved_about() {
        let mut world = World::new(&[]);
        let broker = world.controller.image_decided().broker(BrokerId(1)).expect("registered").as_ref().clone();
        world.controller.register_broker(BrokerId(2), broker).expect("registered");
        world.topic("t", 1, &[]);
        let here = world.controller.image_decided().topic("t").expect("there").partition(0).expect("there").leader.0;
        let other = 3 - here;
        assert_eq!(alter_one(&world, 1, "t", 0, Some(&[here])).0, 0);
        assert_eq!(alter_one(&world, 1, "t", 0, Some(&[other])).0, 39);
        assert_eq!(alter_one(&world, 1, "t", 0, Some(&[here, other])).0, 38);
    }
}
