//! A small client that waits for each answer: a list of addresses to begin with, connections to the brokers that lead
//! partitions or coordinate groups, and the highest version of each API that both sides know.
//!
//! An answer borrows from the connection that it came over, so nothing is copied and nothing outlives the next request.

mod link;

pub use crate::client::coordinator::Kind as Coordinated;
pub use crate::client::metadata::{Cluster, Node, Partition, Topic};
pub use link::{CLIENT_ID, Link};

use super::failure::{Failure, Result};
use super::time::mono;
use crate::client::address::with_port;
use crate::client::meaning::Meaning;
use crate::client::partition::TopicPartition;
use crate::client::patience::Patience;
use crate::client::{coordinator, metadata};
use crate::types::{BrokerId, PartitionIndex, Time};
use crate::wire::error::ErrorCode;
use crate::wire::messages::{ApiKey, Exchange};
use std::net::ToSocketAddrs;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How long until a request is sent again that a broker could not answer yet: at first, and at most.
const PAUSES_MS: RangeInclusive<u64> = 20..=500;

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
    pub fn patience(&mut self, timeout: Duration) {
        self.timeout = timeout;
        self.links.iter_mut().for_each(|link| link.patience(timeout));
    }

    /// Pauses between attempts, until the time is over that everything may take.
    pub fn attempts(&self) -> Patience {
        Patience::new(u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX), PAUSES_MS)
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
        let request = metadata::request(topics, false);
        let link = self.any();
        let version = link.version(ApiKey::Metadata)?;
        if version < metadata::VERSION_WITHOUT_CREATION {
            // To ask would be to make them.
            return Err(Failure::Other(format!("{} is older than Kafka 0.11", link.address())));
        }
        let cluster =
            Cluster::of(&link.ask_in(&request, version)?).map_err(|code| Failure::refused("Metadata", code))?;
        self.nodes.clone_from(&cluster.nodes);
        Ok(cluster)
    }

    /// The broker that coordinates a group or transaction. Waits for one that is not ready.
    pub fn coordinator(&mut self, of: Coordinated, key: &str) -> Result<BrokerId> {
        let what = format!("coordinator of {key}");
        self.again(|client| {
            let found = coordinator::found(&client.ask(&coordinator::request(of, key))?);
            let refused = |(code, message)| Failure::Refused { what: what.clone(), code, message };
            found.map(|coordinator| coordinator.node).map_err(refused)
        })
    }

    /// Does `attempt` until it succeeds, fails for good, or time is up: errors after which Kafka's clients ask again are
    /// those of a broker that is starting or has just changed.
    pub fn again<T>(&mut self, mut attempt: impl FnMut(&mut Client) -> Result<T>) -> Result<T> {
        let mut attempts = self.attempts();
        loop {
            match attempt(self) {
                Err(failure) if failure.code().is_some_and(is_passing) => match attempts.failed(mono()) {
                    Some(at) => sleep_until(at),
                    None => return Err(failure),
                },
                result => return result,
            }
        }
    }
}

pub fn sleep_until(at: Time) {
    std::thread::sleep(Duration::from_nanos(at.0.saturating_sub(mono().0)));
}

/// A topic that is there, or the broker's reason why it is not.
pub fn topic<'a>(cluster: &'a Cluster, name: &str) -> Result<&'a Topic> {
    cluster.topic(name).map_err(|code| Failure::refused(format_args!("topic {name}"), code))
}

/// The broker that leads a partition, or why none can be asked.
pub fn leader(cluster: &Cluster, place: &TopicPartition) -> Result<BrokerId> {
    leader_of(topic(cluster, &place.topic)?, place.partition)
}

/// The same of a topic's partition.
pub fn leader_of(topic: &Topic, index: PartitionIndex) -> Result<BrokerId> {
    let what = format_args!("partition {index} of topic {}", topic.name);
    topic.leader(index).map_err(|code| Failure::refused(what, code))
}

/// Errors that go away by themselves. What is unknown may stay so, and is an answer.
fn is_passing(code: ErrorCode) -> bool {
    use ErrorCode::*;
    let is_answer = matches!(code, UnknownTopicOrPartition | UnknownTopicId | ElectionNotNeeded | ListenerNotFound);
    Meaning::of(code.code()).is_passing() && !is_answer
}
