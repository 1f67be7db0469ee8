//! A folder as a streamed zip: stored, not compressed, with zip64 where sizes need it (APPNOTE.TXT 4.3, 4.5.3), in bounded memory.

use std::collections::HashSet;
use std::io;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::domain::{Error, Name, Result, Timestamp, TreePath};
use crate::limits::{PATH_SEGMENTS_MAX, PROPFIND_NODES_MAX};
use crate::tree::View;
use crate::wire::Incoming;

/// Pieces that wait for a slow reader.
const PIECES_WAITING_MAX: usize = 4;
const VERSION_ZIP64: u16 = 45;
/// Bit 3: sizes follow the data; bit 11: names are UTF-8.
const FLAGS: u16 = (1 << 3) | (1 << 11);

/// Streams everything below `path` as a zip with one top folder named `top`. Fails before the first byte if a mount below cannot be reached;
/// what goes wrong later ends the stream with an error, so that the download is seen to be broken.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Unavailable`] and whatever listing the folder refuses.
pub(super) async fn stream(view: View, path: TreePath, top: &str) -> Result<Incoming> {
    view.check_reachable(&path).await?;
    view.list(&path).await?;
    let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
    let top = safe_name(top);
    let work = async move {
        let mut writer = Writer { sender, written: 0, directory: Vec::new(), entries: 0 };
        if let Err(error) = writer.folder(&view, &path, top, 0).await {
            tracing::info!(%error, "a zip download broke off");
            writer.fail().await;
        } else if writer.finish().await.is_err() {
            tracing::debug!("the reader of a zip hung up");
        }
    };
    // The work runs as the stream is read, and ends with it when the reader hangs up.
    let work = work.into_stream().map(|()| None);
    let pieces = ReceiverStream::new(receiver).map(Some);
    Ok(Box::pin(stream::select(pieces, work).filter_map(std::future::ready)))
}

struct Writer {
    sender: mpsc::Sender<io::Result<Bytes>>,
    /// Bytes sent so far.
    written: u64,
    /// The central directory so far; it grows by about 80 bytes and the name for each entry.
    directory: Vec<u8>,
    entries: u64,
}

impl Writer {
    fn folder<'writer>(
        &'writer mut self,
        view: &'writer View,
        path: &'writer TreePath,
        name: String,
        depth: usize,
    ) -> BoxFuture<'writer, Result<()>> {
        async move {
            if depth > PATH_SEGMENTS_MAX || self.entries > PROPFIND_NODES_MAX as u64 {
                return Err(Error::LimitReached("the folder is too large for a zip"));
            }
            let listing = view.list(path).await?;
            self.folder_header(&format!("{name}/"), listing.own.node.modified).await?;
            let members: Vec<(Name, bool)> = listing.members().map(|member| (member.name.clone(), member.node.is_collection())).collect();
            drop(listing);
            let mut taken = HashSet::new();
            for (member, collection) in members {
                let inside = unique(safe_name(member.as_str()), &mut taken);
                let (below, full) = (path.join(&member), format!("{name}/{inside}"));
                if collection {
                    self.folder(view, &below, full, depth + 1).await?;
                } else {
                    self.file(view, &below, &full).await?;
                }
            }
            Ok(())
        }
        .boxed()
    }

    async fn file(&mut self, view: &View, path: &TreePath, name: &str) -> Result<()> {
        let (entry, source) = view.open(path).await?;
        let size = source.size();
        let mut body = source.stream(0..size).await?;
        let start = self.written;
        let large = size >= u64::from(u32::MAX);
        self.local_header(name, entry.node.modified, large).await?;
        let (mut crc, mut length) = (crc32fast::Hasher::new(), 0_u64);
        while let Some(piece) = body.next().await {
            let piece = piece?;
            crc.update(&piece);
            length += piece.len() as u64;
            self.send(piece).await?;
        }
        if length != size {
            return Err(Error::Changed);
        }
        let crc = crc.finalize();
        let mut descriptor = Vec::with_capacity(24);
        put32(&mut descriptor, 0x0807_4b50);
        put32(&mut descriptor, crc);
        for _ in 0..2 {
            if large {
                put64(&mut descriptor, size);
            } else {
                put32(&mut descriptor, saturate(size));
            }
        }
        self.send(descriptor.into()).await?;
        self.index(name, entry.node.modified, start, Some((crc, size)));
        Ok(())
    }

    async fn folder_header(&mut self, name: &str, modified: Timestamp) -> Result<()> {
        let start = self.written;
        let mut bytes = Vec::with_capacity(30 + name.len());
        put32(&mut bytes, 0x0403_4b50);
        put16(&mut bytes, VERSION_ZIP64);
        // A folder has no data, so nothing follows it.
        put16(&mut bytes, 1 << 11);
        put16(&mut bytes, 0);
        put32(&mut bytes, dos_time(modified));
        bytes.extend([0; 12]);
        put16(&mut bytes, length16(name)?);
        put16(&mut bytes, 0);
        bytes.extend(name.as_bytes());
        self.send(bytes.into()).await?;
        self.index(name, modified, start, None);
        Ok(())
    }

    async fn local_header(&mut self, name: &str, modified: Timestamp, large: bool) -> Result<()> {
        let mut bytes = Vec::with_capacity(50 + name.len());
        put32(&mut bytes, 0x0403_4b50);
        put16(&mut bytes, VERSION_ZIP64);
        put16(&mut bytes, FLAGS);
        put16(&mut bytes, 0);
        put32(&mut bytes, dos_time(modified));
        put32(&mut bytes, 0);
        let sizes = if large { u32::MAX } else { 0 };
        put32(&mut bytes, sizes);
        put32(&mut bytes, sizes);
        put16(&mut bytes, length16(name)?);
        put16(&mut bytes, if large { 20 } else { 0 });
        bytes.extend(name.as_bytes());
        if large {
            // The zip64 field announces that the descriptor's sizes have eight bytes (APPNOTE 4.5.3).
            put16(&mut bytes, 1);
            put16(&mut bytes, 16);
            bytes.extend([0; 16]);
        }
        self.send(bytes.into()).await
    }

    /// Adds an entry to the central directory; `content` is CRC and size of a file, none for a folder.
    fn index(&mut self, name: &str, modified: Timestamp, start: u64, content: Option<(u32, u64)>) {
        let (crc, size) = content.unwrap_or_default();
        let directory = &mut self.directory;
        put32(directory, 0x0201_4b50);
        // Made on Unix, so that the mode in the upper half of the external attributes counts.
        put16(directory, (3 << 8) | VERSION_ZIP64);
        put16(directory, VERSION_ZIP64);
        put16(directory, if content.is_some() { FLAGS } else { 1 << 11 });
        put16(directory, 0);
        put32(directory, dos_time(modified));
        put32(directory, crc);
        let mut extra = Vec::new();
        if size >= u64::from(u32::MAX) {
            put64(&mut extra, size);
            put64(&mut extra, size);
        }
        if start >= u64::from(u32::MAX) {
            put64(&mut extra, start);
        }
        put32(directory, saturate(size));
        put32(directory, saturate(size));
        put16(directory, u16::try_from(name.len()).unwrap_or(u16::MAX));
        put16(directory, if extra.is_empty() { 0 } else { extra.len() as u16 + 4 });
        directory.extend([0; 6]);
        let mode: u32 = if content.is_some() { 0o100_644 } else { 0o040_755 };
        put32(directory, (mode << 16) | if content.is_some() { 0 } else { 0x10 });
        put32(directory, saturate(start));
        directory.extend(name.as_bytes());
        if !extra.is_empty() {
            put16(directory, 1);
            put16(directory, extra.len() as u16);
            directory.extend(extra);
        }
        self.entries += 1;
    }

    async fn finish(&mut self) -> Result<()> {
        let start = self.written;
        let directory = std::mem::take(&mut self.directory);
        let size = directory.len() as u64;
        self.send(directory.into()).await?;
        let mut end = Vec::with_capacity(98);
        if self.entries >= 0xffff || start >= u64::from(u32::MAX) || size >= u64::from(u32::MAX) {
            let record = self.written;
            put32(&mut end, 0x0606_4b50);
            put64(&mut end, 44);
            put16(&mut end, (3 << 8) | VERSION_ZIP64);
            put16(&mut end, VERSION_ZIP64);
            end.extend([0; 8]);
            for number in [self.entries, self.entries, size, start] {
                put64(&mut end, number);
            }
            put32(&mut end, 0x0706_4b50);
            put32(&mut end, 0);
            put64(&mut end, record);
            put32(&mut end, 1);
        }
        put32(&mut end, 0x0605_4b50);
        end.extend([0; 4]);
        let entries = u16::try_from(self.entries).unwrap_or(u16::MAX);
        put16(&mut end, entries);
        put16(&mut end, entries);
        put32(&mut end, saturate(size));
        put32(&mut end, saturate(start));
        put16(&mut end, 0);
        self.send(end.into()).await
    }

    async fn send(&mut self, piece: Bytes) -> Result<()> {
        self.written += piece.len() as u64;
        // The reader hung up: the work ends here.
        self.sender.send(Ok(piece)).await.map_err(|_closed| Error::BodyBroken)
    }

    async fn fail(&mut self) {
        let _closed = self.sender.send(Err(io::ErrorKind::BrokenPipe.into())).await;
    }
}

/// A name as it stands in a zip: programs for Windows take a backslash for a separator, so it cannot stay (attack L6).
fn safe_name(name: &str) -> String {
    let name: String =
        name.chars().map(|letter| if letter == '\\' || letter == '/' || letter.is_control() { '_' } else { letter }).collect();
    if name.is_empty() || name == "." || name == ".." { "folder".to_owned() } else { name }
}

fn unique(name: String, taken: &mut HashSet<String>) -> String {
    let mut candidate = name.clone();
    let mut number = 2_u32;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name} ({number})");
        number += 1;
    }
    candidate
}

fn length16(name: &str) -> Result<u16> {
    u16::try_from(name.len()).map_err(|_error| Error::InvalidName("the path is too long for a zip"))
}

fn saturate(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Date and time as MS-DOS writes them, in UTC: two seconds' resolution, 1980 to 2107.
fn dos_time(modified: Timestamp) -> u32 {
    use chrono::{DateTime, Datelike, Timelike};
    let Some(time) = DateTime::from_timestamp(modified, 0) else { return 0x0021_0000 };
    let year = u32::try_from(time.year().clamp(1980, 2107) - 1980).unwrap_or(0);
    let date = (year << 9) | (time.month() << 5) | time.day();
    (date << 16) | (time.hour() << 11) | (time.minute() << 5) | (time.second() / 2)
}

fn put16(bytes: &mut Vec<u8>, number: u16) {
    bytes.extend(number.to_le_bytes());
}

fn put32(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend(number.to_le_bytes());
}

fn put64(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend(number.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l6_names_in_a_zip_cannot_leave_it_and_stay_apart() {
        let mut taken = HashSet::new();
        let mut name = |text: &str| unique(safe_name(text), &mut taken);
        assert_eq!(name("..\\..\\evil"), ".._.._evil");
        assert_eq!(name(".._.._evil"), ".._.._evil (2)");
        assert_eq!(name(".."), "folder");
    }

    #[test]
    fn times_are_what_ms_dos_writes() {
        // 2020-02-03 04:05:06
        assert_eq!(dos_time(1_580_702_706), ((40 << 9 | 2 << 5 | 3) << 16) | (4 << 11 | 5 << 5 | 3));
        assert_eq!(dos_time(0) >> 16, 0x0021, "before 1980 is the first day of 1980");
    }
}
