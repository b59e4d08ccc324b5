//! How data is printed: JSON for programs, tables for people, and nothing that a page could use to play tricks on a terminal.

use std::io::{self, Write};

use chrono::{DateTime, Local};
use serde::Serialize;

use crate::clock::Timestamp;

/// Prints `data` as one JSON document on standard output.
pub(super) fn print_json<T: Serialize>(data: &T) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, data)?;
    writeln!(out)?;
    Ok(())
}

/// Prints a line on standard output.
pub(super) fn print_line(line: &str) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{line}")?;
    Ok(())
}

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table with aligned columns, two spaces apart; empty without rows.
pub(super) fn table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = columns.iter().map(|(name, _)| width(name)).collect();
    for row in rows {
        for (index, cell) in row.iter().enumerate() {
            widths[index] = widths[index].max(width(cell));
        }
    }
    let mut text = String::new();
    let heads = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    for row in std::iter::once(&heads).chain(rows) {
        let mut line = String::new();
        for (index, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[index] - width(cell));
            match columns[index].1 {
                Align::Left => line.push_str(&format!("{cell}{pad}  ")),
                Align::Right => line.push_str(&format!("{pad}{cell}  ")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Text from the network as it may be shown: control characters (an escape sequence can rewrite a terminal) become `?`, and
/// what is longer than `chars_max` is cut.
pub(super) fn clean(text: &str, chars_max: usize) -> String {
    let is_hidden = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown: String =
        text.chars().take(chars_max).map(|letter| if is_hidden(letter) { '?' } else { letter }).collect();
    if text.chars().nth(chars_max).is_some() {
        shown.push('…');
    }
    shown
}

/// An instant in local time, to the second.
pub(super) fn local_time(at: Timestamp) -> String {
    DateTime::from_timestamp_millis(at.0)
        .map_or_else(|| "?".to_owned(), |utc| utc.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string())
}

/// A duration as people say it: `350ms`, `12s`, `2h 5m`.
pub(super) fn duration(ms: u64) -> String {
    if ms == 0 {
        return "<1ms".to_owned();
    }
    let rounded_ms = match ms {
        ..1_000 => ms,
        1_000..3_600_000 => ms / 1_000 * 1_000,
        _ => ms / 60_000 * 60_000,
    };
    humantime::format_duration(std::time::Duration::from_millis(rounded_ms)).to_string()
}

/// How long ago that was: `2h 5m ago`, `just now` within two seconds.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    match now.since_ms(at) {
        ..2_000 => "just now".to_owned(),
        ms @ ..172_800_000 => format!("{} ago", duration(ms)),
        ms => format!("{} days ago", ms / 86_400_000),
    }
}

/// A size in bytes as people say it: `812 B`, `3.4 MiB`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(super) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while value >= 1_024.0 && unit + 1 < units.len() {
        value /= 1_024.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

/// A number with its thousands apart: `1 234 567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A rate in requests a second as people say it.
pub(super) fn rate(per_s: f64) -> String {
    if per_s >= 1_000.0 {
        "unlimited".to_owned()
    } else if per_s >= 1.0 {
        format!("{per_s:.1}/s")
    } else if per_s * 60.0 >= 1.0 {
        format!("{:.1}/min", per_s * 60.0)
    } else {
        format!("{:.1}/h", per_s * 3_600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_cannot_move_the_cursor() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{202e}d", 80), "a?[2Jb?c?d");
        assert_eq!(clean("abcdef", 3), "abc…");
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        let shown = [count(7), count(1_234_567), size(812), size(3_565_158), rate(19.96), rate(0.5), rate(0.001)];
        assert_eq!(shown.join(" | "), "7 | 1 234 567 | 812 B | 3.4 MiB | 20.0/s | 30.0/min | 3.6/h");
        assert_eq!([duration(350), duration(12_400), duration(7_500_000)].join(" | "), "350ms | 12s | 2h 5m");
        let ago = |ms| ago(Timestamp(1_000), Timestamp(1_000).plus_ms(ms));
        assert_eq!([ago(0), ago(7_500_000), ago(9 * 86_400_000)].join(" | "), "just now | 2h 5m ago | 9 days ago");
    }

    #[test]
    fn a_table_is_aligned() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "100".to_owned()]];
        insta::assert_snapshot!(table(&[("name", Align::Left), ("n", Align::Right)], &rows), @r"
        name    n
        a       1
        long  100
        ");
    }
}
