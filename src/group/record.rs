//! Keys and values of `__consumer_offsets`, in Kafka's binary form: a version (of a key: its kind), then the fields.

use super::ledger::Committed;
use crate::wire::codec::{DecodeError, Reader, Writer};
use crate::wire::messages::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use bytes::Bytes;
use std::borrow::Cow;
use std::sync::Arc;

/// Kinds of keys; 0 is what Kafka 0.8 wrote, with the fields of 1.
const KIND_OFFSET_LEGACY: i16 = 0;
const KIND_OFFSET: i16 = 1;
const KIND_GROUP: i16 = 2;
/// Versions of values, which every tool of the last years reads.
const OFFSET_VERSION: i16 = 3;
/// The only version of a position with an expiry of its own, which OffsetCommit 2-4 can ask for.
const OFFSET_VERSION_EXPIRING: i16 = 1;
const GROUP_VERSION: i16 = 3;

/// One record to append, of the group `group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The group's id.
    pub group: Arc<str>,
    /// The record's key, in Kafka's format.
    pub key: Bytes,
    /// `None`: a tombstone.
    pub value: Option<Bytes>,
}

impl Record {
    /// Bytes of key and value.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }

    pub(super) fn offset(group: &Arc<str>, topic: &str, partition: i32, value: Option<&Committed>) -> Record {
        let key = offset_key(group, topic, partition);
        Record { group: group.clone(), key, value: value.map(encode_offset) }
    }

    pub(super) fn group(group: &Arc<str>, value: Option<&GroupMetadataValue<'_>>) -> Record {
        let mut w = Writer::with_capacity(4 + group.len());
        w.put_i16(KIND_GROUP);
        GroupMetadataKey { group: Cow::Borrowed(group) }.encode(&mut w, 0);
        Record { group: group.clone(), key: w.into_bytes(), value: value.map(encode_group) }
    }

    pub(super) fn tombstone(group: &Arc<str>, key: Bytes) -> Record {
        assert!(!key.is_empty());
        Record { group: group.clone(), key, value: None }
    }
}

/// What a key names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    Offset { group: Cow<'a, str>, topic: Cow<'a, str>, partition: i32 },
    Group { group: Cow<'a, str> },
    Unknown { kind: i16 },
}

impl<'a> Key<'a> {
    pub fn decode(bytes: &'a [u8]) -> Result<Key<'a>, DecodeError> {
        let mut r = Reader::new(bytes);
        let key = match r.i16()? {
            KIND_OFFSET | KIND_OFFSET_LEGACY => {
                let OffsetCommitKey { group, topic, partition } = OffsetCommitKey::decode(&mut r, 0)?;
                Key::Offset { group, topic, partition }
            }
            KIND_GROUP => Key::Group { group: GroupMetadataKey::decode(&mut r, 0)?.group },
            kind => return Ok(Key::Unknown { kind }),
        };
        if r.remaining() > 0 { Err(DecodeError::Length) } else { Ok(key) }
    }
}

fn offset_key(group: &str, topic: &str, partition: i32) -> Bytes {
    let mut w = Writer::with_capacity(10 + group.len() + topic.len());
    w.put_i16(KIND_OFFSET);
    OffsetCommitKey { group: Cow::Borrowed(group), topic: Cow::Borrowed(topic), partition }.encode(&mut w, 0);
    w.into_bytes()
}

fn encode_offset(committed: &Committed) -> Bytes {
    let version = if committed.expire_ms.is_some() { OFFSET_VERSION_EXPIRING } else { OFFSET_VERSION };
    let mut w = Writer::with_capacity(32 + committed.metadata.len());
    w.put_i16(version);
    let value = OffsetCommitValue {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: Cow::Borrowed(&committed.metadata),
        commit_timestamp: committed.commit_ms,
        expire_timestamp: committed.expire_ms.unwrap_or(super::NO_TIMESTAMP),
        ..Default::default()
    };
    value.encode(&mut w, version);
    w.into_bytes()
}

pub(super) fn decode_offset(bytes: &[u8]) -> Result<Committed, DecodeError> {
    let mut r = Reader::new(bytes);
    let version = r.i16()?;
    let value = OffsetCommitValue::decode(&mut r, version)?;
    if r.remaining() > 0 {
        return Err(DecodeError::Length);
    }
    Ok(Committed {
        offset: value.offset,
        leader_epoch: if value.leader_epoch < 0 { -1 } else { value.leader_epoch },
        metadata: value.metadata.into(),
        commit_ms: value.commit_timestamp,
        expire_ms: Some(value.expire_timestamp).filter(|&ms| ms != super::NO_TIMESTAMP),
    })
}

fn encode_group(value: &GroupMetadataValue<'_>) -> Bytes {
    let mut w = Writer::new();
    w.put_i16(GROUP_VERSION);
    value.encode(&mut w, GROUP_VERSION);
    w.into_bytes()
}

/// Decodes the value of a group's own record, which has members only with a protocol and a protocol type.
pub(super) fn decode_group(bytes: &[u8]) -> Result<GroupMetadataValue<'_>, DecodeError> {
    let mut r = Reader::new(bytes);
    let version = r.i16()?;
    let value = GroupMetadataValue::decode(&mut r, version)?;
    if r.remaining() > 0 || value.generation < 0 {
        return Err(DecodeError::Length);
    }
    if !value.members.is_empty() && (value.protocol.is_none() || value.protocol_type.is_empty()) {
        return Err(DecodeError::Null);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed() -> Committed {
        Committed { offset: 258, leader_epoch: 7, metadata: "m".into(), commit_ms: 3, expire_ms: None }
    }

    #[test]
    fn offsets_have_kafkas_bytes() {
        let group: Arc<str> = "g".into();
        let record = Record::offset(&group, "t", 5, Some(&committed()));
        assert_eq!(&record.key[..], [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 5]);
        let value = record.value.unwrap();
        let expected = [&[0, 3][..], &258i64.to_be_bytes(), &7i32.to_be_bytes(), &[0, 1, b'm'], &3i64.to_be_bytes()];
        assert_eq!(&value[..], expected.concat());
        assert_eq!(decode_offset(&value), Ok(committed()));
        let expiring = Committed { leader_epoch: -1, expire_ms: Some(9), ..committed() };
        let value = Record::offset(&group, "t", 5, Some(&expiring)).value.unwrap();
        let expected = [&[0, 1][..], &258i64.to_be_bytes(), &[0, 1, b'm'], &3i64.to_be_bytes(), &9i64.to_be_bytes()];
        assert_eq!((&value[..], decode_offset(&value)), (&expected.concat()[..], Ok(expiring)));
    }

    #[test]
    fn groups_have_kafkas_bytes() {
        use crate::wire::messages::group_metadata_value::MemberMetadata;
        let member = MemberMetadata {
            member_id: "m".into(),
            group_instance_id: None,
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout: 2,
            session_timeout: 1,
            subscription: vec![7].into(),
            assignment: vec![8, 9].into(),
        };
        let value = GroupMetadataValue {
            protocol_type: "consumer".into(),
            generation: 4,
            protocol: Some("range".into()),
            leader: Some("m".into()),
            current_state_timestamp: 5,
            members: vec![member],
        };
        let bytes = encode_group(&value);
        let head = b"\0\x03\0\x08consumer\0\0\0\x04\0\x05range\0\x01m\0\0\0\0\0\0\0\x05\0\0\0\x01";
        let member = b"\0\x01m\xff\xff\0\x01c\0\x02/h\0\0\0\x02\0\0\0\x01\0\0\0\x01\x07\0\0\0\x02\x08\x09";
        assert_eq!(&bytes[..], [&head[..], member].concat());
        assert_eq!(decode_group(&bytes), Ok(value));
    }

    #[test]
    fn every_version_of_a_value_is_read() {
        for version in 0..=4 {
            let mut w = Writer::new();
            w.put_i16(version);
            OffsetCommitValue { offset: 1, metadata: "x".into(), ..Default::default() }.encode(&mut w, version);
            assert_eq!(decode_offset(&w.into_bytes()).map(|committed| committed.offset), Ok(1), "{version}");
            let mut w = Writer::new();
            w.put_i16(version);
            GroupMetadataValue { generation: 4, ..Default::default() }.encode(&mut w, version);
            assert_eq!(decode_group(&w.into_bytes()).map(|value| value.generation), Ok(4), "{version}");
        }
    }

    #[test]
    fn keys_are_read_whole_or_not_at_all() {
        let key = |bytes: &[u8]| Key::decode(bytes).map(|key| format!("{key:?}"));
        let group = Record::group(&"g".into(), None).key;
        assert_eq!(&group[..], [0, 2, 0, 1, b'g']);
        assert_eq!(Key::decode(&group), Ok(Key::Group { group: "g".into() }));
        assert_eq!(key(&[&group[..], &[0]].concat()), Err(DecodeError::Length));
        assert_eq!(key(&group[..4]), Err(DecodeError::Truncated));
        assert_eq!(Key::decode(&[0, 3, 9]), Ok(Key::Unknown { kind: 3 }));
        let mut legacy = Record::offset(&"g".into(), "t", 1, None).key.to_vec();
        legacy[1] = 0;
        assert!(matches!(Key::decode(&legacy), Ok(Key::Offset { partition: 1, .. })));
    }

    #[test]
    fn members_need_a_protocol() {
        let members = vec![Default::default()];
        let value = GroupMetadataValue { protocol: None, members, protocol_type: "c".into(), ..Default::default() };
        assert_eq!(decode_group(&encode_group(&value)), Err(DecodeError::Null));
        let negative = GroupMetadataValue { generation: -1, ..Default::default() };
        assert_eq!(decode_group(&encode_group(&negative)), Err(DecodeError::Length));
    }
}
