//! The layers of a configuration before their values are read: defaults, file, environment, flags.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Error;
use super::keys::{self, KEYS, Key};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => formatter.write_str("default"),
            Source::File(file) => write!(formatter, "{}", file.display()),
            Source::Environment(name) => write!(formatter, "environment {name}"),
            Source::Flag(name) => write!(formatter, "flag {name}"),
        }
    }
}

/// A value as it was written.
#[derive(Debug, Clone)]
pub struct Setting {
    /// One text, or several where the key takes several.
    pub values: Vec<String>,
    /// Where it came from.
    pub source: Source,
}

/// The merged layers: the highest that says something about a key wins.
#[derive(Debug, Clone)]
pub struct Layers {
    settings: BTreeMap<&'static str, Setting>,
}

/// Variables that are no keys: the file itself, and the program that test drivers start.
const OTHER_VARIABLES: &[&str] = &["CAUSEWAY_CONFIG", "CAUSEWAY_BIN"];

impl Layers {
    /// The defaults alone.
    pub fn defaults() -> Layers {
        let settings = KEYS.iter().map(|key| {
            let values = if key.default.is_empty() { Vec::new() } else { vec![key.default.to_owned()] };
            (key.name, Setting { values, source: Source::Default })
        });
        Layers { settings: settings.collect() }
    }

    /// Lays a TOML file over what is there.
    pub fn file(&mut self, file: &Path) -> Result<(), Error> {
        let text = std::fs::read_to_string(file).map_err(|source| Error::Unreadable { file: file.to_owned(), source })?;
        self.toml(&text, file)
    }

    /// Lays the text of a TOML file over what is there.
    pub fn toml(&mut self, text: &str, file: &Path) -> Result<(), Error> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| Error::Syntax { file: file.to_owned(), message: error.to_string().trim().to_owned() })?;
        // `[trash]` with `max_age` in it is `trash_max_age`, which is what variables and flags can be called.
        let flat = table.into_iter().flat_map(|(name, value)| match &value {
            toml::Value::Table(inner) => inner.iter().map(|(rest, value)| (format!("{name}_{rest}"), value.clone())).collect(),
            toml::Value::String(_)
            | toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_) => vec![(name, value)],
        });
        for (name, value) in flat {
            let key = known(&name, &file.display().to_string())?;
            let values =
                toml_values(key, &value).map_err(|problem| Error::Value { key: key.name, place: file.display().to_string(), problem })?;
            self.settings.insert(key.name, Setting { values, source: Source::File(file.to_owned()) });
        }
        Ok(())
    }

    /// Lays variables of the environment over what is there.
    pub fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<(), Error> {
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix("CAUSEWAY_") else { continue };
            // Kubernetes sets CAUSEWAY_PORT, CAUSEWAY_PORT_…, CAUSEWAY_SERVICE_… for a service of this name.
            if OTHER_VARIABLES.contains(&variable.as_str()) || name.starts_with("PORT") || name.starts_with("SERVICE_") {
                continue;
            }
            let key = known(&name.to_ascii_lowercase(), "the environment (CAUSEWAY_…)")?;
            let values = if key.many {
                text.split([',', ' ']).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
            } else {
                vec![text]
            };
            self.settings.insert(key.name, Setting { values, source: Source::Environment(variable) });
        }
        Ok(())
    }

    /// Lays flags over what is there; a key without values was not given.
    pub fn flag(&mut self, name: &'static str, values: Vec<String>) {
        if let (Some(key), false) = (keys::find(name), values.is_empty()) {
            let flag = format!("--{}", name.replace('_', "-"));
            self.settings.insert(key.name, Setting { values, source: Source::Flag(flag) });
        }
    }

    /// Every key with what holds for it, in the order of the list of keys.
    pub fn effective(&self) -> impl Iterator<Item = (&'static Key, &Setting)> {
        KEYS.iter().filter_map(|key| self.settings.get(key.name).map(|setting| (key, setting)))
    }

    /// The value of a key that takes one.
    pub(super) fn one<T>(&self, name: &'static str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, Error> {
        let all = self.list(name, read)?;
        Ok(all.into_iter().next_back())
    }

    /// The values of a key that takes several.
    pub(super) fn list<T>(&self, name: &'static str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Error> {
        let Some(setting) = self.settings.get(name) else { return Ok(Vec::new()) };
        let read = |text: &String| {
            read(text).map_err(|problem| Error::Value {
                key: name,
                place: setting.source.to_string(),
                problem: format!("{problem}, not `{text}`"),
            })
        };
        setting.values.iter().map(read).collect()
    }

    /// A path; relative ones in a file start at the file's folder.
    pub(super) fn path(&self, name: &'static str) -> Result<Option<PathBuf>, Error> {
        let Some(path) = self.one(name, |text| Ok(PathBuf::from(text)))? else { return Ok(None) };
        let folder = match self.settings.get(name).map(|setting| &setting.source) {
            Some(Source::File(file)) => file.parent().map(Path::to_owned),
            Some(Source::Default | Source::Environment(_) | Source::Flag(_)) | None => None,
        };
        Ok(Some(folder.map_or_else(|| path.clone(), |folder| folder.join(&path))))
    }
}

fn known(name: &str, place: &str) -> Result<&'static Key, Error> {
    keys::find(name).ok_or_else(|| Error::UnknownKey { key: name.to_owned(), place: place.to_owned(), nearest: keys::nearest(name) })
}

fn toml_values(key: &Key, value: &toml::Value) -> Result<Vec<String>, String> {
    match value {
        toml::Value::Array(items) if key.many => items.iter().map(|item| toml_text(key, item)).collect(),
        toml::Value::String(_)
        | toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => Ok(vec![toml_text(key, value)?]),
    }
}

fn toml_text(key: &Key, value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        // `umask = 027` is no TOML and `umask = 27` would be read as octal: only a text says which is meant.
        toml::Value::Integer(number) if key.name != "umask" => Ok(number.to_string()),
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => Err(if key.many { "is a text or a list of texts".to_owned() } else { "is a text in quotes".to_owned() }),
    }
}
