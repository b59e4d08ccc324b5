//! Response to meaning: links, items, sitemaps, feeds, pagination. Pure.
