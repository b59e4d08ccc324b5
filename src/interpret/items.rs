//! Records out of pages: a name and a CSS selector for each field.
//!
//! Only this needs a tree of the page, so it is built only where such rules exist, and only from a beginning of the page
//! that cannot make it explode.

use scraper::{ElementRef, Html, Selector};
use serde_json::{Map, Value};
use url::Url;

use super::notes::{Notes, cut};

/// How much of a page is made into a tree, in bytes. Our choice: a tree takes some ten times its page.
const TREE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Steps that building a tree may take, by an estimate from above: at every tag the parser may walk all open elements, and
/// may open all unclosed `<b>`, `<font>` and the like anew. Real pages stay below a hundredth of it.
const TREE_STEPS_MAX: u64 = 100_000_000;

/// Elements that reopening may add.
const TREE_REOPENED_MAX: u64 = 2_000_000;

/// Bytes of all values of one record. Our choice: as much as a page may be turned into a tree.
const RECORD_BYTES_MAX: usize = TREE_BYTES_MAX;

/// Values of one list.
const LIST_MAX: usize = 100_000;

/// The rules of one kind of record, compiled.
#[derive(Clone, Debug)]
pub struct ItemRules {
    fields: Vec<Field>,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    selector: Selector,
    take: Take,
    list: bool,
}

/// Where a field's value is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemSpec {
    /// A CSS selector.
    pub selector: String,
    /// What of the element is the value.
    pub take: Take,
    /// Whether all matches make a list; else the first match is the value, and a missing one is null.
    pub list: bool,
}

/// What of an element is the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Take {
    /// Its text, white space collapsed.
    Text,
    /// An attribute; `href`, `src` and other addresses are made absolute.
    Attr(String),
    /// The HTML within it.
    Html,
}

/// A field whose rule cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("item field {name:?}: {why}")]
pub struct ItemRuleError {
    /// The field.
    pub name: String,
    /// What is wrong with it.
    pub why: String,
}

impl ItemSpec {
    /// The short form: `selector`, `selector@attribute`, `selector@html`, each with `[]` behind it for a list:
    /// `h1`, `a.next@href`, `ul > li[]`, `img@src[]`. An `@` within the selector's brackets or quotes is its own.
    #[must_use]
    pub fn parse(short: &str) -> Self {
        let short = short.trim();
        let (short, list) = short.strip_suffix("[]").map_or((short, false), |rest| (rest.trim_end(), true));
        if let Some((selector, name)) = short.rsplit_once('@') {
            let name = name.trim();
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:.".contains(&b));
            if is_name {
                let take = if name == "html" { Take::Html } else { Take::Attr(name.to_ascii_lowercase()) };
                return Self { selector: selector.trim().to_owned(), take, list };
            }
        }
        Self { selector: short.to_owned(), take: Take::Text, list }
    }
}

impl ItemRules {
    /// Compiles the rules of all fields; the first one that cannot be used is the error.
    pub fn compile(specs: &[(String, ItemSpec)]) -> Result<Self, ItemRuleError> {
        let mut fields: Vec<Field> = Vec::with_capacity(specs.len());
        for (name, spec) in specs {
            let error = |why: String| ItemRuleError { name: name.clone(), why };
            if fields.iter().any(|field| field.name == *name) {
                return Err(error("is named twice".to_owned()));
            }
            let selector = Selector::parse(&spec.selector)
                .map_err(|_| error(format!("{:?} is not a CSS selector", spec.selector)))?;
            fields.push(Field { name: name.clone(), selector, take: spec.take.clone(), list: spec.list });
        }
        Ok(Self { fields })
    }

    /// The record of a page; none when no field was found at all.
    pub(super) fn take(&self, text: &str, base: &Url, notes: &mut Notes) -> Option<Map<String, Value>> {
        let part = affordable(text, notes);
        let tree = Html::parse_document(part);
        let mut budget = RECORD_BYTES_MAX;
        let mut record = Map::new();
        let mut found = false;
        for field in &self.fields {
            let mut values = tree.select(&field.selector).filter_map(|element| field.value(element, base, &mut budget));
            let value = if field.list {
                let list: Vec<Value> = values.take(LIST_MAX).collect();
                found |= !list.is_empty();
                Value::Array(list)
            } else {
                let value = values.next();
                found |= value.is_some();
                value.unwrap_or(Value::Null)
            };
            record.insert(field.name.clone(), value);
        }
        if budget == 0 {
            notes.add(format!("the item is larger than {RECORD_BYTES_MAX} bytes: cut"));
        }
        found.then_some(record)
    }
}

impl Field {
    /// The value of one element; none when it lacks the attribute or the budget of bytes is used up.
    fn value(&self, element: ElementRef<'_>, base: &Url, budget: &mut usize) -> Option<Value> {
        if *budget == 0 {
            return None;
        }
        let mut value = match &self.take {
            Take::Text => text_of(element, *budget),
            Take::Html => element.inner_html(),
            Take::Attr(name) => {
                let raw = element.attr(name)?;
                if is_address(name) {
                    base.join(raw.trim()).map_or_else(|_| raw.to_owned(), String::from)
                } else {
                    raw.to_owned()
                }
            }
        };
        if value.len() >= *budget {
            cut(&mut value, *budget);
            *budget = 0;
        } else {
            *budget -= value.len();
        }
        Some(Value::String(value))
    }
}

/// Attributes that hold one address (WHATWG HTML, "attributes").
fn is_address(name: &str) -> bool {
    matches!(name, "href" | "src" | "action" | "formaction" | "poster" | "cite" | "data" | "background" | "longdesc")
}

/// The text within an element, white space collapsed.
fn text_of(element: ElementRef<'_>, bytes_max: usize) -> String {
    let mut out = String::new();
    let mut gap = false;
    for text in element.text() {
        for piece in text.split_inclusive(char::is_whitespace) {
            let word = piece.trim_end();
            if !word.is_empty() {
                if gap && !out.is_empty() {
                    out.push(' ');
                }
                gap = false;
                out.push_str(word);
            }
            gap |= word.len() < piece.len();
        }
        if out.len() >= bytes_max {
            break;
        }
    }
    out
}

/// The beginning of `text` that can be made into a tree within the caps; all of it for real pages.
fn affordable<'t>(text: &'t str, notes: &mut Notes) -> &'t str {
    let mut end = text.len();
    if end > TREE_BYTES_MAX {
        end = text.floor_char_boundary(TREE_BYTES_MAX);
        notes.add(format!("items were taken from the first {TREE_BYTES_MAX} bytes of the page"));
    }
    let part = &text[..end];
    let cost_end = Cost::default().end_of(part);
    if cost_end < part.len() {
        notes.add(format!("items were taken from the first {cost_end} bytes of the page: it is nested too deeply"));
    }
    &part[..cost_end]
}

/// An estimate from above of what building a tree costs, taken from a scan of the tags.
#[derive(Default)]
struct Cost {
    open: u64,
    formatting: [u64; FORMATTING.len()],
    steps: u64,
    reopened: u64,
}

/// Elements that the parser opens anew where they were not closed (WHATWG HTML section 13.2.4.3).
const FORMATTING: [&str; 14] =
    ["a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"];

/// Elements that are never open, or that a following one closes: they add no depth of their own.
const SHALLOW: [&str; 29] = [
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "hr", "img", "input", "keygen", "link", "meta",
    "param", "source", "track", "wbr", "p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "colgroup",
    "option",
];

impl Cost {
    /// Where in `text` the budget ends: just before the tag that would exceed it.
    fn end_of(mut self, text: &str) -> usize {
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(step) = bytes[at..].iter().position(|&byte| byte == b'<') {
            at += step;
            let closing = bytes.get(at + 1) == Some(&b'/');
            let name_at = at + 1 + usize::from(closing);
            let name_len = bytes[name_at..].iter().take(16).take_while(|byte| byte.is_ascii_alphanumeric()).count();
            if name_len > 0 && bytes[name_at].is_ascii_alphabetic() {
                let mut name = [0; 16];
                name[..name_len].copy_from_slice(&bytes[name_at..name_at + name_len]);
                name.make_ascii_lowercase();
                self.tag(std::str::from_utf8(&name[..name_len]).unwrap_or_default(), closing);
                if self.steps > TREE_STEPS_MAX || self.reopened > TREE_REOPENED_MAX {
                    return at;
                }
            }
            at = name_at;
        }
        bytes.len()
    }

    fn tag(&mut self, name: &str, closing: bool) {
        if let Some(place) = FORMATTING.iter().position(|known| *known == name) {
            let count = &mut self.formatting[place];
            *count = if closing { count.saturating_sub(1) } else { *count + 1 };
        }
        if !SHALLOW.contains(&name) {
            self.open = if closing { self.open.saturating_sub(1) } else { self.open + 1 };
        }
        self.steps += 1 + self.open;
        self.reopened += self.formatting.iter().sum::<u64>();
    }
}
