//! SIGTERM and SIGINT end the server in order; a thread waits for them. SIGPIPE is ignored.

use super::sys::check;
use std::io;

/// Blocks the ending signals in this thread and all it will start. Call it before any thread exists.
pub fn block() -> io::Result<()> {
    let set = ending_signals();
    // SAFETY: `set` is initialised; no old set is asked for.
    check(unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) })?;
    Ok(())
}

/// Waits for SIGTERM or SIGINT and returns its number.
pub fn wait() -> i32 {
    let set = ending_signals();
    let mut signal = 0;
    loop {
        // SAFETY: both pointers are valid for the call.
        if unsafe { libc::sigwait(&raw const set, &raw mut signal) } == 0 {
            return signal;
        }
    }
}

/// Sends SIGTERM to this process: wakes whoever `wait`s.
pub fn raise_end() {
    // SAFETY: no pointers.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
}

/// Blocks SIGINT alone in this thread and all it will start, for a program that lets it end what runs, not itself.
pub fn block_interrupt() -> io::Result<()> {
    let set = set_of(&[libc::SIGINT]);
    // SAFETY: `set` is initialised; no old set is asked for.
    check(unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) })?;
    Ok(())
}

/// Waits for a SIGINT that `block_interrupt` holds back.
pub fn wait_interrupt() {
    let set = set_of(&[libc::SIGINT]);
    let mut signal = 0;
    // SAFETY: both pointers are valid for the call.
    while unsafe { libc::sigwait(&raw const set, &raw mut signal) } != 0 {}
}

fn ending_signals() -> libc::sigset_t {
    set_of(&[libc::SIGTERM, libc::SIGINT])
}

fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the set before it is used.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}
