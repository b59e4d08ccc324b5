//! The records in an answer of an API, and what makes each of them the same when it comes again.

use std::fmt;

use serde_json::{Map, Value};

use super::canonical_json;
use super::json_path::{JsonAt, JsonAtError};
use super::notes::{Notes, cut};
use super::paging::truth_of;
use crate::job::{ItemKey, NewItem};

/// Names under which APIs list their records, the likeliest first. Source: dlt's list, with `rows` and `content` as well.
pub(super) const LIST_NAMES: [&str; 10] =
    ["data", "items", "results", "entries", "records", "rows", "entities", "values", "objects", "content"];

/// Names under which lists are not the records.
const NOT_RECORDS: [&str; 7] = ["errors", "warnings", "messages", "links", "link", "facets", "columns"];

/// Where the records are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Records {
    /// The document if it is a list, else the one list of objects in it, else the list under the likeliest name.
    #[default]
    Auto,
    /// There: a list of records, an object of records by their numbers (`{"17": {..}, "23": {..}}`), one record, or several
    /// matches of these.
    At(JsonAt),
    /// The whole document is one record.
    Whole,
}

impl fmt::Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::At(at) => at.fmt(f),
            Self::Whole => f.write_str("$"),
        }
    }
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

    /// Where the records of `document` are; the error is what to tell the user when no list can be found.
    pub(super) fn locate(&self, document: &Value, page_ordinal: u32, notes: &mut Notes) -> Result<Located, String> {
        match self {
            Self::Whole => {
                if document.is_array() {
                    notes.add("the document is a list, stored as one record; `$[*]` or auto would take its elements");
                }
                Ok(Located { whole: true, ..Located::default() })
            }
            Self::At(at) => {
                let pointers = at.pointers(document);
                if pointers.is_empty() {
                    if let Some(error) = reported_error(document) {
                        return Err(error);
                    }
                    notes.add(format!("no records: nothing is at {} ({})", at.as_str(), outline(document)));
                }
                let pointers = pointers.into_iter().flat_map(|pointer| by_number(document, pointer)).collect();
                Ok(Located { pointers, ..Located::default() })
            }
            Self::Auto => match auto(document) {
                Some(located) => Ok(located),
                None => match reported_error(document) {
                    Some(error) => Err(error),
                    // Some APIs leave out a list that is empty; the first page has shown where it is.
                    None if page_ordinal > 0 => {
                        notes.add(format!("no list of records ({})", outline(document)));
                        Ok(Located::default())
                    }
                    None => {
                        Err(format!("no list of records was found ({}): set `records` to its place", outline(document)))
                    }
                },
            },
        }
    }
}

/// Where the records of one document are.
#[derive(Debug, Default)]
pub(super) struct Located {
    /// All of the document is one.
    whole: bool,
    /// JSON pointers to lists of records and to single ones.
    pointers: Vec<String>,
    /// The names of the cells, where the records are rows.
    columns: Option<Vec<String>>,
}

impl Located {
    /// How many records there are.
    pub fn count(&self, document: &Value) -> u64 {
        let of = |pointer: &String| match document.pointer(pointer) {
            Some(Value::Array(list)) => u64::try_from(list.len()).unwrap_or(u64::MAX),
            Some(Value::Null) | None => 0,
            Some(_) => 1,
        };
        u64::from(self.whole) + self.pointers.iter().map(of).sum::<u64>()
    }

    /// What each record has at `field`.
    pub fn field_of_each(&self, document: &Value, field: &JsonAt) -> Vec<Option<Value>> {
        let value = |record: &Value| match &self.columns {
            Some(columns) => field.first(&zip(columns, record.clone())).cloned(),
            None => field.first(record).cloned(),
        };
        if self.whole {
            return vec![value(document)];
        }
        let found = self.pointers.iter().filter_map(|pointer| document.pointer(pointer));
        found
            .flat_map(|found| match found {
                Value::Array(list) => list.iter().map(value).collect(),
                Value::Null => Vec::new(),
                one => vec![value(one)],
            })
            .collect()
    }

    /// The records, moved out of the document.
    pub fn take(self, mut document: Value) -> Vec<Value> {
        if self.whole {
            return vec![document];
        }
        let mut records = Vec::new();
        for pointer in &self.pointers {
            match document.pointer_mut(pointer).map(Value::take) {
                Some(Value::Array(list)) if records.is_empty() => records = list,
                Some(Value::Array(list)) => records.extend(list),
                Some(Value::Null) | None => {}
                Some(one) => records.push(one),
            }
        }
        match self.columns {
            Some(columns) => records.into_iter().map(|row| zip(&columns, row)).collect(),
            None => records,
        }
    }
}

/// The pointers to the members of an object of records by their numbers (MediaWiki's `query.pages`, where what does not exist
/// has a negative one), in the order of the numbers; else the pointer as it is. An empty object has no records.
fn by_number(document: &Value, pointer: String) -> Vec<String> {
    let Some(Value::Object(members)) = document.pointer(&pointer) else { return vec![pointer] };
    let number = |(name, member): (&String, &Value)| {
        let number: i64 = name.parse().ok()?;
        member.is_object().then_some((number, format!("{pointer}/{name}")))
    };
    let Some(mut numbers) = members.iter().map(number).collect::<Option<Vec<_>>>() else { return vec![pointer] };
    numbers.sort_unstable();
    numbers.into_iter().map(|(_, pointer)| pointer).collect()
}

/// The records of a document of unknown shape.
fn auto(document: &Value) -> Option<Located> {
    let members = match document {
        Value::Array(_) => return Some(Located { pointers: vec![String::new()], ..Located::default() }),
        Value::Object(members) => members,
        _ => return None,
    };
    let name = list_name(members)?;
    let is_table = members.get(name).and_then(Value::as_array).is_some_and(|list| list.iter().all(Value::is_array));
    let columns = if is_table { columns_of(members) } else { None };
    Some(Located { pointers: vec![format!("/{}", name.replace('~', "~0").replace('/', "~1"))], columns, whole: false })
}

/// The name of the list: the first known name that holds one, else the only list of objects, else the only list at all that
/// is empty, else a known name that holds null. What an object under a known name holds is not guessed at.
fn list_name(members: &Map<String, Value>) -> Option<&str> {
    let known = |wanted: fn(&Value) -> bool| LIST_NAMES.into_iter().find(|name| members.get(*name).is_some_and(wanted));
    if let Some(name) = known(Value::is_array) {
        return Some(name);
    }
    let only = |wanted: &dyn Fn(&Vec<Value>) -> bool| {
        let mut lists = members
            .iter()
            .filter(|(name, value)| !NOT_RECORDS.contains(&name.as_str()) && value.as_array().is_some_and(wanted))
            .map(|(name, _)| name.as_str());
        lists.next().filter(|_| lists.next().is_none())
    };
    only(&|list| !list.is_empty() && list.iter().all(Value::is_object))
        .or_else(|| only(&|list| list.is_empty()))
        .or_else(|| known(Value::is_null))
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

/// What an answer without records says instead of them. An error that comes with status 200 must not pass for an empty page.
fn reported_error(document: &Value) -> Option<String> {
    let said = |name: &&str| document.get(*name).is_some_and(|value| truth_of(Some(value)));
    let name = ["error", "errors", "fault", "exception", "message"].into_iter().find(|name| said(name))?;
    let mut words = match &document[name] {
        Value::String(words) => words.clone(),
        other => other.to_string(),
    };
    cut(&mut words, 200);
    Some(format!("the answer has no records but says {name}: {words}"))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(records: &str, document: &Value, expected: Result<Value, &str>) {
        let records = Records::parse(records).expect("a test place parses");
        let found = records.locate(document, 0, &mut Notes::default()).map(|located| {
            let count = located.count(document);
            let records = located.take(document.clone());
            assert_eq!(count, records.len() as u64, "{document}");
            Value::Array(records)
        });
        assert_eq!(found, expected.map_err(str::to_owned), "{document}");
    }

    #[test]
    fn records_are_found_by_the_usual_names() {
        let (a, b) = (json!({"id": 1}), json!({"id": 2}));
        check("auto", &json!([a, b]), Ok(json!([a, b])));
        check("auto", &json!([]), Ok(json!([])));
        check("auto", &json!({"count": 2, "results": [a, b]}), Ok(json!([a, b])));
        check("auto", &json!({"results": [a], "items": [b]}), Ok(json!([b])));
        check("auto", &json!({"users": [a], "errors": [], "tags": ["x"]}), Ok(json!([a])));
        check("auto", &json!({"users": [], "next": null}), Ok(json!([])));
        check("auto", &json!({"data": null}), Ok(json!([])));
        check(
            "auto",
            &json!({"columns": ["id", "x"], "rows": [[1, 2], [3, 4]]}),
            Ok(json!([{"id": 1, "x": 2}, {"id": 3, "x": 4}])),
        );
        check("auto", &json!({"columns": ["id", "x"], "rows": [[1]]}), Ok(json!([[1]])));
        check("auto", &json!({"a/b": [a]}), Ok(json!([a])));
        check(
            "auto",
            &json!({"users": [a], "groups": [b]}),
            Err("no list of records was found (the answer has groups, users): set `records` to its place"),
        );
        check(
            "auto",
            &json!({}),
            Err("no list of records was found (the answer is an empty object): set `records` to its place"),
        );
        check(
            "auto",
            &json!("x"),
            Err("no list of records was found (the answer is a single value): set `records` to its place"),
        );
    }

    #[test]
    fn records_are_found_where_the_user_says() {
        let (a, b) = (json!({"id": 1}), json!({"id": 2}));
        check("$", &json!([a, b]), Ok(json!([[a, b]])));
        check("$[*]", &json!([a, b]), Ok(json!([a, b])));
        check("data.items", &json!({"data": {"items": [a, b]}}), Ok(json!([a, b])));
        check("data", &json!({"data": a}), Ok(json!([a])));
        check("data", &json!({"data": null}), Ok(json!([])));
        check("data", &json!({"other": [a]}), Ok(json!([])));
        check("data", &json!({"data": {}}), Ok(json!([])));
        check("query.pages", &json!({"query": {"pages": {"10": a, "9": b, "-1": b}}}), Ok(json!([b, b, a])));
        check("query.pages", &json!({"query": {"pages": {"10": a, "x": b}}}), Ok(json!([{"10": a, "x": b}])));
        check("query.pages", &json!({"query": {"pages": {"10": 7}}}), Ok(json!([{"10": 7}])));
        check("$.query.pages.*", &json!({"query": {"pages": {"x": a, "y": b}}}), Ok(json!([a, b])));
        check("$.groups[*].users", &json!({"groups": [{"users": [a]}, {"users": [b]}]}), Ok(json!([a, b])));
        check("$.edges[*].node", &json!({"edges": [{"node": a}, {"node": b}]}), Ok(json!([a, b])));
    }

    #[test]
    fn an_error_with_status_200_is_no_empty_page() {
        let locate = |records: &str, document: &Value| {
            let records = Records::parse(records).expect("a test place parses");
            records.locate(document, 7, &mut Notes::default()).map(|located| located.count(document))
        };
        let error = json!({"error": {"code": "maxlag"}});
        let words = Err("the answer has no records but says error: {\"code\":\"maxlag\"}".to_owned());
        assert_eq!((locate("auto", &error), locate("query.pages", &error)), (words.clone(), words));
        assert_eq!(
            locate("auto", &json!({"message": "slow down"})),
            Err("the answer has no records but says message: slow down".to_owned())
        );
        assert_eq!(locate("auto", &json!({"nextPageToken": "", "error": null})), Ok(0));
        assert_eq!(locate("items", &json!({"items": [1], "errors": ["one failed"]})), Ok(1));
    }

    fn keys(records: &[Value], key: &[&str], notes: &mut Notes) -> Vec<ItemKey> {
        let key: Vec<JsonAt> = key.iter().map(|at| JsonAt::parse(at).expect("a test place parses")).collect();
        with_keys(records.to_vec(), &key, notes).into_iter().map(|item| item.key).collect()
    }

    #[test]
    fn a_record_is_the_same_by_its_key_fields_or_by_all_of_it() {
        let records =
            [json!({"id": 1, "v": 1}), json!({"v": 2, "id": 1}), json!({"id": "1", "v": 1}), json!({"v": 1, "id": 1})];
        let mut notes = Notes::default();
        let by_id = keys(&records, &["id"], &mut notes);
        assert_eq!((by_id[0] == by_id[1], by_id[0] == by_id[2]), (true, false), "a number is not its text");
        let by_both = keys(&records, &["id", "v"], &mut notes);
        assert_eq!((by_both[0] == by_both[1], by_both[0] == by_both[3]), (false, true));
        let whole = keys(&records, &[], &mut notes);
        assert_eq!((whole[0] == whole[1], whole[0] == whole[3]), (false, true), "the order of members means nothing");
        assert_eq!(notes.into_vec(), Vec::<String>::new());

        let mut notes = Notes::default();
        keys(&[json!({"id": null}), json!({"id": 3}), json!(7)], &["id"], &mut notes);
        assert_eq!(notes.into_vec(), ["2 records lack a key field (id); all of each is its key"]);
    }

    proptest! {
        #[test]
        fn key_fields_do_not_run_into_each_other(a in "\\PC{0,8}", b in "\\PC{0,8}", c in "\\PC{0,8}", d in "\\PC{0,8}") {
            let records = [json!({"x": a, "y": b}), json!({"x": c, "y": d})];
            let found = keys(&records, &["x", "y"], &mut Notes::default());
            prop_assert_eq!(found[0] == found[1], (a, b) == (c, d));
        }
    }
}
