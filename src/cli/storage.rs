//! `klamm storage`: whose a data directory is, without a broker. The broker's own code formats it.

use super::Serve;
use super::failure::{Failure, Result};
use super::output::{Format, print};
use crate::config::node::{NodeProperties, is_cluster_id};
use crate::shell::data_dir;
use crate::types::BrokerId;
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Format a data directory, or say whose it is
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Lines for people, or JSON
    #[arg(long, value_enum, default_value_t, global = true)]
    format: Format,
}

#[derive(Subcommand)]
enum Command {
    /// Make an empty data directory this node's (a broker does it itself at its first start)
    Format {
        #[command(flatten)]
        place: Place,
        /// The cluster's id; a new one if none is given
        #[arg(short = 't', long, value_name = "ID")]
        cluster_id: Option<String>,
        /// It is no error if the directory is formatted already
        #[arg(short = 'g', long)]
        ignore_formatted: bool,
    },
    /// Say whose the data directory is
    Info {
        #[command(flatten)]
        place: Place,
    },
    /// Print a new id, for a cluster or anything else
    RandomUuid,
}

/// Where the data directory is: settings as the broker takes them.
#[derive(clap::Args)]
struct Place {
    /// The broker's settings, one `key=value` a line
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting that wins over the file and the environment, like log.dirs=DIR
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = super::key_value)]
    overrides: Vec<(String, String)>,
}

impl Place {
    fn load(self) -> Result<Directory> {
        Directory::of(Serve { file: self.config, overrides: self.overrides })
    }
}

/// A data directory, and the node that it is to be.
pub struct Directory {
    pub path: PathBuf,
    pub node_id: BrokerId,
}

/// How formatting ended.
#[derive(PartialEq, Eq, Debug)]
pub enum Formatted {
    Now,
    /// By the same node of the same cluster.
    Before,
}

impl Directory {
    pub fn of(settings: Serve) -> Result<Directory> {
        let config = settings.load().map_err(Failure::Other)?.config;
        Ok(Directory { path: config.data_dir, node_id: config.node_id })
    }

    /// Makes it a directory of the cluster.
    pub fn format(&self, cluster_id: &str) -> Result<Formatted> {
        if !is_cluster_id(cluster_id) {
            return Err(Failure::Usage(format!(
                "{cluster_id:?} is no id of a cluster: it has characters that do not print"
            )));
        }
        let node = NodeProperties { cluster_id: cluster_id.into(), node_id: self.node_id };
        let Some(found) = data_dir::format(&self.path, &node).map_err(Failure::Other)? else {
            return Ok(Formatted::Now);
        };
        let wrong = |name: &str, expected: &dyn std::fmt::Display, read: &dyn std::fmt::Display| {
            let path = self.path.join("meta.properties");
            Err(Failure::Other(format!("Invalid {name} in: {}. Expected {expected}, but read {read}", path.display())))
        };
        if found.cluster_id != node.cluster_id {
            return wrong("cluster.id", &node.cluster_id, &found.cluster_id);
        }
        match found.node_id == node.node_id {
            true => Ok(Formatted::Before),
            false => wrong("node.id", &node.node_id, &found.node_id),
        }
    }
}

pub fn random_id() -> Result<String> {
    let id = data_dir::random_id();
    id.map(|id| id.to_string()).map_err(|error| Failure::File { path: "/dev/urandom".into(), error })
}

/// Whose an existing directory is; `None` if it is not formatted.
pub fn inspect(path: &Path) -> Result<Option<NodeProperties>> {
    data_dir::inspect(path).map_err(Failure::Other)
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let format = self.format;
        match self.command {
            Command::Format { place, cluster_id, ignore_formatted } => {
                let directory = place.load()?;
                let known = || inspect(&directory.path).ok().flatten().map(|node| node.cluster_id);
                let cluster_id = match cluster_id.or_else(known) {
                    Some(id) => id,
                    None => random_id()?,
                };
                let formatted = directory.format(&cluster_id)?;
                let path = directory.path.display().to_string();
                if formatted == Formatted::Before && !ignore_formatted {
                    return Err(Failure::Other(format!("{path} is formatted already (--ignore-formatted takes that)")));
                }
                let text = match formatted {
                    Formatted::Now => "formatted",
                    Formatted::Before => "formatted already",
                };
                let node_id = directory.node_id;
                let human = || format!("{path}: {text}, cluster {cluster_id}, node {node_id}\n");
                format.print(human, || {
                    json!({
                        "directory": path,
                        "formatted": formatted == Formatted::Now,
                        "cluster_id": cluster_id,
                        "node_id": node_id.0,
                    })
                })
            }
            Command::Info { place } => info(&place.load()?, format),
            Command::RandomUuid => {
                let id = random_id()?;
                format.print(|| format!("{id}\n"), || Value::from(id.as_str()))
            }
        }
    }
}

fn info(directory: &Directory, format: Format) -> Result<()> {
    let path = directory.path.display().to_string();
    let failure = |error| Failure::File { path: path.clone(), error };
    std::fs::read_dir(&directory.path).map_err(failure)?;
    let Some(node) = inspect(&directory.path)? else {
        return Err(Failure::Other(format!("{path} is not formatted")));
    };
    node.check_node(directory.node_id).map_err(|what| Failure::Other(format!("{path}: {what}")))?;
    let pairs = node.pairs();
    match format {
        Format::Human => {
            let lines: String = pairs.iter().map(|(name, value)| format!("  {name}={value}\n")).collect();
            print(&format!("{path}\n{lines}"))
        }
        Format::Json => {
            let fields = pairs.into_iter().map(|(name, value)| (name.to_string(), value.into()));
            let fields: serde_json::Map<String, Value> = fields.collect();
            print(&format!("{:#}\n", json!({"directory": path, "properties": fields})))
        }
    }
}
