//! Which old versions of a file stay as time goes by: many of the last minutes, few of the last months. The steps are those of ownCloud and Nextcloud
//! (`apps/files_versions/lib/Storage.php`, `$max_versions_per_interval`).

use crate::domain::Timestamp;
use crate::store::VersionRow;

const DAY_S: i64 = 24 * 3600;

/// Up to which age, in seconds, and how many seconds lie at least between two versions of that age.
const STEPS: [(i64, i64); 6] = [(10, 2), (60, 10), (3600, 60), (DAY_S, 3600), (30 * DAY_S, DAY_S), (i64::MAX, 7 * DAY_S)];

/// Those of a file that go, of all of them in the order in which they were overwritten. The newest stays, and then each that is old enough beside the
/// one that stayed before it.
///
/// What counts is since when a version was the content of the file, by our own clock: when the one before it was overwritten. A content that stood for
/// long is not lost for being overwritten twice within a second, and a client that sends false modification times removes nothing by them.
pub(super) fn thinned(rows: &[VersionRow], now: Timestamp) -> impl Iterator<Item = &VersionRow> {
    let before = std::iter::once(None).chain(rows.iter().map(Some));
    let since = before.zip(rows).map(|(before, row)| before.map_or(row.modified.min(row.created), |before| before.created));
    let since: Vec<Timestamp> = since.collect();
    let mut kept: Option<Timestamp> = None;
    rows.iter().zip(since).rev().filter_map(move |(row, since)| {
        let age = now.saturating_sub(since);
        let step = STEPS.iter().find(|(below, _)| age < *below).map_or(0, |(_, step)| *step);
        let goes = kept.is_some_and(|kept| kept.saturating_sub(since) < step);
        if !goes {
            kept = Some(since);
        }
        goes.then_some(row)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NodeId, Principal};

    const NOW: Timestamp = 1_700_000_000;

    /// What is left of versions that were each the content from one of these ages on, in seconds before now, the oldest first.
    #[track_caller]
    fn check(ages: impl IntoIterator<Item = i64>, left: &[i64]) {
        let ages: Vec<i64> = ages.into_iter().collect();
        let overwritten = ages.iter().skip(1).copied().chain([0]);
        let rows: Vec<VersionRow> = ages
            .iter()
            .zip(overwritten)
            .map(|(age, overwritten)| VersionRow {
                node: NodeId(7),
                number: u64::try_from(NOW - age).unwrap(),
                file: age.to_string().into(),
                inode: 0,
                size: 1,
                modified: NOW - age,
                checksum: None,
                created: NOW - overwritten,
                by: Principal::Anonymous,
            })
            .collect();
        let gone: Vec<&VersionRow> = thinned(&rows, NOW).collect();
        let stays = rows.iter().filter(|row| !gone.contains(row)).map(|row| row.file.parse::<i64>().unwrap());
        assert_eq!(stays.collect::<Vec<_>>(), left);
    }

    #[test]
    fn each_interval_has_its_step() {
        check([], &[]);
        check([5], &[5]);
        check((0..10).rev(), &[8, 6, 4, 2, 0]);
        check((20..60).rev(), &[50, 40, 30, 20]);
        check((0..34).rev().map(|tens| 69 + 10 * tens), &[369, 309, 249, 189, 129, 69]);
        check((2..12).rev().map(|halves| halves * 1800), &[5, 4, 3, 2, 1].map(|hours| hours * 3600));
        let every_day: Vec<i64> = (0..15).rev().map(|days| days * DAY_S + DAY_S / 2).collect();
        check((1..30).rev().map(|halves| halves * DAY_S / 2), &every_day);
        check((31..60).rev().map(|days| days * DAY_S), &[59, 52, 45, 38, 31].map(|days| days * DAY_S));
    }

    #[test]
    fn what_stood_for_long_stays() {
        // Overwritten twice within a second, by whoever it was: the content of last month is there.
        check([40 * DAY_S, 1, 1, 0], &[40 * DAY_S, 0]);
        check([40 * DAY_S, 39 * DAY_S, 38 * DAY_S, 3], &[38 * DAY_S, 3]);
    }
}
