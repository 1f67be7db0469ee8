//! One mount: what it is, what state it is in, and what was last seen of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::domain::{Etag, Kind, Mount, MountId, MountState, Node, NodeId, OfflineCause, Permissions, Quota, TreePath};
use crate::mount::Inner;
use crate::mount::again::{self, Missed};
use crate::mount::cache::{self, Cache};
use crate::mount::locks::{self, Locks};
use crate::mount::nodes::hashed;
use crate::mount::root::Root;
use crate::remote::{Share, Traits};
use crate::wire::Via;

/// After a failure, this long no request tries the remote again; the poll loop does.
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// One remote share in somebody's tree.
pub struct MountHandle {
    id: MountId,
    /// Whether its server offered it, by a secret that nobody here can change.
    pub(super) offered: bool,
    pub(super) server: Arc<Inner>,
    pub(super) live: Mutex<Live>,
    pub(super) locks: Mutex<Locks>,
    /// One writer of the stored locks at a time.
    pub(super) keeping: tokio::sync::Mutex<()>,
    /// One request at a time for one listing; the others take its answer.
    flights: Mutex<HashMap<TreePath, Weak<tokio::sync::Mutex<()>>>>,
    /// One poll at a time.
    pub(super) polling: tokio::sync::Mutex<()>,
}

/// What changes while the server runs.
pub(super) struct Live {
    pub(super) record: Mount,
    /// None where the stored URL can no longer be used.
    pub(super) share: Option<Share>,
    /// The poll's question, shared with the other mounts of the same share.
    pub(super) asking: Arc<Root>,
    pub(super) root: Node,
    /// The remote's root etag when it was last asked, as sent.
    pub(super) seen: Option<String>,
    /// When the root etag was last confirmed: the time at which the question was sent.
    pub(super) confirmed: Option<Instant>,
    /// When something of ours was last written there.
    pub(super) written: Option<Instant>,
    /// When the remote last failed us.
    pub(super) failed: Option<Instant>,
    /// When a client last asked for this mount or its parent.
    pub(super) used: Instant,
    pub(super) next_poll: Instant,
    pub(super) next_try: Instant,
    pub(super) failures: u32,
    /// Until when the remote is asked nothing: it said so.
    pub(super) alone_until: Option<Instant>,
    /// The instances that the remote's share is made from, itself included.
    pub(super) contains: Vec<String>,
    /// The record is to be stored.
    pub(super) dirty: bool,
    pub(super) quota: Option<Quota>,
    pub(super) cache: Cache,
    /// Folders of which clients were refused a listing, and would not look again.
    pub(super) missed: Missed,
    /// What etags of collections are hashed with, so that clients look again; 0 for none.
    pub(super) salt: u64,
    /// Unfinished uploads at the remote, to be removed by the poll.
    pub(super) litter: Vec<TreePath>,
}

impl std::fmt::Debug for MountHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "MountHandle({})", self.id.0)
    }
}

impl MountHandle {
    pub(super) fn new(server: &Arc<Inner>, share: Option<Share>, record: Mount) -> MountHandle {
        let (id, store) = (record.id, &server.store);
        let root = cache::restore(store, id, &TreePath::root()).map_or_else(|| first_root(&record), |cached| cached.own);
        let mut known = Cache::after(record.root_etag.as_ref());
        if let Some(cached) = cache::restore(store, id, &TreePath::root()) {
            known.keep(&TreePath::root(), Arc::new(cached));
        }
        let root = Node { etag: record.root_etag.clone().unwrap_or(root.etag), ..root };
        let now = Instant::now();
        let missed = Missed::at_start(&record, now);
        let live = Live {
            record,
            asking: server.roots.of(share.as_ref()),
            share,
            root,
            seen: None,
            confirmed: None,
            written: None,
            failed: None,
            used: now,
            next_poll: now,
            next_try: now,
            failures: 0,
            alone_until: None,
            contains: Vec::new(),
            dirty: false,
            quota: None,
            cache: known,
            missed,
            salt: again::restore(store, id),
            litter: Vec::new(),
        };
        MountHandle {
            id,
            offered: false,
            server: Arc::clone(server),
            live: Mutex::new(live),
            locks: Mutex::new(locks::restore(store, id)),
            keeping: tokio::sync::Mutex::new(()),
            flights: Mutex::default(),
            polling: tokio::sync::Mutex::new(()),
        }
    }

    /// The same, as the mount of a share that its server offered.
    pub(super) fn of_offer(self) -> MountHandle {
        MountHandle { offered: true, ..self }
    }

    /// Number of the mount.
    pub fn id(&self) -> MountId {
        self.id
    }

    /// Whether its server offered it, by a secret that nobody here can change.
    pub fn is_offered(&self) -> bool {
        self.offered
    }

    /// The mount's root as last seen; no outbound call. Its kind is what the remote end is.
    pub fn root(&self) -> Node {
        let mut live = self.live();
        live.used = Instant::now();
        // Dead properties would have to be asked for, and a listing of the parent asks nobody.
        Node { has_properties: false, ..live.root.clone() }
    }

    /// The state; no outbound call.
    pub fn state(&self) -> MountState {
        self.live().record.state.clone()
    }

    /// The record as it stands.
    pub fn record(&self) -> Mount {
        self.live().record.clone()
    }

    /// Whether changes on the remote raise the etags of the folders above: not where the remote's share holds a mount of this very server,
    /// or they would go round for ever.
    pub fn counts_in_etags(&self) -> bool {
        let live = self.live();
        live.record.state != MountState::Loop && !live.contains.iter().any(|id| id == self.server.store.instance_id())
    }

    /// The instances that the remote's share is made from, as far as it tells.
    pub fn contains(&self) -> Vec<String> {
        self.live().contains.clone()
    }

    /// What was answered so far is not believed any more: the next question goes to the remote.
    pub fn look_again(&self) {
        self.live().written = Some(Instant::now());
    }

    /// Whether a request has already passed through the remote of this mount.
    pub fn leads_back(&self, via: &Via) -> bool {
        !via.is_empty() && self.live().contains.first().is_some_and(|remote| via.loops(remote))
    }

    /// Another password or record; the next request tries at once.
    pub(super) fn replace(&self, share: Option<Share>, record: Mount) {
        let mut live = self.live();
        live.asking = self.server.roots.of(share.as_ref());
        live.share = share;
        live.record = record;
        // A poll that took the old record with it may be about to store it.
        live.dirty = true;
        live.next_try = Instant::now();
        live.next_poll = Instant::now();
        live.alone_until = None;
    }

    /// Gives the mount another name in its record, for lists; where it hangs is a row of the home.
    pub fn set_name(&self, name: String) -> Mount {
        let mut live = self.live();
        live.record.name = name;
        live.record.clone()
    }

    /// Keeps the encrypted password in the record.
    pub fn with_password(&self, encrypted: Vec<u8>) -> Mount {
        Mount { password: encrypted, ..self.record() }
    }

    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn share(&self) -> Option<Share> {
        self.live().share.clone()
    }

    /// How the remote behaves.
    pub(super) fn traits(&self) -> Traits {
        Traits::of(self.live().record.vendor)
    }

    /// The gate of one listing.
    pub(super) fn flight(&self, path: &TreePath) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = flights.get(path).and_then(Weak::upgrade) {
            return gate;
        }
        flights.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(tokio::sync::Mutex::new(()));
        flights.insert(path.clone(), Arc::downgrade(&gate));
        gate
    }

    pub(super) fn set_state(&self, live: &mut Live, state: MountState) {
        if std::mem::discriminant(&live.record.state) != std::mem::discriminant(&state) {
            tracing::info!(mount.id = self.id.0, state = ?state, "a mount changed its state");
            live.dirty = true;
            live.record.state = state;
        } else if let (MountState::Offline { cause, .. }, MountState::Offline { cause: new, .. }) = (&mut live.record.state, &state) {
            *cause = *new;
        }
    }

    pub(super) fn offline(&self, cause: OfflineCause) {
        let since = self.server.clock.now();
        let mut live = self.live();
        self.set_state(&mut live, MountState::Offline { since, cause });
        live.failures = live.failures.saturating_add(1);
        live.failed = Some(Instant::now());
        live.next_try = Instant::now() + RETRY_PAUSE;
    }
}

/// Before the remote was ever asked: an empty root.
fn first_root(record: &Mount) -> Node {
    Node {
        id: NodeId((1 << 52) | record.id.0),
        kind: match record.kind {
            Kind::File => Kind::File,
            Kind::Collection | Kind::Mount => Kind::Collection,
        },
        etag: record.root_etag.clone().unwrap_or_else(|| hashed(record.id, b"new")),
        size: 0,
        modified: record.created,
        created: record.created,
        permissions: Permissions::READ,
        checksum: None,
        media_type: None,
        has_properties: false,
        stamp: crate::domain::FileStamp::default(),
    }
}

impl Live {
    /// Whether an answer to a question sent at `asked` may still be used.
    pub(super) fn is_fresh(&self, asked: Instant) -> bool {
        asked.elapsed() <= cache::FRESH && self.written.is_none_or(|written| asked > written)
    }

    pub(super) fn root_etag_is(&self, raw: Option<&str>) -> bool {
        raw.is_some() && self.seen.as_deref() == raw
    }

    pub(super) fn raise_root(&mut self, etag: Etag) {
        if self.root.etag != etag {
            self.record.root_etag = Some(etag.clone());
            self.root.etag = etag;
            self.dirty = true;
        }
    }
}
