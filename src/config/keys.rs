//! The keys that exist, each with its default and a line of help.

/// One key of the configuration.
#[derive(Debug)]
pub struct Key {
    /// Its name in the file; `CAUSEWAY_` and the name in capitals in the environment.
    pub name: &'static str,
    /// The default as it would be written, empty if there is none.
    pub default: &'static str,
    /// Whether it takes several values.
    pub many: bool,
    /// What it does.
    pub help: &'static str,
}

const fn key(name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { name, default, many: false, help }
}

const fn keys(name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { name, default, many: true, help }
}

/// Every key. Nothing is offered here that is not implemented.
pub const KEYS: &[Key] = &[
    key("data", "davroot", "the data folder: a folder per user, and all state in .causeway"),
    keys("listen", "127.0.0.1:8080", "where to listen: host:port, [::]:port or unix:/path; several are possible"),
    key("public_url", "", "the URL by which others reach this server; may have a path"),
    keys("trusted_domains", "", "further host names of this server"),
    keys("trusted_proxies", "", "addresses or networks of reverse proxies whose Forwarded and X-Forwarded-* headers are believed"),
    key("tls_cert", "", "certificate chain, PEM; read again when it changes"),
    key("tls_key", "", "private key, PEM"),
    key("log_level", "info", "error, warn, info, debug, trace, or a list of module=level"),
    key("log_format", "text", "text or json"),
    key("umask", "027", "umask of files that the server makes"),
    key(
        "durability",
        "power-cut",
        "power-cut: a write is answered once it survives a power cut; process: once it survives a crash of the server",
    ),
    key("cache_size", "8MiB", "memory for the cache of the store"),
    key("upload_max", "", "largest upload; no limit if not given"),
    key("trash_max_age", "30d", "how long deleted files stay in the trash; 0 switches the trash off"),
    key("trash_max_share", "50", "how much they may take, in percent of the quota or of the free disk; 0 switches the trash off"),
    key("versions_max_age", "90d", "how long old versions of files are kept; 0 switches them off"),
    key("versions_max_share", "50", "how much they may take, in percent of the quota or of the free disk; 0 switches them off"),
    key("auto_accept_shares", "true", "whether what is shared with users appears in their trees at once; else they accept it first"),
    key(
        "federation_signatures",
        "off",
        "signed calls between servers: off, on (sign, and judge signatures that come), or required (refuse calls without one)",
    ),
    key("connections_max", "4096", "most connections at once"),
    key(
        "client_version",
        "32.0.1.2",
        "the version that ownCloud and Nextcloud clients are told; they refuse servers that they find too old",
    ),
];

/// The key of that name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key whose name is nearest to a misspelt one, if any is near.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    KEYS.iter()
        .map(|key| (strsim::damerau_levenshtein(key.name, &name.to_ascii_lowercase().replace('-', "_")), key.name))
        .filter(|(distance, known)| *distance <= known.len().max(4) / 2)
        .min()
        .map(|(_, known)| known)
}
