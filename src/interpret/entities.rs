//! Character references (`&amp;`, `&#x41;`) to characters, by the rules of WHATWG HTML section 13.2.5.72.

use std::borrow::Cow;

use markup5ever::data::NAMED_ENTITIES;

/// Where a reference stands: attributes keep `&copy=1`, text does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the value of an attribute.
    Attribute,
    /// Between tags.
    Text,
}

/// The longest name, `CounterClockwiseContourIntegral`, has 31 characters.
const NAME_BYTES_MAX: usize = 32;

/// `raw` with its references resolved; borrowed when it has none.
pub(super) fn unescape(raw: &str, place: Place) -> Cow<'_, str> {
    let Some(first) = raw.find('&') else { return Cow::Borrowed(raw) };
    let mut out = String::with_capacity(raw.len());
    let (head, mut rest) = raw.split_at(first);
    out.push_str(head);
    while let Some(after) = rest.strip_prefix('&') {
        let used = if let Some(number) = after.strip_prefix('#') {
            numeric(number, &mut out).map(|used| used + 1)
        } else {
            named(after, place, &mut out)
        };
        let tail = if let Some(used) = used {
            &after[used..]
        } else {
            out.push('&');
            after
        };
        let next = tail.find('&').unwrap_or(tail.len());
        out.push_str(&tail[..next]);
        rest = &tail[next..];
    }
    Cow::Owned(out)
}

/// Resolves a name at the start of `after`; the bytes that it took.
fn named(after: &str, place: Place, out: &mut String) -> Option<usize> {
    let len = after.bytes().take(NAME_BYTES_MAX).take_while(u8::is_ascii_alphanumeric).count();
    if len < 2 {
        return None;
    }
    let ends = after.as_bytes().get(len) == Some(&b';');
    if ends && let Some(characters) = known(&after[..=len]) {
        out.extend(characters);
        return Some(len + 1);
    }
    // Without its semicolon the longest name counts; one that has a name with it was found above.
    let (name, characters) = (2..=len).rev().find_map(|len| Some((&after[..len], known(&after[..len])?)))?;
    let follows = after.as_bytes().get(name.len());
    if place == Place::Attribute && follows.is_some_and(|byte| *byte == b'=' || byte.is_ascii_alphanumeric()) {
        return None;
    }
    out.extend(characters);
    Some(name.len())
}

/// What a name of the standard's table means, which has those with a semicolon and those that may go without.
fn known(name: &str) -> Option<impl Iterator<Item = char>> {
    // The table has every start of a name as well, as two zeros.
    let (first, second) = NAMED_ENTITIES.get(name).filter(|(first, _)| *first != 0)?;
    let second = Some(*second).filter(|second| *second != 0);
    Some([Some(*first), second].into_iter().flatten().filter_map(char::from_u32))
}

/// Resolves a number at the start of `number` (after `&#`); the bytes that it took.
fn numeric(number: &str, out: &mut String) -> Option<usize> {
    let (radix, prefix) = if number.starts_with(['x', 'X']) { (16, 1) } else { (10, 0) };
    let digits = &number[prefix..];
    let len = digits.bytes().take_while(|byte| char::from(*byte).is_digit(radix)).count();
    if len == 0 {
        return None;
    }
    let code = digits[..len].bytes().fold(0_u32, |code, byte| {
        code.saturating_mul(radix).saturating_add(char::from(byte).to_digit(radix).unwrap_or(0))
    });
    out.push(match code {
        0 => char::REPLACEMENT_CHARACTER,
        // The C1 controls mean what windows-1252 has there.
        0x80..=0x9f => {
            let byte = [u8::try_from(code).unwrap_or(b'?')];
            encoding_rs::WINDOWS_1252.decode_without_bom_handling(&byte).0.chars().next().unwrap_or('\u{fffd}')
        }
        _ => char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
    });
    Some(prefix + len + usize::from(digits.as_bytes().get(len) == Some(&b';')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, attribute: &str, text: &str) {
        assert_eq!(unescape(raw, Place::Attribute), attribute);
        assert_eq!(unescape(raw, Place::Text), text);
    }

    #[test]
    fn references_mean_what_html_says() {
        check("plain", "plain", "plain");
        check("?a=1&amp;b=2", "?a=1&b=2", "?a=1&b=2");
        check("?a=1&b=2&", "?a=1&b=2&", "?a=1&b=2&");
        check("?x&copy=1&copy", "?x&copy=1©", "?x©=1©");
        check("?x&copy;=1", "?x©=1", "?x©=1");
        check("&notit;&notin;&not", "&notit;∉¬", "¬it;∉¬");
        check("&#38;&#x26;&#X26&#38b", "&&&&b", "&&&&b");
        check("&#0;&#x80;&#x110000;&#99999999999;", "\u{fffd}€\u{fffd}\u{fffd}", "\u{fffd}€\u{fffd}\u{fffd}");
        check("&#;&#x;&;&", "&#;&#x;&;&", "&#;&#x;&;&");
        check("&eacute;&Eacute;&hellip;", "éÉ…", "éÉ…");
        check("&&amp;amp;", "&&amp;", "&&amp;");
        check("&mu;&Mu;&sc;&nsupE;&bne;", "μΜ≻⫆\u{338}=⃥", "μΜ≻⫆\u{338}=⃥");
    }
}
