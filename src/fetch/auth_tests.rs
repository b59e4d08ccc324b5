//! What goes out with credentials, to whom, and what is kept of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::json;
use tokio::sync::Barrier;

use super::testing::{Seen, Web, fetcher, request, secret, straight};
use super::{Auth, ClientAuth, Credential, Grant, KeyPlace, OAuth2};
use crate::clock::Timestamp;
use crate::exchange::{AuthId, Fetch as _, FetchError, Identity, Outcome, Secret, Via};

fn credential(web: &Web, auth: Auth) -> Credential {
    Credential { section: "api.test".to_owned(), auth, origins: vec![web.origin()] }
}

fn key(place: KeyPlace, name: &str) -> Auth {
    Auth::ApiKey { place, name: name.to_owned(), value: secret("hunter2/+ä") }
}

fn oauth(idp: &Web) -> OAuth2 {
    OAuth2 {
        grant: Grant::ClientCredentials,
        token_url: idp.at("/token"),
        client_id: secret("me:1"),
        client_secret: Some(secret("hunter2")),
        client_auth: ClientAuth::Basic,
        scope: None,
    }
}

/// An endpoint that gives out `t0`, `t1` and so on, each for an hour.
async fn endpoint() -> Web {
    Web::start(|place, _| {
        (200, String::new(), json!({"access_token": format!("t{place}"), "expires_in": 3_600}).to_string())
    })
    .await
}

/// The tokens that a server saw.
fn tokens(web: &Web) -> Vec<String> {
    web.seen().iter().map(|seen| seen.header("authorization").unwrap_or("none").replace("Bearer ", "")).collect()
}

#[tokio::test]
async fn credentials_are_sent_to_their_own_origins_and_to_no_other() {
    for auth in [
        Auth::Bearer(vec![secret("hunter2")]),
        Auth::Basic { username: secret("me"), password: secret("hunter2") },
        Auth::ApiKey { place: KeyPlace::Header, name: "x-key".to_owned(), value: secret("hunter2") },
        key(KeyPlace::Query, "key"),
        Auth::ApiKey { place: KeyPlace::Cookie, name: "session".to_owned(), value: secret("hunter2") },
    ] {
        let (own, second, other) = (Web::plain(200, "").await, Web::plain(200, "").await, Web::plain(200, "").await);
        let mut credential = credential(&own, auth.clone());
        credential.origins.push(second.origin());
        let (fetch, _) = fetcher(straight(), vec![credential]);
        for url in [own.at("/a"), second.at("/a"), other.at("/a")] {
            fetch.fetch(request(url)).await.expect("the server answers");
        }
        // A request that names none, and one that names some that do not exist.
        for identity in [None, Some(Identity::any(AuthId(7)))] {
            let mut request = request(own.at("/a"));
            request.identity = identity;
            fetch.fetch(request).await.expect("the server answers");
        }
        let what = |seen: &Seen| {
            let mut lines: Vec<String> = vec![seen.line.clone()];
            let own = ["host", "user-agent", "accept", "accept-encoding"];
            let extra = seen.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
            lines.extend(extra.map(|(name, value)| format!("{name}: {value}")));
            lines.join("\n")
        };
        let [with, bare, unknown] = &own.seen()[..] else { panic!("three requests") };
        assert_ne!(what(with), "GET /a HTTP/1.1", "{auth:?}");
        assert_eq!(what(&second.seen()[0]), what(with), "{auth:?}");
        for seen in [bare, unknown, &other.seen()[0]] {
            assert_eq!(what(seen), "GET /a HTTP/1.1", "{auth:?}");
        }
    }
}

#[tokio::test]
async fn each_kind_of_credentials_has_its_place_in_the_request() {
    let web = Web::plain(200, "").await;
    let credentials = vec![
        credential(&web, Auth::Bearer(vec![secret("abc")])),
        credential(&web, Auth::Basic { username: secret("me"), password: secret("") }),
        credential(&web, Auth::ApiKey { place: KeyPlace::Header, name: "X-Api-Key".to_owned(), value: secret("abc") }),
        credential(&web, Auth::ApiKey { place: KeyPlace::Cookie, name: "session".to_owned(), value: secret("abc") }),
        credential(&web, key(KeyPlace::Query, "key")),
    ];
    let (fetch, _) = fetcher(straight(), credentials);
    for auth in 0..5 {
        let mut request = request(web.at("/a?key=old&b=%20c"));
        request.identity = Some(Identity::any(AuthId(auth)));
        request.headers = vec![("cookie".to_owned(), secret("a=1")), ("authorization".to_owned(), secret("mine"))];
        let fetched = fetch.fetch(request).await.expect("the server answers");
        assert_eq!((fetched.url.as_str(), fetched.via), (web.at("/a?key=old&b=%20c").as_str(), Via::default()));
    }
    let shown: Vec<String> = web
        .seen()
        .iter()
        .map(|seen| {
            let header = |name| seen.header(name).unwrap_or_default();
            format!("{} | {} | {} | {}", seen.line, header("authorization"), header("cookie"), header("x-api-key"))
                .trim_end()
                .to_owned()
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    GET /a?key=old&b=%20c HTTP/1.1 | Bearer abc | a=1 |
    GET /a?key=old&b=%20c HTTP/1.1 | Basic bWU6 | a=1 |
    GET /a?key=old&b=%20c HTTP/1.1 | mine | a=1 | abc
    GET /a?key=old&b=%20c HTTP/1.1 | mine | a=1; session=abc |
    GET /a?b=%20c&key=hunter2%2F%2B%C3%A4 HTTP/1.1 | mine | a=1 |
    ");
}

#[tokio::test]
async fn a_key_in_the_address_is_seen_by_its_server_and_by_nobody_else() {
    // The server repeats the address that it was asked at, in all the spellings that servers use.
    let web = Web::start(|_, seen| {
        let target = seen.line.split(' ').nth(1).unwrap_or_default();
        let headers = format!("Location: {target}\r\nLink: <{target}&page=2>; rel=\"next\"\r\n");
        let body = json!({"next": target, "plain": "key=hunter2/+ä", "value": "hunter2/+ä"}).to_string();
        let body =
            format!("{body}key\\u003dhunter2\\/+ä back=%3Fkey%3Dhunter2%252F%252b%25C3%25a4 key=hunter2%2f%2B%c3%a4");
        (302, headers, body)
    })
    .await;
    let (fetch, _) = fetcher(straight(), vec![credential(&web, key(KeyPlace::Query, "key"))]);
    let fetched = fetch.fetch(request(web.at("/items?a=1"))).await.expect("the server answers");
    assert_eq!(web.seen()[0].line, "GET /items?a=1&key=hunter2%2F%2B%C3%A4 HTTP/1.1");
    assert_eq!(fetched.url, web.at("/items?a=1"));
    assert_eq!(fetched.headers.get("location"), Some("/items?a=1&key=***"));
    assert_eq!(fetched.headers.get("link"), Some("</items?a=1&key=***&page=2>; rel=\"next\""));
    insta::assert_snapshot!(String::from_utf8_lossy(&fetched.body), @r#"{"next":"/items?a=1&key=***","plain":"key=***","value":"hunter2/+ä"}key\u003d*** back=%3Fkey%3D*** key=***"#);
    // What was covered is sent with the key again.
    fetch.fetch(request(web.at("/items?a=1&key=***&page=2"))).await.expect("the server answers");
    assert_eq!(web.seen()[1].line, "GET /items?a=1&page=2&key=hunter2%2F%2B%C3%A4 HTTP/1.1");

    let dead = super::testing::dead_port().await;
    let mut credential = credential(&web, key(KeyPlace::Query, "key"));
    let url = url::Url::parse(&format!("http://127.0.0.1:{dead}/")).expect("a test address parses");
    credential.origins = crate::job::Origin::of(&url).into_iter().collect();
    let (fetch, _) = fetcher(straight(), vec![credential]);
    let error = fetch.fetch(request(url)).await.expect_err("nobody is there");
    assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_secret_that_no_header_may_hold_is_told_by_its_section() {
    let web = Web::plain(200, "").await;
    let (fetch, _) = fetcher(straight(), vec![credential(&web, Auth::Bearer(vec![secret("hunter2\n")]))]);
    let error = fetch.fetch(request(web.at("/"))).await.expect_err("it cannot be sent");
    insta::assert_snapshot!(error, @"the request cannot be sent: auth in [api.test] has characters that no header may hold");
    assert!(web.seen().is_empty());
}

#[tokio::test]
async fn the_token_of_a_pool_is_the_one_that_is_named() {
    let web = Web::plain(200, "").await;
    let pool = Auth::Bearer(["a", "b", "c"].map(secret).to_vec());
    let (fetch, _) = fetcher(straight(), vec![credential(&web, pool)]);
    let get = async |token: Option<u16>| {
        let mut request = request(web.at("/"));
        request.identity = Some(Identity { auth: AuthId(0), token });
        fetch.fetch(request).await.expect("the server answers").via.token
    };
    assert_eq!([get(None).await, get(Some(2)).await, get(Some(1)).await], [Some(0), Some(2), Some(1)]);
    assert_eq!(tokens(&web), ["a", "c", "b"]);
}

#[tokio::test]
async fn one_access_token_is_asked_for_by_all_who_need_one() {
    let idp = endpoint().await;
    let web = Web::plain(200, "").await;
    let (fetch, clock) = fetcher(straight(), vec![credential(&web, Auth::OAuth2(Box::new(oauth(&idp))))]);
    let fetch = Arc::new(fetch);
    let barrier = Arc::new(Barrier::new(8));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (fetch, barrier, url) = (Arc::clone(&fetch), Arc::clone(&barrier), web.at("/"));
        tasks.spawn(async move {
            barrier.wait().await;
            fetch.fetch(request(url)).await.expect("the server answers").status
        });
    }
    assert_eq!(tasks.join_all().await, [200; 8]);
    assert_eq!(tokens(&web), ["t0"; 8]);
    let [question] = &idp.seen()[..] else { panic!("one question: {:?}", idp.seen()) };
    assert_eq!((&*question.line, &*question.text()), ("POST /token HTTP/1.1", "grant_type=client_credentials"));
    assert_eq!(question.header("content-type"), Some("application/x-www-form-urlencoded"));
    // `me%3A1:hunter2`: RFC 6749 section 2.3.1 has both encoded first.
    assert_eq!(question.header("authorization"), Some("Basic bWUlM0ExOmh1bnRlcjI="));

    // It is renewed a minute before its end, by the same rule.
    clock.advance_to(Timestamp(1_000_000 + 3_539_000));
    fetch.fetch(request(web.at("/"))).await.expect("the server answers");
    clock.advance_to(Timestamp(1_000_000 + 3_541_000));
    fetch.fetch(request(web.at("/"))).await.expect("the server answers");
    assert_eq!(tokens(&web)[8..], ["t0", "t1"]);
}

#[tokio::test]
async fn a_401_renews_the_token_once_and_a_second_one_is_the_answer() {
    let idp = Web::start(|place, _| {
        let body =
            json!({"access_token": format!("t{place}"), "refresh_token": format!("r{place}"), "token_type": "bearer"});
        (200, String::new(), body.to_string())
    })
    .await;
    let refused = Arc::new(AtomicU16::new(0));
    let web = Web::start({
        let refused = Arc::clone(&refused);
        move |_, seen| {
            let token: u16 = seen
                .header("authorization")
                .and_then(|value| value.strip_prefix("Bearer t")?.parse().ok())
                .unwrap_or(0);
            (if token < refused.load(Ordering::SeqCst) { 401 } else { 200 }, String::new(), String::new())
        }
    })
    .await;
    let oauth = OAuth2 {
        grant: Grant::RefreshToken(secret("first")),
        client_auth: ClientAuth::Body,
        scope: Some("read all".to_owned()),
        ..oauth(&idp)
    };
    let (fetch, clock) = fetcher(straight(), vec![credential(&web, Auth::OAuth2(Box::new(oauth)))]);
    let get = async || fetch.fetch(request(web.at("/"))).await.expect("the server answers").status;
    assert_eq!(get().await, 200);
    // The token dies on the way: the job does not notice.
    refused.store(1, Ordering::SeqCst);
    assert_eq!(get().await, 200);
    assert_eq!(tokens(&web), ["t0", "t0", "t1"]);
    let asked: Vec<String> = idp.seen().iter().map(Seen::text).collect();
    insta::assert_snapshot!(asked.join("\n"), @r"
    grant_type=refresh_token&refresh_token=first&scope=read+all&client_id=me%3A1&client_secret=hunter2
    grant_type=refresh_token&refresh_token=r0&scope=read+all&client_id=me%3A1&client_secret=hunter2
    ");
    // All tokens die: one more is asked for, and then its 401 is the answer.
    refused.store(99, Ordering::SeqCst);
    assert_eq!(get().await, 401);
    assert_eq!(tokens(&web)[3..], ["t1", "t2"]);
    // A token that was never accepted is not renewed again and again.
    assert_eq!([get().await, get().await], [401, 401]);
    assert_eq!((tokens(&web)[5..].to_vec(), idp.seen().len()), (vec!["t2".to_owned(); 2], 3));
    // But it is once it is old.
    clock.advance_to(Timestamp(1_000_000 + 60_000));
    assert_eq!(get().await, 401);
    assert_eq!(idp.seen().len(), 4);
}

#[tokio::test]
async fn requests_that_meet_one_dead_token_together_renew_it_once() {
    let idp = endpoint().await;
    let web = Web::start(|_, seen| {
        let status =
            if seen.header("authorization") == Some("Bearer t0") && !seen.line.contains("first") { 401 } else { 200 };
        (status, String::new(), String::new())
    })
    .await;
    let (fetch, _) = fetcher(straight(), vec![credential(&web, Auth::OAuth2(Box::new(oauth(&idp))))]);
    fetch.fetch(request(web.at("/first"))).await.expect("the server answers");
    let get = async || fetch.fetch(request(web.at("/"))).await.expect("the server answers").status;
    assert_eq!(tokio::join!(get(), get(), get(), get()), (200, 200, 200, 200));
    assert_eq!(idp.seen().len(), 2);
}

#[tokio::test]
async fn a_refusing_endpoint_is_told_by_its_section_and_without_secrets() {
    let idp = Web::start(|place, _| match place {
        0 => (
            400,
            String::new(),
            json!({"error": "invalid_client", "error_description": "hunter2 is wrong"}).to_string(),
        ),
        1 => (401, String::new(), json!({"error": "Hunter2"}).to_string()),
        _ => (200, String::new(), json!({"access_token": "t", "token_type": "mac"}).to_string()),
    })
    .await;
    let web = Web::plain(200, "").await;
    let (fetch, clock) = fetcher(straight(), vec![credential(&web, Auth::OAuth2(Box::new(oauth(&idp))))]);
    let mut said = Vec::new();
    for _ in 0..3 {
        // The second is told what the first was, without a question.
        for _ in 0..2 {
            let result = fetch.fetch(request(web.at("/"))).await;
            assert_eq!(Outcome::of(&result), Outcome::Impossible);
            said.push(result.expect_err("there is no token").to_string());
        }
        clock.advance_to(Timestamp(crate::clock::Clock::now(&clock).0 + 60_000));
    }
    said.dedup();
    insta::assert_snapshot!(said.join("\n"), @r"
    the credentials are refused: auth in [api.test]: 127.0.0.1 answered 400 (invalid_client)
    the credentials are refused: auth in [api.test]: 127.0.0.1 answered 401
    the credentials are refused: auth in [api.test]: 127.0.0.1 gives tokens of another type than Bearer
    ");
    assert_eq!((idp.seen().len(), web.seen().len()), (3, 0));
}

#[tokio::test]
async fn an_endpoint_that_fails_is_left_alone_for_a_while_and_no_job_is_to_blame() {
    let idp = Web::start(|place, _| match place {
        0 => (500, String::new(), String::new()),
        1 => (429, "Retry-After: 30\r\n".to_owned(), String::new()),
        2 => (200, String::new(), "no JSON".to_owned()),
        _ => (200, String::new(), json!({"access_token": "t", "expires_in": "100"}).to_string()),
    })
    .await;
    let web = Web::plain(200, "").await;
    let (fetch, clock) = fetcher(straight(), vec![credential(&web, Auth::OAuth2(Box::new(oauth(&idp))))]);
    let mut said = Vec::new();
    for wait_ms in [1_000, 30_000, 4_000] {
        let result = fetch.fetch(request(web.at("/"))).await;
        assert_eq!(Outcome::of(&result), Outcome::Unsent);
        said.push(result.expect_err("there is no token").to_string());
        let asked = idp.seen().len();
        // Who comes meanwhile waits until it is worth asking again, and then comes back for another try.
        let before = crate::clock::Clock::now(&clock);
        let mut early = std::pin::pin!(fetch.fetch(request(web.at("/"))));
        assert!(tokio::time::timeout(std::time::Duration::ZERO, &mut early).await.is_err());
        clock.advance_to(before.plus_ms(wait_ms - 1));
        assert!(tokio::time::timeout(std::time::Duration::ZERO, &mut early).await.is_err());
        clock.advance_to(before.plus_ms(wait_ms));
        assert!(matches!(early.await, Err(FetchError::Token(_))));
        assert_eq!(idp.seen().len(), asked);
    }
    insta::assert_snapshot!(said.join("\n"), @r"
    no access token: auth in [api.test]: 127.0.0.1 answered 500
    no access token: auth in [api.test]: 127.0.0.1 answered 429
    no access token: auth in [api.test]: 127.0.0.1 answered without an access_token
    ");
    assert_eq!(fetch.fetch(request(web.at("/"))).await.map(|fetched| fetched.status), Ok(200));
    // The last tenth of its life is kept; what fails in it does no harm.
    assert_eq!((tokens(&web), idp.seen().len()), (vec!["t".to_owned()], 4));
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_early_serves_until_its_end() {
    let idp = Web::start(|place, _| match place {
        0 => (200, String::new(), json!({"access_token": "t", "expires_in": 100}).to_string()),
        _ => (500, String::new(), String::new()),
    })
    .await;
    let web = Web::plain(200, "").await;
    let (fetch, clock) = fetcher(straight(), vec![credential(&web, Auth::OAuth2(Box::new(oauth(&idp))))]);
    let get = async || fetch.fetch(request(web.at("/"))).await.map(|fetched| fetched.status);
    assert_eq!(get().await, Ok(200));
    clock.advance_to(Timestamp(1_000_000 + 91_000));
    assert_eq!(get().await, Ok(200));
    assert_eq!(idp.seen().len(), 2);
    clock.advance_to(Timestamp(1_000_000 + 101_000));
    assert!(matches!(get().await, Err(FetchError::Token(_))));
}

#[test]
fn credentials_have_no_words_of_their_own() {
    let all = [
        Auth::Bearer(vec![secret("hunter2")]),
        Auth::Basic { username: secret("hunter2"), password: secret("hunter2") },
        key(KeyPlace::Query, "key"),
        Auth::OAuth2(Box::new(OAuth2 {
            grant: Grant::RefreshToken(Secret("hunter2".to_owned())),
            token_url: url::Url::parse("http://a.org/").expect("a test address parses"),
            client_id: secret("hunter2"),
            client_secret: Some(secret("hunter2")),
            client_auth: ClientAuth::Body,
            scope: None,
        })),
    ];
    assert!(!format!("{all:?}").contains("hunter2"));
}
