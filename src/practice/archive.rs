//! A plain site: a tree of documents with cross links.

use super::answer::{Answer, Class, Site};
use super::link::spell;
use super::page::{Page, dice};
use super::truth::Truth;

/// Children of a document in the tree that makes all of them reachable.
const CHILDREN: u32 = 4;

pub(super) fn fill(site: &mut Site, truth: &mut Truth, pages: u32, seed: u64) {
    let pages = pages.max(1);
    let target = |number: u32| if number == 0 { "/".to_owned() } else { format!("/doc/{number}") };
    for number in 0..pages {
        let mut rng = dice(seed, 2, number);
        let mut page = Page::draw("Document", number, &mut rng);
        let here = site.url(&target(number));
        let children = (1..=CHILDREN).map(|child| number * CHILDREN + child).filter(|&child| child < pages);
        for linked in children.chain((0..8).map(|_| rng.u32(..pages)).collect::<Vec<_>>()) {
            page.link(spell(&here, &site.url(&target(linked)), &mut rng));
        }
        site.add(truth, Class::Page, &target(number), Answer::html(page.html()));
    }
    site.add(truth, Class::Document, "/robots.txt", Answer::new(200, "text/plain", "User-agent: *\nDisallow:\n"));
}
