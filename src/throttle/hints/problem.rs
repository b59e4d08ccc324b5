//! What a refusal's body says about itself, as draft-ietf-httpapi-ratelimit-headers-11 registers it: three problem types.

/// A problem type of the RateLimit drafts (`type` in `application/problem+json`, RFC 9457).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// `quota-exceeded`: a quota is spent.
    QuotaExceeded,
    /// `temporary-reduced-capacity`: the server allows less for now than it declared.
    ReducedCapacity,
    /// `abnormal-usage-detected`: the server takes us for an attacker. A warning before a ban.
    AbnormalUsage,
}

impl Problem {
    /// The problem that `type_uri` names, if it is one of these.
    #[must_use]
    pub fn of_type(type_uri: &str) -> Option<Self> {
        let name = type_uri.trim().rsplit(['#', '/', ':']).next()?;
        Some(match name {
            "quota-exceeded" => Self::QuotaExceeded,
            "temporary-reduced-capacity" => Self::ReducedCapacity,
            "abnormal-usage-detected" => Self::AbnormalUsage,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_known_by_the_last_part_of_its_type() {
        let base = "https://iana.org/assignments/http-problem-types#";
        for (name, expected) in [
            ("quota-exceeded", Some(Problem::QuotaExceeded)),
            ("temporary-reduced-capacity", Some(Problem::ReducedCapacity)),
            ("abnormal-usage-detected", Some(Problem::AbnormalUsage)),
            ("out-of-stock", None),
            ("", None),
        ] {
            assert_eq!(Problem::of_type(&format!("{base}{name}")), expected, "{name}");
            assert_eq!(Problem::of_type(name), expected, "{name}");
        }
    }
}
