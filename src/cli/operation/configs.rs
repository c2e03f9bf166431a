//! Settings of topics, brokers, groups and client metrics: described and altered.

use super::only;
use crate::cli::client::{Client, Link};
use crate::cli::failure::{Failure, Result};
use crate::config::NO_EFFECT;
use crate::wire::messages::describe_configs_request::DescribeConfigsResource;
use crate::wire::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use crate::wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use crate::wire::messages::{
    ApiKey, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
};

/// ListConfigResources since which kinds can be chosen; before, there were only client metrics.
const LIST_RESOURCES_BY_TYPE: i16 = 1;

/// What settings belong to; the number is Kafka's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(i8)]
pub enum Kind {
    Topic = 2,
    Broker = 4,
    BrokerLogger = 8,
    ClientMetrics = 16,
    Group = 32,
}

/// One thing that has settings; the empty name of a broker stands for the default of all brokers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Resource {
    pub kind: Kind,
    pub name: String,
}

/// Where a value comes from; the number is Kafka's, the order of `NAMES` too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Source(pub i8);

impl Source {
    pub const TOPIC: Source = Source(1);
    pub const BROKER: Source = Source(2);
    pub const BROKER_DEFAULT: Source = Source(3);
    pub const DEFAULT: Source = Source(5);
    pub const CLIENT_METRICS: Source = Source(7);
    pub const GROUP: Source = Source(8);
    const NAMES: [&'static str; 9] = [
        "UNKNOWN",
        "DYNAMIC_TOPIC_CONFIG",
        "DYNAMIC_BROKER_CONFIG",
        "DYNAMIC_DEFAULT_BROKER_CONFIG",
        "STATIC_BROKER_CONFIG",
        "DEFAULT_CONFIG",
        "DYNAMIC_BROKER_LOGGER_CONFIG",
        "DYNAMIC_CLIENT_METRICS_CONFIG",
        "DYNAMIC_GROUP_CONFIG",
    ];

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        usize::try_from(self.0).ok().and_then(|number| Self::NAMES.get(number)).unwrap_or(&Self::NAMES[0])
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synonym {
    pub name: String,
    pub value: Option<String>,
    pub source: Source,
}

/// A setting as the broker describes it. Sensitive ones have no value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub name: String,
    pub value: Option<String>,
    pub source: Source,
    pub is_read_only: bool,
    pub is_sensitive: bool,
    pub synonyms: Vec<Synonym>,
    pub documentation: Option<String>,
}

/// What to do with a setting; the number is Kafka's (KIP-339).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i8)]
pub enum Op {
    Set = 0,
    Delete = 1,
    Append = 2,
    Subtract = 3,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    pub name: String,
    pub op: Op,
    pub value: Option<String>,
}

impl Kind {
    /// Kafka's name of one such thing, in the singular.
    pub fn noun(self) -> &'static str {
        match self {
            Kind::Topic => "topic",
            Kind::Broker => "broker",
            Kind::BrokerLogger => "broker-logger",
            Kind::ClientMetrics => "client-metric",
            Kind::Group => "group",
        }
    }

    /// The source of values that were set for just this thing.
    pub fn dynamic_source(self) -> Option<Source> {
        match self {
            Kind::Topic => Some(Source::TOPIC),
            Kind::Broker => Some(Source::BROKER),
            Kind::BrokerLogger => None,
            Kind::ClientMetrics => Some(Source::CLIENT_METRICS),
            Kind::Group => Some(Source::GROUP),
        }
    }
}

impl Resource {
    pub fn topic(name: &str) -> Resource {
        Resource { kind: Kind::Topic, name: name.to_string() }
    }

    /// Whether it is the default of all brokers.
    pub fn is_default(&self) -> bool {
        self.kind == Kind::Broker && self.name.is_empty()
    }

    fn says(&self) -> String {
        match self.is_default() {
            true => "the brokers' default".to_string(),
            false => format!("{} {}", self.kind.noun(), self.name),
        }
    }
}

/// The connection that a resource must be asked for over: a broker's own settings are known to it alone.
fn link<'a>(client: &'a mut Client, resource: &Resource) -> Result<&'a mut Link> {
    let own = matches!(resource.kind, Kind::Broker | Kind::BrokerLogger) && !resource.is_default();
    match own.then(|| resource.name.parse()).and_then(|id| id.ok()) {
        Some(id) => client.broker(id),
        None => Ok(client.any()),
    }
}

/// Settings of a resource in the broker's order.
pub fn describe(client: &mut Client, resource: &Resource, documentation: bool) -> Result<Vec<Entry>> {
    let request = DescribeConfigsRequest {
        resources: vec![to_describe(resource)],
        include_synonyms: true,
        include_documentation: documentation,
    };
    let answer = link(client, resource)?.ask(&request)?;
    entries(only(&answer.results, &resource.says())?, resource)
}

/// Settings of several topics in one request, in the order of `names`.
pub fn describe_topics(client: &mut Client, names: &[&str]) -> Result<Vec<Vec<Entry>>> {
    let resources: Vec<Resource> = names.iter().map(|name| Resource::topic(name)).collect();
    let request =
        DescribeConfigsRequest { resources: resources.iter().map(to_describe).collect(), ..Default::default() };
    if resources.is_empty() {
        return Ok(Vec::new());
    }
    let answer = client.ask(&request)?;
    let found = |resource: &Resource| {
        let result = answer.results.iter().find(|result| *result.resource_name == *resource.name);
        entries(only(result, &resource.says())?, resource)
    };
    resources.iter().map(found).collect()
}

fn to_describe(resource: &Resource) -> DescribeConfigsResource<'static> {
    DescribeConfigsResource {
        resource_type: resource.kind as i8,
        resource_name: resource.name.clone().into(),
        configuration_keys: None,
    }
}

fn entries(result: &DescribeConfigsResult<'_>, resource: &Resource) -> Result<Vec<Entry>> {
    Failure::check(resource.says(), result.error_code, result.error_message.as_deref())?;
    Ok(result.configs.iter().map(entry).collect())
}

fn entry(config: &DescribeConfigsResourceResult<'_>) -> Entry {
    let owned = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(str::to_string);
    let synonyms = config.synonyms.iter().map(|synonym| Synonym {
        name: synonym.name.to_string(),
        value: owned(&synonym.value),
        source: Source(synonym.source),
    });
    Entry {
        name: config.name.to_string(),
        value: owned(&config.value),
        source: Source(config.config_source),
        is_read_only: config.read_only,
        is_sensitive: config.is_sensitive,
        synonyms: synonyms.collect(),
        documentation: owned(&config.documentation),
    }
}

/// The names of everything of a kind that has settings of its own (KIP-1142). None where the broker cannot say.
pub fn named(client: &mut Client, kind: Kind) -> Result<Vec<String>> {
    let link = client.any();
    let Ok(version) = link.version(ApiKey::ListConfigResources) else { return Ok(Vec::new()) };
    if version < LIST_RESOURCES_BY_TYPE && kind != Kind::ClientMetrics {
        return Ok(Vec::new());
    }
    let answer = link.ask_in(&ListConfigResourcesRequest { resource_types: vec![kind as i8] }, version)?;
    Failure::check("settings", answer.error_code, None)?;
    let own = answer.config_resources.iter().filter(|resource| resource.resource_type == kind as i8);
    Ok(own.map(|resource| resource.resource_name.to_string()).collect())
}

/// Whether the broker makes a topic that is asked for by its name; a broker that does not say so may.
pub fn makes_topics(client: &mut Client) -> bool {
    let Ok(Some(id)) = client.cluster(Some(&[])).map(|cluster| cluster.nodes.first().map(|node| node.id)) else {
        return true;
    };
    let entries = describe(client, &Resource { kind: Kind::Broker, name: id.to_string() }, false).unwrap_or_default();
    let setting = entries.iter().find(|entry| entry.name == "auto.create.topics.enable");
    setting.and_then(|entry| entry.value.as_deref()) != Some("false")
}

/// Of the settings that are `set`, with values, those that the broker says it keeps without doing anything about them; where that
/// is so of one value, with it.
pub fn without_effect(client: &mut Client, resource: &Resource, set: &[(&str, &str)]) -> Result<Vec<String>> {
    if set.is_empty() {
        return Ok(Vec::new());
    }
    let says_so = |entry: &Entry| {
        let (_, value) = set.iter().find(|(name, _)| *name == entry.name)?;
        let text = entry.documentation.as_deref().filter(|text| text.contains(NO_EFFECT))?;
        match text.split_once("Of its values, `") {
            None => Some(entry.name.clone()),
            Some((_, except)) => {
                let except = except.split('`').next().unwrap_or_default();
                value.split(',').any(|item| item.trim() == except).then(|| format!("{}={except}", entry.name))
            }
        }
    };
    Ok(describe(client, resource, true)?.iter().filter_map(says_so).collect())
}

pub fn alter(client: &mut Client, resource: &Resource, changes: &[Change], validate_only: bool) -> Result<()> {
    let config = |change: &Change| AlterableConfig {
        name: change.name.clone().into(),
        config_operation: change.op as i8,
        value: change.value.clone().map(Into::into),
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: resource.kind as i8,
            resource_name: resource.name.clone().into(),
            configs: changes.iter().map(config).collect(),
        }],
        validate_only,
    };
    let answer = link(client, resource)?.ask(&request)?;
    let result = only(&answer.responses, &resource.says())?;
    Failure::check(resource.says(), result.error_code, result.error_message.as_deref())
}
