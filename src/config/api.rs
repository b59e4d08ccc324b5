//! `[api.NAME]`: records to pull, stream by stream.

use std::sync::Arc;

use url::Url;

use crate::exchange::{BodyCoding, Secret};
use crate::interpret::{JsonAt, Paginate, Records};
use crate::job::{Merge, Origin};
use crate::policy::{UrlRules, canonicalize};
use crate::stream::{CallTemplate, Names, Template};

use super::auth::{self, StreamAuth};
use super::paginate::{self, PaginateConfig};
use super::section::{Field, Section, nearest};
use super::stream::{self, StreamKeys};

/// The keys of an `[api.NAME]`, beside those of a stream.
pub(super) const API_KEYS: [&str; 3] = ["base", "stream", "url"];

const API_KEYS_LATER: [&str; 2] = ["limits", "timeout"];

/// The keys of a stream, beside those of [`stream::KEYS`].
pub(super) const STREAM_KEYS: [&str; 9] =
    ["auth", "auth_hosts", "compress", "headers", "key", "paginate", "path", "query", "records"];

const STREAM_KEYS_LATER: [&str; 2] = ["limits", "save_raw"];

/// Keys that an API may have for all its streams.
const SHARED_KEYS: [&str; 11] = [
    "auth",
    "auth_hosts",
    "compress",
    "errors",
    "every",
    "full_every",
    "headers",
    "key",
    "paginate",
    "query",
    "records",
];

/// Records to pull from one endpoint, page by page.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// `gh.issues` for `[api.gh.stream.issues]`; `items` for an `[api.items]` with a `url`.
    pub name: String,
    /// What its first requests are made of.
    pub first: CallTemplate,
    /// Headers of every request, names in lower case. They are for the origin of the stream's address only.
    pub headers: Vec<(String, Secret)>,
    /// Where the records are.
    pub records: Records,
    /// The fields that make a record the same when it is met again; empty, the default, for all of it.
    pub key: Vec<JsonAt>,
    /// How the next page is found.
    pub paginate: PaginateConfig,
    /// As whom it is asked.
    pub auth: Option<Arc<StreamAuth>>,
    /// Origins beside that of its address that may know.
    pub auth_hosts: Vec<Origin>,
    /// How the bodies of its requests are compressed.
    pub compress: Option<BodyCoding>,
    /// In which slices it is pulled, and what other answers mean.
    pub keys: StreamKeys,
}

/// A header as it is written, and with the values of the environment.
#[derive(Clone)]
struct Header {
    written: String,
    value: Secret,
}

/// What an API says for all its streams.
#[derive(Clone, Default)]
struct Shared {
    headers: Vec<(String, Header)>,
    query: Vec<(String, String)>,
    records: Option<Records>,
    key: Vec<JsonAt>,
    paginate: Option<PaginateConfig>,
    auth: Option<Arc<StreamAuth>>,
    auth_hosts: Vec<Origin>,
    compress: Option<BodyCoding>,
    keys: StreamKeys,
}

/// The streams of one `[api.NAME]`; fewer, or none, after a complaint.
pub(super) fn read(section: &Section<'_>) -> Vec<Stream> {
    let streams = section.sections("stream");
    let (base, url) = (section.get("base"), section.get("url"));
    let mut known = API_KEYS.to_vec();
    // An API with one endpoint may say all that a stream may; what it says for several goes for each of them.
    known.extend(SHARED_KEYS);
    if url.is_some() {
        known.extend(stream::KEYS);
    }
    let later = [API_KEYS_LATER.as_slice(), &STREAM_KEYS_LATER].concat();
    section.check_keys(&known, &later);
    let shared = Shared::default().with(section);
    match (base, url) {
        (Some(_), Some(_)) => {
            section.complain("has both \"base\" and \"url\"; streams need a base, a single endpoint a url");
            Vec::new()
        }
        (None, None) => {
            section.complain("lacks \"url\" (of its one endpoint), or \"base\" and streams");
            Vec::new()
        }
        (None, Some(url)) => {
            if !streams.is_empty() {
                section.complain("has a \"url\" and streams; streams need a \"base\" and a path each");
            }
            if let Some(field) = section.get("parent") {
                field.complain("is for streams: an API with a \"url\" has one, which hangs on no other");
            }
            url.url().and_then(|url| shared.stream(section, section.key.to_owned(), url, "")).into_iter().collect()
        }
        (Some(base), None) => {
            if streams.is_empty() {
                section
                    .complain(&format!("has a \"base\" but no stream: add [{}.stream.NAME] with a path", section.name));
            }
            let base = read_base(&base);
            check_parents(&streams);
            streams.iter().filter_map(|stream| read_stream(stream, section.key, base.as_ref(), &shared)).collect()
        }
    }
}

fn read_base(field: &Field<'_>) -> Option<Url> {
    let base = field.url()?;
    if base.query().is_some() || base.fragment().is_some() {
        field.complain("has a \"?\" or \"#\"; put parameters into query = { ... }");
        return None;
    }
    Some(base)
}

fn read_stream(section: &Section<'_>, api: &str, base: Option<&Url>, shared: &Shared) -> Option<Stream> {
    section.check_keys(&[STREAM_KEYS.as_slice(), &stream::KEYS].concat(), &STREAM_KEYS_LATER);
    let shared = shared.clone().with(section);
    let path = match section.get("path") {
        Some(field) => field.plain_text()?,
        None => "",
    };
    shared.stream(section, format!("{api}.{}", section.key), base?.clone(), path)
}

/// Complains about streams that hang on none, or in a circle.
fn check_parents(sections: &[Section<'_>]) {
    let parent_of = |name: &str| {
        let section = sections.iter().find(|section| section.key == name)?;
        section.get("parent")?.value.as_str().map(str::to_owned)
    };
    let names: Vec<&str> = sections.iter().map(|section| section.key).collect();
    for section in sections {
        let (Some(field), Some(parent)) = (section.get("parent"), parent_of(section.key)) else { continue };
        if !names.contains(&parent.as_str()) {
            let hint = nearest(&parent, &names).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            field.complain(&format!("is {parent:?}, which is no stream of this API{hint}"));
            continue;
        }
        let mut above = Some(parent);
        for _ in 0..=names.len() {
            above = above.and_then(|name| parent_of(&name));
        }
        for key in ["every", "full_every"].into_iter().filter(|key| section.get(key).is_some()) {
            section
                .complain(&format!("has \"{key}\" and a parent: it is pulled with that stream, when its records come"));
        }
        if above.is_some() {
            field.complain("closes a circle: a stream cannot hang on its own records");
        }
    }
}

impl Shared {
    /// This, with what `section` says in its place; headers and parameters one by one.
    fn with(mut self, section: &Section<'_>) -> Self {
        for (name, value) in section.section("headers").iter().flat_map(read_headers) {
            self.headers.retain(|(known, _)| *known != name);
            self.headers.push((name, value));
        }
        for (name, value) in section.section("query").iter().flat_map(read_query) {
            self.query.retain(|(known, _)| *known != name);
            self.query.push((name, value));
        }
        section.set("records", &mut self.records, |field| Some(Some(field.records()?)));
        section.set("key", &mut self.key, |field| Some(field.texts().iter().filter_map(Field::json_at).collect()));
        self.paginate = paginate::read(section).or(self.paginate);
        self.auth = auth::read(section).unwrap_or(self.auth);
        section.set("auth_hosts", &mut self.auth_hosts, |field| Some(auth::read_hosts(field)));
        section.set("compress", &mut self.compress, |field| {
            field.one_of(&[("none", None), ("gzip", Some(BodyCoding::Gzip)), ("zstd", Some(BodyCoding::Zstd))], &[])
        });
        let is_said_twice = self.auth.is_some() && self.headers.iter().any(|(name, _)| name == "authorization");
        if is_said_twice && ["auth", "headers"].iter().any(|key| section.get(key).is_some()) {
            section.complain("has both \"auth\" and a header \"authorization\"; one of them is enough");
        }
        self.keys = self.keys.with(section);
        self
    }

    fn stream(self, section: &Section<'_>, name: String, url: Url, path: &str) -> Option<Stream> {
        let Self { headers, query, records, key, paginate, auth, auth_hosts, compress, keys } = self;
        let names = keys.names();
        // The spelling of addresses in jobs. What is rejected as a link (an odd path, a great length) is the user's wish here.
        let rules = UrlRules { strip_tracking: false, url_bytes_max: usize::MAX, path_depth_max: usize::MAX };
        let base = canonicalize(url.clone(), &rules).unwrap_or(url);
        let (headers, of_slices) = split_headers(section, headers, &names);
        let first = CallTemplate {
            method: keys.method(),
            base,
            path: Template::parse(path, &names),
            query: query.into_iter().map(|(name, value)| (name, Template::parse(&value, &names))).collect(),
            headers: of_slices,
            body: keys.body(&names),
            batch: keys.batch(&names),
            names,
        }
        .with_shared_names();
        check_names(section, &keys, &first, path)?;
        let mut paginate = paginate.unwrap_or_default();
        if first.batch.as_ref().is_some_and(|batch| batch.alias.is_some()) {
            // One answer has each id's whole; what the API says of the paging of its streams is for others.
            paginate = PaginateConfig { scheme: Paginate::None, ..PaginateConfig::default() };
        }
        if paginate.nested.is_some() {
            check_nested(section, &keys)?;
        }
        if keys.merge == Merge::Deep && key.is_empty() {
            section.complain("has merge = \"deep\" without \"key\", the fields by which a record is met again");
        }
        Some(Stream {
            name,
            first,
            headers,
            records: records.unwrap_or_default(),
            key,
            paginate,
            auth,
            auth_hosts,
            compress,
            keys,
        })
    }
}

/// Complains about what does not go together with records that come within those of another stream.
fn check_nested(section: &Section<'_>, keys: &StreamKeys) -> Option<()> {
    let problem = if keys.parent.is_none() {
        Some("has `nested` in its paginate and no parent, the stream within whose records its own come".to_owned())
    } else if !keys.has_json() {
        Some(
            "has `nested` in its paginate and no \"graphql\", the query that asks for the rest of one record's list"
                .to_owned(),
        )
    } else {
        let unfit = [
            ("batch", keys.batch.is_some()),
            ("slice", keys.windows.is_some()),
            ("incremental", keys.incremental.is_some()),
            ("each", !keys.each.is_empty() || keys.each_file.is_some()),
            ("merge = \"deep\"", keys.merge == Merge::Deep),
        ];
        let unfit = unfit.into_iter().find(|(_, is_there)| *is_there);
        unfit.map(|(key, _)| format!("has {key}, which does not go together with `nested` in its paginate"))
    };
    if let Some(problem) = &problem {
        section.complain(problem);
    }
    problem.is_none().then_some(())
}

/// Complains about names in braces that nothing gives a value to, and about values that nothing uses.
fn check_names(section: &Section<'_>, keys: &StreamKeys, first: &CallTemplate, path: &str) -> Option<()> {
    let used = first.names_used();
    let asks_ids = || {
        let batch = keys.batch.as_ref();
        batch.is_none_or(|batch| batch.send.is_some()) || first.has_ids()
    };
    let has_each = !keys.each.is_empty() || keys.each_file.is_some();
    let has_alias = first.batch.as_ref().is_some_and(|batch| batch.alias.is_some());
    let problem = if has_alias && !asks_ids() {
        Some("has a \"batch\" that is sent as \"graphql:...\" and no {ids} in its \"graphql\", where the fields of the ids go".to_owned())
    } else if !asks_ids() {
        Some(
            "has a \"batch\" and no place for its ids: send = \"query:ids\", or {ids} in its path, query, headers or body"
                .to_owned(),
        )
    } else if has_each && !used.iter().any(|name| name == "each") {
        Some(
            "has \"each\", and no {each} in its path, query, headers or body: every request would be the same"
                .to_owned(),
        )
    } else if !has_each && path.contains("{each}") {
        Some("has {each} in its path, and neither \"each\" nor \"each_file\"".to_owned())
    } else if let Some(parent) = keys.parent.as_ref().filter(|parent| {
        let is_of_parent = |name: &String| name.strip_prefix(&parent.stream).is_some_and(|rest| rest.starts_with('.'));
        !used.iter().any(is_of_parent)
    }) {
        let parent = &parent.stream;
        Some(format!(
            "has parent = \"{parent}\", and no field of it such as {{{parent}.id}} in its path, query, headers or body"
        ))
    } else {
        let unknown = path.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(name, _)| name);
        let unknown = unknown.filter(|name| !first.names.knows(name) && name.contains('.') && !name.contains(' '));
        unknown.map(|name| format!("has {{{name}}} in its path, and no parent of that name"))
    };
    if let Some(problem) = &problem {
        section.complain(problem);
    }
    problem.is_none().then_some(())
}

/// The headers of every request, and those that differ from slice to slice.
#[expect(clippy::type_complexity, reason = "two lists of headers, as the parts of a stream have them")]
fn split_headers(
    section: &Section<'_>,
    headers: Vec<(String, Header)>,
    names: &Names,
) -> (Vec<(String, Secret)>, Vec<(String, Template)>) {
    let mut of_all = Vec::new();
    let mut of_slices = Vec::new();
    for (name, Header { written, value }) in headers {
        let template = Template::parse(&written, names);
        if template.names().next().is_none() {
            of_all.push((name, value));
            continue;
        }
        if written.contains("${") {
            section.complain(&format!(
                "has a header \"{name}\" with a value of its records and one of the environment; the former is stored with each \
                 request, which no secret may be"
            ));
        }
        of_slices.push((name, template));
    }
    (of_all, of_slices)
}

fn read_headers(section: &Section<'_>) -> Vec<(String, Header)> {
    let read = |(name, field): (&str, Field<'_>)| {
        // RFC 9110 section 5.6.2: what a token is made of.
        let is_token = |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter);
        if name.is_empty() || !name.chars().all(is_token) {
            field.complain("is not a name that a header can have");
            return None;
        }
        let value = field.secret()?;
        if value.0.chars().any(|letter| letter.is_control() && letter != '\t') {
            field.complain("has a line break or another control character in its value");
            return None;
        }
        let written = field.text()?.to_owned();
        Some((name.to_ascii_lowercase(), Header { written, value }))
    };
    section.fields().into_iter().filter_map(read).collect()
}

fn read_query(section: &Section<'_>) -> Vec<(String, String)> {
    let read = |(name, field): (&str, Field<'_>)| {
        let value = if let Some(number) = field.value.as_integer() {
            number.to_string()
        } else if let Some(number) = field.value.as_float() {
            number.to_string()
        } else if let Some(flag) = field.value.as_bool() {
            flag.to_string()
        } else if field.value.as_str() == Some("") {
            String::new()
        } else {
            field.plain_text()?.to_owned()
        };
        Some((name.to_owned(), value))
    };
    section.fields().into_iter().filter_map(read).collect()
}
