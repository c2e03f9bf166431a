//! `tests/scenarios/group/*.txt`: lines of input, each followed by what comes of it, indented. `UPDATE_SCENARIOS=1` writes
//! what came into the files instead of comparing it; the difference is then to be read.
//!
//! ```text
//! join CLIENT [g=GROUP] [v=VERSION] [id=ID] [instance=I] [type=T] [p=NAME:METADATA,...] [session=MS] [rebalance=MS]
//! sync CLIENT [v=] [gen=] [instance=] [CLIENT=ASSIGNMENT ...]      beat CLIENT [gen=] [instance=]
//! leave CLIENT|- [v=] [instance=]                                  commit CLIENT|- [v=] [gen=] [retention=MS] TOPIC:PARTITION=OFFSET[/METADATA] ...
//! fetch GROUP all|TOPIC:PARTITION ...                              forget GROUP TOPIC:PARTITION ...
//! list [STATE ...]     describe GROUP [v=]     delete GROUP ...    drop-topic TOPIC
//! wait MS              disk durable|held|failing [CODE]            write (one held append)
//! restart | load | loaded | unload | log | break KIND GROUP        set NAME=NUMBER
//! ```
//! `@a+b` as metadata is a consumer's subscription to the topics a and b. A client's id and generation are those of its last answers unless they are given. `a#3` is the third id that was made.

use crate::bench::{self, Bench, Disk, EPOCH_MS, topics};
use klamm::group::{Answer, Coordinator, Request, Response, Settings, Ticket};
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::{DeleteGroupsRequest, GroupMetadataValue, OffsetCommitValue};
use std::collections::HashMap;
use std::fmt::Write;

#[derive(Default, Clone)]
struct Client {
    id: String,
    generation: i32,
}

struct Runner {
    bench: Bench,
    clients: HashMap<String, Client>,
    asked: HashMap<Ticket, String>,
    out: String,
}

/// Words of an input line: plain ones, and `name=value`.
struct Words<'a> {
    plain: Vec<&'a str>,
    named: Vec<(&'a str, &'a str)>,
}

impl<'a> Words<'a> {
    fn parse(line: &'a str) -> Self {
        let (mut plain, mut named) = (Vec::new(), Vec::new());
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some(pair) => named.push(pair),
                None => plain.push(word),
            }
        }
        Words { plain, named }
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self.named.iter().position(|(n, _)| *n == name)?;
        Some(self.named.remove(at).1)
    }

    fn number(&mut self, name: &str) -> Option<i64> {
        self.take(name).map(|text| text.parse().expect("a number"))
    }
}

fn position(text: &str) -> (&str, i32) {
    let (topic, partition) = text.split_once(':').expect("TOPIC:PARTITION");
    (topic, partition.parse().expect("a partition"))
}

fn name(code: i16) -> &'static str {
    ErrorCode::from_code(code).expect("a code of Kafka's").name()
}

fn text(bytes: &[u8]) -> String {
    let printable = |&byte: &u8| if byte.is_ascii_graphic() { char::from(byte) } else { '.' };
    bytes.iter().map(printable).collect()
}

/// Ids made from small numbers, as `prefix#number`.
fn short(line: &str) -> String {
    let mut line = line.to_string();
    while let Some(at) = line.find("-00000000-0000-4000-8000-") {
        let digits = &line[at + 25..at + 37];
        let number = u64::from_str_radix(digits, 16).expect("hex");
        line.replace_range(at..at + 37, &format!("#{number}"));
    }
    line
}

/// The id that [`short`] shows so; `-` for none.
fn long(id: &str) -> String {
    match id.split_once('#') {
        Some((prefix, number)) => {
            format!("{prefix}-00000000-0000-4000-8000-{:012x}", number.parse::<u64>().expect("a number"))
        }
        None if id == "-" => String::new(),
        None => id.to_string(),
    }
}

impl Runner {
    fn new() -> Runner {
        let bench = Bench::new(Settings::default());
        Runner { bench, clients: HashMap::new(), asked: HashMap::new(), out: String::new() }
    }

    fn client(&self, name: &str) -> Client {
        self.clients.get(name).cloned().unwrap_or(Client { id: String::new(), generation: -1 })
    }

    fn put(&mut self, line: &str) {
        writeln!(self.out, "  {}", short(line)).unwrap();
    }

    fn send(&mut self, client: &str, version: i16, request: Request<'_>) {
        let ticket = self.bench.send(client, version, &request);
        self.asked.insert(ticket, client.to_string());
        self.bench.flush();
    }

    // long: one arm for each command
    fn run(&mut self, line: &str) {
        let mut words = Words::parse(line);
        let command = words.plain.remove(0);
        let version = words.number("v").map(|v| v as i16);
        let group = words.take("g").unwrap_or("g").to_string();
        let instance = words.take("instance");
        let who = words.plain.first().copied().unwrap_or("-").to_string();
        let client = self.client(&who);
        let id = words.take("id").map_or(client.id, long);
        let generation = words.number("gen").map_or(client.generation, |gen_| gen_ as i32);
        match command {
            "join" => {
                let mut request = bench::join(&group, &id, instance, words.take("p").unwrap_or("range:m"));
                request.protocol_type = words.take("type").unwrap_or("consumer").to_string().into();
                if let Some(ms) = words.number("session") {
                    request.session_timeout_ms = ms as i32;
                }
                if let Some(ms) = words.number("rebalance") {
                    request.rebalance_timeout_ms = ms as i32;
                }
                self.send(&who, version.unwrap_or(9), Request::JoinGroup(request));
            }
            "sync" => {
                let kind = words.take("type").unwrap_or("consumer").to_string();
                let protocol = words.take("p").unwrap_or("range").to_string();
                let assign = |(name, bytes): &(&str, &str)| (self.client(name).id, bytes.to_string());
                let assignments: Vec<_> = words.named.iter().map(assign).collect();
                let mut request = bench::sync(&group, &id, instance, generation, &assignments);
                (request.protocol_type, request.protocol_name) = (Some(kind.into()), Some(protocol.into()));
                self.send(&who, version.unwrap_or(5), Request::SyncGroup(request));
            }
            "beat" => {
                let request = bench::beat(&group, &id, instance, generation);
                self.send(&who, version.unwrap_or(4), Request::Heartbeat(request));
            }
            "leave" => {
                let request = bench::leave(&group, &[(&id, instance)]);
                self.send(&who, version.unwrap_or(5), Request::LeaveGroup(request));
            }
            "commit" => {
                let retention = words.number("retention");
                let place = |&(at, value): &(&'_ str, &'_ str)| {
                    let ((topic, partition), (offset, metadata)) =
                        (position(at), value.split_once('/').unwrap_or((value, "")));
                    (topic.to_string(), partition, offset.parse::<i64>().expect("an offset"), metadata.to_string())
                };
                let positions: Vec<_> = words.named.iter().map(place).collect();
                let positions: Vec<_> = positions.iter().map(|(t, p, o, m)| (&**t, *p, *o, &**m)).collect();
                let mut request = bench::commit(&group, &id, instance, generation, &positions);
                request.retention_time_ms = retention.unwrap_or(-1);
                self.send(&who, version.unwrap_or(9), Request::OffsetCommit(request));
            }
            "fetch" => {
                let asked: Vec<_> =
                    words.plain[1..].iter().filter(|word| **word != "all").map(|w| position(w)).collect();
                let all = words.plain[1..] == ["all"];
                self.send("-", version.unwrap_or(9), bench::fetch(&who, (!all).then_some(&asked)));
            }
            "forget" => {
                let asked: Vec<_> = words.plain[1..].iter().map(|word| position(word)).collect();
                self.send("-", 0, bench::delete_offsets(&who, &asked));
            }
            "list" => self.send("-", version.unwrap_or(5), bench::list(&words.plain, &[])),
            "describe" => self.send("-", version.unwrap_or(6), bench::describe(&who)),
            "delete" => {
                let groups_names = words.plain.iter().map(|name| name.to_string().into()).collect();
                self.send("-", version.unwrap_or(2), Request::DeleteGroups(DeleteGroupsRequest { groups_names }));
            }
            "drop-topic" => {
                self.bench.coordinator.topics_deleted(&[who.as_str().into()].into());
            }
            "wait" => {
                let answers = self.bench.wait(who.parse().expect("milliseconds"));
                self.answers(answers);
            }
            "disk" => {
                self.bench.disk = match (&*who, words.plain.get(1)) {
                    ("durable", None) => Disk::Durable,
                    ("held", None) => Disk::Held,
                    ("failing", Some(code)) => {
                        Disk::Failing(*ErrorCode::ALL.iter().find(|c| c.name() == *code).expect("a code's name"))
                    }
                    _ => panic!("no such disk: {line}"),
                }
            }
            "write" => self.bench.write_one(),
            "restart" => self.bench.restart(),
            "load" => self.bench.coordinator = self.bench.replayed(),
            "loaded" => self.bench.coordinator.loaded(self.bench.now()),
            "unload" => assert!(self.bench.coordinator.unload()),
            "log" => self.log(),
            "break" => self.break_record(&who, words.plain[1]),
            "set" => self.set(&words.named),
            _ => panic!("no such command: {line}"),
        }
        self.bench.flush();
        let answers = self.bench.coordinator.take_answers();
        self.answers(answers);
        self.events();
    }

    fn set(&mut self, named: &[(&str, &str)]) {
        for (name, value) in named {
            let (settings, value) = (&mut self.bench.settings, value.parse::<u64>().expect("a number"));
            match *name {
                "members_max" => settings.members_max = value as usize,
                "gather_ms" => settings.gather_ms = value,
                "gather_ms_max" => settings.gather_ms_max = value,
                "retention_ms" => settings.retention_ms = value as i64,
                "append_bytes_max" => settings.append_bytes_max = value as usize,
                "member_bytes_max" => settings.member_bytes_max = value as usize,
                _ => panic!("no such setting: {name}"),
            }
        }
        self.bench.coordinator = Coordinator::new(self.bench.settings.clone());
        self.bench.restart();
    }

    /// Puts a value that nobody can read into the log.
    fn break_record(&mut self, kind: &str, group: &str) {
        let mut key = match kind {
            "offset" => vec![0, 1],
            "group" => vec![0, 2],
            _ => panic!("no such kind: {kind}"),
        };
        key.extend((group.len() as i16).to_be_bytes());
        key.extend(group.as_bytes());
        if kind == "offset" {
            key.extend([0, 1, b't', 0, 0, 0, 0]);
        }
        self.bench.log.push((key, Some(vec![0, 3, 1])));
    }

    fn log(&mut self) {
        for (offset, (key, value)) in self.bench.log.clone().into_iter().enumerate() {
            let mut r = klamm::wire::codec::Reader::new(&key[2..]);
            let group = r.string(false).unwrap();
            let what = match key[1] {
                1 => format!("{}:{}", r.string(false).unwrap(), r.i32().unwrap()),
                _ => "group".to_string(),
            };
            let value = value.map_or("gone".to_string(), |value| {
                let (version, mut r) = (i16::from(value[1]), klamm::wire::codec::Reader::new(&value[2..]));
                if key[1] == 1 {
                    let value = OffsetCommitValue::decode(&mut r, version).unwrap();
                    let ms = value.commit_timestamp - EPOCH_MS;
                    return format!("v{version} offset={} at={ms} metadata={:?}", value.offset, value.metadata);
                }
                let value = GroupMetadataValue::decode(&mut r, version).unwrap();
                let member = |m: &klamm::wire::messages::group_metadata_value::MemberMetadata<'_>| {
                    format!("{}={}:{}", m.member_id, text(&m.subscription), text(&m.assignment))
                };
                let members = value.members.iter().map(member).collect::<Vec<_>>().join(",");
                let (generation, protocol) = (value.generation, value.protocol.unwrap_or("-".into()));
                let leader = value.leader.unwrap_or("-".into());
                format!(
                    "v{version} gen={generation} type={} protocol={protocol} leader={leader} [{members}]",
                    value.protocol_type
                )
            });
            self.put(&format!("{offset} {group} {what} {value}"));
        }
    }

    fn events(&mut self) {
        use klamm::group::Event;
        for event in self.bench.coordinator.take_events() {
            match event {
                Event::Rebalance { .. } | Event::Generation { .. } => {}
                other => self.put(&format!("event {other:?}")),
            }
        }
    }

    fn answers(&mut self, answers: Vec<Answer>) {
        for Answer { ticket, response } in answers {
            let who = self.asked.remove(&ticket).expect("each request is answered once");
            let line = self.answer(&who, response);
            self.put(&line);
        }
    }

    // long: one arm for each API
    fn answer(&mut self, who: &str, response: Response) -> String {
        let head = if who == "-" { String::new() } else { format!("{who}: ") };
        match response {
            Response::TooLarge => format!("{head}too large"),
            Response::JoinGroup(r) => {
                let code = name(r.error_code);
                let entry = self.clients.entry(who.to_string()).or_default();
                if r.error_code == 0 || r.error_code == ErrorCode::MemberIdRequired.code() {
                    entry.id = r.member_id.to_string();
                }
                if r.error_code != 0 {
                    return format!("{head}join {code} id={}", r.member_id);
                }
                entry.generation = r.generation_id;
                let member = |m: &klamm::wire::messages::join_group_response::JoinGroupResponseMember<'_>| {
                    let instance = m.group_instance_id.as_ref().map_or(String::new(), |i| format!("({i})"));
                    format!("{}{instance}={}", m.member_id, text(&m.metadata))
                };
                let members = r.members.iter().map(member).collect::<Vec<_>>().join(",");
                let (kind, protocol) = (r.protocol_type.unwrap_or("-".into()), r.protocol_name.unwrap_or("-".into()));
                let skip = if r.skip_assignment { " skip" } else { "" };
                let (generation, leader, id) = (r.generation_id, r.leader, r.member_id);
                format!("{head}join gen={generation} {kind}/{protocol} leader={leader} id={id} [{members}]{skip}")
            }
            Response::SyncGroup(r) if r.error_code == 0 => format!("{head}sync {:?}", text(&r.assignment)),
            Response::SyncGroup(r) => format!("{head}sync {}", name(r.error_code)),
            Response::Heartbeat(r) => format!("{head}beat {}", name(r.error_code)),
            Response::LeaveGroup(r) => {
                let member = |m: &klamm::wire::messages::leave_group_response::MemberResponse<'_>| name(m.error_code);
                let members = r.members.iter().map(member).collect::<Vec<_>>().join(",");
                format!("{head}leave {} [{members}]", name(r.error_code))
            }
            Response::OffsetCommit(r) => {
                let codes = r.topics.iter().flat_map(|t| &t.partitions).map(|p| name(p.error_code));
                format!("{head}commit {}", codes.collect::<Vec<_>>().join(","))
            }
            Response::OffsetFetch(r) => {
                let mut line = format!("fetch {} {}", r.group_id, name(r.error_code));
                for (topic, p) in r.topics.iter().flat_map(|t| t.partitions.iter().map(move |p| (&t.name, p))) {
                    let (index, offset, metadata) = (p.partition_index, p.committed_offset, p.metadata.as_deref());
                    write!(line, " {topic}:{index}={offset}/{}", metadata.unwrap_or("null")).unwrap();
                    if p.error_code != 0 {
                        write!(line, "!{}", name(p.error_code)).unwrap();
                    }
                }
                line
            }
            Response::OffsetDelete(r) => {
                let codes = r.topics.iter().flat_map(|t| &t.partitions).map(|p| name(p.error_code));
                format!("forget {} [{}]", name(r.error_code), codes.collect::<Vec<_>>().join(","))
            }
            Response::ListGroups(r) => {
                let row = |g: &klamm::wire::messages::list_groups_response::ListedGroup<'_>| {
                    format!("{}/{}/{}/{}", g.group_id, g.protocol_type, g.group_state, g.group_type)
                };
                format!("list {} [{}]", name(r.error_code), r.groups.iter().map(row).collect::<Vec<_>>().join(" "))
            }
            Response::DescribeGroups(r) => {
                let g = &r.groups[0];
                let member = |m: &klamm::wire::messages::describe_groups_response::DescribedGroupMember<'_>| {
                    let (metadata, assignment) = (text(&m.member_metadata), text(&m.member_assignment));
                    format!("{}@{}{}={metadata}:{assignment}", m.member_id, m.client_id, m.client_host)
                };
                let members = g.members.iter().map(member).collect::<Vec<_>>().join(",");
                let (code, state) = (name(g.error_code), &g.group_state);
                format!("describe {code} {state} {}/{} [{members}]", g.protocol_type, g.protocol_data)
            }
            Response::DeleteGroups(r) => {
                let codes = r.results.iter().map(|result| format!("{}={}", result.group_id, name(result.error_code)));
                format!("delete {}", codes.collect::<Vec<_>>().join(" "))
            }
        }
    }
}

#[test]
fn scenarios() {
    assert!(topics("t", 3) && !topics("gone", 0));
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/group");
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 5, "scenarios are missing: {names:?}");
    for path in names {
        let expected = std::fs::read_to_string(&path).unwrap();
        let mut runner = Runner::new();
        for line in expected.lines().filter(|line| !line.starts_with("  ")) {
            if line.trim_start_matches('=').is_empty() || line.starts_with('#') {
                writeln!(runner.out, "{line}").unwrap();
                // A new beginning.
                if line.starts_with("==") {
                    runner = Runner { out: runner.out, ..Runner::new() };
                }
                continue;
            }
            writeln!(runner.out, "{line}").unwrap();
            runner.run(line);
        }
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            std::fs::write(&path, &runner.out).unwrap();
        } else {
            let number = |(number, _): (usize, _)| number + 1;
            let differs =
                runner.out.lines().zip(expected.lines()).enumerate().find(|(_, (ours, theirs))| ours != theirs);
            let (line, file) = (differs.map(number), path.display());
            assert!(runner.out == expected, "{file}, line {line:?}:\n{differs:?}");
        }
    }
}
