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
    pub address: IpAddr,
    pub principal: Principal,
}

/// An authenticated identity, as in Kafka's ACLs: `User:ANONYMOUS` where nobody has to say who they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal {
    Anonymous,
}

/// The APIs that are served, each with its lowest and highest version, in the order of keys.
pub type Apis = fn() -> Vec<(ApiKey, i16, i16)>;

/// What the functions that answer requests are given besides the request.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub now: Now,
    pub node: &'a Node,
    pub image: &'a Image,
    /// The node's settings with the dynamic ones of `image`.
    pub config: &'a Config,
    pub apis: Apis,
    /// The index of the client's listener in [`Node::advertised`].
    pub listener: usize,
    pub caller: &'a Caller,
    pub client_id: &'a str,
}
