//! The many ways to spell one address.

use fastrand::Rng;
use url::Url;

/// `target` as an author might write it on a page whose links resolve against `base`. All spellings mean the same address,
/// once fragments and tracking parameters are gone; they are escaped for an attribute.
pub(super) fn spell(base: &Url, target: &Url, rng: &mut Rng) -> String {
    let path = &target[url::Position::BeforePath..];
    let authority = &target[url::Position::BeforeHost..url::Position::BeforePath];
    let spelled = match rng.u8(0..16) {
        0..3 => base.make_relative(target).filter(|relative| !relative.is_empty()).unwrap_or_else(|| path.to_owned()),
        3 => format!("{path}#part-{}", rng.u8(1..9)),
        4 => format!("{path}{}utm_source=practice&utm_medium=link", if path.contains('?') { '&' } else { '?' }),
        5 => format!("HTTP://{authority}{path}"),
        6 => format!("//{authority}{path}"),
        7 => format!("/nowhere/..{path}"),
        8 => format!("  {path}\n"),
        9 => target.to_string(),
        _ => path.to_owned(),
    };
    spelled.replace('&', "&amp;")
}
