//! Facts about the SQLite store: the ones that every store shares, and those about its file.

mod crash;
mod file;
mod holds;
mod model;
mod plans;
mod reading;
mod routes;
mod slices;
mod views;

use std::path::PathBuf;

use sqlx::Row;

use super::{Options, SqliteStore};
use crate::store::conformance::{self, Place};

/// A file in a folder that goes away with this.
pub(super) struct Folder {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Folder {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { path: folder.path().join("crawl.db"), _folder: folder }
    }
}

impl Place for Folder {
    type Store = SqliteStore;

    async fn open(&self) -> SqliteStore {
        let options = Options { cache_mib: 8, reader_cache_mib: 2, ..Options::default() };
        SqliteStore::open(&self.path, &options).await.expect("the store opens")
    }
}

impl SqliteStore {
    /// Runs a script on the writer, behind the back of the store.
    pub(super) async fn meddle(&self, sql: &'static str) {
        self.writer.lock().await.db.script(sqlx::query(sql)).await.expect("the test's own SQL runs");
    }

    /// The first column of a query as numbers.
    pub(super) async fn numbers(&self, sql: &'static str) -> Vec<i64> {
        let rows = self.writer.lock().await.db.rows(sqlx::query(sql)).await.expect("the test's own SQL runs");
        rows.iter().map(|row| row.try_get(0).expect("a number")).collect()
    }

    /// The first column of a query as text.
    pub(super) async fn texts(&self, sql: &'static str) -> Vec<String> {
        let rows = self.writer.lock().await.db.rows(sqlx::query(sql)).await.expect("the test's own SQL runs");
        rows.iter().map(|row| row.try_get(0).expect("text")).collect()
    }
}

macro_rules! shared_facts {
    ($($fact:ident)*) => {
        $(
            #[tokio::test]
            async fn $fact() {
                conformance::$fact(&Folder::new()).await;
            }
        )*
    };
}

shared_facts! {
    a_found_job_comes_back_whole
    a_job_is_found_once_however_often_it_is_named
    one_address_of_two_streams_is_two_jobs
    ready_jobs_come_by_priority_and_then_by_age
    a_refusal_moves_nothing_and_costs_no_attempt
    a_failed_attempt_waits_until_it_is_due
    an_outcome_of_a_settled_job_changes_nothing
    an_item_is_stored_once_however_often_it_comes
    a_stream_that_goes_in_a_circle_ends_and_keeps_its_items
    a_host_is_new_whenever_it_gets_its_first_open_job
    private_addresses_are_open_to_what_the_user_named
    what_was_learned_about_a_host_comes_back
    a_robots_txt_that_is_confirmed_keeps_its_text_and_holds_longer
    what_was_learned_about_narrow_scopes_comes_back
    the_rest_of_a_host_is_read_past_any_number_of_jobs_of_a_narrow_scope
    a_clock_that_went_back_does_not_lengthen_an_embargo
    a_job_that_kills_the_process_ten_times_is_given_up
    a_settled_job_that_is_asked_for_again_is_ready_once_more
    what_was_given_up_is_ready_once_more_and_what_is_done_is_not
    what_is_in_the_inbox_is_taken_with_the_jobs_that_it_becomes
    an_orderly_end_counts_no_crash
    nothing_is_lost_when_the_process_dies
    refill_reads_on_without_gap_or_double_while_others_commit
}
