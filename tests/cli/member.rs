//! A consumer in a group, by hand.

use crate::client::{Client, ask};
use crate::process::Broker;
use klamm::wire::codec::Writer;
use klamm::wire::messages::join_group_request::JoinGroupRequestProtocol;
use klamm::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use klamm::wire::messages::{JoinGroupRequest, SyncGroupRequest};

/// Joins a group as its only member, which reads both partitions of `topic`; gives its id, and stays as long as the
/// connection is open.
#[track_caller]
pub fn join(broker: &Broker, group: &str, topic: &str) -> (Client, String) {
    let mut client = Client::connect(broker.address);
    let mut id = String::new();
    // The first answer only gives an id.
    let generation = loop {
        let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: (&b"metadata"[..]).into() };
        let request = JoinGroupRequest {
            group_id: group.to_string().into(),
            session_timeout_ms: 60_000,
            rebalance_timeout_ms: 60_000,
            member_id: id.clone().into(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        };
        let response = ask!(client, JoinGroup, 9, JoinGroupResponse, request);
        id = response.member_id.to_string();
        if response.error_code == 0 {
            break response.generation_id;
        }
    };
    let mut w = Writer::new();
    w.put_i16(0);
    w.put_length(Some(1), false);
    w.put_string(topic, false);
    w.put_length(Some(2), false);
    w.put_i32(0);
    w.put_i32(1);
    w.put_length(None, false);
    let share = w.into_bytes().to_vec();
    let request = SyncGroupRequest {
        group_id: group.to_string().into(),
        generation_id: generation,
        member_id: id.clone().into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: vec![SyncGroupRequestAssignment { member_id: id.clone().into(), assignment: share.into() }],
        ..Default::default()
    };
    let response = ask!(client, SyncGroup, 5, SyncGroupResponse, request);
    assert_eq!(response.error_code, 0);
    (client, id)
}
