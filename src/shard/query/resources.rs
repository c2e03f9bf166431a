//! ListConfigResources (API 74, KIP-1142): everything that has settings.

use super::configs::Resource;
use super::reply;
use crate::shard::context::Context;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::list_config_resources_response::{ConfigResource, ListConfigResourcesResponse};
use crate::wire::messages::{ApiKey, ListConfigResourcesRequest};
use bytes::Bytes;

/// From this version on a request says which kinds it wants; before, they are the subscriptions to client metrics.
const KINDS_VERSION: i16 = 1;

pub fn answer(context: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    let &Context { image, .. } = context;
    assert_eq!(head.api, ApiKey::ListConfigResources);
    let request = ListConfigResourcesRequest::decode(&mut Reader::new(body), head.version)?;
    let known = |number: &i8| Resource::from_number(*number).is_ok();
    let wanted = |kind: Resource| request.resource_types.is_empty() || request.resource_types.contains(&(kind as i8));
    let response = if !request.resource_types.iter().all(known) {
        ListConfigResourcesResponse { error_code: ErrorCode::UnsupportedVersion.code(), ..Default::default() }
    } else if head.version < KINDS_VERSION {
        ListConfigResourcesResponse::default()
    } else {
        let mut config_resources = Vec::new();
        let mut add = |kind, name: String| {
            config_resources.push(ConfigResource { resource_name: name.into(), resource_type: kind as i8 });
        };
        if wanted(Resource::Group) {
            image.groups_set().for_each(|group| add(Resource::Group, group.to_string()));
        }
        for kind in [Resource::BrokerLogger, Resource::Broker].into_iter().filter(|&kind| wanted(kind)) {
            image.brokers().for_each(|(id, _)| add(kind, id.to_string()));
        }
        if wanted(Resource::Topic) {
            image.topics().for_each(|topic| add(Resource::Topic, topic.name.to_string()));
        }
        ListConfigResourcesResponse { config_resources, ..Default::default() }
    };
    Ok(reply(head, |w| response.encode(w, head.version)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::query::fixture::{World, ask};

    fn list(world: &World, version: i16, kinds: &[i8]) -> (i16, Vec<(i8, String)>) {
        let request = ListConfigResourcesRequest { resource_types: kinds.to_vec() };
        let response = ask!(world.query(version), ListConfigResources, ListConfigResourcesResponse, request);
        let resources = response.config_resources.iter();
        (response.error_code, resources.map(|r| (r.resource_type, r.resource_name.to_string())).collect())
    }

    #[test]
    fn resources_are_listed_by_kind() {
        let mut world = World::new(&[]);
        world.topic("t", 1, &[]);
        let settings = [("share.isolation.level".to_string(), "read_committed".to_string())].into();
        world.controller.set_group_settings("g", settings, false, &|_, _| Ok(())).expect("set");
        let of = |all: &[(i8, &str)]| (0, all.iter().map(|(kind, name)| (*kind, name.to_string())).collect::<Vec<_>>());
        assert_eq!(list(&world, 1, &[2]), of(&[(2, "t")]));
        assert_eq!(list(&world, 1, &[4]), of(&[(4, "1")]));
        assert_eq!(list(&world, 1, &[32, 8]), of(&[(32, "g"), (8, "1")]));
        assert_eq!(list(&world, 1, &[16]), of(&[]));
        assert_eq!(list(&world, 1, &[]), of(&[(32, "g"), (8, "1"), (4, "1"), (2, "t")]));
        assert_eq!(list(&world, 1, &[2, 3]), (35, vec![]));
        assert_eq!(list(&world, 0, &[]), of(&[]), "client metrics, of which there are none");
    }
}
