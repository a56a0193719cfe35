//! Request ids as OpenStack prints them (`req-<uuid4>`, errors-and-http §5).

use crate::domain::ids::RequestId;
use crate::runtime::Randomness;

/// The two ids of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestIds {
    /// Made here; answered in the headers and kept with operations, events and messages.
    pub local: RequestId,
    /// The caller's own id, for logs and outgoing calls. Never echoed.
    pub global: Option<String>,
}

impl RequestIds {
    /// A fresh id, and the caller's one if it is well formed (others are ignored).
    pub fn new(randomness: &Randomness, inbound: Option<&str>) -> Self {
        Self {
            local: format!("req-{}", randomness.uuid()).into(),
            global: inbound.filter(|text| is_request_id(text)).map(str::to_owned),
        }
    }
}

/// `req-` and five groups of 8-4-4-4-12 letters or digits, in any case.
pub fn is_request_id(text: &str) -> bool {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let Some((prefix, rest)) = text.split_at_checked(4) else { return false };
    if !prefix.eq_ignore_ascii_case("req-") {
        return false;
    }
    let groups: Vec<&str> = rest.split('-').collect();
    groups.len() == GROUPS.len()
        && groups
            .iter()
            .zip(GROUPS)
            .all(|(group, length)| group.len() == length && group.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbound_ids_are_kept_only_when_well_formed() {
        let cases = [
            ("req-c1216709-afba-4703-a1a3-22eda88f2f5a", true),
            ("REQ-C1216709-AFBA-4703-A1A3-22EDA88F2F5A", true),
            ("req-zzzzzzzz-afba-4703-a1a3-22eda88f2f5a", true),
            ("req-c1216709-afba-4703-a1a3-22eda88f2f5", false),
            ("c1216709-afba-4703-a1a3-22eda88f2f5a", false),
            ("req-c1216709-afba-4703-a1a3-22eda88f2f5a ", false),
            ("req-", false),
            ("réq-", false),
            ("", false),
        ];
        for (text, expected) in cases {
            assert_eq!(is_request_id(text), expected, "{text:?}");
        }
    }

    #[test]
    fn ids_come_from_the_seeded_source() {
        let first = RequestIds::new(&Randomness::from_seed(7), None);
        let again = RequestIds::new(&Randomness::from_seed(7), Some("nonsense"));
        assert_eq!(first, again);
        assert!(is_request_id(first.local.as_str()));
    }
}
