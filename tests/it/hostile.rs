//! One crawl over everything that a hostile or broken web may send: each case ends in the database with its reason, memory stays
//! bounded, and the ordinary site beside it is crawled whole.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::process::{Folder, wait_for};

/// Ordinary pages of the zoo.
const PAGES: usize = 20;
/// Most memory of the crawler, in MiB: eight bodies at the cap of 8 MiB and a page of 100,000 links are far below.
const PEAK_MIB_MAX: u64 = 400;
/// What the bombs unpack to, in MiB.
const BOMB_MIB: usize = 256;
/// Links of the page that has very many.
const LINKS: usize = 100_000;

/// What each case must end as: path, state, and a part of the reason or of the notes.
const CASES: [(&str, &str, &str); 9] = [
    ("/endless", "dead", "larger than max_body"),
    ("/bomb", "dead", "larger than max_body"),
    ("/loop/b", "dead", "in a circle"),
    ("/charset", "done", "UTF-8"),
    ("/links", "done", ""),
    ("/header", "dead", "not valid HTTP"),
    ("/truncated", "dead", "broke off"),
    ("/garbage", "dead", "not valid HTTP"),
    ("/missing", "gone", "404"),
];

#[test]
fn a_hostile_web_is_classified_and_the_crawl_goes_on() {
    let zoo = serve(zoo());
    let silent = serve(Arc::new(|stream: &mut TcpStream, _: &str| {
        // Until the client gives up.
        drop(stream.read(&mut [0; 1]));
    }));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = Folder::new(&format!(
        "[http]\ntimeout = \"2s\"\nidle_timeout = \"1s\"\nconnect_timeout = \"1s\"\nmax_body = \"8MiB\"\n\
         [throttle]\nmax_rate = \"none\"\ngive_up = \"4s\"\ngive_up_unknown = \"2s\"\n[retry]\nattempts = 2\nbase = \"50ms\"\n\
         [site.zoo]\nstart = [\"http://127.0.0.1:{zoo}/\"]\n\
         [site.silent]\nstart = [\"http://127.0.0.1:{silent}/\"]\nsitemap = false\n\
         [site.closed]\nstart = [\"http://127.0.0.1:{closed}/\"]\nrobots = false\nsitemap = false\n"
    ));
    let mut running = folder.start(&["run", "-q"]);
    let mut peak_mib = 0;
    wait_for("the crawl of the zoo", 120_000, || {
        peak_mib = running.peak_mib().unwrap_or(0).max(peak_mib);
        running.has_ended().then_some(())
    });
    let ended = running.wait(1_000);
    println!("peak {peak_mib} MiB\n{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, Some(4), "complete, with dead jobs");

    for (path, state, words) in CASES {
        let rows = folder.query(&format!(
            "SELECT a.state, coalesce(a.reason, '') || ' ' || coalesce(r.notes, '') || ' ' || coalesce(r.charset, '') \
             FROM all_jobs a LEFT JOIN responses r USING (job_id) WHERE a.url = 'http://127.0.0.1:{zoo}{path}'"
        ));
        assert_eq!(rows.len(), 1, "{path}: {rows:?}");
        assert_eq!(rows[0][0], state, "{path}: {rows:?}");
        assert!(rows[0][1].as_str().unwrap().contains(words), "{path}: {rows:?}");
    }
    let links = folder.query(&format!("SELECT links FROM pages WHERE url = 'http://127.0.0.1:{zoo}/links'"));
    assert_eq!(links, [[LINKS]]);
    let pages = folder.query("SELECT count(*) FROM pages WHERE status = 200 AND url LIKE '%/p/%'");
    assert_eq!(pages, [[PAGES]], "the ordinary pages");
    let sitemap = folder.query("SELECT state FROM all_jobs WHERE url LIKE '%/sitemap.xml'");
    assert_eq!(sitemap, [["done"]]);
    for (port, words) in [(silent, "no answer in time"), (closed, "no connection")] {
        let rows = folder.query(&format!(
            "SELECT reason FROM failures WHERE url LIKE 'http://127.0.0.1:{port}/%' AND instr(reason, '{words}') > 0"
        ));
        assert!(!rows.is_empty(), "{words}: {:?}", folder.query("SELECT url, reason FROM failures"));
    }
    assert_eq!(folder.query("SELECT ready + waiting FROM progress"), [[0]], "nothing is left");
    if cfg!(target_os = "linux") {
        assert!(peak_mib > 0 && peak_mib < PEAK_MIB_MAX, "{peak_mib} MiB at most");
    }
}

type Answer = dyn Fn(&mut TcpStream, &str) + Send + Sync;

/// Serves each connection on a thread of its own: one request, one answer, the end. The threads end with the test.
fn serve(answer: Arc<Answer>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), answer) = (stream, Arc::clone(&answer)) else { continue };
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                drop(reader.read_line(&mut line));
                let target = line.split(' ').nth(1).unwrap_or("/").to_owned();
                // The headers are not looked at, but must be taken off the wire: closing with unread bytes resets the connection.
                while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {}
                answer(&mut stream, &target);
            });
        }
    });
    port
}

fn zoo() -> Arc<Answer> {
    let bomb = bomb();
    Arc::new(move |stream, target| {
        let mut send = |head: &str, body: &[u8]| {
            // The crawler hangs up whenever it has seen enough.
            drop(stream.write_all(format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").as_bytes()));
            drop(stream.write_all(body));
        };
        match target {
            "/" => send("200 OK\r\ncontent-type: text/html", index().as_bytes()),
            "/endless" => {
                send("200 OK\r\ncontent-type: text/html", b"<p>");
                let chunk = vec![b'x'; 65_536];
                while stream.write_all(&chunk).is_ok() {}
            }
            "/bomb" => send("200 OK\r\ncontent-type: text/html\r\ncontent-encoding: gzip", &bomb),
            "/sitemap.xml" => send("200 OK\r\ncontent-type: application/gzip", &bomb),
            "/loop/a" => send("302 Found\r\nlocation: /loop/b", b""),
            "/loop/b" => send("302 Found\r\nlocation: /loop/a", b""),
            "/charset" => send("200 OK\r\ncontent-type: text/html; charset=utf-8", b"<title>\xff\xfe\xc3(</title>"),
            "/links" => send("200 OK\r\ncontent-type: text/html", many_links().as_bytes()),
            "/header" => send(&format!("200 OK\r\nx-large: {}", "y".repeat(1 << 20)), b"<p>"),
            "/truncated" => send("200 OK\r\ncontent-type: text/html\r\ncontent-length: 1000", b"<p>ten bytes"),
            "/garbage" => drop(stream.write_all(b"\x00\x01HELLO\r\n\r\n")),
            page if page.starts_with("/p/") => send("200 OK\r\ncontent-type: text/html", b"<h1>ordinary</h1>"),
            _ => send("404 Not Found\r\ncontent-type: text/html", b"nothing here"),
        }
    })
}

fn index() -> String {
    // The second address of the loop is only known by the first one's redirect.
    let cases = CASES.iter().map(|(path, _, _)| path.replace("/loop/b", "/loop/a"));
    let pages = (0..PAGES).map(|page| format!("/p/{page}"));
    cases.chain(pages).map(|path| format!("<a href=\"{path}\">{path}</a>\n")).collect()
}

/// Links that lead out of the scope, so that they are met and not followed.
fn many_links() -> String {
    (0..LINKS).map(|link| format!("<a href=\"http://elsewhere.invalid/{link}\">x</a>")).collect()
}

fn bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![0; 1 << 20];
    for _ in 0..BOMB_MIB {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}
