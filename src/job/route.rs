//! Which requests of a host a server is likely to limit together: those below the first telling part of the path.

use url::{Position, Url};

/// Bytes of a route at most; what is longer is cut, so that no site can make the queue's index large.
pub const ROUTE_BYTES_MAX: usize = 48;

/// The route of an address: its path up to and including the first segment that tells, as in `/search` for `/search?q=x` and
/// `/blog` for `/blog/2024/05/`. What only says that an API follows is passed over: `/api/v2/users` for `/api/v2/users/7`.
/// Empty for what lies at the top (`/`, `/about`, `/robots.txt`): a segment without anything behind it is a document, and a
/// site may have a million of them.
///
/// The column `jobs.route` holds the same, worked out by SQLite (`0022_lanes.sql`); a test of the store holds them together.
#[must_use]
pub fn route_of(url: &Url) -> &str {
    route_of_request(&url[Position::BeforePath..Position::AfterQuery])
}

/// The same for a path with its query.
fn route_of_request(request: &str) -> &str {
    let start = 1 + prefix_bytes(&request[1.min(request.len())..]);
    let Some(rest) = request.get(start..) else { return "" };
    match rest.find(['/', '?']) {
        None | Some(0) => "",
        Some(length) => &request[..(start + length).min(ROUTE_BYTES_MAX)],
    }
}

/// Bytes of leading segments that only say that an API follows: `api/`, `rest/`, `v1/`, `api/v12/`.
fn prefix_bytes(path: &str) -> usize {
    let version_bytes = |path: &str| {
        let digits = path.strip_prefix('v').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
        if (1..=2).contains(&digits) && path.as_bytes().get(1 + digits) == Some(&b'/') { digits + 2 } else { 0 }
    };
    if let Some(rest) = path.strip_prefix("api/") {
        return 4 + version_bytes(rest);
    }
    if path.starts_with("rest/") { 5 } else { version_bytes(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_the_first_part_of_the_path_that_tells() {
        for (request, route) in [
            ("/", ""),
            ("/about", ""),
            ("/robots.txt", ""),
            ("/?q=a/b", ""),
            ("//x/y", ""),
            ("/search?q=x", "/search"),
            ("/search/", "/search"),
            ("/blog/2024/05/", "/blog"),
            ("/api/users?page=2", "/api/users"),
            ("/api/users", ""),
            ("/api/v2/users/7", "/api/v2/users"),
            ("/api/v12/users/7", "/api/v12/users"),
            ("/api/v123/users/7", "/api/v123"),
            ("/api/version/users", "/api/version"),
            ("/api/?q=1", ""),
            ("/rest/issues/1", "/rest/issues"),
            ("/v1/items?a", "/v1/items"),
            ("/v1/items", ""),
            ("/video/1", "/video"),
            ("/apiary/1", "/apiary"),
        ] {
            assert_eq!(route_of_request(request), route, "{request}");
        }
    }

    #[test]
    fn a_long_route_is_cut() {
        let url = Url::parse(&format!("http://a.org/{}/x", "s".repeat(500))).expect("a test address parses");
        assert_eq!(route_of(&url).len(), ROUTE_BYTES_MAX);
    }

    proptest::proptest! {
        #[test]
        fn any_address_has_a_route_that_its_path_begins_with(text in "[/?.a-z0-9é%]{0,60}") {
            let url = Url::parse("http://a.org/").and_then(|url| url.join(&format!("/{text}")));
            if let Ok(url) = url {
                proptest::prop_assert!(url[Position::BeforePath..].starts_with(route_of(&url)));
            }
        }
    }
}
