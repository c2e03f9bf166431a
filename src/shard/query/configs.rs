//! DescribeConfigs (API 32): settings of topics and of this broker, with where they come from.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{config_effective, reply};
use crate::config::{Config, Described, Synonym, describe_broker, describe_broker_default, describe_topic};
use crate::metadata::{Image, check_name};
use crate::shard::node::Node;
use crate::types::BrokerId;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::DescribeConfigsRequest;
use crate::wire::messages::describe_configs_request::DescribeConfigsResource;
use crate::wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

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

    /// What the client is told, with INVALID_REQUEST, about a resource that this broker does not have.
    pub fn unsupported(self) -> String {
        let name = match self {
            Resource::Topic => "TOPIC",
            Resource::Broker => "BROKER",
            Resource::BrokerLogger => "BROKER_LOGGER",
            Resource::ClientMetrics => "CLIENT_METRICS",
            Resource::Group => "GROUP",
        };
        format!("Unsupported resource type: {name}")
    }
}

type Refusal = (ErrorCode, Option<String>);

fn invalid(message: impl Into<String>) -> Refusal {
    (ErrorCode::InvalidRequest, Some(message.into()))
}

pub fn answer(node: &Node, image: &Image, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    let request = DescribeConfigsRequest::decode(&mut Reader::new(body), head.version)?;
    let config = config_effective(node, image);
    // Each resource once: the answer's size is bounded by what there is, not by how often it is asked for.
    let mut seen = BTreeSet::new();
    let results = request
        .resources
        .iter()
        .filter(|resource| seen.insert((resource.resource_type, &resource.resource_name)))
        .map(|resource| {
            let (refusal, settings) = match describe(node, image, &config, resource) {
                Ok(settings) => ((ErrorCode::None, None), settings),
                Err(refusal) => (refusal, Vec::new()),
            };
            let show = |setting| result(setting, request.include_synonyms, request.include_documentation);
            DescribeConfigsResult {
                error_code: refusal.0.code(),
                error_message: refusal.1.map(Into::into),
                resource_type: resource.resource_type,
                resource_name: (&*resource.resource_name).into(),
                configs: settings.into_iter().map(show).collect(),
            }
        })
        .collect();
    let response = DescribeConfigsResponse {
        results,
        ..Default::default()
    };
    Ok(reply(head, |w| response.encode(w, head.version)))
}

fn describe(
    node: &Node,
    image: &Image,
    config: &Config,
    resource: &DescribeConfigsResource<'_>,
) -> Result<Vec<Described>, Refusal> {
    let name = &*resource.resource_name;
    let keys: Option<Vec<&str>> = match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => Some(keys.iter().map(|key| &**key).collect()),
        _ => None,
    };
    let keys = keys.as_deref();
    match Resource::from_number(resource.resource_type).map_err(invalid)? {
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
        Resource::ClientMetrics => Ok(Vec::new()),
        Resource::Group => Err(invalid(Resource::Group.unsupported())),
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
        name: synonym.name.into(),
        value: synonym.value.map(Into::into),
        source: synonym.source.number(),
    };
    DescribeConfigsResourceResult {
        name: setting.name.into(),
        value: setting.value.map(Into::into),
        read_only: setting.read_only,
        config_source: setting.source.number(),
        is_sensitive: setting.sensitive,
        synonyms: match synonyms {
            true => setting.synonyms.into_iter().map(synonym).collect(),
            false => Vec::new(),
        },
        config_type: setting.config_type.number(),
        documentation: documentation.then(|| setting.documentation.into()),
    }
}
