//! What the proxy of these tests does, seen from a client without trundle.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use crate::proxy::{self, Asked, Fault, Proxy};
use crate::wire;

/// A server that answers every request with its target, in a body of 100 bytes.
fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client may have gone.
            drop(answer(stream.expect("clients come")));
        }
    });
    port
}

/// Reads all of a request before its answer: a socket that is closed on unread bytes resets its connection.
fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut target, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim_end().is_empty() {
            break;
        }
        if target.is_empty() {
            line.split(' ').nth(1).unwrap_or_default().clone_into(&mut target);
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a length is a number");
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    write!(reader.get_mut(), "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n\r\n{target:<100}")
}

/// Sends a `GET` by hand, and reads to the end or the error.
fn raw(port: u16, target: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.write_all(format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn a_request_is_passed_on_and_written_down() {
    let proxy = Proxy::before(echo());
    let answer = wire::ask(proxy.port(), "POST", "/a?b=c", &[("x-one", "1")], b"body");
    assert_eq!((answer.status, answer.body.len()), (200, 100));
    assert!(answer.body.starts_with(b"/a?b=c"));
    assert_eq!(answer.header("content-length"), Some("100"), "a length where the server sent none");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(proxy.wait_for_answers(1, || false));
    let [asked] = &proxy.log()[..] else { panic!("{:?}", proxy.log()) };
    let Asked { number: 1, method, target, body, fault: Fault::None, answered: Some(200), .. } = asked else {
        panic!("{asked:?}")
    };
    assert_eq!((method.as_str(), target.as_str(), body.as_slice()), ("POST", "/a?b=c", b"body".as_slice()));
    assert!(asked.headers.contains(&("x-one".to_owned(), "1".to_owned())), "{asked:?}");
}

#[test]
fn each_fault_is_what_it_says() {
    let proxy = Proxy::before(echo());
    let always = |fault| proxy.script(move |_| fault);
    always(Fault::Status { status: 429, retry_after_s: Some(7) });
    let refused = wire::get(proxy.port(), "/");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("7")));
    always(Fault::Truncate);
    let cut = wire::get(proxy.port(), "/");
    assert_eq!((cut.header("content-length"), cut.body.len()), (Some("100"), 50));
    always(Fault::Reset);
    let reset = raw(proxy.port(), "/").expect_err("no byte comes");
    assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
    always(Fault::Hold);
    let port = proxy.port();
    let held = thread::spawn(move || raw(port, "/"));
    assert!(proxy.wait_for_requests(4, || false));
    assert!(!held.is_finished(), "no answer comes");
    proxy.hang_up();
    assert_eq!(held.join().expect("it reads to the end").expect("which comes"), "");
    always(Fault::Delay(50));
    assert_eq!(wire::get(proxy.port(), "/").status, 200);
}

#[test]
fn scripts_depend_on_the_number_of_the_request_alone() {
    const FAULTS: [Fault; 2] = [Fault::Truncate, Fault::Reset];
    let proxy = Proxy::before(echo());
    for _ in 0..6 {
        wire::get(proxy.port(), "/");
    }
    let done = |script: &dyn Fn(&Asked) -> Fault| proxy.log().iter().map(script).collect::<Vec<_>>();
    let (none, cut, reset) = (Fault::None, Fault::Truncate, Fault::Reset);
    assert_eq!(done(&proxy::every(2, &FAULTS)), [none, cut, none, reset, none, cut]);
    let dice = proxy::by_dice(1, 50, &FAULTS);
    let first = done(&dice);
    assert_eq!(done(&dice), first, "the same again");
    assert_ne!(done(&proxy::by_dice(2, 50, &FAULTS)), first, "another seed");
    assert!(first.contains(&none) && first.iter().any(|fault| *fault != none), "{first:?}");
}
