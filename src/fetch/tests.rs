//! The fetcher against a server that writes raw bytes.

use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use url::Url;

use super::{HttpFetcher, Proxy, Settings};
use crate::clock::{ManualClock, Timestamp};
use crate::exchange::{BodyEnd, Fetch as _, FetchError, Fetched, Request, Secret};

/// What the server does after it has read a request.
#[derive(Clone)]
enum Step {
    /// Writes these bytes.
    Send(Vec<u8>),
    /// Writes these bytes again and again until the client hangs up.
    Endless(Vec<u8>),
    /// Writes nothing more, and waits for the client to hang up.
    Hang,
    /// Drops the connection with a RST.
    Reset,
}

/// A server on loopback that plays the same script on every connection, then closes it.
struct Server {
    url: Url,
    /// The head of each request, in order.
    requests: mpsc::UnboundedReceiver<String>,
}

async fn server(script: Vec<Step>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let port = listener.local_addr().expect("the listener is bound").port();
    let (seen, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(play(stream, script.clone(), seen.clone()));
        }
    });
    Server { url: Url::parse(&format!("http://127.0.0.1:{port}/page")).expect("a test address parses"), requests }
}

async fn play(mut stream: TcpStream, script: Vec<Step>, seen: mpsc::UnboundedSender<String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let _ = seen.send(String::from_utf8_lossy(&head).into_owned());
    for step in script {
        match step {
            Step::Send(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Step::Endless(bytes) => while stream.write_all(&bytes).await.is_ok() {},
            Step::Hang => {
                let _ = stream.read(&mut [0; 64]).await;
                return;
            }
            Step::Reset => {
                stream.set_zero_linger().expect("a connected socket takes the option");
                return;
            }
        }
    }
}

fn text(answer: &str) -> Vec<Step> {
    vec![Step::Send(answer.replace('\n', "\r\n").into_bytes())]
}

fn coded(coding: &str, body: &[u8]) -> Vec<Step> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    vec![Step::Send([head.as_bytes(), body].concat())]
}

fn settings() -> Settings {
    Settings { proxy: Proxy::None, ..Settings::default() }
}

fn not_loopback(address: IpAddr) -> bool {
    !address.is_loopback()
}

fn fetcher(settings: Settings) -> HttpFetcher<ManualClock> {
    HttpFetcher::new(settings, not_loopback, ManualClock::new(Timestamp(1_000))).expect("the settings are valid")
}

fn request(url: &Url) -> Request {
    Request {
        url: url.clone(),
        extra: None,
        headers: Vec::new(),
        identity: None,
        compress: None,
        proxy: None,
        accept: "text/html",
        types: Arc::default(),
        private_ok: true,
    }
}

async fn fetch(script: Vec<Step>, settings: Settings) -> Result<Fetched, FetchError> {
    let server = server(script).await;
    fetcher(settings).fetch(request(&server.url)).await
}

async fn answer(script: Vec<Step>, settings: Settings) -> Fetched {
    fetch(script, settings).await.expect("the server answers")
}

/// The variant of an error and its words, with the variant's own sentence.
fn words(result: Result<Fetched, FetchError>) -> String {
    result.expect_err("there is no answer").to_string()
}

fn cause(fetched: &Fetched) -> &str {
    match &fetched.body_end {
        BodyEnd::Cut { cause } => cause,
        end => panic!("the body ended as {end:?}"),
    }
}

#[tokio::test]
async fn an_answer_comes_with_its_headers_and_is_asked_for_politely() {
    let mut server =
        server(text("HTTP/1.1 200 OK\nX-One: a\nx-one:  b \nContent-Type: text/html\nContent-Length: 5\n\nhello"))
            .await;
    let settings = Settings { user_agent: "trundle/test (+mailto:me@example.org)".to_owned(), ..settings() };
    let mut request = request(&server.url);
    request.headers.push(("X-Token".to_owned(), Secret("hunter2".to_owned())));
    let fetched = fetcher(settings).fetch(request).await.expect("the server answers");
    assert_eq!((fetched.status, &*fetched.body, &fetched.body_end), (200, &b"hello"[..], &BodyEnd::Whole));
    assert_eq!(fetched.headers.get_all("x-one").collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((fetched.sent_at, fetched.finished_at), (Timestamp(1_000), Timestamp(1_000)));

    let head = server.requests.recv().await.expect("the server saw a request");
    let mut lines: Vec<&str> = head.trim_end().lines().filter(|line| !line.starts_with("host")).collect();
    lines.sort_unstable();
    insta::assert_snapshot!(lines.join("\n"), @r"
    GET /page HTTP/1.1
    accept-encoding: gzip, br, zstd, deflate
    accept: text/html
    user-agent: trundle/test (+mailto:me@example.org)
    x-token: hunter2
    ");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let mut server = server(text("HTTP/1.1 302 Found\nLocation: /else\nContent-Length: 0\n\n")).await;
    let fetched = fetcher(settings()).fetch(request(&server.url)).await.expect("the server answers");
    assert_eq!((fetched.status, fetched.headers.get("location")), (302, Some("/else")));
    assert!(server.requests.recv().await.is_some());
    assert!(server.requests.try_recv().is_err(), "one request was sent");
}

#[tokio::test]
async fn every_coding_is_undone() {
    let plain = b"hello world";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(plain).expect("a vector takes all");
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(plain).expect("a vector takes all");
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
    bare.write_all(plain).expect("a vector takes all");
    let gzip = gzip.finish().expect("a vector takes all");
    let codings = [
        ("gzip", gzip.clone()),
        ("X-Gzip", gzip),
        ("deflate", bare.finish().expect("a vector takes all")),
        ("deflate", zlib.finish().expect("a vector takes all")),
        ("zstd", zstd::encode_all(&plain[..], 0).expect("a slice can be read")),
        ("br", b"\x0b\x05\x80hello world\x03".to_vec()),
    ];
    for (coding, body) in codings {
        let fetched = answer(coded(coding, &body), settings()).await;
        assert_eq!((&*fetched.body, fetched.body_end), (&plain[..], BodyEnd::Whole), "{coding}");
        let half = answer(coded(coding, &body[..body.len() / 2]), settings()).await;
        assert!(!cause(&half).is_empty(), "{coding}");
    }
}

#[tokio::test]
async fn a_coding_that_nobody_knows_is_not_taken_for_text() {
    let fetched = answer(coded("compress", b"\x1f\x9d\x90"), settings()).await;
    insta::assert_snapshot!(cause(&fetched), @"its content coding cannot be undone");
}

#[tokio::test]
async fn a_gzip_bomb_stops_at_the_cap() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..64 {
        bomb.write_all(&vec![0; 1 << 20]).expect("a vector takes all");
    }
    let bomb = bomb.finish().expect("a vector takes all");
    for (bytes_max, name) in [(1_000, "gzip"), (3 << 20, "gzip"), (1 << 20, "x-gzip"), (3 << 20, "x-gzip")] {
        let settings = Settings { body_bytes_max: bytes_max, ..settings() };
        let fetched = answer(coded(name, &bomb), settings).await;
        assert_eq!(fetched.body_end, BodyEnd::TooLarge { bytes_max });
        assert_eq!(fetched.body.len() as u64, bytes_max);
    }
}

#[tokio::test]
async fn an_endless_body_stops_at_the_cap_and_hangs_up() {
    let script = vec![Step::Send(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), Step::Endless(vec![b'x'; 1 << 16])];
    let fetched = answer(script, Settings { body_bytes_max: 2 << 20, ..settings() }).await;
    assert_eq!(fetched.body_end, BodyEnd::TooLarge { bytes_max: 2 << 20 });
    assert_eq!(fetched.body.len(), 2 << 20);
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_not_read() {
    let mut script = text("HTTP/1.1 200 OK\nContent-Length: 10000000000\n\nxxx");
    script.push(Step::Hang);
    let fetched = answer(script, settings()).await;
    assert_eq!((fetched.body.len(), fetched.body_end), (0, BodyEnd::TooLarge { bytes_max: 32 << 20 }));
}

#[tokio::test]
async fn a_body_of_exactly_the_cap_is_whole() {
    let fetched =
        answer(text("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"), Settings { body_bytes_max: 5, ..settings() }).await;
    assert_eq!((&*fetched.body, fetched.body_end), (&b"hello"[..], BodyEnd::Whole));
}

#[tokio::test]
async fn large_bodies_wait_for_each_other_and_all_come() {
    let mut script = text("HTTP/1.1 200 OK\nContent-Length: 3145728\n\n");
    script.push(Step::Send(vec![b'x'; 3 << 20]));
    let server = server(script).await;
    let http = fetcher(Settings { large_bodies_max: 1, ..settings() });
    let (one, two, three) = tokio::join!(
        http.fetch(request(&server.url)),
        http.fetch(request(&server.url)),
        http.fetch(request(&server.url))
    );
    for fetched in [one, two, three] {
        let fetched = fetched.expect("the server answers");
        assert_eq!((fetched.body.len(), fetched.body_end), (3 << 20, BodyEnd::Whole));
    }
}

#[tokio::test]
async fn only_a_large_body_waits_for_room_and_its_wait_does_not_count_as_silence() {
    let quick = Settings { large_bodies_max: 1, timeout_ms: 2_000, idle_timeout_ms: 100, ..settings() };
    let http = fetcher(quick);
    let room = http.large_bodies.acquire().await.expect("the semaphore is open");
    let small = server(text("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello")).await;
    assert!(http.fetch(request(&small.url)).await.is_ok());

    let mut script = text("HTTP/1.1 200 OK\nContent-Length: 3145728\n\n");
    script.push(Step::Send(vec![b'x'; 3 << 20]));
    let large = server(script).await;
    let mut fetching = std::pin::pin!(http.fetch(request(&large.url)));
    let early = tokio::time::timeout(std::time::Duration::from_millis(250), &mut fetching).await;
    assert!(early.is_err(), "it waits: {early:?}");
    drop(room);
    assert_eq!(fetching.await.expect("the server answers").body_end, BodyEnd::Whole);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_kept_and_called_cut() {
    let length = answer(text("HTTP/1.1 200 OK\nContent-Length: 50\n\nhello"), settings()).await;
    assert_eq!(&*length.body, b"hello");
    insta::assert_snapshot!(cause(&length), @"the connection closed before the end");
    let chunked = answer(text("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n50\nxx"), settings()).await;
    insta::assert_snapshot!(cause(&chunked), @"the connection closed before the end");
    let garbled = answer(text("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nzz\nhello"), settings()).await;
    insta::assert_snapshot!(cause(&garbled), @"Invalid chunk size line: missing size digit");
    let mut script = text("HTTP/1.1 200 OK\nContent-Length: 50\n\nhello");
    script.push(Step::Reset);
    insta::assert_snapshot!(cause(&answer(script, settings()).await), @"connection reset");
    let coded = answer(coded("gzip", b"this is no gzip"), settings()).await;
    insta::assert_snapshot!(cause(&coded), @"Invalid gzip header");
}

#[tokio::test]
async fn a_silent_server_is_a_timeout_and_a_silent_body_is_cut() {
    let quick = Settings { timeout_ms: 200, idle_timeout_ms: 100, ..settings() };
    insta::assert_snapshot!(words(fetch(vec![Step::Hang], quick.clone()).await), @"no answer in time: no headers within 200 ms");
    let mut slow = text("HTTP/1.1 200 OK\nContent-Le");
    slow.push(Step::Hang);
    assert!(matches!(fetch(slow, quick.clone()).await, Err(FetchError::Timeout(_))));

    let mut script = text("HTTP/1.1 200 OK\nContent-Length: 50\n\nhello");
    script.push(Step::Hang);
    let stalled = answer(script.clone(), quick.clone()).await;
    assert_eq!(&*stalled.body, b"hello");
    insta::assert_snapshot!(cause(&stalled), @"nothing came for 100 ms");
    let long = answer(script, Settings { idle_timeout_ms: 10_000, ..quick }).await;
    insta::assert_snapshot!(cause(&long), @"it was not whole within 200 ms");
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_error() {
    let garbage = fetch(text("SSH-2.0-OpenSSH_9.2\n\n"), settings()).await;
    insta::assert_snapshot!(words(garbage), @"the answer is not valid HTTP: invalid HTTP version parsed");
    let mut script = text("HTTP/1.1 200 OK\nX-Big: ");
    script.push(Step::Send(vec![b'x'; 1 << 20]));
    script.extend(text("\n\nhello"));
    insta::assert_snapshot!(words(fetch(script, settings()).await), @"the answer is not valid HTTP: message head is too large");
    let many = format!("HTTP/1.1 200 OK\n{}\n", "X-Many: x\n".repeat(2_000));
    insta::assert_snapshot!(words(fetch(text(&many), settings()).await), @"the answer is not valid HTTP: message head is too large");
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_headers_is_broken() {
    insta::assert_snapshot!(words(fetch(vec![Step::Reset], settings()).await), @"the connection broke: connection reset");
    insta::assert_snapshot!(words(fetch(text("HTTP/1.1 20"), settings()).await), @"the connection broke: connection closed before message completed");
    insta::assert_snapshot!(words(fetch(Vec::new(), settings()).await), @"the connection broke: connection closed before message completed");
}

#[tokio::test]
async fn a_host_that_is_not_there_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("the listener is bound");
    drop(listener);
    let url = Url::parse(&format!("http://{address}/?token=hunter2")).expect("a test address parses");
    insta::assert_snapshot!(words(fetcher(settings()).fetch(request(&url)).await), @"no connection: connection refused");

    let url = Url::parse("http://no-such-host.invalid/?token=hunter2").expect("a test address parses");
    let error = fetcher(settings()).fetch(request(&url)).await.expect_err("the name does not exist");
    assert!(matches!(&error, FetchError::Dns(words) if !words.contains("hunter2")), "{error:?}");
}

#[tokio::test]
async fn a_host_without_tls_is_a_tls_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let url = format!("https://{}/", listener.local_addr().expect("the listener is bound"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = stream.read(&mut [0; 1_024]).await;
        }
    });
    let url = Url::parse(&url).expect("a test address parses");
    insta::assert_snapshot!(words(fetcher(settings()).fetch(request(&url)).await), @"TLS failed: received corrupt message of type InvalidContentType");
}

#[tokio::test]
async fn a_private_address_is_refused_by_number_and_by_name() {
    let mut server = server(text("HTTP/1.1 200 OK\nContent-Length: 0\n\n")).await;
    let port = server.url.port().expect("the address has a port");
    let http = fetcher(settings());
    for host in ["127.0.0.1", "localhost", "[::1]", "0x7f.1", "2130706433"] {
        let url = Url::parse(&format!("http://{host}:{port}/")).expect("a test address parses");
        let refused = http.fetch(Request { private_ok: false, ..request(&url) }).await;
        assert!(matches!(refused, Err(FetchError::PrivateAddress(_))), "{host}: {refused:?}");
    }
    // A connection that another job opened there is not borrowed.
    let url = Url::parse(&format!("http://localhost:{port}/")).expect("a test address parses");
    assert!(http.fetch(request(&url)).await.is_ok());
    let refused = http.fetch(Request { private_ok: false, ..request(&url) }).await;
    insta::assert_snapshot!(words(refused), @"localhost is a private address, which public pages may not lead to");
    assert!(server.requests.recv().await.is_some());
    assert!(server.requests.try_recv().is_err(), "the refused requests were not sent");
}

#[tokio::test]
async fn a_private_proxy_serves_public_pages_but_is_no_page_itself() {
    let mut server = server(text("HTTP/1.1 200 OK\nContent-Length: 2\n\nok")).await;
    let port = server.url.port().expect("the address has a port");
    let proxy = Proxy::List(vec![Secret(format!("http://localhost:{port}"))]);
    let http = fetcher(Settings { proxy, ..settings() });
    let url = Url::parse("http://public.example/a").expect("a test address parses");
    let fetched = http.fetch(Request { private_ok: false, ..request(&url) }).await.expect("the proxy answers");
    assert_eq!(&*fetched.body, b"ok");
    let head = server.requests.recv().await.expect("the proxy saw a request");
    assert!(head.starts_with("GET http://public.example/a HTTP/1.1"), "{head}");
    let itself = Url::parse(&format!("http://localhost:{port}/")).expect("a test address parses");
    let refused = http.fetch(Request { private_ok: false, ..request(&itself) }).await;
    assert!(matches!(refused, Err(FetchError::PrivateAddress(_))), "{refused:?}");
}

#[tokio::test]
async fn an_unwanted_type_is_not_read() {
    let mut script = text("HTTP/1.1 200 OK\nContent-Type: image/png\nContent-Length: 50\n\nhello");
    script.push(Step::Hang);
    let server = server(script).await;
    let request = Request { types: Arc::from(["text/html".to_owned()]), ..request(&server.url) };
    let fetched = fetcher(settings()).fetch(request).await.expect("the server answers");
    assert_eq!((fetched.body.len(), fetched.body_end), (0, BodyEnd::Unwanted));
}

#[tokio::test]
async fn an_http_1_0_body_ends_with_its_connection() {
    let fetched = answer(text("HTTP/1.0 200 OK\n\nhello"), settings()).await;
    assert_eq!((&*fetched.body, fetched.body_end), (&b"hello"[..], BodyEnd::Whole));
}

#[tokio::test]
async fn a_request_that_cannot_be_made_is_not_sent() {
    let url = Url::parse("http://127.0.0.1:1/").expect("a test address parses");
    let mut bad = request(&url);
    bad.headers.push(("X-Token".to_owned(), Secret("hunter2\n".to_owned())));
    let result = fetcher(settings()).fetch(bad).await;
    insta::assert_snapshot!(words(result), @r#"the request cannot be sent: the header "X-Token" has an invalid value"#);
    let file = Url::parse("file:///etc/passwd").expect("a test address parses");
    assert!(matches!(fetcher(settings()).fetch(request(&file)).await, Err(FetchError::BadRequest(_))));
}

#[test]
fn a_setting_that_no_header_may_hold_is_named() {
    let settings = Settings { user_agent: "two\nlines".to_owned(), ..settings() };
    let error = HttpFetcher::new(settings, not_loopback, ManualClock::new(Timestamp::EPOCH)).err();
    insta::assert_snapshot!(error.expect("the setting is invalid"), @"use the setting user_agent, which has characters that no header may hold");
}
