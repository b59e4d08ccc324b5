//! The columns of a stream's view: the members of its records, in the order in which they were first met. Pure.
//!
//! Enters: records. Leaves: which columns are new, and the definition of the view. A member that is an object gives a column for
//! each of its members; lists, and objects in objects, are columns of JSON text. Whatever a record's members are called, there are
//! no more than [`COLUMNS_MAX`] columns, and their names have letters, digits and `_` only. Deliberately absent: SQL that is run.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::job::SourceId;

/// Columns of one view; what else a record has is in `_data`. SQLite stops at 2,000 (<https://www.sqlite.org/limits.html>), people
/// long before.
pub(super) const COLUMNS_MAX: usize = 200;

/// Bytes of a member's name, beyond which it gets no column: with 200 columns a definition stays far below SQLite's cap of 10^6.
const MEMBER_BYTES_MAX: usize = 100;

/// What each view has beside the members.
const OWN: [&str; 4] = ["_data", "_first_at", "_updated_at", "_url"];

/// Tables that SQLite makes when they are first asked for, and our statements ask for: a view of that name would hide them.
const SQLITES: [&str; 4] = ["json_each", "json_tree", "jsonb_each", "jsonb_tree"];

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// The member, or an object and its member.
    pub(super) path: Vec<String>,
}

/// The columns of one stream.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// The name of the view.
    pub(super) view: String,
    all: Vec<Column>,
    /// Of these, so many are in the file.
    pub(super) n_stored: usize,
    members: HashMap<String, Member>,
    /// The names in use, as SQLite compares them: without case.
    names: HashSet<String>,
}

/// What is known about a member.
#[derive(Clone, Debug, Default)]
struct Member {
    /// Whether it has a column of its own.
    has_column: bool,
    /// Its members that have one.
    below: HashSet<String>,
}

impl Columns {
    /// Those that are in the file, in order.
    pub(super) fn new(view: String, stored: Vec<Column>) -> Self {
        let names = OWN.into_iter().map(str::to_owned).collect();
        let mut columns = Self { view, all: Vec::new(), n_stored: stored.len(), members: HashMap::new(), names };
        for column in stored {
            columns.push(column);
        }
        columns
    }

    /// Whether a record has no member that needs a column: the question of every record, so it allocates nothing.
    pub(super) fn knows(&self, record: &Value) -> bool {
        let Value::Object(record) = record else { return true };
        self.all.len() >= COLUMNS_MAX
            || record.iter().all(|(name, value)| {
                let member = self.members.get(name);
                match value {
                    Value::Object(below) if !below.is_empty() => below.keys().all(|below| {
                        member.is_some_and(|member| member.below.contains(below)) || is_odd(name) || is_odd(below)
                    }),
                    _ => member.is_some_and(|member| member.has_column) || is_odd(name),
                }
            })
    }

    /// Adds columns for what a record has.
    pub(super) fn learn(&mut self, record: &Value) {
        let Value::Object(record) = record else { return };
        for (name, value) in record {
            match value {
                Value::Object(below) if !below.is_empty() => {
                    below.keys().for_each(|below| self.add(&[name, below]));
                }
                _ => self.add(&[name]),
            }
        }
    }

    fn add(&mut self, path: &[&str]) {
        let is_known = self.members.get(path[0]).is_some_and(|member| match path {
            [_, below] => member.below.contains(*below),
            _ => member.has_column,
        });
        if is_known || self.all.len() >= COLUMNS_MAX || path.iter().any(|name| is_odd(name)) {
            return;
        }
        let name = unused(&identifier(&path.join("_")), |name| self.names.contains(name));
        self.push(Column { name, path: path.iter().map(|&name| name.to_owned()).collect() });
    }

    fn push(&mut self, column: Column) {
        self.names.insert(column.name.to_ascii_lowercase());
        let member = self.members.entry(column.path.first().cloned().unwrap_or_default()).or_default();
        match column.path.get(1) {
            Some(below) => drop(member.below.insert(below.clone())),
            None => member.has_column = true,
        }
        self.all.push(column);
    }

    /// Those that are not in the file, with their positions.
    pub(super) fn new_ones(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.all.iter().enumerate().skip(self.n_stored)
    }

    /// They are in the file now.
    pub(super) fn all_stored(&mut self) {
        self.n_stored = self.all.len();
    }

    /// The statement that makes the view.
    pub(super) fn definition(&self, source: SourceId) -> String {
        let mut sql = format!(
            "CREATE VIEW {} AS\n-- The records of a stream, with a column for each member.\nSELECT\n",
            quoted(&self.view)
        );
        for column in &self.all {
            // JSON has no name that this does not spell: SQLite reads the escapes of JSON in a path.
            let path: String = column.path.iter().map(|name| format!(".{}", Value::from(name.as_str()))).collect();
            sql.push_str(&format!("    i.data ->> '${}' AS {},\n", path.replace('\'', "''"), quoted(&column.name)));
        }
        sql.push_str(&format!(
            "    strftime('%Y-%m-%d %H:%M:%S', i.first_at / 1000, 'unixepoch') AS _first_at,
    strftime('%Y-%m-%d %H:%M:%S', i.updated_at / 1000, 'unixepoch') AS _updated_at,
    h.origin || j.request AS _url,
    i.data AS _data
FROM items AS i LEFT JOIN jobs AS j ON j.job_id = i.job_id LEFT JOIN hosts AS h ON h.host_id = j.host_id
WHERE i.source_id = {} AND i.gone_at IS NULL",
            source.0
        ));
        sql
    }
}

/// The name of the view for the stream `name`: other characters than letters, digits and `_` become `_`, and a name that is taken
/// gets a number. `taken` are names in lower case.
pub(super) fn view_name(name: &str, taken: &HashSet<String>) -> String {
    let mut plain = identifier(name);
    let lower = plain.to_ascii_lowercase();
    // What begins so is SQLite's, now or in a later version.
    if plain.is_empty() || ["sqlite_", "pragma_", "_sqlx_"].iter().any(|prefix| lower.starts_with(prefix)) {
        plain = format!("api_{plain}");
    }
    unused(&plain, |name| taken.contains(name) || SQLITES.contains(&name))
}

/// Whether a member gets no column for its name: SQLite ends a name at its first NUL.
fn is_odd(name: &str) -> bool {
    name.len() > MEMBER_BYTES_MAX || name.contains('\0')
}

/// `name`, or with the first number behind it that makes it unused.
fn unused(name: &str, is_used: impl Fn(&str) -> bool) -> String {
    let mut unused = name.to_owned();
    let mut number = 1_u32;
    while is_used(&unused.to_ascii_lowercase()) {
        number += 1;
        unused = format!("{name}_{number}");
    }
    unused
}

fn identifier(name: &str) -> String {
    name.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '_' }).collect()
}

/// A name as SQL has it. Its letters are those of [`identifier`].
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(records: &[Value]) -> Vec<String> {
        let mut columns = Columns::new("v".into(), Vec::new());
        for record in records {
            columns.learn(record);
            assert!(columns.knows(record), "{record}");
        }
        columns.all.into_iter().map(|column| column.name).collect()
    }

    #[test]
    fn members_become_columns_in_the_order_of_first_sight() {
        let records = [
            json!({"id": 1, "user": {"login": "a", "plan": {"x": 1}}, "tags": [1]}),
            json!({"id": 2, "user": null, "more": {}}),
            json!({"user": {"id": 7}}),
            json!("no object"),
            json!([1]),
        ];
        assert_eq!(names(&records), ["id", "tags", "user_login", "user_plan", "more", "user", "user_id"]);
    }

    #[test]
    fn names_that_clash_get_a_number() {
        let records = [
            json!({"ID": 1, "id": 2, "Id": 3, "_url": 4}),
            json!({"a": {"b": 1}}),
            json!({"a_b": 1, "a.b": 2, "": 3, "\"; DROP TABLE items --": 4}),
        ];
        let expected = ["ID", "Id_2", "_url_2", "id_3", "a_b", "", "___DROP_TABLE_items___", "a_b_2", "a_b_3"];
        assert_eq!(names(&records), expected);
    }

    #[test]
    fn however_many_names_there_are_columns_are_bounded() {
        let mut columns = Columns::new("v".into(), Vec::new());
        columns.learn(&json!({"x".repeat(101): 1}));
        assert!(columns.knows(&json!({"x".repeat(101): 1})), "a name beyond the bound asks for nothing");
        assert_eq!(columns.all.len(), 0);
        for number in 0..100_000 {
            columns.learn(&json!({format!("\u{1}{number}"): 1}));
        }
        assert_eq!((columns.all.len(), columns.members.len()), (COLUMNS_MAX, COLUMNS_MAX));
        assert!(columns.knows(&json!({"another": 1})));
        assert!(columns.definition(SourceId(1)).len() < 1_000_000);
    }

    #[test]
    fn views_are_named_after_their_streams() {
        let mut taken: HashSet<String> = ["jobs", "pages"].map(str::to_owned).into();
        for (stream, view) in [
            ("gh.issues", "gh_issues"),
            ("gh-issues", "gh_issues_2"),
            ("GH.Issues", "GH_Issues_3"),
            ("Jobs", "Jobs_2"),
            ("sqlite_x", "api_sqlite_x"),
            ("café", "café"),
            ("", "api_"),
        ] {
            let name = view_name(stream, &taken);
            assert_eq!(name, view, "{stream}");
            taken.insert(name.to_ascii_lowercase());
        }
    }
}
