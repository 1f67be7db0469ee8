//! The rows as lines of JSON: for backups, and to rebuild a store that cannot be read. Written whole and renamed into place; the last line
//! counts the others, so that a cut-off file is noticed.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};

use crate::store::keys::{META_FORMAT, META_JOURNAL, TREE_NAMES, Tree, Trees};
use crate::store::open::{Options, import};
use crate::store::{Error, Result, Store};

/// The format of exports; a newer one is refused. Format 2 has the trees of trash, versions and log.
const EXPORT_FORMAT: u32 = 2;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// The first one.
    Causeway { format: u32, instance: String },
    /// A row: number of its tree, key, value.
    Row(usize, String, String),
    /// The last one.
    End { rows: u64 },
}

impl Store {
    /// Writes every row to `file`, whole or not at all; the folder must be there. Blocks, and writers wait meanwhile.
    pub fn export(&self, file: &Path) -> Result<()> {
        self.inner.committer.export(file.to_owned())
    }

    /// Makes the store of `directory` from an export. Refused where rows are there already. Ids and the epoch rise, so that nothing which was
    /// given out after the export is ever given out again.
    pub fn import(directory: &Path, file: &Path, options: &Options) -> Result<()> {
        std::fs::create_dir_all(directory)?;
        let rows = directory.join("rows");
        if rows.exists() {
            return Err(Error::InUse);
        }
        import(&rows, file, options)
    }
}

/// Called by the committer alone, so that nothing changes meanwhile.
pub(super) fn write(trees: &Trees, instance_id: &str, file: &Path) -> Result<()> {
    let unfinished = unfinished(file);
    // Hashes of passwords are among the rows: for the owner's eyes alone.
    let created = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    let mut writer = BufWriter::new(created);
    line(&mut writer, &Line::Causeway { format: EXPORT_FORMAT, instance: instance_id.to_owned() })?;
    let mut rows = 0;
    for (number, tree) in trees.all.iter().enumerate() {
        for row in tree.iter() {
            let (key, value) = row?;
            // Whoever reads this has a format and a journal of its own.
            if number == Tree::Meta as usize && [META_FORMAT, META_JOURNAL].contains(&key.as_ref()) {
                continue;
            }
            line(&mut writer, &Line::Row(number, BASE64.encode(&key), BASE64.encode(&value)))?;
            rows += 1;
        }
    }
    line(&mut writer, &Line::End { rows })?;
    let written = writer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    written.sync_all()?;
    std::fs::rename(&unfinished, file)?;
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn unfinished(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    file.with_file_name(name)
}

fn line(writer: &mut impl Write, line: &Line) -> Result<()> {
    serde_json::to_writer(&mut *writer, line).map_err(std::io::Error::from)?;
    writer.write_all(b"\n")?;
    Ok(())
}

/// Reads an export into empty trees.
pub(super) fn read(trees: &Trees, file: &Path) -> Result<()> {
    let mut rows = 0;
    let mut ended = false;
    for (number, text) in BufReader::new(File::open(file)?).lines().enumerate() {
        match serde_json::from_str(&text?).map_err(|error| corrupt(number, &error.to_string()))? {
            Line::Causeway { format, .. } if format > EXPORT_FORMAT => return Err(Error::Newer(format)),
            Line::Causeway { .. } if number == 0 => {}
            Line::Row(tree, key, value) if number > 0 && !ended && tree < TREE_NAMES.len() => {
                let bytes = |text: String| BASE64.decode(text).map_err(|error| corrupt(number, &error.to_string()));
                // What was still to be done on disk then has been done since, or was overtaken.
                if let Some(into) = trees.all.get(tree).filter(|_| tree != Tree::Placements as usize) {
                    into.insert(bytes(key)?, bytes(value)?)?;
                }
                rows += 1;
            }
            Line::End { rows: expected } if expected == rows => ended = true,
            Line::Causeway { .. } | Line::Row(..) | Line::End { .. } => return Err(corrupt(number, "a line out of place")),
        }
    }
    if ended { Ok(()) } else { Err(Error::Corrupt("the export is cut off".to_owned())) }
}

fn corrupt(line: usize, text: &str) -> Error {
    Error::Corrupt(format!("line {}: {text}", line + 1))
}
