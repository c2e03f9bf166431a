//! The metadata log and its snapshot: frames of records.

use super::input::Input;
use super::printer::Printer;
use crate::cli::failure::Result;
use crate::metadata::{
    FRAME_HEADER_BYTES, Frame, HEADER_BYTES, Kind, PartitionRange, Record, decode_frame, decode_head,
};
use crate::types::{BrokerId, Uuid};
use serde_json::{Value, json};

pub fn dump(input: &mut Input, out: &mut Printer) -> Result<()> {
    let mut buffer = Vec::new();
    if input.rest() == 0 {
        return Ok(());
    }
    if !input.take(HEADER_BYTES, &mut buffer)? {
        return out.damage(0, "the file ends in its header");
    }
    let head = match decode_head(&buffer) {
        Ok(head) => head,
        Err(error) => return out.damage(0, error.to_string()),
    };
    let kind = if head.is_snapshot { "snapshot" } else { "log" };
    out.row(json!({"kind": kind, "index": head.index, "term": head.term}))?;
    let mut index_next = if head.is_snapshot { 1 } else { head.index + 1 };
    let mut ended = false;
    while input.rest() > 0 {
        let position = input.position;
        buffer.clear();
        let is_head = input.take(FRAME_HEADER_BYTES, &mut buffer)?;
        let size = Frame::bytes(&buffer).filter(|_| is_head);
        let is_whole = match size {
            Some(size) => input.take(size - FRAME_HEADER_BYTES, &mut buffer)?,
            None => false,
        };
        let Some(frame) = decode_frame(&buffer).filter(|_| is_whole) else {
            return end(input, position, &buffer, out);
        };
        if frame.index != index_next {
            out.damage(position, format!("entry {} is out of order", frame.index))?;
        }
        index_next = frame.index + 1;
        ended = frame.kind == Kind::SnapshotEnds;
        entry(&frame, position, out)?;
    }
    match head.is_snapshot && !ended {
        true => out.damage(input.position, "the end of the snapshot is missing"),
        false => Ok(()),
    }
}

fn entry(frame: &Frame<'_>, position: u64, out: &mut Printer) -> Result<()> {
    let Frame { index, term, .. } = *frame;
    match frame.kind {
        Kind::Records => {}
        Kind::TermBegins => {
            return out.row(json!({"kind": "term-begins", "position": position, "index": index, "term": term}));
        }
        Kind::SnapshotEnds => return out.row(json!({"kind": "snapshot-ends", "position": position})),
        Kind::Later(kind) => return out.damage(position, format!("the entry's kind {kind} is of a later version")),
    }
    let records = match frame.records() {
        Ok(records) => records,
        Err(error) => return out.damage(position, error.to_string()),
    };
    for record in records {
        match Record::decode(record) {
            Ok(record) => out.row(row(&record, position, index, term))?,
            Err(error) => out.damage(position, error.to_string())?,
        }
    }
    Ok(())
}

fn end(input: &mut Input, position: u64, head: &[u8], out: &mut Printer) -> Result<()> {
    let is_zero = head.iter().all(|byte| *byte == 0) && input.first_not_zero()?.is_none();
    match is_zero {
        true => out.row(json!({"kind": "room", "position": position, "bytes": input.bytes - position})),
        false => out.damage(position, "no whole record stands here: damage, or cut off by a crash"),
    }
}

fn ranges(partitions: &[PartitionRange]) -> Value {
    let range = |range: &PartitionRange| {
        let placement = &range.placement;
        json!({
            "start": range.start,
            "end": range.end,
            "leader": placement.leader.0,
            "epoch": placement.leader_epoch.0,
            "partition_epoch": placement.partition_epoch,
            "replicas": BrokerId::numbers(&placement.replicas),
            "isr": BrokerId::numbers(&placement.isr),
            "directories": placement.directories.iter().map(Uuid::to_string).collect::<Vec<_>>(),
        })
    };
    partitions.iter().map(range).collect()
}

fn row(record: &Record, position: u64, index: u64, term: u64) -> Value {
    let (kind, fields) = match record {
        Record::TopicCreated { id, name, partitions, settings } => (
            "topic-created",
            json!({"topic": name.as_ref(), "id": id.to_string(), "partitions": ranges(partitions), "settings": **settings}),
        ),
        Record::TopicDeleted { id } => ("topic-deleted", json!({"id": id.to_string()})),
        Record::PartitionsAdded { id, partitions } => {
            ("partitions-added", json!({"id": id.to_string(), "partitions": ranges(partitions)}))
        }
        Record::PartitionsChanged { id, partitions } => {
            ("partitions-changed", json!({"id": id.to_string(), "partitions": ranges(partitions)}))
        }
        Record::TopicSettingsSet { id, settings } => {
            ("topic-settings", json!({"id": id.to_string(), "settings": **settings}))
        }
        Record::GroupSettingsSet { group, settings } => {
            ("group-settings", json!({"group": group.as_ref() as &str, "settings": **settings}))
        }
        Record::BrokerSettingsSet { broker, settings } => {
            ("broker-settings", json!({"broker": broker.0, "settings": **settings}))
        }
        Record::ProducerIdsAllocated { next } => ("producer-ids", json!({"next": next})),
        Record::BrokerRegistered { id, broker } => {
            let listeners: Vec<String> =
                broker.listeners.iter().map(|of| format!("{}://{}:{}", of.name, of.host, of.port)).collect();
            ("broker-registered", json!({"broker": id.0, "listeners": listeners, "rack": broker.rack}))
        }
    };
    let mut row = json!({"kind": kind, "position": position, "index": index, "term": term});
    if let (Value::Object(row), Value::Object(fields)) = (&mut row, fields) {
        row.extend(fields);
    }
    row
}
