//! Requests that leave through proxies, and bodies that leave compressed.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::testing::{Web, dead_port, fetcher, read_request, request, secret};
use super::{Proxy, Settings};
use crate::clock::Timestamp;
use crate::exchange::{BodyCoding, Fetch as _, FetchError, Outcome, Request};
use crate::job::{Extra, Method, Payload};

fn through(proxies: &[String]) -> Settings {
    let proxy = Proxy::List(proxies.iter().map(|proxy| secret(proxy)).collect());
    // A quick judgement of what is not there.
    Settings { proxy, connect_timeout_ms: 2_000, ..Settings::default() }
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("a test address parses")
}

#[tokio::test]
async fn a_proxy_gets_its_credentials_and_the_answer_tells_its_name_without_them() {
    let proxy = Web::plain(200, "through").await;
    let (fetch, _) = fetcher(through(&[format!("http://me:hunter2@{}", proxy.authority())]), Vec::new());
    let target = url("http://public.example/a?b=c");
    let fetched = fetch.fetch(request(target.clone())).await.expect("the proxy answers");
    assert_eq!((&*fetched.body, fetched.via.proxy.as_deref()), (&b"through"[..], Some(&*proxy.authority())));
    assert_eq!(fetch.proxy_for(&target, Timestamp(1_000_000)).as_deref(), Some(&*proxy.authority()));
    let [seen] = &proxy.seen()[..] else { panic!("one request") };
    assert_eq!(seen.line, "GET http://public.example/a?b=c HTTP/1.1");
    assert_eq!(seen.header("proxy-authorization"), Some("Basic bWU6aHVudGVyMg=="));
}

#[tokio::test]
async fn a_proxy_that_cannot_be_reached_gives_way_and_rests() {
    let (one, dead) = (Web::plain(200, "").await, dead_port().await);
    let (fetch, clock) = fetcher(through(&[one.authority(), format!("127.0.0.1:{dead}")]), Vec::new());
    // Of some hosts, the dead one is the first choice.
    for number in 0..20 {
        let fetched =
            fetch.fetch(request(url(&format!("http://h{number}.example/")))).await.expect("the other one answers");
        assert_eq!(fetched.via.proxy.as_deref(), Some(&*one.authority()));
    }
    assert_eq!(one.seen().len(), 20);
    let chosen = |at: u64| {
        let names = (0..20).map(|number| {
            fetch.proxy_for(&url(&format!("http://h{number}.example/")), Timestamp(1_000_000).plus_ms(at))
        });
        names.filter(|name| name.as_deref() != Some(&*one.authority())).count()
    };
    assert_eq!(chosen(999), 0);
    assert!((3..=17).contains(&chosen(1_000)), "{}", chosen(1_000));
    clock.advance_to(Timestamp(1_001_000));
    for number in 0..20 {
        fetch.fetch(request(url(&format!("http://h{number}.example/")))).await.expect("the other one answers");
    }
    assert_eq!((chosen(2_999), chosen(3_000) > 0), (0, true));
}

#[tokio::test]
async fn when_no_proxy_works_the_outcome_says_so_and_blames_no_host() {
    let dead = dead_port().await;
    let (fetch, clock) = fetcher(through(&[format!("http://me:hunter2@127.0.0.1:{dead}")]), Vec::new());
    let result = fetch.fetch(request(url("http://public.example/"))).await;
    assert_eq!(Outcome::of(&result), Outcome::Unsent);
    let words = result.expect_err("nobody is there").to_string();
    assert_eq!(words, format!("no proxy works: 127.0.0.1:{dead}: connection refused"));
    // The next one waits for the end of the rest, and comes back then.
    let mut early = std::pin::pin!(fetch.fetch(request(url("http://public.example/"))));
    assert!(tokio::time::timeout(std::time::Duration::ZERO, &mut early).await.is_err());
    clock.advance_to(Timestamp(1_001_000));
    insta::assert_snapshot!(early.await.expect_err("it was not sent"), @"no proxy works: all that may carry the request rest after failures");
}

#[tokio::test]
async fn a_proxy_that_wants_other_credentials_is_at_fault_and_not_the_host() {
    let proxy = Web::plain(407, "").await;
    let (fetch, _) = fetcher(through(&[proxy.authority()]), Vec::new());
    for scheme in ["http", "https"] {
        let (fetch, _) = fetcher(through(&[proxy.authority()]), Vec::new());
        let result = fetch.fetch(request(url(&format!("{scheme}://public.example/")))).await;
        let words = format!("no proxy works: {}: it does not accept our credentials", proxy.authority());
        assert_eq!(result.expect_err("it was not sent").to_string(), words);
    }
    drop(fetch);
    assert_eq!(proxy.seen()[1].line, "CONNECT public.example:443 HTTP/1.1");
}

#[tokio::test]
async fn a_host_that_a_proxy_cannot_reach_is_no_fault_of_the_proxy() {
    let proxy = Web::plain(502, "").await;
    let (fetch, _) = fetcher(through(&[proxy.authority()]), Vec::new());
    for _ in 0..3 {
        let result = fetch.fetch(request(url("https://public.example/"))).await;
        assert_eq!(Outcome::of(&result), Outcome::Unreachable);
        let words = result.expect_err("there is no tunnel").to_string();
        assert_eq!(words, "no connection: the proxy cannot reach the host, or may not");
    }
    assert_eq!(proxy.seen().len(), 3);
}

/// A SOCKS 5 server (RFC 1928) for one user (RFC 1929); it leads all to `target` but what is named `refused.example`. Leaves its
/// address, and the hosts that it was asked for.
async fn socks(target: Url) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("the listener is bound").to_string();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_socks(stream, target.clone(), Arc::clone(&log)));
        }
    });
    (address, asked)
}

async fn serve_socks(mut stream: TcpStream, target: Url, log: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let _version = stream.read_u8().await.ok()?;
    let text = async |stream: &mut TcpStream| {
        let mut bytes = vec![0; usize::from(stream.read_u8().await.ok()?)];
        stream.read_exact(&mut bytes).await.ok()?;
        Some(bytes)
    };
    text(&mut stream).await?;
    stream.write_all(&[5, 2]).await.ok()?;
    let _version = stream.read_u8().await.ok()?;
    let (user, password) = (text(&mut stream).await?, text(&mut stream).await?);
    let is_good = (user, password) == (b"me".to_vec(), b"hunter2".to_vec());
    stream.write_all(&[1, u8::from(!is_good)]).await.ok()?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.ok()?;
    let host = match head[3] {
        1 => {
            let mut number = [0; 4];
            stream.read_exact(&mut number).await.ok()?;
            std::net::Ipv4Addr::from(number).to_string()
        }
        3 => String::from_utf8(text(&mut stream).await?).ok()?,
        _ => return None,
    };
    let _port = stream.read_u16().await.ok()?;
    log.lock().expect("no holder of this lock panics").push(host.clone());
    // Host unreachable is 4.
    let reply = if host == "refused.example" { 4 } else { 0 };
    stream.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
    let mut onward = TcpStream::connect(target.authority()).await.ok()?;
    tokio::io::copy_bidirectional(&mut stream, &mut onward).await.ok()?;
    Some(())
}

#[tokio::test]
async fn a_socks_proxy_carries_requests_and_looks_names_up_only_if_it_is_asked_to() {
    let web = Web::plain(200, "through").await;
    let (address, asked) = socks(web.url.clone()).await;
    let (fetch, _) = fetcher(through(&[format!("socks5h://me:hunter2@{address}")]), Vec::new());
    let fetched = fetch.fetch(request(url("http://public.example/a"))).await.expect("the server answers");
    assert_eq!(
        (&*fetched.body, fetched.via.proxy.as_deref()),
        (&b"through"[..], Some(&*format!("socks5h://{address}")))
    );
    // Through a tunnel, the server sees the address as without one.
    assert_eq!(web.seen()[0].line, "GET /a HTTP/1.1");
    let (local, _) = fetcher(through(&[format!("socks5://me:hunter2@{address}")]), Vec::new());
    local.fetch(request(url("http://localhost/a"))).await.expect("the server answers");
    // A name that leads inwards is refused where it is looked up.
    let inwards = local.fetch(Request { private_ok: false, ..request(url("http://localhost/a")) }).await;
    assert!(matches!(inwards, Err(FetchError::PrivateAddress(_))), "{inwards:?}");
    assert_eq!(*asked.lock().expect("no holder of this lock panics"), ["public.example", "127.0.0.1"]);

    let refused = fetch.fetch(request(url("http://refused.example/"))).await;
    insta::assert_snapshot!(refused.expect_err("the proxy says no"), @"no connection: the proxy says: host unreachable");
    let (stranger, _) = fetcher(through(&[format!("socks5h://you:hunter2@{address}")]), Vec::new());
    let refused = stranger.fetch(request(url("http://public.example/"))).await.expect_err("the proxy says no");
    assert_eq!(refused, FetchError::Proxy(format!("socks5h://{address}: it does not accept our credentials")));
}

#[tokio::test]
async fn a_proxy_behind_which_nothing_answers_rests_after_five_requests() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("the listener is bound").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { read_request(&mut stream).await });
        }
    });
    let (fetch, _) = fetcher(through(std::slice::from_ref(&address)), Vec::new());
    for _ in 0..5 {
        let result = fetch.fetch(request(url("http://public.example/"))).await;
        assert!(matches!(result, Err(FetchError::Broken(_))), "{result:?}");
    }
    assert_eq!(fetch.proxy_for(&url("http://public.example/"), Timestamp(1_000_500)), None);
    assert_eq!(fetch.proxy_for(&url("http://public.example/"), Timestamp(1_001_000)).as_deref(), Some(&*address));
}

fn posted(web: &Web, coding: BodyCoding, text: &str) -> Request {
    let body = Some(Payload::Json(json!({ "text": text })));
    let extra = Extra { method: Method::Post, headers: Vec::new(), body };
    Request { extra: Some(Box::new(extra)), compress: Some(coding), ..request(web.at("/")) }
}

#[tokio::test]
async fn a_body_is_compressed_where_that_makes_it_shorter() {
    let web = Web::plain(200, "").await;
    let (fetch, _) = fetcher(super::testing::straight(), Vec::new());
    let long = "again and again and ".repeat(50);
    for (coding, text) in [(BodyCoding::Gzip, &*long), (BodyCoding::Zstd, &long), (BodyCoding::Gzip, "short")] {
        fetch.fetch(posted(&web, coding, text)).await.expect("the server answers");
    }
    let [gzip, zstd, short] = &web.seen()[..] else { panic!("three requests") };
    let mut plain = String::new();
    flate2::read::GzDecoder::new(&gzip.body[..]).read_to_string(&mut plain).expect("it is gzip");
    assert_eq!((gzip.header("content-encoding"), &plain), (Some("gzip"), &json!({ "text": long }).to_string()));
    let plain = zstd::decode_all(&zstd.body[..]).expect("it is zstd");
    assert_eq!(
        (zstd.header("content-encoding"), plain),
        (Some("zstd"), json!({ "text": long }).to_string().into_bytes())
    );
    assert_eq!((short.header("content-encoding"), &*short.text()), (None, r#"{"text":"short"}"#));
    assert!(web.seen().iter().all(|seen| seen.header("content-type") == Some("application/json")));
}

#[tokio::test]
async fn a_server_that_takes_no_compressed_body_gets_it_plain_from_then_on() {
    let web = Web::start(|_, seen| {
        let status = if seen.header("content-encoding").is_some() { 415 } else { 200 };
        (status, String::new(), String::new())
    })
    .await;
    let (fetch, _) = fetcher(super::testing::straight(), Vec::new());
    let long = "again and again and ".repeat(50);
    for _ in 0..2 {
        assert_eq!(fetch.fetch(posted(&web, BodyCoding::Zstd, &long)).await.map(|fetched| fetched.status), Ok(200));
    }
    let codings: Vec<bool> = web.seen().iter().map(|seen| seen.header("content-encoding").is_some()).collect();
    assert_eq!(codings, [true, false, false]);
    // A 415 that is about something else is the answer.
    let other = Web::plain(415, "").await;
    for sent in 1..3 {
        assert_eq!(fetch.fetch(posted(&other, BodyCoding::Gzip, "short")).await.map(|fetched| fetched.status), Ok(415));
        assert_eq!(other.seen().len(), sent);
    }
}
