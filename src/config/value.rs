//! Text to typed values and back. An `Err` says in words what was expected; the caller adds file, line and key.

use crate::io::{Durability, IoChoice};
use crate::limits;
use crate::member::{OnMismatch, SNAPSHOT_TXNS};
use crate::server::ScribeChoice;
use crate::server::layout::Pin;
use crate::tree::image::Compression;
use crate::tree::permission::DigestAlgorithm;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A value, or what was expected instead.
pub(super) type Parsed<T> = Result<T, String>;

/// A whole number as `Integer.parseInt` reads it: zoo.cfg's own keys.
pub(super) fn decimal<T: TryFrom<i64>>(text: &str, min: i64, max: i64) -> Parsed<T> {
    in_range(text.parse().ok(), min, max)
}

/// A whole number as `Integer.decode` reads it (`0x10`, `#10`, `010` is octal): ZooKeeper's system properties.
pub(super) fn integer<T: TryFrom<i64>>(text: &str, min: i64, max: i64) -> Parsed<T> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = ["0x", "0X", "#"].iter().find_map(|prefix| digits.strip_prefix(prefix));
    let (digits, radix) = match (hexadecimal, digits.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (digits, 10),
    };
    let is_signed = digits.starts_with(['+', '-']);
    let magnitude = i64::from_str_radix(digits, radix).ok().filter(|_| !is_signed);
    in_range(magnitude.map(|magnitude| if negative { -magnitude } else { magnitude }), min, max)
}

fn in_range<T: TryFrom<i64>>(value: Option<i64>, min: i64, max: i64) -> Parsed<T> {
    let fits = value.filter(|value| (min..=max).contains(value)).and_then(|value| T::try_from(value).ok());
    fits.ok_or_else(|| format!("a whole number from {min} to {max}"))
}

pub(super) fn boolean(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false".into()),
    }
}

pub(super) fn yes_no(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("yes or no".into()),
    }
}

pub(super) fn folder(text: &str) -> Parsed<PathBuf> {
    if text.is_empty() || text.contains('\0') { Err("a folder".into()) } else { Ok(PathBuf::from(text)) }
}

pub(super) fn file(text: &str) -> Parsed<Option<PathBuf>> {
    folder(text).map(Some).map_err(|_| "a file".into())
}

/// KiB as bytes; nothing below zero.
pub(super) fn kib(text: &str, min: i64, max: i64) -> Parsed<u64> {
    integer(text, min, max).map(|kib: i64| (kib.max(0) as u64).saturating_mul(1024))
}

/// None: the default, at which a snapshot also waits for log.
pub(super) fn snap_count(text: &str) -> Parsed<Option<u64>> {
    let count: i64 = integer(text, -i64::from(i32::MAX), i64::from(i32::MAX))?;
    Ok(Some(count.max(2) as u64).filter(|count| *count != SNAPSHOT_TXNS))
}

pub(super) fn words(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_string).collect()
}

/// None is `*`: every four-letter word.
pub(super) fn four_letter_words(text: &str) -> Parsed<Option<Vec<String>>> {
    let words = words(text);
    Ok(if words.iter().any(|word| word == "*") { None } else { Some(words) })
}

pub(super) fn digest_algorithm(text: &str) -> Parsed<DigestAlgorithm> {
    DigestAlgorithm::from_name(text)
        .ok_or_else(|| "a hash: MD5, SHA1, SHA-224, SHA-256, SHA-384, SHA-512 or SHA3-224 to SHA3-512".into())
}

pub(super) fn super_digest(text: &str) -> Parsed<Option<Arc<str>>> {
    match text.split_once(':') {
        Some((user, hash)) if !user.is_empty() && !hash.is_empty() => Ok(Some(text.into())),
        _ => Err("user:hash, the hash in base64".into()),
    }
}

pub(super) fn compression(text: &str) -> Parsed<Compression> {
    match text {
        "" => Ok(Compression::None),
        "gz" => Ok(Compression::Gzip),
        "snappy" => Ok(Compression::Snappy),
        _ => Err("gz, snappy or nothing".into()),
    }
}

pub(super) fn shards(text: &str) -> Parsed<Option<u16>> {
    if text == "auto" {
        return Ok(None);
    }
    let count = decimal(text, 1, limits::SHARDS_MAX as i64);
    count.map(Some).map_err(|expected| format!("auto or {expected}"))
}

pub(super) fn io_choice(text: &str) -> Parsed<IoChoice> {
    match text {
        "auto" => Ok(IoChoice::Auto),
        "io_uring" => Ok(IoChoice::IoUring),
        "epoll" => Ok(IoChoice::Epoll),
        _ => Err("auto, io_uring or epoll".into()),
    }
}

pub(super) fn scribe(text: &str) -> Parsed<ScribeChoice> {
    match text {
        "auto" => Ok(ScribeChoice::Auto),
        "glommio" => Ok(ScribeChoice::Glommio),
        "threads" => Ok(ScribeChoice::Threads),
        _ => Err("auto, glommio or threads".into()),
    }
}

pub(super) fn durability(text: &str) -> Parsed<Option<Durability>> {
    match text {
        "auto" => Ok(None),
        "dsync" => Ok(Some(Durability::Dsync)),
        "fdatasync" => Ok(Some(Durability::Fdatasync)),
        _ => Err("auto, dsync or fdatasync".into()),
    }
}

pub(super) fn digest_mismatch(text: &str) -> Parsed<OnMismatch> {
    match text {
        "refuse" => Ok(OnMismatch::Refuse),
        "warn" => Ok(OnMismatch::Warn),
        _ => Err("refuse or warn".into()),
    }
}

/// `true`, `false` or CPUs as `taskset` lists them: `0,2-3`.
pub(super) fn pin(text: &str) -> Parsed<Pin> {
    let expected = || "true, false or a list of CPUs like 0,2-3".to_string();
    if let Ok(on) = boolean(text) {
        return Ok(if on { Pin::Auto } else { Pin::Off });
    }
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
        let first: u16 = decimal(first, 0, CPU_MAX).map_err(|_| expected())?;
        let last: u16 = decimal(last, 0, CPU_MAX).map_err(|_| expected())?;
        if first > last {
            return Err(expected());
        }
        cpus.extend((first..=last).map(usize::from));
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(Pin::Cpus(cpus))
}

/// The largest CPU number that Linux's fixed-size CPU set can name.
const CPU_MAX: i64 = 1023;

/// As `yes_no` reads it.
pub(super) fn show_yes_no(yes: &bool) -> String {
    if *yes { "yes".into() } else { "no".into() }
}

/// As `kib` reads it.
pub(super) fn show_kib(bytes: &u64) -> String {
    (bytes / 1024).to_string()
}

/// As `snap_count` reads it.
pub(super) fn show_snap_count(count: &Option<u64>) -> String {
    count.unwrap_or(SNAPSHOT_TXNS).to_string()
}

/// Only whether it is set.
pub(super) fn show_secret(secret: &Option<Arc<str>>) -> String {
    secret.as_ref().map_or(String::new(), |_| "(set, not shown)".into())
}

/// The value must not appear in messages.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.contains("password") || key.contains("superdigest")
}

/// How a value is written in a configuration file.
pub(super) trait Show {
    fn show(&self) -> String;
}

macro_rules! show_as_displayed {
    ($($kind:ty),*) => { $(impl Show for $kind { fn show(&self) -> String { self.to_string() } })* };
}
show_as_displayed!(bool, u16, u32, u64, i32, i64, usize);

impl Show for PathBuf {
    fn show(&self) -> String {
        Path::display(self).to_string()
    }
}

/// Nothing if it is not set.
impl Show for Option<PathBuf> {
    fn show(&self) -> String {
        self.as_ref().map_or(String::new(), Show::show)
    }
}

impl Show for Option<Vec<String>> {
    fn show(&self) -> String {
        self.as_ref().map_or("*".into(), |words| words.join(","))
    }
}

impl Show for Vec<String> {
    fn show(&self) -> String {
        self.join(",")
    }
}

impl Show for DigestAlgorithm {
    fn show(&self) -> String {
        format!("{self:?}").to_uppercase().replace('_', "-")
    }
}

impl Show for Compression {
    fn show(&self) -> String {
        match self {
            Compression::None => "",
            Compression::Gzip => "gz",
            Compression::Snappy => "snappy",
        }
        .into()
    }
}

impl Show for Option<u16> {
    fn show(&self) -> String {
        self.map_or("auto".into(), |count| count.to_string())
    }
}

impl Show for IoChoice {
    fn show(&self) -> String {
        match self {
            IoChoice::Auto => "auto",
            IoChoice::IoUring => "io_uring",
            IoChoice::Epoll => "epoll",
        }
        .into()
    }
}

impl Show for ScribeChoice {
    fn show(&self) -> String {
        match self {
            ScribeChoice::Auto => "auto",
            ScribeChoice::Glommio => "glommio",
            ScribeChoice::Threads => "threads",
        }
        .into()
    }
}

impl Show for Option<Durability> {
    fn show(&self) -> String {
        match self {
            None | Some(Durability::None) => "auto",
            Some(Durability::Dsync) => "dsync",
            Some(Durability::Fdatasync) => "fdatasync",
        }
        .into()
    }
}

impl Show for OnMismatch {
    fn show(&self) -> String {
        match self {
            OnMismatch::Refuse => "refuse",
            OnMismatch::Warn => "warn",
        }
        .into()
    }
}

impl Show for Pin {
    fn show(&self) -> String {
        match self {
            Pin::Auto => "true".into(),
            Pin::Off => "false".into(),
            Pin::Cpus(cpus) => cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(","),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_java() {
        let read = |text| integer::<i64>(text, i64::MIN, i64::MAX).ok();
        assert_eq!(read("10"), Some(10));
        assert_eq!(read("+10"), Some(10));
        assert_eq!(read("-0x10"), Some(-16));
        assert_eq!(read("#ff"), Some(255));
        assert_eq!(read("010"), Some(8));
        assert_eq!(read("0"), Some(0));
        for text in ["", "-", "0x", "--1", "0x-1", "1k", "08", "99999999999999999999"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(decimal::<u16>("010", 0, 100), Ok(10));
        assert_eq!(decimal::<u16>("0x10", 0, 100), Err("a whole number from 0 to 100".into()));
    }

    #[test]
    fn cpu_lists() {
        assert_eq!(pin("true"), Ok(Pin::Auto));
        assert_eq!(pin("false"), Ok(Pin::Off));
        assert_eq!(pin("3, 0-1,1"), Ok(Pin::Cpus(vec![0, 1, 3])));
        for text in ["", "2-1", "x", "1,,2", "-1", "99999"] {
            assert!(pin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shard_counts() {
        assert_eq!(shards("auto"), Ok(None));
        assert_eq!(shards("4"), Ok(Some(4)));
        assert!(shards("0").is_err());
    }
}
