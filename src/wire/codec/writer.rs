//! Writing a message as parts for a vectored send.

use super::{EncodeError, FIELD_BYTES_MAX, Records, SPAN_BYTES_MIN, STRING_BYTES_MAX, cut_text};
use crate::types::Uuid;
use bytes::{Bytes, BytesMut};

/// Builds a message as parts for a vectored send: fields gather in one buffer, long spans stand between its pieces uncopied.
///
/// What a message cannot say makes the writer empty for good; [`Writer::error`] tells why. So values of any length may be
/// written, whoever they come from.
#[derive(Debug)]
pub struct Writer {
    fields: BytesMut,
    /// Bytes that `fields` may have: none after an error.
    fields_max: usize,
    /// Each span with the position in `fields` that it stands at, positions rising.
    spans: Vec<(usize, Bytes)>,
    span_bytes: usize,
    error: Option<EncodeError>,
}

impl Default for Writer {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

macro_rules! write_integers {
    ($($put:ident $type:ident)*) => { $(
        #[doc = concat!("The bytes of an `", stringify!($type), "`.")]
        pub fn $put(&mut self, value: $type) {
            self.put_slice(&value.to_be_bytes());
        }
    )* };
}

impl Writer {
    /// A writer without room: what is written makes it.
    pub fn new() -> Self {
        Self::default()
    }

    /// With room for `bytes` of fields; spans need none.
    pub fn with_capacity(bytes: usize) -> Self {
        Self::bounded(BytesMut::with_capacity(bytes), FIELD_BYTES_MAX)
    }

    pub(super) fn bounded(fields: BytesMut, fields_max: usize) -> Self {
        Writer { fields, fields_max, spans: Vec::new(), span_bytes: 0, error: None }
    }

    /// Bytes written, spans included.
    pub fn len(&self) -> usize {
        self.fields.len() + self.span_bytes
    }

    /// Whether nothing has been written, or what was written cannot be said.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Why what was to be written cannot be said, if it cannot.
    pub fn error(&self) -> Option<EncodeError> {
        self.error
    }

    /// Forgets what was written, and what will be.
    fn fail(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
        (self.fields, self.fields_max) = (BytesMut::new(), 0);
        (self.spans, self.span_bytes) = (Vec::new(), 0);
    }

    /// What was written, in order. No part is empty. The caller has looked at [`Writer::error`], or knows that there is none.
    pub fn finish(self) -> Vec<Bytes> {
        assert_eq!(self.error, None, "what was written is no message");
        let fields = self.fields.freeze();
        let mut parts = Vec::with_capacity(2 * self.spans.len() + 1);
        let mut position = 0;
        for (at, span) in self.spans {
            if at > position {
                parts.push(fields.slice(position..at));
                position = at;
            }
            parts.push(span);
        }
        if position < fields.len() {
            parts.push(fields.slice(position..));
        }
        parts
    }

    /// What was written, in one piece, as [`Writer::finish`]; copies if there are spans.
    pub fn into_bytes(self) -> Bytes {
        let length = self.len();
        let parts = self.finish();
        if let [part] = &parts[..] {
            return part.clone();
        }
        let mut whole = BytesMut::with_capacity(length);
        parts.iter().for_each(|part| whole.extend_from_slice(part));
        whole.freeze()
    }

    write_integers! { put_i8 i8 put_i16 i16 put_u16 u16 put_i32 i32 put_u32 u32 put_i64 i64 put_f64 f64 }

    /// Overwrites the four bytes at `position`, which must be before any span.
    pub fn patch_i32(&mut self, position: usize, value: i32) {
        assert!(self.spans.first().is_none_or(|(at, _)| position + 4 <= *at));
        self.fields[position..position + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// One byte, 0 or 1.
    pub fn put_bool(&mut self, value: bool) {
        self.put_i8(i8::from(value));
    }

    /// Sixteen bytes.
    pub fn put_uuid(&mut self, value: Uuid) {
        self.put_slice(&value.0);
    }

    /// The bytes themselves, without a length.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        match bytes.len() <= self.fields_max - self.fields.len() {
            true => self.fields.extend_from_slice(bytes),
            false => self.fail(EncodeError::Message),
        }
    }

    /// A number of one to five bytes, seven bits in each.
    pub fn put_uvarint(&mut self, value: u32) {
        self.put_varint_bits(u64::from(value));
    }

    /// The same for signed numbers, which alternate: 0, -1, 1, -2.
    pub fn put_varint(&mut self, value: i32) {
        self.put_uvarint((value << 1 ^ value >> 31) as u32);
    }

    /// The same for 64 bits, in one to ten bytes.
    pub fn put_varlong(&mut self, value: i64) {
        self.put_varint_bits((value << 1 ^ value >> 63) as u64);
    }

    fn put_varint_bits(&mut self, mut bits: u64) {
        let (mut groups, mut count) = ([0; 10], 0);
        while bits >= 0x80 {
            groups[count] = bits as u8 | 0x80;
            (bits, count) = (bits >> 7, count + 1);
        }
        groups[count] = bits as u8;
        self.put_slice(&groups[..=count]);
    }

    /// Length of bytes, or count of an array; `None` for null.
    pub fn put_length(&mut self, length: Option<usize>, flexible: bool) {
        match length.map(i32::try_from) {
            Some(Err(_) | Ok(i32::MAX)) => self.fail(EncodeError::Message),
            None if flexible => self.put_uvarint(0),
            None => self.put_i32(-1),
            Some(Ok(length)) if flexible => self.put_uvarint(length as u32 + 1),
            Some(Ok(length)) => self.put_i32(length),
        }
    }

    /// Length of a string; `None` for null.
    pub fn put_string_length(&mut self, length: Option<usize>, flexible: bool) {
        match length {
            Some(length) if length > STRING_BYTES_MAX => self.fail(EncodeError::String),
            length if flexible => self.put_length(length, true),
            length => self.put_i16(length.map_or(-1, |length| length as i16)),
        }
    }

    /// At most [`STRING_BYTES_MAX`] bytes: a name that was cut would be another name.
    pub fn put_string(&mut self, text: &str, flexible: bool) {
        self.put_string_length(Some(text.len()), flexible);
        self.put_slice(text.as_bytes());
    }

    /// A text for people, which is cut to `bytes_max` bytes.
    pub fn put_text(&mut self, text: &str, bytes_max: usize, flexible: bool) {
        self.put_string(&cut_text(text, bytes_max.min(STRING_BYTES_MAX)), flexible);
    }

    /// A string or null.
    pub fn put_nullable_string(&mut self, text: Option<&str>, flexible: bool) {
        match text {
            Some(text) => self.put_string(text, flexible),
            None => self.put_string_length(None, flexible),
        }
    }

    /// Bytes behind their length.
    pub fn put_bytes(&mut self, bytes: &[u8], flexible: bool) {
        self.put_length(Some(bytes.len()), flexible);
        self.put_slice(bytes);
    }

    /// A slice is copied; spans are not, unless they are short.
    pub fn put_records(&mut self, records: &Records<'_>, flexible: bool) {
        self.put_length(Some(records.len()), flexible);
        match records {
            Records::Slice(bytes) => self.put_slice(bytes),
            Records::Spans(spans) => spans.iter().for_each(|span| self.put_span(span)),
        }
    }

    fn put_span(&mut self, span: &Bytes) {
        if span.len() < SPAN_BYTES_MIN || self.error.is_some() {
            return self.put_slice(span);
        }
        self.span_bytes += span.len();
        self.spans.push((self.fields.len(), span.clone()));
    }

    /// What precedes a struct that may be null; see [`Reader::nullable_struct`].
    pub fn put_struct_mark(&mut self, tagged: bool, present: bool) {
        match (tagged, present) {
            (true, present) => self.put_uvarint(u32::from(present)),
            (false, true) => self.put_i8(1),
            (false, false) => self.put_i8(-1),
        }
    }

    /// One tagged field, whose value `value` writes.
    pub fn put_tag(&mut self, tag: u32, value: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::bounded(BytesMut::new(), self.fields_max);
        value(&mut inner);
        let Ok(length) = u32::try_from(inner.len()) else { return self.fail(EncodeError::Message) };
        if let Some(error) = inner.error {
            return self.fail(error);
        }
        self.put_uvarint(tag);
        self.put_uvarint(length);
        let start = self.fields.len();
        self.put_slice(&inner.fields);
        if self.error.is_none() {
            self.span_bytes += inner.span_bytes;
            self.spans.extend(inner.spans.into_iter().map(|(at, span)| (start + at, span)));
        }
    }
}
