//! Rules about the source itself: floors look down only, crates stay behind their walls, files stay readable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::string_slice, reason = "a test may stop at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

/// The floors from the ground up; modules of one floor do not know each other.
const FLOORS: &[&[&str]] = &[
    &["limits"],
    &["domain", "wire"],
    &["store", "content", "remote"],
    &["space", "mount"],
    &["tree"],
    &["service"],
    &["protocol"],
    &["server", "config"],
    &["cli", "main"],
];

/// Modules of one floor that may know each other after all, with the reason.
const NEIGHBOURS: &[(&str, &str)] = &[
    // The wire shapes are shapes of the nouns.
    ("wire", "domain"),
    // The program starts the commands.
    ("main", "cli"),
    // A server is started with a configuration.
    ("server", "config"),
];

/// Crates and the only places that may name them.
const CONFINED: &[(&str, &str)] =
    &[("sled", "src/store"), ("dav_server", "src/protocol/dav"), ("reqwest", "src/remote"), ("rustls_pemfile", "src/server/tls")];

const FILE_CODE_LINES_MAX: usize = 500;

struct Source {
    file: PathBuf,
    text: String,
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 10, "the source was not found");
    found
}

fn walk(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_owned();
            found.push(Source { file, text: fs::read_to_string(&path).unwrap() });
        }
    }
}

impl Source {
    fn module(&self) -> String {
        let below = self.file.strip_prefix("src").unwrap();
        let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
        first.trim_end_matches(".rs").to_owned()
    }

    fn is_test(&self) -> bool {
        self.file.file_name().unwrap() == "tests.rs" || self.file.components().any(|part| part.as_os_str() == "tests")
    }

    /// Lines of code before the unit tests, without comments and blanks.
    fn code(&self) -> impl Iterator<Item = &str> {
        let end = self.text.find("#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        self.text[..end].lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"))
    }
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn floors_look_down_only() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let module = source.module();
        if module == "lib" {
            continue;
        }
        let own = floor(&module).unwrap_or_else(|| panic!("{} stands on no floor", source.file.display()));
        for line in source.code() {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                let Some(other) = floor(&used) else { continue };
                let allowed = used == module || other < own || NEIGHBOURS.contains(&(module.as_str(), used.as_str()));
                if !allowed {
                    wrong.push(format!("{}: {line}", source.file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "these look up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn protocols_do_not_know_each_other() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.module() == "protocol") {
        let own = source.file.components().nth(2).unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        for line in source.code().filter(|line| line.contains("crate::protocol::")) {
            if own != "mod" && !line.contains(&format!("crate::protocol::{own}")) {
                wrong.push(format!("{}: {line}", source.file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_stay_behind_their_walls() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, home) in CONFINED {
            let file = source.file.to_str().unwrap();
            if !file.starts_with(home) && source.code().any(|line| line.contains(&format!("{name}::"))) {
                wrong.push(format!("{file} names {name}, which lives in {home}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_fit_a_reader() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| !source.is_test())
        .map(|source| (source.file.display().to_string(), source.code().count()))
        .filter(|(_, lines)| *lines > FILE_CODE_LINES_MAX)
        .map(|(file, lines)| format!("{file}: {lines} lines of code"))
        .collect();
    assert!(long.is_empty(), "split these by meaning:\n{}", long.join("\n"));
}

#[test]
fn every_module_opens_with_its_story() {
    let silent: Vec<String> = sources()
        .iter()
        .filter(|source| !source.is_test() && !source.text.trim_start().starts_with("//!"))
        .map(|source| source.file.display().to_string())
        .collect();
    assert!(silent.is_empty(), "no module documentation:\n{}", silent.join("\n"));
}
