//! Times as people type them, and as Kafka's tools do.

use crate::types::{Time, TimestampMs};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const MS_PER_DAY: i64 = 86_400_000;
/// Units of a duration: its name, and its milliseconds.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", MS_PER_DAY as u64)];

/// The system's clock.
pub fn now_ms() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The clock for deadlines, from its first use on.
pub fn mono() -> Time {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    Time(u64::try_from(BEGIN.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// `500ms`, `10s`, `2m`, `1h`, `7d` or ISO 8601 (`PT1H30M`, `P1DT2H`).
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: 500ms, 10s, 2m, 1h, 7d or PT1H30M is");
    if text.starts_with(['P', 'p']) {
        return parse_iso_duration(text).map(Duration::from_millis).ok_or_else(wrong);
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
    ms.map(Duration::from_millis).ok_or_else(wrong)
}

/// Milliseconds of `PnDTnHnMnS` without signs; seconds may have a fraction.
pub fn parse_iso_duration(text: &str) -> Option<u64> {
    let text = text.to_ascii_uppercase();
    let body = text.strip_prefix('P')?;
    let (days, time) = body.split_once('T').map_or((body, None), |(days, time)| (days, Some(time)));
    if time == Some("") || (days.is_empty() && time.is_none()) {
        return None;
    }
    let mut total: u64 = 0;
    for (part, units) in [(days, &[('D', MS_PER_DAY as u64)][..]), (time.unwrap_or(""), &TIME_UNITS[..])] {
        let (mut rest, mut units) = (part, units);
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, letter) = (&rest[..end], rest[end..].chars().next()?);
            let at = units.iter().position(|(unit, _)| *unit == letter)?;
            let ms = match letter {
                'S' => (number.parse::<f64>().ok()? * 1000.0) as u64,
                _ => number.parse::<u64>().ok()?.checked_mul(units[at].1)?,
            };
            total = total.checked_add(ms)?;
            units = &units[at + 1..];
            rest = &rest[end + letter.len_utf8()..];
        }
    }
    Some(total)
}

const TIME_UNITS: [(char, u64); 3] = [('H', 3_600_000), ('M', 60_000), ('S', 1000)];

/// A point in time: `2026-01-31`, `2026-01-31T12:00:00`, with a fraction and `Z`, `+01:00` or `+0100` (UTC without one);
/// milliseconds since 1970; `now`; or a duration before it, `-1h`.
pub fn parse_time(text: &str, now_ms: TimestampMs) -> Result<TimestampMs, String> {
    if text == "now" {
        return Ok(now_ms);
    }
    if let Some(Ok(ago)) = text.strip_prefix('-').map(parse_duration) {
        return Ok(now_ms.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)));
    }
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(ms);
    }
    parse_datetime(text)
        .ok_or_else(|| format!("{text:?} is no time: 2026-01-31T12:00:00Z, -1h, now or milliseconds since 1970 are"))
}

/// ISO 8601, in UTC unless it says otherwise.
pub fn parse_datetime(text: &str) -> Option<TimestampMs> {
    let (date, time) = text.split_once('T').map_or((text, "00:00:00"), |(date, time)| (date, time));
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, zone_ms) = match time.find(['Z', '+', '-']) {
        None => (time, 0),
        Some(at) => (&time[..at], parse_zone(&time[at..])?),
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut clock = clock.splitn(3, ':').map(number);
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next().unwrap_or(Some(0))?);
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let fraction_ms = number(fraction.get(..3).unwrap_or(fraction))? * 10i64.pow(3 - fraction.len().min(3) as u32);
    let clock_ms = ((hour * 60 + minute) * 60 + second) * 1000 + fraction_ms;
    in_range.then(|| days_from_civil(year, month, day) * MS_PER_DAY + clock_ms - zone_ms)
}

fn number(digits: &str) -> Option<i64> {
    let plain = !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// Milliseconds east of UTC of `Z`, `+HH`, `+HHMM` or `+HH:MM`.
fn parse_zone(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits = zone[1..].replace(':', "");
    let (hours, minutes) = match digits.len() {
        2 => (number(&digits)?, 0),
        4 => (number(&digits[..2])?, number(&digits[2..])?),
        _ => return None,
    };
    Some(sign * (hours * 60 + minutes) * 60_000)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Howard Hinnant's algorithm).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// `2026-01-31T12:00:00.000Z`.
pub fn format_datetime(ms: TimestampMs) -> String {
    let (days, clock) = (ms.div_euclid(MS_PER_DAY), ms.rem_euclid(MS_PER_DAY));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, fraction) = (clock / 1000, clock % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datetimes_are_read_and_written() {
        assert_eq!(parse_datetime("1970-01-01T00:00:00.000"), Some(0));
        assert_eq!(parse_datetime("2026-11-21T18:01:21.5Z"), Some(1_795_284_081_500));
        assert_eq!(parse_datetime("2026-11-21T19:01:21.500+01:00"), Some(1_795_284_081_500));
        assert_eq!(parse_datetime("2026-11-21T12:31:21.500-0530"), Some(1_795_284_081_500));
        assert_eq!(parse_datetime("2000-02-29"), Some(951_782_400_000));
        for wrong in ["", "2026", "2026-13-01", "2026-01-01T25:00:00", "2026-01-01T00:00:00+1", "x-01-01"] {
            assert_eq!(parse_datetime(wrong), None, "{wrong}");
        }
        for ms in [0, -1, 951_782_400_000, 1_795_284_081_500, 4_102_444_799_999] {
            assert_eq!(parse_datetime(&format_datetime(ms)), Some(ms).filter(|&ms| ms >= 0).or(Some(ms)));
        }
    }

    #[test]
    fn durations_are_read() {
        let ms = |text: &str| parse_duration(text).ok().map(|duration| duration.as_millis());
        assert_eq!(
            [ms("500ms"), ms("2m"), ms("1h"), ms("7d")].map(Option::unwrap),
            [500, 120_000, 3_600_000, 604_800_000]
        );
        assert_eq!([ms("PT1H30M"), ms("P1DT2H"), ms("PT0.5S")].map(Option::unwrap), [5_400_000, 93_600_000, 500]);
        for wrong in ["", "1", "s", "1w", "P", "PT", "PT1M1H", "-1s", "99999999999999999999s"] {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_may_be_relative() {
        assert_eq!(parse_time("now", 5), Ok(5));
        assert_eq!(parse_time("-1s", 5000), Ok(4000));
        assert_eq!(parse_time("17", 5), Ok(17));
        assert_eq!(parse_time("1970-01-02", 5), Ok(MS_PER_DAY));
        assert!(parse_time("yesterday", 5).unwrap_err().contains("is no time"));
    }
}
