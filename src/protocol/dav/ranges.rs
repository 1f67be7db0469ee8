//! `Range` (RFC 9110 14), within bounds: overlaps are joined, and too many ranges are answered with the whole file (attack D7).

use std::ops::Range;

use crate::limits::RANGES_MAX;

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything, with 200.
    Whole,
    /// These parts, with 206; at least one.
    Parts(Vec<Range<u64>>),
    /// 416.
    Nothing,
}

/// Reads a `Range` header for a file of `size` bytes. What is malformed, of another unit or excessive is as if it were not there.
pub(super) fn wanted(header: &str, size: u64) -> Wanted {
    let Some(list) = header.trim().strip_prefix("bytes=") else { return Wanted::Whole };
    let mut parts = Vec::new();
    for (count, item) in list.split(',').enumerate() {
        if count >= RANGES_MAX {
            return Wanted::Whole;
        }
        match part(item.trim(), size) {
            Some(Some(part)) => parts.push(part),
            // Satisfies nothing, which is no fault unless all do.
            Some(None) => {}
            None => return Wanted::Whole,
        }
    }
    if parts.is_empty() {
        return Wanted::Nothing;
    }
    if overlap(&parts) { Wanted::Parts(joined(parts)) } else { Wanted::Parts(parts) }
}

/// One range: none if malformed, an inner none if it lies behind the end.
fn part(item: &str, size: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = item.split_once('-')?;
    let number = |digits: &str| {
        let digits = digits.trim();
        let fits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // More than fits into 64 bits is behind every end.
        fits.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    if first.trim().is_empty() {
        let suffix = number(last)?.min(size);
        return Some((suffix > 0).then(|| size - suffix..size));
    }
    let first = number(first)?;
    let end = if last.trim().is_empty() { size } else { number(last).filter(|last| *last >= first)?.saturating_add(1).min(size) };
    Some((first < end).then_some(first..end))
}

fn overlap(parts: &[Range<u64>]) -> bool {
    parts.iter().enumerate().any(|(at, one)| parts.iter().skip(at + 1).any(|other| one.start < other.end && other.start < one.end))
}

fn joined(mut parts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    parts.sort_by_key(|part| part.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for part in parts {
        match joined.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            Some(_) | None => joined.push(part),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    #![expect(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]

    use super::*;

    #[track_caller]
    fn check(header: &str, size: u64, expected: &[Range<u64>]) {
        let expected = if expected == [u64::MAX..u64::MAX] { Wanted::Nothing } else { Wanted::Parts(expected.to_vec()) };
        assert_eq!(wanted(header, size), expected, "{header}");
    }

    const NOTHING: Range<u64> = u64::MAX..u64::MAX;

    #[test]
    fn d7_single_ranges() {
        check("bytes=0-0", 10, &[0..1]);
        check("bytes=3-", 10, &[3..10]);
        check("bytes=-3", 10, &[7..10]);
        check("bytes=-99", 10, &[0..10]);
        check("bytes=5-18446744073709551616", 10, &[5..10]);
        check("bytes=5-18446744073709551615", 10, &[5..10]);
        check("bytes=10-", 10, &[NOTHING]);
        check("bytes=-0", 10, &[NOTHING]);
        check("bytes=99999999999999999999-", 10, &[NOTHING]);
        for header in ["bytes=0-", "bytes=-5", "bytes=0-0"] {
            check(header, 0, &[NOTHING]);
        }
    }

    #[test]
    fn d7_several_ranges_are_joined_where_they_overlap() {
        check("bytes=0-1, 4-5", 10, &[0..2, 4..6]);
        check("bytes=8-9,0-1", 10, &[8..10, 0..2]);
        check("bytes=0-4,2-8,99-", 10, &[0..9]);
        let many = ["bytes=", &"0-,".repeat(1000), "0-"].concat();
        assert_eq!(wanted(&many, 10), Wanted::Whole);
    }

    #[test]
    fn malformed_ranges_are_as_if_absent() {
        for header in ["", "bytes", "bytes=", "bytes=a-b", "bytes=5-3", "lines=1-2", "bytes=-", "bytes=--1", "bytes=1-2-3", "bytes=0x1-2"] {
            assert_eq!(wanted(header, 10), Wanted::Whole, "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn d7_parts_lie_in_the_file_and_apart(list in "bytes=[0-9,\\- ]{0,40}", size in 0_u64..200) {
            if let Wanted::Parts(parts) = wanted(&list, size) {
                assert!(!parts.is_empty() && parts.iter().all(|part| part.start < part.end && part.end <= size));
                assert!(!overlap(&parts));
            }
        }
    }
}
