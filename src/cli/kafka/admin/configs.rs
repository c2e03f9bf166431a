//! `kafka-configs`.

use super::arguments::{Given, Spec, flag, refused, value};
use super::java::{CAPACITY, hash_order, hash_text};
use super::{End, Tool, connect, exception, properties, say};
use crate::cli::client::Client;
use crate::cli::failure::{Failure, Result};
use crate::cli::operation::configs::{self, Change, Entry, Kind, Op, Resource, Source};
use crate::cli::operation::groups;
use crate::cli::output::print;

const NO_QUOTAS: &str = "there are no quotas and no credentials of users";
const SPECS: [Spec; 25] = [
    value("bootstrap-server", "The brokers to connect to."),
    refused("bootstrap-controller", "every broker is its own controller; --bootstrap-server reaches it"),
    value("command-config", "A file of settings of the client."),
    flag("alter", "Alter settings."),
    flag("describe", "Describe settings."),
    flag("all", "Describe defaults too."),
    value("entity-type", "Whose settings: topics, brokers, groups, client-metrics."),
    value("entity-name", "The topic, the broker's id, the group, the subscription."),
    flag("entity-default", "The default of all brokers."),
    value("add-config", "Settings to set: k1=v1,k2=[v1,v2],k3=v3"),
    value("add-config-file", "A file of settings to set."),
    value("delete-config", "Settings to give back to their defaults: k1,k2"),
    value("topic", "A topic."),
    value("broker", "A broker's id."),
    flag("broker-defaults", "The default of all brokers."),
    value("broker-logger", "A broker's id, for what it logs."),
    value("group", "A group."),
    value("client-metrics", "A subscription to clients' metrics."),
    refused("client", NO_QUOTAS),
    refused("client-defaults", NO_QUOTAS),
    refused("user", NO_QUOTAS),
    refused("user-defaults", NO_QUOTAS),
    refused("ip", NO_QUOTAS),
    refused("ip-defaults", NO_QUOTAS),
    refused("zookeeper", "there is no ZooKeeper"),
];
/// Kafka's name of each type of entity, and the option that names one.
const ENTITIES: [(&str, &str, Kind); 5] = [
    ("topics", "topic", Kind::Topic),
    ("brokers", "broker", Kind::Broker),
    ("broker-loggers", "broker-logger", Kind::BrokerLogger),
    ("client-metrics", "client-metrics", Kind::ClientMetrics),
    ("groups", "group", Kind::Group),
];
const UNSUPPORTED: [&str; 3] = ["users", "clients", "ips"];

pub(super) const TOOL: Tool = Tool {
    name: "kafka-configs",
    about: "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, client-metrics or group",
    specs: &SPECS,
    run,
};

/// A type of entity, and one's name if it was given; an empty name is the default.
struct Entity {
    plural: &'static str,
    kind: Kind,
    name: Option<String>,
}

fn run(given: &Given) -> std::result::Result<(), End> {
    let entity = check(given)?;
    let mut client = connect(given)?;
    let result = match given.has("alter") {
        true => alter(&mut client, given, &entity),
        false => describe(&mut client, given, &entity),
    };
    match result {
        Err(End::Failure(failure)) if matches!(failure, Failure::Usage(_) | Failure::Unsupported { .. }) => {
            Err(End::Said(exception::message(&failure)))
        }
        Err(End::Failure(failure)) => {
            let line: Vec<String> = std::env::args().skip(1).collect();
            let text = exception::text(&failure);
            let wrapped = if failure.code().is_some() { "java.util.concurrent.ExecutionException: " } else { "" };
            eprintln!("Error while executing config command with args '{}'\n{wrapped}{text}", line.join(" "));
            Err(End::Failed)
        }
        result => result,
    }
}

/// Which options go with which, and whom they name.
fn check(given: &Given) -> std::result::Result<Entity, End> {
    let said = |text: &str| Err(End::Said(text.to_string()));
    if given.count(&["alter", "describe"]) != 1 {
        return Err(End::Usage("Command must include exactly one action: --describe, --alter".into()));
    }
    given.exclude("describe", &["alter", "add-config", "delete-config"])?;
    if !given.has("bootstrap-server") {
        return said("Either --bootstrap-server or --bootstrap-controller must be specified.");
    }
    let entity = entity(given)?;
    let whole = entity.kind == Kind::Broker || entity.kind == Kind::BrokerLogger;
    if let Some(name) = entity.name.as_deref().filter(|name| whole && !name.is_empty() && name.parse::<i32>().is_err())
    {
        let plural = entity.plural;
        let text = format!("The entity name for {plural} must be a valid integer broker id, but it is: {name}");
        return Err(End::Said(text));
    }
    let plural = entity.plural;
    if given.has("describe") {
        if given.has("entity-default") && entity.kind != Kind::Broker {
            return Err(End::Said(format!("--entity-default must not be specified with --describe of {plural}")));
        }
        if entity.kind == Kind::BrokerLogger && entity.name.is_none() {
            return Err(End::Said(format!("An entity name must be specified with --describe of {plural}")));
        }
        return Ok(entity);
    }
    match (&entity.name, entity.kind) {
        (None, Kind::Broker) => {
            return said(
                "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips",
            );
        }
        (Some(name), kind) if !name.is_empty() || kind == Kind::Broker => {}
        _ => return Err(End::Said(format!("An entity name must be specified with --alter of {plural}"))),
    }
    if given.count(&["add-config", "add-config-file"]) == 2 {
        return said("Only one of --add-config or --add-config-file must be specified");
    }
    if given.count(&["add-config", "add-config-file", "delete-config"]) == 0 {
        return said(
            "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
        );
    }
    Ok(entity)
}

fn entity(given: &Given) -> std::result::Result<Entity, End> {
    let mut found: Vec<Entity> = Vec::new();
    let names = given.order(&["entity-name", "entity-default"]).next();
    let generic_name = match names {
        Some("entity-name") => given.one("entity-name")?.map(str::to_string),
        Some(_) => Some(String::new()),
        None => None,
    };
    for plural in given.all("entity-type") {
        if UNSUPPORTED.contains(&plural) {
            return Err(End::Said(format!("Entity type {plural} is not supported: {NO_QUOTAS}")));
        }
        let Some((plural, _, kind)) = ENTITIES.iter().find(|(known, _, _)| *known == plural) else {
            let known = "topics, clients, users, brokers, ips, client-metrics, groups, broker-loggers";
            return Err(End::Said(format!(
                "Invalid entity type {plural}, the entity type must be one of {known} with a --bootstrap-server or --bootstrap-controller argument"
            )));
        };
        found.push(Entity { plural, kind: *kind, name: generic_name.clone() });
    }
    let generic = given.count(&["entity-type", "entity-name", "entity-default"]) > 0;
    for (plural, option, kind) in ENTITIES {
        let name = given.one(option)?.map(str::to_string);
        found.extend(name.map(|name| Entity { plural, kind, name: Some(name) }));
    }
    if given.has("broker-defaults") {
        found.push(Entity { plural: "brokers", kind: Kind::Broker, name: Some(String::new()) });
    }
    if generic && found.len() > given.all("entity-type").len() {
        let text = "--entity-{type,name,default} should not be used in conjunction with specific entity flags";
        return Err(End::Said(text.into()));
    }
    match found.len() {
        0 => Err(End::Said("At least one entity type must be specified".into())),
        1 => Ok(found.remove(0)),
        _ => Err(End::Said("Only 'users' and 'clients' entity types may be specified together".into())),
    }
}

/// `k1=v1,k2=[v1,v2]`: commas in brackets are a value's own.
fn read_changes(text: &str) -> std::result::Result<Vec<Change>, End> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth == 0 => parts.push(String::new()),
            _ => parts.last_mut().expect("there is always one").push(c),
        }
    }
    let change = |part: &String| {
        let wrong = || {
            let what = "all configs to be added must be in the format \"key=val\" or  \"key=[val1,val2]\" to group values which contain commas.";
            End::Said(format!("requirement failed: Invalid entity config: {what}"))
        };
        let (name, value) = part.split_once('=').ok_or_else(wrong)?;
        set(name.trim(), value.trim())
    };
    parts.iter().map(change).collect()
}

fn set(name: &str, value: &str) -> std::result::Result<Change, End> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "$._-".contains(c);
    match name.chars().all(plain) {
        true => Ok(Change { name: name.to_string(), op: Op::Set, value: Some(value.to_string()) }),
        false => Err(End::Said(format!("Invalid character found for config key: {name}"))),
    }
}

fn alter(client: &mut Client, given: &Given, entity: &Entity) -> std::result::Result<(), End> {
    let deleted = given.all("delete-config").into_iter().flat_map(|list| list.split(','));
    let delete = |name: &str| Change { name: name.trim().to_string(), op: Op::Delete, value: Some(String::new()) };
    let mut changes: Vec<Change> = deleted.map(delete).collect();
    if let Some(path) = given.one("add-config-file")? {
        for (name, value) in properties(path)? {
            changes.push(set(&name, &value)?);
        }
    }
    if let Some(text) = given.one("add-config")? {
        changes.extend(read_changes(text)?);
    }
    let name = entity.name.clone().unwrap_or_default();
    configs::alter(client, &Resource { kind: entity.kind, name: name.clone() }, &changes, false)?;
    let noun = entity.kind.noun();
    match name.is_empty() {
        true => say(&format!("Completed updating default config for {} in the cluster.", entity.plural)),
        false => say(&format!("Completed updating config for {noun} {name}.")),
    }
}

/// Whether there is such a thing, where that can be told.
fn exists(client: &mut Client, kind: Kind, name: &str) -> Result<bool> {
    match kind {
        Kind::Topic => Ok(client.cluster(None)?.topics.iter().any(|topic| topic.name == name)),
        Kind::Broker | Kind::BrokerLogger => {
            let nodes = client.cluster(Some(&[]))?.nodes;
            Ok(name.is_empty() || nodes.iter().any(|node| node.id.to_string() == name))
        }
        Kind::Group => {
            let listed = groups::list(client, &[], &[])?;
            Ok(listed.iter().any(|group| group.id == name) || configs::named(client, kind)?.iter().any(|id| id == name))
        }
        Kind::ClientMetrics => Ok(configs::named(client, kind)?.iter().any(|known| known == name)),
    }
}

/// Everything of a kind, in the order of Kafka's tool.
fn names(client: &mut Client, kind: Kind) -> Result<Vec<String>> {
    let names: Vec<String> = match kind {
        Kind::Topic => client.cluster(None)?.topics.into_iter().map(|topic| topic.name).collect(),
        Kind::Group => {
            let mut ids: Vec<String> = groups::list(client, &[], &[])?.into_iter().map(|group| group.id).collect();
            ids.extend(configs::named(client, kind)?);
            ids.sort();
            ids.dedup();
            // Those of Kafka's tool have no order that could be told.
            return Ok(ids);
        }
        Kind::Broker | Kind::BrokerLogger => {
            let nodes = client.cluster(Some(&[]))?.nodes;
            return Ok(nodes.iter().map(|node| node.id.to_string()).chain([String::new()]).collect());
        }
        Kind::ClientMetrics => configs::named(client, kind)?,
    };
    Ok(hash_order(names, CAPACITY, |name| hash_text(name)))
}

fn describe(client: &mut Client, given: &Given, entity: &Entity) -> std::result::Result<(), End> {
    let (kind, all) = (entity.kind, given.has("all"));
    if let Some(name) = entity.name.as_deref().filter(|_| !all)
        && !exists(client, kind, name)?
    {
        return say(&format!("The {} '{name}' doesn't exist and doesn't have dynamic config.", kind.noun()));
    }
    let names = match &entity.name {
        Some(name) => vec![name.clone()],
        None => names(client, kind)?,
    };
    for name in names {
        let resource = Resource { kind, name };
        let which = if all { "All" } else { "Dynamic" };
        match resource.name.is_empty() {
            true => say(&format!("Default configs for {} in the cluster are:", entity.plural))?,
            false => say(&format!("{which} configs for {} {} are:", kind.noun(), resource.name))?,
        }
        let source = match resource.is_default() {
            true => Some(Source::BROKER_DEFAULT),
            false => kind.dynamic_source(),
        };
        let mut entries = configs::describe(client, &resource, false)?;
        entries.retain(|entry| all || source.is_none_or(|source| entry.source == source));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        print(&entries.iter().map(line).collect::<String>())?;
    }
    Ok(())
}

fn line(entry: &Entry) -> String {
    let null = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".into());
    let synonym =
        |synonym: &configs::Synonym| format!("{}:{}={}", synonym.source.name(), synonym.name, null(&synonym.value));
    let synonyms = entry.synonyms.iter().map(synonym).collect::<Vec<_>>().join(", ");
    format!("  {}={} sensitive={} synonyms={{{synonyms}}}\n", entry.name, null(&entry.value), entry.is_sensitive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read() {
        let changes = read_changes("a=1, b=[x,y],c=").ok().unwrap();
        let pairs: Vec<(&str, &str)> =
            changes.iter().map(|change| (change.name.as_str(), change.value.as_deref().unwrap())).collect();
        assert_eq!(pairs, [("a", "1"), ("b", "x,y"), ("c", "")]);
        assert!(read_changes("a").is_err() && read_changes("a b=1").is_err());
    }
}
