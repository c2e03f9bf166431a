//! What `kafka-consumer-groups` prints.

use super::java::{CAPACITY, hash_order, hash_place, row};
use super::{End, say};
use crate::cli::group_print::places;
use crate::cli::operation::TopicPartition;
use crate::cli::operation::groups::{Described, Listed, Member};
use crate::cli::operation::lag::Row;
use crate::cli::operation::reset::Plan;
use crate::cli::output::{NONE, or_none, print};
use crate::types::Offset;
use std::collections::BTreeMap;

/// Types of groups in the tool's spelling, which may be asked for in any case.
pub(super) const TYPES: [&str; 2] = ["Classic", "Consumer"];

/// Least widths of most columns.
const WIDTH: usize = 15;

fn width<'a>(cells: impl Iterator<Item = &'a str>, least: usize) -> usize {
    cells.map(|cell| cell.chars().count()).chain([least]).max().unwrap_or(least)
}

pub fn listed(groups: &[Listed], with_type: bool, with_state: bool) -> Result<(), End> {
    if !with_type && !with_state {
        return Ok(print(&groups.iter().map(|group| format!("{}\n", group.id)).collect::<String>())?);
    }
    let widths = [width(groups.iter().map(|group| group.id.as_str()), WIDTH) + 10, 20, 20];
    let line = |id: &str, kind: &str, state: &str| {
        let mut cells = vec![id];
        cells.extend(with_type.then_some(kind));
        cells.extend(with_state.then_some(state));
        format!("{}\n", row(&cells, &widths))
    };
    let mut text = line("GROUP", "TYPE", "STATE");
    for group in groups {
        let unknown = || "Unknown".to_string();
        let known = |kind: &String| TYPES.into_iter().find(|name| name.eq_ignore_ascii_case(kind));
        let kind = group.kind.as_ref().map_or(Some(TYPES[0]), known).unwrap_or("Unknown");
        text += &line(&group.id, kind, &group.state.clone().unwrap_or_else(unknown));
    }
    Ok(print(&text)?)
}

/// Says what is to be said of a group's state; whether anything else is to be printed.
fn has_table(group: &Described, rows: usize) -> Result<bool, End> {
    let id = &group.id;
    match group.state.as_str() {
        "Dead" => say(&format!("\nError: Consumer group '{id}' does not exist."))?,
        "Empty" => eprintln!("\nConsumer group '{id}' has no active members."),
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            eprintln!("\nWarning: Consumer group '{id}' is rebalancing.");
        }
        _ => {}
    }
    Ok(group.state != "Dead" && rows > 0)
}

pub fn offsets(group: &Described, rows: &[Row], verbose: bool) -> Result<(), End> {
    if !has_table(group, rows.len())? {
        return Ok(());
    }
    let member = |row: &Row| row.member.map(|member| &group.members[member]);
    let of = |row: &Row, field: fn(&Member) -> &String| or_none(member(row).map(field));
    let cells = |row: &Row| {
        let mut cells = vec![group.id.clone(), row.place.topic.clone(), row.place.partition.to_string()];
        cells.extend(verbose.then(|| or_none(row.leader_epoch)));
        cells.extend([or_none(row.committed), or_none(row.end), or_none(row.lag())]);
        cells.extend([
            of(row, |member| &member.id),
            of(row, |member| &member.host),
            of(row, |member| &member.client_id),
        ]);
        cells
    };
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let mut head = vec!["GROUP", "TOPIC", "PARTITION"];
    head.extend(verbose.then_some("LEADER-EPOCH"));
    head.extend(["CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"]);
    let wide = |column: usize| width(rows.iter().map(|row| row[column].as_str()), WIDTH);
    let last = head.len() - 1;
    let widths: Vec<usize> = (0..last)
        .map(|column| match column {
            0 | 1 => wide(column),
            2 => 10,
            _ if column >= last - 2 => wide(column),
            _ => WIDTH,
        })
        .collect();
    let mut text = format!("\n{}", row(&head, &widths));
    for cells in &rows {
        text += &format!("\n{}", row(&cells.iter().map(String::as_str).collect::<Vec<_>>(), &widths));
    }
    say(&text)
}

pub fn members(group: &Described, verbose: bool) -> Result<(), End> {
    has_table(group, group.members.len())?;
    let members = &group.members;
    let instance = |member: &Member| member.instance_id.clone().unwrap_or_default();
    let with_instance = members.iter().any(|member| !instance(member).is_empty());
    let assignments: Vec<String> = members.iter().map(|member| places(&member.assignment)).collect();
    // Without members Kafka's tool prints the head, in its least widths.
    let column = |field: &dyn Fn(&Member) -> String, least| {
        let cells: Vec<String> = members.iter().map(field).collect();
        width(cells.iter().map(String::as_str), least)
    };
    let mut widths = vec![if members.is_empty() { WIDTH } else { width(std::iter::once(group.id.as_str()), WIDTH) }];
    widths.push(column(&|member| member.id.clone(), WIDTH));
    widths.extend(with_instance.then(|| column(&instance, 17)));
    widths.extend([column(&|member| member.host.clone(), WIDTH), column(&|member| member.client_id.clone(), WIDTH)]);
    widths.push(WIDTH);
    let more = [WIDTH, width(assignments.iter().map(String::as_str), 20), WIDTH, 20];
    let line = |cells: &[&str], verbose_cells: [&str; 4]| {
        let more = if verbose { row(&verbose_cells, &more) } else { String::new() };
        format!("{} {more}\n", row(cells, &widths))
    };
    let mut head = vec!["GROUP", "CONSUMER-ID"];
    head.extend(with_instance.then_some("GROUP-INSTANCE-ID"));
    head.extend(["HOST", "CLIENT-ID", "#PARTITIONS"]);
    let verbose_head = ["CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT"];
    let mut text = format!("\n{}", line(&head, verbose_head));
    for (member, assignment) in members.iter().zip(&assignments) {
        let (instance, count) = (instance(member), member.assignment.len().to_string());
        let mut cells = vec![group.id.as_str(), &member.id];
        cells.extend(with_instance.then_some(instance.as_str()));
        cells.extend([member.host.as_str(), &member.client_id, &count]);
        text += &line(&cells, [NONE, assignment, NONE, NONE]);
    }
    Ok(print(&text)?)
}

pub fn state(group: &Described, verbose: bool) -> Result<(), End> {
    if !has_table(group, 1)? {
        return Ok(());
    }
    let coordinator = group.coordinator.as_ref();
    let coordinator = coordinator.map_or(String::new(), |node| format!("{}:{}  ({})", node.host, node.port, node.id));
    let assignor = or_none(Some(&group.protocol).filter(|protocol| !protocol.is_empty()));
    let widths = [width([&*group.id].into_iter(), WIDTH), width([&*coordinator].into_iter(), 25), 20, 20, WIDTH, 25];
    let count = group.members.len().to_string();
    let line = |cells: [&str; 4], epochs: [&str; 2], count: &str| {
        let mut cells = cells.to_vec();
        let mut widths = widths.to_vec();
        if verbose {
            cells.extend(epochs);
        } else {
            widths.truncate(4);
        }
        cells.push(count);
        row(&cells, &widths)
    };
    let head = ["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE"];
    let head = line(head, ["GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH"], "#MEMBERS");
    let cells = line([&group.id, &coordinator, &assignor, &group.state], [NONE, NONE], &count);
    say(&format!("\n{head}\n{cells}"))
}

pub fn deleted_offsets(results: &BTreeMap<TopicPartition, Option<String>>) -> Result<(), End> {
    let widths = [width(results.keys().map(|place| place.topic.as_str()), WIDTH), 10, 15];
    let mut text = format!("\n{}", row(&["TOPIC", "PARTITION", "STATUS"], &widths));
    let mut results: Vec<(&TopicPartition, &Option<String>)> = results.iter().collect();
    results.sort_by_key(|(place, _)| format!("{}{}", place.topic, place.partition));
    for (place, fault) in results {
        let partition = or_none(Some(place.partition).filter(|&partition| partition >= 0));
        let status = fault.as_ref().map_or("Successful".to_string(), |fault| format!("Error: {fault}"));
        text += &format!("\n{}", row(&[&place.topic, &partition, &status], &widths));
    }
    say(&text)
}

/// A plan's offsets in the order of Kafka's tool.
fn ordered(plan: &Plan) -> Vec<(&TopicPartition, &Offset)> {
    hash_order(plan.offsets.iter().collect(), CAPACITY, |(place, _)| hash_place(place))
}

pub fn planned(plans: &[(String, Plan)]) -> Result<(), End> {
    let topics = plans.iter().flat_map(|(_, plan)| plan.offsets.keys().map(|place| place.topic.as_str()));
    let groups = width(plans.iter().map(|(group, _)| group.as_str()), WIDTH);
    let widths = [groups, width(topics, WIDTH), 10];
    let mut text = String::new();
    if !plans.is_empty() {
        text += &format!("\n{}", row(&["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"], &widths));
    }
    for (group, plan) in plans {
        for (place, offset) in ordered(plan) {
            let (partition, offset) = (place.partition.to_string(), offset.to_string());
            text += &format!("\n{}", row(&[group, &place.topic, &partition, &offset], &widths));
        }
    }
    say(&text)
}

/// Lines that `--from-file` takes; without the group where there is only one.
pub fn exported(plans: &[(String, Plan)], of_one: bool) -> Result<(), End> {
    let mut text = String::new();
    for (group, plan) in plans {
        for (place, offset) in ordered(plan) {
            let group = if of_one { String::new() } else { format!("{},", csv(group)) };
            text += &format!("{group}{},{},{offset}\n", csv(&place.topic), place.partition);
        }
    }
    say(&text)
}

/// A field as Jackson writes it: in quotes where it is not plain.
fn csv(field: &str) -> String {
    let plain = field.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/'));
    if plain { field.to_string() } else { format!("\"{}\"", field.replace('"', "\"\"")) }
}
