//! Pages by `Range`, as PostgREST has them: 206 and `Content-Range`, 416 behind the end.

use serde_json::Value;

use super::{Api, Asked, Habit, Reply, page};
use crate::wire;

/// `/items` with `Range: items=0-9`; the answer is the bare list.
pub struct Ranges {
    pub records: usize,
    /// Whether it tells how many there are, or `*`.
    pub tells_total: bool,
    /// The most that it gives at once, whatever the range says.
    pub length_max: usize,
}

impl Habit for Ranges {
    fn answer(&self, asked: &Asked) -> Reply {
        let total = if self.tells_total { self.records.to_string() } else { "*".to_owned() };
        let (first, last) = match asked.header("range") {
            None => (0, usize::MAX - 1),
            Some(range) => {
                let bounds = range.strip_prefix("items=").and_then(|range| range.split_once('-'));
                let Some((Ok(first), last)) = bounds.map(|(first, last)| (first.parse(), last)) else {
                    return Reply::error(400, "Range: items=FIRST-LAST");
                };
                (first, last.parse().unwrap_or(usize::MAX - 1))
            }
        };
        if first >= self.records {
            let range = format!("items */{total}");
            return Reply::error(416, "nothing is there").header("content-range", range);
        }
        let items = page(self.records, first, (last + 1).saturating_sub(first).min(self.length_max));
        let last = first + items.len() - 1;
        let is_part = items.len() < self.records;
        Reply::json(&Value::Array(items))
            .status(if is_part { 206 } else { 200 })
            .header("range-unit", "items")
            .header("content-range", format!("items {first}-{last}/{total}"))
    }
}

#[test]
fn ranges_are_told_with_the_total_or_without() {
    let told = |tells_total, range: &str| {
        let api = Api::start(Ranges { records: 25, tells_total, length_max: 10 });
        let answer = wire::ask(api.port(), "GET", "/items", &[("range", range)], b"");
        (answer.status, answer.header("content-range").unwrap().to_owned())
    };
    assert_eq!(told(true, "items=0-9"), (206, "items 0-9/25".to_owned()));
    assert_eq!(told(false, "items=20-29"), (206, "items 20-24/*".to_owned()));
    assert_eq!(told(true, "items=5-24"), (206, "items 5-14/25".to_owned()), "no more than ten");
    assert_eq!(told(true, "items=25-34"), (416, "items */25".to_owned()));
}
