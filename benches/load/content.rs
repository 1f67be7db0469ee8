//! The tree that every server serves, and the bytes of its files.
//!
//! Bytes are a function of their offset, so that a reader can check any part of a file without having it: blocks of
//! 1 MiB of noise (nothing compresses it), each with its number in front (no two blocks are equal).

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

/// Bytes of the big file, unless told otherwise.
pub(crate) const BIG_BYTES: u64 = 1 << 30;
/// Bytes of a small file.
pub(crate) const SMALL_BYTES: u64 = 1 << 10;
/// Bytes of a block of noise.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;

/// Folders and files of the listings: `(folder, folders in it, files in it)`.
const LISTINGS: [(&str, u32, u32); 2] = [("d1000", 20, 980), ("d10000", 100, 9_900)];
/// Folders of the deep tree, and files in each: 100 + 100 × 199 = 20,000 entries.
const DEEP: (u32, u32) = (100, 199);
/// The first file's modification time, in seconds since 1970; the others follow a minute apart.
const FIRST_MTIME: u64 = 1_700_000_000;

/// Noise that can be written and checked at any offset.
pub(crate) struct Pattern {
    block: Vec<u8>,
}

impl Pattern {
    /// The noise, always the same.
    pub(crate) fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        while block.len() < BLOCK_BYTES {
            // xorshift64: cheap, and no compressor gains on it
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend_from_slice(&state.to_le_bytes());
        }
        Self { block }
    }

    /// Block `number` of a file, whole.
    pub(crate) fn block(&mut self, number: u64) -> &[u8] {
        for (byte, value) in self.block.iter_mut().zip(number.to_le_bytes()) {
            *byte = value;
        }
        &self.block
    }

    /// Whether `bytes` are what a file holds from `offset` on.
    pub(crate) fn matches(&mut self, offset: u64, mut bytes: &[u8]) -> bool {
        let size = BLOCK_BYTES as u64;
        let mut at = offset;
        while !bytes.is_empty() {
            let block = self.block(at / size);
            let rest = block.get((at % size) as usize..).unwrap_or_default();
            let (head, tail) = bytes.split_at(bytes.len().min(rest.len()));
            if rest.get(..head.len()) != Some(head) {
                return false;
            }
            at += head.len() as u64;
            bytes = tail;
        }
        true
    }

    /// The first `length` bytes (at most a block) of a file.
    pub(crate) fn start(&mut self, length: u64) -> Vec<u8> {
        self.block(0).iter().copied().take(length as usize).collect()
    }
}

/// Fills `dir` with the tree.
pub(crate) fn prepare(dir: &Path, big_bytes: u64) -> Result<()> {
    fs::create_dir_all(dir.join("put")).with_context(|| format!("cannot make {}", dir.display()))?;
    write_pattern(&dir.join("1k.bin"), SMALL_BYTES)?;
    write_pattern(&dir.join("1g.bin"), big_bytes)?;
    for (name, folders, files) in LISTINGS {
        let folder = dir.join(name);
        for index in 0..folders {
            fs::create_dir_all(folder.join(format!("Folder {index:03}")))?;
        }
        write_small_files(&folder, files)?;
    }
    let (folders, files) = DEEP;
    for index in 0..folders {
        let folder = dir.join("inf20000").join(format!("Album {index:03}"));
        fs::create_dir_all(&folder)?;
        write_small_files(&folder, files)?;
    }
    Ok(())
}

fn write_pattern(path: &Path, bytes: u64) -> Result<()> {
    let mut pattern = Pattern::new();
    let mut file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let size = BLOCK_BYTES as u64;
    for number in 0..bytes.div_ceil(size) {
        let length = size.min(bytes - number * size) as usize;
        file.write_all(pattern.block(number).get(..length).unwrap_or_default())?;
    }
    set_mtime(&file, 0)
}

/// Names as people give them: mostly plain, some that need escapes in a URL.
fn write_small_files(folder: &Path, count: u32) -> Result<()> {
    for index in 0..count {
        let name = match index % 10 {
            7 => format!("Größe & Maß {index:05}.txt"),
            9 => format!("Letter {index:05} (draft).odt"),
            _ => format!("IMG_{index:05}.jpg"),
        };
        let mut file = File::create(folder.join(&name))?;
        file.write_all(name.as_bytes())?;
        set_mtime(&file, u64::from(index))?;
    }
    Ok(())
}

fn set_mtime(file: &File, index: u64) -> Result<()> {
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(FIRST_MTIME + 60 * index))?;
    Ok(())
}
