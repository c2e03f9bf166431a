//! What every shard of a node knows of the node itself.

use crate::config::Config;
use crate::types::BrokerId;
use std::sync::Arc;

/// Fixed from start to end of the process; the settings in it are those of the start, before dynamic ones.
#[derive(Clone, Debug)]
pub struct Node {
    /// `node.id`
    pub id: BrokerId,
    /// 22 characters of URL-safe base64.
    pub cluster_id: Arc<str>,
    /// The settings of the start.
    pub config: Arc<Config>,
    /// Where clients of each listener reach this node, by the listener's index in `config.listeners`; the port is the one
    /// that was bound.
    pub advertised: Vec<(Arc<str>, u16)>,
    /// How many cores serve.
    pub shards: u16,
}
