//! Sample messages as bytes, written from `messages.txt` by an encoder that shares nothing with the broker's codec.

#[path = "../../src/wire/declaration.rs"]
#[allow(dead_code)]
pub mod declaration;

pub use declaration::Message;
use declaration::{Field, Type, Versions};

/// A small generator of pseudo-random numbers (splitmix64), so that a failure can be repeated from its seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn chance(&mut self) -> bool {
        self.next() & 1 == 0
    }
}

pub fn messages() -> Vec<Message> {
    declaration::parse(include_str!("../../src/wire/messages.txt"))
}

/// The bytes of a message whose values are drawn from `random`.
pub fn sample(message: &Message, version: i16, random: &mut Random) -> Vec<u8> {
    assert!(message.valid.contains(version));
    let mut out = Vec::new();
    Sampler { message, version, random }.fields(&message.name, false, &mut out);
    out
}

struct Sampler<'a> {
    message: &'a Message,
    version: i16,
    random: &'a mut Random,
}

impl Sampler<'_> {
    /// `differs`: no value may be its default, because only such a tagged field is written.
    fn fields(&mut self, name: &str, differs: bool, out: &mut Vec<u8>) {
        let version = self.version;
        let message = self.message;
        let present = || message.structs[name].iter().filter(|field| field.versions.contains(version));
        for field in present().filter(|field| field.tag.is_none()) {
            self.field(field, differs, out);
        }
        if !message.flex.contains(version) {
            return;
        }
        let mut tags: Vec<(u32, Vec<u8>)> = Vec::new();
        for field in present().filter(|field| field.tag.is_some()) {
            if self.random.chance() {
                let mut value = Vec::new();
                self.field(field, true, &mut value);
                tags.push((field.tag.unwrap(), value));
            }
        }
        tags.sort();
        uvarint(tags.len(), out);
        for (tag, value) in tags {
            uvarint(tag as usize, out);
            uvarint(value.len(), out);
            out.extend(value);
        }
    }

    fn field(&mut self, field: &Field, differs: bool, out: &mut Vec<u8>) {
        let flex = field.flex.unwrap_or(self.message.flex).contains(self.version);
        let nullable = field.null.contains(self.version);
        let null_differs = !differs || (field.default.as_deref() != Some("null") && field.kind != Type::Records);
        let null = nullable && null_differs && self.random.below(4) == 0;
        if let (Type::Struct(_), true) = (&field.kind, nullable) {
            match (field.tag.is_some(), null) {
                (true, null) => uvarint(usize::from(!null), out),
                (false, true) => out.push(0xff),
                (false, false) => out.push(1),
            }
        }
        match (&field.kind, null) {
            (Type::Struct(_), true) => {}
            (Type::String, true) if !flex => out.extend((-1i16).to_be_bytes()),
            (_, true) if !flex => out.extend((-1i32).to_be_bytes()),
            (_, true) => out.push(0),
            (kind, false) => self.value(kind, flex, differs.then_some(field), out),
        }
    }

    /// `unlike`: the field whose default the value must not be.
    fn value(&mut self, kind: &Type, flex: bool, unlike: Option<&Field>, out: &mut Vec<u8>) {
        let low = usize::from(unlike.is_some());
        match kind {
            Type::Struct(name) => self.fields(&name.clone(), unlike.is_some(), out),
            Type::Array(element) => {
                let count = low + self.random.below(3);
                length(count, flex, out);
                for _ in 0..count {
                    self.value(element, flex, None, out);
                }
            }
            Type::String => {
                let text: String = (0..low + self.random.below(12)).map(|_| self.letter()).collect();
                if flex {
                    uvarint(text.len() + 1, out)
                } else {
                    out.extend((text.len() as u16).to_be_bytes())
                }
                out.extend(text.as_bytes());
            }
            Type::Bytes | Type::Records => {
                let size = low + self.random.below(300);
                length(size, flex, out);
                out.extend((0..size).map(|_| self.random.next() as u8));
            }
            Type::Uuid => out.extend((0..16).map(|_| self.random.next() as u8 | 1)),
            Type::Bool => out.push(match unlike {
                Some(field) => u8::from(field.default.as_deref() != Some("true")),
                None => u8::from(self.random.chance()),
            }),
            Type::I8 => self.integer::<1>(unlike, out),
            Type::I16 | Type::U16 => self.integer::<2>(unlike, out),
            Type::I32 | Type::U32 => self.integer::<4>(unlike, out),
            Type::I64 => self.integer::<8>(unlike, out),
            Type::F64 => out.extend((self.random.next() as f64).to_be_bytes()),
        }
    }

    fn integer<const BYTES: usize>(&mut self, unlike: Option<&Field>, out: &mut Vec<u8>) {
        let default: i64 = unlike.and_then(|field| field.default.as_deref()).map_or(0, |text| text.parse().unwrap());
        loop {
            let bytes: [u8; BYTES] = *self.random.next().to_be_bytes().last_chunk().unwrap();
            if unlike.is_none() || bytes[..] != default.to_be_bytes()[8 - BYTES..] {
                return out.extend(bytes);
            }
        }
    }

    fn letter(&mut self) -> char {
        ['a', 'Z', '0', '-', '_', '.', 'é', '峡'][self.random.below(8)]
    }
}

pub fn length(length: usize, flex: bool, out: &mut Vec<u8>) {
    if flex { uvarint(length + 1, out) } else { out.extend((length as u32).to_be_bytes()) }
}

pub fn uvarint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Versions in both ranges.
pub fn shared(message: &Message, min: i16, max: i16) -> Vec<i16> {
    message.valid.intersect(Versions { from: min, to: max }).range().collect()
}
