//! Pages as a whole: fixtures, encodings, and hostile ones.

use std::fmt::Write as _;

use super::testing::{address, answer, fixture};
use super::{Directives, ItemRules, ItemSpec, LinkKind, PageMeaning, PageRules, page};

fn rules() -> PageRules {
    PageRules { agent: "trundle".to_owned(), ..PageRules::default() }
}

fn rules_with_items(specs: &[(&str, &str)]) -> PageRules {
    let specs: Vec<(String, ItemSpec)> =
        specs.iter().map(|(name, spec)| ((*name).to_owned(), ItemSpec::parse(spec))).collect();
    PageRules { items: Some(ItemRules::compile(&specs).expect("test rules compile")), ..rules() }
}

fn in_words(meaning: &PageMeaning) -> String {
    let mut out = format!("title {:?}, charset {:?}, seen {}\n", meaning.title, meaning.charset, meaning.links_seen);
    for link in &meaning.links {
        let nofollow = if link.nofollow { " nofollow" } else { "" };
        writeln!(out, "{:?} {}{nofollow}", link.kind, link.url).expect("memory takes it");
    }
    for note in &meaning.notes {
        writeln!(out, "note: {note}").expect("memory takes it");
    }
    out
}

const HTML: (&str, &str) = ("content-type", "text/html");

#[test]
fn a_page_is_read() {
    let fetched = answer("https://example.org/a/b.html?c", &[HTML], fixture("page.html"));
    let meaning = page(&fetched, &rules());
    insta::assert_snapshot!(in_words(&meaning), @r#"
    title Some("Tools & parts – Example shop"), charset Some("UTF-8"), seen 21
    Canonical https://example.org/shop/tools?sort=name&page=2
    Feed https://example.org/shop/feed.xml
    Next https://example.org/shop/?page=3
    Refresh https://example.org/shop/again
    Page https://example.org/shop/in-svg
    Page https://example.org/shop/hammer
    Page https://example.org/shop/saw?a=1&b=2&copy=3
    Page https://other.example/xy
    Page https://example.org/shop/
    Page https://example.org/shop/ad nofollow
    Page https://example.org/shop/both
    Page https://cdn.example/p
    Page https://example.org/shop/region
    Page https://example.org/shop/frame.html
    Page https://example.org/shop/in-template
    Page https://example.org/shop/item/1?x=1&y=2
    Page https://example.org/shop/item/2
    Page https://example.org/shop/plain
    "#);
    assert_eq!(meaning.directives, Directives { noindex: false, nofollow: true });
    assert_eq!(meaning.canonical, Some(address("https://example.org/shop/tools?sort=name&page=2")));
    assert_eq!(meaning.refresh, Some(address("https://example.org/shop/again")));
    assert_eq!(meaning.item, None);
}

#[test]
fn items_are_taken_by_selectors() {
    let fetched = answer("https://example.org/a/b.html?c", &[HTML], fixture("page.html"));
    let rules = rules_with_items(&[
        ("heading", "h1"),
        ("missing", "h2"),
        ("names", "a.item[]"),
        ("links", "a.item@href[]"),
        ("ids", "li@data-id []"),
        ("picture", ".list img@src"),
        ("html", "ul > li:nth-child(2)@html"),
        ("none", "h3[]"),
    ]);
    let item = serde_json::to_string_pretty(&page(&fetched, &rules).item).expect("an item is JSON");
    insta::assert_snapshot!(item, @r#"
    {
      "heading": "Tools and parts",
      "html": "<a class=\"item\" href=\"item/2\">T<b>w</b>o</a>",
      "ids": [
        "1",
        "2"
      ],
      "links": [
        "https://example.org/shop/item/1?x=1&y=2",
        "https://example.org/shop/item/2"
      ],
      "missing": null,
      "names": [
        "One",
        "Two"
      ],
      "none": [],
      "picture": "https://example.org/shop/1.png"
    }
    "#);
    let empty = rules_with_items(&[("missing", "h2"), ("none", "h3[]")]);
    assert_eq!(page(&fetched, &empty).item, None);
}

#[test]
fn headers_say_what_tags_may_say() {
    let headers = [
        ("link", "</c>; rel=canonical, <next?p=2>; rel=\"next\", <s.css>; rel=preload"),
        ("refresh", "0;url=/r"),
        ("x-robots-tag", "trundle: noindex"),
    ];
    let meaning = page(&answer("http://h.example/d/", &headers, "<a href=x>"), &rules());
    insta::assert_snapshot!(in_words(&meaning), @r#"
    title None, charset Some("UTF-8"), seen 1
    Page http://h.example/d/x
    Canonical http://h.example/c
    Next http://h.example/d/next?p=2
    Refresh http://h.example/r
    "#);
    assert_eq!(meaning.directives, Directives { noindex: true, nofollow: false });
}

#[track_caller]
fn check_charset(headers: &[(&str, &str)], body: &[u8], charset: &str, title: &str, notes: &[&str]) {
    let meaning = page(&answer("http://example.jp/", headers, body), &rules());
    assert_eq!(meaning.charset, Some(charset));
    assert_eq!(meaning.title.as_deref(), Some(title));
    assert_eq!(meaning.notes, notes);
}

#[test]
fn text_is_read_in_the_encoding_that_browsers_would_take() {
    let html = |head: &str, title: &[u8]| [head.as_bytes(), b"<title>", title, b"</title>"].concat();
    let (latin, sjis) = (b"caf\xe9 \x80".as_slice(), b"\x93\xfa\x96\x7b\x8c\xea".as_slice());
    let utf16 = |text: &str, le: bool| -> Vec<u8> {
        text.encode_utf16().flat_map(|unit| if le { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
    };
    check_charset(&[], &html("", "日本".as_bytes()), "UTF-8", "日本", &[]);
    check_charset(
        &[("content-type", "text/html; charset=\"ISO-8859-1\"")],
        &html("", latin),
        "windows-1252",
        "café €",
        &[],
    );
    check_charset(&[HTML], &html("<meta charset=windows-1252>", latin), "windows-1252", "café €", &[]);
    check_charset(
        &[HTML],
        &html(
            "<!-- <meta charset=utf-8> --><META http-equiv='Content-Type' content='text/html; charset=Shift_JIS'>",
            sjis,
        ),
        "Shift_JIS",
        "日本語",
        &[],
    );
    check_charset(
        &[("content-type", "text/html;charset=utf-8")],
        &html("<meta charset=shift_jis>", "日".as_bytes()),
        "UTF-8",
        "日",
        &[],
    );
    check_charset(&[HTML], &html("<meta charset=utf-16>", "日".as_bytes()), "UTF-8", "日", &[]);
    for le in [true, false] {
        let name = if le { "UTF-16LE" } else { "UTF-16BE" };
        check_charset(&[HTML], &utf16("\u{feff}<title>日本 &amp;</title>", le), name, "日本 &", &[]);
        check_charset(&[HTML], &utf16("<title>日本</title>", le), name, "日本", &[]);
    }
    check_charset(
        &[("content-type", "text/html; charset=windows-1252")],
        &html("\u{feff}", "é".as_bytes()),
        "UTF-8",
        "é",
        &[],
    );
    check_charset(
        &[("content-type", "text/html; charset=klingon")],
        &html("<meta charset=romulan>", "é".as_bytes()),
        "UTF-8",
        "é",
        &["unknown charset \"klingon\" in Content-Type", "unknown charset \"romulan\" in the document"],
    );
    // ISO-2022-JP is no superset of ASCII.
    check_charset(
        &[("content-type", "text/html; charset=iso-2022-jp")],
        &html("", b"\x1b$BF|K\\\x1b(B"),
        "ISO-2022-JP",
        "日本",
        &[],
    );
    let japanese = "これは日本語の文章です。文字コードを推測します。".repeat(5);
    let (guessed, _, _) = encoding_rs::SHIFT_JIS.encode(&japanese);
    check_charset(&[HTML], &html("", &guessed), "Shift_JIS", &japanese, &[]);
}

#[test]
fn broken_bytes_are_replaced_and_told() {
    let body = b"<meta charset=utf-8><title>a\xffb\xc3</title><a href='/\xe9'>";
    check_charset(
        &[HTML],
        body,
        "UTF-8",
        "a\u{fffd}b\u{fffd}",
        &["3 malformed byte sequences in UTF-8 text were replaced"],
    );
    let body = b"<meta charset=euc-jp><title>x\xa4</title>";
    check_charset(&[HTML], body, "EUC-JP", "x\u{fffd}", &["1 malformed byte sequences in EUC-JP text were replaced"]);
}

#[test]
fn a_link_that_is_followed_somewhere_is_followed() {
    let body = "<a rel=nofollow href=a><a href=a> <a rel=nofollow href=b><a href=./b> <a rel=nofollow href=c><a rel='x NoFollow' href=/c>";
    let meaning = page(&answer("http://h.example/", &[HTML], body), &rules());
    let links: Vec<(&str, bool)> = meaning.links.iter().map(|link| (link.url.path(), link.nofollow)).collect();
    assert_eq!(links, [("/a", false), ("/b", false), ("/c", true)]);
}

#[test]
fn titles_are_short() {
    let meaning = page(&answer("http://h/", &[HTML], format!("<title>{}", "é ".repeat(5000))), &rules());
    assert_eq!(meaning.title.map(|title| title.chars().count()), Some(1000));
    let meaning = page(&answer("http://h/", &[HTML], "<title> \n </title><title>second</title>"), &rules());
    assert_eq!(meaning.title, None);
}

#[test]
fn a_page_of_100_000_links_is_read_and_capped() {
    let body = (0..100_000).fold(String::new(), |mut body, i| {
        write!(body, "<a href=\"/p/{i}\">x</a><a href=/p/{i}#again>y</a>").expect("memory takes it");
        body
    });
    let fetched = answer("http://h.example/", &[HTML], body);
    let meaning = page(&fetched, &rules());
    assert_eq!((meaning.links.len(), meaning.links_seen), (100_000, 200_000));
    assert_eq!(meaning.links[99_999].url.path(), "/p/99999");
    let meaning = page(&fetched, &PageRules { links_max: 10, ..rules() });
    assert_eq!((meaning.links.len(), meaning.links_seen), (10, 200_000));
    assert_eq!(meaning.notes, ["more than 10 links: 199980 were left out"]);
}

#[test]
fn an_endless_address_is_left_out() {
    let body = format!("<a href=\"/{}\"><a href=ok>", "a".repeat(10_000));
    let meaning = page(&answer("http://h.example/", &[HTML], body), &rules());
    assert_eq!(meaning.links.len(), 1);
    assert_eq!(meaning.notes, ["1 addresses of more than 8192 bytes were left out"]);
}

#[test]
fn deep_nesting_overflows_nothing() {
    let rules = rules_with_items(&[("text", "div div"), ("last", "i@html"), ("all", "div@html[]")]);
    for (open, times) in [
        ("<div>", 100_000),
        ("<b><i x=1>", 50_000),
        ("<svg>", 100_000),
        ("<table><tr><td>", 30_000),
        ("<p><b c>", 50_000),
    ] {
        let body = format!("<title>t</title><h1>x</h1>{}deep<a href=x>", open.repeat(times));
        let meaning = page(&answer("http://h.example/", &[HTML], body), &rules);
        assert_eq!(meaning.title.as_deref(), Some("t"), "{open}");
        assert_eq!(meaning.links.len(), 1, "{open}");
        assert!(meaning.notes.iter().any(|note| note.contains("too deep")), "{open} {:?}", meaning.notes);
    }
}

#[test]
fn a_tag_that_never_ends_is_no_link() {
    for tail in ["<a href='x", "<!-- ", "<a href=x ", "<title>", "<noscript><a href=y", "<script>", "<![CDATA["] {
        let meaning = page(&answer("http://h.example/", &[HTML], format!("<a href=ok>{tail}")), &rules());
        assert_eq!(meaning.links.len(), 1, "{tail}");
    }
}

mod properties {
    use proptest::prelude::*;
    use scraper::{Html, Selector};

    use super::*;

    /// Bits of markup, so that chance makes pages rather than noise.
    fn markup() -> impl Strategy<Value = String> {
        let bit = prop_oneof![
            Just("<a href=".to_owned()),
            Just("<base href='/b/'>".to_owned()),
            Just("<meta http-equiv=refresh content='0;url=".to_owned()),
            Just("<link rel=canonical href=".to_owned()),
            Just("<title>".to_owned()),
            Just("<noscript>".to_owned()),
            Just("<meta charset=".to_owned()),
            Just("&amp;&#x".to_owned()),
            Just("'>".to_owned()),
            "\\PC{0,12}",
            "[<>/='\"&;# a-z]{0,12}",
        ];
        proptest::collection::vec(bit, 0..40).prop_map(|bits| bits.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_and_headers_are_read_without_panic(
            body in proptest::collection::vec(any::<u8>(), 0..400),
            value in "\\PC{0,40}",
            content_type in "(text/html; ?charset=)?[a-z0-9=;\" -]{0,16}",
        ) {
            let headers = [("link", value.as_str()), ("x-robots-tag", &value), ("refresh", &value), ("content-type", &content_type)];
            let rules = rules_with_items(&[("a", "a[]"), ("b", "body@html")]);
            let fetched = answer("http://h.example/x", &headers, body);
            let _ = (page(&fetched, &rules), super::super::sitemap(&fetched, 10), super::super::feed(&fetched));
            let _ = super::super::document_kind(&fetched);
        }

        #[test]
        fn any_markup_is_read_without_panic_and_every_link_can_be_fetched(text in markup(), cut in 0_usize..100) {
            let mut body = text.into_bytes();
            body.truncate(body.len().saturating_sub(cut));
            let meaning = page(&answer("http://h.example/x", &[], body), &rules());
            for link in &meaning.links {
                prop_assert!(matches!(link.url.scheme(), "http" | "https") && link.url.fragment().is_none());
            }
        }

        #[test]
        fn streaming_finds_the_links_that_a_tree_has(
            links in proptest::collection::vec(
                ("(/|\\?|https?://[a-z]{1,4}\\.example/|//|)[a-zé0-9 ./?&;=%]{0,12}(&amp;|&copy|&#38;|)[a-z=#]{0,4}", any::<bool>(), 0_u8..4),
                0..20,
            ),
        ) {
            let mut body = "<!doctype html><body>".to_owned();
            for (href, nofollow, shape) in &links {
                let rel = if *nofollow { " rel='nofollow'" } else { "" };
                let quoted = href.replace('"', "");
                let element = match shape {
                    0 => format!("<p><a href=\"{quoted}\"{rel}>x</a>"),
                    1 => format!("<div><A{rel} HREF='{quoted}'><b>x</div>"),
                    2 => format!("<ul><li><area title=\">\" href=\"{quoted}\"{rel}></ul>"),
                    _ => format!("<table><tr><td><a class=x href=\"{quoted}\"{rel} title='<a href=no>'>x</a></table>"),
                };
                body.push_str(&element);
            }
            let fetched = answer("http://h.example/d/x?y", &[HTML], body.clone());
            let mut streamed: Vec<String> = page(&fetched, &rules()).links.iter().map(|link| link.url.to_string()).collect();
            let selector = Selector::parse("a[href], area[href]").expect("a constant parses");
            let mut by_tree: Vec<String> = Html::parse_document(&body)
                .select(&selector)
                .filter_map(|element| element.attr("href"))
                .filter(|href| !href.trim().starts_with('#'))
                .filter_map(|href| fetched.url.join(href).ok())
                .filter(|url| matches!(url.scheme(), "http" | "https"))
                .map(|mut url| { url.set_fragment(None); url.to_string() })
                .collect();
            streamed.sort();
            by_tree.sort();
            by_tree.dedup();
            prop_assert_eq!(streamed, by_tree);
        }
    }

    #[test]
    fn links_keep_the_order_of_the_page() {
        let meaning = page(&answer("http://h/", &[HTML], "<a href=c><a href=a><a href=b><a href=a>"), &rules());
        let paths: Vec<&str> = meaning.links.iter().map(|link| link.url.path()).collect();
        assert_eq!(paths, ["/c", "/a", "/b"]);
        assert!(meaning.links.iter().all(|link| link.kind == LinkKind::Page));
    }
}
