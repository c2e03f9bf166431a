//! All that a broker has stored, as lines: so what it says before a restart can be compared with what it says after it.

use crate::client::{Client, read_frame};
use klamm::wire::batch::batches;
use klamm::wire::codec::{Reader, Records};
use klamm::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm::wire::messages::*;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};

/// Of a topic with more partitions only some are read.
const PARTITIONS_READ: i32 = 8;
/// Of so many topics and groups everything is asked, of others only what a list says of them.
const NAMES_READ: usize = 200;
const OFFSETS_TOPIC: &str = "__consumer_offsets";
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// What a broker says of what it has stored, by what it is about.
pub type Stored = BTreeMap<String, String>;

/// Asks one thing, and has `look` see the answer.
#[track_caller]
pub fn exchange<Q: Exchange, T>(
    client: &mut Client,
    version: i16,
    request: &Q,
    look: impl FnOnce(Q::Response<'_>) -> T,
) -> T {
    client.send(Q::API, version, |w| request.encode(w, version));
    let name = Q::API.name();
    let frame = read_frame(&mut client.stream).unwrap_or_else(|error| panic!("{name}: {error}"));
    let frame = frame.unwrap_or_else(|| panic!("{name}: the connection is closed"));
    let mut reader = Reader::new(&frame);
    ResponseHeader::decode(&mut reader, Q::API.header_versions(version).1).expect("a header");
    let response = Q::decode_response(&mut reader, version).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(reader.remaining(), 0, "bytes behind the response to {name}");
    look(response)
}

/// Everything that is stored. Nobody may change it meanwhile.
pub fn stored(client: &mut Client) -> Stored {
    let mut found = Stored::new();
    let topics = topics(client);
    for (name, (id, partitions)) in &topics {
        found.insert(format!("topic {name}"), format!("{id:?}, {partitions} partitions"));
    }
    let mut resources: BTreeSet<(i8, String)> = topics.keys().take(NAMES_READ).map(|name| (2, name.clone())).collect();
    resources.insert((4, "1".into()));
    resources.insert((4, String::new()));
    let listed = exchange(client, 1, &ListConfigResourcesRequest::default(), |answer| {
        assert_eq!(answer.error_code, 0);
        let resource =
            |r: &list_config_resources_response::ConfigResource<'_>| (r.resource_type, r.resource_name.to_string());
        // Brokers and their loggers have many settings that are no one's.
        answer.config_resources.iter().map(resource).filter(|(kind, _)| [16, 32].contains(kind)).collect::<Vec<_>>()
    });
    resources.extend(listed.into_iter().take(NAMES_READ));
    settings(client, &resources, &mut found);
    for (name, (_, partitions)) in topics.iter().take(NAMES_READ) {
        (0..*partitions.min(&PARTITIONS_READ)).for_each(|index| partition(client, name, index, &mut found));
    }
    positions(client, &mut found);
    exchange(client, 4, &DescribeLogDirsRequest { topics: None }, |answer| assert_eq!(answer.error_code, 0));
    exchange(client, 1, &DescribeClusterRequest::default(), |answer| assert_eq!(answer.error_code, 0));
    found
}

/// Topics with their ids and partitions.
pub fn topics(client: &mut Client) -> BTreeMap<String, (klamm::types::Uuid, i32)> {
    let all = MetadataRequest { topics: None, ..Default::default() };
    exchange(client, 12, &all, |answer| {
        let topic = |topic: &metadata_response::MetadataResponseTopic<'_>| {
            assert_eq!(topic.error_code, 0, "{topic:?}");
            (topic.name.as_deref().expect("a name").to_string(), (topic.topic_id, topic.partitions.len() as i32))
        };
        answer.topics.iter().map(topic).collect()
    })
}

/// The settings that are not the program's defaults.
fn settings(client: &mut Client, resources: &BTreeSet<(i8, String)>, found: &mut Stored) {
    const DEFAULT: i8 = 5;
    let resources: Vec<_> = resources.iter().collect();
    for some in resources.chunks(20) {
        let resource = |(kind, name): &&(i8, String)| describe_configs_request::DescribeConfigsResource {
            resource_type: *kind,
            resource_name: Cow::Owned(name.clone()),
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest { resources: some.iter().map(resource).collect(), ..Default::default() };
        exchange(client, 4, &request, |answer| {
            assert_eq!(answer.results.len(), some.len());
            for result in &answer.results {
                let of = format!("settings of {} {:?}", result.resource_type, result.resource_name);
                assert_eq!(result.error_code, 0, "{of}: {:?}", result.error_message);
                let set = result.configs.iter().filter(|config| config.config_source != DEFAULT);
                found.insert(of, set.map(|config| format!("{}={:?} ", config.name, config.value)).collect());
            }
        });
    }
}

/// Where a partition begins and ends, and a sum of what is in between.
fn partition(client: &mut Client, topic: &str, index: i32, found: &mut Stored) {
    let mut offset_of = |timestamp| {
        let wanted = ListOffsetsPartition { partition_index: index, current_leader_epoch: -1, timestamp };
        let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![wanted] }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        exchange(client, 7, &request, |answer| {
            let part = &answer.topics[0].partitions[0];
            assert_eq!(part.error_code, 0, "ListOffsets of {topic}-{index}");
            part.offset
        })
    };
    let (start, end) = (offset_of(EARLIEST), offset_of(LATEST));
    let mut sum = DefaultHasher::new();
    let mut at = start;
    while at < end {
        let next = fetch(client, topic, index, at, &mut sum);
        assert!(next > at, "nothing is at {at} of {topic}-{index}, which ends at {end}");
        at = next;
    }
    // The broker itself writes when a member's time is over.
    if topic != OFFSETS_TOPIC {
        found.insert(format!("partition {topic}-{index}"), format!("{start} to {end}, {:x}", sum.finish()));
    }
}

/// Adds some batches of a partition to `sum`; the offset behind them.
fn fetch(client: &mut Client, topic: &str, partition: i32, offset: i64, sum: &mut DefaultHasher) -> i64 {
    let wanted = FetchPartition {
        partition,
        current_leader_epoch: -1,
        fetch_offset: offset,
        partition_max_bytes: 4 << 20,
        ..Default::default()
    };
    let topics = vec![FetchTopic { topic: topic.into(), partitions: vec![wanted], ..Default::default() }];
    let request = FetchRequest { max_bytes: 4 << 20, topics, session_epoch: -1, ..Default::default() };
    exchange(client, 11, &request, |answer| {
        let part = &answer.responses[0].partitions[0];
        assert_eq!(part.error_code, 0, "Fetch of {topic}-{partition} at {offset}");
        let Some(Records::Slice(bytes)) = &part.records else { return offset };
        let mut walk = batches(bytes);
        let last = walk.by_ref().last().map_or(offset, |batch| batch.header.last_offset() + 1);
        // Batches that an answer begins with may be older than what was asked for.
        if last > offset {
            sum.write(&bytes[..walk.position()]);
        }
        last
    })
}

/// The positions that groups have committed.
fn positions(client: &mut Client, found: &mut Stored) {
    let list = ListGroupsRequest::default();
    let groups: Vec<String> = exchange(client, 4, &list, |answer| {
        assert_eq!(answer.error_code, 0);
        answer.groups.iter().map(|group| group.group_id.to_string()).collect()
    });
    for some in groups.chunks(20) {
        let names = some.iter().map(|name| Cow::Borrowed(&**name)).collect();
        let request = DescribeGroupsRequest { groups: names, ..Default::default() };
        exchange(client, 5, &request, |answer| {
            assert!(answer.groups.iter().all(|group| group.error_code == 0), "{:?}", answer.groups);
        });
        let group = |name: &String| offset_fetch_request::OffsetFetchRequestGroup {
            group_id: Cow::Owned(name.clone()),
            topics: None,
            member_epoch: -1,
            ..Default::default()
        };
        let request = OffsetFetchRequest { groups: some.iter().map(group).collect(), ..Default::default() };
        exchange(client, 8, &request, |answer| {
            for group in &answer.groups {
                assert_eq!(group.error_code, 0, "OffsetFetch of {:?}", group.group_id);
                for topic in &group.topics {
                    for p in &topic.partitions {
                        let of = format!("position {:?} {}-{}", group.group_id, topic.name, p.partition_index);
                        let metadata = p.metadata.as_deref().map(str::len);
                        found.insert(of, format!("{} {metadata:?} {}", p.committed_offset, p.error_code));
                    }
                }
            }
        });
    }
}
