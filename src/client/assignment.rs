//! How members of a group share partitions out, and the bytes in which they tell each other what they want, have and get:
//! Kafka's consumer protocol (ConsumerProtocolSubscription, ConsumerProtocolAssignment; KIP-429).

use crate::types::PartitionIndex;
use crate::wire::codec::{DecodeError, Reader, Writer};
use std::collections::{BTreeMap, BTreeSet};
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

    /// The partitions of a topic that the member says it has.
    fn owned_of(&self, topic: &str) -> BTreeSet<PartitionIndex> {
        let share = self.owned.iter().flatten().filter(|(name, _)| name == topic);
        share.flat_map(|(_, partitions)| partitions).copied().collect()
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

/// How the leader of a group shares partitions out, and so how members behave in a rebalance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assignor {
    /// Eager: in a rebalance each member gives up all that it has, and gets a range of each topic's partitions.
    Range,
    /// Cooperative (KIP-429): members go on with what stays theirs; what moves is given up first, and given out in a second
    /// rebalance.
    CooperativeSticky,
}

impl Assignor {
    /// Its name in JoinGroup.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// Whether members give up all that they have before they join again.
    pub fn is_eager(self) -> bool {
        self == Assignor::Range
    }

    /// The share of each member of `members`, in their order. Of each topic, whose numbers of partitions are `counts`, those get
    /// some that want it.
    pub fn assign(self, members: &[Subscription], counts: &BTreeMap<String, usize>) -> Vec<Share> {
        let mut shares = vec![Share::new(); members.len()];
        for (topic, &count) in counts {
            let wanting: Vec<usize> = (0..members.len()).filter(|&at| members[at].topics.contains(topic)).collect();
            let of_topic = match self {
                Assignor::Range => ranges(wanting.len(), count).map(|run| run.map(|at| at as i32).collect()).collect(),
                Assignor::CooperativeSticky => {
                    let owned: Vec<_> = wanting.iter().map(|&at| members[at].owned_of(topic)).collect();
                    sticky(&owned, count)
                }
            };
            for (at, partitions) in wanting.into_iter().zip(of_topic).filter(|(_, share)| !share.is_empty()) {
                shares[at].push((topic.clone(), partitions));
            }
        }
        shares
    }
}

/// How many of `partitions` the member of that place gets: the first ones one more where they do not come out even.
fn quota(place: usize, members: usize, partitions: usize) -> usize {
    partitions / members + usize::from(place < partitions % members)
}

/// The partitions of each member by Kafka's RangeAssignor.
fn ranges(members: usize, partitions: usize) -> impl Iterator<Item = Range<usize>> {
    (0..members).scan(0, move |next, place| {
        let first = *next;
        *next += quota(place, members, partitions);
        Some(first..*next)
    })
}

/// The partitions of each member, given what each has. Nobody gets a partition that another one has not given up yet: it stays
/// out of this generation.
fn sticky(owned: &[BTreeSet<PartitionIndex>], partitions: usize) -> Vec<Vec<PartitionIndex>> {
    let all = 0..PartitionIndex::try_from(partitions).unwrap_or(PartitionIndex::MAX);
    let mut claims: BTreeMap<PartitionIndex, usize> = BTreeMap::new();
    owned.iter().flatten().for_each(|&partition| *claims.entry(partition).or_default() += 1);
    let is_theirs = |partition: &PartitionIndex| all.contains(partition) && claims[partition] == 1;
    let mut shares: Vec<Vec<PartitionIndex>> =
        owned.iter().map(|owned| owned.iter().copied().filter(is_theirs).collect()).collect();
    // Who has most may keep most.
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(shares[at].len()));
    let mut free = all.clone().filter(|partition| !claims.contains_key(partition));
    for (place, at) in order.into_iter().enumerate() {
        let quota = quota(place, shares.len(), partitions);
        let wanted = quota.saturating_sub(shares[at].len());
        shares[at].truncate(quota);
        shares[at].extend(free.by_ref().take(wanted));
    }
    shares
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

    /// What members of one topic get that have those partitions.
    fn shares(assignor: Assignor, owned: &[&[i32]], partitions: usize) -> Vec<Vec<i32>> {
        let member = |owned: &&[i32]| Subscription {
            topics: vec!["t".to_string()],
            owned: Some(vec![("t".to_string(), owned.to_vec())]),
        };
        let members: Vec<_> = owned.iter().map(member).collect();
        let shares = assignor.assign(&members, &BTreeMap::from([("t".to_string(), partitions)]));
        shares.into_iter().map(|share| share.into_iter().flat_map(|(_, partitions)| partitions).collect()).collect()
    }

    #[test]
    fn ranges_ignore_what_was() {
        assert_eq!(shares(Assignor::Range, &[&[4], &[], &[0, 1]], 5), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(shares(Assignor::Range, &[&[], &[]], 1), [vec![0], vec![]]);
    }

    #[test]
    fn each_topic_goes_to_those_who_want_it() {
        let wants = |topics: &[&str]| Subscription {
            topics: topics.iter().map(|topic| topic.to_string()).collect(),
            owned: None,
        };
        let counts = BTreeMap::from([("a".to_string(), 5), ("b".to_string(), 1), ("c".to_string(), 2)]);
        let members = [wants(&["a", "b"]), wants(&["a", "b"]), wants(&["x"])];
        let shares = Assignor::Range.assign(&members, &counts);
        assert_eq!(shares[0], [("a".to_string(), vec![0, 1, 2]), ("b".to_string(), vec![0])]);
        assert_eq!(shares[1], [("a".to_string(), vec![3, 4])]);
        assert!(shares[2].is_empty());
    }

    #[test]
    fn what_moves_is_given_up_before_it_is_given_out() {
        let sticky = Assignor::CooperativeSticky;
        assert_eq!(shares(sticky, &[&[]], 4), [vec![0, 1, 2, 3]]);
        assert_eq!(shares(sticky, &[&[0, 1, 2, 3], &[]], 4), [vec![0, 1], vec![]]);
        assert_eq!(shares(sticky, &[&[0, 1], &[]], 4), [vec![0, 1], vec![2, 3]]);
        // Somebody has gone: the others keep theirs and get the rest.
        assert_eq!(shares(sticky, &[&[2], &[0, 1]], 5), [vec![2, 4], vec![0, 1, 3]]);
        // Two claim the same one: nobody is known to have given it up.
        assert_eq!(shares(sticky, &[&[0, 1], &[1]], 2), [vec![0], vec![]]);
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
