//! An API: every row of a table arrives exactly once and unchanged, however its pages are found, with one request a page.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, QueryBuilder, SqliteConnection};

use crate::crawl::Crawl;
use crate::datasette::Datasette;
use crate::{alone, show};

/// Not a multiple of the page size: the last page is a short one.
const ROWS: i64 = 50_123;
const ROWS_A_PAGE: usize = 1_000;
/// The chance by which the rows are made; they are the same in every run.
const SEED: u64 = 50_123;

#[test]
fn a_table_arrives_whole_by_link_headers() {
    // `_shape=array`: the answer is the bare list, and the Link header alone tells where the next page is.
    check("_shape=array", r#"paginate = { type = "link" }"#);
}

#[test]
fn a_table_arrives_whole_by_tokens_in_the_answers() {
    // Sorted by the title, so that the tokens hold what titles hold: quotes, plus signs, per cent signs, emoji.
    check(
        "_shape=objects&_sort=title",
        "records = \"rows\"\npaginate = { type = \"cursor\", path = \"next\", send = \"query:_next\" }",
    );
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    title: Option<String>,
    amount: Option<f64>,
    count: Option<i64>,
}

#[track_caller]
fn check(query: &str, paging: &str) {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("shop.db");
    let rows = make_rows(&mut fastrand::Rng::with_seed(SEED));
    write_rows(&file, &rows);
    let mut datasette = Datasette::start(&file, ROWS_A_PAGE);

    let crawl = Crawl::new(&format!(
        "[throttle]\nmax_rate = \"none\"\n\n[api.rows]\nurl = \"{}?{query}&_size={ROWS_A_PAGE}\"\nkey = \"id\"\n{paging}\n",
        datasette.table("items")
    ));
    let run = crawl.run();
    assert_eq!(run.code, 0, "trundle run:\n{}", run.stderr);

    let stored = stored_rows(&crawl);
    let different: Vec<_> = rows.iter().filter(|&(id, row)| stored.get(id) != Some(row)).take(10).collect();
    assert!(
        different.is_empty(),
        "rows that are missing or changed, the first ten: {:#?}",
        different.iter().map(|&(id, row)| (id, row, stored.get(id))).collect::<Vec<_>>()
    );
    assert_eq!(stored.len(), rows.len(), "no other rows are stored");

    let requests = datasette.stop();
    let pages = rows.len().div_ceil(ROWS_A_PAGE);
    assert_eq!(requests.len(), pages, "one request a page: {requests:#?}");
    assert!(requests.iter().all(|(_, status)| *status == 200), "all are answered with 200: {requests:#?}");

    let (rows, requests) = (stored.len(), requests.len());
    show(&format!("{query}: {rows} rows, {pages} pages, {requests} requests, {:.1} s", run.seconds));
}

/// What is stored, by the number of the row. Two records of one number are an error.
fn stored_rows(crawl: &Crawl) -> BTreeMap<i64, Row> {
    #[derive(Deserialize)]
    struct Record {
        data: String,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Data<'a> {
        id: i64,
        title: Option<String>,
        #[serde(borrow)]
        amount: Option<&'a RawValue>,
        count: Option<i64>,
    }
    let mut rows = BTreeMap::new();
    for Record { data } in crawl.sql::<Record>("SELECT data FROM records") {
        let Data { id, title, amount, count } =
            serde_json::from_str(&data).unwrap_or_else(|error| panic!("the record {data}: {error}"));
        // Not by serde_json, whose own reading of numbers is part of what is tested.
        let amount = amount.map(|raw| raw.get().parse::<f64>().expect("JSON has numbers that Rust can read"));
        let before = rows.insert(id, Row { title, amount, count });
        assert_eq!(before, None, "row {id} is stored twice");
    }
    rows
}

/// All rows by their number, which is not their place: what one can know of a real table.
fn make_rows(dice: &mut fastrand::Rng) -> BTreeMap<i64, Row> {
    (0..ROWS)
        .map(|place| {
            let row = Row {
                title: (dice.u8(..) > 25).then(|| title(dice)),
                amount: (dice.u8(..) > 25).then(|| amount(dice)),
                count: (dice.u8(..) > 25).then(|| if dice.bool() { dice.i64(..) } else { dice.i64(-9..100) }),
            };
            (place * 3 - 1_000, row)
        })
        .collect()
}

/// Texts that something on the way may trip over; short ones, so that many are equal.
fn title(dice: &mut fastrand::Rng) -> String {
    const PARTS: [&str; 18] = [
        "naïve",
        "日本",
        "😀",
        "a,b",
        "~x",
        "%41",
        "\"q\"",
        "\\",
        "\t",
        "\u{1}",
        " ",
        "&=#+",
        "e\u{301}",
        "$null",
        "None",
        "/",
        "<a href=x>",
        "\u{2028}",
    ];
    (0..dice.usize(..4)).map(|_| PARTS[dice.usize(..PARTS.len())]).collect()
}

/// Money, fractions, and any number that a double can be, from the smallest to the largest.
fn amount(dice: &mut fastrand::Rng) -> f64 {
    match dice.u8(..3) {
        0 => f64::from(dice.i32(-1_000_000..1_000_000)) / 100.0,
        1 => dice.f64(),
        _ => loop {
            let any = f64::from_bits(dice.u64(..));
            // SQLite stores a zero without its sign.
            if any.is_finite() && any != 0.0 {
                break any;
            }
        },
    }
}

fn write_rows(file: &Path, rows: &BTreeMap<i64, Row>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let written: Result<(), sqlx::Error> = runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let table = "CREATE TABLE items (id INTEGER PRIMARY KEY, title TEXT, amount REAL, count INTEGER) STRICT";
        sqlx::query(table).execute(&mut connection).await?;
        sqlx::query("CREATE INDEX items_title ON items (title)").execute(&mut connection).await?;
        let mut transaction = connection.begin().await?;
        let rows: Vec<_> = rows.iter().collect();
        for chunk in rows.chunks(1_000) {
            let mut insert = QueryBuilder::new("INSERT INTO items (id, title, amount, count) ");
            insert.push_values(chunk, |mut values, (id, row)| {
                values.push_bind(**id).push_bind(&row.title).push_bind(row.amount).push_bind(row.count);
            });
            insert.build().execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        connection.close().await
    });
    written.expect("the rows can be written");
}
