//! Commands: what clients want changed about topics, settings and producer ids. They run on the shard that has the
//! controller, and are pure: the caller holds an answer back until a published image has reached the index that
//! [`Controller::index`] gives after it.

mod configs;
mod offsets;
mod partitions;
mod producer;
mod topics;

use super::context::{Apis, Caller, Context};
use super::node::Node;
use super::query::metadata::{Refused, answer_refused, missing};
use super::query::reply;
use super::view::dynamic_config;
use crate::config::Config;
use crate::metadata::{Controller, Defaults, Rejection, Terms, TopicSpec};
use crate::types::{Now, Uuid};
use crate::wire::codec::DecodeError;
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use bytes::Bytes;
use std::sync::Arc;

pub use offsets::make_offsets_topic;
pub use producer::ProducerIds;

/// What a decision about a request is made with, and changes.
pub struct Decision<'a> {
    /// The time of the turn.
    pub now: Now,
    /// This node.
    pub node: &'a Node,
    /// What ApiVersions names.
    pub apis: Apis,
    /// The index of the client's listener in [`Node::advertised`].
    pub listener: usize,
    /// Who asks.
    pub caller: &'a Caller,
    /// How the client calls itself.
    pub client_id: &'a str,
    /// Decides, and proposes what is decided to the metadata log.
    pub controller: &'a mut Controller,
    /// Producer ids that the controller has reserved and nobody has yet.
    pub producer_ids: &'a mut ProducerIds,
    /// Random ids for new topics.
    pub ids: &'a mut dyn FnMut() -> Uuid,
}

impl Decision<'_> {
    /// The settings in force, those that are decided and not yet durable included.
    fn config(&self) -> Arc<Config> {
        dynamic_config(self.node, self.controller.image_decided())
    }

    /// What a query is answered with: `config` is [`Decision::config`].
    fn context<'c>(&'c self, config: &'c Config) -> Context<'c> {
        let Decision { now, node, apis, listener, caller, client_id, .. } = *self;
        Context { now, node, image: self.controller.image_decided(), config, apis, listener, caller, client_id }
    }

    /// Metadata that creates what it does not find: the answer already shows the new topics.
    pub(in crate::shard) fn metadata(self, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
        let config = self.config();
        let names = missing(&self.context(&config), head, body)?;
        let specs: Vec<TopicSpec> = names.into_iter().map(topic_with_defaults).collect();
        let mut refused = Refused::new();
        if !specs.is_empty() {
            let policy = policy(&config);
            let terms = Terms { defaults: defaults(&config), setting: &|_, _| Ok(()), policy: &policy };
            let answers = self.controller.create_topics(&specs, false, terms, self.ids);
            for (spec, answer) in specs.into_iter().zip(answers) {
                if let Err(rejection) = answer {
                    refused.insert(spec.name, error_code(&rejection));
                }
            }
        }
        answer_refused(&self.context(&config), head, body, &refused)
    }
}

fn topic_with_defaults(name: String) -> TopicSpec {
    TopicSpec { name, partitions: -1, replication_factor: -1, assignments: Vec::new(), settings: Vec::new() }
}

fn defaults(config: &Config) -> Defaults {
    Defaults {
        partitions: i32::try_from(config.num_partitions).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(config.default_replication_factor).unwrap_or(i16::MAX),
    }
}

/// What the settings allow topics to be.
fn policy(config: &Config) -> impl Fn(&str, i32, i16) -> Result<(), String> {
    |name, partitions, replication_factor| config.check_topic(name, partitions, replication_factor)
}

/// The code and the message that a client gets.
fn refusal(rejection: &Rejection) -> (i16, Option<String>) {
    (error_code(rejection).code(), Some(rejection.to_string()))
}

fn error_code(rejection: &Rejection) -> ErrorCode {
    match rejection {
        Rejection::TopicExists(_) | Rejection::TopicMarkedForDeletion(_) => ErrorCode::TopicAlreadyExists,
        Rejection::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
        Rejection::UnknownTopicId => ErrorCode::UnknownTopicId,
        Rejection::InvalidTopicName(_) => ErrorCode::InvalidTopicException,
        Rejection::InvalidPartitions(_) => ErrorCode::InvalidPartitions,
        Rejection::InvalidReplicationFactor(_) => ErrorCode::InvalidReplicationFactor,
        Rejection::InvalidReplicaAssignment(_) => ErrorCode::InvalidReplicaAssignment,
        Rejection::InvalidConfig(_) => ErrorCode::InvalidConfig,
        Rejection::InvalidRequest(_) => ErrorCode::InvalidRequest,
        Rejection::TopicDeletionDisabled => ErrorCode::TopicDeletionDisabled,
        Rejection::PolicyViolation(_) => ErrorCode::PolicyViolation,
        Rejection::ProducerIdsExhausted => ErrorCode::UnknownServerError,
        Rejection::Overloaded => ErrorCode::RequestTimedOut,
        Rejection::StorageFailed | Rejection::StorageFull => ErrorCode::KafkaStorageError,
        Rejection::NotController => ErrorCode::NotController,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Written;
    use crate::shard::query::fixture::{World, ask};
    use crate::wire::messages::{FindCoordinatorRequest, MetadataRequest, metadata_request::MetadataRequestTopic};

    fn named(names: &[&'static str]) -> MetadataRequest<'static> {
        let topic = |name: &&'static str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
        MetadataRequest { topics: Some(names.iter().map(topic).collect()), ..Default::default() }
    }

    #[test]
    fn metadata_creates_topics_and_shows_them() {
        for version in [0, 13] {
            let mut world = World::new(&[("num.partitions", "3")]);
            world.topic("b", 1, &[]);
            let index = world.controller.index();
            let response = ask!(world.command(version), Metadata, MetadataResponse, named(&["new", "b", "a/b"]));
            let topics: Vec<_> = response
                .topics
                .iter()
                .map(|topic| (topic.error_code, topic.name.as_deref(), topic.partitions.len()))
                .collect();
            assert_eq!(topics, [(17, Some("a/b"), 0), (0, Some("b"), 1), (0, Some("new"), 3)]);
            assert_eq!((world.topic_names(), world.controller.index()), (vec!["b".into(), "new".into()], index + 1));
        }
    }

    #[test]
    fn metadata_says_why_it_creates_nothing() {
        let mut world = World::new(&[("default.replication.factor", "2")]);
        world.topic("a.b", 1, &[]);
        let index = world.controller.index();
        let response = ask!(world.command(13), Metadata, MetadataResponse, named(&["new", "a_b"]));
        let errors: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
        // A name that collides with another, and more replicas than brokers.
        assert_eq!((errors, world.controller.index()), (vec![17, 38], index));
        let mut closed = World::new(&[("auto.create.topics.enable", "false")]);
        let response = ask!(closed.command(13), Metadata, MetadataResponse, named(&["new"]));
        assert_eq!((response.topics[0].error_code, closed.topic_names().len()), (3, 0));
    }

    #[test]
    fn policies_hold_for_topics_that_are_made_by_the_way() {
        let mut world = World::new(&[("topic.name.patterns", "a-*"), ("topic.partitions.max", "2")]);
        let response = ask!(world.command(13), Metadata, MetadataResponse, named(&["a-b", "b"]));
        let errors: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!((errors, world.topic_names()), (vec![0, 44], vec!["a-b".into()]));
        // The broker's own topics are none of theirs.
        let find = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
        let response = ask!(world.command(3), FindCoordinator, FindCoordinatorResponse, find);
        assert_eq!((response.error_code, world.topic_names().len()), (0, 2));
    }

    #[test]
    fn a_broker_without_its_disk_refuses() {
        let mut world = World::new(&[]);
        world.controller.plan_write().expect("something is to be written");
        world.controller.written(Written::Failed);
        let response = ask!(world.command(13), Metadata, MetadataResponse, named(&["new"]));
        assert_eq!(response.topics[0].error_code, 56);
    }

    #[test]
    fn rejections_are_kafkas_errors() {
        let text = || "why".to_string();
        for (rejection, code, name) in [
            (Rejection::TopicExists(text()), 36, "TOPIC_ALREADY_EXISTS"),
            (Rejection::TopicMarkedForDeletion(text()), 36, "TOPIC_ALREADY_EXISTS"),
            (Rejection::UnknownTopic, 3, "UNKNOWN_TOPIC_OR_PARTITION"),
            (Rejection::UnknownTopicId, 100, "UNKNOWN_TOPIC_ID"),
            (Rejection::InvalidTopicName(text()), 17, "INVALID_TOPIC_EXCEPTION"),
            (Rejection::InvalidPartitions(text()), 37, "INVALID_PARTITIONS"),
            (Rejection::InvalidReplicationFactor(text()), 38, "INVALID_REPLICATION_FACTOR"),
            (Rejection::InvalidReplicaAssignment(text()), 39, "INVALID_REPLICA_ASSIGNMENT"),
            (Rejection::InvalidConfig(text()), 40, "INVALID_CONFIG"),
            (Rejection::InvalidRequest(text()), 42, "INVALID_REQUEST"),
            (Rejection::TopicDeletionDisabled, 73, "TOPIC_DELETION_DISABLED"),
            (Rejection::PolicyViolation(text()), 44, "POLICY_VIOLATION"),
            (Rejection::ProducerIdsExhausted, -1, "UNKNOWN_SERVER_ERROR"),
            (Rejection::Overloaded, 7, "REQUEST_TIMED_OUT"),
            (Rejection::StorageFailed, 56, "KAFKA_STORAGE_ERROR"),
            (Rejection::StorageFull, 56, "KAFKA_STORAGE_ERROR"),
            (Rejection::NotController, 41, "NOT_CONTROLLER"),
        ] {
            assert_eq!(refusal(&rejection), (code, Some(rejection.to_string())));
            assert_eq!(error_code(&rejection).name(), name);
        }
    }
}
