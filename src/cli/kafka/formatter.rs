//! How kafka-console-consumer prints a record: Kafka's own formatters.

use super::admin::End;
use super::settings::Settings;
use crate::cli::offset_records::{self, Kind};
use crate::cli::pattern::Consumed;
use serde_json::json;

pub enum Formatter {
    Default(Box<Fields>),
    NoOp,
    /// Records of `__consumer_offsets` of one kind.
    Internal(Kind),
}

/// What the DefaultMessageFormatter prints, in this order.
pub struct Fields {
    timestamp: bool,
    partition: bool,
    offset: bool,
    delivery: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: String,
    line_separator: String,
    headers_separator: String,
    null_literal: String,
    of_key: Deserializer,
    of_value: Deserializer,
    of_headers: Deserializer,
}

/// How bytes are read before they are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deserializer {
    /// As they are.
    None,
    Text,
    /// A signed big-endian integer of so many bytes.
    Integer(&'static str, usize),
}

impl Deserializer {
    fn of(class: Option<&str>) -> Result<Deserializer, End> {
        let Some(class) = class else { return Ok(Deserializer::None) };
        Ok(match class.rsplit('.').next().unwrap_or_default() {
            "StringDeserializer" => Deserializer::Text,
            "ShortDeserializer" => Deserializer::Integer("ShortDeserializer", 2),
            "IntegerDeserializer" => Deserializer::Integer("IntegerDeserializer", 4),
            "LongDeserializer" => Deserializer::Integer("LongDeserializer", 8),
            _ => return Err(End::Said(format!("{class} is not supported: String, Short, Integer and Long are"))),
        })
    }

    fn write(self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Deserializer::None => out.extend_from_slice(bytes),
            Deserializer::Text => out.extend_from_slice(String::from_utf8_lossy(bytes).as_bytes()),
            Deserializer::Integer(name, length) => {
                if bytes.len() != length {
                    return Err(format!("Size of data received by {name} is not {length}"));
                }
                let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
                let number = bytes.iter().fold(sign, |number: i64, byte| number << 8 | i64::from(*byte));
                out.extend_from_slice(number.to_string().as_bytes());
            }
        }
        Ok(())
    }
}

impl Formatter {
    /// The formatter of a Java class's name.
    pub fn of(
        class: Option<&str>,
        key: Option<&str>,
        value: Option<&str>,
        mut settings: Settings,
    ) -> Result<Formatter, End> {
        let name = class.unwrap_or("DefaultMessageFormatter").rsplit(['.', '$']).next().unwrap_or_default();
        let formatter = match name {
            "DefaultMessageFormatter" => Formatter::Default(Box::new(Fields::of(key, value, &mut settings)?)),
            "NoOpMessageFormatter" => Formatter::NoOp,
            "OffsetsMessageFormatter" => Formatter::Internal(Kind::Offset),
            "GroupMetadataMessageFormatter" => Formatter::Internal(Kind::Group),
            _ => return Err(End::Said(format!("--formatter {} is not supported", class.unwrap_or_default()))),
        };
        settings.finish()?;
        Ok(formatter)
    }

    /// The error says why the record cannot be printed.
    pub fn write(&self, record: &Consumed<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Formatter::Default(fields) => fields.write(record, out),
            Formatter::NoOp => Ok(()),
            Formatter::Internal(kind) => {
                let Some(key) = record.key.filter(|key| Kind::of(key) == Ok(*kind)) else { return Ok(()) };
                let (key, value) = offset_records::decode(key, record.value).map_err(|error| error.to_string())?;
                out.extend_from_slice(json!({"key": key, "value": value}).to_string().as_bytes());
                out.push(b'\n');
                Ok(())
            }
        }
    }
}

impl Fields {
    fn of(key: Option<&str>, value: Option<&str>, settings: &mut Settings) -> Result<Fields, End> {
        let mut flag = |name, default| settings.take_flag(name).unwrap_or(default);
        let (timestamp, partition, offset) =
            (flag("print.timestamp", false), flag("print.partition", false), flag("print.offset", false));
        let (delivery, epoch, headers) =
            (flag("print.delivery", false), flag("print.epoch", false), flag("print.headers", false));
        let (print_key, print_value) = (flag("print.key", false), flag("print.value", true));
        let mut text = |name, default: &str| settings.take(name).unwrap_or_else(|| default.into());
        Ok(Fields {
            timestamp,
            partition,
            offset,
            delivery,
            epoch,
            headers,
            key: print_key,
            value: print_value,
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null_literal: text("null.literal", "null"),
            of_key: Deserializer::of(key)?,
            of_value: Deserializer::of(value)?,
            of_headers: Deserializer::of(settings.take("headers.deserializer").as_deref())?,
        })
    }

    fn write(&self, record: &Consumed<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let shown = [
            self.timestamp,
            self.partition,
            self.offset,
            self.delivery,
            self.epoch,
            self.headers,
            self.key,
            self.value,
        ];
        for at in (0..shown.len()).filter(|&at| shown[at]) {
            match at {
                0 => {
                    let kind = if record.log_append_time { "LogAppendTime" } else { "CreateTime" };
                    out.extend_from_slice(format!("{kind}:{}", record.timestamp).as_bytes());
                }
                1 => out.extend_from_slice(format!("Partition:{}", record.partition).as_bytes()),
                2 => out.extend_from_slice(format!("Offset:{}", record.offset).as_bytes()),
                3 => out.extend_from_slice(b"Delivery:NOT_PRESENT"),
                // Kafka's tool does not hand it on.
                4 => out.extend_from_slice(b"Epoch:NOT_PRESENT"),
                5 => self.write_headers(record, out)?,
                6 => self.write_bytes(self.of_key, record.key, out)?,
                _ => self.write_bytes(self.of_value, record.value, out)?,
            }
            let more = shown[at + 1..].contains(&true);
            out.extend_from_slice(if more { self.key_separator.as_bytes() } else { self.line_separator.as_bytes() });
        }
        Ok(())
    }

    fn write_headers(&self, record: &Consumed<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        if record.headers.is_empty() {
            out.extend_from_slice(b"NO_HEADERS");
        }
        for (i, (name, value)) in record.headers.iter().enumerate() {
            if i > 0 {
                out.extend_from_slice(self.headers_separator.as_bytes());
            }
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            self.write_bytes(self.of_headers, *value, out)?;
        }
        Ok(())
    }

    fn write_bytes(&self, of: Deserializer, bytes: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), String> {
        match bytes {
            Some(bytes) => of.write(bytes, out),
            None => {
                out.extend_from_slice(self.null_literal.as_bytes());
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Consumed<'_> = Consumed {
        topic: "t",
        partition: 3,
        offset: 42,
        timestamp: 1000,
        log_append_time: false,
        key: None,
        value: Some(&[0xff, 0xff, 0xff, 0xfe]),
        headers: &[("a", Some(b"1")), ("b", None)],
    };

    fn printed(pairs: &[(&str, &str)], value: Option<&str>) -> Result<String, String> {
        let formatter = Formatter::of(None, None, value, Settings::of_pairs(pairs)).map_err(said)?;
        let mut out = Vec::new();
        formatter.write(&RECORD, &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    fn said(end: End) -> String {
        let End::Said(message) = end else { panic!("it says something") };
        message
    }

    #[test]
    fn fields_are_those_of_kafka() {
        let integer = Some("org.apache.kafka.common.serialization.IntegerDeserializer");
        assert_eq!(printed(&[], integer).unwrap(), "-2\n");
        let all = ["timestamp", "partition", "offset", "delivery", "epoch", "headers", "key"]
            .map(|name| format!("print.{name}"));
        let all: Vec<(&str, &str)> = all.iter().map(|name| (name.as_str(), "true")).collect();
        let expected =
            "CreateTime:1000\tPartition:3\tOffset:42\tDelivery:NOT_PRESENT\tEpoch:NOT_PRESENT\ta:1,b:null\tnull\t-2\n";
        assert_eq!(printed(&all, integer).unwrap(), expected);
        let odd = [("print.key", "true"), ("print.value", "false"), ("null.literal", "-"), ("line.separator", "|")];
        assert_eq!(printed(&odd, None).unwrap(), "-|");
    }

    #[test]
    fn what_is_not_served_is_named() {
        assert_eq!(
            printed(&[], Some("x.LongDeserializer")).unwrap_err(),
            "Size of data received by LongDeserializer is not 8"
        );
        assert!(printed(&[], Some("x.AvroDeserializer")).unwrap_err().contains("x.AvroDeserializer is not supported"));
        assert!(printed(&[("print.keys", "true")], None).unwrap_err().contains("print.keys"));
        let refused = Formatter::of(Some("a.LoggingMessageFormatter"), None, None, Settings::of_pairs(&[]));
        assert_eq!(said(refused.err().unwrap()), "--formatter a.LoggingMessageFormatter is not supported");
    }
}
