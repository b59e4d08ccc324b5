//! The `Link` header (RFC 8288 section 3), read leniently (appendix B.3).

/// One link of a `Link` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeaderLink {
    /// The address as written, possibly relative.
    pub target: String,
    /// Parameters: names in lower case, values without their quotes, in order.
    params: Vec<(String, String)>,
}

/// Links that are read of one answer. Our choice: real answers have a handful.
const LINKS_MAX: usize = 1000;

impl HeaderLink {
    /// Whether one of its relation types is `rel`, in any case. Only the first `rel` parameter counts (RFC 8288 section 3.3).
    pub fn has_rel(&self, rel: &str) -> bool {
        self.param("rel").is_some_and(|list| super::html::has_token(list, rel))
    }

    /// The first parameter of this name (in lower case).
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The links of all `Link` headers of an answer, in order.
pub(super) fn parse_all<'h>(values: impl Iterator<Item = &'h str>) -> Vec<HeaderLink> {
    let mut links = Vec::new();
    for value in values {
        let mut rest = value;
        while links.len() < LINKS_MAX {
            // Anything before `<` is damage or a separator; go on at the next link.
            let Some((_, after)) = rest.split_once('<') else { break };
            let Some((target, after)) = after.split_once('>') else { break };
            let (params, after) = parameters(after);
            links.push(HeaderLink { target: target.trim().to_owned(), params });
            rest = after;
        }
    }
    links
}

/// The parameters at the start of `rest`, up to the comma that ends the link, and what follows that.
fn parameters(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut params = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(',') {
            return (params, after);
        }
        let Some(after) = rest.strip_prefix(';') else {
            if rest.is_empty() {
                return (params, rest);
            }
            // Damage: skip to the next separator.
            rest = rest.find([';', ',']).map_or("", |at| &rest[at..]);
            continue;
        };
        rest = after.trim_start();
        let name_len = rest.find(['=', ';', ',']).unwrap_or(rest.len());
        let name = rest[..name_len].trim().to_ascii_lowercase();
        rest = &rest[name_len..];
        let mut value = String::new();
        if let Some(after) = rest.strip_prefix('=') {
            rest = after.trim_start();
            if let Some(quoted) = rest.strip_prefix('"') {
                rest = unquote(quoted, &mut value);
            } else {
                let len = rest.find([';', ',']).unwrap_or(rest.len());
                rest[..len].trim().clone_into(&mut value);
                rest = &rest[len..];
            }
        }
        if !name.is_empty() {
            params.push((name, value));
        }
    }
}

/// Reads a quoted string after its opening quote (RFC 9110 section 5.6.4); what follows it.
fn unquote<'a>(quoted: &'a str, value: &mut String) -> &'a str {
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return &quoted[at + 1..],
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_next(values: &[&str], expected: Option<&str>) {
        let links = parse_all(values.iter().copied());
        assert_eq!(links.iter().find(|link| link.has_rel("next")).map(|link| link.target.as_str()), expected);
    }

    #[test]
    fn the_next_link_is_found_past_every_trap() {
        check_next(&["</p?a=1,2&b=3>; rel=\"next\""], Some("/p?a=1,2&b=3"));
        check_next(&["</a>; title=\"x, <y>; rel=next\"; rel=prev, </b>; rel=next"], Some("/b"));
        check_next(&["</a>; title=\"say \\\"hi\\\", rel=next\"; rel=prev"], None);
        check_next(&["</a>; REL=Next"], Some("/a"));
        check_next(&["</a>; rel=\"prev next\""], Some("/a"));
        check_next(&["</a>;rel=prev,</b>;rel=next"], Some("/b"));
        check_next(&["</a>; rel=prev", "</b>; rel=next"], Some("/b"));
        check_next(&["</b>; results=\"true\"; cursor=\"0:0:1\"; rel = \"next\""], Some("/b"));
        check_next(&["</v2/_catalog?last=rb&n=2>; rel=\"next\""], Some("/v2/_catalog?last=rb&n=2"));
        check_next(&["</a>; rel=prev; rel=next"], None);
        check_next(&["</a>; rel=nextish"], None);
        check_next(&["rubbish, </a> rel=next; rel=next"], Some("/a"));
        check_next(&["</a>; rel=\"next"], Some("/a"));
        check_next(&["</a"], None);
        check_next(&["<>; rel=next"], Some(""));
        check_next(&[""], None);
    }

    proptest! {
        #[test]
        fn a_link_that_was_written_is_read_back(
            target in "[^<>\"\\p{C}]{0,40}",
            title in "[^\\p{C}]{0,40}",
            before in proptest::collection::vec(("[a-z,;=]{0,10}", "[a-z ,;<>=]{0,10}"), 0..5),
        ) {
            let quoted = title.replace('\\', "\\\\").replace('"', "\\\"");
            let mut links: Vec<String> =
                before.iter().map(|(target, title)| format!("<{target}>; title=\"{title}\"; rel=prev")).collect();
            links.push(format!("<{target}>; title=\"{quoted}\"; rel=next"));
            let value = links.join(", ");
            let links = parse_all([value.as_str()].into_iter());
            prop_assert_eq!(links.len(), before.len() + 1);
            let next = links.iter().find(|link| link.has_rel("next")).expect("it was written");
            prop_assert_eq!(&next.target, target.trim());
            prop_assert_eq!(next.param("title"), Some(title.as_str()));
        }

        #[test]
        fn any_header_is_read_without_panic(values in proptest::collection::vec("\\PC*", 0..4)) {
            parse_all(values.iter().map(String::as_str));
        }
    }
}
