//! Request bodies in gzip: taken, or refused with 415 until they come plain.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::{Api, Asked, Habit, Reply, ids, page};
use crate::wire;

const A_PAGE: usize = 10;

/// `POST /search` with `{ "after": 0 }`: the records after that number, and `after` for the next page.
pub struct GzipBodies {
    pub records: usize,
    /// Whether it reads gzip.
    pub reads_gzip: bool,
}

impl Habit for GzipBodies {
    fn answer(&self, asked: &Asked) -> Reply {
        let mut body = asked.body.clone();
        match asked.header("content-encoding") {
            None | Some("identity") => {}
            Some("gzip") if self.reads_gzip => {
                let mut plain = Vec::new();
                if GzDecoder::new(&asked.body[..]).read_to_end(&mut plain).is_err() {
                    return Reply::error(400, "this is no gzip");
                }
                body = plain;
            }
            // RFC 9110 section 15.5.16: with what would be read.
            Some(_) => {
                let read = if self.reads_gzip { "gzip" } else { "identity" };
                return Reply::error(415, "not in this coding").header("accept-encoding", read);
            }
        }
        let Ok(body) = serde_json::from_slice::<Value>(&body) else { return Reply::error(400, "this is no JSON") };
        let start = body["after"].as_u64().and_then(|after| usize::try_from(after).ok()).unwrap_or(0);
        let items = page(self.records, start, A_PAGE);
        let end = start + items.len();
        Reply::json(&json!({ "items": items, "after": (end < self.records).then_some(end) }))
    }
}

#[test]
fn gzip_is_read_or_refused() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, br#"{"after":10}"#).unwrap();
    let gzip = gzip.finish().unwrap();
    let ask = |reads_gzip, coding: &str, body: &[u8]| {
        let api = Api::start(GzipBodies { records: 15, reads_gzip });
        wire::ask(api.port(), "POST", "/search", &[("content-encoding", coding)], body)
    };
    assert_eq!(ids(&ask(true, "gzip", &gzip).json(), "/items"), (11..=15).collect());
    let refused = ask(false, "gzip", &gzip);
    assert_eq!((refused.status, refused.header("accept-encoding")), (415, Some("identity")));
    assert_eq!(ask(false, "identity", br#"{"after":10}"#).status, 200);
    assert_eq!(ask(true, "zstd", &gzip).status, 415);
}
