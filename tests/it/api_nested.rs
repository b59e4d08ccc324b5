//! Lists of GraphQL within the records of a page, by the real program: each record once, whichever way it came.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::api_faults::Api;
use crate::api_faults::graphql::Graphql;
use crate::process::{Folder, SOON_MS};

/// Requests for 25 users by ten, and for what goes on of their posts: of the users 3 to 12 one page, of 13 to 22 two, of the rest three.
const REQUESTS: usize = 3 + 10 + 2 * 10 + 3 * 3;

/// Users, their posts, and the likes of these, where `settings` has a stream for them.
fn folder(api: &Api<Graphql>, settings: &str) -> Folder {
    Folder::new(&format!(
        "[throttle]\nmax_rate = \"none\"\nmax_concurrency = 2\n[retry]\nbase = \"50ms\"\n\n\
         [api.g]\nbase = \"{}\"\npaginate = {{ type = \"graphql\", variable = \"after\" }}\n\
         [api.g.stream.users]\npath = \"/graphql\"\nkey = \"id\"\nrecords = \"data.users.nodes\"\n\
         graphql = \"query($after: String) {{ users(first: 10, after: $after) {{ nodes {{ id name posts(first: 2) {{ .. }} }} }} }}\"\n\
         [api.g.stream.posts]\nparent = \"users\"\npath = \"/graphql\"\nkey = \"id\"\nrecords = \"data.user.posts.nodes\"\n\
         paginate = {{ type = \"graphql\", variable = \"after\", nested = \"posts\" }}\n\
         graphql = \"query($user: Int!, $after: String) {{ user(id: $user) {{ posts(first: 10, after: $after) {{ .. }} }} }}\"\n\
         variables = {{ user = \"{{users.id}}\" }}\n{settings}",
        api.url("")
    ))
}

/// The posts that are stored, each with the user that it says it is of.
#[track_caller]
fn posts(folder: &Folder) -> BTreeSet<(u64, u64)> {
    let rows = folder.query(
        "SELECT json_extract(data, '$.id'), json_extract(data, '$._users_id') FROM records WHERE source = 'g.posts'",
    );
    let posts: BTreeSet<_> = rows.iter().map(|row| (row[0].as_u64().unwrap(), row[1].as_u64().unwrap())).collect();
    assert_eq!(posts.len(), rows.len(), "posts that are stored twice");
    posts
}

fn all_posts(users: u64) -> BTreeSet<(u64, u64)> {
    (1..=users).flat_map(|user| (1..=user).map(move |nth| (user * 1_000 + nth, user))).collect()
}

#[test]
fn lists_within_records_are_brought_whole_by_the_fewest_requests() {
    let api = Api::start(Graphql::new(25));
    let folder = folder(&api, "");
    let ended = folder.run(&["run"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(posts(&folder), all_posts(25));
    assert_eq!(api.log().len(), REQUESTS);
    let users = folder.query("SELECT data FROM records WHERE source = 'g.users' AND json_extract(data, '$.id') = 3");
    assert_eq!(users, [[json!(r#"{"id":3,"name":"Record 3"}"#)]], "the list is not stored twice");
    let rows = folder.query("SELECT count(*) FROM g_posts WHERE _users_id = 7");
    assert_eq!(rows, [[json!(7)]], "what came within records is in the view too");
}

#[test]
fn lists_within_records_survive_kills() {
    const KILLS: usize = 12;
    let api = Api::start(Graphql::new(25));
    let folder = folder(&api, "");
    for kill in 0..KILLS {
        let mut running = folder.start(&["run", "-q"]);
        api.wait_for(api.log().len() + 1 + kill % 3);
        running.kill();
    }
    let ended = folder.start(&["run", "-q"]).wait(SOON_MS);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(posts(&folder), all_posts(25));
    // Two are in flight at a kill, and two may have come but not be stored.
    assert!(api.log().len() <= REQUESTS + 4 * KILLS, "{} requests", api.log().len());
    assert_eq!(folder.query("PRAGMA integrity_check"), [[Value::from("ok")]]);
}

#[test]
fn lists_within_lists_within_records_are_brought_whole() {
    let api = Api::start(Graphql { likes: 12, ..Graphql::new(5) });
    // Their key is not theirs alone: the same may like many posts.
    let likes = "[api.g.stream.likes]\nparent = \"posts\"\npath = \"/graphql\"\nkey = [\"_posts_id\", \"by\"]\n\
                 records = \"data.post.likes.nodes\"\n\
                 paginate = { type = \"graphql\", variable = \"after\", nested = \"likes\" }\n\
                 graphql = \"query($post: Int!, $after: String) { post(id: $post) { likes(first: 10, after: $after) { .. } } }\"\n\
                 variables = { post = \"{posts.id}\" }\n";
    let folder = folder(&api, likes);
    let ended = folder.run(&["run"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(posts(&folder), all_posts(5));
    let rows = folder.query("SELECT _posts_id, count(*), count(DISTINCT by) FROM g_likes GROUP BY 1 ORDER BY 1");
    let expected: Vec<_> = all_posts(5).into_iter().map(|(post, _)| [json!(post), json!(12), json!(12)]).collect();
    assert_eq!(rows, expected);
    // One page of users, one more of posts for three of them, and two of likes for each post.
    assert_eq!(api.log().len(), 1 + 3 + 2 * 15);
}

#[test]
fn a_list_whose_cursor_has_expired_or_that_did_not_come_is_asked_for_from_its_start() {
    let api = Api::start(Graphql { forgotten: vec![4], bare: vec![6], ..Graphql::new(8) });
    let folder = folder(&api, "");
    let ended = folder.run(&["run"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(posts(&folder), all_posts(8));
    assert_eq!(api.log().len(), 1 + 6 + 1, "users, the posts of the users 3 to 8, and once more those of user 4");
}

#[test]
fn a_later_pull_goes_on_from_where_its_own_lists_end() {
    let api = Api::start(Graphql::new(12));
    let folder = folder(&api, "");
    for (pull, at_once) in [2, 4, 2].into_iter().enumerate() {
        api.habit().posts_at_once.store(at_once, Ordering::SeqCst);
        let before = api.log().len();
        let ended = folder.run(if pull == 0 { &["run"] } else { &["run", "--refresh"] });
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(posts(&folder), all_posts(12), "pull {pull}");
        assert_eq!(api.log().len() - before, 2 + 12 - at_once, "pull {pull}");
    }
}
