//! Metadata (API 3): brokers, and the partitions of the topics that a client names, or of all.

use super::cluster::{Endpoint, Endpoints};
use super::{CLUSTER_OPERATIONS, OPERATIONS_OMITTED, TOPIC_OPERATIONS, reply};
use crate::metadata::{PartitionRange, Topic, check_name, is_internal};
use crate::shard::context::Context;
use crate::types::{BrokerId, Uuid};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::MetadataRequest;
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// Topics that a request would have made, with why they could not be.
pub type Refused = HashMap<String, ErrorCode>;

/// A topic as a request names it. The order is that of the answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted<'a> {
    Name(&'a str),
    Id(Uuid),
}

pub fn answer(context: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    answer_refused(context, head, body, &Refused::new())
}

/// As [`answer`], with the reason for each topic in `refused` that is not there.
pub fn answer_refused(
    context: &Context<'_>,
    head: &Head<'_>,
    body: &[u8],
    refused: &Refused,
) -> Result<Vec<Bytes>, DecodeError> {
    let &Context { node, image, listener, .. } = context;
    let request = MetadataRequest::decode(&mut Reader::new(body), head.version)?;
    let endpoints = Endpoints::of(node, image, listener);
    let operations = |asked: bool, operations: i32| if asked { operations } else { OPERATIONS_OMITTED };
    let topic_operations = operations(request.include_topic_authorized_operations, TOPIC_OPERATIONS);
    let known = |topic| describe(topic, &endpoints, topic_operations);
    let topics = match wanted(&request, head.version) {
        None => image.topics().map(known).collect(),
        Some(wanted) => wanted
            .into_iter()
            .map(|wanted| match wanted {
                Wanted::Name(name) => {
                    image.topic(name).map_or_else(|| absent_name(name, refused, topic_operations), known)
                }
                Wanted::Id(id) => image.topic_by_id(id).map_or_else(|| absent_id(id, topic_operations), known),
            })
            .collect(),
    };
    let response = MetadataResponse {
        brokers: endpoints.iter().map(broker).collect(),
        cluster_id: Some((&*node.cluster_id).into()),
        controller_id: node.id.0,
        topics,
        cluster_authorized_operations: operations(request.include_cluster_authorized_operations, CLUSTER_OPERATIONS),
        ..Default::default()
    };
    Ok(reply(head, |w| response.encode(w, head.version)))
}

/// The topics that a Metadata request names, that are not there, and that it is to create: if there are any, the request
/// belongs on the controller's shard. Both the client and `auto.create.topics.enable` must allow it, and internal topics
/// are left to those who need them.
pub fn missing(context: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<Vec<String>, DecodeError> {
    let request = MetadataRequest::decode(&mut Reader::new(body), head.version)?;
    let mut names: Vec<&str> = missing_names(context, &request).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names.into_iter().map(str::to_string).collect())
}

/// Whether the request has topics made: see [`missing`].
pub fn makes_topics(context: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<bool, DecodeError> {
    let request = MetadataRequest::decode(&mut Reader::new(body), head.version)?;
    Ok(missing_names(context, &request).next().is_some())
}

fn missing_names<'a>(context: &Context<'_>, request: &'a MetadataRequest<'_>) -> impl Iterator<Item = &'a str> {
    let allowed = request.allow_auto_topic_creation && context.config.auto_create_topics;
    let topics = request.topics.iter().flatten().filter(move |topic| allowed && topic.topic_id.is_zero());
    let names = topics.filter_map(|topic| topic.name.as_deref());
    names.filter(|name| context.image.topic(name).is_none() && !is_internal(name) && check_name(name).is_ok())
}

/// What the request asks for, each once and in order; `None` for all topics.
fn wanted<'a>(request: &'a MetadataRequest<'_>, version: i16) -> Option<Vec<Wanted<'a>>> {
    let topics = request.topics.as_ref()?;
    // Version 0 cannot say null.
    if version == 0 && topics.is_empty() {
        return None;
    }
    let wanted = |topic: &'a MetadataRequestTopic<'_>| match &topic.name {
        Some(name) if topic.topic_id.is_zero() => Wanted::Name(name),
        _ => Wanted::Id(topic.topic_id),
    };
    let mut wanted: Vec<Wanted<'_>> = topics.iter().map(wanted).collect();
    wanted.sort_unstable();
    wanted.dedup();
    Some(wanted)
}

fn broker<'a>(endpoint: &Endpoint<'a>) -> MetadataResponseBroker<'a> {
    MetadataResponseBroker {
        node_id: endpoint.id.0,
        host: endpoint.host.into(),
        port: i32::from(endpoint.port),
        rack: endpoint.rack.map(Into::into),
    }
}

fn describe<'a>(topic: &'a Arc<Topic>, endpoints: &Endpoints<'_>, operations: i32) -> MetadataResponseTopic<'a> {
    let mut partitions = Vec::with_capacity(topic.partition_count() as usize);
    for PartitionRange { start, end, placement } in topic.partition_ranges() {
        let (error, leader) = endpoints.leader(placement);
        partitions.extend((*start..*end).map(|index| MetadataResponsePartition {
            error_code: error.code(),
            partition_index: index,
            leader_id: leader.0,
            leader_epoch: placement.leader_epoch.0,
            replica_nodes: BrokerId::numbers(&placement.replicas),
            isr_nodes: BrokerId::numbers(&placement.isr),
            offline_replicas: endpoints.offline(placement),
        }));
    }
    MetadataResponseTopic {
        error_code: ErrorCode::None.code(),
        name: Some((&*topic.name).into()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions,
        topic_authorized_operations: operations,
    }
}

fn absent_name<'a>(name: &'a str, refused: &Refused, operations: i32) -> MetadataResponseTopic<'a> {
    MetadataResponseTopic {
        error_code: refused.get(name).copied().unwrap_or_else(|| absent_error(name)).code(),
        name: Some(name.into()),
        is_internal: is_internal(name),
        topic_authorized_operations: operations,
        ..Default::default()
    }
}

fn absent_id<'a>(id: Uuid, operations: i32) -> MetadataResponseTopic<'a> {
    MetadataResponseTopic {
        error_code: ErrorCode::UnknownTopicId.code(),
        name: None,
        topic_id: id,
        topic_authorized_operations: operations,
        ..Default::default()
    }
}

/// Why there is no topic of this name.
pub(super) fn absent_error(name: &str) -> ErrorCode {
    match check_name(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::query::fixture::{NOW, World, ask, exchange};
    use crate::wire::messages::ApiKey;

    fn named(names: &[&'static str]) -> MetadataRequest<'static> {
        let topic = |name: &&'static str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
        MetadataRequest { topics: Some(names.iter().map(topic).collect()), ..Default::default() }
    }

    fn all() -> MetadataRequest<'static> {
        MetadataRequest { topics: None, ..Default::default() }
    }

    /// Error, name and partitions of each topic.
    fn shown(response: &MetadataResponse<'_>) -> Vec<(i16, String, usize)> {
        let topics = response.topics.iter();
        topics
            .map(|topic| {
                (topic.error_code, topic.name.as_deref().unwrap_or("null").to_string(), topic.partitions.len())
            })
            .collect()
    }

    fn missing_of(world: &World, version: i16, request: &MetadataRequest<'_>) -> Vec<String> {
        let mut names = Vec::new();
        exchange(
            ApiKey::Metadata,
            version,
            |w| request.encode(w, version),
            |head, body| {
                world.with_context(NOW, |context| {
                    names = missing(context, head, body)?;
                    answer(context, head, body)
                })
            },
        );
        names
    }

    #[test]
    fn every_version_shows_all_topics() {
        let mut world = World::new(&[]);
        let id = world.topic("b", 2, &[]);
        world.topic("__consumer_offsets", 1, &[]);
        for version in 0..=13 {
            let request = if version == 0 { named(&[]) } else { all() };
            let response = ask!(world.query(version), Metadata, MetadataResponse, request);
            let expected = [(0, "__consumer_offsets".to_string(), 1), (0, "b".to_string(), 2)];
            assert_eq!(shown(&response), expected, "{version}");
            let broker = &response.brokers[0];
            assert_eq!((broker.node_id, &*broker.host, broker.port), (1, "broker.example", 19092));
            let since = |from: i16| version >= from;
            assert_eq!(response.controller_id, if since(1) { 1 } else { -1 });
            assert_eq!(response.cluster_id.is_some(), since(2));
            let internal: Vec<bool> = response.topics.iter().map(|topic| topic.is_internal).collect();
            assert_eq!(internal, [since(1), false]);
            assert_eq!(response.topics[1].topic_id, if since(10) { id } else { Uuid::ZERO });
            let expected = MetadataResponsePartition {
                partition_index: 1,
                leader_id: 1,
                leader_epoch: if since(7) { 0 } else { -1 },
                replica_nodes: vec![1],
                isr_nodes: vec![1],
                ..Default::default()
            };
            assert_eq!(response.topics[1].partitions[1], expected);
        }
        let none = ask!(world.query(1), Metadata, MetadataResponse, named(&[]));
        assert!(none.topics.is_empty() && none.brokers.len() == 1);
    }

    #[test]
    fn names_choose_and_faults_are_told_apart() {
        let mut world = World::new(&[]);
        world.topic("b", 2, &[]);
        for version in [0, 13] {
            let request = named(&["b", "no", "b", "a/b", ""]);
            let response = ask!(world.query(version), Metadata, MetadataResponse, request);
            let expected = [(17, "", 0), (17, "a/b", 0), (0, "b", 2), (3, "no", 0)];
            assert_eq!(shown(&response), expected.map(|(error, name, count)| (error, name.to_string(), count)));
        }
    }

    #[test]
    fn ids_choose() {
        let mut world = World::new(&[]);
        let id = world.topic("b", 2, &[]);
        let by_id = |topic_id| MetadataRequestTopic { topic_id, name: None };
        let request = MetadataRequest {
            topics: Some(vec![by_id(id), by_id(Uuid([9; 16])), by_id(id), by_id(Uuid::ZERO)]),
            ..Default::default()
        };
        let response = ask!(world.query(12), Metadata, MetadataResponse, request);
        let expected = [(100, "null", 0), (0, "b", 2), (100, "null", 0)];
        assert_eq!(shown(&response), expected.map(|(error, name, count)| (error, name.to_string(), count)));
        assert_eq!(response.topics[2].topic_id, Uuid([9; 16]));
    }

    #[test]
    fn operations_are_shown_to_those_who_ask() {
        let mut world = World::new(&[]);
        world.topic("b", 1, &[]);
        for (asked, version, cluster, topic) in [
            (false, 8, i32::MIN, i32::MIN),
            (true, 8, 8096, 3576),
            (true, 10, 8096, 3576),
            (true, 11, i32::MIN, 3576),
            (true, 7, i32::MIN, i32::MIN),
        ] {
            let request = MetadataRequest {
                include_cluster_authorized_operations: asked,
                include_topic_authorized_operations: asked,
                ..named(&["b"])
            };
            let response = ask!(world.query(version), Metadata, MetadataResponse, request);
            assert_eq!(response.cluster_authorized_operations, cluster, "{version}");
            assert_eq!(response.topics[0].topic_authorized_operations, topic, "{version}");
        }
    }

    #[test]
    fn topics_that_a_request_creates() {
        let mut world = World::new(&[]);
        world.topic("b", 1, &[]);
        let request = named(&["b", "new", "also", "__consumer_offsets", "a/b", "new"]);
        assert_eq!(missing_of(&world, 0, &request), ["also", "new"]);
        assert_eq!(missing_of(&world, 13, &request), ["also", "new"]);
        assert!(missing_of(&world, 13, &named(&["b"])).is_empty());
        assert!(missing_of(&world, 13, &all()).is_empty());
        assert!(missing_of(&world, 0, &named(&[])).is_empty());
        let forbidden = MetadataRequest { allow_auto_topic_creation: false, ..request.clone() };
        assert!(missing_of(&world, 4, &forbidden).is_empty());
        // Older versions cannot forbid it.
        assert_eq!(missing_of(&world, 3, &forbidden), ["also", "new"]);
        let closed = World::new(&[("auto.create.topics.enable", "false")]);
        assert!(missing_of(&closed, 13, &request).is_empty());
    }
}
