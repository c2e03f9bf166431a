//! `kafka-console-producer`: lines of standard input become records.

use super::admin::arguments::{Given, Spec, flag, maybe, refused, value};
use super::admin::{End, Tool, connect};
use super::settings::Settings;
use crate::cli::pattern::{Headers, Produced, find};
use crate::cli::produce::{parse_acks, parse_codec, send_lines};
use crate::cli::sending::{Manner, Sending};
use std::io::{IsTerminal, stdin, stdout};

const WITHOUT_EFFECT: &str = "Taken, and without effect.";
const SPECS: [Spec; 23] = [
    value("bootstrap-server", "REQUIRED: The brokers to connect to: HOST1:PORT1,HOST2:PORT2."),
    value("topic", "REQUIRED: The topic to produce to."),
    maybe("compression-codec", "none, gzip, snappy, lz4 or zstd; gzip if no value is given."),
    value("request-required-acks", "What is acknowledged: 0, 1, -1 or all."),
    value(
        "reader-property",
        "How lines are read: parse.key, key.separator, parse.headers, headers.delimiter, headers.separator, headers.key.separator, ignore.error, null.marker.",
    ),
    value("property", "The same as --reader-property."),
    value("reader-config", "A file of such properties."),
    value(
        "command-property",
        "Of the producer: acks, compression.type, enable.idempotence; others are without effect.",
    ),
    value("producer-property", "The same as --command-property."),
    value("command-config", "A file of such properties."),
    value("producer.config", "The same as --command-config."),
    flag("sync", WITHOUT_EFFECT),
    value("batch-size", WITHOUT_EFFECT),
    value("message-send-max-retries", WITHOUT_EFFECT),
    value("retry-backoff-ms", WITHOUT_EFFECT),
    value("timeout", WITHOUT_EFFECT),
    value("request-timeout-ms", WITHOUT_EFFECT),
    value("metadata-expiry-ms", WITHOUT_EFFECT),
    value("max-block-ms", WITHOUT_EFFECT),
    value("max-memory-bytes", WITHOUT_EFFECT),
    value("max-partition-memory-bytes", WITHOUT_EFFECT),
    value("socket-buffer-size", WITHOUT_EFFECT),
    refused("line-reader", "it names a Java class"),
];

pub(super) const TOOL: Tool = Tool {
    name: "kafka-console-producer",
    about: "This tool helps to read data from standard input and publish it to Kafka.",
    specs: &SPECS,
    run,
};

fn run(given: &Given) -> Result<(), End> {
    given.require(&["bootstrap-server", "topic"])?;
    let reader = LineReader::of(Settings::of(given, &["reader-config"], &["property", "reader-property"])?)?;
    let manner = manner(given)?;
    let mut client = connect(given)?;
    let sending = Sending::open(&mut client, given.one("topic")?.unwrap_or_default(), manner)?;
    let mut number = 0;
    let prompt = (stdin().is_terminal() && stdout().is_terminal()).then_some(">");
    let sent = send_lines(&mut client, sending, prompt, |line| {
        number += 1;
        reader.read(line.strip_suffix(b"\r").unwrap_or(line), number)
    });
    Ok(sent?)
}

fn manner(given: &Given) -> Result<Manner, End> {
    let properties = &["producer-property", "command-property"];
    let mut settings = Settings::of(given, &["producer.config", "command-config"], properties)?;
    let acks = settings.take("acks");
    let acks = given.one("request-required-acks")?.or(acks.as_deref()).unwrap_or("-1");
    let acks = parse_acks(acks).map_err(End::Said)?;
    let of_property = settings.take("compression.type");
    let codec = match given.has("compression-codec") {
        true => given.one("compression-codec")?.unwrap_or("gzip"),
        false => of_property.as_deref().unwrap_or("none"),
    };
    let mut codec = parse_codec(codec).map_err(End::Said)?;
    let name = format!("{:?}", codec.compression).to_lowercase();
    codec.level = settings.take(&format!("compression.{name}.level")).and_then(|level| level.parse().ok());
    let idempotent = settings.take_flag("enable.idempotence").unwrap_or(acks == -1);
    if idempotent && acks != -1 {
        return Err(End::Said("Must set acks to all in order to use the idempotent producer.".into()));
    }
    settings.finish_client()?;
    Ok(Manner { acks, idempotent, codec, create: true })
}

/// How Kafka's LineMessageReader takes a line apart: `HEADERS KEY VALUE`, the first two where they are asked for.
struct LineReader {
    parse_key: bool,
    key_separator: Vec<u8>,
    parse_headers: bool,
    headers_delimiter: Vec<u8>,
    headers_separator: Vec<u8>,
    headers_key_separator: Vec<u8>,
    ignore_error: bool,
    null_marker: Option<Vec<u8>>,
}

impl LineReader {
    fn of(mut settings: Settings) -> Result<LineReader, End> {
        let text = |settings: &mut Settings, name: &str, default: &str| {
            settings.take(name).unwrap_or_else(|| default.to_string()).into_bytes()
        };
        let reader = LineReader {
            parse_key: settings.take_flag("parse.key").unwrap_or(false),
            key_separator: text(&mut settings, "key.separator", "\t"),
            parse_headers: settings.take_flag("parse.headers").unwrap_or(false),
            headers_delimiter: text(&mut settings, "headers.delimiter", "\t"),
            headers_separator: text(&mut settings, "headers.separator", ","),
            headers_key_separator: text(&mut settings, "headers.key.separator", ":"),
            ignore_error: settings.take_flag("ignore.error").unwrap_or(false),
            null_marker: settings.take("null.marker").map(String::into_bytes),
        };
        settings.finish()?;
        reader.check()?;
        Ok(reader)
    }

    /// Separators are not empty and differ where they could be taken for one another, as in Kafka.
    fn check(&self) -> Result<(), End> {
        let separators = [
            ("headers.delimiter", Some(&self.headers_delimiter)),
            ("headers.separator", Some(&self.headers_separator)),
            ("headers.key.separator", Some(&self.headers_key_separator)),
            ("null.marker", self.null_marker.as_ref()),
            ("key.separator", Some(&self.key_separator)),
        ];
        for (i, (name, text)) in separators.iter().enumerate() {
            if *name != "null.marker" && text.is_some_and(|text| text.is_empty()) {
                return Err(End::Said(format!("{name} may not be empty")));
            }
            for (other, same) in &separators[i + 1..] {
                let is_told_apart = *other == "key.separator" && *name != "null.marker";
                if text.is_some() && text == same && !is_told_apart {
                    return Err(End::Said(format!("{name} and {other} may not be equal")));
                }
            }
        }
        Ok(())
    }

    fn read(&self, line: &[u8], number: u64) -> Result<Produced, String> {
        let mut rest = line;
        let mut part = |is_there: bool, end: &[u8], what: &str| {
            let at = if is_there { find(rest, end) } else { None };
            match at {
                Some(at) => {
                    let part = &rest[..at];
                    rest = &rest[at + end.len()..];
                    Ok(Some(part))
                }
                None if !is_there || self.ignore_error => Ok(None),
                None => {
                    let line = String::from_utf8_lossy(line);
                    Err(format!("No {what} found on line number {number}: '{line}'"))
                }
            }
        };
        let headers = part(self.parse_headers, &self.headers_delimiter, "headers delimiter")?;
        let key = part(self.parse_key, &self.key_separator, "key separator")?;
        let headers = headers.filter(|headers| self.null_marker.as_deref() != Some(headers));
        Ok(Produced {
            key: key.and_then(|key| self.nullable(key)),
            value: self.nullable(rest),
            headers: headers.map_or(Ok(Vec::new()), |headers| self.headers(headers, number))?,
            ..Default::default()
        })
    }

    fn nullable(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.null_marker.as_deref() == Some(bytes) { None } else { Some(bytes.to_vec()) }
    }

    fn headers(&self, text: &[u8], number: u64) -> Result<Headers, String> {
        let mut headers = Vec::new();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let end = find(text, &self.headers_separator);
            let pair = &text[..end.unwrap_or(text.len())];
            rest = end.map(|end| &text[end + self.headers_separator.len()..]);
            let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            match find(pair, &self.headers_key_separator) {
                Some(at) => {
                    let value = &pair[at + self.headers_key_separator.len()..];
                    if self.null_marker.as_deref() == Some(&pair[..at]) {
                        let marker = name(&pair[..at]);
                        return Err(format!(
                            "Header keys should not be equal to the null marker '{marker}' as they can't be null"
                        ));
                    }
                    headers.push((name(&pair[..at]), self.nullable(value)));
                }
                None if self.ignore_error => headers.push((name(pair), None)),
                None => {
                    let pair = name(pair);
                    return Err(format!("No header key separator found in pair '{pair}' on line number {number}"));
                }
            }
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(pairs: &[(&str, &str)]) -> Result<LineReader, String> {
        LineReader::of(Settings::of_pairs(pairs)).map_err(|end| match end {
            End::Said(message) => message,
            _ => String::new(),
        })
    }

    fn bytes(text: &str) -> Option<Vec<u8>> {
        Some(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_are_taken_apart_as_kafka_does() {
        let plain = reader(&[]).unwrap();
        assert_eq!(plain.read(b"a\tb", 1).unwrap().value, bytes("a\tb"));
        let all = reader(&[("parse.key", "true"), ("parse.headers", "TRUE"), ("null.marker", "NULL")]).unwrap();
        let read = all.read(b"h1:v1,h2:NULL\tNULL\tv\tw", 1).unwrap();
        let headers = vec![("h1".to_string(), bytes("v1")), ("h2".into(), None)];
        assert_eq!(read, Produced { key: None, value: bytes("v\tw"), headers, ..Default::default() });
        assert_eq!(all.read(b"NULL\tk\tNULL", 1), Ok(Produced { key: bytes("k"), ..Default::default() }));
        assert_eq!(all.read(b"h:v\tkey", 3), Err("No key separator found on line number 3: 'h:v\tkey'".into()));
        assert_eq!(all.read(b"h\tk\tv", 4), Err("No header key separator found in pair 'h' on line number 4".into()));
        assert!(all.read(b"NULL:v\tk\tv", 4).unwrap_err().contains("can't be null"));
    }

    #[test]
    fn errors_may_be_ignored() {
        let reader = reader(&[("parse.key", "true"), ("ignore.error", "true"), ("key.separator", "::")]).unwrap();
        assert_eq!(reader.read(b"plain", 1), Ok(Produced { value: bytes("plain"), ..Default::default() }));
        assert_eq!(reader.read(b"k::v", 1).unwrap().key, bytes("k"));
    }

    #[test]
    fn separators_that_cannot_be_told_apart_are_refused() {
        let told = |pairs: &[(&str, &str)]| reader(pairs).err().unwrap_or_default();
        assert_eq!(told(&[("headers.delimiter", ",")]), "headers.delimiter and headers.separator may not be equal");
        assert_eq!(told(&[("null.marker", "\t")]), "headers.delimiter and null.marker may not be equal");
        assert_eq!(told(&[("key.separator", "")]), "key.separator may not be empty");
        assert_eq!(told(&[("parse.keys", "true")]), "The property parse.keys is not supported");
    }
}
