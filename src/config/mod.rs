//! crawl.toml to each room's settings, with errors that name file, line and key.
