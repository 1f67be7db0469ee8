//! The program itself: commands with and without a running server, exit codes, what is printed and what never is.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_causeway");

/// A data folder and the commands on it.
pub(crate) struct Cli {
    pub(crate) folder: TempDir,
}

impl Cli {
    pub(crate) fn new() -> Cli {
        Cli { folder: TempDir::new().unwrap() }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("davroot")
    }

    pub(crate) fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(line)
            .env_clear()
            .env("CAUSEWAY_DATA", self.data())
            .env("CAUSEWAY_DURABILITY", "process")
            .current_dir(self.folder.path());
        command
    }

    pub(crate) fn run(&self, line: &[&str], stdin: &str) -> Output {
        let mut child = self.command(line).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that reads no password has closed its end, which is as well.
        let _unread = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs a command that must succeed; what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, line: &[&str], stdin: &str) -> String {
        let output = self.run(line, stdin);
        assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must end with a code; what it said.
    #[track_caller]
    pub(crate) fn fails(&self, line: &[&str], code: i32) -> String {
        let output = self.run(line, "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line:?}: {said}");
        assert!(!said.is_empty(), "{line:?} says why");
        said
    }

    pub(crate) fn serve(&self, line: &[&str]) -> Serving {
        let line = [&["serve", "--listen", "127.0.0.1:0"], line].concat();
        let log = self.folder.path().join("log");
        let mut child = self.command(&line).stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        let url = first.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("it says: {first}")).to_owned();
        let mut said = String::new();
        if !self.data().join(".causeway/setup-code").exists() {
            return Serving { child, url, said, log };
        }
        out.read_line(&mut said).unwrap();
        Serving { child, url, said, log }
    }
}

pub(crate) struct Serving {
    child: Child,
    pub(crate) url: String,
    said: String,
    log: PathBuf,
}

impl Serving {
    /// Ends it by SIGKILL, in the middle of whatever it does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it by SIGTERM; what it logged.
    pub(crate) fn stop(mut self) -> String {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let ended = self.child.wait().unwrap();
        let log = std::fs::read_to_string(&self.log).unwrap();
        assert!(ended.success(), "{log}");
        log
    }
}

/// Every command of a user's first day, with or without a server.
fn first_day(cli: &Cli) {
    cli.ok(&["user", "add", "anna", "--password-stdin", "--admin", "--quota", "10GB", "--display-name", "Anna"], "hunter2 secret\n");
    std::fs::create_dir_all(cli.data().join("anna/Photos")).unwrap();
    std::fs::write(cli.data().join("anna/Photos/a.txt"), "a").unwrap();
    let scanned = cli.ok(&["scan", "anna"], "");
    assert!(scanned.starts_with("anna: 2 added"), "{scanned}");
    let users = cli.ok(&["--json", "user", "list"], "");
    assert!(users.contains("\"admin\": true") && users.contains("\"quota\": 10000000000") && !users.contains("argon2"), "{users}");
    let url = cli.ok(&["link", "create", "anna", "/Photos", "--permissions", "edit", "--expires", "2099-12-31", "--label", "for bob"], "");
    assert!(url.contains("/s/"), "{url}");
    let links = cli.ok(&["link", "list", "anna", "--json"], "");
    assert!(
        links.contains(url.trim()) && links.contains("\"expires\": \"2099-12-31\"") && links.contains("\"path\": \"/Photos\""),
        "{links}"
    );
    cli.ok(&["link", "update", "anna:/Photos", "--password-stdin", "--no-expiry"], "sesame\n");
    assert!(cli.ok(&["link", "list", "anna"], "").contains("yes"));
    cli.ok(&["link", "remove", "anna:/Photos"], "");
    cli.ok(&["user", "password", "anna", "--password-stdin"], "hunter3 secret\n");
    assert_eq!(cli.ok(&["user", "app-password", "anna", "--label", "old phone"], "").trim().split('-').count(), 5);
    let apps = cli.ok(&["user", "app-passwords", "anna", "--json"], "");
    let apps: serde_json::Value = serde_json::from_str(&apps).unwrap();
    assert_eq!(apps[0]["label"], "old phone");
    let id = apps[0]["id"].to_string();
    assert!(cli.ok(&["user", "app-passwords", "anna"], "").contains("old phone"));
    cli.ok(&["user", "revoke", "anna", &id], "");
    cli.fails(&["user", "revoke", "anna", &id], 3);
    assert!(!cli.ok(&["user", "app-passwords", "anna"], "").contains("old phone"));
    cli.ok(&["user", "quota", "anna", "5GB"], "");
    cli.ok(&["user", "display-name", "anna", "Anna S."], "");
    cli.ok(&["user", "email", "anna", "anna@example.org"], "");
    cli.fails(&["user", "email", "anna", "no address"], 2);
    cli.fails(&["user", "quota", "anna", "lots"], 2);
    cli.ok(&["user", "disable", "anna"], "");
    cli.fails(&["user", "disable", "nobody"], 3);
    let users: serde_json::Value = serde_json::from_str(&cli.ok(&["user", "list", "--json"], "")).unwrap();
    let anna = users.as_array().unwrap().iter().find(|user| user["name"] == "anna").unwrap();
    assert_eq!(
        (&anna["quota"], &anna["display_name"], &anna["email"], &anna["enabled"]),
        (&5_000_000_000_u64.into(), &"Anna S.".into(), &"anna@example.org".into(), &false.into())
    );
    cli.ok(&["user", "enable", "anna"], "");
    cli.ok(&["user", "quota", "anna", "none"], "");
    cli.ok(&["user", "email", "anna", ""], "");
    assert_eq!(cli.ok(&["maintenance", "status"], ""), "maintenance is off\n");
    cli.ok(&["maintenance", "on"], "");
    assert!(cli.ok(&["maintenance", "status", "--json"], "").contains("\"maintenance\": true"));
    assert_eq!(cli.ok(&["maintenance", "off"], ""), "maintenance is off\n");
    cli.ok(&["remote", "allow-private", "nas.example:8443"], "");
    cli.ok(&["remote", "trust", "nas.example:8443", "--fingerprint", &"ab".repeat(32)], "");
    assert!(cli.ok(&["remote", "list", "--json"], "").contains(&"ab".repeat(32)));
    cli.ok(&["remote", "remove", "nas.example:8443"], "");
    let backup = cli.folder.path().join("backup");
    cli.ok(&["backup", backup.to_str().unwrap()], "");
    cli.fails(&["backup", backup.to_str().unwrap()], 5);
    std::fs::remove_dir_all(backup).unwrap();
    exit_codes(cli);
    cli.ok(&["user", "remove", "anna"], "");
}

fn exit_codes(cli: &Cli) {
    cli.fails(&["user", "list", "--nothing"], 2);
    cli.fails(&["user", "add", "a b", "--password-stdin"], 2);
    cli.fails(&["link", "create", "anna", "/Photos", "--expires", "tomorrow"], 2);
    cli.fails(&["link", "list", "nobody"], 3);
    cli.fails(&["link", "remove", "12345"], 3);
    cli.fails(&["mount", "retry", "anna:/nothing"], 3);
    // A port of this machine that nobody listens on: refused at once.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = cli.fails(&["mount", "add", "anna", &format!("http://{free}/s/abc")], 5);
    assert!(said.contains("causeway remote allow-private"), "{said}");
    cli.ok(&["remote", "allow-private", &free.to_string()], "");
    cli.fails(&["mount", "add", "anna", &format!("http://{free}/s/abc")], 4);
}

#[test]
fn commands_work_while_no_server_runs() {
    first_day(&Cli::new());
}

#[test]
fn commands_work_while_the_server_runs() {
    let cli = Cli::new();
    let serving = cli.serve(&[]);
    let code = cli.data().join(".causeway/setup-code");
    assert!(serving.said.contains(code.to_str().unwrap()), "{}", serving.said);
    assert_eq!(mode(&code), 0o600);
    first_day(&cli);
    serving.stop();
}

fn mode(file: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).unwrap().permissions()) & 0o777
}

#[test]
fn what_is_not_shared_is_private() {
    let cli = Cli::new();
    let serving = cli.serve(&[]);
    for (file, most) in [(".causeway", 0o700), (".causeway/control.sock", 0o600), (".causeway/keys/secret.key", 0o600)] {
        assert_eq!(mode(&cli.data().join(file)), most, "{file}");
    }
    cli.ok(&["user", "add", "anna", "--password-stdin", "--admin"], "x\n");
    assert!(!cli.data().join(".causeway/setup-code").exists(), "the code ends with the first administrator");
    serving.stop();
}

#[test]
fn f6_no_secret_is_logged_at_any_level() {
    let cli = Cli::new();
    cli.ok(&["user", "add", "anna", "--password-stdin", "--admin"], "hunter2-secret\n");
    std::fs::write(cli.data().join("anna/file.txt"), "a").unwrap();
    let serving = cli.serve(&["--log-level", "trace,causeway=trace"]);
    let app = cli.ok(&["user", "app-password", "anna"], "");
    let link = cli.ok(&["link", "create", "anna", "/file.txt", "--password-stdin"], "sesame-secret\n");
    let token = link.trim().rsplit('/').next().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        use crate::support::server::Ask;
        let address = serving.url.strip_prefix("http://").unwrap().parse().unwrap();
        let ask = |method: &str, path: &str| Ask::to(address, method, path);
        ask("PROPFIND", "/webdav/").header("depth", "0").basic("anna", "hunter2-secret").expect(207).await;
        ask("PROPFIND", "/webdav/").header("depth", "0").basic("anna", app.trim()).expect(207).await;
        ask("GET", "/webdav/").basic("anna", "wrong-secret").expect(401).await;
        ask("GET", &format!("/s/{token}")).expect(200).await;
        ask("GET", &format!("/public.php/dav/files/{token}")).basic("x", "sesame-secret").expect(200).await;
        ask("GET", "/public.php/webdav/").basic(token, "wrong-secret").expect(401).await;
        ask("POST", &format!("/s/{token}/authenticate")).body("password=sesame-secret").expect(303).await;
    });
    let log = serving.stop();
    assert!(log.contains("answered") && log.contains("a login failed"), "the log is there: {log}");
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "anna:hunter2-secret");
    for secret in ["hunter2-secret", "sesame-secret", "wrong-secret", token, app.trim(), basic.as_str(), "argon2id$"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "a secret is in the log: {line:?}");
    }
}

#[test]
fn clear_errors_for_what_stops_a_start() {
    let cli = Cli::new();
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let said = cli.fails(&["serve", "--listen", &busy.local_addr().unwrap().to_string()], 1);
    assert!(said.contains("in use by another program") && said.contains("--listen"), "{said}");
    let file = cli.folder.path().join("c.toml");
    std::fs::write(&file, "lsten = \"127.0.0.1:0\"\n").unwrap();
    let said = cli.fails(&["serve", "--config", file.to_str().unwrap()], 2);
    assert!(said.contains("unknown key `lsten`") && said.contains("did you mean `listen`?"), "{said}");
    let said = cli.fails(&["serve", "--tls-cert", "/nothing.pem", "--tls-key", "/nothing.key"], 1);
    assert!(said.contains("/nothing.pem"), "{said}");
    let serving = cli.serve(&[]);
    let said = cli.fails(&["serve", "--listen", "127.0.0.1:0"], 1);
    assert!(said.contains("in use by another causeway"), "{said}");
    serving.stop();
    let said = cli.fails(&["user", "list", "--data", "/nothing/here"], 3);
    assert!(said.contains("there is no data folder"), "{said}");
}

#[test]
fn the_configuration_says_where_each_value_comes_from() {
    let cli = Cli::new();
    let file = cli.folder.path().join("c.toml");
    std::fs::write(&file, "log_format = \"json\"\n").unwrap();
    let shown = cli.ok(&["config", "show", "--config", file.to_str().unwrap()], "");
    let from = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(from("log_format").contains(file.to_str().unwrap()), "{shown}");
    assert!(from("durability").contains("environment CAUSEWAY_DURABILITY"), "{shown}");
    assert!(from("umask").contains("default"), "{shown}");
    cli.ok(&["config", "check"], "");
}

#[test]
fn a_backup_brings_back_users_links_and_mounts() {
    let cli = Cli::new();
    cli.ok(&["user", "add", "anna", "--password-stdin"], "x\n");
    std::fs::write(cli.data().join("anna/file.txt"), "a").unwrap();
    let link = cli.ok(&["link", "create", "anna", "/file.txt"], "");
    let serving = cli.serve(&[]);
    cli.ok(&["backup", "backup"], "");
    assert!(cli.fails(&["restore", "backup"], 5).contains("stop it first"));
    cli.ok(&["link", "remove", "anna:/file.txt"], "");
    serving.stop();
    let newer = cli.folder.path().join("newer");
    std::fs::create_dir(&newer).unwrap();
    let rows = std::fs::read_to_string(cli.folder.path().join("backup/rows.jsonl")).unwrap();
    std::fs::write(newer.join("rows.jsonl"), rows.replacen("\"format\":2", "\"format\":99", 1)).unwrap();
    assert!(cli.fails(&["restore", "newer"], 1).contains("newer"));
    assert_eq!(cli.ok(&["link", "list", "anna", "--json"], "").trim(), "[]", "a refused restore changes nothing");
    cli.ok(&["restore", "backup"], "");
    assert!(cli.ok(&["link", "list", "anna"], "").contains(link.trim()));
    assert_eq!(mode(&cli.data().join(".causeway/keys/secret.key")), 0o600);
}

#[test]
fn the_doctor_looks_and_says() {
    let cli = Cli::new();
    cli.ok(&["user", "add", "anna", "--password-stdin", "--admin"], "x\n");
    std::os::unix::fs::symlink("/etc/passwd", cli.data().join("anna/link")).unwrap();
    let said = cli.ok(&["doctor"], "");
    assert!(said.contains("WARNING  server: not running") && said.contains("link"), "{said}");
    let serving = cli.serve(&[]);
    std::fs::write(cli.data().join("anna/file.txt"), "a").unwrap();
    let link = cli.ok(&["link", "create", "anna", "/file.txt"], "").trim().to_owned();
    let host = serving.url.strip_prefix("http://").unwrap();
    let refused = cli.run(&["doctor", &link], "");
    assert_eq!(refused.status.code(), Some(5), "what is refused has an exit code of its own");
    let said = String::from_utf8(refused.stdout).unwrap();
    assert!(said.contains(&format!("causeway remote allow-private {host}")), "{said}");
    cli.ok(&["remote", "allow-private", host], "");
    let said = String::from_utf8(cli.run(&["doctor", &link], "").stdout).unwrap();
    assert!(said.contains("ok       DNS") && said.contains("ok       TCP"), "{said}");
    serving.stop();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(cli.run(&["doctor", "gopher://x"], "").status.code(), Some(2));
    cli.ok(&["remote", "allow-private", "127.0.0.1"], "");
    let away = cli.run(&["doctor", &format!("http://{free}/s/x"), "--json"], "");
    assert_eq!(away.status.code(), Some(4));
    let rows: serde_json::Value = serde_json::from_slice(&away.stdout).unwrap();
    let codes: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["ok", "port-refused"]);
}

#[test]
fn the_demo_shows_the_main_job() {
    let cli = Cli::new();
    let said = cli.ok(&["demo", "--check"], "");
    assert!(said.ends_with("ready\n"), "{said}");
    for tool in ["curl ", "rclone ", "cadaver ", "davs://"] {
        assert!(said.contains(tool), "{tool}: {said}");
    }
    let folder = said.split("authority is ").nth(1).unwrap().split("/ca.pem").next().unwrap();
    assert!(!Path::new(folder).exists(), "the demo cleans up");
}
