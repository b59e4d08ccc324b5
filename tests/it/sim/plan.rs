//! From a scenario to the plan of a run.

use std::collections::HashMap;

use trundle::engine::{Bounds, Plan, PullWishes, Save, SitePlan, SiteScope, Source, StreamPlan, TokenPool};
use trundle::exchange::AuthId;
use trundle::interpret::{ItemRules, ItemSpec, JsonAt, PageRules, StreamRules};
use trundle::job::{JobKind, NewJob, Origin, SourceId};
use trundle::policy::cache::{CacheSettings, Every, RecrawlSettings};
use trundle::policy::{RetrySettings, ScopeKind, ScopeRules, UrlRules};
use trundle::store::{SourceKind, SourceName, SourceRow};
use trundle::throttle::{self, ProfileChoice};
use url::Url;

use super::scenario::{CrawlSpec, Scenario};

/// The sections: one site for all hosts, and a stream for each host with records.
pub fn sections(scenario: &Scenario) -> Vec<SourceName> {
    let streams = scenario.host.iter().filter(|host| host.records > 0);
    std::iter::once(SourceName { kind: SourceKind::Site, name: "web".to_owned() })
        .chain(streams.map(|host| SourceName { kind: SourceKind::Api, name: host.name.clone() }))
        .collect()
}

pub fn plan(scenario: &Scenario, rows: &[SourceRow]) -> Plan {
    let crawl = &scenario.crawl;
    let mut sources = HashMap::new();
    let site = rows[0].id;
    sources.insert(site, Source::Site(Box::new(site_plan(scenario))));
    for row in &rows[1..] {
        let host = scenario.host.iter().find(|host| host.name == row.source.name).unwrap();
        let first = Url::parse(&format!("{}/api/records", host.origin())).unwrap();
        let origin = Origin::of(&first).unwrap();
        let rules = StreamRules { key: vec![JsonAt::parse("id").unwrap()], ..StreamRules::default() };
        let mut stream = StreamPlan::of_endpoint(&row.source.name, first, origin.clone(), rules);
        if host.tokens > 1 {
            stream.auth = Some(AuthId(0));
            stream.tokens = Some(TokenPool {
                section: host.pool_name(),
                marks: (1..=host.tokens).collect(),
                origins: vec![origin],
            });
        }
        sources.insert(row.id, Source::Stream(Box::new(stream)));
    }
    let settings = throttle_settings(crawl);
    Plan {
        sources,
        sites: vec![site],
        retry: RetrySettings { attempts_max: crawl.attempts_max, ..RetrySettings::default() },
        redirects_max: 10,
        agent: "trundle".to_owned(),
        throttle_for: Box::new(move |_| settings),
        profile_for: Box::new(|_| ProfileChoice::Auto),
        bounds: Bounds {
            in_flight_max: crawl.in_flight_max,
            uncommitted_max: crawl.uncommitted_max,
            ..Bounds::default()
        },
        wishes: PullWishes::default(),
        cache: CacheSettings::default(),
        sent_fields: Vec::new(),
    }
}

fn site_plan(scenario: &Scenario) -> SitePlan {
    let seeds: Vec<Url> = scenario.host.iter().map(|host| Url::parse(&host.origin()).unwrap()).collect();
    let items = ItemRules::compile(&[("title".to_owned(), ItemSpec::parse("h1"))]).unwrap();
    SitePlan {
        name: "web".to_owned(),
        scope: SiteScope::new(ScopeRules::new(ScopeKind::Host, &seeds, &[], &[], 0)),
        url: UrlRules::default(),
        pages_max: scenario.crawl.pages_max,
        robots: true,
        sitemap: false,
        feeds: false,
        save: Save::Body,
        types: std::sync::Arc::from([]),
        page: PageRules { items: Some(items), ..PageRules::default() },
        rules: [0; 16],
        recrawl: (scenario.crawl.days > 0).then(|| RecrawlSettings {
            every: Every::Learned,
            min_every_ms: scenario.crawl.min_every_s * 1_000,
            max_every_ms: scenario.crawl.max_every_s * 1_000,
        }),
    }
}

pub fn throttle_settings(crawl: &CrawlSpec) -> throttle::Settings {
    throttle::Settings {
        concurrency: crawl.concurrency,
        concurrency_max: crawl.concurrency_max,
        delay_ms: crawl.delay_ms,
        rate_max_per_s: (crawl.rate_max_per_s > 0.0).then_some(crawl.rate_max_per_s),
        down_max_ms: crawl.down_max_s * 1_000,
        ..throttle::Settings::default()
    }
}

pub fn seeds(scenario: &Scenario, rows: &[SourceRow]) -> Vec<NewJob> {
    let site: SourceId = rows[0].id;
    let mut seeds = Vec::new();
    for host in &scenario.host {
        let named = if host.all_are_seeds { host.pages } else { host.pages.min(1) };
        for page in 0..named {
            let path = if page == 0 { "/".to_owned() } else { format!("/p/{page}") };
            let url = Url::parse(&format!("{}{path}", host.origin())).unwrap();
            seeds.push(NewJob::seed(url, JobKind::Page, site));
        }
    }
    seeds
}
