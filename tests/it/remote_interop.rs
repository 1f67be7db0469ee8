//! A mount of what Debian has: Apache's `mod_dav`, nginx with its dav extension, `rclone serve webdav`, each started on loopback with a folder of
//! its own. Where a program is missing the test says so; with `CLIENTS_REQUIRED=1` that is a failure.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use causeway::domain::{
    Error, Expect, LockDepth, LockRequest, LockScope, MountState, Principal, PropertyChange, PropertyName, PutRequest, UserName, Vendor,
    Write,
};
use causeway::wire::Via;

use crate::support::mounted::{Mounted, allowed, at, body};

/// Longest that a server takes to start.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A running server and its folder.
struct Peer {
    child: Child,
    root: PathBuf,
    mounted: Mounted,
    _folder: tempfile::TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SIGTERM, so that worker processes end with it.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        self.child.wait().ok();
    }
}

fn installed(program: &str) -> bool {
    if Path::new(program).exists() {
        return true;
    }
    assert_ne!(std::env::var("CLIENTS_REQUIRED").as_deref(), Ok("1"), "{program} is missing");
    #[expect(clippy::print_stderr, reason = "a green run must not hide what it left out")]
    {
        eprintln!("SKIPPED: {program} is missing");
    }
    false
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a server whose command line and configuration are made from its folder and port.
fn start(make: impl Fn(&Path, u16) -> Command) -> Peer {
    let folder = tempfile::tempdir().unwrap();
    // Servers that drop their rights must still come in.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let root = folder.path().join("root");
    for place in [root.clone(), folder.path().join("tmp"), root.join("sub")] {
        std::fs::create_dir(&place).unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    std::fs::write(root.join("a.txt"), "alpha").unwrap();
    std::fs::write(root.join("sub/b.txt"), "beta beta beta").unwrap();
    let port = free_port();
    let mut child = make(folder.path(), port).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < START_PATIENCE && child.try_wait().unwrap().is_none(), "the server did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mounted = Mounted::new(&format!("http://127.0.0.1:{port}/"), Vendor::Other, allowed(&format!("127.0.0.1:{port}")));
    Peer { child, root, mounted, _folder: folder }
}

fn user() -> &'static str {
    if rustix::process::geteuid().is_root() { "www-data" } else { "" }
}

fn apache() -> Option<Peer> {
    installed("/usr/sbin/apache2").then(|| {
        start(|folder, port| {
            let modules = "/usr/lib/apache2/modules";
            let load = ["mpm_event", "authn_core", "authz_core", "dav", "dav_fs", "mime"]
                .map(|name| format!("LoadModule {name}_module {modules}/mod_{name}.so\n"))
                .concat();
            let owner = if user().is_empty() { String::new() } else { format!("User {0}\nGroup {0}\n", user()) };
            let folder_text = folder.display();
            let configuration = format!(
                "{load}{owner}ServerName localhost\nListen 127.0.0.1:{port}\nPidFile {folder_text}/pid\nErrorLog {folder_text}/error.log\n\
                 TypesConfig /etc/mime.types\nDocumentRoot {folder_text}/root\nDavLockDB {folder_text}/tmp/locks\nFileETag INode MTime Size\n\
                 <Directory {folder_text}/root>\nRequire all granted\nDav On\n</Directory>\n"
            );
            std::fs::write(folder.join("apache.conf"), configuration).unwrap();
            let mut command = Command::new("/usr/sbin/apache2");
            command.args(["-D", "FOREGROUND", "-f"]).arg(folder.join("apache.conf"));
            command
        })
    })
}

fn nginx() -> Option<Peer> {
    (installed("/usr/sbin/nginx") && installed("/usr/lib/nginx/modules/ngx_http_dav_ext_module.so")).then(|| {
        start(|folder, port| {
            let owner = if user().is_empty() { String::new() } else { format!("user {};", user()) };
            let folder_text = folder.display();
            let configuration = format!(
                "load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so; {owner} daemon off; worker_processes 1; pid {folder_text}/pid;
                 error_log {folder_text}/error.log; events {{}}
                 http {{ access_log off; client_body_temp_path {folder_text}/tmp/body; proxy_temp_path {folder_text}/tmp/p;
                 fastcgi_temp_path {folder_text}/tmp/f; uwsgi_temp_path {folder_text}/tmp/u; scgi_temp_path {folder_text}/tmp/s;
                 dav_ext_lock_zone zone=locks:1m; client_max_body_size 0;
                 server {{ listen 127.0.0.1:{port}; root {folder_text}/root; location / {{
                 dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS LOCK UNLOCK; dav_ext_lock zone=locks;
                 min_delete_depth 0; }} }} }}"
            );
            std::fs::write(folder.join("nginx.conf"), configuration).unwrap();
            let mut command = Command::new("/usr/sbin/nginx");
            command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
            command
        })
    })
}

fn rclone() -> Option<Peer> {
    installed("/usr/bin/rclone").then(|| {
        start(|folder, port| {
            let mut command = Command::new("/usr/bin/rclone");
            command.args(["serve", "webdav", "--config", "/dev/null", "--dir-cache-time", "0s", "--vfs-cache-mode", "off", "--addr"]);
            command.arg(format!("127.0.0.1:{port}")).arg(folder.join("root"));
            command
        })
    })
}

/// What every server must do.
async fn check(peer: &Peer) {
    let mounted = &peer.mounted;
    assert_eq!(mounted.names("").await.unwrap(), ["a.txt", "sub"]);
    assert_eq!(mounted.read("sub/b.txt").await.unwrap(), "beta beta beta");
    assert_eq!(mounted.read_range("sub/b.txt", 5, 9).await.unwrap(), "beta");
    for name in ["new.txt", "a b+c%23#d.txt", "quote\"lt<gt>.txt", "ünï 文.txt", "semi;comma,at@.txt", "amp&.txt"] {
        mounted.put(name, "new content").await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(std::fs::read_to_string(peer.root.join(name)).unwrap(), "new content", "{name}");
        assert!(mounted.names("").await.unwrap().contains(&name.to_owned()), "{name}");
        assert_eq!(mounted.read(name).await.unwrap(), "new content", "{name}");
        mounted.delete(name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    mounted.put("a.txt", "alpha the second").await.unwrap();
    assert_eq!(mounted.read("a.txt").await.unwrap(), "alpha the second");
    mounted.put("empty", "").await.unwrap();
    assert_eq!(mounted.read("empty").await.unwrap(), "");
    let unknown = mounted.handle.put(&Via::default(), &at("chunked.txt"), PutRequest::plain(), body("of unknown length")).await.unwrap();
    assert!(unknown.created && unknown.node.size == 17);
    assert_eq!(std::fs::read_to_string(peer.root.join("chunked.txt")).unwrap(), "of unknown length");
    mounted.mkcol("made").await.unwrap();
    assert!(matches!(mounted.mkcol("made").await, Err(Error::Exists)));
    assert!(matches!(mounted.mkcol("no/parent").await, Err(Error::ParentMissing)), "{:?}", mounted.mkcol("no/parent").await);
    mounted.rename("chunked.txt", "made/moved.txt").await.unwrap();
    mounted.copy("made", "copied").await.unwrap();
    assert_eq!(mounted.names("copied").await.unwrap(), ["moved.txt"]);
    mounted.rename("copied", "renamed").await.unwrap();
    mounted.delete("made").await.unwrap();
    assert!(matches!(mounted.names("made").await, Err(Error::NotFound)));
    assert_eq!(mounted.names("").await.unwrap(), ["a.txt", "empty", "renamed", "sub"], "nothing is left of uploads");
    assert!(matches!(mounted.read("nothing").await, Err(Error::NotFound)));
    check_conditions(mounted).await;
    assert_eq!(mounted.handle.state(), MountState::Online);
}

async fn check_conditions(mounted: &Mounted) {
    let via = Via::default();
    let absent = PutRequest { write: Write { expect: Expect::Absent, tokens: vec![] }, ..PutRequest::plain() };
    let refused = mounted.handle.put(&via, &at("a.txt"), absent, body("never")).await;
    assert!(matches!(refused, Err(Error::PreconditionFailed)));
    let before = mounted.handle.stat(&via, &at("a.txt")).await.unwrap();
    let same = |etag| PutRequest { write: Write { expect: Expect::Unchanged(Some(etag)), tokens: vec![] }, ..PutRequest::plain() };
    mounted.handle.put(&via, &at("a.txt"), same(before.etag.clone()), body("alpha the third, longer")).await.unwrap();
    let refused = mounted.handle.put(&via, &at("a.txt"), same(before.etag), body("never")).await;
    assert!(matches!(refused, Err(Error::PreconditionFailed)));
    assert_eq!(mounted.read("a.txt").await.unwrap(), "alpha the third, longer");
    let mut wrong = PutRequest::plain();
    wrong.checksum = Some(causeway::domain::Checksum::parse("SHA1:664add438097fbd4307f814de8e62a10f8905588").unwrap());
    assert!(matches!(mounted.handle.put(&via, &at("a.txt"), wrong, body("not that")).await, Err(Error::BodyMismatch(_))));
    assert_eq!(mounted.read("a.txt").await.unwrap(), "alpha the third, longer");
}

/// A lock at a server that has them: it holds against the server's other clients and against ours without the token.
async fn check_locks(mounted: &Mounted) {
    let via = Via::default();
    let principal = Principal::User(UserName::parse("bob").unwrap());
    let request = LockRequest {
        principal: principal.clone(),
        owner: "<D:owner xmlns:D=\"DAV:\">bob</D:owner>".into(),
        scope: LockScope::Exclusive,
        depth: LockDepth::Zero,
        timeout: Duration::from_secs(60),
    };
    let (lock, created) = mounted.handle.lock(&via, &at("sub/b.txt"), request, Write::unconditional()).await.unwrap();
    assert!(!created);
    assert!(matches!(mounted.put("sub/b.txt", "without the token").await, Err(Error::Locked(_))));
    let mut with = PutRequest::plain();
    with.write.tokens.push(lock.token.clone());
    mounted.handle.put(&via, &at("sub/b.txt"), with, body("with the token")).await.unwrap();
    mounted.handle.refresh(&via, &at("sub/b.txt"), &lock.token, &principal, Duration::from_secs(120)).await.unwrap();
    mounted.handle.unlock(&via, &at("sub/b.txt"), &lock.token, &principal).await.unwrap();
    mounted.put("sub/b.txt", "after the lock").await.unwrap();
    assert_eq!(mounted.read("sub/b.txt").await.unwrap(), "after the lock");
}

async fn check_properties(mounted: &Mounted) {
    let via = Via::default();
    let name = PropertyName { namespace: "urn:x".into(), local: "colour".into() };
    let set = PropertyChange::Set(name.clone(), "<x:colour xmlns:x=\"urn:x\">red &amp; blue</x:colour>".into());
    mounted.handle.patch_properties(&via, &at("sub/b.txt"), vec![set], Write::unconditional()).await.unwrap();
    let found = mounted.handle.properties(&via, &at("sub/b.txt")).await.unwrap();
    assert!(found.iter().any(|(found, xml)| *found == name && xml.contains("red &amp; blue")), "{found:?}");
    mounted.handle.patch_properties(&via, &at("sub/b.txt"), vec![PropertyChange::Remove(name)], Write::unconditional()).await.unwrap();
    assert!(mounted.handle.properties(&via, &at("sub/b.txt")).await.unwrap().is_empty());
}

#[tokio::test]
async fn apache_is_mounted() {
    let Some(peer) = apache() else { return };
    check(&peer).await;
    check_properties(&peer.mounted).await;
    check_locks(&peer.mounted).await;
}

#[tokio::test]
async fn nginx_is_mounted() {
    let Some(peer) = nginx() else { return };
    check(&peer).await;
    check_locks(&peer.mounted).await;
}

#[tokio::test]
async fn rclone_is_mounted() {
    let Some(peer) = rclone() else { return };
    check(&peer).await;
    check_locks(&peer.mounted).await;
}
