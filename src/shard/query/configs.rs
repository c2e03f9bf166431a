//! DescribeConfigs (API 32): settings of topics, groups and this broker, with where they come from.

use super::{by_key, reply};
use crate::config::{
    Config, Described, Synonym, Type, describe_broker, describe_broker_default, describe_client_metrics,
    describe_group, describe_topic,
};
use crate::metadata::{Image, check_name};
use crate::shard::context::Context;
use crate::shard::node::Node;
use crate::types::BrokerId;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::{Head, unsayable};
use crate::wire::messages::DescribeConfigsRequest;
use crate::wire::messages::describe_configs_request::DescribeConfigsResource;
use crate::wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

/// Kinds of resources that have settings, with Kafka's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    Topic = 2,
    Broker = 4,
    /// Log levels, which this broker does not change while it runs.
    BrokerLogger = 8,
    /// Subscriptions to client metrics (KIP-714), of which this broker has none.
    ClientMetrics = 16,
    Group = 32,
}

impl Resource {
    /// The error text is for the client, with INVALID_REQUEST.
    pub fn from_number(number: i8) -> Result<Resource, String> {
        use Resource::{Broker, BrokerLogger, ClientMetrics, Group, Topic};
        [Topic, Broker, BrokerLogger, ClientMetrics, Group]
            .into_iter()
            .find(|resource| *resource as i8 == number)
            .ok_or_else(|| format!("Unsupported resource type: {number}"))
    }
}

/// Bytes that the settings of an answer may take in memory.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// Kafka's number of the type of a setting that it does not know.
const TYPE_UNKNOWN: i8 = 0;

type Refusal = (ErrorCode, Option<String>);

fn invalid(message: impl Into<String>) -> Refusal {
    (ErrorCode::InvalidRequest, Some(message.into()))
}

pub fn answer(context: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    let &Context { node, image, .. } = context;
    let request = DescribeConfigsRequest::decode(&mut Reader::new(body), head.version)?;
    let config = context.config;
    // Each resource once, with all settings that it is asked for.
    let resources = request.resources.iter();
    let resources = by_key(resources.map(|resource| ((resource.resource_type, &*resource.resource_name), resource)));
    let mut response = DescribeConfigsResponse::default();
    let mut bytes = 0;
    for ((resource_type, name), asked) in resources {
        let (refusal, settings) = match describe(node, image, config, (resource_type, name), &asked) {
            Ok(settings) => ((ErrorCode::None, None), settings),
            Err(refusal) => (refusal, Vec::new()),
        };
        let show = |setting| result(setting, request.include_synonyms, request.include_documentation);
        let configs: Vec<_> = settings.into_iter().map(show).collect();
        bytes += configs.iter().map(bytes_of).sum::<usize>();
        if bytes > ANSWER_BYTES_MAX {
            return Ok(unsayable());
        }
        response.results.push(DescribeConfigsResult {
            error_code: refusal.0.code(),
            error_message: refusal.1.map(Into::into),
            resource_type,
            resource_name: name.into(),
            configs,
        });
    }
    Ok(reply(head, |w| response.encode(w, head.version)))
}

/// About as many bytes as a setting of an answer takes in memory.
fn bytes_of(setting: &DescribeConfigsResourceResult<'_>) -> usize {
    let value = |value: &Option<Cow<'_, str>>| value.as_ref().map_or(0, |value| value.len());
    let synonyms = setting.synonyms.iter().map(|synonym| size_of_val(synonym) + value(&synonym.value));
    size_of_val(setting) + value(&setting.value) + value(&setting.documentation) + synonyms.sum::<usize>()
}

/// The settings of a resource that any of `asked`, which name it, wants to see.
fn describe(
    node: &Node,
    image: &Image,
    config: &Config,
    (resource_type, name): (i8, &str),
    asked: &[&DescribeConfigsResource<'_>],
) -> Result<Vec<Described>, Refusal> {
    let mut keys = Some(HashSet::new());
    for resource in asked {
        match (&resource.configuration_keys, &mut keys) {
            (Some(more), Some(keys)) if !more.is_empty() => keys.extend(more.iter().map(|key| &**key)),
            _ => keys = None,
        }
    }
    let keys = keys.as_ref();
    match Resource::from_number(resource_type).map_err(invalid)? {
        Resource::Topic => {
            check_name(name).map_err(|why| (ErrorCode::InvalidTopicException, Some(why.to_string())))?;
            let topic = image.topic(name).ok_or((ErrorCode::UnknownTopicOrPartition, None))?;
            Ok(describe_topic(&topic.settings, config, keys))
        }
        Resource::Broker if name.is_empty() => Ok(describe_broker_default(config, keys)),
        Resource::Broker => {
            check_broker_name(node.id, name, " or empty string").map_err(invalid)?;
            Ok(describe_broker(config, keys))
        }
        Resource::BrokerLogger if name.is_empty() => Err(invalid("Broker id must not be empty")),
        Resource::BrokerLogger => {
            check_broker_name(node.id, name, "").map_err(invalid)?;
            Ok(Vec::new())
        }
        Resource::ClientMetrics if name.is_empty() => {
            Err(invalid("Client metrics subscription name must not be empty"))
        }
        Resource::ClientMetrics => Ok(describe_client_metrics(keys)),
        Resource::Group if name.is_empty() => Err(invalid("Group name must not be empty")),
        Resource::Group => {
            let none = BTreeMap::new();
            let own = image.group_settings(name).map_or(&none, |settings| &**settings);
            Ok(describe_group(own, config, keys))
        }
    }
}

/// Whether the name of a broker's resource is this broker's id. The error text is for the client, with INVALID_REQUEST;
/// `or` says what else it might have been.
pub fn check_broker_name(id: BrokerId, name: &str, or: &str) -> Result<(), String> {
    match name.parse::<BrokerId>() {
        Ok(named) if named == id => Ok(()),
        Ok(_) => Err(format!("Unexpected broker id, expected {id}{or}, but received {name}")),
        Err(_) => Err(format!("Broker id must be an integer, but it is: {name}")),
    }
}

fn result(setting: Described, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult<'static> {
    let synonym = |synonym: Synonym| DescribeConfigsSynonym {
        name: synonym.name,
        value: synonym.value.map(Into::into),
        source: synonym.source.number(),
    };
    DescribeConfigsResourceResult {
        name: setting.name,
        value: setting.value.map(Into::into),
        read_only: setting.read_only,
        config_source: setting.source.number(),
        is_sensitive: setting.sensitive,
        synonyms: match synonyms {
            true => setting.synonyms.into_iter().map(synonym).collect(),
            false => Vec::new(),
        },
        config_type: setting.config_type.map_or(TYPE_UNKNOWN, Type::number),
        documentation: documentation.then(|| setting.documentation.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{validate_broker_dynamic, validate_group};
    use crate::shard::query::fixture::{World, ask};

    fn resource(
        resource_type: i8,
        name: &'static str,
        keys: Option<&[&'static str]>,
    ) -> DescribeConfigsResource<'static> {
        DescribeConfigsResource {
            resource_type,
            resource_name: name.into(),
            configuration_keys: keys.map(|keys| keys.iter().map(|&key| key.into()).collect()),
        }
    }

    fn describe_one(
        world: &World,
        resource_type: i8,
        name: &'static str,
        keys: Option<&[&'static str]>,
    ) -> DescribeConfigsResult<'static> {
        let request =
            DescribeConfigsRequest { resources: vec![resource(resource_type, name, keys)], ..Default::default() };
        let response = ask!(world.query(4), DescribeConfigs, DescribeConfigsResponse, request);
        assert_eq!(response.results.len(), 1);
        response.results.into_iter().next().expect("one")
    }

    /// Name, value and source of each setting.
    fn shown(result: &DescribeConfigsResult<'_>) -> Vec<(String, String, i8)> {
        let settings = result.configs.iter();
        settings
            .map(|s| (s.name.to_string(), s.value.as_deref().unwrap_or("null").to_string(), s.config_source))
            .collect()
    }

    fn set(world: &mut World, broker: BrokerId, name: &str, value: &str) {
        let settings = [(name.to_string(), value.to_string())].into();
        let check = |name: &str, value: Option<&str>| validate_broker_dynamic(name, value, broker != BrokerId::ALL);
        world.controller.set_broker_settings(broker, settings, false, &check).expect("valid");
    }

    #[test]
    fn every_version_describes_a_topic() {
        let mut world = World::new(&[]);
        world.topic("t", 1, &[("cleanup.policy", "compact")]);
        for version in 1..=4 {
            for asked in [false, true] {
                let request = DescribeConfigsRequest {
                    resources: vec![resource(2, "t", Some(&["cleanup.policy", "no.such"]))],
                    include_synonyms: asked,
                    include_documentation: asked,
                };
                let response = ask!(world.query(version), DescribeConfigs, DescribeConfigsResponse, request);
                let [result] = &response.results[..] else { panic!("one resource") };
                assert_eq!((result.error_code, result.resource_type, &*result.resource_name), (0, 2, "t"));
                let expected = [("cleanup.policy".to_string(), "compact".to_string(), 1)];
                assert_eq!(shown(result), expected);
                let setting = &result.configs[0];
                let sources: Vec<i8> = setting.synonyms.iter().map(|synonym| synonym.source).collect();
                assert_eq!(sources, if asked { vec![1, 5] } else { vec![] });
                assert_eq!(setting.config_type, if version >= 3 { 7 } else { 0 });
                let documented = setting.documentation.as_ref().is_some_and(|text| text.contains("compact"));
                assert_eq!(documented, asked && version >= 3, "{version}");
                assert!(!setting.read_only && !setting.is_sensitive);
            }
        }
    }

    #[test]
    fn all_keys_are_none_or_null() {
        let mut world = World::new(&[]);
        world.topic("t", 1, &[]);
        let all = describe_one(&world, 2, "t", None);
        assert!(all.configs.len() > 30);
        assert_eq!(describe_one(&world, 2, "t", Some(&[])), all);
        assert!(all.configs.iter().all(|setting| setting.documentation.is_none()));
    }

    #[test]
    fn values_set_while_running_reach_brokers_and_topics() {
        let mut world = World::new(&[]);
        world.topic("t", 1, &[]);
        let key = Some(&["message.max.bytes"][..]);
        let row = |value: &str, source| [("message.max.bytes".to_string(), value.to_string(), source)];
        assert_eq!(shown(&describe_one(&world, 4, "1", key)), row("1048588", 5));
        assert!(describe_one(&world, 4, "", key).configs.is_empty());
        set(&mut world, BrokerId::ALL, "message.max.bytes", "5000");
        assert_eq!(shown(&describe_one(&world, 4, "1", key)), row("5000", 3));
        assert_eq!(shown(&describe_one(&world, 4, "", None)), row("5000", 3));
        set(&mut world, BrokerId(1), "message.max.bytes", "6000");
        assert_eq!(shown(&describe_one(&world, 4, "1", key)), row("6000", 2));
        let topic = describe_one(&world, 2, "t", Some(&["max.message.bytes"]));
        assert_eq!(shown(&topic), [("max.message.bytes".to_string(), "6000".to_string(), 2)]);
    }

    #[test]
    fn faults_are_told_apart() {
        let world = World::new(&[]);
        for (resource_type, name, error, message) in [
            (2, "no", 3, None),
            (2, "a/b", 17, Some("Topic name is invalid: 'a/b' contains one or more characters")),
            (4, "2", 42, Some("Unexpected broker id, expected 1 or empty string, but received 2")),
            (4, "x", 42, Some("Broker id must be an integer, but it is: x")),
            (8, "", 42, Some("Broker id must not be empty")),
            (8, "2", 42, Some("Unexpected broker id, expected 1, but received 2")),
            (8, "1", 0, None),
            (16, "", 42, Some("Client metrics subscription name must not be empty")),
            (16, "m", 0, None),
            (32, "", 42, Some("Group name must not be empty")),
            (1, "x", 42, Some("Unsupported resource type: 1")),
        ] {
            let result = describe_one(&world, resource_type, name, None);
            // Of subscriptions to client metrics that nobody has made there are the defaults.
            let configs = if (resource_type, error) == (16, 0) { 3 } else { 0 };
            assert_eq!((result.error_code, result.configs.len()), (error, configs), "{resource_type} {name}");
            let text = result.error_message.as_deref();
            assert_eq!(text.is_some(), message.is_some(), "{resource_type} {name}");
            assert!(text.unwrap_or("").starts_with(message.unwrap_or("")), "{text:?}");
            assert_eq!((result.resource_type, &*result.resource_name), (resource_type, name));
        }
    }

    #[test]
    fn a_group_has_settings_before_it_is_there() {
        let mut world = World::new(&[]);
        let name = "consumer.session.timeout.ms";
        let row = |value: &str, source| [(name.to_string(), value.to_string(), source)];
        assert_eq!(shown(&describe_one(&world, 32, "g", Some(&[name]))), row("45000", 5));
        let settings = [(name.to_string(), "50000".to_string())].into();
        world.controller.set_group_settings("g", settings, false, &validate_group).expect("valid");
        assert_eq!(shown(&describe_one(&world, 32, "g", Some(&[name]))), row("50000", 8));
        assert_eq!(shown(&describe_one(&world, 32, "h", Some(&[name]))), row("45000", 5));
        assert!(describe_one(&world, 32, "g", None).configs.len() > 15);
    }

    #[test]
    fn a_resource_is_answered_once() {
        let mut world = World::new(&[]);
        world.topic("t", 1, &[]);
        let request = DescribeConfigsRequest {
            resources: vec![resource(2, "t", None), resource(2, "u", None), resource(2, "t", None)],
            ..Default::default()
        };
        let response = ask!(world.query(1), DescribeConfigs, DescribeConfigsResponse, request);
        let names: Vec<_> = response.results.iter().map(|result| &*result.resource_name).collect();
        assert_eq!(names, ["t", "u"]);
    }
}
