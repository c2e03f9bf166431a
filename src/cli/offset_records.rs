//! Keys and values of `__consumer_offsets` as JSON, in the form that Kafka's own formatters print.

use super::encoding::base64;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::messages::group_metadata_value::MemberMetadata;
use crate::wire::messages::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use serde_json::{Value, json};

/// What a record is about, by the number that its key begins with; 0 is what Kafka 0.8 wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Offset,
    Group,
    /// Of the groups of other protocols.
    Other(i16),
}

impl Kind {
    pub fn of(key: &[u8]) -> Result<Kind, DecodeError> {
        Ok(match Reader::new(key).i16()? {
            0 | 1 => Kind::Offset,
            2 => Kind::Group,
            other => Kind::Other(other),
        })
    }
}

/// Key and value as `{"type": N, "data": {...}}` and `{"version": N, "data": {...}}`; a tombstone's value is null. Of a kind
/// that is not known, both data are `"unknown"`.
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<(Value, Value), DecodeError> {
    let kind = Kind::of(key)?;
    let mut r = Reader::new(key);
    let number = r.i16()?;
    let data = match kind {
        Kind::Offset => {
            let key = whole(OffsetCommitKey::decode(&mut r, 0)?, &r)?;
            json!({"group": key.group, "topic": key.topic, "partition": key.partition})
        }
        Kind::Group => json!({"group": whole(GroupMetadataKey::decode(&mut r, 0)?, &r)?.group}),
        Kind::Other(_) => "unknown".into(),
    };
    let value = value.map_or(Ok(Value::Null), |value| decode_value(kind, value))?;
    Ok((json!({"type": number, "data": data}), value))
}

fn decode_value(kind: Kind, value: &[u8]) -> Result<Value, DecodeError> {
    let mut r = Reader::new(value);
    let version = r.i16()?;
    let data = match kind {
        Kind::Offset => offset(&whole(OffsetCommitValue::decode(&mut r, version)?, &r)?, version),
        Kind::Group => group(&whole(GroupMetadataValue::decode(&mut r, version)?, &r)?, version),
        Kind::Other(_) => "unknown".into(),
    };
    Ok(json!({"version": version, "data": data}))
}

fn whole<T>(message: T, r: &Reader<'_>) -> Result<T, DecodeError> {
    if r.remaining() > 0 { Err(DecodeError::Length) } else { Ok(message) }
}

/// Leaves out the fields that the version lacks, as Kafka does.
fn fields(all: &[(&str, bool, Value)]) -> Value {
    let there = all.iter().filter(|(_, there, _)| *there);
    Value::Object(there.map(|(name, _, value)| (name.to_string(), value.clone())).collect())
}

fn offset(value: &OffsetCommitValue<'_>, version: i16) -> Value {
    fields(&[
        ("offset", true, value.offset.into()),
        ("leaderEpoch", version >= 3, value.leader_epoch.into()),
        ("metadata", true, value.metadata.as_ref().into()),
        ("commitTimestamp", true, value.commit_timestamp.into()),
        ("expireTimestamp", version == 1, value.expire_timestamp.into()),
        ("topicId", version >= 4 && !value.topic_id.is_zero(), value.topic_id.to_string().into()),
    ])
}

fn group(value: &GroupMetadataValue<'_>, version: i16) -> Value {
    let members: Vec<Value> = value.members.iter().map(|of| member(of, version)).collect();
    fields(&[
        ("protocolType", true, value.protocol_type.as_ref().into()),
        ("generation", true, value.generation.into()),
        ("protocol", true, value.protocol.as_deref().into()),
        ("leader", true, value.leader.as_deref().into()),
        ("currentStateTimestamp", version >= 2, value.current_state_timestamp.into()),
        ("members", true, members.into()),
    ])
}

fn member(member: &MemberMetadata<'_>, version: i16) -> Value {
    fields(&[
        ("memberId", true, member.member_id.as_ref().into()),
        ("groupInstanceId", version >= 3, member.group_instance_id.as_deref().into()),
        ("clientId", true, member.client_id.as_ref().into()),
        ("clientHost", true, member.client_host.as_ref().into()),
        ("rebalanceTimeout", version >= 1, member.rebalance_timeout.into()),
        ("sessionTimeout", true, member.session_timeout.into()),
        ("subscription", true, base64(&member.subscription).into()),
        ("assignment", true, base64(&member.assignment).into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Writer;

    #[test]
    fn offsets_are_as_kafka_prints_them() {
        let mut key = Writer::new();
        key.put_i16(1);
        OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 5 }.encode(&mut key, 0);
        let key = key.into_bytes();
        for (version, expected) in [
            (1, r#"{"version":1,"data":{"offset":7,"metadata":"m","commitTimestamp":3,"expireTimestamp":-1}}"#),
            (3, r#"{"version":3,"data":{"offset":7,"leaderEpoch":-1,"metadata":"m","commitTimestamp":3}}"#),
        ] {
            let mut value = Writer::new();
            value.put_i16(version);
            let committed =
                OffsetCommitValue { offset: 7, metadata: "m".into(), commit_timestamp: 3, ..Default::default() };
            committed.encode(&mut value, version);
            let (key, value) = decode(&key, Some(&value.into_bytes())).unwrap();
            assert_eq!(key.to_string(), r#"{"type":1,"data":{"group":"g","topic":"t","partition":5}}"#);
            assert_eq!(value.to_string(), expected);
        }
        assert_eq!(decode(&key, None).unwrap().1, Value::Null);
        assert_eq!(decode(&key[..key.len() - 1], None), Err(DecodeError::Truncated));
        assert_eq!(decode(&[&key[..], &[0]].concat(), None), Err(DecodeError::Length));
    }

    #[test]
    fn other_kinds_are_named_by_their_number() {
        let (key, value) = decode(&[0, 9, 1, 2], Some(&[0, 0, 7])).unwrap();
        assert_eq!(key.to_string(), r#"{"type":9,"data":"unknown"}"#);
        assert_eq!(value.to_string(), r#"{"version":0,"data":"unknown"}"#);
        assert_eq!(decode(&[7], None), Err(DecodeError::Truncated));
    }
}
