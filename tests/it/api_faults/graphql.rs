//! GraphQL: connections with `pageInfo`, one inside the other, and errors in answers with status 200.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::{Api, Asked, Habit, Reply, record};
use crate::wire;

const A_PAGE: usize = 10;

/// `POST /graphql`. It does not read the query, only the variables: `after` for the users, `user` and `after` for the posts of one,
/// `post` and `after` for the likes of one. User N has N posts, the first of which come with the user.
pub struct Graphql {
    pub users: usize,
    /// The posts that come with their user.
    pub posts_at_once: AtomicUsize,
    /// The likes of each post, the first of which comes with it; with 0, posts have no such list.
    pub likes: usize,
    /// Users the cursor of whose first posts is not known any more when it is sent.
    pub forgotten: Vec<usize>,
    /// Users whose posts do not come with them.
    pub bare: Vec<usize>,
    /// Requests, by number, that are answered with `RATE_LIMITED` and no data.
    pub rate_limited: Vec<usize>,
    /// Requests, by number, that are answered with all data and an error beside it.
    pub partial: Vec<usize>,
}

impl Graphql {
    pub fn new(users: usize) -> Self {
        Self {
            users,
            posts_at_once: AtomicUsize::new(2),
            likes: 0,
            forgotten: vec![],
            bare: vec![],
            rate_limited: vec![],
            partial: vec![],
        }
    }

    fn posts(&self, user: usize, after: usize, first: usize) -> Value {
        connection(user, after, first, |nth| {
            let id = user * 1_000 + nth;
            let mut post = json!({ "id": id });
            if self.likes > 0 {
                post["likes"] = self.likes(id, 0, 1);
            }
            post
        })
    }

    fn likes(&self, post: usize, after: usize, first: usize) -> Value {
        // Without a number of their own: many posts are liked by the same.
        connection(self.likes, after, first, |nth| json!({ "by": (post + nth) % 7 + nth * 10 }))
    }
}

impl Habit for Graphql {
    fn answer(&self, asked: &Asked) -> Reply {
        let body = asked.json();
        if asked.method != "POST" || !body["query"].is_string() {
            return Reply::error(400, "POST { \"query\": ..., \"variables\": ... }");
        }
        if self.rate_limited.contains(&asked.number) {
            let error = json!({ "type": "RATE_LIMITED", "message": "API rate limit exceeded" });
            return Reply::json(&json!({ "data": null, "errors": [error] })).header("retry-after", 1);
        }
        let variables = &body["variables"];
        let after = variables["after"].as_str().and_then(|cursor| cursor.strip_prefix("c")?.parse().ok()).unwrap_or(0);
        let data = if let Some(user) = variables["user"].as_u64() {
            let user = usize::try_from(user).unwrap();
            if self.forgotten.contains(&user) && after == self.posts_at_once.load(Ordering::SeqCst) {
                return Reply::error(400, "this cursor has expired");
            }
            json!({ "user": { "id": user, "posts": self.posts(user, after, A_PAGE) } })
        } else if let Some(post) = variables["post"].as_u64() {
            json!({ "post": { "id": post, "likes": self.likes(usize::try_from(post).unwrap(), after, A_PAGE) } })
        } else {
            let with_posts = |id: usize| {
                let mut user = record(id);
                if !self.bare.contains(&id) {
                    user["posts"] = self.posts(id, 0, self.posts_at_once.load(Ordering::SeqCst));
                }
                user
            };
            json!({ "users": connection(self.users, after, A_PAGE, with_posts) })
        };
        let mut answer = json!({ "data": data });
        if self.partial.contains(&asked.number) {
            answer["errors"] =
                json!([{ "type": "SERVICE_UNAVAILABLE", "message": "a part is missing", "path": ["users"] }]);
        }
        Reply::json(&answer)
    }
}

fn connection(count: usize, after: usize, first: usize, node: impl Fn(usize) -> Value) -> Value {
    let end = count.min(after + first);
    let nodes: Vec<Value> = (after + 1..=end).map(node).collect();
    let end_cursor = (!nodes.is_empty()).then(|| format!("c{end}"));
    json!({ "nodes": nodes, "pageInfo": { "hasNextPage": end < count, "endCursor": end_cursor } })
}

#[cfg(test)]
fn ask(api: &Api<Graphql>, variables: &Value) -> Value {
    let body = json!({ "query": "query { users { nodes { id } } }", "variables": variables }).to_string();
    wire::ask(api.port(), "POST", "/graphql", &[], body.as_bytes()).json()
}

#[test]
fn connections_end_where_page_info_says() {
    let api = Api::start(Graphql { likes: 3, ..Graphql::new(15) });
    let first = &ask(&api, &json!({}))["data"]["users"];
    assert_eq!(first["pageInfo"], json!({ "hasNextPage": true, "endCursor": "c10" }));
    assert_eq!(first["nodes"][2]["posts"]["pageInfo"]["hasNextPage"], true, "three posts, of which two are here");
    let last = &ask(&api, &json!({ "after": "c10" }))["data"]["users"];
    assert_eq!((last["nodes"].as_array().unwrap().len(), &last["pageInfo"]["hasNextPage"]), (5, &json!(false)));
    let posts = &ask(&api, &json!({ "user": 15, "after": "c2" }))["data"]["user"]["posts"];
    assert_eq!((&posts["nodes"][0]["id"], &posts["pageInfo"]["endCursor"]), (&json!(15_003), &json!("c12")));
    assert_eq!(posts["nodes"][0]["likes"]["pageInfo"], json!({ "hasNextPage": true, "endCursor": "c1" }));
    let likes = &ask(&api, &json!({ "post": 15_003, "after": "c1" }))["data"]["post"]["likes"];
    assert_eq!((likes["nodes"].as_array().unwrap().len(), &likes["pageInfo"]["hasNextPage"]), (2, &json!(false)));
}

#[test]
fn errors_come_with_status_200() {
    let api = Api::start(Graphql { rate_limited: vec![1], partial: vec![2], ..Graphql::new(15) });
    let limited = ask(&api, &json!({}));
    assert_eq!((&limited["data"], &limited["errors"][0]["type"]), (&Value::Null, &json!("RATE_LIMITED")));
    let partial = ask(&api, &json!({}));
    assert!(partial["data"]["users"]["nodes"].is_array() && partial["errors"].is_array());
    assert!(ask(&api, &json!({})).get("errors").is_none());
}
