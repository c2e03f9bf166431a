//! The broker's settings as the broker uses them, beside the text they came from.

use super::definition::{Definition, Effect, Mode, Scope, broker_definition, definition};
use super::error::ConfigError;
use super::listener::{self, Listener};
use super::value::{parse_cores, split_list};
use crate::types::BrokerId;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// Bytes that a journal file's length is a multiple of.
const JOURNAL_FILE_ALIGNMENT: u32 = 4096;

/// Where a value comes from, with Kafka's number of it in DescribeConfigs. Of a broker's the smaller number wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// Set for one topic.
    Topic = 1,
    /// Set for this broker while it runs.
    DynamicBroker = 2,
    /// Set for all brokers while they run.
    DynamicDefaultBroker = 3,
    /// Given when the broker was started.
    StaticBroker = 4,
    /// Nobody has given a value.
    Default = 5,
    /// Set for one consumer group.
    Group = 8,
}

/// A value that somebody gave.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub value: String,
    pub source: Source,
    /// Place for messages: `server.properties:3`, an environment variable's name, `--override`.
    pub origin: String,
}

/// Values by names that the tables do not have: unknown ones, and settings of one listener. They are kept and shown.
pub(super) type Others = BTreeMap<String, Vec<Given>>;

/// Every value that was given, by setting; of each the strongest source first.
pub(super) type Values = BTreeMap<&'static str, Vec<Given>>;

/// The broker's settings. Every field is checked; sizes are in bytes, durations in milliseconds.
#[derive(Clone, Debug)]
pub struct Config {
    values: Values,
    pub(super) others: Others,
    /// `node.id`
    pub node_id: BrokerId,
    /// `broker.rack`
    pub rack: Option<String>,
    /// What to serve: at least one, all PLAINTEXT.
    pub listeners: Vec<Listener>,
    /// What clients are told, each named like one of `listeners`: at least one.
    pub advertised_listeners: Vec<Listener>,
    /// Listeners that were given for controllers only, and are not opened.
    pub controller_listeners: Vec<String>,
    /// `log.dirs`, which names one directory.
    pub data_dir: PathBuf,
    /// CPU numbers; empty: every CPU that the process may run on.
    pub cores: Vec<usize>,
    /// `socket.request.max.bytes`
    pub socket_request_bytes_max: u32,
    /// `max.connections`
    pub connections_max: u32,
    /// For addresses without a limit of their own: see [`Config::connections_max_of`].
    pub connections_per_ip_max: u32,
    connections_per_ip_overrides: BTreeMap<IpAddr, u32>,
    /// `None`: idle connections stay.
    pub connections_idle_ms_max: Option<u64>,
    /// `connection.header.timeout.ms`
    pub connection_header_timeout_ms: u32,
    /// `connection.request.timeout.ms`
    pub connection_request_timeout_ms: u32,
    /// `connection.outgoing.bytes.max`
    pub connection_outgoing_bytes_max: u64,
    /// `connection.requests.max`
    pub connection_requests_max: u32,
    /// `core.memory.bytes`
    pub core_memory_bytes_max: u64,
    /// Idempotent producers that a core remembers.
    pub core_producers_max: u32,
    /// `journal.file.bytes`
    pub journal_file_bytes: u32,
    /// `journal.files.max`
    pub journal_files_max: u32,
    /// `log.initial.task.delay.ms`
    pub log_initial_task_delay_ms: u64,
    /// `log.retention.check.interval.ms`
    pub log_retention_check_ms: u64,
    /// `auto.create.topics.enable`
    pub auto_create_topics: bool,
    /// `delete.topic.enable`
    pub delete_topic_enable: bool,
    /// `num.partitions`
    pub num_partitions: u32,
    /// `default.replication.factor`
    pub default_replication_factor: i32,
    /// `fetch.max.bytes`
    pub fetch_bytes_max: u32,
    /// Over all cores.
    pub fetch_session_slots: u32,
    /// `max.request.partition.size.limit`
    pub describe_partitions_max: u32,
    /// `producer.id.expiration.ms`
    pub producer_id_expiration_ms: u32,
    /// How often producers are looked through for expired ones.
    pub producer_id_check_interval_ms: u32,
    /// `group.min.session.timeout.ms`
    pub group_session_ms_min: i32,
    /// `group.max.session.timeout.ms`
    pub group_session_ms_max: i32,
    /// `group.max.size`
    pub group_members_max: u32,
    /// Of each core.
    pub group_members_bytes_max: u64,
    /// How long the first rebalance of an empty group waits for the next join, and for all of them together.
    pub group_gather_ms: u32,
    /// `group.initial.rebalance.delay.ms`
    pub group_gather_ms_max: u32,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_bytes_max: u32,
    /// `offsets.retention.minutes`
    pub offsets_retention_minutes: u32,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_ms: u64,
    /// `offsets.topic.num.partitions`
    pub offsets_topic_partitions: i32,
    /// `offsets.topic.segment.bytes`
    pub offsets_topic_segment_bytes: u32,
    /// Kafka's number of the compression: 0, none, to 4, zstd.
    pub offsets_topic_codec: u8,
    /// What topics may be: see [`Config::check_topic`].
    pub(super) topic_name_patterns: Vec<String>,
    pub(super) topic_partitions_max: i32,
    pub(super) topic_replication_factor_min: i32,
    pub(super) topic_replication_factor_max: i32,
}

impl Default for Config {
    fn default() -> Self {
        Config::build(Values::new()).expect("the defaults fit together")
    }
}

impl Config {
    /// The value in force of a broker setting and its source; `None` when there is none, or no such setting.
    pub fn get(&self, name: &str) -> Option<(&str, Source)> {
        let definition = definition(Scope::Broker, name)?;
        match self.given(definition.name).first() {
            Some(given) => Some((&given.value, given.source)),
            None => definition.default.map(|default| (default, Source::Default)),
        }
    }

    /// Everything that was given for a setting, strongest first.
    pub(super) fn given(&self, name: &str) -> &[Given] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// Connections that one address may have.
    pub fn connections_max_of(&self, address: IpAddr) -> u32 {
        self.connections_per_ip_overrides.get(&address.to_canonical()).copied().unwrap_or(self.connections_per_ip_max)
    }

    /// This configuration with the values that were set while the broker runs: for this broker, and for all brokers.
    /// Replaces earlier such values. Also says which of them cannot be used and are left out, because the present version
    /// refuses them.
    pub fn with_dynamic(
        &self,
        broker: &BTreeMap<String, String>,
        all_brokers: &BTreeMap<String, String>,
    ) -> (Config, Vec<String>) {
        let (mut values, mut others) = (self.values.clone(), self.others.clone());
        let all_given = values.values_mut().chain(others.values_mut());
        all_given.for_each(|given| given.retain(|given| given.source == Source::StaticBroker));
        let mut left_out = Vec::new();
        for (source, settings) in [(Source::DynamicDefaultBroker, all_brokers), (Source::DynamicBroker, broker)] {
            for (name, value) in settings {
                let per_broker = source == Source::DynamicBroker;
                match super::validate_broker_dynamic(name, Some(value), per_broker) {
                    Ok(()) => {
                        let given = Given { value: value.clone(), source, origin: "set while running".into() };
                        match definition(Scope::Broker, name) {
                            Some(known) => values.entry(known.name).or_default().insert(0, given),
                            None => others.entry(name.clone()).or_default().insert(0, given),
                        }
                    }
                    Err(why) => left_out.push(why),
                }
            }
        }
        values.retain(|_, given| !given.is_empty());
        others.retain(|_, given| !given.is_empty());
        assert!(values.values().all(|given| given.is_sorted_by_key(|given| given.source)));
        match Config::build(values) {
            Ok(config) => (Config { others, ..config }, left_out),
            Err(why) => {
                left_out.push(why.to_string());
                (self.clone(), left_out)
            }
        }
    }

    /// Makes the typed fields from checked values, and checks what depends on more than one of them.
    pub(super) fn build(mut values: Values) -> Result<Config, ConfigError> {
        for (name, given) in &values {
            let definition = broker_definition(name);
            assert!(given.iter().all(|given| definition.check(&given.value).is_ok()), "{name} was not checked");
        }
        take_older_node_id(&mut values)?;
        let read = Reader(&values);
        read.check_alone()?;
        let (listeners, controller_listeners) = read.listeners()?;
        let advertised_listeners = read.advertised_listeners(&listeners, &controller_listeners)?;
        let config = Config {
            node_id: BrokerId(read.integer("node.id")),
            rack: read.text("broker.rack").map(str::to_string),
            listeners,
            advertised_listeners,
            controller_listeners,
            data_dir: read.data_dir()?,
            cores: parse_cores(read.text("cores").unwrap_or("")).expect("checked"),
            socket_request_bytes_max: read.integer("socket.request.max.bytes"),
            connections_max: read.integer("max.connections"),
            connections_per_ip_max: read.integer("max.connections.per.ip"),
            connections_per_ip_overrides: read.connections_per_ip_overrides()?,
            connections_idle_ms_max: u64::try_from(read.integer::<i64>("connections.max.idle.ms")).ok(),
            connection_header_timeout_ms: read.integer("connection.header.timeout.ms"),
            connection_request_timeout_ms: read.integer("connection.request.timeout.ms"),
            connection_outgoing_bytes_max: read.integer("connection.outgoing.bytes.max"),
            connection_requests_max: read.integer("connection.requests.max"),
            core_memory_bytes_max: read.integer("core.memory.bytes"),
            core_producers_max: read.integer("core.producers.max"),
            journal_file_bytes: read.integer("journal.file.bytes"),
            journal_files_max: read.integer("journal.files.max"),
            log_initial_task_delay_ms: read.integer("log.initial.task.delay.ms"),
            log_retention_check_ms: read.integer("log.retention.check.interval.ms"),
            auto_create_topics: read.boolean("auto.create.topics.enable"),
            delete_topic_enable: read.boolean("delete.topic.enable"),
            num_partitions: read.integer("num.partitions"),
            default_replication_factor: read.integer("default.replication.factor"),
            fetch_bytes_max: read.integer("fetch.max.bytes"),
            fetch_session_slots: read.integer("max.incremental.fetch.session.cache.slots"),
            describe_partitions_max: read.integer("max.request.partition.size.limit"),
            producer_id_expiration_ms: read.integer("producer.id.expiration.ms"),
            producer_id_check_interval_ms: read.integer("producer.id.expiration.check.interval.ms"),
            group_session_ms_min: read.integer("group.min.session.timeout.ms"),
            group_session_ms_max: read.integer("group.max.session.timeout.ms"),
            group_members_max: read.integer("group.max.size"),
            group_members_bytes_max: read.integer("group.members.memory.bytes"),
            group_gather_ms: read.integer("group.initial.rebalance.gather.ms"),
            group_gather_ms_max: read.not_negative("group.initial.rebalance.delay.ms"),
            offset_metadata_bytes_max: read.not_negative("offset.metadata.max.bytes"),
            offsets_retention_minutes: read.integer("offsets.retention.minutes"),
            offsets_retention_check_ms: read.integer("offsets.retention.check.interval.ms"),
            offsets_topic_partitions: read.integer("offsets.topic.num.partitions"),
            offsets_topic_segment_bytes: read.integer("offsets.topic.segment.bytes"),
            offsets_topic_codec: read.integer("offsets.topic.compression.codec"),
            topic_name_patterns: read.list("topic.name.patterns").into_iter().map(str::to_string).collect(),
            topic_partitions_max: read.integer("topic.partitions.max"),
            topic_replication_factor_min: read.integer("topic.replication.factor.min"),
            topic_replication_factor_max: read.integer("topic.replication.factor.max"),
            values,
            others: Others::new(),
        };
        assert!(!config.listeners.is_empty() && !config.advertised_listeners.is_empty());
        Ok(config)
    }
}

/// `broker.id` is the older name of `node.id`: a value under it counts as one of `node.id`.
fn take_older_node_id(values: &mut Values) -> Result<(), ConfigError> {
    let older = values.get("broker.id").and_then(|given| given.first()).filter(|given| given.value != "-1").cloned();
    let Some(older) = older else { return Ok(()) };
    let node_id = broker_definition("node.id");
    node_id.check(&older.value).map_err(|why| ConfigError::at(&older.origin, why))?;
    let node = values.entry(node_id.name).or_default();
    match node.first() {
        None => node.push(older),
        Some(given) if given.value.parse::<i32>() == older.value.parse::<i32>() => {}
        Some(given) => {
            let why = format!(
                "broker.id={} and node.id={} ({}) differ; they mean the same, so give node.id alone",
                older.value, given.value, given.origin
            );
            return Err(ConfigError::at(&older.origin, why));
        }
    }
    Ok(())
}

/// Reads checked values by name. What it reads is what the table may call obeyed.
struct Reader<'a>(&'a Values);

impl<'a> Reader<'a> {
    fn given(&self, name: &str) -> Option<&'a Given> {
        self.0.get(name).and_then(|given| given.first())
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.given(name).map(|given| given.value.as_str()).or(broker_definition(name).default)
    }

    /// A mistake in a setting, with its place.
    fn wrong(&self, name: &str, why: String) -> ConfigError {
        let origin = self.given(name).map_or("default", |given| &given.origin);
        ConfigError::at(origin, format!("{name}: {why}"))
    }

    fn integer<T: TryFrom<i64>>(&self, name: &str) -> T {
        let value = self.text(name).and_then(|text| text.trim().parse::<i64>().ok());
        let value = value.unwrap_or_else(|| panic!("{name} is a checked number with a default"));
        T::try_from(value).unwrap_or_else(|_| panic!("{name} fits, by its range"))
    }

    /// A number of a setting without a range; what is below 0 counts as 0.
    fn not_negative(&self, name: &str) -> u32 {
        u32::try_from(self.integer::<i64>(name)).unwrap_or(0)
    }

    fn boolean(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
    }

    fn list(&self, name: &str) -> Vec<&'a str> {
        split_list(self.text(name).unwrap_or(""))
    }

    /// Settings whose promise this build cannot keep for some of their values.
    fn check_alone(&self) -> Result<(), ConfigError> {
        if !self.list("process.roles").contains(&"broker") {
            let why = "this build is broker and controller in one process; include broker, or leave it out";
            return Err(self.wrong("process.roles", why.into()));
        }
        for name in ["controller.quorum.voters", "controller.quorum.bootstrap.servers"] {
            if self.list(name).len() > 1 {
                let why = "this build is a cluster of one node; name this node alone, or leave it out";
                return Err(self.wrong(name, why.into()));
            }
        }
        if !self.integer::<u32>("journal.file.bytes").is_multiple_of(JOURNAL_FILE_ALIGNMENT) {
            let why = format!("direct writes need a multiple of {JOURNAL_FILE_ALIGNMENT}");
            return Err(self.wrong("journal.file.bytes", why));
        }
        let factors = ["topic.replication.factor.min", "topic.replication.factor.max"];
        if self.integer::<i32>(factors[0]) > self.integer(factors[1]) {
            return Err(self.wrong(factors[0], format!("it is above {}, so no topic could be made", factors[1])));
        }
        Ok(())
    }

    /// What to serve, and the names of the controller listeners, which are not served.
    fn listeners(&self) -> Result<(Vec<Listener>, Vec<String>), ConfigError> {
        let wrong = |why| self.wrong("listeners", why);
        let all = listener::parse_listeners(self.text("listeners").unwrap_or("")).map_err(wrong)?;
        let controller: Vec<String> =
            self.list("controller.listener.names").into_iter().map(str::to_ascii_uppercase).collect();
        let (ignored, served): (Vec<_>, Vec<_>) = all.into_iter().partition(|l| controller.contains(&l.name));
        if served.is_empty() {
            return Err(wrong("no listener is left for clients; add one like PLAINTEXT://127.0.0.1:9092".into()));
        }
        listener::check_ports(&served).map_err(wrong)?;
        let map = self.text("listener.security.protocol.map").unwrap_or("");
        listener::check_protocols(&served, map).map_err(wrong)?;
        Ok((served, ignored.into_iter().map(|listener| listener.name).collect()))
    }

    fn advertised_listeners(
        &self,
        listeners: &[Listener],
        controller: &[String],
    ) -> Result<Vec<Listener>, ConfigError> {
        let name = if self.given("advertised.listeners").is_some() { "advertised.listeners" } else { "listeners" };
        let wrong = |why| self.wrong(name, why);
        let mut advertised = match self.text("advertised.listeners") {
            Some(text) => listener::parse_listeners(text).map_err(wrong)?,
            None => listeners.to_vec(),
        };
        advertised.retain(|listener| !controller.contains(&listener.name));
        if advertised.is_empty() {
            return Err(wrong("no listener is left for clients to be told of".into()));
        }
        listener::check_advertised(&advertised, listeners).map_err(wrong)?;
        Ok(advertised)
    }

    fn data_dir(&self) -> Result<PathBuf, ConfigError> {
        let name = if self.text("log.dirs").is_some() { "log.dirs" } else { "log.dir" };
        match self.list(name)[..] {
            [directory] => Ok(PathBuf::from(directory)),
            _ => Err(self.wrong(name, "this build keeps its data in one directory; give one".into())),
        }
    }

    fn connections_per_ip_overrides(&self) -> Result<BTreeMap<IpAddr, u32>, ConfigError> {
        let name = "max.connections.per.ip.overrides";
        parse_overrides(self.text(name).unwrap_or("")).map_err(|why| self.wrong(name, why))
    }
}

/// Reads `ADDRESS:COUNT,...`.
pub(super) fn parse_overrides(value: &str) -> Result<BTreeMap<IpAddr, u32>, String> {
    let mut overrides = BTreeMap::new();
    for entry in split_list(value) {
        let limit = entry.rsplit_once(':').and_then(|(address, count)| {
            let address: IpAddr = address.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
            Some((address.to_canonical(), count.trim().parse::<u32>().ok()?))
        });
        let (address, count) = limit.ok_or_else(|| format!("{entry} is not ADDRESS:COUNT with an IP address"))?;
        overrides.insert(address, count);
    }
    Ok(overrides)
}

impl Definition {
    /// Whether the value may be given to this build: of its range, and not refused.
    pub(super) fn admit(&self, value: &str) -> Result<(), String> {
        self.check(value)?;
        match self.effect {
            Effect::Refused(refusal) if !value.is_empty() && Some(value) != self.default => {
                Err(format!("{}={value} is refused: {}", self.name, refusal.reason()))
            }
            _ => Ok(()),
        }
    }

    /// Whether the setting may be changed while the broker runs.
    pub fn read_only(&self) -> bool {
        self.mode == Mode::ReadOnly
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixture::map;
    use crate::config::{TopicSettings, definitions};

    fn load(pairs: &[(&str, &str)]) -> Config {
        let overrides: Vec<_> = map(pairs).into_iter().collect();
        Config::load(None, std::iter::empty(), &overrides).expect("valid").config
    }

    /// All that the broker gets out of a configuration, besides the texts.
    fn typed(config: &Config) -> String {
        let texts_left_out = Config { values: Values::new(), ..config.clone() };
        format!("{texts_left_out:?} {:?}", TopicSettings::resolve(&BTreeMap::new(), config))
    }

    /// Another valid value than the default.
    fn other_value(definition: &Definition) -> &'static str {
        match definition.name {
            "ack.durability" => "memory",
            "ack.validation" => "header",
            "advertised.listeners" => "PLAINTEXT://elsewhere:1",
            "broker.rack" | "topic.name.patterns" => "r",
            "topic.replication.factor.min" | "topic.replication.factor.max" => "5",
            "cores" => "1",
            "listeners" => "PLAINTEXT://:9999",
            "log.dir" | "log.dirs" => "other",
            "log.cleanup.policy" => "compact",
            "log.message.timestamp.type" => "LogAppendTime",
            "max.connections.per.ip.overrides" => "10.0.0.1:5",
            "compression.gzip.level" | "compression.zstd.level" => "5",
            "compression.type" => "zstd",
            "offsets.topic.compression.codec" => "4",
            "core.memory.bytes" | "connection.outgoing.bytes.max" | "journal.file.bytes" => "33554432",
            _ if definition.default == Some("true") => "false",
            _ if definition.default == Some("false") => "true",
            // In range for every other obeyed number.
            _ => "1234567",
        }
    }

    #[test]
    fn every_obeyed_setting_changes_what_the_broker_reads() {
        let default = typed(&Config::default());
        let in_checks_alone = ["process.roles", "listener.security.protocol.map", "controller.listener.names"];
        let obeyed = definitions(Scope::Broker).filter(|definition| definition.effect == Effect::Obeyed);
        let mut count = 0;
        for definition in obeyed.filter(|definition| !in_checks_alone.contains(&definition.name)) {
            let value = match definition.name {
                "connection.requests.max" | "journal.files.max" => "99",
                _ => other_value(definition),
            };
            assert_ne!(typed(&load(&[(definition.name, value)])), default, "{}={value}", definition.name);
            count += 1;
        }
        assert!(count > 30, "{count}");
        // The three that decide whether the others may stand.
        let named = [("listeners", "A://:1,B://:2"), ("listener.security.protocol.map", "A:PLAINTEXT,B:PLAINTEXT")];
        assert_eq!(load(&named).listeners.len(), 2);
        let controller = load(&[named[0], named[1], ("controller.listener.names", "b")]);
        assert_eq!(controller.controller_listeners, ["B"]);
    }

    /// A valid value of a setting that is not its default; `None` where the default is the only one.
    fn any_other_value(definition: &Definition) -> Option<String> {
        let range = definition.range_text;
        let words = range.trim_start_matches("nocase").trim_start_matches("list").trim_start_matches('{');
        let words = words.split('}').next().unwrap_or("").split('|').map(str::to_string);
        let default = definition.default.unwrap_or("").parse::<i64>().unwrap_or(0);
        let candidates =
            ["true", "false", "1", "1@h:1", "h:1", "a", "0:1", "client_id=a", "com.acme.Plugin", "0.25", "2.5"]
                .map(str::to_string);
        let numbers = [default.saturating_add(1), default.saturating_sub(1)].map(|number| number.to_string());
        let all = words.chain(candidates).chain(numbers);
        let other = |value: &String| Some(value.as_str()) != definition.default && !value.is_empty();
        all.filter(other).find(|value| definition.check(value).is_ok())
    }

    #[test]
    fn every_setting_is_obeyed_or_listed_or_refused_with_a_reason() {
        let (mut listed, mut refused) = (0, 0);
        for definition in definitions(Scope::Broker) {
            let name = definition.name;
            let value = any_other_value(definition).unwrap_or_else(|| panic!("{name} takes no value but its default"));
            let given = [(name.to_string(), value.clone())];
            let loaded = Config::load(None, std::iter::empty(), &given);
            let by_default: Vec<_> =
                definition.default.map(|value| (name.to_string(), value.to_string())).into_iter().collect();
            assert!(Config::load(None, std::iter::empty(), &by_default).is_ok(), "{name} as it is by default");
            let documentation = definition.documentation();
            assert!(documentation.len() > 20 && documentation.ends_with('.'), "{name}: {documentation}");
            match definition.effect {
                Effect::Obeyed => {
                    assert_eq!(documentation.contains("no effect"), definition.except.is_some(), "{name}")
                }
                Effect::None => {
                    let loaded = loaded.unwrap_or_else(|error| panic!("{name}={value}: {error}"));
                    let told = [&loaded.no_effect[..], &loaded.relied_on].concat();
                    assert_eq!(told, [format!("{name} (--override)")]);
                    assert_eq!(loaded.config.get(name), Some((value.as_str(), Source::StaticBroker)));
                    assert!(documentation.contains("no effect"), "{name}: {documentation}");
                    listed += 1;
                }
                Effect::Refused(refusal) => {
                    let error = loaded.err().unwrap_or_else(|| panic!("{name}={value} is taken")).to_string();
                    assert!(error.contains(refusal.reason()), "{error}");
                    assert!(documentation.contains(refusal.reason()), "{name}: {documentation}");
                    refused += 1;
                }
            }
        }
        assert!(listed > 200 && refused > 10, "{listed} {refused}");
    }

    #[test]
    fn node_id_has_an_older_name() {
        assert_eq!(load(&[("broker.id", "7")]).node_id, BrokerId(7));
        assert_eq!(load(&[("broker.id", "7"), ("node.id", "7")]).node_id, BrokerId(7));
        assert_eq!(load(&[("broker.id", "-1"), ("node.id", "8")]).node_id, BrokerId(8));
        assert_eq!(load(&[("broker.id", "7")]).get("node.id"), Some(("7", Source::StaticBroker)));
    }

    #[test]
    fn addresses_may_have_limits_of_their_own() {
        let config =
            load(&[("max.connections.per.ip", "9"), ("max.connections.per.ip.overrides", "10.0.0.1:5,[::1]:6")]);
        let max_of = |address: &str| config.connections_max_of(address.parse().expect("address"));
        assert_eq!((max_of("10.0.0.1"), max_of("::ffff:10.0.0.1"), max_of("::1"), max_of("10.0.0.2")), (5, 5, 6, 9));
    }

    #[test]
    fn idle_connections_may_stay() {
        assert_eq!(load(&[("connections.max.idle.ms", "-1")]).connections_idle_ms_max, None);
        assert_eq!(Config::default().connections_idle_ms_max, Some(600_000));
    }

    #[test]
    fn values_set_while_running_win_and_go_again() {
        let config = load(&[("max.connections", "10"), ("message.max.bytes", "2000")]);
        let (changed, left_out) = config.with_dynamic(
            &map(&[("max.connections", "30"), ("node.id", "4"), ("no.such", "1")]),
            &map(&[("max.connections", "20"), ("message.max.bytes", "3000")]),
        );
        assert_eq!(left_out.len(), 1);
        assert_eq!(changed.connections_max, 30);
        assert_eq!(changed.get("max.connections"), Some(("30", Source::DynamicBroker)));
        assert_eq!(changed.get("message.max.bytes"), Some(("3000", Source::DynamicDefaultBroker)));
        assert_eq!(changed.given("max.connections").len(), 3);
        let (restored, left_out) = changed.with_dynamic(&map(&[]), &map(&[]));
        assert!(left_out.is_empty());
        assert_eq!(typed(&restored), typed(&config));
        assert_eq!(restored.get("max.connections"), Some(("10", Source::StaticBroker)));
    }
}
