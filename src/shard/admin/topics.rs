//! CreateTopics (API 19) and DeleteTopics (API 20).

use super::{Decision, defaults, policy, refusal, reply};
use crate::config::{Config, describe_topic, validate_topic, validate_topic_all};
use crate::metadata::{Assignment, Created, Image, Rejection, Terms, TopicKey, TopicSpec};
use crate::shard::query::by_key;
use crate::types::{BrokerId, Uuid};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::create_topics_request::CreatableTopic;
use crate::wire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use crate::wire::messages::delete_topics_request::DeleteTopicState;
use crate::wire::messages::delete_topics_response::DeletableTopicResult;
use crate::wire::messages::{CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse};
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};

/// Kafka's own metadata log, which nobody may create. Other internal topics may be created, as in Kafka.
const CLUSTER_METADATA: &str = "__cluster_metadata";
/// Clients below this version do not know TOPIC_DELETION_DISABLED (KIP-322).
const DELETION_DISABLED_VERSION: i16 = 3;
/// From this version on topics are deleted by name or by id (KIP-516).
const DELETE_BY_ID_VERSION: i16 = 6;

impl Decision<'_> {
    pub(in crate::shard) fn create_topics(self, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
        let request = CreateTopicsRequest::decode(&mut Reader::new(body), head.version)?;
        let config = self.config();
        let image = self.controller.image_decided();
        // A name that occurs twice is refused once, whatever else is wrong with it.
        let topics = by_key(request.topics.iter().map(|topic| (&*topic.name, topic)));
        let checked = topics.iter().map(|(_, topics)| match topics[..] {
            [topic] => spec(topic, image, &config),
            _ => Err(Rejection::InvalidRequest("Duplicate topic name.".into())),
        });
        let checked: Vec<Result<TopicSpec, Rejection>> = checked.collect();
        let specs: Vec<TopicSpec> = checked.iter().filter_map(|spec| spec.clone().ok()).collect();
        let policy = policy(&config);
        let terms = Terms { defaults: defaults(&config), setting: &validate_topic, policy: &policy };
        let mut answers = self.controller.create_topics(&specs, request.validate_only, terms, self.ids).into_iter();
        let topics = topics.iter().zip(checked).map(|((name, _), checked)| {
            let answer = checked.and_then(|_| answers.next().expect("there is an answer to each"));
            created(name, answer, &config)
        });
        let response = CreateTopicsResponse { topics: topics.collect(), ..Default::default() };
        assert!(answers.next().is_none());
        Ok(reply(head, |w| response.encode(w, head.version)))
    }

    pub(in crate::shard) fn delete_topics(self, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
        let request = DeleteTopicsRequest::decode(&mut Reader::new(body), head.version)?;
        let enabled = self.config().delete_topic_enable;
        let wanted: Vec<Result<TopicKey, Rejection>> = match head.version < DELETE_BY_ID_VERSION {
            true => request.topic_names.iter().map(|name| Ok(TopicKey::Name(name.to_string()))).collect(),
            false => request.topics.iter().map(topic_key).collect(),
        };
        let keys: Vec<TopicKey> = wanted.iter().filter_map(|key| key.clone().ok()).collect();
        let image = self.controller.image_decided().clone();
        let mut answers = self.controller.delete_topics(&keys, enabled).into_iter();
        let names = request.topics.iter().map(|topic| (topic.name.as_deref(), topic.topic_id));
        let names = names.chain(request.topic_names.iter().map(|name| (Some(&**name), Uuid::ZERO)));
        let wanted = wanted.into_iter().map(|wanted| match wanted {
            Ok(key) => (Some(key), answers.next().expect("there is an answer to each")),
            Err(rejection) => (None, Err(rejection)),
        });
        // What is named twice is answered once, also if it is named by its name and by its id.
        let mut seen = HashSet::new();
        let answered = names.zip(wanted).filter(|(_, (key, _))| {
            let topic = match key {
                Some(TopicKey::Name(name)) => image.topic(name),
                Some(TopicKey::Id(id)) => image.topic_by_id(*id),
                None => return true,
            };
            seen.insert(topic.map_or_else(|| key.clone(), |topic| Some(TopicKey::Id(topic.id))))
        });
        let responses = answered.map(|((name, id), (_, answer))| match answer {
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
        });
        let response = DeleteTopicsResponse { responses: responses.collect(), ..Default::default() };
        Ok(reply(head, |w| response.encode(w, head.version)))
    }
}

/// What the controller is to create, if the settings fit together and clients may have a topic of this name.
fn spec(topic: &CreatableTopic<'_>, image: &Image, config: &Config) -> Result<TopicSpec, Rejection> {
    if topic.name == CLUSTER_METADATA {
        return Err(Rejection::InvalidRequest(format!("Creation of internal topic {CLUSTER_METADATA} is prohibited.")));
    }
    let settings = topic.configs.iter();
    let settings: Vec<(String, Option<String>)> =
        settings.map(|setting| (setting.name.to_string(), setting.value.as_ref().map(ToString::to_string))).collect();
    // Who creates a topic that exists is to learn that first of all.
    if image.topic(&topic.name).is_none() {
        let given = settings.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
        validate_topic_all(&given.collect::<BTreeMap<_, _>>(), config).map_err(Rejection::InvalidConfig)?;
    }
    let assignments = topic.assignments.iter().map(|assignment| Assignment {
        index: assignment.partition_index,
        brokers: BrokerId::from_numbers(&assignment.broker_ids),
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
        name: setting.name,
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
        Some(_) => Err(Rejection::InvalidRequest("You may not specify both topic name and topic id.".into())),
        None if topic.topic_id.is_zero() => {
            Err(Rejection::InvalidRequest("Neither topic name nor id were specified.".into()))
        }
        None => Ok(TopicKey::Id(topic.topic_id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::query::fixture::{World, ask};
    use crate::wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopicConfig};

    fn topic(name: &'static str, settings: &[(&'static str, Option<&'static str>)]) -> CreatableTopic<'static> {
        let settings = settings
            .iter()
            .map(|&(name, value)| CreatableTopicConfig { name: name.into(), value: value.map(Into::into) });
        CreatableTopic {
            name: name.into(),
            num_partitions: 2,
            replication_factor: 1,
            configs: settings.collect(),
            ..Default::default()
        }
    }

    fn assigned(name: &'static str, assignments: &[(i32, &[i32])]) -> CreatableTopic<'static> {
        let assignments = assignments.iter().map(|(index, brokers)| CreatableReplicaAssignment {
            partition_index: *index,
            broker_ids: brokers.to_vec(),
        });
        CreatableTopic {
            num_partitions: -1,
            replication_factor: -1,
            assignments: assignments.collect(),
            ..topic(name, &[])
        }
    }

    fn create(
        world: &mut World,
        version: i16,
        validate_only: bool,
        topics: Vec<CreatableTopic<'static>>,
    ) -> CreateTopicsResponse<'static> {
        let request = CreateTopicsRequest { topics, validate_only, ..Default::default() };
        ask!(world.command(version), CreateTopics, CreateTopicsResponse, request)
    }

    #[test]
    fn every_version_creates_topics() {
        for version in 2..=7 {
            let mut world = World::new(&[("num.partitions", "4")]);
            let settings = [("retention.ms", Some("5")), ("retention.ms", Some("1000"))];
            let defaults = CreatableTopic { num_partitions: -1, replication_factor: -1, ..topic("defaults", &[]) };
            let wanted = vec![topic("t", &settings), defaults, assigned("assigned", &[(1, &[1]), (0, &[1])])];
            let checked = create(&mut world, version, true, wanted.clone());
            assert!(world.topic_names().is_empty());
            let response = create(&mut world, version, false, wanted);
            assert_eq!(world.topic_names(), ["assigned", "defaults", "t"]);
            let image = world.controller.image_decided();
            for (checked, result) in checked.topics.iter().zip(&response.topics) {
                assert_eq!((result.error_code, result.error_message.as_deref()), (0, None), "{version}");
                assert_eq!((checked.error_code, &checked.configs), (0, &result.configs));
                let made = image.topic(&result.name).expect("created");
                let since = |from: i16| version >= from;
                assert_eq!(result.topic_id, if since(7) { made.id } else { Uuid::ZERO });
                assert_eq!(result.num_partitions, if since(5) { made.partition_count() } else { -1 });
                assert_eq!(result.replication_factor, if since(5) { 1 } else { -1 });
            }
            let counts = ["t", "defaults", "assigned"].map(|name| image.topic(name).expect(name).partition_count());
            assert_eq!(counts, [2, 4, 2]);
            if version >= 5 {
                let settings = response.topics[0].configs.as_ref().expect("shown");
                let find = |name: &str| settings.iter().find(|setting| setting.name == name).expect("there");
                let retention = find("retention.ms");
                assert_eq!((retention.value.as_deref(), retention.config_source), (Some("1000"), 1));
                let policy = find("cleanup.policy");
                assert_eq!((policy.value.as_deref(), policy.config_source), (Some("delete"), 5));
            }
        }
    }

    #[test]
    fn creation_faults_are_told_apart() {
        let mut world = World::new(&[]);
        world.topic("there", 1, &[]);
        world.topic("a.b", 1, &[]);
        let count = |partitions, factor| CreatableTopic {
            num_partitions: partitions,
            replication_factor: factor,
            ..topic("t", &[])
        };
        let lags = [("min.compaction.lag.ms", Some("9")), ("max.compaction.lag.ms", Some("5"))];
        for (wanted, error, message) in [
            (topic("there", &lags), 36, "Topic 'there' already exists."),
            (topic("a/b", &[]), 17, "Topic name is invalid: 'a/b' contains"),
            (topic("a_b", &[]), 17, "Topic 'a_b' collides with existing topic: a.b"),
            (topic("__cluster_metadata", &[]), 42, "Creation of internal topic"),
            (count(0, 1), 37, "Number of partitions was set to an invalid"),
            (count(1, 0), 38, "Replication factor must be larger than 0"),
            (count(1, 2), 38, "Unable to replicate the partition 2 time(s)"),
            (count(10_001, 1), 44, "Excessively large number of partitions"),
            (topic("t", &[("no.such", Some("1"))]), 40, "Unknown topic config name"),
            (topic("t", &[("retention.ms", Some("x"))]), 40, "Invalid value x for"),
            (topic("t", &[("retention.ms", None)]), 40, "Null value not supported"),
            (topic("t", &lags), 40, "conflict topic config setting"),
            (assigned("t", &[(0, &[2])]), 39, "The manual partition assignment"),
            (assigned("t", &[(1, &[1])]), 39, "partitions should be a consecutive"),
        ] {
            for version in [2, 7] {
                let response = create(&mut world, version, false, vec![wanted.clone()]);
                let result = &response.topics[0];
                assert_eq!((result.error_code, &result.name), (error, &wanted.name), "{message}");
                let text = result.error_message.as_deref().expect("a message");
                assert!(text.starts_with(message), "{text}");
            }
        }
    }

    #[test]
    fn a_name_that_occurs_twice_is_refused() {
        let mut world = World::new(&[]);
        let twice = vec![topic("t", &[]), topic("u", &[]), topic("t", &[])];
        let response = create(&mut world, 7, false, twice);
        let errors: Vec<i16> = response.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!((errors, world.topic_names()), (vec![42, 0], vec!["u".into()]));
    }

    #[test]
    fn internal_topics_may_be_created_as_in_kafka() {
        let mut world = World::new(&[]);
        let response = create(&mut world, 7, false, vec![topic("__consumer_offsets", &[])]);
        assert_eq!(response.topics[0].error_code, 0);
        assert!(world.controller.image_decided().topic("__consumer_offsets").expect("made").is_internal());
    }

    fn delete(world: &mut World, version: i16, request: DeleteTopicsRequest<'_>) -> Vec<(i16, Option<String>, Uuid)> {
        let response = ask!(world.command(version), DeleteTopics, DeleteTopicsResponse, request);
        let results = response.responses.iter();
        results
            .map(|result| {
                assert_eq!(result.error_message.is_some(), version >= 5 && result.error_code != 0);
                (result.error_code, result.name.as_deref().map(str::to_string), result.topic_id)
            })
            .collect()
    }

    fn names(names: &[&'static str]) -> DeleteTopicsRequest<'static> {
        DeleteTopicsRequest { topic_names: names.iter().map(|&name| name.into()).collect(), ..Default::default() }
    }

    fn states(states: &[(Option<&'static str>, Uuid)]) -> DeleteTopicsRequest<'static> {
        let state = |&(name, topic_id): &(Option<&'static str>, Uuid)| DeleteTopicState {
            name: name.map(Into::into),
            topic_id,
        };
        DeleteTopicsRequest { topics: states.iter().map(state).collect(), ..Default::default() }
    }

    #[test]
    fn topics_are_deleted_by_name() {
        for version in 1..=5 {
            let mut world = World::new(&[]);
            world.topic("a", 1, &[]);
            world.topic("b", 1, &[]);
            world.topic("c", 1, &[]);
            let answers = delete(&mut world, version, names(&["a", "no", "c", "c"]));
            let expected = [(0, "a"), (3, "no"), (42, "c")];
            assert_eq!(answers, expected.map(|(error, name)| (error, Some(name.to_string()), Uuid::ZERO)));
            assert_eq!(world.topic_names(), ["b", "c"]);
        }
    }

    #[test]
    fn topics_are_deleted_by_id() {
        let mut world = World::new(&[]);
        let [a, b, c] = ["a", "b", "c"].map(|name| world.topic(name, 1, &[]));
        let (unknown, none) = (Uuid([9; 16]), Uuid::ZERO);
        let wanted =
            states(&[(Some("a"), none), (None, b), (None, unknown), (Some("no"), none), (Some("c"), c), (None, none)]);
        let name = |name: &str| Some(name.to_string());
        let expected = [
            (0, name("a"), a),
            (0, name("b"), b),
            (100, None, unknown),
            (3, name("no"), none),
            (42, name("c"), c),
            (42, None, none),
        ];
        assert_eq!(delete(&mut world, 6, wanted), expected);
        assert_eq!(world.topic_names(), ["c"]);
        let twice = delete(&mut world, 6, states(&[(Some("c"), none), (None, c)]));
        assert_eq!(twice, [(42, name("c"), none)]);
        let ids =
            states(&[(None, c), (Some("no"), none), (None, c), (None, unknown), (Some("no"), none), (None, unknown)]);
        assert_eq!(delete(&mut world, 6, ids), [(42, None, c), (42, name("no"), none), (42, None, unknown)]);
    }

    #[test]
    fn deletion_can_be_forbidden() {
        let mut world = World::new(&[("delete.topic.enable", "false")]);
        world.topic("a", 1, &[]);
        for (version, error) in [(1, 42), (2, 42), (3, 73), (5, 73)] {
            assert_eq!(delete(&mut world, version, names(&["a"]))[0].0, error);
        }
        assert_eq!(delete(&mut world, 6, states(&[(Some("a"), Uuid::ZERO)]))[0].0, 73);
        assert_eq!(world.topic_names(), ["a"]);
    }
}
