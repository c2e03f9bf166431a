//! What a request is answered with: who asks, when, through which listener, and what this shard sees of the cluster.

use super::node::Node;
use crate::config::Config;
use crate::metadata::Image;
use crate::types::Now;
use crate::wire::messages::ApiKey;
use std::net::IpAddr;

/// Who sends requests through a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The address that it comes from.
    pub address: IpAddr,
    /// Who it has shown to be.
    pub principal: Principal,
}

/// An authenticated identity, as in Kafka's ACLs: `User:ANONYMOUS` where nobody has to say who they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal {
    /// Nobody has asked who it is.
    Anonymous,
}

/// The APIs that are served, each with its lowest and highest version, in the order of keys.
pub type Apis = fn() -> Vec<(ApiKey, i16, i16)>;

/// What the functions that answer requests are given besides the request.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The time of the turn.
    pub now: Now,
    /// This node.
    pub node: &'a Node,
    /// The cluster.
    pub image: &'a Image,
    /// The node's settings with the dynamic ones of `image`.
    pub config: &'a Config,
    /// What ApiVersions names.
    pub apis: Apis,
    /// The index of the client's listener in [`Node::advertised`].
    pub listener: usize,
    /// Who asks.
    pub caller: &'a Caller,
    /// How the client calls itself.
    pub client_id: &'a str,
}
