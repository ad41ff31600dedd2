//! Tells the program which sources it was built from and when: the commit, if this is a checkout, and the date, which
//! `SOURCE_DATE_EPOCH` fixes for builds that must be the same twice.

// A build script is configured by its environment.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    for path in [".git/HEAD", ".git/logs/HEAD"] {
        if std::path::Path::new(path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    println!("cargo:rerun-if-changed=build.rs");
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    let committed = git(&["log", "-1", "--format=%ct"]);
    let epoch =
        std::env::var("SOURCE_DATE_EPOCH").ok().or(committed).and_then(|text| text.trim().parse().ok());
    println!("cargo:rustc-env=RINGKEEPER_COMMIT={}", commit.unwrap_or_else(|| "unknown".into()));
    println!("cargo:rustc-env=RINGKEEPER_DATE={}", date(epoch.unwrap_or(0)));
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// `YYYY-MM-DD HH:MM` in UTC.
fn date(epoch: i64) -> String {
    let (days, minutes) = (epoch.div_euclid(86_400), epoch.rem_euclid(86_400) / 60);
    // Days since 0000-03-01 in eras of 400 years, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minutes / 60, minutes % 60)
}
