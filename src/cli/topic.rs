//! `klamm topic`: list, create, describe, alter and delete topics.

use super::client::{Client, Cluster, Topic, topic};
use super::failure::{Failure, Result};
use super::operation::configs::{self, Entry, Source};
use super::operation::topics::{self, BROKERS_CHOICE, Created, Fault, NewTopic};
use super::options::Options;
use super::output::{Table, join, or_none, print};
use super::setting::{self, Setting};
use crate::config::Scope;
use crate::types::BrokerId;
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
    /// Make topics
    Create {
        #[arg(required = true, value_name = "TOPIC")]
        topics: Vec<String>,
        /// How many partitions each; the broker's default if not given
        #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// How many replicas of each; the broker's default if not given
        #[arg(short, long, value_parser = clap::value_parser!(i16).range(1..))]
        replication_factor: Option<i16>,
        /// A setting of the topics
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
            What::Create { topics, partitions, replication_factor, configs, if_not_exists, validate_only } => {
                let settings = &setting::pairs(&configs);
                let new = |name| NewTopic {
                    name,
                    partitions: partitions.unwrap_or(BROKERS_CHOICE),
                    replication_factor: replication_factor.unwrap_or(BROKERS_CHOICE as i16),
                    assignment: &[],
                    settings,
                };
                let all: Vec<NewTopic<'_>> = topics.iter().map(|name| new(name)).collect();
                create(&mut client, options, &all, if_not_exists, validate_only)?;
                match topics.first().filter(|_| !validate_only && !configs.is_empty()) {
                    None => Ok(()),
                    Some(name) => {
                        let of = configs::Resource::topic(name);
                        setting::tell_without_effect(&mut client, &of, &setting::changes(&configs, &[]))
                    }
                }
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
                let (found, missing) = select(&mut client, &topics, internal, if_exists)?;
                // Those that are there are described all the same.
                if missing.is_none() || !found.topics.is_empty() {
                    describe(&mut client, options, found, &faults)?;
                }
                missing.map_or(Ok(()), Err)
            }
            What::Alter { topic, partitions, configs, delete_configs, if_exists, validate_only } => {
                if partitions.is_none() && configs.is_empty() && delete_configs.is_empty() {
                    return Err(Failure::Usage("nothing to alter: --partitions, --config or --delete-config".into()));
                }
                if if_exists && select(&mut client, std::slice::from_ref(&topic), true, true)?.0.topics.is_empty() {
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
    let human = || {
        let mut table = Table::new(&["TOPIC", "PARTITIONS"]);
        topics.iter().for_each(|topic| table.row(vec![topic.name.clone(), topic.partitions.len().to_string()]));
        table.to_string()
    };
    let json = || {
        let topic = |topic: &Topic| {
            json!({ "name": topic.name, "id": topic.id.to_string(), "is_internal": topic.is_internal,
                "partitions": topic.partitions.len() })
        };
        topics.iter().map(topic).collect::<Value>()
    };
    options.format.print(human, json)
}

/// Makes topics one after the other. Each that cannot be made is told of; the others are made.
fn create(
    client: &mut Client,
    options: &Options,
    all: &[NewTopic<'_>],
    if_not_exists: bool,
    validate_only: bool,
) -> Result<()> {
    let mut made = Vec::new();
    let mut failed = None;
    for new in all {
        match topics::create(client, new, validate_only) {
            Ok(created) => made.push((new.name, created)),
            Err(failure) if if_not_exists && failure.code() == Some(ErrorCode::TopicAlreadyExists) => {}
            Err(failure) => failed = also(failed, setting::with_hint(failure, Scope::Topic, new.settings)),
        }
    }
    let human = |(name, created): &(&str, Created)| {
        let done = if validate_only { "could be made" } else { "made" };
        let (partitions, factor) = (or_none(created.partitions), or_none(created.replication_factor));
        format!("topic {name} {done}: partitions {partitions}, replication factor {factor}\n")
    };
    let json = |(name, created): &(&str, Created)| {
        json!({ "name": name, "id": created.id.to_string(), "partitions": created.partitions,
            "replication_factor": created.replication_factor, "validate_only": validate_only })
    };
    match made.as_slice() {
        [] => {}
        [one] if all.len() == 1 => options.format.print(|| human(one), || json(one))?,
        several => {
            let (human, json) = (|| several.iter().map(human).collect(), || several.iter().map(json).collect());
            options.format.print(human, json)?;
        }
    }
    failed.map_or(Ok(()), Err)
}

/// A failure behind those before it.
fn also(before: Option<Failure>, failure: Failure) -> Option<Failure> {
    before.into_iter().chain([failure]).reduce(Failure::and)
}

/// The named topics that are there, or all; and why, unless `if_exists`, there is no other.
fn select(
    client: &mut Client,
    names: &[String],
    internal: bool,
    if_exists: bool,
) -> Result<(Cluster, Option<Failure>)> {
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut cluster = client.cluster(Some(&wanted).filter(|wanted| !wanted.is_empty()).map(|wanted| &wanted[..]))?;
    let mut missing = None;
    for name in names.iter().filter(|_| !if_exists) {
        let Err(failure) = topic(&cluster, name) else { continue };
        let known = client.cluster(None)?;
        let failure = match super::nearest(name, known.topics.iter().map(|topic| topic.name.as_str())) {
            Some(near) => Failure::Other(format!("{failure}; did you mean {near}?")),
            None => failure,
        };
        missing = also(missing, failure);
    }
    cluster.topics.retain(|topic| topic.error_code == 0 && (internal || !names.is_empty() || !topic.is_internal));
    Ok((cluster, missing))
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
            json!({ "partition": partition.index, "leader": partition.leader.map(|leader| leader.0), "leader_epoch": partition.leader_epoch.0,
                "replicas": BrokerId::numbers(&partition.replicas), "in_sync": BrokerId::numbers(&partition.in_sync),
                "offline": BrokerId::numbers(&partition.offline) })
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
    print(&format!("topic {topic} {done}\n"))?;
    setting::tell_without_effect(client, &configs::Resource::topic(topic), changes)
}

fn delete(client: &mut Client, names: &[String], if_exists: bool) -> Result<()> {
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut failed = None;
    for (name, result) in topics::delete(client, &wanted)? {
        match result {
            Ok(()) => print(&format!("topic {name} deleted\n"))?,
            Err(failure) if if_exists && failure.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
            // The others are deleted; each that is not is told of.
            Err(failure) => failed = also(failed, failure),
        }
    }
    failed.map_or(Ok(()), Err)
}
