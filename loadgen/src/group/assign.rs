//! What the leader of a group does: `range` (eager) and `cooperative-sticky` (KIP-429).

use clap::ValueEnum;
use klamm::client::assignment::{Share, Subscription, decode_assignment, encode_assignment, quota, ranges};
use klamm::wire::codec::DecodeError;
use std::collections::{BTreeMap, BTreeSet};

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assignor {
    /// Eager: in a rebalance each member gives up all that it has, and gets a range of the partitions
    Range,
    /// Cooperative: members go on with what stays theirs; what moves is given up first, and given out in a second rebalance
    CooperativeSticky,
}

pub type Partitions = BTreeSet<i32>;

impl Assignor {
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    pub fn is_eager(self) -> bool {
        self == Assignor::Range
    }

    /// Shares `partitions` out among members, each with what it owns.
    pub fn assign(self, members: &BTreeMap<String, Partitions>, partitions: i32) -> BTreeMap<String, Partitions> {
        assert!(!members.is_empty());
        match self {
            Assignor::Range => range(members, partitions),
            Assignor::CooperativeSticky => sticky(members, partitions),
        }
    }
}

fn range(members: &BTreeMap<String, Partitions>, partitions: i32) -> BTreeMap<String, Partitions> {
    let share = |(id, run): (&String, std::ops::Range<usize>)| (id.clone(), run.map(|index| index as i32).collect());
    members.keys().zip(ranges(members.len(), partitions as usize)).map(share).collect()
}

/// Nobody gets a partition that another one has not given up yet: it stays out of this generation.
fn sticky(members: &BTreeMap<String, Partitions>, partitions: i32) -> BTreeMap<String, Partitions> {
    let mut claims: BTreeMap<i32, usize> = BTreeMap::new();
    members.values().flatten().for_each(|&partition| *claims.entry(partition).or_default() += 1);
    let theirs = |owned: &Partitions| -> Partitions {
        let sound = |partition: &i32| (0..partitions).contains(partition) && claims[partition] == 1;
        owned.iter().copied().filter(sound).collect()
    };
    let mut shares: Vec<(String, Partitions)> = members.iter().map(|(id, owned)| (id.clone(), theirs(owned))).collect();
    // Who has most may keep most.
    shares.sort_by_key(|(_, owned)| std::cmp::Reverse(owned.len()));
    let mut wanting = Vec::new();
    let count = shares.len();
    for (place, (_, share)) in shares.iter_mut().enumerate() {
        let quota = quota(place, count, partitions as usize);
        while share.len() > quota {
            share.pop_last();
        }
        wanting.push(quota - share.len());
    }
    let mut free = (0..partitions).filter(|partition| !claims.contains_key(partition));
    for ((_, share), wanted) in shares.iter_mut().zip(wanting) {
        share.extend(free.by_ref().take(wanted));
    }
    shares.into_iter().collect()
}

pub fn subscription(topic: &str, owned: &Partitions) -> Vec<u8> {
    Subscription { topics: vec![topic.to_string()], owned: Some(of(topic, owned)) }.encode()
}

/// What a member says that it owns.
pub fn owned(subscription: &[u8]) -> Result<Partitions, DecodeError> {
    Ok(partitions(Subscription::decode(subscription)?.owned.unwrap_or_default()))
}

pub fn assignment(topic: &str, share: &Partitions) -> Vec<u8> {
    encode_assignment(&of(topic, share))
}

/// A member's share.
pub fn assigned(assignment: &[u8]) -> Result<Partitions, DecodeError> {
    decode_assignment(assignment).map(partitions)
}

/// A topic without partitions is left out.
fn of(topic: &str, partitions: &Partitions) -> Share {
    let topics = (!partitions.is_empty()).then(|| (topic.to_string(), partitions.iter().copied().collect()));
    topics.into_iter().collect()
}

/// Of all topics: there is one.
fn partitions(share: Share) -> Partitions {
    share.into_iter().flat_map(|(_, partitions)| partitions).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(owned: &[&[i32]]) -> BTreeMap<String, Partitions> {
        let member = |(i, owned): (usize, &&[i32])| (format!("m{i}"), owned.iter().copied().collect());
        owned.iter().enumerate().map(member).collect()
    }

    fn shares(assignor: Assignor, owned: &[&[i32]], partitions: i32) -> Vec<Vec<i32>> {
        let shares = assignor.assign(&members(owned), partitions);
        shares.into_values().map(|share| share.into_iter().collect()).collect()
    }

    #[test]
    fn ranges_are_even_and_ignore_what_was() {
        assert_eq!(shares(Assignor::Range, &[&[4], &[], &[0, 1]], 5), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(shares(Assignor::Range, &[&[], &[]], 1), [vec![0], vec![]]);
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
        let some: Partitions = [0, 7].into();
        assert_eq!(owned(&subscription("t", &some)), Ok(some.clone()));
        assert_eq!(assigned(&assignment("t", &some)), Ok(some));
        assert_eq!(assigned(&assignment("t", &Partitions::new())), Ok(Partitions::new()));
        let none = Ok(Partitions::new());
        assert_eq!((assigned(&[]), owned(&subscription("t", &Partitions::new()))), (none.clone(), none));
        // Version 0, as other clients may still send it.
        assert_eq!(owned(&[0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), Ok(Partitions::new()));
        assert!(owned(&[0]).is_err() && assigned(&[0, 0, 0]).is_err());
    }
}
