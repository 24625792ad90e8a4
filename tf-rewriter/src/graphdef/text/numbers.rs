//! Numbers, in and out.

/// The value of an integer without its sign: decimal, octal with a leading 0, or hexadecimal with a leading 0x.
pub(super) fn integer(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return plain(hex, 16);
    }
    match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => plain(octal, 8),
        _ => plain(text, 10),
    }
}

/// `from_str_radix` alone would take a sign.
fn plain(digits: &str, radix: u32) -> Option<u64> {
    let all = digits.chars().all(|digit| digit.is_digit(radix));
    if all { u64::from_str_radix(digits, radix).ok() } else { None }
}

/// The value of a decimal number without its sign; an integer too, if it is decimal.
pub(super) fn decimal(text: &str) -> Option<f64> {
    let number = text.strip_suffix(['f', 'F']).unwrap_or(text);
    let octal = number.len() > 1 && number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
    let shape = number.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if octal || !shape { None } else { number.parse().ok() }
}

/// The value of a word that is a number: infinity or NaN.
pub(super) fn special(word: &str) -> Option<f64> {
    let is = |name: &str| word.eq_ignore_ascii_case(name);
    if is("inf") || is("infinity") {
        Some(f64::INFINITY)
    } else if is("nan") {
        Some(f64::NAN)
    } else {
        None
    }
}

/// The nearest float32. TensorFlow too reads float64 first and rounds again.
#[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
pub(super) fn to_f32(value: f64) -> f32 {
    value as f32
}

/// The shortest text that reads as this float32 again, through float64 as every reader does.
pub(super) fn f32_text(value: f32) -> String {
    let text = format!("{value:?}");
    let same = text.parse().is_ok_and(|read| to_f32(read).to_bits() == value.to_bits());
    if value.is_nan() {
        "nan".to_owned()
    } else if same {
        text
    } else {
        f64_text(value.into())
    }
}

/// The shortest text that reads as this float64 again.
pub(super) fn f64_text(value: f64) -> String {
    if value.is_nan() { "nan".to_owned() } else { format!("{value:?}") }
}
