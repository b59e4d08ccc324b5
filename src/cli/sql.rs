//! `trundle sql`: any question to the database, read only, also while a crawl runs.

use serde_json::{Map, Value};

use crate::store::{Reader, Table};

use super::output::{Align, clean, print_json, print_line, table};
use super::{Context, ExitCode, Outcome, plan};

/// Characters of one cell that a table shows.
const CELL_CHARS_MAX: usize = 100;

/// Options of `trundle sql`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The question, as in "SELECT * FROM progress"; without it, the views are listed
    query: Option<String>,
    /// Show at most so many rows
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    limit: usize,
}

/// The views with what each says: the first sentence of the comment in its definition.
const VIEWS: &str = "
WITH views AS (
    SELECT name, replace(replace(substr(sql, instr(sql, '-- ') + 3), '.' || char(10), '. '), char(10) || '-- ', ' ') AS said
    FROM sqlite_schema WHERE type = 'view'
)
SELECT name AS \"view\", substr(said, 1, instr(said, '. ') - 1) AS \"what it says\" FROM views ORDER BY name";

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let path = plan::store_path(&context.global, plan::load(&context.global, &[]))?;
    let reader = Reader::open(&path).await?;
    let answer = reader.query(args.query.as_deref().unwrap_or(VIEWS), args.limit).await?;
    if context.global.json {
        print_json(&objects(&answer))?;
    } else {
        let columns: Vec<(&str, Align)> = answer
            .columns
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let is_number = !answer.rows.is_empty()
                    && answer.rows.iter().all(|row| row[index].is_number() || row[index].is_null());
                (name.as_str(), if is_number { Align::Right } else { Align::Left })
            })
            .collect();
        let rows: Vec<Vec<String>> = answer.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        if rows.is_empty() {
            eprintln!("no rows");
        }
        for line in table(&columns, &rows).lines() {
            print_line(line)?;
        }
    }
    if answer.more {
        eprintln!("there are more rows; --limit shows them");
    }
    Ok(ExitCode::Ok)
}

fn objects(answer: &Table) -> Vec<Map<String, Value>> {
    let object = |row: &Vec<Value>| answer.columns.iter().cloned().zip(row.iter().cloned()).collect();
    answer.rows.iter().map(object).collect()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => clean(text, CELL_CHARS_MAX),
        other => clean(&other.to_string(), CELL_CHARS_MAX),
    }
}
