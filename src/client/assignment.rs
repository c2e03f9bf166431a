//! How members of a group share partitions out, and the bytes in which they tell each other what they want, have and get:
//! Kafka's consumer protocol (ConsumerProtocolSubscription, ConsumerProtocolAssignment; KIP-429).

use crate::types::PartitionIndex;
use crate::wire::codec::{DecodeError, Reader, Writer};
use std::ops::Range;

/// The first version of a subscription that tells what a member has.
const SUBSCRIPTION_VERSION_OWNED: i16 = 1;
const ASSIGNMENT_VERSION: i16 = 0;

/// Partitions by their topics, each topic once.
pub type Share = Vec<(String, Vec<PartitionIndex>)>;

/// What a member wants, and what it has if it tells that.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subscription {
    /// Names of the topics whose partitions the member wants.
    pub topics: Vec<String>,
    /// The partitions that it has.
    pub owned: Option<Share>,
}

impl Subscription {
    /// The bytes that a JoinGroup request carries for the member.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.put_i16(if self.owned.is_some() { SUBSCRIPTION_VERSION_OWNED } else { 0 });
        w.put_length(Some(self.topics.len()), false);
        self.topics.iter().for_each(|topic| w.put_string(topic, false));
        w.put_length(None, false);
        if let Some(owned) = &self.owned {
            put_share(&mut w, owned);
        }
        w.into_bytes().to_vec()
    }

    /// What stands in any version; later ones add to it.
    pub fn decode(bytes: &[u8]) -> Result<Subscription, DecodeError> {
        let r = &mut Reader::new(bytes);
        let version = r.i16()?;
        let topics = r.array(false, 2, |r| r.string(false).map(|topic| topic.to_string()))?;
        r.nullable_bytes(false)?;
        let owned = if version < SUBSCRIPTION_VERSION_OWNED { None } else { Some(share(r)?) };
        Ok(Subscription { topics, owned })
    }
}

/// What a member gets.
pub fn encode_assignment(share: &Share) -> Vec<u8> {
    let mut w = Writer::new();
    w.put_i16(ASSIGNMENT_VERSION);
    put_share(&mut w, share);
    w.put_length(None, false);
    w.into_bytes().to_vec()
}

/// The same in any version; no bytes stand for no partitions.
pub fn decode_assignment(bytes: &[u8]) -> Result<Share, DecodeError> {
    if bytes.is_empty() {
        return Ok(Share::new());
    }
    let r = &mut Reader::new(bytes);
    r.i16()?;
    share(r)
}

fn put_share(w: &mut Writer, share: &Share) {
    w.put_length(Some(share.len()), false);
    for (topic, partitions) in share {
        w.put_string(topic, false);
        w.put_length(Some(partitions.len()), false);
        partitions.iter().for_each(|&partition| w.put_i32(partition));
    }
}

fn share(r: &mut Reader<'_>) -> Result<Share, DecodeError> {
    r.array(false, 6, |r| {
        let topic = r.string(false)?.to_string();
        Ok((topic, r.array(false, 4, Reader::i32)?))
    })
}

/// How many of `partitions` the member of that place gets: the first ones one more where they do not come out even.
pub fn quota(place: usize, members: usize, partitions: usize) -> usize {
    partitions / members + usize::from(place < partitions % members)
}

/// The partitions of each member by Kafka's RangeAssignor, in the order of the members' ids.
pub fn ranges(members: usize, partitions: usize) -> impl Iterator<Item = Range<usize>> {
    (0..members).scan(0, move |next, place| {
        let first = *next;
        *next += quota(place, members, partitions);
        Some(first..*next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_even() {
        assert_eq!(ranges(3, 5).collect::<Vec<_>>(), [0..2, 2..4, 4..5]);
        assert_eq!(ranges(2, 1).collect::<Vec<_>>(), [0..1, 1..1]);
        assert_eq!(ranges(0, 5).count(), 0);
    }

    #[test]
    fn what_is_told_is_understood() {
        let share = vec![("t".to_string(), vec![0, 7]), ("u".into(), vec![])];
        for owned in [None, Some(Share::new()), Some(share.clone())] {
            let told = Subscription { topics: vec!["t".into(), "u".into()], owned };
            assert_eq!(Subscription::decode(&told.encode()), Ok(told));
        }
        let bytes = encode_assignment(&share);
        assert_eq!(decode_assignment(&bytes), Ok(share));
        assert_eq!(decode_assignment(&[]), Ok(Share::new()));
        for end in 1..bytes.len() - 4 {
            assert!(decode_assignment(&bytes[..end]).is_err(), "{end}");
        }
        assert!(Subscription::decode(&[0]).is_err());
    }
}
