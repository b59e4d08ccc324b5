//! Whole numbers that 64 bits do not hold, kept digit by digit.
//!
//! The parser would round them to a double: 18446744073709551617 to 18446744073709552000, which is another id. A parser that
//! keeps all numbers as text costs every number of every record an allocation, and SQLite would round what it kept as soon as
//! a query looks at it. So these few become texts before the parser sees them, and the page says so.

/// Digits in a row below which every whole number fits, with the sign as well.
const DIGITS_SAFE: usize = 18;

/// `json` with every whole number outside of -2^63..2^64 in quotes, and how many there are; none when there are none.
pub(super) fn quoted(json: &str) -> Option<(String, u64)> {
    if !may_have(json.as_bytes()) {
        return None;
    }
    let bytes = json.as_bytes();
    let (mut out, mut copied, mut count) = (String::new(), 0, 0);
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let start = at;
                while at < bytes.len() && matches!(bytes[at], b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') {
                    at += 1;
                }
                let number = &json[start..at];
                if number.len() > DIGITS_SAFE && is_wide(number) {
                    out.push_str(&json[copied..start]);
                    out.push('"');
                    out.push_str(number);
                    out.push('"');
                    (copied, count) = (at, count + 1);
                }
            }
            _ => at += 1,
        }
    }
    if count == 0 {
        return None;
    }
    out.push_str(&json[copied..]);
    Some((out, count))
}

/// Whether more digits stand in a row than are safe. A quick look: such a row covers every so many bytes.
fn may_have(bytes: &[u8]) -> bool {
    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    (DIGITS_SAFE..bytes.len()).step_by(DIGITS_SAFE + 1).any(|at| {
        let before = bytes[..at].iter().rev().take(DIGITS_SAFE).take_while(is_digit).count();
        let after = bytes[at..].iter().take(DIGITS_SAFE + 1).take_while(is_digit).count();
        after > 0 && before + after > DIGITS_SAFE
    })
}

fn is_wide(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    is_whole && number.parse::<u64>().is_err() && number.parse::<i64>().is_err()
}

/// The byte after the string that opens at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Option<(&str, u64)>) {
        assert_eq!(quoted(json), expected.map(|(text, count)| (text.to_owned(), count)), "{json}");
    }

    #[test]
    fn a_number_that_64_bits_do_not_hold_becomes_a_text() {
        check(r#"{"id":18446744073709551616}"#, Some((r#"{"id":"18446744073709551616"}"#, 1)));
        check("[-9223372036854775809, 1]", Some((r#"["-9223372036854775809", 1]"#, 1)));
        check("123456789012345678901234567890", Some(("\"123456789012345678901234567890\"", 1)));
        check(
            "[99999999999999999999,7,88888888888888888888]",
            Some((r#"["99999999999999999999",7,"88888888888888888888"]"#, 2)),
        );
    }

    #[test]
    fn all_else_stays_as_it_is() {
        for json in [
            "",
            "[1, 2.5, -3]",
            "[18446744073709551615, -9223372036854775808]",
            "[1.8446744073709551616, 18446744073709551616e1, 18446744073709551616.5, 1e18446744073709551616]",
            r#"{"18446744073709551616": "18446744073709551616", "a\"": "\\"}"#,
            r#""12345678901234567890123"#,
            "00000000000000000000000000000",
        ] {
            check(json, None);
        }
    }

    proptest! {
        #[test]
        fn what_is_read_back_has_every_digit(
            before in "[a-z \\\\\"0-9]{0,30}",
            number in "-?[1-9][0-9]{0,40}",
            after in "[a-z \\\\\"0-9]{0,30}",
        ) {
            let json = format!("[{},{number},{}]", Value::String(before.clone()), Value::String(after.clone()));
            let text = quoted(&json).map_or(json, |(text, _)| text);
            let value: Value = serde_json::from_str(&text).expect("it is JSON still");
            prop_assert_eq!(&value[0], &Value::String(before));
            prop_assert_eq!(crate::job::text_of(&value[1]), number);
            prop_assert_eq!(&value[2], &Value::String(after));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "[-\"\\\\0-9.e{}é]{0,80}") {
            let _ = quoted(&text);
        }
    }
}
