//! Every bound of the server, with its unit. What comes from outside is bounded and timed (DESIGN 1.5).

use std::time::Duration;

/// Longest name of a node, in bytes of UTF-8 (what Linux file systems take).
pub const NAME_BYTES_MAX: usize = 255;
/// Deepest path below a root, in segments.
pub const PATH_SEGMENTS_MAX: usize = 256;
/// Longest decoded path, in bytes.
pub const PATH_BYTES_MAX: usize = 8 * 1024;
/// Longest etag that Nextcloud compares raw, in bytes (`protocol/nextcloud.md` 1.6).
pub const ETAG_BYTES_MAX: usize = 40;
/// Largest XML request body, in bytes.
pub const XML_BODY_BYTES_MAX: usize = 256 * 1024;
/// Deepest nesting of XML that is read, in elements.
pub const XML_DEPTH_MAX: usize = 64;
/// Most attributes, namespace declarations included, of one element.
pub const XML_ATTRIBUTES_MAX: usize = 256;
/// Most properties in one PROPFIND or PROPPATCH.
pub const XML_PROPERTIES_MAX: usize = 512;
/// Largest value of one dead property, in bytes (rows stay below a page of sled).
pub const PROPERTY_BYTES_MAX: usize = 2048;
/// Most dead properties of one node.
pub const NODE_PROPERTIES_MAX: usize = 128;
/// Longest `If` header that is read, in bytes.
pub const IF_HEADER_BYTES_MAX: usize = 16 * 1024;
/// Most state lists in one `If` header.
pub const IF_LISTS_MAX: usize = 128;
/// Most conditions in all lists of one `If` header.
pub const IF_CONDITIONS_MAX: usize = 512;
/// Most resources that one `If` header is judged against.
pub const IF_RESOURCES_MAX: usize = 64;
/// Most bytes of a refused upload that are still read, so that the answer is not lost with the connection: sync clients look for it only when they
/// have sent everything, and send 100 MB at once.
pub const DRAIN_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Most bytes that are still read of a refused request over HTTP/2, while its answer is on its way.
pub const DRAIN_HTTP2_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest time that is spent on reading them.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest pause in them after which nothing more is waited for.
pub const DRAIN_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Most ranges in one GET; more are answered with the whole file (RFC 9110 14.2).
pub const RANGES_MAX: usize = 16;
/// Longest time of a lock.
pub const LOCK_TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// Time of a lock whose client asks for none.
pub const LOCK_TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);
/// Free disk that uploads leave alone, in bytes: what is done to make room again has to be written down, too.
pub const DISK_RESERVE_BYTES: u64 = 32 * 1024 * 1024;
/// Free disk without which nothing is committed, in bytes: more than one batch can take. The store does not survive a disk that is full.
pub const COMMIT_RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// Most directories that are watched for edits from outside.
pub const WATCHES_MAX: usize = 4096;
/// Most removals and moves of one space that are remembered for clients that ask what changed; older tokens begin anew.
pub const LOG_ENTRIES_MAX: usize = 20_000;
/// Most old versions of one file; the oldest goes when another one comes.
pub const FILE_VERSIONS_MAX: usize = 500;
/// Most locks of one space.
pub const SPACE_LOCKS_MAX: usize = 10_000;
/// Most locks on one node (shared ones).
pub const NODE_LOCKS_MAX: usize = 16;
/// Longest body of LOCK, in bytes.
pub const LOCK_BODY_BYTES_MAX: usize = 32 * 1024;
/// Longest `owner` element of a lock, in bytes.
pub const LOCK_OWNER_BYTES_MAX: usize = 1024;
/// Most nodes in one answer to PROPFIND with Depth infinity.
pub const PROPFIND_NODES_MAX: usize = 1_000_000;
/// Longest wait for the first bytes of a connection, and for a TLS handshake.
pub const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time for the headers of one request to arrive.
pub const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time that a client may take nothing of an answer.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest time without a byte of a request body.
pub const BODY_STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest sum of the headers of one request, in bytes.
pub const HEADERS_BYTES_MAX: usize = 64 * 1024;
/// Longest time that a stopping server waits for its requests.
pub const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(30);
/// Most addresses, accounts and links whose failures are counted.
pub const THROTTLE_ENTRIES_MAX: usize = 50_000;
/// Longest password that is looked at, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Most verified passwords, and most refused ones, that are remembered.
pub const REMEMBERED_PASSWORDS_MAX: usize = 20_000;
/// How long a verified or refused password is remembered, in seconds.
pub const REMEMBERED_PASSWORD_SECONDS: i64 = 600;
/// Most password verifications that wait for a core; more are answered 503.
pub const VERIFICATIONS_WAITING_MAX: usize = 32;
/// Most app passwords of one account.
pub const APP_PASSWORDS_MAX: usize = 100;
/// Most groups.
pub const GROUPS_MAX: usize = 10_000;
/// Most members of one group, and most who administer it: a group is one row.
pub const GROUP_MEMBERS_MAX: usize = 2_000;
/// Longest name that is shown to people, in bytes.
pub const DISPLAY_NAME_BYTES_MAX: usize = 256;
/// Longest address for mail, in bytes (RFC 5321 4.5.3.1.3).
pub const EMAIL_BYTES_MAX: usize = 254;
/// Longest label that a client gives its own app password, in characters.
pub const APP_PASSWORD_LABEL_CHARS_MAX: usize = 100;
/// How long a client may wait for the user to grant it access in the browser, in seconds.
pub const LOGIN_FLOW_SECONDS: i64 = 20 * 60;
/// Most clients that wait for a grant.
pub const LOGIN_FLOWS_MAX: usize = 10_000;
/// Most of them from one address.
pub const LOGIN_FLOWS_PER_ADDRESS_MAX: usize = 30;
/// How long a session of a browser lives without being used, in seconds.
pub const SESSION_IDLE_MAX_SECONDS: i64 = 7 * 24 * 3600;
/// How long a session of a browser lives at most, in seconds.
pub const SESSION_AGE_MAX_SECONDS: i64 = 30 * 24 * 3600;
/// How exactly the last use of a session is known, in seconds: a request within that writes nothing.
pub const SESSION_USE_GRAIN_SECONDS: i64 = 600;
/// Most sessions of one account; one more ends the one that was used least recently.
pub const SESSIONS_PER_USER_MAX: usize = 20;
/// Largest body of an OCS request, in bytes.
pub const OCS_BODY_BYTES_MAX: usize = 64 * 1024;
/// Most parameters of an OCS request.
pub const OCS_PARAMETERS_MAX: usize = 200;
/// Most nodes in one answer of shareinfo; deeper folders come without their members once it is reached.
pub const SHAREINFO_NODES_MAX: usize = 100_000;
/// Deepest level of folders in one answer of shareinfo.
pub const SHAREINFO_DEPTH_MAX: usize = 64;
/// Most shares with users and groups that one user makes.
pub const USER_SHARES_MAX: usize = 10_000;
/// Most shares that hang in one user's tree; further ones wait to be accepted.
pub const USER_RECEIVED_MAX: usize = 1_000;
/// Most times that a share is shared on.
pub const SHARE_HOPS_MAX: usize = 16;
/// Deepest nesting of shares that hang in shared folders, as one user sees them.
pub const SHARE_DEPTH_MAX: usize = 3;
/// Most shares that are looked into at once inside one share.
pub const SHARE_VISITS_MAX: usize = 1_000;
/// Longest note to the receivers of a share, in bytes.
pub const SHARE_NOTE_BYTES_MAX: usize = 1_000;
/// Largest form that a page sends, in bytes.
pub const FORM_BYTES_MAX: usize = 8 * 1024;
/// Longest line on the control socket, in bytes.
pub const CONTROL_LINE_BYTES_MAX: u64 = 1 << 20;
/// Most mounts of one user.
pub const USER_MOUNTS_MAX: usize = 1000;
/// Largest body of a PUT that is collected in memory and written in one job, in bytes; also the size of one write of larger ones.
pub const PUT_COLLECTED_BYTES_MAX: usize = 512 * 1024;
/// Bytes of one piece of a multistatus.
pub const MULTISTATUS_PIECE_BYTES: usize = 64 * 1024;
/// Shortest multistatus that is compressed for clients that ask for it, in bytes.
pub const GZIP_BYTES_MIN: usize = 1400;
/// Most entries that are taken from one listing of a remote.
pub const REMOTE_ENTRIES_MAX: usize = 100_000;
/// Largest XML answer of a remote, in bytes.
pub const REMOTE_ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Largest single tag or run of text in a remote's XML, in bytes: what the parser holds at once.
pub const REMOTE_EVENT_BYTES_MAX: u64 = 64 * 1024;
/// Largest value of one property in a remote's XML, in bytes; longer ones are left out.
pub const REMOTE_VALUE_BYTES_MAX: usize = 32 * 1024;
/// Largest page, JSON or error body that is read from a remote, in bytes.
pub const REMOTE_PAGE_BYTES_MAX: usize = 256 * 1024;
/// Servers whose share endpoints are remembered.
pub const OCM_PEERS_MAX: usize = 4096;
/// Longest call to another server's share endpoints, discovery included: a person waits for it, and PHP servers give up after 10 s.
pub const OCM_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest body of a call between servers, in bytes (what Nextcloud takes, `protocol/ocm.md` 1.8).
pub const OCM_BODY_BYTES_MAX: usize = 50_000;
/// Longest URL or path by which another server says where something is, in bytes.
pub const OCM_URL_BYTES_MAX: usize = 2_048;
/// Longest secret of an offered share, in bytes (`protocol/owncloud.md` 3.1).
pub const OCM_SECRET_BYTES_MAX: usize = 128;
/// Longest number or name by which another server knows a share, in bytes.
pub const OCM_ID_BYTES_MAX: usize = 255;
/// Most tokens of shares of other servers that are held.
pub const OCM_TOKENS_MAX: usize = 10_000;
/// Longest token that a secret is exchanged for, in bytes: those of CERNBox are JWTs.
pub const OCM_TOKEN_BYTES_MAX: usize = 8_192;
/// Longest time that a token of another server is used, in seconds.
pub const OCM_TOKEN_SECONDS_MAX: u64 = 24 * 3600;
/// How old a signature of a call between servers may be, or how far in the future, in seconds (`protocol/ocm.md` 1.8).
pub const SIGNATURE_AGE_MAX_SECONDS: i64 = 300;
/// Most signatures of one server that are remembered for as long.
pub const SIGNATURES_SEEN_HOST_MAX: usize = 2_000;
/// Most signatures of all servers that are remembered.
pub const SIGNATURES_SEEN_MAX: usize = 100_000;
/// Most signatures of servers whose keys are not kept that are remembered, of all of them together.
pub const SIGNATURES_SEEN_STRANGERS_MAX: usize = 2_000;
/// Most servers whose keys are kept.
pub const SIGNING_HOSTS_MAX: usize = 10_000;
/// Most offers of users of other servers that one user has not answered.
pub const USER_OFFERS_MAX: usize = 200;
/// Most of them from one other server: anybody can write its name, and for one user alone that keeps it out.
pub const USER_HOST_OFFERS_MAX: usize = 20;
/// Most offers that nobody has answered, of all users.
pub const OFFERS_MAX: usize = 20_000;
/// Most of them that are to members of groups: one call makes many, and must not keep out what is for one user.
pub const GROUP_OFFERS_WAITING_MAX: usize = 5_000;
/// Most offers that one address makes at once, and in an hour after that; one to a group is one for each of its members.
pub const ADDRESS_OFFERS_MAX: u32 = 60;
/// Most members of a group that users of other servers share with: each gets an offer.
pub const GROUP_OFFERS_MAX: usize = 500;
/// How long an offer without an end waits for its receiver, in seconds.
pub const OFFER_WAIT_SECONDS: i64 = 90 * 24 * 3600;
/// How long an invitation is good if nothing is said, in days.
pub const INVITATION_DAYS_DEFAULT: i64 = 7;
/// How long an invitation is good at most, in days.
pub const INVITATION_DAYS_MAX: i64 = 90;
/// How long an invitation that is over stays in lists, in seconds.
pub const INVITATION_KEPT_SECONDS: i64 = 30 * 24 * 3600;
/// Most invitations of one user, those that are over included.
pub const USER_INVITATIONS_MAX: usize = 200;
/// Most invitations of all users.
pub const INVITATIONS_MAX: usize = 20_000;
/// Most contacts of one user.
pub const USER_CONTACTS_MAX: usize = 1_000;
/// Most messages that wait for one other server.
pub const OUTBOX_HOST_MAX: usize = 1_000;
/// Most messages that wait for all other servers.
pub const OUTBOX_MAX: usize = 20_000;
/// Most messages that one other server is sent in one turn; then the others have theirs.
pub const OUTBOX_TURN_MAX: usize = 10;
/// Most other servers that are told something at the same time.
pub const OUTBOX_HOSTS_AT_ONCE: usize = 16;
/// How long a message waits for its server at most, in seconds.
pub const OUTBOX_AGE_MAX_SECONDS: i64 = 3 * 24 * 3600;
/// The wait after the first try of a message that failed, in seconds; it trebles with each further one.
pub const OUTBOX_WAIT_SECONDS: i64 = 60;
/// The longest wait between two tries of a message, in seconds.
pub const OUTBOX_WAIT_MAX_SECONDS: i64 = 24 * 3600;
/// Most shares that the receiver of one on another server asks for.
pub const CLOUD_RESHARES_MAX: usize = 200;
/// Most header lines that are taken from a remote.
pub const REMOTE_HEADERS_MAX: usize = 128;
/// Most requests without a file body to one origin at a time, and as many with one.
pub const REMOTE_REQUESTS_MAX: usize = 32;
/// Most redirects that are followed.
pub const REMOTE_REDIRECTS_MAX: usize = 3;
/// Largest upload of unknown length that is put aside before it is sent on, in bytes.
pub const SPOOL_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Most members that the listing cache holds of one mount, over all its collections.
pub const MOUNT_CACHE_NODES_MAX: usize = 200_000;
/// Most memory for contents of small files of remotes, in bytes, over all mounts.
pub const REMOTE_CONTENTS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest file of a remote whose content is kept in memory, in bytes.
pub const REMOTE_CONTENT_BYTES_MAX: u64 = 64 * 1024;
/// Most collections that one poll asks of a remote whose etags do not propagate.
pub const POLL_COLLECTIONS_MAX: usize = 50;
/// Most locks of one mount.
pub const MOUNT_LOCKS_MAX: usize = 1_000;
/// Most uploads in chunks that one account or one link has begun and not finished.
pub const UPLOADS_MAX: usize = 200;
/// Most chunks of one upload: at 10 MB each, 200 GB.
pub const UPLOAD_CHUNKS_MAX: usize = 20_000;
/// Most chunks of one upload that hold no byte and so count towards no quota. Clients send one, of a file that is empty.
pub const UPLOAD_EMPTY_CHUNKS_MAX: usize = 4;
/// Most chunks of all unfinished uploads of one account.
pub const USER_CHUNKS_MAX: usize = 200_000;
/// Most chunks of all unfinished uploads by one link: at 10 MB each, 100 GB.
pub const LINK_CHUNKS_MAX: usize = 10_000;
/// Longest name of a chunk, in bytes.
pub const CHUNK_NAME_BYTES_MAX: usize = 64;
/// Longest name that a client gives to an upload, in bytes.
pub const UPLOAD_NAME_BYTES_MAX: usize = 128;
/// How long an upload is kept without a new chunk.
pub const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(48 * 3600);
/// Most files in one bulk upload.
pub const BULK_PARTS_MAX: usize = 1000;
/// Longest header lines of one part of a bulk upload, together, in bytes.
pub const BULK_HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Bytes of one chunk of a file that is sent to another server; smaller files are sent in one piece.
pub const REMOTE_CHUNK_BYTES: u64 = 16 * 1024 * 1024;
