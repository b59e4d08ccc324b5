//! The keys of a stream beside those of every API: what is asked, in which slices, and what other answers mean.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use chrono::{DateTime, NaiveDate};
use serde_json::{Map, Number, Value};
use toml::de::DeValue;

use crate::clock::Timestamp;
use crate::interpret::{ErrorAction, ErrorRule, JsonAt, RecordFilter};
use crate::job::{Merge, Method, Target};
use crate::stream::{Alias, Batch, BodyTemplate, Format, Incremental, Missing, Names, Template, Windows};

use super::section::{Field, Section};

/// The keys that this file reads.
pub(super) const KEYS: [&str; 19] = [
    "batch",
    "each",
    "each_file",
    "errors",
    "every",
    "form",
    "full_every",
    "graphql",
    "include",
    "incremental",
    "json",
    "merge",
    "method",
    "parent",
    "slice",
    "sweep",
    "variables",
    "where",
    "where_parent",
];

/// The keys of its tables, so that a test can look for them in the shipped file.
#[cfg(test)]
pub(super) const KEYS_OF_TABLES: [&str; 25] = [
    "end", "size", "join", "max_url", "match", "missing", "action", "body", "equals", "field", "format", "from",
    "lookback", "order", "path", "send", "split_at", "start", "status", "step", "to", "wait", "each", "json", "form",
];

/// The stream whose records make the slices of another.
#[derive(Clone, Debug, PartialEq)]
pub struct Parent {
    /// Its name within the API.
    pub stream: String,
    /// Which of its records do; none means all.
    pub filter: Option<RecordFilter>,
}

/// How a stream is asked only for what is new.
#[derive(Clone, Debug, PartialEq)]
pub struct IncrementalConfig {
    /// Where a record has the value.
    pub field: JsonAt,
    /// The rest.
    pub rule: Incremental,
}

/// What a stream says beside what every API says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamKeys {
    /// GET or POST; POST is the default for what has a body.
    pub method: Option<Method>,
    /// Its body, before names are known.
    pub(super) body: Option<Body>,
    /// Values for each of which it is pulled.
    pub each: Vec<String>,
    /// A file with more of them, one a line.
    pub each_file: Option<PathBuf>,
    /// The stream whose records it hangs on.
    pub parent: Option<Parent>,
    /// Values of its slice that each record gets.
    pub include: Vec<String>,
    /// What becomes of a stored record that is met again: `replace`, the default, or `deep`.
    pub merge: Merge,
    /// Which records are kept; none means all.
    pub filter: Option<RecordFilter>,
    /// The windows of time that it is cut into.
    pub windows: Option<Windows>,
    /// How it is asked only for what is new.
    pub incremental: Option<IncrementalConfig>,
    /// What answers mean that are no records.
    pub errors: Vec<ErrorRule>,
    /// How several values are asked for in one request.
    pub batch: Option<BatchConfig>,
    /// From the beginning of one pull to that of the next, in ms; none, the default, pulls once.
    pub every_ms: Option<u64>,
    /// The same for pulls of everything, of an incremental stream; none, the default, leaves it at the first.
    pub full_every_ms: Option<u64>,
    /// Whether records that a pull of everything did not bring are gone; not so by default.
    pub sweep: bool,
}

/// How several values are asked for in one request.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchConfig {
    /// The field of the parent's records that is the id; none for the values of `each`.
    pub field: Option<String>,
    /// Ids in one request at most.
    pub size_max: usize,
    /// The field of GraphQL that asks for one of them; none for other requests.
    pub alias: Option<String>,
    /// Where they go; none when the texts have `{ids}`.
    pub send: Option<Target>,
    /// What is between two of them.
    pub join: String,
    /// Bytes that they may take in an address.
    pub url_bytes_max: usize,
    /// Where a record has its id.
    pub at: Option<JsonAt>,
    /// What becomes of an id without a record.
    pub missing: Missing,
}

/// A body as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    Json(Value),
    Form(Vec<(String, String)>),
}

impl StreamKeys {
    /// This, with what `section` says in its place.
    pub(super) fn with(mut self, section: &Section<'_>) -> Self {
        const METHODS: [(&str, Method); 2] = [("GET", Method::Get), ("POST", Method::Post)];
        section.set("method", &mut self.method, |field| Some(Some(field.one_of(&METHODS, &[])?)));
        self.body = read_body(section).or(self.body);
        section.set("each", &mut self.each, |field| Some(field.strings()));
        section.set("each_file", &mut self.each_file, |field| Some(Some(section.resolve(field.plain_text()?))));
        section.set("include", &mut self.include, |field| Some(field.strings()));
        section.set("merge", &mut self.merge, |field| {
            field.one_of(&[("replace", Merge::Replace), ("deep", Merge::Deep)], &[])
        });
        section.set("where", &mut self.filter, |field| Some(Some(read_filter(field)?)));
        let filter = section.get("where_parent").and_then(|field| read_filter(&field));
        if let Some(field) = section.get("parent") {
            self.parent = field.plain_text().map(|stream| Parent { stream: stream.to_owned(), filter: filter.clone() });
        } else if section.get("where_parent").is_some() {
            section.complain("has \"where_parent\" without \"parent\", the stream whose records it chooses from");
        }
        section.set("slice", &mut self.windows, |field| Some(Some(read_windows(field, section)?)));
        section.set("incremental", &mut self.incremental, |field| Some(Some(read_incremental(field, section)?)));
        section.set("batch", &mut self.batch, |field| Some(Some(read_batch(field, section)?)));
        if self.body.is_none() && self.batch.as_ref().is_some_and(|batch| batch.alias.is_some()) {
            self.body = Some(Body::Json(serde_json::json!({ "query": Alias::QUERY, "variables": {} })));
        }
        section.set("every", &mut self.every_ms, |field| read_every(field));
        section.set("full_every", &mut self.full_every_ms, |field| read_every(field));
        if section.get("full_every").is_some() && self.incremental.is_none() {
            section.complain("has \"full_every\" without \"incremental\": each of its pulls is one of everything");
        } else if section.get("full_every").is_some() && self.every_ms.is_none() {
            section.complain("has \"full_every\" without \"every\", the time from one pull to the next");
        }
        section.set("sweep", &mut self.sweep, Field::flag);
        section.set("errors", &mut self.errors, |field| read_errors(field, section));
        self
    }

    /// The names that its texts may hold.
    pub(super) fn names(&self) -> Names {
        let mut names = Names::default();
        if !self.each.is_empty() || self.each_file.is_some() {
            names.add("each");
        }
        if let Some(parent) = &self.parent {
            names.add_parent(&parent.stream);
        }
        if self.batch.is_some() {
            names.add("ids");
        }
        names
    }

    /// How several values are asked for in one request, with the name that they have in a slice.
    pub(super) fn batch(&self, names: &Names) -> Option<Batch> {
        let batch = self.batch.as_ref()?;
        let name = match (&batch.field, &self.parent) {
            (Some(field), Some(parent)) => format!("{}.{field}", parent.stream),
            _ => "each".to_owned(),
        };
        Some(Batch {
            name,
            size_max: batch.size_max,
            alias: batch.alias.as_ref().map(|field| Alias { field: Template::parse(field, names), shared: Vec::new() }),
            send: batch.send.clone(),
            join: batch.join.clone(),
            url_bytes_max: batch.url_bytes_max,
        })
    }

    /// The body with its names.
    pub(super) fn body(&self, names: &Names) -> Option<BodyTemplate> {
        Some(match self.body.as_ref()? {
            Body::Json(value) => BodyTemplate::Json(value.clone()),
            Body::Form(fields) => BodyTemplate::Form(
                fields.iter().map(|(name, value)| (name.clone(), Template::parse(value, names))).collect(),
            ),
        })
    }

    /// Whether it is asked with a body of JSON, as queries of GraphQL are.
    pub(super) fn has_json(&self) -> bool {
        matches!(self.body, Some(Body::Json(_)))
    }

    /// The method; what has a body is asked by POST.
    pub(super) fn method(&self) -> Method {
        self.method.unwrap_or(if self.body.is_some() { Method::Post } else { Method::Get })
    }
}

fn read_body(section: &Section<'_>) -> Option<Body> {
    let given: Vec<&str> = ["json", "form", "graphql"].into_iter().filter(|key| section.get(key).is_some()).collect();
    if given.len() > 1 {
        section.complain(&format!("has both \"{}\" and \"{}\"; a request has one body", given[0], given[1]));
        return None;
    }
    let variables = section.get("variables");
    if variables.is_some() && given != ["graphql"] {
        section.complain("has \"variables\" without \"graphql\", the query that they are for");
    }
    if section.get("method").is_some_and(|field| field.value.as_str() == Some("GET")) && !given.is_empty() {
        section.complain(&format!("has a \"{}\" and method = \"GET\"; a body is sent by POST", given[0]));
    }
    match *given.first()? {
        "json" => {
            let field = section.get("json")?;
            if !field.value.is_table() && !field.value.is_array() {
                field.wrong("a table such as { limit = 100 }, or a list");
                return None;
            }
            Some(Body::Json(json(&field, field.value)?))
        }
        "form" => {
            let field = section.get("form")?;
            let Some(table) = field.table(&format!("{}.form", section.name)) else {
                field.wrong("a table of texts such as { action = \"list\" }");
                return None;
            };
            let fields = table
                .fields()
                .into_iter()
                .filter_map(|(name, field)| Some((name.to_owned(), crate::job::text_of(&json(&field, field.value)?))));
            Some(Body::Form(fields.collect()))
        }
        _ => {
            let query = section.get("graphql")?.plain_text()?.to_owned();
            let variables = match variables {
                Some(field) if !field.value.is_table() => {
                    field.wrong("a table such as { owner = \"{each}\" }");
                    return None;
                }
                Some(field) => json(&field, field.value)?,
                None => Value::Object(Map::new()),
            };
            let mut body = Map::new();
            body.insert("query".to_owned(), Value::String(query));
            body.insert("variables".to_owned(), variables);
            Some(Body::Json(Value::Object(body)))
        }
    }
}

/// A value of the file as JSON.
pub(super) fn json(field: &Field<'_>, value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok();
            match parsed {
                Some(number) => Value::from(number),
                None => return complain_number(field),
            }
        }
        DeValue::Float(number) => match number.as_str().parse().ok().and_then(Number::from_f64) {
            Some(number) => Value::Number(number),
            None => return complain_number(field),
        },
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(list) => {
            Value::Array(list.iter().map(|value| json(field, value.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Table(table) => {
            let member = |(name, value): (&toml::Spanned<std::borrow::Cow<'_, str>>, &toml::Spanned<DeValue<'_>>)| {
                Some((name.get_ref().to_string(), json(field, value.get_ref())?))
            };
            Value::Object(table.iter().map(member).collect::<Option<_>>()?)
        }
    })
}

fn complain_number(field: &Field<'_>) -> Option<Value> {
    field.complain("has a number that JSON cannot hold");
    None
}

fn read_filter(field: &Field<'_>) -> Option<RecordFilter> {
    let text = field.plain_text()?;
    RecordFilter::parse(text)
        .map_err(|error| field.complain(&format!("is no filter such as \"$.comments > 0\": {}", error.why)))
        .ok()
}

/// A place in a record or a body.
fn table_of<'a>(field: &Field<'a>, key: &str, section: &Section<'a>, example: &str) -> Option<Section<'a>> {
    let table = field.table(&format!("{}.{key}", section.name));
    if table.is_none() {
        field.wrong(&format!("a table such as {example}"));
    }
    table
}

fn required<'a>(table: &Section<'a>, key: &str, what: &str) -> Option<Field<'a>> {
    let field = table.get(key);
    if field.is_none() {
        table.complain(&format!("lacks \"{key}\", {what}"));
    }
    field
}

/// An instant: RFC 3339, or a date, which begins at midnight in UTC.
fn read_instant(field: &Field<'_>) -> Option<Timestamp> {
    let text = match field.value {
        DeValue::Datetime(time) => time.to_string(),
        _ => field.text()?.to_owned(),
    };
    let of_day =
        || Some(NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis());
    let at = DateTime::parse_from_rfc3339(&text).ok().map(|time| time.timestamp_millis()).or_else(of_day);
    if at.is_none() {
        field.wrong("a date such as \"2024-01-31\", or a time such as \"2024-01-31T12:00:00Z\"");
    }
    at.map(Timestamp)
}

fn read_batch(field: &Field<'_>, section: &Section<'_>) -> Option<BatchConfig> {
    const MISSING: [(&str, Missing); 3] = [("done", Missing::Done), ("retry", Missing::Retry), ("fail", Missing::Fail)];
    let table = table_of(field, "batch", section, "{ field = \"id\", size = 50, send = \"query:ids\" }")?;
    table.check_keys(&["field", "join", "match", "max_url", "missing", "send", "size"], &[]);
    let mut batch = BatchConfig {
        field: None,
        size_max: 50,
        alias: None,
        send: None,
        join: ",".to_owned(),
        url_bytes_max: 2_000,
        at: None,
        missing: Missing::Done,
    };
    table.set("field", &mut batch.field, |field| Some(Some(field.plain_text()?.to_owned())));
    table.set("size", &mut batch.size_max, |field| usize::try_from(field.count(1..=10_000_u64)?).ok());
    let send = table.get("send");
    let alias =
        send.as_ref().and_then(|field| field.value.as_str()).and_then(|text| text.trim().strip_prefix("graphql:"));
    batch.alias = alias.map(|text| text.trim().to_owned());
    if batch.alias.is_some() {
        check_alias(&table, section);
    } else if let Some(field) = send {
        batch.send = Some(field.target()?);
    }
    table.set("join", &mut batch.join, |field| Some(field.text()?.to_owned()));
    table.set("max_url", &mut batch.url_bytes_max, |field| usize::try_from(field.count(100..=65_535_u64)?).ok());
    table.set("match", &mut batch.at, |field| Some(Some(field.json_at()?)));
    table.set("missing", &mut batch.missing, |field| field.one_of(&MISSING, &[]));
    let has_parent = section.get("parent").is_some();
    if batch.alias.is_some() {
        // The names in it say what of a slice is asked for.
    } else if has_parent && batch.field.is_none() {
        table.complain("lacks \"field\", the field of the parent's records that is asked for: field = \"id\"");
    } else if !has_parent && batch.field.is_some() {
        table.complain("has a \"field\" and no parent; the values of \"each\" are the ids");
    }
    if batch.missing != Missing::Done && batch.at.is_none() && batch.alias.is_none() {
        table.complain("has \"missing\" without \"match\", where a record has its id: match = \"id\"");
    }
    if section.get("include").is_some() && batch.alias.is_none() {
        table.complain("and \"include\" do not go together: a record of a batch does not say which id it came for");
    }
    Some(batch)
}

/// Complains about what does not go together with ids under aliases.
fn check_alias(table: &Section<'_>, section: &Section<'_>) {
    for key in ["field", "join", "match", "max_url"].into_iter().filter(|key| table.get(key).is_some()) {
        let why = "which ids are asked for stands in the query, and what is answered for each under its alias";
        table.complain(&format!("has \"{key}\", which does not go together with send = \"graphql:...\": {why}"));
    }
    for key in ["form", "incremental", "json", "slice"].into_iter().filter(|key| section.get(key).is_some()) {
        section.complain(&format!(
            "has \"{key}\", which does not go together with a batch that is sent as \"graphql:...\""
        ));
    }
    let is_none = |field: &Field<'_>| field.value.as_str() == Some("none");
    if section.get("paginate").is_some_and(|field| !is_none(&field)) {
        section.complain(
            "has a \"paginate\", which does not go together with a batch that is sent as \"graphql:...\": what goes on within \
             its records is a stream of its own, with `nested`",
        );
    }
}

/// A duration; "" for once.
#[expect(clippy::option_option, reason = "the outer one is the convention of all readers: none after a complaint")]
fn read_every(field: &Field<'_>) -> Option<Option<u64>> {
    if field.value.as_str() == Some("") {
        return Some(None);
    }
    Some(Some(field.duration_ms(1_000..=3_660 * 86_400_000)?))
}

fn read_windows(field: &Field<'_>, section: &Section<'_>) -> Option<Windows> {
    const FORMATS: [(&str, Format); 4] = [
        ("rfc3339", Format::Rfc3339),
        ("date", Format::Date),
        ("epoch_s", Format::EpochS),
        ("epoch_ms", Format::EpochMs),
    ];
    let example = "{ start = \"2024-01-01\", step = \"7d\", from = \"query:since\", to = \"query:until\" }";
    let table = table_of(field, "slice", section, example)?;
    table.check_keys(&["end", "format", "from", "split_at", "start", "step", "to"], &[]);
    let start_at = read_instant(&required(&table, "start", "when the first window begins: start = \"2024-01-01\"")?)?;
    let step_ms =
        required(&table, "step", "how long a window is: step = \"7d\"")?.duration_ms(1_000..=3_660 * 86_400_000)?;
    let from = required(&table, "from", "where the start of a window goes: from = \"query:since\"")?.target()?;
    let to = table.get("to").and_then(|field| field.target());
    let mut format = Format::default();
    table.set("format", &mut format, |field| field.one_of(&FORMATS, &[]));
    let mut end_is_in = false;
    table.set("end", &mut end_is_in, |field| field.one_of(&[("exclusive", false), ("inclusive", true)], &[]));
    let mut split_at = None;
    table.set("split_at", &mut split_at, |field| Some(Some(field.count(1..=u64::MAX)?)));
    if split_at.is_some() && to.is_none() {
        table.complain("has \"split_at\" without \"to\": a window without an end cannot be cut");
    }
    if format == Format::Date && step_ms % 86_400_000 != 0 {
        table.complain("has format = \"date\" and a step that is no number of whole days");
    }
    Some(Windows { start_at, step_ms, from, to, format, end_is_in, split_at })
}

fn read_incremental(field: &Field<'_>, section: &Section<'_>) -> Option<IncrementalConfig> {
    let table = table_of(field, "incremental", section, "{ field = \"updated_at\", send = \"query:since\" }")?;
    table.check_keys(&["field", "lookback", "order", "send", "start"], &[]);
    let at = required(&table, "field", "where a record says when it changed: field = \"updated_at\"")?.json_at()?;
    let mut rule = Incremental { send: None, start: None, lookback_ms: 0, in_order: false };
    table.set("send", &mut rule.send, |field| Some(Some(field.target()?)));
    table.set("start", &mut rule.start, |field| Some(Some(json(field, field.value)?)));
    table.set("lookback", &mut rule.lookback_ms, |field| field.duration_ms(0..=3_660 * 86_400_000));
    table.set("order", &mut rule.in_order, |field| field.one_of(&[("none", false), ("asc", true)], &[]));
    if rule.send.is_none() {
        table.complain("lacks \"send\", where the value goes from which on records are wanted: send = \"query:since\"");
        return None;
    }
    Some(IncrementalConfig { field: at, rule })
}

fn read_errors(field: &Field<'_>, section: &Section<'_>) -> Option<Vec<ErrorRule>> {
    let Some(array) = field.value.as_array() else {
        field.wrong("a list of rules, [{ status = 404, action = \"skip\" }]");
        return None;
    };
    let rules = array.iter().map(|value| {
        let part = field.part(value);
        let table = table_of(&part, "errors", section, "{ status = 404, action = \"skip\" }")?;
        read_error_rule(&table)
    });
    // Each wrong rule has been told; the others say nothing for themselves.
    rules.collect::<Vec<_>>().into_iter().collect()
}

fn read_error_rule(table: &Section<'_>) -> Option<ErrorRule> {
    const ACTIONS: [(&str, ErrorAction); 7] = [
        ("retry", ErrorAction::Retry),
        ("throttle", ErrorAction::Throttle { wait_ms: None }),
        ("skip", ErrorAction::Skip),
        ("stop", ErrorAction::Stop),
        ("restart", ErrorAction::Restart),
        ("split", ErrorAction::Split),
        ("fail", ErrorAction::Fail),
    ];
    table.check_keys(&["action", "body", "equals", "path", "status", "wait"], &[]);
    let mut action =
        required(table, "action", "what is to be done: action = \"retry\"")?.one_of(&ACTIONS, &["refresh_auth"])?;
    if let Some(field) = table.get("wait") {
        let wait_ms = field.duration_ms(1..=30 * 86_400_000);
        match &mut action {
            ErrorAction::Throttle { wait_ms: wait } => *wait = wait_ms,
            _ => field.complain("goes with action = \"throttle\" only"),
        }
    }
    let statuses = match table.get("status") {
        Some(field) => read_statuses(&field)?,
        None => Vec::new(),
    };
    let at = table.get("path").and_then(|field| field.json_at());
    let equals = table.get("equals").and_then(|field| json(&field, field.value));
    if equals.is_some() && at.is_none() {
        table.complain("has \"equals\" without \"path\", the place in the body that it is held against");
    }
    let text = table.get("body").and_then(|field| field.plain_text().map(str::to_owned));
    if statuses.is_empty() && at.is_none() && text.is_none() {
        table.complain("would match every answer: name a \"status\", a \"path\" or a text in the \"body\"");
        return None;
    }
    Some(ErrorRule { statuses, at, equals, text, action })
}

/// `404`, `[404, 410]`, `"5xx"` or `["429", "5xx"]`.
fn read_statuses(field: &Field<'_>) -> Option<Vec<RangeInclusive<u16>>> {
    let one = |value: &DeValue<'_>| -> Option<RangeInclusive<u16>> {
        let text = value.as_integer().map(ToString::to_string).or_else(|| value.as_str().map(str::to_owned))?;
        if let Some(class) = text.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok()) {
            return (1..=9).contains(&class).then(|| class * 100..=class * 100 + 99);
        }
        let status = text.parse::<u16>().ok().filter(|status| (100..=999).contains(status))?;
        Some(status..=status)
    };
    let found: Option<Vec<_>> = match field.value.as_array() {
        Some(list) => list.iter().map(|value| one(value.get_ref())).collect(),
        None => one(field.value).map(|status| vec![status]),
    };
    if found.is_none() {
        field.wrong("a status, a class such as \"5xx\", or a list of them");
    }
    found
}
