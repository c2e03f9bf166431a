//! The syntax of Java's properties files.

/// One setting of a file.
#[derive(Debug, PartialEq)]
pub struct Property {
    /// The text before the separator.
    pub key: String,
    /// Without the blanks around it.
    pub value: String,
    /// Line on which it begins, from 1.
    pub line: usize,
}

/// Reads a properties file: comments after `#` or `!`; `=`, `:` or blanks after the key; a backslash at the end of a line
/// continues it; `\t \n \r \f`, `\u` with four hexadecimal digits, and `\` before any other character. Fails with the line and what is wrong.
pub fn parse(text: &str) -> Result<Vec<Property>, (usize, String)> {
    let mut properties = Vec::new();
    // Some editors begin a file with a byte-order mark.
    let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let mut logical = first.trim_start().to_string();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while continues(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start()),
                None => break,
            }
        }
        let line = index + 1;
        let (key, value) = split(&logical);
        let unescape = |text| unescape(text).map_err(|error| (line, error));
        properties.push(Property { key: unescape(key)?, value: unescape(value)?.trim().to_string(), line });
    }
    Ok(properties)
}

/// An odd number of backslashes at the end: an even number is that many escaped ones.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// Key and value of a line, both still escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let is_end = |c: char| {
        let end = !escaped && (c == '=' || c == ':' || is_blank(c));
        escaped = c == '\\' && !escaped;
        end
    };
    let Some(end) = line.find(is_end) else {
        return (line, "");
    };
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(is_blank);
    (key, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_blank))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    // Java writes characters beyond U+FFFF as two escapes, so units are gathered until they make characters.
    let mut units: Vec<u16> = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let escape = if c == '\\' { rest.next() } else { None };
        if escape == Some('u') {
            let digits: String = rest.by_ref().take(4).collect();
            let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4 && !digits.starts_with('+'));
            units.push(unit.ok_or_else(|| format!("\\u{digits} is not \\u and four hexadecimal digits"))?);
            continue;
        }
        flush(&mut units, &mut plain)?;
        plain.push(match escape {
            None if c == '\\' => continue,
            None => c,
            Some('t') => '\t',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('f') => '\x0c',
            Some(other) => other,
        });
    }
    flush(&mut units, &mut plain)?;
    Ok(plain)
}

fn flush(units: &mut Vec<u16>, plain: &mut String) -> Result<(), String> {
    let text = String::from_utf16(units).map_err(|_| "the \\u escapes are half a character".to_string())?;
    plain.push_str(&text);
    units.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, usize)> {
        parse(text).expect("valid").into_iter().map(|p| (p.key, p.value, p.line)).collect()
    }

    fn pair(key: &str, value: &str, line: usize) -> (String, String, usize) {
        (key.into(), value.into(), line)
    }

    #[test]
    fn java_syntax_is_read() {
        let text = "# comment\n! another\n\n  a=1  \nb : 2\nc 3\r\nd\n e = x \\\n   y\\\n  z\nf=a=b:c\ng\\=h=i\\:j\n";
        assert_eq!(
            pairs(text),
            [
                pair("a", "1", 4),
                pair("b", "2", 5),
                pair("c", "3", 6),
                pair("d", "", 7),
                pair("e", "x yz", 8),
                pair("f", "a=b:c", 11),
                pair("g=h", "i:j", 12),
            ]
        );
    }

    #[test]
    fn escapes_are_read() {
        assert_eq!(pairs("k=\\u00e4\\ud83d\\ude00\\tb\\\\c\\q"), [pair("k", "ä😀\tb\\cq", 1)]);
        assert_eq!(pairs("k=even\\\\\nl=1"), [pair("k", "even\\", 1), pair("l", "1", 2)]);
        assert_eq!(pairs("k=open\\"), [pair("k", "open", 1)]);
    }

    #[test]
    fn broken_escapes_say_where() {
        assert_eq!(parse("a=1\nb=\\u12").expect_err("short").0, 2);
        assert!(parse("b=\\u+123").is_err());
        assert!(parse("b=\\ud83d").is_err());
    }
}
