//! AlterConfigs (API 33) and IncrementalAlterConfigs (API 44, KIP-339).

use super::{Decision, refusal, reply};
use crate::config::{
    AlterOp, Scope, alter, validate_broker_dynamic_all, validate_group, validate_group_all, validate_topic,
    validate_topic_all,
};
use crate::metadata::{Rejection, check_name};
use crate::shard::query::{Resource, check_broker_name};
use crate::types::BrokerId;
use crate::wire::codec::{DecodeError, Reader, join_text};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    alter_configs_response, incremental_alter_configs_response,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Longest name of a group that may have settings: that of a string in the protocol's older versions.
const GROUP_NAME_BYTES_MAX: usize = i16::MAX as usize;

/// Values by name, as a resource has them.
type Settings = BTreeMap<String, String>;

/// One resource of a request of either API.
struct Change<'a> {
    resource_type: i8,
    resource_name: &'a str,
    /// Of each setting the name, what to do, and the value.
    operations: Vec<(&'a str, i8, Option<&'a str>)>,
    /// Whether the settings that are not named go back to their defaults.
    replaces: bool,
}

impl Decision<'_> {
    pub(in crate::shard) fn alter_configs(mut self, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
        let request = AlterConfigsRequest::decode(&mut Reader::new(body), head.version)?;
        let changes = request.resources.iter().map(|resource| Change {
            resource_type: resource.resource_type,
            resource_name: &resource.resource_name,
            operations: resource
                .configs
                .iter()
                .map(|setting| (&*setting.name, AlterOp::Set as i8, setting.value.as_deref()))
                .collect(),
            replaces: true,
        });
        let changes: Vec<Change<'_>> = changes.collect();
        let response = |(change, answer): (&Change<'_>, _)| {
            let (error_code, message) = outcome(answer);
            alter_configs_response::AlterConfigsResourceResponse {
                error_code,
                error_message: message.map(Into::into),
                resource_type: change.resource_type,
                resource_name: change.resource_name.to_string().into(),
            }
        };
        let answers = self.change_all(&changes, request.validate_only);
        let response = AlterConfigsResponse {
            responses: changes.iter().zip(answers).map(response).collect(),
            ..Default::default()
        };
        Ok(reply(head, |w| response.encode(w, head.version)))
    }

    pub(in crate::shard) fn incremental_alter_configs(
        mut self,
        head: &Head<'_>,
        body: &[u8],
    ) -> Result<Vec<Bytes>, DecodeError> {
        let request = IncrementalAlterConfigsRequest::decode(&mut Reader::new(body), head.version)?;
        let changes = request.resources.iter().map(|resource| Change {
            resource_type: resource.resource_type,
            resource_name: &resource.resource_name,
            operations: resource
                .configs
                .iter()
                .map(|setting| (&*setting.name, setting.config_operation, setting.value.as_deref()))
                .collect(),
            replaces: false,
        });
        let changes: Vec<Change<'_>> = changes.collect();
        let response = |(change, answer): (&Change<'_>, _)| {
            let (error_code, message) = outcome(answer);
            incremental_alter_configs_response::AlterConfigsResourceResponse {
                error_code,
                error_message: message.map(Into::into),
                resource_type: change.resource_type,
                resource_name: change.resource_name.to_string().into(),
            }
        };
        let answers = self.change_all(&changes, request.validate_only);
        let response = IncrementalAlterConfigsResponse {
            responses: changes.iter().zip(answers).map(response).collect(),
            ..Default::default()
        };
        Ok(reply(head, |w| response.encode(w, head.version)))
    }

    /// One answer for each of `changes`, in their order. A resource that occurs twice is refused each time.
    fn change_all(&mut self, changes: &[Change<'_>], validate_only: bool) -> Vec<Result<(), Rejection>> {
        fn key<'b>(change: &Change<'b>) -> (i8, &'b str) {
            (change.resource_type, change.resource_name)
        }
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<_> = changes.iter().map(key).filter(|key| !seen.insert(*key)).collect();
        let mut answers = Vec::with_capacity(changes.len());
        for change in changes {
            answers.push(match twice.contains(&key(change)) {
                true => Err(invalid("Each resource must appear at most once.")),
                false => self.change(change, validate_only),
            });
        }
        answers
    }

    fn change(&mut self, change: &Change<'_>, validate_only: bool) -> Result<(), Rejection> {
        change.check()?;
        match Resource::from_number(change.resource_type).map_err(invalid)? {
            Resource::Topic => self.change_topic(change, validate_only),
            Resource::Broker => self.change_broker(change, validate_only),
            Resource::Group => self.change_group(change, validate_only),
            Resource::BrokerLogger => self.change_loggers(change),
            Resource::ClientMetrics if change.resource_name.is_empty() => {
                Err(invalid("Subscription name can't be empty"))
            }
            Resource::ClientMetrics => {
                Err(invalid("This broker collects no client metrics (KIP-714), so it keeps no subscriptions to them."))
            }
        }
    }

    /// The levels of this broker's log are set at its start: there is no logger whose level could change.
    fn change_loggers(&self, change: &Change<'_>) -> Result<(), Rejection> {
        match change.resource_name.parse::<BrokerId>() {
            Err(_) => return Err(invalid(format!("Node id must be an integer, but it is: {}", change.resource_name))),
            Ok(id) if id != self.node.id => {
                return Err(invalid(format!("Unexpected node id. Expected {}, but received {id}", self.node.id)));
            }
            Ok(_) => {}
        }
        change.operations.iter().try_for_each(|&(name, operation, _)| match AlterOp::from_number(operation) {
            Some(operation @ (AlterOp::Append | AlterOp::Subtract)) => {
                let operation = format!("{operation:?}").to_uppercase();
                Err(invalid(format!("{operation} operation is not allowed for the BROKER_LOGGER resource")))
            }
            _ => Err(Rejection::InvalidConfig(format!("Logger {name} does not exist!"))),
        })
    }

    fn change_topic(&mut self, change: &Change<'_>, validate_only: bool) -> Result<(), Rejection> {
        if change.resource_name.is_empty() {
            return Err(invalid("Default topic resources are not allowed."));
        }
        check_name(change.resource_name)?;
        let image = self.controller.image_decided();
        let topic = image.topic(change.resource_name).ok_or(Rejection::UnknownTopic)?;
        let id = topic.id;
        let settings = change.apply(Scope::Topic, &topic.settings).map_err(Rejection::InvalidConfig)?;
        validate_topic_all(&settings, &self.config()).map_err(Rejection::InvalidConfig)?;
        self.controller.set_topic_settings(id, settings, validate_only, &validate_topic)
    }

    /// The group need not exist: its settings may come before it, and outlast it.
    fn change_group(&mut self, change: &Change<'_>, validate_only: bool) -> Result<(), Rejection> {
        let group = change.resource_name;
        if group.is_empty() {
            return Err(invalid("Default group resources are not allowed."));
        }
        if group.len() > GROUP_NAME_BYTES_MAX {
            return Err(invalid(format!("The group's name is longer than {GROUP_NAME_BYTES_MAX} bytes.")));
        }
        let none = Settings::new();
        let current = self.controller.image_decided().group_settings(group).map_or(&none, |settings| &**settings);
        let settings = change.apply(Scope::Group, current).map_err(Rejection::InvalidConfig)?;
        validate_group_all(&settings, &self.config()).map_err(Rejection::InvalidConfig)?;
        self.controller.set_group_settings(group, settings, validate_only, &validate_group)
    }

    fn change_broker(&mut self, change: &Change<'_>, validate_only: bool) -> Result<(), Rejection> {
        let per_broker = !change.resource_name.is_empty();
        if per_broker {
            check_broker_name(self.node.id, change.resource_name, "").map_err(invalid)?;
        }
        let broker = if per_broker { self.node.id } else { BrokerId::ALL };
        let image = self.controller.image_decided();
        let none = Settings::new();
        let settings_of = |broker| image.broker_settings(broker).map_or(&none, |settings| &**settings);
        let settings = change.apply(Scope::Broker, settings_of(broker)).map_err(Rejection::InvalidConfig)?;
        validate_broker_dynamic_all(&settings, per_broker).map_err(invalid)?;
        // Each value may be right and all of them together wrong.
        let (_, left_out) = match per_broker {
            true => self.node.config.with_dynamic(&settings, settings_of(BrokerId::ALL)),
            false => self.node.config.with_dynamic(settings_of(self.node.id), &settings),
        };
        if let Some(why) = left_out.into_iter().next() {
            return Err(invalid(why));
        }
        self.controller.set_broker_settings(broker, settings, validate_only, &|_, _| Ok(()))
    }
}

impl Change<'_> {
    /// What is wrong whatever the resource is.
    fn check(&self) -> Result<(), Rejection> {
        let mut names = BTreeSet::new();
        if !self.operations.iter().all(|(name, ..)| names.insert(*name)) {
            return Err(invalid("Error due to duplicate config keys"));
        }
        let mut without_value = Vec::new();
        for &(name, operation, value) in &self.operations {
            match AlterOp::from_number(operation) {
                None => return Err(invalid(format!("Unknown operation {operation} for config {name}"))),
                Some(AlterOp::Delete) => {}
                Some(_) if value.is_none() => without_value.push(name),
                Some(_) => {}
            }
        }
        match &without_value[..] {
            [] => Ok(()),
            names => {
                let names = join_text(names.iter().copied(), ",");
                Err(invalid(format!("Null value not supported for : {names}")))
            }
        }
    }

    /// The settings after the change. The error text is for the client.
    fn apply(&self, scope: Scope, current: &Settings) -> Result<Settings, String> {
        let mut settings = if self.replaces { Settings::new() } else { current.clone() };
        for &(name, operation, value) in &self.operations {
            let operation = AlterOp::from_number(operation).expect("it was checked");
            alter(scope, &mut settings, name, operation, value)?;
        }
        Ok(settings)
    }
}

fn outcome(answer: Result<(), Rejection>) -> (i16, Option<String>) {
    match answer {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(rejection) => refusal(&rejection),
    }
}

fn invalid(message: impl Into<String>) -> Rejection {
    Rejection::InvalidRequest(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::query::fixture::{World, ask};
    use crate::wire::messages::{alter_configs_request, incremental_alter_configs_request};

    const TOPIC: i8 = Resource::Topic as i8;
    const BROKER: i8 = Resource::Broker as i8;
    const SET: i8 = AlterOp::Set as i8;
    const DELETE: i8 = AlterOp::Delete as i8;
    const APPEND: i8 = AlterOp::Append as i8;
    const SUBTRACT: i8 = AlterOp::Subtract as i8;

    type Values<'a> = &'a [(&'static str, Option<&'static str>)];
    type Operations<'a> = &'a [(&'static str, i8, Option<&'static str>)];

    /// Error and message of each resource, by AlterConfigs.
    fn replace(
        world: &mut World,
        version: i16,
        validate_only: bool,
        resources: &[(i8, &'static str, Values<'_>)],
    ) -> Vec<(i16, String)> {
        let resource = |&(resource_type, name, settings): &(i8, &'static str, Values<'_>)| {
            let settings = settings.iter().map(|&(name, value): &(&'static str, Option<&'static str>)| {
                alter_configs_request::AlterableConfig { name: name.into(), value: value.map(Into::into) }
            });
            alter_configs_request::AlterConfigsResource {
                resource_type,
                resource_name: name.into(),
                configs: settings.collect(),
            }
        };
        let request = AlterConfigsRequest { resources: resources.iter().map(resource).collect(), validate_only };
        let response = ask!(world.command(version), AlterConfigs, AlterConfigsResponse, request);
        let answers = response.responses.iter().zip(resources);
        answers
            .map(|(answer, resource)| {
                assert_eq!((answer.resource_type, &*answer.resource_name), (resource.0, resource.1));
                (answer.error_code, answer.error_message.as_deref().unwrap_or("").to_string())
            })
            .collect()
    }

    /// The same by IncrementalAlterConfigs.
    fn change(
        world: &mut World,
        version: i16,
        validate_only: bool,
        resources: &[(i8, &'static str, Operations<'_>)],
    ) -> Vec<(i16, String)> {
        let resource = |&(resource_type, name, operations): &(i8, &'static str, Operations<'_>)| {
            let settings = operations.iter().map(|&(name, config_operation, value)| {
                incremental_alter_configs_request::AlterableConfig {
                    name: name.into(),
                    config_operation,
                    value: value.map(Into::into),
                }
            });
            incremental_alter_configs_request::AlterConfigsResource {
                resource_type,
                resource_name: name.into(),
                configs: settings.collect(),
            }
        };
        let request =
            IncrementalAlterConfigsRequest { resources: resources.iter().map(resource).collect(), validate_only };
        let response = ask!(world.command(version), IncrementalAlterConfigs, IncrementalAlterConfigsResponse, request);
        let answers = response.responses.iter().zip(resources);
        answers
            .map(|(answer, resource)| {
                assert_eq!((answer.resource_type, &*answer.resource_name), (resource.0, resource.1));
                (answer.error_code, answer.error_message.as_deref().unwrap_or("").to_string())
            })
            .collect()
    }

    fn ok() -> Vec<(i16, String)> {
        vec![(0, String::new())]
    }

    /// `NAME=VALUE` of each setting of the topic `t`.
    fn topic_settings(world: &World) -> Vec<String> {
        let topic = world.controller.image_decided().topic("t").expect("there");
        shown(&topic.settings)
    }

    fn broker_settings(world: &World, broker: BrokerId) -> Vec<String> {
        let settings = world.controller.image_decided().broker_settings(broker);
        settings.map_or(vec![], |settings| shown(settings))
    }

    fn shown(settings: &Settings) -> Vec<String> {
        settings.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn alter_configs_replaces_what_a_topic_has() {
        for version in 0..=2 {
            let mut world = World::new(&[]);
            world.topic("t", 1, &[("retention.ms", "5"), ("segment.bytes", "2000000")]);
            let wanted: &[(i8, &'static str, Values<'_>)] = &[(TOPIC, "t", &[("retention.ms", Some("7"))])];
            assert_eq!(replace(&mut world, version, true, wanted), ok());
            assert_eq!(topic_settings(&world), ["retention.ms=5", "segment.bytes=2000000"]);
            assert_eq!(replace(&mut world, version, false, wanted), ok());
            assert_eq!(topic_settings(&world), ["retention.ms=7"]);
            assert_eq!(replace(&mut world, version, false, &[(TOPIC, "t", &[])]), ok());
            assert!(topic_settings(&world).is_empty());
        }
    }

    #[test]
    fn incremental_changes_touch_what_they_name() {
        for version in 0..=1 {
            let mut world = World::new(&[]);
            world.topic("t", 1, &[("retention.ms", "5"), ("segment.bytes", "2000000")]);
            let wanted: Operations<'_> = &[
                ("retention.ms", DELETE, None),
                ("cleanup.policy", APPEND, Some("compact")),
                ("segment.ms", SET, Some("9")),
            ];
            assert_eq!(change(&mut world, version, true, &[(TOPIC, "t", wanted)]), ok());
            assert_eq!(topic_settings(&world), ["retention.ms=5", "segment.bytes=2000000"]);
            assert_eq!(change(&mut world, version, false, &[(TOPIC, "t", wanted)]), ok());
            let kept = ["segment.bytes=2000000", "segment.ms=9"];
            assert_eq!(topic_settings(&world), ["cleanup.policy=delete,compact", kept[0], kept[1]]);
            let wanted: Operations<'_> = &[("cleanup.policy", SUBTRACT, Some("delete"))];
            assert_eq!(change(&mut world, version, false, &[(TOPIC, "t", wanted)]), ok());
            assert_eq!(topic_settings(&world), ["cleanup.policy=compact", kept[0], kept[1]]);
        }
    }

    #[test]
    fn brokers_have_settings_of_their_own_and_for_all() {
        let mut world = World::new(&[]);
        let set = |value| [("message.max.bytes", SET, Some(value))];
        assert_eq!(change(&mut world, 1, false, &[(BROKER, "", &set("5000"))]), ok());
        assert_eq!(change(&mut world, 1, false, &[(BROKER, "1", &set("6000"))]), ok());
        assert_eq!(broker_settings(&world, BrokerId::ALL), ["message.max.bytes=5000"]);
        assert_eq!(broker_settings(&world, BrokerId(1)), ["message.max.bytes=6000"]);
        assert_eq!(replace(&mut world, 2, true, &[(BROKER, "1", &[])]), ok());
        assert_eq!(replace(&mut world, 2, false, &[(BROKER, "", &[])]), ok());
        assert!(broker_settings(&world, BrokerId::ALL).is_empty());
        assert_eq!(broker_settings(&world, BrokerId(1)), ["message.max.bytes=6000"]);
    }

    /// Each change is refused with this code and a message that begins like this, and nothing is decided.
    fn refused(cases: &[(i8, &'static str, Operations<'_>, i16, &str)]) {
        let mut world = World::new(&[]);
        world.topic("t", 1, &[("max.compaction.lag.ms", "5")]);
        let index = world.controller.index();
        for &(resource_type, name, operations, error, message) in cases {
            let [(code, text)] = &change(&mut world, 1, false, &[(resource_type, name, operations)])[..] else {
                panic!("one answer");
            };
            assert_eq!(*code, error, "{message}: {text}");
            assert!(text.starts_with(message), "{text}");
        }
        assert_eq!(world.controller.index(), index);
    }

    #[test]
    fn faults_of_topics_are_told_apart() {
        let set = |name, value| [(name, SET, Some(value))];
        let retention = set("retention.ms", "1");
        let unknown = "This server does not host this topic-partition.";
        let append = [("retention.ms", APPEND, Some("1"))];
        let null = [("retention.ms", SET, None)];
        let operation = [("retention.ms", 4, Some("1"))];
        let twice = [retention[0], retention[0]];
        refused(&[
            (TOPIC, "no", &retention, 3, unknown),
            (TOPIC, "a/b", &retention, 17, "Topic name is invalid"),
            (TOPIC, "t", &set("retention.ms", "x"), 40, "Invalid value x for"),
            (TOPIC, "t", &set("no.such", "x"), 40, "Unknown topic config name: no.such"),
            (TOPIC, "t", &append, 40, "Can't APPEND to key retention.ms"),
            (TOPIC, "t", &set("min.compaction.lag.ms", "9"), 40, "conflict topic config"),
            (TOPIC, "t", &null, 42, "Null value not supported for : retention.ms"),
            (TOPIC, "t", &operation, 42, "Unknown operation 4 for config retention.ms"),
            (TOPIC, "t", &twice, 42, "Error due to duplicate config keys"),
        ]);
        let mut world = World::new(&[]);
        world.topic("t", 1, &[("segment.ms", "5")]);
        let null = replace(&mut world, 2, false, &[(TOPIC, "t", &[("retention.ms", None)])]);
        assert_eq!((null[0].0, topic_settings(&world)), (42, vec!["segment.ms=5".into()]));
    }

    #[test]
    fn faults_of_other_resources_are_told_apart() {
        let set = |name, value| [(name, SET, Some(value))];
        let max = set("message.max.bytes", "5000");
        let factors =
            [("topic.replication.factor.min", SET, Some("3")), ("topic.replication.factor.max", SET, Some("2"))];
        let default_level = "Cannot update these configs at default cluster level";
        refused(&[
            (BROKER, "2", &max, 42, "Unexpected broker id, expected 1, but received 2"),
            (BROKER, "x", &max, 42, "Broker id must be an integer, but it is: x"),
            (BROKER, "1", &set("node.id", "4"), 42, "Cannot update these configs dynamically"),
            (BROKER, "1", &set("message.max.bytes", "x"), 42, "Invalid value x for"),
            (BROKER, "", &set("ssl.client.auth", "none"), 42, default_level),
            (BROKER, "", &factors, 42, "set while running: topic.replication.factor.min: it is above"),
            (BROKER, "1", &[("no.such", APPEND, Some("1"))], 40, "Unknown config name: no.such"),
            (BROKER, "1", &[("num.io.threads", APPEND, Some("1"))], 40, "Config value append is not allowed for"),
            (BROKER, "1", &set("ssl.keystore.type", "PEM"), 42, "These security configs can be dynamically"),
            (8, "1", &set("root", "DEBUG"), 40, "Logger root does not exist!"),
            (8, "1", &[("root", APPEND, Some("DEBUG"))], 42, "APPEND operation is not allowed for the BROKER_LOGGER"),
            (8, "2", &set("root", "DEBUG"), 42, "Unexpected node id. Expected 1, but received 2"),
            (8, "", &set("root", "DEBUG"), 42, "Node id must be an integer, but it is: "),
            (16, "m", &set("interval.ms", "1"), 42, "This broker collects no client metrics"),
            (16, "", &set("interval.ms", "1"), 42, "Subscription name can't be empty"),
            (32, "", &max, 42, "Default group resources are not allowed."),
            (32, "g", &max, 40, "Unknown group config name: message.max.bytes"),
            (32, "g", &set("consumer.session.timeout.ms", "1"), 40, "consumer.session.timeout.ms must be greater than"),
            (1, "x", &max, 42, "Unsupported resource type: 1"),
        ]);
    }

    #[test]
    fn a_resource_that_occurs_twice_is_refused() {
        let mut world = World::new(&[]);
        world.topic("t", 1, &[]);
        world.topic("u", 1, &[]);
        let set: Operations<'_> = &[("retention.ms", SET, Some("1"))];
        let answers = change(&mut world, 1, false, &[(TOPIC, "t", set), (TOPIC, "u", set), (TOPIC, "t", set)]);
        let refused = (42, "Each resource must appear at most once.".to_string());
        assert_eq!(answers, [refused.clone(), (0, String::new()), refused]);
        assert!(topic_settings(&world).is_empty());
    }
}
