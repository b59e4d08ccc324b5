//! Records out of pages: a name and a CSS selector for each field.
//!
//! Only this needs a tree of the page, so it is built only where such rules exist, and only from a beginning of the page
//! that cannot make it explode.

use scraper::{ElementRef, Html, Selector};
use serde_json::{Map, Value};
use url::Url;

use super::notes::{Notes, cut};
use super::tree_cost;

/// How much of a page is made into a tree, in bytes. Our choice: a tree takes some ten times its page.
const TREE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Elements of a page where a selector looks along siblings, which takes time by their square (measured: 2 s for these).
const SIBLINGS_MAX: u64 = 20_000;

/// Bytes of all values of one record. Our choice: as much as a page may be turned into a tree.
const RECORD_BYTES_MAX: usize = TREE_BYTES_MAX;

/// Values of one list.
const LIST_MAX: usize = 100_000;

/// The rules of one kind of record, compiled.
#[derive(Clone, Debug)]
pub struct ItemRules {
    fields: Vec<Field>,
    /// Whether a selector looks along siblings.
    siblings: bool,
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
        let siblings = specs.iter().any(|(_, spec)| spec.selector.contains('~') || spec.selector.contains(":has"));
        Ok(Self { fields, siblings })
    }

    /// The record of a page; none when no field was found at all.
    pub(super) fn take(&self, text: &str, base: &Url, notes: &mut Notes) -> Option<Map<String, Value>> {
        let elements_max = if self.siblings { SIBLINGS_MAX } else { u64::MAX };
        let part = affordable(text, elements_max, notes);
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

/// The beginning of `text` that is made into a tree; all of it for real pages.
fn affordable<'t>(text: &'t str, elements_max: u64, notes: &mut Notes) -> &'t str {
    let size_end = text.floor_char_boundary(TREE_BYTES_MAX);
    let end = tree_cost::affordable_end(&text[..size_end], elements_max);
    if end < size_end {
        notes.add(format!(
            "items were taken from the first {end} bytes of the page: the rest is too deep or has too many tags"
        ));
    } else if end < text.len() {
        notes.add(format!("items were taken from the first {TREE_BYTES_MAX} bytes of the page"));
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(short: &str, selector: &str, take: Take, list: bool) {
        assert_eq!(ItemSpec::parse(short), ItemSpec { selector: selector.to_owned(), take, list });
    }

    #[test]
    fn short_forms_say_selector_value_and_list() {
        let attr = |name: &str| Take::Attr(name.to_owned());
        check("h1", "h1", Take::Text, false);
        check(" ul > li[] ", "ul > li", Take::Text, true);
        check("a.next@href", "a.next", attr("href"), false);
        check("img @ data-SRC []", "img", attr("data-src"), true);
        check("article@html", "article", Take::Html, false);
        check("a[href]", "a[href]", Take::Text, false);
        check("a[href][]", "a[href]", Take::Text, true);
        check("a[title='x@y z']", "a[title='x@y z']", Take::Text, false);
        check("a[href='mailto:x@y']@href", "a[href='mailto:x@y']", attr("href"), false);
    }

    #[test]
    fn a_rule_that_cannot_be_used_is_named() {
        let compile = |names: [&str; 2], selector: &str| {
            let specs = names.map(|name| (name.to_owned(), ItemSpec::parse(selector)));
            ItemRules::compile(&specs).expect_err("it cannot be used").to_string()
        };
        assert_eq!(compile(["a", "b"], "li["), "item field \"a\": \"li[\" is not a CSS selector");
        assert_eq!(compile(["a", "b"], ""), "item field \"a\": \"\" is not a CSS selector");
        assert_eq!(compile(["a", "a"], "h1"), "item field \"a\": is named twice");
    }

    #[test]
    fn a_record_is_capped() {
        let base = Url::parse("http://h.example/").expect("a constant parses");
        let rules =
            ItemRules::compile(&[("all".to_owned(), ItemSpec::parse("div@html[]"))]).expect("a constant compiles");
        // Each of the nested elements holds all that is within it: 1,000 times 100 kB.
        let text = format!("{}{}", "<div>".repeat(1000), "x".repeat(100_000));
        let mut notes = Notes::default();
        let record = rules.take(&text, &base, &mut notes).expect("there is something");
        let bytes: usize =
            record["all"].as_array().expect("a list").iter().map(|it| it.as_str().map_or(0, str::len)).sum();
        assert_eq!(bytes, RECORD_BYTES_MAX);
        assert_eq!(notes.into_vec(), ["the item is larger than 8388608 bytes: cut"]);
    }
}
