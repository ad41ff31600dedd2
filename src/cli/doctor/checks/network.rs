//! Packets on their way to the server's cores.

use super::{sysctl_command, sysctl_file};
use crate::cli::doctor::facts::{Facts, is_empty_mask, mask_text};
use crate::cli::doctor::finding::{Check, Finding};

pub fn steering(facts: &Facts) -> Finding {
    let check = Check::new(
        "RPS and XPS",
        "a network card with one receive queue does all its work on one CPU unless RPS spreads it; without XPS senders on \
         several CPUs contend for one send queue",
    );
    let cards = facts.cards();
    let (Some(online), Some(spare)) = (facts.online_cpus(), facts.spare_cpus()) else {
        return check.missing("/sys/devices/system/cpu/online");
    };
    if cards.is_empty() {
        return check.unknown("no network card is to be seen here");
    }
    let (mut found, mut change) = (Vec::new(), Vec::new());
    for card in cards {
        let receive = facts.files_between(&format!("/sys/class/net/{card}/queues/rx-"), "/rps_cpus");
        let send = facts.files_between(&format!("/sys/class/net/{card}/queues/tx-"), "/xps_cpus");
        let has_rps = receive.iter().any(|(_, mask)| !is_empty_mask(mask));
        let has_xps = send.iter().any(|(_, mask)| !is_empty_mask(mask));
        let said = |is_on: bool| if is_on { "on" } else { "off" };
        let (rps, xps) = (said(has_rps), said(has_xps));
        found.push(format!("{card}: {} receive queue(s), RPS {rps}, XPS {xps}", receive.len()));
        if receive.len() == 1 && !has_rps && online.len() >= RPS_CPUS_MIN {
            let cpus = if spare.is_empty() { &online } else { &spare };
            change.push(format!("echo {} > /sys/class/net/{card}/queues/rx-0/rps_cpus", mask_text(cpus)));
        }
        if send.len() > 1 && !has_xps {
            let mut queues: Vec<usize> = send.iter().filter_map(|(queue, _)| queue.parse().ok()).collect();
            queues.sort_unstable();
            for queue in queues {
                let cpus = online.iter().copied().skip(queue).step_by(send.len()).collect();
                let mask = mask_text(&cpus);
                change.push(format!("echo {mask} > /sys/class/net/{card}/queues/tx-{queue}/xps_cpus"));
            }
        }
    }
    let found = found.join("; ");
    if change.is_empty() { check.ok(found) } else { check.advice(found, change) }
}

/// With fewer CPUs, handing packets on costs more than it spreads.
const RPS_CPUS_MIN: usize = 4;

pub fn busy_poll(facts: &Facts) -> Finding {
    let check = Check::new(
        "busy polling",
        "a core that asks the network card before it sleeps saves the interrupt and burns its CPU; it counts for \
         ringkeeper.io=epoll on CPUs that have nothing else to do",
    );
    let (poll, read) = ("net.core.busy_poll", "net.core.busy_read");
    let (Some(poll_us), Some(read_us)) = (facts.number(&sysctl_file(poll)), facts.number(&sysctl_file(read)))
    else {
        return check.missing(&sysctl_file(poll));
    };
    let found = format!("{poll}={poll_us}, {read}={read_us}");
    let has_io_uring = facts.settings.io != "epoll" && facts.io_uring.is_usable;
    let mut change = Vec::new();
    if poll_us > 0 && has_io_uring {
        change.push(format!("{}  # no gain with io_uring", sysctl_command(poll, 0)));
    } else if poll_us > BUSY_POLL_US_MAX {
        change.push(sysctl_command(poll, BUSY_POLL_US_MAX));
    }
    if read_us > 0 {
        change.push(format!("{}  # the server never waits in a read", sysctl_command(read, 0)));
    }
    if change.is_empty() { check.ok(found) } else { check.advice(found, change) }
}

/// Longer than interrupts take.
const BUSY_POLL_US_MAX: u64 = 100;

pub fn accept_queue(facts: &Facts) -> Finding {
    let check = Check::new(
        "accept queue",
        "after a network failure all clients come back at once; who finds the queue full waits a second for its next try",
    );
    at_least(facts, check, "net.core.somaxconn")
}

pub fn syn_queue(facts: &Facts) -> Finding {
    let check = Check::new("SYN queue", "as the accept queue, for connections whose handshake is not done");
    at_least(facts, check, "net.ipv4.tcp_max_syn_backlog")
}

/// The kernel cuts the queue of a listening socket down to its own setting.
fn at_least(facts: &Facts, check: Check, name: &str) -> Finding {
    let file = sysctl_file(name);
    let Some(value) = facts.number(&file) else { return check.missing(&file) };
    let backlog = facts.settings.backlog;
    match value >= backlog {
        true => check.ok(format!("{name}={value}")),
        false => check.advice(
            format!("{name}={value}, the server asks for {backlog}"),
            [sysctl_command(name, backlog)],
        ),
    }
}

pub fn idle_restart(facts: &Facts) -> Finding {
    let name = "net.ipv4.tcp_slow_start_after_idle";
    let check = Check::new(
        "TCP after idling",
        "sessions idle between bursts, and after idling a connection starts slowly again: a large reply then takes further \
         round trips",
    );
    let file = sysctl_file(name);
    match facts.number(&file) {
        None => check.missing(&file),
        Some(0) => check.ok(format!("{name}=0")),
        Some(value) => check.advice(format!("{name}={value}"), [sysctl_command(name, 0)]),
    }
}
