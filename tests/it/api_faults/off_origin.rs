//! A next page, or a redirect, that leads to another server: which writes down what it was sent.

use serde_json::json;

use super::{Api, Asked, Habit, Reply, page};
use crate::wire;

const A_PAGE: usize = 10;

/// `/items`: a page whose next one is elsewhere. `/moved`: a redirect to elsewhere.
pub struct LeadsAway {
    /// The port of the other server.
    pub to: u16,
}

/// The other server: any page is the last one.
pub struct Stranger;

impl Habit for LeadsAway {
    fn answer(&self, asked: &Asked) -> Reply {
        let next = format!("http://127.0.0.1:{}/items?page=2", self.to);
        if asked.path == "/moved" {
            return Reply::error(302, "elsewhere").header("location", next);
        }
        let link = format!("<{next}>; rel=\"next\"");
        Reply::json(&json!({ "items": page(A_PAGE, 0, A_PAGE), "next": next })).header("link", link)
    }
}

impl Habit for Stranger {
    fn answer(&self, _: &Asked) -> Reply {
        Reply::json(&json!({ "items": page(2 * A_PAGE, A_PAGE, A_PAGE), "next": null }))
    }
}

#[test]
fn the_next_page_is_on_another_server() {
    let stranger = Api::start(Stranger);
    let api = Api::start(LeadsAway { to: stranger.port() });
    let next = stranger.url("/items?page=2");
    assert_eq!(wire::get(api.port(), "/items").json()["next"], next);
    assert_eq!(wire::get(api.port(), "/moved").header("location"), Some(next.as_str()));
    wire::ask(stranger.port(), "GET", "/items?page=2", &[("x-api-key", "secret")], b"");
    assert_eq!(stranger.log()[0].header("x-api-key"), Some("secret"), "it would see what leaks");
}
