//! A broker, and programs that are run against it.

use crate::batches::batch;
use crate::client::{Client, Produce};
use crate::process::{Broker, klamm, run_to_end};
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::process::Command;

pub struct Stage {
    pub broker: Broker,
    pub dir: tempfile::TempDir,
}

/// How a program ended, and what it wrote.
#[derive(PartialEq, Eq, Debug)]
pub struct Ran {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Words between blanks; a word in quotes may hold some.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    let split = |(i, part): (usize, &str)| match i % 2 {
        0 => part.split_whitespace().map(str::to_string).collect(),
        _ => vec![part.to_string()],
    };
    parts.flat_map(split).collect()
}

#[track_caller]
fn ran(command: Command) -> Ran {
    let (status, out, err) = run_to_end(command);
    Ran { status, out, err }
}

/// The program by its own name, without any broker.
#[track_caller]
pub fn alone(line: &str) -> Ran {
    let mut command = klamm(&[]);
    command.args(words(line));
    ran(command)
}

/// One of Kafka's tools, without any broker.
#[track_caller]
pub fn tool_alone(name: &str, line: &str) -> Ran {
    let mut command = klamm(&[]);
    command.arg0(name).args(words(line));
    ran(command)
}

impl Stage {
    #[track_caller]
    pub fn new() -> Stage {
        Stage::with(&[("auto.create.topics.enable", "false"), ("offsets.topic.num.partitions", "2")])
    }

    #[track_caller]
    pub fn with(settings: &[(&str, &str)]) -> Stage {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        std::fs::create_dir(&data).expect("a directory");
        Stage { broker: Broker::start(&data, settings), dir }
    }

    /// `klamm` with the broker's address.
    #[track_caller]
    pub fn klamm(&self, line: &str) -> Ran {
        alone(&format!("{line} --bootstrap-server {}", self.broker.address))
    }

    /// What it prints when all is well.
    #[track_caller]
    pub fn told(&self, line: &str) -> String {
        self.klamm(line).well()
    }

    #[track_caller]
    pub fn json(&self, line: &str) -> Value {
        let text = self.told(&format!("{line} --format json"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// One of Kafka's tools with the broker's address.
    #[track_caller]
    pub fn tool(&self, name: &str, line: &str) -> Ran {
        tool_alone(name, &format!("--bootstrap-server {} {line}", self.broker.address))
    }

    /// A topic with two partitions and ten records in the first.
    #[track_caller]
    pub fn topic(&self, name: &str) {
        self.told(&format!("topic create {name} --partitions 2"));
        Produce::to(name, 0, batch(10)).write(&mut Client::connect(self.broker.address));
    }

    /// A file with a text, by its path.
    #[track_caller]
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_string()
    }
}

impl Ran {
    /// What it wrote to standard output, if it ended well and had nothing to say besides.
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// What it wrote to standard error, if it ended with `status` and wrote nothing else.
    #[track_caller]
    pub fn ill(self, status: i32) -> String {
        assert_eq!((self.status, self.out.as_str()), (Some(status), ""), "{}", self.err);
        self.err
    }
}
