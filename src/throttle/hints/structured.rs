//! Lists in the form of RFC 9651, as the IETF drafts for RateLimit fields have them.
//!
//! Enters: the value of one field line. Leaves: its [`Member`]s. A line that is malformed has none, as draft-11 section 5 asks.
//! Deliberately absent: what the members mean.

use std::convert::Infallible;

use sfv::visitor::{EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ListVisitor, ParameterVisitor};
use sfv::{BareItemFromInput, KeyRef};

use super::quota::QUOTAS_MAX;
use super::{moment, text};

/// A line beyond this is not read, in bytes: sixteen members with long names have half of it.
const LINE_BYTES_MAX: usize = 4_096;

/// One member: `"default";r=50;t=30`, `"daily";q=1000;w=86400;qu="requests";pk=:YWJj:`, or `100;w=60`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    /// The name; none when the member is a number.
    pub(super) name: Option<Box<str>>,
    /// The member itself, when it is a number.
    pub(super) number: Option<u64>,
    /// `r`, what is left.
    pub(super) remaining: Option<u64>,
    /// `t`, in seconds.
    pub(super) reset_s: Option<u64>,
    /// `q`, how much there is.
    pub(super) quota: Option<u64>,
    /// `w`, in seconds.
    pub(super) window_s: Option<u64>,
    /// `qu`, what is counted.
    pub(super) unit: Option<Box<str>>,
    /// `pk`, whose quota it is.
    pub(super) partition: Option<Box<str>>,
}

/// The members of a list, at most [`QUOTAS_MAX`].
pub(super) fn parse_list(line: &str) -> Vec<Member> {
    if line.len() > LINE_BYTES_MAX {
        return Vec::new();
    }
    sfv::Parser::new(line).parse_list_with_visitor(Members::default()).unwrap_or_default()
}

/// The members in the order of the line.
#[derive(Default)]
struct Members(Vec<Member>);

impl<'de> ListVisitor<'de> for Members {
    type Out = Vec<Member>;
    type Error = Infallible;

    fn entry(&mut self) -> Result<impl EntryVisitor<'de>, Infallible> {
        if self.0.len() == QUOTAS_MAX {
            return Ok(None);
        }
        self.0.push(Member::default());
        Ok(self.0.last_mut())
    }

    fn finish(self) -> Result<Self::Out, Infallible> {
        Ok(self.0)
    }
}

impl<'de> EntryVisitor<'de> for &mut Member {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'de>, Infallible> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        Ok(Ignored)
    }
}

impl<'de> ItemVisitor<'de> for &mut Member {
    type Out = ();
    type Error = Infallible;

    fn bare_item(
        self,
        value: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = Self::Out>, Infallible> {
        match value {
            BareItemFromInput::String(name) => self.name = text::printable(name.as_str()),
            // The drafts want a String; a server that forgets the quotes means the same.
            BareItemFromInput::Token(name) => self.name = text::printable(name.as_str()),
            other => self.number = amount(&other),
        }
        Ok(self)
    }
}

impl<'de> ParameterVisitor<'de> for &mut Member {
    type Out = ();
    type Error = Infallible;

    fn parameter(&mut self, key: &'de KeyRef, value: BareItemFromInput<'de>) -> Result<(), Infallible> {
        // Of several of one name the last counts (RFC 9651 section 4.2.3.2).
        match (key.as_str(), value) {
            ("r", value) => self.remaining = amount(&value),
            ("t", value) => self.reset_s = amount(&value),
            ("q", value) => self.quota = amount(&value),
            ("w" | "window", value) => self.window_s = amount(&value).filter(|&window_s| window_s > 0),
            ("qu", BareItemFromInput::String(unit)) => self.unit = text::printable(unit.as_str()),
            ("qu", BareItemFromInput::Token(unit)) => self.unit = text::printable(unit.as_str()),
            ("pk", BareItemFromInput::ByteSequence(key)) => self.partition = partition(&key),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A number that is not negative, rounded down.
fn amount(value: &BareItemFromInput<'_>) -> Option<u64> {
    match value {
        BareItemFromInput::Integer(number) => u64::try_from(*number).ok(),
        BareItemFromInput::Decimal(number) => moment::parse_amount(&number.to_string()),
        _ => None,
    }
}

/// A partition key as a text: many servers send hexadecimal text, others bytes.
fn partition(key: &[u8]) -> Option<Box<str>> {
    match std::str::from_utf8(key) {
        Ok(readable) if readable.bytes().all(|byte| byte.is_ascii_graphic()) => text::printable(readable),
        _ => {
            text::printable(&key.iter().take(text::CHARS_MAX / 2).map(|byte| format!("{byte:02x}")).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> String {
        let shown = |member: &Member| {
            let mut words = Vec::new();
            words.extend(member.name.as_ref().map(|name| format!("{name:?}")));
            words.extend(member.number.map(|number| number.to_string()));
            let numbers = [("r", member.remaining), ("t", member.reset_s), ("q", member.quota), ("w", member.window_s)];
            words.extend(numbers.iter().filter_map(|(key, number)| Some(format!("{key}={}", (*number)?))));
            words.extend(member.unit.as_ref().map(|unit| format!("qu={unit}")));
            words.extend(member.partition.as_ref().map(|key| format!("pk={key}")));
            words.join(" ")
        };
        parse_list(line).iter().map(shown).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn a_list_is_read_in_the_form_of_each_draft() {
        for (line, expected) in [
            ("\"default\";r=50;t=30", "\"default\" r=50 t=30"),
            ("\"100-in-15min\"; r=99; t=900", "\"100-in-15min\" r=99 t=900"),
            ("\"burst\";q=100;w=60,\"daily\";q=1000;w=86400", "\"burst\" q=100 w=60 | \"daily\" q=1000 w=86400"),
            ("\"a, b; r=7\";r=1", "\"a, b; r=7\" r=1"),
            ("\"p\";q=10;qu=\"concurrent-requests\"", "\"p\" q=10 qu=concurrent-requests"),
            ("\"p\";r=1;pk=:YWJjZA==:", "\"p\" r=1 pk=abcd"),
            ("\"p\";r=1;pk=:/wA=:", "\"p\" r=1 pk=ff00"),
            ("100;w=60", "100 w=60"),
            ("100, 10;w=1, 50;w=60;comment=\"sliding window\"", "100 | 10 w=1 | 50 w=60"),
            ("default;r=3", "\"default\" r=3"),
            ("\"p\";r=1;r=2", "\"p\" r=2"),
            ("\"p\";r=2.5;t=-1;w=0", "\"p\" r=2"),
            ("(\"a\" \"b\");r=1, \"c\";r=2", " | \"c\" r=2"),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn a_line_that_is_malformed_has_no_members() {
        for line in ["\"p\";r=1,", "\"p;r=1", "\"p\";r=9999999999999999", ";r=1", "é", "\"p\" r=1", ""] {
            assert_eq!(read(line), "", "{line}");
        }
        assert_eq!(read(&format!("\"{}\";r=1", "x".repeat(5_000))), "");
    }

    #[test]
    fn a_line_has_at_most_sixteen_members() {
        let line = vec!["\"p\";r=1"; 100].join(", ");
        assert_eq!(parse_list(&line).len(), QUOTAS_MAX);
    }
}
