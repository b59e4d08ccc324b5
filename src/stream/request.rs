//! The first request of a slice.

use serde_json::Value;
use url::Url;

use crate::job::{Call, Extra, Method, Params, Payload, Target};

use super::batch::{Batch, IDS};
use super::template::{Escape, Names, Template};
use super::windows::{Window, Windows};

/// The body of a stream's requests, with names in its texts.
#[derive(Clone, Debug, PartialEq)]
pub enum BodyTemplate {
    /// JSON. A text that is nothing but a name becomes its value, with its type.
    Json(Value),
    /// Fields of a form.
    Form(Vec<(String, Template)>),
}

/// What the first request of every slice of a stream is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct CallTemplate {
    /// GET or POST.
    pub method: Method,
    /// What all addresses of the stream begin with, without a query.
    pub base: Url,
    /// What follows it; empty for nothing.
    pub path: Template,
    /// Parameters of the address, in order.
    pub query: Vec<(String, Template)>,
    /// Headers that differ from slice to slice, names in lower case. Never a secret: they are stored with the jobs.
    pub headers: Vec<(String, Template)>,
    /// The body.
    pub body: Option<BodyTemplate>,
    /// The names in the texts.
    pub names: Names,
    /// How ids are asked for together, if they are.
    pub batch: Option<Batch>,
}

/// Why a slice has no first request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A name has no value.
    #[error("{{{0}}} has no value")]
    NoValue(String),
    /// The values make no address.
    #[error("its values make no address: {0}")]
    NoAddress(String),
    /// They make an address at another host.
    #[error("its values lead away from {0}")]
    Elsewhere(String),
}

impl CallTemplate {
    /// A GET of one address, without any names.
    #[must_use]
    pub fn get(url: Url) -> Self {
        let names = Names::default();
        let path = Template::parse("", &names);
        let (query, headers) = (Vec::new(), Vec::new());
        Self { method: Method::Get, base: url, path, query, headers, body: None, names, batch: None }
    }

    /// Whether `{ids}` is somewhere in its texts.
    #[must_use]
    pub fn has_ids(&self) -> bool {
        self.names_in_texts().iter().any(|name| name == IDS)
    }

    /// All names that are used, each once.
    #[must_use]
    pub fn names_used(&self) -> Vec<String> {
        let mut names = self.names_in_texts();
        if let Some(batch) = &self.batch {
            names.retain(|name| name != IDS);
            match &batch.alias {
                Some(alias) => names.extend(alias.field.names().map(str::to_owned)),
                None => names.push(batch.name.clone()),
            }
        }
        names.sort();
        names.dedup();
        names
    }

    /// Learns which names the texts beside the field of an alias have.
    #[must_use]
    pub fn with_shared_names(mut self) -> Self {
        let shared = self.names_in_texts().into_iter().filter(|name| name != IDS).collect();
        if let Some(alias) = self.batch.as_mut().and_then(|batch| batch.alias.as_mut()) {
            alias.shared = shared;
        }
        self
    }

    fn names_in_texts(&self) -> Vec<String> {
        let mut names: Vec<String> = self.path.names().map(str::to_owned).collect();
        names.extend(self.query.iter().flat_map(|(_, value)| value.names().map(str::to_owned)));
        names.extend(self.headers.iter().flat_map(|(_, value)| value.names().map(str::to_owned)));
        match &self.body {
            Some(BodyTemplate::Form(fields)) => {
                names.extend(fields.iter().flat_map(|(_, value)| value.names().map(str::to_owned)));
            }
            Some(BodyTemplate::Json(body)) => names_in(body, &self.names, &mut names),
            None => {}
        }
        names
    }

    /// The first request of the slice with these values; `window` is the span of time that it is for.
    pub fn render(&self, params: &Params, window: Option<(&Windows, &Window)>) -> Result<Call, RenderError> {
        match &self.batch {
            None => self.filled_with(params, window),
            Some(batch) => {
                let id = batch.id_of(params).ok_or_else(|| RenderError::NoValue(batch.name.clone()))?;
                self.render_batch(params, &[id], window)
            }
        }
    }

    /// The request for these ids at once, of slices that else have these values.
    pub fn render_batch(
        &self,
        params: &Params,
        ids: &[Value],
        window: Option<(&Windows, &Window)>,
    ) -> Result<Call, RenderError> {
        let Some(batch) = &self.batch else { return self.filled_with(params, window) };
        let mut params = params.clone();
        if let Some(alias) = &batch.alias {
            params.insert(IDS.to_owned(), Value::String(alias.fields(ids)?));
            return self.filled_with(&params, window);
        }
        params.insert(IDS.to_owned(), batch.joined(ids));
        params.insert(format!("{IDS}.list"), Value::Array(ids.to_vec()));
        let mut call = self.filled_with(&params, window)?;
        if let Some(target) = &batch.send {
            let is_list = matches!(target, Target::Body(_)) && !matches!(call.extra.body, Some(Payload::Form(_)));
            call.set(target, &if is_list { Value::Array(ids.to_vec()) } else { batch.joined(ids) });
        }
        Ok(call)
    }

    fn filled_with(&self, params: &Params, window: Option<(&Windows, &Window)>) -> Result<Call, RenderError> {
        let text = |template: &Template, escape| template.render(params, escape).map_err(RenderError::NoValue);
        let path = text(&self.path, Escape::Path)?;
        let mut url = if path.is_empty() {
            self.base.clone()
        } else {
            // Not by the rules for links, by which "/items" would drop the path of the base.
            let joined = format!("{}/{}", self.base.as_str().trim_end_matches('/'), path.trim_start_matches('/'));
            Url::parse(&joined).map_err(|error| RenderError::NoAddress(error.to_string()))?
        };
        if url.origin() != self.base.origin() {
            return Err(RenderError::Elsewhere(self.base.origin().ascii_serialization()));
        }
        url.set_fragment(None);
        if !self.query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for (name, value) in &self.query {
                pairs.append_pair(name, &text(value, Escape::No)?);
            }
        }
        let body = match &self.body {
            None => None,
            Some(BodyTemplate::Json(body)) => Some(Payload::Json(filled(body, &self.names, params)?)),
            Some(BodyTemplate::Form(fields)) => {
                let fields = fields.iter().map(|(name, value)| Ok((name.clone(), text(value, Escape::No)?)));
                Some(Payload::Form(fields.collect::<Result<_, RenderError>>()?))
            }
        };
        let mut call = Call { url, extra: Extra { method: self.method, headers: Vec::new(), body } };
        for (name, value) in &self.headers {
            call.set(&Target::Header(name.clone()), &Value::String(text(value, Escape::No)?));
        }
        if let Some((windows, window)) = window {
            windows.put(&mut call, window);
        }
        Ok(call)
    }
}

fn names_in(body: &Value, known: &Names, names: &mut Vec<String>) {
    match body {
        Value::String(text) => names.extend(Template::parse(text, known).names().map(str::to_owned)),
        Value::Array(list) => list.iter().for_each(|value| names_in(value, known, names)),
        Value::Object(members) => members.values().for_each(|value| names_in(value, known, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn filled(body: &Value, names: &Names, params: &Params) -> Result<Value, RenderError> {
    Ok(match body {
        Value::String(text) => {
            let template = Template::parse(text, names);
            match template.whole_name() {
                Some(name) => {
                    // Ids are a list where a list can be.
                    let list = if name == IDS { params.get(&format!("{IDS}.list")) } else { None };
                    let value = list.or_else(|| params.get(name)).filter(|value| !value.is_null());
                    value.cloned().ok_or_else(|| RenderError::NoValue(name.to_owned()))?
                }
                None => Value::String(template.render(params, Escape::No).map_err(RenderError::NoValue)?),
            }
        }
        Value::Array(list) => {
            Value::Array(list.iter().map(|value| filled(value, names, params)).collect::<Result<_, _>>()?)
        }
        Value::Object(members) => {
            let fill = |(name, value): (&String, &Value)| Ok((name.clone(), filled(value, names, params)?));
            Value::Object(members.iter().map(fill).collect::<Result<_, RenderError>>()?)
        }
        plain => plain.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::alias::Alias;
    use super::*;

    fn template(path: &str, query: &[(&str, &str)], body: Option<Value>) -> CallTemplate {
        let mut names = Names::default();
        names.add("each");
        names.add_parent("issues");
        CallTemplate {
            method: if body.is_some() { Method::Post } else { Method::Get },
            base: Url::parse("https://api.example.org/v1").expect("a test address parses"),
            path: Template::parse(path, &names),
            query: query.iter().map(|(name, value)| ((*name).to_owned(), Template::parse(value, &names))).collect(),
            headers: vec![],
            body: body.map(BodyTemplate::Json),
            names,
            batch: None,
        }
    }

    fn params(value: &Value) -> Params {
        value.as_object().expect("test values are an object").clone()
    }

    #[test]
    fn values_go_into_path_query_and_body() {
        let template = template(
            "/repos/{each}/issues",
            &[("q", "a {each}"), ("state", "all")],
            Some(json!({"n": "{issues.number}", "text": "no. {issues.number}", "literal": "{x}", "deep": [{"k": 1}]})),
        );
        let call =
            template.render(&params(&json!({"each": "o/r", "issues.number": 7})), None).expect("all have values");
        assert_eq!(call.url.as_str(), "https://api.example.org/v1/repos/o/r/issues?q=a+o%2Fr&state=all");
        let body = json!({"n": 7, "text": "no. 7", "literal": "{x}", "deep": [{"k": 1}]});
        assert_eq!(call.extra, Extra { method: Method::Post, headers: Vec::new(), body: Some(Payload::Json(body)) });
        assert_eq!(template.names_used(), ["each", "issues.number"]);
    }

    #[test]
    fn several_ids_go_into_one_query_under_aliases() {
        let mut template = template("/graphql", &[], Some(json!({"query": "query { {ids} }", "variables": {}})));
        template.names.add("ids");
        template.body = Some(BodyTemplate::Json(json!({"query": "query { {ids} }", "variables": {}})));
        let field = Template::parse("repo(owner: {each}, nr: {issues.number}) { id }", &template.names);
        let alias = Some(Alias { field, shared: vec![] });
        let batch =
            Batch { name: String::new(), size_max: 9, alias, send: None, join: String::new(), url_bytes_max: 0 };
        let template = CallTemplate { batch: Some(batch), ..template }.with_shared_names();
        assert_eq!(template.names_used(), ["each", "issues.number"]);
        let one = json!({"each": "o", "issues.number": 7});
        let query = |call: Result<Call, RenderError>| match call.expect("all have values").extra.body {
            Some(Payload::Json(body)) => body["query"].as_str().unwrap_or_default().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(query(template.render(&params(&one), None)), r#"query { a0: repo(owner: "o", nr: 7) { id } }"#);
        let two = [one.clone(), json!({"each": "p", "issues.number": 8})];
        assert_eq!(
            query(template.render_batch(&params(&one), &two, None)),
            r#"query { a0: repo(owner: "o", nr: 7) { id } a1: repo(owner: "p", nr: 8) { id } }"#
        );
        let error = template.render(&params(&json!({"each": "o"})), None).expect_err("a value is missing");
        assert_eq!(error.to_string(), "{issues.number} has no value");
    }

    #[test]
    fn values_go_into_headers_and_stay_on_their_line() {
        let mut template = template("/items", &[], None);
        template.headers.push(("x-account".to_owned(), Template::parse("acc {issues.id}", &template.names)));
        assert_eq!(template.names_used(), ["issues.id"]);
        let call = template.render(&params(&json!({"issues.id": "7\r\nx: y"})), None).expect("it has a value");
        assert_eq!(call.extra.headers, [("x-account".to_owned(), "acc 7x: y".to_owned())]);
        let error = template.render(&Params::new(), None).expect_err("the value is missing");
        assert_eq!(error.to_string(), "{issues.id} has no value");
    }

    #[test]
    fn a_stream_without_a_path_is_asked_at_its_base() {
        let call = template("", &[], None).render(&Params::new(), None).expect("nothing is missing");
        assert_eq!(call, Call::get(Url::parse("https://api.example.org/v1").expect("it parses")));
    }

    #[test]
    fn a_record_cannot_lead_elsewhere() {
        let template = template("/x/{issues.id}/y", &[], None);
        for id in ["../../admin", "a?b=c", "a#b", "//evil.example/"] {
            let call = template.render(&params(&json!({"issues.id": id})), None).expect("it is one segment");
            assert!(call.url.as_str().starts_with("https://api.example.org/v1/x/"), "{}", call.url);
            assert!(call.url.path().ends_with("/y") && call.url.query().is_none(), "{}", call.url);
        }
        let error = template.render(&Params::new(), None).expect_err("the value is missing");
        assert_eq!(error.to_string(), "{issues.id} has no value");
    }
}
