//! What the user decides about answers that are held already.

/// How answers that are held already are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// A fresh answer is not asked for again; a stale one is asked for with its validators, so that the server may say that
    /// nothing changed.
    #[default]
    Revalidate,
    /// A fresh answer is not asked for again; a stale one is fetched in full. For servers whose validators lie.
    FreshOnly,
    /// Every page that is due is fetched in full.
    Off,
}

/// Settings of the cache rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// How answers that are held already are used. Default [`CacheMode::Revalidate`].
    pub mode: CacheMode,
    /// A page is fetched in full when its body last came this long ago, in ms, whatever its validators say; 0 never does.
    /// Default 30 days: a server answered 304 for years to a date that lay in the future (FreshRSS issue 1020).
    pub force_full_ms: u64,
    /// The longest that the word of a server keeps us from asking it again, in ms. Default 30 days, as `max_every`:
    /// `max-age` of a year is common, and pages change within it.
    pub fresh_ms_max: u64,
    /// Whether `no-store` forbids to keep body and validators. Default false: what the crawl keeps is what its user asked for, not
    /// a copy that saves a request, and an answer with `no-store` is never used in place of asking. A real server sends it with
    /// a working ETag (Kinto).
    pub strict_no_store: bool,
}

/// A day in ms.
pub(super) const DAY_MS: u64 = 24 * 3_600_000;

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            mode: CacheMode::default(),
            force_full_ms: 30 * DAY_MS,
            fresh_ms_max: 30 * DAY_MS,
            strict_no_store: false,
        }
    }
}
