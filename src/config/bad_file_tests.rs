//! What is said about bad files.

use super::tests::parse;

#[track_caller]
fn errors(text: &str) -> String {
    parse(text).expect_err("the file is bad").to_string()
}

#[test]
fn a_problem_has_the_line_of_its_key_whatever_ends_the_lines() {
    for end in ["\n", "\r\n"] {
        let text = ["xyzzy = 1", "", "[http]", "xyzzy = 2", "timeout = 3"].join(end);
        let problems = parse(&text).expect_err("the file is bad").problems;
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [Some(1), Some(4), Some(5)]);
    }
}

#[test]
fn typos_in_keys_and_sections() {
    insta::assert_snapshot!(errors(
        r#"[throttle]
          delay = "1s"
          concurency = 4
          rate = "10/s"
          xyzzy = 1"#
    ), @r#"
    crawl.toml:3: unknown key "concurency" in [throttle]; did you mean "concurrency"?
    crawl.toml:4: unknown key "rate" in [throttle]; did you mean "max_rate"?
    crawl.toml:5: unknown key "xyzzy" in [throttle]; known are concurrency, courtesy, delay, give_up, give_up_unknown, max_concurrency, max_rate, retry_after_max
    "#);
    insta::assert_snapshot!(errors(
        r"[sites.docs]
          start = []
          [crawl]
          [dashboard]
          port = 1"
    ), @r"
    crawl.toml:1: unknown section [sites]; did you mean [site]?
    crawl.toml:3: unknown section [crawl]; known are api, cache, engine, host, http, retry, site, store, throttle
    crawl.toml:4: [dashboard] is not yet supported
    ");
    insta::assert_snapshot!(errors(
        r#"user_agent = "x"
          throttle = 3
          [[http]]
          [host]
          match = "a.org""#
    ), @r#"
    crawl.toml:1: unknown key "user_agent"; it belongs below the line [http]
    crawl.toml:2: "throttle" is 3; expected a section [throttle]
    crawl.toml:3: "http" is a list; expected a section [http]
    crawl.toml:4: "host" is a table; expected a list of sections, each begun with [[host]]
    "#);
    insta::assert_snapshot!(errors(
        r#"[site.docs]
          starts = ["http://a.org/"]
          proxy = "none"
          [site."a b"]
          start = "http://a.org""#
    ), @r#"
    crawl.toml:1: [site.docs] lacks "start": say where to begin, start = ["https://www.example.org/"]
    crawl.toml:2: unknown key "starts" in [site.docs]; did you mean "start"?
    crawl.toml:3: "proxy" in [site.docs] is not yet supported
    crawl.toml:4: [site.a b] has a bad name: only letters, digits, "-" and "_" may be in it
    "#);
}

#[test]
fn wrong_types() {
    insta::assert_snapshot!(errors(
        r#"[http]
          timeout = 30
          max_body = 1000
          max_redirects = "ten"
          user_agent = true
          compression = ["gzip", 7, "zsdt"]
          [site.a]
          start = { url = "http://a.org" }
          depth = -1
          sitemap = "yes"
          [site.b.items]
          title = 3"#
    ), @r#"
    crawl.toml:2: timeout in [http] is 30; expected a duration from "100ms" to "1day"
    crawl.toml:3: max_body in [http] is 1000; expected a size from "1KiB" to "16GiB", such as "32MiB" or "500KB"
    crawl.toml:4: max_redirects in [http] is "ten"; expected a whole number from 0 to 50
    crawl.toml:5: user_agent in [http] is true; expected a text in quotes
    crawl.toml:6: compression in [http] is "zsdt"; expected one of "zstd", "br", "gzip", "deflate"; did you mean "zstd"?
    crawl.toml:6: compression in [http] is 7; expected a text in quotes
    crawl.toml:8: start in [site.a] is a table; expected a list of texts, ["...", "..."]
    crawl.toml:9: depth in [site.a] is -1; expected a whole number from 0 to 65535
    crawl.toml:10: sitemap in [site.a] is "yes"; expected true or false
    crawl.toml:11: [site.b] lacks "start": say where to begin, start = ["https://www.example.org/"]
    crawl.toml:12: title in [site.b.items] is 3; expected a selector such as "h1", or a table such as { select = "a", attr = "href", list = true }
    "#);
}

#[test]
fn values_out_of_range() {
    insta::assert_snapshot!(errors(
        r#"[http]
          timeout = "30 sekunden"
          idle_timeout = "1ms"
          max_redirects = 51
          max_body = "99TiB"
          [throttle]
          concurrency = 20
          max_rate = "0/s"
          courtesy = 1.5
          [retry]
          base = "2h"
          [engine]
          max_in_flight = 0
          [[host]]
          match = "http://a.org/"
          [[host]]
          delay = "1s"
          [[host]]
          match = "a.org"
          profile = "githob"
          [[host]]
          match = "b.org"
          profile = 7"#
    ), @r#"
    crawl.toml:2: timeout in [http] is "30 sekunden"; expected a duration from "100ms" to "1day"
    crawl.toml:3: idle_timeout in [http] is "1ms"; expected a duration from "100ms" to "1h"
    crawl.toml:4: max_redirects in [http] is 51; expected a whole number from 0 to 50
    crawl.toml:5: max_body in [http] is "99TiB"; expected a size from "1KiB" to "16GiB", such as "32MiB" or "500KB"
    crawl.toml:7: concurrency in [throttle] is 20, which is more than max_concurrency, 8
    crawl.toml:8: max_rate in [throttle] is "0/s"; expected a rate such as "10/s", "30/m" or "5000/h", or "none"
    crawl.toml:9: courtesy in [throttle] is 1.5; expected "close", "gentle" or a number from 0.05 to 1
    crawl.toml:10: [retry] has a base, 2h, that is longer than max, 1h
    crawl.toml:13: max_in_flight in [engine] is 0; expected a whole number from 1 to 10000
    crawl.toml:15: match in [host] is "http://a.org/"; expected a host without a scheme and a path
    crawl.toml:16: [host] lacks "match", the host that it is for
    crawl.toml:20: profile in [host] is "githob"; expected "auto", "none" or a provider; did you mean "github"?
    crawl.toml:23: profile in [host] is 7; expected a text in quotes
    "#);
}

#[test]
fn bad_sites() {
    insta::assert_snapshot!(errors(
        r"[site.docs]
          depth = 2
          [site.two]
          start = []"
    ), @r#"
    crawl.toml:1: [site.docs] lacks "start": say where to begin, start = ["https://www.example.org/"]
    crawl.toml:3: [site.two] lacks "start": say where to begin, start = ["https://www.example.org/"]
    "#);
    insta::assert_snapshot!(errors(
        r#"[site.docs]
          start = [
            "https://a.org/",
            "docs.example.org",
            "ftp://a.org/",
            "http://",
            "http://me:pw@a.org/",
          ]
          include = ["ok", "(unclosed"]
          scope = "hosts"
          save = "text"
          types = ["html"]"#
    ), @r#"
    crawl.toml:4: start in [site.docs] is "docs.example.org"; expected an address that starts with http:// or https://
    crawl.toml:5: start in [site.docs] is "ftp://a.org/"; expected an address that starts with http:// or https://
    crawl.toml:6: start in [site.docs] is "http://", which is not an address: empty host
    crawl.toml:7: start in [site.docs] has a user name or a password in its address; credentials go into headers
    crawl.toml:9: include in [site.docs] has the pattern "(unclosed", which is not a regular expression: unclosed group
    crawl.toml:10: scope in [site.docs] is "hosts"; expected one of "prefix", "host", "domain", "any"; did you mean "host"?
    crawl.toml:11: save in [site.docs] is "text", which is not yet supported
    crawl.toml:12: types in [site.docs] is "html"; expected a media type such as "text/html" or "image/*"; an empty list takes all
    "#);
    insta::assert_snapshot!(errors(
        r#"[site.docs]
          start = "http://a.org/${PAGE}"
          [site.docs.items]
          a = { attr = "href" }
          b = { select = "b", atr = "c" }
          c = { select = "", html = true, attr = "d" }"#
    ), @r#"
    crawl.toml:2: start in [site.docs] has a "${"; the environment is read only in headers, auth and proxy
    crawl.toml:4: [site.docs.items.a] lacks "select", a CSS selector
    crawl.toml:5: unknown key "atr" in [site.docs.items.b]; did you mean "attr"?
    crawl.toml:6: [site.docs.items.c] has both attr and html; an attribute has no HTML
    crawl.toml:6: select in [site.docs.items.c] is ""; expected a text that is not empty
    "#);
}

#[test]
fn bad_apis() {
    insta::assert_snapshot!(errors(
        r#"[api.a]
          key = "id"
          [api.b]
          base = "https://a.org"
          [api.c]
          url = "https://a.org"
          base = "https://a.org""#
    ), @r#"
    crawl.toml:1: [api.a] lacks "url" (of its one endpoint), or "base" and streams
    crawl.toml:3: [api.b] has a "base" but no stream: add [api.b.stream.NAME] with a path
    crawl.toml:5: [api.c] has both "base" and "url"; streams need a base, a single endpoint a url
    "#);
    insta::assert_snapshot!(errors(
        r#"[api.gh]
          base = "https://api.example.org?x=1"
          auth = { type = "bearer" }
          limit = 3
          [api.gh.stream.issues]
          path = "/repos/{each}"
          each = ["a"]
          record = "x""#
    ), @r##"
    crawl.toml:2: base in [api.gh] has a "?" or "#"; put parameters into query = { ... }
    crawl.toml:3: [api.gh.auth] needs either "token" or "tokens", a list of which each has limits of its own
    crawl.toml:4: unknown key "limit" in [api.gh]; did you mean "limits", which is not yet supported?
    crawl.toml:8: unknown key "record" in [api.gh.stream.issues]; did you mean "records"?
    "##);
    insta::assert_snapshot!(errors(
        r#"[api.a]
          url = "https://a.org"
          headers = { authorization = "Bearer ${NO_SUCH_TOKEN}", "x y" = "1", z = "a\nb" }
          query = { a = [1], b = "${TOKEN}" }"#
    ), @r#"
    crawl.toml:3: authorization in [api.a.headers] names the environment variable NO_SUCH_TOKEN, which is not set
    crawl.toml:3: x y in [api.a.headers] is not a name that a header can have
    crawl.toml:3: z in [api.a.headers] has a line break or another control character in its value
    crawl.toml:4: a in [api.a.query] is a list; expected a text in quotes
    crawl.toml:4: b in [api.a.query] has a "${"; the environment is read only in headers, auth and proxy
    "#);
    insta::assert_snapshot!(errors(
        r#"[api.a]
          url = "https://a.org"
          records = "a..b["
          key = ["id", "a."]"#
    ), @r#"
    crawl.toml:3: records in [api.a] is "a..b[", which is not a JSON path: at position 6, parser error
    crawl.toml:4: key in [api.a] is "a.", which is not a JSON path: a name between its dots is empty
    "#);
}

#[test]
fn bad_streams() {
    insta::assert_snapshot!(errors(
        r#"[api.a]
          url = "https://a.org"
          parent = "b"
          each = ["x"]
          json = { a = nan }
          method = "GET"
          slice = { start = "soon", step = "1d", from = "query:since" }
          incremental = { field = "updated_at" }
          where = "comments > 0"
          errors = [{ status = "6xx", action = "skip" }, { action = "skip" }, { status = 99, action = "fail" },
                    { status = 404, action = "ignore" }, { status = 404, action = "skip", wait = "5s" }]"#
    ), @r#"
    crawl.toml:1: [api.a] has "each", and no {each} in its path, query, headers or body: every request would be the same
    crawl.toml:1: [api.a] has a "json" and method = "GET"; a body is sent by POST
    crawl.toml:3: parent in [api.a] is for streams: an API with a "url" has one, which hangs on no other
    crawl.toml:5: json in [api.a] has a number that JSON cannot hold
    crawl.toml:7: start in [api.a.slice] is "soon"; expected a date such as "2024-01-31", or a time such as "2024-01-31T12:00:00Z"
    crawl.toml:8: [api.a.incremental] lacks "send", where the value goes from which on records are wanted: send = "query:since"
    crawl.toml:9: where in [api.a] is no filter such as "$.comments > 0": in long-hand segment, parser error
    crawl.toml:10: [api.a.errors] would match every answer: name a "status", a "path" or a text in the "body"
    crawl.toml:10: status in [api.a.errors] is 99; expected a status, a class such as "5xx", or a list of them
    crawl.toml:11: action in [api.a.errors] is "ignore"; expected one of "retry", "throttle", "skip", "stop", "restart", "split", "fail"
    crawl.toml:11: wait in [api.a.errors] goes with action = "throttle" only
    "#);
    insta::assert_snapshot!(errors(
        r#"[api.gh]
          base = "https://a.org"
          [api.gh.stream.issues]
          path = "/{repos.name}"
          parent = "repo"
          [api.gh.stream.repos]
          path = "/{issues.id}"
          parent = "issues"
          [api.gh.stream.lone]
          path = "/x"
          each = ["a"]
          [api.gh.stream.child]
          path = "/y"
          parent = "lone"
          [api.gh.stream.named]
          path = "/{each}/{lone.id}"
          [api.gh.stream.chicken]
          path = "/{egg.id}"
          parent = "egg"
          [api.gh.stream.egg]
          path = "/{chicken.id}"
          parent = "chicken""#
    ), @r#"
    crawl.toml:3: [api.gh.stream.issues] has parent = "repo", and no field of it such as {repo.id} in its path, query, headers or body
    crawl.toml:5: parent in [api.gh.stream.issues] is "repo", which is no stream of this API; did you mean "repos"?
    crawl.toml:9: [api.gh.stream.lone] has "each", and no {each} in its path, query, headers or body: every request would be the same
    crawl.toml:12: [api.gh.stream.child] has parent = "lone", and no field of it such as {lone.id} in its path, query, headers or body
    crawl.toml:15: [api.gh.stream.named] has {each} in its path, and neither "each" nor "each_file"
    crawl.toml:19: parent in [api.gh.stream.chicken] closes a circle: a stream cannot hang on its own records
    crawl.toml:22: parent in [api.gh.stream.egg] closes a circle: a stream cannot hang on its own records
    "#);
}

#[test]
fn records_in_parts_need_a_key_to_be_met_again_by() {
    let text = |lines: &str| format!("[api.a]\nurl = \"https://a.org\"\n{lines}");
    assert!(parse(&text("merge = \"deep\"\nkey = \"id\"")).is_ok());
    insta::assert_snapshot!(errors(&text("merge = \"deep\"")), @r#"crawl.toml:1: [api.a] has merge = "deep" without "key", the fields by which a record is met again"#);
    insta::assert_snapshot!(errors(&text("merge = \"append\"")), @r#"crawl.toml:3: merge in [api.a] is "append"; expected one of "replace", "deep""#);
}

#[test]
fn bad_pagination() {
    let bad = [
        r#""cursor""#,
        r#""keyset""#,
        r#""links""#,
        "5",
        r#"{ rel = "next" }"#,
        r#"{ type = "link", path = "next" }"#,
        r#"{ type = "next_url" }"#,
        r#"{ type = "next_url", path = "a..b[" }"#,
        r#"{ type = "cursor", send = "query:c" }"#,
        r#"{ type = "cursor", path = "a", send = "query:c", ttl = "5m" }"#,
        r#"{ type = "cursor", path = "a" }"#,
        r#"{ type = "cursor", path = "a", send = "path:c" }"#,
        r#"{ type = "cursor", path = "a", send = "c" }"#,
        r#"{ type = "page", size = "many" }"#,
        r#"{ type = "page", param = "p", send = "query:p" }"#,
        r#"{ type = "page", total = "total" }"#,
        r#"{ type = "offset", stop = ["empty", "shrot"] }"#,
        r#"{ type = "offset", stop = [] }"#,
        r#"{ type = "offset", stop = ["short", "total", "has_more"] }"#,
        r#"{ type = "offset", total = "total", has_more = "more", stop = ["empty"] }"#,
        r#"{ type = "offset", size_send = "query:limit" }"#,
        r#"{ type = "offset", total = "header:" }"#,
        r#"{ type = "offset", totl = "total" }"#,
        r#"{ type = "keyset", order = "up" }"#,
        r#"{ type = "range", unit = "my items" }"#,
        r#"{ type = "params", send = "query:x" }"#,
        r#"{ type = "graphql", nested = true }"#,
        r#"{ type = "graphql", nested = "comments" }"#,
    ];
    let all: Vec<String> = bad
        .iter()
        .map(|paginate| errors(&format!("[api.a]\nurl = \"https://a.org\"\npaginate = {paginate}")))
        .collect();
    insta::assert_snapshot!(all.join("\n"), @r##"
    crawl.toml:3: paginate in [api.a] needs the place of the cursor: { type = "cursor", path = "next", send = "query:cursor" }
    crawl.toml:3: paginate in [api.a] needs the field and its place: { type = "keyset", field = "id", send = "query:since_id" }
    crawl.toml:3: paginate in [api.a] is "links"; expected one of "auto", "none", "link", "next_url", "cursor", "page", "offset", "keyset", "params", "range", "graphql"; did you mean "link"?
    crawl.toml:3: paginate in [api.a] is 5; expected "auto", "none", or a table such as { type = "link", rel = "next" }
    crawl.toml:3: [api.a.paginate] lacks "type": one of "auto", "none", "link", "next_url", "cursor", "page", "offset", "keyset", "params", "range", "graphql"
    crawl.toml:3: unknown key "path" in [api.a.paginate]; known are type, max_pages, has_more, rel, size, size_send, stop
    crawl.toml:3: [api.a.paginate] lacks "path", the place of the next address in the body
    crawl.toml:3: path in [api.a.paginate] is "a..b[", which is not a JSON path: at position 6, parser error
    crawl.toml:3: [api.a.paginate] needs either "path" (the cursor's place in the body) or "header"
    crawl.toml:3: "ttl" in [api.a.paginate] is not yet supported
    crawl.toml:3: [api.a.paginate] lacks "send", where the cursor goes: send = "query:cursor"
    crawl.toml:3: send in [api.a.paginate] is "path:c", which is no place in a request: "query:NAME", "header:NAME" or "body:a.b"
    crawl.toml:3: send in [api.a.paginate] is "c", which is no place in a request: "query:NAME", "header:NAME" or "body:a.b"
    crawl.toml:3: size in [api.a.paginate] is "many"; expected a whole number, 0 or more
    crawl.toml:3: [api.a.paginate] has both "param" and "send"; param = "page" is short for send = "query:page"
    crawl.toml:3: [api.a.paginate] has "total" but not "size": how many pages make so many records is not known without it
    crawl.toml:3: stop in [api.a.paginate] is "shrot"; expected one of "empty", "short", "total", "has_more"; did you mean "short"?
    crawl.toml:3: stop in [api.a.paginate] is a list; expected at least one of "empty", "short", "total", "has_more"
    crawl.toml:3: stop in [api.a.paginate] names "has_more", which needs "has_more", where the answer tells it
    crawl.toml:3: stop in [api.a.paginate] names "short", which needs "size", the records of a full page
    crawl.toml:3: stop in [api.a.paginate] names "total", which needs "total" or "total_pages", where the answer tells it
    crawl.toml:3: stop in [api.a.paginate] leaves out "has_more", so that what tells it says nothing: name it, or take it out
    crawl.toml:3: stop in [api.a.paginate] leaves out "total", so that what tells it says nothing: name it, or take it out
    crawl.toml:3: size_send in [api.a.paginate] needs "size", the records of a full page
    crawl.toml:3: total in [api.a.paginate] is "header:", which is not a JSON path: the header has no name
    crawl.toml:3: unknown key "totl" in [api.a.paginate]; did you mean "total"?
    crawl.toml:3: [api.a.paginate] lacks "field", the field that the server sorts by: field = "id"
    crawl.toml:3: [api.a.paginate] lacks "send", where its last value goes: send = "query:since_id"
    crawl.toml:3: order in [api.a.paginate] is "up"; expected one of "asc", "desc"
    crawl.toml:3: unit in [api.a.paginate] is "my items"; expected a unit such as "items", or "" for a range without one
    crawl.toml:3: unknown key "send" in [api.a.paginate]; did you mean "size_send"?
    crawl.toml:3: nested in [api.a.paginate] is true; expected a text in quotes
    crawl.toml:1: [api.a] has `nested` in its paginate and no parent, the stream within whose records its own come
    "##);
}

#[test]
fn a_header_with_a_record_and_a_secret() {
    insta::assert_snapshot!(errors(
        r#"[api.a]
url = "https://a.org/"
each = ["1"]
headers = { x = "${TOKEN} {each}" }"#
    ), @r#"
    crawl.toml:1: [api.a] has a header "x" with a value of its records and one of the environment; the former is stored with each request, which no secret may be
    "#);
}

#[test]
fn bad_batches_under_aliases() {
    insta::assert_snapshot!(errors(
        r#"[api.a]
url = "https://a.org/graphql"
each = ["1"]
form = { a = "b" }
paginate = "graphql"
batch = { field = "id", match = "id", send = "graphql:node(id: {each}) { id }" }"#
    ), @r##"
    crawl.toml:1: [api.a] has "form", which does not go together with a batch that is sent as "graphql:..."
    crawl.toml:1: [api.a] has a "batch" that is sent as "graphql:..." and no {ids} in its "graphql", where the fields of the ids go
    crawl.toml:1: [api.a] has a "paginate", which does not go together with a batch that is sent as "graphql:...": what goes on within its records is a stream of its own, with `nested`
    crawl.toml:6: [api.a.batch] has "field", which does not go together with send = "graphql:...": which ids are asked for stands in the query, and what is answered for each under its alias
    crawl.toml:6: [api.a.batch] has "match", which does not go together with send = "graphql:...": which ids are asked for stands in the query, and what is answered for each under its alias
    "##);
}

#[test]
fn a_missing_variable_and_a_bad_proxy() {
    insta::assert_snapshot!(errors(
        r#"[http]
          proxy = "http://${NO_SUCH_PROXY}""#
    ), @r"
    crawl.toml:2: proxy in [http] names the environment variable NO_SUCH_PROXY, which is not set
    ");
    insta::assert_snapshot!(errors(
        r#"[http]
          proxy = "${TOKEN}""#
    ), @r#"
    crawl.toml:2: proxy in [http] must be "env", "none", or an http://, https://, socks5:// or socks5h:// address, or a list of such
    "#);
    insta::assert_snapshot!(errors(
        r#"[http]
          proxy = "http://${TOKEN""#
    ), @r#"
    crawl.toml:2: proxy in [http] has a "${" without its "}"
    "#);
}

#[test]
fn text_that_is_not_toml() {
    insta::assert_snapshot!(errors(
        r#"[site.docs
          start = ["http://a.org/"]
          "#
    ), @r"
    crawl.toml:1: unclosed table, expected `]`
    ");
    insta::assert_snapshot!(errors(
        r#"[http]
          timeout = 30s
          timeout = "1s"
          "#
    ), @r#"
    crawl.toml:2: string values must be quoted, expected literal string
    crawl.toml:3: duplicate key "timeout"
    "#);
    insta::assert_snapshot!(errors(
        r#"[http]
          timeout = "30s"
          timeout = "1s"
          "#
    ), @r#"
    crawl.toml:3: duplicate key "timeout"
    "#);
}

#[test]
fn bad_auth() {
    let bad = [
        "\"s3cret\"",
        "{ token = \"s3cret\" }",
        "{ type = \"barer\", token = \"s3cret\" }",
        "{ type = \"bearer\", tokn = \"s3cret\" }",
        "{ type = \"bearer\", token = 5 }",
        "{ type = \"bearer\", token = \"\" }",
        "{ type = \"bearer\", token = \"s3crét\" }",
        "{ type = \"bearer\", token = { file = \"no/such/file\" } }",
        "{ type = \"bearer\", token = { path = \"x\" } }",
        "{ type = \"bearer\", tokens = [] }",
        "{ type = \"bearer\", token = \"${NO_SUCH}\" }",
        "{ type = \"basic\", username = \"a:b\" }",
        "{ type = \"basic\", password = \"s3cret\" }",
        "{ type = \"api_key\", value = \"s3cret\" }",
        "{ type = \"api_key\", name = \"a b\", value = \"s3cret\" }",
        "{ type = \"api_key\", name = \"a\", in = \"path\", value = \"s3cret\" }",
        "{ type = \"oauth2\", token_url = \"https://a.org\" }",
        "{ type = \"oauth2\", grant = \"password\" }",
        "{ type = \"oauth2\", grant = \"client_credentials\", client_id = \"me\" }",
        "{ type = \"oauth2\", grant = \"refresh_token\", client_id = \"me\" }",
        "{ type = \"oauth2\", grant = \"client_credentials\", refresh_token = \"s3cret\" }",
    ];
    let all: Vec<String> =
        bad.iter().map(|auth| errors(&format!("[api.a]\nurl = \"https://a.org\"\nauth = {auth}"))).collect();
    let all = all.join("\n");
    assert!(!all.contains("s3cr"), "{all}");
    insta::assert_snapshot!(all, @r#"
    crawl.toml:3: auth in [api.a] is not understood; expected "none", or a table such as { type = "bearer", token = "${TOKEN}" }
    crawl.toml:3: [api.a.auth] lacks "type": one of "bearer", "basic", "api_key", "oauth2"
    crawl.toml:3: type in [api.a.auth] is "barer"; expected one of "bearer", "basic", "api_key", "oauth2"; did you mean "bearer"?
    crawl.toml:3: [api.a.auth] needs either "token" or "tokens", a list of which each has limits of its own
    crawl.toml:3: unknown key "tokn" in [api.a.auth]; did you mean "token"?
    crawl.toml:3: token in [api.a.auth] is no text in quotes, such as "${NAME}", and no { file = "path" }
    crawl.toml:3: token in [api.a.auth] is empty
    crawl.toml:3: token in [api.a.auth] has characters that no header can hold
    crawl.toml:3: file in [api.a.auth.token] names no/such/file, which cannot be read: No such file or directory (os error 2)
    crawl.toml:3: [api.a.auth.token] lacks "file", the file that the secret is in
    crawl.toml:3: unknown key "path" in [api.a.auth.token]; known are file
    crawl.toml:3: tokens in [api.a.auth] is no list of tokens, ["${A}", "${B}"]
    crawl.toml:3: token in [api.a.auth] names the environment variable NO_SUCH, which is not set
    crawl.toml:3: [api.a.auth] has a ":" in its username, which cannot be sent
    crawl.toml:3: [api.a.auth] lacks "username", the user
    crawl.toml:3: [api.a.auth] lacks "name", the name of the header, parameter or cookie
    crawl.toml:3: name in [api.a.auth] is not a name that a header or a cookie can have
    crawl.toml:3: in in [api.a.auth] is "path"; expected one of "header", "query", "cookie"
    crawl.toml:3: [api.a.auth] lacks "grant", "client_credentials" or "refresh_token"
    crawl.toml:3: grant in [api.a.auth] is "password"; expected one of "client_credentials", "refresh_token"
    crawl.toml:3: [api.a.auth] lacks "client_secret", the client's secret
    crawl.toml:3: [api.a.auth] lacks "refresh_token", the token of that grant
    crawl.toml:3: refresh_token in [api.a.auth] is not used by the grant "client_credentials"
    "#);
    insta::assert_snapshot!(errors(
        r#"[api.a]
          url = "https://a.org"
          auth = { type = "bearer", token = "x" }
          headers = { Authorization = "Bearer x" }
          auth_hosts = ["https://b.org/path", "c.org"]
          compress = "br"
          [[host]]
          match = "a.org"
          proxy = []
          [http]
          proxy = ["http://a.local:1", "ftp://b.local", "http://"]"#
    ), @r#"
    crawl.toml:1: [api.a] has both "auth" and a header "authorization"; one of them is enough
    crawl.toml:5: auth_hosts in [api.a] is "https://b.org/path"; expected a host such as "uploads.example.org", or an origin such as "http://127.0.0.1:8080"
    crawl.toml:6: compress in [api.a] is "br"; expected one of "none", "gzip", "zstd"
    crawl.toml:9: proxy in [host] is an empty list; "none" is for no proxy
    crawl.toml:11: proxy in [http] has an address without a host, or with a wrong port
    crawl.toml:11: proxy in [http] must be "env", "none", or an http://, https://, socks5:// or socks5h:// address, or a list of such
    "#);
}
