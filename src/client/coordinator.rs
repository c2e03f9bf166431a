//! Who coordinates a group or a transaction (KIP-699).

use super::address::host_port;
use crate::types::BrokerId;
use crate::wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

/// Whose coordinator is looked for, by Kafka's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Of a consumer group, by its id.
    Group = 0,
    /// Of a transactional id.
    Transaction = 1,
}

/// The broker that coordinates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Coordinator {
    /// Its id.
    pub node: BrokerId,
    /// The host that clients connect to.
    pub host: String,
    /// The port that clients connect to.
    pub port: i32,
}

impl Coordinator {
    /// `HOST:PORT`, to connect to.
    pub fn address(&self) -> String {
        host_port(&self.host, self.port)
    }
}

/// Asks for one coordinator, in any version: up to 3 the key has a field of its own, from 4 on it is in a list.
pub fn request(kind: Kind, key: &str) -> FindCoordinatorRequest<'_> {
    FindCoordinatorRequest { key: key.into(), key_type: kind as i8, coordinator_keys: vec![key.into()] }
}

/// The coordinator, or Kafka's code and the broker's words.
pub fn found(answer: &FindCoordinatorResponse<'_>) -> Result<Coordinator, (i16, Option<String>)> {
    let (code, message, node, host, port) = match answer.coordinators.first() {
        Some(one) => (one.error_code, &one.error_message, one.node_id, &one.host, one.port),
        None => (answer.error_code, &answer.error_message, answer.node_id, &answer.host, answer.port),
    };
    match code {
        0 => Ok(Coordinator { node: BrokerId(node), host: host.to_string(), port }),
        _ => Err((code, message.as_deref().map(str::to_string))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::{Reader, Writer};
    use crate::wire::error::ErrorCode;
    use crate::wire::messages::find_coordinator_response;

    #[test]
    fn a_coordinator_is_found_in_every_version() {
        for version in FindCoordinatorRequest::VERSIONS {
            let mut w = Writer::new();
            request(Kind::Group, "g").encode(&mut w, version);
            let bytes = w.into_bytes();
            let asked = FindCoordinatorRequest::decode(&mut Reader::new(&bytes), version).unwrap();
            assert_eq!(asked.coordinator_keys.first().unwrap_or(&asked.key), "g", "version {version}");
            for error_code in [0, ErrorCode::CoordinatorNotAvailable.code()] {
                let (node_id, host, port) = (7, "h".into(), 9);
                let one =
                    find_coordinator_response::Coordinator { node_id, host, port, error_code, ..Default::default() };
                let host = "h".into();
                let coordinators = vec![one];
                let answer =
                    FindCoordinatorResponse { node_id, host, port, error_code, coordinators, ..Default::default() };
                let mut w = Writer::new();
                answer.encode(&mut w, version);
                let bytes = w.into_bytes();
                let answer = FindCoordinatorResponse::decode(&mut Reader::new(&bytes), version).unwrap();
                let expected = match error_code {
                    0 => Ok(Coordinator { node: BrokerId(7), host: "h".to_string(), port: 9 }),
                    code => Err(code),
                };
                assert_eq!(found(&answer).map_err(|(code, _)| code), expected, "version {version}");
            }
        }
    }
}
