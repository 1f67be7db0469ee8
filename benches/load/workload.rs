//! The workloads by name: what is asked, over how many connections, and for how long.

use std::time::Duration;

use clap::ValueEnum;

use crate::content::SMALL_BYTES;

/// What a user waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// GET of 1 KiB at 8 connections.
    #[value(name = "get-1k")]
    GetSmall,
    /// GET of 1 GiB.
    #[value(name = "get-1g")]
    GetBig,
    /// PUT of 2,000 new files of 1 KiB at 8 connections.
    #[value(name = "put-1k")]
    PutSmall,
    /// PUT of 1 GiB.
    #[value(name = "put-1g")]
    PutBig,
    /// PROPFIND of one collection, Depth 0, at 8 connections.
    #[value(name = "propfind-0")]
    PropfindSelf,
    /// PROPFIND Depth 1 of 1,000 entries.
    #[value(name = "propfind-1-1000")]
    PropfindThousand,
    /// PROPFIND Depth 1 of 10,000 entries.
    #[value(name = "propfind-1-10000")]
    PropfindTenThousand,
    /// PROPFIND Depth infinity of 20,000 entries in 100 collections.
    #[value(name = "propfind-inf")]
    PropfindDeep,
}

/// The kind of request, with what a right answer holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task {
    /// GET of this file.
    Get { path: &'static str, big: bool },
    /// PUT of new files, so long.
    Put { big: bool },
    /// PROPFIND of this collection; so many resources must come, the collection itself included.
    Propfind { path: &'static str, depth: &'static str, resources: u64 },
}

/// The bounds of a run: whichever comes first ends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Connections, each with one request at a time.
    pub(crate) connections: u32,
    /// Most requests.
    pub(crate) count: u64,
    /// No request starts after this time.
    pub(crate) time: Duration,
}

/// Most requests of a run that is bounded by its time: latencies are kept in memory.
const COUNT_MAX: u64 = 2_000_000;

impl Workload {
    /// The name on the command line and in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GetSmall => "get-1k",
            Self::GetBig => "get-1g",
            Self::PutSmall => "put-1k",
            Self::PutBig => "put-1g",
            Self::PropfindSelf => "propfind-0",
            Self::PropfindThousand => "propfind-1-1000",
            Self::PropfindTenThousand => "propfind-1-10000",
            Self::PropfindDeep => "propfind-inf",
        }
    }

    /// What to ask.
    pub(crate) fn task(self) -> Task {
        match self {
            Self::GetSmall => Task::Get { path: "1k.bin", big: false },
            Self::GetBig => Task::Get { path: "1g.bin", big: true },
            Self::PutSmall => Task::Put { big: false },
            Self::PutBig => Task::Put { big: true },
            Self::PropfindSelf => Task::Propfind { path: "d1000/", depth: "0", resources: 1 },
            Self::PropfindThousand => Task::Propfind { path: "d1000/", depth: "1", resources: 1_001 },
            Self::PropfindTenThousand => Task::Propfind { path: "d10000/", depth: "1", resources: 10_001 },
            Self::PropfindDeep => Task::Propfind { path: "inf20000/", depth: "infinity", resources: 20_001 },
        }
    }

    /// How long a run goes on unless told otherwise.
    pub(crate) fn bounds(self) -> Bounds {
        let (connections, count, seconds) = match self {
            Self::GetSmall | Self::PropfindSelf => (8, COUNT_MAX, 3),
            Self::PutSmall => (8, 2_000, 60),
            Self::PropfindThousand | Self::PropfindTenThousand => (2, COUNT_MAX, 3),
            Self::GetBig => (1, 3, 30),
            Self::PutBig => (1, 1, 60),
            Self::PropfindDeep => (1, 10, 5),
        };
        Bounds { connections, count, time: Duration::from_secs(seconds) }
    }
}

/// Bytes of a file of a task.
pub(crate) fn file_bytes(big: bool, big_bytes: u64) -> u64 {
    if big { big_bytes } else { SMALL_BYTES }
}
