//! One table of the file, read key by key, every complaint with its line.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::context::Context;
use super::{global, host};

/// The sections without names of their own, with their keys: where a key at the top of the file belongs.
pub(super) const KEYS_OF_SECTIONS: [(&str, &[&str]); 6] = [
    ("cache", &global::CACHE_KEYS),
    ("engine", &global::ENGINE_KEYS),
    ("http", &global::HTTP_KEYS),
    ("retry", &global::RETRY_KEYS),
    ("store", &global::STORE_KEYS),
    ("throttle", &host::THROTTLE_KEYS),
];

/// One table: a section of the file or an inline table.
pub(super) struct Section<'a> {
    table: &'a DeTable<'a>,
    /// As it is written between brackets; empty for the file itself.
    pub(super) name: String,
    /// The last part of the name.
    pub(super) key: &'a str,
    /// Where it starts.
    offset: usize,
    context: &'a Context<'a>,
}

/// One value, with the words to complain about it.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) value: &'a DeValue<'a>,
    /// Such as `timeout in [http]`.
    pub(super) label: String,
    offset: usize,
    pub(super) context: &'a Context<'a>,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a DeTable<'a>, context: &'a Context<'a>) -> Self {
        Self { table, name: String::new(), key: "", offset: 0, context }
    }

    /// `path` as seen from the folder of the file.
    pub(super) fn resolve(&self, path: &str) -> std::path::PathBuf {
        self.context.resolve(path)
    }

    /// Complains about this section as a whole.
    pub(super) fn complain(&self, text: &str) {
        self.context.report(self.offset, format!("[{}] {text}", self.name));
    }

    /// Complains about every key that is not in `known`; those in `later` get words of their own.
    pub(super) fn check_keys(&self, known: &[&str], later: &[&str]) {
        for (key, value) in self.table {
            let (key, offset) = (key.get_ref().as_ref(), key.span().start);
            if known.contains(&key) {
                continue;
            }
            let is_section = self.name.is_empty() && (value.get_ref().is_table() || value.get_ref().is_array());
            let shown = |key: &str| if is_section { format!("[{key}]") } else { format!("\"{key}\"") };
            let place = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
            let text = if later.contains(&key) {
                format!("{}{place} is not yet supported", shown(key))
            } else {
                let noun = if is_section { "section" } else { "key" };
                let home = KEYS_OF_SECTIONS.iter().find(|(_, keys)| self.name.is_empty() && keys.contains(&key));
                let hint = match (home, nearest(key, known), nearest(key, later)) {
                    (Some((section, _)), _, _) => format!("it belongs below the line [{section}]"),
                    (_, Some(near), _) => format!("did you mean {}?", shown(near)),
                    (_, _, Some(near)) => format!("did you mean {}, which is not yet supported?", shown(near)),
                    _ => format!("known are {}", known.join(", ")),
                };
                format!("unknown {noun} {}{place}; {hint}", shown(key))
            };
            self.context.report(offset, text);
        }
    }

    /// The value of `key`, if the file has it.
    pub(super) fn get(&self, key: &str) -> Option<Field<'a>> {
        let value = self.table.get(key)?;
        let label = if self.name.is_empty() { format!("\"{key}\"") } else { format!("{key} in [{}]", self.name) };
        Some(Field { value: value.get_ref(), label, offset: value.span().start, context: self.context })
    }

    /// Puts the value of `key` into `target`, if the file has it and `read` finds it right.
    pub(super) fn set<T>(&self, key: &str, target: &mut T, read: impl FnOnce(&Field<'a>) -> Option<T>) {
        if let Some(value) = self.get(key).and_then(|field| read(&field)) {
            *target = value;
        }
    }

    /// The table `key`; none when the file has none, or something else by that name.
    pub(super) fn section(&self, key: &'a str) -> Option<Self> {
        self.get(key)?;
        let (written, value) = self.table.get_key_value(key)?;
        self.child(key, written.span().start, value)
    }

    /// The tables within the table `key`, in the order of the file; those with a bad name are left out with a complaint.
    pub(super) fn sections(&self, key: &'a str) -> Vec<Self> {
        let Some(parent) = self.section(key) else { return Vec::new() };
        let mut sections: Vec<Self> =
            parent.entries().filter_map(|(name, offset, value)| parent.child(name, offset, value)).collect();
        sections.retain(|section| {
            let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
            let good = !section.key.is_empty() && section.key.chars().all(fits);
            if !good {
                section.complain("has a bad name: only letters, digits, \"-\" and \"_\" may be in it");
            }
            good
        });
        sections
    }

    /// The tables of the array `key` (`[[key]]`), in the order of the file.
    pub(super) fn array_of_sections(&self, key: &'a str) -> Vec<Self> {
        let Some(field) = self.get(key) else { return Vec::new() };
        let Some(array) = field.value.as_array() else {
            field.wrong(&format!("a list of sections, each begun with [[{key}]]"));
            return Vec::new();
        };
        array.iter().filter_map(|value| self.child(key, value.span().start, value)).collect()
    }

    /// All fields in the order of the file, each with its key.
    pub(super) fn fields(&self) -> Vec<(&'a str, Field<'a>)> {
        self.entries().filter_map(|(key, _, _)| Some((key, self.get(key)?))).collect()
    }

    /// All entries in the order of the file: the parser sorts them by name.
    fn entries(&self) -> impl Iterator<Item = (&'a str, usize, &'a Spanned<DeValue<'a>>)> + use<'a> {
        let mut entries: Vec<_> =
            self.table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span().start, value)).collect();
        entries.sort_by_key(|(_, offset, _)| *offset);
        entries.into_iter()
    }

    fn child(&self, key: &'a str, offset: usize, value: &'a Spanned<DeValue<'a>>) -> Option<Self> {
        let name = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        let Some(table) = value.get_ref().as_table() else {
            let text = format!("\"{name}\" is {}; expected a section [{name}]", shown(value.get_ref()));
            self.context.report(value.span().start, text);
            return None;
        };
        Some(Self { table, name, key, offset, context: self.context })
    }
}

impl<'a> Field<'a> {
    /// Complains about the value and says what is `expected`.
    pub(super) fn wrong(&self, expected: &str) {
        self.complain(&format!("is {}; expected {expected}", shown(self.value)));
    }

    /// Complains in other words; the label goes before them.
    pub(super) fn complain(&self, text: &str) {
        self.context.report(self.offset, format!("{} {text}", self.label));
    }

    /// The same words about a part of the value.
    pub(super) fn part(&self, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { value: value.get_ref(), label: self.label.clone(), offset: value.span().start, context: self.context }
    }

    /// This value as a table of its own, named by `name` in complaints.
    pub(super) fn table(&self, name: &str) -> Option<Section<'a>> {
        let table = self.value.as_table()?;
        Some(Section { table, name: name.to_owned(), key: "", offset: self.offset, context: self.context })
    }
}

/// A value in words: short ones as they are, others by their type.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() <= 60 => format!("{:?}", text.as_ref()),
        DeValue::String(_) => "a long text".to_owned(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The one of `known` that `key` was most likely meant to be. 0.8 lets pass a wrong letter or two in a short word.
pub(super) fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let likeness = |near: &str| {
        let near_part = key.len() >= 3 && (near.contains(key) || key.contains(near));
        strsim::jaro_winkler(key, near).max(if near_part { 0.85 } else { 0.0 })
    };
    known
        .iter()
        .map(|near| (likeness(near), *near))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, near)| near)
}
