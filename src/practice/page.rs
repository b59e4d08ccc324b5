//! HTML pages, and the words on them.

use std::fmt::Write as _;

use fastrand::Rng;

/// One page: what is drawn, and the links that its maker put there.
pub(super) struct Page {
    pub(super) title: String,
    /// Further elements of the head.
    pub(super) head: String,
    pub(super) price_pence: u32,
    pub(super) tags: Vec<&'static str>,
    /// Values of `href`, ready for the attribute, with what else stands in the element.
    links: Vec<(String, &'static str)>,
    pub(super) prose: String,
}

const ADJECTIVES: [&str; 12] = [
    "Quiet", "Brass", "Hidden", "Northern", "Paper", "Silver", "Slow", "Tidal", "Wooden", "Second", "Amber", "Distant",
];
const NOUNS: [&str; 12] = [
    "Harbour", "Lantern", "Orchard", "Railway", "Atlas", "Winter", "Bridge", "Garden", "Engine", "Letter", "Island",
    "Map",
];
const TAGS: [&str; 10] =
    ["fiction", "history", "science", "travel", "poetry", "art", "nature", "crime", "music", "cooking"];
const PROSE: [&str; 16] = [
    "the", "a", "wagon", "road", "slowly", "carries", "every", "page", "of", "old", "and", "new", "to", "its", "shelf",
    "again",
];

impl Page {
    pub(super) fn draw(kind: &str, number: u32, rng: &mut Rng) -> Self {
        let title = format!(
            "{kind} {number}: The {} {}",
            ADJECTIVES[rng.usize(..ADJECTIVES.len())],
            NOUNS[rng.usize(..NOUNS.len())]
        );
        let first_tag = rng.usize(..TAGS.len());
        let tags = (0..rng.usize(1..4)).map(|step| TAGS[(first_tag + 3 * step) % TAGS.len()]).collect();
        let price_pence = rng.u32(199..9_999);
        let word_count = rng.usize(40..120);
        Self { title, head: String::new(), price_pence, tags, links: Vec::new(), prose: prose(word_count, rng) }
    }

    pub(super) fn link(&mut self, href: String) {
        self.links.push((href, ""));
    }

    pub(super) fn link_nofollow(&mut self, href: String) {
        self.links.push((href, " rel=\"nofollow\""));
    }

    pub(super) fn link_count(&self) -> usize {
        self.links.len()
    }

    pub(super) fn html(&self) -> String {
        let mut html = String::with_capacity(2_048 + self.prose.len() + 80 * self.links.len());
        let mut tags = String::new();
        for tag in &self.tags {
            write!(tags, "<li>{tag}</li>").expect("a string takes all");
        }
        write!(
            html,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<title>{title}</title>\n{head}</head>\n<body>\n<h1>{title}</h1>\n\
             <p class=\"price\">£{pounds}.{pence:02}</p>\n<ul class=\"tags\">{tags}</ul>\n<p>{prose}</p>\n<ul class=\"links\">\n",
            title = self.title,
            head = self.head,
            pounds = self.price_pence / 100,
            pence = self.price_pence % 100,
            prose = self.prose,
        )
        .expect("a string takes all");
        for (number, (href, rest)) in self.links.iter().enumerate() {
            writeln!(html, "<li><a href=\"{href}\"{rest}>link {number}</a></li>").expect("a string takes all");
        }
        html.push_str("</ul>\n</body>\n</html>\n");
        html
    }
}

/// So many words.
pub(super) fn prose(word_count: usize, rng: &mut Rng) -> String {
    let mut text = String::with_capacity(word_count * 6);
    for _ in 0..word_count {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(PROSE[rng.usize(..PROSE.len())]);
    }
    text
}

/// Dice for one page, so that a page looks the same however many others there are.
pub(super) fn dice(seed: u64, kind: u64, number: u32) -> Rng {
    Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (kind << 32) ^ u64::from(number))
}
