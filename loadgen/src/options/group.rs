//! `group`.

use super::{Fetching, From, Shape, Target, Writing};
use crate::group::Pattern;
use clap::{Args, ValueEnum};
use klamm::client::assignment;

pub const ABOUT: &str = "Consumers in groups that join, leave and die in a pattern.\n\n\
    With a --rate a producer feeds the topic, evenly over its partitions or as --keys say, and every group reads and commits all of it; each \
    member has a connection to its coordinator and one to each leader that it reads from. Without a --rate members only send \
    heartbeats, unless they --read what others write: so the cost of many idle groups is measured (--groups 1000 --members 10 --warmup-seconds 10 --broker-pid PID). \
    Groups begin one after the other within one heartbeat.\n\n\
    Times are in milliseconds. first_message_ms: from the start, when the first members look for their coordinator, to the \
    first record. rebalance_join_ms, rebalance_leave_ms, rebalance_die_ms: from an event of the pattern until all members are \
    in one generation, each partition has one owner, and each owner knows where to read on; members learn of a rebalance by \
    their heartbeats, and of a death by the end of its session. member_rebalance_ms: from when a member learns of a rebalance, \
    or begins to join, until it has its share. pause_kept_ms and pause_moved_ms: the longest time without a record around a \
    rebalance, of each partition whose owner stayed or changed; without a rebalance it is about the number of partitions \
    divided by the rate. Exit status 1 if an acknowledged record was not delivered or a rebalance did not end.";

#[derive(Args, Clone, Debug)]
pub struct Group {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub writing: Writing,
    #[command(flatten)]
    pub shape: Shape,
    #[command(flatten)]
    pub fetching: Fetching,
    /// Members that join each group at the start
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub members: u32,
    /// Groups, each of which reads all
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub groups: u32,
    /// Read and commit what others write, without a --rate of its own
    #[arg(long, conflicts_with = "rate")]
    pub read: bool,
    /// Where to --read from what the group has no position of
    #[arg(long, value_enum, default_value_t = From::Latest, requires = "read")]
    pub from: From,
    /// Name of the group, of several with a number behind it [default: a random one]
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// What happens after the start, as SECONDS join|leave|die [N], such as "5 join 2, 10 leave, 15 die": N new members
    /// come, or the N that have been there longest leave with or without a word
    #[arg(long, value_name = "EVENTS", default_value = "", hide_default_value = true)]
    pub pattern: Pattern,
    /// How partitions are shared out, and so how clients behave in a rebalance
    #[arg(long, value_enum, default_value_t = Assignor::Range)]
    pub assignor: Assignor,
    /// Milliseconds between a member's heartbeats
    #[arg(long, value_name = "MS", default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..))]
    pub heartbeat_ms: u32,
    /// Milliseconds without a heartbeat after which the coordinator takes a member for dead
    #[arg(long, value_name = "MS", default_value_t = 45000, value_parser = clap::value_parser!(i32).range(1..))]
    pub session_ms: i32,
    /// Milliseconds that a rebalance waits for a member
    #[arg(long, value_name = "MS", default_value_t = 300000, value_parser = clap::value_parser!(i32).range(1..))]
    pub rebalance_ms: i32,
    /// Milliseconds between a member's commits
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub commit_ms: u32,
}

impl Group {
    /// Names of the groups; random if none is given, and then others each time.
    pub fn names(&self) -> Vec<String> {
        let name = self.group.clone().unwrap_or_else(|| format!("loadgen-{:08x}", rand::random::<u32>()));
        match self.groups {
            1 => vec![name],
            groups => (0..groups).map(|number| format!("{name}-{number}")).collect(),
        }
    }
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assignor {
    /// Eager: in a rebalance each member gives up all that it has, and gets a range of the partitions
    Range,
    /// Cooperative: members go on with what stays theirs; what moves is given up first, and given out in a second rebalance
    CooperativeSticky,
}

impl std::convert::From<Assignor> for assignment::Assignor {
    fn from(assignor: Assignor) -> Self {
        match assignor {
            Assignor::Range => assignment::Assignor::Range,
            Assignor::CooperativeSticky => assignment::Assignor::CooperativeSticky,
        }
    }
}
