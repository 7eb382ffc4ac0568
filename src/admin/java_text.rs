//! How Java writes dates, numbers and addresses: what parses upstream's words expects them so.

use std::net::SocketAddr;

const SECONDS_PER_DAY: i64 = 86_400;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// From the first of January 1970.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A moment, given in milliseconds since 1970, as `Wed Nov 25 08:35:31 UTC 2026`.
///
/// Source: Java, `Date.toString`, of a machine whose time zone is UTC.
pub(super) fn date(wall_ms: i64) -> String {
    let seconds = wall_ms.div_euclid(1_000);
    let (days, second) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
    let (year, month, day) = civil(days);
    let name =
        |names: &[&'static str], index: i64| names.get(index as usize).copied().unwrap_or("");
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!(
        "{} {} {day:02} {hour:02}:{minute:02}:{:02} UTC {year}",
        name(&WEEKDAYS, days.rem_euclid(7)),
        name(&MONTHS, month - 1),
        second % 60,
    )
}

/// Year, month and day, both from 1, of a day counted from the first of January 1970.
///
/// Years are counted from March, so that a leap day is the last of its year; the calendar repeats
/// itself after 146,097 days, which are 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let from_march_0000 = days + 719_468;
    let (era, day) = (from_march_0000.div_euclid(146_097), from_march_0000.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    // Five months from March on have 153 days, whichever five they are.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day_of_month)
}

/// A mean as upstream shows it: four decimals, and never without one.
///
/// Source: ZooKeeper, `AvgMinMaxCounter.getAvg`; Java, `Double.toString`.
pub(super) fn mean(value: f64) -> String {
    let rounded = (value * 10_000.0).round() / 10_000.0;
    let is_plain = rounded == 0.0 || (1e-3..1e7).contains(&rounded.abs());
    if is_plain {
        return format!("{rounded:?}");
    }
    let scientific = format!("{rounded:e}");
    match scientific.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
        Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
        None => scientific,
    }
}

/// An address that was never resolved to a name: `/127.0.0.1:57490`,
/// `/[0:0:0:0:0:0:0:1]:57490`.
///
/// Source: Java, `InetSocketAddress.toString`.
pub(super) fn address(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => format!("/{}:{}", v4.ip(), v4.port()),
        SocketAddr::V6(v6) => {
            let groups = v6.ip().segments().map(|group| format!("{group:x}")).join(":");
            let scope = match v6.scope_id() {
                0 => String::new(),
                scope => format!("%{scope}"),
            };
            format!("/[{groups}{scope}]:{}", v6.port())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        let dates = [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969"),
            (951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000"),
            (951_868_800_000, "Wed Mar 01 00:00:00 UTC 2000"),
            (1_795_595_731_999, "Wed Nov 25 08:35:31 UTC 2026"),
            (4_107_542_399_000, "Sun Feb 28 23:59:59 UTC 2100"),
            (4_107_542_400_000, "Mon Mar 01 00:00:00 UTC 2100"),
        ];
        for (wall_ms, text) in dates {
            assert_eq!(date(wall_ms), text, "{wall_ms}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut before = civil(-1);
        for day in 0..146_097 {
            let (year, month, day_of_month) = civil(day);
            let follows = match before {
                (y, m, d) if d + 1 == day_of_month => (y, m) == (year, month),
                (y, 12, 31) => (year, month, day_of_month) == (y + 1, 1, 1),
                (y, m, d) => d >= 28 && (year, month, day_of_month) == (y, m + 1, 1),
            };
            assert!(follows, "{before:?} before {:?}", (year, month, day_of_month));
            before = (year, month, day_of_month);
        }
        assert_eq!(before, (2369, 12, 31));
    }

    #[test]
    fn a_mean_has_one_to_four_decimals() {
        let means = [
            (0.0, "0.0"),
            (12.0, "12.0"),
            (8.666_666_7, "8.6667"),
            (0.3, "0.3"),
            (0.000_1, "1.0E-4"),
            (0.000_04, "0.0"),
            (0.001, "0.001"),
            (12_345_678.0, "1.2345678E7"),
        ];
        for (value, text) in means {
            assert_eq!(mean(value), text);
        }
    }

    #[test]
    fn addresses_have_a_slash_for_the_missing_name() {
        let addresses = [
            ("127.0.0.1:57490", "/127.0.0.1:57490"),
            ("[::1]:46742", "/[0:0:0:0:0:0:0:1]:46742"),
            ("[fe80::ab%2]:1", "/[fe80:0:0:0:0:0:0:ab%2]:1"),
        ];
        for (given, text) in addresses {
            assert_eq!(address(given.parse().expect("an address")), text);
        }
    }
}
