//! A point in time as this machine's time zone writes it.

/// The calendar's view of a time in ms since 1970, as `java.util.Date` prints it: `Sat Nov 21 03:52:07 UTC 2026`.
pub fn date(ms: i64) -> String {
    let seconds: libc::time_t = ms.div_euclid(1000);
    // SAFETY: `tm` is plain data that localtime_r fills; on failure it returns null and `tm` is not used.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&raw const seconds, &raw mut tm).is_null() {
            return format!("{ms} ms");
        }
        tm
    };
    let zone = if tm.tm_zone.is_null() {
        String::new()
    } else {
        // SAFETY: not null; localtime_r points it at a name of the C library that lives as long as the time zone does.
        unsafe { std::ffi::CStr::from_ptr(tm.tm_zone) }.to_string_lossy().into_owned()
    };
    let day = DAYS.get(tm.tm_wday as usize).unwrap_or(&"???");
    let month = MONTHS.get(tm.tm_mon as usize).unwrap_or(&"???");
    let (date, year) = (tm.tm_mday, i64::from(tm.tm_year) + 1900);
    format!("{day} {month} {date:02} {:02}:{:02}:{:02} {zone} {year}", tm.tm_hour, tm.tm_min, tm.tm_sec)
}

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_that_of_java() {
        let text = date(0);
        let words: Vec<&str> = text.split(' ').collect();
        assert_eq!(words.len(), 6, "{text}");
        // Whatever the zone is, it is within a day of the epoch.
        assert!(["Wed", "Thu", "Fri"].contains(&words[0]), "{text}");
        assert!(words[5] == "1970" || words[5] == "1969", "{text}");
        assert!(date(951_782_400_000).ends_with("2000"));
    }
}
