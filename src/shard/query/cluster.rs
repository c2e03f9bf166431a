//! DescribeCluster (API 60), and which brokers a client of one listener sees.

use bytes::Bytes;

use super::{CLUSTER_OPERATIONS, OPERATIONS_OMITTED, reply};
use crate::metadata::{Image, Placement};
use crate::shard::node::Node;
use crate::types::BrokerId;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::DescribeClusterRequest;
use crate::wire::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};

/// Kinds of endpoints that a client may ask for (KIP-919).
const ENDPOINT_BROKER: i8 = 1;
const ENDPOINT_CONTROLLER: i8 = 2;
/// Leader of a partition that has none.
const NO_LEADER: BrokerId = -1;

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
        let own = Endpoint {
            id: node.id,
            host,
            port: *port,
            rack: node.config.rack.as_deref(),
        };
        let name = &node.config.listeners[listener].name;
        let others = image.brokers().filter(|(id, _)| *id != node.id);
        let mut endpoints: Vec<_> = others
            .filter_map(|(id, broker)| {
                let listener = broker.listeners.iter().find(|listener| listener.name == *name)?;
                Some(Endpoint {
                    id,
                    host: &listener.host,
                    port: listener.port,
                    rack: broker.rack.as_deref(),
                })
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

    /// The leader of a partition, or LEADER_NOT_AVAILABLE and -1 if clients cannot reach it.
    pub fn leader(&self, placement: &Placement) -> (ErrorCode, BrokerId) {
        match self.contains(placement.leader) {
            true => (ErrorCode::None, placement.leader),
            false => (ErrorCode::LeaderNotAvailable, NO_LEADER),
        }
    }

    pub fn offline(&self, placement: &Placement) -> Vec<BrokerId> {
        let replicas = placement.replicas.iter().copied();
        replicas.filter(|&id| !self.contains(id)).collect()
    }
}

pub fn answer(
    node: &Node,
    image: &Image,
    listener: usize,
    head: &Head<'_>,
    body: &[u8],
) -> Result<Vec<Bytes>, DecodeError> {
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
                broker_id: endpoint.id,
                host: endpoint.host.to_string().into(),
                port: i32::from(endpoint.port),
                rack: endpoint.rack.map(|rack| rack.to_string().into()),
                is_fenced: false,
            };
            DescribeClusterResponse {
                endpoint_type: request.endpoint_type,
                cluster_id: (&*node.cluster_id).into(),
                controller_id: node.id,
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
        unknown => Err((
            ErrorCode::UnsupportedEndpointType,
            format!("Unsupported endpoint type {unknown}"),
        )),
    }
}
