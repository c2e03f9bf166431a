//! Primitives of Kafka's encoding: [`Reader`] over hostile bytes, [`Writer`] of parts for a vectored send.
//!
//! All integers are big-endian. `flexible` chooses between the classic form (lengths are int16 or int32, -1 for null) and the
//! compact form of KIP-482 (lengths are unsigned varints of length + 1, 0 for null).

use crate::types::Uuid;
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Longest string of either encoding: what a classic length (int16) can say, and Kafka's own limit for compact ones.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;
/// Bytes of one message's fields, spans aside. What is longer was asked for by mistake or in bad faith.
pub const FIELD_BYTES_MAX: usize = 256 << 20;
/// Where a text for people that is made of many things stops growing.
const TEXT_BYTES_MAX: usize = 4096;
/// Stands for what was cut out of a text.
const ELLIPSIS: &str = "…";
/// Spans shorter than this are copied between the fields around them: a part of its own would cost more.
const SPAN_BYTES_MIN: usize = 256;

/// Why bytes are not the message that they claim to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// The bytes end before the value does, or a length or count claims more than is there.
    Truncated,
    /// A length or count is negative or above its limit.
    Length,
    /// A varint goes on past its type's width.
    Varint,
    /// Null where the version has no null.
    Null,
    /// A string is not UTF-8.
    Utf8,
    /// A tagged field does not fill its length.
    Tag,
    /// The message does not exist in this version.
    Version,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeError::Truncated => "message ends early",
            DecodeError::Length => "length out of range",
            DecodeError::Varint => "varint too long",
            DecodeError::Null => "null where none is allowed",
            DecodeError::Utf8 => "string is not UTF-8",
            DecodeError::Tag => "tagged field does not fill its length",
            DecodeError::Version => "message does not exist in this version",
        })
    }
}

impl std::error::Error for DecodeError {}

/// Why values cannot be sent as a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EncodeError {
    /// A string is longer than [`STRING_BYTES_MAX`].
    String,
    /// The fields are longer than [`FIELD_BYTES_MAX`], or the whole is longer than a length can say.
    Message,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EncodeError::String => "a string is longer than a message can say",
            EncodeError::Message => "the message is too long",
        })
    }
}

impl std::error::Error for EncodeError {}

/// `text`, or if it is longer than `bytes_max` its head and its end with an ellipsis between them: the end of a message is
/// often what matters, and what a peer said stands in the middle.
pub fn cut_text(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let kept = bytes_max.saturating_sub(ELLIPSIS.len());
    let head = text.floor_char_boundary(kept * 3 / 4);
    let end = text.ceil_char_boundary(text.len() - (kept - head));
    Cow::Owned(format!("{}{ELLIPSIS}{}", &text[..head], &text[end..]))
}

/// The items with the separator between them, as far as a text for people goes: what follows becomes an ellipsis.
pub fn join_text<'a>(items: impl IntoIterator<Item = &'a str>, separator: &str) -> String {
    let mut text = String::new();
    for (item, first) in items.into_iter().zip(std::iter::once(true).chain(std::iter::repeat(false))) {
        if text.len() > TEXT_BYTES_MAX {
            text.push_str(ELLIPSIS);
            break;
        }
        text.push_str(if first { "" } else { separator });
        text.push_str(item);
    }
    text
}

/// Record batches, untouched: as they lie in a received message, or as spans to send without copying.
#[derive(Clone, Debug, PartialEq)]
pub enum Records<'a> {
    Slice(&'a [u8]),
    Spans(Vec<Bytes>),
}

impl Records<'_> {
    /// Bytes in total.
    pub fn len(&self) -> usize {
        match self {
            Records::Slice(bytes) => bytes.len(),
            Records::Spans(spans) => spans.iter().map(Bytes::len).sum(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where a decoded slice lies in `outer`, the bytes that it was decoded from; `None` if it does not lie there.
    pub fn range_in(&self, outer: &[u8]) -> Option<Range<usize>> {
        let Records::Slice(bytes) = self else { return None };
        let start = (bytes.as_ptr() as usize).checked_sub(outer.as_ptr() as usize)?;
        let end = start.checked_add(bytes.len())?;
        (end <= outer.len()).then_some(start..end)
    }
}

/// Reads values off the front of a slice. Never panics and never allocates more than a multiple of the bytes that are there.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

macro_rules! read_integers {
    ($($name:ident)*) => { $(
        pub fn $name(&mut self) -> Result<$name, DecodeError> {
            Ok($name::from_be_bytes(*self.chunk()?))
        }
    )* };
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Passes over all that is left.
    pub fn skip(&mut self) {
        self.rest = &[];
    }

    read_integers! { i8 i16 u16 i32 u32 i64 f64 }

    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid(*self.chunk()?))
    }

    /// Unsigned varint of at most 5 bytes, least significant group first.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.varint_bits(5)?).map_err(|_| DecodeError::Varint)
    }

    /// Zigzag varint, as in records.
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let bits = self.uvarint()?;
        Ok((bits >> 1) as i32 ^ -((bits & 1) as i32))
    }

    /// Zigzag varint of 64 bits, at most 10 bytes.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let bits = self.varint_bits(10)?;
        Ok((bits >> 1) as i64 ^ -((bits & 1) as i64))
    }

    fn varint_bits(&mut self, bytes_max: u32) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for i in 0..bytes_max {
            let [byte] = *self.chunk()?;
            let group = u64::from(byte & 0x7f);
            // The tenth group has room for one bit.
            if i == 9 && group > 1 {
                return Err(DecodeError::Varint);
            }
            value |= group << (7 * i);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N], DecodeError> {
        let (chunk, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(chunk)
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Length of bytes, or count of an array; `None` for null.
    fn length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return Ok((self.uvarint()? as usize).checked_sub(1));
        }
        match self.i32()? {
            -1 => Ok(None),
            length => Ok(Some(usize::try_from(length).map_err(|_| DecodeError::Length)?)),
        }
    }

    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let length = if flexible {
            self.length(true)?
        } else {
            match self.i16()? {
                -1 => None,
                length => Some(usize::try_from(length).map_err(|_| DecodeError::Length)?),
            }
        };
        let Some(length) = length else { return Ok(None) };
        if length > STRING_BYTES_MAX {
            return Err(DecodeError::Length);
        }
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::Utf8)?;
        Ok(Some(Cow::Borrowed(text)))
    }

    pub fn string(&mut self, flexible: bool) -> Result<Cow<'a, str>, DecodeError> {
        self.nullable_string(flexible)?.ok_or(DecodeError::Null)
    }

    fn nullable_slice(&mut self, flexible: bool) -> Result<Option<&'a [u8]>, DecodeError> {
        let Some(length) = self.length(flexible)? else {
            return Ok(None);
        };
        self.take(length).map(Some)
    }

    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Cow<'a, [u8]>>, DecodeError> {
        Ok(self.nullable_slice(flexible)?.map(Cow::Borrowed))
    }

    pub fn bytes(&mut self, flexible: bool) -> Result<Cow<'a, [u8]>, DecodeError> {
        self.nullable_bytes(flexible)?.ok_or(DecodeError::Null)
    }

    pub fn nullable_records(&mut self, flexible: bool) -> Result<Option<Records<'a>>, DecodeError> {
        Ok(self.nullable_slice(flexible)?.map(Records::Slice))
    }

    pub fn records(&mut self, flexible: bool) -> Result<Records<'a>, DecodeError> {
        self.nullable_records(flexible)?.ok_or(DecodeError::Null)
    }

    /// An array whose elements take at least `element_bytes_min` bytes each, read by `element`. A count that the remaining
    /// bytes cannot hold is refused, and room is made only for what they would fill.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(flexible)? else {
            return Ok(None);
        };
        if count > self.remaining() / element_bytes_min.max(1) {
            return Err(DecodeError::Truncated);
        }
        let room = self.remaining() / size_of::<T>().max(1) + 1;
        let mut elements = Vec::with_capacity(count.min(room));
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    pub fn array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(flexible, element_bytes_min, element)?.ok_or(DecodeError::Null)
    }

    /// A struct that a mark precedes: int8, negative for null; in a tagged field an unsigned varint, 0 for null.
    pub fn nullable_struct<T>(
        &mut self,
        tagged: bool,
        fields: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        let present = if tagged { self.uvarint()? > 0 } else { self.i8()? >= 0 };
        if present { fields(self).map(Some) } else { Ok(None) }
    }

    /// The tag section that ends a flexible struct. `field` gets each tag and a reader of its value, which it must use up.
    pub fn tags(
        &mut self,
        mut field: impl FnMut(u32, &mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let length = self.uvarint()? as usize;
            let mut value = Reader::new(self.take(length)?);
            field(tag, &mut value)?;
            if value.remaining() > 0 {
                return Err(DecodeError::Tag);
            }
        }
        Ok(())
    }
}

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
        pub fn $put(&mut self, value: $type) {
            self.put_slice(&value.to_be_bytes());
        }
    )* };
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    /// With room for `bytes` of fields; spans need none.
    pub fn with_capacity(bytes: usize) -> Self {
        Self::bounded(BytesMut::with_capacity(bytes), FIELD_BYTES_MAX)
    }

    fn bounded(fields: BytesMut, fields_max: usize) -> Self {
        Writer { fields, fields_max, spans: Vec::new(), span_bytes: 0, error: None }
    }

    /// Bytes written, spans included.
    pub fn len(&self) -> usize {
        self.fields.len() + self.span_bytes
    }

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

    pub fn put_bool(&mut self, value: bool) {
        self.put_i8(i8::from(value));
    }

    pub fn put_uuid(&mut self, value: Uuid) {
        self.put_slice(&value.0);
    }

    pub fn put_slice(&mut self, bytes: &[u8]) {
        match bytes.len() <= self.fields_max - self.fields.len() {
            true => self.fields.extend_from_slice(bytes),
            false => self.fail(EncodeError::Message),
        }
    }

    pub fn put_uvarint(&mut self, value: u32) {
        self.put_varint_bits(u64::from(value));
    }

    pub fn put_varint(&mut self, value: i32) {
        self.put_uvarint((value << 1 ^ value >> 31) as u32);
    }

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

    pub fn put_nullable_string(&mut self, text: Option<&str>, flexible: bool) {
        match text {
            Some(text) => self.put_string(text, flexible),
            None => self.put_string_length(None, flexible),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_at_their_edges() {
        let mut w = Writer::new();
        let unsigned = [0, 1, 127, 128, 16383, 16384, u32::MAX];
        let signed = [0, -1, 1, 63, -64, 64, i32::MAX, i32::MIN];
        let long = [0, -1, i64::MAX, i64::MIN];
        unsigned.iter().for_each(|&value| w.put_uvarint(value));
        signed.iter().for_each(|&value| w.put_varint(value));
        long.iter().for_each(|&value| w.put_varlong(value));
        let bytes = w.into_bytes();
        let mut r = Reader::new(&bytes);
        assert_eq!(unsigned.map(|_| r.uvarint().unwrap()), unsigned);
        assert_eq!(signed.map(|_| r.varint().unwrap()), signed);
        assert_eq!(long.map(|_| r.varlong().unwrap()), long);
        assert_eq!(r.remaining(), 0);
    }

    #[test]
    fn varints_that_are_too_long_are_refused() {
        assert_eq!(Reader::new(&[0xff; 6]).uvarint(), Err(DecodeError::Varint));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).uvarint(), Err(DecodeError::Varint));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).uvarint(), Ok(u32::MAX));
        assert_eq!(Reader::new(&[0xff; 11]).varlong(), Err(DecodeError::Varint));
        assert_eq!(Reader::new(&[0x80; 3]).uvarint(), Err(DecodeError::Truncated));
    }

    #[test]
    fn strings_have_two_forms_and_limits() {
        let mut w = Writer::new();
        w.put_string("é", false);
        w.put_string("é", true);
        w.put_nullable_string(None, false);
        w.put_nullable_string(None, true);
        let bytes = w.into_bytes();
        assert_eq!(&bytes[..], [0, 2, 0xc3, 0xa9, 3, 0xc3, 0xa9, 0xff, 0xff, 0]);
        let mut r = Reader::new(&bytes);
        assert_eq!(r.string(false).unwrap(), "é");
        assert_eq!(r.string(true).unwrap(), "é");
        assert_eq!(r.string(false), Err(DecodeError::Null));
        assert_eq!(r.nullable_string(true), Ok(None));
        assert_eq!(Reader::new(&[0, 1, 0xff]).string(false), Err(DecodeError::Utf8));
        assert_eq!(Reader::new(&[0xff, 0xfe]).string(false), Err(DecodeError::Length));
        assert_eq!(Reader::new(&[0x81, 0x80, 0x02]).string(true), Err(DecodeError::Length));
    }

    #[test]
    fn what_is_longer_than_a_message_can_say_empties_the_writer() {
        let long = "é".repeat(STRING_BYTES_MAX / 2) + "x";
        for flexible in [false, true] {
            let mut w = Writer::new();
            w.put_string(&long, flexible);
            assert_eq!((w.error(), w.len() > STRING_BYTES_MAX), (None, true));
            w.put_string(&(long.clone() + "y"), flexible);
            w.put_records(&Records::Spans(vec![Bytes::from(vec![7; SPAN_BYTES_MIN])]), flexible);
            w.put_i8(1);
            assert_eq!((w.error(), w.len()), (Some(EncodeError::String), 0));
            let mut tagged = Writer::new();
            tagged.put_tag(0, |w| w.put_string(&(long.clone() + "y"), flexible));
            assert_eq!((tagged.error(), tagged.len()), (Some(EncodeError::String), 0));
            let mut count = Writer::new();
            count.put_length(Some(i32::MAX as usize), flexible);
            assert_eq!(count.error(), Some(EncodeError::Message));
        }
        let mut w = Writer::bounded(BytesMut::new(), 10);
        w.put_i64(1);
        w.put_bool(true);
        assert_eq!((w.error(), w.len()), (None, 9));
        w.put_i16(1);
        w.put_uvarint(1);
        assert_eq!((w.error(), w.len()), (Some(EncodeError::Message), 0));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut_text("whole", 5), "whole");
        assert_eq!(cut_text("what is in the middle goes", 15), "what is i…oes");
        for bytes_max in 0..40 {
            let cut = cut_text("éééééééééééééééééééé€€€€", bytes_max).into_owned();
            assert!(cut.len() <= bytes_max.max(ELLIPSIS.len()), "{bytes_max}: {cut}");
            assert!(cut.contains(ELLIPSIS) && cut.chars().all(|c| "é…€".contains(c)));
        }
        let mut w = Writer::new();
        w.put_text(&"é".repeat(40_000), 1024, false);
        w.put_text(&"é".repeat(40_000), usize::MAX, true);
        let bytes = w.into_bytes();
        let mut r = Reader::new(&bytes);
        assert!((1000..=1024).contains(&r.string(false).unwrap().len()));
        assert!((32_000..=STRING_BYTES_MAX).contains(&r.string(true).unwrap().len()));
    }

    #[test]
    fn many_names_make_a_short_text() {
        assert_eq!(join_text(["a", "b", ""], ", "), "a, b, ");
        assert_eq!(join_text([], ", "), "");
        let long = join_text(std::iter::repeat_n("name", 1_000_000), ",");
        assert!(long.len() < TEXT_BYTES_MAX + 20 && long.ends_with("name…"), "{}", long.len());
    }

    #[test]
    fn a_claimed_count_is_held_against_the_bytes() {
        let claim = [0x7f, 0xff, 0xff, 0xff, 1, 2, 3, 4];
        assert_eq!(Reader::new(&claim).array(false, 1, |r| r.i8()), Err(DecodeError::Truncated));
        let mut r = Reader::new(&[0, 0, 0, 4, 1, 2, 3, 4]);
        let large = r.array(false, 1, |r| Ok([u64::from(r.i8()? as u8); 64])).unwrap();
        assert_eq!(large.len(), 4);
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff]).nullable_array(false, 1, |r| r.i8()), Ok(None));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xfe]).array(false, 1, |r| r.i8()), Err(DecodeError::Length));
    }

    #[test]
    fn unknown_tags_are_skipped_and_known_ones_must_fit() {
        let bytes = [2, 5, 1, 0xaa, 9, 2, 0, 7, 0xee];
        let mut r = Reader::new(&bytes);
        let mut seen = None;
        let field = |tag, r: &mut Reader<'_>| {
            if tag == 9 {
                seen = Some(r.i16()?)
            } else {
                r.skip()
            }
            Ok(())
        };
        assert_eq!(r.tags(field), Ok(()));
        assert_eq!((seen, r.remaining()), (Some(7), 1));
        assert_eq!(Reader::new(&bytes).tags(|_, _| Ok(())), Err(DecodeError::Tag));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).tags(|_, _| Ok(())), Err(DecodeError::Truncated));
    }

    #[test]
    fn long_spans_are_not_copied_and_short_ones_are() {
        let long = Bytes::from(vec![7; SPAN_BYTES_MIN]);
        let spans = Records::Spans(vec![Bytes::from_static(b"ab"), long.clone(), long.clone()]);
        let mut w = Writer::new();
        w.put_i32(0);
        w.put_records(&spans, false);
        w.put_tag(3, |w| w.put_records(&Records::Spans(vec![long.clone()]), true));
        w.put_i8(1);
        w.patch_i32(0, 9);
        let length = w.len();
        let parts = w.finish();
        assert_eq!(parts.iter().map(Bytes::len).sum::<usize>(), length);
        assert_eq!(parts.len(), 6);
        assert_eq!(&parts[0][..], [0, 0, 0, 9, 0, 0, 2, 2, b'a', b'b']);
        assert_eq!([1, 2, 4].map(|i| parts[i].as_ptr()), [long.as_ptr(); 3]);
        assert_eq!(&parts[3][..], [3, 0x82, 2, 0x81, 2]);
        assert_eq!(&parts[5][..], [1]);
    }

    #[test]
    fn records_know_their_place() {
        let outer = [0, 0, 0, 3, 1, 2, 3, 4];
        let records = Reader::new(&outer).records(false).unwrap();
        assert_eq!(records.range_in(&outer), Some(4..7));
        assert_eq!(records.range_in(&outer[..6]), None);
        assert_eq!(records.range_in(&outer[5..]), None);
        assert_eq!((records.len(), records.is_empty()), (3, false));
    }
}
