//! The cases of Google's matcher (google/robotstxt, `robots_test.cc`, Apache-2.0) as tables, and ours.

use proptest::prelude::*;

use super::*;

/// `cases`: agent, path and query, whether it is allowed.
#[track_caller]
fn check(text: &str, cases: &[(&str, &str, bool)]) {
    for (agent, path, allowed) in cases {
        let url = Url::parse(&format!("http://foo.bar{path}")).expect("a test address parses");
        let verdict = Robots::parse(text, agent).verdict(&url);
        assert_eq!(verdict == RobotsVerdict::Allowed, *allowed, "{agent} at {path}: {verdict:?}\n{text}");
    }
}

#[track_caller]
fn check_foo(rules: &str, allowed: &[&str], disallowed: &[&str]) {
    let cases = allowed.iter().map(|path| ("FooBot", *path, true));
    let cases: Vec<_> = cases.chain(disallowed.iter().map(|path| ("FooBot", *path, false))).collect();
    check(&format!("user-agent: FooBot\n{rules}"), &cases);
}

#[test]
fn lines_are_key_colon_value_and_the_colon_may_be_missing() {
    check("user-agent: FooBot\ndisallow: /\n", &[("FooBot", "/x/y", false)]);
    check("foo: FooBot\nbar: /\n", &[("FooBot", "/x/y", true)]);
    check("user-agent FooBot\ndisallow /\n", &[("FooBot", "/x/y", false)]);
    check("", &[("FooBot", "/x/y", true)]);
    check("user-agent: FooBot\ndisallow: /\n", &[("", "/x/y", true)]);
}

#[test]
fn groups_of_one_agent_are_merged_and_rules_outside_groups_ignored() {
    let text = "allow: /foo/bar/\n\nuser-agent: FooBot\ndisallow: /\nallow: /x/\nuser-agent: BarBot\ndisallow: /\n\
                allow: /y/\n\n\nallow: /w/\nuser-agent: BazBot\n\nuser-agent: FooBot\nallow: /z/\ndisallow: /\n";
    check(
        text,
        &[
            ("FooBot", "/x/b", true),
            ("FooBot", "/z/d", true),
            ("FooBot", "/y/c", false),
            ("BarBot", "/y/c", true),
            ("BarBot", "/w/a", true),
            ("BarBot", "/z/d", false),
            ("BazBot", "/z/d", true),
            ("FooBot", "/foo/bar/", false),
            ("BarBot", "/foo/bar/", false),
            ("BazBot", "/foo/bar/", false),
        ],
    );
}

#[test]
fn other_lines_do_not_part_the_agents_of_a_group() {
    for other in ["Sitemap: https://foo.bar/sitemap", "Invalid-Unknown-Line: unknown", "Crawl-delay: 5"] {
        let text = format!("User-agent: BarBot\n{other}\nUser-agent: *\nDisallow: /\n");
        check(&text, &[("FooBot", "/", false), ("BarBot", "/", false)]);
    }
}

#[test]
fn keys_and_agents_have_no_case_but_paths_do() {
    for (key, agent) in [("USER-AGENT", "FOO"), ("user-agent", "foo"), ("uSeR-aGeNt", "FoO")] {
        let text = format!("{key}: {agent} BAR\nALLOW: /x/\ndIsAlLoW: /\n");
        for agent in ["Foo", "foo", "FOO/1.0 (+http://foo.bar/)"] {
            check(&text, &[(agent, "/x/y", true), (agent, "/a/b", false), (agent, "/X/y", false)]);
        }
    }
    check_foo("disallow: /x/", &["/X/y"], &["/x/y"]);
}

#[test]
fn the_group_for_all_counts_only_when_no_group_names_the_agent() {
    check(
        "user-agent: *\nallow: /\nuser-agent: FooBot\ndisallow: /\n",
        &[("FooBot", "/x", false), ("BarBot", "/x", true)],
    );
    check("user-agent: FooBot\nallow: /\nuser-agent: BarBot\ndisallow: /\n", &[("QuxBot", "/x", true)]);
    check(
        "User-agent: *\nDisallow: /x/\nUser-agent: FooBot\nDisallow: /y/\n",
        &[("FooBot", "/x/p", true), ("FooBot", "/y/p", false)],
    );
    check("User-agent: * foo\nDisallow: /\nUser-agent: FooBot\n", &[("FooBot", "/x", true), ("BarBot", "/x", false)]);
    check("User-agent: Foo\nDisallow: /\n", &[("FooBot", "/x", true)]);
    check("User-agent: bot2\nDisallow: /\n", &[("bot2", "/x", false), ("bot", "/x", true)]);
}

#[test]
fn the_longest_pattern_decides_and_allow_wins_a_tie() {
    let page = "/x/page.html";
    check_foo("disallow: /x/page.html\nallow: /x/\n", &[], &[page]);
    check_foo("allow: /x/page.html\ndisallow: /x/\n", &[page], &["/x/"]);
    check_foo("disallow: \nallow: \n", &[page], &[]);
    check_foo("disallow: /\nallow: /\n", &[page], &[]);
    check_foo("disallow: /x\nallow: /x/\n", &["/x/"], &["/x"]);
    check_foo("disallow: /x/page.html\nallow: /x/page.html\n", &[page], &[]);
    check_foo("allow: /page\ndisallow: /*.html\n", &["/page"], &["/page.html"]);
    check_foo("allow: /x/page.\ndisallow: /*.html\n", &[page], &["/x/y.html"]);
    check_foo("allow: /p\ndisallow: /\n", &["/page"], &["/"]);
    check_foo("allow: /folder\ndisallow: /folder\n", &["/folder/page"], &[]);
    check_foo("allow: /page\ndisallow: /*.htm\n", &[], &["/page.htm"]);
    check_foo("allow: /$\ndisallow: /\n", &["/"], &["/page.html"]);
}

#[test]
fn encoded_and_plain_characters_are_the_same() {
    let allow = |pattern: &str| format!("disallow: /\nallow: {pattern}\n");
    check_foo(
        &allow("/foo/bar?qux=taz&baz=http://foo.bar?tar&par"),
        &["/foo/bar?qux=taz&baz=http://foo.bar?tar&par"],
        &[],
    );
    for pattern in ["/foo/bar/ツ", "/foo/bar/%E3%83%84", "/foo/bar/%e3%83%84"] {
        check_foo(&allow(pattern), &["/foo/bar/%E3%83%84", "/foo/bar/ツ", "/foo/bar/%e3%83%84x"], &["/foo/bar/%E3%83"]);
    }
    // RFC 9309 section 2.2.2 decodes these; Google's matcher, older than the RFC, does not.
    check_foo(&allow("/foo/bar/%62%61%7A"), &["/foo/bar/baz", "/foo/bar/%62%61%7A"], &["/foo/bar/"]);
    check_foo(&allow("/a%2Fb"), &["/a%2fb"], &["/a/b"]);
    // The table of RFC 9309 section 2.2.3: an encoded star or dollar is a character.
    check_foo(
        &allow("/file-with-a-%2A.html"),
        &["/file-with-a-*.html", "/file-with-a-%2A.html"],
        &["/file-with-a-x.html"],
    );
    check_foo(&allow("/foo-%24"), &["/foo-$", "/foo-%24", "/foo-$x"], &["/foo-"]);
    check_foo(&allow("/a$b"), &["/a$b", "/a%24bc"], &["/ab", "/a"]);
}

#[test]
fn a_star_is_any_run_and_a_last_dollar_the_end() {
    check_foo(
        "Disallow: /foo/bar/quz\nAllow: /foo/*/qux\n",
        &["/foo/quz", "/foo//quz", "/foo/bax/quz"],
        &["/foo/bar/quz"],
    );
    check_foo(
        "Disallow: /foo/bar$\nAllow: /foo/bar/qux\n",
        &["/foo/bar/qux", "/foo/bar/", "/foo/bar/baz"],
        &["/foo/bar"],
    );
    check_foo("# Disallow: /\nDisallow: /foo/quz#qux\nAllow: /\n", &["/foo/bar"], &["/foo/quz"]);
    check_foo("Disallow: /*a*b*c$\n", &["/abcd", "/acb"], &["/abc", "/xaxbxc", "/abcbc"]);
    check_foo("Disallow: /ab*b$\n", &["/ab"], &["/abb", "/ab/b"]);
    check_foo("Disallow: *\n", &[], &["/", "/x"]);
    check_foo("Disallow: *.pdf$\n", &["/x.pdf?y"], &["/x.pdf"]);
    check_foo("Disallow: private\n", &["/private"], &[]);
}

#[test]
fn the_examples_of_googles_documentation() {
    let allow = |pattern: &str| format!("disallow: /\nallow: {pattern}\n");
    let fish =
        ["/fish", "/fish.html", "/fish/salmon.html", "/fishheads", "/fishheads/yummy.html", "/fish.html?id=anything"];
    for pattern in ["/fish", "/fish*"] {
        check_foo(&allow(pattern), &fish, &["/bar", "/Fish.asp", "/catfish", "/?id=fish"]);
    }
    check_foo(
        &allow("/fish/"),
        &["/fish/", "/fish/salmon", "/fish/?salmon", "/fish/salmon.html", "/fish/?id=anything"],
        &["/bar", "/fish", "/fish.html", "/Fish/Salmon.html"],
    );
    check_foo(
        &allow("/*.php"),
        &[
            "/filename.php",
            "/folder/filename.php",
            "/folder/filename.php?parameters",
            "//folder/any.php.file.html",
            "/filename.php/",
            "/index?f=filename.php/",
        ],
        &["/bar", "/php/", "/index?php", "/windows.PHP"],
    );
    check_foo(
        &allow("/*.php$"),
        &["/filename.php", "/folder/filename.php"],
        &[
            "/bar",
            "/filename.php?parameters",
            "/filename.php/",
            "/filename.php5",
            "/php/",
            "/filename?php",
            "/aaaphpaaa",
        ],
    );
    check_foo(&allow("/fish*.php"), &["/fish.php", "/fishheads/catfish.php?parameters"], &["/Fish.PHP"]);
}

#[test]
fn line_ends_and_byte_order_marks_do_not_matter() {
    for end in ["\n", "\r\n", "\r"] {
        for mark in ["", "\u{feff}", "\u{fffd}"] {
            let text =
                format!("{mark}User-Agent: foo{end}Allow: /some/path{end}User-Agent: bar{end}{end}{end}Disallow: /");
            check(&text, &[("foo", "/other", true), ("bar", "/some/path", false)]);
        }
    }
    check("User-Agent: foo\n\u{feff}Disallow: /\n", &[("foo", "/", true)]);
}

#[test]
fn delays_and_sitemaps_are_read() {
    let text = "Sitemap: http://foo.bar/1.xml\nUser-agent: a\nCrawl-delay: 2.5\nCrawl-delay: 1\nUser-agent: b\n\
                Disallow: /x\nsite-map: http://foo.bar/2.xml # two\nUser-agent: *\nCrawl-delay: 9\nSitemap:\n";
    for (agent, delay_ms) in [("a", Some(2_500)), ("b", None), ("c", Some(9_000))] {
        let robots = Robots::parse(text, agent);
        assert_eq!(robots.crawl_delay_ms(), delay_ms, "{agent}");
        assert_eq!(robots.sitemaps(), ["http://foo.bar/1.xml", "http://foo.bar/2.xml"]);
    }
    for odd in ["-1", "NaN", "inf", "1e300", "soon", ""] {
        assert_eq!(Robots::parse(&format!("User-agent: *\nCrawl-delay: {odd}\n"), "a").crawl_delay_ms(), None, "{odd}");
    }
}

#[test]
fn a_verdict_names_its_rule_and_the_file_itself_is_free() {
    let url = |path: &str| Url::parse(&format!("http://foo.bar{path}")).expect("a test address parses");
    let rule = |rule: &str| RobotsVerdict::Disallowed { rule: rule.to_owned() };
    let robots = Robots::parse("User-agent: *\nDisallow: /*?sort=$\nDisallow: /r\n", "a");
    assert_eq!(robots.verdict(&url("/a?sort=")), rule("Disallow: /*?sort=$"));
    assert_eq!(robots.verdict(&url("/robots.txt")), RobotsVerdict::Allowed);
    let closed = Robots::disallow_all("robots.txt could not be had: answered 500");
    assert_eq!(closed.verdict(&url("/")), rule("robots.txt could not be had: answered 500"));
    assert_eq!(closed.verdict(&url("/robots.txt")), RobotsVerdict::Allowed);
    assert_eq!(Robots::allow_all().verdict(&url("/")), RobotsVerdict::Allowed);
}

#[test]
fn what_lies_beyond_the_cap_is_not_read() {
    let filler = "# filler\n".repeat(TEXT_BYTES_MAX / 9);
    check(&format!("User-agent: *\n{filler}Disallow: /x\n"), &[("a", "/x", true)]);
    check(&format!("User-agent: *\nDisallow: /x\n{filler}"), &[("a", "/x", false)]);
}

/// The meaning of a pattern, told slowly.
fn matches_slowly(pattern: &[u8], to_end: bool, target: &[u8]) -> bool {
    match pattern {
        [] => !to_end || target.is_empty(),
        [b'*', rest @ ..] => (0..=target.len()).any(|skip| matches_slowly(rest, to_end, &target[skip..])),
        [first, rest @ ..] => target.first() == Some(first) && matches_slowly(rest, to_end, &target[1..]),
    }
}

proptest! {
    #[test]
    fn fast_matching_means_the_same_as_slow(pattern in "/[ab*]{0,8}", to_end: bool, target in "/[ab]{0,10}") {
        let slow = matches_slowly(pattern.as_bytes(), to_end, target.as_bytes());
        let rule = Rule { allow: true, pattern, to_end, text: String::new() };
        prop_assert_eq!(rule.matches(&target), slow);
    }

    #[test]
    fn no_text_makes_it_panic(text in "((user-agent|allow|disallow|crawl-delay)[: ]{0,2}\\PC{0,10}[\r\n]?){0,8}") {
        let url = Url::parse("http://foo.bar/a*b$?c").expect("a test address parses");
        let _verdict = Robots::parse(&text, "foo").verdict(&url);
    }
}

#[test]
fn a_hostile_file_cannot_make_a_verdict_dear_and_what_is_beyond_the_cap_is_read_for_the_site() {
    let mut text = String::from("User-agent: *\n");
    for n in 0..30_000 {
        text.push_str(&format!("Allow: *{n}\n"));
    }
    text.push_str("Disallow: /private/*/x$\nDisallow: /plain\n");
    let robots = Robots::parse(&text, "trundle");
    let with_stars = robots.rules.iter().filter(|rule| rule.pattern.contains('*')).count();
    assert_eq!(with_stars, STARS_MAX);
    let judge =
        |path: &str| robots.verdict(&Url::parse(&format!("http://a.org{path}")).expect("a test address parses"));
    let forbidden = |rule: &str| RobotsVerdict::Disallowed { rule: rule.to_owned() };
    assert_eq!(judge("/private/y/z"), forbidden("Disallow: /private/*/x$"));
    assert_eq!(judge("/plain"), forbidden("Disallow: /plain"));
    assert_eq!(judge("/a"), RobotsVerdict::Allowed);
}
