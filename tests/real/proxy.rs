//! A proxy before a real server: writes down every request, and does to some of them what networks and busy servers do.
//!
//! It passes the `Host` of the client on, so that the addresses that the server makes lead through the proxy again. One request
//! a connection, which its answers say; whole answers only, so a length is there even where the server sent none.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use trundle::clock::{Clock, SystemClock, Timestamp};

use crate::process;

/// How long a test waits for something to come by.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// What is done to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered by the server.
    None,
    /// It is answered with this status, and the server does not hear of it.
    Status {
        /// The status.
        status: u16,
        /// What `Retry-After` says.
        retry_after_s: Option<u32>,
    },
    /// The server's answer breaks off in the middle of its body.
    Truncate,
    /// The connection is reset before a byte of an answer.
    Reset,
    /// The server's answer comes after so many ms.
    Delay(u64),
    /// There is no answer until [`Proxy::hang_up`], and then none either.
    Hold,
}

/// A request that came by.
#[derive(Clone, Debug)]
pub struct Asked {
    /// 1 for the first since the proxy was started.
    pub number: usize,
    /// When its head had come.
    pub at: Timestamp,
    /// `GET`, ...
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, in their order.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// What was done to it.
    pub fault: Fault,
    /// The status that was sent, once all of the answer is out.
    pub answered: Option<u16>,
}

/// What to do to the request: by its number, and by what it asks for.
type Script = dyn Fn(&Asked) -> Fault + Send + Sync;

/// A proxy on a port of its own, for one server.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: u16,
    state: Mutex<State>,
    changed: Condvar,
    clock: SystemClock,
}

struct State {
    log: Vec<Asked>,
    script: Arc<Script>,
    /// How often those that are held were hung up on.
    hung_up: usize,
    is_closed: bool,
}

impl Proxy {
    /// A proxy before the server at `upstream` on loopback.
    pub fn before(upstream: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let state = State { log: Vec::new(), script: Arc::new(|_| Fault::None), hung_up: 0, is_closed: false };
        let shared =
            Arc::new(Shared { upstream, state: Mutex::new(state), changed: Condvar::new(), clock: SystemClock::new() });
        let served = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if served.state().is_closed {
                    return;
                }
                let (Ok(stream), served) = (stream, Arc::clone(&served)) else { continue };
                // A client that is killed breaks its connection at any point; whatever it was, that request is over.
                thread::spawn(move || drop(served.serve(stream)));
            }
        });
        Self { port, shared }
    }

    /// Its own port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of `path` by way of the proxy.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// From now on, what is done to requests.
    pub fn script(&self, script: impl Fn(&Asked) -> Fault + Send + Sync + 'static) {
        self.shared.state().script = Arc::new(script);
    }

    /// All requests so far, in the order in which they came.
    pub fn log(&self) -> Vec<Asked> {
        self.shared.state().log.clone()
    }

    /// How many requests have come so far.
    pub fn count(&self) -> usize {
        self.shared.state().log.len()
    }

    /// Waits until `count` requests have come. Whether they have: false if `is_over` says first that no more will.
    pub fn wait_for_requests(&self, count: usize, is_over: impl FnMut() -> bool) -> bool {
        self.wait_until(|state| state.log.len() >= count, is_over)
    }

    /// Waits until `count` requests are answered or broken off as their faults want it, as [`Proxy::wait_for_requests`] does.
    pub fn wait_for_answers(&self, count: usize, is_over: impl FnMut() -> bool) -> bool {
        self.wait_until(|state| state.log.iter().filter(|asked| asked.answered.is_some()).count() >= count, is_over)
    }

    /// Closes the connections of the requests that are held.
    pub fn hang_up(&self) {
        self.shared.state().hung_up += 1;
        self.shared.changed.notify_all();
    }

    fn wait_until(&self, is_so: impl Fn(&State) -> bool, mut is_over: impl FnMut() -> bool) -> bool {
        let deadline_at = self.shared.clock.now().plus_ms(WAIT_MAX.as_secs() * 1_000);
        let mut state = self.shared.state();
        while !is_so(&state) {
            if is_over() {
                return is_so(&state);
            }
            assert!(self.shared.clock.now() < deadline_at, "only {} requests came", state.log.len());
            // A program that ends does not say so here: it is asked now and then.
            let waited = self.shared.changed.wait_timeout(state, Duration::from_millis(20));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
        self.hang_up();
        // Wakes the listener, which sees that it is closed.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        // All but the last byte: a socket that is closed before all is read resets its connection.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r") {
            let mut byte = [0];
            client.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let (index, fault, hung_up) = self.take_down(&head);
        if fault == Fault::Reset {
            drop(client);
            self.answered(index, 0);
            return Ok(());
        }
        let mut body = vec![0; 1 + self.length_of(index)];
        client.read_exact(&mut body)?;
        self.state().log[index].body = body.split_off(1);
        match fault {
            Fault::Status { status, retry_after_s } => {
                let retry_after = retry_after_s.map(|s| format!("retry-after: {s}\r\n")).unwrap_or_default();
                let said = format!("{{\"error\":\"{status} by the proxy\"}}");
                let answer = format!(
                    "HTTP/1.1 {status} By the proxy\r\n{retry_after}content-type: application/json\r\n\
                     content-length: {}\r\nconnection: close\r\n\r\n{said}",
                    said.len()
                );
                client.write_all(answer.as_bytes())?;
                self.answered(index, status);
            }
            Fault::Hold => {
                let mut state = self.state();
                while state.hung_up == hung_up {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
            Fault::None | Fault::Truncate | Fault::Delay(_) | Fault::Reset => {
                let (status, head, body) = self.forward(&head, index)?;
                if let Fault::Delay(ms) = fault {
                    process::let_pass(ms);
                }
                let sent = if fault == Fault::Truncate { body.len() / 2 } else { body.len() };
                client.write_all(&head)?;
                client.write_all(&body[..sent])?;
                client.shutdown(Shutdown::Write)?;
                self.answered(index, status);
            }
        }
        Ok(())
    }

    /// Writes the request down, and says what its script wants.
    fn take_down(&self, head: &[u8]) -> (usize, Fault, usize) {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let mut first = lines.next().unwrap_or_default().split(' ');
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
        let headers = lines.filter_map(header).collect();
        let (method, target) = (method.to_owned(), target.to_owned());
        let mut state = self.state();
        let number = state.log.len() + 1;
        let at = self.clock.now();
        let mut asked =
            Asked { number, at, method, target, headers, body: Vec::new(), fault: Fault::None, answered: None };
        asked.fault = (state.script)(&asked);
        let (fault, hung_up) = (asked.fault, state.hung_up);
        state.log.push(asked);
        drop(state);
        self.changed.notify_all();
        (number - 1, fault, hung_up)
    }

    fn length_of(&self, index: usize) -> usize {
        let state = self.state();
        let headers = &state.log[index].headers;
        assert!(headers.iter().all(|(name, _)| name != "transfer-encoding"), "bodies come with their lengths");
        let length = headers.iter().find(|(name, _)| name == "content-length");
        length.map_or(0, |(_, length)| length.parse().expect("a length is a number"))
    }

    fn answered(&self, index: usize, status: u16) {
        self.state().log[index].answered = Some(status);
        self.changed.notify_all();
    }

    /// Asks the server: its status, the head for the client, and the body.
    fn forward(&self, head: &[u8], index: usize) -> std::io::Result<(u16, Vec<u8>, Vec<u8>)> {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.upstream))?;
        server.write_all(&without_connection(&head[..head.len() - 1]))?;
        let body = self.state().log[index].body.clone();
        server.write_all(&body)?;
        let mut bytes = Vec::new();
        server.read_to_end(&mut bytes)?;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or(std::io::ErrorKind::InvalidData)?;
        let body = bytes.split_off(end + 4);
        bytes.truncate(end + 2);
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let has_length = text.contains("\r\ncontent-length:") || text.contains("\r\ntransfer-encoding:");
        if !has_length && !matches!(status, 204 | 304) {
            bytes.extend(format!("content-length: {}\r\n", body.len()).into_bytes());
        }
        Ok((status, without_connection(&bytes), body))
    }
}

/// The lines of a head with one word about the connection, and the empty line behind them.
fn without_connection(head: &[u8]) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    let is_other = |line: &&str| {
        let line = line.to_ascii_lowercase();
        !line.is_empty() && !line.starts_with("connection:") && !line.starts_with("keep-alive:")
    };
    let lines: Vec<&str> = head.split("\r\n").filter(is_other).collect();
    format!("{}\r\nconnection: close\r\n\r\n", lines.join("\r\n").trim_end()).into_bytes()
}

/// A script that does one of `faults`, in turn, to every request whose number divides by `nth`.
pub fn every(nth: usize, faults: &'static [Fault]) -> impl Fn(&Asked) -> Fault + Send + Sync + 'static {
    move |asked| {
        let turn = asked.number / nth;
        if asked.number % nth == 0 { faults[(turn - 1) % faults.len()] } else { Fault::None }
    }
}

/// A script that does some of `faults` to `percent` of the requests, by dice that depend on the number of the request alone.
pub fn by_dice(seed: u64, percent: u8, faults: &'static [Fault]) -> impl Fn(&Asked) -> Fault + Send + Sync + 'static {
    move |asked| {
        let number = u64::try_from(asked.number).expect("a count fits");
        let mut dice = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9).wrapping_add(number));
        if dice.u8(..100) < percent { faults[dice.usize(..faults.len())] } else { Fault::None }
    }
}
