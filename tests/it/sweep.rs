//! Records that are deleted at their server, with the real program: gone once a pull of everything did not bring them, and not before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::api_server::{Answer, Server};
use crate::process::Folder;

/// Shops with goods, of which the second pull finds fewer; every answer has an ETag. `state` counts what the server has become.
fn server(state: &Arc<AtomicU32>) -> Server {
    let state = Arc::clone(state);
    Server::start(move |ask| {
        let state = state.load(Ordering::SeqCst);
        let list = match (ask.path.as_str(), state) {
            ("/shops", 0) => json!([{"id": 1}, {"id": 2}]),
            ("/shops", _) => json!([{"id": 1}]),
            ("/shops/1/goods", 0) => json!([{"id": "a"}, {"id": "b"}]),
            ("/shops/1/goods", 1) => return Answer::status(400, "out of order"),
            ("/shops/1/goods", _) => json!([{"id": "b"}]),
            ("/shops/2/goods", _) => json!([{"id": "c"}]),
            _ => return Answer::status(404, ""),
        };
        Answer::json(&list).with("etag", &format!("\"{state}\""))
    })
}

fn goods(folder: &Folder) -> Vec<Value> {
    let rows = folder.query("SELECT id FROM x_goods ORDER BY 1");
    rows.into_iter().map(|mut row| row.remove(0)).collect()
}

#[test]
fn what_is_deleted_at_the_server_is_gone_after_a_pull_that_lacks_nothing() {
    let state = Arc::new(AtomicU32::new(0));
    let server = server(&state);
    let folder = Folder::new(&format!(
        "[throttle]\nmax_rate = \"none\"\n[api.x]\nbase = \"{}\"\nkey = \"id\"\n[api.x.stream.shops]\npath = \"/shops\"\n\
         [api.x.stream.goods]\nparent = \"shops\"\npath = \"/shops/{{shops.id}}/goods\"\nsweep = true\n",
        server.root
    ));
    let run = |code| assert_eq!(folder.run(&["run", "-q", "--once", "--refresh"]).code, Some(code));
    run(0);
    assert_eq!(goods(&folder), ["a", "b", "c"]);
    run(0);
    assert_eq!(goods(&folder), ["a", "b", "c"], "nothing has changed");
    state.store(1, Ordering::SeqCst);
    run(4);
    assert_eq!(goods(&folder), ["a", "b", "c"], "a pull that failed in part knows of nothing that it is gone");
    state.store(2, Ordering::SeqCst);
    run(0);
    assert_eq!(goods(&folder), ["b"]);
    let gone = "SELECT data ->> '$.id' FROM records WHERE source = 'x.goods' AND gone_at IS NOT NULL ORDER BY 1";
    assert_eq!(folder.query(gone), [[json!("a")], [json!("c")]], "what was stored of them is kept");
    state.store(0, Ordering::SeqCst);
    run(0);
    assert_eq!(goods(&folder), ["a", "b", "c"], "they are there again");
}
