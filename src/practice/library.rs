//! A site with everything that is hard about sites: books that link to each other in many spellings, and beside them
//! redirects, broken links, slow and failing pages, old encodings, sitemaps, a feed and a robots.txt.

use std::fmt::Write as _;
use std::io::Write as _;

use encoding_rs::Encoding;
use flate2::Compression;
use flate2::write::GzEncoder;
use url::Url;

use super::answer::{Answer, Class, Site};
use super::link::spell;
use super::page::{Page, dice};
use super::truth::Truth;

/// Children of a book in the tree that makes all of them reachable.
const CHILDREN: u32 = 4;
/// Books that a shelf page stands for.
const SHELF: u32 = 50;
/// How long a slow page takes, in ms.
const SLOW_MS: u64 = 300;

const ROBOTS_RULES: &str = "User-agent: *\nDisallow: /private/\nAllow: /private/open\nDisallow: /*.cgi$\n";

/// Fills `site` with `books` books; one redirect leads to `elsewhere`, the root of another host, if there is one.
pub(super) fn fill(site: &mut Site, truth: &mut Truth, books: u32, seed: u64, elsewhere: Option<&Url>) {
    let books = books.max(1);
    // The last ones have no children in the tree, and no page links to them: only the sitemap does.
    let linked_books = books - books / 20;
    let shelves = linked_books.div_ceil(SHELF);
    for number in 0..books {
        let answer = book(site, number, linked_books, seed);
        site.add(truth, Class::Page, &format!("/book/{number}"), answer);
    }
    for shelf in 1..=shelves {
        let mut rng = dice(seed, 7, shelf);
        let mut page = Page::draw("Shelf", shelf, &mut rng);
        let target = format!("/shelf?page={shelf}");
        if shelf < shelves {
            page.link(format!("?page={}", shelf + 1));
        }
        page.link("#top".to_owned());
        for _ in 0..12 {
            let linked = site.url(&format!("/book/{}", rng.u32(..linked_books)));
            page.link(spell(&site.url(&target), &linked, &mut rng));
        }
        site.add(truth, Class::Page, &target, Answer::html(page.html()));
    }
    fill_doors(site, truth, books, shelves, seed);
    fill_oddities(site, truth, seed, elsewhere);
}

fn book(site: &Site, number: u32, linked_books: u32, seed: u64) -> Answer {
    let mut rng = dice(seed, 1, number);
    let mut page = Page::draw("Book", number, &mut rng);
    let mut base = site.url(&format!("/book/{number}"));
    if number.is_multiple_of(6) {
        writeln!(page.head, "<link rel=\"canonical\" href=\"{base}\">").expect("a string takes all");
    }
    if number % 9 == 4 {
        page.head.push_str("<base href=\"/far/away/\">\n");
        base = site.url("/far/away/");
    }
    let link_count = rng.usize(10..=20);
    let children = (1..=CHILDREN).map(|child| u64::from(number) * u64::from(CHILDREN) + u64::from(child));
    for child in children.filter_map(|child| u32::try_from(child).ok()).filter(|&child| child < linked_books) {
        page.link(spell(&base, &site.url(&format!("/book/{child}")), &mut rng));
    }
    while page.link_count() < link_count {
        let linked = site.url(&format!("/book/{}", rng.u32(..linked_books)));
        page.link(spell(&base, &linked, &mut rng));
    }
    let answer = Answer::html(page.html());
    match number % 50 {
        7 => answer.slow(SLOW_MS),
        11 => answer.flaky(1),
        31 => answer.flaky(2),
        _ => answer,
    }
}

/// The ways in: home, robots.txt, sitemaps and feed.
fn fill_doors(site: &mut Site, truth: &mut Truth, books: u32, shelves: u32, seed: u64) {
    let mut home = Page::draw("Library", 1, &mut dice(seed, 8, 0));
    home.head.push_str("<link rel=\"alternate\" type=\"application/rss+xml\" href=\"/feed.xml\">\n");
    for target in ["book/0", "./shelf?page=1", "/oddities", "feed.xml", "/", "#", "mailto:library@practice.invalid"] {
        home.link(target.to_owned());
    }
    site.add(truth, Class::Page, "/", Answer::html(home.html()));

    let robots = format!("{ROBOTS_RULES}\nSitemap: {}\n", site.url("/sitemap.xml"));
    site.add(truth, Class::Document, "/robots.txt", Answer::new(200, "text/plain; charset=utf-8", robots));

    let shelf_pages = (1..=shelves).map(|shelf| site.url(&format!("/shelf?page={shelf}")));
    let shelf_map = sitemap("urlset", "url", shelf_pages);
    let book_map = sitemap("urlset", "url", (0..books).map(|number| site.url(&format!("/book/{number}"))));
    let children = ["/sitemap-shelves.xml", "/sitemap-books.xml.gz"];
    let index = sitemap("sitemapindex", "sitemap", children.into_iter().map(|child| site.url(child)));
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(book_map.as_bytes()).expect("a vector takes all");
    let packed = packed.finish().expect("a vector takes all");
    site.add(truth, Class::Document, "/sitemap.xml", Answer::new(200, "application/xml", index));
    site.add(truth, Class::Document, children[0], Answer::new(200, "text/xml; charset=utf-8", shelf_map));
    site.add(truth, Class::Document, children[1], Answer::new(200, "application/gzip", packed));

    let mut feed =
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<rss version=\"2.0\"><channel><title>New books</title>\n"
            .to_owned();
    for number in 0..books.min(20) {
        let link = site.url(&format!("/book/{number}"));
        writeln!(feed, "<item><title>Book {number}</title><link>{link}</link><guid>{link}</guid></item>")
            .expect("a string takes all");
    }
    feed.push_str("</channel></rss>\n");
    site.add(truth, Class::Document, "/feed.xml", Answer::new(200, "application/rss+xml", feed));
}

/// The index of everything odd, and the odd things.
fn fill_oddities(site: &mut Site, truth: &mut Truth, seed: u64, elsewhere: Option<&Url>) {
    let plain = |title: &str, head: &str| {
        let mut page = Page::draw(title, 1, &mut dice(seed, 9, 0));
        page.head.push_str(head);
        page.link("/book/0".to_owned());
        page.html()
    };
    let mut odd: Vec<(Class, String, Answer)> = Vec::new();
    let mut add = |class, target: &str, answer| odd.push((class, target.to_owned(), answer));

    add(Class::Redirect, "/redirect/1", Answer::redirect(301, "/redirect/2"));
    add(Class::Redirect, "/redirect/2", Answer::redirect(302, "3"));
    add(Class::Redirect, "/redirect/3", Answer::redirect(308, site.url("/landing").as_str()));
    add(Class::Page, "/landing", Answer::html(plain("Landing", "")));
    add(Class::Redirect, "/loop/1", Answer::redirect(302, "/loop/2"));
    add(Class::Redirect, "/loop/2", Answer::redirect(307, "/loop/1"));
    if let Some(elsewhere) = elsewhere {
        add(Class::Redirect, "/away", Answer::redirect(302, elsewhere.as_str()));
    }
    let canonical = "<link rel=\"canonical\" href=\"/book/0\">\n";
    for number in 1..=3 {
        add(Class::Gone, &format!("/missing/{number}"), Answer::new(404, "text/html", "<h1>not found</h1>"));
        add(Class::Disallowed, &format!("/private/{number}"), Answer::html(plain("Private", "")));
        add(Class::Nofollowed, &format!("/trap/{number}"), Answer::html(plain("Trap", "")));
        add(Class::Page, &format!("/alias/{number}"), Answer::html(plain("Alias", canonical)));
    }
    add(Class::Disallowed, "/search.cgi", Answer::html(plain("Search", "")));
    add(Class::Page, "/private/open", Answer::html(plain("Open", "")));
    for number in 1..=2 {
        add(Class::Gone, &format!("/removed/{number}"), Answer::new(410, "text/html", "<h1>removed</h1>"));
        add(Class::Dead, &format!("/broken/{number}"), Answer::new(500, "text/html", "<h1>internal error</h1>"));
    }
    let refresh = "<meta http-equiv=\"refresh\" content=\"0; url=/refreshed\">\n";
    add(Class::Page, "/refresh", Answer::html(plain("Refresh", refresh)));
    add(Class::Page, "/refreshed", Answer::html(plain("Refreshed", "")));
    let download = vec![0x80; 64 << 10];
    add(Class::Document, "/files/data.bin", Answer::new(200, "application/octet-stream", download));
    for (target, content_type, head, title, encoding) in [
        ("/charset/header", "text/html; charset=iso-8859-1", "", "Café crème", encoding_rs::WINDOWS_1252),
        ("/charset/meta", "text/html", "<meta charset=\"windows-1251\">\n", "Тихая гавань", encoding_rs::WINDOWS_1251),
        (
            "/charset/http-equiv",
            "text/html",
            "<meta http-equiv=\"Content-Type\" content=\"text/html; charset=Shift_JIS\">\n",
            "静かな港",
            encoding_rs::SHIFT_JIS,
        ),
        ("/charset/silent", "text/html", "", "Gemütlichkeit", encoding_rs::UTF_8),
    ] {
        add(Class::Page, target, Answer::new(200, content_type, encoded(&plain(title, head), encoding)));
    }

    // What only a redirect or a refresh leads to is not linked.
    let unlinked = ["/redirect/2", "/redirect/3", "/landing", "/loop/2", "/refreshed"];
    let mut rng = dice(seed, 10, 0);
    let mut index = Page::draw("Oddities", 1, &mut rng);
    for (class, target, _) in odd.iter().filter(|(_, target, _)| !unlinked.contains(&target.as_str())) {
        let href = spell(&site.url("/oddities"), &site.url(target), &mut rng);
        if *class == Class::Nofollowed { index.link_nofollow(href) } else { index.link(href) }
    }
    site.add(truth, Class::Page, "/oddities", Answer::html(index.html()));
    for (class, target, answer) in odd {
        site.add(truth, class, &target, answer);
    }
}

fn encoded(html: &str, encoding: &'static Encoding) -> Vec<u8> {
    encoding.encode(html).0.into_owned()
}

fn sitemap(outer: &str, inner: &str, urls: impl Iterator<Item = Url>) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{outer} xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n"
    );
    for url in urls {
        let url = url.as_str().replace('&', "&amp;");
        writeln!(xml, "<{inner}><loc>{url}</loc></{inner}>").expect("a string takes all");
    }
    writeln!(xml, "</{outer}>").expect("a string takes all");
    xml
}
