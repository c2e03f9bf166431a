//! CreateTopics (API 19) and DeleteTopics (API 20).

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Context, defaults, refusal, reply};
use crate::config::{Config, describe_topic, validate_topic, validate_topic_all};
use crate::metadata::{Assignment, Created, Rejection, TopicKey, TopicSpec};
use crate::types::Uuid;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::create_topics_request::CreatableTopic;
use crate::wire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use crate::wire::messages::delete_topics_request::DeleteTopicState;
use crate::wire::messages::delete_topics_response::DeletableTopicResult;
use crate::wire::messages::{CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse};

/// Kafka's own metadata log, which nobody may create. Other internal topics may be created, as in Kafka.
const CLUSTER_METADATA: &str = "__cluster_metadata";
/// Clients below this version do not know TOPIC_DELETION_DISABLED (KIP-322).
const DELETION_DISABLED_VERSION: i16 = 3;
/// From this version on topics are deleted by name or by id (KIP-516).
const DELETE_BY_ID_VERSION: i16 = 6;

impl Context<'_> {
    pub(super) fn create_topics(self, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
        let request = CreateTopicsRequest::decode(&mut Reader::new(body), head.version)?;
        let config = self.config();
        let checked: Vec<Result<TopicSpec, Rejection>> =
            request.topics.iter().map(|topic| spec(topic, &config)).collect();
        let specs: Vec<TopicSpec> = checked.iter().filter_map(|spec| spec.clone().ok()).collect();
        let mut answers = self
            .controller
            .create_topics(
                &specs,
                request.validate_only,
                defaults(&config),
                &validate_topic,
                self.ids,
            )
            .into_iter();
        let topics = request.topics.iter().zip(checked).map(|(topic, checked)| {
            let answer = checked.and_then(|_| answers.next().expect("there is an answer to each"));
            created(&topic.name, answer, &config)
        });
        let response = CreateTopicsResponse {
            topics: topics.collect(),
            ..Default::default()
        };
        assert!(answers.next().is_none());
        Ok(reply(head, |w| response.encode(w, head.version)))
    }

    pub(super) fn delete_topics(self, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
        let request = DeleteTopicsRequest::decode(&mut Reader::new(body), head.version)?;
        let enabled = self.config().delete_topic_enable;
        let wanted: Vec<Result<TopicKey, Rejection>> = match head.version < DELETE_BY_ID_VERSION {
            true => request
                .topic_names
                .iter()
                .map(|name| Ok(TopicKey::Name(name.to_string())))
                .collect(),
            false => request.topics.iter().map(topic_key).collect(),
        };
        let keys: Vec<TopicKey> = wanted.iter().filter_map(|key| key.clone().ok()).collect();
        let mut answers = self.controller.delete_topics(&keys, enabled).into_iter();
        let names = request
            .topics
            .iter()
            .map(|topic| (topic.name.as_deref(), topic.topic_id));
        let names = names.chain(request.topic_names.iter().map(|name| (Some(&**name), Uuid::ZERO)));
        let responses = names.zip(wanted).map(|((name, id), wanted)| {
            match wanted.and_then(|_| answers.next().expect("there is an answer to each")) {
                Ok(deleted) => DeletableTopicResult {
                    name: Some(deleted.name.to_string().into()),
                    topic_id: deleted.id,
                    error_code: ErrorCode::None.code(),
                    error_message: None,
                },
                Err(rejection) => {
                    let (code, message) = match rejection {
                        Rejection::TopicDeletionDisabled if head.version < DELETION_DISABLED_VERSION => {
                            refusal(&Rejection::InvalidRequest(rejection.to_string()))
                        }
                        _ => refusal(&rejection),
                    };
                    DeletableTopicResult {
                        name: name.map(Into::into),
                        topic_id: id,
                        error_code: code,
                        error_message: message.map(Into::into),
                    }
                }
            }
        });
        let response = DeleteTopicsResponse {
            responses: responses.collect(),
            ..Default::default()
        };
        assert!(answers.next().is_none());
        Ok(reply(head, |w| response.encode(w, head.version)))
    }
}

/// What the controller is to create, if the settings fit together and clients may have a topic of this name.
fn spec(topic: &CreatableTopic<'_>, config: &Config) -> Result<TopicSpec, Rejection> {
    if topic.name == CLUSTER_METADATA {
        return Err(Rejection::InvalidRequest(format!(
            "Creation of internal topic {CLUSTER_METADATA} is prohibited."
        )));
    }
    let settings = topic.configs.iter();
    let settings: Vec<(String, Option<String>)> = settings
        .map(|setting| {
            (
                setting.name.to_string(),
                setting.value.as_ref().map(ToString::to_string),
            )
        })
        .collect();
    let given = settings
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
    validate_topic_all(&given.collect::<BTreeMap<_, _>>(), config).map_err(Rejection::InvalidConfig)?;
    let assignments = topic.assignments.iter().map(|assignment| Assignment {
        index: assignment.partition_index,
        brokers: assignment.broker_ids.clone(),
    });
    Ok(TopicSpec {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments.collect(),
        settings,
    })
}

fn created<'a>(name: &'a str, answer: Result<Created, Rejection>, config: &Config) -> CreatableTopicResult<'a> {
    let created = match answer {
        Ok(created) => created,
        Err(rejection) => {
            let (error_code, message) = refusal(&rejection);
            return CreatableTopicResult {
                name: name.into(),
                error_code,
                error_message: message.map(Into::into),
                ..Default::default()
            };
        }
    };
    let settings = describe_topic(&created.settings, config, None);
    let settings = settings.into_iter().map(|setting| CreatableTopicConfigs {
        name: setting.name.into(),
        value: setting.value.map(Into::into),
        read_only: setting.read_only,
        config_source: setting.source.number(),
        is_sensitive: setting.sensitive,
    });
    CreatableTopicResult {
        name: name.into(),
        topic_id: created.id,
        error_message: None,
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs: Some(settings.collect()),
        ..Default::default()
    }
}

fn topic_key(topic: &DeleteTopicState<'_>) -> Result<TopicKey, Rejection> {
    match &topic.name {
        Some(name) if topic.topic_id.is_zero() => Ok(TopicKey::Name(name.to_string())),
        Some(_) => Err(Rejection::InvalidRequest(
            "You may not specify both topic name and topic id.".into(),
        )),
        None if topic.topic_id.is_zero() => Err(Rejection::InvalidRequest(
            "Neither topic name nor id were specified.".into(),
        )),
        None => Ok(TopicKey::Id(topic.topic_id)),
    }
}
