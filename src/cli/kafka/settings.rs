//! Properties of Kafka's clients, as its tools take them: on the command line and in files.

use super::admin::arguments::Given;
use super::admin::{End, properties};
use std::collections::BTreeMap;

/// What only tunes Kafka's own clients: it is taken and changes nothing.
const NO_EFFECT: [&str; 31] = [
    "auto.commit.interval.ms",
    "batch.size",
    "buffer.memory",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "connections.max.idle.ms",
    "delivery.timeout.ms",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "heartbeat.interval.ms",
    "linger.ms",
    "max.block.ms",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "max.poll.records",
    "max.request.size",
    "metadata.max.age.ms",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "send.buffer.bytes",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
];

/// Settings that are still to be looked at.
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Those of the file that the option `file` names, and of the options `pairs` (`KEY=VALUE`), which win.
    pub fn of(given: &Given, file: &[&str], pairs: &[&str]) -> Result<Settings, End> {
        let mut settings = BTreeMap::new();
        for option in file {
            if let Some(path) = given.one(option)? {
                settings.extend(properties(path)?);
            }
        }
        for pair in pairs.iter().flat_map(|option| given.all(option)) {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| End::Said(format!("Missing value for key {pair}")))?;
            settings.insert(key.trim().to_string(), value.to_string());
        }
        Ok(Settings(settings))
    }

    /// A setting that is obeyed.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// One that is on (`true`) or off.
    pub fn take_flag(&mut self, name: &str) -> Option<bool> {
        self.take(name).map(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// Of a client: what is left must be without effect.
    pub fn finish_client(mut self) -> Result<(), End> {
        if let Some(protocol) = self.take("security.protocol").filter(|protocol| protocol != "PLAINTEXT") {
            return Err(End::Said(format!("security.protocol={protocol} is not supported: only PLAINTEXT is")));
        }
        self.0.retain(|name, _| !NO_EFFECT.contains(&name.as_str()));
        self.finish()
    }

    /// Nothing is to be left.
    pub fn finish(self) -> Result<(), End> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(End::Said(format!("The property {name} is not supported"))),
        }
    }

    #[cfg(test)]
    pub fn of_pairs(pairs: &[(&str, &str)]) -> Settings {
        Settings(pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_obeyed_is_refused_by_name() {
        let said = |settings: Settings| match settings.finish_client() {
            Err(End::Said(message)) => message,
            _ => String::new(),
        };
        let mut settings = Settings::of_pairs(&[("acks", "1"), ("linger.ms", "5"), ("sasl.mechanism", "PLAIN")]);
        assert_eq!(settings.take("acks").as_deref(), Some("1"));
        assert_eq!(said(settings), "The property sasl.mechanism is not supported");
        assert_eq!(said(Settings::of_pairs(&[("linger.ms", "5"), ("security.protocol", "PLAINTEXT")])), "");
        assert!(said(Settings::of_pairs(&[("security.protocol", "SSL")])).contains("SSL"));
        assert!(Settings::of_pairs(&[("linger.ms", "5")]).finish().is_err());
    }
}
