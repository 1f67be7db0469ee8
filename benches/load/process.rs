//! What a server costs, read from `/proc`: processor time and peak memory of a process and all below it.

use std::fs;

use anyhow::{Context, Result};

/// Clock ticks of `/proc/PID/stat` in a second (`USER_HZ`, fixed by the kernel's interface).
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Processor {
    /// In the program's own code.
    pub(crate) user: f64,
    /// In the kernel on its behalf.
    pub(crate) system: f64,
}

impl Processor {
    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { user: self.user - earlier.user, system: self.system - earlier.system }
    }
}

/// Processor time that these processes and all below them have used, those that ended included.
pub(crate) fn processor(roots: &[u32]) -> Result<Processor> {
    let mut total = Processor::default();
    for stat in family(roots)? {
        // A child that ended is in its parent's figures once it was waited for.
        total.user += (stat.user + stat.children_user) as f64 / TICKS_PER_SECOND;
        total.system += (stat.system + stat.children_system) as f64 / TICKS_PER_SECOND;
    }
    Ok(total)
}

/// This process's own time.
pub(crate) fn own_processor() -> Result<Processor> {
    processor(&[std::process::id()])
}

/// Sum of the peak resident sizes (`VmHWM`) in KiB. Pages shared between workers count in each of them.
pub(crate) fn peak_kib(roots: &[u32]) -> Result<u64> {
    let mut total = 0;
    for stat in family(roots)? {
        let Ok(status) = fs::read_to_string(format!("/proc/{}/status", stat.pid)) else { continue };
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
        total += line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0);
    }
    Ok(total)
}

/// Starts the peaks anew, so that a workload's own peak can be told. The peak of a whole run is the highest of them.
pub(crate) fn forget_peaks(roots: &[u32]) -> Result<()> {
    for stat in family(roots)? {
        // Not permitted for another user's process: the peak is then the one since the server's start.
        drop(fs::write(format!("/proc/{}/clear_refs", stat.pid), "5"));
    }
    Ok(())
}

struct Stat {
    pid: u32,
    parent: u32,
    user: u64,
    system: u64,
    children_user: u64,
    children_system: u64,
}

/// The processes `roots` and all their descendants.
fn family(roots: &[u32]) -> Result<Vec<Stat>> {
    let mut others: Vec<Stat> =
        fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter_map(stat).collect();
    let mut family = Vec::new();
    let mut wanted: Vec<u32> = roots.to_vec();
    while let Some(pid) = wanted.pop() {
        wanted.extend(others.iter().filter(|other| other.parent == pid).map(|other| other.pid));
        if let Some(at) = others.iter().position(|other| other.pid == pid) {
            family.push(others.swap_remove(at));
        } else {
            anyhow::bail!("process {pid} is gone: the server ended during the run");
        }
    }
    Ok(family)
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(pid, &text).ok()
}

fn parse_stat(pid: u32, text: &str) -> Result<Stat> {
    // The second field is the program's name in brackets and may hold anything; the last bracket ends it.
    let (_, fields) = text.rsplit_once(')').context("no name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |index: usize| -> Result<u64> { Ok(fields.get(index).context("too few fields")?.parse()?) };
    Ok(Stat {
        pid,
        parent: u32::try_from(number(1)?)?,
        user: number(11)?,
        system: number(12)?,
        children_user: number(13)?,
        children_system: number(14)?,
    })
}
