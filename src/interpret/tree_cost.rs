//! What building a tree of a page would cost, estimated from above by a scan of its tags.
//!
//! The algorithm that browsers share is quadratic in places: every tag may walk all open elements, unclosed `<b>` are
//! opened anew in every block, and each attribute is compared with all others of its tag. Real pages never notice.

use super::markup::Attributes;

/// Steps that building may take: some seconds. Real pages stay below a hundredth of it.
const STEPS_MAX: u64 = 100_000_000;

/// Elements that opening unclosed ones anew may add.
const REOPENED_MAX: u64 = 1_000_000;

/// Elements and attributes. Measured: 150 bytes each, so 150 MB.
const NODES_MAX: u64 = 1_000_000;

/// Bytes that the scan may look at, as a multiple of the page: a tag within an attribute of another is looked at twice.
const SCAN_FACTOR: usize = 16;

/// Elements that the parser opens anew where they were not closed (WHATWG HTML section 13.2.4.3). The first two never
/// nest: a second one closes the first.
const FORMATTING: [&str; 14] =
    ["a", "nobr", "b", "big", "code", "em", "font", "i", "s", "small", "strike", "strong", "tt", "u"];

/// Elements that are never open, or that a following one closes: they add no depth of their own.
const SHALLOW: [&str; 29] = [
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "hr", "img", "input", "keygen", "link", "meta",
    "param", "source", "track", "wbr", "p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "colgroup",
    "option",
];

/// Where in `text` the budget ends, just before the tag that would exceed it; its length for real pages.
pub(super) fn affordable_end(text: &str, elements_max: u64) -> usize {
    let bytes = text.as_bytes();
    let mut cost = Cost::default();
    let mut scan_budget = bytes.len().saturating_mul(SCAN_FACTOR);
    let mut at = 0;
    while let Some(step) = bytes[at..].iter().position(|&byte| byte == b'<') {
        at += step;
        let closing = bytes.get(at + 1) == Some(&b'/');
        let name_at = at + 1 + usize::from(closing);
        let mut name = [0; 16];
        let name_len = bytes[name_at..].iter().take(name.len()).take_while(|byte| byte.is_ascii_alphanumeric()).count();
        if name_len > 0 && bytes[name_at].is_ascii_alphabetic() {
            name[..name_len].copy_from_slice(&bytes[name_at..name_at + name_len]);
            name.make_ascii_lowercase();
            let after = &bytes[name_at + name_len..];
            let after = &after[..after.len().min(scan_budget)];
            let (attributes, scanned) = Attributes::count(after);
            scan_budget -= scanned;
            cost.tag(std::str::from_utf8(&name[..name_len]).unwrap_or_default(), closing, attributes);
            if scan_budget == 0 || cost.is_too_much() || cost.elements > elements_max {
                return at;
            }
        }
        at = name_at;
    }
    bytes.len()
}

#[derive(Default)]
struct Cost {
    open: u64,
    formatting: [u64; FORMATTING.len()],
    steps: u64,
    reopened: u64,
    elements: u64,
    attributes: u64,
}

impl Cost {
    fn tag(&mut self, name: &str, closing: bool, attributes: u64) {
        let mut deeper = !SHALLOW.contains(&name);
        if let Some(place) = FORMATTING.iter().position(|known| *known == name) {
            let count = &mut self.formatting[place];
            let never_nests = place < 2;
            if closing {
                deeper &= !never_nests || *count > 0;
                *count = count.saturating_sub(1);
            } else {
                deeper &= !never_nests || *count == 0;
                *count = if never_nests { 1 } else { *count + 1 };
            }
        }
        if deeper {
            self.open = if closing { self.open.saturating_sub(1) } else { self.open + 1 };
        }
        self.elements += u64::from(!closing);
        self.attributes += attributes;
        self.steps = self.steps.saturating_add(1 + self.open).saturating_add(attributes.saturating_mul(attributes));
        self.reopened += self.formatting.iter().sum::<u64>();
    }

    fn is_too_much(&self) -> bool {
        self.steps > STEPS_MAX || self.reopened > REOPENED_MAX || self.elements + self.attributes > NODES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(page: &str, whole: bool) {
        let end = affordable_end(page, u64::MAX);
        assert_eq!(end == page.len(), whole, "{end} of {}", page.len());
    }

    #[test]
    fn sloppy_pages_are_affordable() {
        check("", true);
        check("a < b <", true);
        check(&"<p>text<br><li>more<td>x".repeat(20_000), true);
        check(&"<a name=x>unclosed <p>".repeat(20_000), true);
        check(&"<font size=1>x</font><b>y</b> z".repeat(20_000), true);
        check(&format!("{}{}", "<font>".repeat(40), "<p>x</p>".repeat(10_000)), true);
        check(&format!("<img src=\"data:{}\">", "a b/".repeat(1_000_000)), true);
    }

    #[test]
    fn pages_that_explode_are_not() {
        check(&"<div>".repeat(100_000), false);
        check(&"<b><p>".repeat(10_000), false);
        check(&"<br>".repeat(1_100_000), false);
        let attributes: String = ('a'..='z').cycle().take(20_000).flat_map(|c| [c, ' ']).collect();
        check(&format!("<a {attributes}>"), false);
        check(&format!("<a x=\"<>\" {attributes}>"), false);
        check(&"<a '".repeat(100_000), false);
        assert_eq!(affordable_end("<i></i><i></i><i>", 2), 14);
    }
}
