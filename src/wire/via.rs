//! The servers that a request has passed through, so that loops of mounts end (DESIGN 3).

/// Most hops that a request may take before it counts as a loop.
pub const HOPS_MAX: usize = 8;

/// The header that carries the hops between servers of this kind.
pub const VIA_HEADER: &str = "causeway-via";

/// The header by which a server of this kind tells another which instances its answer is made from.
pub const CONTAINS_HEADER: &str = "causeway-contains";

/// Most ids in that header.
pub const CONTAINS_MAX: usize = 64;

/// The instance ids that a request passed through, first one first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Via(Vec<String>);

impl Via {
    /// Reads the header's value: ids of letters and digits, separated by commas. Anything else is left out.
    pub fn parse(value: &str) -> Via {
        let id = |text: &str| (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        Via(value.split(',').map(str::trim).filter(|text| id(text)).take(HOPS_MAX + 1).map(str::to_owned).collect())
    }

    /// Whether the request comes from a client, not from another server of this kind.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the request already passed through `instance_id`, or has come too far.
    pub fn loops(&self, instance_id: &str) -> bool {
        self.0.len() >= HOPS_MAX || self.0.iter().any(|hop| hop == instance_id)
    }

    /// The header's value for a request that `instance_id` sends on.
    pub fn through(&self, instance_id: &str) -> String {
        let mut value = self.0.join(",");
        if !value.is_empty() {
            value.push(',');
        }
        value.push_str(instance_id);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f13_a_request_that_comes_back_is_a_loop() {
        let via = Via::parse("oca, ocb");
        assert!(via.loops("ocb") && !via.loops("occ"));
        assert!(Via::parse(&via.through("occ")).loops("occ"));
        assert!(Via::parse(&"a,".repeat(100)).loops("zzz"));
    }
}
