//! FindCoordinator (API 10) that comes before there is a topic for groups: it is made on this occasion, as in Kafka.

use super::{Decision, defaults};
use crate::config::{Config, validate_topic};
use crate::metadata::{Controller, Terms, TopicSpec};
use crate::shard::query::{OFFSETS_TOPIC, coordinator};
use crate::types::Uuid;
use crate::wire::codec::DecodeError;
use crate::wire::frame::Head;
use bytes::Bytes;

/// The smallest segment that a topic may have.
const SEGMENT_BYTES_MIN: u32 = 1 << 20;

impl Decision<'_> {
    pub(in crate::shard) fn find_coordinator(self, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
        let config = self.config();
        if coordinator::needs_topic(&self.context(&config), head, body)? {
            make_offsets_topic(&config, self.controller, self.ids);
        }
        coordinator::answer(&self.context(&config), head, body)
    }
}

/// Decides that there is a topic for groups, unless there is one.
pub fn make_offsets_topic(config: &Config, controller: &mut Controller, ids: &mut dyn FnMut() -> Uuid) {
    if controller.image_decided().topic(OFFSETS_TOPIC).is_some() {
        return;
    }
    // What topics may be is for those of the clients.
    let terms = Terms { defaults: defaults(config), setting: &validate_topic, policy: &|_, _, _| Ok(()) };
    let answers = controller.create_topics(&[offsets_topic(config)], false, terms, ids);
    if let Some(Err(rejection)) = answers.first() {
        tracing::warn!("{OFFSETS_TOPIC} cannot be made: {rejection}");
    }
}

fn offsets_topic(config: &Config) -> TopicSpec {
    let setting = |name: &str, value: String| (name.to_string(), Some(value));
    TopicSpec {
        name: OFFSETS_TOPIC.into(),
        partitions: config.offsets_topic_partitions,
        replication_factor: 1,
        assignments: Vec::new(),
        settings: vec![
            setting("cleanup.policy", "compact".into()),
            setting("compression.type", "producer".into()),
            setting("segment.bytes", config.offsets_topic_segment_bytes.max(SEGMENT_BYTES_MIN).to_string()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::query::fixture::{World, ask};
    use crate::wire::messages::FindCoordinatorRequest;

    #[test]
    fn the_first_who_asks_has_the_topic_made() {
        let settings = [("offsets.topic.num.partitions", "7"), ("offsets.topic.segment.bytes", "1")];
        let mut world = World::new(&settings);
        let index = world.controller.index();
        for _ in 0..2 {
            let request = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
            let response = ask!(world.command(3), FindCoordinator, FindCoordinatorResponse, request);
            assert_eq!((response.error_code, response.node_id), (0, 1));
        }
        assert_eq!(world.controller.index(), index + 1, "once");
        let topic = world.controller.image_decided().topic(OFFSETS_TOPIC).expect("made").clone();
        assert_eq!((topic.partition_count(), topic.is_internal()), (7, true));
        assert_eq!(topic.settings["cleanup.policy"], "compact");
        assert_eq!(topic.settings["segment.bytes"], "1048576");
    }

    #[test]
    fn transactions_make_no_topic() {
        let mut world = World::new(&[]);
        let request = FindCoordinatorRequest { key: "t".into(), key_type: 1, ..Default::default() };
        let response = ask!(world.command(3), FindCoordinator, FindCoordinatorResponse, request);
        assert_eq!((response.error_code, world.topic_names().len()), (53, 0));
    }
}
