//! Everything that the doctor can find at another server: a closed list, each with its code, where it shows, what is wrong and what to do.
//! `docs/doctor.md` lists the same; a test compares them.

use crate::service::Reason;
use crate::service::admin::Health;

/// Where something is looked at, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// What was typed, and our own rules.
    Address,
    /// The name.
    Dns,
    /// Connections.
    Tcp,
    /// Encryption.
    Tls,
    /// What answers.
    What,
    /// Passwords and rights.
    Login,
    /// The listing.
    List,
    /// Files.
    Read,
    /// Changes, which are not tried.
    Write,
    /// What works, but not well.
    Beyond,
    /// How a server takes shares of other servers.
    Discovery,
}

impl Stage {
    /// What people are shown.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Address => "address",
            Stage::Dns => "DNS",
            Stage::Tcp => "TCP",
            Stage::Tls => "TLS",
            Stage::What => "what it is",
            Stage::Login => "login",
            Stage::List => "list",
            Stage::Read => "read",
            Stage::Write => "write",
            Stage::Beyond => "beyond",
            Stage::Discovery => "discovery",
        }
    }
}

/// What is known of a fault.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Where it shows, unless it is met elsewhere.
    pub stage: Stage,
    /// How bad it is.
    pub health: Health,
    /// What kind of failure it is.
    pub reason: Reason,
    /// For programs; never changes.
    pub code: &'static str,
    /// What is wrong.
    pub wrong: &'static str,
    /// What to do. `HOST` stands for the host.
    pub advice: &'static str,
}

/// One row for each fault: name, stage, health and reason, code, what is wrong, what to do.
macro_rules! faults {
    ($($name:ident, $stage:ident, $health:ident, $reason:ident, $code:literal, $wrong:literal, $advice:literal;)*) => {
        /// What can be found at another server.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault {
            $(#[doc = $wrong] $name,)*
        }

        impl Fault {
            /// All of them, in the order in which they are looked for.
            pub const ALL: &'static [Fault] = &[$(Fault::$name,)*];

            /// What is known of it.
            pub fn about(self) -> About {
                let (stage, health, reason, code, wrong, advice) = match self {
                    $(Fault::$name => (Stage::$stage, Health::$health, Reason::$reason, $code, $wrong, $advice),)*
                };
                About { stage, health, reason, code, wrong, advice }
            }
        }
    };
}

faults! {
    NotAnAddress, Address, Failed, Usage, "not-an-address", "this is no address",
        "paste a link such as https://cloud.example/s/TOKEN, a WebDAV address, or a user such as bob@cloud.example";
    UnknownScheme, Address, Failed, Usage, "unknown-scheme", "the address does not begin as one of the web does",
        "paste one that begins with https:// (or http://, davs://, dav://)";
    PasswordInAddress, Address, Warning, Failed, "password-in-address", "the address holds a password, which stays in the history of the shell",
        "give it with --password-stdin";
    FilesPage, Address, Failed, Refused, "files-page", "this is a page of the files app, which opens for its own user alone",
        "make a public link of the folder there, and paste that";
    ThisServer, Address, Failed, Refused, "this-server", "this leads to this server itself",
        "a server cannot mount its own shares; share the folder with the user here instead";
    MountingOff, Address, Failed, Refused, "mounting-off", "the rules of this server do not let its users mount or receive shares of others",
        "`causeway sharing set incoming on` allows it";
    OutgoingOff, Address, Warning, Refused, "outgoing-off", "the rules of this server do not let its users share with other servers",
        "`causeway sharing set outgoing on` allows it";
    NoSuchName, Dns, Failed, RemoteUnreachable, "no-such-name", "the name has no address",
        "check its spelling; if it is right, its owner has to enter it in the DNS, or this machine asks the wrong name server";
    NameServerSilent, Dns, Failed, RemoteUnreachable, "name-server-silent", "no name server answers",
        "check the network and the name server of this machine";
    PrivateAddress, Address, Failed, Refused, "private-address", "the address is private, which is refused",
        "if you know this host: causeway remote allow-private HOST";
    PortRefused, Tcp, Failed, RemoteUnreachable, "port-refused", "nothing listens at this port",
        "check the port in the address; if it is right, the server is down: ask its administrator";
    PortSilent, Tcp, Failed, RemoteUnreachable, "port-silent", "the port does not answer",
        "check the port; a firewall may drop what comes from here, or the machine is off";
    NoRoute, Tcp, Failed, RemoteUnreachable, "no-route", "the network knows no way to this address",
        "check the network of this machine, and whether it has the kind of address (IPv4 or IPv6) that the server has";
    AddressDead, Tcp, Warning, RemoteUnreachable, "address-dead", "one of its addresses does not answer",
        "connections hang at times until its administrator repairs that address or takes it out of the DNS";
    Ipv6Dead, Tcp, Warning, RemoteUnreachable, "ipv6-dead", "it answers by IPv4, but not by the IPv6 address that its name has",
        "check IPv6 on this machine, and have its administrator repair that address or take it out of the DNS";
    PlainHttpPort, Tls, Failed, RemoteUnreachable, "plain-http-port", "this port speaks plain http, and the address says https",
        "ask for the right port, or for TLS to be set up there; in a network that you trust, write http://";
    NotTls, Tls, Failed, RemoteUnreachable, "not-tls", "this port speaks neither TLS nor http",
        "check the port in the address: another service listens there";
    CertificateExpired, Tls, Failed, Refused, "certificate-expired", "the certificate has expired",
        "its administrator has to renew it; if it is new, check the clock of this machine";
    CertificateNotYetValid, Tls, Failed, Refused, "certificate-not-yet-valid", "the certificate is not valid yet",
        "check the clock of this machine first; if it is right, that of the machine which made the certificate is wrong";
    CertificateOtherName, Tls, Failed, Refused, "certificate-other-name", "the certificate is for another name",
        "paste the address with a name for which it is; else its administrator has to get one for this name";
    CertificateSelfSigned, Tls, Failed, Refused, "certificate-self-signed", "the certificate is vouched for by nobody but itself",
        "ask its administrator for the fingerprint by another way; if it is the same: causeway remote trust HOST --fingerprint SHA256";
    CertificateUnknownAuthority, Tls, Failed, Refused, "certificate-unknown-authority", "nobody whom this machine knows vouches for the certificate",
        "its administrator has to send the whole chain; for an authority of your own: causeway remote trust HOST --ca FILE (or --fingerprint SHA256)";
    CertificateNotPinned, Tls, Failed, Refused, "certificate-not-pinned", "the certificate is not the one that was pinned for this host",
        "ask its administrator whether it was changed; if it was: causeway remote trust HOST --fingerprint SHA256; if not, somebody stands between";
    CertificateUnusable, Tls, Failed, Refused, "certificate-unusable", "the certificate cannot be used",
        "its administrator has to get another one: this one breaks the rules for certificates of servers";
    TlsTooOld, Tls, Failed, RemoteUnreachable, "tls-too-old", "the server speaks no version of TLS or no cipher that is safe",
        "its administrator has to allow TLS 1.2 or 1.3";
    TlsClosed, Tls, Failed, RemoteUnreachable, "tls-closed", "the server closes the connection in the middle of the TLS handshake",
        "check the name in the address; a proxy or firewall may stand between, or the server does not know this name";
    TlsSilent, Tls, Failed, RemoteUnreachable, "tls-silent", "the port is open, but says nothing",
        "check the port; if it is right, the server hangs: ask its administrator";
    TlsOnHttpPort, Tls, Failed, RemoteUnreachable, "tls-on-http-port", "this port speaks TLS, and the address says http",
        "write https:// in the address";
    PlainHttp, Tls, Warning, Failed, "plain-http", "plain http: everybody on the way reads along",
        "ask its administrator for TLS";
    CertificateEndsSoon, Tls, Warning, Failed, "certificate-ends-soon", "the certificate ends soon",
        "remind its administrator to renew it";
    NotHttp, What, Failed, RemoteUnreachable, "not-http", "what answers at this port is no http",
        "check the port in the address: another service listens there";
    HeadTooLarge, What, Failed, RemoteUnreachable, "head-too-large", "the head of its answers is larger than anybody takes",
        "its administrator has to look for a proxy or app that adds headers without end";
    ClosedEarly, What, Failed, RemoteUnreachable, "closed-early", "the server closes the connection without an answer",
        "try again later; if it stays so, its administrator finds why in the log of the server or its proxy";
    NoAnswer, What, Failed, RemoteUnreachable, "no-answer", "the server takes the connection and does not answer",
        "try again later; if it stays so, its administrator has to look whether it hangs";
    RedirectToHttp, What, Failed, Refused, "redirect-to-http", "the server redirects from https to http, which is not followed",
        "its administrator has to tell it that a proxy does TLS for it (Nextcloud, ownCloud: overwriteprotocol)";
    LoginProxy, What, Failed, Refused, "login-proxy", "a login page of its own stands in front of the server",
        "its administrator has to let /public.php, /remote.php, /dav and /s past the login of the proxy";
    RedirectElsewhere, What, Failed, Refused, "redirect-elsewhere", "the server redirects to another place, which is not followed",
        "paste the address to which it leads";
    RedirectLoop, What, Failed, Refused, "redirect-loop", "the server redirects round and round",
        "its administrator has to look at the redirects of the proxy and at the address that the server takes for its own";
    UntrustedDomain, What, Failed, Refused, "untrusted-domain", "the server does not know this name for its own",
        "use the name that its users use, or have its administrator add this one to trusted_domains";
    RobotCheck, What, Failed, Refused, "robot-check", "a firewall in front of the server takes us for a robot",
        "its administrator has to let WebDAV past the check for robots";
    LoginPage, What, Failed, Refused, "login-page", "every request is answered with a login page",
        "if this network has a login page, log in there first; else the address is one for browsers: paste the link itself or the WebDAV address";
    NoWebdav, What, Failed, Refused, "no-webdav", "a web server answers, but it does not do WebDAV here",
        "check the path; if it is right, WebDAV is off there, or a proxy in front lets no PROPFIND through";
    WebPage, What, Failed, Refused, "web-page", "this is a web page and no WebDAV share",
        "paste the link itself or the WebDAV address";
    Maintenance, What, Failed, RemoteUnreachable, "maintenance", "the server is being maintained",
        "try again later";
    BadGateway, What, Failed, RemoteUnreachable, "bad-gateway", "its proxy answers, but the server behind that does not",
        "try again later; if it stays so, its administrator has to start the server again";
    ServerError, What, Failed, RemoteUnreachable, "server-error", "the server fails at this",
        "try again later; if it stays so, its administrator finds the cause in its log";
    Overloaded, What, Failed, RemoteUnreachable, "overloaded", "the server cannot answer now",
        "try again later";
    Throttled, What, Failed, RemoteUnreachable, "throttled", "the server takes no more tries from here for now",
        "wait that long, then try again: each try before makes it longer";
    LinkUnknown, What, Failed, NotFound, "link-unknown", "there is no such link: it was withdrawn, has expired, or was not copied whole",
        "compare it with what you were sent; if it is the same, ask its owner for a new one";
    LinkWithdrawn, What, Failed, NotFound, "link-withdrawn", "there was such a link, and it is gone for good",
        "ask its owner for a new one";
    NothingThere, What, Failed, NotFound, "nothing-there", "there is nothing at this address",
        "check the path of the address";
    UploadOnly, What, Failed, Refused, "upload-only", "this link takes uploads only and cannot be listed",
        "ask its owner for a link that can be read";
    SingleFile, What, Failed, Refused, "single-file", "this is a link to a single file, and its server is too old to give those to other servers",
        "ask its owner for a link to the folder that holds it";
    SharingOff, What, Failed, Refused, "sharing-off", "the other server does not let other servers mount its links",
        "ask its administrator to allow it (outgoing federated sharing)";
    Loop, What, Failed, Refused, "loop", "this leads back to this server by way of others",
        "mount the original instead: a server cannot mount its own shares";
    Http10, What, Warning, Failed, "http-1.0", "the server speaks HTTP/1.0",
        "uploads and parts of files may fail: its administrator should let the proxy speak HTTP/1.1";
    NeedsPassword, Login, Failed, NeedsPassword, "needs-password", "this needs a password",
        "give it with --password-stdin, and for an account put the user name in front (https://NAME@HOST/...)";
    WrongPassword, Login, Failed, Refused, "wrong-password", "the password or the user name is wrong",
        "ask its owner for the right one; an account with a second factor needs an app password";
    Forbidden, Login, Failed, Refused, "forbidden", "the server refuses this, whatever the password",
        "ask its owner for the right to read it; its administrator may have blocked this address";
    LoginKind, Login, Failed, Refused, "login-kind", "the server wants another kind of login than a password",
        "ask its administrator for Basic authentication or app passwords, or its owner for a public link";
    EmptyAnswer, List, Failed, Refused, "empty-answer", "the server answers with 200 and nothing where a listing should be",
        "ask its administrator to allow other servers to mount links; ownCloud 7 says so to everything else";
    BadXml, List, Failed, Refused, "bad-xml", "the listing is no XML of WebDAV",
        "its administrator finds the cause in its log: an app or a warning of PHP often writes into the answer";
    OtherHrefs, List, Failed, Refused, "other-hrefs", "the listing is of other places than the one that was asked for",
        "its administrator has to tell it its path behind the proxy (overwritewebroot, or the prefix of the WebDAV server)";
    ListTooLarge, List, Failed, Refused, "list-too-large", "the listing is larger than is taken",
        "ask its owner for links to the folders in it";
    ListBrokeOff, List, Failed, RemoteUnreachable, "list-broke-off", "the listing breaks off or stands still",
        "try again later; if it stays so, its administrator has to raise the time limits of server and proxy";
    ListRefused, List, Failed, Refused, "list-refused", "the folder is there, but the server does not list it",
        "ask its owner for a link that can be read";
    ListFails, List, Failed, RemoteUnreachable, "list-fails", "the folder is there, but the server fails to list it",
        "try again later; if it stays so, its administrator finds the cause in its log";
    NamesLeftOut, List, Warning, Failed, "names-left-out", "the listing holds names that cannot be used here",
        "have them renamed there; they are not shown to users here";
    ReadRefused, Read, Failed, Refused, "read-refused", "the folder is listed, but its files are refused",
        "ask its owner for a link that allows downloads";
    ReadMissing, Read, Failed, NotFound, "read-missing", "a file is listed, but not there",
        "its administrator has to look the files over again (ownCloud, Nextcloud: occ files:scan)";
    ReadFails, Read, Failed, RemoteUnreachable, "read-fails", "the folder is listed, but the server fails to read its files",
        "try again later; if it stays so, its administrator finds the cause in its log: often the storage behind it is away";
    RangeIgnored, Read, Warning, Failed, "range-ignored", "the server sends whole files where parts are asked for",
        "videos and interrupted downloads are slow: its administrator should let ranges through the proxy";
    RangeWrong, Read, Failed, Refused, "range-wrong", "the server sends another part of a file than was asked for",
        "its administrator has to repair ranges: often a cache of a proxy";
    LengthDiffers, Read, Failed, Refused, "length-differs", "a file has another length than the listing says",
        "try again in case it was just changed; else its administrator has to look the files over again, or take out a proxy that changes them";
    BodyShort, Read, Failed, RemoteUnreachable, "body-short", "a file breaks off before its end",
        "try again later; if it stays so, its administrator has to raise the limits of time and size of server and proxy";
    BodyStalls, Read, Failed, RemoteUnreachable, "body-stalls", "a file stands still in the middle",
        "try again later; if it stays so, check the network between, and its storage";
    EtagFlips, Read, Warning, Failed, "etag-flips", "a file has another etag than the listing says",
        "try again in case it was just changed; else files are fetched more often than they change: its administrator should look at the proxy";
    Slow, Read, Warning, Failed, "slow", "files come slowly",
        "check the network between, or try at another time";
    ReadOnly, Write, Ok, Refused, "read-only", "it can be read and not be changed",
        "ask its owner for the right to edit, if that is wanted";
    Full, Write, Warning, Refused, "full", "there is no room left in it",
        "ask its owner to make room: uploads will be refused (507)";
    NoEtags, Beyond, Warning, Failed, "no-etags", "the server gives no etags",
        "changes there are seen late: another WebDAV server should be put there";
    WeakEtags, Beyond, Warning, Failed, "weak-etags", "the etags of its files are weak",
        "two changes within a second may look as one; its administrator should let the proxy not compress WebDAV";
    NoLocks, Beyond, Ok, Failed, "no-locks", "the server has no locks (class 2)",
        "nothing has to be done: locks are kept here, and its own users do not see them";
    ClockSkew, Beyond, Warning, Failed, "clock-skew", "its clock and that of this machine differ",
        "set both by NTP: times of files, expiry and signatures need the right time";
    TookTooLong, Beyond, Failed, RemoteUnreachable, "took-too-long", "looking took too long and was ended",
        "try again later: the server is slower than users would wait";
    NoPeer, Discovery, Failed, Refused, "no-peer", "a web server answers, but it takes no shares of other servers",
        "check what stands behind the @: the host, with the folder of the server where it has one";
    DiscoveryHangs, Discovery, Failed, RemoteUnreachable, "discovery-hangs", "it does not answer where it should say how it takes shares",
        "try again later; if it stays so, its administrator has to look whether it hangs";
    DiscoveryFails, Discovery, Failed, RemoteUnreachable, "discovery-fails", "it fails where it should say how it takes shares",
        "try again later; if it stays so, its administrator finds the cause in its log";
    DiscoveryRefused, Discovery, Failed, Refused, "discovery-refused", "it refuses to say how it takes shares",
        "its administrator has to let /.well-known/ocm and /ocm-provider/ through without a login";
    DiscoveryRedirects, Discovery, Failed, Refused, "discovery-redirects", "it redirects elsewhere where it should say how it takes shares",
        "use the host to which it leads behind the @";
    DiscoveryNotJson, Discovery, Failed, Refused, "discovery-not-json", "it answers with something else where it should say how it takes shares",
        "its administrator has to let /.well-known/ocm and /ocm-provider/ reach the server (see the web server's rewrite rules)";
    DiscoveryTooLong, Discovery, Failed, Refused, "discovery-too-long", "what it says of itself is longer than is taken",
        "its administrator has to look what answers at /.well-known/ocm and /ocm-provider/";
    DiscoveryOff, Discovery, Failed, Refused, "discovery-off", "it says that sharing with other servers is switched off",
        "ask its administrator to switch federated sharing on";
    DiscoveryNoEndpoint, Discovery, Failed, Refused, "discovery-no-endpoint", "it does not say where shares are to be sent",
        "its administrator has to set its own address (endPoint)";
    DiscoveryToHttp, Discovery, Failed, Refused, "discovery-to-http", "it names an http address for shares, though it speaks https",
        "its administrator has to tell it that a proxy does TLS for it (Nextcloud, ownCloud: overwriteprotocol)";
    DiscoveryElsewhere, Discovery, Failed, Refused, "discovery-elsewhere", "it names another host for shares, which is not trusted",
        "use that host behind the @; else its administrator has to set its own address (overwrite.cli.url, endPoint)";
    DiscoveryNoWebdav, Discovery, Failed, Refused, "discovery-no-webdav", "it takes no shares of files by WebDAV",
        "ask its administrator whether an app for federated file sharing is missing";
    DiscoveryNoVersion, Discovery, Warning, Failed, "discovery-no-version", "it does not say which version of Open Cloud Mesh it speaks",
        "it may take shares all the same; servers of others will not: ask its administrator to bring it up to date";
    OlderCalls, Discovery, Ok, Failed, "older-calls", "it speaks the older calls of ownCloud 8 and 9 alone",
        "shares work; changes of rights reach it late: ask its administrator to bring it up to date";
    PeerRefuses, Discovery, Failed, Refused, "peer-refuses", "it refuses to hear of shares from here",
        "ask its administrator to allow this server (a list of allowed servers, or signatures that it demands)";
    PeerTakesNone, Discovery, Failed, Refused, "peer-takes-none", "it takes no shares of other servers (incoming sharing is off)",
        "ask its administrator to allow its users to receive federated shares";
    PeerNoShares, Discovery, Failed, Refused, "peer-no-shares", "there is nothing where it says that shares are to be sent",
        "its administrator has to let the address of its endPoint through to the server";
    PeerFails, Discovery, Failed, RemoteUnreachable, "peer-fails", "it fails where shares are to be sent",
        "try again later; if it stays so, its administrator finds the cause in its log";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_lists_every_fault_and_no_other() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/doctor.md")).unwrap();
        let listed: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        let known: Vec<&str> = Fault::ALL.iter().map(|fault| fault.about().code).collect();
        assert_eq!(listed, known);
        for fault in Fault::ALL {
            let about = fault.about();
            assert!(page.contains(about.wrong), "{}", about.code);
        }
    }

    #[test]
    fn codes_are_unique_and_sentences_say_what_to_do() {
        let mut codes = std::collections::BTreeSet::new();
        for fault in Fault::ALL {
            let about = fault.about();
            assert!(codes.insert(about.code), "{} twice", about.code);
            assert!(about.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)));
            for text in [about.wrong, about.advice] {
                assert!(!text.ends_with('.') && text.len() > 10, "{}: {text}", about.code);
            }
        }
        assert!(codes.len() >= 60);
    }
}
