//! The broker that a table is checked against: the real program, or another broker to compare with.
//!
//! `KLAMM_BROKER_ADDRESS=HOST:PORT cargo test --test broker -- produce:: fetch:: topics:: admin::` checks the tables against that
//! broker, such as Apache Kafka: where they hold for it too, the expectations are Kafka's own answers.

use crate::batches::now_ms;
use crate::client::Client;
use crate::process::Broker;
use std::net::{SocketAddr, ToSocketAddrs};

pub struct Subject {
    pub address: SocketAddr,
    suffix: String,
    _own: Option<(Broker, tempfile::TempDir)>,
}

impl Subject {
    #[track_caller]
    pub fn new(settings: &[(&str, &str)]) -> Subject {
        // Another broker keeps its topics from run to run.
        let suffix = format!("-{}", now_ms());
        if let Ok(address) = std::env::var("KLAMM_BROKER_ADDRESS") {
            let address = address.to_socket_addrs().expect("HOST:PORT").next().expect("an address");
            return Subject { address, suffix, _own: None };
        }
        let dir = tempfile::tempdir().expect("a directory");
        let broker = Broker::start(dir.path(), settings);
        Subject { address: broker.address, suffix, _own: Some((broker, dir)) }
    }

    /// Whether it is another broker, with settings of its own.
    pub fn is_other(&self) -> bool {
        self._own.is_none()
    }

    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// A name that no other run has used.
    pub fn name(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }
}
