//! Whole crawls of simulated webs: hours of virtual time in seconds, with a check at every step.

use std::path::{Path, PathBuf};

use crate::sim::{Band, Crawl, Death, HostSpec, Scenario};

/// All scenarios, or only those whose names hold what the environment variable SCENARIO says.
fn files() -> Vec<PathBuf> {
    let wanted = std::env::var("SCENARIO").unwrap_or_default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.retain(|path| path.file_stem().unwrap().to_string_lossy().contains(&wanted));
    files.sort();
    files
}

fn named(name: &str) -> Scenario {
    Scenario::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/scenarios/{name}.toml")))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn every_scenario_ends_as_its_file_says() {
    let files = files();
    assert!(!files.is_empty(), "no scenario was found");
    // A thread a scenario; its panic names the file.
    let failed: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = files.iter().map(|path| (path, scope.spawn(|| run(path)))).collect();
        threads
            .into_iter()
            .filter_map(|(path, thread)| {
                let panic = thread.join().err()?;
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
                Some(format!("{}: {}", path.file_stem().unwrap().to_string_lossy(), text.unwrap_or_default()))
            })
            .collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn run(path: &Path) {
    let scenario = Scenario::read(path);
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    for seed in 1..=scenario.seeds {
        let mut crawl = Crawl::new(&scenario, seed);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            block_on(async {
                crawl.run(Death::Kill).await;
                for host in &scenario.host {
                    check(&crawl, &scenario, host).await;
                }
            });
        }));
        println!("{name}, seed {seed}: {} steps, {} deaths, {}", crawl.steps, crawl.deaths, figures(&crawl, &scenario));
        if let Err(panic) = outcome {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default();
            panic!("seed {seed}: {text}\n({})", scenario.reason.trim());
        }
    }
}

fn figures(crawl: &Crawl, scenario: &Scenario) -> String {
    let figures = scenario.host.iter().take(4).map(|host| {
        let (requests, refused) = crawl.counts(&host.origin());
        let routes = host.part.iter().map(|part| part.path.as_str()).chain((!host.part.is_empty()).then_some("/p"));
        let parts: String =
            routes.map(|route| format!(", {route} {:.1} s", crawl.part_finished_s(&host.origin(), route))).collect();
        let finished_s = crawl.finished_s(&host.origin());
        format!("{} {finished_s:.1} s{parts} {requests} requests {refused} refused", host.name)
    });
    figures.collect::<Vec<_>>().join("; ")
}

async fn check(crawl: &Crawl, scenario: &Scenario, host: &HostSpec) {
    let origin = host.origin();
    let expect = &host.expect;
    // A crawl of pages that are fetched again is stopped at some instant, at which some are due.
    let is_due = if scenario.crawl.days > 0 { "state < 2" } else { "false" };
    let rows = crawl
        .query(&format!(
            "SELECT sum(state = 2 OR {is_due}), sum(state = 3), sum(state = 4), sum(state = 5) FROM jobs JOIN hosts USING (host_id) \
             WHERE origin = '{origin}' AND kind = 0"
        ))
        .await;
    let counts: Vec<u64> = rows[0].iter().map(|value| value.as_u64().unwrap_or(0)).collect();
    let skipped = expect.skipped.unwrap_or(counts[3]);
    assert_eq!(counts, [expect.done, expect.gone, expect.dead, skipped], "{origin}: pages done, gone, dead, skipped");
    if let Some(reason) = &expect.reason {
        let rows = crawl
            .query(&format!(
                "SELECT url, reason FROM all_jobs WHERE state_code IN (4, 5) AND kind = 'page' AND url LIKE '{origin}/%' \
                 AND instr(reason, '{reason}') = 0"
            ))
            .await;
        assert!(rows.is_empty(), "{origin}: the reason is not {reason:?}: {rows:?}");
    }
    let records = crawl.query(&format!("SELECT count(*) FROM records WHERE source = '{}'", host.name)).await;
    assert_eq!(records[0][0], expect.records, "{origin}: records");
    if scenario.crawl.pages_max == 0 {
        let items =
            crawl.query(&format!("SELECT count(*) FROM records WHERE source = 'web' AND url LIKE '{origin}/%'")).await;
        let redirects = u64::from(host.redirect_loop);
        assert_eq!(items[0][0], expect.done - redirects, "{origin}: an item for each page");
    }
    for part in &host.part {
        within(&origin, &part.path, crawl.part_finished_s(&origin, &part.path), part.finish_s);
    }
    if let Some(scopes) = &expect.scopes {
        let rows = crawl
            .query(&format!(
                "SELECT name FROM limit_scopes JOIN hosts USING (host_id) WHERE origin = '{origin}' ORDER BY 1"
            ))
            .await;
        assert_eq!(rows.iter().map(|row| row[0].as_str().unwrap()).collect::<Vec<_>>(), *scopes, "{origin}: scopes");
    }
    let (requests, refused) = crawl.counts(&origin);
    within(&origin, "finish_s", crawl.finished_s(&origin), expect.finish_s);
    within(&origin, "refused", to_f64(refused), expect.refused);
    within(&origin, "requests", to_f64(requests), expect.requests);
    within(&origin, "304", to_f64(crawl.not_modified(&origin)), expect.not_modified);
    if !host.change.is_empty() {
        for (path, seconds) in crawl.looks_s(&origin).await {
            let page: usize = path.trim_start_matches("/p/").parse().unwrap_or(0);
            let change = &host.change[page % host.change.len()];
            let what = format!("time between two looks at {path}, which changes every {} s,", change.every_s);
            println!("{what} {seconds:.0} s");
            within(&origin, &what, seconds, Some(change.looks_s));
        }
    }
}

fn within(origin: &str, what: &str, value: f64, band: Option<Band>) {
    if let Some((least, most)) = band {
        assert!((least..=most).contains(&value), "{origin}: {what} is {value}, not within {least} and {most}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a test are small")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

#[test]
fn a_disk_that_lies_about_what_was_not_synced_loses_nothing_that_was() {
    let mut scenario = named("crash_and_restart");
    scenario.deaths = 0;
    let expected = block_on(async {
        let mut crawl = Crawl::new(&scenario, 1);
        crawl.run(Death::PowerCut).await;
        crawl.result().await
    });
    scenario.deaths = 12;
    for seed in 1..=6 {
        block_on(async {
            let mut crawl = Crawl::new(&scenario, seed);
            crawl.run(Death::PowerCut).await;
            println!("seed {seed}: {} power cuts, {} steps", crawl.deaths, crawl.steps);
            let result = crawl.result().await;
            let odd: Vec<_> = result.iter().filter(|row| !expected.contains(row)).take(5).collect();
            assert!(result == expected, "seed {seed}: another result than without power cuts, as in {odd:?}");
        });
    }
}
