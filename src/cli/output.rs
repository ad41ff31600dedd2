//! What commands print. Who reads it may go, the disk it goes to may be full: neither is a bug of this program.

use std::fmt::Arguments;
use std::io::{self, Write};

/// Prints to standard output; ends the program if that is not possible.
pub(super) fn out(text: Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_fmt(text) {
        if error.kind() != io::ErrorKind::BrokenPipe {
            err(format_args!("ringkeeper: cannot write to standard output: {error}\n"));
        }
        std::process::exit(1);
    }
}

/// Prints to standard error, if that is possible.
pub(super) fn err(text: Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// A line on standard output.
macro_rules! outln {
    ($($text:tt)*) => {
        $crate::cli::output::out(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// A line on standard error.
macro_rules! errln {
    ($($text:tt)*) => {
        $crate::cli::output::err(format_args!("{}\n", format_args!($($text)*)))
    };
}
