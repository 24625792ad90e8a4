//! Numbers as people read them.

/// Bytes with a binary unit: `312 B`, `1.2 KiB`, `97.7 MiB`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = "KiB";
    for next in UNITS.into_iter().skip(1) {
        // 1023.96 would be shown as 1024.0.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `after` as a share of `before`: `25.3 %`.
pub fn share(before: u64, after: u64) -> Option<String> {
    #[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
    let share = after as f64 / before as f64 * 100.0;
    (before > 0).then(|| format!("{share:.1} %"))
}

/// `1 site`, `2 sites`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_follow_the_size() {
        let shown: Vec<_> = [0, 1023, 1024, 1536, 1_048_524, 1_048_525, 102_400_000, u64::MAX].map(human_bytes).into();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1023.9 KiB", "1.0 MiB", "97.7 MiB", "16.0 EiB"]);
    }

    #[test]
    fn shares_and_counts() {
        assert_eq!(share(1000, 253).as_deref(), Some("25.3 %"));
        assert_eq!(share(0, 1), None);
        assert_eq!((count(1, "site"), count(0, "site")), ("1 site".to_owned(), "0 sites".to_owned()));
    }
}
