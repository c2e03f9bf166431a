//! `klamm config`: settings of topics, brokers, groups and client metrics.

use super::failure::{Failure, Result};
use super::operation::configs::{self, Entry, Kind, Resource};
use super::options::Options;
use super::output::{Table, or_none, print};
use super::setting::{self, Setting};
use crate::config::Scope;
use serde_json::{Value, json};

/// Describe and alter settings
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Describe settings: those that were set for this alone
    Describe {
        #[command(flatten)]
        of: Of,
        /// Defaults too
        #[arg(short, long)]
        all: bool,
        /// What each setting means
        #[arg(short, long)]
        documentation: bool,
        /// Only these settings
        #[arg(short, long = "name", value_name = "NAME")]
        names: Vec<String>,
    },
    /// Alter settings while the broker runs
    Alter {
        #[command(flatten)]
        of: Of,
        /// A setting to set; NAME+=VALUE adds to a list, NAME-=VALUE takes from it
        #[arg(short, long = "set", value_name = "NAME=VALUE", required_unless_present = "delete")]
        set: Vec<Setting>,
        /// A setting to give back to its default
        #[arg(short, long, value_name = "NAME", value_delimiter = ',')]
        delete: Vec<String>,
        /// Only check whether they could be altered
        #[arg(long)]
        validate_only: bool,
    },
}

/// Whose settings.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Of {
    /// A topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// A broker by its id
    #[arg(long, value_name = "ID")]
    broker: Option<i32>,
    /// The default of all brokers
    #[arg(long)]
    broker_default: bool,
    /// A group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// A subscription to clients' metrics
    #[arg(long, value_name = "NAME")]
    client_metrics: Option<String>,
}

impl Of {
    fn resource(self) -> Resource {
        let (kind, name) = match self {
            Of { topic: Some(topic), .. } => (Kind::Topic, topic),
            Of { broker: Some(id), .. } => (Kind::Broker, id.to_string()),
            Of { group: Some(group), .. } => (Kind::Group, group),
            Of { client_metrics: Some(name), .. } => (Kind::ClientMetrics, name),
            Of { .. } => (Kind::Broker, String::new()),
        };
        Resource { kind, name }
    }
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let mut client = self.options.connect()?;
        match self.what {
            What::Describe { of, all, documentation, names } => {
                let resource = of.resource();
                let mut entries = configs::describe(&mut client, &resource, documentation)?;
                if let Some(unknown) = names.iter().find(|name| !entries.iter().any(|entry| entry.name == **name)) {
                    let near = super::nearest(unknown, entries.iter().map(|entry| entry.name.as_str()));
                    let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
                    return Err(Failure::Other(format!("there is no setting {unknown}{hint}")));
                }
                let source = if resource.is_default() {
                    Some(configs::Source::BROKER_DEFAULT)
                } else {
                    resource.kind.dynamic_source()
                };
                let shown = |entry: &Entry| match names.is_empty() {
                    true => all || Some(entry.source) == source,
                    false => names.contains(&entry.name),
                };
                entries.retain(shown);
                entries.sort_by(|a, b| a.name.cmp(&b.name));
                self.options.format.print(|| human(&entries, documentation), || entries.iter().map(json_of).collect())
            }
            What::Alter { of, set, delete, validate_only } => {
                let resource = of.resource();
                let changes = setting::changes(&set, &delete);
                let scope = match resource.kind {
                    Kind::Topic => Scope::Topic,
                    Kind::Broker | Kind::BrokerLogger => Scope::Broker,
                    Kind::Group => Scope::Group,
                    Kind::ClientMetrics => Scope::ClientMetrics,
                };
                configs::alter(&mut client, &resource, &changes, validate_only)
                    .map_err(|failure| setting::with_hint(failure, scope, &setting::names(&changes)))?;
                let done = if validate_only { "could be altered" } else { "altered" };
                print(&format!("{} settings {done}\n", changes.len()))?;
                setting::tell_without_effect(&mut client, &resource, &changes)
            }
        }
    }
}

fn human(entries: &[Entry], documentation: bool) -> String {
    if documentation {
        let entry = |entry: &Entry| {
            let text = entry.documentation.as_deref().unwrap_or_default();
            format!("{} = {}  ({})\n    {text}\n", entry.name, or_none(entry.value.as_deref()), entry.source.name())
        };
        return entries.iter().map(entry).collect();
    }
    let mut table = Table::new(&["NAME", "VALUE", "SOURCE", "CHANGEABLE"]);
    for entry in entries {
        let value = if entry.is_sensitive { "(hidden)".to_string() } else { or_none(entry.value.as_deref()) };
        let changeable = if entry.is_read_only { "no" } else { "yes" };
        table.row(vec![entry.name.clone(), value, entry.source.name().to_string(), changeable.into()]);
    }
    table.to_string()
}

fn json_of(entry: &Entry) -> Value {
    let synonym = |synonym: &configs::Synonym| json!({ "name": synonym.name, "value": synonym.value, "source": synonym.source.name() });
    let synonyms: Value = entry.synonyms.iter().map(synonym).collect();
    let mut value = json!({ "name": entry.name, "value": entry.value, "source": entry.source.name(),
        "is_read_only": entry.is_read_only, "is_sensitive": entry.is_sensitive, "synonyms": synonyms });
    if let Some(text) = &entry.documentation {
        value["documentation"] = json!(text);
    }
    value
}
