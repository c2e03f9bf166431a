//! Which key a record has.

use crate::options::Shape;
use klamm::client::partition::partition_of_key;
use rand::Rng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Zipf};
use std::collections::VecDeque;
use std::str::FromStr;

/// How many keys there are, and how often each comes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Keys {
    count: u64,
    skew: Skew,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Skew {
    Uniform,
    /// The n-th most frequent one as often as 1/n^exponent says.
    Zipf {
        exponent: f64,
    },
    /// So many have this share of the records, and the others the rest.
    Hot {
        count: u64,
        share: f64,
    },
}

impl Keys {
    /// Digits of the greatest number of a key.
    pub fn digits(&self) -> usize {
        (self.count - 1).checked_ilog10().map_or(1, |digits| digits as usize + 1)
    }

    /// The keys of each of so many partitions.
    pub fn dealt(&self, partitions: usize) -> Dealt {
        let partitions = partitions.max(1) as u64;
        let share = |count: u64| (count / partitions).max(1);
        let count = share(self.count);
        let draw = match self.skew {
            Skew::Uniform => Draw::Uniform,
            Skew::Zipf { exponent } => Draw::Zipf(Zipf::new(count as f64, exponent).expect("both were looked at")),
            Skew::Hot { count: hot, share: of } if share(hot) < count => Draw::Hot { hot: share(hot), share: of },
            Skew::Hot { .. } => Draw::Uniform,
        };
        Dealt { count, partitions, draw }
    }
}

/// The bytes of the key with this number.
pub fn write(mut number: u64, key: &mut Vec<u8>, key_bytes: u32) {
    key.resize(key_bytes as usize, b'0');
    for digit in key.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Where the keys of records come from.
pub enum Drawn {
    /// Each partition has its own.
    Even(Dealt),
    Hashed(Hashed),
}

impl Drawn {
    pub fn of(shape: &Shape, partitions: usize) -> Option<Drawn> {
        let keys = shape.keys?;
        Some(match shape.is_partitioned_by_key() {
            true => Drawn::Hashed(Hashed::new(&keys, shape.key_bytes, partitions)),
            false => Drawn::Even(keys.dealt(partitions)),
        })
    }

    /// The partition of the next so many records, if their keys decide on it.
    pub fn partition(&mut self, records: usize, random: &mut SmallRng) -> Option<i32> {
        match self {
            Drawn::Even(_) => None,
            Drawn::Hashed(hashed) => Some(hashed.partition(records, random)),
        }
    }

    /// The number of the next key of a partition: where keys decide, of that which was told last, once for each record.
    pub fn draw(&mut self, random: &mut SmallRng, partition: i32) -> u64 {
        match self {
            Drawn::Even(dealt) => dealt.draw(random, partition),
            Drawn::Hashed(hashed) => hashed.waiting[partition as usize].pop_front().expect("there were enough"),
        }
    }
}

/// Keys as a producer has them: each is drawn out of all, and waits at its partition for others to share a batch with.
pub struct Hashed {
    all: Dealt,
    key_bytes: u32,
    /// By partition.
    waiting: Vec<VecDeque<u64>>,
    /// At no partition more wait.
    waiting_max: usize,
    key: Vec<u8>,
}

impl Hashed {
    fn new(keys: &Keys, key_bytes: u32, partitions: usize) -> Hashed {
        let waiting = vec![VecDeque::new(); partitions];
        Hashed { all: keys.dealt(1), key_bytes, waiting, waiting_max: 0, key: Vec::new() }
    }

    /// The first partition at which so many keys wait. None is ever dropped, so partitions have the shares that their keys have, but
    /// for those that wait: at each fewer than the largest batch has records.
    fn partition(&mut self, records: usize, random: &mut SmallRng) -> i32 {
        if records <= self.waiting_max {
            // Smaller batches than before: there may be enough.
            let longest = (0..self.waiting.len()).max_by_key(|at| self.waiting[*at].len());
            if let Some(at) = longest.filter(|at| self.waiting[*at].len() >= records) {
                return at as i32;
            }
        }
        self.waiting_max = self.waiting_max.max(records - 1);
        loop {
            let number = self.all.draw(random, 0);
            write(number, &mut self.key, self.key_bytes);
            let partition = partition_of_key(&self.key, self.waiting.len());
            let waiting = &mut self.waiting[partition as usize];
            waiting.push_back(number);
            if waiting.len() == records {
                return partition;
            }
        }
    }
}

/// The keys of one partition, or of all as one.
#[derive(Clone, Copy, Debug)]
pub struct Dealt {
    count: u64,
    partitions: u64,
    draw: Draw,
}

#[derive(Clone, Copy, Debug)]
enum Draw {
    Uniform,
    Zipf(Zipf<f64>),
    Hot { hot: u64, share: f64 },
}

impl Dealt {
    /// The number of a key of a partition; small ones are more frequent, if any are.
    pub fn draw(&self, random: &mut SmallRng, partition: i32) -> u64 {
        let rank = match self.draw {
            Draw::Uniform => random.random_range(0..self.count),
            Draw::Zipf(zipf) => (zipf.sample(random) as u64).clamp(1, self.count) - 1,
            Draw::Hot { hot, share } if random.random_bool(share) => random.random_range(0..hot),
            Draw::Hot { hot, .. } => random.random_range(hot..self.count),
        };
        rank * self.partitions + partition as u64 % self.partitions
    }
}

impl FromStr for Keys {
    type Err = String;

    /// `uniform:N`, `zipf:N:EXPONENT`, `hot:N:HOT:PERCENT`.
    fn from_str(text: &str) -> Result<Keys, String> {
        let words: Vec<&str> = text.split(':').collect();
        let count = |word: &str| {
            let count = word.parse().ok().filter(|&count: &u64| 0 < count && count <= 1 << 53);
            count.ok_or_else(|| format!("{word:?} is not a number of keys"))
        };
        let number = |word: &str| word.parse().map_err(|_| format!("{word:?} is not a number"));
        match words[..] {
            ["uniform", n] => Ok(Keys { count: count(n)?, skew: Skew::Uniform }),
            ["zipf", n, exponent] => {
                let exponent = number(exponent)?;
                if !(0.0..=10.0).contains(&exponent) {
                    return Err("EXPONENT is not from 0 to 10".to_string());
                }
                Ok(Keys { count: count(n)?, skew: Skew::Zipf { exponent } })
            }
            ["hot", n, hot, percent] => {
                let (share, hot, count) = (number(percent)? / 100.0, count(hot)?, count(n)?);
                if !(0.0..=1.0).contains(&share) || hot > count {
                    return Err("HOT is above N, or PERCENT is not from 0 to 100".to_string());
                }
                Ok(Keys { count, skew: Skew::Hot { count: hot, share } })
            }
            _ => Err("not uniform:N, zipf:N:EXPONENT or hot:N:HOT:PERCENT".to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use std::collections::{BTreeMap, BTreeSet};

    const DRAWS: usize = 100_000;

    fn shares(keys: &str, partitions: usize, partition: i32) -> BTreeMap<u64, f64> {
        let (mut random, mut shares) = (SmallRng::seed_from_u64(6), BTreeMap::new());
        let dealt = keys.parse::<Keys>().unwrap().dealt(partitions);
        for _ in 0..DRAWS {
            *shares.entry(dealt.draw(&mut random, partition)).or_default() += 1.0 / DRAWS as f64;
        }
        shares
    }

    #[test]
    fn each_key_comes_as_often_as_it_should() {
        let near = |share: f64, expected: f64| (share - expected).abs() < 0.01;
        let uniform = shares("uniform:10", 1, 0);
        assert!(uniform.len() == 10 && uniform.values().all(|&share| near(share, 0.1)), "{uniform:?}");
        let zipf = shares("zipf:1000:1", 1, 0);
        let harmonic: f64 = (1..=1000).map(|n| 1.0 / f64::from(n)).sum();
        assert!(near(zipf[&0], 1.0 / harmonic) && near(zipf[&4], 0.2 / harmonic), "{zipf:?}");
        let hot = shares("hot:100:10:90", 1, 0);
        assert_eq!(hot.len(), 100);
        assert!(near(hot.range(..10).map(|(_, share)| share).sum(), 0.9), "{hot:?}");
        assert!(near(shares("hot:4:4:50", 1, 0)[&3], 0.25), "all are hot");
    }

    #[test]
    fn partitions_have_no_key_in_common() {
        let mut all = BTreeSet::new();
        for partition in 0..4 {
            let keys = shares("uniform:100", 4, partition);
            assert_eq!(keys.len(), 25);
            all.extend(keys.into_keys());
        }
        assert_eq!((all.len(), all.last()), (100, Some(&99)));
        assert_eq!(shares("zipf:2:0.99", 4, 3).into_keys().collect::<Vec<_>>(), [3], "one at least");
    }

    #[test]
    fn what_is_no_keys_is_refused() {
        for text in
            ["", "uniform", "uniform:0", "uniform:x", "zipf:5", "zipf:5:-1", "zipf:5:nan", "hot:5:6:1", "hot:5:1:101"]
        {
            assert!(text.parse::<Keys>().is_err(), "{text}");
        }
        let digits = [1, 10, 11, 100, 101].map(|n| format!("uniform:{n}").parse::<Keys>().unwrap().digits());
        assert_eq!(digits, [1, 1, 2, 2, 3]);
    }
}
