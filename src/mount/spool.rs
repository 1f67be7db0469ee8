//! Bodies of unknown length for remotes that would store an empty file (chunked bodies at some PHP hosts): to the disk first, bounded.

use std::io::SeekFrom;
use std::path::Path;

use futures_util::StreamExt as _;
use tokio::fs::{self, OpenOptions};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;

use crate::domain::{Error, Result};
use crate::wire::Incoming;

/// Largest body that is spooled, in bytes.
const SPOOL_BYTES_MAX: u64 = 16 << 30;

/// Reads a body to its end; what comes back has a length. The file has no name while it is used, so nothing is left behind.
pub(super) async fn spool(folder: &Path, mut body: Incoming) -> Result<(Incoming, u64)> {
    fs::create_dir_all(folder).await?;
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| Error::Internal(error.to_string()))?;
    let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = folder.join(name);
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).await?;
    fs::remove_file(&path).await?;
    let mut length = 0_u64;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_error| Error::BodyBroken)?;
        length += piece.len() as u64;
        if length > SPOOL_BYTES_MAX {
            return Err(Error::InsufficientStorage);
        }
        file.write_all(&piece).await?;
    }
    file.flush().await?;
    file.seek(SeekFrom::Start(0)).await?;
    Ok((Box::pin(ReaderStream::new(file)), length))
}
