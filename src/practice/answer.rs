//! The answers of one host, all made at the start, and its share of the truth.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use bytes::Bytes;
use url::Url;

use super::truth::Truth;

/// What one address answers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
    /// How long it takes, in ms.
    pub(super) wait_ms: u64,
    /// How many more times it answers 500 instead.
    failures: AtomicU8,
}

impl Answer {
    pub(super) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let answer = Self {
            status: StatusCode::from_u16(status).expect("the practice web uses real statuses"),
            headers: Vec::new(),
            body: body.into(),
            wait_ms: 0,
            failures: AtomicU8::new(0),
        };
        answer.with_header(header::CONTENT_TYPE, content_type)
    }

    pub(super) fn html(body: impl Into<Bytes>) -> Self {
        Self::new(200, "text/html; charset=utf-8", body)
    }

    pub(super) fn redirect(status: u16, location: &str) -> Self {
        Self::new(status, "text/plain", "moved").with_header(header::LOCATION, location)
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.push((name, HeaderValue::from_str(value).expect("the practice web writes plain headers")));
        self
    }

    pub(super) fn slow(mut self, wait_ms: u64) -> Self {
        self.wait_ms = wait_ms;
        self
    }

    /// Answers 500 this many times first.
    pub(super) fn flaky(mut self, failures: u8) -> Self {
        self.failures = AtomicU8::new(failures);
        self
    }

    /// Whether this very request is to fail; counts it.
    pub(super) fn fails_now(&self) -> bool {
        self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// Which set of the truth an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Page,
    Document,
    Gone,
    Dead,
    Redirect,
    Disallowed,
    Nofollowed,
    /// Told apart elsewhere: the pages of APIs.
    Api,
}

/// One host while it is being filled, and afterwards.
pub(super) struct Site {
    /// Its root, as in `http://127.0.0.1:7801/`.
    pub(super) root: Url,
    /// By path and query.
    answers: HashMap<String, Answer>,
}

impl Site {
    pub(super) fn new(root: Url) -> Self {
        Self { root, answers: HashMap::new() }
    }

    /// The absolute address of a path and query.
    pub(super) fn url(&self, target: &str) -> Url {
        self.root.join(target).expect("the practice web writes plain paths")
    }

    /// Adds what `target` (path and query) answers.
    pub(super) fn add(&mut self, truth: &mut Truth, class: Class, target: &str, answer: Answer) {
        let url = self.url(target).to_string();
        let new = match class {
            Class::Page => truth.pages.insert(url),
            Class::Document => truth.documents.insert(url),
            Class::Gone => truth.gone.insert(url),
            Class::Dead => truth.dead.insert(url),
            Class::Redirect => truth.redirects.insert(url),
            Class::Disallowed => truth.disallowed.insert(url),
            Class::Nofollowed => truth.nofollowed.insert(url),
            Class::Api => true,
        };
        let old = self.answers.insert(target.to_owned(), answer);
        assert!(new && old.is_none(), "{target} is added once");
    }

    /// What a path and query answer; tracking parameters make no difference. None is a 404.
    pub(super) fn answer(&self, path: &str, query: Option<&str>) -> Option<&Answer> {
        let Some(query) = query else { return self.answers.get(path) };
        let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("utm_")).collect();
        if kept.is_empty() {
            return self.answers.get(path);
        }
        self.answers.get(&format!("{path}?{}", kept.join("&")))
    }
}
