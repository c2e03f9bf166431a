//! Bytes as text.

use serde_json::{Value, json};
use std::fmt::Write;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().enumerate().fold(0u32, |word, (i, byte)| word | u32::from(*byte) << (16 - 8 * i));
        for digit in 0..4 {
            let c = match digit <= three.len() {
                true => char::from(BASE64[(word >> (18 - 6 * digit) & 63) as usize]),
                false => '=',
            };
            text.push(c);
        }
    }
    text
}

/// The bytes of base64, with or without padding.
pub fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|&c| c != b'=').map_or(0, |at| at + 1);
    let mut bytes = Vec::with_capacity(end / 4 * 3 + 2);
    for four in text[..end].chunks(4) {
        let mut word = 0u32;
        for (i, c) in four.iter().enumerate() {
            word |= (BASE64.iter().position(|digit| digit == c)? as u32) << (18 - 6 * i);
        }
        if four.len() == 1 {
            return None;
        }
        bytes.extend_from_slice(&word.to_be_bytes()[1..four.len()]);
    }
    Some(bytes)
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of hexadecimal digits, two each.
pub fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.chunks(2).map(pair).collect()
}

/// Bytes in JSON: text where they are, else an object with their hexadecimal digits; null for none.
pub fn to_json(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => text.into(),
        Some((bytes, Err(_))) => json!({"hex": hex(bytes)}),
    }
}

/// What [`to_json`] made, or `{"base64": "..."}`. The error says what would have been right.
pub fn from_json(value: &Value) -> Result<Option<Vec<u8>>, String> {
    let coded = |name: &str| value.as_object().filter(|all| all.len() == 1)?.get(name)?.as_str();
    let bytes = match value {
        Value::Null => return Ok(None),
        Value::String(text) => Some(text.clone().into_bytes()),
        _ => coded("hex")
            .and_then(|text| from_hex(text.as_bytes()))
            .or_else(|| coded("base64").and_then(|text| from_base64(text.as_bytes()))),
    };
    match bytes {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(format!("{value} is not a text, null, {{\"hex\": DIGITS}} or {{\"base64\": DIGITS}}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        for (bytes, digits) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(bytes.as_bytes()), digits);
            assert_eq!(from_base64(digits.as_bytes()).as_deref(), Some(bytes.as_bytes()));
            assert_eq!(from_base64(digits.trim_end_matches('=').as_bytes()).as_deref(), Some(bytes.as_bytes()));
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_base64(base64(&all).as_bytes()), Some(all.clone()));
        assert_eq!(from_hex(hex(&all).as_bytes()), Some(all.clone()));
        assert_eq!(from_json(&to_json(Some(&all))), Ok(Some(all)));
        assert_eq!(hex(&[0, 0xa5]), "00a5");
    }

    #[test]
    fn what_is_none_is_refused() {
        assert_eq!(
            (from_base64(b"Z"), from_base64(b"Zm9*"), from_hex(b"0"), from_hex(b"0g")),
            (None, None, None, None)
        );
        for wrong in ["5", "{}", r#"{"hex": "x"}"#, r#"{"hex": "00", "base64": ""}"#, "[]"] {
            assert!(from_json(&serde_json::from_str(wrong).unwrap()).unwrap_err().contains("is not a text"), "{wrong}");
        }
        assert_eq!(from_json(&Value::Null), Ok(None));
    }
}
