//! Numbers as they are written, without going through a float.

/// `text`, a number of JSON, counted in parts of which `10^places` make one, and rounded up; if it
/// lies between `least` and `most` as it is written, not only as it is rounded.
pub(super) fn within(text: &str, places: u32, (least, most): (u64, u64)) -> Option<u64> {
    let (below, exact) = parts(text, places)?;
    let above = if exact { below } else { below.saturating_add(1) };
    (least <= below && above <= most).then_some(above)
}

/// Whether a number of JSON is written as a whole one: `3`, and neither `3.0` nor `3e0`.
pub(super) fn is_whole(text: &str) -> bool {
    !text.contains(['.', 'e', 'E'])
}

/// The parts that are complete, and whether nothing is left over. Nothing below zero has any.
fn parts(text: &str, places: u32) -> Option<(u64, bool)> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(decimals.bytes());
    if digits().all(|digit| digit == b'0') {
        return Some((0, true));
    }
    if negative {
        return None;
    }
    // Behind so many digits stands the point, once the number is counted in parts.
    let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
    let far = if exponent.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
    let exponent = exponent.parse::<i32>().map_or(far, i64::from);
    let zeros = digits().take_while(|&digit| digit == b'0').count() as i64;
    let point = whole.len() as i64 + exponent + i64::from(places) - zeros;
    let significant = || digits().skip(zeros as usize);
    let shown = significant().chain(core::iter::repeat(b'0'));
    // A number with more digits than a u64 is out of every range.
    let below = match usize::try_from(point.min(TOO_MANY)) {
        Ok(point) => shown.take(point).fold(0_u64, |sum, digit| {
            sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
        }),
        Err(_) => 0,
    };
    let rest = significant().skip(usize::try_from(point).unwrap_or(0));
    Some((below, rest.into_iter().all(|digit| digit == b'0')))
}

const TOO_MANY: i64 = 21;

#[cfg(test)]
mod tests {
    use super::{is_whole, within};

    const ANY: (u64, u64) = (0, u64::MAX - 1);

    #[test]
    fn a_number_is_what_its_text_says() {
        for (text, micros) in [
            ("0", 0),
            ("-0", 0),
            ("-0.000", 0),
            ("0e999999999999", 0),
            ("1", 1_000_000),
            ("0.1", 100_000),
            ("0.3", 300_000),
            ("1.1", 1_100_000),
            ("4503599627.370497", 4_503_599_627_370_497),
            ("1e3", 1_000_000_000),
            ("1E+3", 1_000_000_000),
            ("25e-1", 2_500_000),
            ("0.000025e5", 2_500_000),
            ("1.5e-3", 1_500),
            ("100e-8", 1),
            ("0.0000010", 1),
        ] {
            assert_eq!(within(text, 6, ANY), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_is_left_over_rounds_up() {
        for (text, micros) in [
            ("0.0000001", 1),
            ("0.1000000001", 100_001),
            ("1e-7", 1),
            ("1e-99999999999999999999", 1),
            ("9e-7", 1),
            ("1.9999999", 2_000_000),
        ] {
            assert_eq!(within(text, 6, ANY), Some(micros), "{text}");
        }
    }

    #[test]
    fn a_number_out_of_range_is_none_however_it_is_rounded() {
        let range = (100_000, 5_000_000);
        for inside in ["0.1", "5", "5.000000", "0.1000001", "4.9999999", "50e-1"] {
            assert!(within(inside, 6, range).is_some(), "{inside}");
        }
        for outside in
            ["0.0999999999", "0.099999", "5.0000000001", "5.000001", "-1", "1e99", "1e999999999999"]
        {
            assert_eq!(within(outside, 6, range), None, "{outside}");
        }
        assert_eq!(within("99999999999999999999999", 0, (1, 1 << 31)), None);
    }

    #[test]
    fn a_whole_number_has_no_point_and_no_exponent() {
        assert!(is_whole("3") && is_whole("-3"));
        assert!(!is_whole("3.0") && !is_whole("3e0") && !is_whole("3E0"));
    }
}
