//! What a host's robots.txt allows (RFC 9309).
//!
//! Written here because the crates for it stand still (robotstxt since 2021, `texting_robots` since 2024) and do not decode
//! before a comparison what RFC 9309 section 2.2.2 wants decoded. The cases of Google's matcher are among the tests, less
//! those that it marks as its own.

use std::time::Duration;

use url::Url;

use super::percent;

/// As much of a file as is read. Source: RFC 9309 section 2.5, the least that a crawler must parse; Google reads as much.
pub(super) const TEXT_BYTES_MAX: usize = 500 * 1024;

/// Patterns with a star that a group may have. Each costs a search through the address, and a text of the size above has
/// room for 50,000. Our choice: beyond it nothing more is allowed, and what is forbidden is forbidden from the star on.
const STARS_MAX: usize = 2_000;

/// The rules of one host for one crawler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Robots {
    /// The most specific first; of two as long, the one that allows.
    rules: Vec<Rule>,
    crawl_delay_ms: Option<u64>,
    sitemaps: Vec<String>,
    /// Why nothing may be fetched, when nothing may.
    closed: Option<String>,
}

/// Whether an address may be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum RobotsVerdict {
    /// It may.
    Allowed,
    /// It may not.
    Disallowed {
        /// The line that forbids it, as it stands in the file, or why everything is forbidden.
        rule: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    allow: bool,
    /// In the spelling of [`percent`], `*` for any run of characters; without the `$`.
    pattern: String,
    /// Whether a `$` ended it.
    to_end: bool,
    /// As it stands in the file.
    text: String,
}

/// The part of a `User-Agent` that robots.txt files address: its leading letters, digits, `-` and `_`. RFC 9309 section
/// 2.2.1 leaves out digits, but crawlers are named with them.
#[must_use]
pub fn agent_token(user_agent: &str) -> &str {
    let end = user_agent
        .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-' && letter != '_')
        .unwrap_or(user_agent.len());
    &user_agent[..end]
}

impl Robots {
    /// No rules: the host has no robots.txt.
    #[must_use]
    pub fn allow_all() -> Self {
        Self::default()
    }

    /// Nothing is allowed, and `why`.
    #[must_use]
    pub fn disallow_all(why: &str) -> Self {
        Self { closed: Some(why.to_owned()), ..Self::default() }
    }

    /// Reads `text` for the crawler named `agent` (only its [`agent_token`] counts). All groups that name it count as one; if
    /// there is none, those for `*` do. Lines that make no sense are passed over. The work is linear in the text.
    #[must_use]
    pub fn parse(text: &str, agent: &str) -> Self {
        let mut reader = Reader { agent: agent_token(agent), ..Reader::default() };
        for line in capped(text).trim_start_matches(['\u{feff}', '\u{fffd}']).split(['\n', '\r']) {
            reader.read(line);
        }
        let Reader { own, any, sitemaps, .. } = reader;
        let Group { mut rules, crawl_delay_ms, stars: _ } = own.unwrap_or(any);
        rules.sort_by_key(|rule| (std::cmp::Reverse(rule.pattern.len() + usize::from(rule.to_end)), !rule.allow));
        Self { rules, crawl_delay_ms, sitemaps, closed: None }
    }

    /// Judges an address of this host: the rule with the longest pattern that matches decides. robots.txt itself is always
    /// allowed (RFC 9309 section 2.2.2).
    pub fn verdict(&self, url: &Url) -> RobotsVerdict {
        if url.path() == "/robots.txt" {
            return RobotsVerdict::Allowed;
        }
        if let Some(why) = &self.closed {
            return RobotsVerdict::Disallowed { rule: why.clone() };
        }
        if self.rules.is_empty() {
            return RobotsVerdict::Allowed;
        }
        let target = spelled(url.path(), url.query());
        match self.rules.iter().find(|rule| rule.matches(&target)) {
            Some(rule) if !rule.allow => RobotsVerdict::Disallowed { rule: rule.text.clone() },
            _ => RobotsVerdict::Allowed,
        }
    }

    /// The gap between two requests that the file asks for, in ms. Not in RFC 9309, but widely used; the longest counts when
    /// there are several.
    #[must_use]
    pub fn crawl_delay_ms(&self) -> Option<u64> {
        self.crawl_delay_ms
    }

    /// The addresses of the sitemaps that the file names, as they stand there; they belong to no group.
    #[must_use]
    pub fn sitemaps(&self) -> &[String] {
        &self.sitemaps
    }
}

/// `text` up to the cap; a line that the cap cuts is left out, since half a rule is another rule.
pub(super) fn capped(text: &str) -> &str {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    let start = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    start.rfind(['\n', '\r']).map_or("", |end| &start[..end])
}

/// The state between two lines.
#[derive(Default)]
struct Reader<'t> {
    agent: &'t str,
    /// What the groups say that name the crawler; none until one does, be it empty.
    own: Option<Group>,
    /// What the groups for `*` say.
    any: Group,
    /// Whether the group at hand is for the crawler, for all, and whether it had a rule: a user-agent line after a rule opens
    /// the next group, one before a rule joins it.
    in_own: bool,
    in_any: bool,
    in_rules: bool,
    sitemaps: Vec<String>,
}

#[derive(Default)]
struct Group {
    rules: Vec<Rule>,
    /// Rules whose pattern has a star.
    stars: usize,
    crawl_delay_ms: Option<u64>,
}

impl Group {
    fn push(&mut self, mut rule: Rule) {
        if let Some(star) = rule.pattern.find('*') {
            if self.stars < STARS_MAX {
                self.stars += 1;
            } else if rule.allow {
                return;
            } else {
                rule.pattern.truncate(star);
                rule.to_end = false;
            }
        }
        self.rules.push(rule);
    }
}

impl Reader<'_> {
    fn read(&mut self, line: &str) {
        let line = line.split_once('#').map_or(line, |(line, _)| line).trim();
        let Some((key, value)) = line.split_once(':').or_else(|| without_colon(line)) else { return };
        let value = value.trim();
        // The misspellings are those that Google's parser accepts.
        match key.trim().to_ascii_lowercase().as_str() {
            "user-agent" | "useragent" | "user agent" => self.user_agent(value),
            "allow" => self.rule(true, value),
            "disallow" | "dissallow" | "dissalow" | "disalow" | "diasllow" | "disallaw" => self.rule(false, value),
            "crawl-delay" | "crawldelay" | "crawl delay" => self.crawl_delay(value),
            "sitemap" | "site-map" if !value.is_empty() => self.sitemaps.push(value.to_owned()),
            _ => {}
        }
    }

    fn user_agent(&mut self, value: &str) {
        if self.in_rules {
            (self.in_own, self.in_any, self.in_rules) = (false, false, false);
        }
        if value == "*" || value.strip_prefix('*').is_some_and(|rest| rest.starts_with(char::is_whitespace)) {
            self.in_any = true;
        } else if !self.agent.is_empty() && agent_token(value).eq_ignore_ascii_case(self.agent) {
            self.in_own = true;
            self.own.get_or_insert_default();
        }
    }

    /// What the group at hand adds to.
    fn groups(&mut self) -> impl Iterator<Item = &mut Group> {
        let own = self.own.as_mut().filter(|_| self.in_own);
        let any = Some(&mut self.any).filter(|_| self.in_any);
        own.into_iter().chain(any)
    }

    fn rule(&mut self, allow: bool, value: &str) {
        self.in_rules = true;
        // An empty pattern says nothing: RFC 9309 section 2.2.2 and common use of "Disallow:".
        if value.is_empty() {
            return;
        }
        let (pattern, to_end) = value.strip_suffix('$').map_or((value, false), |pattern| (pattern, true));
        let mut normal = String::with_capacity(pattern.len());
        percent::push_normal(&mut normal, pattern);
        let rule = Rule {
            allow,
            pattern: normal.replace('$', "%24"),
            to_end,
            text: format!("{}: {value}", if allow { "Allow" } else { "Disallow" }),
        };
        for group in self.groups() {
            group.push(rule.clone());
        }
    }

    fn crawl_delay(&mut self, value: &str) {
        let delay = value.parse().ok().and_then(|secs| Duration::try_from_secs_f64(secs).ok());
        let Some(delay_ms) = delay.and_then(|delay| u64::try_from(delay.as_millis()).ok()) else { return };
        for group in self.groups() {
            group.crawl_delay_ms = group.crawl_delay_ms.max(Some(delay_ms));
        }
    }
}

/// Key and value of a line that has a space in place of the colon, as Google's parser accepts it.
fn without_colon(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(char::is_whitespace)?;
    let value = value.trim();
    (!value.contains(char::is_whitespace)).then_some((key, value))
}

/// Path and query as patterns are spelled. `*` and `$` are encoded, since unencoded they are no characters in a pattern.
fn spelled(path: &str, query: Option<&str>) -> String {
    let mut target = String::with_capacity(path.len() + query.map_or(0, str::len) + 1);
    percent::push_normal(&mut target, path);
    if let Some(query) = query {
        target.push('?');
        percent::push_normal(&mut target, query);
    }
    if target.contains(['*', '$']) { target.replace('*', "%2A").replace('$', "%24") } else { target }
}

impl Rule {
    /// Whether the pattern matches `target` from its start. Taking each piece between two stars at its first place is enough,
    /// so the work is linear in both: no pattern makes it explode.
    fn matches(&self, target: &str) -> bool {
        let mut pieces = self.pattern.split('*');
        let Some(mut rest) = pieces.next().and_then(|first| target.strip_prefix(first)) else { return false };
        let mut pieces = pieces.peekable();
        if pieces.peek().is_none() {
            return !self.to_end || rest.is_empty();
        }
        while let Some(piece) = pieces.next() {
            if self.to_end && pieces.peek().is_none() {
                return rest.ends_with(piece);
            }
            match rest.find(piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
#[path = "robots_tests.rs"]
mod tests;
