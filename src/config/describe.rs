//! What DescribeConfigs answers. What is read here can be written back unchanged.

use super::alter::listener_setting;
use super::broker::{Config, Given, Source};
use super::definition::{Definition, Scope, broker_definition, definition, definitions};
use super::range::Type;
use super::topic::inherited;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

/// One setting of a resource.
#[derive(Clone, PartialEq, Debug)]
pub struct Described {
    /// The setting's name.
    pub name: Cow<'static, str>,
    /// `None` for passwords, for what is not known, and for settings without a value.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
    /// Whether it can be changed only at the start.
    pub read_only: bool,
    /// Whether nobody has given the value.
    pub is_default: bool,
    /// Whether the value is hidden.
    pub sensitive: bool,
    /// `None`: the tables do not have it.
    pub config_type: Option<Type>,
    /// What the setting does, for people.
    pub documentation: String,
    /// Everything that could give the value, strongest first.
    pub synonyms: Vec<Synonym>,
}

/// A value that a setting has, or would have without the stronger ones.
#[derive(Clone, PartialEq, Debug)]
pub struct Synonym {
    /// The name under which the value was given.
    pub name: Cow<'static, str>,
    /// The value; `None` if it is hidden.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
}

impl Source {
    /// Kafka's number in DescribeConfigs (KIP-226).
    pub fn number(self) -> i8 {
        self as i8
    }
}

impl Type {
    /// Kafka's number in DescribeConfigs (KIP-569).
    pub fn number(self) -> i8 {
        self as i8
    }
}

/// The names that a client wants to see; `None` for all.
pub type Names<'a> = Option<&'a HashSet<&'a str>>;

/// The settings of a topic with these values of its own: all of them, or those that `names` names.
pub fn describe_topic(overrides: &BTreeMap<String, String>, config: &Config, names: Names<'_>) -> Vec<Described> {
    let mut described = Vec::new();
    for definition in chosen(Scope::Topic, names) {
        let own = overrides.get(definition.name).map(|value| definition.canonical(value));
        if definition.hidden() && own.is_none() {
            continue;
        }
        let mut synonyms: Vec<Synonym> = Vec::new();
        if let Some(value) = &own {
            synonyms.push(synonym(definition.name, value.clone(), Source::Topic));
        }
        definition.broker.iter().for_each(|(broker, _)| synonyms.extend(broker_synonyms(broker, config)));
        let (value, source) = match own {
            Some(value) => (Some(value), Source::Topic),
            None => match inherited(definition, config) {
                Some((value, source)) => (Some(definition.canonical(&value)), source),
                None => (None, Source::Default),
            },
        };
        described.push(entry(definition, value, source, false, synonyms));
    }
    described
}

/// The settings of a consumer group with these values of its own: all of them, or those that `names` names.
pub fn describe_group(overrides: &BTreeMap<String, String>, config: &Config, names: Names<'_>) -> Vec<Described> {
    let mut described = Vec::new();
    for definition in chosen(Scope::Group, names) {
        let inherited = inherited(definition, config);
        let own = overrides.get(definition.name).map(|value| (definition.canonical(value), Source::Group));
        if definition.hidden() && own.is_none() {
            continue;
        }
        let mut synonyms: Vec<Synonym> = Vec::new();
        if let Some((value, source)) = &own {
            synonyms.push(synonym(definition.name, value.clone(), *source));
        }
        match (&definition.broker[..], &inherited) {
            ([], Some((value, source))) => synonyms.push(synonym(definition.name, value.clone(), *source)),
            (broker, _) => broker.iter().for_each(|(name, _)| synonyms.extend(broker_synonyms(name, config))),
        }
        let (value, source) = match own.or(inherited) {
            Some((value, source)) => (Some(value), source),
            None => (None, Source::Default),
        };
        described.push(entry(definition, value, source, false, synonyms));
    }
    described
}

/// The settings of a subscription to client metrics that nobody has changed: all of them, or those that `names` names.
pub fn describe_client_metrics(names: Names<'_>) -> Vec<Described> {
    let default = |definition: &'static Definition| {
        entry(definition, definition.default.map(str::to_string), Source::Default, false, Vec::new())
    };
    chosen(Scope::ClientMetrics, names).map(default).collect()
}

/// The settings of this broker, those that were set while it runs included: all of them, or those that `names` names.
pub fn describe_broker(config: &Config, names: Names<'_>) -> Vec<Described> {
    let mut described = Vec::new();
    for definition in chosen(Scope::Broker, names) {
        if definition.hidden() && config.given(definition.name).is_empty() {
            continue;
        }
        let (value, source) = match config.get(definition.name) {
            Some((value, source)) => (Some(definition.canonical(value)), source),
            None => (None, Source::Default),
        };
        let synonyms = definition.synonyms.iter().flat_map(|name| broker_synonyms(name, config)).collect();
        described.push(entry(definition, value, source, definition.read_only(), synonyms));
    }
    for (name, given) in &config.others {
        if let (true, [strongest, ..]) = (is_chosen(name, names), &given[..]) {
            described.push(other(name, strongest, other_synonyms(name, config)));
        }
    }
    described
}

/// The values that were set while running as defaults for all brokers: Kafka's broker resource with an empty name.
pub fn describe_broker_default(config: &Config, names: Names<'_>) -> Vec<Described> {
    let default = |given: &&Given| given.source == Source::DynamicDefaultBroker;
    let mut described = Vec::new();
    for definition in chosen(Scope::Broker, names) {
        if let Some(given) = config.given(definition.name).iter().find(default) {
            let value = definition.canonical(&given.value);
            let synonyms = vec![Synonym {
                value: (!definition.sensitive()).then(|| value.clone()),
                ..synonym(definition.name, String::new(), given.source)
            }];
            described.push(entry(definition, Some(value), given.source, definition.read_only(), synonyms));
        }
    }
    for (name, given) in config.others.iter().filter(|(name, _)| is_chosen(name, names)) {
        if let Some(given) = given.iter().find(default) {
            described.push(other(name, given, vec![other_synonym(name, given)]));
        }
    }
    described
}

/// What a name that the tables do not have stands for: the setting of one listener, or nothing that is known.
fn base(name: &str) -> Option<&'static Definition> {
    definition(Scope::Broker, listener_setting(name)?)
}

/// A setting under a name that the tables do not have. What is not known may be a password.
fn other(name: &str, given: &Given, synonyms: Vec<Synonym>) -> Described {
    let base = base(name);
    let sensitive = base.is_none_or(Definition::sensitive);
    Described {
        name: name.to_string().into(),
        value: (!sensitive).then(|| given.value.clone()),
        source: given.source,
        read_only: true,
        is_default: false,
        sensitive,
        config_type: base.map(|base| base.value_type),
        documentation: base.map_or_else(String::new, Definition::documentation),
        synonyms,
    }
}

fn other_synonym(name: &str, given: &Given) -> Synonym {
    let shown = base(name).is_some_and(|base| !base.sensitive());
    let value = shown.then(|| given.value.clone());
    Synonym { name: name.to_string().into(), value, source: given.source }
}

/// Everything that could give a setting of a listener, or one that is not known, its value.
fn other_synonyms(name: &str, config: &Config) -> Vec<Synonym> {
    let given = |name: &str| config.others.get(name).map_or(&[][..], Vec::as_slice).iter();
    let mut synonyms: Vec<Synonym> = given(name).map(|given| other_synonym(name, given)).collect();
    match (base(name), listener_setting(name)) {
        (Some(base), _) => synonyms.extend(broker_synonyms(base.name, config)),
        (None, Some(setting)) => synonyms.extend(given(setting).map(|given| other_synonym(setting, given))),
        (None, None) => {}
    }
    synonyms
}

/// The settings of a scope that a client wants to see, in the order of the tables.
fn chosen<'a>(scope: Scope, names: Names<'a>) -> impl Iterator<Item = &'static Definition> + 'a {
    definitions(scope).filter(move |definition| is_chosen(definition.name, names))
}

fn is_chosen(name: &str, names: Names<'_>) -> bool {
    names.is_none_or(|names| names.contains(name))
}

fn synonym(name: &'static str, value: String, source: Source) -> Synonym {
    Synonym { name: name.into(), value: Some(value), source }
}

/// Everything that was given for a broker setting, and its default, strongest first.
fn broker_synonyms(name: &str, config: &Config) -> Vec<Synonym> {
    let definition = broker_definition(name);
    let given = config.given(name).iter().map(|given| (given.value.as_str(), given.source));
    let default = definition.default.map(|default| (default, Source::Default));
    let synonym = |(value, source): (&str, Source)| Synonym {
        name: definition.name.into(),
        value: (!definition.sensitive()).then(|| value.to_string()),
        source,
    };
    given.chain(default).map(synonym).collect()
}

fn entry(
    definition: &Definition,
    value: Option<String>,
    source: Source,
    read_only: bool,
    synonyms: Vec<Synonym>,
) -> Described {
    let sensitive = definition.sensitive();
    Described {
        name: definition.name.into(),
        value: value.filter(|_| !sensitive),
        source,
        read_only,
        is_default: source == Source::Default,
        sensitive,
        config_type: Some(definition.value_type),
        documentation: definition.documentation(),
        synonyms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixture::{config, map};
    use crate::config::{validate_broker_dynamic, validate_group_all, validate_topic_all};

    fn synonyms(described: &Described) -> Vec<(&str, &str, i8)> {
        let mut shown = Vec::new();
        for Synonym { name, value, source } in &described.synonyms {
            shown.push((&**name, value.as_deref().unwrap_or(""), source.number()));
        }
        shown
    }

    #[test]
    fn a_topic_setting_comes_with_its_sources() {
        let config = config(&[("log.retention.hours", "24"), ("log.segment.bytes", "2000000")]);
        let own = map(&[("segment.bytes", "3000000")]);
        let all = describe_topic(&own, &config, None);
        let find = |name: &str| all.iter().find(|described| described.name == name).expect(name);
        let retention = find("retention.ms");
        assert_eq!((retention.value.as_deref(), retention.source), (Some("86400000"), Source::StaticBroker));
        assert_eq!(synonyms(retention), [("log.retention.hours", "24", 4), ("log.retention.hours", "168", 5)]);
        assert!(!retention.is_default && !retention.read_only && !retention.sensitive);
        let segment = find("segment.bytes");
        assert_eq!(segment.value.as_deref(), Some("3000000"));
        assert_eq!(
            synonyms(segment),
            [
                ("segment.bytes", "3000000", 1),
                ("log.segment.bytes", "2000000", 4),
                ("log.segment.bytes", "1073741824", 5)
            ]
        );
        let policy = find("cleanup.policy");
        assert_eq!((policy.value.as_deref(), policy.config_type), (Some("delete"), Some(Type::List)));
        assert!(policy.is_default && policy.documentation.contains("compact"));
        assert!(all.iter().all(|described| !described.name.starts_with("internal.")));
        assert!(all.iter().all(|described| described.name != "message.format.version"));
        assert_eq!(describe_topic(&map(&[("message.format.version", "2.8")]), &config, None).len(), all.len() + 1);
    }

    #[test]
    fn names_choose() {
        let config = Config::default();
        let some =
            describe_topic(&BTreeMap::new(), &config, Some(&["retention.ms", "no.such", "cleanup.policy"].into()));
        let names: Vec<_> = some.iter().map(|described| &*described.name).collect();
        assert_eq!(names, ["cleanup.policy", "retention.ms"]);
        assert!(describe_broker(&config, Some(&HashSet::new())).is_empty());
    }

    #[test]
    fn values_are_shown_as_they_are_read() {
        let own = [
            ("retention.ms", " 5000 "),
            ("cleanup.policy", " compact , delete"),
            ("compression.type", " gzip "),
            ("preallocate", " TRUE "),
            ("min.cleanable.dirty.ratio", ".50"),
            ("internal.segment.bytes", "1048577"),
        ];
        let config = Config::default();
        for (name, expected) in [
            ("retention.ms", "5000"),
            ("cleanup.policy", "compact,delete"),
            ("compression.type", "gzip"),
            ("preallocate", "true"),
            ("min.cleanable.dirty.ratio", "0.5"),
            ("internal.segment.bytes", "1048577"),
        ] {
            let shown = describe_topic(&map(&own), &config, Some(&[name].into()));
            let synonym = Synonym { name: name.into(), value: Some(expected.into()), source: Source::Topic };
            assert_eq!((shown[0].value.as_deref(), &shown[0].synonyms[0]), (Some(expected), &synonym));
        }
        let (config, _) = config.with_dynamic(&map(&[("message.max.bytes", " 5000 ")]), &map(&[]));
        let shown = &describe_broker(&config, Some(&["message.max.bytes"].into()))[0];
        // Kafka shows the value as it is read, and among the synonyms as it was set.
        assert_eq!(shown.value.as_deref(), Some("5000"));
        assert_eq!(synonyms(shown)[0], ("message.max.bytes", " 5000 ", 2));
    }

    #[test]
    fn what_no_table_knows_is_shown_without_its_value() {
        let own = [
            ("no.such", "secret"),
            ("listener.name.x.no.such", "secret"),
            ("listener.name.x.ssl.key.password", "secret"),
            ("listener.name.x.max.connections", "7"),
        ];
        let all = [("no.such", "secret"), ("listener.name.x.max.connections", "8")];
        let (config, left_out) = Config::default().with_dynamic(&map(&own), &map(&all));
        assert!(left_out.is_empty(), "{left_out:?}");
        let described = describe_broker(&config, None);
        let find = |name: &str| described.iter().find(|described| described.name == name).expect(name);
        for (name, value, config_type, expected) in [
            ("no.such", None, None, &[("no.such", "", 2), ("no.such", "", 3)][..]),
            (
                "listener.name.x.no.such",
                None,
                None,
                &[("listener.name.x.no.such", "", 2), ("no.such", "", 2), ("no.such", "", 3)],
            ),
            (
                "listener.name.x.ssl.key.password",
                None,
                Some(Type::Password),
                &[("listener.name.x.ssl.key.password", "", 2)],
            ),
            (
                "listener.name.x.max.connections",
                Some("7"),
                Some(Type::Int),
                &[
                    ("listener.name.x.max.connections", "7", 2),
                    ("listener.name.x.max.connections", "8", 3),
                    ("max.connections", "2147483647", 5),
                ],
            ),
        ] {
            let shown = find(name);
            assert_eq!((shown.value.as_deref(), shown.config_type), (value, config_type), "{name}");
            assert_eq!((shown.sensitive, shown.read_only, shown.source.number()), (value.is_none(), true, 2));
            assert_eq!(synonyms(shown), expected);
        }
        let names: Vec<_> = describe_broker_default(&config, None).into_iter().map(|shown| shown.name).collect();
        assert_eq!(names, ["listener.name.x.max.connections", "no.such"]);
        assert_eq!(describe_broker(&config, Some(&["no.such"].into())).len(), 1);
    }

    #[test]
    fn what_is_read_of_a_topic_can_be_written_back() {
        let config = config(&[("log.retention.hours", "24"), ("log.cleanup.policy", "compact")]);
        let read = describe_topic(&map(&[("message.downconversion.enable", "false")]), &config, None);
        let written: BTreeMap<String, String> =
            read.iter().filter_map(|described| Some((described.name.to_string(), described.value.clone()?))).collect();
        assert!(written.len() > 37, "{}", written.len());
        assert_eq!(validate_topic_all(&written, &config), Ok(()));
    }

    #[test]
    fn a_group_setting_comes_with_its_sources() {
        let config = config(&[("group.consumer.session.timeout.ms", "50000")]);
        let own = map(&[("consumer.session.timeout.ms", "55000"), ("share.isolation.level", "read_committed")]);
        let (all, none) = (describe_group(&own, &config, None), describe_group(&map(&[]), &config, None));
        assert_eq!((all.len(), none.len()), (21, 21));
        let find = |all: &[Described], name: &str| all.iter().find(|d| d.name == name).expect(name).clone();
        let session = find(&all, "consumer.session.timeout.ms");
        assert_eq!((session.value.as_deref(), session.source.number()), (Some("55000"), 8));
        let broker = "group.consumer.session.timeout.ms";
        let inherited = [(broker, "50000", 4), (broker, "45000", 5)];
        assert_eq!(synonyms(&session), [&[("consumer.session.timeout.ms", "55000", 8)][..], &inherited].concat());
        let session = find(&none, "consumer.session.timeout.ms");
        assert_eq!((session.value.as_deref(), session.source.number()), (Some("50000"), 4));
        assert_eq!(synonyms(&session), inherited);
        assert_eq!(find(&none, "streams.assignor.name").value.as_deref(), Some("sticky"));
        let level = "share.isolation.level";
        assert_eq!(synonyms(&find(&none, level)), [(level, "read_uncommitted", 5)]);
        assert_eq!(synonyms(&find(&all, level)), [(level, "read_committed", 8), (level, "read_uncommitted", 5)]);
        assert!(session.documentation.contains("heartbeat") && !session.read_only);
        assert!(all.iter().all(|described| described.documentation.contains("no effect")));
        assert_eq!(describe_group(&own, &config, Some(&[level, "no.such"].into())).len(), 1);
    }

    #[test]
    fn what_is_read_of_a_group_can_be_written_back() {
        let config = Config::default();
        let read = describe_group(&map(&[("consumer.session.timeout.ms", "55000")]), &config, None);
        let written: BTreeMap<String, String> =
            read.iter().filter_map(|described| Some((described.name.to_string(), described.value.clone()?))).collect();
        assert_eq!(written.len(), 21);
        assert_eq!(validate_group_all(&written, &config), Ok(()));
    }

    #[test]
    fn what_is_read_of_a_broker_can_be_written_back() {
        let config = Config::default();
        let mut count = 0;
        for described in describe_broker(&config, None).into_iter().filter(|described| !described.read_only) {
            if let Some(value) = &described.value {
                let outcome = validate_broker_dynamic(&described.name, Some(value), true);
                let per_listener = outcome.as_ref().is_err_and(|why| why.contains("listener prefix"));
                assert!(outcome.is_ok() || per_listener, "{}: {outcome:?}", described.name);
                count += usize::from(outcome.is_ok());
            }
        }
        assert!(count > 50, "{count}");
    }

    #[test]
    fn broker_settings_come_with_their_sources() {
        let config = config(&[("max.connections", "10"), ("ssl.key.password", "secret"), ("zookeeper.connect", "z")]);
        let (config, _) = config.with_dynamic(&map(&[("max.connections", "30")]), &map(&[("max.connections", "20")]));
        let all = describe_broker(&config, None);
        let find = |name: &str| all.iter().find(|described| described.name == name);
        let connections = find("max.connections").expect("there");
        assert_eq!((connections.value.as_deref(), connections.source.number()), (Some("30"), 2));
        assert_eq!(connections.synonyms.iter().map(|s| s.source.number()).collect::<Vec<_>>(), [2, 3, 4, 5]);
        let password = find("ssl.key.password").expect("there");
        assert!(password.sensitive && password.value.is_none() && password.config_type == Some(Type::Password));
        assert!(password.synonyms.iter().all(|synonym| synonym.value.is_none()));
        assert!(find("node.id").expect("there").read_only);
        for shown in ["auto.create.topics.enable", "delete.topic.enable", "zookeeper.connect", "ack.durability"] {
            assert!(find(shown).is_some(), "{shown}");
        }
        assert!(find("unstable.api.versions.enable").is_none() && find("zookeeper.set.acl").is_none());
        let defaults = describe_broker_default(&config, None);
        assert_eq!(defaults.len(), 1);
        assert_eq!((defaults[0].value.as_deref(), defaults[0].source.number()), (Some("20"), 3));
    }
}
