//! One run: check the server's answers once in depth, measure, and clean up.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use crate::content::{self, Pattern};
use crate::http::{Answer, Connection, Sink, Target, Upload};
use crate::multistatus::{self, Summary};
use crate::process;
use crate::workload::{Bounds, Task, Workload, file_bytes};

/// What a run may take beyond its own time before it is given up: one answer may be slow.
const PATIENCE: Duration = Duration::from_secs(180);
/// Uploaded files that are read back and compared.
const SAMPLES: u64 = 16;
/// Bytes of each part of a big file that is read and compared.
const PART_BYTES: u64 = 256 * 1024;
/// Warm-up before the clock starts.
const WARM_UP: Duration = Duration::from_millis(200);

/// What to run against which server.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The folder with the tree, as a URL on this machine.
    #[arg(long)]
    url: String,
    /// Name and password for Basic authentication, `name:password` (a throw-away account: the arguments show it).
    #[arg(long)]
    user: Option<String>,
    /// Certificate to trust, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// What to ask.
    #[arg(long)]
    workload: Workload,
    /// Connections, instead of the workload's own number.
    #[arg(long)]
    connections: Option<u32>,
    /// Most requests, instead of the workload's own number.
    #[arg(long)]
    count: Option<u64>,
    /// Seconds, instead of the workload's own time.
    #[arg(long)]
    seconds: Option<f64>,
    /// Size of the big file in the tree, and of the big upload.
    #[arg(long, default_value_t = content::BIG_BYTES)]
    big_bytes: u64,
    /// Processes of the server; what they started counts too.
    #[arg(long = "pid")]
    pids: Vec<u32>,
    /// Processes of the server behind it, where it is a hop.
    #[arg(long = "origin-pid")]
    origin_pids: Vec<u32>,
    /// Name of the server in the result.
    #[arg(long, default_value = "server")]
    server: String,
    /// Whose processes they are, where the server's name in the result is another: peaks are told by this name.
    #[arg(long)]
    process: Option<String>,
    /// Name of the table in the result, instead of the workload's own.
    #[arg(long)]
    table: Option<String>,
    /// Number of the round in the result.
    #[arg(long, default_value_t = 0)]
    round: u32,
}

/// What was measured. One line of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The table it belongs to: the workload, `-tls` or `mount-` in its name.
    pub(crate) table: String,
    /// The workload.
    pub(crate) workload: String,
    /// Which server.
    pub(crate) server: String,
    /// Whose processes were watched.
    pub(crate) process: String,
    /// Which round.
    pub(crate) round: u32,
    /// The status of a server that does not do this at all; everything below is zero then.
    pub(crate) refused: Option<u16>,
    /// Answers.
    pub(crate) requests: u64,
    /// Bytes of file content or of answers.
    pub(crate) bytes: u64,
    /// Wall time in seconds.
    pub(crate) seconds: f64,
    /// Connections that the driver used.
    pub(crate) connections: u32,
    /// Connections that had to be opened again.
    pub(crate) reconnects: u64,
    /// Latencies in milliseconds: median, 99 %, highest.
    pub(crate) latency_ms: [f64; 3],
    /// Processor seconds of the server, user and kernel.
    pub(crate) server_cpu: [f64; 2],
    /// Processor seconds of the server behind it, user and kernel.
    pub(crate) origin_cpu: [f64; 2],
    /// Processor seconds of this driver.
    pub(crate) driver_cpu: f64,
    /// Peak memory of the server while the clock ran, in KiB.
    pub(crate) peak_kib: u64,
    /// Peak memory of the server since the run before, checks and cleaning up included, in KiB.
    pub(crate) whole_peak_kib: u64,
    /// Resources in the listing without an etag.
    pub(crate) without_etag: u64,
    /// Resources in the listing without a time, or without a length where one is due.
    pub(crate) incomplete: u64,
}

/// Runs the workload.
pub(crate) fn run(options: &Options) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Bounds { connections, count, time } = options.workload.bounds();
    let bounds = Bounds {
        connections: options.connections.unwrap_or(connections),
        count: options.count.unwrap_or(count),
        time: options.seconds.map_or(time, Duration::from_secs_f64),
    };
    let whole = async {
        let target = Target::new(&options.url, options.user.as_deref(), options.ca.as_deref())?;
        Runner { options, target, bounds, pattern: RefCell::new(Pattern::new()) }.run().await
    };
    let name = options.workload.name();
    let limit = bounds.time + PATIENCE;
    let result = runtime.block_on(async { tokio::time::timeout(limit, whole).await });
    result.with_context(|| format!("{name} did not end in {limit:?}"))?.with_context(|| format!("{name} failed"))
}

struct Runner<'o> {
    options: &'o Options,
    target: Target,
    bounds: Bounds,
    pattern: RefCell<Pattern>,
}

/// What a workload asks again and again, and what it got when it was checked in depth.
struct Plan {
    method: &'static str,
    /// `None`: a new file each time, below this folder.
    path: Option<&'static str>,
    folder: String,
    headers: String,
    body: Vec<u8>,
    big: bool,
    /// Bytes of a right answer.
    expected: u64,
}

/// Counters that the connections share; they all run on one thread.
struct Shared {
    next: Cell<u64>,
    until: Instant,
    latencies: RefCell<Vec<f32>>,
    bytes: Cell<u64>,
    reconnects: Cell<u64>,
}

impl Runner<'_> {
    async fn run(&self) -> Result<Outcome> {
        let mut first = Connection::open(&self.target).await?;
        let mut outcome = self.blank();
        let plan = match self.options.workload.task() {
            Task::Get { path, big } => self.check_get(&mut first, path, big).await?,
            Task::Put { big } => self.check_put(&mut first, big).await?,
            Task::Propfind { path, depth, resources } => match self.check_propfind(&mut first, path, depth, resources).await? {
                Ok((plan, summary)) => {
                    outcome.without_etag = summary.without_etag;
                    outcome.incomplete = summary.incomplete;
                    plan
                }
                Err(status) => {
                    outcome.refused = Some(status);
                    return Ok(outcome);
                }
            },
        };
        let mut connections = vec![first];
        for _ in 1..self.bounds.connections {
            connections.push(Connection::open(&self.target).await?);
        }
        if plan.path.is_some() && !plan.big {
            self.drive(&plan, &mut connections, u64::MAX, WARM_UP.min(self.bounds.time)).await?;
        }
        self.measure(&plan, &mut connections, &mut outcome).await?;
        if plan.path.is_none() {
            let Some(connection) = connections.first_mut() else { bail!("no connection") };
            self.check_uploads(connection, &plan, outcome.requests).await?;
        }
        outcome.whole_peak_kib = outcome.whole_peak_kib.max(process::peak_kib(&self.options.pids)?);
        Ok(outcome)
    }

    fn blank(&self) -> Outcome {
        let name = self.options.workload.name().to_owned();
        Outcome {
            table: self.options.table.clone().unwrap_or_else(|| name.clone()),
            workload: name,
            server: self.options.server.clone(),
            process: self.options.process.clone().unwrap_or_else(|| self.options.server.clone()),
            round: self.options.round,
            refused: None,
            requests: 0,
            bytes: 0,
            seconds: 0.0,
            connections: self.bounds.connections,
            reconnects: 0,
            latency_ms: [0.0; 3],
            server_cpu: [0.0; 2],
            origin_cpu: [0.0; 2],
            driver_cpu: 0.0,
            peak_kib: 0,
            whole_peak_kib: 0,
            without_etag: 0,
            incomplete: 0,
        }
    }

    async fn measure(&self, plan: &Plan, connections: &mut [Connection<'_>], outcome: &mut Outcome) -> Result<()> {
        let Options { pids, origin_pids, .. } = self.options;
        outcome.whole_peak_kib = process::peak_kib(pids)?;
        process::forget_peaks(pids)?;
        let before = (process::processor(pids)?, process::processor(origin_pids)?, process::own_processor()?);
        let start = Instant::now();
        let shared = self.drive(plan, connections, self.bounds.count, self.bounds.time).await?;
        outcome.seconds = start.elapsed().as_secs_f64();
        let server = process::processor(pids)?.since(before.0);
        let origin = process::processor(origin_pids)?.since(before.1);
        let driver = process::own_processor()?.since(before.2);
        outcome.peak_kib = process::peak_kib(pids)?;
        outcome.server_cpu = [server.user, server.system];
        outcome.origin_cpu = [origin.user, origin.system];
        outcome.driver_cpu = driver.user + driver.system;
        outcome.bytes = shared.bytes.get();
        outcome.reconnects = shared.reconnects.get();
        let mut latencies = shared.latencies.into_inner();
        outcome.requests = latencies.len() as u64;
        outcome.latency_ms = percentiles(&mut latencies);
        Ok(())
    }

    /// Asks over all connections until the count or the time is used up; each connection asks at least once.
    async fn drive(&self, plan: &Plan, connections: &mut [Connection<'_>], count: u64, time: Duration) -> Result<Shared> {
        let shared = Shared {
            next: Cell::new(0),
            until: Instant::now() + time,
            latencies: RefCell::new(Vec::new()),
            bytes: Cell::new(0),
            reconnects: Cell::new(0),
        };
        try_join_all(connections.iter_mut().map(|connection| self.drive_one(plan, connection, count, &shared))).await?;
        Ok(shared)
    }

    async fn drive_one(&self, plan: &Plan, connection: &mut Connection<'_>, count: u64, shared: &Shared) -> Result<()> {
        let before = connection.reconnects;
        let mut kept = Vec::new();
        let mut asked = false;
        let fixed = plan.path.map(|path| self.target.head(plan.method, path, &plan.headers, plan.length(self)));
        loop {
            let number = shared.next.get();
            if number >= count || (asked && Instant::now() >= shared.until) {
                shared.reconnects.set(shared.reconnects.get() + connection.reconnects - before);
                return Ok(());
            }
            shared.next.set(number + 1);
            asked = true;
            let start = Instant::now();
            let bytes = match &fixed {
                Some(head) => self.ask_again(plan, connection, head, &mut kept).await?,
                None => self.put(plan, connection, number).await?,
            };
            shared.latencies.borrow_mut().push(start.elapsed().as_secs_f32() * 1e3);
            shared.bytes.set(shared.bytes.get() + bytes);
        }
    }

    /// One GET or PROPFIND of the run. Its answer is compared with the one that was checked.
    async fn ask_again(&self, plan: &Plan, connection: &mut Connection<'_>, head: &[u8], kept: &mut Vec<u8>) -> Result<u64> {
        let listing = plan.method == "PROPFIND";
        let sink = if plan.big { Sink::Count } else { Sink::Keep(kept) };
        let answer = connection.exchange(head, Upload::Bytes(&plan.body), sink).await?;
        expect_status(plan.method, answer, if listing { &[207] } else { &[200] })?;
        if listing && answer.bytes != plan.expected {
            // Another length may be right (an etag grew by a digit): count what is there.
            let Task::Propfind { resources, .. } = self.options.workload.task() else { return Ok(answer.bytes) };
            let summary = multistatus::summary(kept)?;
            ensure!(summary.resources == resources, "{} resources instead of {resources}", summary.resources);
        } else {
            ensure!(answer.bytes == plan.expected, "{} bytes instead of {}", answer.bytes, plan.expected);
            let right = listing || plan.big || self.pattern.borrow_mut().matches(0, kept);
            ensure!(right, "the content is not what the file holds");
        }
        Ok(answer.bytes)
    }

    async fn put(&self, plan: &Plan, connection: &mut Connection<'_>, number: u64) -> Result<u64> {
        let head = self.target.head("PUT", &plan.file(number), &plan.headers, plan.length(self));
        let upload = if plan.big { Upload::Pattern(self.options.big_bytes) } else { Upload::Bytes(&plan.body) };
        let answer = connection.exchange(&head, upload, Sink::Count).await?;
        expect_status("PUT", answer, &[201, 204])?;
        Ok(plan.length(self).unwrap_or(0))
    }

    /// Reads the whole file, or parts of a big one by ranges, and compares.
    async fn check_get(&self, connection: &mut Connection<'_>, path: &'static str, big: bool) -> Result<Plan> {
        let bytes = file_bytes(big, self.options.big_bytes);
        self.check_file(connection, path, bytes).await?;
        Ok(Plan { method: "GET", path: Some(path), folder: String::new(), headers: String::new(), body: Vec::new(), big, expected: bytes })
    }

    async fn check_file(&self, connection: &mut Connection<'_>, path: &str, bytes: u64) -> Result<()> {
        let parts = if bytes > 4 * PART_BYTES {
            let last = bytes - PART_BYTES;
            vec![(0, PART_BYTES, true), (bytes / 2 - 7, PART_BYTES, true), (last, PART_BYTES, true)]
        } else {
            vec![(0, bytes, false)]
        };
        let mut kept = Vec::new();
        for (from, length, partial) in parts {
            let range = if partial { format!("Range: bytes={from}-{}\r\n", from + length - 1) } else { String::new() };
            let head = self.target.head("GET", path, &range, None);
            let answer = connection.exchange(&head, Upload::None, Sink::Keep(&mut kept)).await?;
            expect_status("GET", answer, if partial { &[206] } else { &[200] })?;
            ensure!(answer.bytes == length, "{path}: {} bytes instead of {length}", answer.bytes);
            ensure!(self.pattern.borrow_mut().matches(from, &kept), "{path} from byte {from} on has wrong content");
        }
        Ok(())
    }

    /// Makes a new folder to upload into.
    async fn check_put(&self, connection: &mut Connection<'_>, big: bool) -> Result<Plan> {
        let folder = format!("put/run-{}-{}/", std::process::id(), self.options.round);
        let head = self.target.head("MKCOL", &folder, "", None);
        let answer = connection.exchange(&head, Upload::None, Sink::Count).await?;
        expect_status("MKCOL", answer, &[201])?;
        let body = if big { Vec::new() } else { self.pattern.borrow_mut().start(content::SMALL_BYTES) };
        Ok(Plan { method: "PUT", path: None, folder, headers: String::new(), body, big, expected: 0 })
    }

    /// Reads uploads back, and removes the folder.
    async fn check_uploads(&self, connection: &mut Connection<'_>, plan: &Plan, count: u64) -> Result<()> {
        let step = (count / SAMPLES).max(1) as usize;
        for number in (0..count).step_by(step) {
            self.check_file(connection, &plan.file(number), plan.length(self).unwrap_or(0)).await?;
        }
        let head = self.target.head("DELETE", &plan.folder, "Depth: infinity\r\n", None);
        let answer = connection.exchange(&head, Upload::None, Sink::Count).await?;
        expect_status("DELETE", answer, &[200, 204])
    }

    /// Lists once and parses the answer; `Err` inside: the server refuses, which only Depth infinity may be.
    async fn check_propfind(
        &self,
        connection: &mut Connection<'_>,
        path: &'static str,
        depth: &str,
        resources: u64,
    ) -> Result<Result<(Plan, Summary), u16>> {
        let headers = format!("Depth: {depth}\r\nContent-Type: application/xml\r\n");
        let body = multistatus::REQUEST.as_bytes().to_vec();
        let mut plan = Plan { method: "PROPFIND", path: Some(path), folder: String::new(), headers, body, big: false, expected: 0 };
        let head = self.target.head("PROPFIND", path, &plan.headers, plan.length(self));
        let mut kept = Vec::new();
        let answer = connection.exchange(&head, Upload::Bytes(&plan.body), Sink::Keep(&mut kept)).await?;
        if depth == "infinity" && matches!(answer.status, 400 | 403 | 501) {
            return Ok(Err(answer.status));
        }
        expect_status("PROPFIND", answer, &[207])?;
        let summary = multistatus::summary(&kept)?;
        ensure!(summary.resources == resources, "{} resources instead of {resources}", summary.resources);
        plan.expected = answer.bytes;
        Ok(Ok((plan, summary)))
    }
}

impl Plan {
    fn file(&self, number: u64) -> String {
        format!("{}file-{number:05}.bin", self.folder)
    }

    fn length(&self, runner: &Runner<'_>) -> Option<u64> {
        match self.method {
            "GET" => None,
            "PUT" => Some(file_bytes(self.big, runner.options.big_bytes)),
            _ => Some(self.body.len() as u64),
        }
    }
}

fn expect_status(method: &str, answer: Answer, wanted: &[u16]) -> Result<()> {
    let status = answer.status;
    ensure!(wanted.contains(&status), "{method} was answered {status}, not one of {wanted:?}");
    Ok(())
}

/// Median, 99 % and highest.
fn percentiles(values: &mut [f32]) -> [f64; 3] {
    values.sort_by(f32::total_cmp);
    let at = |part: usize| {
        let index = (values.len() * part / 100).min(values.len().saturating_sub(1));
        values.get(index).copied().map_or(0.0, f64::from)
    };
    [at(50), at(99), at(100)]
}
