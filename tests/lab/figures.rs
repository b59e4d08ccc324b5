//! What is read off a run.

use super::optimum::Best;
use super::world::{Record, Sent};

/// The figures of one run.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Requests, and how many of them were refused.
    pub sent: u32,
    pub refused: u32,
    /// What an all-knowing client would have got.
    pub best: f64,
    /// Accepted as a share of that.
    pub goodput: f64,
    /// What can be reached of [`Self::best`] by a client that must find the limit within the run, and accepted as a share of that,
    /// at most 1.
    pub bound: f64,
    pub of_bound: f64,
    /// Refused as a share of what was sent.
    pub refused_share: f64,
    /// The same in the second half of the run.
    pub refused_late: f64,
    /// What learning cost: refusals until the limit was first taken for known, or in the whole run when it never was; of a client
    /// that has no notion of that, until [`Self::t90_s`].
    pub learning: u32,
    /// Refusals up to the first spell of 600 accepted requests without one, and whether there was such a spell.
    pub settling: u32,
    pub settled: bool,
    /// When the accept rate over the last 30 s, or the last window if that is longer, first came to 0.9 of the sustained rate.
    pub t90_s: Option<f64>,
    pub violations: u32,
    /// Refusals in the 60 s after the worst drop; none without a drop.
    pub drop: Option<u32>,
    /// Accepted requests after the worst rise until the accept rate over 10 s came to 0.9 of the new rate.
    pub rise: Option<u32>,
    /// The 95th percentile of the time to an answer, as a multiple of its unhurried mean.
    pub p95: f64,
    pub bans: u64,
    /// What the client believes at the end, in its own words.
    pub words: String,
    /// The kind of limiter that these words name.
    pub family: String,
    /// How far the rate in these words is from the true one, as a share of it; none when they name none.
    pub rate_error: Option<f64>,
}

/// A spell without a refusal that shows that the limit is known.
const SPELL: u32 = 600;
/// The span over which the accept rate is taken after a rise, s.
const RISE_SPAN_S: f64 = 10.0;

impl Figures {
    /// Reads off a run of `seconds`, in which `bound` can be reached, against a limiter whose sustained rate is `per_s` at its end;
    /// an answer that nobody waits for takes `base_s` on average.
    pub fn read(record: &Record, best: &Best, bound: f64, per_s: f64, seconds: f64, base_s: f64) -> Self {
        let sent = &record.sent;
        let refused = count(sent.iter().filter(|sent| sent.refused));
        let accepted = count(sent.iter().filter(|sent| sent.accepted));
        let late = sent.iter().filter(|sent| sent.arrived_us as f64 >= seconds * 5e5);
        let late_refused = late.clone().filter(|sent| sent.refused).count();
        let (family, believed) = belief(&record.words);
        let (settling, settled) = settling(sent);
        let t90_s = t90(sent, best);
        let learning_us = match record.settled_us {
            Some(settled_us) => settled_us as f64,
            None => t90_s.unwrap_or(f64::INFINITY) * 1e6,
        };
        Self {
            sent: sent.len() as u32,
            refused,
            best: best.accepted,
            goodput: f64::from(accepted) / best.accepted.max(1.0),
            bound,
            of_bound: (f64::from(accepted) / bound.max(1.0)).min(1.0),
            refused_share: share(refused as usize, sent.len()),
            refused_late: share(late_refused, late.count()),
            learning: count(sent.iter().filter(|sent| sent.refused && (sent.arrived_us as f64) < learning_us)),
            settling,
            settled,
            t90_s,
            violations: record.violations,
            drop: changes(best, |before, after| after < before)
                .map(|(at_s, _)| {
                    let after = |sent: &&Sent| (0.0..60.0).contains(&(sent.arrived_us as f64 / 1e6 - at_s));
                    count(sent.iter().filter(|sent| sent.refused).filter(after))
                })
                .max(),
            rise: changes(best, |before, after| after > before).map(|(at_s, per_s)| rise(sent, at_s, per_s)).max(),
            p95: p95_s(sent) / base_s,
            bans: record.bans,
            words: record.words.clone(),
            family,
            rate_error: believed.map(|believed| believed / per_s - 1.0),
        }
    }
}

/// The families in words such as `token bucket, 10.0/s, burst 20`, and the least rate that they name: the one that binds.
pub fn belief(words: &str) -> (String, Option<f64>) {
    let families = words.split(") and ").filter_map(|limit| limit.split(',').next());
    // Some only name a rate.
    let families: Vec<&str> =
        families.filter(|family| !family.starts_with(|first: char| first.is_ascii_digit())).collect();
    let rates = words.split([' ', '(', ')', ',']).filter_map(|word| word.strip_suffix("/s")?.parse::<f64>().ok());
    (families.join(" + "), rates.min_by(f64::total_cmp))
}

fn count<'s>(sent: impl Iterator<Item = &'s Sent>) -> u32 {
    sent.count() as u32
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn settling(sent: &[Sent]) -> (u32, bool) {
    let (mut refused, mut spell) = (0, 0);
    for sent in sent {
        if sent.refused {
            refused += 1;
            spell = 0;
        } else {
            spell += 1;
            if spell >= SPELL {
                return (refused, true);
            }
        }
    }
    (refused, false)
}

fn t90(sent: &[Sent], best: &Best) -> Option<f64> {
    let span_s = best.window_s.max(30.0);
    let until_s = best.rates.get(1).map_or(f64::INFINITY, |&(at_s, _)| at_s);
    reached(sent, 0.0, span_s, 0.9 * best.per_s()).filter(|&(at_s, _)| at_s < until_s).map(|(at_s, _)| at_s)
}

fn rise(sent: &[Sent], at_s: f64, per_s: f64) -> u32 {
    match reached(sent, at_s, RISE_SPAN_S, 0.9 * per_s) {
        Some((_, accepted)) => accepted,
        None => u32::MAX,
    }
}

/// When `per_s` was reached over `span_s` within what arrived from `from_s` on, and how many had been accepted since.
fn reached(sent: &[Sent], from_s: f64, span_s: f64, per_s: f64) -> Option<(f64, u32)> {
    let times: Vec<f64> = sent
        .iter()
        .filter(|sent| sent.accepted)
        .map(|sent| sent.arrived_us as f64 / 1e6)
        .filter(|&s| s >= from_s)
        .collect();
    // A request is counted with the gap before it: n requests fill n gaps.
    let needed = (per_s * span_s).ceil().max(1.0) as usize;
    (needed..=times.len()).find_map(|end| {
        let start_s = if end == needed { from_s } else { times[end - needed - 1] };
        (times[end - 1] - start_s <= span_s).then(|| (times[end - 1], end as u32))
    })
}

fn changes(best: &Best, is: fn(f64, f64) -> bool) -> impl Iterator<Item = (f64, f64)> {
    best.rates.windows(2).filter(move |pair| is(pair[0].1, pair[1].1)).map(|pair| pair[1])
}

fn p95_s(sent: &[Sent]) -> f64 {
    let mut took: Vec<i64> = sent.iter().filter(|sent| sent.accepted).map(|sent| sent.took_us).collect();
    if took.is_empty() {
        return 0.0;
    }
    let at = took.len() * 95 / 100;
    *took.select_nth_unstable(at).1 as f64 / 1e6
}
