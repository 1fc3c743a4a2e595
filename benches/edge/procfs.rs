//! What a process costs, seen from outside: Linux's /proc.

use std::fs;
use std::time::Duration;

use crate::Outcome;

/// Processor time that all threads of `pid` have used, in nanoseconds (`schedstat`; the ticks of `stat` are too coarse).
/// Threads that have ended are not counted: none of the measured programs ends one while it serves.
pub(crate) fn processor_time(pid: u32) -> Outcome<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path().join("schedstat");
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let first = text.split_whitespace().next().ok_or("an empty schedstat: kernel without CONFIG_SCHED_INFO?")?;
        nanos += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Resident set in KiB.
pub(crate) fn resident(pid: u32) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS: the process has ended")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// How many files this process may open.
pub(crate) fn open_files() -> Outcome<u64> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).ok_or("no limit of open files")?;
    let soft = line.split_whitespace().next().ok_or("no limit of open files")?;
    Ok(if soft == "unlimited" { u64::MAX } else { soft.parse()? })
}

/// The last of the processors that this process may use.
pub(crate) fn last_processor() -> Outcome<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list =
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).ok_or("no list of processors")?;
    let last = list.trim().rsplit([',', '-']).next().ok_or("an empty list of processors")?;
    Ok(last.to_owned())
}

/// One line on the machine: processors, model, kernel, and what else ran when the benchmark began.
pub(crate) fn machine() -> Outcome<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let models: Vec<_> = cpus.lines().filter_map(|line| line.strip_prefix("model name")).collect();
    let model = models.first().map_or("unknown processor", |model| model.trim_start_matches([' ', '\t', ':']));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split_whitespace().next().unwrap_or("unknown");
    Ok(format!("{} × {model}, Linux {}, load before the run {load}", models.len(), kernel.trim()))
}
