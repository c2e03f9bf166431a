//! Loading: the file, the environment and the command line become one configuration, or one error.

use super::broker::{Config, Given, Others, Source, Values};
use super::definition::{Definition, Effect, Refusal, Scope, definition, definitions};
use super::error::ConfigError;
use super::properties;
use super::value::split_list;
use std::collections::BTreeMap;

/// A configuration that can be used, and what to tell the user about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration itself.
    pub config: Config,
    /// Settings that were given and accepted though they change nothing, each `NAME (PLACE)`: to be logged once.
    pub no_effect: Vec<String>,
    /// Those without effect that promise something that people rely on: what becomes of old records, and who may come in.
    pub relied_on: Vec<String>,
    /// What was given and is no setting, each with its place and the nearest setting.
    pub unknown: Vec<String>,
}

/// Starts of the names of settings that people rely on.
const RELIED_ON: [&str; 7] =
    ["log.cleanup.", "log.cleaner.", "log.local.retention.", "ssl.", "sasl.", "security.", "super."];

/// Variables of this project's own tests and tools.
const OWN_STARTS: [&str; 8] = [
    "KLAMM_BINARY",
    "KLAMM_BOOTSTRAP",
    "KLAMM_BROKER_ADDRESS",
    "KLAMM_CHECK_",
    "KLAMM_FUZZ",
    "KLAMM_SCENARIOS",
    "KLAMM_SIM_",
    "KLAMM_SUITES",
];

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

/// Whether Kubernetes, or a linked container, sets such a variable beside a service whose name begins with `kafka` or
/// `klamm`: `KAFKA_BROKER_SERVICE_HOST`, `KAFKA_BROKER_PORT=tcp://10.0.0.1:9092`, `KAFKA_BROKER_PORT_9092_TCP_ADDR`.
fn is_injected(variable: &str, value: &str) -> bool {
    let port_of = |name: &str| -> Option<bool> {
        let (_, rest) = name.split_once("_PORT_")?;
        let (number, kind) = rest.split_once('_')?;
        let kinds = ["TCP", "UDP", "SCTP"];
        Some(
            number.parse::<u16>().is_ok()
                && kinds.iter().any(|known| kind == *known || kind.starts_with(&format!("{known}_"))),
        )
    };
    let address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    variable.ends_with("_SERVICE_HOST")
        || variable.ends_with("_SERVICE_PORT")
        || variable.contains("_SERVICE_PORT_")
        || (variable.ends_with("_PORT") && address)
        || port_of(variable) == Some(true)
}

/// With so many changed characters at most an unknown name is a slip of the pen.
const SLIP_DISTANCE_MAX: usize = 2;

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
            match properties::parse(text) {
                Ok(properties) => properties.iter().for_each(|property| {
                    gathered.add(&property.key, &property.value, format!("{file_name}:{}", property.line));
                }),
                Err((line, why)) => gathered.faults.push(ConfigError::at(&format!("{file_name}:{line}"), why)),
            }
        }
        // In the order of names, so that one environment always gives one configuration.
        let env: BTreeMap<String, String> = env.collect();
        for (variable, value) in env {
            if let Some(name) = setting_of_variable(&variable, &value) {
                gathered.add(&name, value.trim(), format!("environment variable {variable}"));
            }
        }
        for (name, value) in overrides {
            gathered.add(name.trim(), value.trim(), "--override".to_string());
        }
        gathered.finish()
    }
}

/// The setting that an environment variable names; `None` when it names none.
fn setting_of_variable(variable: &str, value: &str) -> Option<String> {
    let name = variable.strip_prefix("KAFKA_").or_else(|| variable.strip_prefix("KLAMM_"))?;
    let own = || OWN_STARTS.iter().any(|start| variable.starts_with(start));
    if NOT_SETTINGS.contains(&variable) || is_injected(variable, value) || own() {
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
    others: Others,
    no_effect: BTreeMap<String, String>,
    unknown: BTreeMap<String, String>,
    faults: Vec<ConfigError>,
}

impl Gathered {
    fn add(&mut self, name: &str, value: &str, origin: String) {
        let Some(definition) = definition(Scope::Broker, name) else { return self.add_other(name, value, origin) };
        // What compose files write for a variable that nobody has set.
        if value.is_empty() && name == "advertised.listeners" {
            self.unknown.insert(name.into(), format!("{name} ({origin}) is empty, so clients are told of listeners"));
            return;
        }
        if let Err(why) = definition.admit(value) {
            let shown = if definition.sensitive() { format!("{name} is not valid") } else { why };
            return self.faults.push(ConfigError::at(&origin, format!("{shown} ({})", allowed(definition))));
        }
        if definition.effect == Effect::None {
            self.no_effect.insert(name.to_string(), origin.clone());
        }
        if let Some(except) = definition.except.filter(|except| split_list(value).contains(except)) {
            self.no_effect.insert(format!("{name}={except}"), origin.clone());
        }
        let given = Given { value: value.to_string(), source: Source::StaticBroker, origin };
        self.values.insert(definition.name, vec![given]);
    }

    /// A name that the tables do not have: kept and shown, as in Kafka, unless it is a slip of the pen or of security.
    fn add_other(&mut self, name: &str, value: &str, origin: String) {
        match per_listener(name) {
            Some(base) if is_security(base) => {
                let why = format!("{name} is refused: {}", Refusal::Security.reason());
                return self.faults.push(ConfigError::at(&origin, why));
            }
            Some(_) => drop(self.no_effect.insert(name.to_string(), origin.clone())),
            None if name.starts_with(FOREIGN_START) => drop(self.no_effect.insert(name.to_string(), origin.clone())),
            None => match nearest(name) {
                Some((distance, known)) if is_slip(name, distance) => {
                    let why = format!("unknown setting {name}; did you mean {known}?");
                    return self.faults.push(ConfigError::at(&origin, why));
                }
                Some((_, known)) => {
                    let what = format!("{name} ({origin}); the nearest setting is {known}");
                    self.unknown.insert(name.to_string(), what);
                }
                None => drop(self.unknown.insert(name.to_string(), format!("{name} ({origin})"))),
            },
        }
        let given = Given { value: value.to_string(), source: Source::StaticBroker, origin };
        self.others.insert(name.to_string(), vec![given]);
    }

    fn finish(self) -> Result<Loaded, ConfigError> {
        let mut faults = self.faults;
        let config = match Config::build(self.values) {
            Ok(mut config) if faults.is_empty() => {
                config.others = self.others;
                config
            }
            outcome => {
                faults.extend(outcome.err());
                let lines: Vec<String> = faults.into_iter().map(|fault| fault.0).collect();
                return Err(ConfigError(lines.join("\n")));
            }
        };
        let (relied_on, no_effect): (Vec<_>, Vec<_>) =
            self.no_effect.into_iter().partition(|(name, _)| RELIED_ON.iter().any(|start| name.starts_with(start)));
        let with_place = |(name, origin): (String, String)| format!("{name} ({origin})");
        let relied_on = relied_on.into_iter().map(with_place).collect();
        let mut no_effect: Vec<String> = no_effect.into_iter().map(with_place).collect();
        let ignored = config.controller_listeners.iter();
        no_effect.extend(ignored.map(|name| format!("listeners: {name} (controller listeners are not opened)")));
        Ok(Loaded { config, no_effect, relied_on, unknown: self.unknown.into_values().collect() })
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

/// Whether so few changed characters make a name that somebody meant to write.
fn is_slip(name: &str, distance: usize) -> bool {
    distance <= SLIP_DISTANCE_MAX.min(name.len() / 4)
}

/// The known broker setting with the fewest changed characters, and how many, if they are few.
fn nearest(name: &str) -> Option<(usize, &'static str)> {
    /// Longer names are not compared: none is known.
    const NAME_LEN_MAX: usize = 100;
    if name.len() > NAME_LEN_MAX {
        return None;
    }
    let known = definitions(Scope::Broker).filter(|definition| !definition.internal && !definition.legacy);
    let (distance, known) = known.map(|known| (edit_distance(name, known.name), known.name)).min()?;
    (distance <= name.len().max(3) / 3).then_some((distance, known))
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
        assert_eq!(config.node_id.0, 1);
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
        assert_eq!(setting_of_variable("KAFKA_LOG_DIRS", "").as_deref(), Some("log.dirs"));
        assert_eq!(setting_of_variable("KAFKA_A__B___C_D", "").as_deref(), Some("a_b-c.d"));
        assert_eq!(setting_of_variable("KLAMM_JOURNAL_FILES_MAX", "").as_deref(), Some("journal.files.max"));
        assert_eq!(setting_of_variable("KAFKA_BROKER_PORT", "9092").as_deref(), Some("broker.port"));
        for (other, value) in [
            ("KAFKA_HEAP_OPTS", ""),
            ("KAFKA_SERVICE_HOST", "10.0.0.1"),
            ("KAFKA_BROKER_SERVICE_HOST", "10.0.0.1"),
            ("KAFKA_BROKER_SERVICE_PORT_CLIENTS", "9092"),
            ("KAFKA_PORT_9092_TCP", "tcp://10.0.0.1:9092"),
            ("KAFKA_BROKER_PORT", "tcp://10.0.0.1:9092"),
            ("KAFKA_BROKER_PORT_9092_TCP_ADDR", "10.0.0.1"),
            ("KLAMM_LOG", "debug"),
            ("KLAMM_SIM_SEEDS", "5"),
            ("KLAMM_BROKER_ADDRESS", "h:1"),
            ("PATH", ""),
        ] {
            assert_eq!(setting_of_variable(other, value), None, "{other}");
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
    fn unknown_names_are_told_and_kept() {
        let file = "\u{feff}num.partitions=3\nport=9092\nhost.name=h\nmy.plugin.url=http://x\ncfg.listener=x";
        let env = [
            ("KAFKA_BOOTSTRAP_SERVERS", "h:9092"),
            ("KAFKA_CFG_LISTENERS", "x"),
            ("KAFKA_BROKER_PORT", "tcp://10.0.0.1:9092"),
            ("KAFKA_ADVERTISED_LISTENERS", ""),
        ];
        let loaded = load(file, &env, &[]).expect("all of it is passed over");
        assert_eq!(loaded.config.num_partitions, 3);
        assert_eq!(loaded.config.advertised_listeners, loaded.config.listeners);
        let told = |what: &str| loaded.unknown.iter().any(|line| line.starts_with(what));
        for what in [
            "advertised.listeners (environment variable KAFKA_ADVERTISED_LISTENERS) is empty",
            "bootstrap.servers (environment variable KAFKA_BOOTSTRAP_SERVERS)",
            "cfg.listeners (environment variable KAFKA_CFG_LISTENERS); the nearest setting is listeners",
            "host.name (my.properties:3)",
            "my.plugin.url (my.properties:4)",
            "port (my.properties:2)",
        ] {
            assert!(told(what), "{what}: {:?}", loaded.unknown);
        }
        assert_eq!(loaded.unknown.len(), 7, "{:?}", loaded.unknown);
        let shown = crate::config::describe_broker(&loaded.config, Some(&["port"].into()));
        assert_eq!((shown[0].value.as_deref(), shown[0].sensitive, shown[0].source.number()), (None, true, 4));
    }

    #[test]
    fn all_faults_are_listed_at_once() {
        let error = load("listenrs=x\nnum.partitions=0", &[("KAFKA_LOG_DIRS", "/a,/b")], &[("cores", "0-")]);
        let error = error.expect_err("four faults");
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines.len(), 4, "{error}");
        for (line, part) in lines.iter().zip(["did you mean listeners?", "num.partitions", "cores", "one directory"]) {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn promises_that_people_rely_on_are_told_apart() {
        let file =
            "log.cleanup.policy=compact,delete\nnum.io.threads=8\nsasl.enabled.mechanisms=PLAIN\nlog.retention.hours=5";
        let loaded = load(file, &[], &[]);
        let loaded = loaded.expect("valid");
        assert_eq!(loaded.no_effect, ["num.io.threads (my.properties:2)"]);
        assert_eq!(
            loaded.relied_on,
            ["log.cleanup.policy=compact (my.properties:1)", "sasl.enabled.mechanisms (my.properties:3)"]
        );
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
