//! Texts with names in braces, `/repos/{each}/issues`, of which only names that are known are replaced.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::job::{Params, text_of};

/// The names that a stream's texts may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    exact: BTreeSet<String>,
    parents: BTreeSet<String>,
}

impl Names {
    /// Makes `{name}` a name.
    pub fn add(&mut self, name: &str) {
        self.exact.insert(name.to_owned());
    }

    /// Makes `{parent.field}` a name, for every field.
    pub fn add_parent(&mut self, parent: &str) {
        self.parents.insert(parent.to_owned());
    }

    /// Whether this is a name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        let field_of = |parent: &String| {
            let field = name.strip_prefix(parent.as_str()).and_then(|rest| rest.strip_prefix('.'));
            field.is_some_and(|field| !field.is_empty() && field.split('.').all(|part| !part.trim().is_empty()))
        };
        self.exact.contains(name) || self.parents.iter().any(field_of)
    }
}

/// A text with names in it. Braces around anything else stay as they are: GraphQL and regular expressions are full of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

/// What becomes of a value where it is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Nothing.
    No,
    /// It is one segment of a path: whatever is not unreserved (RFC 3986 section 2.3) is written in percent. What the user names, the
    /// values of `each`, may be several segments, as `owner/repo` is.
    Path,
}

impl Template {
    /// Reads a text; `names` are those that are replaced.
    #[must_use]
    pub fn parse(text: &str, names: &Names) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let inner = &rest[open + 1..];
            let name = inner.find('}').map(|close| &inner[..close]).filter(|name| names.knows(name));
            if let Some(name) = name {
                plain.push_str(&rest[..open]);
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Name(name.to_owned()));
                rest = &inner[name.len() + 1..];
            } else {
                plain.push_str(&rest[..=open]);
                rest = inner;
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Self { pieces }
    }

    /// The names in it, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Name(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The name that is all of it, if one is.
    #[must_use]
    pub fn whole_name(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Name(name)] => Some(name),
            _ => None,
        }
    }

    /// The text with its values; the error is a name that has none.
    pub fn render(&self, params: &Params, escape: Escape) -> Result<String, String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Name(name) => {
                    let value = params.get(name).filter(|value| !value.is_null()).ok_or_else(|| name.clone())?;
                    let value = text_of(value);
                    text.push_str(&if escape == Escape::Path { in_path(name, &value) } else { value });
                }
            }
        }
        Ok(text)
    }

    /// The text as a part of a query of GraphQL: values become literals, within quotes parts of a text. The error is a name that has no
    /// value, or none that can be written there.
    pub fn render_graphql(&self, params: &Params) -> Result<String, String> {
        let mut text = String::new();
        let mut in_quotes = false;
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => {
                    let mut is_escaped = false;
                    for letter in plain.chars() {
                        in_quotes ^= letter == '"' && !is_escaped;
                        is_escaped = in_quotes && letter == '\\' && !is_escaped;
                    }
                    text.push_str(plain);
                }
                Piece::Name(name) => {
                    let value = params.get(name).filter(|value| !value.is_null()).ok_or_else(|| name.clone())?;
                    // The texts of JSON are texts of GraphQL, with the same escapes (its specification, section 2.9.4).
                    let quoted = Value::String(text_of(value)).to_string();
                    if in_quotes {
                        text.push_str(&quoted[1..quoted.len() - 1]);
                    } else if matches!(value, Value::Number(_) | Value::Bool(_)) {
                        text.push_str(&value.to_string());
                    } else {
                        text.push_str(&quoted);
                    }
                }
            }
        }
        Ok(text)
    }
}

fn in_path(name: &str, value: &str) -> String {
    let keeps = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let segment = |segment: &str| -> String {
        // A value that is a dot segment would lead to another path than the one that was meant.
        if matches!(segment, "." | "..") {
            return segment.replace('.', "%2E");
        }
        segment
            .bytes()
            .map(|byte| if keeps(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect()
    };
    if name.rsplit('.').next() == Some("each") {
        return value.split('/').map(segment).collect::<Vec<_>>().join("/");
    }
    segment(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names() -> Names {
        let mut names = Names::default();
        names.add("each");
        names.add_parent("issues");
        names
    }

    #[track_caller]
    fn check(text: &str, escape: Escape, expected: Result<&str, &str>) {
        let params = json!({"each": "a/b c", "issues.number": 7, "issues.path": "../x", "issues.each": "../x", "issues.none": null});
        let rendered = Template::parse(text, &names()).render(params.as_object().expect("it is one"), escape);
        assert_eq!(rendered, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
    }

    #[test]
    fn known_names_are_replaced_and_all_other_braces_stay() {
        check("/repos/{each}/issues", Escape::Path, Ok("/repos/a/b%20c/issues"));
        check("/x/{issues.number}{issues.number}", Escape::Path, Ok("/x/77"));
        check("query { repo(id: {issues.number}) { id } }", Escape::No, Ok("query { repo(id: 7) { id } }"));
        check("{unknown} {each", Escape::No, Ok("{unknown} {each"));
        check("{{each}}", Escape::No, Ok("{a/b c}"));
        check("", Escape::No, Ok(""));
        check("{issues.none}", Escape::No, Err("issues.none"));
        check("{issues.lost}", Escape::No, Err("issues.lost"));
    }

    #[test]
    fn a_value_leads_out_of_no_path() {
        check("/x/{issues.path}", Escape::Path, Ok("/x/..%2Fx"));
        check("/x/{issues.each}", Escape::Path, Ok("/x/%2E%2E/x"));
    }

    #[test]
    fn a_field_of_a_parent_is_a_name_and_the_parent_alone_is_not() {
        let names = names();
        for (name, known) in [
            ("issues.a", true),
            ("issues.a.b", true),
            ("issues", false),
            ("issues.", false),
            ("issue.a", false),
            ("eac", false),
        ] {
            assert_eq!(names.knows(name), known, "{name}");
        }
    }

    #[test]
    fn values_are_literals_of_graphql_or_parts_of_a_text() {
        let render = |text: &str, value: serde_json::Value| {
            let params = json!({"each": "a\"b\\", "issues.id": value}).as_object().expect("it is one").clone();
            Template::parse(text, &names()).render_graphql(&params)
        };
        let node = "node(id: {issues.id}) { id }";
        assert_eq!(render(node, json!("x\"y")), Ok(r#"node(id: "x\"y") { id }"#.to_owned()));
        assert_eq!(render(node, json!(7)), Ok("node(id: 7) { id }".to_owned()));
        assert_eq!(render(node, json!(null)), Err("issues.id".to_owned()));
        let search = r#"search(query: "say \"{each}\" {issues.id}", n: {issues.id})"#;
        assert_eq!(render(search, json!(7)), Ok(r#"search(query: "say \"a\"b\\\" 7", n: 7)"#.to_owned()));
        assert_eq!(render(r#"x(a: "\\", b: {issues.id})"#, json!("q")), Ok(r#"x(a: "\\", b: "q")"#.to_owned()));
    }
}
