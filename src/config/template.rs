//! The file that `trundle init` writes.

/// A short `crawl.toml` to start from; its one start address is a placeholder to be replaced.
#[must_use]
pub fn template() -> &'static str {
    include_str!("template.toml")
}
