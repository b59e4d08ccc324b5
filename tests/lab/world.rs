//! The network and the clocks between one client and one limiter, as a heap of events in microseconds.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use trundle::clock::Timestamp;
use trundle::exchange::Headers;
use trundle::practice::limiter::{Arrival, Dialect, Limiter};

use super::scenario::Scenario;

/// Something that sends requests to one host, of which it has more than it will ever get done.
pub trait Client {
    /// May a request go now?
    fn poll(&mut self, now: Timestamp) -> Ask;
    /// The request of `token` has been answered.
    fn done(&mut self, token: usize, answer: &Answer, now: Timestamp);
    /// What it believes, in words.
    fn describe(&self) -> String;
    /// Whether it takes its limit for known; none when it has no notion of that.
    fn is_settled(&self) -> Option<bool> {
        None
    }
    /// It is killed, and starts again with what it had written down after the last answer.
    fn restart(&mut self, now: Timestamp);
}

/// What a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Send a request; its answer comes back with this token.
    Go(usize),
    /// Nothing before this instant.
    NotBefore(Timestamp),
    /// Nothing before an answer has come.
    Full,
}

/// An answer as the client sees it.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Headers,
}

/// The path between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// There and back, ms; half of it each way.
    pub latency_ms: u32,
    /// What the way there takes longer at most, ms; evenly spread.
    pub jitter_ms: u32,
}

/// One request that reached the server within the run.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// From the start of the run.
    pub arrived_us: i64,
    /// From sending to the answer.
    pub took_us: i64,
    /// Whether it was taken by the end of the run.
    pub accepted: bool,
    pub refused: bool,
}

/// Everything that happened in one run.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// In the order of arrival.
    pub sent: Vec<Sent>,
    /// Requests that went although a Retry-After that had come forbade it.
    pub violations: u32,
    pub bans: u64,
    /// When the client first took its limit for known, from the start of the run: `i64::MAX` when it never did, none when
    /// it has no notion of that.
    pub settled_us: Option<i64>,
    /// What the client believes at the end.
    pub words: String,
}

/// The server, its clock, and how far the time is.
pub struct World {
    limiter: Limiter,
    dialect: Dialect,
    counts_running: bool,
    service_ms: f64,
    service_sigma: f64,
    network: Network,
    dice: fastrand::Rng,
    /// The client's clock at the start of the first run, microseconds since the epoch.
    start_us: i64,
    ahead_us: i64,
    /// Prints refusals and changes of mind as they happen.
    pub trace: bool,
}

/// Tue, 24 Nov 2026 08:00:00 GMT in microseconds: some full hour.
const BASE_US: i64 = 1_795_507_200_000_000;

/// Refusals, beyond half of all requests, after which a client has gone wild.
const REFUSED_MAX: usize = 200_000;

enum Event {
    Wake,
    Arrive { request: usize },
    Release,
    Answered { request: usize, status: u16, headers: Headers, retry_after_ms: Option<u64> },
    Restart,
}

struct Due {
    at_us: i64,
    number: u64,
    event: Event,
}

/// A request on its way.
struct Pending {
    sent_us: i64,
    token: usize,
    /// The client that sent it; an answer to one that was killed reaches nobody.
    life: u32,
    /// Where it stands in the record; none when it arrived too late to count.
    row: Option<usize>,
}

impl World {
    pub fn new(scenario: &Scenario, network: Network, seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x7a11);
        // The hour into which the run falls, and the distance of two clocks that both are set by NTP.
        let start_us = BASE_US + dice.i64(0..3_600_000_000);
        let ahead_us = dice.i64(-500_000..500_000) + (scenario.clock_ahead_s * 1e6) as i64;
        Self {
            limiter: scenario.limiter.build(start_us + ahead_us, seed),
            dialect: scenario.answers,
            counts_running: scenario.limiter.counts_running(),
            service_ms: scenario.service_ms,
            service_sigma: scenario.service_sigma,
            network,
            dice,
            start_us,
            ahead_us,
            trace: false,
        }
    }

    /// The client's clock, so long after the start of the first run.
    pub fn at(&self, after_us: i64) -> Timestamp {
        Timestamp((self.start_us + after_us).div_euclid(1_000))
    }

    /// The first instant at which a request of a run that starts `from_us` after the first one can arrive, on the server's clock.
    pub fn first_arrival_us(&self, from_us: i64) -> i64 {
        self.start_us + from_us + self.ahead_us + self.way_us()
    }

    fn way_us(&self) -> i64 {
        i64::from(self.network.latency_ms) * 500
    }

    /// Lets `client` send for `seconds`, beginning `from_us` after the start of the first run. One that has gone wild is
    /// stopped: the machine has better things to do.
    pub fn run(&mut self, client: &mut dyn Client, from_us: i64, seconds: f64, restart_every_s: Option<u32>) -> Record {
        let length_us = (seconds * 1e6) as i64;
        let mut run = Run {
            due: BinaryHeap::new(),
            number: 0,
            pending: Vec::new(),
            free: Vec::new(),
            record: Record {
                settled_us: client.is_settled().map(|is| if is { 0 } else { i64::MAX }),
                ..Record::default()
            },
            wake_us: i64::MAX,
            forbidden_until: Timestamp::EPOCH,
            refused: 0,
            life: 0,
            words: String::new(),
        };
        run.at(from_us, Event::Wake);
        if let Some(every_s) = restart_every_s {
            let every_us = i64::from(every_s) * 1_000_000;
            let mut at_us = every_us;
            while at_us < length_us {
                run.at(from_us + at_us, Event::Restart);
                at_us += every_us;
            }
        }
        let bans = self.limiter.bans();
        let end_us = from_us + length_us;
        while let Some(Reverse(Due { at_us, event, .. })) = run.due.pop() {
            match event {
                Event::Arrive { request } => {
                    self.arrive(&mut run, request, at_us, from_us, length_us);
                    continue;
                }
                Event::Release => {
                    self.limiter.release();
                    continue;
                }
                Event::Wake => {
                    if at_us == run.wake_us {
                        run.wake_us = i64::MAX;
                    }
                }
                Event::Restart => {
                    run.life += 1;
                    client.restart(self.at(at_us));
                    if self.trace {
                        println!("{:>11.3} restart", (at_us - from_us) as f64 / 1e6);
                    }
                }
                Event::Answered { request, status, headers, retry_after_ms } => {
                    self.answered(&mut run, client, request, status, headers, retry_after_ms, at_us, from_us);
                }
            }
            if at_us < end_us && run.refused < REFUSED_MAX + run.record.sent.len() / 2 {
                self.pump(&mut run, client, at_us);
            }
        }
        run.record.bans = self.limiter.bans() - bans;
        run.record.words = client.describe();
        run.record
    }

    /// Sends what the client wants to send now.
    fn pump(&mut self, run: &mut Run, client: &mut dyn Client, at_us: i64) {
        let now = self.at(at_us);
        loop {
            match client.poll(now) {
                Ask::Go(token) => {
                    if now < run.forbidden_until {
                        run.record.violations += 1;
                        if self.trace {
                            println!("VIOLATION {} ms early", run.forbidden_until.since_ms(now));
                        }
                    }
                    let late_us = self.dice.i64(0..=i64::from(self.network.jitter_ms) * 1_000);
                    let request = run.put(Pending { sent_us: at_us, token, life: run.life, row: None });
                    run.at(at_us + self.way_us() + late_us, Event::Arrive { request });
                }
                Ask::NotBefore(at) => {
                    let wake_us = at.0.max(now.0 + 1).saturating_mul(1_000).saturating_sub(self.start_us);
                    if wake_us < run.wake_us {
                        run.wake_us = wake_us;
                        run.at(wake_us, Event::Wake);
                    }
                    return;
                }
                Ask::Full => return,
            }
        }
    }

    fn arrive(&mut self, run: &mut Run, request: usize, at_us: i64, from_us: i64, length_us: i64) {
        let service_us = self.service_us();
        let there_us = self.start_us + self.ahead_us + at_us;
        let decision = self.limiter.decide(&Arrival { service_us, ..Arrival::at_us(there_us) });
        let worked_us = if decision.allowed { decision.delay_us + service_us } else { 0 };
        let done_us = at_us.saturating_add_unsigned(worked_us);
        if decision.allowed && self.counts_running {
            run.at(done_us, Event::Release);
        }
        let told = self.dialect.tell(&decision, there_us);
        let status = if decision.allowed { 200 } else { self.dialect.status };
        let back_us = done_us + self.way_us();
        run.refused += usize::from(!decision.allowed);
        let pending = &mut run.pending[request];
        let (arrived_us, span_us) = (at_us - from_us, length_us + self.way_us());
        if arrived_us < span_us {
            // What is held back beyond the end has not been got.
            let taken_us = arrived_us.saturating_add_unsigned(decision.delay_us);
            let accepted = decision.allowed && (decision.delay_us == 0 || taken_us < span_us);
            pending.row = Some(run.record.sent.len());
            run.record.sent.push(Sent {
                arrived_us,
                took_us: back_us - pending.sent_us,
                accepted,
                refused: !decision.allowed,
            });
        }
        let headers = Headers::from_pairs(told.fields);
        run.at(back_us, Event::Answered { request, status, headers, retry_after_ms: told.retry_after_ms });
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one event")]
    fn answered(
        &mut self,
        run: &mut Run,
        client: &mut dyn Client,
        request: usize,
        status: u16,
        headers: Headers,
        retry_after_ms: Option<u64>,
        at_us: i64,
        from_us: i64,
    ) {
        let Pending { sent_us, token, life, row } = run.take(request);
        if life != run.life {
            return;
        }
        let now = self.at(at_us);
        if let Some(wait_ms) = retry_after_ms {
            run.forbidden_until = run.forbidden_until.max(now.plus_ms(wait_ms));
        }
        let answer = Answer { status, headers };
        client.done(token, &answer, now);
        if run.record.settled_us == Some(i64::MAX) && client.is_settled() == Some(true) {
            run.record.settled_us = Some(at_us - from_us);
        }
        if self.trace {
            let at_s = (at_us - from_us) as f64 / 1e6;
            if status != 200 {
                let sent_s = (sent_us - from_us) as f64 / 1e6;
                let accepted = run.record.sent[..row.unwrap_or(0)].iter().filter(|sent| sent.accepted).count();
                println!(
                    "{at_s:>11.3} {status} to what was sent at {sent_s:.3} after {accepted} accepted {:?}",
                    answer.headers
                );
            }
            let words = client.describe();
            if words != run.words {
                println!("{at_s:>11.3} {words}");
                run.words = words;
            }
        }
    }

    /// Lognormal with the scenario's mean.
    fn service_us(&mut self) -> u64 {
        if self.service_ms <= 0.0 {
            return 0;
        }
        let sigma = self.service_sigma;
        // Box and Muller; 1 - x keeps the logarithm away from zero.
        let normal = (-2.0 * (1.0 - self.dice.f64()).ln()).sqrt() * (std::f64::consts::TAU * self.dice.f64()).cos();
        (self.service_ms * 1_000.0 * (sigma * normal - sigma * sigma / 2.0).exp()) as u64
    }
}

/// The moving parts of one run.
struct Run {
    due: BinaryHeap<Reverse<Due>>,
    number: u64,
    pending: Vec<Pending>,
    free: Vec<usize>,
    record: Record,
    /// The next wake-up that is due.
    wake_us: i64,
    forbidden_until: Timestamp,
    refused: usize,
    life: u32,
    words: String,
}

impl Run {
    fn at(&mut self, at_us: i64, event: Event) {
        self.number += 1;
        self.due.push(Reverse(Due { at_us, number: self.number, event }));
    }

    fn put(&mut self, pending: Pending) -> usize {
        if let Some(request) = self.free.pop() {
            self.pending[request] = pending;
            return request;
        }
        self.pending.push(pending);
        self.pending.len() - 1
    }

    fn take(&mut self, request: usize) -> Pending {
        self.free.push(request);
        let Pending { sent_us, token, life, row } = self.pending[request];
        Pending { sent_us, token, life, row }
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}
