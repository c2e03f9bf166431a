//! FindCoordinator (API 10): which broker coordinates a group.

use super::cluster::{Endpoint, Endpoints};
use super::reply;
use crate::shard::context::Context;
use crate::types::BrokerId;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::find_coordinator_response::Coordinator;
use crate::wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Where groups and their offsets are kept.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Kinds of keys.
const KEY_GROUP: i8 = 0;
const KEY_TRANSACTION: i8 = 1;
/// From here on a request has several keys (KIP-699).
pub const VERSION_KEYS: i16 = 4;
/// Different keys that one request may ask for. A tool that describes all groups asks for each.
const KEYS_MAX: usize = 1_000_000;
/// What stands for the coordinator where there is none.
const NO_NODE: i32 = BrokerId::NONE.0;
const NO_PORT: i32 = -1;

/// Whether the request can be answered only after [`OFFSETS_TOPIC`] is made: it then belongs on the controller's shard.
pub fn needs_topic(context: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<bool, DecodeError> {
    let (key_type, _) = asked(head.version, body)?;
    Ok(key_type == KEY_GROUP && context.image.topic(OFFSETS_TOPIC).is_none())
}

/// The kind of the keys that are asked for, and the keys, each once. Versions below [`VERSION_KEYS`] have one.
fn asked(version: i16, body: &[u8]) -> Result<(i8, Vec<Cow<'_, str>>), DecodeError> {
    let mut r = Reader::new(body);
    if version < VERSION_KEYS {
        let request = FindCoordinatorRequest::decode(&mut r, version)?;
        return Ok((request.key_type, vec![request.key]));
    }
    // Read one after the other: keys that come again take no memory, however many they are.
    let key_type = r.i8()?;
    let (mut keys, mut seen) = (Vec::new(), BTreeSet::new());
    let key_bytes_min = 1;
    r.array(true, key_bytes_min, |r| {
        let key = r.string(true)?;
        if seen.insert(key.clone()) {
            keys.push(key);
        }
        if keys.len() > KEYS_MAX { Err(DecodeError::Length) } else { Ok(()) }
    })?;
    r.tags(|_, value| value.take(value.remaining()).map(|_| ()))?;
    Ok((key_type, keys))
}

pub fn answer(context: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    let &Context { node, image, listener, .. } = context;
    let (key_type, keys) = asked(head.version, body)?;
    let endpoints = Endpoints::of(node, image, listener);
    let own = endpoints.iter().find(|endpoint| endpoint.id == node.id).expect("the node itself is always there");
    let found = match key_type {
        KEY_GROUP if image.topic(OFFSETS_TOPIC).is_some() => Ok(own),
        KEY_GROUP => Err((ErrorCode::CoordinatorNotAvailable, format!("{OFFSETS_TOPIC} is not there yet"))),
        // Final for clients, and about this id: COORDINATOR_NOT_AVAILABLE would have them try again forever.
        KEY_TRANSACTION => Err((
            ErrorCode::TransactionalIdAuthorizationFailed,
            "this build has no transactions: leave transactional.id out".into(),
        )),
        unknown => Err((ErrorCode::InvalidRequest, format!("key type {unknown} is not supported"))),
    };
    let response = match head.version {
        VERSION_KEYS.. => FindCoordinatorResponse {
            coordinators: keys.iter().map(|key| coordinator(key, &found)).collect(),
            ..Default::default()
        },
        _ => {
            let one = coordinator(&keys[0], &found);
            FindCoordinatorResponse {
                error_code: one.error_code,
                error_message: one.error_message,
                node_id: one.node_id,
                host: one.host,
                port: one.port,
                ..Default::default()
            }
        }
    };
    Ok(reply(head, |w| response.encode(w, head.version)))
}

fn coordinator<'a>(key: &'a str, found: &Result<&Endpoint<'a>, (ErrorCode, String)>) -> Coordinator<'a> {
    match found {
        Ok(endpoint) => Coordinator {
            key: key.into(),
            node_id: endpoint.id.0,
            host: endpoint.host.into(),
            port: i32::from(endpoint.port),
            error_code: ErrorCode::None.code(),
            error_message: None,
        },
        Err((code, message)) => Coordinator {
            key: key.into(),
            node_id: NO_NODE,
            host: "".into(),
            port: NO_PORT,
            error_code: code.code(),
            error_message: Some(message.clone().into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::query::fixture::{World, ask};

    fn find(world: &World, version: i16, key_type: i8, key: &'static str) -> (i16, i32, String, i32) {
        let request = FindCoordinatorRequest { key: key.into(), key_type, coordinator_keys: vec![key.into()] };
        let response = ask!(world.query(version), FindCoordinator, FindCoordinatorResponse, request);
        match response.coordinators.first() {
            Some(found) => {
                assert!(version >= VERSION_KEYS && found.key == key);
                (found.error_code, found.node_id, found.host.to_string(), found.port)
            }
            None => (response.error_code, response.node_id, response.host.to_string(), response.port),
        }
    }

    #[test]
    fn a_key_that_is_named_often_is_answered_once() {
        let mut world = World::new(&[]);
        world.topic(OFFSETS_TOPIC, 3, &[]);
        let coordinator_keys = ["", "g", "", "h", "g"].repeat(200_000).into_iter().map(Into::into).collect();
        let request = FindCoordinatorRequest { coordinator_keys, ..Default::default() };
        let response = ask!(world.query(6), FindCoordinator, FindCoordinatorResponse, request);
        let keys: Vec<&str> = response.coordinators.iter().map(|found| &*found.key).collect();
        assert_eq!(keys, ["", "g", "h"]);
        assert_eq!(asked(6, &[0, 2, 2, b'g']), Err(DecodeError::Truncated));
    }

    #[test]
    fn every_version_finds_the_coordinator() {
        let mut world = World::new(&[]);
        for version in 0..=6 {
            assert_eq!(find(&world, version, 0, "g"), (15, -1, String::new(), -1));
        }
        world.topic(OFFSETS_TOPIC, 3, &[]);
        for version in 0..=6 {
            assert_eq!(find(&world, version, 0, "g"), (0, 1, "broker.example".into(), 19092));
        }
        for version in 1..=6 {
            assert_eq!(find(&world, version, 1, "t").0, ErrorCode::TransactionalIdAuthorizationFailed.code());
            assert_eq!(find(&world, version, 2, "s").0, ErrorCode::InvalidRequest.code());
        }
    }
}
