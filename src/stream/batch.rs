//! Several ids in one request, chosen when it is sent.

use serde_json::Value;

use crate::job::{Params, Target, text_of};

use super::alias::Alias;

/// How ids are asked for together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Which value of a slice is its id: `each`, or `issues.id`; where there is an alias, all of them are.
    pub name: String,
    /// Ids in one request at most, 1..=10,000.
    pub size_max: usize,
    /// How each is asked for in a query of GraphQL; none for other requests.
    pub alias: Option<Alias>,
    /// Where they go; none when the texts of the stream have `{ids}`.
    pub send: Option<Target>,
    /// What is between two of them. In a JSON body they are a list.
    pub join: String,
    /// Bytes that the ids may take in an address, as they are written there.
    pub url_bytes_max: usize,
}

/// What becomes of an id that is not in the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// There is nothing: it is done.
    #[default]
    Done,
    /// It is asked for again, within the attempts.
    Retry,
    /// It is given up.
    Fail,
}

/// The name under which the ids are known to the texts of a stream.
pub(super) const IDS: &str = "ids";

impl Batch {
    /// The id of a slice.
    #[must_use]
    pub fn id_of(&self, params: &Params) -> Option<Value> {
        match &self.alias {
            Some(_) => Some(Value::Object(params.clone())),
            None => params.get(&self.name).filter(|id| !id.is_null()).cloned(),
        }
    }

    /// Whether two slices can be asked for together: nothing but their ids tells them apart.
    #[must_use]
    pub fn go_together(&self, one: &Params, other: &Params) -> bool {
        if let Some(alias) = &self.alias {
            return alias.shared.iter().all(|name| one.get(name) == other.get(name));
        }
        let rest = |params: &Params| params.iter().filter(|(name, _)| **name != self.name).count();
        let same = |(name, value): (&String, &Value)| *name == self.name || other.get(name) == Some(value);
        rest(one) == rest(other) && one.iter().all(same)
    }

    /// How many of `ids` fit into one request, in order; at least one.
    pub fn fitting<'i>(&self, ids: impl Iterator<Item = &'i Value>, size_max: usize) -> usize {
        let written =
            |text: &str| -> usize { url::form_urlencoded::byte_serialize(text.as_bytes()).map(str::len).sum() };
        let join_bytes = written(&self.join);
        let mut bytes = 0;
        let mut count = 0;
        for id in ids.take(size_max.min(self.size_max)) {
            bytes += written(&text_of(id)) + if count > 0 { join_bytes } else { 0 };
            if count > 0 && self.is_in_url() && bytes > self.url_bytes_max {
                break;
            }
            count += 1;
        }
        count.max(1)
    }

    fn is_in_url(&self) -> bool {
        // Where texts hold them, it may be the address.
        self.alias.is_none() && !matches!(self.send, Some(Target::Body(_) | Target::Header(_)))
    }

    /// The ids as one text.
    #[must_use]
    pub fn joined(&self, ids: &[Value]) -> Value {
        Value::String(ids.iter().map(text_of).collect::<Vec<_>>().join(&self.join))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::template::{Names, Template};
    use super::*;

    fn batch(size_max: usize, url_bytes_max: usize) -> Batch {
        let send = Target::parse("query:ids").ok();
        Batch { name: "list.id".to_owned(), size_max, alias: None, send, join: "|".to_owned(), url_bytes_max }
    }

    #[test]
    fn as_many_ids_go_into_a_request_as_count_and_length_allow() {
        let ids: Vec<Value> = (10..30).map(|id| json!(id)).collect();
        for (size_max, url_bytes_max, asked, expected) in [
            (50, 2_000, 99, 20),
            (7, 2_000, 99, 7),
            (50, 2_000, 3, 3),
            // Two digits each, and "%7C" between them: 2, 7, 12.
            (50, 12, 99, 3),
            (50, 11, 99, 2),
            (50, 1, 99, 1),
        ] {
            let fitting = batch(size_max, url_bytes_max).fitting(ids.iter(), asked);
            assert_eq!(fitting, expected, "{size_max} {url_bytes_max} {asked}");
        }
        let in_body = Batch { send: Target::parse("body:ids").ok(), ..batch(50, 1) };
        assert_eq!(in_body.fitting(ids.iter(), 99), 20, "a body has no such cap");
        assert_eq!(batch(50, 99).joined(&[json!(1), json!("b")]), json!("1|b"));
    }

    #[test]
    fn slices_of_an_alias_differ_in_what_only_their_fields_have() {
        let field = Template::parse("node(id: 1) { id }", &Names::default());
        let alias = Some(Alias { field, shared: vec!["list.shop".to_owned()] });
        let batch = Batch { alias, ..batch(50, 1) };
        let params = |value: Value| value.as_object().expect("it is one").clone();
        let together = |one: Value, other: Value| batch.go_together(&params(one), &params(other));
        assert!(together(
            json!({"list.shop": "a", "list.id": 1}),
            json!({"list.shop": "a", "list.id": 2, "list.x": 1})
        ));
        assert!(!together(json!({"list.shop": "a", "list.id": 1}), json!({"list.shop": "b", "list.id": 1})));
        assert_eq!(batch.fitting([json!("long"), json!("long")].iter(), 9), 2, "a body has no cap");
    }

    #[test]
    fn slices_go_together_when_nothing_but_their_ids_differs() {
        let params = |value: Value| value.as_object().expect("it is one").clone();
        let batch = batch(50, 2_000);
        let together = |one: Value, other: Value| batch.go_together(&params(one), &params(other));
        assert!(together(json!({"list.id": 1, "list.shop": "a"}), json!({"list.id": 2, "list.shop": "a"})));
        assert!(!together(json!({"list.id": 1, "list.shop": "a"}), json!({"list.id": 2, "list.shop": "b"})));
        assert!(!together(json!({"list.id": 1}), json!({"list.id": 2, "list.shop": "b"})));
    }
}
