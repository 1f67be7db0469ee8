//! Dates as they stand on the wire, written without a formatter: a listing has one for each member.

use std::time::{Duration, SystemTime};

use crate::domain::Timestamp;

/// Seconds of the last moment of the year 9999, the latest that the formats can say.
const LATEST: Timestamp = 253_402_300_799;

const SECONDS_OF_DAY: Timestamp = 86_400;

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] = [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

struct Moment {
    year: u64,
    month: u64,
    day: u64,
    weekday: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

/// Gregorian date of a day number, by the well-known arithmetic over years that begin in March.
fn split(time: Timestamp) -> Moment {
    let seconds = u64::try_from(time.clamp(0, LATEST)).unwrap_or_default();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    Moment { year, month, day, weekday: days % 7, hour: rest / 3_600, minute: rest / 60 % 60, second: rest % 60 }
}

fn two(number: u64) -> [u8; 2] {
    let digit = |value: u64| b'0' + u8::try_from(value % 10).unwrap_or_default();
    [digit(number / 10), digit(number)]
}

fn name(names: &[&'static [u8; 3]], at: u64) -> &'static [u8; 3] {
    usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or(b"???")
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 5.6.7).
pub fn http_date(time: Timestamp) -> [u8; 29] {
    let moment = split(time);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    fill(&mut text, 0, name(&DAYS, moment.weekday));
    fill(&mut text, 5, &two(moment.day));
    fill(&mut text, 8, name(&MONTHS, moment.month - 1));
    fill(&mut text, 12, &two(moment.year / 100));
    fill(&mut text, 14, &two(moment.year % 100));
    fill(&mut text, 17, &two(moment.hour));
    fill(&mut text, 20, &two(moment.minute));
    fill(&mut text, 23, &two(moment.second));
    text
}

/// HTTP dates one after the other, as a listing has them. Dates of one day differ in their time alone, and the calendar is what costs.
#[derive(Debug)]
pub struct HttpDates {
    day: Timestamp,
    text: [u8; 29],
}

impl HttpDates {
    /// No date yet.
    pub fn new() -> HttpDates {
        HttpDates { day: 0, text: http_date(0) }
    }

    /// [`http_date`] of a time.
    pub fn at(&mut self, time: Timestamp) -> &[u8; 29] {
        let time = time.clamp(0, LATEST);
        let (day, second) = (time / SECONDS_OF_DAY, u64::try_from(time % SECONDS_OF_DAY).unwrap_or_default());
        if day == self.day {
            let [.., h1, h0, _, m1, m0, _, s1, s0, _, _, _, _] = &mut self.text;
            [*h1, *h0] = two(second / 3_600);
            [*m1, *m0] = two(second / 60 % 60);
            [*s1, *s0] = two(second % 60);
        } else {
            *self = HttpDates { day, text: http_date(time) };
        }
        &self.text
    }
}

impl Default for HttpDates {
    fn default() -> HttpDates {
        HttpDates::new()
    }
}

/// `1994-11-06T08:49:37Z` (RFC 3339).
pub fn iso_date(time: Timestamp) -> [u8; 20] {
    let moment = split(time);
    let mut text = *b"1970-01-01T00:00:00Z";
    fill(&mut text, 0, &two(moment.year / 100));
    fill(&mut text, 2, &two(moment.year % 100));
    fill(&mut text, 5, &two(moment.month));
    fill(&mut text, 8, &two(moment.day));
    fill(&mut text, 11, &two(moment.hour));
    fill(&mut text, 14, &two(moment.minute));
    fill(&mut text, 17, &two(moment.second));
    text
}

fn fill(text: &mut [u8], at: usize, with: &[u8]) {
    for (slot, byte) in text.iter_mut().skip(at).zip(with) {
        *slot = *byte;
    }
}

/// Reads any of the three forms of an HTTP date.
pub fn parse_http_date(text: &str) -> Option<Timestamp> {
    let time: SystemTime = httpdate::parse_http_date(text.trim()).ok()?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::try_from(since.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_a_formatter() {
        let (mut time, mut dates): (Timestamp, _) = (0, HttpDates::new());
        while time < LATEST {
            let expected = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time).unwrap()));
            assert_eq!(std::str::from_utf8(&http_date(time)).unwrap(), expected);
            assert_eq!(parse_http_date(&expected), Some(time));
            assert_eq!(dates.at(time), &http_date(time));
            // Another time of the same day.
            let later = time - time % 86_400 + 86_399 - time % 7;
            assert_eq!(dates.at(later), &http_date(later));
            time += 86_400 * 37 + 12_345;
        }
        assert_eq!(&http_date(i64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(&http_date(-5), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&iso_date(951_827_696), b"2000-02-29T12:34:56Z");
    }
}
