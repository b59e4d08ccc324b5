//! `[api.NAME]`: records to pull, stream by stream.

use std::sync::Arc;

use url::Url;

use crate::exchange::{BodyCoding, Secret};
use crate::job::Origin;
use crate::policy::{UrlRules, canonicalize};

use super::auth::{self, StreamAuth};
use super::paginate::{self, PaginateConfig};
use super::section::{Field, Section};

pub(super) const API_KEYS: [&str; 11] =
    ["auth", "auth_hosts", "base", "compress", "headers", "key", "paginate", "query", "records", "stream", "url"];

const API_KEYS_LATER: [&str; 4] = ["errors", "every", "limits", "timeout"];

pub(super) const STREAM_KEYS: [&str; 9] =
    ["auth", "auth_hosts", "compress", "headers", "key", "paginate", "path", "query", "records"];

const STREAM_KEYS_LATER: [&str; 20] = [
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
    "limits",
    "merge",
    "method",
    "parent",
    "save_raw",
    "slice",
    "timeout",
    "where",
    "where_parent",
];

/// Records to pull from one endpoint, page by page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// `gh.issues` for `[api.gh.stream.issues]`; `items` for an `[api.items]` with a `url`.
    pub name: String,
    /// The address of the first page, with all that `query` says; what paging adds is not in it yet.
    pub url: Url,
    /// Headers of every request, names in lower case. They are for the origin of `url` only.
    pub headers: Vec<(String, Secret)>,
    /// Where the records are: a JSON path, not compiled yet, or `auto`, the default.
    pub records: String,
    /// The fields that make a record the same when it is met again; empty, the default, for all of it.
    pub key: Vec<String>,
    /// How the next page is found.
    pub paginate: PaginateConfig,
    /// As whom it is asked.
    pub auth: Option<Arc<StreamAuth>>,
    /// Origins beside that of `url` that may know.
    pub auth_hosts: Vec<Origin>,
    /// How the bodies of its requests are compressed.
    pub compress: Option<BodyCoding>,
}

/// What an API says for all its streams.
#[derive(Clone, Default)]
struct Shared {
    headers: Vec<(String, Secret)>,
    query: Vec<(String, String)>,
    records: Option<String>,
    key: Vec<String>,
    paginate: Option<PaginateConfig>,
    auth: Option<Arc<StreamAuth>>,
    auth_hosts: Vec<Origin>,
    compress: Option<BodyCoding>,
}

/// The streams of one `[api.NAME]`; fewer, or none, after a complaint.
pub(super) fn read(section: &Section<'_>) -> Vec<Stream> {
    let streams = section.sections("stream");
    let (base, url) = (section.get("base"), section.get("url"));
    let mut later = API_KEYS_LATER.to_vec();
    // An API with one endpoint may say all that a stream may.
    later.extend(STREAM_KEYS_LATER);
    section.check_keys(&API_KEYS, &later);
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
            url.url().map(|url| shared.stream(section.key.to_owned(), url)).into_iter().collect()
        }
        (Some(base), None) => {
            if streams.is_empty() {
                section
                    .complain(&format!("has a \"base\" but no stream: add [{}.stream.NAME] with a path", section.name));
            }
            let base = read_base(&base);
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
    section.check_keys(&STREAM_KEYS, &STREAM_KEYS_LATER);
    let shared = shared.clone().with(section);
    let mut url = base?.clone();
    if let Some(field) = section.get("path") {
        let path = field.plain_text()?;
        if path.contains(['{', '}']) {
            field.complain(&format!("is {path:?}; names in braces are not yet supported"));
            return None;
        }
        // Not by the rules for links, by which "/items" would drop the path of the base.
        let joined = format!("{}/{}", url.as_str().trim_end_matches('/'), path.trim_start_matches('/'));
        match Url::parse(&joined) {
            Ok(joined) => url = joined,
            Err(error) => {
                field.complain(&format!("makes no address after its base: {error}"));
                return None;
            }
        }
    }
    Some(shared.stream(format!("{api}.{}", section.key), url))
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
        section.set("records", &mut self.records, |field| Some(Some(field.plain_text()?.to_owned())));
        section.set("key", &mut self.key, |field| Some(field.strings()));
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
        self
    }

    fn stream(self, name: String, mut url: Url) -> Stream {
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        // The spelling of addresses in jobs. What is rejected as a link (an odd path, a great length) is the user's wish here.
        let rules = UrlRules { strip_tracking: false, url_bytes_max: usize::MAX, path_depth_max: usize::MAX };
        let url = canonicalize(url.clone(), &rules).unwrap_or(url);
        Stream {
            name,
            url,
            headers: self.headers,
            records: self.records.unwrap_or_else(|| "auto".to_owned()),
            key: self.key,
            paginate: self.paginate.unwrap_or_default(),
            auth: self.auth,
            auth_hosts: self.auth_hosts,
            compress: self.compress,
        }
    }
}

fn read_headers(section: &Section<'_>) -> Vec<(String, Secret)> {
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
        Some((name.to_ascii_lowercase(), value))
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
