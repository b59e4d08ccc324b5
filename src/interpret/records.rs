//! The records in an answer of an API, and what makes each of them the same when it comes again.

use serde_json::{Map, Value};

use super::canonical_json;
use super::json_path::{JsonAt, JsonAtError};
use super::notes::Notes;
use crate::job::{ItemKey, NewItem};

/// Names under which APIs list their records, the likeliest first. Source: dlt's list, with `rows` and `content` as well.
pub(super) const LIST_NAMES: [&str; 10] =
    ["data", "items", "results", "entries", "records", "rows", "entities", "values", "objects", "content"];

/// Where the records are.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Records {
    /// The document if it is a list, else the one list of objects in it, else the list under the likeliest name.
    #[default]
    Auto,
    /// There: a list of records, one record, or several matches.
    At(JsonAt),
    /// The whole document is one record.
    Whole,
}

impl Records {
    /// `auto`, `$` for the whole document as one record, or a place as [`JsonAt`] reads it.
    pub fn parse(text: &str) -> Result<Self, JsonAtError> {
        match text.trim() {
            "auto" => Ok(Self::Auto),
            "$" => Ok(Self::Whole),
            at => Ok(Self::At(JsonAt::parse(at)?)),
        }
    }

    /// The records of `document`; the error is what to tell the user when no list can be found.
    pub(super) fn of(&self, document: Value, page_ordinal: u32, notes: &mut Notes) -> Result<Vec<Value>, String> {
        match self {
            Self::Whole => {
                if document.is_array() {
                    notes.add("the document is a list, stored as one record; `$[*]` or auto would take its elements");
                }
                Ok(vec![document])
            }
            Self::At(at) => {
                let found = at.all(&document);
                if found.is_empty() {
                    notes.add(format!("no records: nothing is at {at:?} ({})", outline(&document), at = at.as_str()));
                }
                let mut records = Vec::new();
                for value in found {
                    match value {
                        Value::Array(list) => records.extend(list.iter().cloned()),
                        Value::Null => {}
                        one => records.push(one.clone()),
                    }
                }
                Ok(records)
            }
            Self::Auto => match auto(document) {
                Ok(records) => Ok(records),
                Err(outline) if page_ordinal > 0 => {
                    notes.add(format!("no list of records ({outline})"));
                    Ok(Vec::new())
                }
                Err(outline) => Err(format!("no list of records was found ({outline}): set `records` to its place")),
            },
        }
    }
}

/// The records of a document of unknown shape; the error outlines the document.
fn auto(document: Value) -> Result<Vec<Value>, String> {
    let mut members = match document {
        Value::Array(list) => return Ok(list),
        Value::Object(members) => members,
        other => return Err(outline(&other)),
    };
    let Some(name) = list_name(&members) else { return Err(outline(&Value::Object(members))) };
    let columns = columns_of(&members);
    let Some(Value::Array(list)) = members.remove(&name) else { return Ok(Vec::new()) };
    Ok(match columns {
        Some(columns) if !list.is_empty() && list.iter().all(Value::is_array) => {
            list.into_iter().map(|row| zip(&columns, row)).collect()
        }
        _ => list,
    })
}

/// The name of the list: the first known name that holds a list (or null, for an empty one), else the only list of objects.
/// A known name that holds an object is looked into by nobody: which of its lists is meant cannot be guessed.
fn list_name(members: &Map<String, Value>) -> Option<String> {
    if let Some(known) = LIST_NAMES.iter().find(|name| members.get(**name).is_some_and(Value::is_array)) {
        return Some((*known).to_owned());
    }
    let mut lists = members.iter().filter(|(_, value)| {
        value.as_array().is_some_and(|list| list.iter().all(Value::is_object))
    });
    match (lists.next(), lists.next()) {
        (Some((name, _)), None) => Some(name.clone()),
        _ => LIST_NAMES.iter().find(|name| members.get(**name).is_some_and(Value::is_null)).map(|it| (*it).to_owned()),
    }
}

/// The column names of a table of rows, as Datasette sends it: `{"columns": ["id"], "rows": [[1]]}`.
fn columns_of(members: &Map<String, Value>) -> Option<Vec<String>> {
    members.get("columns")?.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

fn zip(columns: &[String], row: Value) -> Value {
    match row {
        Value::Array(cells) if cells.len() == columns.len() => {
            Value::Object(columns.iter().cloned().zip(cells).collect())
        }
        other => other,
    }
}

/// What a document looks like, for a message.
fn outline(document: &Value) -> String {
    match document {
        Value::Object(members) if members.is_empty() => "the answer is an empty object".to_owned(),
        Value::Object(members) => {
            let names: Vec<&str> = members.keys().take(12).map(String::as_str).collect();
            format!("the answer has {}", names.join(", "))
        }
        Value::Array(_) => "the answer is a list".to_owned(),
        Value::Null => "the answer is null".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => "the answer is a single value".to_owned(),
    }
}

/// Records with their identity: the values at `key`, or all of the record when `key` is empty or the record lacks one.
pub(super) fn with_keys(records: Vec<Value>, key: &[JsonAt], notes: &mut Notes) -> Vec<NewItem> {
    let mut without = 0_u64;
    let mut spelled = Vec::new();
    let items = records
        .into_iter()
        .map(|data| {
            spelled.clear();
            let fields: Option<Vec<&Value>> =
                key.iter().map(|at| at.first(&data).filter(|value| !value.is_null())).collect();
            match fields {
                Some(fields) if !fields.is_empty() => {
                    // A list of values, which no record is: an identity by key never equals one by content.
                    spelled.extend_from_slice(b"key:");
                    for field in fields {
                        canonical_json::write(field, &mut spelled);
                        spelled.push(b'\n');
                    }
                }
                _ => {
                    without += u64::from(!key.is_empty());
                    canonical_json::write(&data, &mut spelled);
                }
            }
            NewItem { key: ItemKey::of(&spelled), data }
        })
        .collect();
    if without > 0 {
        let names: Vec<&str> = key.iter().map(JsonAt::as_str).collect();
        notes.add(format!("{without} records lack a key field ({}); all of each is its key", names.join(", ")));
    }
    items
}
