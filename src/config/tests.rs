//! What good files mean.

use url::Url;

use super::*;
use crate::exchange::Secret;
use crate::interpret::{
    AnswerAt, Continuation, Cursor, Ends, GraphqlCursor, ItemRange, JsonAt, Keyset, KeysetOrder, Offset, PageNumber,
    Paginate, Records, StopSign,
};
use crate::job::{Params, Target};
use crate::policy::ScopeKind;

fn env(name: &str) -> Option<String> {
    (name == "TOKEN").then(|| "s3cret".to_owned())
}

pub(super) fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse_with(text, Path::new("crawl.toml"), &env)
}

#[track_caller]
fn good(text: &str) -> Config {
    parse(text).map_err(|errors| errors.to_string()).expect("the file is good")
}

fn at(path: &str) -> JsonAt {
    JsonAt::parse(path).expect("a test place parses")
}

const SHIPPED: &str = include_str!("../../crawl.toml");

#[test]
fn the_smallest_files_have_two_lines() {
    let config = good("[site.docs]\nstart = [\"https://docs.example.org/\"]");
    assert_eq!(config.sites.len(), 1);
    assert_eq!(config.sites[0].name, "docs");
    assert_eq!(config.sites[0].start[0].as_str(), "https://docs.example.org/");
    let config = good("[api.items]\nurl = \"https://api.example.org/items\"");
    assert_eq!(config.apis.len(), 1);
    assert_eq!((config.apis[0].name.as_str(), &config.apis[0].records), ("items", &Records::Auto));
    assert_eq!(config.apis[0].paginate, PaginateConfig::default());
}

#[test]
fn the_shipped_file_says_what_an_empty_one_means() {
    let (shipped, empty) = (good(SHIPPED), good(""));
    assert_eq!(shipped.store_path, empty.store_path);
    assert_eq!(shipped.http, empty.http);
    assert_eq!(shipped.throttle, empty.throttle);
    // Beside the defaults it lifts the ceilings of the practice web, and takes the tracking parameters out of its addresses.
    let patterns: Vec<_> = shipped.hosts.iter().map(|rule| format!("{:?}", rule.pattern)).collect();
    assert_eq!(patterns.len(), 1, "{patterns:?}");
    assert!(empty.hosts.is_empty());
    assert_eq!(shipped.retry, empty.retry);
    assert_eq!(shipped.engine, empty.engine);
    assert_eq!(empty.throttle, throttle::Settings::default());
    let least = good("[site.practice]\nstart = [\"http://127.0.0.1:7801/\"]\nstrip_tracking = true");
    let practice = Site { items: Vec::new(), ..shipped.sites[0].clone() };
    assert_eq!(format!("{practice:?}"), format!("{:?}", least.sites[0]));
}

fn first_url(stream: &Stream) -> String {
    stream.first.render(&Params::new(), None).expect("no name is in it").url.into()
}

#[test]
fn the_shipped_file_has_every_key() {
    let sections = [
        ("site", &site::KEYS[..]),
        ("host", &host::HOST_KEYS),
        ("items", &site::ITEM_KEYS),
        ("api", &api::API_KEYS),
        ("stream", &api::STREAM_KEYS),
        ("stream", &stream::KEYS),
        ("a table of a stream", &stream::KEYS_OF_TABLES),
        ("paginate", &paginate::KEYS),
        ("bearer", &auth::BEARER_KEYS),
        ("basic", &auth::BASIC_KEYS),
        ("api_key", &auth::API_KEY_KEYS),
        ("oauth2", &auth::OAUTH2_KEYS),
        ("secret", &auth::SECRET_KEYS),
    ];
    for (section, keys) in section::KEYS_OF_SECTIONS.into_iter().chain(sections) {
        for key in keys.iter().filter(|key| !["items", "stream"].contains(key)) {
            assert!(SHIPPED.contains(&format!("{key} =")), "{key} of {section}");
        }
    }
}

#[test]
fn the_shipped_file_crawls_the_practice_web() {
    let config = good(SHIPPED);
    let starts: Vec<_> = config.sites.iter().map(|site| (site.name.as_str(), site.start[0].as_str())).collect();
    assert_eq!(starts, [("practice", "http://127.0.0.1:7801/"), ("window", "http://127.0.0.1:7802/")]);
    let urls: Vec<_> = config.apis.iter().map(|stream| (stream.name.as_str(), first_url(stream))).collect();
    let expected = [("items", "http://127.0.0.1:7803/items"), ("events", "http://127.0.0.1:7801/api/events")];
    assert_eq!(urls, expected.map(|(name, url)| (name, url.to_owned())));
    assert_eq!(config.apis[0].key, [at("id")]);
    let send = Target::Query("cursor".to_owned());
    assert_eq!(config.apis[0].paginate.scheme, Paginate::Cursor(Cursor { from: AnswerAt::Body(at("next")), send }));
    assert_eq!(config.apis[1].paginate.scheme, Paginate::Link { rel: "next".to_owned() });
    let item = |select: &str| ItemSpecText { select: select.to_owned(), ..ItemSpecText::default() };
    assert_eq!(
        config.sites[0].items[..3],
        [
            ("title".to_owned(), item("h1")),
            ("price".to_owned(), item(".price")),
            ("tags".to_owned(), ItemSpecText { list: true, ..item(".tag") }),
        ]
    );
}

#[test]
fn the_template_is_a_good_file_and_so_is_all_that_it_has_in_comments() {
    assert_eq!(good(template()).sites[0].start[0].as_str(), "https://example.org/");
    let mut uncommented = String::new();
    for line in template().lines() {
        // Prose has a space and a capital after the sign; keys and sections have none.
        let bare = line.strip_prefix("# ").filter(|bare| bare.starts_with('[') || bare.contains(" = "));
        uncommented.push_str(bare.unwrap_or(line));
        uncommented.push('\n');
    }
    let config = Config::parse_with(&uncommented, Path::new("crawl.toml"), &|_| Some("x".to_owned()))
        .map_err(|errors| errors.to_string())
        .expect("the comments are good");
    assert_eq!((config.sites[0].items.len(), config.apis.len(), config.sites[0].max_pages), (2, 1, 1_000));
}

#[test]
fn all_that_a_file_can_say_is_understood() {
    let config = Config::parse_with(
        r#"
        [store]
        path = "data/docs.db"
        [http]
        timeout = "1m 30s"
        max_body = "1GiB"
        compression = []
        proxy = "socks5://user:${TOKEN}@proxy.example:1080"
        accept_language = "de"
        [throttle]
        max_concurrency = 1
        max_rate = "none"
        [site.a]
        start = "HTTPS://Example.ORG/a/%7e#x"
        start_files = ["seeds.txt", "/tmp/more.txt"]
        scope = "domain"
        include = ['/\d+$']
        types = ["Image/*"]
        save = "none"
        [api.gh]
        base = "https://api.example.org/v1/"
        headers = { Authorization = "Bearer ${TOKEN}", accept = "application/json" }
        query = { per_page = 100, q = "a b", all = true }
        paginate = { type = "page", param = "p", start = 0, size = 100, total_pages = "meta.pages", max_pages = 7 }
        [api.gh.stream.two]
        path = "/repos"
        query = { per_page = 50 }
        headers = { ACCEPT = "x/y" }
        key = ["owner", "name"]
        [api.gh.stream.one]
        records = "$.rows"
        where = "$.state == 'open'"
        paginate = { type = "cursor", header = "X-Next", send = "query:after", has_more = "more" }
        "#,
        Path::new("/etc/trundle/crawl.toml"),
        &env,
    )
    .map_err(|errors| errors.to_string())
    .expect("the file is good");
    assert_eq!(config.store_path, Path::new("/etc/trundle/data/docs.db"));
    assert_eq!((config.http.timeout_ms, config.http.body_bytes_max), (90_000, 1 << 30));
    assert!(config.http.compression.is_empty());
    assert_eq!(config.http.proxy, Proxy::Via(vec![Secret("socks5://user:s3cret@proxy.example:1080".to_owned())]));
    assert_eq!(config.http.accept_language.as_deref(), Some("de"));
    assert_eq!((config.throttle.concurrency, config.throttle.rate_max_per_s), (1, None));
    let site = &config.sites[0];
    assert_eq!(site.start[0].as_str(), "https://example.org/a/~");
    assert_eq!(site.start_files, [Path::new("/etc/trundle/seeds.txt"), Path::new("/tmp/more.txt")]);
    assert_eq!((site.scope, site.save), (ScopeKind::Domain, Save::None));
    assert_eq!(site.types, ["image/*"]);
    assert!(site.include[0].is_match("http://a.org/12"));
    let [two, one] = &config.apis[..] else { panic!("there are two streams") };
    assert_eq!((two.name.as_str(), one.name.as_str()), ("gh.two", "gh.one"));
    assert_eq!(first_url(two), "https://api.example.org/v1/repos?q=a+b&all=true&per_page=50");
    assert_eq!(first_url(one), "https://api.example.org/v1/?per_page=100&q=a+b&all=true");
    assert_eq!(
        two.headers,
        [
            ("authorization".to_owned(), Secret("Bearer s3cret".to_owned())),
            ("accept".to_owned(), Secret("x/y".to_owned()))
        ]
    );
    assert_eq!((&two.key[..], &one.key[..]), (&[at("owner"), at("name")][..], &[][..]));
    assert_eq!((two.paginate.pages_max, &one.records), (7, &Records::At(at("$.rows"))));
    assert_eq!(one.keys.filter.as_ref().map(ToString::to_string).as_deref(), Some("$.state == 'open'"));
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn every_way_of_paging_can_be_written() {
    let paginate = |text: &str| {
        let config = good(&format!("[api.a]\nurl = \"https://a.org\"\npaginate = {text}"));
        config.apis[0].paginate.clone()
    };
    let target = |text: &str| Target::parse(text).expect("a test target parses");
    for (text, scheme) in [
        ("\"auto\"", Paginate::Auto),
        ("\"none\"", Paginate::None),
        ("{ type = \"link\", rel = \"older\" }", Paginate::Link { rel: "older".to_owned() }),
        ("{ type = \"next_url\", path = \"paging.next\" }", Paginate::NextUrl { path: at("paging.next") }),
        (
            "{ type = \"cursor\", header = \"X-Next\", send = \"body:page.after\" }",
            Paginate::Cursor(Cursor { from: AnswerAt::Header("x-next".to_owned()), send: target("body:page.after") }),
        ),
        ("\"page\"", Paginate::Page(PageNumber { send: target("query:page"), start: 1 })),
        (
            "{ type = \"page\", param = \"p\", start = 0 }",
            Paginate::Page(PageNumber { send: target("query:p"), start: 0 }),
        ),
        ("\"offset\"", Paginate::Offset(Offset { send: target("query:offset"), start: 0 })),
        (
            "{ type = \"offset\", send = \"body:from\", start = 1 }",
            Paginate::Offset(Offset { send: target("body:from"), start: 1 }),
        ),
        (
            "{ type = \"keyset\", field = \"id\", send = \"query:max_id\", order = \"desc\" }",
            Paginate::Keyset(Keyset { field: at("id"), send: target("query:max_id"), order: KeysetOrder::Desc }),
        ),
        ("\"params\"", Paginate::Params(Continuation { path: at("continue") })),
        (
            "{ type = \"params\", path = \"query-continue\" }",
            Paginate::Params(Continuation { path: at("query-continue") }),
        ),
        ("\"range\"", Paginate::Range(ItemRange { unit: "items".to_owned() })),
        ("{ type = \"range\", unit = \"\" }", Paginate::Range(ItemRange { unit: String::new() })),
        ("\"graphql\"", Paginate::Graphql(GraphqlCursor { page_info: None, variable: "endCursor".to_owned() })),
        (
            "{ type = \"graphql\", page_info = \"data.a.pageInfo\", variable = \"$after\" }",
            Paginate::Graphql(GraphqlCursor { page_info: Some(at("data.a.pageInfo")), variable: "after".to_owned() }),
        ),
    ] {
        assert_eq!(paginate(text).scheme, scheme, "{text}");
    }
    let all = paginate(
        "{ type = \"page\", size = 100, size_send = \"query:per_page\", total = \"total\", total_pages = \"header:X-Pages\", \
         has_more = \"more\", stop = [\"empty\", \"short\", \"total\", \"has_more\"], max_pages = 5 }",
    );
    let body = |path: &str| Some(AnswerAt::Body(at(path)));
    assert_eq!(
        all.ends,
        Ends {
            size: Some(100),
            total: body("total"),
            total_pages: Some(AnswerAt::Header("x-pages".to_owned())),
            has_more: body("more"),
            stop: Some(vec![StopSign::Empty, StopSign::Short, StopSign::Total, StopSign::HasMore]),
        }
    );
    assert_eq!((all.size_send, all.pages_max), (Some(target("query:per_page")), 5));
    let two = paginate("{ type = \"link\", stop = \"empty\" }").ends.stop;
    assert_eq!(two, Some(vec![StopSign::Empty]));
}

#[test]
fn the_more_specific_host_rule_wins_key_by_key() {
    let config = good(
        "[throttle]\nmax_rate = \"5/s\"\n[[host]]\nmatch = \"shop.example.org\"\ndelay = \"2s\"\n\
         [[host]]\nmatch = \"*\"\nmax_concurrency = 1\n[[host]]\nmatch = \"*.example.org\"\ndelay = \"1s\"\nmax_rate = \"none\"",
    );
    for (origin, concurrency, delay_ms, rate) in [
        ("https://shop.example.org", 1, 2_000, None),
        ("https://www.example.org", 1, 1_000, None),
        ("https://example.org", 1, 0, Some(5.0)),
    ] {
        let origin = Url::parse(origin).ok().and_then(|url| Origin::of(&url)).expect("a test origin is right");
        let settings = config.throttle_for(&origin);
        assert_eq!((settings.concurrency, settings.concurrency_max), (concurrency, 1), "{origin}");
        assert_eq!((settings.delay_ms, settings.rate_max_per_s), (delay_ms, rate), "{origin}");
    }
}

#[test]
fn a_providers_rules_bound_what_is_said_of_all_hosts_and_not_what_is_said_of_this_one() {
    let arxiv = Url::parse("https://export.arxiv.org/api/query").expect("a test address parses");
    let origin = Origin::of(&arxiv).expect("it has a host");
    let rate = |text: &str| good(text).throttle_for(&origin).rate_max_per_s;
    assert_eq!(rate(""), Some(1.0 / 3.0));
    assert_eq!(rate("[throttle]\nmax_rate = \"none\""), Some(1.0 / 3.0));
    assert_eq!(rate("[throttle]\nmax_rate = \"6/m\""), Some(0.1));
    assert_eq!(rate("[[host]]\nmatch = \"*\"\nmax_rate = \"20/s\""), Some(1.0 / 3.0));
    assert_eq!(rate("[[host]]\nmatch = \"export.arxiv.org\"\nmax_rate = \"1/s\""), Some(1.0));
    assert_eq!(rate("[[host]]\nmatch = \"*.arxiv.org\"\nprofile = \"none\""), Some(10.0));
    assert_eq!(rate("[[host]]\nmatch = \"*\"\nprofile = \"ncbi\""), Some(3.0));
}

#[test]
fn the_profile_of_the_most_specific_host_rule_is_taken() {
    let config = good(
        "[[host]]\nmatch = \"*\"\nprofile = \"none\"\n[[host]]\nmatch = \"git.example.org\"\nprofile = \"github\"\n\
         [[host]]\nmatch = \"*.example.org\"\ndelay = \"1s\"",
    );
    let name = |address: &str| {
        let url = Url::parse(address).expect("a test address parses");
        let profile = config.profile_for(&url).for_host(url.host_str().unwrap_or_default());
        profile.map(|profile| profile.name.as_str())
    };
    assert_eq!(name("https://git.example.org/a"), Some("github"));
    assert_eq!(name("https://api.github.com/"), None);
    assert_eq!(name("https://www.example.org/"), None);
}

#[test]
fn a_file_that_is_not_there_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("crawl.toml");
    let errors = Config::load(&path).expect_err("there is no such file");
    assert!(errors.to_string().starts_with(&format!("{}: cannot be read: ", path.display())), "{errors}");
    std::fs::write(&path, "[site.a]\nstart = [\"http://a.org/\"]\n").expect("the folder can be written to");
    assert_eq!(Config::load(&path).expect("the file is good").store_path, folder.path().join("crawl.db"));
}

#[test]
fn courtesy_is_a_word_or_a_share_for_all_hosts_or_for_some() {
    let courtesies = |text: &str| -> Vec<f64> {
        let config = good(text);
        let of =
            |origin: &str| Url::parse(origin).ok().and_then(|url| Origin::of(&url)).expect("a test origin is right");
        ["https://a.org", "https://b.org"].map(|origin| config.throttle_for(&of(origin)).courtesy).to_vec()
    };
    assert_eq!(courtesies(""), [1.0, 1.0]);
    assert_eq!(
        courtesies("[throttle]\ncourtesy = \"gentle\"\n[[host]]\nmatch = \"b.org\"\ncourtesy = \"close\""),
        [0.5, 1.0]
    );
    assert_eq!(courtesies("[throttle]\ncourtesy = 0.8\n[[host]]\nmatch = \"b.org\"\ncourtesy = 1"), [0.8, 1.0]);
    for (value, words) in
        [("\"gentel\"", "did you mean \"gentle\"?"), ("0", "from 0.05 to 1"), ("true", "is true; expected")]
    {
        let text = format!("[[host]]\nmatch = \"*\"\ncourtesy = {value}");
        let error = parse(&text).expect_err("no courtesy").to_string();
        assert!(error.contains("crawl.toml:3: courtesy in [host] is ") && error.contains(words), "{error}");
    }
}

#[test]
fn auth_is_read_from_the_environment_and_from_files() {
    use crate::fetch::{Auth, ClientAuth, Grant, KeyPlace, OAuth2};
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::fs::write(folder.path().join("secret.txt"), " from a file\n").expect("the folder can be written to");
    let read = |auth: &str| {
        let text = format!("[api.a]\nurl = \"https://a.org/x\"\nauth = {auth}");
        let config = Config::parse_with(&text, &folder.path().join("crawl.toml"), &env);
        let config = config.map_err(|errors| errors.to_string()).expect("the file is good");
        config.apis[0].auth.as_ref().map(|auth| auth.auth.clone())
    };
    let secret = |text: &str| Secret(text.to_owned());
    assert_eq!(read("\"none\""), None);
    assert_eq!(read(r#"{ type = "bearer", token = "${TOKEN}" }"#), Some(Auth::Bearer(vec![secret("s3cret")])));
    assert_eq!(
        read(r#"{ type = "bearer", tokens = ["x${TOKEN}", { file = "secret.txt" }] }"#),
        Some(Auth::Bearer(vec![secret("xs3cret"), secret("from a file")]))
    );
    assert_eq!(
        read(r#"{ type = "basic", username = "me" }"#),
        Some(Auth::Basic { username: secret("me"), password: secret("") })
    );
    assert_eq!(
        read(r#"{ type = "api_key", in = "query", name = "key", value = "${TOKEN}" }"#),
        Some(Auth::ApiKey { place: KeyPlace::Query, name: "key".to_owned(), value: secret("s3cret") })
    );
    assert_eq!(
        read(
            r#"{ type = "oauth2", grant = "refresh_token", token_url = "https://id.org/t", client_id = "me", client_auth = "body",
                 refresh_token = "${TOKEN}", scope = "a b" }"#
        ),
        Some(Auth::OAuth2(Box::new(OAuth2 {
            grant: Grant::RefreshToken(secret("s3cret")),
            token_url: Url::parse("https://id.org/t").expect("a test address parses"),
            client_id: secret("me"),
            client_secret: None,
            client_auth: ClientAuth::Body,
            scope: Some("a b".to_owned()),
        })))
    );
}

#[test]
fn streams_share_the_auth_of_their_api_or_have_their_own() {
    let config = good(
        "[api.a]\nbase = \"https://a.org\"\nauth = { type = \"bearer\", token = \"${TOKEN}\" }\ncompress = \"gzip\"\n\
         auth_hosts = [\"b.org\", \"http://127.0.0.1:9\"]\n[api.a.stream.one]\n[api.a.stream.two]\n[api.a.stream.three]\nauth = \"none\"\n\
         [api.a.stream.four]\nauth = { type = \"basic\", username = \"me\" }\nauth_hosts = []\ncompress = \"none\"",
    );
    let sections: Vec<_> =
        config.apis.iter().map(|stream| stream.auth.as_ref().map(|auth| auth.section.as_str())).collect();
    assert_eq!(sections, [Some("api.a"), Some("api.a"), None, Some("api.a.stream.four")]);
    let hosts: Vec<_> = config.apis[0].auth_hosts.iter().map(Origin::as_str).collect();
    assert_eq!(hosts, ["https://b.org", "http://127.0.0.1:9"]);
    assert!(config.apis[3].auth_hosts.is_empty());
    assert_eq!((config.apis[0].compress, config.apis[3].compress), (Some(crate::exchange::BodyCoding::Gzip), None));
}

#[test]
fn a_list_of_proxies_is_for_all_hosts_or_for_some() {
    let config = good(
        "[http]\nproxy = [\"http://u:${TOKEN}@a.local:1\", \"socks5h://b.local\"]\n[[host]]\nmatch = \"*.c.org\"\nproxy = \"none\"\n\
         [[host]]\nmatch = \"x.c.org\"\ndelay = \"1s\"\n[[host]]\nmatch = \"y.c.org\"\nproxy = \"https://d.local\"",
    );
    let secret = |text: &str| Secret(text.to_owned());
    assert_eq!(config.http.proxy, Proxy::Via(vec![secret("http://u:s3cret@a.local:1"), secret("socks5h://b.local")]));
    assert_eq!(config.host_proxies(), [&Proxy::Direct, &Proxy::Via(vec![secret("https://d.local")])]);
    let of = |origin: &str| {
        config.host_proxy(&Url::parse(origin).ok().and_then(|url| Origin::of(&url)).expect("a test origin is right"))
    };
    assert_eq!(["https://x.c.org", "https://y.c.org", "https://c.org"].map(of), [Some(0), Some(1), None]);
}
