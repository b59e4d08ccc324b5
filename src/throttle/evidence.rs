//! What one scope has seen: every request of late, when it went and what the limiter made of it.
//!
//! Enters: sends and their fates. Leaves: the shots and closures that a fit replays. Deliberately absent: what they mean.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Shots that are kept: a re-fit replays all of them for each of a thousand candidates and has to stay below 10 ms.
const SHOTS_MAX: usize = 3_072;
/// Accepted neighbours become one shot if it spans no more than this share of its age: no window that still matters tells
/// them apart.
const MERGE_SHARE: f64 = 1.0 / 2_048.0;
/// Requests that one shot stands for at most.
const MERGED_MAX: u32 = 64;
/// When written down, accepted neighbours are one shot if it spans no more than this share of its age, or these ms.
const SAVED_SHARE: f64 = 1.0 / 128.0;
const SAVED_GAP_MS: f64 = 10.0;
/// How late a limiter may be that keeps its word, in ms: many round the wait that they tell down to whole seconds.
const TOLD_LATE_MS: f64 = 1_500.0;
/// Closed spells that are kept.
const CLOSURES_MAX: usize = 16;

/// What became of a request, as far as its limit is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Not known yet.
    Pending,
    /// The limiter let it pass.
    Accepted,
    /// The limiter refused it.
    Refused,
    /// It tells nothing: a broken connection, a stop.
    Lost,
}

/// One request, or a few accepted ones that lie close together.
#[derive(Clone, Copy, Debug)]
pub struct Shot {
    /// Its number, in the order of sending.
    pub number: u64,
    /// When it was sent, the last of them if they are several, in ms since 1970.
    pub at_ms: f64,
    first_ms: f64,
    /// How many requests it stands for.
    pub count: u32,
    /// What became of it.
    pub fate: Fate,
    /// Whether it was sent to find out whether a closed scope is open again.
    pub is_probe: bool,
    /// Whether it was refused in the shadow of another refusal, being in flight with it: the same news again.
    pub is_echo: bool,
}

/// A spell in which the scope was closed by a refusal.
#[expect(clippy::struct_field_names, reason = "the unit comes last")]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closure {
    /// When the request that was refused first was sent.
    pub touched_ms: f64,
    /// When the last request that was refused was sent.
    pub refused_ms: f64,
    /// The longest gap between two requests that were both refused.
    pub gap_ms: f64,
    /// When the request was sent that was accepted again; NaN until then.
    #[serde(with = "or_nan")]
    pub opened_ms: f64,
    /// Until when the server asked to wait; NaN when it said nothing, infinite when it was closed for longer than it said.
    #[serde(with = "or_nan")]
    pub told_ms: f64,
}

/// Evidence as it is written down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedEvidence {
    shots: Vec<SavedShot>,
    closures: Vec<Closure>,
    is_cut: bool,
}

/// When it was sent, in ms since 1970; how many it stands for; what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct SavedShot(f64, u32, SavedFate);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum SavedFate {
    /// Accepted.
    #[serde(rename = "a")]
    Accepted,
    /// Accepted after a wait.
    #[serde(rename = "o")]
    Opened,
    /// Refused.
    #[serde(rename = "r")]
    Refused,
    /// Refused while the scope was known to be closed.
    #[serde(rename = "p")]
    StillClosed,
    /// Refused together with another one.
    #[serde(rename = "e")]
    Echo,
}

/// The shots of one scope in the order of sending.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    shots: VecDeque<Shot>,
    next: u64,
    /// Whether shots were dropped, so that the state of a limiter at the first shot is not known.
    is_cut: bool,
    closures: VecDeque<Closure>,
}

impl Evidence {
    /// A request is sent; its number.
    pub fn send(&mut self, at_ms: f64, is_probe: bool) -> u64 {
        if self.shots.len() >= SHOTS_MAX {
            self.shrink(at_ms);
        }
        let number = self.next;
        self.next += 1;
        self.shots.push_back(Shot {
            number,
            at_ms,
            first_ms: at_ms,
            count: 1,
            fate: Fate::Pending,
            is_probe,
            is_echo: false,
        });
        number
    }

    /// Numbers its shots after those of `other`, whose requests in flight are none of its own.
    pub fn go_on_from(&mut self, other: &Self) {
        for shot in &mut self.shots {
            shot.number += other.next;
        }
        self.next += other.next;
    }

    /// What became of request `number`.
    pub fn settle(&mut self, number: u64, fate: Fate, is_echo: bool) {
        let index = self.shots.partition_point(|shot| shot.number < number);
        if let Some(shot) = self.shots.get_mut(index).filter(|shot| shot.number == number) {
            shot.fate = fate;
            shot.is_echo = is_echo;
        }
    }

    /// Numbers its requests on from those of `other`, whose last ones may not be settled yet.
    pub fn number_on(&mut self, other: &Self) {
        self.next = self.next.max(other.next);
    }

    /// The number of the next request.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// A refusal closes the scope.
    pub fn close(&mut self, touched_ms: f64, told_ms: Option<f64>) {
        if self.closures.len() >= CLOSURES_MAX {
            self.closures.pop_front();
        }
        self.closures.push_back(Closure {
            touched_ms,
            refused_ms: touched_ms,
            gap_ms: 0.0,
            opened_ms: f64::NAN,
            told_ms: told_ms.unwrap_or(f64::NAN),
        });
    }

    /// A request that went to see whether it is open again was refused too.
    pub fn still_closed(&mut self, sent_ms: f64, told_ms: Option<f64>) {
        if let Some(closure) = self.closures.back_mut() {
            closure.gap_ms = closure.gap_ms.max(sent_ms - closure.refused_ms);
            closure.refused_ms = sent_ms;
            // What did not hold once in a spell says nothing of the limit.
            let is_broken = closure.told_ms.is_infinite() || sent_ms > closure.told_ms + TOLD_LATE_MS;
            closure.told_ms = if is_broken { f64::INFINITY } else { told_ms.unwrap_or(closure.told_ms) };
        }
    }

    /// It is open again.
    pub fn open(&mut self, sent_ms: f64) {
        if let Some(closure) = self.closures.back_mut().filter(|closure| closure.opened_ms.is_nan()) {
            closure.opened_ms = sent_ms;
        }
    }

    /// The closed spells, oldest first.
    pub fn closures(&self) -> &VecDeque<Closure> {
        &self.closures
    }

    /// How many there are, at least one.
    #[expect(clippy::cast_precision_loss, reason = "at most sixteen")]
    pub fn spells(&self) -> f64 {
        self.closures.len().max(1) as f64
    }

    /// Drops what was sent before `at_ms`: the limiter is another one since then.
    pub fn forget_before(&mut self, at_ms: f64) {
        let count = self.shots.partition_point(|shot| shot.at_ms < at_ms);
        self.is_cut |= count > 0;
        self.shots.drain(..count);
        self.closures.retain(|closure| closure.touched_ms >= at_ms);
    }

    /// The evidence begins in the middle: what was before is not known.
    pub fn begin_unknown(&mut self) {
        self.is_cut = true;
    }

    /// Drops what lies before the last `count` closed spells and before `at_ms`. True when there was something to drop.
    pub fn keep_closures(&mut self, count: usize, at_ms: f64) -> bool {
        let spare = self.closures.len().saturating_sub(count);
        let oldest = self.closures.iter().take(spare + 1).rev().find(|closure| closure.touched_ms <= at_ms).copied();
        if let Some(oldest) = oldest.filter(|_| spare > 0) {
            self.forget_before(oldest.touched_ms);
            return true;
        }
        false
    }

    /// The shots whose fate is known and tells something.
    pub fn known(&self) -> Vec<Shot> {
        self.shots.iter().filter(|shot| matches!(shot.fate, Fate::Accepted | Fate::Refused)).copied().collect()
    }

    /// All shots as a ledger counts them: what is in flight counts as accepted.
    pub fn counted(&self) -> Vec<Shot> {
        let counted = |shot: &Shot| match shot.fate {
            Fate::Pending => Some(Shot { fate: Fate::Accepted, ..*shot }),
            Fate::Lost => None,
            Fate::Accepted | Fate::Refused => Some(*shot),
        };
        self.shots.iter().filter_map(counted).collect()
    }

    /// When the first shot was sent.
    pub fn first_ms(&self) -> Option<f64> {
        self.shots.front().map(|shot| shot.at_ms)
    }

    /// Shots that were accepted.
    pub fn accepted(&self) -> usize {
        self.shots.iter().filter(|shot| shot.fate == Fate::Accepted).count()
    }

    /// Whether the past before the first shot is missing.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// What outlives the process while the limit is still searched: coarse where it is old. What is in flight may or may not
    /// have been counted, and is written down as accepted.
    pub fn saved(&self) -> SavedEvidence {
        let now_ms = self.shots.back().map_or(0.0, |shot| shot.at_ms);
        let mut shots: Vec<SavedShot> = Vec::new();
        let mut first_ms = f64::NEG_INFINITY;
        for shot in self.counted() {
            let fate = match (shot.fate, shot.is_probe, shot.is_echo) {
                (Fate::Refused, _, true) => SavedFate::Echo,
                (Fate::Refused, true, _) => SavedFate::StillClosed,
                (Fate::Refused, ..) => SavedFate::Refused,
                (_, true, _) => SavedFate::Opened,
                _ => SavedFate::Accepted,
            };
            match shots.last_mut() {
                Some(last)
                    if (last.2, fate) == (SavedFate::Accepted, SavedFate::Accepted)
                        && shot.at_ms - first_ms <= ((now_ms - shot.at_ms) * SAVED_SHARE).max(SAVED_GAP_MS) =>
                {
                    (last.0, last.1) = (shot.at_ms.round(), last.1 + shot.count);
                }
                _ => {
                    first_ms = shot.first_ms;
                    shots.push(SavedShot(shot.at_ms.round(), shot.count, fate));
                }
            }
        }
        SavedEvidence { shots, closures: self.closures.iter().copied().collect(), is_cut: self.is_cut }
    }

    /// Goes on from what was saved.
    pub fn restored(saved: &SavedEvidence) -> Self {
        let mut evidence = Self { is_cut: saved.is_cut, ..Self::default() };
        for &SavedShot(at_ms, count, fate) in &saved.shots {
            evidence.send(at_ms, matches!(fate, SavedFate::Opened | SavedFate::StillClosed));
            if let Some(shot) = evidence.shots.back_mut() {
                shot.count = count;
                shot.is_echo = fate == SavedFate::Echo;
                let is_accepted = matches!(fate, SavedFate::Accepted | SavedFate::Opened);
                shot.fate = if is_accepted { Fate::Accepted } else { Fate::Refused };
            }
        }
        evidence.closures = saved.closures.iter().copied().collect();
        evidence
    }

    /// Makes room: joins neighbours that are old enough, and if that is not enough, forgets a quarter. It forgets up to a
    /// refusal if it can, since a limiter's state is known best just after one.
    fn shrink(&mut self, now_ms: f64) {
        let mut kept: VecDeque<Shot> = VecDeque::with_capacity(SHOTS_MAX);
        let is_plain = |shot: &Shot| shot.fate == Fate::Accepted && !shot.is_probe;
        for shot in self.shots.drain(..) {
            match kept.back_mut() {
                Some(last)
                    if is_plain(last)
                        && is_plain(&shot)
                        && last.count + shot.count <= MERGED_MAX
                        && shot.at_ms - last.first_ms <= (now_ms - shot.at_ms) * MERGE_SHARE =>
                {
                    *last = Shot { count: last.count + shot.count, first_ms: last.first_ms, ..shot };
                }
                _ => kept.push_back(shot),
            }
        }
        if kept.len() > SHOTS_MAX * 3 / 4 {
            let quarter = SHOTS_MAX / 4;
            let refusal = kept.iter().skip(quarter).take(quarter).position(|shot| shot.fate == Fate::Refused);
            kept.drain(..refusal.map_or(quarter, |index| quarter + index));
            self.is_cut = true;
        }
        self.shots = kept;
    }
}

/// JSON has no NaN.
mod or_nan {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    pub fn serialize<S: Serializer>(at_ms: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Some(*at_ms).filter(|at_ms| at_ms.is_finite()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_did_not_hold_says_nothing_for_the_rest_of_its_spell() {
        let mut evidence = Evidence::default();
        let told = |evidence: &Evidence| evidence.closures().back().map(|closure| closure.told_ms);
        evidence.close(0.0, Some(60_000.0));
        // Asked too early, or in the second that was rounded down: it may be true yet.
        evidence.still_closed(30_000.0, None);
        evidence.still_closed(60_900.0, Some(61_000.0));
        assert_eq!(told(&evidence), Some(61_000.0));
        evidence.still_closed(63_000.0, Some(120_000.0));
        evidence.still_closed(90_000.0, Some(150_000.0));
        assert_eq!(told(&evidence), Some(f64::INFINITY));
        evidence.open(300_000.0);
        evidence.close(400_000.0, Some(460_000.0));
        assert_eq!(told(&evidence), Some(460_000.0), "the next spell is another matter");
    }
}
