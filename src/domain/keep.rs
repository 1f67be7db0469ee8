//! How long and how much of what was deleted or overwritten is kept.

/// Bounds of a trash, or of old versions. The oldest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Seconds; 0 keeps nothing.
    pub max_age: i64,
    /// Percent of the quota or, where that is more, of the disk that is free or taken by what is kept; 0 keeps nothing.
    pub max_share: u8,
}

const DAY: i64 = 24 * 3600;

impl Keep {
    /// Nothing is kept.
    pub const NOTHING: Keep = Keep { max_age: 0, max_share: 0 };
    /// A trash, unless the administrator says otherwise.
    pub const TRASH: Keep = Keep { max_age: 30 * DAY, max_share: 50 };
    /// Versions, unless the administrator says otherwise.
    pub const VERSIONS: Keep = Keep { max_age: 90 * DAY, max_share: 50 };

    /// Whether anything is kept.
    pub fn is_on(self) -> bool {
        self.max_age > 0 && self.max_share > 0
    }

    /// The share of a number of bytes.
    pub fn share(self, bytes: u64) -> u64 {
        let percent = u64::from(self.max_share.min(100));
        (bytes / 100).saturating_mul(percent).saturating_add(bytes % 100 * percent / 100)
    }
}

/// Reads an age such as `30d`, `12h`, `90m` or `45s`, in seconds; `0` needs no unit. None where it is not an age.
pub fn parse_age(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: i64 = number.parse().ok()?;
    let unit = match unit.trim() {
        "d" => DAY,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        "" if number == 0 => 1,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_units() {
        assert_eq!(parse_age("30d"), Some(30 * DAY));
        assert_eq!(parse_age(" 12 h"), Some(12 * 3600));
        assert_eq!(parse_age("0"), Some(0));
        for wrong in ["", "d", "30", "-1d", "1w", "9999999999999999999d"] {
            assert_eq!(parse_age(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shares_do_not_overflow() {
        assert_eq!(Keep::TRASH.share(199), 99);
        assert_eq!(Keep { max_share: 100, ..Keep::TRASH }.share(u64::MAX), u64::MAX);
    }
}
