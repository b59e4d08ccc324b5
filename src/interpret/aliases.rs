//! An answer of GraphQL to several ids, each of which was asked for under an alias of its own.

use serde_json::Value;

use super::api::StreamRules;
use super::charset::{self, Syntax};
use super::notes::{Notes, cut};
use super::paging::truth_of;
use super::records::Records;
use super::wide_integers;
use crate::exchange::Fetched;

/// What such an answer says.
#[derive(Clone, Debug, PartialEq)]
pub struct AliasesMeaning {
    /// What it says of each id, in order; the error is why nothing can be said of any.
    pub each: Result<Vec<Aliased>, String>,
    /// What was odd, in words.
    pub notes: Vec<String>,
}

/// What an answer says of one id.
#[derive(Clone, Debug, PartialEq)]
pub enum Aliased {
    /// These values are its records.
    Records(Vec<Value>),
    /// There is nothing by this id, and why, if the server says so.
    Absent(Option<String>),
    /// It could not be told for this id, and why.
    Failed(String),
    /// Nothing, since another id spoiled the answer.
    Unsaid,
}

/// Reads an answer to these aliases. Never fails: what cannot be read is an error for all.
#[must_use]
pub fn aliased(fetched: &Fetched, rules: &StreamRules, aliases: &[String]) -> AliasesMeaning {
    let mut notes = Notes::default();
    let each = read(fetched, rules, aliases, &mut notes);
    AliasesMeaning { each, notes: notes.into_vec() }
}

fn read(fetched: &Fetched, rules: &StreamRules, aliases: &[String], notes: &mut Notes) -> Result<Vec<Aliased>, String> {
    let decoded = charset::decode(fetched, &fetched.body, Syntax::Json, notes);
    let wide = wide_integers::quoted(&decoded.text);
    let text = wide.as_ref().map_or(&*decoded.text, |(text, _)| text);
    let mut document: Value = serde_json::from_str(text).map_err(|error| super::api::not_json(fetched, &error))?;
    let errors = match document.get_mut("errors").map(Value::take) {
        Some(Value::Array(errors)) => errors,
        Some(other) if truth_of(Some(&other)) => vec![other],
        _ => Vec::new(),
    };
    let data = document.get_mut("data").map(Value::take).unwrap_or_default();
    let mut of_alias: Vec<Option<&Value>> = vec![None; aliases.len()];
    let mut others = Vec::new();
    for error in &errors {
        let name = error.pointer("/path/0").and_then(Value::as_str);
        match name.and_then(|name| aliases.iter().position(|alias| alias == name)) {
            Some(nth) => {
                of_alias[nth].get_or_insert(error);
            }
            None => others.push(words(error)),
        }
    }
    let Value::Object(mut data) = data else {
        // An error at a field that must have a value takes all with it.
        if of_alias.iter().all(Option::is_none) {
            let said = if others.is_empty() { "nothing of errors".to_owned() } else { others.join("; ") };
            return Err(format!("the answer has no data and says {said}"));
        }
        return Ok(of_alias.into_iter().map(|error| error.map_or(Aliased::Unsaid, of_error)).collect());
    };
    if !others.is_empty() {
        notes.add(format!("the answer has errors beside its data: {}", others.join("; ")));
    }
    Ok(aliases
        .iter()
        .zip(of_alias)
        .map(|(alias, error)| match (data.remove(alias), error) {
            (None | Some(Value::Null), Some(error)) => of_error(error),
            (None | Some(Value::Null), None) => Aliased::Absent(None),
            (Some(value), error) => {
                if let Some(error) = error {
                    notes.add(format!("a part of the answer is missing: {}", words(error)));
                }
                records(value, &rules.records, notes)
            }
        })
        .collect())
}

fn records(value: Value, records: &Records, notes: &mut Notes) -> Aliased {
    match records {
        // The first page of a list is what shows where it is; the place here was said by the user.
        Records::At(_) => match records.locate(&value, 1, notes) {
            Ok(located) => Aliased::Records(located.take(value)),
            Err(problem) => Aliased::Failed(problem),
        },
        Records::Auto | Records::Whole => Aliased::Records(vec![value]),
    }
}

/// Whether an error says that there is nothing: GitHub's type, and the code that most servers give.
fn of_error(error: &Value) -> Aliased {
    let kinds = [error.get("type"), error.pointer("/extensions/code"), error.pointer("/extensions/type")];
    if kinds.contains(&Some(&Value::from("NOT_FOUND"))) {
        Aliased::Absent(Some(words(error)))
    } else {
        Aliased::Failed(words(error))
    }
}

fn words(error: &Value) -> String {
    let mut words = match error.get("message") {
        Some(Value::String(message)) => message.clone(),
        _ => error.to_string(),
    };
    cut(&mut words, 200);
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::answer;
    use super::*;

    fn check(records: &str, body: &Value, expected: Result<&[Aliased], &str>, notes: &[&str]) {
        let rules =
            StreamRules { records: Records::parse(records).expect("a test place parses"), ..StreamRules::default() };
        let fetched = answer("https://h/graphql", &[], body.to_string());
        let meaning = aliased(&fetched, &rules, &["a0".to_owned(), "a1".to_owned(), "a2".to_owned()]);
        assert_eq!(meaning.each, expected.map(<[_]>::to_vec).map_err(str::to_owned), "{body}");
        assert_eq!(meaning.notes, notes, "{body}");
    }

    #[test]
    fn each_alias_has_what_is_said_of_its_id() {
        let one = |value: Value| Aliased::Records(vec![value]);
        check(
            "auto",
            &json!({"data": {"a2": {"id": 3}, "a0": {"id": 1}, "a1": null, "rateLimit": {"cost": 1}}}),
            Ok(&[one(json!({"id": 1})), Aliased::Absent(None), one(json!({"id": 3}))]),
            &[],
        );
        check(
            "tags.nodes",
            &json!({"data": {
                "a0": {"tags": {"nodes": [1, 2]}}, "a1": {"tags": {"nodes": []}}, "a2": {"tags": {"nodes": [3]}},
            }}),
            Ok(&[
                Aliased::Records(vec![json!(1), json!(2)]),
                Aliased::Records(vec![]),
                Aliased::Records(vec![json!(3)]),
            ]),
            &[],
        );
    }

    #[test]
    fn an_error_is_of_the_alias_in_its_path() {
        let errors = json!([
            {"path": ["a0"], "type": "NOT_FOUND", "message": "no such node"},
            {"path": ["a1", "body"], "message": "timed out"},
            {"path": ["a2", "body"], "message": "a part"},
            {"message": "slow"},
        ]);
        let absent = Aliased::Absent(Some("no such node".to_owned()));
        let failed = Aliased::Failed("timed out".to_owned());
        check(
            "auto",
            &json!({"data": {"a0": null, "a1": null, "a2": {"id": 3, "body": null}}, "errors": errors}),
            Ok(&[absent.clone(), failed.clone(), Aliased::Records(vec![json!({"id": 3, "body": null})])]),
            &["the answer has errors beside its data: slow", "a part of the answer is missing: a part"],
        );
        let errors = json!([{"path": ["a1"], "extensions": {"code": "NOT_FOUND"}, "message": "no such node"}]);
        check("auto", &json!({"data": null, "errors": errors}), Ok(&[Aliased::Unsaid, absent, Aliased::Unsaid]), &[]);
    }

    #[test]
    fn an_answer_that_says_nothing_of_any_alias_is_an_error() {
        check(
            "auto",
            &json!({"errors": [{"message": "Field 'x' doesn't exist"}]}),
            Err("the answer has no data and says Field 'x' doesn't exist"),
            &[],
        );
    }
}
