//! `klamm cluster`: what the cluster is, what its brokers speak, and what their directories hold.

use super::client::{Client, Node};
use super::codes::code_name;
use super::failure::{Failure, Result};
use super::operation::cluster::{LogDir, log_dirs};
use super::options::Options;
use super::output::{NONE, Table, or_none};
use crate::types::BrokerId;
use crate::wire::messages::ApiKey;
use serde_json::{Value, json};

/// Show the cluster: its id, brokers, API versions and data directories
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The cluster's id
    Id,
    /// Brokers, with their addresses
    Brokers,
    /// The APIs that a broker has, with their versions
    ApiVersions {
        /// Which broker; that of --bootstrap-server if not given
        #[arg(long, value_name = "ID")]
        broker: Option<BrokerId>,
    },
    /// Brokers' data directories, with the size of each partition in them
    LogDirs {
        /// Which brokers; all if not given
        #[arg(long, value_name = "ID", value_delimiter = ',')]
        broker: Vec<BrokerId>,
        /// Only these topics
        #[arg(long, value_name = "TOPIC", value_delimiter = ',')]
        topic: Vec<String>,
    },
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let options = &self.options;
        let mut client = options.connect()?;
        match self.what {
            What::Id => {
                let id = client.cluster(Some(&[]))?.id;
                options.format.print(|| format!("{}\n", or_none(id.as_deref())), || json!({ "cluster_id": id }))
            }
            What::Brokers => brokers(&mut client, options),
            What::ApiVersions { broker } => api_versions(&mut client, options, broker),
            What::LogDirs { broker, topic } => directories(&mut client, options, &broker, &topic),
        }
    }
}

fn brokers(client: &mut Client, options: &Options) -> Result<()> {
    let cluster = client.cluster(Some(&[]))?;
    let human = || {
        let mut table = Table::new(&["ID", "HOST", "PORT", "RACK", "CONTROLLER"]);
        for node in &cluster.nodes {
            let controller = if node.id == cluster.controller { "yes" } else { "no" };
            let (id, port, rack) = (node.id.to_string(), node.port.to_string(), or_none(node.rack.as_deref()));
            table.row(vec![id, node.host.clone(), port, rack, controller.into()]);
        }
        table.to_string()
    };
    let json = || {
        let broker = |node: &Node| {
            json!({ "id": node.id.0, "host": node.host, "port": node.port, "rack": node.rack,
                "is_controller": node.id == cluster.controller })
        };
        cluster.nodes.iter().map(broker).collect::<Value>()
    };
    options.format.print(human, json)
}

fn api_versions(client: &mut Client, options: &Options, broker: Option<BrokerId>) -> Result<()> {
    let link = match broker {
        Some(id) => client.broker(id)?,
        None => client.any(),
    };
    let versions = link.versions().all();
    let name = |key: i16| ApiKey::from_i16(key).map_or(NONE, ApiKey::name);
    let human = || {
        let mut table = Table::new(&["KEY", "API", "FROM", "TO"]);
        for (&key, (from, to)) in versions {
            table.row(vec![key.to_string(), name(key).to_string(), from.to_string(), to.to_string()]);
        }
        table.to_string()
    };
    let json = || {
        let api = |(&key, (from, to)): (&i16, &(i16, i16))| {
            let name = ApiKey::from_i16(key).map(ApiKey::name);
            json!({ "key": key, "name": name, "version_min": from, "version_max": to })
        };
        versions.iter().map(api).collect::<Value>()
    };
    options.format.print(human, json)
}

fn directories(client: &mut Client, options: &Options, brokers: &[BrokerId], topics: &[String]) -> Result<()> {
    let known: Vec<BrokerId> = client.cluster(Some(&[]))?.nodes.iter().map(|node| node.id).collect();
    if let Some(unknown) = brokers.iter().find(|id| !known.contains(id)) {
        return Err(Failure::Other(format!("there is no broker {unknown}")));
    }
    let asked = if brokers.is_empty() { &known } else { &brokers.to_vec() };
    let mut found: Vec<(BrokerId, LogDir)> = Vec::new();
    for &broker in asked {
        found.extend(log_dirs(client, broker, topics)?.into_iter().map(|dir| (broker, dir)));
    }
    let human = || {
        let mut table = Table::new(&["BROKER", "DIRECTORY", "TOPIC", "PARTITION", "BYTES", "LAG"]);
        for (broker, dir) in &found {
            if dir.error_code != 0 {
                let error = code_name(dir.error_code);
                table.row(vec![broker.to_string(), dir.path.clone(), error, NONE.into(), NONE.into(), NONE.into()]);
            }
            for replica in &dir.replicas {
                let (place, bytes, lag) = (&replica.place, replica.bytes.to_string(), replica.offset_lag.to_string());
                let (topic, partition) = (place.topic.clone(), place.partition.to_string());
                table.row(vec![broker.to_string(), dir.path.clone(), topic, partition, bytes, lag]);
            }
        }
        table.to_string()
    };
    let json = || {
        let dir = |(broker, dir): &(BrokerId, LogDir)| {
            let replica = |replica: &super::operation::cluster::Replica| {
                json!({ "topic": replica.place.topic, "partition": replica.place.partition, "bytes": replica.bytes,
                    "offset_lag": replica.offset_lag, "is_future": replica.is_future })
            };
            let error = (dir.error_code != 0).then(|| code_name(dir.error_code));
            json!({ "broker": broker.0, "path": dir.path, "error": error, "bytes_total": dir.bytes_total,
                "bytes_usable": dir.bytes_usable, "partitions": dir.replicas.iter().map(replica).collect::<Value>() })
        };
        found.iter().map(dir).collect::<Value>()
    };
    options.format.print(human, json)
}
