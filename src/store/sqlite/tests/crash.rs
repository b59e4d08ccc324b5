//! Facts about a disk that lost the tail of the log, as after a power cut.

use super::Folder;
use crate::job::NewJob;
use crate::store::conformance::{Place, T0, begin, commit, page, seeded, settlements};
use crate::store::sqlite::{Options, SqliteStore};

use super::file::answered;
use crate::store::{Reader, Store};

/// The file and its log as they were after a commit.
struct Image {
    db: Vec<u8>,
    wal: Vec<u8>,
    done: i64,
}

fn image(folder: &Folder, done: i64) -> Image {
    let wal = folder.path.with_file_name("crawl.db-wal");
    Image {
        db: std::fs::read(&folder.path).expect("there is a file"),
        wal: std::fs::read(wal).expect("there is a log"),
        done,
    }
}

/// Whatever of the unsynced tail reached the disk, the file opens whole, with all that was acknowledged.
#[tokio::test]
async fn a_torn_log_loses_nothing_that_was_acknowledged() {
    let folder = Folder::new();
    let seeds: Vec<NewJob> = (0..40).map(|i| page(&format!("https://example.org/{i}"))).collect();
    let (store, jobs) = seeded(&folder, &seeds).await;
    let mut images = vec![image(&folder, 0)];
    for (i, jobs) in jobs.chunks(5).enumerate() {
        commit(&store, &settlements(jobs.iter().map(|job| answered(job.id, 3)).collect())).await;
        images.push(image(&folder, 5 * (i64::try_from(i).expect("small") + 1)));
    }
    drop(store);

    let mut rng = fastrand::Rng::with_seed(7);
    let mut cuts = 0;
    for pair in images.windows(2) {
        let (acked, next) = (&pair[0], &pair[1]);
        for _ in 0..6 {
            // The next commit was being written: a part of it is there, and of its last sector only some bytes.
            let mut wal = next.wal.clone();
            let at = rng.usize(acked.wal.len()..=wal.len());
            if rng.bool() {
                wal.truncate(at);
            } else {
                let torn = at - at % 512;
                wal[torn.max(acked.wal.len())..].fill(0);
            }
            let copy = Folder::new();
            std::fs::write(&copy.path, &acked.db).expect("writes");
            std::fs::write(copy.path.with_file_name("crawl.db-wal"), &wal).expect("writes");
            let store = SqliteStore::open(&copy.path, &Options::default()).await.expect("it opens");
            begin(&store).await;
            assert_eq!(store.texts("PRAGMA integrity_check").await, ["ok"]);
            let done = store.numbers("SELECT count(*) FROM jobs WHERE state = 2").await[0];
            assert!(done == acked.done || done == next.done, "{done} is between two commits");
            assert_eq!(store.numbers("SELECT count(*) FROM items").await, [done]);
            assert_eq!(store.numbers("SELECT n_done FROM totals").await, [done]);
            assert_eq!(store.numbers("SELECT count(*) FROM jobs").await, [40 + 3 * done]);
            cuts += 1;
        }
    }
    assert_eq!(cuts, 48);
}

#[tokio::test]
async fn a_crawl_that_died_among_the_steps_of_its_schema_is_finished_by_the_next_start() {
    let folder = Folder::new();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&folder.path).create_if_missing(true);
    let mut conn = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.expect("connects");
    sqlx::query("PRAGMA application_id = 1953656420").execute(&mut conn).await.expect("marks");
    sqlx::Connection::close(conn).await.expect("closes");
    begin(&folder.open().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_just_dropped_opens_again_and_can_be_read_meanwhile() {
    let folder = Folder::new();
    begin(&folder.open().await).await;
    for i in 0..60 {
        let store = folder.open().await;
        begin(&store).await;
        store.add(vec![page(&format!("https://example.org/{i}"))], T0).await.expect("a seed is added");
        let path = folder.path.clone();
        let reading = tokio::spawn(async move {
            let reader = Reader::open(&path).await.expect("it can be read at any time");
            reader.progress().await.expect("it can be read at any time").n_ready
        });
        drop(store);
        assert!(reading.await.expect("no panic") > i);
    }
}
