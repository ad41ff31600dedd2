//! SIGTERM and SIGINT end the server in order; a thread waits for them and for those that must not end it: SIGHUP,
//! SIGUSR1, SIGUSR2 and SIGQUIT. SIGPIPE is ignored, but ends commands whose output nobody reads.

use super::sys::check;
use std::io;

/// Blocks the server's signals in this thread and all it will start. Call it before any thread exists.
pub fn block() -> io::Result<()> {
    let set = server_signals();
    // SAFETY: `set` is initialised; no old set is asked for.
    check(unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) })?;
    Ok(())
}

/// Waits for one of the blocked signals and returns its number.
pub fn wait() -> i32 {
    let set = server_signals();
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

fn server_signals() -> libc::sigset_t {
    set_of(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGQUIT])
}

/// Writing to a pipe that nobody reads any more ends this program, as it does every other command.
pub fn end_on_closed_pipe() {
    // SAFETY: the default action needs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
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
