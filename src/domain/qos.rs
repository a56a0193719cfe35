//! What a type may say of the speed of its volumes, and to whom (`spec/types-qos-encryption.md` §7).

use std::collections::BTreeMap;

use super::ids::QosSpecsId;
use super::time::Timestamp;

/// QoS specs. They change as a whole: every write is guarded by the revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QosSpecs {
    /// Its id.
    pub id: QosSpecsId,
    /// Raised by one in each change.
    pub revision: u64,
    /// Its name, unique.
    pub name: String,
    /// Who heeds it.
    pub consumer: Consumer,
    /// What it says.
    pub specs: BTreeMap<String, String>,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Option<Timestamp>,
}

/// What is limited, and may be so in proportion to the size.
const LIMITS: [&str; 6] =
    ["read_iops_sec", "read_bytes_sec", "write_iops_sec", "write_bytes_sec", "total_iops_sec", "total_bytes_sec"];

impl QosSpecs {
    /// What whoever connects a volume of this size is told; none: nothing. A limit for each GiB (`_per_gb`, at least
    /// `_per_gb_min`, at most `_max`) is told as the limit of this volume.
    pub fn told(&self, size_gib: u32) -> Option<BTreeMap<String, String>> {
        if !self.consumer.is_told_to_clients() || self.specs.is_empty() {
            return None;
        }
        let mut told = self.specs.clone();
        for limit in LIMITS {
            let mut number = |name: String| told.remove(&name).and_then(|text| text.trim().parse::<u64>().ok());
            let (least, each) = (number(format!("{limit}_per_gb_min")), number(format!("{limit}_per_gb")));
            let Some(each) = each else { continue };
            let most = told.get(&format!("{limit}_max")).and_then(|text| text.trim().parse().ok());
            let of_all = each.saturating_mul(u64::from(size_gib)).max(least.unwrap_or(0)).min(most.unwrap_or(u64::MAX));
            told.insert(limit.to_owned(), of_all.to_string());
        }
        Some(told)
    }
}

/// Who heeds QoS specs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consumer {
    /// Whoever connects the volume: told in the connection information.
    FrontEnd,
    /// The backend.
    #[default]
    BackEnd,
    /// Both of them.
    Both,
}

impl Consumer {
    /// All, in the order in which they are named to clients.
    pub const ALL: [Self; 3] = [Self::FrontEnd, Self::BackEnd, Self::Both];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FrontEnd => "front-end",
            Self::BackEnd => "back-end",
            Self::Both => "both",
        }
    }

    /// The consumer that a word means.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|consumer| consumer.as_str() == word)
    }

    /// Whether whoever connects the volume is told.
    pub const fn is_told_to_clients(self) -> bool {
        !matches!(self, Self::BackEnd)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn qos(consumer: Consumer, specs: &[(&str, &str)]) -> QosSpecs {
        QosSpecs {
            id: QosSpecsId(Uuid::nil()),
            revision: 1,
            name: "q".to_owned(),
            consumer,
            specs: specs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            created_at: Timestamp(0),
            updated_at: None,
        }
    }

    #[test]
    fn what_is_told_by_consumer_and_size() {
        let plain = &[("total_iops_sec", "100"), ("other", "x")][..];
        assert_eq!(qos(Consumer::BackEnd, plain).told(3), None);
        assert_eq!(qos(Consumer::Both, &[]).told(3), None);
        for consumer in [Consumer::FrontEnd, Consumer::Both] {
            assert_eq!(qos(consumer, plain).told(3), Some(qos(consumer, plain).specs));
        }
        for (specs, expected) in [
            (&[("read_iops_sec_per_gb", "10")][..], &[("read_iops_sec", "30")][..]),
            (&[("read_iops_sec_per_gb", "10"), ("read_iops_sec_per_gb_min", "50")], &[("read_iops_sec", "50")]),
            (
                &[("read_iops_sec_per_gb", "10"), ("read_iops_sec_max", "20")],
                &[("read_iops_sec", "20"), ("read_iops_sec_max", "20")],
            ),
            (&[("read_iops_sec_per_gb", "many")], &[]),
        ] {
            let told = qos(Consumer::FrontEnd, specs).told(3);
            assert_eq!(told, Some(qos(Consumer::FrontEnd, expected).specs), "{specs:?}");
        }
    }
}
