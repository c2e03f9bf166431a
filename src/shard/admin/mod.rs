//! Commands: what clients want changed about topics, settings and producer ids. They run on the shard that has the
//! controller, and are pure: the caller holds an answer back until a published image has reached the index that
//! [`Controller::index`] gives after it.

mod configs;
mod partitions;
mod producer;
mod topics;

use bytes::Bytes;

use super::node::Node;
use super::query::metadata::{Refused, answer_refused, missing};
use super::query::{config_effective, reply};
use crate::config::Config;
use crate::metadata::{Controller, Defaults, Rejection, TopicSpec};
use crate::types::Uuid;
use crate::wire::codec::DecodeError;
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::ApiKey;

pub use producer::ProducerIds;

/// The state of commands, beside the controller's.
#[derive(Debug, Default)]
pub struct Admin {
    producer_ids: ProducerIds,
}

/// What a command works on.
struct Context<'a> {
    node: &'a Node,
    controller: &'a mut Controller,
    /// Random ids for new topics.
    ids: &'a mut dyn FnMut() -> Uuid,
}

impl Admin {
    /// Decides the request with this head and `body`, and returns the whole response frame; `listener` is the index of the
    /// client's listener in `node.advertised`, `ids` gives random ids. An error is the client's fault, and closes its
    /// connection.
    pub fn answer(
        &mut self,
        node: &Node,
        controller: &mut Controller,
        ids: &mut dyn FnMut() -> Uuid,
        head: &Head<'_>,
        body: &[u8],
        listener: usize,
    ) -> Result<Vec<Bytes>, DecodeError> {
        let context = Context { node, controller, ids };
        match head.api {
            ApiKey::Metadata => context.metadata(head, body, listener),
            ApiKey::CreateTopics => context.create_topics(head, body),
            ApiKey::DeleteTopics => context.delete_topics(head, body),
            ApiKey::CreatePartitions => context.create_partitions(head, body),
            ApiKey::AlterConfigs => context.alter_configs(head, body),
            ApiKey::IncrementalAlterConfigs => context.incremental_alter_configs(head, body),
            ApiKey::InitProducerId => self.producer_ids.answer(context.controller, head, body),
            api => panic!("{} is no command", api.name()),
        }
    }
}

impl Context<'_> {
    /// The settings in force, those that are decided and not yet durable included.
    fn config(&self) -> Config {
        config_effective(self.node, self.controller.image_decided()).into_owned()
    }

    /// Metadata that creates what it does not find: the answer already shows the new topics.
    fn metadata(self, head: &Head<'_>, body: &[u8], listener: usize) -> Result<Vec<Bytes>, DecodeError> {
        let names = missing(self.node, self.controller.image_decided(), head, body)?;
        let specs: Vec<TopicSpec> = names.into_iter().map(topic_with_defaults).collect();
        let mut refused = Refused::new();
        if !specs.is_empty() {
            let defaults = defaults(&self.config());
            let answers = self
                .controller
                .create_topics(&specs, false, defaults, &|_, _| Ok(()), self.ids);
            for (spec, answer) in specs.into_iter().zip(answers) {
                if let Err(rejection) = answer {
                    refused.insert(spec.name, error_code(&rejection));
                }
            }
        }
        answer_refused(
            self.node,
            self.controller.image_decided(),
            listener,
            head,
            body,
            &refused,
        )
    }
}

fn topic_with_defaults(name: String) -> TopicSpec {
    TopicSpec {
        name,
        partitions: -1,
        replication_factor: -1,
        assignments: Vec::new(),
        settings: Vec::new(),
    }
}

fn defaults(config: &Config) -> Defaults {
    Defaults {
        partitions: i32::try_from(config.num_partitions).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(config.default_replication_factor).unwrap_or(i16::MAX),
    }
}

/// The code and the message that a client gets.
fn refusal(rejection: &Rejection) -> (i16, Option<String>) {
    (error_code(rejection).code(), Some(rejection.to_string()))
}

fn error_code(rejection: &Rejection) -> ErrorCode {
    match rejection {
        Rejection::TopicExists(_) => ErrorCode::TopicAlreadyExists,
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
        Rejection::StorageFailed => ErrorCode::KafkaStorageError,
    }
}
