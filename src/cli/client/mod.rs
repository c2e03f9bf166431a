//! A small client that waits for each answer: a list of addresses to begin with, connections to the brokers that lead
//! partitions or coordinate groups, and the highest version of each API that both sides know.
//!
//! An answer borrows from the connection that it came over, so nothing is copied and nothing outlives the next request.

mod cluster;
mod link;

pub use cluster::{Cluster, Node, Partition, Topic};
pub use link::{CLIENT_ID, Link};

use super::failure::{Failure, Result};
use crate::client::address::with_port;
use crate::types::BrokerId;
use crate::wire::error::ErrorCode;
use crate::wire::messages::find_coordinator_request::FindCoordinatorRequest;
use crate::wire::messages::{ApiKey, Exchange, MetadataRequest, metadata_request::MetadataRequestTopic};
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

/// How long until a request is sent again that a broker could not answer yet.
const AGAIN_INTERVAL: Duration = Duration::from_millis(20);
/// FindCoordinator since which several keys are asked for at a time, and the answer is a list (KIP-699).
const FIND_COORDINATOR_BATCHED: i16 = 4;
/// First version of Metadata in which topics can be asked for without making them.
const METADATA_WITHOUT_CREATION: i16 = 4;

/// Whose place FindCoordinator is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coordinated {
    Group = 0,
    Transaction = 1,
}

pub struct Client {
    /// The first is to whichever broker of the list answered.
    links: Vec<Link>,
    /// Brokers by the metadata that were read last.
    nodes: Vec<Node>,
    timeout: Duration,
}

impl Client {
    /// Connects to the first of `addresses` (`HOST:PORT`, or `HOST` for Kafka's port) that takes the connection.
    pub fn connect(addresses: &[String], timeout: Duration) -> Result<Client> {
        let mut tried = Vec::new();
        for address in addresses {
            match Link::connect(&with_port(address).map_err(Failure::Usage)?, timeout) {
                Ok(link) => return Ok(Client { links: vec![link], nodes: Vec::new(), timeout }),
                Err(Failure::Unreachable(more)) => tried.extend(more),
                Err(Failure::Lost { address, error }) => tried.push((address, error)),
                Err(other) => return Err(other),
            }
        }
        match tried.is_empty() {
            true => Err(Failure::Usage("no address of a broker is given".into())),
            false => Err(Failure::Unreachable(tried)),
        }
    }

    /// How long everything that a command waits for may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sets how long everything that is waited for may take from here on.
    pub fn patience(&mut self, timeout: Duration) -> Result<()> {
        self.timeout = timeout;
        self.links.iter_mut().try_for_each(|link| link.patience(timeout))
    }

    /// The same for the fields of requests that say how long the broker may take, in milliseconds.
    pub fn timeout_ms(&self) -> i32 {
        i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX)
    }

    /// The connection to whichever broker answered first.
    pub fn any(&mut self) -> &mut Link {
        &mut self.links[0]
    }

    /// Asks whichever broker is connected; brokers pass on what is the controller's.
    pub fn ask<R: Exchange>(&mut self, request: &R) -> Result<R::Response<'_>> {
        self.any().ask(request)
    }

    /// Whether the broker has an API in a version from `version` on.
    pub fn has(&mut self, api: ApiKey, version: i16) -> bool {
        self.any().version(api).is_ok_and(|highest| highest >= version)
    }

    /// The connection to a broker by its id, which the metadata name.
    pub fn broker(&mut self, id: BrokerId) -> Result<&mut Link> {
        if !self.nodes.iter().any(|node| node.id == id) {
            self.cluster(Some(&[]))?;
        }
        let Some(node) = self.nodes.iter().find(|node| node.id == id) else {
            return Err(Failure::Other(format!("there is no broker {id}")));
        };
        let address = node.address();
        let mut found = self.links.iter().position(|link| link.address() == address);
        if found.is_none()
            && let Ok(mut peers) = address.to_socket_addrs()
        {
            found = peers.find_map(|peer| self.links.iter().position(|link| link.peer() == peer));
        }
        let index = match found {
            Some(index) => index,
            None => {
                self.links.push(Link::connect(&address, self.timeout)?);
                self.links.len() - 1
            }
        };
        Ok(&mut self.links[index])
    }

    /// Brokers and topics: all topics for `None`. A topic that is not there is in the answer, with its error.
    pub fn cluster(&mut self, topics: Option<&[&str]>) -> Result<Cluster> {
        let topic = |name: &&str| MetadataRequestTopic { name: Some((*name).to_string().into()), ..Default::default() };
        let request = MetadataRequest {
            topics: topics.map(|names| names.iter().map(topic).collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let link = self.any();
        let version = link.version(ApiKey::Metadata)?;
        if version < METADATA_WITHOUT_CREATION {
            // To ask would be to make them.
            return Err(Failure::Other(format!("{} is older than Kafka 0.11", link.address())));
        }
        let cluster = Cluster::of(&link.ask_in(&request, version)?)?;
        self.nodes.clone_from(&cluster.nodes);
        Ok(cluster)
    }

    /// The broker that coordinates a group or transaction. Waits for one that is not ready.
    pub fn coordinator(&mut self, of: Coordinated, key: &str) -> Result<BrokerId> {
        let what = format!("coordinator of {key}");
        self.again(|client| {
            let link = client.any();
            let mut request = FindCoordinatorRequest { key_type: of as i8, ..Default::default() };
            let version = link.version(ApiKey::FindCoordinator)?;
            if version >= FIND_COORDINATOR_BATCHED {
                request.coordinator_keys = vec![key.into()];
            } else {
                request.key = key.into();
            }
            let answer = link.ask_in(&request, version)?;
            match answer.coordinators.first() {
                Some(found) => {
                    let result = Failure::check(&what, found.error_code, found.error_message.as_deref());
                    result.map(|()| BrokerId(found.node_id))
                }
                None => {
                    let result = Failure::check(&what, answer.error_code, answer.error_message.as_deref());
                    result.map(|()| BrokerId(answer.node_id))
                }
            }
        })
    }

    /// Does `attempt` until it succeeds, fails for good, or time is up: errors after which Kafka's clients ask again are
    /// those of a broker that is starting or has just changed.
    pub fn again<T>(&mut self, mut attempt: impl FnMut(&mut Client) -> Result<T>) -> Result<T> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match attempt(self) {
                Err(failure) if failure.code().is_some_and(is_passing) && Instant::now() < deadline => {
                    std::thread::sleep(AGAIN_INTERVAL);
                }
                result => return result,
            }
        }
    }
}

/// Errors that go away by themselves. What is unknown may stay so, and is an answer.
fn is_passing(code: ErrorCode) -> bool {
    use ErrorCode::*;
    code.retriable() && !matches!(code, UnknownTopicOrPartition | UnknownTopicId | ElectionNotNeeded | ListenerNotFound)
}
