//! What the practice web holds.

use std::path::PathBuf;

use super::limiter::{ConcurrencyCap, FixedWindow, Limiter, TokenBucket};

/// The whole practice web.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Ordinary pages of the library and of a bench site; the archive has a third of it. Pages for special cases come on top.
    pub pages: u32,
    /// Records of each API.
    pub records: u32,
    /// What all content is drawn from.
    pub seed: u64,
    /// The hosts, each with a port of its own.
    pub hosts: Vec<HostSpec>,
    /// Where to append a line of JSON for each request, as soon as it has arrived and is decided: `at_ms` (arrival, ms since
    /// the epoch), `host`, `target` (path and query), `status`, `wait_ms` (how long the answer is held back) and, if one
    /// is sent, `retry_after_secs`. None keeps no log.
    pub log: Option<PathBuf>,
}

/// One host of the practice web.
#[derive(Clone, Debug)]
pub struct HostSpec {
    /// Name in the log and in messages.
    pub name: String,
    /// Port on 127.0.0.1; 0 takes any free one.
    pub port: u16,
    /// What it allows.
    pub limiter: Limiter,
    /// What it serves.
    pub content: Content,
}

/// What a host serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A site with everything that is hard about sites, and an API of events that is paged with `Link` headers.
    Library,
    /// A plain site.
    Archive,
    /// An API of items that is paged with cursors and takes `service_ms` for each answer.
    Items {
        /// Time to make an answer, in ms.
        service_ms: u64,
    },
    /// A site of pages of `page_bytes` with exactly 20 links each, for measuring.
    Bench {
        /// Size of a page in bytes; at least what its 20 links need, about 1,500.
        page_bytes: usize,
    },
}

impl Default for Settings {
    /// The web of `trundle run --practice`: three hosts on ports 7801 to 7803.
    fn default() -> Self {
        let host = |name: &str, port, limiter, content| HostSpec { name: name.to_owned(), port, limiter, content };
        Self {
            pages: 300,
            records: 2_000,
            seed: 1,
            hosts: vec![
                host("library", 7801, Limiter::TokenBucket(TokenBucket::new(40, 40)), Content::Library),
                host("archive", 7802, Limiter::FixedWindow(FixedWindow::new(100, 2)), Content::Archive),
                host("items", 7803, Limiter::ConcurrencyCap(ConcurrencyCap::new(4)), Content::Items { service_ms: 20 }),
            ],
            log: None,
        }
    }
}

impl Settings {
    /// One host on any free port without a limit, for measuring: `pages` pages of 8 KiB with 20 links each.
    #[must_use]
    pub fn bench(pages: u32) -> Self {
        Self {
            pages,
            hosts: vec![HostSpec {
                name: "bench".to_owned(),
                port: 0,
                limiter: Limiter::None,
                content: Content::Bench { page_bytes: 8_192 },
            }],
            ..Self::default()
        }
    }

    /// The same web on free ports, so that several can run at once.
    #[must_use]
    pub fn on_free_ports(mut self) -> Self {
        for host in &mut self.hosts {
            host.port = 0;
        }
        self
    }
}
