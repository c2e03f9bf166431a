//! Loading: the file, the environment and the command line become one configuration, or one error.

use std::collections::BTreeMap;
use std::fmt;

use super::broker::{Config, Given, Source, Values};
use super::definition::{Definition, Effect, Refusal, Scope, definition, definitions};
use super::properties;

/// Why the broker cannot start with these settings: where, what, and what to do, in one line.
#[derive(Debug, PartialEq)]
pub struct ConfigError(String);

impl ConfigError {
    pub(super) fn at(origin: &str, why: String) -> ConfigError {
        ConfigError(format!("{origin}: {why}"))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// A configuration that can be used, and what to tell the user about it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// Settings that were given and accepted though they change nothing, each `NAME (PLACE)`: to be logged once.
    pub no_effect: Vec<String>,
}

/// Variables that Kafka's start scripts and images read themselves, and others that only look like settings.
const NOT_SETTINGS: [&str; 19] = [
    "KAFKA_CLUSTER_ID",
    "KAFKA_DEBUG",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_HOME",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_LOG4J_CMD_OPTS",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_OPTS",
    "KAFKA_PORT",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_VERSION",
    "KLAMM_LOG",
    "KLAMM_PORT",
];

/// What Kubernetes sets in every container beside a service of that name.
const NOT_SETTINGS_STARTS: [&str; 4] = ["KAFKA_PORT_", "KAFKA_SERVICE_", "KLAMM_PORT_", "KLAMM_SERVICE_"];

/// Settings of Confluent's own additions, which their images and examples set.
const FOREIGN_START: &str = "confluent.";

impl Config {
    /// Loads the settings of a start. `file` is a properties file's name and text; of `env` only names beginning with
    /// `KAFKA_` or `KLAMM_` are looked at (`KAFKA_LOG_DIRS` is `log.dirs`; `__` is `_`, `___` is `-`); `overrides` are
    /// names and values from the command line, the last one wins. See the room's documentation for precedence.
    pub fn load(
        file: Option<(&str, &str)>,
        env: impl Iterator<Item = (String, String)>,
        overrides: &[(String, String)],
    ) -> Result<Loaded, ConfigError> {
        let mut gathered = Gathered::default();
        if let Some((file_name, text)) = file {
            let properties =
                properties::parse(text).map_err(|(line, why)| ConfigError::at(&format!("{file_name}:{line}"), why))?;
            for property in properties {
                gathered.add(&property.key, &property.value, format!("{file_name}:{}", property.line))?;
            }
        }
        // In the order of names, so that one environment always gives one configuration.
        let env: BTreeMap<String, String> = env.collect();
        for (variable, value) in env {
            if let Some(name) = setting_of_variable(&variable) {
                gathered.add(&name, value.trim(), format!("environment variable {variable}"))?;
            }
        }
        for (name, value) in overrides {
            gathered.add(name.trim(), value.trim(), "--override".to_string())?;
        }
        gathered.finish()
    }
}

/// The setting that an environment variable names; `None` when it names none.
fn setting_of_variable(variable: &str) -> Option<String> {
    let name = variable.strip_prefix("KAFKA_").or_else(|| variable.strip_prefix("KLAMM_"))?;
    if NOT_SETTINGS.contains(&variable) || NOT_SETTINGS_STARTS.iter().any(|start| variable.starts_with(start)) {
        return None;
    }
    // A character that no variable's name has stands in, so that the shorter replacements leave it alone.
    let name = name.to_ascii_lowercase().replace("___", "-").replace("__", "\0").replace('_', ".");
    Some(name.replace('\0', "_"))
}

/// What was given so far; a later value of a setting replaces an earlier one.
#[derive(Default)]
struct Gathered {
    values: Values,
    no_effect: BTreeMap<String, String>,
}

impl Gathered {
    fn add(&mut self, name: &str, value: &str, origin: String) -> Result<(), ConfigError> {
        let wrong = |why| Err(ConfigError::at(&origin, why));
        let Some(definition) = definition(Scope::Broker, name) else {
            match per_listener(name) {
                Some(base) if is_security(base) => {
                    return wrong(format!("{name} is refused: {}", Refusal::Security.reason()));
                }
                Some(_) => {}
                None if name.starts_with(FOREIGN_START) => {}
                None => return wrong(unknown(name)),
            }
            self.no_effect.insert(name.to_string(), origin);
            return Ok(());
        };
        if let Err(why) = definition.admit(value) {
            let shown = if definition.sensitive() { format!("{name} is not valid") } else { why };
            return wrong(format!("{shown} ({})", allowed(definition)));
        }
        if definition.effect == Effect::None {
            self.no_effect.insert(name.to_string(), origin.clone());
        }
        let given = Given { value: value.to_string(), source: Source::StaticBroker, origin };
        self.values.insert(definition.name, vec![given]);
        Ok(())
    }

    fn finish(self) -> Result<Loaded, ConfigError> {
        let config = Config::build(self.values)?;
        let mut no_effect: Vec<String> =
            self.no_effect.into_iter().map(|(name, origin)| format!("{name} ({origin})")).collect();
        let ignored = config.controller_listeners.iter();
        no_effect.extend(ignored.map(|name| format!("listeners: {name} (controller listeners are not opened)")));
        Ok(Loaded { config, no_effect })
    }
}

/// The setting that `listener.name.LISTENER.SETTING` or `listener.name.LISTENER.MECHANISM.SETTING` sets for one listener.
fn per_listener(name: &str) -> Option<&'static Definition> {
    let (_, rest) = name.strip_prefix("listener.name.")?.split_once('.')?;
    let after_mechanism = || definition(Scope::Broker, rest.split_once('.')?.1);
    definition(Scope::Broker, rest).or_else(after_mechanism)
}

fn is_security(definition: &Definition) -> bool {
    let name = definition.name;
    ["ssl.", "sasl.", "principal."].iter().any(|start| name.starts_with(start)) || name == "connections.max.reauth.ms"
}

/// Type, range and default, for messages.
fn allowed(definition: &Definition) -> String {
    let value_type = format!("{:?}", definition.value_type).to_lowercase();
    let range = if definition.range_text == "-" { String::new() } else { format!(" {}", definition.range_text) };
    let default = definition.default.map_or("none", |default| if default.is_empty() { "empty" } else { default });
    format!("allowed: {value_type}{range}; default: {default}")
}

fn unknown(name: &str) -> String {
    match nearest(name) {
        Some(known) => format!("unknown setting {name}; did you mean {known}?"),
        None => format!("unknown setting {name}; remove it, or look the name up in Kafka's broker settings"),
    }
}

/// The known broker setting with the fewest changed characters, if they are few.
fn nearest(name: &str) -> Option<&'static str> {
    /// Longer names are not compared: none is known.
    const NAME_LEN_MAX: usize = 100;
    if name.len() > NAME_LEN_MAX {
        return None;
    }
    let known = definitions(Scope::Broker).filter(|definition| !definition.internal && !definition.legacy);
    let (distance, known) = known.map(|known| (edit_distance(name, known.name), known.name)).min()?;
    (distance <= name.len().max(3) / 3).then_some(known)
}

/// Insertions, deletions and replacements of bytes that make `b` of `a`.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, env: &[(&str, &str)], overrides: &[(&str, &str)]) -> Result<Loaded, String> {
        let owned = |&(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let overrides: Vec<_> = overrides.iter().map(owned).collect();
        Config::load(Some(("my.properties", file)), env.iter().map(owned), &overrides)
            .map_err(|error| error.to_string())
    }

    fn refusal(file: &str) -> String {
        load(file, &[], &[]).expect_err(file)
    }

    #[test]
    fn nothing_needs_to_be_given() {
        let loaded = Config::load(None, std::iter::empty(), &[]).expect("defaults");
        assert!(loaded.no_effect.is_empty());
        let config = loaded.config;
        assert_eq!(config.node_id, 1);
        assert_eq!(config.listeners[0].host, "127.0.0.1");
        assert_eq!(config.advertised_listeners, config.listeners);
        assert_eq!(config.data_dir, std::path::Path::new("./klamm-data"));
        assert_eq!(config.get("num.partitions"), Some(("1", Source::Default)));
        assert_eq!(config.get("broker.rack"), None);
    }

    #[test]
    fn overrides_win_over_environment_over_file_over_defaults() {
        let file = "num.partitions=2\nfetch.max.bytes=2000\nbroker.rack=a";
        let env = [("KAFKA_FETCH_MAX_BYTES", "3000"), ("KAFKA_BROKER_RACK", "b"), ("HOME", "x")];
        let config = load(file, &env, &[("broker.rack", "c"), ("broker.rack", "d")]).expect("valid").config;
        assert_eq!((config.num_partitions, config.fetch_bytes_max, config.rack.as_deref()), (2, 3000, Some("d")));
        assert_eq!(config.get("broker.rack"), Some(("d", Source::StaticBroker)));
        assert_eq!(load("num.partitions=2\nnum.partitions=3", &[], &[]).expect("valid").config.num_partitions, 3);
    }

    #[test]
    fn variables_name_settings() {
        assert_eq!(setting_of_variable("KAFKA_LOG_DIRS").as_deref(), Some("log.dirs"));
        assert_eq!(setting_of_variable("KAFKA_A__B___C_D").as_deref(), Some("a_b-c.d"));
        assert_eq!(setting_of_variable("KLAMM_JOURNAL_FILES_MAX").as_deref(), Some("journal.files.max"));
        for other in ["KAFKA_HEAP_OPTS", "KAFKA_SERVICE_HOST", "KAFKA_PORT_9092_TCP", "KLAMM_LOG", "PATH"] {
            assert_eq!(setting_of_variable(other), None);
        }
        let loaded = load("", &[("KLAMM_CORES", "0,2-3"), ("KAFKA_OPTS", "-x")], &[]).expect("valid");
        assert_eq!(loaded.config.cores, [0, 2, 3]);
    }

    #[test]
    fn mistakes_say_where_what_and_what_to_do() {
        assert_eq!(
            refusal("\nnum.partition=1"),
            "my.properties:2: unknown setting num.partition; did you mean num.partitions?"
        );
        assert!(refusal("zzz.qqq=1").contains("unknown setting zzz.qqq; remove it"));
        let error = load("", &[("KAFKA_LISTENRS", "x")], &[]).expect_err("unknown");
        assert_eq!(error, "environment variable KAFKA_LISTENRS: unknown setting listenrs; did you mean listeners?");
        let error = load("", &[], &[("num.partitions", "0")]).expect_err("too low");
        assert_eq!(
            error,
            "--override: Invalid value 0 for configuration num.partitions: Value must be at least 1 \
             (allowed: int 1..; default: 1)"
        );
        assert!(refusal("a=\\u12").starts_with("my.properties:1: "));
        assert!(refusal("cores=0-").contains("cores"));
        assert!(refusal("journal.file.bytes=1").contains("4194304..1073741824"));
    }

    #[test]
    fn promises_that_cannot_be_kept_are_refused() {
        for (file, expected) in [
            ("create.topic.policy.class.name=com.acme.Policy", "Java classes"),
            ("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "authorization"),
            ("remote.log.storage.system.enable=true", "Tiered"),
            ("listeners=SSL://:9093", "PLAINTEXT only"),
            ("listeners=SASL_PLAINTEXT://h:9093", "PLAINTEXT only"),
            ("listener.name.plaintext.ssl.keystore.location=/x", "authentication"),
            ("listener.name.out.plain.sasl.jaas.config=secret", "authentication"),
            ("log.dirs=/a,/b", "one directory"),
            ("process.roles=controller", "include broker"),
            ("controller.quorum.voters=1@a:1,2@b:1", "cluster of one"),
            ("listeners=PLAINTEXT://0.0.0.0:9092", "meta-address"),
            ("broker.id=2\nnode.id=3", "differ"),
            ("max.connections.per.ip.overrides=host:1", "ADDRESS:COUNT"),
            ("config.providers=file", "Java classes"),
            ("journal.file.bytes=5000000", "multiple of 4096"),
        ] {
            let error = refusal(file);
            assert!(error.starts_with("my.properties:") && error.contains(expected), "{file}: {error}");
            assert!(!error.contains("secret"));
        }
        // The defaults of such settings, and empty ones, promise nothing.
        let file = "authorizer.class.name=\nremote.log.storage.system.enable=false\ncreate.topic.policy.class.name=";
        assert!(load(file, &[], &[]).is_ok());
    }

    #[test]
    fn settings_without_effect_are_listed_once() {
        let file = "num.io.threads=8\nnum.partitions=3\nzookeeper.connect=z\nlistener.name.out.max.connections=4\n\
                    confluent.support.metrics.enable=false\nlisteners=PLAINTEXT://h:1,CONTROLLER://:9093\n\
                    controller.listener.names=CONTROLLER";
        let loaded = load(file, &[("KAFKA_NUM_IO_THREADS", "9")], &[]).expect("valid");
        assert_eq!(
            loaded.no_effect,
            [
                "confluent.support.metrics.enable (my.properties:5)",
                "listener.name.out.max.connections (my.properties:4)",
                "num.io.threads (environment variable KAFKA_NUM_IO_THREADS)",
                "zookeeper.connect (my.properties:3)",
                "listeners: CONTROLLER (controller listeners are not opened)",
            ]
        );
        assert_eq!(loaded.config.listeners.len(), 1);
    }

    #[test]
    fn the_settings_of_a_common_compose_file_load() {
        let env = [
            ("KAFKA_NODE_ID", "1"),
            ("KAFKA_PROCESS_ROLES", "broker,controller"),
            ("KAFKA_LISTENERS", "PLAINTEXT://:9092,CONTROLLER://:9093,PLAINTEXT_HOST://:19092"),
            ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://kafka:9092,PLAINTEXT_HOST://localhost:19092"),
            ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
            (
                "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
            ),
            ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
            ("KAFKA_INTER_BROKER_LISTENER_NAME", "PLAINTEXT"),
            ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
            ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
            ("KAFKA_LOG_DIRS", "/var/lib/kafka/data"),
            ("CLUSTER_ID", "MkU3OEVBNTcwNTJENDM2Qk"),
        ];
        let config = load("", &env, &[]).expect("valid").config;
        assert_eq!(config.listeners.len(), 2);
        assert_eq!(config.advertised_listeners[1].port, 19092);
    }
}
