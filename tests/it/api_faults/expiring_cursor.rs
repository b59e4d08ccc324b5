//! Cursors that die: after so many requests of a walk, or when the test says so, which stands for their time.

use std::sync::Mutex;

use serde_json::json;

use super::{Api, Asked, Habit, Reply, lock, page};
use crate::wire;

const A_PAGE: usize = 10;

/// `/items?cursor=...`: a request without a cursor starts a walk, whose cursors are of no use to the next one.
pub struct ExpiringCursor {
    pub records: usize,
    /// Requests that the first walk lives, the second, and so on; the last number is that of all later ones.
    pub lives: Vec<usize>,
    /// What a dead cursor is answered with.
    pub status: u16,
    pub word: &'static str,
    walks: Mutex<Vec<usize>>,
}

impl ExpiringCursor {
    pub fn new(records: usize, lives: &[usize], status: u16, word: &'static str) -> Self {
        Self { records, lives: lives.to_vec(), status, word, walks: Mutex::default() }
    }

    /// All walks of now are over, as when their time has run out.
    pub fn expire_now(&self) {
        lock(&self.walks).fill(0);
    }

    /// Walks so far.
    pub fn walks(&self) -> usize {
        lock(&self.walks).len()
    }
}

impl Habit for ExpiringCursor {
    fn answer(&self, asked: &Asked) -> Reply {
        let mut walks = lock(&self.walks);
        let (walk, start) = match asked.query("cursor") {
            None => {
                let life = self.lives.get(walks.len()).or(self.lives.last());
                walks.push(*life.unwrap());
                (walks.len() - 1, 0)
            }
            Some(cursor) => {
                let place = |text: &str| text.parse::<usize>().ok();
                match cursor.split_once('-').and_then(|(walk, start)| Some((place(walk)?, place(start)?))) {
                    Some(place) => place,
                    None => return Reply::error(400, "this is no cursor"),
                }
            }
        };
        match walks.get_mut(walk) {
            Some(left) if *left > 0 => *left -= 1,
            _ => return Reply::error(self.status, self.word),
        }
        let next = start + A_PAGE;
        let next = (next < self.records).then(|| format!("{walk}-{next}"));
        Reply::json(&json!({ "items": page(self.records, start, A_PAGE), "next": next }))
    }
}

#[test]
fn a_walk_dies_after_its_requests_and_a_new_one_lives() {
    let api = Api::start(ExpiringCursor::new(30, &[2, 9], 410, "cursor expired"));
    let status = |target: &str| wire::get(api.port(), target).status;
    assert_eq!([status("/items"), status("/items?cursor=0-10"), status("/items?cursor=0-20")], [200, 200, 410]);
    let last = [status("/items"), status("/items?cursor=1-10"), status("/items?cursor=1-20")];
    assert_eq!((last, api.habit().walks()), ([200; 3], 2));
}

#[test]
fn a_cursor_dies_when_its_time_is_over() {
    let api = Api::start(ExpiringCursor::new(30, &[99], 400, "cursor expired"));
    let cursor = wire::get(api.port(), "/items").json()["next"].as_str().unwrap().to_owned();
    api.habit().expire_now();
    let dead = wire::get(api.port(), &format!("/items?cursor={cursor}"));
    assert_eq!((dead.status, dead.json()["error"].as_str()), (400, Some("cursor expired")));
    assert_eq!(wire::get(api.port(), "/items").status, 200);
}
