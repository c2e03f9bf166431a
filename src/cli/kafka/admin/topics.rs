//! `kafka-topics`.

use super::arguments::{Given, Spec, flag, value};
use super::java::{CAPACITY, hash_order, hash_text};
use super::{End, Pattern, Tool, connect, exception, say};
use crate::cli::client::{Client, Cluster, Topic};
use crate::cli::failure::{Failure, Result};
use crate::cli::operation::configs::{self, Entry};
use crate::cli::operation::topics::{self, BROKERS_CHOICE, Eligible, Fault, NewTopic};
use crate::cli::output::{join, print};
use crate::cli::topic::{in_sync_min, own};
use crate::types::{BrokerId, Uuid};
use crate::wire::error::ErrorCode;
use std::collections::BTreeMap;

const SPECS: [Spec; 22] = [
    value("bootstrap-server", "REQUIRED: The brokers to connect to."),
    value("command-config", "A file of settings of the client."),
    flag("list", "List topics."),
    flag("create", "Make a topic."),
    flag("delete", "Delete topics."),
    flag("alter", "Give topics more partitions."),
    flag("describe", "Describe topics."),
    value("topic", "The topic; except with --create, a regular expression for several."),
    value("topic-id", "The topic to describe, by its id."),
    value("config", "A setting of the topic that is made: name=value."),
    value("delete-config", "Without effect since Kafka 4.0."),
    value("partitions", "How many partitions the topic is to have."),
    value("replication-factor", "How many replicas each partition is to have."),
    value("replica-assignment", "Brokers of each partition: 0:1,1:2."),
    flag("under-replicated-partitions", "Describe only partitions with replicas that are not in sync."),
    flag("unavailable-partitions", "Describe only partitions without a leader."),
    flag("under-min-isr-partitions", "Describe only partitions with fewer replicas in sync than they must have."),
    flag("at-min-isr-partitions", "Describe only partitions with just as many replicas in sync as they must have."),
    flag("topics-with-overrides", "Describe only topics with settings of their own."),
    flag("if-exists", "No error if a topic is not there."),
    flag("if-not-exists", "No error if a topic is there."),
    flag("exclude-internal", "Leave out internal topics."),
];
const ACTIONS: [&str; 5] = ["list", "describe", "create", "alter", "delete"];
const REPORTS: [(&str, Fault); 4] = [
    ("under-replicated-partitions", Fault::UnderReplicated),
    ("unavailable-partitions", Fault::Unavailable),
    ("under-min-isr-partitions", Fault::UnderMinIsr),
    ("at-min-isr-partitions", Fault::AtMinIsr),
];

pub(super) const TOOL: Tool = Tool {
    name: "kafka-topics",
    about: "This tool helps to create, delete, describe, or change a topic.",
    specs: &SPECS,
    run,
};

fn run(given: &Given) -> std::result::Result<(), End> {
    check(given)?;
    let mut client = connect(given)?;
    let result = match ACTIONS.into_iter().find(|action| given.has(action)) {
        Some("create") => create(&mut client, given),
        Some("alter") => alter(&mut client, given),
        Some("list") => list(&mut client, given),
        Some("describe") => describe(&mut client, given),
        _ => delete(&mut client, given),
    };
    let (message, text) = match result {
        Err(End::Failure(failure)) => (exception::message(&failure), exception::text(&failure)),
        Err(End::Said(message)) => (message.clone(), message),
        result => return result,
    };
    say(&format!("Error while executing topic command : {message}"))?;
    eprintln!("ERROR {text}");
    Err(End::Failed)
}

/// Which options go with which.
fn check(given: &Given) -> std::result::Result<(), End> {
    if given.count(&ACTIONS) != 1 {
        let actions = "--list, --describe, --create, --alter or --delete";
        return Err(End::Usage(format!("Command must include exactly one action: {actions}")));
    }
    if given.has("delete-config") {
        eprintln!(
            "delete-config option is no longer supported and deprecated since version 4.0. The config will be fully removed in future releases."
        );
    }
    if !given.has("bootstrap-server") {
        return Err(End::Said("--bootstrap-server must be specified".into()));
    }
    if given.has("describe") && given.has("if-exists") && given.count(&["topic", "topic-id"]) == 0 {
        return Err(End::Usage("--topic or --topic-id is required to describe a topic".into()));
    }
    if given.count(&["list", "describe"]) == 0 {
        given.require(&["topic"])?;
    }
    if given.has("alter") {
        let with = "Option combination \"[[bootstrap-server], [config]]\" can't be used with option \"[alter]\"";
        if given.has("config") {
            let hint = "(To alter topic configurations, the kafka-configs tool can be used.)";
            return Err(End::Usage(format!("{with} {hint}")));
        }
        given.require(&["partitions"])?;
    }
    let except = |used: &str, actions: &[&str]| {
        let others: Vec<&str> = ACTIONS.into_iter().filter(|action| !actions.contains(action)).collect();
        given.exclude(used, &others)
    };
    except("config", &["alter", "create"])?;
    except("partitions", &["alter", "create"])?;
    except("replication-factor", &["create"])?;
    except("replica-assignment", &["alter", "create"])?;
    if given.has("create") {
        given.exclude("replica-assignment", &["partitions", "replication-factor"])?;
    }
    for (report, _) in REPORTS {
        except(report, &["describe"])?;
        given.exclude(report, &["topics-with-overrides"])?;
    }
    except("topics-with-overrides", &["describe"])?;
    except("if-exists", &["alter", "delete", "describe"])?;
    except("if-not-exists", &["create"])?;
    except("exclude-internal", &["list", "describe"])
}

/// `1:2,2:3`: the brokers of each partition.
fn assignment(text: &str) -> Result<Vec<Vec<BrokerId>>> {
    let mut partitions: Vec<Vec<BrokerId>> = Vec::new();
    for (index, list) in text.split(',').enumerate() {
        let broker = |id: &str| id.trim().parse().map_err(|_| Failure::Usage(format!("For input string: \"{id}\"")));
        let brokers: Vec<BrokerId> = list.split(':').map(broker).collect::<Result<_>>()?;
        let twice: Vec<&BrokerId> =
            brokers.iter().enumerate().filter(|(i, id)| brokers[..*i].contains(id)).map(|(_, id)| id).collect();
        if !twice.is_empty() {
            let twice = join(&twice);
            return Err(Failure::Other(format!("Partition replica lists may not contain duplicate entries: {twice}")));
        }
        if partitions.first().is_some_and(|first| first.len() != brokers.len()) {
            let brokers = brokers.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(", ");
            return Err(Failure::Other(format!("Partition {index} has different replication factor: [{brokers}]")));
        }
        partitions.push(brokers);
    }
    Ok(partitions)
}

fn settings(given: &Given) -> Result<Vec<(String, String)>> {
    let wrong = || {
        let what = "all configs to be added must be in the format \"key=val\".";
        Failure::Usage(format!("requirement failed: Invalid topic config: {what}"))
    };
    let mut settings = Vec::new();
    for text in given.all("config") {
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let (name, value) = (name.trim(), value.trim());
        if value.is_empty() || value.contains('=') {
            return Err(wrong());
        }
        settings.push((name.to_string(), value.to_string()));
    }
    Ok(settings)
}

fn create(client: &mut Client, given: &Given) -> std::result::Result<(), End> {
    let name = given.one("topic")?.unwrap_or_default();
    let (partitions, factor) = (given.number::<i32>("partitions")?, given.number::<i32>("replication-factor")?);
    let assignment = given.one("replica-assignment")?.map(assignment).transpose()?.unwrap_or_default();
    let settings = settings(given)?;
    if name.contains(['.', '_']) {
        say(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. To avoid issues it is best to use either, but not both.",
        )?;
    }
    let factor = match factor.map(i16::try_from) {
        None => BROKERS_CHOICE as i16,
        Some(Ok(factor @ 1..)) => factor,
        Some(_) => {
            let most = i16::MAX;
            let text = format!("The replication factor must be between 1 and {most} inclusive");
            return Err(Failure::Usage(text).into());
        }
    };
    if partitions.is_some_and(|partitions| partitions < 1) {
        return Err(Failure::Usage("The partitions must be greater than 0".into()).into());
    }
    let partitions = partitions.unwrap_or(BROKERS_CHOICE);
    let new = NewTopic { name, partitions, replication_factor: factor, assignment: &assignment, settings: &settings };
    match topics::create(client, &new, false) {
        Ok(_) => say(&format!("Created topic {name}.")),
        Err(failure) if given.has("if-not-exists") && failure.code() == Some(ErrorCode::TopicAlreadyExists) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

/// All topics that `--topic` matches; none is an error unless `--if-exists` is given.
fn select(client: &mut Client, given: &Given) -> std::result::Result<Cluster, End> {
    let wanted = given.one("topic")?;
    let pattern = wanted.map(Pattern::new).transpose()?;
    let mut cluster = client.cluster(None)?;
    let shown = |topic: &Topic| {
        let named = pattern.as_ref().is_none_or(|pattern| pattern.matches(&topic.name));
        named && !(topic.is_internal && given.has("exclude-internal"))
    };
    cluster.topics.retain(shown);
    match wanted {
        Some(wanted) if cluster.topics.is_empty() && !given.has("if-exists") && !given.has("list") => {
            Err(Failure::Usage(format!("Topic '{wanted}' does not exist as expected")).into())
        }
        _ => Ok(cluster),
    }
}

fn list(client: &mut Client, given: &Given) -> std::result::Result<(), End> {
    let cluster = select(client, given)?;
    let names: Vec<&str> = cluster.topics.iter().map(|topic| topic.name.as_str()).collect();
    say(&names.join("\n"))
}

fn alter(client: &mut Client, given: &Given) -> std::result::Result<(), End> {
    let count = given.number("partitions")?.unwrap_or(BROKERS_CHOICE);
    let assignment = given.one("replica-assignment")?.map(assignment).transpose()?.unwrap_or_default();
    for topic in select(client, given)?.topics {
        let new = assignment.get(topic.partitions.len()..).unwrap_or_default();
        topics::enlarge(client, &topic.name, count, new, false)?;
    }
    Ok(())
}

fn delete(client: &mut Client, given: &Given) -> std::result::Result<(), End> {
    let cluster = select(client, given)?;
    let names: Vec<&str> = cluster.topics.iter().map(|topic| topic.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let results = topics::delete(client, &names)?;
    Ok(results.into_iter().try_for_each(|(_, result)| result)?)
}

/// The topic of `--topic-id`, which goes before `--topic`.
fn select_id(client: &mut Client, given: &Given) -> std::result::Result<Option<Cluster>, End> {
    let Some(text) = given.one("topic-id")? else { return Ok(None) };
    let wrong = || Failure::Usage(format!("Input string `{text}` decoded as an invalid Uuid"));
    let id = Uuid::parse(text).ok_or_else(wrong)?;
    if id.is_zero() {
        return Ok(None);
    }
    let mut cluster = client.cluster(None)?;
    cluster.topics.retain(|topic| topic.id == id);
    if cluster.topics.is_empty() && !given.has("if-exists") {
        return Err(Failure::Usage(format!("TopicId '{text}' does not exist as expected")).into());
    }
    Ok(Some(cluster))
}

fn describe(client: &mut Client, given: &Given) -> std::result::Result<(), End> {
    let mut cluster = match select_id(client, given)? {
        Some(cluster) => cluster,
        None => select(client, given)?,
    };
    let count = cluster.topics.len();
    cluster.topics = hash_order(cluster.topics, count, |topic| hash_text(&topic.name));
    let topics: Vec<&Topic> = cluster.topics.iter().collect();
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let settings = configs::describe_topics(client, &names)?;
    let eligible = topics::eligible(client, &topics)?;
    let faults: Vec<Fault> = REPORTS.into_iter().filter(|(name, _)| given.has(name)).map(|(_, fault)| fault).collect();
    let overrides = given.has("topics-with-overrides");
    let mut text = String::new();
    for (topic, settings) in cluster.topics.iter().zip(settings) {
        let has_own = own(&settings).next().is_some();
        let in_sync_min = in_sync_min(&settings);
        if faults.is_empty() && (!overrides || has_own) {
            text += &head(topic, settings);
        }
        let shown = |fault: &Fault, partition: &_| fault.is_of(partition, &cluster, in_sync_min);
        for partition in topic.partitions.iter().filter(|_| !overrides) {
            if faults.is_empty() || faults.iter().any(|fault| shown(fault, partition)) {
                text += &line(topic, partition, &eligible);
            }
        }
    }
    Ok(print(&text)?)
}

fn head(topic: &Topic, settings: Vec<Entry>) -> String {
    let settings = hash_order(settings, CAPACITY, |entry| hash_text(&entry.name));
    let value = |entry: &Entry| format!("{}={}", entry.name, entry.value.as_deref().unwrap_or("null"));
    let settings: Vec<String> = own(&settings).map(value).collect();
    let id = if topic.id.is_zero() { String::new() } else { format!("\tTopicId: {}", topic.id) };
    let factor = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
    format!(
        "Topic: {}{id}\tPartitionCount: {}\tReplicationFactor: {factor}\tConfigs: {}\n",
        topic.name,
        topic.partitions.len(),
        settings.join(",")
    )
}

fn line(
    topic: &Topic,
    partition: &crate::cli::client::Partition,
    eligible: &BTreeMap<(String, i32), Eligible>,
) -> String {
    let eligible = eligible.get(&(topic.name.clone(), partition.index)).cloned().unwrap_or_default();
    let list = |brokers: Option<Vec<BrokerId>>| brokers.map_or("N/A".to_string(), |brokers| join(&brokers));
    let leader = partition.leader.map_or("none".to_string(), |leader| leader.to_string());
    format!(
        "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}\tElr: {}\tLastKnownElr: {}\n",
        topic.name,
        partition.index,
        join(&partition.replicas),
        join(&partition.in_sync),
        list(eligible.replicas),
        list(eligible.last_known)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read() {
        assert_eq!(assignment("1:2,2:3").unwrap(), [[1, 2], [2, 3]].map(|ids| ids.map(BrokerId)));
        for (text, fault) in [("1:1", "duplicate entries: 1"), ("1,1:2", "Partition 1 has"), ("x", "\"x\"")] {
            assert!(assignment(text).unwrap_err().to_string().contains(fault), "{text}");
        }
    }
}
