//! `klamm topic`: list, create, describe, alter and delete topics.

use super::client::{Client, Cluster, Topic};
use super::failure::{Failure, Result};
use super::operation::configs::{self, Entry, Source};
use super::operation::topics::{self, BROKERS_CHOICE, Fault, NewTopic};
use super::options::Options;
use super::output::{Table, join, or_none, print};
use super::setting::{self, Setting};
use crate::config::Scope;
use crate::wire::error::ErrorCode;
use serde_json::{Value, json};

/// List, create, describe, alter and delete topics
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// List topics
    List {
        /// Internal topics too
        #[arg(long)]
        internal: bool,
    },
    /// Make a topic
    Create {
        topic: String,
        /// How many partitions; the broker's default if not given
        #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// How many replicas of each; the broker's default if not given
        #[arg(short, long, value_parser = clap::value_parser!(i16).range(1..))]
        replication_factor: Option<i16>,
        /// A setting of the topic
        #[arg(short, long = "config", value_name = "NAME=VALUE")]
        configs: Vec<Setting>,
        /// No error if there is one of this name
        #[arg(long)]
        if_not_exists: bool,
        /// Only check whether it could be made
        #[arg(long)]
        validate_only: bool,
    },
    /// Describe topics: partitions, replicas, and the settings that are not defaults
    Describe {
        /// Which; all if none is named
        topics: Vec<String>,
        /// Internal topics too
        #[arg(long)]
        internal: bool,
        /// No error if one is not there
        #[arg(long)]
        if_exists: bool,
        /// Only partitions with replicas that are not in sync
        #[arg(long)]
        under_replicated: bool,
        /// Only partitions without a leader
        #[arg(long)]
        unavailable: bool,
        /// Only partitions with fewer replicas in sync than min.insync.replicas
        #[arg(long)]
        under_min_isr: bool,
        /// Only partitions with just as many
        #[arg(long)]
        at_min_isr: bool,
    },
    /// Change a topic: its settings, or the number of its partitions
    Alter {
        topic: String,
        /// How many partitions it is to have, more than before
        #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// A setting to set
        #[arg(short, long = "config", value_name = "NAME=VALUE")]
        configs: Vec<Setting>,
        /// A setting to give back to its default
        #[arg(short, long = "delete-config", value_name = "NAME", value_delimiter = ',')]
        delete_configs: Vec<String>,
        /// No error if it is not there
        #[arg(long)]
        if_exists: bool,
        /// Only check whether it could be changed
        #[arg(long)]
        validate_only: bool,
    },
    /// Delete topics with all that is in them
    Delete {
        #[arg(required = true)]
        topics: Vec<String>,
        /// No error if one is not there
        #[arg(long)]
        if_exists: bool,
    },
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let options = &self.options;
        let mut client = options.connect()?;
        match self.what {
            What::List { internal } => list(&mut client, options, internal),
            What::Create { topic, partitions, replication_factor, configs, if_not_exists, validate_only } => {
                let new = NewTopic {
                    name: &topic,
                    partitions: partitions.unwrap_or(BROKERS_CHOICE),
                    replication_factor: replication_factor.unwrap_or(BROKERS_CHOICE as i16),
                    assignment: &[],
                    settings: &setting::pairs(&configs),
                };
                create(&mut client, options, &new, if_not_exists, validate_only)
            }
            What::Describe {
                topics,
                internal,
                if_exists,
                under_replicated,
                unavailable,
                under_min_isr,
                at_min_isr,
            } => {
                let faults = [
                    (under_replicated, Fault::UnderReplicated),
                    (unavailable, Fault::Unavailable),
                    (under_min_isr, Fault::UnderMinIsr),
                    (at_min_isr, Fault::AtMinIsr),
                ];
                let faults: Vec<Fault> =
                    faults.into_iter().filter(|(asked, _)| *asked).map(|(_, fault)| fault).collect();
                let found = select(&mut client, &topics, internal, if_exists)?;
                describe(&mut client, options, found, &faults)
            }
            What::Alter { topic, partitions, configs, delete_configs, if_exists, validate_only } => {
                if partitions.is_none() && configs.is_empty() && delete_configs.is_empty() {
                    return Err(Failure::Usage("nothing to alter: --partitions, --config or --delete-config".into()));
                }
                if if_exists && select(&mut client, std::slice::from_ref(&topic), true, true)?.topics.is_empty() {
                    return Ok(());
                }
                alter(&mut client, &topic, partitions, &setting::changes(&configs, &delete_configs), validate_only)
            }
            What::Delete { topics, if_exists } => delete(&mut client, &topics, if_exists),
        }
    }
}

fn list(client: &mut Client, options: &Options, internal: bool) -> Result<()> {
    let mut topics = client.cluster(None)?.topics;
    topics.retain(|topic| internal || !topic.is_internal);
    let human = || topics.iter().map(|topic| format!("{}\n", topic.name)).collect();
    let json = || {
        let topic = |topic: &Topic| {
            json!({ "name": topic.name, "id": topic.id.to_string(), "is_internal": topic.is_internal,
                "partitions": topic.partitions.len() })
        };
        topics.iter().map(topic).collect::<Value>()
    };
    options.format.print(human, json)
}

fn create(
    client: &mut Client,
    options: &Options,
    new: &NewTopic<'_>,
    if_not_exists: bool,
    validate_only: bool,
) -> Result<()> {
    let made = match topics::create(client, new, validate_only) {
        Err(failure) if if_not_exists && failure.code() == Some(ErrorCode::TopicAlreadyExists) => return Ok(()),
        result => result.map_err(|failure| setting::with_hint(failure, Scope::Topic, new.settings))?,
    };
    let human = || {
        let done = if validate_only { "could be made" } else { "made" };
        let (partitions, factor) = (or_none(made.partitions), or_none(made.replication_factor));
        format!("topic {} {done}: partitions {partitions}, replication factor {factor}\n", new.name)
    };
    let json = || {
        json!({ "name": new.name, "id": made.id.to_string(), "partitions": made.partitions,
            "replication_factor": made.replication_factor, "validate_only": validate_only })
    };
    options.format.print(human, json)
}

/// The named topics, or all; one that is not there is a failure, or left out.
fn select(client: &mut Client, names: &[String], internal: bool, if_exists: bool) -> Result<Cluster> {
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut cluster = client.cluster(Some(&wanted).filter(|wanted| !wanted.is_empty()).map(|wanted| &wanted[..]))?;
    if !if_exists && let Some(missing) = names.iter().find(|name| cluster.topic(name).is_err()) {
        let failure = cluster.topic(missing).err();
        let known = client.cluster(None)?;
        let near = super::nearest(missing, known.topics.iter().map(|topic| topic.name.as_str()));
        return match (failure, near) {
            (Some(failure), Some(near)) => Err(Failure::Other(format!("{failure}; did you mean {near}?"))),
            (Some(failure), None) => Err(failure),
            (None, _) => Err(Failure::Other(format!("topic {missing}"))),
        };
    }
    cluster.topics.retain(|topic| topic.error_code == 0 && (internal || !names.is_empty() || !topic.is_internal));
    Ok(cluster)
}

fn describe(client: &mut Client, options: &Options, cluster: Cluster, faults: &[Fault]) -> Result<()> {
    let names: Vec<&str> = cluster.topics.iter().map(|topic| topic.name.as_str()).collect();
    let settings = configs::describe_topics(client, &names)?;
    let described: Vec<(Topic, Vec<Entry>)> = cluster.topics.iter().cloned().zip(settings).collect();
    let described: Vec<(Topic, Vec<Entry>)> = described
        .into_iter()
        .filter_map(|(mut topic, settings)| {
            let in_sync_min = in_sync_min(&settings);
            let shown = |fault: &Fault, partition: &_| fault.is_of(partition, &cluster, in_sync_min);
            topic.partitions.retain(|each| faults.is_empty() || faults.iter().any(|fault| shown(fault, each)));
            (faults.is_empty() || !topic.partitions.is_empty()).then_some((topic, settings))
        })
        .collect();
    options.format.print(|| describe_human(&described), || describe_json(&described))
}

/// `min.insync.replicas`, which every broker describes.
pub fn in_sync_min(settings: &[Entry]) -> usize {
    let value =
        settings.iter().find(|entry| entry.name == "min.insync.replicas").and_then(|entry| entry.value.as_ref());
    value.and_then(|value| value.parse().ok()).unwrap_or(1)
}

/// Settings that are not defaults.
pub fn own(settings: &[Entry]) -> impl Iterator<Item = &Entry> {
    settings.iter().filter(|entry| entry.source != Source::DEFAULT)
}

fn describe_human(described: &[(Topic, Vec<Entry>)]) -> String {
    let mut text = String::new();
    for (i, (topic, settings)) in described.iter().enumerate() {
        if i > 0 {
            text.push('\n');
        }
        let kind = if topic.is_internal { " (internal)" } else { "" };
        text += &format!("{}{kind}\nid  {}\n", topic.name, topic.id);
        for entry in own(settings) {
            text += &format!("{} = {}\n", entry.name, or_none(entry.value.as_deref()));
        }
        let mut table = Table::new(&["PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN-SYNC", "OFFLINE"]);
        for partition in &topic.partitions {
            let (index, epoch) = (partition.index.to_string(), partition.leader_epoch.to_string());
            let (replicas, in_sync) = (join(&partition.replicas), join(&partition.in_sync));
            let offline = or_none(Some(join(&partition.offline)).filter(|offline| !offline.is_empty()));
            table.row(vec![index, or_none(partition.leader), epoch, replicas, in_sync, offline]);
        }
        text += &table.to_string();
    }
    text
}

fn describe_json(described: &[(Topic, Vec<Entry>)]) -> Value {
    let topic = |(topic, settings): &(Topic, Vec<Entry>)| {
        let partition = |partition: &super::client::Partition| {
            json!({ "partition": partition.index, "leader": partition.leader, "leader_epoch": partition.leader_epoch,
                "replicas": partition.replicas, "in_sync": partition.in_sync, "offline": partition.offline })
        };
        let configs: serde_json::Map<String, Value> =
            own(settings).map(|entry| (entry.name.clone(), json!(entry.value))).collect();
        json!({ "name": topic.name, "id": topic.id.to_string(), "is_internal": topic.is_internal, "configs": configs,
            "partitions": topic.partitions.iter().map(partition).collect::<Value>() })
    };
    described.iter().map(topic).collect()
}

fn alter(
    client: &mut Client,
    topic: &str,
    partitions: Option<i32>,
    changes: &[configs::Change],
    validate_only: bool,
) -> Result<()> {
    if !changes.is_empty() {
        let altered = configs::alter(client, &configs::Resource::topic(topic), changes, validate_only);
        altered.map_err(|failure| setting::with_hint(failure, Scope::Topic, &setting::names(changes)))?;
    }
    if let Some(count) = partitions {
        topics::enlarge(client, topic, count, &[], validate_only)?;
    }
    let done = if validate_only { "could be altered" } else { "altered" };
    print(&format!("topic {topic} {done}\n"))
}

fn delete(client: &mut Client, names: &[String], if_exists: bool) -> Result<()> {
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut failed = None;
    for (name, result) in topics::delete(client, &wanted)? {
        match result {
            Ok(()) => print(&format!("topic {name} deleted\n"))?,
            Err(failure) if if_exists && failure.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
            // The others are deleted; each that is not is told of.
            Err(failure) => failed = failed.into_iter().chain([failure]).reduce(Failure::and),
        }
    }
    failed.map_or(Ok(()), Err)
}
