//! Quoted strings, in and out.

/// Why a string cannot be read: the offset in it, and what stands there.
pub(crate) type Fault = (usize, String);

/// Appends the bytes that a quoted string stands for.
pub(crate) fn unquote(quoted: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    let mut rest = inner;
    while let Some(escape) = rest.iter().position(|byte| *byte == b'\\') {
        let (plain, escaped) = rest.split_at(escape);
        out.extend_from_slice(plain);
        let escaped = escaped.get(1..).unwrap_or_default();
        let length = unescape(escaped, out).ok_or_else(|| {
            let shown: String = escaped.iter().take(1).map(|byte| char::from(*byte)).collect();
            (
                1 + inner.len() - escaped.len() - 1,
                format!("found the escape `\\{}`, which does not exist or is incomplete", shown.escape_default()),
            )
        })?;
        rest = escaped.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// Appends what the escape stands for, whose backslash was taken; returns its length.
fn unescape(escaped: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let simple = match escaped.first()? {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        same @ (b'?' | b'\\' | b'\'' | b'"') => *same,
        b'0'..=b'7' => {
            let (value, length) = digits(escaped, 8, 3);
            out.push(u8::try_from(value).ok()?);
            return Some(length);
        }
        b'x' | b'X' => {
            let (value, length) = digits(escaped.get(1..)?, 16, 2);
            out.push(u8::try_from(value).ok().filter(|_| length > 0)?);
            return Some(1 + length);
        }
        b'u' => return unicode(escaped, 4, out),
        b'U' => return unicode(escaped, 8, out),
        _ => return None,
    };
    out.push(simple);
    Some(1)
}

fn unicode(escaped: &[u8], wanted: usize, out: &mut Vec<u8>) -> Option<usize> {
    let (value, length) = digits(escaped.get(1..)?, 16, wanted);
    let character = char::from_u32(value).filter(|_| length == wanted)?;
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Some(1 + length)
}

/// The number at the start, of at most `most` digits, and how many it has.
fn digits(bytes: &[u8], radix: u32, most: usize) -> (u32, usize) {
    let mut value = 0_u32;
    let mut length = 0;
    for digit in bytes.iter().take(most).map_while(|byte| char::from(*byte).to_digit(radix)) {
        value = value.wrapping_mul(radix) | digit;
        length += 1;
    }
    (value, length)
}

/// Appends a quoted string. All that is not printable ASCII is an octal escape, which every reader knows.
pub(super) fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in bytes {
        match byte {
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            b'"' | b'\'' | b'\\' => out.extend([b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            _ => out.extend([b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]),
        }
    }
    out.push(b'"');
}
