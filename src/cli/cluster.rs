//! `klamm cluster`: what the cluster is.

use super::failure::Result;
use super::options::Options;
use super::output::{Table, or_none};
use serde_json::json;

/// Show the cluster
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Brokers, with their addresses
    Brokers,
    /// The cluster's id
    Id,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        match self.what {
            What::Id => id(&self.options),
            What::Brokers => brokers(&self.options),
        }
    }
}

fn id(options: &Options) -> Result<()> {
    let cluster = options.connect()?.cluster(Some(&[]))?;
    options.format.print(|| format!("{}\n", or_none(cluster.id.as_deref())), || json!({ "cluster_id": cluster.id }))
}

fn brokers(options: &Options) -> Result<()> {
    let cluster = options.connect()?.cluster(Some(&[]))?;
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
        let broker = |node: &super::client::Node| {
            json!({ "id": node.id, "host": node.host, "port": node.port, "rack": node.rack,
                "is_controller": node.id == cluster.controller })
        };
        json!(cluster.nodes.iter().map(broker).collect::<Vec<_>>())
    };
    options.format.print(human, json)
}
