//! `kafka-log-dirs`.

use super::arguments::{Given, Spec, cannot_parse, flag, value};
use super::exception;
use super::java::{CAPACITY, hash_order, hash_place, hash_text};
use super::{End, Tool, connect, say};
use crate::cli::failure::Failure;
use crate::cli::operation::cluster::{LogDir, Replica, log_dirs};
use crate::cli::output::join;
use crate::types::BrokerId;
use serde_json::{Value, json};

const SPECS: [Spec; 5] = [
    value("bootstrap-server", "REQUIRED: The brokers to connect to."),
    value("command-config", "A file of settings of the client."),
    flag("describe", "REQUIRED: Describe the data directories."),
    value("topic-list", "Only these topics, between commas."),
    value("broker-list", "Only these brokers, between commas."),
];

pub(super) const TOOL: Tool = Tool {
    name: "kafka-log-dirs",
    about: "This tool helps to query log directory usage on the specified brokers.",
    specs: &SPECS,
    run,
};

fn run(given: &Given) -> Result<(), End> {
    given.require(&["bootstrap-server", "describe"])?;
    let words = |name| given.one(name).map(|list| list.unwrap_or_default().split(',').filter(|word| !word.is_empty()));
    let topics: Vec<String> = words("topic-list")?.map(str::to_string).collect();
    let broker = |id: &str| id.parse().map_err(|_| End::Said(cannot_parse("broker-list", id)));
    let wanted: Vec<BrokerId> = words("broker-list")?.map(broker).collect::<Result<_, _>>()?;
    let mut client = connect(given)?;
    let known: Vec<BrokerId> = client.cluster(Some(&[]))?.nodes.iter().map(|node| node.id).collect();
    let missing: Vec<BrokerId> = wanted.iter().copied().filter(|id| !known.contains(id)).collect();
    if !missing.is_empty() {
        let (missing, known) = (join(&missing), join(&known));
        return Err(End::Said(format!(
            "ERROR: The given brokers do not exist from --broker-list: {missing}. Current existent brokers: {known}"
        )));
    }
    let asked = if wanted.is_empty() { known } else { wanted };
    say("Querying brokers for log directories information")?;
    let mut brokers = Vec::new();
    for &broker in &asked {
        let dirs = log_dirs(&mut client, broker, &topics)?;
        let count = dirs.len();
        let dirs = hash_order(dirs, count, |dir| hash_text(&dir.path));
        brokers.push(json!({ "broker": broker.0, "logDirs": dirs.into_iter().map(log_dir).collect::<Value>() }));
    }
    say(&format!("Received log directory information from brokers {}", join(&asked)))?;
    say(&json!({ "brokers": brokers, "version": 1 }).to_string())
}

fn log_dir(dir: LogDir) -> Value {
    let fault = Failure::check("", dir.error_code, None).err().map(|failure| exception::class(&failure));
    let replicas = hash_order(dir.replicas, CAPACITY, |replica| hash_place(&replica.place));
    let replica = |replica: &Replica| {
        json!({ "partition": replica.place.to_string(), "size": replica.bytes, "offsetLag": replica.offset_lag,
            "isFuture": replica.is_future })
    };
    json!({ "partitions": replicas.iter().map(replica).collect::<Value>(), "error": fault, "logDir": dir.path })
}
