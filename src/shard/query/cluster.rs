//! DescribeCluster (API 60), and which brokers a client of one listener sees.

use super::{CLUSTER_OPERATIONS, OPERATIONS_OMITTED, reply};
use crate::metadata::{Image, Placement};
use crate::shard::context::Context;
use crate::shard::node::Node;
use crate::types::BrokerId;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::DescribeClusterRequest;
use crate::wire::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};
use bytes::Bytes;

/// Kinds of endpoints that a client may ask for (KIP-919).
const ENDPOINT_BROKER: i8 = 1;
const ENDPOINT_CONTROLLER: i8 = 2;

/// A broker as clients of one listener reach it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint<'a> {
    pub id: BrokerId,
    pub host: &'a str,
    pub port: u16,
    pub rack: Option<&'a str>,
}

/// The brokers that clients of one listener can reach, ordered by id. The node itself is always there.
pub struct Endpoints<'a>(Vec<Endpoint<'a>>);

impl<'a> Endpoints<'a> {
    pub fn of(node: &'a Node, image: &'a Image, listener: usize) -> Endpoints<'a> {
        let (host, port) = &node.advertised[listener];
        let own = Endpoint { id: node.id, host, port: *port, rack: node.config.rack.as_deref() };
        let name = &node.config.listeners[listener].name;
        let others = image.brokers().filter(|(id, _)| *id != node.id);
        let mut endpoints: Vec<_> = others
            .filter_map(|(id, broker)| {
                let listener = broker.listeners.iter().find(|listener| listener.name == *name)?;
                Some(Endpoint { id, host: &listener.host, port: listener.port, rack: broker.rack.as_deref() })
            })
            .collect();
        endpoints.push(own);
        endpoints.sort_by_key(|endpoint| endpoint.id);
        Endpoints(endpoints)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Endpoint<'a>> {
        self.0.iter()
    }

    fn contains(&self, id: BrokerId) -> bool {
        self.0.binary_search_by_key(&id, |endpoint| endpoint.id).is_ok()
    }

    /// The leader of a partition, or LEADER_NOT_AVAILABLE and none if clients cannot reach it.
    pub fn leader(&self, placement: &Placement) -> (ErrorCode, BrokerId) {
        match self.contains(placement.leader) {
            true => (ErrorCode::None, placement.leader),
            false => (ErrorCode::LeaderNotAvailable, BrokerId::NONE),
        }
    }

    pub fn offline(&self, placement: &Placement) -> Vec<i32> {
        let replicas = placement.replicas.iter().copied();
        replicas.filter(|&id| !self.contains(id)).map(|id| id.0).collect()
    }
}

pub fn answer(context: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    let &Context { node, image, listener, .. } = context;
    let request = DescribeClusterRequest::decode(&mut Reader::new(body), head.version)?;
    let response = match check_endpoint_type(request.endpoint_type) {
        Err((error, message)) => DescribeClusterResponse {
            error_code: error.code(),
            error_message: Some(message.into()),
            ..Default::default()
        },
        Ok(()) => {
            let endpoints = Endpoints::of(node, image, listener);
            let broker = |endpoint: &Endpoint<'_>| DescribeClusterBroker {
                broker_id: endpoint.id.0,
                host: endpoint.host.to_string().into(),
                port: i32::from(endpoint.port),
                rack: endpoint.rack.map(|rack| rack.to_string().into()),
                is_fenced: false,
            };
            DescribeClusterResponse {
                endpoint_type: request.endpoint_type,
                cluster_id: (&*node.cluster_id).into(),
                controller_id: node.id.0,
                brokers: endpoints.iter().map(broker).collect(),
                cluster_authorized_operations: match request.include_cluster_authorized_operations {
                    true => CLUSTER_OPERATIONS,
                    false => OPERATIONS_OMITTED,
                },
                ..Default::default()
            }
        }
    };
    Ok(reply(head, |w| response.encode(w, head.version)))
}

/// Controllers are not asked through a broker's listener.
fn check_endpoint_type(endpoint_type: i8) -> Result<(), (ErrorCode, String)> {
    match endpoint_type {
        ENDPOINT_BROKER => Ok(()),
        ENDPOINT_CONTROLLER => Err((
            ErrorCode::MismatchedEndpointType,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER".into(),
        )),
        unknown => Err((ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {unknown}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Broker, Listener};
    use crate::shard::query::fixture::{World, ask};
    use crate::types::Epoch;

    #[test]
    fn every_version_describes_the_cluster() {
        let world = World::new(&[]);
        for version in 0..=2 {
            for asked in [false, true] {
                let request =
                    DescribeClusterRequest { include_cluster_authorized_operations: asked, ..Default::default() };
                let response = ask!(world.query(version), DescribeCluster, DescribeClusterResponse, request);
                let expected = DescribeClusterResponse {
                    cluster_id: "4L6g3nShT-eMCtK--X86sw".into(),
                    controller_id: 1,
                    brokers: vec![DescribeClusterBroker {
                        broker_id: 1,
                        host: "broker.example".into(),
                        port: 19092,
                        rack: Some("r1".into()),
                        is_fenced: false,
                    }],
                    cluster_authorized_operations: if asked { 8096 } else { i32::MIN },
                    ..Default::default()
                };
                assert_eq!(response, expected);
            }
        }
    }

    #[test]
    fn controllers_are_asked_elsewhere() {
        let world = World::new(&[]);
        for (endpoint_type, error) in [(2, 114), (0, 115), (7, 115)] {
            let request = DescribeClusterRequest { endpoint_type, ..Default::default() };
            let response = ask!(world.query(1), DescribeCluster, DescribeClusterResponse, request);
            assert_eq!(response.error_code, error);
            assert!(response.error_message.expect("a message").contains("endpoint of type") || endpoint_type != 2);
            assert!(response.brokers.is_empty());
        }
    }

    #[test]
    fn clients_see_the_brokers_of_their_listener() {
        let mut world = World::new(&[]);
        for (id, name) in [(0, "PLAINTEXT"), (2, "OTHER")] {
            let listener = Listener { name: name.into(), host: format!("host{id}"), port: 9000 };
            let broker = Broker { listeners: vec![listener], rack: None };
            world.controller.register_broker(BrokerId(id), broker).expect("registered");
        }
        let endpoints = Endpoints::of(&world.node, world.controller.image_decided(), 0);
        let seen: Vec<_> = endpoints.iter().map(|e| (e.id.0, e.host, e.port)).collect();
        assert_eq!(seen, [(0, "host0", 9000), (1, "broker.example", 19092)]);
        let placement = |leader| Placement {
            leader: BrokerId(leader),
            leader_epoch: Epoch(3),
            ..Placement::new(&[0, 2].map(BrokerId))
        };
        assert_eq!(endpoints.leader(&placement(0)), (ErrorCode::None, BrokerId(0)));
        assert_eq!(endpoints.leader(&placement(2)), (ErrorCode::LeaderNotAvailable, BrokerId::NONE));
        assert_eq!(endpoints.offline(&placement(0)), [2]);
    }
}
