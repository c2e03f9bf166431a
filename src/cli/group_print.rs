//! How `klamm group describe` prints.

use super::failure::Result;
use super::operation::TopicPartition;
use super::operation::groups::{Described, Member};
pub use super::operation::lag::Row;
use super::options::Options;
use super::output::{Table, or_none};
use serde_json::{Value, json};

fn host(group: &Described, row: &Row) -> Option<String> {
    row.member.map(|member| group.members[member].host.clone())
}

pub fn offsets(options: &Options, groups: &[Described], rows: &[Vec<Row>]) -> Result<()> {
    let human = || {
        let head = ["GROUP", "TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "CLIENT", "HOST"];
        let mut table = Table::new(&head);
        for (group, row) in groups.iter().zip(rows).flat_map(|(group, rows)| rows.iter().map(move |row| (group, row))) {
            let member = row.member.map(|member| &group.members[member]);
            table.row(vec![
                group.id.clone(),
                row.place.topic.clone(),
                row.place.partition.to_string(),
                or_none(row.committed),
                or_none(row.end),
                or_none(row.lag()),
                or_none(member.map(|member| &member.id)),
                or_none(member.map(|member| &member.client_id)),
                or_none(host(group, row)),
            ]);
        }
        table.to_string()
    };
    let json = || {
        let group = |(group, rows): (&Described, &Vec<Row>)| {
            let row = |row: &Row| {
                let member = row.member.map(|member| &group.members[member].id);
                json!({ "topic": row.place.topic, "partition": row.place.partition, "committed": row.committed,
                    "leader_epoch": row.leader_epoch.map(|epoch| epoch.0), "end": row.end, "lag": row.lag(), "member": member })
            };
            json!({ "group": group.id, "state": group.state, "lag": rows.iter().filter_map(Row::lag).sum::<i64>(),
                "offsets": rows.iter().map(row).collect::<Value>() })
        };
        groups.iter().zip(rows).map(group).collect::<Value>()
    };
    options.format.print(human, json)
}

pub fn members(options: &Options, groups: &[Described]) -> Result<()> {
    let human = || {
        let mut table = Table::new(&["GROUP", "MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"]);
        for (group, member) in groups.iter().flat_map(|group| group.members.iter().map(move |member| (group, member))) {
            let (instance, partitions) = (or_none(member.instance_id.as_deref()), places(&member.assignment));
            let (id, client) = (member.id.clone(), member.client_id.clone());
            table.row(vec![group.id.clone(), id, instance, client, member.host.clone(), partitions]);
        }
        table.to_string()
    };
    let json = || {
        let member = |member: &Member| {
            let place = |place: &TopicPartition| json!({ "topic": place.topic, "partition": place.partition });
            json!({ "member": member.id, "instance": member.instance_id, "client": member.client_id,
                "host": member.host, "partitions": member.assignment.iter().map(place).collect::<Value>() })
        };
        let group = |group: &Described| json!({ "group": group.id, "state": group.state, "members": group.members.iter().map(member).collect::<Value>() });
        groups.iter().map(group).collect::<Value>()
    };
    options.format.print(human, json)
}

/// `topic:0,1;other:2`, or nothing.
pub fn places(places: &[TopicPartition]) -> String {
    let topics = super::operation::by_topic(places.iter().map(|place| (place, ())), |partition, ()| partition);
    let topics = topics.iter().map(|(topic, partitions)| format!("{topic}:{}", super::output::join(partitions)));
    or_none(Some(topics.collect::<Vec<_>>().join(";")).filter(|text| !text.is_empty()))
}

pub fn states(options: &Options, groups: &[Described]) -> Result<()> {
    let human = || {
        let mut table = Table::new(&["GROUP", "STATE", "PROTOCOL", "ASSIGNOR", "MEMBERS", "COORDINATOR"]);
        for group in groups {
            let text = |text: &String| or_none(Some(text).filter(|text| !text.is_empty()));
            let coordinator = group.coordinator.as_ref().map(|node| format!("{} ({})", node.address(), node.id));
            let (protocol, assignor) = (text(&group.protocol_type), text(&group.protocol));
            let members = group.members.len().to_string();
            table.row(vec![group.id.clone(), group.state.clone(), protocol, assignor, members, or_none(coordinator)]);
        }
        table.to_string()
    };
    let json = || {
        let group = |group: &Described| {
            json!({ "group": group.id, "state": group.state, "protocol_type": group.protocol_type,
                "assignor": group.protocol, "members": group.members.len(),
                "coordinator": group.coordinator.as_ref().map(|node| node.id.0) })
        };
        groups.iter().map(group).collect::<Value>()
    };
    options.format.print(human, json)
}
