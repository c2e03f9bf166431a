//! Metadata (API 3): brokers, and the partitions of the topics that a client names, or of all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::cluster::{Endpoint, Endpoints};
use super::{CLUSTER_OPERATIONS, OPERATIONS_OMITTED, TOPIC_OPERATIONS, config_effective, reply};
use crate::metadata::{Image, PartitionRange, Topic, check_name, is_internal};
use crate::shard::node::Node;
use crate::types::Uuid;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::MetadataRequest;
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

/// Topics that a request would have made, with why they could not be.
pub type Refused = BTreeMap<String, ErrorCode>;

/// A topic as a request names it. The order is that of the answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted<'a> {
    Name(&'a str),
    Id(Uuid),
}

pub fn answer(
    node: &Node,
    image: &Image,
    listener: usize,
    head: &Head<'_>,
    body: &[u8],
) -> Result<Vec<Bytes>, DecodeError> {
    answer_refused(node, image, listener, head, body, &Refused::new())
}

/// As [`answer`], with the reason for each topic in `refused` that is not there.
pub fn answer_refused(
    node: &Node,
    image: &Image,
    listener: usize,
    head: &Head<'_>,
    body: &[u8],
    refused: &Refused,
) -> Result<Vec<Bytes>, DecodeError> {
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
                Wanted::Name(name) => image
                    .topic(name)
                    .map_or_else(|| absent_name(name, refused, topic_operations), known),
                Wanted::Id(id) => image
                    .topic_by_id(id)
                    .map_or_else(|| absent_id(id, topic_operations), known),
            })
            .collect(),
    };
    let response = MetadataResponse {
        brokers: endpoints.iter().map(broker).collect(),
        cluster_id: Some((&*node.cluster_id).into()),
        controller_id: node.id,
        topics,
        cluster_authorized_operations: operations(request.include_cluster_authorized_operations, CLUSTER_OPERATIONS),
        ..Default::default()
    };
    Ok(reply(head, |w| response.encode(w, head.version)))
}

/// The topics that a Metadata request names, that are not there, and that it is to create: if there are any, the request
/// belongs on the controller's shard. Both the client and `auto.create.topics.enable` must allow it, and internal topics
/// are left to those who need them.
pub fn missing(node: &Node, image: &Image, head: &Head<'_>, body: &[u8]) -> Result<Vec<String>, DecodeError> {
    let request = MetadataRequest::decode(&mut Reader::new(body), head.version)?;
    let Some(wanted) = wanted(&request, head.version) else {
        return Ok(Vec::new());
    };
    let names = wanted.into_iter().filter_map(|wanted| match wanted {
        Wanted::Name(name) => Some(name),
        Wanted::Id(_) => None,
    });
    let missing: Vec<String> = names
        .filter(|name| image.topic(name).is_none() && !is_internal(name) && check_name(name).is_ok())
        .map(str::to_string)
        .collect();
    let allowed =
        !missing.is_empty() && request.allow_auto_topic_creation && config_effective(node, image).auto_create_topics;
    Ok(if allowed { missing } else { Vec::new() })
}

/// What the request asks for, each once; `None` for all topics.
fn wanted<'a>(request: &'a MetadataRequest<'_>, version: i16) -> Option<BTreeSet<Wanted<'a>>> {
    let topics = request.topics.as_ref()?;
    // Version 0 cannot say null.
    if version == 0 && topics.is_empty() {
        return None;
    }
    let wanted = |topic: &'a MetadataRequestTopic<'_>| match &topic.name {
        Some(name) if topic.topic_id.is_zero() => Wanted::Name(name),
        _ => Wanted::Id(topic.topic_id),
    };
    Some(topics.iter().map(wanted).collect())
}

fn broker<'a>(endpoint: &Endpoint<'a>) -> MetadataResponseBroker<'a> {
    MetadataResponseBroker {
        node_id: endpoint.id,
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
            leader_id: leader,
            leader_epoch: placement.leader_epoch,
            replica_nodes: placement.replicas.to_vec(),
            isr_nodes: placement.isr.to_vec(),
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
