//! A site for measuring: pages of one size with exactly 20 links each, all reachable.

use super::answer::{Answer, Class, Site};
use super::page::{Page, dice, prose};
use super::truth::Truth;

/// Links on a page.
pub(super) const LINKS: u32 = 20;

/// Children of a page in the tree that makes all of them reachable.
const CHILDREN: u32 = 10;

pub(super) fn fill(site: &mut Site, truth: &mut Truth, pages: u32, page_bytes: usize, seed: u64) {
    let pages = pages.max(1);
    let target = |number: u32| if number == 0 { "/".to_owned() } else { format!("/page/{number}") };
    // Cut to size for each page; drawing the words of each anew would take longer than all the rest.
    let filler = prose(page_bytes.div_ceil(2), &mut dice(seed, 3, u32::MAX));
    for number in 0..pages {
        let mut rng = dice(seed, 3, number);
        let mut page = Page::draw("Page", number, &mut rng);
        let children = (1..=CHILDREN).map(|child| u64::from(number) * u64::from(CHILDREN) + u64::from(child));
        for child in children.filter_map(|child| u32::try_from(child).ok()).filter(|&child| child < pages) {
            page.link(target(child));
        }
        while page.link_count() < LINKS as usize {
            page.link(target(rng.u32(..pages)));
        }
        page.prose.clear();
        let missing = page_bytes.saturating_sub(page.html().len());
        page.prose.push_str(&filler[..missing.min(filler.len())]);
        site.add(truth, Class::Page, &target(number), Answer::html(page.html()));
    }
    site.add(truth, Class::Document, "/robots.txt", Answer::new(200, "text/plain", "User-agent: *\nDisallow:\n"));
}
