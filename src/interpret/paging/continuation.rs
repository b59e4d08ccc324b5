//! An object whose members all go into the next request: MediaWiki's `continue`.

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::seen::{Seen, is_end, kind_of};
use crate::interpret::api::Next;
use crate::interpret::json_path::JsonAt;
use crate::job::{Call, Payload, Target};

/// All members of the object at `path` are parameters of the next request, beside those of the stream's own; in its form or
/// its JSON body if it has one, else in its query. No object: no more. That `batchcomplete` says that all of these records
/// came whole ends nothing: more may follow.
///
/// MediaWiki wants the members of the last answer alone. Those of the answer before it are told by their place: they stand
/// last, and the first of them is the one named like the object itself (`continue`), which it always has. Elsewhere, and in
/// JSON bodies, what a later answer does not name again stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// Where the object is.
    pub path: JsonAt,
}

impl Continuation {
    pub(super) fn next(&self, seen: &Seen<'_>) -> Next {
        let members = match self.path.first(seen.document) {
            value if is_end(value) => return Next::End,
            Some(Value::Object(members)) => members,
            Some(other) => {
                return Next::Stop(format!(
                    "{} is at `paginate.path` ({}) and not an object: a single value is paged by type = \"cursor\"",
                    kind_of(other),
                    self.path
                ));
            }
            None => return Next::End,
        };
        let mut call = seen.call.clone();
        let marker = self.marker(members);
        if let (Some(marker), true) = (marker, seen.page_ordinal > 0) {
            forget(&mut call, marker);
        }
        let marked = marker.and_then(|marker| members.get_key_value(marker));
        let others = members.iter().filter(|(name, _)| Some(name.as_str()) != marker);
        for (name, value) in marked.into_iter().chain(others) {
            let target = match call.extra.body {
                Some(_) => Target::Body(vec![name.clone()]),
                None => Target::Query(name.clone()),
            };
            call.set(&target, value);
        }
        seen.go_on(call, &self.path)
    }

    /// The member that is named like the object itself.
    fn marker<'m>(&self, members: &'m Map<String, Value>) -> Option<&'m str> {
        let own = self.path.as_str().rsplit(['.', '$']).next()?;
        members.keys().map(String::as_str).find(|name| *name == own)
    }
}

/// Takes the parameter `marker` and all behind it out of the query or the form.
fn forget(call: &mut Call, marker: &str) {
    match &mut call.extra.body {
        Some(Payload::Form(fields)) => {
            if let Some(at) = fields.iter().position(|(name, _)| name == marker) {
                fields.truncate(at);
            }
        }
        Some(Payload::Json(_)) => {}
        None => {
            let is_marker = |pair: &&str| form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| name == marker);
            let pairs = call.url.query().unwrap_or_default().split('&');
            let own = pairs.take_while(|pair| !is_marker(pair)).collect::<Vec<_>>().join("&");
            call.url.set_query((!own.is_empty()).then_some(&own));
        }
    }
}
