//! Medians and ratios of many runs, as a page of Markdown tables.
//!
//! Wall times on a shared machine are noisy. So servers alternate in rounds, a ratio is the median of the ratios within
//! each round, and beside each rate stands what a unit of work cost the server in processor time, the firmer figure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::run::Outcome;

/// The server that is measured against the others.
const OURS: &str = "causeway";
/// Ours where it does no fsync, as the others: what is like for like where files are written.
const OURS_LIKE_PEERS: &str = "causeway-process";
/// Most resident memory of ours over the whole run, in MiB.
const PEAK_AIM_MIB: f64 = 64.0;

/// Where the results are.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Files with one line of JSON for each run.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// All runs of one table, in the order in which they were made.
struct Group<'o> {
    name: &'o str,
    outcomes: Vec<&'o Outcome>,
}

/// Renders the page.
pub(crate) fn table(options: &Options) -> Result<String> {
    let mut outcomes = Vec::new();
    for file in &options.files {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        for line in text.lines() {
            outcomes.push(serde_json::from_str(line).with_context(|| format!("not a result: {line}"))?);
        }
    }
    Ok(page(&outcomes)?)
}

fn page(outcomes: &[Outcome]) -> Result<String, std::fmt::Error> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for outcome in outcomes {
        match groups.iter_mut().find(|group| group.name == outcome.table) {
            Some(group) => group.outcomes.push(outcome),
            None => groups.push(Group { name: &outcome.table, outcomes: vec![outcome] }),
        }
    }
    let mut page = String::new();
    for group in &groups {
        group.render(&mut page)?;
    }
    render_peaks(outcomes, &mut page)?;
    render_aims(&groups, outcomes, &mut page)?;
    Ok(page)
}

impl Outcome {
    /// Bulk workloads are told in bytes, the others in requests.
    fn bulk(&self) -> bool {
        self.workload.ends_with("1g")
    }

    fn rate(&self) -> f64 {
        let done = if self.bulk() { self.bytes as f64 / 1e6 } else { self.requests as f64 };
        done / self.seconds.max(1e-9)
    }

    /// Units of work: GiB, or requests.
    fn units(&self) -> f64 {
        let units = if self.bulk() { self.bytes as f64 / (1_u64 << 30) as f64 } else { self.requests as f64 };
        units.max(1e-9)
    }

    /// Milliseconds of processor time for a unit of work.
    fn cpu_ms(&self) -> f64 {
        let [user, system] = self.server_cpu;
        (user + system) * 1e3 / self.units()
    }

    fn origin_cpu_ms(&self) -> f64 {
        let [user, system] = self.origin_cpu;
        (user + system) * 1e3 / self.units()
    }

    fn user_part(&self) -> f64 {
        let [user, system] = self.server_cpu;
        100.0 * user / (user + system).max(1e-9)
    }

    fn peak_mib(&self) -> f64 {
        self.peak_kib as f64 / 1024.0
    }

    fn whole_peak_mib(&self) -> f64 {
        self.whole_peak_kib as f64 / 1024.0
    }
}

impl<'o> Group<'o> {
    fn servers(&self) -> Vec<&'o str> {
        let mut servers: Vec<&str> = Vec::new();
        for outcome in &self.outcomes {
            if !servers.contains(&outcome.server.as_str()) {
                servers.push(&outcome.server);
            }
        }
        servers
    }

    fn of(&self, server: &str) -> impl Iterator<Item = &'o Outcome> {
        self.outcomes.iter().copied().filter(move |outcome| outcome.server == server && outcome.refused.is_none())
    }

    fn values(&self, server: &str, value: impl Fn(&Outcome) -> f64) -> Vec<f64> {
        self.of(server).map(value).collect()
    }

    /// The median of the ratios to `base` within each round.
    fn ratio(&self, server: &str, base: &str, value: impl Fn(&Outcome) -> f64) -> Option<f64> {
        let bases: BTreeMap<u32, f64> = self.of(base).map(|outcome| (outcome.round, value(outcome))).collect();
        let ratios: Vec<f64> =
            self.of(server).filter_map(|outcome| Some(value(outcome) / bases.get(&outcome.round).filter(|base| **base > 0.0)?)).collect();
        (!ratios.is_empty()).then(|| median(ratios))
    }

    /// Whom the ratios of this table are to.
    fn bases(&self) -> &'static [&'static str] {
        if self.name.starts_with("mount-") { &["nginx proxy_pass", "direct"] } else { &["nginx"] }
    }

    fn render(&self, page: &mut String) -> std::fmt::Result {
        let Some(first) = self.outcomes.first() else { return Ok(()) };
        let hop = self.name.starts_with("mount-");
        let (rate, unit) = if first.bulk() { ("MB/s", "ms/GiB") } else { ("req/s", "ms/req") };
        let plural = if first.connections == 1 { "" } else { "s" };
        writeln!(page, "\n### {} ({} connection{plural})\n", self.name, first.connections)?;
        write!(page, "| server | {rate} | lowest–highest |")?;
        for base in self.bases() {
            write!(page, " × {base} |")?;
        }
        write!(page, " CPU {unit} | of it user | CPU × {} |", self.bases().first().unwrap_or(&""))?;
        let origin = if hop { " CPU behind it |" } else { "" };
        writeln!(page, "{origin} p50 ms | p99 ms | peak MiB | driver's core |")?;
        let columns = 9 + self.bases().len() + usize::from(hop);
        writeln!(page, "|{}", "---|".repeat(columns + 1))?;
        for server in self.servers() {
            self.render_row(server, hop, page)?;
        }
        for server in self.servers() {
            let most = |value: fn(&Outcome) -> u64| self.of(server).map(value).max().unwrap_or(0);
            let without_etag = most(|outcome| outcome.without_etag);
            let incomplete = most(|outcome| outcome.incomplete);
            let reconnects: u64 = self.of(server).map(|outcome| outcome.reconnects).sum();
            if without_etag > 0 {
                writeln!(page, "\n{server}: {without_etag} resources without an etag.")?;
            }
            if incomplete > 0 {
                writeln!(page, "\n{server}: {incomplete} resources without a time or a length.")?;
            }
            if reconnects > 0 {
                writeln!(page, "\n{server}: closed {reconnects} connections between requests.")?;
            }
        }
        Ok(())
    }

    fn render_row(&self, server: &str, hop: bool, page: &mut String) -> std::fmt::Result {
        let rates = self.values(server, Outcome::rate);
        if rates.is_empty() {
            let status = self.outcomes.iter().find(|outcome| outcome.server == server).and_then(|one| one.refused);
            return writeln!(page, "| {server} | refuses ({}) |", status.unwrap_or(0));
        }
        let middle = |value: fn(&Outcome) -> f64| median(self.values(server, value));
        let (low, high) = (figure(lowest(&rates)), figure(highest(&rates)));
        write!(page, "| {server} | {} | {low}–{high} |", figure(median(rates)))?;
        for base in self.bases() {
            write!(page, " {} |", ratio(self.ratio(server, base, Outcome::rate)))?;
        }
        let first_base = self.bases().first().unwrap_or(&"");
        let cpu_ratio = ratio(self.ratio(server, first_base, Outcome::cpu_ms));
        write!(page, " {} | {:.0} % | {cpu_ratio} |", figure(middle(Outcome::cpu_ms)), middle(Outcome::user_part))?;
        if hop {
            write!(page, " {} |", figure(middle(Outcome::origin_cpu_ms)))?;
        }
        let p50 = figure(middle(|outcome| outcome.latency_ms[0]));
        let p99 = figure(middle(|outcome| outcome.latency_ms[1]));
        let peak = highest(&self.values(server, Outcome::peak_mib));
        let driver = 100.0 * middle(|outcome| outcome.driver_cpu / outcome.seconds.max(1e-9));
        writeln!(page, " {p50} | {p99} | {peak:.0} | {driver:.0} % |")
    }
}

/// The highest resident memory over the whole run. Workers' shared pages count in each worker.
fn render_peaks(outcomes: &[Outcome], page: &mut String) -> std::fmt::Result {
    let mut peaks: BTreeMap<&str, (f64, &str)> = BTreeMap::new();
    for outcome in outcomes {
        let peak = peaks.entry(&outcome.process).or_insert((0.0, ""));
        if outcome.whole_peak_mib() > peak.0 {
            *peak = (outcome.whole_peak_mib(), &outcome.table);
        }
    }
    writeln!(page, "\n### Peak resident memory (VmHWM of all its processes) over the whole run\n")?;
    writeln!(page, "| server | MiB | during or before |\n|---|---|---|")?;
    for (server, (peak, table)) in peaks {
        writeln!(page, "| {server} | {peak:.1} | {table} |")?;
    }
    Ok(())
}

/// The aims, each with what was measured.
fn render_aims(groups: &[Group<'_>], outcomes: &[Outcome], page: &mut String) -> std::fmt::Result {
    let mut lines = Vec::new();
    let mut aim = |name: &str, base: &str, wanted: f64, measured: Option<f64>| {
        if let Some(measured) = measured {
            let verdict = if measured >= wanted { "met" } else { "MISSED" };
            lines.push(format!("| {name} | ≥ {wanted} × {base} | {measured:.2} | {verdict} |"));
        }
    };
    for group in groups {
        let rate = |server: &str, base: &str| group.ratio(server, base, Outcome::rate);
        if group.name.starts_with("mount-") {
            aim(group.name, "nginx proxy_pass", 1.3, rate("causeway mount", "nginx proxy_pass"));
        } else if group.name.starts_with("propfind-") {
            aim(group.name, "nginx", 1.3, rate(OURS, "nginx"));
            aim(group.name, "apache", 4.0, rate(OURS, "apache"));
        } else {
            aim(group.name, "nginx", 0.9, rate(OURS, "nginx"));
            aim(&format!("{}, without fsync", group.name), "nginx", 0.9, rate(OURS_LIKE_PEERS, "nginx"));
        }
    }
    let ours: Vec<f64> = outcomes.iter().filter(|outcome| outcome.process.starts_with(OURS)).map(Outcome::whole_peak_mib).collect();
    if !ours.is_empty() {
        let peak = highest(&ours);
        let verdict = if peak <= PEAK_AIM_MIB { "met" } else { "MISSED" };
        lines.push(format!("| memory of the whole run | ≤ {PEAK_AIM_MIB} MiB | {peak:.1} | {verdict} |"));
    }
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(page, "\n### Aims\n\n| what | aim | measured | |\n|---|---|---|---|")?;
    for line in lines {
        writeln!(page, "{line}")?;
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle.wrapping_sub(1)), values.get(middle)) {
        (Some(below), Some(above)) if values.len().is_multiple_of(2) => f64::midpoint(*below, *above),
        (_, Some(value)) => *value,
        (_, None) => 0.0,
    }
}

fn lowest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn highest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// Three digits that matter.
fn figure(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ if value >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}
