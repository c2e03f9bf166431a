//! What the connection's core asks of the cores that coordinate groups, and what it is told.

use crate::group::Response;
use crate::types::Uuid;
use bytes::Bytes;
use std::net::IpAddr;

/// A request to the coordinators of one shard.
#[derive(Clone, Debug)]
pub struct GroupAsk {
    /// The topic whose partitions were counted to find the coordinators.
    pub topic: Uuid,
    pub partitions: i32,
    pub peer: IpAddr,
    /// The whole request frame, without its length.
    pub frame: Bytes,
}

/// One part of the answer; `None` if the request's bytes were no request.
pub type GroupAnswer = Option<Box<Response>>;
