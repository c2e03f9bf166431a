//! Frames of requests, written from `messages.txt` by an encoder that shares nothing with the broker's codec. What each field
//! is to be, [`Values`] says; so a new API is composed without being named.

use crate::sample::declaration::{Field, Type};
use crate::sample::{Message, length, uvarint};

/// How often an entry of an array is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Times {
    /// So many entries, each with values of its own.
    Each(usize),
    /// One entry, so many times.
    Same(usize),
}

/// What the fields of a request are to be. `field` is the name of one in `messages.txt`.
pub trait Values {
    fn string(&mut self, message: &Message, field: &str) -> String;

    /// Cut to the field's type; `true` is whatever is not 0.
    fn number(&mut self, message: &Message, field: &str) -> i64;

    fn bytes(&mut self, _field: &str) -> Vec<u8> {
        Vec::new()
    }

    fn uuid(&mut self) -> [u8; 16] {
        [0; 16]
    }

    fn times(&mut self, _field: &str) -> Times {
        Times::Each(1)
    }

    /// Whether a field is null that may be.
    fn is_null(&mut self, _field: &str) -> bool {
        false
    }

    /// An array has no further entry once it has so many bytes.
    fn array_bytes_max(&self) -> usize {
        usize::MAX
    }
}

/// The whole frame of a request.
pub fn frame(message: &Message, version: i16, correlation: i32, client_id: &str, values: &mut dyn Values) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.extend(message.key.expect("a request has a key").to_be_bytes());
    out.extend(version.to_be_bytes());
    out.extend(correlation.to_be_bytes());
    out.extend((client_id.len() as u16).to_be_bytes());
    out.extend(client_id.bytes());
    out.extend(message.flex.contains(version).then_some(0));
    let mut body = Body { message, version, values, out };
    body.fields(&message.name);
    let mut frame = body.out;
    let length = (frame.len() - 4) as i32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

struct Body<'a> {
    message: &'a Message,
    version: i16,
    values: &'a mut dyn Values,
    out: Vec<u8>,
}

impl Body<'_> {
    fn fields(&mut self, name: &str) {
        let (message, version) = (self.message, self.version);
        let present = || message.structs[name].iter().filter(|field| field.versions.contains(version));
        present().filter(|field| field.tag.is_none()).for_each(|field| self.field(field));
        if !message.flex.contains(version) {
            return;
        }
        let mut tagged: Vec<&Field> = present().filter(|field| field.tag.is_some()).collect();
        tagged.sort_by_key(|field| field.tag);
        uvarint(tagged.len(), &mut self.out);
        for field in tagged {
            let outer = std::mem::take(&mut self.out);
            self.field(field);
            let value = std::mem::replace(&mut self.out, outer);
            uvarint(field.tag.unwrap() as usize, &mut self.out);
            uvarint(value.len(), &mut self.out);
            self.out.extend(value);
        }
    }

    fn field(&mut self, field: &Field) {
        let flex = field.flex.unwrap_or(self.message.flex).contains(self.version);
        let nullable = field.null.contains(self.version);
        let null = nullable && self.values.is_null(&field.name);
        match (&field.kind, null) {
            // In a tag section an absent struct is a 0, elsewhere a -1.
            (Type::Struct(_), true) => self.out.push(if field.tag.is_some() { 0 } else { 0xff }),
            (Type::String, true) if !flex => self.out.extend((-1i16).to_be_bytes()),
            (_, true) if !flex => self.out.extend((-1i32).to_be_bytes()),
            (_, true) => self.out.push(0),
            (kind, false) => {
                if matches!(kind, Type::Struct(_)) && nullable {
                    self.out.push(1);
                }
                self.value(&field.name, kind, flex);
            }
        }
    }

    fn value(&mut self, name: &str, kind: &Type, flex: bool) {
        let number = match kind {
            Type::Struct(kind) => return self.fields(kind),
            Type::Array(element) => return self.array(name, element, flex),
            Type::String => {
                let text = self.values.string(self.message, name);
                match flex {
                    true => uvarint(text.len() + 1, &mut self.out),
                    false => self.out.extend((text.len() as u16).to_be_bytes()),
                }
                return self.out.extend(text.bytes());
            }
            Type::Bytes | Type::Records => {
                let bytes = self.values.bytes(name);
                length(bytes.len(), flex, &mut self.out);
                return self.out.extend(bytes);
            }
            Type::Uuid => return self.out.extend(self.values.uuid()),
            Type::F64 => return self.out.extend([0; 8]),
            _ => self.values.number(self.message, name),
        };
        match kind {
            Type::Bool => self.out.push(u8::from(number != 0)),
            Type::I8 => self.out.push(number as u8),
            Type::I16 | Type::U16 => self.out.extend((number as i16).to_be_bytes()),
            Type::I32 | Type::U32 => self.out.extend((number as i32).to_be_bytes()),
            _ => self.out.extend(number.to_be_bytes()),
        }
    }

    fn array(&mut self, name: &str, element: &Type, flex: bool) {
        let outer = std::mem::take(&mut self.out);
        let bytes_max = self.values.array_bytes_max();
        let mut count = 0;
        match self.values.times(name) {
            Times::Each(times) => {
                while count < times && self.out.len() < bytes_max {
                    self.value(name, element, flex);
                    count += 1;
                }
            }
            Times::Same(times) => {
                self.value(name, element, flex);
                count = times.min(bytes_max / self.out.len().max(1)).max(1);
                self.out = self.out.repeat(count);
            }
        }
        let entries = std::mem::replace(&mut self.out, outer);
        length(count, flex, &mut self.out);
        self.out.extend(entries);
    }
}
