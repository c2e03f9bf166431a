//! Primitives of Kafka's encoding: [`Reader`] over hostile bytes, [`Writer`] of parts for a vectored send.
//!
//! All integers are big-endian. `flexible` chooses between the classic form (lengths are int16 or int32, -1 for null) and the
//! compact form of KIP-482 (lengths are unsigned varints of length + 1, 0 for null).

mod reader;
mod writer;

pub use self::reader::Reader;
pub use self::writer::Writer;

use bytes::Bytes;
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
    /// Bytes of the message that was received.
    Slice(&'a [u8]),
    /// Bytes that lie elsewhere, to be sent one after the other.
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

    /// Whether there are none.
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

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
    fn fields_are_bounded_and_records_do_not_count() {
        let mut w = Writer::new();
        let records = Records::Slice(&[7; 1000]);
        w.put_length(Some(3), true);
        (0..3).for_each(|_| w.put_records(&records, true));
        w.put_length(Some(20), false);
        (0..20).for_each(|number| w.put_i32(number));
        let bytes = w.into_bytes();
        let fields = bytes.len() - 3000;
        let read = |field_bytes_max| {
            let mut r = Reader::bounded(&bytes, field_bytes_max);
            r.array(true, 1, |r| r.records(true))?;
            r.array(false, 4, Reader::i32)
        };
        assert_eq!(read(fields).map(|numbers| numbers.len()), Ok(20));
        assert_eq!(read(fields - 1), Err(DecodeError::Length));
        assert_eq!(read(0), Err(DecodeError::Length));
        let tags = [3, 0, 0, 1, 0, 2, 0];
        assert_eq!(Reader::bounded(&tags, 7).tags(|_, _| Ok(())), Ok(()));
        assert_eq!(Reader::bounded(&tags, 6).tags(|_, _| Ok(())), Err(DecodeError::Length));
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
