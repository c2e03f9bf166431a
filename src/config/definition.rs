//! The tables of settings, parsed once.

use super::range::{Range, Type};
use std::collections::HashMap;
use std::sync::OnceLock;

/// What a setting is a setting of. A name may occur in several scopes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// Of the broker.
    Broker,
    /// Of one topic.
    Topic,
    /// Of one consumer group.
    Group,
    /// Of one subscription to clients' metrics (KIP-714).
    ClientMetrics,
}

/// How much a user should care, in Kafka's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Importance {
    /// Nearly everybody should look at it.
    High,
    /// Some should.
    Medium,
    /// Few need it.
    Low,
}

/// How a setting may be changed while the broker runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Only at the start.
    ReadOnly,
    /// For one broker only.
    PerBroker,
    /// As a default for all brokers, or for one.
    ClusterWide,
    /// At its own resource: a topic, a group, a metrics subscription.
    Dynamic,
}

/// What this build makes of a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The broker does what the setting says.
    Obeyed,
    /// The setting is accepted and changes nothing.
    None,
    /// Any other value than the default is refused.
    Refused(Refusal),
}

/// In the documentation of settings that nothing depends on.
pub const NO_EFFECT: &str = "has no effect in this broker";

/// Why a setting's promise cannot be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It names a Java class.
    Plugin,
    /// It needs authentication or encryption.
    Security,
    /// It needs tiered storage.
    Tiered,
}

impl Refusal {
    /// The reason and what to do, as one sentence.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::Plugin => "Java classes cannot run in this broker; leave the setting out",
            Refusal::Security => {
                "this build has no authentication, encryption or authorization; leave the setting out and serve \
                 trusted networks only"
            }
            Refusal::Tiered => {
                "Tiered Storage functionality is disabled in the broker: this build keeps all data on its own drives; \
                 leave the setting out"
            }
        }
    }
}

/// One setting, as its table has it.
#[derive(Debug)]
pub struct Definition {
    /// What the setting is a setting of.
    pub scope: Scope,
    /// Kafka's name, or ours in `klamm.txt`.
    pub name: &'static str,
    /// The type of its value.
    pub value_type: Type,
    /// The value that it has if nobody gives one; `None`: it has none.
    pub default: Option<&'static str>,
    pub(super) range: Range,
    /// The range as the table writes it: for messages.
    pub range_text: &'static str,
    /// How much a user should care.
    pub importance: Importance,
    /// How it may be changed while the broker runs.
    pub mode: Mode,
    /// What this build makes of it.
    pub effect: Effect,
    /// A value, or an item of a list, that changes nothing though the setting is obeyed.
    pub except: Option<&'static str>,
    /// Hidden from users.
    pub internal: bool,
    /// Known from older Kafka: shown only where it is given.
    pub legacy: bool,
    /// The topic setting whose default this broker setting is.
    pub topic: Option<&'static str>,
    /// The group setting whose default this broker setting is.
    pub group: Option<&'static str>,
    /// The broker settings that give a topic or group setting its default, strongest first, and what multiplies each.
    pub broker: Vec<(&'static str, i64)>,
    /// Broker settings of one value, strongest first; this one alone when it has no others.
    pub synonyms: Vec<&'static str>,
    /// Broker settings between which a group setting's value lies.
    pub bounds: (Option<&'static str>, Option<&'static str>),
    doc: &'static str,
}

impl Definition {
    /// Passwords never leave the broker.
    pub fn sensitive(&self) -> bool {
        self.value_type == Type::Password
    }

    /// Whether it is shown only where it is given.
    pub(super) fn hidden(&self) -> bool {
        self.internal || self.legacy
    }

    /// What DescribeConfigs says about the setting.
    pub fn documentation(&self) -> String {
        let mut text = self.meaning();
        match self.effect {
            Effect::Obeyed => {
                let of_value = |value| format!(" Of its values, `{value}` is accepted, and {NO_EFFECT}.");
                text.push_str(&self.except.map_or_else(String::new, of_value));
            }
            Effect::None => text.push_str(&format!(" It is accepted, and {NO_EFFECT}.")),
            Effect::Refused(refusal) => {
                text.push_str(" Other values than the default are refused: ");
                text.push_str(refusal.reason());
                text.push('.');
            }
        }
        text
    }

    fn meaning(&self) -> String {
        if !self.doc.is_empty() {
            return self.doc.to_string();
        }
        let default_of =
            |kind, name, doc| format!("Default of the {kind} setting `{name}`. {doc}").trim_end().to_string();
        if let Some(topic) = self.topic {
            return default_of("topic", topic, definition(Scope::Topic, topic).map_or("", |topic| topic.doc));
        }
        if let Some(group) = self.group {
            return default_of("group", group, "");
        }
        match self.broker.first().map(|(name, _)| broker_definition(name).doc) {
            Some(doc) if !doc.is_empty() => doc.to_string(),
            _ => "Kafka's setting of this name.".to_string(),
        }
    }
}

struct Tables {
    all: Vec<Definition>,
    by_name: HashMap<(Scope, &'static str), usize>,
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let mut all = parse_table(include_str!("kafka.txt"));
        all.extend(parse_table(include_str!("klamm.txt")));
        let mut by_name = HashMap::with_capacity(all.len());
        for (i, definition) in all.iter().enumerate() {
            let earlier = by_name.insert((definition.scope, definition.name), i);
            assert!(earlier.is_none(), "{} is defined twice", definition.name);
        }
        Tables { all, by_name }
    })
}

/// The setting of that name, if there is one. Names are case-sensitive.
pub fn definition(scope: Scope, name: &str) -> Option<&'static Definition> {
    let tables = tables();
    // The map's keys live for ever, so a shorter-lived name can only be looked up through a covariant borrow of the map.
    let by_name: &HashMap<(Scope, &str), usize> = &tables.by_name;
    by_name.get(&(scope, name)).map(|&i| &tables.all[i])
}

/// All settings of a scope, in the order of the tables.
pub fn definitions(scope: Scope) -> impl Iterator<Item = &'static Definition> {
    tables().all.iter().filter(move |definition| definition.scope == scope)
}

/// The broker setting that the broker's own code names: it must exist.
pub(super) fn broker_definition(name: &str) -> &'static Definition {
    definition(Scope::Broker, name).unwrap_or_else(|| panic!("{name} is not in the tables"))
}

/// Reads a table. It is part of the binary, so a mistake in it is ours and ends the process.
fn parse_table(text: &'static str) -> Vec<Definition> {
    let mut all: Vec<Definition> = Vec::new();
    let mut scope = None;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            scope = Some(match section {
                "broker" | "broker-dynamic-only" => Scope::Broker,
                "topic" => Scope::Topic,
                "group" => Scope::Group,
                "client-metrics" => Scope::ClientMetrics,
                _ => panic!("unknown section {section}"),
            });
        } else if line.starts_with(' ') {
            all.last_mut().expect("a documentation line follows its setting").doc = line.trim();
        } else {
            all.push(parse_definition(scope.expect("a section comes first"), line));
        }
    }
    all
}

fn parse_definition(scope: Scope, line: &'static str) -> Definition {
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_else(|| panic!("column missing: {line}"));
    let name = word();
    let value_type = match word() {
        "boolean" => Type::Boolean,
        "string" => Type::String,
        "int" => Type::Int,
        "short" => Type::Short,
        "long" => Type::Long,
        "double" => Type::Double,
        "list" => Type::List,
        "class" => Type::Class,
        "password" => Type::Password,
        other => panic!("unknown type {other}"),
    };
    let default = match word() {
        "null" => None,
        "\"\"" => Some(""),
        default => Some(default),
    };
    let range_text = word();
    let mut definition = Definition {
        scope,
        name,
        value_type,
        default,
        range: Range::parse(value_type, range_text),
        range_text,
        importance: match word() {
            "high" => Importance::High,
            "medium" => Importance::Medium,
            "low" => Importance::Low,
            other => panic!("unknown importance {other}"),
        },
        mode: match word() {
            "read-only" => Mode::ReadOnly,
            "per-broker" => Mode::PerBroker,
            "cluster-wide" => Mode::ClusterWide,
            "dynamic" => Mode::Dynamic,
            other => panic!("unknown mode {other}"),
        },
        effect: match word() {
            "obeyed" => Effect::Obeyed,
            "none" => Effect::None,
            "refused:plugin" => Effect::Refused(Refusal::Plugin),
            "refused:security" => Effect::Refused(Refusal::Security),
            "refused:tiered" => Effect::Refused(Refusal::Tiered),
            other => panic!("unknown effect {other}"),
        },
        except: None,
        internal: false,
        legacy: false,
        topic: None,
        group: None,
        broker: Vec::new(),
        synonyms: vec![name],
        bounds: (None, None),
        doc: "",
    };
    for attribute in words {
        parse_attribute(&mut definition, attribute);
    }
    definition
}

fn parse_attribute(definition: &mut Definition, attribute: &'static str) {
    let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
    match key {
        "except" => definition.except = Some(value),
        "internal" => definition.internal = true,
        "legacy" => definition.legacy = true,
        "topic" => definition.topic = Some(value),
        "group" => definition.group = Some(value),
        "synonyms" => definition.synonyms = value.split('>').collect(),
        "broker" => {
            definition.broker = value
                .split('>')
                .map(|synonym| match synonym.split_once('*') {
                    Some((name, factor)) => (name, factor.parse().expect("a factor is a number")),
                    None => (synonym, 1),
                })
                .collect();
        }
        "bounds" => {
            let (low, high) = value.split_once("..").expect("bounds are two names");
            let name = |name: &'static str| (!name.is_empty()).then_some(name);
            definition.bounds = (name(low), name(high));
        }
        // Which settings may be given for one listener follows from the names: see `load`.
        "prefix" => {}
        other => panic!("unknown attribute {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPES: [Scope; 4] = [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics];

    #[test]
    fn tables_are_whole() {
        let count = |scope| definitions(scope).count();
        assert!(count(Scope::Broker) > 300, "{}", count(Scope::Broker));
        assert_eq!(count(Scope::Topic), 38 + 2 + 2, "Kafka's, two of older Kafka, and ours");
        assert_eq!(count(Scope::Group), 27);
        assert_eq!(count(Scope::ClientMetrics), 3);
    }

    #[test]
    fn defaults_satisfy_their_own_range() {
        for definition in SCOPES.into_iter().flat_map(definitions) {
            if let Some(default) = definition.default {
                assert_eq!(definition.check(default), Ok(()), "{}", definition.name);
            }
        }
    }

    #[test]
    fn every_topic_setting_and_every_obeyed_one_has_words_of_its_own() {
        for topic in definitions(Scope::Topic) {
            assert!(topic.doc.len() > 20 && topic.doc.ends_with('.'), "{}", topic.name);
        }
        for definition in SCOPES.into_iter().flat_map(definitions).filter(|d| d.effect == Effect::Obeyed) {
            let doc = definition.documentation();
            assert_eq!(doc.contains("no effect"), definition.except.is_some(), "{}: {doc}", definition.name);
            assert!(doc.ends_with('.'), "{}: {doc}", definition.name);
        }
    }

    #[test]
    fn references_between_settings_resolve() {
        for definition in definitions(Scope::Broker) {
            if let Some(topic) = definition.topic {
                let topic = super::definition(Scope::Topic, topic).expect("topic setting");
                assert!(topic.broker.iter().any(|&(name, _)| name == definition.name), "{}", definition.name);
            }
            if let Some(group) = definition.group {
                assert!(super::definition(Scope::Group, group).is_some(), "{}", definition.name);
            }
            assert!(definition.synonyms.contains(&definition.name), "{}", definition.name);
            for name in &definition.synonyms {
                assert_eq!(broker_definition(name).synonyms, definition.synonyms, "{name}");
            }
        }
        for topic in definitions(Scope::Topic).chain(definitions(Scope::Group)) {
            for (name, _) in &topic.broker {
                let broker = broker_definition(name);
                assert!(broker.topic == Some(topic.name) || broker.group == Some(topic.name), "{name}");
            }
        }
        for group in definitions(Scope::Group) {
            [group.bounds.0, group.bounds.1].into_iter().flatten().for_each(|name| {
                broker_definition(name);
            });
        }
    }

    #[test]
    fn a_topic_default_is_the_default_of_its_broker_settings() {
        for topic in definitions(Scope::Topic).filter(|topic| !topic.broker.is_empty()) {
            let set = topic.broker.iter().find_map(|&(name, factor)| Some((broker_definition(name).default?, factor)));
            let (value, factor) = set.expect("one of them has a default");
            let value = if factor == 1 { value.into() } else { (value.parse::<i64>().unwrap() * factor).to_string() };
            assert_eq!(Some(value.as_str()), topic.default, "{}", topic.name);
        }
    }
}
